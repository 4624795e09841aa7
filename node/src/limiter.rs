//! How often a key may be used: its rate limit, and what has been used of it here.
//!
//! Pure but for one number. It is the moment at which all that was let in is paid for (GCRA): a call costs an interval, and
//! may come as long as no more than the burst is owed. The rule a newcomer would break: a limit belongs to all nodes of the
//! deployment; each keeps one of so many parts, and how many there are is told beside the config, and changes often.

use castoff_wire::proto;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// So many requests in so long, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    seconds: u32,
    burst: u32,
}

impl Rate {
    /// What a config says; `None` when it lets nobody in, and so is no rate.
    pub fn of(limit: &proto::RateLimit) -> Option<Self> {
        let proto::RateLimit {
            requests,
            seconds,
            burst,
        } = *limit;
        (requests > 0 && seconds > 0 && burst > 0).then_some(Self {
            requests,
            seconds,
            burst,
        })
    }

    /// Nanoseconds that a call costs, were there one node.
    fn interval(self) -> u64 {
        let period = u64::from(self.seconds) * 1_000_000_000;
        (period / u64::from(self.requests)).max(1)
    }
}

/// A key has been used as often as it may, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Until one call is let in again, if no other comes first.
    pub wait: Duration,
    /// The call before this one was let in.
    pub is_first: bool,
}

/// What has been used of a rate limit.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    interval: u64,
    /// Nanoseconds since the node's start at which nothing is owed any more.
    paid: AtomicU64,
    over: AtomicBool,
}

impl Limiter {
    /// A limit of which nothing has been used.
    pub fn new(rate: Rate) -> Self {
        Self {
            interval: rate.interval(),
            rate,
            paid: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// What it keeps to.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Lets a call in that came so many nanoseconds after the node's start, where so many nodes share the limit.
    ///
    /// Each of n nodes lets in one call in n intervals, and burst ÷ n at once. A burst of fewer calls than there are nodes
    /// is one call each, since a part of less would let nobody in for ever.
    ///
    /// # Errors
    /// [`Over`] when it has to wait.
    pub fn take(&self, now: u64, nodes: u32) -> Result<(), Over> {
        let nodes = nodes.max(1);
        let cost = self.interval.saturating_mul(nodes.into());
        let slack = self
            .interval
            .saturating_mul(self.rate.burst.saturating_sub(nodes).into());
        let mut paid = self.paid.load(Ordering::Relaxed);
        loop {
            let from = paid.max(now);
            let owed = from - now;
            if owed > slack {
                return Err(Over {
                    wait: Duration::from_nanos(owed - slack),
                    is_first: !self.over.swap(true, Ordering::Relaxed),
                });
            }
            let next = from.saturating_add(cost);
            let taken = self
                .paid
                .compare_exchange_weak(paid, next, Ordering::Relaxed, Ordering::Relaxed);
            match taken {
                Ok(_) => break,
                Err(other) => paid = other,
            }
        }
        // Looked at before it is written: calls of one key come on several processors.
        if self.over.load(Ordering::Relaxed) {
            self.over.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600 * SECOND;

    fn limiter(requests: u32, seconds: u32, burst: u32) -> Limiter {
        let limit = proto::RateLimit {
            requests,
            seconds,
            burst,
        };
        Limiter::new(Rate::of(&limit).unwrap())
    }

    /// How many of these calls are let in.
    fn let_in(limiter: &Limiter, at: u64, calls: u32, nodes: u32) -> u32 {
        (0..calls).map(|_| u32::from(limiter.take(at, nodes).is_ok())).sum()
    }

    #[test]
    fn a_rate_that_lets_nobody_in_is_none() {
        for (requests, seconds, burst) in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] {
            let limit = proto::RateLimit {
                requests,
                seconds,
                burst,
            };
            assert_eq!(Rate::of(&limit), None);
        }
    }

    #[test]
    fn a_burst_then_the_rate() {
        let limiter = limiter(2, 1, 5);
        // After a rest of any length no more than the burst.
        assert_eq!(let_in(&limiter, HOUR, 100, 1), 5);
        for (at, calls) in [
            (HOUR + SECOND / 2 - 1, 0),
            (HOUR + SECOND / 2, 1),
            (HOUR + SECOND, 1),
            (HOUR + 3 * SECOND, 4),
            (HOUR + 100 * SECOND, 5),
        ] {
            assert_eq!(let_in(&limiter, at, 100, 1), calls, "{at}");
        }
    }

    #[test]
    fn whoever_has_to_wait_is_told_how_long() {
        let limiter = limiter(1, 3_600, 3);
        assert_eq!(let_in(&limiter, 0, 3, 1), 3);
        let over = |at| limiter.take(at, 1).unwrap_err();
        assert_eq!((over(0).wait, over(0).is_first), (Duration::from_secs(3_600), false));
        assert_eq!(over(HOUR - SECOND).wait, Duration::from_secs(1));
        assert_eq!(limiter.take(HOUR, 1), Ok(()));
        assert!(over(HOUR).is_first, "a call came in between");
        // A call that came before the one that was counted last owes what that one left.
        assert_eq!(over(HOUR - SECOND).wait, Duration::from_secs(3_601));
    }

    #[test]
    fn nodes_share_a_limit_and_none_has_nothing() {
        for ((requests, seconds, burst), nodes, at_once) in [
            ((1, 1, 1), 1, 1),
            ((1, 1, 1), 3, 3),
            ((1, 3_600, 3), 3, 3),
            ((1, 3_600, 4), 2, 4),
            ((1, 3_600, 1), 2, 2),
            ((10, 1, 20), 4, 20),
            ((10, 1, 10), 200, 200),
            ((1_000_000, 1, 1_000), 3, 999),
        ] {
            let all: Vec<Limiter> = (0..nodes).map(|_| limiter(requests, seconds, burst)).collect();
            let together = |at, calls| all.iter().map(|one| let_in(one, at, calls, nodes)).sum::<u32>();
            assert_eq!(together(0, burst + 1), at_once, "{requests} per {seconds} s by {nodes}");
            // From there on so many as one node alone would let in, but for what each has begun.
            let later: u32 = (1..=1_000).map(|number| together(number * all[0].interval, 1)).sum();
            assert!(later <= 1_000 && later >= 1_000 - nodes, "{later} by {nodes}");
        }
    }

    #[test]
    fn another_share_gives_nothing_back() {
        // Alone, all of the burst is used. It is not filled when others come, nor when they go.
        let alone = limiter(1, 3_600, 4);
        assert_eq!(let_in(&alone, 0, 9, 1), 4);
        assert_eq!(let_in(&alone, 0, 9, 2), 0);
        assert_eq!(let_in(&alone, 0, 9, 1), 0);
        assert_eq!(let_in(&alone, HOUR, 9, 1), 1);
        // One of two has paid for half of the limit with each call, and is not given the rest when it is left alone.
        let one_of_two = limiter(1, 3_600, 4);
        assert_eq!(let_in(&one_of_two, 0, 9, 2), 2);
        assert_eq!(let_in(&one_of_two, 0, 9, 1), 0);
    }

    #[test]
    fn the_largest_numbers_are_no_panic() {
        let most = u32::MAX;
        for limiter in [limiter(1, most, most), limiter(most, 1, most), limiter(most, most, 1)] {
            for (at, nodes) in [(0, 0), (0, most), (u64::MAX, 1), (u64::MAX, most), (1, 1)] {
                let _ = limiter.take(at, nodes);
            }
        }
    }

    #[test]
    fn calls_of_many_threads_are_counted_once_each() {
        let limiter = limiter(1, 3_600, 1_000);
        let threads = 4;
        let counted: u32 = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| let_in(&limiter, 0, 1_000, 1)))
                .collect();
            calls.into_iter().map(|calls| calls.join().unwrap()).sum()
        });
        assert_eq!(counted, 1_000);
    }
}
