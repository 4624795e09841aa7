//! On the line with the control plane: dial, say Hello, obey, report; and again when the line breaks, or beside it when the
//! control plane says that it is about to end.
//!
//! The rule a newcomer would break: nothing in this loop waits for a model or for another control plane. Loads and dials go
//! on beside it, and come back as one more thing to select.

use super::absence::Absence;
use super::answer::received;
use super::apply::Follower;
use super::backoff::full_jitter;
use super::copy::DurableCopy;
use super::dial::Dialer;
use super::durable::on_disk;
use super::outbox::Outbox;
use super::reach::{Lost, Reached, reach};
use super::serves::Serves;
use castoff_wire::life::{LONGEST_MESSAGE, SILENCE};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Health, Heartbeat, Hello, Position, ToNode, TokenKept};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a booting node waits for the control plane before it goes on with the durable copy.
const GRACE: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_secs(1);
const REPORT: Duration = Duration::from_secs(2);
/// How often a change of health is looked for.
const LOOK: Duration = Duration::from_millis(200);
/// The note of the last contact is never older than this.
const NOTE_CONTACT: Duration = Duration::from_secs(5);

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
    absence: Absence,
    /// Ends the line, the last usage being sent.
    end: CancellationToken,
}

/// How a line ended.
enum Ended {
    /// It broke, or was never there.
    Broken,
    /// This node is ending.
    ByUs,
    /// Another one stands.
    Moved(Box<Reached>),
}

/// Another control plane is dialled beside the line.
type Onward = Pin<Box<dyn Future<Output = Result<Reached, String>> + Send>>;

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
            absence: Absence::new(),
            end,
        }
    }

    /// Stays on the line until `end`.
    pub async fn hold(mut self) {
        let mut failures = 0;
        let mut complained = false;
        loop {
            let began = Instant::now();
            if self.once(&mut complained).await.is_none() {
                return;
            }
            self.follower.set_client(None);
            self.dialer.turn_to_next();
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

    /// Dials once and stays on the line while it holds, or another that it leads to; `None` when this node is ending.
    async fn once(&mut self, complained: &mut bool) -> Option<()> {
        let reaching = self.reaching();
        let mut line = match self.meanwhile(reaching).await? {
            Ok(line) => line,
            Err(reason) => {
                // Once per outage, not once per dial.
                if !std::mem::replace(complained, true) {
                    tracing::warn!(reason, "the control plane does not answer, dialling again and again");
                }
                self.go_on_without();
                return Some(());
            }
        };
        *complained = false;
        loop {
            self.dialer.taken(line.token);
            self.follower.set_client(Some(line.client.clone()));
            let spoken = line.from_control.spoken();
            tracing::info!(spoken, "on the line with the control plane");
            match self.talk(&mut line).await {
                Ended::Moved(next) => {
                    self.absence.avoided();
                    tokio::spawn(std::mem::replace(&mut line, *next).hang_up());
                }
                Ended::Broken => {
                    self.go_on_without();
                    return Some(());
                }
                Ended::ByUs => {
                    self.report(&line.outbox);
                    line.outbox.send(Up::Health(self.serves.health()));
                    line.hang_up().await;
                    return None;
                }
            }
        }
    }

    /// Dials and says Hello.
    fn reaching(&self) -> impl Future<Output = Result<Reached, String>> + Send + use<S> {
        let hello = self.introduction.hello(self.follower.have());
        reach(self.dialer.dial(), hello, self.serves.clone())
    }

    /// The same after a wait, since all nodes are told to move on at once.
    fn onward(&mut self, failures: u32) -> Option<Onward> {
        self.dialer.turn_to_next();
        let (wait, reaching) = (full_jitter(failures, rand::random()), self.reaching());
        Some(Box::pin(async move {
            sleep(wait).await;
            reaching.await
        }))
    }

    async fn talk(&mut self, line: &mut Reached) -> Ended {
        let (mut heartbeat, mut report, mut look) = (ticks(HEARTBEAT), ticks(REPORT), ticks(LOOK));
        let (mut onward, mut failures) = (None, 0);
        let mut heard = Instant::now();
        // Before it obeys anything here: what it has refused elsewhere is told, also when the next config ends it.
        let first = self.serves.health();
        line.outbox.send(Up::Health(first.clone()));
        let mut told = Some(first);
        let end = self.end.clone();
        loop {
            let grace = self.grace;
            let answer = tokio::select! {
                () = end.cancelled() => return Ended::ByUs,
                message = line.from_control.message() => match message {
                    Ok(Some(ToNode { message })) => {
                        heard = Instant::now();
                        self.absence.over();
                        self.note_contact().await;
                        match message {
                            Some(Down::MoveOn(_)) => {
                                tracing::info!("the control plane is about to end, dialling another one");
                                onward = onward.take().or_else(|| self.onward(0));
                                None
                            }
                            Some(message) => self.obey(message).await,
                            None => None,
                        }
                    }
                    Ok(None) => return self.broken("the control plane hung up", Instant::now()),
                    Err(Lost::TooLarge(reason)) => {
                        self.follower.refuse_too_large(reason.clone());
                        return self.broken(&reason, Instant::now());
                    }
                    Err(Lost::Broken(reason)) => return self.broken(&reason, Instant::now()),
                },
                stir = self.follower.stirs() => self.follower.act(stir).await,
                reached = arrival(&mut onward) => match reached {
                    Ok(reached) => return Ended::Moved(Box::new(reached)),
                    Err(reason) => {
                        tracing::info!(reason, "no other control plane has answered yet");
                        failures += 1;
                        onward = self.onward(failures);
                        None
                    }
                },
                () = line.life.silent_for(SILENCE) => {
                    return self.broken("three heartbeats were missed", line.life.last());
                }
                () = sleep_until(heard + LONGEST_MESSAGE) => return self.broken("a message took too long", heard),
                () = until(grace) => { self.go_on_without(); None }
                _ = heartbeat.tick() => Some(Up::Heartbeat(Heartbeat { sent_at_ms: now_ms(), nodes: 0 })),
                _ = report.tick() => {
                    self.report(&line.outbox);
                    told = None;
                    None
                }
                _ = look.tick() => None,
            };
            if let Some(answer) = answer
                && !line.outbox.send(answer)
            {
                return self.broken("the control plane does not read", Instant::now());
            }
            let health = self.serves.health();
            if told.as_ref().is_none_or(|told| differs(told, &health)) {
                line.outbox.send(Up::Health(health.clone()));
                told = Some(health);
            }
        }
    }

    fn broken(&mut self, reason: &str, at: Instant) -> Ended {
        tracing::warn!(reason, "the line to the control plane broke");
        self.absence.began(at);
        Ended::Broken
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
            Down::Delta(signed) => Some(self.follower.delta(signed).await),
            Down::MoveOn(_) => None,
            Down::Heartbeat(heartbeat) => {
                self.share(heartbeat.nodes).await;
                None
            }
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

    /// Takes its part of the rate limits, and keeps it for a start without the control plane.
    async fn share(&self, nodes: u32) {
        if nodes == 0 || !self.serves.share(nodes) {
            return;
        }
        tracing::info!(nodes, "so many nodes share the rate limits");
        let copy = self.copy.clone();
        if let Err(error) = on_disk(move || copy.keep_nodes(nodes)).await {
            tracing::error!(%error, "how many nodes share the rate limits was not kept");
        }
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
}

/// Waits for the other control plane, if one is dialled.
async fn arrival(onward: &mut Option<Onward>) -> Result<Reached, String> {
    match onward {
        Some(onward) => onward.await,
        None => std::future::pending().await,
    }
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
