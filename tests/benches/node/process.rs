//! What a node takes and how soon it is there: its memory by the kernel's proportional count, and its way from exec to the
//! first answer with all that it needs on disk.

use acceptance::edge::Key;
use acceptance::node::ByHand;
use acceptance::{Edge, Figure, Load, Report, models, raw};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const PATH: &str = "/public/api/v1/iris/iris/predict";
const STARTS: usize = 15;
/// Between two looks whether it answers.
const LOOK: Duration = Duration::from_micros(500);
/// Only against hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// After the first answer, and after the work of some seconds.
pub fn memory(report: &mut Report) {
    let edge = Edge::start();
    let node = edge.node(&format!("http://{}", edge.cast.world.server.node));
    let key = edge.new_key("bench");
    edge.serves(&node, &key);
    add_memory(report, &node, "loaded");
    let header = [("x-api-key", key.key.as_str())];
    let load = Load::post(&node.url(), PATH, &header, &models::setosa().to_string(), "setosa");
    load.run(64, Duration::from_secs(5));
    add_memory(report, &node, "after 5 s of 64 callers");
}

/// PSS: private pages, and a share of those that are shared.
fn add_memory(report: &mut Report, node: &ByHand, when: &str) {
    let pid = node.process().expect("it runs").pid;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the kernel counts");
    let megabytes = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name)).expect("a count");
        let kilobytes: f64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|count| count.parse().ok())
            .expect("a number");
        kilobytes * 1_024.0 / 1e6
    };
    let what = format!("node with iris, {when}: PSS");
    report.add(Figure::of(&what, "MB", megabytes("Pss:")).at_most(60.0));
    report.add(Figure::of(
        format!("{what}, of it not from files"),
        "MB",
        megabytes("Pss_Anon:"),
    ));
}

/// Killed and started again in its folder, with the control plane there and away.
pub fn start(report: &mut Report) {
    let mut edge = Edge::start();
    let control_plane = format!("http://{}", edge.cast.world.server.node);
    let join = edge.join(&control_plane);
    let mut node = edge.node(&control_plane);
    let key = edge.new_key("bench");
    edge.serves(&node, &key);
    edge.up_to_date(&node);
    for plane in ["there", "away"] {
        if plane == "away" {
            edge.cast.world.server.kill();
        }
        let folder = node.folder().to_owned();
        let taken: Vec<f64> = (0..STARTS)
            .map(|_| {
                if let Some(process) = node.process() {
                    process.kill();
                    while process.alive() {
                        thread::sleep(LOOK);
                    }
                }
                let started = Instant::now();
                node = ByHand::start_in(&folder, &join, &[]);
                first_answer(&node, &key);
                started.elapsed().as_secs_f64()
            })
            .collect();
        let what = format!("node, from exec to the first answer, the control plane {plane}");
        report.add(Figure::median(what, "s", &taken).at_most(0.5).goal(0.2));
    }
}

/// It listens once it has said where, and refuses until it serves.
fn first_answer(node: &ByHand, key: &Key) {
    while !node.folder().join("process.json").exists() {
        thread::sleep(LOOK);
    }
    let (url, body) = (node.url(), models::setosa().to_string());
    let call = format!(
        "POST {PATH} HTTP/1.1\r\nhost: node\r\nx-api-key: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        key.key,
        body.len()
    );
    let limit = Instant::now() + LIMIT;
    while raw::ask(&url, call.as_bytes()).0 != 200 {
        assert!(Instant::now() < limit, "no answer came: {}", node.logged());
        thread::sleep(LOOK);
    }
}
