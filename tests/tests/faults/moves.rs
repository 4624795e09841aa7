//! Several control planes, of which one after the other ends and comes back: nodes are never off the line meanwhile.

use acceptance::node::ByHand;
use acceptance::{Actor, Answer, Edge, Planes, Value, eventually, json};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const NODES: usize = 3;
/// Between two looks, and two keys: a roll needs the cores, too.
const BREATH: Duration = Duration::from_millis(50);
const STATUS: &str = "/deployments/iris-on-edge/status";

/// By their own account: how often they were off the line, how often they were moved, and how many are on it.
fn account(nodes: &[ByHand]) -> (f64, f64, f64) {
    let sum = |metric| nodes.iter().map(|node| node.count(metric)).sum();
    (
        sum("castoff_node_stream_gap_seconds_count"),
        sum("castoff_node_stream_moves_total"),
        sum("castoff_node_on_line"),
    )
}

/// Makes and revokes keys until told to stop: each revocation must be acknowledged by every node. The longest time in which
/// one was, in milliseconds.
fn revoke_again_and_again(dana: &Actor, ending: usize, stop: &AtomicBool) -> Option<u64> {
    let mut longest = None;
    for number in 0.. {
        let name = json!({"name": format!("roll-{ending}-{number}")});
        let made = dana
            .post("/deployments/iris-on-edge/keys", name)
            .expect_any(&[201, 202]);
        let path = format!("/deployments/iris-on-edge/keys/{}/revoke?wait=30s", made.string("/id"));
        let receipt = dana.post(&path, json!({})).expect(200);
        assert_eq!(receipt["receipts"][0]["pending"], json!([]), "{}", receipt.text());
        longest = longest.max(receipt["receipts"][0]["elapsed_ms"].as_u64());
        if stop.load(Ordering::SeqCst) {
            break;
        }
        thread::sleep(BREATH);
    }
    longest
}

/// Whether this status shows every node as ready, which is on the line, and with a config in force.
fn shows_all(status: &Answer) -> bool {
    let nodes = status["nodes"].as_array().expect("a list of nodes");
    let is_there = |node: &&Value| node["state"] == "ready" && node["acked"]["version"].is_u64();
    status["state"] == "running" && nodes.iter().filter(is_there).count() == NODES
}

fn look_again_and_again(dana: &Actor, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let status = dana.get(STATUS).expect(200);
        assert!(shows_all(&status), "{}", status.text());
        thread::sleep(BREATH);
    }
}

#[test]
fn nodes_stay_on_the_line_while_three_control_planes_are_rolled() {
    roll(3);
}

/// Each is the only one to go to, and has just come back.
#[test]
fn nodes_stay_on_the_line_while_two_control_planes_are_rolled() {
    roll(2);
}

fn roll(count: usize) {
    let Some(mut planes) = Planes::start(count) else { return };
    let nodes: Vec<ByHand> = (0..NODES).map(|_| planes.node()).collect();
    eventually("all are shown", || {
        let status = planes.dana_at(1).get(STATUS).expect(200);
        shows_all(&status).then_some(()).ok_or(status.text())
    });
    let mut moved = 0;
    for ending in 0..count {
        let here = planes.streams(ending);
        let dana = planes.dana_at((ending + 1) % count);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let revoking = scope.spawn(|| revoke_again_and_again(&dana, ending, &stop));
            let looking = scope.spawn(|| look_again_and_again(&dana, &stop));
            // Whoever looks and revokes ends when this does, however it does.
            let rolled = thread::scope(|scope| {
                let roll = || {
                    assert_eq!(planes.get_mut(ending).stop(), Some(0));
                    planes.get_mut(ending).launch();
                };
                scope.spawn(roll).join()
            });
            stop.store(true, Ordering::SeqCst);
            rolled.expect("it is rolled");
            let longest = revoking.join().expect("each revocation is acknowledged");
            println!("the slowest revocation meanwhile: {longest:?} ms");
            looking.join().expect("each node is on the line all the time");
        });
        moved += here;
        assert_eq!(account(&nodes), (0.0, moved as f64, NODES as f64), "{ending}");
    }
    assert!(moved >= NODES as u64, "somebody had nodes: {moved}");
    let lost = (0..count).filter(|number| planes.get(*number).logged().contains("is lost:"));
    assert_eq!(lost.count(), 0);

    // One that is killed says nothing: this is an absence, and counted.
    let (killed, here) = (0..count)
        .map(|number| (number, planes.streams(number)))
        .max_by_key(|(_, here)| *here)
        .expect("several");
    planes.get_mut(killed).kill();
    eventually("all are on the line again", || {
        let (gaps, _, on_line) = account(&nodes);
        let all = gaps == here as f64 && on_line == NODES as f64;
        all.then_some(())
            .ok_or(format!("{gaps} were away, {on_line} are there"))
    });
}

/// What a node said to the one before is no proof that it is there.
#[test]
fn who_comes_back_shows_nobody_as_there_who_has_not_dialled() {
    let mut edge = Edge::start();
    let node = edge.node(&format!("http://{}", edge.cast.world.server.node));
    edge.up_to_date(&node);
    edge.cast.world.server.kill();
    drop(node);
    edge.cast.world.server.launch();
    let status = edge.status();
    let shown = (&status["state"], &status["nodes"][0]["state"]);
    assert_eq!(shown, (&json!("waiting"), &json!("lost")), "{}", status.text());
}

/// Nobody is left who could say that its nodes are gone, and no process proves it, as it was not the one that acts. It is
/// known all the same before they are old; and who goes on with another control plane is not lost.
#[test]
fn nodes_of_a_control_plane_that_falls_silent_are_lost_until_another_one_hears_them() {
    let Some(mut planes) = Planes::start(2) else { return };
    eventually("the first acts", || {
        planes.get(0).logged().contains("this control plane acts from now on")
    });
    let url = format!("http://{}", planes.get(1).node);
    let [hung, stays] = [(); 2].map(|()| planes.edge.node(&url));
    for node in [&hung, &stays] {
        planes.edge.up_to_date(node);
        planes.knows_all(node);
    }
    assert_eq!(planes.streams(1), 2);
    let events = planes.edge.events();
    let process = hung.process().expect("it lives");
    process.signal(Signal::STOP);
    planes.get_mut(1).kill();
    let reason = "the control plane that it was on the line with has fallen silent";
    eventually("it is shown as lost, with the reason", || {
        let seen = planes.edge.seen(&hung);
        let says_so = seen["reason"].as_str().is_some_and(|said| said.starts_with(reason));
        match says_so && seen["state"] == "lost" {
            true => Ok(()),
            false => Err(seen.to_string()),
        }
    });
    let is_told = |node: &ByHand| events.text().contains(&format!("node {} is lost: {reason}", node.id()));
    eventually("it is told", || is_told(&hung).then_some(()).ok_or(events.text()));
    planes.edge.up_to_date(&stays);
    assert_eq!(planes.edge.seen(&stays)["reason"], Value::Null);
    assert!(!is_told(&stays), "{}", events.text());

    // It goes on, and dials another one.
    process.signal(Signal::CONT);
    planes.edge.up_to_date(&hung);
    let seen = planes.edge.seen(&hung);
    assert_eq!([&seen["state"], &seen["reason"]], [&json!("ready"), &Value::Null]);
}
