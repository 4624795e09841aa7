//! Obeying: what the control plane sends becomes what this node serves.
//!
//! [`rules`](super::rules) decides, `loading` prepares, and here the pointer is swapped, the durable copy
//! written and the answer made, in that order. The rule a newcomer would break: an Ack is sent after both; when the copy
//! cannot be written, it waits.

use super::answer::{ack, nack, received};
use super::copy::{DurableCopy, Kept, Opened};
use super::dial::Client;
use super::durable::on_disk;
use super::fetch::{self, Packages};
use super::keeper::Keeper;
use super::load::Load;
use super::overlay::Overlay;
use super::refusals::Refusals;
use super::rules::{Held, Step, code_of};
use super::serves::Serves;
use super::stir::{self, Stir};
use castoff_wire::proto::from_node::Message;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::{Position, Signed, SignedDelta};
use castoff_wire::{Refused, Trust};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// The first wait before files are asked for again; it doubles up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How often errands are looked for.
const ERRANDS: Duration = Duration::from_secs(2);

mod loading;

/// Whom and what this node obeys, and from where.
#[derive(Clone)]
pub struct Orders {
    /// The deployment that it serves.
    pub deployment: Uuid,
    /// The keys that it believes.
    pub trust: Trust,
    /// Its durable copy.
    pub copy: DurableCopy,
    /// Its model files.
    pub packages: Arc<Packages>,
}

/// The state of obedience.
pub struct Follower<S: Serves> {
    serves: Arc<S>,
    orders: Orders,
    held: Held,
    overlay: Overlay,
    keeper: Keeper,
    refusals: Refusals,
    /// Why the config that is wanted is not in force.
    trouble: Option<String>,
    /// What is in force.
    built: Option<S::Built>,
    /// What a load that was overtaken has built: its models may serve the next.
    spare: Option<S::Built>,
    load: Option<Load<S::Built>>,
    client: Option<Client>,
    /// The control plane has said what is the newest.
    confirmed: bool,
    /// The config in force could not be written yet; its Ack waits.
    unkept: bool,
    /// There may be model files that no config needs.
    untidy: bool,
    retry: Option<Instant>,
    errands: Instant,
    failures: u32,
}

impl<S: Serves> Follower<S> {
    /// Starts from what was kept.
    pub fn new(serves: Arc<S>, orders: Orders, kept: Kept) -> Self {
        let held = Held {
            config: kept.config,
            in_force: false,
            offered: kept.offered,
        };
        let mut this = Self {
            serves,
            keeper: Keeper::new(orders.copy.clone()),
            refusals: Refusals::default(),
            trouble: None,
            orders,
            held,
            overlay: kept.overlay,
            built: None,
            spare: None,
            load: None,
            client: None,
            confirmed: false,
            unkept: false,
            untidy: false,
            retry: None,
            errands: Instant::now() + ERRANDS,
            failures: 0,
        };
        this.revoke_at_once();
        if kept.damaged {
            let reason = "a part of the durable copy is torn or not to be believed";
            this.note_refused(Code::DamagedCopy, Position::default(), reason.into());
        }
        this
    }

    /// What to say in Hello.
    pub fn have(&self) -> Option<Position> {
        self.held.config.as_ref().map(|config| config.position.clone())
    }

    /// Whether a config is in force.
    pub fn is_in_force(&self) -> bool {
        self.held.in_force
    }

    /// Whether a config is being loaded.
    pub fn is_loading(&self) -> bool {
        self.load.is_some()
    }

    /// With whom files can be asked for from now on.
    pub fn set_client(&mut self, client: Option<Client>) {
        self.client = client;
    }

    /// Goes on with what the durable copy holds.
    pub fn go_on_with_copy(&mut self) {
        if !self.held.in_force && self.load.is_none() && self.held.wanted().is_some() {
            tracing::info!("going on with the durable copy");
            self.load_wanted();
        }
    }

    /// The control plane has nothing newer than what was said in Hello.
    pub fn up_to_date(&mut self) -> Option<Message> {
        self.confirmed = true;
        self.note_staleness();
        if self.held.in_force {
            return self.have().filter(|_| !self.unkept).map(ack);
        }
        self.load_wanted();
        None
    }

    /// A config is offered.
    pub async fn offer(&mut self, signed: Signed) -> Option<Message> {
        let digest = signed.digest().to_vec();
        let offer = match Opened::open(signed, &self.orders.trust, self.orders.deployment) {
            Ok(offer) => offer,
            Err(refused) => {
                return Some(self.refuse_unopened(
                    Position {
                        digest,
                        ..Position::default()
                    },
                    &refused,
                ));
            }
        };
        let step = self.held.decide(&offer);
        if let Step::Refuse(code, reason) = step {
            let refusal = self.refuse(code, offer.position, reason.into());
            // At boot: whatever was refused, there is a better one in the copy.
            self.go_on_with_copy();
            return Some(refusal);
        }
        self.confirmed = true;
        match step {
            Step::Swap => return self.swap_at_once(offer).await,
            Step::TightenAndLoad => {
                if let Err(failure) = self.tighten(&offer).await {
                    return Some(self.refuse(failure.code(), offer.position, failure.to_string()));
                }
                self.accept(offer).await;
            }
            Step::Load if !self.held.is_newest(&offer) => self.accept(offer).await,
            Step::Acknowledge | Step::Load | Step::Refuse(..) => {}
        }
        self.note_staleness();
        if step == Step::Acknowledge {
            return self.have().filter(|_| !self.unkept).map(ack);
        }
        self.failures = 0;
        self.load_wanted();
        None
    }

    /// A change of the key set is offered: the config that it leads to from here is, or its revocations are in force at once.
    pub async fn delta(&mut self, signed: SignedDelta) -> Message {
        let opened = signed.open(&self.orders.trust, self.orders.deployment);
        let own = self.held.newest().map(|newest| &newest.signed);
        let led_to = opened
            .as_ref()
            .ok()
            .and_then(|delta| castoff_wire::delta::apply(own?, delta));
        if let Some(next) = led_to {
            let digest = next.digest().to_vec();
            return self.offer(next).await.unwrap_or_else(|| received(digest));
        }
        let newest = self.held.newest().map(|newest| newest.position.clone());
        let added = opened.and_then(|delta| {
            let to = delta.to.clone().unwrap_or_default();
            Ok((self.overlay.add(signed, delta, newest.as_ref())?, to))
        });
        let (added, to) = match added {
            Ok(added) => added,
            Err(refused) => return self.refuse_unopened(Position::default(), &refused),
        };
        if added {
            self.revoke_at_once();
            self.unkept |= !self.keeper.keep_overlay(self.overlay.clone()).await;
            self.note_trouble();
        }
        let stands_there = newest.as_ref() == Some(&to) && self.held.wanted().is_none() && !self.unkept;
        match stands_there {
            true => ack(to),
            false => nack(Code::Gap, to, "the snapshot is needed".into()),
        }
    }

    /// Waits until a load has ended or is due again, or there may be errands. May be dropped and called again.
    pub async fn stirs(&mut self) -> Stir<S::Built> {
        let retry = self.retry.filter(|_| self.load.is_none());
        stir::next(self.load.as_mut(), retry, self.errands).await
    }

    /// Acts on what stirred.
    pub async fn act(&mut self, stir: Stir<S::Built>) -> Option<Message> {
        match stir {
            Stir::Errands => self.do_errands().await,
            Stir::Retry => {
                self.retry = None;
                self.load_wanted();
                None
            }
            Stir::Ended(result) => self.ended(result).await,
        }
    }

    /// What can wait a little: removes unused model files, and writes the durable copy when it could not be written
    /// before, or when somebody else has; then its Ack is due.
    async fn do_errands(&mut self) -> Option<Message> {
        self.errands = Instant::now() + ERRANDS;
        if self.untidy && self.load.is_none() {
            self.remove_unused().await;
        }
        if self.keeper.is_touched().await {
            self.note_refused(
                Code::DamagedCopy,
                Position::default(),
                "the durable copy was changed by somebody else: it is written again".into(),
            );
            self.unkept = true;
        }
        if self.unkept { self.keep().await } else { None }
    }

    /// Kept before it is loaded: a node that is killed meanwhile must not come back with keys that the offer has revoked.
    async fn accept(&mut self, offer: Opened) {
        let signed = offer.signed.clone();
        self.held.offered = Some(offer);
        self.unkept |= !self.keeper.keep_offered(signed, self.overlay.clone()).await;
        self.note_trouble();
    }

    async fn keep(&mut self) -> Option<Message> {
        let config = self.held.config.as_ref()?;
        let (position, signed) = (config.position.clone(), config.signed.clone());
        // An offer that is newer stays beside it.
        let offered = self.held.offered.as_ref().map(|offered| offered.signed.clone());
        self.unkept = !self.keeper.keep(signed, offered, self.overlay.clone()).await;
        self.note_trouble();
        (self.held.in_force && !self.unkept).then(|| ack(position))
    }

    /// Only while nothing is loaded: a load has fetched what the config in force does not need.
    async fn remove_unused(&mut self) {
        self.untidy = false;
        let Some(config) = &self.held.config else { return };
        let needed = fetch::files(&config.config).unwrap_or_default();
        let packages = self.orders.packages.clone();
        if let Err(error) = on_disk(move || packages.remove_unused(&needed)).await {
            tracing::error!(%error, "unused model files were not removed");
        }
    }

    /// What came was larger than a node takes. The line is broken by it, so nobody can be answered.
    pub fn refuse_too_large(&mut self, reason: String) {
        self.note_refused(Code::TooLarge, Position::default(), reason);
    }

    fn refuse_unopened(&mut self, position: Position, refused: &Refused) -> Message {
        self.refuse(code_of(refused), position, refused.to_string())
    }

    fn refuse(&mut self, code: Code, position: Position, reason: String) -> Message {
        self.note_refused(code, position.clone(), reason.clone());
        nack(code, position, reason)
    }

    fn note_refused(&mut self, code: Code, position: Position, reason: String) {
        tracing::warn!(
            config.epoch = position.epoch,
            config.version = position.version,
            code = code.word(),
            reason,
            "refused"
        );
        let held = self.have();
        self.serves
            .note_refused(self.refusals.add(code, position, reason, held));
    }

    fn revoke_at_once(&self) {
        self.serves
            .revoke_at_once(self.overlay.revoked().into_iter().map(<[u8]>::to_vec).collect());
    }

    fn note_trouble(&self) {
        let trouble = self.trouble.as_deref().or(self.keeper.trouble());
        self.serves.set_trouble(trouble.map(str::to_owned));
    }

    fn note_staleness(&self) {
        self.serves.set_stale(self.held.in_force && !self.confirmed);
    }
}
