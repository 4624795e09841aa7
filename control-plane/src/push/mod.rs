//! The push: what nodes serve and which keys open it, from the database to every node.
//!
//! Apart from http, because nodes are no users: they dial a port of their own and prove themselves with the token of their
//! deployment. The rule a newcomer would break: a config is made and signed in the transaction of its cause, never here
//! when it is sent; every node gets the same bytes.

mod authority;
mod conversation;
mod ending;
mod grpc;
mod hub;
mod join;
mod ledger;
mod line;
mod link;
mod plan;
mod receipts;
mod said;
mod sessions;
mod share;
mod sign;
mod stream;

pub use authority::Identity;
pub use join::Joins;
pub use receipts::{Receipt, Receipts};
pub use sign::Publisher;

use crate::artifacts::Packages;
use crate::store::{Installation, Store};
use castoff_listen::tls::Shown;
use castoff_listen::{Phase, Port};
use ending::Ending;
use hub::Hub;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use stream::Streams;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the port of the nodes is opened with.
pub struct PushSettings {
    /// Where nodes dial.
    pub listener: TcpListener,
    /// How it is kept; TLS is added here.
    pub port: Port,
    /// The address under which they reach it, when it is not the listener's.
    pub url: Option<String>,
    /// More names under which they reach it, for the certificate that the installation makes.
    pub names: Vec<String>,
    /// An operator's own certificate; without one the installation makes its own where TLS is needed.
    pub certificate: Option<Identity>,
    /// Ends every stream.
    pub stopping: CancellationToken,
}

/// The push, running.
pub struct Push {
    /// Makes join documents.
    pub joins: Joins,
    /// Says which node has what.
    pub receipts: Receipts,
    /// Where nodes dial this control plane.
    pub url: String,
    /// What the port shows over TLS, where it has that.
    pub shown: Option<Arc<Shown>>,
    /// Where they can dial, to be told to them.
    pub addresses: watch::Sender<Vec<String>>,
    /// Has nodes go on with another control plane.
    moving: CancellationToken,
    /// End when `stopping` is told.
    tasks: Vec<JoinHandle<()>>,
    conversations: TaskTracker,
    /// Writes down what conversations leave, and so ends after them.
    keeping: JoinHandle<()>,
    kept: CancellationToken,
}

/// What is spoken over TLS, the best first.
const PROTOCOLS: [&str; 2] = [castoff_wire::line::PROTOCOL, "h2"];
/// Nodes move on within their first dial, or the next. Those of a release that does not know how are hung up on after this.
const MOVES: Duration = Duration::from_secs(10);
/// Streams end at once when they are told; this is for those that do not listen.
const LAST_WORDS: Duration = Duration::from_secs(3);

impl Push {
    /// Opens the port of the nodes.
    ///
    /// # Errors
    /// In plain words: TLS is needed and cannot be had.
    pub async fn start(
        settings: PushSettings,
        store: &Store,
        packages: &Packages,
        installation: &mut Installation,
    ) -> Result<Self, String> {
        let address = settings.listener.local_addr().map_err(|error| error.to_string())?;
        let identity = match settings.certificate {
            Some(own) => Some(own),
            None if address.ip().is_loopback() => None,
            None => {
                let url = settings.url.as_deref();
                let url = url.ok_or(
                    "--node-listen is reachable from other machines: say under which address with --node-url https://…",
                )?;
                Some(Identity::prepare(store, installation, url, &settings.names, address.ip()).await?)
            }
        };
        let scheme = if identity.is_some() { "https" } else { "http" };
        let url = settings.url.unwrap_or_else(|| format!("{scheme}://{address}"));
        let joins = Joins::new(
            url.clone(),
            identity.as_ref().map(|identity| identity.authority.clone()),
            sign::public(installation)?,
        );
        joins.check()?;
        store.say_join_size(joins.size());
        let hub = Arc::new(Hub::new(store.system()));
        let watching = tokio::spawn(Arc::clone(&hub).watch(settings.stopping.clone()));
        let kept = CancellationToken::new();
        let keeping = tokio::spawn({
            let (hub, kept) = (Arc::clone(&hub), kept.clone());
            async move { hub.ledger.keep(kept).await }
        });
        let (conversations, moving) = (TaskTracker::new(), CancellationToken::new());
        let ending = Ending {
            moving: moving.clone(),
            stopping: settings.stopping.clone(),
        };
        let streams = Streams::new(Arc::clone(&hub), packages.clone(), ending, conversations.clone());
        let streams = Arc::new(streams);
        let shown = identity.map(|identity| Shown::from_pem(&identity.chain, &identity.key));
        let shown = shown.transpose().map_err(|error| format!("TLS for nodes: {error}"))?;
        let port = Port {
            tells_life: true,
            tls: shown.clone().map(|shown| shown.config(&PROTOCOLS)).transpose()?,
            beside: Some(line::beside(Arc::clone(&streams))),
            ..settings.port
        };
        let listener = tokio::net::TcpListener::from_std(settings.listener).map_err(|error| error.to_string())?;
        let serving = tokio::spawn(serve(listener, grpc::router(streams), port, settings.stopping));
        Ok(Self {
            joins,
            url,
            shown,
            addresses: hub.addresses.clone(),
            receipts: Receipts::new(hub),
            moving,
            tasks: vec![watching, serving],
            conversations,
            keeping,
            kept,
        })
    }

    /// Has nodes go on with another control plane, where one is known to live, and waits until it has answered each of them;
    /// for those that find none not for long. Nobody new is taken from here on.
    pub async fn hand_over(&self) {
        if self.addresses.borrow().len() < 2 {
            return;
        }
        self.moving.cancel();
        self.conversations.close();
        if tokio::time::timeout(MOVES, self.conversations.wait()).await.is_err() {
            let streams = self.conversations.len();
            tracing::warn!(
                streams,
                "nodes that have not moved to another control plane are hung up on"
            );
        }
    }

    /// Waits until the streams have ended, which they were told to, and what they left is written down.
    pub async fn end(self) {
        for task in self.tasks {
            finish(task).await;
        }
        self.conversations.close();
        if tokio::time::timeout(LAST_WORDS, self.conversations.wait())
            .await
            .is_err()
        {
            tracing::warn!("streams of nodes did not end in time");
        }
        self.kept.cancel();
        finish(self.keeping).await;
    }
}

/// Serves nodes until it is told to stop, and then until their lines have ended.
async fn serve(listener: tokio::net::TcpListener, router: axum::Router, port: Port, stopping: CancellationToken) {
    let (phase, phases) = watch::channel(Phase::Open);
    let lines = TaskTracker::new();
    let accepting = tokio::spawn(castoff_listen::serve(listener, router, port, phases, lines.clone()));
    stopping.cancelled().await;
    phase.send_replace(Phase::Shut);
    // It ends by the phase, and with it the last line that may begin.
    let _ = accepting.await;
    lines.close();
    lines.wait().await;
}

/// Waits for a task, but not for ever.
async fn finish(task: JoinHandle<()>) {
    let abort = task.abort_handle();
    if tokio::time::timeout(LAST_WORDS, task).await.is_err() {
        abort.abort();
    }
}
