//! From an accepted config to the one in force: loaded, swapped in, and what happens when that fails.
//!
//! The rule a newcomer would break: the key set of an offer never waits for its models, and a load that was overtaken puts
//! nothing in force.

use super::{FIRST_RETRY, Follower, LAST_RETRY};
use crate::control::copy::Opened;
use crate::control::load::{self, Failure, Load, Target};
use crate::control::rules::Held;
use crate::control::serves::Serves;
use castoff_wire::proto::Position;
use castoff_wire::proto::from_node::Message;
use castoff_wire::proto::nack::Code;
use tokio::time::Instant;

impl<S: Serves> Follower<S> {
    /// A load has ended.
    pub(super) async fn ended(&mut self, result: Result<S::Built, Failure>) -> Option<Message> {
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

    pub(super) async fn swap_at_once(&mut self, offer: Opened) -> Option<Message> {
        let (config, position) = (offer.config.clone(), offer.position.clone());
        let (serves, packages) = (self.serves.clone(), self.orders.packages.clone());
        match load::build(serves, packages, config, position, self.built.clone()).await {
            Ok(built) => self.put_in_force(offer, built).await,
            Err(failure) => Some(self.refuse(failure.code(), offer.position, failure.to_string())),
        }
    }

    /// Puts the key set of an offer in force with the models of now: a revoked key does not wait for a model.
    pub(super) async fn tighten(&mut self, offer: &Opened) -> Result<(), Failure> {
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

    async fn put_in_force(&mut self, opened: Opened, built: S::Built) -> Option<Message> {
        self.show(built, &opened.position);
        if self.refusals.end_with(&opened.position) {
            self.serves.end_refused();
        }
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

    pub(super) fn load_wanted(&mut self) {
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
        if failure.may_pass() {
            self.failures += 1;
            let wait = FIRST_RETRY
                .saturating_mul(1 << (self.failures - 1).min(5))
                .min(LAST_RETRY);
            self.retry = Some(Instant::now() + wait);
        }
        let refusal = if alone {
            tracing::warn!(
                config.version = position.version,
                reason = %failure,
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
}
