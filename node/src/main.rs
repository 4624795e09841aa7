//! `castoff-node`: reads what it was told, opens its ports, and lets the control plane say the rest.

use castoff_listen::{self as listen, Life, OPERATORS, Phase, Port, Threads, descriptors};
use castoff_node::clock::Clock;
use castoff_node::config::Args;
use castoff_node::control::apply::Follower;
use castoff_node::control::boot::{Booted, NotStarted, boot};
use castoff_node::control::process::ProcessFile;
use castoff_node::control::serves::Serves;
use castoff_node::control::socket;
use castoff_node::control::stream::{Introduction, Line, now_ms};
use castoff_node::drain::Plan;
use castoff_node::engine::Engine;
use castoff_node::state::{Node, NodeSettings};
use castoff_node::{ops, predict, telemetry};
use clap::Parser;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a thread that blocks (a model being loaded) may take before the process ends without it.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// After this a connection is asked to go, so that new replicas get load.
const AGE: Duration = Duration::from_secs(60);

/// How often a starting node looks whether it may accept.
const READY_LOOK: Duration = Duration::from_millis(10);

/// Without this in its environment when it is loaded, ONNX Runtime keeps a file in the home of its user, from which it can tell
/// its makers of its use, and logs that it cannot.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ExitCode {
    let started_at_ms = now_ms();
    let args = Args::parse();
    let untold = leave_telemetry_out();
    // Fails for the leader of a process group only, which has no terminal's session to leave.
    let alone = !args.new_session || rustix::process::setsid().is_ok();
    telemetry::start();
    if let Err(error) = untold {
        tracing::warn!(%error, "ONNX Runtime's telemetry was not switched off: set {NO_TELEMETRY}=1");
    }
    if !alone {
        tracing::warn!("--new-session: this process leads its group already and stays in its session");
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&NotStarted::Unusable(format!("no threads can be started: {error}"))),
    };
    let ran = runtime.block_on(run(args, started_at_ms));
    runtime.shutdown_timeout(LAST_WAIT);
    ran.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

/// Begins again as the same process with that in its environment, where it is not: a process that runs cannot change its own
/// without danger.
fn leave_telemetry_out() -> io::Result<()> {
    if std::env::var_os(NO_TELEMETRY).is_some() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    Err(again.args(arguments).env(NO_TELEMETRY, "1").exec())
}

fn fail(error: &NotStarted) -> ExitCode {
    eprintln!("castoff-node: {error}");
    error.exit_code()
}

async fn run(args: Args, started_at_ms: i64) -> Result<(), NotStarted> {
    let mut signals = Signals::listen().map_err(unusable("signals cannot be received"))?;
    let booted = boot(&args)?;
    let engine = open_engine(&args)?;
    let metrics = telemetry::count().map_err(NotStarted::Unusable)?;
    let ports = Ports::open(&args)?;

    let node = Node::new(NodeSettings {
        deployment: booted.join.deployment,
        engine,
        clock: Clock::system(),
    });
    let introduction = Introduction {
        node_id: args.node_id.unwrap_or_else(Uuid::new_v4),
        deployment: booted.join.deployment,
        http_address: args.address.clone().unwrap_or_else(|| ports.http_address.to_string()),
        ops_address: ports.ops_address.to_string(),
        started_at_ms,
    };
    let hand_over = announce(&args, &ports, &introduction)?;
    tracing::info!(
        node.id = %introduction.node_id,
        deployment.id = %introduction.deployment,
        http_address = introduction.http_address,
        ops_address = introduction.ops_address,
        "node started"
    );

    let (phase, phases) = watch::channel(Phase::Open);
    let connections = TaskTracker::new();
    tokio::spawn(telemetry::upkeep(metrics.clone()));
    let [callers, operators] = kept(&args);
    let threads = Threads::start().map_err(unusable("no threads can be started"))?;
    let callers = Port {
        threads: Some(threads),
        ..callers
    };
    // Open as long as the process lives: who looks after a node wants to see it leave.
    let (_open, always) = watch::channel(Phase::Open);
    let router = ops::router(node.clone(), metrics);
    tokio::spawn(listen::serve(ports.ops, router, operators, always, TaskTracker::new()));
    let service = predict::service(node.clone(), Handle::current());
    let serving = listen::serve(ports.http, service, callers, phases, connections.clone());
    let (shared, readiness) = (args.listen_on_stdin, node.clone());
    tokio::spawn(async move {
        if shared {
            ready(&readiness).await;
        }
        serving.await;
    });
    let end = CancellationToken::new();
    let line = tokio::spawn(line(booted, node.clone(), introduction, end.clone()).hold());

    signals.received().await;
    node.set_draining();
    let limits = node.limits();
    let plan = Plan::new(args.listen_on_stdin, limits.drain_delay, limits.deadline);
    tracing::info!(accept_ms = plan.accept.as_millis() as u64, "draining");
    if !args.listen_on_stdin {
        // A second hand on the socket would keep it open when nobody accepts from it any more.
        hand_over.abort();
    }
    if !plan.carry_out(&phase, &connections).await {
        tracing::warn!(connections = connections.len(), "calls were not finished in time");
    }
    end.cancel();
    if line.await.is_err() {
        tracing::error!("the control side ended unexpectedly");
    }
    tracing::info!("node ended");
    Ok(())
}

/// How the ports of callers and of operators are kept.
fn kept(args: &Args) -> [Port; 2] {
    let life = Life {
        head: Duration::from_secs(args.head_patience),
        ..Life::default()
    };
    let [callers, operators] = descriptors::divide(descriptors::raise(), [args.max_connections, OPERATORS]);
    let port = |life, most| Port {
        life,
        most,
        ..Port::default()
    };
    let aging = Life { age: Some(AGE), ..life };
    [port(aging, callers), port(life, operators)]
}

/// Waits until the node can answer. On a shared socket it accepts nothing before: a connection that it does not take goes
/// to a replica that can, or waits in the kernel's queue.
async fn ready(node: &Node) {
    while node.unready().is_some() {
        tokio::time::sleep(READY_LOOK).await;
    }
}

fn line(booted: Booted, node: Arc<Node>, introduction: Introduction, end: CancellationToken) -> Line<Node> {
    let copy = booted.orders.copy.clone();
    if let Some(contact_ms) = booted.contact_ms {
        // Staleness counts from the last contact, not from this start.
        Serves::contact(&*node, contact_ms);
    }
    if let Some(nodes) = copy.nodes() {
        node.share(nodes);
    }
    let follower = Follower::new(node.clone(), booted.orders, booted.kept);
    Line::new(node, follower, booted.dialer, copy, introduction, end)
}

/// Writes `process.json` and opens `node.sock`: from here on a launcher can find this process again.
fn announce(
    args: &Args,
    ports: &Ports,
    introduction: &Introduction,
) -> Result<tokio::task::JoinHandle<()>, NotStarted> {
    let what = || format!("--data-dir {} cannot be written", args.data_dir.display());
    let sock = socket::bind(&args.data_dir).map_err(unusable(what()))?;
    let (http, ops) = (introduction.http_address.clone(), introduction.ops_address.clone());
    let process = ProcessFile::of_this_process(introduction.node_id, http, ops);
    process
        .and_then(|process| process.write(&args.data_dir))
        .map_err(unusable(what()))?;
    let listening = ports
        .listening
        .try_clone()
        .map_err(unusable("the listening socket cannot be shared"))?;
    Ok(tokio::spawn(socket::hand_over(sock, listening)))
}

fn open_engine(args: &Args) -> Result<Engine, NotStarted> {
    let how = "get it with `pip download --no-deps onnxruntime` and unzip onnxruntime/capi/libonnxruntime.so.* from the wheel";
    let path = args.onnxruntime.as_deref().ok_or_else(|| {
        NotStarted::Unusable(format!(
            "say where ONNX Runtime's library is with --onnxruntime PATH or CASTOFF_ONNXRUNTIME; {how}"
        ))
    })?;
    Engine::open(path).map_err(|error| {
        let error = error.replace('\n', " ");
        NotStarted::Unusable(format!(
            "--onnxruntime {} cannot be loaded: {error}; {how}",
            path.display()
        ))
    })
}

/// The sockets of this node.
struct Ports {
    http: TcpListener,
    http_address: SocketAddr,
    /// The callers' socket once more, to be handed over.
    listening: OwnedFd,
    ops: TcpListener,
    ops_address: SocketAddr,
}

impl Ports {
    fn open(args: &Args) -> Result<Self, NotStarted> {
        let http = if args.listen_on_stdin {
            listen::from_stdin().map_err(unusable("--listen-on-stdin"))?
        } else {
            let what = format!("cannot listen on {}, choose another address with --listen", args.listen);
            listen::open(args.listen).map_err(unusable(what))?
        };
        let what = format!(
            "cannot listen on {}, choose another address with --ops-listen",
            args.ops_listen
        );
        let ops = listen::open(args.ops_listen).map_err(unusable(what))?;
        let finish = |http: std::net::TcpListener, ops: std::net::TcpListener| {
            let listening = OwnedFd::from(http.try_clone()?);
            let (http_address, ops_address) = (http.local_addr()?, ops.local_addr()?);
            let (http, ops) = (TcpListener::from_std(http)?, TcpListener::from_std(ops)?);
            Ok(Self {
                http,
                http_address,
                listening,
                ops,
                ops_address,
            })
        };
        finish(http, ops).map_err(unusable("the sockets cannot be used"))
    }
}

fn unusable(what: impl Into<String>) -> impl FnOnce(io::Error) -> NotStarted {
    let what = what.into();
    move |error| NotStarted::Unusable(format!("{what}: {error}"))
}

/// Whoever asks this process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
