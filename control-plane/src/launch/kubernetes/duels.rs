//! Objects that somebody else changes as often as we put them right: pure.
//!
//! Another controller that insists on a field of ours does so at once, each time, and both would write for ever. The rule a
//! newcomer would break: only what was right and was changed counts here; what the deployment itself becomes is written at once.

use super::live::Key;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// So often an object is put right at once.
const AT_ONCE: u32 = 5;
/// Of those that come so soon after another; and between two of a duel.
pub(super) const PAUSE: Duration = Duration::from_secs(60);
/// What has been right for so long is left alone again.
const PEACE: Duration = Duration::from_secs(120);
/// There are few. Those of the past go when there are more.
const MOST: usize = 1_000;

/// How often objects were put right of late.
#[derive(Default)]
pub(super) struct Duels(HashMap<Key, Duel>);

struct Duel {
    corrections: u32,
    last: Instant,
    /// By whom, as far as the cluster knows.
    other: Option<String>,
}

impl Duel {
    fn is_one(&self) -> bool {
        self.corrections >= AT_ONCE
    }

    fn is_over(&self, now: Instant) -> bool {
        let long = if self.is_one() { PEACE } else { PAUSE };
        now.duration_since(self.last) >= long
    }
}

impl Duels {
    /// Whether an object that somebody has changed may be put right now, which counts.
    pub(super) fn may_correct(&mut self, key: &Key, other: Option<&str>, now: Instant) -> bool {
        if self.0.len() >= MOST {
            self.0.retain(|_, duel| !duel.is_over(now));
        }
        let duel = self.0.entry(key.clone()).or_insert(Duel {
            corrections: 0,
            last: now,
            other: None,
        });
        duel.other = other.map(str::to_owned);
        if duel.is_over(now) {
            duel.corrections = 0;
        }
        if duel.is_one() && now.duration_since(duel.last) < PAUSE {
            return false;
        }
        (duel.corrections, duel.last) = (duel.corrections.saturating_add(1), now);
        true
    }

    /// That somebody else changes it as often as it is put right, and what to do; none where nobody does.
    pub(super) fn sentence(&self, key: &Key, now: Instant) -> Option<String> {
        let duel = self.0.get(key).filter(|duel| duel.is_one() && !duel.is_over(now))?;
        let ([_, _, kind, _], name) = (key.0.api(), &key.1);
        let other = duel.other.as_deref().unwrap_or("something in the cluster");
        Some(format!(
            "{other} changes {kind} {name} as often as Castoff puts it right, which is done once a minute from now on: have it leave \
             the object alone, or set what it wants on the deployment or its infrastructure"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::objects::Kind;
    use super::*;

    fn key(name: &str) -> Key {
        (Kind::Service, name.to_owned())
    }

    #[test]
    fn what_is_changed_again_and_again_is_put_right_once_a_minute() {
        let (mut duels, iris, second) = (Duels::default(), key("iris"), Duration::from_secs(1));
        let mut now = Instant::now();
        for _ in 0..AT_ONCE {
            now += second;
            assert!(duels.sentence(&iris, now).is_none() && duels.may_correct(&iris, None, now));
        }
        assert!(!duels.may_correct(&iris, Some("other"), now + second));
        let said = duels.sentence(&iris, now + second).unwrap();
        assert!(said.starts_with("other changes Service iris"), "{said}");
        assert!(duels.may_correct(&key("rose"), None, now + second), "another object");
        assert!(duels.may_correct(&iris, None, now + PAUSE));
        assert!(!duels.may_correct(&iris, None, now + PAUSE + second));
        now += PAUSE + PEACE;
        assert!(duels.sentence(&iris, now).is_none(), "it has been right for long");
        assert!(duels.may_correct(&iris, None, now) && duels.may_correct(&iris, None, now + second));
    }

    #[test]
    fn what_is_changed_now_and_then_is_put_right_at_once() {
        let (mut duels, iris) = (Duels::default(), key("iris"));
        let mut now = Instant::now();
        for _ in 0..3 * AT_ONCE {
            assert!(duels.may_correct(&iris, None, now) && duels.sentence(&iris, now).is_none());
            now += PAUSE;
        }
    }

    #[test]
    fn those_of_the_past_are_forgotten() {
        let (mut duels, now) = (Duels::default(), Instant::now());
        for number in 0..MOST {
            assert!(duels.may_correct(&key(&number.to_string()), None, now));
        }
        assert!(duels.may_correct(&key("one more"), None, now + PEACE));
        assert_eq!(duels.0.len(), 1);
    }
}
