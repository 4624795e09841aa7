//! Amounts of processor and memory, as Kubernetes writes them: `250m` or `2`, `64Mi` or `1Gi`.
//!
//! Kept as whole numbers, so that the same amount is always written the same way.

use crate::domain::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// Thousandths of a processor; 1 to 1,024,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u32);

/// Bytes in whole MiB; 1 MiB to 16 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(u32);

impl Cpu {
    /// From thousandths.
    pub const fn milli(thousandths: u32) -> Self {
        Self(thousandths)
    }
}

impl Bytes {
    /// From MiB.
    pub const fn mib(mib: u32) -> Self {
        Self(mib)
    }

    /// In single bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

impl TryFrom<String> for Cpu {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let milli = match text.strip_suffix('m') {
            Some(digits) => number(digits),
            None => number(&text).and_then(|whole| whole.checked_mul(1_000)),
        };
        milli
            .filter(|milli| (1..=1_024_000).contains(milli))
            .map(Self)
            .ok_or_else(|| Invalid::new("", "must be processors such as 250m or 2"))
    }
}

impl TryFrom<String> for Bytes {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let units = [("Mi", 1), ("Gi", 1 << 10), ("Ti", 1 << 20)];
        let mib = units
            .iter()
            .find_map(|(unit, mib)| number(text.strip_suffix(unit)?)?.checked_mul(*mib));
        mib.filter(|mib| (1..=16 << 20).contains(mib))
            .map(Self)
            .ok_or_else(|| Invalid::new("", "must be memory such as 64Mi or 1Gi"))
    }
}

/// Digits and nothing else: Rust's own reading would take a sign.
fn number(digits: &str) -> Option<u32> {
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1_000 {
            0 => write!(f, "{}", self.0 / 1_000),
            _ => write!(f, "{}m", self.0),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            mib if mib % (1 << 20) == 0 => write!(f, "{}Ti", mib >> 20),
            mib if mib % (1 << 10) == 0 => write!(f, "{}Gi", mib >> 10),
            mib => write!(f, "{mib}Mi"),
        }
    }
}

impl From<Cpu> for String {
    fn from(cpu: Cpu) -> Self {
        cpu.to_string()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

fn text(pattern: &str, description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .into()
}

impl utoipa::PartialSchema for Cpu {
    fn schema() -> RefOr<Schema> {
        text("^[1-9][0-9]{0,5}m?$", "Processors, such as 250m or 2: at most 1024")
    }
}

impl utoipa::PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        text("^[1-9][0-9]{0,3}(Mi|Gi)$", "Memory, such as 64Mi or 1Gi: at most 16Ti")
    }
}

impl utoipa::ToSchema for Cpu {}
impl utoipa::ToSchema for Bytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_is_written_the_same_way() {
        for (text, written) in [
            ("250m", Some("250m")),
            ("1000m", Some("1")),
            ("2", Some("2")),
            ("0", None),
            ("0.5", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("m", None),
            ("5000000", None),
            ("99999999999m", None),
        ] {
            let parsed = Cpu::try_from(text.to_owned()).ok().map(|cpu| cpu.to_string());
            assert_eq!(parsed.as_deref(), written, "{text}");
        }
        for (text, written) in [
            ("64Mi", Some("64Mi")),
            ("2048Mi", Some("2Gi")),
            ("1Gi", Some("1Gi")),
            ("16Ti", Some("16Ti")),
            ("17Ti", None),
            ("0Mi", None),
            ("64", None),
            ("64M", None),
            ("1.5Gi", None),
            ("Mi", None),
        ] {
            let parsed = Bytes::try_from(text.to_owned()).ok().map(|bytes| bytes.to_string());
            assert_eq!(parsed.as_deref(), written, "{text}");
        }
    }
}
