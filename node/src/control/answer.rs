//! The two answers to an offer.

use castoff_wire::proto::from_node::Message;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::{Ack, Nack, Position};

/// It is in force.
pub fn ack(position: Position) -> Message {
    Message::Ack(Ack {
        position: Some(position),
    })
}

/// It is not obeyed. The reason is one line for people, without a key, a hash or a tensor.
pub fn nack(code: Code, position: Position, reason: String) -> Message {
    Message::Nack(Nack {
        code: code.into(),
        position: Some(position),
        reason,
    })
}
