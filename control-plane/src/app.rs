//! The control plane, put together: what is opened, in which order, and how it ends.

mod certificates;
mod first;
mod listen;
mod loops;
mod packages;

use crate::admin::plain;
use crate::artifacts::Limits;
use crate::authn::{Passwords, SlowDown};
use crate::clock::Clock;
use crate::config::{DatabaseUrls, MasterKeyPlace, Place, Serve};
use crate::http::{self, Api, Bodies};
use crate::launch::Leave;
use crate::push::{Publisher, Push, PushSettings};
use crate::store::{self, Installation, Store};
use crate::{authz, telemetry};
use certificates::Pair;
use listen::{Served, bind, check_exposure, kept, over_tls};
use loops::Loops;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A database that is ready to be worked with.
pub struct Opened {
    /// Its rows.
    pub store: Store,
    /// What it signs and seals with.
    pub installation: Installation,
    /// Where it is kept.
    pub urls: DatabaseUrls,
}

/// How long answers that are under way may take when the control plane ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Opens the database, brings its schema up, and finds or makes the installation.
///
/// # Errors
/// In plain words, with what to do.
pub async fn open(place: &Place, keeping: &MasterKeyPlace) -> Result<Opened, String> {
    make_private_folder(&place.data_dir)?;
    let urls = place.database_urls()?;
    store::migrate_up(urls.direct())
        .await
        .map_err(|error| format!("the database cannot be opened: {}", plain(error)))?;
    let db = store::connect(&urls.url, urls.direct.is_some()).await.map_err(plain)?;
    let clock = Clock::default();
    let is_sealed = store::is_sealed(&db).await.map_err(plain)?;
    let master = first::master_key(place, keeping, urls.url.starts_with("sqlite:"), is_sealed).await?;
    let installation = store::prepare(&db, &master, clock.now()).await.map_err(plain)?;
    let installation = installation.ok_or("the master key is not the one that this database was sealed with")?;
    let publisher = Arc::new(Publisher::new(&installation)?);
    let store = Store::new(db, clock, Arc::clone(&installation.vault), publisher);
    Ok(Opened {
        store,
        installation,
        urls,
    })
}

/// A folder that nobody else can look into.
fn make_private_folder(folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    use std::os::unix::fs::PermissionsExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    // One that was there may be open to others, and the database's files are only as private as their folder.
    made.and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
        .map_err(|error| format!("{}: {error}", folder.display()))
}

/// Runs the control plane until it is asked to end.
///
/// # Errors
/// In plain words, with what to do.
pub async fn serve(config: Serve) -> Result<(), String> {
    telemetry::start_logging();
    let metrics = telemetry::start_metrics()?;
    check_exposure(&config)?;
    make_private_folder(&config.place.data_dir)?;
    let _only_one = lock(&config.place.data_dir)?;
    // First: a port that is taken must not cost the only look at the first password.
    let http_listener = bind(config.listen, "--listen")?;
    let ops_listener = bind(config.ops_listen, "--ops-listen")?;
    let node_listener = bind(config.node_listen, "--node-listen")?;
    let of_rest = Pair::of_rest(&config).map(|pair| Ok::<_, String>((pair.shown()?, pair)));
    let of_rest = of_rest.transpose()?;
    let [rest, operators, nodes] = kept(&config, of_rest.as_ref().map(|(shown, _)| Arc::clone(shown)))?;
    check_onnxruntime(config.onnxruntime.as_deref())?;
    let table = match &config.policies {
        Some(folder) => authz::load(folder).await,
        None => authz::load_builtin().await,
    };
    let table = Arc::new(table.map_err(|error| error.to_string())?);
    let Opened {
        store,
        mut installation,
        urls,
    } = open(&config.place, &config.keeping).await?;
    first::write_private(
        &config.place.data_dir.join("sealed"),
        "The database in this folder was sealed with the master key.\n",
    )?;
    let passwords = Passwords::default();
    first::claim(&config, &store, &passwords).await?;
    let rest = over_tls(
        rest,
        certificates::own_of_rest(&config, &store, &mut installation).await?,
    )?;

    let patience = Duration::from_secs(config.body_patience);
    let usual = Limits::default();
    let limits = Limits {
        upload: config.max_package_bytes,
        // Whoever may upload more may have more in it: weights hardly compress.
        unpacked: usual.unpacked.max(config.max_package_bytes.saturating_mul(2)),
        patience,
        ..usual
    };
    make_private_folder(config.shared_dir())?;
    let packages = packages::open(&config, limits).await?;
    let stopping = CancellationToken::new();
    let addresses = Addresses::of(&http_listener, &node_listener, &ops_listener)?;

    let of_nodes = Pair::of_nodes(&config);
    let push = Push::start(
        PushSettings {
            listener: node_listener,
            port: nodes,
            url: config.node_url.clone(),
            names: config.node_san.clone(),
            certificate: of_nodes.as_ref().map_or(Ok(None), |pair| pair.identity(&config))?,
            stopping: stopping.clone(),
        },
        &store,
        &packages,
        &mut installation,
    )
    .await?;
    let _hints = exchange_hints(&store, &urls).await?;
    let of_nodes = push.shown.clone().zip(of_nodes);
    for (shown, pair) in of_rest.into_iter().chain(of_nodes) {
        tokio::spawn(pair.renew(shown, stopping.clone()));
    }
    let mut loops = Loops::start(&config, &store, &push, &packages, installation.id).await?;
    let api = Api {
        store: store.clone(),
        table,
        packages,
        passwords,
        slow_down: Arc::new(SlowDown::default()),
        receipts: push.receipts.clone(),
        joins: push.joins.clone(),
        logs: loops.logs(),
        clusters: loops.clusters(),
        bodies: Bodies::new(patience),
        secure_cookies: config.has_tls(),
        stopping: stopping.clone(),
    };
    let served = Served::new();
    served.open(http_listener, http::router(api), rest)?;
    let leaving = CancellationToken::new();
    let health = telemetry::router(store, metrics, leaving.clone());
    served.open(ops_listener, health, operators)?;
    addresses.announce(&config)?;

    wait_for_end().await?;
    leaving.cancel();
    served.leave();
    let drained = tokio::time::sleep(Duration::from_secs(config.drain_delay));
    // Nodes stay on the line as long: whoever is sent away now might be sent here again.
    let all_are_elsewhere = async {
        let handed_over = async {
            // Nodes that are to be ended are ended by this one.
            if !config.stop_nodes {
                loops.hand_over().await;
            }
        };
        tokio::join!(drained, handed_over);
        loops.look_around().await;
        push.hand_over().await;
    };
    tokio::select! {
        () = all_are_elsewhere => {}
        ended = wait_for_end() => ended?,
    }
    tracing::info!("ending: answers under way are finished");
    stopping.cancel();
    served.shut(LAST_ANSWERS).await;
    let leaving = if config.stop_nodes {
        Leave::WithNodes
    } else {
        Leave::WithoutNodes
    };
    loops.end(leaving).await;
    push.end().await;
    Ok(())
}

/// Tells other control planes on the database what this one does, and hears of them, until it is dropped.
async fn exchange_hints(store: &Store, urls: &DatabaseUrls) -> Result<Option<AbortOnDropHandle<()>>, String> {
    if !store.system().is_shared() {
        return Ok(None);
    }
    let exchanged = store.exchange_hints(urls.direct()).await.map_err(plain)?;
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(exchanged))))
}

/// Two control planes on one folder would start every node twice. Released by the system, however this process ends.
fn lock(folder: &Path) -> Result<fs::File, String> {
    let path = folder.join("lock");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    locked.map_err(|_| {
        format!(
            "another control plane works in {}: end it first, or give another --data-dir",
            folder.display()
        )
    })?;
    Ok(file)
}

/// Local nodes need the library; whoever has none hears it now, and not from a node that ends again and again.
fn check_onnxruntime(library: Option<&Path>) -> Result<(), String> {
    match library {
        Some(path) if !path.is_file() => Err(format!(
            "--onnxruntime {}: there is no such file; scripts/onnxruntime fetches the library",
            path.display()
        )),
        Some(_) => Ok(()),
        None => {
            eprintln!(
                "castoff: local nodes will not start without ONNX Runtime's library: give --onnxruntime or CASTOFF_ONNXRUNTIME (scripts/onnxruntime fetches it)"
            );
            Ok(())
        }
    }
}

/// Where this control plane listens: the ports may have been chosen by the system.
struct Addresses {
    http: SocketAddr,
    node: SocketAddr,
    ops: SocketAddr,
}

impl Addresses {
    fn of(http: &TcpListener, node: &TcpListener, ops: &TcpListener) -> Result<Self, String> {
        let address = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
        Ok(Self {
            http: address(http)?,
            node: address(node)?,
            ops: address(ops)?,
        })
    }

    /// Tells people and programs where to go.
    fn announce(&self, config: &Serve) -> Result<(), String> {
        let Self { http, node, ops } = self;
        let document = serde_json::json!({"http": http, "node": node, "ops": ops, "pid": std::process::id()});
        first::write_private(&config.place.data_dir.join("serve.json"), &format!("{document}\n"))?;
        let scheme = if config.has_tls() { "https" } else { "http" };
        tracing::info!(http.address = %http, node.address = %node, ops.address = %ops, "serving");
        eprintln!("castoff: {scheme}://{http}/docs shows the API; nodes dial {node}; health and metrics are on {ops}");
        Ok(())
    }
}

async fn wait_for_end() -> Result<(), String> {
    let fail = |error: std::io::Error| format!("signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
