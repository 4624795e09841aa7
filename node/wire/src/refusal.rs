//! The words for what a node refuses: in its metrics, and in the control plane's status.

use crate::proto::nack::Code;

impl Code {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::BadSignature => "bad-signature",
            Self::OtherDeployment => "other-deployment",
            Self::Older => "older",
            Self::Conflict => "conflict",
            Self::Gap => "gap",
            Self::Malformed => "malformed",
            Self::Package => "package",
            Self::Model => "model",
            Self::TooLarge => "too-large",
            Self::TestQuery => "test-query",
            Self::DamagedCopy => "damaged-copy",
        }
    }
}
