//! Obeying: what the control plane sends becomes what this node serves.
//!
//! [`rules`](super::rules) decides, [`load`] prepares, and here the pointer is swapped, the durable copy
//! written and the answer made, in that order. The rule a newcomer would break: an Ack is sent after both; when the copy
//! cannot be written, it waits.

use super::answer::{ack, nack};
use super::copy::{DurableCopy, Kept, Opened};
use super::dial::Client;
use super::durable::on_disk;
use super::fetch::{self, Packages};
use super::keeper::Keeper;
use super::load::{self, Failure, Load, Target};
use super::overlay::Overlay;
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
        let this = Self {
            serves,
            keeper: Keeper::new(orders.copy.clone()),
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

    /// A change of the key set is offered.
    pub async fn delta(&mut self, signed: SignedDelta) -> Option<Message> {
        let opened = signed.open(&self.orders.trust, self.orders.deployment);
        let newest = self.held.newest().map(|newest| newest.position.clone());
        let added = opened.and_then(|delta| {
            let to = delta.to.clone().unwrap_or_default();
            Ok((self.overlay.add(signed, delta, newest.as_ref())?, to))
        });
        let (added, to) = match added {
            Ok(added) => added,
            Err(refused) => return Some(self.refuse_unopened(Position::default(), &refused)),
        };
        if added {
            self.revoke_at_once();
            self.unkept |= !self.keeper.keep_overlay(self.overlay.clone()).await;
            self.note_trouble();
        }
        let stands_there = newest.as_ref() == Some(&to) && self.held.wanted().is_none() && !self.unkept;
        Some(if stands_there {
            ack(to)
        } else {
            nack(Code::Gap, to, "the snapshot is needed".into())
        })
    }

    /// Waits until a load has ended or is due again, or there may be errands. May be dropped and called again.
    pub async fn stirs(&mut self) -> Stir<S::Built> {
        let retry = self.retry.filter(|_| self.load.is_none());
        stir::next(self.load.as_mut(), retry, self.errands).await
    }

    /// Acts on what stirred.
    pub async fn act(&mut self, stir: Stir<S::Built>) -> Option<Message> {
        let result = match stir {
            Stir::Errands => return self.do_errands().await,
            Stir::Retry => {
                self.retry = None;
                self.load_wanted();
                return None;
            }
            Stir::Ended(result) => result,
        };
        let load = self.load.take()?;
        let overtaken = match &load.target {
            Target::Whole(opened) => self
                .held
                .wanted()
                .is_none_or(|wanted| wanted.position != opened.position),
            Target::Older { access, .. } => self
                .held
                .newest()
                .is_none_or(|newest| newest.position != access.position),
        };
        if overtaken {
            self.spare = result.ok();
            self.load_wanted();
            self.spare = None;
            return None;
        }
        match (load.target, result) {
            (Target::Whole(opened), Ok(built)) => self.put_in_force(*opened, built).await,
            (Target::Older { access, .. }, Ok(built)) => {
                self.show(built, &access.position);
                self.held.in_force = true;
                self.note_staleness();
                None
            }
            (target, Err(failure)) => self.failed(target, failure).await,
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
            self.serves.count_refused();
            tracing::warn!("the durable copy was changed by somebody else: it is refused, and written again");
            self.unkept = true;
        }
        if self.unkept { self.keep().await } else { None }
    }

    async fn swap_at_once(&mut self, offer: Opened) -> Option<Message> {
        let (config, position) = (offer.config.clone(), offer.position.clone());
        let (serves, packages) = (self.serves.clone(), self.orders.packages.clone());
        match load::build(serves, packages, config, position, self.built.clone()).await {
            Ok(built) => self.put_in_force(offer, built).await,
            Err(failure) => Some(self.refuse(failure.code(), offer.position, failure.to_string())),
        }
    }

    /// Puts the key set of an offer in force with the models of now: a revoked key does not wait for a model.
    async fn tighten(&mut self, offer: &Opened) -> Result<(), Failure> {
        let Some(models) = self.held.config.clone() else {
            return Ok(());
        };
        let (config, position) = Target::Older {
            models: Box::new(models),
            access: Box::new(offer.clone()),
        }
        .document();
        let (serves, packages) = (self.serves.clone(), self.orders.packages.clone());
        let built = load::build(serves, packages, config, position, self.built.clone()).await?;
        self.show(built, &offer.position);
        Ok(())
    }

    /// Kept before it is loaded: a node that is killed meanwhile must not come back with keys that the offer has revoked.
    async fn accept(&mut self, offer: Opened) {
        let signed = offer.signed.clone();
        self.held.offered = Some(offer);
        self.unkept |= !self.keeper.keep_offered(signed, self.overlay.clone()).await;
        self.note_trouble();
    }

    async fn put_in_force(&mut self, opened: Opened, built: S::Built) -> Option<Message> {
        self.show(built, &opened.position);
        tracing::info!(
            config.epoch = opened.position.epoch,
            config.version = opened.position.version,
            "config in force"
        );
        self.held = Held {
            config: Some(opened),
            in_force: true,
            offered: None,
        };
        self.failures = 0;
        self.trouble = None;
        self.note_staleness();
        self.untidy = true;
        self.retry = None;
        self.keep().await
    }

    /// Swaps, then forgets the revocations that the key set in force has behind it.
    fn show(&mut self, built: S::Built, access: &Position) {
        self.serves.swap(built.clone());
        self.built = Some(built);
        self.overlay = self.overlay.beyond(access);
        self.revoke_at_once();
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

    fn load_wanted(&mut self) {
        let Some(wanted) = self.held.wanted().cloned() else {
            return;
        };
        if let Some(load) = &self.load
            && (load.target.position() == &wanted.position || !load.give_up())
        {
            // What is wanted is looked at again when it has ended.
            return;
        }
        self.retry = None;
        self.start(Target::Whole(Box::new(wanted)));
    }

    fn start(&mut self, target: Target) {
        let previous = self.spare.clone().or_else(|| self.built.clone());
        let (serves, packages) = (self.serves.clone(), self.orders.packages.clone());
        self.load = Some(Load::start(target, serves, packages, self.client.clone(), previous));
    }

    async fn failed(&mut self, target: Target, failure: Failure) -> Option<Message> {
        let position = target.position().clone();
        let (alone, malformed) = (failure.is_alone(), failure.code() == Code::Malformed);
        self.trouble = Some(failure.to_string());
        self.note_trouble();
        if failure.code() == Code::Package && !alone {
            self.failures += 1;
            let wait = FIRST_RETRY
                .saturating_mul(1 << (self.failures - 1).min(5))
                .min(LAST_RETRY);
            self.retry = Some(Instant::now() + wait);
        }
        let refusal = if alone {
            tracing::warn!(
                config.version = position.version,
                "model files are missing: waiting for the control plane"
            );
            None
        } else {
            Some(self.refuse(failure.code(), position, failure.to_string()))
        };
        if self.held.in_force {
            return refusal;
        }
        match (target, self.held.config.clone(), self.held.offered.clone()) {
            // The models of the copy, then, with the key set of the offer.
            (Target::Whole(_), Some(models), Some(access)) => self.start(Target::Older {
                models: Box::new(models),
                access: Box::new(access),
            }),
            // Not even its key set can be read: the copy as it is.
            (Target::Older { .. }, ..) if malformed => {
                self.held.offered = None;
                self.unkept |= !self.keeper.drop_offered().await;
                self.load_wanted();
            }
            _ => {}
        }
        refusal
    }

    fn refuse_unopened(&self, position: Position, refused: &Refused) -> Message {
        self.refuse(code_of(refused), position, refused.to_string())
    }

    fn refuse(&self, code: Code, position: Position, reason: String) -> Message {
        self.serves.count_refused();
        tracing::warn!(
            config.epoch = position.epoch,
            config.version = position.version,
            code = code.as_str_name(),
            reason,
            "config refused"
        );
        nack(code, position, reason)
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
