//! What people ask of a cluster: whether it can be used, and what its pods log. Answered by any control plane, whoever acts.

use super::bounds::{PAGE, words};
use super::clocks::Clocks;
use super::connection::{Cause, Trouble, answer, connect, connect_and_note};
use super::labels::{CONTAINER, DEPLOYMENT};
use super::objects::{Boot, Desired, Dialled, Kind, Packages, pod};
use super::recent::{Recent, Tails};
use super::renew::AccountToken;
use super::watch::{api, no_such_kind};
use crate::domain::Kubernetes;
use crate::domain::kubernetes::{EVENTS, Make, PERMISSIONS, Permission, RENEWAL, Template};
use crate::domain::{DeploymentName, ImageName, Limits, Scale, Time};
use crate::store::{Cluster, Error, SystemStore};
use futures::{AsyncReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// Questions to a cluster at a time.
const AT_ONCE: usize = 8;
/// Of the logs of all pods together, of which each has its share.
const MOST_LOG_BYTES: u64 = 16 << 20;
/// As many as a deployment can have, and in how many pages they come, some of which may not be full.
const MOST_PODS: usize = 200;
const MOST_PAGES: usize = 8;

/// The way to the clusters for whoever asks.
#[derive(Clone)]
pub struct Clusters {
    store: SystemStore,
    installation: Uuid,
    image: String,
    recent: Recent,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// Whether it is as it should be.
    pub works: bool,
    /// What was found, and what to do.
    pub message: String,
}

impl Finding {
    fn new(what: &str, found: Result<String, String>) -> Self {
        let works = found.is_ok();
        let message = found.unwrap_or_else(|wrong| wrong);
        let what = what.to_owned();
        Self { what, works, message }
    }
}

impl Clusters {
    /// Of the infrastructures in this store. `image` is what pods run where nothing else is said.
    pub fn new(store: SystemStore, installation: Uuid, image: String) -> Self {
        Self {
            store,
            installation,
            image,
            recent: Recent::default(),
        }
    }

    async fn cluster(&self, id: Uuid) -> Result<Option<Cluster>, Error> {
        let all = self.store.clusters().await?;
        Ok(all.into_iter().find(|cluster| cluster.id == id))
    }

    /// What works in an infrastructure's cluster and what is missing; none when it is not of kind kubernetes.
    ///
    /// # Errors
    /// The database failed.
    pub async fn check(&self, id: Uuid) -> Result<Option<Vec<Finding>>, Error> {
        let Some(cluster) = self.cluster(id).await? else {
            return Ok(None);
        };
        let clocks = Clocks::default();
        Ok(Some(match connect_and_note(cluster.kubeconfig.as_ref(), &clocks) {
            Ok(client) => self.look(&client, &cluster, &clocks).await,
            Err(trouble) => vec![Finding::new("cluster", Err(trouble.sentence))],
        }))
    }

    async fn look(&self, client: &Client, cluster: &Cluster, clocks: &Clocks) -> Vec<Finding> {
        let settings = &cluster.settings;
        let version = answer(client.apiserver_version()).await;
        let version = version.map(|version| format!("Kubernetes {}", words(&version.git_version)));
        let reached = Finding::new("cluster", version.map_err(|trouble| trouble.sentence));
        if !reached.works {
            return vec![reached];
        }
        let mut findings = vec![reached];
        let clock = clocks
            .said()
            .map_or_else(|| Ok("agrees with Castoff's".to_owned()), Err);
        findings.push(Finding::new("clock", clock));
        findings.extend(permissions(client, settings).await);
        if let Some(token) = cluster.kubeconfig.as_ref().and_then(AccountToken::of) {
            let found = renewal(client, &token, self.store.now()).await;
            findings.push(Finding::new(RENEWAL.resource, found));
        }
        if Kind::HttpRoute.is_made_by(settings) {
            findings.push(Finding::new("Gateway API", gateway_api(client, settings).await));
        }
        findings.push(Finding::new("quota", quota(client, settings).await));
        findings.push(Finding::new("a pod", self.admitted(client, settings).await));
        findings
    }

    /// Whether a pod as it would be made is taken. A dry run of a Deployment would not look at its pods.
    async fn admitted(&self, client: &Client, settings: &Kubernetes) -> Result<String, String> {
        let mut body = pod(&self.sample(settings)?, Template::NEWEST);
        // Its own account is made with the deployment.
        if let Some(spec) = body.pointer_mut("/spec").and_then(Value::as_object_mut) {
            spec.insert("serviceAccountName".to_owned(), "default".into());
        }
        let body: Pod = serde_json::from_value(body).map_err(|error| format!("the settings make no pod: {error}"))?;
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let api: Api<Pod> = Api::namespaced(client.clone(), settings.namespace.as_str());
        match answer(api.create(&parameters, &body)).await {
            Ok(_) => Ok("is admitted (tried without making one)".to_owned()),
            Err(trouble) if trouble.cause == Cause::NotFound => Err(format!(
                "the cluster has no namespace {}: create it, or set kubernetes.namespace",
                settings.namespace
            )),
            Err(trouble) => Err(trouble.sentence),
        }
    }

    /// Of what make the pods of new deployments are, by the image that their infrastructure names.
    pub fn make(&self, named: Option<&ImageName>) -> Make {
        Make::newest(named, &self.image)
    }

    fn sample(&self, settings: &Kubernetes) -> Result<Desired, String> {
        Ok(Desired {
            installation: self.installation,
            deployment: Uuid::new_v4(),
            name: DeploymentName::parse("castoff-check").map_err(|invalid| invalid.to_string())?,
            enabled: true,
            scale: Scale::default(),
            limits: Limits::default(),
            settings: settings.clone(),
            image: self.make(settings.image.as_ref()).image,
            template: Some(Template::NEWEST),
            boot: Boot {
                join: String::new(),
                config: Vec::new(),
                position: (0, 0),
                vouched: None,
                uncopied_token: None,
                packages: Packages::Nowhere,
            },
            control_plane: Dialled::default(),
            is_walled: false,
        })
    }

    /// The last lines that each pod of a deployment logged, by its node's id, not older than a moment.
    ///
    /// # Errors
    /// The database failed; within, why the cluster does not tell.
    pub async fn logs(&self, id: Uuid, deployment: Uuid, tail: usize) -> Result<Tails, Error> {
        let Some(cluster) = self.cluster(id).await? else {
            return Ok(Ok(Arc::default()));
        };
        let ask = async {
            let tails = tails(&cluster, deployment, tail).await;
            tails.map(Arc::new).map_err(|trouble| trouble.sentence)
        };
        Ok(self.recent.get((deployment, tail), ask).await)
    }
}

async fn tails(cluster: &Cluster, deployment: Uuid, tail: usize) -> Result<Vec<(Uuid, String)>, Trouble> {
    let client = connect(cluster.kubeconfig.as_ref())?;
    let api: Api<Pod> = Api::namespaced(client, cluster.settings.namespace.as_str());
    let labelled = ListParams::default()
        .labels(&format!("{DEPLOYMENT}={deployment}"))
        .limit(PAGE);
    let (mut pods, mut asked) = (Vec::new(), labelled.clone());
    for _ in 0..MOST_PAGES {
        let mut page = answer(api.list(&asked)).await?;
        pods.append(&mut page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => asked = labelled.clone().continue_token(&next),
            None => break,
        }
    }
    pods.truncate(MOST_PODS);
    let share = MOST_LOG_BYTES / u64::try_from(pods.len().max(1)).unwrap_or(MOST_LOG_BYTES);
    let parameters = LogParams {
        // A pod of which others have a container, too, has a log for each.
        container: Some(CONTAINER.to_owned()),
        tail_lines: i64::try_from(tail).ok(),
        limit_bytes: i64::try_from(share).ok(),
        ..LogParams::default()
    };
    let named = pods.into_iter().filter_map(|pod| {
        let id = pod.metadata.uid?.parse::<Uuid>().ok()?;
        Some((id, pod.metadata.name?))
    });
    let (api, parameters) = (&api, &parameters);
    let asked = named.map(|(id, name)| async move {
        // One that has no container yet has no log.
        match answer(log(api, &name, parameters, share)).await {
            Ok(text) => Ok((id, text)),
            Err(trouble) if trouble.cause == Cause::Away => Err(trouble),
            Err(_) => Ok((id, String::new())),
        }
    });
    futures::stream::iter(asked.collect::<Vec<_>>())
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// What a pod has logged; its share of it, whatever the cluster says.
async fn log(api: &Api<Pod>, name: &str, parameters: &LogParams, share: u64) -> Result<String, kube::Error> {
    let stream = api.log_stream(name, parameters).await?;
    let mut bytes = Vec::new();
    let mut stream = std::pin::pin!(stream.take(share));
    stream.read_to_end(&mut bytes).await.map_err(kube::Error::ReadEvents)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the account may do of what it needs, a finding for each resource.
async fn permissions(client: &Client, settings: &Kubernetes) -> Vec<Finding> {
    let needed = PERMISSIONS.iter().filter(|permission| is_needed(permission, settings));
    let asked = needed.map(|permission| async move {
        let mut missing = Vec::new();
        for verb in permission.verbs {
            match may(client, (settings.namespace.as_str(), None), permission, verb).await {
                Ok(true) => {}
                Ok(false) => missing.push(*verb),
                Err(trouble) => return Finding::new(permission.resource, Err(trouble.sentence)),
            }
        }
        let found = match missing.is_empty() {
            true => Ok(format!("may {}", permission.verbs.join(", "))),
            false if *permission == EVENTS => Ok(format!(
                "may not {}, so why a pod is not made is not said: apply what `castoff infra manifest {}` prints",
                missing.join(", "),
                settings.namespace
            )),
            false => Err(format!(
                "may not {}: apply what `castoff infra manifest {}` prints",
                missing.join(", "),
                settings.namespace
            )),
        };
        Finding::new(permission.resource, found)
    });
    futures::stream::iter(asked.collect::<Vec<_>>())
        .buffered(AT_ONCE)
        .collect()
        .await
}

fn is_needed(permission: &Permission, settings: &Kubernetes) -> bool {
    let of_kind = |kind: Kind| kind.api()[3] == permission.resource;
    match Kind::ALL.into_iter().find(|kind| of_kind(*kind)) {
        Some(kind) => kind.is_made_by(settings),
        None => true,
    }
}

/// Whether the token by which Castoff comes can be exchanged, and was when it should have been.
async fn renewal(client: &Client, token: &AccountToken, now: Time) -> Result<String, String> {
    let own = (token.namespace.as_str(), Some(token.account.as_str()));
    for verb in RENEWAL.verbs {
        match may(client, own, &RENEWAL, verb).await {
            Ok(true) => {}
            Ok(false) => return Err(token.unrenewed(&format!("account {} may not {verb} one", token.account))),
            Err(trouble) => return Err(trouble.sentence),
        }
    }
    token.look(now)
}

/// Whether the account may do that in a namespace, to all objects or to one of a name.
async fn may(
    client: &Client,
    (namespace, name): (&str, Option<&str>),
    permission: &Permission,
    verb: &str,
) -> Result<bool, Trouble> {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(permission.group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let reviewed = answer(api.create(&PostParams::default(), &review)).await?;
    Ok(reviewed.status.is_some_and(|status| status.allowed))
}

/// Whether the cluster knows the kind that leads to pods from outside: who may make objects of a kind is said of any.
async fn gateway_api(client: &Client, settings: &Kubernetes) -> Result<String, String> {
    let routes = api(Kind::HttpRoute, client.clone(), settings.namespace.as_str());
    match answer(routes.list(&ListParams::default().limit(1))).await {
        Ok(_) => Ok("is there".to_owned()),
        Err(trouble) if trouble.cause == Cause::NotFound => Err(no_such_kind(Kind::HttpRoute).sentence),
        Err(trouble) => Err(trouble.sentence),
    }
}

/// What the namespace's quotas leave.
async fn quota(client: &Client, settings: &Kubernetes) -> Result<String, String> {
    let api: Api<ResourceQuota> = Api::namespaced(client.clone(), settings.namespace.as_str());
    let quotas = answer(api.list(&ListParams::default().limit(PAGE)))
        .await
        .map_err(|trouble| trouble.sentence)?;
    let mut said = Vec::new();
    for status in quotas.items.into_iter().filter_map(|quota| quota.status) {
        let used = status.used.unwrap_or_default();
        for (what, hard) in status.hard.unwrap_or_default() {
            let used = used.get(&what).map_or("0", |used| used.0.as_str());
            said.push(format!("{what} {used} of {}", hard.0));
        }
    }
    match said.is_empty() {
        true => Ok("none".to_owned()),
        false => Ok(words(&said.join(", "))),
    }
}
