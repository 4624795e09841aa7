//! Watching a namespace: every kind of object of an installation, and its pods.

use super::bounds::{MOST_NAME, MOST_OBJECTS, PAGE, PAGE_OF_SECRETS};
use super::connection::{Cause, PATIENCE, Trouble, not_understood, silence, trouble};
use super::copy;
use super::labels::of_installation;
use super::live::{Live, Seen};
use super::mended::Mended;
use super::objects::Kind;
use super::observe::Pod;
use super::queue::Queue;
use crate::domain::Kubernetes;
use castoff_wire::signed::Trust;
use futures::{StreamExt, TryStreamExt};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Between two looks whether a namespace holds less.
const CROWDED: Duration = Duration::from_secs(60);
/// Between two looks whether a cluster has come to know a kind.
const UNKNOWN: Duration = Duration::from_secs(15);
/// For a list that is asked for again after a failure: before each try there is a pause of up to a minute.
const PATIENCE_AGAIN: Duration = Duration::from_secs(90);
/// Within this whoever may list a kind and not watch it is told so.
const VERDICT: Duration = Duration::from_secs(2);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Watched {
    Objects(Kind),
    Pods,
}

/// How a watch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing is known yet.
    Blind,
    /// All is known.
    Clear(Known),
    /// It was lost, and why. A watch that goes on where it was says nothing, so this is until the cluster answers.
    Lost { why: String, before: Option<Known> },
}

/// What a cluster has of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// What was seen.
    Seen,
    /// Nothing, nor can it have any: it does not know the kind.
    NoSuchKind,
    /// What was seen before, if anything: the account may not look, and which permission it lacks. Pods do without the kind.
    Hidden(String),
}

/// How all watches stand.
pub(super) type Sights = BTreeMap<Watched, Sight>;

/// Why a watch is begun anew.
enum End {
    /// There is more than can be remembered.
    Crowded,
    /// The cluster does not know the kind.
    NoSuchKind,
    /// The cluster takes the question, and does not answer.
    Silent,
    /// It does not show what pods do without, and why.
    Hidden(String),
}

/// What is seen of a namespace.
pub(super) struct View {
    live: Mutex<Live>,
    trust: Trust,
    sights: Sender<Sights>,
    /// Told when all is to be asked for anew.
    anew: Sender<()>,
    /// What others have done and was put right.
    pub(super) mended: Mended,
    /// Kinds that the infrastructure makes no objects of. What is left of them from when it did has to be seen to go.
    unmade: Vec<Kind>,
}

impl View {
    /// Of an infrastructure: nothing is seen yet. Configs in its Secrets are believed by this trust.
    pub(super) fn of(settings: &Kubernetes, trust: Trust) -> Self {
        let sights = Kind::ALL
            .map(Watched::Objects)
            .into_iter()
            .chain([Watched::Pods])
            .map(|what| (what, Sight::Blind))
            .collect();
        Self {
            live: Mutex::default(),
            trust,
            mended: Mended::default(),
            sights: Sender::new(sights),
            anew: Sender::new(()),
            unmade: Kind::ALL
                .into_iter()
                .filter(|kind| !kind.is_made_by(settings))
                .collect(),
        }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all is seen, as by [`is_clear`].
    pub(super) fn is_clear(&self) -> Result<bool, String> {
        is_clear(&self.sights.borrow())
    }

    /// Why nothing of this kind can be made, or kept as it should be; none where it can.
    pub(super) fn lack(&self, kind: Kind) -> Option<Trouble> {
        match self.sights.borrow().get(&Watched::Objects(kind))? {
            Sight::Clear(Known::NoSuchKind) => Some(no_such_kind(kind)),
            Sight::Clear(Known::Hidden(why)) => Some(Trouble::refused(why.clone())),
            Sight::Clear(Known::Seen) | Sight::Lost { .. } | Sight::Blind => None,
        }
    }

    /// Why there may be objects that nobody sees, of a kind that the infrastructure makes; none where all are seen.
    pub(super) fn hides(&self) -> Option<Trouble> {
        let sights = self.sights.borrow();
        sights.iter().find_map(|(what, sight)| match (what, sight) {
            (Watched::Objects(kind), Sight::Clear(Known::Hidden(why))) if !self.unmade.contains(kind) => {
                Some(Trouble::refused(why.clone()))
            }
            _ => None,
        })
    }

    /// Told whenever something is seen again, or not any more.
    pub(super) fn changes(&self) -> Receiver<Sights> {
        self.sights.subscribe()
    }

    /// Watches everything, for ever.
    pub(super) async fn watch(&self, client: &Client, namespace: &str, installation: Uuid, queue: &Queue) {
        let watched: Vec<Watched> = self.sights.borrow().keys().copied().collect();
        let watching = watched
            .into_iter()
            .map(|what| self.watch_one(what, client.clone(), namespace, installation, queue));
        futures::future::join_all(watching).await;
    }

    async fn watch_one(&self, what: Watched, client: Client, namespace: &str, installation: Uuid, queue: &Queue) {
        loop {
            match self.follow(what, client.clone(), namespace, installation, queue).await {
                End::Crowded => {
                    let why = "the namespace holds more objects with the label of this installation than Castoff \
                               remembers: remove those that are not its own"
                        .to_owned();
                    self.stands(what, Sight::Lost { why, before: None });
                    sleep(CROWDED).await;
                }
                End::NoSuchKind => {
                    // Those that there were are gone with it.
                    for name in self.names(what) {
                        queue.add(self.forget(what, &name));
                    }
                    self.stands(what, Sight::Clear(Known::NoSuchKind));
                    sleep(UNKNOWN).await;
                }
                // Asked anew, on another connection.
                End::Silent => self.fails(what, silence()),
                End::Hidden(why) => {
                    self.stands(what, Sight::Clear(Known::Hidden(why)));
                    sleep(UNKNOWN).await;
                }
            }
        }
    }

    /// Watches until it has to be begun anew.
    async fn follow(&self, what: Watched, client: Client, namespace: &str, installation: Uuid, queue: &Queue) -> End {
        let page = match what {
            Watched::Objects(Kind::Secret) => PAGE_OF_SECRETS,
            Watched::Objects(_) | Watched::Pods => PAGE,
        };
        let config = watcher::Config::default()
            .labels(&of_installation(installation))
            .page_size(page);
        let events = watcher(what.api(client, namespace), config).default_backoff();
        let mut events = std::pin::pin!(events.into_stream());
        // Of a new list, what it has named so far.
        let mut listed: Option<HashSet<String>> = None;
        let (mut patience, mut anew) = (PATIENCE, self.anew.subscribe());
        // All was listed of what was hidden; whether it may be watched, too, is still to be seen.
        let mut is_shown = false;
        loop {
            let next = match listed {
                // A list has an end. Of what is watched then, there may be nothing to tell for ever.
                Some(_) => match timeout(patience, events.next()).await {
                    Ok(next) => next,
                    Err(_) => return End::Silent,
                },
                None => tokio::select! {
                    next = events.next() => next,
                    _ = anew.changed() => return End::Silent,
                    () = sleep(VERDICT), if is_shown => {
                        is_shown = false;
                        self.stands(what, Sight::Clear(Known::Seen));
                        continue;
                    }
                },
            };
            let Some(event) = next else { return End::Crowded };
            if self.live().is_full() || listed.as_ref().is_some_and(|listed| listed.len() > MOST_OBJECTS) {
                return End::Crowded;
            }
            match event {
                Ok(Event::InitApply(object) | Event::Apply(object)) if !is_named(&object) => {}
                Ok(Event::Init) => listed = Some(HashSet::new()),
                Ok(Event::InitApply(object)) => {
                    if let (Some(listed), Some(name)) = (&mut listed, &object.metadata.name) {
                        listed.insert(name.clone());
                    }
                    queue.add(self.see(what, object));
                }
                Ok(Event::InitDone) => {
                    let listed = listed.take().unwrap_or_default();
                    let gone = self.names(what).into_iter().filter(|name| !listed.contains(name));
                    gone.for_each(|name| queue.add(self.forget(what, &name)));
                    is_shown = self.is_hidden(what);
                    if !is_shown {
                        self.stands(what, Sight::Clear(Known::Seen));
                    }
                    patience = PATIENCE;
                    anew.mark_unchanged();
                }
                Ok(Event::Apply(object)) => {
                    queue.add(self.see(what, object));
                    self.stands(what, Sight::Clear(Known::Seen));
                }
                Ok(Event::Delete(object)) => {
                    let name = object.metadata.name.unwrap_or_default();
                    queue.add(self.forget(what, &name));
                }
                Err(error) => {
                    match reason(&error) {
                        Some(trouble) if is_unknown(what, &trouble) => return End::NoSuchKind,
                        Some(trouble) if is_hidden(what, &trouble) => return End::Hidden(trouble.sentence),
                        Some(trouble) => self.fails(what, trouble),
                        None => {}
                    }
                    patience = PATIENCE_AGAIN;
                }
            }
        }
    }

    fn is_hidden(&self, what: Watched) -> bool {
        matches!(self.sights.borrow().get(&what), Some(Sight::Clear(Known::Hidden(_))))
    }

    fn fails(&self, what: Watched, trouble: Trouble) {
        // A cluster without the kind, or one that refuses it, is as good as one that has none.
        let is_moot = matches!(trouble.cause, Cause::NotFound | Cause::Refused);
        if is_moot && matches!(what, Watched::Objects(kind) if self.unmade.contains(&kind)) {
            return self.stands(what, Sight::Clear(Known::Seen));
        }
        let before = match self.sights.borrow().get(&what) {
            Some(Sight::Clear(known)) => Some(known.clone()),
            Some(Sight::Lost { before, .. }) => before.clone(),
            Some(Sight::Blind) | None => None,
        };
        let why = trouble.sentence;
        self.stands(what, Sight::Lost { why, before });
    }

    /// The cluster answers: what was seen before goes on.
    pub(super) fn recover(&self) {
        self.sights.send_if_modified(|sights| {
            let mut changed = false;
            for sight in sights.values_mut() {
                if let Sight::Lost {
                    before: Some(known), ..
                } = sight
                {
                    (*sight, changed) = (Sight::Clear(known.clone()), true);
                }
            }
            changed
        });
    }

    /// The cluster does not answer: what is watched over its connections may never be told.
    pub(super) fn begin_anew(&self) {
        self.anew.send_replace(());
    }

    fn stands(&self, what: Watched, now: Sight) {
        self.sights.send_if_modified(|sights| {
            let before = sights.insert(what, now.clone());
            before != Some(now)
        });
    }

    fn see(&self, what: Watched, object: DynamicObject) -> Vec<Uuid> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let object = serde_json::to_value(object).unwrap_or(Value::Null);
        match what {
            Watched::Objects(kind) => {
                let seen = self.judge(kind, &object, Seen::of(&object));
                self.live().see((kind, name), seen)
            }
            Watched::Pods => match Pod::of(&object) {
                Some(pod) => vec![self.live().see_pod(name, pod)],
                None => Vec::new(),
            },
        }
    }

    /// The same with the config in it, where it is a Secret.
    pub(super) fn judge(&self, kind: Kind, object: &Value, mut seen: Seen) -> Seen {
        let deployment = seen.deployment.filter(|_| kind == Kind::Secret);
        seen.config = deployment.and_then(|id| copy::position(object, id, &self.trust));
        seen
    }

    fn forget(&self, what: Watched, name: &str) -> Vec<Uuid> {
        match what {
            Watched::Objects(kind) => {
                let key = (kind, name.to_owned());
                let touched = self.live().forget(&key);
                if !touched.is_empty() {
                    self.mended.gone(key);
                }
                touched
            }
            Watched::Pods => self.live().forget_pod(name).into_iter().collect(),
        }
    }

    fn names(&self, what: Watched) -> Vec<String> {
        match what {
            Watched::Objects(kind) => self.live().names(kind),
            Watched::Pods => self.live().pod_names(),
        }
    }
}

impl Watched {
    fn api(self, client: Client, namespace: &str) -> Api<DynamicObject> {
        let [group, version, kind, plural] = match self {
            Self::Objects(kind) => return api(kind, client, namespace),
            Self::Pods => ["", "v1", "Pod", "pods"],
        };
        Api::namespaced_with(client, namespace, &resource([group, version, kind, plural]))
    }
}

/// Whether all is seen.
///
/// # Errors
/// Why something is not, when that is known.
pub(super) fn is_clear(sights: &Sights) -> Result<bool, String> {
    let lost = sights.values().find_map(|sight| match sight {
        Sight::Lost { why, .. } => Some(why.clone()),
        Sight::Blind | Sight::Clear(_) => None,
    });
    match lost {
        Some(why) => Err(why),
        None => Ok(sights.values().all(|sight| matches!(sight, Sight::Clear(_)))),
    }
}

/// Why a watch failed; none when it begins again by itself with what it knows.
fn reason(error: &watcher::Error) -> Option<Trouble> {
    Some(match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => trouble(error),
        watcher::Error::WatchError(status) if matches!(status.code, 410 | 429 | 500..) => return None,
        watcher::Error::WatchError(status) => trouble(&kube::Error::Api(status.clone())),
        watcher::Error::NoResourceVersion => Trouble::refused(not_understood("a list without a version")),
    })
}

/// Whether that is the answer of a cluster that does not know what is watched. Where it should, something is wrong with it.
fn is_unknown(what: Watched, trouble: &Trouble) -> bool {
    trouble.cause == Cause::NotFound && matches!(what, Watched::Objects(kind) if !kind.is_everywhere())
}

/// Whether that is the answer to an account that may not look at what pods do without.
fn is_hidden(what: Watched, trouble: &Trouble) -> bool {
    trouble.cause == Cause::Forbidden && matches!(what, Watched::Objects(kind) if kind.is_spared())
}

/// What that means for whoever wants an object of this kind.
pub(super) fn no_such_kind(kind: Kind) -> Trouble {
    let sentence = match kind {
        Kind::HttpRoute => "the cluster has no Gateway API: install it, or choose another exposure".to_owned(),
        kind => format!(
            "the cluster has no {}: give the infrastructure one that has",
            kind.api()[2]
        ),
    };
    Trouble::refused(sentence)
}

/// Whether it has a name, as every object of a cluster has.
fn is_named(object: &DynamicObject) -> bool {
    let name = object.metadata.name.as_ref();
    name.is_some_and(|name| (1..=MOST_NAME).contains(&name.len()))
}

/// The objects of a kind in a namespace.
pub(super) fn api(kind: Kind, client: Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &resource(kind.api()))
}

fn resource([group, version, kind, plural]: [&str; 4]) -> ApiResource {
    let api_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}
