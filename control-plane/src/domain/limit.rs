//! How often a key may be used.
//!
//! Apart from the key, because what a limit may be is a subject of its own. The rule a newcomer would break: a rate limit
//! holds for all nodes of a deployment together; what one node lets in is its share, which is decided there. A quota is
//! counted here, of what nodes say afterwards.

use super::{Invalid, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// At most so many requests, and so many at once. More than a node answers is no limit.
const MOST_REQUESTS: u32 = 1_000_000;
/// An hour. Whoever means longer means a quota, not a rate.
const MOST_SECONDS: u32 = 3_600;
/// More than a million a second for ten days.
const MOST_QUOTA: u64 = 1_000_000_000_000;

/// A rate limit: so many requests per so many seconds, and so many at once after a rest. None of them is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "SaidRateLimit")]
pub struct RateLimit {
    /// Requests per `seconds`.
    requests: u32,
    /// The span that they are counted by.
    seconds: u32,
    /// So many at once, after a rest.
    burst: u32,
}

/// A rate limit as it is said. It holds for all nodes of a deployment together.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRateLimit)]
pub struct SaidRateLimit {
    /// Requests per `seconds`.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub requests: u32,
    /// The span that they are counted by; 1 when absent.
    #[schema(minimum = 1, maximum = 3_600)]
    pub seconds: Option<u32>,
    /// So many at once, after a rest; as many as `requests` when absent.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub burst: Option<u32>,
}

impl RateLimit {
    /// Requests per [`RateLimit::seconds`].
    pub fn requests(self) -> u32 {
        self.requests
    }

    /// The span that they are counted by.
    pub fn seconds(self) -> u32 {
        self.seconds
    }

    /// So many at once, after a rest.
    pub fn burst(self) -> u32 {
        self.burst
    }
}

impl TryFrom<SaidRateLimit> for RateLimit {
    type Error = Invalid;

    fn try_from(said: SaidRateLimit) -> Result<Self, Invalid> {
        let within = |pointer: &str, number: u32, most: u32| match (1..=most).contains(&number) {
            true => Ok(number),
            false => Err(Invalid::new(pointer, format!("must be 1 to {most}"))),
        };
        let requests = within("/requests", said.requests, MOST_REQUESTS)?;
        Ok(Self {
            requests,
            seconds: within("/seconds", said.seconds.unwrap_or(1), MOST_SECONDS)?,
            burst: within("/burst", said.burst.unwrap_or(requests), MOST_REQUESTS)?,
        })
    }
}

/// What a quota is counted by: spans of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// From midnight to midnight.
    Day,
    /// From the first to the first.
    Month,
}

impl Window {
    /// The window that a moment lies in: from when, and until when.
    pub fn around(self, now: Time) -> (Time, Time) {
        match self {
            Self::Day => now.day(),
            Self::Month => now.month(),
        }
    }
}

/// A quota: so many requests in a day or month of UTC, wherever they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "SaidQuota")]
pub struct Quota {
    /// Requests per window.
    requests: u64,
    /// The window.
    per: Window,
}

/// A quota as it is said. It holds for all deployments together that the key opens.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewQuota)]
pub struct SaidQuota {
    /// Requests per window.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_u64)]
    pub requests: u64,
    /// The window: a day or a month, both of UTC.
    pub per: Window,
}

/// Calls that were counted in the window that began then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUse {
    /// When the window began; none before any call.
    pub since: Option<Time>,
    /// Calls in it.
    pub calls: u64,
}

impl Quota {
    /// What it is counted by.
    pub fn window(self) -> Window {
        self.per
    }

    /// Calls that count now, of those that were counted.
    pub fn used(self, counted: QuotaUse, now: Time) -> u64 {
        let (since, _) = self.per.around(now);
        if counted.since == Some(since) { counted.calls } else { 0 }
    }

    /// Until when a key has to wait of which so much was used; none while something is left.
    pub fn used_up(self, counted: QuotaUse, now: Time) -> Option<Time> {
        let (_, until) = self.per.around(now);
        (self.used(counted, now) >= self.requests).then_some(until)
    }
}

impl TryFrom<SaidQuota> for Quota {
    type Error = Invalid;

    fn try_from(SaidQuota { requests, per }: SaidQuota) -> Result<Self, Invalid> {
        match (1..=MOST_QUOTA).contains(&requests) {
            true => Ok(Self { requests, per }),
            false => Err(Invalid::new("/requests", format!("must be 1 to {MOST_QUOTA}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rate_limit_is_whole_or_none() {
        let read = |requests, seconds, burst| {
            let limit = RateLimit::try_from(SaidRateLimit {
                requests,
                seconds,
                burst,
            });
            limit
                .map(|limit| (limit.requests(), limit.seconds(), limit.burst()))
                .map_err(|invalid| invalid.pointer)
        };
        let at = |pointer: &str| Err(pointer.to_owned());
        for (requests, seconds, burst, expected) in [
            (5, None, None, Ok((5, 1, 5))),
            (5, Some(60), None, Ok((5, 60, 5))),
            (5, None, Some(1), Ok((5, 1, 1))),
            (1, Some(3_600), Some(1_000_000), Ok((1, 3_600, 1_000_000))),
            (1_000_000, Some(1), None, Ok((1_000_000, 1, 1_000_000))),
            (0, None, None, at("/requests")),
            (1_000_001, None, Some(5), at("/requests")),
            (5, Some(0), None, at("/seconds")),
            (5, Some(3_601), None, at("/seconds")),
            (5, None, Some(0), at("/burst")),
            (5, None, Some(1_000_001), at("/burst")),
        ] {
            assert_eq!(
                read(requests, seconds, burst),
                expected,
                "{requests} {seconds:?} {burst:?}"
            );
        }
    }

    #[test]
    fn a_quota_is_used_up_until_its_window_ends() {
        let at = |text: &str| Time::parse(&format!("{text}:00Z")).unwrap();
        let quota = |requests, per| Quota::try_from(SaidQuota { requests, per });
        assert!(quota(0, Window::Day).is_err() && quota(MOST_QUOTA + 1, Window::Day).is_err());
        let counted = |since, calls| QuotaUse {
            since: Some(at(since)),
            calls,
        };
        let now = at("2026-11-28T12:00");
        let (day, month) = ("2026-11-28T00:00", "2026-11-01T00:00");
        for (per, counted, used, until) in [
            (Window::Day, QuotaUse::default(), 0, None),
            (Window::Day, counted(day, 4), 4, None),
            (Window::Day, counted(day, 5), 5, Some("2026-11-29T00:00")),
            (Window::Day, counted(day, 9), 9, Some("2026-11-29T00:00")),
            (Window::Day, counted("2026-11-27T00:00", 9), 0, None),
            (Window::Day, counted(month, 9), 0, None),
            (Window::Month, counted(month, 4), 4, None),
            (Window::Month, counted(month, 5), 5, Some("2026-12-01T00:00")),
            (Window::Month, counted(day, 9), 0, None),
        ] {
            let quota = quota(5, per).unwrap();
            assert_eq!(quota.used(counted, now), used, "{per:?} {counted:?}");
            assert_eq!(quota.used_up(counted, now), until.map(at), "{per:?} {counted:?}");
        }
    }

    #[test]
    fn what_is_kept_is_read_again_and_nothing_else() {
        let limit: RateLimit = serde_json::from_value(json!({"requests": 3, "seconds": 60})).unwrap();
        let kept = serde_json::to_value(limit).unwrap();
        assert_eq!(kept, json!({"requests": 3, "seconds": 60, "burst": 3}));
        assert_eq!(serde_json::from_value::<RateLimit>(kept).unwrap(), limit);
        for wrong in [
            json!({}),
            json!({"requests": 0}),
            json!({"requests": -1}),
            json!({"requests": 1, "per": 1}),
        ] {
            assert!(serde_json::from_value::<RateLimit>(wrong.clone()).is_err(), "{wrong}");
        }
        let quota = json!({"requests": 3, "per": "month"});
        assert_eq!(
            serde_json::to_value(serde_json::from_value::<Quota>(quota.clone()).unwrap()).unwrap(),
            quota
        );
        for wrong in [
            json!({"requests": 3}),
            json!({"requests": 3, "per": "year"}),
            json!({"requests": 0, "per": "day"}),
        ] {
            assert!(serde_json::from_value::<Quota>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
