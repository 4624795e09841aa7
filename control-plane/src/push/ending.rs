//! How conversations end, and how they are told to.
//!
//! The rule a newcomer would break: whoever ends has its nodes go on elsewhere first, and hangs up on them last.

use tokio_util::sync::CancellationToken;

/// How streams are told to end.
#[derive(Clone)]
pub(super) struct Ending {
    /// Nodes are asked to go on with another control plane.
    pub(super) moving: CancellationToken,
    /// They are hung up on.
    pub(super) stopping: CancellationToken,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Stopping,
    Replaced,
    DeploymentGone,
    HungUp,
    Broken,
    Silent,
    TooSlow,
    NotReading,
    NoMessage,
    SecondHello,
    TokenOver,
}

impl Ended {
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Stopping => "the control plane ends",
            Self::Replaced => "the node has dialled again",
            Self::DeploymentGone => "the deployment is gone",
            Self::HungUp => "the node ended the stream",
            Self::Broken => "the connection broke",
            Self::Silent => "three heartbeats were missed",
            Self::TooSlow => "a message took too long",
            Self::NotReading => "a config did not arrive",
            Self::NoMessage => "what it said is no message",
            Self::SecondHello => "a second hello came",
            Self::TokenOver => "its token has ended",
        }
    }

    /// Whether the node went without a word.
    pub(super) fn is_loss(self) -> bool {
        matches!(
            self,
            Self::Broken | Self::Silent | Self::TooSlow | Self::NotReading | Self::NoMessage
        )
    }
}
