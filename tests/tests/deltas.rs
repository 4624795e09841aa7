//! What changed of the keys, on its way to nodes: less than the config, and as good.

use acceptance::node::ByHand;
use acceptance::{Edge, Request, eventually};

/// Configs that the control plane has sent: whole ones, and what changed.
fn sent(edge: &Edge) -> (u64, u64) {
    let metrics = Request::get(format!("{}/metrics", edge.cast.world.server.ops)).send();
    let metrics = metrics.expect(200).text();
    let of = |what: &str| {
        let name = format!("castoff_push_configs_total{{sent=\"{what}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        count.map_or(0, |count| count.parse().expect("a count"))
    };
    (of("whole"), of("changes"))
}

#[test]
fn a_change_of_keys_is_sent_alone_and_kept_like_the_whole() {
    let mut edge = Edge::start();
    let control_plane = format!("http://{}", edge.cast.world.server.node);
    let join = edge.join(&control_plane);
    let folder = acceptance::scratch::subfolder("node");
    let node = ByHand::start(&folder, &join);
    let keys: Vec<_> = (0..20).map(|number| edge.new_key(&format!("key-{number}"))).collect();
    for key in &keys {
        edge.serves(&node, key);
    }
    edge.up_to_date(&node);
    let (whole, mut changes) = sent(&edge);
    for key in &keys[..5] {
        edge.revoke(key, "?wait=30s").expect(200);
        assert_eq!(node.call(&key.key), 401);
        edge.up_to_date(&node);
        let now = sent(&edge);
        // A line that broke may have been told it twice.
        assert!(now.0 == whole && now.1 > changes, "{now:?} after {whole} and {changes}");
        changes = now.1;
    }
    // What is more than keys goes whole.
    let limits = serde_json::json!({"limits": {"queue": 9}});
    edge.cast.dana.patch(&edge.path(""), limits).expect(200);
    eventually("it is sent", || sent(&edge).0 > whole);
    edge.up_to_date(&node);
    edge.revoke(&keys[5], "?wait=30s").expect(200);
    edge.up_to_date(&node);

    // From what it has kept it serves what the last change led to, with the control plane away.
    edge.cast.world.server.kill();
    drop(node);
    let node = ByHand::start(&folder, &join);
    eventually("it serves", || node.call(&keys[6].key) == 200);
    for key in &keys[..6] {
        assert_eq!(node.call(&key.key), 401);
    }
    for key in &keys[6..] {
        assert_eq!(node.call(&key.key), 200);
    }
    edge.cast.world.server.launch();
    let made = edge.new_key("made");
    edge.serves(&node, &made);
}
