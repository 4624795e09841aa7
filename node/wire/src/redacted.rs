//! Debug for the messages that hold a hash or a token: what is logged by accident must not open a model.

use crate::proto;
use std::fmt;

impl fmt::Debug for proto::Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &hex::encode(&self.id))
            .field("endpoints", &self.endpoints)
            .field("not_before_ms", &self.not_before_ms)
            .field("expires_at_ms", &self.expires_at_ms)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for proto::NodeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeToken").finish_non_exhaustive()
    }
}

impl fmt::Debug for proto::Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}
