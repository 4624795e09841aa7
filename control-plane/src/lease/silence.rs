//! Which control planes have fallen silent, as another one sees it that looks again and again. Pure.
//!
//! Apart from the lease, which only one of them holds. The rule a newcomer would break: who has not looked for a while itself
//! cannot tell the silence of others from its own, and begins anew. A database that stood still makes nobody silent.

use crate::store::LEASE;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// They say every second or sooner that they live. Whoever is silent for longer than this would have lost the lease, too.
const SILENT: Duration = LEASE;
/// Between two looks that see all there is to see. Two of them are a second apart at most.
const STEADY: Duration = Duration::from_secs(2);

/// What was seen of the others.
#[derive(Debug, Default)]
pub(super) struct Silence {
    looked: Option<Instant>,
    seen: HashMap<Uuid, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When it said last that it lives, by the database's clock. Only compared with itself.
    said: i64,
    /// Since when it has said nothing new.
    since: Instant,
    is_known: bool,
}

impl Silence {
    /// Those who have become silent, from who said last when that they live. Each is named once, until it has said something
    /// again.
    pub(super) fn look(&mut self, said: impl IntoIterator<Item = (Uuid, i64)>, now: Instant) -> Vec<Uuid> {
        let looked = self.looked.replace(now);
        let is_steady = looked.is_some_and(|looked| now.saturating_duration_since(looked) <= STEADY);
        let before = std::mem::take(&mut self.seen);
        let mut silent = Vec::new();
        for (id, said) in said {
            let anew = Seen {
                said,
                since: now,
                is_known: false,
            };
            let mut seen = match before.get(&id) {
                Some(seen) if seen.said == said && is_steady => *seen,
                Some(seen) if seen.said == said => Seen { since: now, ..*seen },
                _ => anew,
            };
            if !seen.is_known && now.saturating_duration_since(seen.since) >= SILENT {
                seen.is_known = true;
                silent.push(id);
            }
            self.seen.insert(id, seen);
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_nothing_for_three_seconds_is_silent_unless_nobody_looked() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (mut silence, began) = (Silence::default(), Instant::now());
        for (ms, said, expected) in [
            (0, vec![(one, 5), (other, 5)], vec![]),
            (1_000, vec![(one, 6), (other, 5)], vec![]),
            (2_000, vec![(one, 7), (other, 5)], vec![]),
            (2_900, vec![(one, 8), (other, 5)], vec![]),
            (3_000, vec![(one, 8), (other, 5)], vec![other]),
            // Once.
            (4_000, vec![(one, 9), (other, 5)], vec![]),
            // It lives after all, and falls silent again.
            (5_000, vec![(one, 10), (other, 6)], vec![]),
            (6_500, vec![(one, 11), (other, 6)], vec![]),
            (8_000, vec![(one, 12), (other, 6)], vec![other]),
            // The database stood still, or this one did: nobody is silent because of that.
            (15_000, vec![(one, 12), (other, 6)], vec![]),
            (17_000, vec![(one, 12), (other, 6)], vec![]),
            (17_500, vec![(one, 13), (other, 6)], vec![]),
            // One that is gone is not spoken of, and one that is new begins anew.
            (19_000, vec![(one, 13)], vec![]),
            (20_500, vec![(one, 13), (other, 6)], vec![one]),
            (22_000, vec![(one, 13), (other, 6)], vec![]),
            (23_500, vec![(one, 13), (other, 6)], vec![other]),
        ] {
            let now = began + Duration::from_millis(ms);
            assert_eq!(silence.look(said, now), expected, "after {ms} ms");
        }
    }
}
