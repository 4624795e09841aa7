//! What stands between a node and the control plane, and does what a bad network or a bad neighbour does; what stands
//! between control planes and a cluster, [`Gate`]; and what stands in front of a control plane, [`Front`].
//!
//! [`Line`] knows bytes only; [`Messages`] speaks the protocol. Both may be made before the control plane is there, so
//! that it can be told to name them to its nodes (`--node-url`).

mod between;
mod front;
mod gate;
mod line;
mod messages;

pub use front::{Front, certified};
pub use gate::Gate;
pub use line::{Line, Way};
pub use messages::{Messages, Spoken};

/// A test of what somebody between the two does, once on a line and once in gRPC.
#[macro_export]
macro_rules! however_it_is_spoken {
    ($($(#[$about:meta])* fn $name:ident($spoken:ident: Spoken) $body:block)*) => { $(
        $(#[$about])*
        mod $name {
            use super::*;

            fn play($spoken: $crate::proxy::Spoken) $body

            #[test]
            fn on_a_line() {
                play($crate::proxy::Spoken::Line);
            }

            #[test]
            fn in_grpc() {
                play($crate::proxy::Spoken::Grpc);
            }
        }
    )* };
}
