//! The only key to a row: a permit.
//!
//! The store finds a row and gives it out sealed, as [`Unchecked`]. [`Unchecked::admit`] asks the decision table, and only
//! it makes a [`Permit`]. Store functions that write demand a permit; a handler that wants one has to name the privilege
//! in its signature. Lists demand [`Visible`].
//!
//! This is how a row is read; what follows fails to compile, each for its own reason.
//!
//! ```
//! # use castoff_control_plane::{authn::Actor, authz::{Read, Write}, domain::Service, store::{Facts, Permit, Unchecked}};
//! fn read(permit: &Permit<Read, Service>) -> &str { permit.name.as_str() }
//! ```
//! ```compile_fail
//! # use castoff_control_plane::{domain::Service, store::{Facts, Unchecked}};
//! fn forge(row: Service, facts: Facts) -> Unchecked<Service> { Unchecked::new(row, facts) }
//! ```
//! ```compile_fail
//! # use castoff_control_plane::{domain::Service, store::Unchecked};
//! fn peek(sealed: &Unchecked<Service>) -> &str { sealed.row.name.as_str() }
//! ```
//! ```compile_fail
//! # use castoff_control_plane::{authz::{Read, Write}, domain::Service, store::Permit};
//! fn upload(_: Permit<Write, Service>) {}
//! fn read(permit: Permit<Read, Service>) { upload(permit) }
//! ```
//! ```compile_fail
//! # use castoff_control_plane::{authz::Read, domain::Service, store::Permit};
//! fn twice(permit: Permit<Read, Service>) -> (Permit<Read, Service>, Permit<Read, Service>) { (permit.clone(), permit) }
//! ```
//! ```compile_fail
//! # use castoff_control_plane::store::entity::services;
//! ```

use super::rows::{Platform, Site};
use super::seen::Seen;
use crate::authn::Actor;
use crate::authz::{
    Action, Administer, CreateService, DecisionTable, Deploy, Half, ListKeys, Need, Read, Standing, Verdict, View,
    Write,
};
use crate::domain::{Deployment, Infrastructure, Service};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use uuid::Uuid;

impl Need<Service> for Read {
    const ACTION: Action = Action::SeeService;
}
impl Need<Service> for ListKeys {
    const ACTION: Action = Action::ListServiceKeys;
}
impl Need<Service> for Write {
    const ACTION: Action = Action::WriteVersions;
}
impl Need<Service> for Administer {
    const ACTION: Action = Action::AdministerService;
}
impl Need<Infrastructure> for View {
    const ACTION: Action = Action::SeeInfrastructure;
}
impl Need<Infrastructure> for Administer {
    const ACTION: Action = Action::AdministerInfrastructure;
}
impl Need<Deployment> for View {
    const ACTION: Action = Action::SeeDeployment;
}
impl Need<Deployment> for Deploy {
    const ACTION: Action = Action::ChangeDeployment;
}
impl Need<Site> for Deploy {
    const ACTION: Action = Action::ChangeDeployment;
}
impl Need<Platform> for Administer {
    const ACTION: Action = Action::AdministerPlatform;
}
impl Need<Platform> for CreateService {
    const ACTION: Action = Action::CreateService;
}

/// What a decision is about, beside the row: who the caller is to it, and what its halves are called.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the caller is to the row.
    pub standing: Standing,
    /// The service concerned.
    pub service: Option<(Uuid, String)>,
    /// The infrastructure concerned.
    pub infrastructure: Option<(Uuid, String)>,
}

/// A row that nobody has been admitted to.
pub struct Unchecked<R> {
    row: R,
    facts: Facts,
}

/// A row, and the proof that this actor may do this with it. Cannot be cloned, and is made by [`Unchecked::admit`] only.
pub struct Permit<P, R> {
    row: R,
    facts: Facts,
    actor: Arc<Actor>,
    need: PhantomData<fn() -> P>,
}

/// Why there is no permit.
#[derive(Debug)]
pub enum Refusal {
    /// The caller may not even see the row: as if it were not there.
    Hidden,
    /// The caller may see the row, but not do this.
    Forbidden {
        /// What is missing, each such as `deploy on infrastructure prod`.
        missing: Vec<String>,
        /// The same in plain words: `needs deploy on infrastructure prod; you have view`.
        detail: String,
        /// Where to look for who can give it.
        facts: Box<Facts>,
    },
}

impl<R> Unchecked<R> {
    pub(super) fn new(row: R, facts: Facts) -> Self {
        Self { row, facts }
    }

    pub(super) fn into_parts(self) -> (R, Facts) {
        (self.row, self.facts)
    }

    /// What a decision about it starts from.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Opens the row to an actor who may do what `P` needs.
    ///
    /// # Errors
    /// [`Refusal`]: the row is hidden, or the deed is forbidden.
    pub fn admit<P: Need<R>>(self, table: &DecisionTable, actor: &Arc<Actor>) -> Result<Permit<P, R>, Refusal> {
        match table.decide(P::ACTION, &self.facts.standing) {
            Verdict::Allowed => Ok(Permit {
                row: self.row,
                facts: self.facts,
                actor: Arc::clone(actor),
                need: PhantomData,
            }),
            Verdict::Hidden => Err(Refusal::Hidden),
            Verdict::Forbidden { missing } => {
                let names = (
                    self.facts.service.as_ref().map(|(_, name)| name.as_str()),
                    self.facts.infrastructure.as_ref().map(|(_, name)| name.as_str()),
                );
                let detail: Vec<_> = missing.iter().map(|half| half.render(names.0, names.1)).collect();
                let named = missing.iter().map(|half| half.name(names.0, names.1)).collect();
                let lacks = |half| missing.iter().any(|missing| missing.half() == half);
                // Whoever administers a half that is not missing cannot help.
                let facts = Facts {
                    service: self.facts.service.filter(|_| lacks(Half::Service)),
                    infrastructure: self.facts.infrastructure.filter(|_| lacks(Half::Infrastructure)),
                    ..self.facts
                };
                Err(Refusal::Forbidden {
                    missing: named,
                    detail: detail.join("; "),
                    facts: Box::new(facts),
                })
            }
        }
    }
}

impl<P, R> Permit<P, R> {
    /// Who was admitted.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What the actor is to the row.
    pub fn standing(&self) -> &Standing {
        &self.facts.standing
    }

    /// The row, given up with the permit.
    pub fn into_row(self) -> R {
        self.row
    }
}

impl<P, R> Deref for Permit<P, R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.row
    }
}

impl<P, R> fmt::Debug for Permit<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("actor", &self.actor.name)
            .finish_non_exhaustive()
    }
}

/// The right to list what an actor may see of `R`, and nothing else.
pub struct Visible<R> {
    seen: Seen,
    resource: PhantomData<fn() -> R>,
}

impl<R> Visible<R> {
    /// What this actor may list.
    pub fn of(actor: &Actor, table: &DecisionTable) -> Self {
        Self {
            seen: Seen::of(actor, table),
            resource: PhantomData,
        }
    }

    /// The conditions of it.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}
