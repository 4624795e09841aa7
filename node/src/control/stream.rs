//! On the line with the control plane: dial, say Hello, obey, report; and again when the line breaks.
//!
//! The rule a newcomer would break: nothing in this loop waits for a model. Loads go on beside it, and come back as one
//! more thing to select.

use super::answer::received;
use super::apply::Follower;
use super::backoff::full_jitter;
use super::copy::DurableCopy;
use super::dial::{Client, Dialer};
use super::durable::on_disk;
use super::outbox::Outbox;
use super::serves::Serves;
use castoff_wire::life::{LONGEST_MESSAGE, Life, SILENCE};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{FromNode, Health, Heartbeat, Hello, Position, ToNode, TokenKept};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

/// How long a booting node waits for the control plane before it goes on with the durable copy.
const GRACE: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_secs(1);
const REPORT: Duration = Duration::from_secs(2);
/// How often a change of health is looked for.
const LOOK: Duration = Duration::from_millis(200);
/// The note of the last contact is never older than this.
const NOTE_CONTACT: Duration = Duration::from_secs(5);
/// For the last usage to arrive.
const FAREWELL: Duration = Duration::from_secs(2);
/// Messages on their way out. More means that nobody reads them.
const OUTBOX: usize = 64;

/// Who this node says it is.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Its id.
    pub node_id: uuid::Uuid,
    /// The deployment that it serves.
    pub deployment: uuid::Uuid,
    /// Where callers reach it.
    pub http_address: String,
    /// Where its health and metrics are.
    pub ops_address: String,
    /// When its process started.
    pub started_at_ms: i64,
}

impl Introduction {
    fn hello(&self, have: Option<Position>) -> Hello {
        Hello {
            node_id: self.node_id.as_bytes().to_vec(),
            deployment_id: self.deployment.as_bytes().to_vec(),
            have,
            release: env!("CARGO_PKG_VERSION").into(),
            http_address: self.http_address.clone(),
            ops_address: self.ops_address.clone(),
            started_at_ms: self.started_at_ms,
        }
    }
}

/// The node's end of the line.
pub struct Line<S: Serves> {
    serves: Arc<S>,
    follower: Follower<S>,
    dialer: Dialer,
    copy: DurableCopy,
    introduction: Introduction,
    /// Until when a booting node waits for the control plane.
    grace: Option<Instant>,
    /// When the last contact was written down.
    noted: Option<Instant>,
    /// It could not be.
    unnoted: bool,
    /// Ends the line, the last usage being sent.
    end: CancellationToken,
}

/// How a line ended.
enum Ended {
    /// It broke, or was never there.
    Broken,
    /// This node is ending.
    ByUs,
}

impl<S: Serves> Line<S> {
    /// A line that is not dialled yet.
    pub fn new(
        serves: Arc<S>,
        follower: Follower<S>,
        dialer: Dialer,
        copy: DurableCopy,
        introduction: Introduction,
        end: CancellationToken,
    ) -> Self {
        let grace = Some(Instant::now() + GRACE);
        Self {
            serves,
            follower,
            dialer,
            copy,
            introduction,
            grace,
            noted: None,
            unnoted: false,
            end,
        }
    }

    /// Stays on the line until `end`.
    pub async fn hold(mut self) {
        let mut failures = 0;
        let mut complained = false;
        loop {
            let began = Instant::now();
            match self.once(&mut complained).await {
                Ended::ByUs => return,
                Ended::Broken => {
                    self.follower.set_client(None);
                    self.dialer.turn_to_next();
                }
            }
            // A line that held for a while was a good one: the next dial is the first again.
            failures = if began.elapsed() > SILENCE { 0 } else { failures + 1 };
            if self
                .meanwhile(sleep(full_jitter(failures, rand::random())))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Dials once and stays on the line while it holds.
    async fn once(&mut self, complained: &mut bool) -> Ended {
        let (life, outbox, mut from_control) = match self.dial().await {
            Some(Ok(line)) => line,
            None => return Ended::ByUs,
            Some(Err(reason)) => {
                // Once per outage, not once per dial.
                if !std::mem::replace(complained, true) {
                    tracing::warn!(reason, "the control plane does not answer, dialling again and again");
                }
                self.go_on_without();
                return Ended::Broken;
            }
        };
        *complained = false;
        tracing::info!("on the line with the control plane");
        let ended = self.talk(&life, &outbox, &mut from_control).await;
        match &ended {
            Ended::ByUs => self.farewell(outbox, from_control).await,
            Ended::Broken => self.go_on_without(),
        }
        ended
    }

    /// `None` when this node is ending meanwhile.
    async fn dial(&mut self) -> Option<Result<(Life, Outbox, Streaming<ToNode>), String>> {
        let connected = self.dialer.connect();
        let (life, channel) = match self.meanwhile(connected).await? {
            Ok(connected) => connected,
            Err(reason) => return Some(Err(reason)),
        };
        let mut refusal = String::new();
        for (token, client) in self.dialer.clients(&channel) {
            let (sender, receiver) = mpsc::channel(OUTBOX);
            let outbox = Outbox::new(sender);
            outbox.send(Up::Hello(self.introduction.hello(self.follower.have())));
            let calls = Outbox::stream(receiver, self.serves.clone());
            match self.meanwhile(follow(client.clone(), calls)).await? {
                Ok(from_control) => {
                    self.dialer.taken(token);
                    self.follower.set_client(Some(client));
                    return Some(Ok((life, outbox, from_control)));
                }
                Err(status) => {
                    refusal = format!("{}: {}", status.code(), status.message());
                    if status.code() != Code::Unauthenticated {
                        break;
                    }
                }
            }
        }
        Some(Err(refusal))
    }

    async fn talk(&mut self, life: &Life, outbox: &Outbox, from_control: &mut Streaming<ToNode>) -> Ended {
        let (mut heartbeat, mut report, mut look) = (ticks(HEARTBEAT), ticks(REPORT), ticks(LOOK));
        let mut heard = Instant::now();
        // Before it obeys anything here: what it has refused elsewhere is told, also when the next config ends it.
        let first = self.serves.health();
        outbox.send(Up::Health(first.clone()));
        let mut told = Some(first);
        let end = self.end.clone();
        loop {
            let grace = self.grace;
            let answer = tokio::select! {
                () = end.cancelled() => return Ended::ByUs,
                message = from_control.message() => match message {
                    Ok(Some(ToNode { message })) => {
                        heard = Instant::now();
                        self.note_contact().await;
                        match message {
                            Some(message) => self.obey(message).await,
                            None => None,
                        }
                    }
                    Ok(None) => return broken("the control plane hung up"),
                    Err(status) => {
                        if status.code() == Code::OutOfRange {
                            self.follower.refuse_too_large(status.message().to_owned());
                        }
                        return broken(status.message());
                    }
                },
                stir = self.follower.stirs() => self.follower.act(stir).await,
                () = life.silent_for(SILENCE) => return broken("three heartbeats were missed"),
                () = sleep_until(heard + LONGEST_MESSAGE) => return broken("a message took too long"),
                () = until(grace) => { self.go_on_without(); None }
                _ = heartbeat.tick() => Some(Up::Heartbeat(Heartbeat { sent_at_ms: now_ms() })),
                _ = report.tick() => {
                    self.report(outbox);
                    told = None;
                    None
                }
                _ = look.tick() => None,
            };
            if let Some(answer) = answer
                && !outbox.send(answer)
            {
                return broken("the control plane does not read");
            }
            let health = self.serves.health();
            if told.as_ref().is_none_or(|told| differs(told, &health)) {
                outbox.send(Up::Health(health.clone()));
                told = Some(health);
            }
        }
    }

    async fn obey(&mut self, message: Down) -> Option<Up> {
        match message {
            Down::UpToDate(_) => {
                self.grace = None;
                self.follower.up_to_date()
            }
            Down::Snapshot(signed) => {
                self.grace = None;
                let digest = signed.digest().to_vec();
                let answer = self.follower.offer(signed).await;
                Some(answer.unwrap_or_else(|| received(digest)))
            }
            Down::Delta(signed) => self.follower.delta(signed).await,
            Down::Heartbeat(_) => None,
            Down::ControlPlanes(all) => {
                if let Err(error) = self.dialer.learn(&all.urls) {
                    tracing::error!(%error, "where other control planes are was not kept");
                }
                None
            }
            Down::NodeToken(token) => {
                if let Err(error) = self.dialer.rotate(&token.token) {
                    tracing::error!(%error, "a new node token was not kept");
                    return None;
                }
                tracing::info!("a new node token is kept for the next dial");
                Some(Up::TokenKept(TokenKept { id: token.id }))
            }
        }
    }

    /// Waits for something while loads go on; `None` when this node is ending.
    async fn meanwhile<T>(&mut self, something: impl Future<Output = T>) -> Option<T> {
        let mut something = std::pin::pin!(something);
        let end = self.end.clone();
        loop {
            let grace = self.grace;
            tokio::select! {
                () = end.cancelled() => return None,
                done = &mut something => return Some(done),
                // Nobody is on the line to be told; the next Hello says it.
                stir = self.follower.stirs() => drop(self.follower.act(stir).await),
                () = until(grace) => self.go_on_without(),
            }
        }
    }

    fn go_on_without(&mut self) {
        if self.grace.take().is_some() {
            self.follower.go_on_with_copy();
        }
    }

    async fn note_contact(&mut self) {
        self.serves.contact(now_ms());
        if self.noted.is_some_and(|noted| noted.elapsed() < NOTE_CONTACT) {
            return;
        }
        self.noted = Some(Instant::now());
        let copy = self.copy.clone();
        let noted = on_disk(move || copy.keep_contact(now_ms())).await;
        if let Err(error) = &noted
            && !self.unnoted
        {
            // Once: it would be said every few seconds otherwise.
            tracing::error!(%error, "the moment of contact was not noted");
        }
        self.unnoted = noted.is_err();
    }

    fn report(&self, outbox: &Outbox) {
        let usage = self.serves.take_usage();
        if usage.keys.is_empty() && usage.anonymous_calls == 0 && usage.refused_calls == 0 {
            return;
        }
        if let Err(usage) = outbox.send_usage(usage) {
            self.serves.put_back(usage);
        }
    }

    /// Sends the last usage and health, hangs up, and waits until the control plane has read them.
    async fn farewell(&self, outbox: Outbox, mut from_control: Streaming<ToNode>) {
        self.report(&outbox);
        outbox.send(Up::Health(self.serves.health()));
        drop(outbox);
        let hung_up = async { while let Ok(Some(_)) = from_control.message().await {} };
        if timeout(FAREWELL, hung_up).await.is_err() {
            tracing::warn!("the control plane did not hang up, the last usage may be lost");
        }
    }
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

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn broken(reason: &str) -> Ended {
    tracing::warn!(reason, "the line to the control plane broke");
    Ended::Broken
}

/// Whether the control plane should hear of it before the next report.
fn differs(told: &Health, now: &Health) -> bool {
    fn of(health: &Health) -> impl PartialEq {
        (
            health.ready,
            health.stale,
            health.refused_configs,
            &health.refused,
            &health.reason,
        )
    }
    of(told) != of(now)
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
