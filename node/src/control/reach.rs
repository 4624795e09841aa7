//! Reaching a control plane: from the dial to the line on which it has answered.
//!
//! Apart from [`stream`](super::stream), which obeys one line: another can be reached beside it. The rule a newcomer would
//! break: nothing here borrows from the node, so that it goes on obeying whom it has.

use super::dial::{Client, Dial, Token};
use super::outbox::Outbox;
use super::serves::Serves;
use castoff_wire::life::{Life, SILENCE};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::{FromNode, Hello, ToNode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

/// Messages on their way out. More means that nobody reads them.
const OUTBOX: usize = 64;
/// For the last messages to arrive.
const FAREWELL: Duration = Duration::from_secs(2);

/// A line on which the control plane has answered.
pub struct Reached {
    /// Its signs of life.
    pub life: Life,
    /// To the control plane.
    pub outbox: Outbox,
    /// From there.
    pub from_control: Streaming<ToNode>,
    /// What else can be asked for on this connection.
    pub client: Client,
    /// The token that was taken.
    pub token: Token,
}

impl Reached {
    /// Hangs up, and waits until the control plane has read what was said.
    pub async fn hang_up(self) {
        let Self {
            outbox,
            mut from_control,
            ..
        } = self;
        drop(outbox);
        let hung_up = async { while let Ok(Some(_)) = from_control.message().await {} };
        if timeout(FAREWELL, hung_up).await.is_err() {
            tracing::warn!("the control plane did not hang up, the last usage may be lost");
        }
    }
}

/// Dials and says Hello.
///
/// # Errors
/// Why no line stands, in one line.
pub async fn reach<S: Serves>(dial: Dial, hello: Hello, serves: Arc<S>) -> Result<Reached, String> {
    let (life, channel) = dial.connect().await?;
    let mut refusal = String::new();
    for (token, client) in dial.clients(&channel) {
        let (sender, receiver) = mpsc::channel(OUTBOX);
        let outbox = Outbox::new(sender);
        outbox.send(Up::Hello(hello.clone()));
        let calls = Outbox::stream(receiver, serves.clone());
        match follow(client.clone(), calls).await {
            Ok(from_control) => {
                return Ok(Reached {
                    life,
                    outbox,
                    from_control,
                    client,
                    token,
                });
            }
            Err(status) => {
                refusal = format!("{}: {}", status.code(), status.message());
                if status.code() != Code::Unauthenticated {
                    break;
                }
            }
        }
    }
    Err(refusal)
}

async fn follow(
    mut client: Client,
    calls: impl tokio_stream::Stream<Item = FromNode> + Send + 'static,
) -> Result<Streaming<ToNode>, Status> {
    let answer = timeout(SILENCE, client.follow(calls)).await;
    answer
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
        .map(tonic::Response::into_inner)
}
