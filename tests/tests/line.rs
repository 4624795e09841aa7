//! The line between a node and the control plane under attack: cut, half open, slow, and told things late, twice, not at
//! all and in the wrong order.

use acceptance::edge::Key;
use acceptance::node::ByHand;
use acceptance::proxy::{Line, Messages, Way};
use acceptance::{Database, Edge, World, eventually, however_it_is_spoken, json};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::to_node::Message as Down;

fn lost(edge: &Edge, node: &ByHand) {
    eventually("the node is seen as lost", || {
        let seen = edge.seen(node);
        (seen["state"] == "lost").then_some(()).ok_or(seen.to_string())
    });
}

#[test]
fn a_cut_line_is_dialled_again_and_what_was_revoked_meanwhile_arrives() {
    let edge = Edge::start();
    let line = Line::to(&edge.cast.world.server.node);
    let node = edge.node(&line.url());
    let kept = edge.new_key("kept");
    edge.serves(&node, &kept);
    for round in 0..3 {
        let revoked = edge.new_key(&format!("revoked-{round}"));
        edge.serves(&node, &revoked);
        line.set(Way::Cut);
        lost(&edge, &node);
        let receipt = edge.revoke(&revoked, "").expect(202);
        assert_eq!(receipt["receipts"][0]["pending"], json!([node.id()]));
        let made = edge.new_key(&format!("made-{round}"));
        assert_eq!(node.call(&revoked.key), 200, "it cannot know yet");
        assert_eq!((node.call(&kept.key), node.call(&made.key)), (200, 401));
        line.set(Way::Open);
        eventually("the revocation arrives", || node.call(&revoked.key) == 401);
        edge.serves(&node, &made);
        edge.up_to_date(&node);
    }
    assert_eq!(node.call(&kept.key), 200);
}

/// The connection stays, but nothing comes through any more, in neither direction.
#[test]
fn a_half_open_line_is_noticed_by_both_and_pending_meanwhile() {
    let edge = Edge::start();
    let line = Line::to(&edge.cast.world.server.node);
    let node = edge.node(&line.url());
    let (kept, revoked) = (edge.new_key("kept"), edge.new_key("revoked"));
    edge.serves(&node, &kept);
    edge.serves(&node, &revoked);
    edge.up_to_date(&node);
    let events = edge.events();
    line.set(Way::Swallow);
    let receipt = edge.revoke(&revoked, "?wait=1s").expect(202);
    assert_eq!(receipt["receipts"][0]["pending"], json!([node.id()]));
    eventually("the control plane notices", || {
        events.text().contains("is lost: three heartbeats were missed")
    });
    eventually("the node notices", || {
        node.logged().contains("three heartbeats were missed")
    });
    lost(&edge, &node);
    assert_eq!(node.call(&kept.key), 200, "it serves on");
    line.set(Way::Open);
    eventually("the revocation arrives", || node.call(&revoked.key) == 401);
    edge.up_to_date(&node);
    assert_eq!(node.call(&kept.key), 200);
}

/// Nodes that the control plane starts by itself dial what `--node-url` names.
#[test]
fn local_nodes_dial_the_address_that_they_are_told() {
    let line = Line::new();
    let cast = World::with_cast_and(Database::Sqlite, &["--node-url", &line.url()]);
    line.lead_to(&cast.world.server.node);
    let dev = cast.iris_on_dev();
    assert!(line.dials() > 0);
    line.set(Way::Cut);
    eventually("the node is seen as lost", || dev.nodes()[0].shown["state"] == "lost");
    let before = dev.nodes()[0].process.expect("it runs on");
    let path = dev.path(&format!("/keys/{}/revoke", dev.key_id("first")));
    cast.dana.post(&path, json!({})).expect(202);
    dev.answers();
    line.set(Way::Open);
    eventually("the revocation arrives", || dev.call(&dev.key).status == 401);
    assert_eq!(dev.processes(1), [before], "the same process");
}

/// The versions that a node has acknowledged, and the codes of what it has refused, since so many messages.
fn answers(proxy: &Messages, since: usize) -> (Vec<u64>, Vec<Code>) {
    let (mut acked, mut refused) = (Vec::new(), Vec::new());
    for message in proxy.said().into_iter().skip(since) {
        match message {
            Up::Ack(ack) => acked.push(ack.position.expect("an ack says of what").version),
            Up::Nack(nack) => refused.push(nack.code()),
            _ => {}
        }
    }
    (acked, refused)
}

/// The same numbers for the same seed, in another order.
fn shuffled<T>(mut all: Vec<T>, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..all.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.swap(last, usize::try_from(state % (last as u64 + 1)).expect("small"));
    }
    all
}

/// What becomes of configs that were held back, the oldest first.
type Fault = (&'static str, fn(&[Down]) -> Vec<Down>);

const FAULTS: [Fault; 9] = [
    ("late", <[Down]>::to_vec),
    ("each twice", |all| {
        all.iter().flat_map(|one| [one.clone(), one.clone()]).collect()
    }),
    ("all and all again", |all| [all, all].concat()),
    ("the newest first", |all| all.iter().rev().cloned().collect()),
    ("all but the newest lost", |all| all[all.len() - 1..].to_vec()),
    ("the newest lost", |all| all[..all.len() - 1].to_vec()),
    ("all lost", |_| Vec::new()),
    ("twice and in any order", |all| shuffled([all, all].concat(), 1)),
    ("twice and in another order", |all| shuffled([all, all].concat(), 2)),
];

however_it_is_spoken! {
    /// The newest that arrives wins, and nothing that comes after it brings an older one back. What is lost is made up for by
    /// the next, and pending until then.
    fn late_twice_lost_or_in_another_order_the_newest_wins(spoken: Spoken) {
        let edge = Edge::start();
        let proxy = Messages::to(&edge.cast.world.server.node, spoken);
        let node = edge.node(&proxy.url());
        let kept = edge.new_key("kept");
        edge.serves(&node, &kept);
        assert!(node.logged().contains(&format!(r#""spoken":"{}""#, spoken.name())), "{}", node.logged());
        let process = node.process();
        for (what, fault) in FAULTS {
            let name = |name: &str| format!("{name}-{}", what.replace(' ', "-"));
            let revoked = edge.new_key(&name("revoked"));
            edge.serves(&node, &revoked);
            edge.up_to_date(&node);
            proxy.hold_back();
            let receipt = edge.revoke(&revoked, "").expect(202);
            assert_eq!(receipt["receipts"][0]["pending"], json!([node.id()]));
            held(&proxy, 1);
            let made: Vec<Key> = (0..3)
                .map(|number| {
                    let made = edge.new_key(&name(&format!("made-{number}")));
                    held(&proxy, 2 + number);
                    made
                })
                .collect();
            let configs = held(&proxy, 4);
            let told = fault(&configs);
            let since = proxy.said().len();
            proxy.let_go(&told);
            let (acked, refused) = eventually("each is answered", || {
                let (acked, refused) = answers(&proxy, since);
                match acked.len() + refused.len() >= told.len() {
                    true => Ok((acked, refused)),
                    false => Err(format!("{acked:?} {refused:?}")),
                }
            });
            assert!(acked.is_sorted(), "{what}: went back: {acked:?}");
            // What changed since a config that the node has not had, or no longer has, leads nowhere.
            let is_right = |code: &Code| matches!(code, Code::Older | Code::Gap);
            assert!(refused.iter().all(is_right), "{what}: {refused:?}");
            if !told.contains(&configs[3]) {
                let waits = if told.is_empty() { &revoked } else { &made[1] };
                assert_eq!((node.call(&waits.key), node.call(&made[2].key)), (200, 401), "{what}");
                assert_ne!(edge.seen(&node)["acked"], edge.status()["config"], "{what}");
                edge.new_key(&name("next"));
            }
            edge.up_to_date(&node);
            assert_eq!(node.call(&revoked.key), 401, "{what}");
            for key in made.iter().chain([&kept]) {
                assert_eq!(node.call(&key.key), 200, "{what}");
            }
        }
        assert_eq!(node.process(), process, "the same process, still alive");
    }
}

/// What is held back once there are so many.
#[track_caller]
fn held(proxy: &Messages, count: usize) -> Vec<Down> {
    eventually("the control plane has sent so many", || {
        let held = proxy.held();
        match held.len() == count {
            true => Ok(held),
            false => Err(format!("{} of {count}", held.len())),
        }
    })
}

/// A change of more than keys: the whole config is sent.
#[track_caller]
fn change_more_than_keys(edge: &Edge, queue: u32) {
    let limits = json!({"limits": {"queue": queue}});
    edge.cast.dana.patch(&edge.path(""), limits).expect(200);
}

/// The bytes of a whole config, with what else is said meanwhile.
#[track_caller]
fn size_of_a_config(edge: &Edge, line: &Line, node: &ByHand) -> usize {
    let before = line.bytes_to_node();
    change_more_than_keys(edge, 100);
    edge.up_to_date(node);
    line.bytes_to_node() - before
}

/// Many keys make a large config.
#[track_caller]
fn with_many_keys(edge: &Edge, node: &ByHand) -> Vec<Key> {
    let keys = (0..60).map(|number| edge.new_key(&format!("key-{number}"))).collect();
    edge.up_to_date(node);
    keys
}

/// Its bytes are the sign of life: the heartbeats wait behind it.
#[test]
fn a_config_that_takes_longer_than_three_heartbeats_arrives() {
    let edge = Edge::start();
    let line = Line::to(&edge.cast.world.server.node);
    let node = edge.node(&line.url());
    let (kept, revoked) = (edge.new_key("kept"), edge.new_key("revoked"));
    edge.serves(&node, &kept);
    with_many_keys(&edge, &node);
    let size = u32::try_from(size_of_a_config(&edge, &line, &node)).expect("small");
    let (dials, events) = (line.dials(), edge.events());
    // Eight seconds: more than two times the silence that ends a line.
    line.set(Way::Slow(size / 8));
    change_more_than_keys(&edge, 101);
    let receipt = edge.revoke(&revoked, "?wait=1s").expect(202);
    assert_eq!(receipt["receipts"][0]["pending"], json!([node.id()]), "{size} bytes");
    eventually("the revocation arrives", || node.call(&revoked.key) == 401);
    edge.up_to_date(&node);
    assert_eq!(line.dials(), dials, "the line held: {}", node.logged());
    assert!(!events.text().contains("node-lost"), "{}", events.text());
    assert_eq!(node.call(&kept.key), 200);
}

/// Ten changes and a revocation while a config is under way: only the newest follows it.
#[test]
fn nothing_obsolete_is_ahead_of_a_revocation_on_a_slow_line() {
    let edge = Edge::start();
    let line = Line::to(&edge.cast.world.server.node);
    let node = edge.node(&line.url());
    let (kept, revoked) = (edge.new_key("kept"), edge.new_key("revoked"));
    edge.serves(&node, &kept);
    let many = with_many_keys(&edge, &node);
    let size = size_of_a_config(&edge, &line, &node);
    let dials = line.dials();
    line.set(Way::Slow(u32::try_from(size / 5).expect("small")));
    let before = line.bytes_to_node();
    change_more_than_keys(&edge, 101);
    for key in &many[..10] {
        edge.revoke(key, "");
    }
    edge.revoke(&revoked, "");
    eventually("the revocation arrives", || node.call(&revoked.key) == 401);
    let passed = line.bytes_to_node() - before;
    // What was under way, the newest, one between them for a slow machine, and heartbeats.
    assert!(passed < 4 * size, "{passed} bytes for configs of {size}");
    edge.up_to_date(&node);
    for key in &many[..10] {
        assert_eq!(node.call(&key.key), 401);
    }
    assert_eq!((line.dials(), node.call(&kept.key)), (dials, 200));
}
