//! Messages on their way to the control plane.
//!
//! Apart for one reason: usage that was put in and not taken out when the line broke goes back to where it was counted.

use super::serves::Serves;
use castoff_wire::proto::from_node::Message;
use castoff_wire::proto::{FromNode, Usage};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_stream::Stream;

/// Where messages are put in. It never waits.
pub struct Outbox(Sender<FromNode>);

impl Outbox {
    /// An outbox over this channel.
    pub fn new(sender: Sender<FromNode>) -> Self {
        Self(sender)
    }

    /// Puts a message in; `false` when nobody takes them out.
    pub fn send(&self, message: Message) -> bool {
        self.0.try_send(FromNode { message: Some(message) }).is_ok()
    }

    /// Puts usage in.
    ///
    /// # Errors
    /// The usage, when nobody takes it out.
    pub fn send_usage(&self, usage: Usage) -> Result<(), Usage> {
        let message = FromNode {
            message: Some(Message::Usage(usage)),
        };
        self.0.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message) | mpsc::error::TrySendError::Closed(message) => {
                usage_of(message).unwrap_or_default()
            }
        })
    }

    /// Where messages are taken out.
    pub fn stream<S: Serves>(
        receiver: Receiver<FromNode>,
        serves: Arc<S>,
    ) -> impl Stream<Item = FromNode> + Send + 'static {
        TakenOut { receiver, serves }
    }
}

struct TakenOut<S: Serves> {
    receiver: Receiver<FromNode>,
    serves: Arc<S>,
}

impl<S: Serves> Stream for TakenOut<S> {
    type Item = FromNode;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FromNode>> {
        self.receiver.poll_recv(context)
    }
}

impl<S: Serves> Drop for TakenOut<S> {
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(message) = self.receiver.try_recv() {
            if let Some(usage) = usage_of(message) {
                self.serves.put_back(usage);
            }
        }
    }
}

fn usage_of(message: FromNode) -> Option<Usage> {
    match message.message {
        Some(Message::Usage(usage)) => Some(usage),
        _ => None,
    }
}
