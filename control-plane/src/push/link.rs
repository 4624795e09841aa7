//! What a conversation is held on: a line of its own, or a stream of gRPC.
//!
//! Apart from the conversation, which is the same on both. The rule a newcomer would break: a message is framed once, and
//! its bytes are shared by whoever is sent it. A config is the same for all nodes of a deployment.

use super::ending::Ended;
use bytes::{BufMut, Bytes, BytesMut};
use castoff_wire::proto::{FromNode, ToNode, to_node};
use prost::Message;

/// Messages that wait to be sent: a config, and now and then a token or the addresses of control planes. A heartbeat only
/// where nothing else waits.
pub(super) const OUTBOX: usize = 8;
/// A message from a node is a few hundred bytes; usage of 10,000 keys is 400 KiB.
pub(super) const MOST_MESSAGE: usize = 1 << 20;
/// Before each message in gRPC: whether it is compressed (none is), and its length, which a line has, too.
pub(super) const PREFIX: usize = 1 + castoff_wire::line::PREFIX;

/// One node's end of what it is talked to on.
pub(super) trait Link: Send + 'static {
    /// What is spoken, by the name that TLS has for it.
    const SPOKEN: &str;
    /// Whether a node that speaks it makes a config from the one before. Those of the release before ask for it each time.
    const TAKES_DELTAS: bool;

    /// Puts a message in. It goes out as soon as the node takes it, while [`hear`](Self::hear) is waited for.
    fn put(&mut self, message: Framed) -> Result<(), Ended>;

    /// Whether all that was put in is out.
    fn is_clear(&self) -> bool;

    /// The next message. May be dropped and called again.
    fn hear(&mut self) -> impl Future<Output = Result<FromNode, Ended>> + Send;

    /// Ends it.
    fn hang_up(self) -> impl Future<Output = ()> + Send;
}

/// A message as it goes over the line.
#[derive(Clone)]
pub(super) struct Framed(Bytes);

impl Framed {
    /// Encodes a message.
    pub(super) fn new(message: &ToNode) -> Self {
        let length = message.encoded_len();
        let mut framed = BytesMut::with_capacity(PREFIX + length);
        framed.put_u8(0);
        // A config is bounded far below the 4 GiB that can be said here.
        framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        message.encode_raw(&mut framed);
        Self(framed.freeze())
    }

    /// For gRPC.
    pub(super) fn for_grpc(self) -> Bytes {
        self.0
    }

    /// The message that was encoded.
    pub(super) fn message(&self) -> Option<to_node::Message> {
        ToNode::decode(self.0.get(PREFIX..)?).ok()?.message
    }

    /// For a line, which knows no compression.
    pub(super) fn for_line(self) -> Bytes {
        self.0.slice(1..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use castoff_wire::line;
    use castoff_wire::proto::{Heartbeat, to_node};

    #[test]
    fn both_are_sent_the_same_bytes() {
        let message = ToNode {
            message: Some(to_node::Message::Heartbeat(Heartbeat {
                sent_at_ms: 7,
                nodes: 3,
            })),
        };
        let framed = Framed::new(&message);
        assert_eq!(framed.clone().for_line(), line::framed(&message));
        let (compressed, rest) = (framed.clone().for_grpc()[0], framed.clone().for_grpc().slice(1..));
        assert_eq!((compressed, rest.as_ptr()), (0, framed.for_line().as_ptr()));
        assert_eq!(rest, line::framed(&message));
    }
}
