//! One node on the line: what it is sent, what it says, and how it ends.
//!
//! The rule a newcomer would break: nothing here waits for the database or for the node. What is to be written down goes
//! to the ledger, and what is to be sent is the newest config only: while one is under way, no other is, so that on a slow
//! line nothing obsolete is ahead of a revocation.

use super::ending::{Ended, Ending};
use super::hub::{Hub, Newest, Pushed, Tokens};
use super::link::{Framed, Link};
use super::said::{both, introduced, reason, refusal};
use super::sessions::Session;
use super::share::Told;
use crate::domain::{Time, skew};
use crate::store::{NodeReport, token_id};
use castoff_wire::life::{LONGEST_MESSAGE, Life, SILENCE};
use castoff_wire::proto::{
    ControlPlanes, FromNode, Health, Heartbeat, Hello, MoveOn, Nack, NodeToken, Position, ToNode, UpToDate, from_node,
    nack, to_node,
};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, MissedTickBehavior};

const HEARTBEAT: Duration = Duration::from_secs(1);
/// A node that only goes on is written down this often, and one that has dialled after this time at the latest; any change
/// at once.
const REPORT: Duration = Duration::from_secs(3);
/// Bytes of a SHA-256.
const DIGEST: usize = 32;

pub(super) struct Conversation<L> {
    hub: Arc<Hub>,
    session: Session,
    /// Shared with the ledger until it is written down.
    report: Arc<NodeReport>,
    followed: Followed,
    link: L,
    /// The config that was sent and of which the node has not said that it has arrived: its digest, and since when.
    under_way: Option<(Vec<u8>, Instant)>,
    /// A newer one, or the same again, is to be sent when that has arrived.
    owed: bool,
    /// Where the node stands, as it said last.
    stands_at: Option<Position>,
    reported: Instant,
    /// When it has last said a whole message.
    heard: Instant,
    /// Without this its first report would be half of one: a node that has only dialled again would be shown as one that is
    /// not ready and holds nothing.
    awaited: Awaited,
    /// The last refusal that was told to people: a node may try again and again.
    refused: Option<(Option<Position>, nack::Code)>,
    /// What it says is wrong with it.
    reason: Option<String>,
    /// What is wrong with its clock.
    skewed: Option<String>,
}

/// Whom a conversation is with, and what it tells.
pub(super) struct Caller {
    pub(super) session: Session,
    pub(super) hello: Hello,
    pub(super) followed: Followed,
    /// Its place among all that call.
    pub(super) place: OwnedSemaphorePermit,
}

/// What a conversation follows.
pub(super) struct Followed {
    pub(super) newest: watch::Receiver<Newest>,
    pub(super) tokens: watch::Receiver<Tokens>,
    /// How many nodes share the rate limits.
    pub(super) nodes: Told,
    /// Hash of the token that the node came with, or of a newer one that it was sent since.
    pub(super) token: Vec<u8>,
    pub(super) life: Life,
}

/// What is missing of a node's first report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// How it is.
    Health,
    /// What it has in force, or that this has to wait.
    Answer,
    Nothing,
}

/// Stays on the line with a node until one of the two ends it.
pub(super) async fn hold<L: Link>(hub: Arc<Hub>, caller: Caller, link: L, ending: Ending) {
    let Caller {
        session,
        hello,
        followed,
        place: _place,
    } = caller;
    let conversation = Conversation {
        hub,
        session,
        report: Arc::new(introduced(&hello, &followed.token)),
        followed,
        link,
        under_way: None,
        owed: false,
        stands_at: hello.have.clone(),
        reported: Instant::now(),
        heard: Instant::now(),
        awaited: Awaited::Health,
        refused: None,
        reason: None,
        skewed: None,
    };
    conversation.hold(hello.have, ending).await.hang_up().await;
}

impl<L: Link> Conversation<L> {
    /// Gives back what it was held on.
    async fn hold(mut self, have: Option<Position>, ending: Ending) -> L {
        let node = self.session.node;
        metrics::gauge!("castoff_push_streams").increment(1.0);
        tracing::info!(node.id = %node.node_id, deployment.id = %node.deployment_id, spoken = L::SPOKEN, "a node is on the line");
        let Err(ended) = self.talk(have, ending).await;
        metrics::gauge!("castoff_push_streams").decrement(1.0);
        tracing::info!(node.id = %node.node_id, deployment.id = %node.deployment_id, why = ended.why(), "a node is off the line");
        // One that was asked to move on hangs up when another control plane has answered it: it is on the line, and there.
        if !(self.report.moving && ended == Ended::HungUp) {
            Arc::make_mut(&mut self.report).connected = false;
            self.tell();
        }
        if ended.is_loss() {
            let message = format!("node {} is lost: {}", node.node_id, ended.why());
            self.session
                .while_current(|| self.hub.ledger.note(node.deployment_id, "node-lost", message));
        }
        self.link
    }

    async fn talk(&mut self, have: Option<Position>, ending: Ending) -> Result<Infallible, Ended> {
        // First of all: the share is known when the config comes into force.
        self.beat()?;
        self.followed.newest.mark_unchanged();
        let current = self.current()?;
        if have.as_ref() == Some(&current.position) {
            self.send(to_node::Message::UpToDate(UpToDate {}))?;
        } else {
            self.push()?;
        }
        // A token that is not known yet is newer than the last look at them.
        let known = self.followed.tokens.borrow().valid.contains(&self.followed.token);
        if known {
            self.change_over()?;
        }
        let replaced = self.session.replaced();
        let mut addresses = self.hub.addresses.subscribe();
        addresses.mark_changed();
        // Kept from one turn to the next: to begin to wait takes a lock that is shared with other streams.
        let (mut stopped, mut replaced) = (pin!(ending.stopping.cancelled()), pin!(replaced.cancelled()));
        let mut moved = pin!(ending.moving.cancelled());
        let mut newest = pin!(change(self.followed.newest.clone()));
        let mut addresses = pin!(change(addresses));
        let mut tokens = pin!(change(self.followed.tokens.clone()));
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stopped => return Err(Ended::Stopping),
                () = &mut replaced => return Err(Ended::Replaced),
                () = &mut moved, if !self.report.moving => {
                    Arc::make_mut(&mut self.report).moving = true;
                    self.send(to_node::Message::MoveOn(MoveOn {}))?;
                }
                changed = &mut newest => {
                    newest.set(change(changed?));
                    self.push()?;
                }
                changed = &mut addresses => {
                    let changed = changed?;
                    let urls = changed.borrow().clone();
                    addresses.set(change(changed));
                    if !urls.is_empty() {
                        self.send(to_node::Message::ControlPlanes(ControlPlanes { urls }))?;
                    }
                }
                changed = &mut tokens => {
                    tokens.set(change(changed?));
                    self.change_over()?;
                }
                message = self.link.hear() => {
                    self.heard = Instant::now();
                    self.hear(message?)?;
                }
                _ = heartbeat.tick() => {
                    if self.followed.life.last().elapsed() > SILENCE {
                        return Err(Ended::Silent);
                    }
                    if self.heard.elapsed() > LONGEST_MESSAGE {
                        return Err(Ended::TooSlow);
                    }
                    if self.under_way.as_ref().is_some_and(|(_, since)| since.elapsed() > LONGEST_MESSAGE) {
                        return Err(Ended::NotReading);
                    }
                    self.beat()?;
                    if self.reported.elapsed() > REPORT {
                        self.tell();
                    }
                }
            }
        }
    }

    fn current(&mut self) -> Result<Arc<Pushed>, Ended> {
        self.followed.newest.borrow().clone().ok_or(Ended::DeploymentGone)
    }

    /// Sends the newest config, or has it sent when the one that is under way has arrived.
    fn push(&mut self) -> Result<(), Ended> {
        let newest = self.current()?;
        self.owed = self.under_way.is_some();
        if !self.owed {
            let changes = newest.since(self.stands_at.as_ref()).filter(|_| L::TAKES_DELTAS);
            let sent = if changes.is_some() { "changes" } else { "whole" };
            metrics::counter!("castoff_push_configs_total", "sent" => sent).increment(1);
            self.link.put(changes.unwrap_or(&newest.snapshot).clone())?;
            self.under_way = Some((newest.position.digest.clone(), Instant::now()));
        }
        Ok(())
    }

    /// Gives the node the newest token, and ends with the last that it has.
    fn change_over(&mut self) -> Result<(), Ended> {
        let Tokens { valid, newest } = self.followed.tokens.borrow().clone();
        if !valid.contains(&self.followed.token) {
            return Err(Ended::TokenOver);
        }
        if let (Some(newest), Some(hash)) = (newest, valid.last())
            && *hash != self.followed.token
        {
            let (token, id) = (newest.expose().to_owned(), token_id(hash));
            self.send(to_node::Message::NodeToken(NodeToken { token, id }))?;
            self.followed.token.clone_from(hash);
        }
        Ok(())
    }

    /// The node has answered what was sent.
    fn arrived(&mut self, digest: &[u8]) -> Result<(), Ended> {
        if self.under_way.as_ref().is_some_and(|(sent, _)| sent == digest) {
            self.under_way = None;
            if self.owed {
                return self.push();
            }
        }
        Ok(())
    }

    /// Sends a heartbeat, unless the place is taken by another: what comes before it is a sign of life, too.
    fn beat(&mut self) -> Result<(), Ended> {
        if !self.link.is_clear() {
            return Ok(());
        }
        self.send(to_node::Message::Heartbeat(Heartbeat {
            sent_at_ms: self.hub.store.now().ms(),
            nodes: self.followed.nodes.nodes(),
        }))
    }

    fn send(&mut self, message: to_node::Message) -> Result<(), Ended> {
        self.link.put(Framed::new(&ToNode { message: Some(message) }))
    }

    /// Has the report written down.
    fn tell(&mut self) {
        self.reported = Instant::now();
        self.awaited = Awaited::Nothing;
        let node = self.session.node;
        self.session
            .while_current(|| self.hub.ledger.report(node, Arc::clone(&self.report)));
    }

    /// Has the first report written down though the node has not said what it has in force: it has said that this has to wait.
    fn tell_at_last(&mut self) {
        if self.awaited == Awaited::Answer {
            self.tell();
        }
    }

    fn hear(&mut self, message: FromNode) -> Result<(), Ended> {
        match message.message {
            Some(from_node::Message::Received(received)) => {
                self.tell_at_last();
                return self.arrived(&received.digest);
            }
            Some(from_node::Message::Ack(ack)) => {
                let position = ack.position.unwrap_or_default();
                let digest = position.digest.clone();
                self.hear_ack(position);
                return self.arrived(&digest);
            }
            Some(from_node::Message::Nack(nack)) => return self.hear_nack(nack),
            Some(from_node::Message::Health(health)) => self.hear_health(&health),
            Some(from_node::Message::TokenKept(kept)) => self.hear_kept(&kept.id),
            Some(from_node::Message::Usage(usage)) => self.hub.ledger.count(self.session.node.deployment_id, &usage),
            Some(from_node::Message::Hello(_)) => return Err(Ended::SecondHello),
            Some(from_node::Message::Heartbeat(beat)) => self.hear_beat(&beat),
            // A later release may say more.
            None => {}
        }
        Ok(())
    }

    /// What time it is there is told in its line of the status, where that is not our time.
    fn hear_beat(&mut self, beat: &Heartbeat) {
        let sent = Some(beat.sent_at_ms).filter(|sent_at_ms| *sent_at_ms > 0);
        let skewed = sent.and_then(|ms| skew("this node", Time::from_ms(ms), self.hub.store.now()));
        if self.skewed != skewed && self.awaited == Awaited::Nothing {
            self.skewed = skewed;
            Arc::make_mut(&mut self.report).reason = both(self.reason.as_deref(), self.skewed.as_deref());
            self.tell();
        }
    }

    fn hear_ack(&mut self, position: Position) {
        let known = self
            .followed
            .newest
            .borrow()
            .as_ref()
            .is_some_and(|newest| can_be_in_force(&position, &newest.position));
        if !known {
            tracing::warn!(node.id = %self.session.node.node_id, config.epoch = position.epoch, config.version = position.version, "a node acknowledged a config that it was not sent");
            return;
        }
        metrics::counter!("castoff_push_acks_total").increment(1);
        self.session.note_ack(&position);
        self.stands_at = Some(position.clone());
        Arc::make_mut(&mut self.report).acked = Some((position.epoch, position.version, position.digest));
        self.tell();
    }

    /// A token that it was sent is on its disk.
    fn hear_kept(&mut self, id: &[u8]) {
        let sent = token_id(&self.followed.token);
        if sent == id {
            Arc::make_mut(&mut self.report).token = Some(sent);
            self.tell();
        }
    }

    fn hear_nack(&mut self, nack: Nack) -> Result<(), Ended> {
        let code = nack.code();
        metrics::counter!("castoff_push_nacks_total", "code" => code.as_str_name()).increment(1);
        if code == nack::Code::Gap {
            // What changed has arrived, and led nowhere: the whole config is sent, once until it stands somewhere again.
            if self.stands_at.take().is_some() {
                self.under_way = None;
            }
            return self.push();
        }
        let digest = nack.position.as_ref().map(|position| position.digest.clone());
        let reason = reason(&nack.reason);
        let refused = Some((nack.position, code));
        if self.refused != refused {
            let node = self.session.node;
            let reason = reason.unwrap_or_else(|| code.as_str_name().to_owned());
            tracing::warn!(node.id = %node.node_id, deployment.id = %node.deployment_id, code = code.as_str_name(), reason, "a node refused a config");
            let message = format!("node {} refused a config: {reason}", node.node_id);
            self.hub.ledger.note(node.deployment_id, "config-refused", message);
            self.refused = refused;
        }
        self.tell_at_last();
        self.arrived(&digest.unwrap_or_default())
    }

    fn hear_health(&mut self, health: &Health) {
        self.reason = reason(&health.reason);
        let heard = NodeReport {
            ready: health.ready,
            stale: health.stale,
            refused_configs: health.refused_configs,
            reason: both(self.reason.as_deref(), self.skewed.as_deref()),
            refused: health.refused.as_ref().map(refusal),
            ..NodeReport::clone(&self.report)
        };
        let is_first = self.awaited == Awaited::Health;
        if heard == *self.report && !is_first {
            return;
        }
        let before = std::mem::replace(&mut self.report, Arc::new(heard));
        if is_first && self.report.ready {
            self.awaited = Awaited::Answer;
        } else {
            self.tell();
        }
        let node = self.session.node;
        if self.report.ready && !before.ready {
            let message = format!("node {} is ready", node.node_id);
            self.hub.ledger.note(node.deployment_id, "node-ready", message);
        }
        if before.refused.is_some() && self.report.refused.is_none() {
            // What is refused again from here on is told again.
            self.refused = None;
            let message = format!("node {} accepted a config after what it had refused", node.node_id);
            self.hub.ledger.note(node.deployment_id, "config-accepted", message);
        }
    }
}

/// Waits for a change, and takes it as seen. The hub outlives its streams: an error cannot come, and would be the end.
async fn change<T>(mut watched: watch::Receiver<T>) -> Result<watch::Receiver<T>, Ended> {
    watched.changed().await.map_err(|_| Ended::Stopping)?;
    Ok(watched)
}

/// Whether a node may say that it has this in force: nothing newer than the newest, and no other bytes under its number.
fn can_be_in_force(acked: &Position, newest: &Position) -> bool {
    let (acked_order, newest_order) = ((acked.epoch, acked.version), (newest.epoch, newest.version));
    acked == newest || (acked_order < newest_order && acked.digest.len() == DIGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_can_be_acknowledged() {
        let at = |epoch, version, digest| Position {
            epoch,
            version,
            digest: vec![digest; 32],
        };
        let newest = at(2, 5, 1);
        for (acked, counts) in [
            (at(2, 5, 1), true),
            (at(2, 4, 9), true),
            (at(1, 9, 9), true),
            (at(2, 5, 9), false),
            (at(2, 6, 1), false),
            (at(3, 0, 1), false),
            (at(u64::MAX, u64::MAX, 1), false),
        ] {
            assert_eq!(can_be_in_force(&acked, &newest), counts, "{acked:?}");
        }
    }
}
