//! When the control plane vouches anew for what lies in a Secret: where a deployment's nodes are to deny when they are cut off
//! for long, a pod that starts alone counts from then. Pure.
//!
//! Moments are fixed by time alone, so that a control plane that comes back, or another, writes the same into a cluster and
//! nothing new. The rule a newcomer would break: a moment that is named has passed, never one that is to come.

use crate::domain::{Limits, Time};
use std::time::Duration;
use uuid::Uuid;

/// Not more often: each is a write into the cluster.
const LEAST_MS: i64 = 15_000;

/// The latest moment, and how long it is until the next one; none where no node counts. They are half of what a node may be
/// cut off for apart, and each deployment has its own.
pub(super) fn moment(deployment: Uuid, limits: &Limits, now: Time) -> Option<(Time, Duration)> {
    let every = (i64::from(limits.max_staleness_s) * 1_000 / 2).max(LEAST_MS);
    let (_, random) = deployment.as_u64_pair();
    // 62 bits of it are random.
    let offset = i64::try_from(random >> 2).unwrap_or_default() % every;
    let since = (now.ms() - offset).rem_euclid(every);
    let next = Duration::from_millis(u64::try_from(every - since).unwrap_or_default());
    (limits.max_staleness_s > 0).then_some((Time::from_ms(now.ms() - since), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_half_of_the_time_ago_at_most() {
        for (max_staleness_s, every) in [
            (1, 15_000),
            (30, 15_000),
            (86_400, 43_200_000),
            (2_592_000, 1_296_000_000),
        ] {
            let limits = Limits {
                max_staleness_s,
                ..Limits::default()
            };
            let of = |id: u128, now: i64| {
                let (at, next) = moment(Uuid::from_u128(id), &limits, Time::from_ms(now)).unwrap();
                (at.ms(), i64::try_from(next.as_millis()).unwrap())
            };
            for now in [1_790_000_000_000, 1_790_000_007_123] {
                let (at, next) = of(7 << 40, now);
                assert!(now - every < at && at <= now, "{now}: {at}");
                assert_eq!(at + every, now + next);
                assert_eq!(of(7 << 40, now + next - 1).0, at, "the same until the next one");
                assert_eq!(of(7 << 40, now + next).0, at + every);
            }
            assert_ne!(
                of(7 << 40, 1_790_000_000_000),
                of(8 << 40, 1_790_000_000_000),
                "not all at once"
            );
        }
        assert_eq!(moment(Uuid::nil(), &Limits::default(), Time::from_ms(1)), None);
    }
}
