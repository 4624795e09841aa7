//! Two releases beside each other in a cluster: replicas of the one before are replaced by those of this one, and back.

use super::replicas::{INFERENCE, SharedVolume, address, ready_pods, told_of};
use super::upgrade::{is_obeyed, previous_chart};
use super::{Actor, Cluster, Namespace, Release};
use acceptance::eventually::within;
use acceptance::load::Load;
use acceptance::postgres::OwnServer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// While a program calls the model, every replica of the release before is replaced by one of this, and these by those again.
/// The program notices nothing, the pod of the model stays, and hears of what each release is told.
#[test]
fn replicas_go_from_one_release_to_the_next_and_back() {
    let (Some(cluster), Some(previous)) = (Cluster::there(), acceptance::Release::previous()) else {
        return;
    };
    if !cluster.is_here() {
        return;
    }
    let Some((_postgres, url)) = OwnServer::start_at(&cluster.outside) else {
        return;
    };
    let namespace = Namespace::new(cluster, "two-releases");
    let _volume = SharedVolume::new(&namespace);
    let before = Release::of_programs(previous, cluster, &namespace);
    let release = Release::of(cluster, &namespace);
    let told = told_of(&namespace, &url, 2);
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    before.helm_with(&previous_chart(), "install", &told);
    let rest = format!("http://{}:8400", address(&namespace, "castoff"));
    let admin = Actor::log_in(&rest, "admin", &before.password());
    let key = before.serves_iris(&admin, 1);
    let pods = before.pods();

    let model = format!("http://{}:8000", address(&namespace, "iris-on-cluster"));
    let inference = Load::of_iris(&model, &key);
    assert!(inference.is_taken(), "the Service leads to its pods");
    let there_and_back = || {
        let replicas = ready_pods(&namespace);
        release.helm("upgrade", &told);
        replaced(&namespace, &replicas);
        is_obeyed(&namespace, &admin, "by this release");
        let replicas = ready_pods(&namespace);
        let back = ["rollback", "castoff", "1", "--wait", "--timeout", "180s"];
        namespace.helm(&back).expect("helm is content");
        replaced(&namespace, &replicas);
        is_obeyed(&namespace, &admin, "by the one before");
    };
    let stop = AtomicBool::new(false);
    let calls = thread::scope(|scope| {
        let calls = scope.spawn(|| inference.steadily(INFERENCE, &stop));
        // The caller ends when this does, however it does.
        let done = thread::scope(|going| going.spawn(there_and_back).join());
        stop.store(true, Ordering::SeqCst);
        done.expect("it goes there and back");
        calls.join().expect("calls")
    });
    assert!(calls.failures.is_empty() && calls.answers >= 10, "{calls:?}");
    assert_eq!(before.pods(), pods);
}

/// Waits until none of these is there, and as many others are.
fn replaced(namespace: &Namespace, replicas: &[String]) {
    within(Duration::from_secs(120), "those before are gone", || {
        let now = ready_pods(namespace);
        match now.len() == replicas.len() && !now.iter().any(|pod| replicas.contains(pod)) {
            true => Ok(()),
            false => Err(format!("{now:?}")),
        }
    });
}
