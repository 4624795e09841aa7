//! Nodes on a line of their own (`castoff_wire::line`): the messages straight on the connection.
//!
//! Apart from gRPC for what it costs: the task that has accepted the connection does all of it, and a push to a node is one
//! wake and one write. The rule a newcomer would break: whoever has not said who it is has a few seconds and a few bytes.

use super::conversation::Caller;
use super::ending::Ended;
use super::link::{Framed, Link, MOST_MESSAGE, OUTBOX};
use super::stream::{HELLO, Streams, note_refused};
use bytes::{Buf, Bytes};
use castoff_listen::beside::{Beside, Stream};
use castoff_wire::life::Life;
use castoff_wire::line::{self, Inbox, Unheard};
use castoff_wire::proto::{FromNode, Opened};
use futures::FutureExt;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tonic::Status;

/// For the last word.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the port of the nodes speaks beside gRPC.
pub(super) fn beside(streams: Arc<Streams>) -> Beside {
    let speak = move |line, life| {
        let streams = Arc::clone(&streams);
        async move { answer(&streams, line, life).await }.boxed()
    };
    Beside {
        protocol: line::PROTOCOL,
        first: line::FIRST,
        speak: Arc::new(speak),
    }
}

/// Holds a conversation with the node that calls, or tells it why not.
async fn answer(streams: &Streams, mut line: Box<dyn Stream>, life: Life) {
    let admitted = tokio::select! {
        admitted = admit(streams, &mut line, life) => admitted,
        () = streams.ending.stopping.cancelled() => return,
    };
    let refused = admitted.as_ref().err();
    if let Some(status) = refused {
        note_refused(line::PROTOCOL, status);
    }
    let opened = refused.map(Opened::refused).unwrap_or_default();
    let told = timeout(HELLO, async {
        line.write_all(&line::framed(&opened)).await?;
        line.flush().await
    });
    let told = matches!(told.await, Ok(Ok(())));
    match admitted {
        Ok((caller, inbox)) if told => streams.converse(caller, Direct::new(line, inbox)).await,
        _ => hang_up(line).await,
    }
}

async fn admit(streams: &Streams, line: &mut Box<dyn Stream>, life: Life) -> Result<(Caller, Inbox), Status> {
    let place = streams.place()?;
    let opening = timeout(HELLO, line::opening(line)).await;
    let opening = opening.map_err(|_| Status::deadline_exceeded("no hello came"))?;
    let (opening, inbox) = opening.map_err(|unheard| Status::invalid_argument(unheard.to_string()))?;
    let proven = streams.prove(Some(&opening.token)).await?;
    streams.stay()?;
    let caller = streams.admit(proven, opening.hello, life, place).await?;
    Ok((caller, inbox.and_then_of(MOST_MESSAGE)))
}

async fn hang_up(mut line: Box<dyn Stream>) {
    // It may be gone already.
    let _ = timeout(FAREWELL, line.shutdown()).await;
}

/// A conversation's end of a line.
struct Direct<S> {
    line: S,
    inbox: Inbox,
    /// What is not written yet, the first perhaps in part.
    outbox: VecDeque<Bytes>,
    /// What is written is out of our hands.
    flushed: bool,
}

impl<S: AsyncWrite + Unpin> Direct<S> {
    fn new(line: S, inbox: Inbox) -> Self {
        Self {
            line,
            inbox,
            outbox: VecDeque::new(),
            flushed: true,
        }
    }

    /// Writes what the node takes.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.outbox.front_mut() {
            self.flushed = false;
            let written = ready!(Pin::new(&mut self.line).poll_write(context, first))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            first.advance(written);
            if first.is_empty() {
                self.outbox.pop_front();
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.line).poll_flush(context))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Link for Direct<Box<dyn Stream>> {
    const SPOKEN: &str = line::PROTOCOL;
    const TAKES_DELTAS: bool = true;

    fn put(&mut self, message: Framed) -> Result<(), Ended> {
        if self.outbox.len() == OUTBOX {
            return Err(Ended::NotReading);
        }
        self.outbox.push_back(message.for_line());
        Ok(())
    }

    fn is_clear(&self) -> bool {
        self.outbox.is_empty() && self.flushed
    }

    async fn hear(&mut self) -> Result<FromNode, Ended> {
        let heard = poll_fn(|context| {
            // While it takes no more, it may say something all the same.
            if let Poll::Ready(Err(error)) = self.poll_send(context) {
                return Poll::Ready(Err(error.into()));
            }
            pin!(self.inbox.next(&mut self.line)).poll(context)
        });
        let heard = heard.await.map_err(|unheard| match unheard {
            Unheard::TooLarge { .. } | Unheard::Malformed => Ended::NoMessage,
            Unheard::Cut | Unheard::Io(_) => Ended::Broken,
        });
        heard?.ok_or(Ended::HungUp)
    }

    async fn hang_up(self) {
        hang_up(self.line).await;
    }
}
