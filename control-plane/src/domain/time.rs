//! A moment, in milliseconds since 1970: what both databases and the wire keep exactly.

use super::Invalid;
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Milliseconds since 1970, UTC. Read and written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

/// 9999-12-31T23:59:59.999Z: RFC 3339 writes years with four digits.
const LATEST_MS: i64 = 253_402_300_799_999;

impl Time {
    /// From milliseconds since 1970; what lies outside the years 1970 to 9999 is brought to the nearest end.
    pub fn from_ms(ms: i64) -> Self {
        Self(ms.clamp(0, LATEST_MS))
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// Later by some milliseconds.
    pub fn after_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// The day of UTC that it lies in: from when, and until when.
    pub fn day(self) -> (Self, Self) {
        const DAY_MS: i64 = 86_400_000;
        let since = Self(self.0 - self.0 % DAY_MS);
        (since, since.after_ms(DAY_MS))
    }

    /// The month of UTC that it lies in: from when, and until when.
    pub fn month(self) -> (Self, Self) {
        let date = DateTime::<Utc>::from_timestamp_millis(self.0)
            .unwrap_or_default()
            .date_naive();
        let first = date.with_day(1).unwrap_or(date);
        let next = first.checked_add_months(Months::new(1)).unwrap_or(first);
        let begin = |date: NaiveDate| Self::from_ms(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
        (begin(first), begin(next))
    }

    /// Reads RFC 3339.
    ///
    /// # Errors
    /// Anything else; the pointer is empty.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|_| Invalid::new("", "must be a time such as 2026-11-25T12:00:00Z (RFC 3339)"))?;
        let ms = time.timestamp_millis();
        if (0..=LATEST_MS).contains(&ms) {
            Ok(Self(ms))
        } else {
            Err(Invalid::new("", "must lie between 1970 and 9999"))
        }
    }
}

impl Time {
    /// Reads the `Date` of an answer by HTTP, which is in whole seconds; none when it is none.
    pub fn of_http(text: &str) -> Option<Self> {
        let time = DateTime::parse_from_rfc2822(text).ok()?;
        Some(Self::from_ms(time.timestamp_millis()))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl utoipa::PartialSchema for Time {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some("^(19[7-9][0-9]|[2-9][0-9]{3})-"))
            .description(Some("RFC 3339, in the years 1970 to 9999"))
            .into()
    }
}

impl utoipa::ToSchema for Time {}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_are_those_of_utc() {
        for (at, day, month) in [
            (
                "1970-01-01T00:00:00.000Z",
                ["1970-01-01", "1970-01-02"],
                ["1970-01-01", "1970-02-01"],
            ),
            (
                "2026-11-28T23:59:59.999Z",
                ["2026-11-28", "2026-11-29"],
                ["2026-11-01", "2026-12-01"],
            ),
            (
                "2026-11-29T00:00:00.000Z",
                ["2026-11-29", "2026-11-30"],
                ["2026-11-01", "2026-12-01"],
            ),
            (
                "2026-12-31T12:00:00.000Z",
                ["2026-12-31", "2027-01-01"],
                ["2026-12-01", "2027-01-01"],
            ),
            (
                "2028-02-29T01:00:00.000Z",
                ["2028-02-29", "2028-03-01"],
                ["2028-02-01", "2028-03-01"],
            ),
        ] {
            let moment = Time::parse(at).unwrap();
            let spans = [(moment.day(), day), (moment.month(), month)];
            for ((since, until), expected) in spans {
                let shown = [since, until].map(|end| end.to_string());
                assert_eq!(shown, expected.map(|date| format!("{date}T00:00:00.000Z")), "{at}");
            }
        }
        let last = Time::from_ms(LATEST_MS);
        assert_eq!((last.day().1, last.month().1), (last, last), "there is no later one");
    }

    #[test]
    fn what_is_written_is_read() {
        for ms in [0, 1, 1_763_000_000_123, LATEST_MS] {
            assert_eq!(Time::parse(&Time::from_ms(ms).to_string()).unwrap().ms(), ms);
        }
        assert!(Time::parse("tomorrow").is_err());
        let date = Time::of_http("Sun, 29 Nov 2026 10:38:37 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-11-29T10:38:37.000Z");
        assert_eq!(Time::of_http("2026-11-29"), None);
        assert_eq!(Time::from_ms(i64::MAX).ms(), LATEST_MS);
    }
}
