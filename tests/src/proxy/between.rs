//! What the proxy of messages speaks: lines or gRPC with nodes, and a line with the control plane.
//!
//! Apart from [`messages`](super::messages), which says what passes. The rule a newcomer would break: a node of this release
//! goes over to gRPC where no line is known, so that only what it is to speak is answered.

use super::messages::{Said, Shared, Spoken};
use castoff_wire::line::{self, FIRST, Inbox, Unheard, framed};
use castoff_wire::proto::control_client::ControlClient;
use castoff_wire::proto::control_server::{Control, ControlServer};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::{FetchChunk, FetchRequest, FromNode, Opened, Opening, ToNode};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// As large as a node takes.
const MOST_MESSAGE: usize = 33 << 20;

/// Between the nodes and the control plane.
#[derive(Clone)]
pub(super) struct Between {
    pub(super) target: String,
    pub(super) spoken: Spoken,
    pub(super) shared: Arc<Mutex<Shared>>,
}

/// A line to the control plane, in a node's name.
struct Line {
    stream: TcpStream,
    inbox: Inbox,
}

/// Answers lines, where they are spoken, and what else comes in gRPC: files are fetched by it.
pub(super) async fn accept(listener: TcpListener, between: Between) {
    let (calls, incoming) = unbounded_channel::<std::io::Result<TcpStream>>();
    let grpc = tonic::transport::Server::builder().add_service(ControlServer::new(between.clone()));
    tokio::spawn(grpc.serve_with_incoming(UnboundedReceiverStream::new(incoming)));
    while let Ok((node, _)) = listener.accept().await {
        let (between, calls) = (between.clone(), calls.clone());
        tokio::spawn(async move {
            node.set_nodelay(true).ok();
            let mut first = [0];
            node.peek(&mut first).await.ok();
            match (first, between.spoken) {
                ([FIRST], Spoken::Line) => drop(between.speak(node).await),
                // As whoever knows no lines: it hangs up.
                ([FIRST], Spoken::Grpc) => {}
                _ => drop(calls.send(Ok(node))),
            }
        });
    }
}

impl Between {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("the state of the proxy")
    }

    /// Opens a line to the control plane as the node does; none where it is not taken.
    async fn open(&self, opening: &Opening) -> Result<(Opened, Option<Line>), Unheard> {
        if self.shared().deaf {
            return Ok((Opened::refused(&Status::unavailable("deaf")), None));
        }
        let mut stream = TcpStream::connect(&self.target).await?;
        stream.set_nodelay(true)?;
        let (opened, inbox) = line::open(&mut stream, opening).await?;
        let inbox = inbox.and_then_of(MOST_MESSAGE);
        let taken = opened.clone().verdict().is_ok();
        Ok((opened, taken.then_some(Line { stream, inbox })))
    }

    /// Speaks on a node's line.
    async fn speak(self, mut node: TcpStream) -> Result<(), Unheard> {
        let (opening, inbox) = line::opening(&mut node).await?;
        let (opened, line) = self.open(&opening).await?;
        node.write_all(&framed(&opened)).await?;
        let Some(line) = line else { return Ok(()) };
        let (from, mut to) = node.into_split();
        let (to_node, mut said) = unbounded_channel::<Said>();
        let saying = async move {
            while let Some(said) = said.recv().await {
                let bytes = match said {
                    Said::Message(message) => framed(&message),
                    Said::Bytes(bytes) => bytes.into(),
                    Said::End => break,
                    // Without the end that a socket says when it is dropped.
                    Said::Hush => return to.forget(),
                };
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            to.shutdown().await.ok();
        };
        let from_node = heard(from, inbox.and_then_of(MOST_MESSAGE)).boxed();
        tokio::join!(saying, self.relay(from_node, to_node, line));
        Ok(())
    }

    /// Passes on what both say, until one has no more to say.
    async fn relay(self, mut from_node: BoxStream<'static, FromNode>, to_node: UnboundedSender<Said>, line: Line) {
        let (from, mut to) = line.stream.into_split();
        let mut from_control = heard(from, line.inbox).boxed();
        self.shared().to_nodes.push(to_node.clone());
        loop {
            let passed = tokio::select! {
                message = from_node.next() => match message {
                    Some(message) => self.shared().hear(message),
                    None => break,
                },
                message = from_control.next() => match message {
                    Some(message) => self.shared().tell(message, &to_node),
                    None => break,
                },
            };
            if let Some(message) = passed
                && to.write_all(&framed(&message)).await.is_err()
            {
                break;
            }
        }
        self.shared().to_nodes.retain(|node| !node.same_channel(&to_node));
        to.shutdown().await.ok();
    }
}

/// What comes, until something comes that is no message.
fn heard<M: prost::Message + Default>(
    from: impl AsyncRead + Send + Unpin,
    inbox: Inbox,
) -> impl futures::Stream<Item = M> {
    stream::unfold((from, inbox), |(mut from, mut inbox)| async {
        let message = inbox.next(&mut from).await.ok()??;
        Some((message, (from, inbox)))
    })
}

/// The token that a call comes with.
fn token<T>(request: &Request<T>) -> String {
    let header = request.metadata().get("authorization");
    let token = header.and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    token.unwrap_or_default().to_owned()
}

/// What nodes are told in gRPC.
fn told(said: UnboundedReceiver<Said>) -> BoxStream<'static, Result<ToNode, Status>> {
    let messages = UnboundedReceiverStream::new(said).filter_map(async |said| match said {
        Said::Message(message) => Some(Ok(message)),
        Said::Bytes(_) | Said::End | Said::Hush => None,
    });
    messages.boxed()
}

#[tonic::async_trait]
impl Control for Between {
    type FollowStream = BoxStream<'static, Result<ToNode, Status>>;
    type FetchStream = Streaming<FetchChunk>;

    async fn follow(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::FollowStream>, Status> {
        if self.spoken == Spoken::Line {
            return Err(Status::unimplemented("a line is spoken here"));
        }
        let token = token(&request);
        let mut from_node = request.into_inner();
        let hello = match from_node.message().await?.and_then(|first| first.message) {
            Some(Up::Hello(hello)) => Some(hello),
            _ => None,
        };
        let opening = self.open(&Opening { token, hello }).await;
        let (opened, line) = opening.map_err(|unheard| Status::unavailable(unheard.to_string()))?;
        opened.verdict()?;
        let line = line.ok_or_else(|| Status::unavailable("no line"))?;
        let (to_node, said) = unbounded_channel();
        let from_node = stream::unfold(from_node, async |mut from_node| {
            Some((from_node.message().await.ok()??, from_node))
        });
        tokio::spawn(self.clone().relay(from_node.boxed(), to_node, line));
        Ok(Response::new(told(said)))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let (metadata, _, wanted) = request.into_parts();
        let client = ControlClient::connect(format!("http://{}", self.target)).await;
        let mut client = client.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(wanted);
        if let Some(token) = metadata.get("authorization") {
            request.metadata_mut().insert("authorization", token.clone());
        }
        client.fetch(request).await
    }
}
