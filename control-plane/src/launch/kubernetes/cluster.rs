//! One cluster, kept as it should be for as long as this control plane acts.

mod hindered;
mod presence;

use super::apply::Place;
use super::balancer::waits;
use super::clocks::Clocks;
use super::connection::{Cause, Trouble, connect_and_note};
use super::dialled;
use super::duels::PAUSE;
use super::facts::{Facts, There, Wanted};
use super::objects::{Desired, Kind, build, no_room, unknown_host};
use super::observe::{both, left_alone};
use super::queue::Queue;
use super::renew::AccountToken;
use super::waiting::Waiting;
use super::watch::View;
use crate::domain::kubernetes::Kubeconfig;
use crate::domain::{Deployment, Time};
use crate::lease::Term;
use crate::store::{Cluster, Error, Progress};
use kube::Client;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Deployments that are looked at at a time.
const AT_ONCE: usize = 8;
/// Between two tries of what does not change by itself, two looks at a token that lives for hours, and two at a cluster that has
/// nothing to tell.
const SELDOM: Duration = Duration::from_secs(30);

/// A cluster in the care of this control plane.
pub(super) struct Care {
    cluster: Cluster,
    facts: Facts,
    term: Term,
    view: View,
    queue: Arc<Queue>,
    /// Why the token by which Castoff enters the cluster is not renewed.
    unrenewed: Mutex<Option<String>>,
    waiting: Waiting,
    clocks: Clocks,
}

/// Why a deployment is to be looked at again.
enum Again {
    /// Something could not be done, which was said.
    Later,
    /// The database failed, or somebody else acts.
    Silently(Error),
}

impl From<Error> for Again {
    fn from(error: Error) -> Self {
        Self::Silently(error)
    }
}

impl Care {
    pub(super) fn new(cluster: Cluster, facts: Facts, term: Term, queue: Arc<Queue>) -> Self {
        let view = View::of(&cluster.settings, facts.trust.clone());
        Self {
            cluster,
            facts,
            term,
            view,
            queue,
            unrenewed: Mutex::default(),
            waiting: Waiting::default(),
            clocks: Clocks::default(),
        }
    }

    /// Works until it is dropped.
    pub(super) async fn run(self) {
        let mut kubeconfig = self.cluster.kubeconfig.clone();
        let mut earliest = Time::from_ms(0);
        loop {
            let client = match connect_and_note(kubeconfig.as_ref(), &self.clocks) {
                Ok(client) => client,
                Err(trouble) => {
                    self.say_everywhere(&trouble.sentence).await;
                    sleep(SELDOM).await;
                    continue;
                }
            };
            kubeconfig = tokio::select! {
                () = self.keep(&client) => return,
                (renewed, next) = self.renew(&client, kubeconfig, earliest) => {
                    earliest = next;
                    Some(renewed)
                }
            };
        }
    }

    async fn keep(&self, client: &Client) {
        // The work before may have been interrupted by a new token.
        self.queue.begin_anew();
        let namespace = self.cluster.settings.namespace.as_str();
        let workers = (0..AT_ONCE).map(|_| self.work(client));
        tokio::join!(
            self.view.watch(client, namespace, self.facts.installation, &self.queue),
            self.look_whether_it_is_there(client),
            self.follow_control_planes(),
            self.look_at_the_clock(),
            futures::future::join_all(workers),
        );
    }

    /// Waits until the cluster has given a new token and it is kept, and says when to ask for the next one at the earliest:
    /// a clock that is ahead of the cluster's would find each token due at once.
    async fn renew(&self, client: &Client, kubeconfig: Option<Kubeconfig>, earliest: Time) -> (Kubeconfig, Time) {
        let token = kubeconfig.as_ref().and_then(AccountToken::of);
        let (Some(token), Some(before)) = (token, kubeconfig) else {
            return std::future::pending().await;
        };
        loop {
            let now = self.facts.acting.system().now();
            if now < token.due.max(earliest) {
                sleep(SELDOM).await;
                continue;
            }
            match self.exchange(client, &token, &before).await {
                Ok(renewed) => {
                    tracing::info!(infrastructure = %self.cluster.name, "the token of a cluster was renewed");
                    // All deployments are looked at anew by the new client.
                    *self.unrenewed() = None;
                    return (renewed, now.after_ms(token.half_ms));
                }
                Err(trouble) => {
                    let why = trouble.sentence;
                    tracing::warn!(infrastructure = %self.cluster.name, why, "the token of a cluster was not renewed");
                    // That a cluster is away is said anyway, and is over by itself.
                    if trouble.cause != Cause::Away {
                        let before = self.unrenewed().replace(token.unrenewed(&why));
                        if before.is_none() {
                            self.queue.add(self.deployments().await);
                        }
                    }
                }
            }
            sleep(SELDOM).await;
        }
    }

    fn unrenewed(&self) -> MutexGuard<'_, Option<String>> {
        self.unrenewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(
        &self,
        client: &Client,
        token: &AccountToken,
        before: &Kubeconfig,
    ) -> Result<Kubeconfig, Trouble> {
        let renewed = token.renew(client, before).await?;
        let kept = self.facts.acting.keep_kubeconfig(&self.cluster, &renewed).await;
        // Another kubeconfig was given, another acts, or the database is away: whoever acts then tries again.
        let untold = |error: Error| Trouble {
            sentence: error.to_string(),
            cause: Cause::Away,
        };
        kept.map(|()| renewed).map_err(untold)
    }

    /// When the control planes are somewhere else, all policies are made anew.
    async fn follow_control_planes(&self) {
        loop {
            sleep(dialled::AGAIN).await;
            if self.facts.look_around(&self.cluster).await {
                self.queue.add(self.deployments().await);
            }
        }
    }

    /// What its clock says is told with every answer: its deployments say so when that is not, or not any more, what ours says.
    async fn look_at_the_clock(&self) {
        let mut before = self.clocks.said().is_some();
        loop {
            sleep(SELDOM).await;
            let now = self.clocks.said().is_some();
            if now != before {
                self.queue.add(self.deployments().await);
                before = now;
            }
        }
    }

    /// The deployments that are here, or have something here, or had it as far as is known.
    async fn deployments(&self) -> Vec<Uuid> {
        let mut all = self.view.live().deployments();
        match self.known().await {
            Ok(known) => all.extend(known),
            Err(error) => tracing::warn!(%error, "deployments could not be read"),
        }
        all
    }

    async fn known(&self) -> Result<Vec<Uuid>, Error> {
        let (system, here) = (self.facts.acting.system(), self.cluster.id);
        let deployments = system.deployments().await?;
        let deployments = deployments.iter().filter(|one| one.infrastructure_id == here);
        let left = system.leftovers().await?;
        let left = left.iter().filter(|one| one.infrastructure_id == here);
        let deleted = left.map(|one| one.deployment_id);
        Ok(deployments.map(|one| one.id).chain(deleted).collect())
    }

    async fn say_everywhere(&self, sentence: &str) {
        let Ok(deployments) = self.facts.acting.system().deployments().await else {
            return;
        };
        for deployment in deployments
            .iter()
            .filter(|deployment| deployment.infrastructure_id == self.cluster.id)
        {
            if self.say(deployment, Some(sentence)).await.is_err() {
                return;
            }
        }
    }

    async fn say(&self, deployment: &Deployment, problem: Option<&str>) -> Result<(), Error> {
        match deployment.problem.as_deref() == problem {
            true => Ok(()),
            false => self.facts.acting.set_problem(deployment.id, problem).await,
        }
    }

    async fn work(&self, client: &Client) {
        loop {
            let deployment = self.queue.next().await;
            let looked = match self.view.is_clear() {
                Ok(true) => self.look_at(client, deployment).await,
                // What is not seen is not judged; when it is, all are looked at.
                Ok(false) => {
                    self.queue.unseen(deployment);
                    continue;
                }
                Err(why) => match self.cannot_see(deployment, &why).await {
                    Ok(()) => {
                        self.queue.unseen(deployment);
                        continue;
                    }
                    untold => untold,
                },
            };
            let failed = match looked {
                Ok(()) => false,
                Err(Again::Later) => true,
                Err(Again::Silently(error)) => {
                    tracing::warn!(deployment.id = %deployment, %error, "a deployment was not looked at");
                    true
                }
            };
            self.queue.done(deployment, failed);
        }
    }

    async fn cannot_see(&self, id: Uuid, why: &str) -> Result<(), Again> {
        let deployment = self.facts.acting.system().deployment(id).await?;
        match deployment.filter(|deployment| deployment.infrastructure_id == self.cluster.id) {
            Some(deployment) => Ok(self.say(&deployment, Some(why)).await?),
            None => Ok(()),
        }
    }

    async fn look_at(&self, client: &Client, id: Uuid) -> Result<(), Again> {
        let place = Place {
            client,
            namespace: self.cluster.settings.namespace.as_str(),
            installation: self.facts.installation,
            view: &self.view,
            term: &self.term,
        };
        let there = {
            let live = self.view.live();
            let objects = live.objects(id);
            let has = |wanted| objects.keys().any(|(kind, _)| *kind == wanted);
            There {
                runs: has(Kind::Deployment),
                is_walled: has(Kind::NetworkPolicy),
            }
        };
        match self.facts.of(&self.cluster, id, there).await? {
            Wanted::Elsewhere => Ok(()),
            Wanted::Absent => self.take_away(&place, id).await,
            Wanted::Present(present) => {
                let (desired, deployment) = *present;
                self.bring_about(&place, &desired, &deployment).await?;
                if let Some(vouched) = &desired.boot.vouched {
                    self.queue.add_later(id, vouched.again);
                }
                Ok(())
            }
        }
    }

    async fn take_away(&self, place: &Place<'_>, id: Uuid) -> Result<(), Again> {
        if let (_, Some(trouble)) = place.apply(id, super::objects::nothing()).await {
            if trouble.cause != Cause::Conflict {
                tracing::warn!(deployment.id = %id, reason = trouble.sentence, "a deleted deployment's objects were not taken away");
            }
            return Err(Again::Later);
        }
        let left = {
            let live = self.view.live();
            live.objects(id).len() + live.pods(id).iter().filter(|pod| pod.may_run).count()
        };
        if left > 0 {
            return Ok(());
        }
        if let Some(trouble) = self.view.hides() {
            tracing::warn!(deployment.id = %id, reason = trouble.sentence, "a deleted deployment may have objects that are not seen");
            return Err(Again::Later);
        }
        Ok(self.facts.acting.settle(id, self.cluster.id).await?)
    }

    async fn note_copy(&self, deployment: Uuid, position: (u64, u64)) -> Result<(), Error> {
        match self.facts.acting.system().copied(deployment).await? < Some(position) {
            true => self.facts.acting.note_copy(deployment, position).await,
            false => Ok(()),
        }
    }

    async fn bring_about(&self, place: &Place<'_>, desired: &Desired, deployment: &Deployment) -> Result<(), Again> {
        let (applied, trouble) = place.apply(deployment.id, build(desired)).await;
        // First, and by what the Secret holds: who waits for it is not kept by another object that cannot be made.
        if deployment.enabled && self.view.live().boots_from(deployment.id, desired.boot.position) {
            self.note_copy(deployment.id, desired.boot.position).await?;
        }
        if let Some(hash) = &desired.boot.uncopied_token
            && !applied.lack(Kind::Secret)
        {
            self.facts.acting.note_token_copied(hash).await?;
        }
        for message in self.view.mended.told(deployment.id) {
            self.facts
                .acting
                .note_event(deployment.id, "put-right", &message)
                .await?;
        }
        let (pods, failure, unscaled, replaced, balancer, duel) = {
            let live = self.view.live();
            let objects = live.objects(deployment.id);
            let own = objects.get(&(Kind::Deployment, deployment.name.to_string()));
            let failure = own.and_then(|own| own.failure.clone());
            let unscaled = objects.values().find_map(|object| object.unscaled.clone());
            let replaced = own.is_none_or(|own| own.replaced);
            let balancer = objects.values().find_map(|object| object.balancer.clone());
            let now = Instant::now();
            let duel = objects.keys().find_map(|key| live.duels.sentence(key, now));
            (live.pods(deployment.id), failure, unscaled, replaced, balancer, duel)
        };
        if duel.is_some() {
            self.queue.add_later(deployment.id, PAUSE);
        }
        if deployment.moving && replaced && !applied.lack(Kind::Deployment) {
            self.facts.acting.note_moved(deployment.id).await?;
        }
        let foreign = deployment.make.as_ref().filter(|_| desired.template.is_none());
        let foreign = foreign.map(|make| left_alone(make.template, &deployment.infrastructure));
        let known = self.facts.acting.system().progress(deployment.id).await?;
        let hindered = self
            .hindered(place, deployment.id, &pods, &known, failure.as_deref())
            .await;
        // The worst first.
        let problems = [
            hindered.or(unscaled),
            duel,
            foreign,
            waits(&desired.settings, balancer.as_deref()),
            unknown_host(&desired.control_plane),
            no_room(&desired.boot.packages),
            self.unrenewed().clone(),
            self.clocks.said(),
        ];
        let problem = problems.into_iter().fold(None, both);
        let is_conflict = trouble.as_ref().is_some_and(|trouble| trouble.cause == Cause::Conflict);
        let first = trouble.as_ref().map(|trouble| trouble.sentence.clone());
        let problem = both(first, problem);
        // Whoever is told an address is not told that there is none yet.
        if !is_conflict && (&problem, &balancer) != (&deployment.problem, &deployment.balancer) {
            let (problem, host) = (problem.as_deref(), balancer.as_deref());
            self.facts
                .acting
                .set_problem_and_balancer(deployment.id, problem, host)
                .await?;
        }
        let there = pods.iter().filter(|pod| pod.may_run);
        let there: Vec<(Uuid, String)> = there.filter_map(|pod| Some((pod.uid?, pod.name.clone()))).collect();
        let is_there = |node: &Progress| there.iter().any(|(id, _)| *id == node.id);
        if known.iter().any(|node| !(node.is_named && is_there(node))) {
            self.facts.acting.keep_pods(deployment.id, &there).await?;
        }
        match trouble {
            Some(_) => Err(Again::Later),
            None => Ok(()),
        }
    }
}
