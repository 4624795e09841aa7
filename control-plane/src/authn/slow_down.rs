//! Slows down whoever guesses passwords: the wait doubles with each wrong one, per name and per address.
//!
//! Kept in memory, bounded: a restart forgives, and the doubling begins anew.

use crate::domain::Time;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Wrong passwords that cost nothing: people mistype.
const FREE: u32 = 3;
/// 1 s · 2^9 = 512 s at most.
const MOST_DOUBLINGS: u32 = 9;
/// Names and addresses remembered; beyond, those whose wait is over are forgotten first.
const MOST: usize = 10_000;
/// A name whose last wrong password is older is forgiven.
const FORGIVEN_AFTER_MS: i64 = 3_600_000;

#[derive(Clone, Copy)]
struct Strikes {
    count: u32,
    last: Time,
}

/// How long somebody must wait before the next try.
#[derive(Default)]
pub struct SlowDown {
    strikes: Mutex<HashMap<String, Strikes>>,
}

impl Strikes {
    fn until(self) -> Time {
        match self.count.checked_sub(FREE) {
            None | Some(0) => self.last,
            Some(over) => self.last.after_ms(1000 << (over - 1).min(MOST_DOUBLINGS)),
        }
    }
}

impl SlowDown {
    /// The seconds to wait, if any, before `who` may try again.
    pub fn wait_s(&self, who: &[String], now: Time) -> Option<u64> {
        let strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let until = who
            .iter()
            .filter_map(|name| strikes.get(name))
            .map(|strikes| strikes.until())
            .max()?;
        (until > now).then(|| (until.ms() - now.ms()).unsigned_abs().div_ceil(1000))
    }

    /// Remembers a wrong password.
    pub fn wrong(&self, who: &[String], now: Time) {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        if strikes.len() >= MOST {
            strikes.retain(|_, strikes| strikes.until() > now);
        }
        if strikes.len() >= MOST {
            strikes.clear();
        }
        for name in who {
            let strike = strikes.entry(name.clone()).or_insert(Strikes { count: 0, last: now });
            if now.ms() - strike.last.ms() > FORGIVEN_AFTER_MS {
                strike.count = 0;
            }
            *strike = Strikes {
                count: strike.count.saturating_add(1),
                last: now,
            };
        }
    }

    /// Forgets a name after a right password.
    pub fn right(&self, who: &str) {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_ends() {
        let slow_down = SlowDown::default();
        let dana = ["dana".to_owned()];
        let mut now = Time::from_ms(1_000_000);
        let mut waits = Vec::new();
        for _ in 0..6 {
            slow_down.wrong(&dana, now);
            let wait = slow_down.wait_s(&dana, now);
            waits.push(wait.unwrap_or(0));
            now = now.after_ms(1000 * i64::try_from(wait.unwrap_or(0)).unwrap());
            assert_eq!(slow_down.wait_s(&dana, now), None);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4]);
        slow_down.right("dana");
        slow_down.wrong(&dana, now);
        assert_eq!(slow_down.wait_s(&dana, now), None);
    }
}
