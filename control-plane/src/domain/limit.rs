//! How often a key may be used.
//!
//! Apart from the key, because what a limit may be is a subject of its own. The rule a newcomer would break: a limit holds
//! for all nodes of a deployment together; what one node lets in is its share, which is decided there.

use super::Invalid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// At most so many requests, and so many at once. More than a node answers is no limit.
const MOST_REQUESTS: u32 = 1_000_000;
/// An hour. Whoever means longer means a quota, not a rate.
const MOST_SECONDS: u32 = 3_600;

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
    }
}
