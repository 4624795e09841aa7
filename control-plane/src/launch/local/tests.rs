//! The launcher with real processes and real sockets.

use super::process::lives;
use super::testing::{DEPLOYMENT, World, eventually, identity, kill};
use crate::launch::Leave;
use crate::store::{LaunchedNode, NodeState};
use std::net::TcpStream;
use tokio::sync::broadcast;
use uuid::Uuid;

fn pids(records: &[LaunchedNode]) -> Vec<Option<u32>> {
    records.iter().map(|record| record.pid).collect()
}

#[tokio::test]
async fn as_many_as_wanted_on_one_port_and_none_when_switched_off() {
    let mut world = World::new(2, "");
    world.launch();
    let two = world.running(2).await;
    let by = world.call().await;
    assert!(two.iter().any(|record| record.id == by));

    world.want(|wanted| wanted.replicas = 1);
    eventually("the younger ends", || (!lives(identity(&two[1]))).then_some(())).await;
    let one = world.running(1).await;
    assert_eq!(pids(&one), pids(&two[..1]), "the older stays as it is");

    let port = world.port();
    world.want(|wanted| wanted.enabled = false);
    eventually("nothing is left", || world.records().is_empty().then_some(())).await;
    assert_eq!(world.folders.node_ids().unwrap(), [] as [Uuid; 0]);
    assert_eq!(world.processes(), [] as [u32; 0]);
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();

    world.want(|wanted| wanted.enabled = true);
    let new = world.running(1).await;
    assert_ne!(new[0].id, one[0].id);
    assert_eq!(world.call().await, new[0].id);

    world.book.wanted.lock().unwrap().clear();
    eventually("a deleted deployment leaves nothing", || {
        (world.records().is_empty() && world.folders.deployment_ids().unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(world.processes(), [] as [u32; 0]);
}

#[tokio::test]
async fn a_killed_node_is_there_again_on_its_port() {
    let mut world = World::new(1, "");
    world.launch();
    let before = world.running(1).await;
    kill(before[0].pid.unwrap());
    // A call that the dying process has taken ends with it; one that comes after waits for the next process.
    eventually("its end is noticed", || {
        (!world.book.ends.lock().unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(world.call().await, before[0].id);
    let after = world.running(1).await;
    assert_eq!((after[0].id, after[0].restarts), (before[0].id, 1));
    assert_ne!(after[0].pid, before[0].pid);
    assert_eq!(*world.book.ends.lock().unwrap(), ["killed (SIGKILL)"]);
}

#[tokio::test]
async fn a_control_plane_that_comes_back_adopts_nodes_and_their_socket() {
    let mut world = World::new(2, "");
    world.launch();
    let before = world.running(2).await;
    world.crash().await;
    assert!(before.iter().all(|record| lives(identity(record))));
    world.call().await;

    world.launch();
    world.want(|wanted| wanted.replicas = 3);
    let after = world.running(3).await;
    assert_eq!(pids(&after[..2]), pids(&before), "the same processes");
    assert_eq!(world.processes().len(), 3, "and no other");
    world.call().await;

    // The third one got the socket that the launcher got from one of the first two.
    world.want(|wanted| assert_eq!(wanted.problem, None));
    before.iter().for_each(|record| kill(record.pid.unwrap()));
    let again = eventually("the adopted ones are started again", || {
        let records = world.records();
        records[..2]
            .iter()
            .all(|record| record.restarts == 1 && record.pid.is_some())
            .then_some(records)
    })
    .await;
    assert_eq!(again[2].pid, after[2].pid);
}

#[tokio::test]
async fn what_ended_meanwhile_is_started_again_on_its_port() {
    let mut world = World::new(1, "");
    world.launch();
    let before = world.running(1).await;
    world.crash().await;
    kill(before[0].pid.unwrap());
    world.launch();
    let after = eventually("it runs again", || {
        world
            .records()
            .into_iter()
            .find(|record| record.pid.is_some() && record.restarts == 1)
    })
    .await;
    assert_eq!(after.id, before[0].id);
    assert_eq!(world.call().await, after.id);
}

/// The control plane was killed between the spawn and the record of it: after a first start, and after a restart.
#[tokio::test]
async fn a_newborn_is_adopted_whatever_its_record_had_to_tell() {
    for restarts in [0, 1] {
        let mut world = World::new(1, "");
        world.launch();
        let born = world.running(1).await;
        world.crash().await;
        let mut record = born[0].clone();
        (record.pid, record.start_time, record.restarts) = (None, None, restarts);
        record.exits = (0..restarts).map(|_| crate::domain::Time::from_ms(1)).collect();
        world.book.records.lock().unwrap().insert(record.id, record);
        world.launch();
        let adopted = world.running(1).await;
        assert_eq!((adopted[0].id, adopted[0].pid), (born[0].id, born[0].pid));
        assert_eq!(world.processes().len(), 1, "no second process for one node");
    }
}

#[tokio::test]
async fn what_was_announced_and_never_seen_is_given_up_with_its_folder_and_id() {
    let mut world = World::new(1, "");
    world.launch();
    let born = world.running(1).await;
    world.crash().await;
    kill(born[0].pid.unwrap());
    let mut record = born[0].clone();
    (record.pid, record.start_time) = (None, None);
    world.book.records.lock().unwrap().insert(record.id, record.clone());
    std::fs::remove_file(world.folders.node(record.id).join("process.json")).unwrap();
    world.launch();
    let other = eventually("another one is started", || {
        world
            .records()
            .into_iter()
            .find(|other| other.id != record.id && other.pid.is_some())
    })
    .await;
    assert!(
        !world.folders.node(record.id).exists(),
        "whoever comes late ends itself"
    );
    assert_eq!(world.records(), [other]);
}

#[tokio::test]
async fn a_node_without_a_record_is_ended_and_only_then_its_folder_goes() {
    let mut world = World::new(1, "");
    world.launch();
    let orphan = world.running(1).await;
    world.crash().await;
    world.book.records.lock().unwrap().clear();
    world.want(|wanted| wanted.enabled = false);
    world.launch();
    eventually("its folder goes", || {
        (!world.folders.node(orphan[0].id).exists()).then_some(())
    })
    .await;
    assert_eq!(world.processes(), [] as [u32; 0]);
}

#[tokio::test]
async fn who_does_not_end_when_asked_is_killed() {
    // What is ignored stays ignored across exec.
    let mut world = World::new(1, "trap '' TERM");
    world.want(|wanted| wanted.grace_ms = 300);
    world.launch();
    let deaf = world.running(1).await;
    world.want(|wanted| wanted.enabled = false);
    eventually("it is told", || {
        world
            .records()
            .iter()
            .any(|record| record.state == NodeState::Stopping)
            .then_some(())
    })
    .await;
    eventually("it is gone", || world.records().is_empty().then_some(())).await;
    assert!(!lives(identity(&deaf[0])));
}

#[tokio::test]
async fn a_stop_goes_on_after_the_control_plane_was_killed_at_it() {
    let mut world = World::new(1, "trap '' TERM");
    world.launch();
    let deaf = world.running(1).await;
    world.want(|wanted| (wanted.enabled, wanted.grace_ms) = (false, 60_000));
    eventually("it is told", || {
        world
            .records()
            .iter()
            .any(|record| record.state == NodeState::Stopping)
            .then_some(())
    })
    .await;
    world.crash().await;
    world.want(|wanted| (wanted.enabled, wanted.grace_ms) = (true, 300));
    world.launch();
    let next = eventually("another one takes over", || {
        let records = world.records();
        (records.len() == 1 && records[0].id != deaf[0].id && records[0].pid.is_some()).then_some(records)
    })
    .await;
    assert!(!lives(identity(&deaf[0])));
    assert_eq!(world.call().await, next[0].id);
}

#[tokio::test]
async fn a_crash_loop_is_called_so_and_says_why() {
    let mut world = World::new(1, "echo 'no library' >&2; exit 2");
    world.launch();
    let looping = eventually("it is a crash loop", || {
        world
            .records()
            .into_iter()
            .find(|record| record.state == NodeState::CrashLooping)
    })
    .await;
    assert!(looping.exits.len() >= 3);
    assert_eq!(world.book.ends.lock().unwrap()[0], "exit code 2: no library");
    let (_, changes) = broadcast::channel(1);
    assert!(world.open(changes).is_err(), "one launcher on one data directory");
}

#[tokio::test]
async fn a_port_that_another_program_holds_is_waited_for() {
    let mut world = World::new(1, "");
    let other = std::net::TcpListener::bind(("127.0.0.1", world.port())).unwrap();
    let port = world.port();
    world.launch();
    let problem = eventually("the deployment says so", || {
        world.book.wanted.lock().unwrap()[0].problem.clone()
    })
    .await;
    assert!(
        problem.contains(&format!("port {port} is held by another program")),
        "{problem}"
    );
    assert!(world.records().is_empty());
    drop(other);
    let node = world.running(1).await;
    assert_eq!((world.call().await, world.port()), (node[0].id, port));
    eventually("the problem is over", || {
        world.book.wanted.lock().unwrap()[0].problem.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn nodes_stay_unless_they_are_to_be_taken_along() {
    let mut world = World::new(2, "");
    world.launch();
    let nodes = world.running(2).await;
    world.leave(Leave::WithoutNodes).await;
    assert!(nodes.iter().all(|record| lives(identity(record))));
    world.launch();
    world.running(2).await;
    world.leave(Leave::WithNodes).await;
    assert_eq!(world.processes(), [] as [u32; 0]);
    assert!(world.records().is_empty());
    assert!(world.book.wanted.lock().unwrap()[0].deployment_id == DEPLOYMENT);
}
