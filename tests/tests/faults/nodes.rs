//! Nodes that are killed, started again as a supervisor would while the control plane is down, and find their durable
//! copy spoiled.

use acceptance::dice::{self, Dice};
use acceptance::node::ByHand;
use acceptance::promises::{Outcome, Promises};
use acceptance::world::grant;
use acceptance::{Cast, Database, Request, Value, World, eventually, json, models};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const PATH: &str = "/deployments/iris-on-edge";

/// A deployment on machines of somebody else's, and the folder and join document of its node.
fn edge() -> (Cast, PathBuf, Value) {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let body = json!({"name": "edge", "kind": "static", "stage": "dev"});
    cast.admin.post("/infrastructures", body).expect(201);
    grant(&cast.admin, "infrastructures", "edge", "data-scientists", &["deploy"]);
    let body = json!({"service": "iris", "infrastructure": "edge", "version": "v1"});
    cast.dana.post("/deployments", body).expect(201);
    let join = cast.dana.post(&format!("{PATH}/node-tokens"), json!({})).expect(201);
    let folder = cast.world.folder().join("by-hand");
    (cast, folder, join["join"].clone())
}

/// Starts the node in its folder, as before, and waits until it says where it answers.
#[track_caller]
fn start(folder: &Path, join: &Value) -> (ByHand, String) {
    fs::remove_file(folder.join("process.json")).ok();
    let node = ByHand::start(folder, join);
    let url = node.url();
    (node, url)
}

/// What a key gets; 0: no answer.
fn call(url: &str, key: &str) -> u16 {
    let request = Request::post(format!("{url}/public/api/v1/iris/iris/predict")).header("x-api-key", key);
    let answer = request.json(&models::setosa()).try_send();
    answer.map_or(0, |answer| answer.status)
}

/// A key that the node has: its id and its text.
#[track_caller]
fn new_key(cast: &Cast, url: &str, name: &str) -> (String, String) {
    let made = cast
        .dana
        .post(&format!("{PATH}/keys"), json!({"name": name}))
        .expect(201);
    let (id, text) = (made.string("/id"), made.string("/key"));
    eventually("a new key opens", || call(url, &text) == 200);
    eventually("it is acknowledged", || {
        let status = cast.dana.get(&format!("{PATH}/status")).expect(200);
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["acked"] == status["config"])
    });
    (id, text)
}

/// Spoils one of the two files of the copy, in one of the ways there are; says how.
fn spoil(copy: &Path, older: &[u8], dice: &mut Dice) -> String {
    let name = dice.one_of(["config", "config.twin"]).unwrap();
    let path = copy.join(name);
    let good = fs::read(&path).unwrap();
    let at = usize::try_from(dice.below(good.len() as u64)).unwrap();
    let (how, bytes) = match dice.below(5) {
        0 => (format!("cut after {at}"), good[..at].to_vec()),
        1 => ("emptied".to_owned(), Vec::new()),
        2 => {
            let mut turned = good;
            turned[at] ^= 1 << dice.below(8);
            (format!("a bit of byte {at} turned"), turned)
        }
        3 => ("an older one put back".to_owned(), older.to_vec()),
        _ => {
            fs::remove_file(&path).unwrap();
            return format!("{name} taken away");
        }
    };
    fs::write(&path, bytes).unwrap();
    format!("{name}: {how}")
}

/// Killed while it applies a revocation, started without a control plane, with half of its copy spoiled: it serves what
/// was acknowledged, and agrees with the control plane when that comes back.
#[test]
fn a_killed_node_comes_back_by_itself_with_what_was_acknowledged() {
    let (mut cast, folder, join) = edge();
    let mut dice = Dice::new(dice::seed("kills of a node"));
    let copy = folder.join("copy");
    let mut promises = Promises::default();
    let (mut node, mut url) = start(&folder, &join);
    let mut before = new_key(&cast, &url, "first");
    for round in 0..8 {
        let older = fs::read(copy.join("config")).unwrap();
        let valid = new_key(&cast, &url, &format!("key-{round}"));
        promises.heard(
            "make",
            [(valid.1.clone(), Some("200".to_owned()))],
            Outcome::Acknowledged,
        );
        promises.heard(
            "make",
            [(before.1.clone(), Some("200".to_owned()))],
            Outcome::Acknowledged,
        );
        let path = format!("{PATH}/keys/{}/revoke?wait=1s", before.0);
        let status = thread::scope(|scope| {
            let revoking = scope.spawn(|| cast.dana.post(&path, json!({})).expect_any(&[200, 202]).status);
            thread::sleep(Duration::from_micros(dice.below(30_000)));
            node.process().expect("it lives").kill();
            revoking.join().unwrap()
        });
        cast.world.server.kill();
        let outcome = if status == 200 {
            Outcome::Acknowledged
        } else {
            Outcome::Unknown
        };
        promises.heard("revoke", [(before.1.clone(), Some("401".to_owned()))], outcome);
        let how = spoil(&copy, &older, &mut dice);
        drop(node);
        (node, url) = start(&folder, &join);
        eventually(&format!("it serves without a control plane; {how}"), || {
            call(&url, &valid.1) == 200
        });
        let look = |key: &str| Some(call(&url, key).to_string());
        let mut broken = promises.settle(look);
        broken.extend(promises.broken(promises.known().collect::<Vec<_>>(), look));
        assert!(
            broken.is_empty(),
            "round {round}, {outcome:?}, {how}: {} broken\n{}",
            broken.len(),
            node.logged()
        );
        cast.world.server.launch();
        eventually("it agrees with the control plane", || call(&url, &before.1) == 401);
        promises.heard(
            "revoke",
            [(before.1.clone(), Some("401".to_owned()))],
            Outcome::Acknowledged,
        );
        // Between two writes there is none; those of the killed process are swept.
        eventually("no unfinished file is left", || {
            let mut names = fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().file_name());
            names.all(|name| !name.to_string_lossy().ends_with(".tmp"))
        });
        before = valid;
    }
}

/// Both files are spoiled: nothing is served rather than something that nobody has signed, until the control plane sends.
#[test]
fn a_copy_that_is_spoiled_twice_serves_nothing() {
    let (mut cast, folder, join) = edge();
    let (node, url) = start(&folder, &join);
    let key = new_key(&cast, &url, "first");
    cast.world.server.kill();
    node.process().expect("it lives").kill();
    drop(node);
    for name in ["config", "config.twin"] {
        fs::write(folder.join("copy").join(name), "torn").unwrap();
    }
    let (node, url) = start(&folder, &join);
    eventually("it says that it does not use the copy", || {
        node.logged().contains("the durable copy is not used")
    });
    assert_ne!(call(&url, &key.1), 200);
    cast.world.server.launch();
    eventually("it serves what the control plane sends", || call(&url, &key.1) == 200);
    eventually("the status counts what was refused", || {
        let status = cast.dana.get(&format!("{PATH}/status")).expect(200);
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["refused_configs"].as_u64() > Some(0))
    });
}

/// The whole folder put back from another day, while nobody can tell: it serves what it says until the control plane
/// answers, and not longer.
#[test]
fn a_folder_of_another_day_serves_until_the_control_plane_answers() {
    let (mut cast, folder, join) = edge();
    let (node, url) = start(&folder, &join);
    let (key, last) = (new_key(&cast, &url, "first"), new_key(&cast, &url, "last"));
    let (copy, aside) = (folder.join("copy"), folder.join("aside"));
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(&copy)
        .arg(&aside)
        .status();
    assert!(copied.unwrap().success());
    let path = format!("{PATH}/keys/{}/revoke?wait=30s", key.0);
    cast.dana.post(&path, json!({})).expect(200);
    cast.world.server.kill();
    node.process().expect("it lives").kill();
    drop(node);
    fs::remove_dir_all(&copy).unwrap();
    fs::rename(&aside, &copy).unwrap();
    let (_node, url) = start(&folder, &join);
    eventually("it serves", || call(&url, &last.1) == 200);
    assert_eq!(call(&url, &key.1), 200, "ARCHITECTURE.md says what bounds this");
    cast.world.server.launch();
    eventually("the key is refused again", || call(&url, &key.1) == 401);
    assert_eq!(call(&url, &last.1), 200);
}

/// An older copy is put into the folder of a running node, with nobody to ask: it goes on with its own, puts that back, and
/// counts the other.
#[test]
fn a_running_node_refuses_an_older_copy() {
    const FILES: [&str; 2] = ["config", "config.twin"];
    let (mut cast, folder, join) = edge();
    let (node, url) = start(&folder, &join);
    let (kept, revoked) = (new_key(&cast, &url, "kept"), new_key(&cast, &url, "revoked"));
    let copy = folder.join("copy");
    let older = FILES.map(|name| fs::read(copy.join(name)).unwrap());
    let path = format!("{PATH}/keys/{}/revoke?wait=30s", revoked.0);
    cast.dana.post(&path, json!({})).expect(200);
    let own = FILES.map(|name| fs::read(copy.join(name)).unwrap());
    assert_ne!(older, own);
    cast.world.server.kill();
    for (name, bytes) in FILES.iter().zip(&older) {
        fs::write(copy.join(name), bytes).unwrap();
    }
    eventually("its own is put back", || {
        FILES.map(|name| fs::read(copy.join(name)).unwrap_or_default()) == own
    });
    assert_eq!((call(&url, &kept.1), call(&url, &revoked.1)), (200, 401));
    let counted = node.counted("castoff_node_refused_configs_total");
    assert!(counted.iter().any(|line| !line.ends_with(" 0")), "{counted:?}");
    node.process().expect("it lives").kill();
    drop(node);
    let (_node, url) = start(&folder, &join);
    eventually("it serves", || call(&url, &kept.1) == 200);
    assert_eq!(call(&url, &revoked.1), 401);
}
