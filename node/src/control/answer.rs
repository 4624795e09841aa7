//! The three answers to an offer.

use castoff_wire::proto::from_node::Message;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::{Ack, Nack, Position, Received};

/// It is in force.
pub fn ack(position: Position) -> Message {
    Message::Ack(Ack {
        position: Some(position),
    })
}

/// It has arrived; whether it is obeyed is said later.
pub fn received(digest: Vec<u8>) -> Message {
    Message::Received(Received { digest })
}

/// It is not obeyed. The reason is one line for people, without a key, a hash or a tensor.
pub fn nack(code: Code, position: Position, reason: String) -> Message {
    Message::Nack(Nack {
        code: code.into(),
        position: Some(position),
        reason,
    })
}
