//! Coming back: what the durable copy is good for.

use super::process::Node;
use super::world::{Fake, eventually};
use crate::control::overlay::Overlay;
use crate::control::signing::Signer;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Heartbeat, UpToDate};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// An address where nobody listens: somebody did, a moment ago.
async fn nobody() -> String {
    Fake::start().await.stop()
}

#[tokio::test]
async fn without_a_control_plane_a_node_comes_back_and_is_confirmed_later() {
    let signer = Signer::new(1);
    let folder = tempfile::tempdir().unwrap();
    let address = nobody().await;
    let node = Node::start_in(folder, &signer, &address);
    node.copy
        .keep(&signer.config(1, 4, &["a"]), None, &Overlay::default())
        .unwrap();
    let node = Node::start_in(node.kill().await, &signer, &address);
    eventually("the copy is in force", || node.stage.version() == 4).await;
    assert!(node.stage.is_stale());

    let mut control = Fake::start_at(&address).await;
    let mut line = control.line().await;
    assert_eq!(line.hello.have.as_ref().unwrap().version, 4);
    line.say(Down::UpToDate(UpToDate {})).await;
    assert_eq!(line.acked().await, 4);
    assert!(!node.stage.is_stale());
    line.say(Down::Snapshot(signer.config(1, 3, &["a", "b"]))).await;
    assert_eq!(line.nacked().await.code(), Code::Older);
    assert_eq!(node.stage.version(), 4);
}

#[tokio::test]
async fn a_booting_node_asks_first_and_serves_what_is_newer() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    node.copy
        .keep(&control.signer.config(1, 4, &["a"]), None, &Overlay::default())
        .unwrap();
    let first = control.line().await;
    let node = Node::start_in(node.kill().await, &control.signer, &control.address);
    drop(first);
    let mut line = control.line().await;
    assert_eq!(node.stage.version(), 0, "it waits for the answer");
    line.say(Down::Snapshot(control.signer.config(1, 5, &["b"]))).await;
    assert_eq!(line.acked().await, 5);
    assert!(!node.stage.is_stale());
}

#[tokio::test]
async fn a_control_plane_that_does_not_answer_is_waited_for_three_seconds() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    node.copy
        .keep(&control.signer.config(1, 4, &["a"]), None, &Overlay::default())
        .unwrap();
    drop(control.line().await);
    let began = Instant::now();
    let node = Node::start_in(node.kill().await, &control.signer, &control.address);
    let _line = control.line().await;
    eventually("the copy is in force", || node.stage.version() == 4).await;
    assert!(began.elapsed().as_millis() >= 2900 && node.stage.is_stale());
}

#[tokio::test]
async fn a_revocation_without_its_config_survives_a_kill() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 4, &["a", "b"]))).await;
    assert_eq!(line.acked().await, 4);
    line.say(Down::Delta(control.signer.revocation(6, &["a"]))).await;
    assert_eq!(line.nacked().await.code(), Code::Gap);
    let signer = Signer::new(1);
    let folder = node.kill().await;
    let node = Node::start_in(folder, &signer, &control.stop());
    eventually("the copy is in force", || node.stage.version() == 4).await;
    assert_eq!(node.stage.keys(), ["b"]);
}

#[tokio::test]
async fn a_booting_node_whose_newer_config_cannot_be_loaded_serves_its_copy_with_the_newer_keys() {
    let mut control = Fake::start().await;
    for model in [b"first", b"other"] {
        control.store(model, model);
    }
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.serving(
        1,
        4,
        &["a", "b"],
        &[("v1", b"first")],
    )))
    .await;
    assert_eq!(line.acked().await, 4);
    let node = Node::start_in(node.kill().await, &control.signer, &control.address);
    drop(line);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.serving(
        1,
        5,
        &["b", "c"],
        &[("broken", b"other")],
    )))
    .await;
    assert_eq!(line.nacked().await.code(), Code::Model);
    eventually("the copy is in force", || node.stage.version() == 4).await;
    assert_eq!(node.stage.keys(), ["b", "c"]);
    let node = Node::start_in(node.kill().await, &control.signer, &nobody().await);
    eventually("the copy is in force", || node.stage.version() == 4).await;
    assert_eq!(node.stage.keys(), ["b", "c"], "alone, too");
    let _node = Node::start_in(node.kill().await, &control.signer, &control.address);
    drop(line);
    let mut line = control.line().await;
    assert_eq!(line.hello.have.as_ref().unwrap().version, 4);
    line.say(Down::Snapshot(control.signer.serving(
        1,
        6,
        &["c"],
        &[("v1", b"first")],
    )))
    .await;
    assert_eq!(line.acked().await, 6);
}

#[tokio::test]
async fn a_share_of_the_rate_limits_is_kept_until_another_is_told() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let line = control.line().await;
    let tell = async |nodes| line.say(Down::Heartbeat(Heartbeat { sent_at_ms: 0, nodes })).await;
    let share = || (node.stage.nodes.load(Ordering::Relaxed), node.copy.nodes());
    assert_eq!(share(), (0, None), "nothing was told");
    for nodes in [3, 2] {
        tell(nodes).await;
        eventually("the share is kept", || share() == (nodes, Some(nodes))).await;
    }
    // One that does not know says nothing.
    tell(0).await;
    line.say(Down::Snapshot(control.signer.config(1, 4, &["a"]))).await;
    eventually("what came after it is in force", || node.stage.version() == 4).await;
    assert_eq!(share(), (2, Some(2)));
}
