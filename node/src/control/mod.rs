//! COLD: the node's side of the push. It dials the control plane, obeys what is signed, and reports.
//!
//! From the outside in: [`boot`] reads what lies on disk, [`stream`] holds the line, [`rules`] decides what to do with an
//! offer, [`apply`] does it. The rule a newcomer would break: nothing here runs when a call is answered; a node whose
//! control side stands still answers as before.

pub mod absence;
pub mod answer;
pub mod apply;
pub mod backoff;
pub mod boot;
pub mod copy;
pub mod dial;
pub mod durable;
pub mod fetch;
pub mod keeper;
pub mod line;
pub mod load;
pub mod node;
pub mod object;
pub mod outbox;
pub mod overlay;
pub mod process;
pub mod reach;
pub mod refusals;
pub mod rules;
pub mod serves;
pub mod socket;
pub mod stir;
pub mod stream;
pub mod vouched;

#[cfg(test)]
mod signing;
#[cfg(test)]
mod tests;
