//! What the control plane and its nodes say to each other.
//!
//! Apart from both, so that neither can read the other's mind: a node is built without one line of the control plane.
//! The rule a newcomer would break: a node obeys only what [`Signed::open`](proto::Signed::open) let through, never a
//! message because of the connection that it came on.

pub mod addresses;
pub mod delta;
pub mod join;
pub mod key;
pub mod life;
pub mod line;
pub mod position;
mod redacted;
mod refusal;
pub mod signed;
pub mod strict;
pub mod test_query;

/// The messages and the gRPC service of `proto/node.proto`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unreachable_pub
)]
pub mod proto {
    tonic::include_proto!("castoff.node.v1");
}

pub use addresses::PackageAddresses;
pub use join::Join;
pub use position::{Judgement, judge};
pub use signed::{Refused, Trust};

/// SHA-256 of some bytes.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
