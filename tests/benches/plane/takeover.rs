//! A control plane dies, hangs or leaves while another one is there: how soon that one acts, and for how long nodes are away.

use acceptance::castoff::Server;
use acceptance::eventually::within;
use acceptance::figure::quantile;
use acceptance::node::ByHand;
use acceptance::{Figure, Planes, Report};
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const NODES: usize = 10;
/// Between two looks whether the other one acts.
const LOOK: Duration = Duration::from_millis(5);
/// A line that has held for so long was a good one: one that breaks earlier is dialled again later and later.
const HELD: Duration = Duration::from_secs(4);
/// Against hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// How the one that acts is ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Killed,
    Frozen,
    InOrder,
}

/// What came of it.
#[derive(Default)]
struct Ended {
    /// Until the other one acts, each in seconds.
    taken_over: Vec<f64>,
    /// For how long a node was away, each time that one was.
    away: Vec<f64>,
    streams: u64,
}

pub fn measure(report: &mut Report) {
    let Some(mut planes) = Planes::start(2) else { return };
    let nodes: Vec<ByHand> = (0..NODES).map(|_| planes.node()).collect();
    within(LIMIT, "the first acts", || acted(planes.get(0)) == 1);
    let mut acting = 0;
    let mut rounds = |end| {
        let mut ended = Ended::default();
        for _ in 0..ROUNDS {
            round(&mut planes, acting, end, &nodes, &mut ended);
            acting = 1 - acting;
        }
        ended
    };
    let [killed, frozen, left] = [End::Killed, End::Frozen, End::InOrder].map(&mut rounds);
    for (what, ended) in [
        ("kill -9 of the control plane that acts", &killed),
        ("it hangs, as when its machine is away", &frozen),
        ("it is told to end", &left),
    ] {
        let worst = format!("{what}: until another one acts, worst of {ROUNDS}");
        report.add(Figure::of(worst, "s", quantile(&ended.taken_over, 1.0)).at_most(5.0));
        report.add(Figure::median("the same, p50", "s", &ended.taken_over));
    }
    let what = format!(
        "kill -9: until a node is on the line with another one, worst of {}",
        killed.away.len()
    );
    report.add(Figure::of(what, "s", quantile(&killed.away, 1.0)).at_most(2.0));
    let what = format!(
        "nodes that were off the line while theirs ended in order, of {}",
        left.streams
    );
    report.add(Figure::of(what, "", left.away.len() as f64).at_most(0.0));
}

fn round(planes: &mut Planes, acting: usize, end: End, nodes: &[ByHand], ended: &mut Ended) {
    thread::sleep(HELD);
    let other = 1 - acting;
    let streams = planes.streams(acting);
    let (before, deeds) = (away(nodes), acted(planes.get(other)));
    let started = Instant::now();
    match end {
        End::Killed => planes.get_mut(acting).kill(),
        End::Frozen => planes.get(acting).process().signal(Signal::STOP),
        End::InOrder => drop(planes.get_mut(acting).stop()),
    }
    while acted(planes.get(other)) == deeds {
        assert!(started.elapsed() < LIMIT, "another one acts");
        thread::sleep(LOOK);
    }
    ended.taken_over.push(started.elapsed().as_secs_f64());
    within(LIMIT, "all nodes are on the line with it", || {
        planes.streams(other) == NODES as u64
    });
    match end {
        End::Frozen => planes.get(acting).process().signal(Signal::CONT),
        End::Killed | End::InOrder => planes.get_mut(acting).launch(),
    }
    within(LIMIT, "whoever ended is there again", || planes.streams(acting) == 0);
    let times = before.iter().zip(away(nodes));
    let new = times.filter(|((count, _), (now, _))| now > count);
    ended.away.extend(new.map(|((_, total), (_, now))| now - total));
    ended.streams += streams;
}

/// How often it has begun to act.
fn acted(server: &Server) -> usize {
    server.logged().matches("this control plane acts from now on").count()
}

/// How often each node was away, and for how many seconds in all.
fn away(nodes: &[ByHand]) -> Vec<(f64, f64)> {
    let gaps = "castoff_node_stream_gap_seconds";
    let of = |node: &ByHand| (node.count(&format!("{gaps}_count")), node.count(&format!("{gaps}_sum")));
    nodes.iter().map(of).collect()
}
