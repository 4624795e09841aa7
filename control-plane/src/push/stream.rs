//! The streams of nodes: who dials, what is said, and how it ends.

use super::hub::{Hub, Newest};
use crate::artifacts::Packages;
use crate::authn::{Secret, SecretKind};
use crate::domain::Time;
use crate::domain::package::Digest;
use crate::store::{MachineKeyUse, NodeReport};
use castoff_wire::proto::control_server::Control;
use castoff_wire::proto::{
    self, FetchChunk, FetchRequest, FromNode, Heartbeat, Hello, ToNode, UpToDate, from_node, nack, to_node,
};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// The service that nodes dial.
pub(super) struct Streams {
    hub: Arc<Hub>,
    packages: Packages,
    stopping: CancellationToken,
    places: Arc<Semaphore>,
}

/// Streams and fetches at once.
const MOST_STREAMS: usize = 20_000;
/// A node says hello at once.
const HELLO: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Three heartbeats and half of one.
const SILENCE: Duration = Duration::from_millis(3_500);
/// A node that only goes on is written down this often; any change at once.
const REPORT: Duration = Duration::from_secs(3);
/// Messages that wait to be sent; a node that does not read is hung up on.
const OUTBOX: usize = 8;
/// A line for people, from a node.
const MOST_REASON: usize = 500;

type Chunks = Pin<Box<dyn Stream<Item = Result<FetchChunk, Status>> + Send>>;

impl Streams {
    pub(super) fn new(hub: Arc<Hub>, packages: Packages, stopping: CancellationToken) -> Self {
        Self {
            hub,
            packages,
            stopping,
            places: Arc::new(Semaphore::new(MOST_STREAMS)),
        }
    }

    /// The deployment that the caller's token belongs to.
    async fn deployment<T>(&self, request: &Request<T>) -> Result<Uuid, Status> {
        let refused = || Status::unauthenticated("the node token is not valid");
        let token = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("Bearer "))
            .and_then(|token| Secret::presented(SecretKind::NodeToken, token))
            .ok_or_else(refused)?;
        self.hub
            .store
            .deployment_of_token(&token)
            .await
            .map_err(unavailable)?
            .ok_or_else(refused)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many streams are open"))
    }
}

fn unavailable(error: crate::store::Error) -> Status {
    tracing::error!(error = &error as &dyn std::error::Error, "a node could not be answered");
    Status::unavailable("the database does not answer")
}

#[tonic::async_trait]
impl Control for Streams {
    type FollowStream = ReceiverStream<Result<ToNode, Status>>;
    type FetchStream = Chunks;

    async fn follow(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::FollowStream>, Status> {
        let place = self.place()?;
        let deployment_id = self.deployment(&request).await?;
        let mut inbox = request.into_inner();
        let first = tokio::time::timeout(HELLO, inbox.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(from_node::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        if hello.deployment_id != deployment_id.as_bytes() {
            return Err(Status::permission_denied("the token belongs to another deployment"));
        }
        let node_id =
            Uuid::from_slice(&hello.node_id).map_err(|_| Status::invalid_argument("node_id must be a UUID"))?;
        let newest = self.hub.follow(deployment_id).await.map_err(unavailable)?;
        let (outbox, receiver) = mpsc::channel(OUTBOX);
        let conversation = Conversation {
            hub: Arc::clone(&self.hub),
            node_id,
            deployment_id,
            report: report(&hello),
            newest,
            outbox,
            heard: Instant::now(),
            written: None,
            _place: place,
        };
        tokio::spawn(conversation.hold(hello, inbox, self.stopping.clone()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Chunks>, Status> {
        let place = self.place()?;
        let deployment_id = self.deployment(&request).await?;
        let unknown = || Status::not_found("the config names no such file");
        let digest: [u8; 32] = request.into_inner().digest.try_into().map_err(|_| unknown())?;
        let digest = Digest::new(digest);
        let config = self.hub.store.config(deployment_id).await.map_err(unavailable)?;
        config
            .filter(|config| config.files.iter().any(|(file, _)| *file == digest))
            .ok_or_else(unknown)?;
        let found = self.packages.read(&digest).await.map_err(|error| {
            tracing::error!(%error, file.digest = %digest, "a file could not be read");
            Status::unavailable("the file cannot be read")
        })?;
        let (_, bytes) = found.ok_or_else(|| {
            tracing::error!(file.digest = %digest, "a file that a config names is missing");
            Status::unavailable("the file is missing on the control plane")
        })?;
        let chunks = bytes.map(move |chunk| {
            let _held = &place;
            chunk
                .map(|data| FetchChunk { data: data.to_vec() })
                .map_err(|_| Status::data_loss("the file broke off"))
        });
        Ok(Response::new(Box::pin(chunks)))
    }
}

fn report(hello: &Hello) -> NodeReport {
    let short = |text: &str| Some(text.chars().take(255).collect::<String>()).filter(|text| !text.is_empty());
    NodeReport {
        connected: true,
        http_address: short(&hello.http_address),
        ops_address: short(&hello.ops_address),
        release: short(&hello.release),
        ..NodeReport::default()
    }
}

/// One node on the line.
struct Conversation {
    hub: Arc<Hub>,
    node_id: Uuid,
    deployment_id: Uuid,
    report: NodeReport,
    newest: watch::Receiver<Newest>,
    outbox: mpsc::Sender<Result<ToNode, Status>>,
    heard: Instant,
    written: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

/// Why a conversation ended.
#[derive(Debug)]
struct HungUp(&'static str);

impl Conversation {
    async fn hold(mut self, hello: Hello, inbox: Streaming<FromNode>, stopping: CancellationToken) {
        metrics::gauge!("castoff_push_streams").increment(1.0);
        tracing::info!(node.id = %self.node_id, deployment.id = %self.deployment_id, "a node is on the line");
        let HungUp(why) = match self.talk(hello, inbox, stopping).await {
            Ok(()) => HungUp("the control plane ends"),
            Err(hung_up) => hung_up,
        };
        metrics::gauge!("castoff_push_streams").decrement(1.0);
        tracing::info!(node.id = %self.node_id, deployment.id = %self.deployment_id, why, "a node is off the line");
        self.hub.forget_acks(self.node_id);
        self.report.connected = false;
        if let Err(hung_up) = self.write().await {
            tracing::debug!(why = hung_up.0, "the end of a stream was not written down");
        }
    }

    async fn talk(
        &mut self,
        hello: Hello,
        mut inbox: Streaming<FromNode>,
        stopping: CancellationToken,
    ) -> Result<(), HungUp> {
        let current = self
            .newest
            .borrow_and_update()
            .clone()
            .ok_or(HungUp("the deployment is gone"))?;
        if hello.have.as_ref() == Some(&current.position) {
            self.send(to_node::Message::UpToDate(UpToDate {}))?;
        } else {
            self.send(to_node::Message::Snapshot(current.signed.clone()))?;
        }
        self.write().await?;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                changed = self.newest.changed() => {
                    changed.map_err(|_| HungUp("nobody looks for configs"))?;
                    self.push()?;
                }
                message = inbox.message() => match message {
                    Ok(Some(message)) => {
                        self.heard = Instant::now();
                        self.hear(message).await?;
                    }
                    Ok(None) => return Err(HungUp("the node ended the stream")),
                    Err(_) => return Err(HungUp("the connection broke")),
                },
                _ = heartbeat.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(HungUp("three heartbeats were missed"));
                    }
                    self.send(to_node::Message::Heartbeat(Heartbeat { sent_at_ms: self.hub.store.now().ms() }))?;
                    if self.written.is_none_or(|written| written.elapsed() > REPORT) {
                        self.write().await?;
                    }
                }
            }
        }
    }

    fn push(&mut self) -> Result<(), HungUp> {
        let newest = self
            .newest
            .borrow_and_update()
            .clone()
            .ok_or(HungUp("the deployment is gone"))?;
        self.send(to_node::Message::Snapshot(newest.signed.clone()))
    }

    fn send(&self, message: to_node::Message) -> Result<(), HungUp> {
        self.outbox
            .try_send(Ok(ToNode { message: Some(message) }))
            .map_err(|_| HungUp("the node does not read"))
    }

    async fn hear(&mut self, message: FromNode) -> Result<(), HungUp> {
        match message.message {
            Some(from_node::Message::Ack(ack)) => {
                let position = ack.position.ok_or(HungUp("an ack had no position"))?;
                metrics::counter!("castoff_push_acks_total").increment(1);
                self.hub.note_ack(self.node_id, self.deployment_id, &position);
                self.report.acked = Some((position.epoch, position.version, position.digest));
                self.write().await
            }
            Some(from_node::Message::Nack(nack)) => self.hear_nack(nack).await,
            Some(from_node::Message::Health(health)) => {
                let reason =
                    Some(health.reason.chars().take(MOST_REASON).collect::<String>()).filter(|text| !text.is_empty());
                let before = (self.report.ready, self.report.stale, self.report.reason.clone());
                let was_ready = self.report.ready;
                self.report.ready = health.ready;
                self.report.stale = health.stale;
                self.report.refused_configs = health.refused_configs;
                self.report.reason = reason;
                if before == (self.report.ready, self.report.stale, self.report.reason.clone()) {
                    return Ok(());
                }
                self.write().await?;
                if health.ready && !was_ready {
                    self.note("node-ready", &format!("node {} is ready", self.node_id))
                        .await;
                }
                Ok(())
            }
            Some(from_node::Message::Usage(usage)) => self.hear_usage(usage).await,
            Some(from_node::Message::Heartbeat(_)) => Ok(()),
            Some(from_node::Message::Hello(_)) => Err(HungUp("a second hello came")),
            // A later release may say more.
            None => Ok(()),
        }
    }

    async fn hear_nack(&mut self, nack: proto::Nack) -> Result<(), HungUp> {
        let code = nack.code();
        metrics::counter!("castoff_push_nacks_total", "code" => code.as_str_name()).increment(1);
        if code == nack::Code::Gap {
            return self.push();
        }
        let reason: String = nack.reason.chars().take(MOST_REASON).collect();
        tracing::warn!(node.id = %self.node_id, deployment.id = %self.deployment_id, code = code.as_str_name(), reason, "a node refused a config");
        self.report.reason = Some(reason.clone());
        self.write().await?;
        self.note(
            "config-refused",
            &format!("node {} refused a config: {reason}", self.node_id),
        )
        .await;
        Ok(())
    }

    async fn hear_usage(&self, usage: proto::Usage) -> Result<(), HungUp> {
        let now = self.hub.store.now();
        let uses: Vec<MachineKeyUse> = usage
            .keys
            .iter()
            .filter_map(|used| {
                Some(MachineKeyUse {
                    key_id: Uuid::from_slice(&used.key_id).ok()?,
                    deployment_id: self.deployment_id,
                    calls: used.calls,
                    // A node's clock may run ahead.
                    last_used_at: Time::from_ms(used.last_used_ms).min(now),
                })
            })
            .collect();
        if uses.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.hub.store.count_key_use(&uses).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the use of keys was not counted"
            );
        }
        Ok(())
    }

    async fn note(&self, kind: &str, message: &str) {
        if let Err(error) = self.hub.store.note_event(self.deployment_id, kind, message).await {
            tracing::error!(error = &error as &dyn std::error::Error, "an event was not noted");
        }
    }

    async fn write(&mut self) -> Result<(), HungUp> {
        self.written = Some(Instant::now());
        let saved = self
            .hub
            .store
            .save_report(self.node_id, self.deployment_id, &self.report)
            .await;
        saved.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, node.id = %self.node_id, "a node's report was not saved");
            HungUp("the database does not answer")
        })
    }
}
