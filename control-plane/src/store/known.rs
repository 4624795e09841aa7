//! What was read since the database last changed, for whoever asks next.
//!
//! It is thrown away whole at any change of the database (see [`super::witness`]): nothing in it is ever brought up to
//! date, and so nothing in it can be forgotten. The rule a newcomer would break: first ask for the [`Known`], then read
//! what is missing; the other way round, what was read may be older than the proof.

use super::entity::nodes;
use crate::authn::{Actor, Membership};
use crate::authz::{InfrastructureMask, ServiceMask};
use crate::domain::Deployment;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Each part keeps rows of the database up to this number: a megabyte or two.
const MOST_ROWS: usize = 10_000;

/// Rows that are as the database has them.
#[derive(Default)]
pub(super) struct Known {
    /// By the hash of the secret that they proved themselves with.
    pub(super) actors: Kept<Vec<u8>, Proven>,
    /// By name, each with its service's owner.
    pub(super) deployments: Kept<String, Arc<(Deployment, Uuid)>>,
    /// What groups were granted on a service.
    pub(super) services: Kept<Granted, (Groups, ServiceMask)>,
    /// What groups were granted on an infrastructure.
    pub(super) infrastructures: Kept<Granted, (Groups, InfrastructureMask)>,
    /// The nodes of a deployment.
    pub(super) nodes: Kept<Uuid, Arc<[nodes::Model]>>,
}

/// Somebody's groups, as they were read.
pub(super) type Groups = Arc<[Membership]>;

/// Which grants a mask is made of: the row's id, and the groups by where they lie. The mask is kept together with them,
/// so that no others can come to lie there. Not by account: somebody who was read before a change has other groups than
/// the same account read after it, and what is granted to the former must not be taken for the latter's.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Granted {
    row: Uuid,
    groups: usize,
}

impl Granted {
    pub(super) fn on(row: Uuid, groups: &Groups) -> Self {
        Self {
            row,
            groups: Arc::as_ptr(groups).addr(),
        }
    }
}

/// Somebody who proved who they are, and until when that holds.
#[derive(Clone)]
pub(super) struct Proven {
    /// Without where the call came from.
    pub(super) actor: Actor,
    /// Of the session or the token.
    pub(super) expires_at: Option<i64>,
    /// Its use is written down again from here on, and then it is read anew.
    pub(super) noted_until: Option<i64>,
}

impl Proven {
    /// Whether it holds at this time, and nothing has to be written down.
    pub(super) fn holds(&self, now_ms: i64) -> bool {
        self.expires_at.is_none_or(|end| end > now_ms) && self.noted_until.is_none_or(|until| until > now_ms)
    }
}

/// A part of what is known. It stays below its bound: what finds no room is read again each time.
pub(super) struct Kept<K, V> {
    inner: Mutex<Inner<K, V>>,
}

struct Inner<K, V> {
    rows: usize,
    by_key: HashMap<K, V>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                rows: 0,
                by_key: HashMap::new(),
            }),
        }
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.inner().by_key.get(key).cloned()
    }

    /// Keeps what was read, which took so many rows.
    pub(super) fn keep(&self, key: K, value: V, rows: usize) {
        let mut inner = self.inner();
        if inner.rows.saturating_add(rows) <= MOST_ROWS {
            inner.rows += rows;
            inner.by_key.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = Kept::<usize, ()>::default();
        kept.keep(0, (), MOST_ROWS - 1);
        kept.keep(1, (), 2);
        assert!(kept.get(&0).is_some() && kept.get(&1).is_none());
        kept.keep(2, (), 1);
        assert!(kept.get(&2).is_some());
    }

    #[test]
    fn the_same_groups_read_again_are_others() {
        let groups = || -> Groups {
            Arc::new([Membership {
                id: Uuid::from_u128(1),
                name: "devops".to_owned(),
            }])
        };
        let (before, after, row) = (groups(), groups(), Uuid::from_u128(2));
        assert!(Granted::on(row, &before) == Granted::on(row, &before));
        assert!(Granted::on(row, &before) != Granted::on(row, &after));
    }
}
