//! Models: fetched, checked, loaded aside, and overtaken.

use super::process::Node;
use super::world::{Fake, eventually};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::to_node::Message as Down;

#[tokio::test]
async fn missing_files_are_fetched_checked_and_removed_when_unused() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    control.store(b"first model", b"first model");
    control.store(b"second model", b"another one!");
    line.say(Down::Snapshot(control.signer.serving(
        1,
        1,
        &["a"],
        &[("v1", b"first model")],
    )))
    .await;
    assert_eq!(line.acked().await, 1);

    line.say(Down::Snapshot(control.signer.serving(
        1,
        2,
        &["a"],
        &[("v2", b"second model")],
    )))
    .await;
    let nack = line.nacked().await;
    assert_eq!((nack.code(), nack.position.unwrap().version), (Code::Package, 2));
    assert_eq!(node.stage.version(), 1);
    // It is asked for again without being told to.
    control.store(b"second model", b"second model");
    assert_eq!(line.acked().await, 2);
    let packages = node.folder.path().join("packages");
    eventually("only the used file is left", || {
        std::fs::read_dir(&packages).unwrap().count() == 1
    })
    .await;
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_refused_but_its_revocations_are_in_force() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    for model in [b"first", b"other"] {
        control.store(model, model);
    }
    line.say(Down::Snapshot(control.signer.serving(
        1,
        1,
        &["a", "b"],
        &[("v1", b"first")],
    )))
    .await;
    assert_eq!(line.acked().await, 1);
    line.say(Down::Snapshot(control.signer.serving(
        1,
        2,
        &["a"],
        &[("broken", b"other")],
    )))
    .await;
    assert_eq!(line.nacked().await.code(), Code::Model);
    assert_eq!((node.stage.version(), node.stage.keys()), (1, vec!["a".to_owned()]));
    line.say(Down::Snapshot(control.signer.serving(
        1,
        1,
        &["a", "b"],
        &[("v1", b"first")],
    )))
    .await;
    assert_eq!(line.nacked().await.code(), Code::Older);

    // Killed and started again alone, it does not let the revoked key in either.
    let (folder, signer) = (node.kill().await, crate::control::signing::Signer::new(1));
    let node = Node::start_in(folder, &signer, &control.stop());
    eventually("the copy is in force", || node.stage.version() == 1).await;
    assert_eq!(node.stage.keys(), ["a"]);
}

#[tokio::test]
async fn a_slow_model_delays_neither_revocations_nor_heartbeats_nor_a_way_back() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    for model in [b"first", b"large"] {
        control.store(model, model);
    }
    line.say(Down::Snapshot(control.signer.serving(
        1,
        1,
        &["a", "b", "c"],
        &[("v1", b"first")],
    )))
    .await;
    assert_eq!(line.acked().await, 1);

    line.say(Down::Snapshot(control.signer.serving(
        1,
        2,
        &["a", "b"],
        &[("slow", b"large")],
    )))
    .await;
    eventually("c is revoked", || node.stage.keys() == ["a", "b"]).await;
    line.say(Down::Snapshot(control.signer.serving(
        1,
        3,
        &["a"],
        &[("slow", b"large")],
    )))
    .await;
    eventually("b is revoked", || node.stage.keys() == ["a"]).await;
    assert_eq!(node.stage.version(), 1);
    for _ in 0..2 {
        while !matches!(line.next().await, Up::Heartbeat(_)) {}
    }

    line.say(Down::Snapshot(control.signer.serving(
        1,
        4,
        &["d"],
        &[("v1", b"first")],
    )))
    .await;
    assert_eq!(line.acked().await, 4);
    assert_eq!(node.stage.keys(), ["d"]);

    // The overtaken load ends without a word; what is asked for next is served.
    node.stage.open_gate();
    line.say(Down::Snapshot(control.signer.serving(
        1,
        5,
        &["e"],
        &[("slow", b"large")],
    )))
    .await;
    assert_eq!(line.acked().await, 5);
    assert_eq!((node.stage.version(), node.stage.keys()), (5, vec!["e".to_owned()]));
}

#[tokio::test]
async fn the_newest_of_two_slow_ones_is_served() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    for model in [b"large", b"huge!"] {
        control.store(model, model);
    }
    line.say(Down::Snapshot(control.signer.serving(
        1,
        1,
        &["a"],
        &[("slow", b"large")],
    )))
    .await;
    line.say(Down::Snapshot(control.signer.serving(
        1,
        2,
        &["b"],
        &[("slow", b"huge!")],
    )))
    .await;
    // Nothing is in force, so nothing is said until one is loaded.
    assert!(!line.health().await.ready);
    node.stage.open_gate();
    assert_eq!(line.acked().await, 2);
    assert_eq!((node.stage.version(), node.stage.keys()), (2, vec!["b".to_owned()]));
}
