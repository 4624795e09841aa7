//! What a node did not obey.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a node refused a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// Not signed by a key that the node trusts.
    BadSignature,
    /// Signed, but for another deployment.
    OtherDeployment,
    /// Older than the one that it holds.
    Older,
    /// Of the version that it holds, but with other bytes.
    Conflict,
    /// Signed, but not a config that its release can read.
    Malformed,
    /// Larger than a node takes.
    TooLarge,
    /// A model file could not be fetched.
    Package,
    /// A model could not be loaded.
    Model,
    /// A model answers a test query of its package wrongly, or not at all.
    TestQuery,
    /// Its durable copy was torn, or changed by somebody else.
    DamagedCopy,
    /// A reason that this release does not know.
    Other,
}

impl RefusalReason {
    /// In a few words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::BadSignature => "not signed by a trusted key",
            Self::OtherDeployment => "for another deployment",
            Self::Older => "older than the one it holds",
            Self::Conflict => "another under the version it holds",
            Self::Malformed => "not readable",
            Self::TooLarge => "too large",
            Self::Package => "a model file is missing",
            Self::Model => "a model does not load",
            Self::TestQuery => "a test query failed",
            Self::DamagedCopy => "its durable copy was damaged",
            Self::Other => "for a reason of a later release",
        }
    }
}

/// The latest refusal of a node, until it obeys again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// Epoch and version of what was refused; none when it could not be opened.
    pub config: Option<(u64, u64)>,
    /// Refusals in a row.
    pub count: u64,
    /// What the node says, in one line.
    pub detail: String,
}

impl Refusal {
    /// In one line for people.
    pub fn line(&self) -> String {
        let what = match self.config {
            Some((epoch, version)) => format!("config {epoch}.{version}"),
            None => "a config".to_owned(),
        };
        let times = match self.count {
            0 | 1 => String::new(),
            count => format!(" ({count} refusals)"),
        };
        format!("refused {what}, {}{times}", self.reason.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line() {
        let mut refusal = Refusal {
            reason: RefusalReason::Older,
            config: Some((1, 4)),
            count: 1,
            detail: String::new(),
        };
        assert_eq!(refusal.line(), "refused config 1.4, older than the one it holds");
        refusal.config = None;
        refusal.reason = RefusalReason::BadSignature;
        refusal.count = 3;
        assert_eq!(
            refusal.line(),
            "refused a config, not signed by a trusted key (3 refusals)"
        );
    }
}
