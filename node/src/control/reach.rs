//! Reaching a control plane: from the dial to the line on which it has answered, or the stream of gRPC where it knows no
//! lines.
//!
//! Apart from [`stream`](super::stream), which obeys what it says, whatever that comes on: another can be reached beside
//! it. The rule a newcomer would break: nothing here borrows from the node, so that it goes on obeying whom it has.

use super::dial::{Client, Dial, Token};
use super::line::{Heard, NotOpened};
use super::outbox::Outbox;
use super::serves::Serves;
use castoff_wire::life::{Life, SILENCE};
use castoff_wire::line::Unheard;
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
    pub from_control: FromControl,
    /// What else can be asked for there.
    pub client: Client,
    /// The token that was taken.
    pub token: Token,
}

/// What the control plane says.
pub enum FromControl {
    /// On a line.
    Line(Heard),
    /// In gRPC.
    Stream(Box<Streaming<ToNode>>),
}

/// Why nothing more is heard, in one line.
pub enum Lost {
    /// What came is larger than this node takes.
    TooLarge(String),
    /// The line broke.
    Broken(String),
}

impl FromControl {
    /// What is spoken, by the name that TLS has for it.
    pub fn spoken(&self) -> &'static str {
        match self {
            Self::Line(_) => castoff_wire::line::PROTOCOL,
            Self::Stream(_) => "h2",
        }
    }

    /// The next message; `None` when the control plane has hung up. May be dropped and called again.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn message(&mut self) -> Result<Option<ToNode>, Lost> {
        match self {
            Self::Line(heard) => heard.message().await.map_err(|unheard| match unheard {
                Unheard::TooLarge { .. } => Lost::TooLarge(unheard.to_string()),
                _ => Lost::Broken(unheard.to_string()),
            }),
            Self::Stream(messages) => messages.message().await.map_err(|status| {
                let reason = status.message().to_owned();
                match status.code() {
                    Code::OutOfRange => Lost::TooLarge(reason),
                    _ => Lost::Broken(reason),
                }
            }),
        }
    }
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
    match dial.line(&hello).await {
        Ok((token, taken, client)) => {
            let (sender, receiver) = mpsc::channel(OUTBOX);
            Ok(Reached {
                life: taken.life.clone(),
                outbox: Outbox::new(sender),
                from_control: FromControl::Line(taken.say(Outbox::stream(receiver, serves))),
                client,
                token,
            })
        }
        Err(NotOpened::Unknown) => reach_by_grpc(dial, hello, serves).await,
        Err(NotOpened::Refused(status)) => Err(refused(&status)),
        Err(NotOpened::Failed(reason)) => Err(reason),
    }
}

/// The same where no line is known.
async fn reach_by_grpc<S: Serves>(dial: Dial, hello: Hello, serves: Arc<S>) -> Result<Reached, String> {
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
                    from_control: FromControl::Stream(Box::new(from_control)),
                    client,
                    token,
                });
            }
            Err(status) => {
                refusal = refused(&status);
                if status.code() != Code::Unauthenticated {
                    break;
                }
            }
        }
    }
    Err(refusal)
}

fn refused(status: &Status) -> String {
    format!("{}: {}", status.code(), status.message())
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
