//! What bounds a key: when it is accepted, for what, and how often.
//!
//! Apart from the commands that make and change keys, which both take all of it.

use super::span::{Span, When};
use super::table::cell;
use crate::clock::Clock;
use clap::Args;
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// When a key is accepted, for what, and how often.
#[derive(Args, Debug)]
pub struct Bounds {
    /// Not accepted before: a time, or a span from now
    #[arg(long, value_name = "WHEN")]
    not_before: Option<When>,
    /// Not accepted after: a time, a span from now, or never
    #[arg(long, value_name = "WHEN")]
    expires: Option<When>,
    /// For these endpoints only
    #[arg(long, value_delimiter = ',', value_name = "ENDPOINT")]
    endpoints: Option<Vec<String>>,
    /// So many requests per span, such as 10/1s or 100/1m, by all nodes together; or none
    #[arg(long, value_name = "REQUESTS/SPAN")]
    rate_limit: Option<RateLimit>,
    /// So many requests at once, after a rest; as many as the rate limit says when left out
    #[arg(long, value_name = "REQUESTS", requires = "rate_limit")]
    burst: Option<u32>,
    /// So many requests per day or month of UTC, such as 100000/month; or none
    #[arg(long, value_name = "REQUESTS/WINDOW")]
    quota: Option<Quota>,
}

/// A rate limit as people type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateLimit {
    None,
    Per { requests: u32, seconds: u64 },
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let wrong = || "give requests and a span of whole seconds, such as 10/1s or 100/1m, or none".to_owned();
        let (requests, span) = text.split_once('/').ok_or_else(wrong)?;
        let requests = requests.parse().map_err(|_| wrong())?;
        let span: Span = span.parse().map_err(|_| wrong())?;
        match span.duration().subsec_nanos() {
            0 => Ok(Self::Per {
                requests,
                seconds: span.duration().as_secs(),
            }),
            _ => Err(wrong()),
        }
    }
}

/// A quota as people type it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Quota {
    None,
    Per { requests: u64, window: String },
}

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let (requests, window) = text.split_once('/').unwrap_or_default();
        match (requests.parse(), window) {
            (Ok(requests), "day" | "month") => Ok(Self::Per {
                requests,
                window: window.to_owned(),
            }),
            _ => Err("give requests per day or month, such as 1000/day or 100000/month, or none".to_owned()),
        }
    }
}

impl Bounds {
    /// Adds those that are given. `never` and `none` are null, which takes a bound away.
    pub(super) fn put(&self, body: &mut Map<String, Value>) {
        let now = Clock::default().now();
        for (name, when) in [("not_before", self.not_before), ("expires_at", self.expires)] {
            if let Some(when) = when {
                body.insert(name.to_owned(), json!(when.ahead(now)));
            }
        }
        if let Some(endpoints) = &self.endpoints {
            body.insert("endpoints".to_owned(), json!(endpoints));
        }
        if let Some(limit) = self.rate_limit {
            body.insert("rate_limit".to_owned(), said(limit, self.burst));
        }
        if let Some(quota) = &self.quota {
            let quota = match quota {
                Quota::None => Value::Null,
                Quota::Per { requests, window } => json!({"requests": requests, "per": window}),
            };
            body.insert("quota".to_owned(), quota);
        }
    }
}

/// As the API has it.
fn said(limit: RateLimit, burst: Option<u32>) -> Value {
    match (limit, burst) {
        (RateLimit::None, _) => Value::Null,
        (RateLimit::Per { requests, seconds }, None) => json!({"requests": requests, "seconds": seconds}),
        (RateLimit::Per { requests, seconds }, Some(burst)) => {
            json!({"requests": requests, "seconds": seconds, "burst": burst})
        }
    }
}

/// The rate limit of a key, in a table.
pub(super) fn rate(key: &Value) -> String {
    let number = |name: &str| key.pointer(&format!("/rate_limit/{name}")).and_then(Value::as_u64);
    let (Some(requests), Some(seconds)) = (number("requests"), number("seconds")) else {
        return String::new();
    };
    let per = match seconds {
        1 => "s".to_owned(),
        60 => "m".to_owned(),
        3_600 => "h".to_owned(),
        other => format!("{other}s"),
    };
    match number("burst").filter(|burst| *burst != requests) {
        Some(burst) => format!("{requests}/{per}, {burst} at once"),
        None => format!("{requests}/{per}"),
    }
}

/// What has been used of a key's quota, in a table.
pub(super) fn quota(key: &Value) -> String {
    match key.pointer("/quota/requests").and_then(Value::as_u64) {
        None => String::new(),
        Some(requests) => {
            let [used, window] = ["/quota_used", "/quota/per"].map(|at| cell(key, at));
            format!("{used} of {requests}/{window}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_are_requests_per_span() {
        let per = |requests, seconds| Ok(RateLimit::Per { requests, seconds });
        let wrong = || Err(());
        for (text, expected) in [
            ("10/1s", per(10, 1)),
            ("100/1m", per(100, 60)),
            ("1/1h", per(1, 3_600)),
            ("none", Ok(RateLimit::None)),
            ("10", wrong()),
            ("10/s", wrong()),
            ("/1s", wrong()),
            ("-1/1s", wrong()),
            ("10/500ms", wrong()),
            ("10/1500ms", wrong()),
            ("4294967296/1s", wrong()),
        ] {
            assert_eq!(text.parse::<RateLimit>().map_err(drop), expected, "{text}");
        }
    }

    #[test]
    fn quotas_are_requests_per_day_or_month() {
        let per = |requests, window: &str| {
            Ok(Quota::Per {
                requests,
                window: window.to_owned(),
            })
        };
        for (text, expected) in [
            ("5/day", per(5, "day")),
            ("5000000000/month", per(5_000_000_000, "month")),
            ("none", Ok(Quota::None)),
            ("5/year", Err(())),
            ("5", Err(())),
            ("/day", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(text.parse::<Quota>().map_err(drop), expected, "{text}");
        }
        let key = json!({"quota": {"requests": 5, "per": "day"}, "quota_used": 3});
        assert_eq!(quota(&key), "3 of 5/day");
        assert_eq!(quota(&json!({"quota": null, "quota_used": null})), "");
    }

    #[test]
    fn a_limit_is_said_and_shown() {
        let limit = "10/1m".parse().unwrap();
        assert_eq!(said(limit, None), json!({"requests": 10, "seconds": 60}));
        assert_eq!(said(limit, Some(3)), json!({"requests": 10, "seconds": 60, "burst": 3}));
        assert_eq!(said(RateLimit::None, Some(3)), Value::Null);
        for (limit, shown) in [
            (json!({"requests": 10, "seconds": 1, "burst": 10}), "10/s"),
            (json!({"requests": 10, "seconds": 60, "burst": 3}), "10/m, 3 at once"),
            (json!({"requests": 1, "seconds": 3_600, "burst": 1}), "1/h"),
            (json!({"requests": 1, "seconds": 5, "burst": 1}), "1/5s"),
            (Value::Null, ""),
        ] {
            assert_eq!(rate(&json!({"rate_limit": limit})), shown);
        }
    }
}
