//! New tokens for nodes that are there: they change over by themselves, and are not cut off with the old one.

use acceptance::node::ByHand;
use acceptance::{Edge, eventually, json};

#[test]
fn a_node_outlives_the_token_of_its_join_document() {
    let edge = Edge::start();
    let url = format!("http://{}", edge.cast.world.server.node);
    let node = edge.node(&url);
    let key = edge.new_key("first");
    edge.serves(&node, &key);
    edge.up_to_date(&node);
    // The third ends the first. Each is kept beside the copy before the next is made.
    let mut kept = String::new();
    for _ in 0..2 {
        edge.cast.dana.post(&edge.path("/node-tokens"), json!({})).expect(201);
        kept = eventually("the node keeps the new token", || {
            let now = std::fs::read_to_string(node.folder().join("copy/token")).ok()?;
            (now != kept).then_some(now)
        });
    }
    let stranger = edge.node(&url);
    eventually("who comes with the first is refused", || {
        stranger.logged().contains("the node token is not valid")
    });
    let folder = node.folder().to_owned();
    node.process().expect("it lives").kill();
    drop(node);
    let node = ByHand::start(&folder, &edge.join(&url));
    edge.up_to_date(&node);
    edge.serves(&node, &key);
    let log = node.logged();
    assert!(!log.contains(kept.trim()), "a token in the log");
}
