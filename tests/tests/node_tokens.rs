//! New tokens for nodes that are there: they change over by themselves, and are not cut off with the old one.

use acceptance::faketime::Faketime;
use acceptance::node::ByHand;
use acceptance::{Cast, Database, Edge, World, eventually, json, scratch};
use std::time::Duration;

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

/// A rotation ends the old token, and nobody with it: not before every node has the new one, one that is away included.
#[test]
fn an_old_token_ends_when_every_node_has_the_new_one() {
    let clock = Faketime::new(&scratch::subfolder("clock"));
    let environment = clock.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let edge = Edge::of(Cast::gather(World::start_in(Database::Sqlite, &[], &environment)));
    let url = format!("http://{}", edge.cast.world.server.node);
    let (there, away) = (edge.node(&url), edge.node(&url));
    let key = edge.new_key("first");
    for node in [&there, &away] {
        edge.up_to_date(node);
    }
    let folder = away.folder().to_owned();
    let (first, second) = (there.id(), away.id());
    drop(away);

    let begun = edge
        .cast
        .dana
        .post(&edge.path("/node-tokens/rotate"), json!({}))
        .expect(200);
    let mut pending = [first, second];
    pending.sort();
    let mut said: Vec<String> = begun["pending"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect();
    said.sort();
    assert_eq!(said, pending);
    eventually("the one that is there keeps it", || {
        there.folder().join("copy/token").exists()
    });
    let past = edge.cast.dana.request("GET", &edge.path("/events"));
    let events = past.header("last-event-id", "0").stream();
    let ended = || events.text().contains("all nodes have the new node token");
    // An hour later the other still comes in by the old one.
    clock.turn_by(Duration::from_secs(3_600));
    edge.up_to_date(&there);
    assert!(!ended(), "{}", events.text());
    let back = ByHand::start_in(
        &folder,
        &edge.join(&url),
        &[("CASTOFF_NODE_ID", pending_id(&pending, &there))],
    );
    edge.up_to_date(&back);
    let past = edge.cast.dana.request("GET", &edge.path("/events"));
    let events = past.header("last-event-id", "0").stream();
    eventually("both have it", || {
        events.text().contains("all nodes have the new node token")
    });
    let stranger = edge.node(&url);
    edge.up_to_date(&stranger);
    drop(stranger);
    clock.turn_by(Duration::from_secs(3_600 + 301));
    let stranger = edge.node(&url);
    eventually("who comes with the old one is refused", || {
        stranger.logged().contains("the node token is not valid")
    });
    // Those that are there have changed over, and come back by themselves.
    for node in [&there, &back] {
        edge.up_to_date(node);
        edge.serves(node, &key);
    }
}

/// The one of the two that this node is not.
fn pending_id(both: &[String; 2], node: &ByHand) -> String {
    let own = node.id();
    both.iter().find(|id| **id != own).expect("there are two").clone()
}
