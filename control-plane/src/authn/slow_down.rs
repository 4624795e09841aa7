//! Slows down whoever guesses passwords: the wait doubles with each wrong one, per name and per address.
//!
//! Kept in memory, bounded: a restart forgives, and the doubling begins anew.

use crate::domain::Time;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Wrong passwords that cost a name nothing: people mistype.
const FREE: u32 = 3;
/// Wrong passwords that cost an address nothing: many people may share one, behind a proxy.
const FREE_OF_ADDRESS: u32 = 30;
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
    strikes: Mutex<HashMap<Guesser, Strikes>>,
}

/// Whoever tries a password: a name and an address, each of which may have to wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Guesser {
    /// The name that was typed.
    Name(String),
    /// Where the call came from.
    Address(IpAddr),
}

impl Guesser {
    fn free(&self) -> u32 {
        match self {
            Self::Name(_) => FREE,
            Self::Address(_) => FREE_OF_ADDRESS,
        }
    }
}

impl Strikes {
    fn until(self, free: u32) -> Time {
        match self.count.checked_sub(free) {
            None | Some(0) => self.last,
            Some(over) => self.last.after_ms(1000 << (over - 1).min(MOST_DOUBLINGS)),
        }
    }
}

impl SlowDown {
    /// The seconds to wait, if any, before `who` may try again.
    pub fn wait_s(&self, who: &[Guesser], now: Time) -> Option<u64> {
        let strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let until = who
            .iter()
            .filter_map(|guesser| Some(strikes.get(guesser)?.until(guesser.free())))
            .max()?;
        (until > now).then(|| (until.ms() - now.ms()).unsigned_abs().div_ceil(1000))
    }

    /// Remembers a wrong password.
    pub fn wrong(&self, who: &[Guesser], now: Time) {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        if strikes.len() >= MOST {
            strikes.retain(|guesser, strikes| strikes.until(guesser.free()) > now);
        }
        if strikes.len() >= MOST {
            strikes.clear();
        }
        for guesser in who {
            let strike = strikes
                .entry(guesser.clone())
                .or_insert(Strikes { count: 0, last: now });
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
    pub fn right(&self, who: &Guesser) {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_ends() {
        let slow_down = SlowDown::default();
        let dana = [Guesser::Name("dana".to_owned())];
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
        slow_down.right(&dana[0]);
        slow_down.wrong(&dana, now);
        assert_eq!(slow_down.wait_s(&dana, now), None);
    }
    #[test]
    fn an_address_has_more_tries_than_a_name() {
        let slow_down = SlowDown::default();
        let (office, now) = (
            [Guesser::Address(IpAddr::from([192, 0, 2, 1]))],
            Time::from_ms(1_000_000),
        );
        for _ in 0..FREE_OF_ADDRESS {
            slow_down.wrong(&office, now);
        }
        assert_eq!(slow_down.wait_s(&office, now), None);
        slow_down.wrong(&office, now);
        assert_eq!(slow_down.wait_s(&office, now), Some(1));
    }
}
