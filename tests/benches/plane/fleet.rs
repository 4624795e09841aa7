//! What a revoke takes on its way to a thousand nodes, and what they cost.

use crate::simulated::Fleet;
use crate::usage::{cpu, memory};
use acceptance::figure::quantile;
use acceptance::{Database, Edge, Figure, Report, World, json, scratch};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const NODES: usize = 1_000;
const PUSHES: usize = 60;
/// What nodes say is written down in batches within a second; this much of it belongs to the push before.
const BETWEEN: Duration = Duration::from_millis(300);
/// What was needed for a while, such as 19 MB for a password, is given back within ten seconds.
const IDLE: Duration = Duration::from_secs(15);
/// What streams cost that nothing is pushed to.
const STILL: Duration = Duration::from_secs(10);
/// Both ends of a thousand connections, and room.
const FILES: u64 = 8_192;

pub fn measure(report: &mut Report) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum.map_or(Some(FILES), |most| Some(most.min(FILES))),
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("a limit of files");
    let folder = scratch::subfolder("tls");
    let certificate = certificate(&folder);
    let arguments: Vec<&str> = certificate.iter().map(String::as_str).collect();
    let cast = World::with_cast_and(Database::Sqlite, &arguments);
    let plane = cast.world.server.process().pid;
    thread::sleep(IDLE);
    report.add(Figure::of("memory of an idle control plane", "MB", memory(plane)).at_most(80.0));
    let edge = Edge::of(cast);
    let control_plane = format!("https://{}", edge.cast.world.server.node);
    let keys: Vec<_> = (0..100 + PUSHES)
        .map(|number| edge.new_key(&format!("key-{number}")))
        .collect();
    let mut fleet = Fleet::join(&edge.join(&control_plane), NODES);
    thread::sleep(IDLE);
    let memory = memory(plane);
    report.add(Figure::of(format!("memory with {NODES} streams"), "MB", memory).at_most(150.0));

    let before = cpu(plane);
    thread::sleep(STILL);
    let still = (cpu(plane) - before).as_secs_f64() / STILL.as_secs_f64();
    let (mut applied, mut last) = (Vec::new(), Vec::new());
    let (before, begun) = (cpu(plane), Instant::now());
    for key in keys.iter().take(PUSHES) {
        let started = Instant::now();
        let receipt = edge.revoke(key, "");
        let version = receipt["receipts"][0]["version"].as_u64().expect("a version");
        let taken: Vec<f64> = fleet
            .have(version)
            .into_iter()
            .map(|at| at.duration_since(started).as_secs_f64() * 1e3)
            .collect();
        last.push(quantile(&taken, 1.0));
        applied.extend(taken);
        thread::sleep(BETWEEN);
    }
    let spent = (cpu(plane) - before).as_secs_f64() - still * begun.elapsed().as_secs_f64();
    let each = spent / (PUSHES * NODES) as f64 * 1e6;
    let what = format!("revoke until applied by {NODES} nodes, p99 of {PUSHES} × {NODES}");
    report.add(
        Figure::of(what, "ms", quantile(&applied, 0.99))
            .at_most(400.0)
            .goal(150.0),
    );
    report.add(Figure::median(
        "revoke until the last of them has applied it",
        "ms",
        &last,
    ));
    report.add(
        Figure::of("control plane's CPU for that push, per node", "µs", each)
            .at_most(40.0)
            .goal(20.0),
    );
    let heartbeats = still / NODES as f64 * 1e6;
    report.add(Figure::of(
        "control plane's CPU for a stream that is still, per second",
        "µs",
        heartbeats,
    ));
    let left = edge.cast.dana.get(&edge.path("/status")).expect(200);
    let acked = left["nodes"].as_array().map_or(0, Vec::len);
    assert_eq!(acked, NODES, "all are known: {}", json!(left["state"]));
}

/// A certificate for this machine, and the arguments with which the port of the nodes shows it.
fn certificate(folder: &Path) -> [String; 6] {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let own = own.signed_by(&key, &issuer).expect("a certificate").pem();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    [
        "--node-tls-cert".to_owned(),
        write("chain.pem", &own),
        "--node-tls-key".to_owned(),
        write("key.pem", &key.serialize_pem()),
        "--node-tls-ca".to_owned(),
        write("authority.pem", &authority_pem),
    ]
}
