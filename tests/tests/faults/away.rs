//! The control plane away for ten minutes, which are turned on the node's clock and not slept.

use acceptance::edge::{self, Key};
use acceptance::faketime::Faketime;
use acceptance::node::ByHand;
use acceptance::{Edge, eventually, json, models, scratch};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: Duration = Duration::from_secs(60);
/// The clock moves on by this much at a time, with calls in between.
const STEP: Duration = Duration::from_secs(20);

/// What `date` makes of this.
fn date(arguments: &[&str]) -> String {
    let date = std::process::Command::new("date")
        .arg("-u")
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// The full second at or after a moment that the API has written.
fn second_after(written: &str) -> SystemTime {
    let seconds: u64 = date(&["-d", written, "+%s"]).parse().unwrap();
    UNIX_EPOCH + Duration::from_secs(seconds + 1)
}

/// A full second, as the API reads it.
fn written(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap().as_secs();
    date(&["-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
}

/// The keys of the deployment, by when they open it.
struct Keys {
    /// When it changes.
    middle: SystemTime,
    always: Key,
    ends: Key,
    begins: Key,
    rotated: Key,
    successor: Key,
}

impl Keys {
    /// In five minutes one ends, one begins, and the overlap of one with its successor is over.
    fn new(edge: &Edge) -> Self {
        let rotated = edge.new_key("rotated");
        let path = edge.path(&format!("/keys/{}", rotated.id));
        let overlap = json!({"overlap_seconds": (5 * MINUTE).as_secs()});
        let made = edge.cast.dana.post(&format!("{path}/rotate"), overlap).expect(201);
        let middle = second_after(&edge.cast.dana.get(&path).expect(200).string("/expires_at"));
        Self {
            middle,
            always: edge.new_key("always"),
            ends: edge.new_key_with(json!({"name": "ends", "expires_at": written(middle)})),
            begins: edge.new_key_with(json!({"name": "begins", "not_before": written(middle)})),
            rotated,
            successor: Key {
                id: made.string("/id"),
                key: made.string("/key"),
            },
        }
    }

    /// Whether exactly those open it that should at this time.
    #[track_caller]
    fn look(&self, node: &ByHand, is_past_the_middle: bool) {
        let (before, after) = if is_past_the_middle { (401, 200) } else { (200, 401) };
        for (key, expected) in [
            (&self.always, 200),
            (&self.ends, before),
            (&self.rotated, before),
            (&self.begins, after),
        ] {
            let got = node.call(&key.key);
            assert_eq!(got, expected, "{} past the middle: {is_past_the_middle}", key.id);
        }
    }
}

#[test]
fn ten_minutes_without_a_control_plane_go_by_on_the_nodes_clock() {
    let mut edge = Edge::start();
    let strict = edge::deploy(&edge.cast, "strict");
    let clock = Faketime::new(&scratch::subfolder("clock"));
    let start = |join: &serde_json::Value| ByHand::start_in(&scratch::subfolder("node"), join, &clock.environment());
    let (node, strict) = (start(&edge.join(&plane(&edge))), start(&strict));
    let keys = Keys::new(&edge);
    let middle = keys.middle;
    let limits = json!({"limits": {"max_staleness_s": 120}});
    edge.cast
        .dana
        .patch("/deployments/iris-on-strict?wait=30s", limits)
        .expect_any(&[200, 202]);
    let made = edge
        .cast
        .dana
        .post("/deployments/iris-on-strict/keys?wait=30s", json!({"name": "strict"}));
    let strict_key = made.expect_any(&[201, 202]).string("/key");
    edge.serves(&node, &keys.successor);
    edge.up_to_date(&node);
    eventually("the strict node serves", || strict.call(&strict_key) == 200);
    keys.look(&node, false);

    edge.cast.world.server.kill();
    let began = SystemTime::now();
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A call that is inside the node while its clock is turned would seem to take as long: none is.
    let turning = RwLock::new(());
    thread::scope(|scope| {
        for key in [&keys.always, &keys.successor] {
            let (node, answered, over, turning) = (&node, &answered, &over, &turning);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let _steady = turning.read().unwrap();
                    assert_eq!(
                        node.call(&key.key),
                        200,
                        "after {} calls",
                        answered.load(Ordering::SeqCst)
                    );
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _over = Over(&over);
        let turn = |ahead: Duration| {
            let turned = turning.write().unwrap();
            clock.turn_by(ahead);
            drop(turned);
            let before = answered.load(Ordering::SeqCst);
            eventually("calls are answered", || answered.load(Ordering::SeqCst) >= before + 6);
        };
        let mut ahead = Duration::ZERO;
        let there = |ahead: Duration| SystemTime::now() + ahead;
        while there(ahead) + 2 * STEP < middle {
            ahead += STEP;
            turn(ahead);
            keys.look(&node, false);
            if there(ahead) < began + MINUTE {
                assert_eq!(strict.call(&strict_key), 200, "not stale for long yet");
            }
        }
        assert_eq!(strict.call(&strict_key), 503, "cut off for more than it may be");
        // On its very second.
        ahead = middle.duration_since(SystemTime::now()).unwrap();
        turn(ahead);
        keys.look(&node, true);
        while there(ahead) < began + 10 * MINUTE {
            ahead += STEP;
            turn(ahead);
            keys.look(&node, true);
        }
    });
    let said = call_strictly(&strict, &strict_key);
    assert_eq!(said, (503, "cut off from the control plane for too long".to_owned()));
    assert_eq!(strict.call("cst_wrong"), 401, "who has no key learns nothing of it");

    edge.cast.world.server.launch();
    eventually("the strict node serves again", || strict.call(&strict_key) == 200);
    edge.up_to_date(&node);
    keys.look(&node, true);
}

/// Where the control plane listens for nodes.
fn plane(edge: &Edge) -> String {
    format!("http://{}", edge.cast.world.server.node)
}

/// Ends the calls also when the test fails in between: it would wait for them for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The status and the error of a call in the V2 dialect.
fn call_strictly(node: &ByHand, key: &str) -> (u16, String) {
    let request = acceptance::Request::post(format!("{}/v2/models/iris/infer", node.url()));
    let answer = request.header("x-api-key", key).json(&models::setosa()).send();
    (answer.status, answer.string("/error"))
}
