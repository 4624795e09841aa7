//! Doing what is to be done in a cluster, one object after the other.
//!
//! The rule a newcomer would break: everything is written by server-side apply under our name, over what was seen; what
//! has changed since is looked at again, and what is not ours is left alone.

use super::connection::{Cause, Trouble, answer};
use super::decided::applied_by;
use super::labels::{DEPLOYMENT, INSTALLATION, manager, scale_manager};
use super::live::{Key, Seen};
use super::objects::{Applied, Kind, Object, Objects, Prepared};
use super::plan::{Step, Version, is_newer, steps};
use super::watch::{View, api, no_such_kind};
use crate::lease::Term;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy, ValidationDirective};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::Instant;
use uuid::Uuid;

/// A version that no object has: over it, only what is not there can be made. The first thing that is written to an empty
/// store of a cluster has the second version.
const NO_VERSION: &str = "1";

/// A namespace, as it is written to.
pub(super) struct Place<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) installation: Uuid,
    pub(super) view: &'a View,
    pub(super) term: &'a Term,
}

impl Place<'_> {
    /// Makes a deployment what it should be, as far as that can be done: gives what the cluster has of it, and the first thing
    /// that could not be done. What does not need that is done nevertheless.
    pub(super) async fn apply(
        &self,
        deployment: Uuid,
        wanted: Objects<Prepared>,
    ) -> (Objects<Applied>, Option<Trouble>) {
        let live = self.view.live().objects(deployment);
        let (mut failed, mut undone): (Vec<Step>, Vec<Kind>) = (Vec::new(), Vec::new());
        let (mut first, mut is_away) = (None, false);
        for step in steps(&wanted, &live) {
            if is_away || !failed.iter().all(|failed| step.is_right_without(failed)) {
                undone.extend(step.makes());
                continue;
            }
            if !self.is_due(&step, &live) {
                continue;
            }
            self.view.mended.begin(&step);
            let taken = match self.term.holds() {
                true => self.take(deployment, &step).await,
                false => Err(Trouble {
                    sentence: "another control plane acts now".to_owned(),
                    cause: Cause::Conflict,
                }),
            };
            match taken {
                Ok(()) => self.view.mended.taken(deployment, &step, &live, Instant::now()),
                Err(trouble) => {
                    is_away = trouble.cause == Cause::Away;
                    undone.extend(step.makes());
                    failed.push(step);
                    first.get_or_insert(trouble);
                }
            }
        }
        (wanted.applied_but(undone), first)
    }

    /// What somebody else changes as often as it is put right has its time.
    fn is_due(&self, step: &Step, live: &BTreeMap<Key, Seen>) -> bool {
        match step {
            Step::Update {
                object, corrects: true, ..
            } => {
                let key = (object.kind, object.name.clone());
                let other = live.get(&key).and_then(|seen| seen.other.as_deref());
                self.view.live().duels.may_correct(&key, other, Instant::now())
            }
            _ => true,
        }
    }

    async fn take(&self, deployment: Uuid, step: &Step) -> Result<(), Trouble> {
        // The watch asks again and again, for all deployments.
        if let Some(trouble) = step.keeps().and_then(|kind| self.view.lack(kind)) {
            return Err(trouble);
        }
        match step {
            Step::Settle { key, resource_version } => self.view.live().settle(key, resource_version),
            Step::Delete { key, over } => self.delete(key, over).await?,
            Step::Create(object) => self.create(deployment, object).await?,
            Step::Update {
                object,
                over,
                hand_over,
                corrects: _,
            } => {
                // What is handed over changes it.
                let handed_over = match hand_over {
                    Some(replicas) => Some(self.hand_over(object, *replicas, over).await?),
                    None => None,
                };
                self.patch(object, Some(handed_over.as_ref().unwrap_or(over))).await?;
            }
        }
        Ok(())
    }

    /// Makes an object, and looks what is in its place only where that is refused: nothing nearly always is.
    async fn create(&self, deployment: Uuid, object: &Object) -> Result<(), Trouble> {
        let trouble = match self.patch(object, None).await {
            Err(trouble) if trouble.cause != Cause::Away => trouble,
            other => return other,
        };
        let api = api(object.kind, self.client.clone(), self.namespace);
        let Ok(Some(there)) = answer(api.get_opt(&object.name)).await else {
            return Err(trouble);
        };
        let there = serde_json::to_value(there).unwrap_or(Value::Null);
        let labelled = |name: &str, id: Uuid| {
            let label = there.pointer("/metadata/labels").and_then(|labels| labels.get(name));
            label.and_then(Value::as_str) == Some(id.to_string().as_str())
        };
        if labelled(INSTALLATION, self.installation) && labelled(DEPLOYMENT, deployment) {
            let seen = self.view.judge(object.kind, &there, Seen::of(&there));
            let (over, is_newer) = (Version::of(&seen), is_newer(&seen, object));
            self.view.live().see((object.kind, object.name.clone()), seen);
            return match is_newer {
                true => Ok(()),
                false => self.patch(object, Some(&over)).await,
            };
        }
        let was_ours = labelled(DEPLOYMENT, deployment) || applied_by(&there, self.installation).is_some();
        Err(Trouble::refused(self.foreign(object, deployment, was_ours)))
    }

    /// That an object of the name is not known as ours, and what to do.
    fn foreign(&self, object: &Object, deployment: Uuid, was_ours: bool) -> String {
        let ([_, _, kind, plural], name) = (object.kind.api(), &object.name);
        match was_ours {
            true => format!(
                "{kind} {name} has lost a label by which Castoff knows its own, and is left alone: give it back (kubectl label \
                 --overwrite {plural} {name} {INSTALLATION}={} {DEPLOYMENT}={deployment}), or delete the object",
                self.installation
            ),
            false => format!(
                "{kind} {name} is there already and belongs to somebody else: it is left alone; remove it, or make the deployment \
                 under another name"
            ),
        }
    }

    /// Over what was seen, or where nothing was.
    async fn patch(&self, object: &Object, over: Option<&Version>) -> Result<(), Trouble> {
        let manager = manager(self.installation);
        let applied = self.send(object, &manager, object.body.clone(), over).await?;
        let [_, _, kind, _] = object.kind.api();
        tracing::info!(object.kind = kind, object.name, "an object was applied");
        let seen = self.view.judge(object.kind, &applied, Seen::applied(&applied));
        self.view.live().see((object.kind, object.name.clone()), seen);
        Ok(())
    }

    /// Leaves the number of pods as it is to somebody else: were it not named any more, it would fall back to one.
    async fn hand_over(&self, object: &Object, replicas: i64, over: &Version) -> Result<Version, Trouble> {
        let body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": object.name}, "spec": {"replicas": replicas},
        });
        let manager = scale_manager(self.installation);
        let handed_over = self.send(object, &manager, body, Some(over)).await?;
        Ok(Version::of(&Seen::of(&handed_over)))
    }

    async fn send(
        &self,
        object: &Object,
        manager: &str,
        mut body: Value,
        over: Option<&Version>,
    ) -> Result<Value, Trouble> {
        if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            let version = over.map_or(NO_VERSION, |over| over.resource_version.as_str());
            metadata.insert("resourceVersion".to_owned(), version.into());
            // Without it, one that is gone meanwhile would be made again.
            metadata.extend(over.map(|over| ("uid".to_owned(), over.uid.as_str().into())));
        }
        let parameters = PatchParams {
            field_manager: Some(manager.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
            // Over what is not ours nothing is written in the first place.
            force: over.is_some(),
            dry_run: false,
        };
        let api = api(object.kind, self.client.clone(), self.namespace);
        let patch = Patch::Apply(&body);
        let applied = answer(api.patch(&object.name, &parameters, &patch)).await;
        let applied = applied.map_err(|trouble| self.explain(object.kind, trouble))?;
        Ok(serde_json::to_value(applied).unwrap_or(Value::Null))
    }

    fn explain(&self, kind: Kind, trouble: Trouble) -> Trouble {
        if trouble.cause == Cause::NotFound && kind == Kind::ServiceAccount
            || trouble.sentence.contains("namespaces \"")
        {
            return Trouble::refused(format!(
                "the cluster has no namespace {}: create it, or set kubernetes.namespace",
                self.namespace
            ));
        }
        if trouble.cause == Cause::NotFound && !kind.is_everywhere() {
            return no_such_kind(kind);
        }
        trouble
    }

    async fn delete(&self, (kind, name): &Key, over: &Version) -> Result<(), Trouble> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(over.uid.clone()),
                resource_version: Some(over.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        let api = api(*kind, self.client.clone(), self.namespace);
        match answer(api.delete(name, &parameters)).await {
            Ok(_) => Ok(()),
            Err(trouble) if trouble.cause == Cause::NotFound => {
                self.view.live().forget(&(*kind, name.clone()));
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }
}
