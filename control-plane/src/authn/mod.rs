//! Who is calling: from a password, an access token or a session cookie to an [`Actor`].
//!
//! Apart from authz, which decides what an actor may do. The rule a newcomer would break: nothing here is ever compared
//! with `==`; secrets are looked up by hash or verified by Argon2.

mod actor;
mod password;
mod secret;
mod slow_down;

pub use actor::{Actor, Membership, Via};
pub use password::{Password, PasswordHash, Passwords};
pub use secret::{Secret, SecretHash, SecretKind, random_bytes};
pub use slow_down::{Guesser, SlowDown};
