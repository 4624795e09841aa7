//! Spans of time and moments, as people type them.

use crate::domain::Time;
use std::str::FromStr;
use std::time::Duration;

/// A span such as `500ms`, `30s`, `5m`, `12h` or `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(Duration);

/// A moment: RFC 3339, a span from now or before now, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// A moment of the calendar.
    At(Time),
    /// So long from now; for what lies behind, so long ago.
    In(Span),
    /// Never.
    Never,
}

/// A hundred years: far enough for every wait and expiry, and no sum with it overflows.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Span {
    /// The span as such.
    pub(super) fn duration(self) -> Duration {
        self.0
    }

    /// In milliseconds.
    pub(super) fn ms(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// How the API spells it.
    pub(super) fn query(self) -> String {
        match self.0.subsec_millis() {
            0 => format!("{}s", self.0.as_secs()),
            _ => format!("{}ms", self.0.as_millis()),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give a number and a unit, such as 500ms, 30s, 5m, 12h or 90d".to_owned();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return Err(wrong()),
        };
        let span = number
            .checked_mul(unit_ms)
            .map(Duration::from_millis)
            .ok_or_else(wrong)?;
        if span > LONGEST {
            return Err("is longer than a hundred years".to_owned());
        }
        Ok(Self(span))
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Ok(span) = text.parse() {
            return Ok(Self::In(span));
        }
        Time::parse(text)
            .map(Self::At)
            .map_err(|_| "give a time such as 2027-01-31T12:00:00Z, a span such as 90d, or never".to_owned())
    }
}

impl When {
    /// The moment that lies ahead.
    pub(super) fn ahead(self, now: Time) -> Option<Time> {
        match self {
            Self::At(time) => Some(time),
            Self::In(span) => Some(now.after_ms(span.ms())),
            Self::Never => None,
        }
    }

    /// The moment that lies behind.
    pub(super) fn behind(self, now: Time) -> Option<Time> {
        match self {
            Self::At(time) => Some(time),
            Self::In(span) => Some(now.after_ms(span.ms().saturating_neg())),
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, ms) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("90d", 7_776_000_000),
        ] {
            assert_eq!(text.parse::<Span>().map(Span::ms), Ok(ms), "{text}");
        }
        for (text, query) in [("2s", "2s"), ("1500ms", "1500ms"), ("1m", "60s"), ("0s", "0s")] {
            assert_eq!(text.parse::<Span>().map(Span::query).as_deref(), Ok(query));
        }
        for text in [
            "",
            "s",
            "30",
            "-1s",
            "1.5s",
            "1y",
            "99999999999999999999s",
            "999999999d",
            "1 s",
            "é",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn moments() {
        let now = Time::from_ms(1_000_000_000_000);
        let at = Time::from_ms(1_800_000_000_000);
        let ahead = |text: &str| text.parse::<When>().map(|when| when.ahead(now));
        assert_eq!(ahead("never"), Ok(None));
        assert_eq!(ahead("1h"), Ok(Some(Time::from_ms(1_000_003_600_000))));
        assert_eq!(ahead(&at.to_string()), Ok(Some(at)));
        assert_eq!(
            "1h".parse::<When>().map(|when| when.behind(now)),
            Ok(Some(Time::from_ms(999_996_400_000)))
        );
        assert!("tomorrow".parse::<When>().is_err());
    }
}
