//! Two control planes on one PostgreSQL, and on one machine: both answer, one acts; the other goes on when it dies, hangs
//! or leaves, and nothing is done twice.

use super::pids;
use acceptance::castoff::Server;
use acceptance::processes::Process;
use acceptance::world::PASSWORD;
use acceptance::{Actor, Cast, Database, Deployed, Planes, Pooler, World, eventually, postgres};
use rustix::process::Signal;
use serde_json::json;
use std::time::Instant;

/// The cast with two nodes that know both control planes; the second one, and the deployment as seen from there.
fn two() -> Option<(Cast, Deployed, Server, Deployed)> {
    Some(two_on(Database::postgres()?, &[]))
}

/// The same on this database, with more arguments for the first.
fn two_on(database: Database, extra: &[&str]) -> (Cast, Deployed, Server, Deployed) {
    let cast = World::with_cast_and(database.clone(), extra);
    let dev = cast.iris_on_dev();
    let replicas = json!({"scale": {"replicas": 2}});
    cast.dana
        .patch(&dev.path("?wait=30s"), replicas)
        .expect_any(&[200, 202]);
    dev.processes(2);
    let folder = cast.world.folder().join("second");
    std::fs::create_dir(&folder).unwrap();
    let key = cast.world.server.data.with_file_name("master.key");
    std::fs::copy(key, folder.join("master.key")).unwrap();
    let shared = cast.world.server.data.to_str().unwrap();
    let second = Server::start(&folder, database, PASSWORD, &["--shared-dir", shared]);
    let there = dev.seen_by(&seen_from(&second, &cast.dana));
    for node in dev.nodes() {
        let told = format!("nodes/{}/copy/control-planes", node.id);
        eventually("the nodes know both", || {
            let known = std::fs::read_to_string(cast.world.server.data.join(&told)).unwrap_or_default();
            known.contains(&second.node).then_some(()).ok_or(known)
        });
    }
    (cast, dev, second, there)
}

fn seen_from(server: &Server, who: &Actor) -> Actor {
    Actor::with_token(&server.url, &who.name, who.token())
}

/// A key that is made there, and one that is revoked there, as every node has it.
fn a_key_comes_and_goes(there: &Deployed, name: &str) {
    let key = there.new_key(name);
    there.call(&key).expect(200);
    there.revoke(name);
    there.call(&key).expect(401);
}

/// Kills a node, and waits until it is replaced and there are two again, no more.
fn a_node_is_replaced(cast: &Cast, there: &Deployed) {
    let killed = there.processes(2)[0];
    killed.kill();
    let after = eventually("there are two again", || {
        let after = there.processes(2);
        (!after.contains(&killed)).then_some(after)
    });
    assert_eq!(pids(&cast.world.nodes()), pids(&after), "none is there twice");
}

/// How often it has begun to act, and how often it has started or adopted a node.
fn deeds(server: &Server) -> (usize, usize) {
    let log = server.logged();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    (
        count("this control plane acts from now on"),
        count("node started") + count("node adopted"),
    )
}

fn restarts(there: &Deployed) -> u64 {
    let nodes = there.nodes();
    nodes.iter().filter_map(|node| node.shown["restarts"].as_u64()).sum()
}

#[test]
fn of_two_control_planes_the_other_goes_on() {
    if let Some(two) = two() {
        the_other_goes_on(two);
    }
}

/// A session is nobody's there, and the lease is kept all the same.
#[test]
fn of_two_behind_a_pooler_the_other_goes_on() {
    let Some(url) = postgres::database() else { return };
    if let Some(pooler) = Pooler::start(&url) {
        the_other_goes_on(two_on(Database::behind(&pooler), &[]));
    }
}

fn the_other_goes_on((mut cast, dev, mut second, there): (Cast, Deployed, Server, Deployed)) {
    // The nodes are on the line with the first, and hear of what is said to the second.
    a_key_comes_and_goes(&there, "by the second");
    assert_eq!(deeds(&second), (0, 0));
    let before = dev.processes(2);
    let killed = Instant::now();
    cast.world.server.kill();
    before[0].kill();
    let dana = seen_from(&second, &cast.dana);
    dana.post("/services", json!({"name": "meanwhile"})).expect(201);
    eventually("the second acts", || deeds(&second).0 == 1);
    println!("the second acts {:?} after the first was killed", killed.elapsed());
    let after = eventually("there are two again", || {
        let after = there.processes(2);
        (!after.contains(&before[0])).then_some(after)
    });
    println!("a node that died meanwhile is there again after {:?}", killed.elapsed());
    assert!(after.contains(&before[1]), "the one that lived was adopted");
    assert_eq!(pids(&cast.world.nodes()), pids(&after), "none is there twice");
    there.answers();
    a_key_comes_and_goes(&there, "without the first");

    // It comes back, and answers; the other one goes on acting.
    cast.world.server.launch();
    let here = dev.seen_by(&seen_from(&cast.world.server, &cast.dana));
    a_key_comes_and_goes(&here, "by the first");
    let seen = deeds(&cast.world.server);
    a_node_is_replaced(&cast, &here);
    assert_eq!(deeds(&cast.world.server), seen);

    // One that leaves in order gives back what it held.
    assert_eq!(second.stop(), Some(0));
    a_node_is_replaced(&cast, &here);
    a_key_comes_and_goes(&here, "without the second");
    assert!(deeds(&cast.world.server) > seen);
}

#[test]
fn a_control_plane_that_hung_finds_that_another_one_acts() {
    let Some((cast, dev, second, there)) = two() else {
        return;
    };
    let before = dev.processes(2);
    let first = cast.world.server.process();
    let frozen = Frozen::new(first);
    let since = Instant::now();
    before[0].kill();
    let dana = seen_from(&second, &cast.dana);
    dana.post("/services", json!({"name": "meanwhile"})).expect(201);
    eventually("the second acts", || deeds(&second).0 == 1);
    println!("the second acts {:?} after the first was frozen", since.elapsed());
    let after = eventually("there are two again", || {
        let after = there.processes(2);
        (!after.contains(&before[0])).then_some(after)
    });
    assert_eq!(pids(&cast.world.nodes()), pids(&after), "none is there twice");
    a_key_comes_and_goes(&there, "without the first");
    let seen = deeds(&cast.world.server);
    drop(frozen);
    eventually("the first finds that it is over", || {
        cast.world
            .server
            .logged()
            .contains("this control plane does not act any more")
    });
    // The one that acts replaces what dies; the one that acted before does nothing.
    a_node_is_replaced(&cast, &there);
    assert_eq!(deeds(&cast.world.server), seen);
    assert_eq!(restarts(&there), 2, "two were killed, and each was started again once");
    let here = dev.seen_by(&seen_from(&cast.world.server, &cast.dana));
    a_key_comes_and_goes(&here, "by the first");
}

/// What goes on by itself is the other's from the beginning, not only when the last caller has gone.
#[test]
fn who_leaves_hands_over_what_it_does_and_goes_on_answering() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let (mut cast, dev, second, there) = two_on(database, &["--drain-delay", "300"]);
    eventually("the first acts", || deeds(&cast.world.server).0 == 1);
    let seen = deeds(&cast.world.server);
    cast.world.server.process().signal(Signal::TERM);
    eventually("the second acts", || deeds(&second).0 == 1);
    a_node_is_replaced(&cast, &there);
    a_key_comes_and_goes(&there, "by the one that stays");
    a_key_comes_and_goes(&dev, "by the one that leaves");
    assert_eq!(deeds(&cast.world.server), seen);
    // It says that it lives as long as it answers: nobody takes it for gone.
    let not_silent = !second.logged().contains("has fallen silent");
    assert!(not_silent, "{}", second.tail());
    assert_eq!(cast.world.server.stop(), Some(0));
    a_node_is_replaced(&cast, &there);
    assert_eq!(deeds(&second).0, 1);
}

/// It does not leave it to the lease's time: nobody else could act for so long.
#[test]
fn who_leaves_in_order_has_given_the_lease_back() {
    let Some(mut planes) = Planes::start(2) else { return };
    eventually("the first acts", || deeds(planes.get(0)).0 == 1);
    // So that nobody takes it meanwhile.
    let frozen = Frozen::new(planes.get(1).process());
    assert_eq!(planes.get_mut(0).stop(), Some(0));
    let given_back = "DO $$ BEGIN ASSERT (SELECT until FROM lease WHERE name = 'loops') = 0, 'it is held'; END $$";
    postgres::state(&planes.database, given_back);
    drop(frozen);
    eventually("the second acts", || deeds(planes.get(1)).0 == 1);
}

/// A process that stands still until this goes.
struct Frozen(Process);

impl Frozen {
    fn new(process: Process) -> Self {
        process.signal(Signal::STOP);
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}
