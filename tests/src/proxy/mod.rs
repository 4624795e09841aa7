//! What stands between a node and the control plane, and does what a bad network or a bad neighbour does.
//!
//! [`Line`] knows bytes only; [`Messages`] speaks the protocol. Both may be made before the control plane is there, so
//! that it can be told to name them to its nodes (`--node-url`).

mod line;
mod messages;

pub use line::{Line, Way};
pub use messages::Messages;
