//! API keys of services and deployments.

use super::{Invalid, Quota, QuotaUse, RateLimit, Time, Title};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Whether a key can be shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyClass {
    /// Only its hash is kept.
    RevealOnce,
    /// Kept encrypted, too.
    Recoverable,
}

/// Where a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// On a service: opens its deployments that inherit.
    Service(Uuid),
    /// On a deployment: opens that one.
    Deployment(Uuid),
}

/// What a key can do at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// It opens.
    Active,
    /// Somebody ended it; it can be activated again.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
}

/// A key as it is listed: never the key itself, never its hash.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Never used again.
    pub id: Uuid,
    /// Where it lives.
    pub place: KeyPlace,
    /// What people call it.
    pub name: Title,
    /// Whether it can be shown again.
    pub class: KeyClass,
    /// The first eight and the last four characters, or stars for a short imported one.
    pub masked: String,
    /// Imported with fewer than 16 characters.
    pub weak: bool,
    /// Names of the endpoints it opens; empty: all.
    pub endpoints: Vec<String>,
    /// Who made it.
    pub created_by_id: Uuid,
    /// Their name then.
    pub created_by: String,
    /// When.
    pub created_at: Time,
    /// From when it opens.
    pub not_before: Option<Time>,
    /// Until when it opens.
    pub expires_at: Option<Time>,
    /// How often it may be used; none: as often as anybody likes.
    pub rate_limit: Option<RateLimit>,
    /// How much it may be used in a day or month; none: as much as anybody likes.
    pub quota: Option<Quota>,
    /// What was counted for its quota.
    pub quota_use: QuotaUse,
    /// Its nodes have been told that its quota is used up until then.
    pub used_up_until: Option<Time>,
    /// When it was revoked, if it is.
    pub revoked_at: Option<Time>,
    /// As the nodes reported.
    pub last_used_at: Option<Time>,
    /// As the nodes reported.
    pub calls: u64,
    /// Raised by every change.
    pub revision: i64,
}

impl ApiKey {
    /// What it can do now.
    pub fn state(&self, now: Time) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else if self.not_before.is_some_and(|start| start > now) {
            KeyState::NotYet
        } else {
            KeyState::Active
        }
    }

    /// Until when nothing is left of its quota; none while something is, or it has none.
    pub fn used_up(&self, now: Time) -> Option<Time> {
        self.quota?.used_up(self.quota_use, now)
    }
}

/// A key's text, on its way to a hash. Never printed.
pub struct KeyText(String);

/// Under this an imported key is weak, and must be said to be.
const WEAK_BELOW: usize = 16;

impl KeyText {
    /// A new key from 256 random bits.
    pub fn mint(random: &[u8; 32]) -> Self {
        Self(castoff_wire::key::mint(random))
    }

    /// Takes over a key from elsewhere: 8 to 256 printable ASCII characters, under 16 only when said to be weak.
    ///
    /// # Errors
    /// What it breaks. The text itself is never in the reason.
    pub fn import(text: String, weak: bool) -> Result<Self, Invalid> {
        if !(8..=256).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new(
                "/key",
                "must have 8 to 256 printable ASCII characters, no blanks",
            ));
        }
        if castoff_wire::key::looks_minted(&text) && !castoff_wire::key::is_minted(&text) {
            return Err(Invalid::new(
                "/key",
                "looks like a key of ours with a typo: its check digits do not hold",
            ));
        }
        if text.len() < WEAK_BELOW && !weak {
            return Err(Invalid::new(
                "/key",
                "has fewer than 16 characters: say \"weak\": true to take it all the same",
            ));
        }
        Ok(Self(text))
    }

    /// A key that was taken in before, as it was kept.
    pub fn kept(text: String) -> Self {
        Self(text)
    }

    /// The text, to be hashed, sealed, or shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it has fewer than 16 characters.
    pub fn is_weak(&self) -> bool {
        self.0.len() < WEAK_BELOW
    }

    /// The first eight and the last four characters; of a key shorter than 24 characters nothing, for too much of it
    /// would be told.
    pub fn masked(&self) -> String {
        match (self.0.get(..8), self.0.get(self.0.len().saturating_sub(4)..)) {
            (Some(head), Some(tail)) if self.0.len() >= 24 => format!("{head}…{tail}"),
            _ => "…".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_keys() {
        for (text, weak, fits) in [
            ("1234567", true, false),
            ("12345678", false, false),
            ("12345678", true, true),
            ("1234567890123456", false, true),
            ("1234567890 123456", false, false),
            ("123456789012345ü", false, false),
        ] {
            assert_eq!(KeyText::import(text.to_owned(), weak).is_ok(), fits, "{text}");
        }
        let minted = castoff_wire::key::mint(&[1; 32]);
        assert!(KeyText::import(minted.clone(), false).is_ok());
        assert!(KeyText::import(format!("{}x", &minted[..minted.len() - 1]), false).is_err());
    }

    #[test]
    fn a_mask_tells_little() {
        assert_eq!(KeyText::import("12345678".into(), true).unwrap().masked(), "…");
        let minted = KeyText::mint(&[3; 32]);
        assert_eq!(minted.masked().chars().count(), 13);
    }
}
