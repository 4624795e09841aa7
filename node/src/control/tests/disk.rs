//! What a disk does to a node: full, or written to by somebody else.

use super::process::Node;
use super::world::{Fake, eventually};
use crate::control::overlay::Overlay;
use castoff_wire::proto::to_node::Message as Down;

#[tokio::test]
async fn what_cannot_be_kept_is_in_force_is_said_and_is_not_acknowledged() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 4, &["a", "b"]))).await;
    assert_eq!(line.acked().await, 4);
    let (copy, away) = (node.folder.path().join("copy"), node.folder.path().join("away"));
    std::fs::rename(&copy, &away).unwrap();
    line.say(Down::Snapshot(control.signer.config(1, 5, &["b"]))).await;
    eventually("the revocation is in force", || node.stage.keys() == ["b"]).await;
    loop {
        let health = line.health().await;
        if health.reason.contains("the durable copy cannot be written") {
            break;
        }
    }
    std::fs::rename(&away, &copy).unwrap();
    assert_eq!(line.acked().await, 5, "it is tried again");
    let kept = node
        .copy
        .read(&control.signer.trust, control.signer.deployment)
        .unwrap();
    assert_eq!(kept.config.unwrap().position.version, 5);
    while !line.health().await.reason.is_empty() {}
}

#[tokio::test]
async fn an_older_copy_that_is_put_back_is_refused_also_without_a_control_plane() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 4, &["a", "b"]))).await;
    assert_eq!(line.acked().await, 4);
    line.say(Down::Snapshot(control.signer.config(1, 5, &["b"]))).await;
    assert_eq!(line.acked().await, 5);
    let signer = crate::control::signing::Signer::new(1);
    let nobody = control.stop();
    node.copy
        .keep(&signer.config(1, 4, &["a", "b"]), None, &Overlay::default())
        .unwrap();
    let version = || {
        let kept = node.copy.read(&signer.trust, signer.deployment).unwrap();
        kept.config.unwrap().position.version
    };
    eventually("its own is put back", || version() == 5).await;
    assert_eq!(node.stage.keys(), ["b"]);
    assert!(node.stage.refused() > 0, "it is counted");
    let node = Node::start_in(node.kill().await, &signer, &nobody);
    eventually("the copy is in force", || node.stage.version() == 5).await;
    assert_eq!(node.stage.keys(), ["b"]);
}
