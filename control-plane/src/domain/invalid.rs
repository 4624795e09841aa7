//! What is wrong with something from outside, and where.

use std::fmt;

/// The only parse error of the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// A JSON pointer (RFC 6901) to the place; empty for the whole.
    pub pointer: String,
    /// What is wrong with it, for people, without the value.
    pub reason: String,
}

impl Invalid {
    /// Something is wrong at a place.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            reason: reason.into(),
        }
    }

    /// The same, seen from further out.
    #[must_use]
    pub fn under(self, outer: &str) -> Self {
        Self {
            pointer: format!("{outer}{}", self.pointer),
            reason: self.reason,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{} {}", self.pointer, self.reason)
        }
    }
}

impl std::error::Error for Invalid {}
