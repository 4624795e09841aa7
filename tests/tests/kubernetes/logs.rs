//! What pods log, as it is followed: by many, and without an end.

use super::Harbour;
use acceptance::cluster::{Cluster, processes_of};
use acceptance::{Actor, Request, eventually, json};
use std::fs::File;
use std::io::Write;
use std::time::Instant;

const LOGS: &str = "/deployments/iris-on-kube/logs";
const EVENTS: &str = "/deployments/iris-on-kube/logs/events";
/// What a cluster keeps of a line at a time.
const PIECE: usize = 16 << 10;
/// Followers of each of two people; each looks once a second.
const FOLLOWERS: usize = 10;

/// How often the control plane has asked the cluster for the log of a pod.
#[track_caller]
fn questions(harbour: &Harbour) -> u64 {
    let metrics = Request::get(format!("{}/metrics", harbour.cast.world.server.ops)).send();
    let metrics = metrics.expect(200).text();
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("castoff_cluster_calls_total{of=\"logs\"} "));
    count.map_or(0, |count| count.parse().expect("a count"))
}

/// The API server is asked as if there were one, each sees each line once, and whoever may not see the deployment sees none.
#[test]
fn many_who_follow_one_deployment_ask_its_cluster_once_a_second() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "crowd");
    harbour.deploy(json!({"replicas": 1}));
    let cast = &harbour.cast;
    acceptance::world::grant(&cast.admin, "infrastructures", "kube", "devops", &["view"]);
    let follow = |actor: &Actor| actor.request("GET", EVENTS).stream();
    assert_eq!(follow(&cast.sam).status, 404);
    let [danas, omars] = [&cast.dana, &cast.omar].map(|who| (0..FOLLOWERS).map(|_| follow(who)).collect::<Vec<_>>());
    let count = |text: &str, line: &str| text.matches(line).count();
    let all = || danas.iter().chain(&omars);
    eventually("all see what was logged so far", || {
        all().all(|followed| count(&followed.text(), "node started") == 1)
    });

    let (before, since) = (questions(&harbour), Instant::now());
    let asked = eventually("it is asked again and again", || {
        let asked = questions(&harbour) - before;
        (asked >= 5).then_some(asked)
    });
    // An answer is used for 0.9 s. A question may be under way at the beginning, and one at the end.
    let most = since.elapsed().as_millis() / 900 + 2;
    println!(
        "{asked} questions in {:?} for {} who follow",
        since.elapsed(),
        2 * FOLLOWERS
    );
    assert!(u128::from(asked) <= most, "{asked} questions, {most} at most");

    let in_force = |followed: &acceptance::answer::Stream| count(&followed.text(), "config in force");
    let known: Vec<usize> = all().map(in_force).collect();
    harbour.key("another");
    eventually("all see what is logged now", || {
        all().zip(&known).all(|(followed, known)| in_force(followed) > *known)
    });
    // What is left of the right to it: one's own.
    cast.dana.delete("/services/iris/grants/devops").expect(204);
    eventually("it ends with the right to it", || {
        omars.iter().all(|followed| followed.ended())
    });
    let seen: Vec<usize> = omars.iter().map(in_force).collect();
    let known: Vec<usize> = danas.iter().map(in_force).collect();
    harbour.key("a third");
    eventually("the others go on", || {
        danas
            .iter()
            .zip(&known)
            .all(|(followed, known)| in_force(followed) > *known)
    });
    assert_eq!(omars.iter().map(in_force).collect::<Vec<_>>(), seen);
    assert!(
        all().all(|followed| count(&followed.text(), "node started") == 1),
        "each line once"
    );
}

/// A pod that writes one line without an end fills nobody's memory: who follows gets it in pieces, each once; who asks gets as
/// much as was asked for.
#[test]
fn a_line_without_an_end_comes_in_pieces() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_here() {
        return;
    }
    let harbour = Harbour::open(cluster, "endless");
    harbour.deploy(json!({"replicas": 1}));
    let uids = harbour.uids();
    let uid = uids.first().expect("a pod");
    let [process] = processes_of(uid, "castoff-node")[..] else {
        panic!("its process is on this machine")
    };
    // As the program itself would write, into what the cluster reads.
    let mut out = File::options()
        .write(true)
        .open(format!("/proc/{}/fd/1", process.pid))
        .expect("its standard output");
    let number = |number: usize| format!("<{number:05}>");
    // In the middle, so that a cut elsewhere than between two of them leaves it whole.
    let mut write = |from: usize, to: usize| {
        for each in from..to {
            let half = "x".repeat((PIECE - number(each).len()) / 2);
            let piece = format!("{half}{}{half}", number(each));
            let piece = format!("{piece:x<PIECE$}");
            out.write_all(piece.as_bytes()).expect("the cluster reads");
        }
    };
    let dana = &harbour.cast.dana;
    let followed = dana.request("GET", &format!("{EVENTS}?tail=50")).stream();
    write(0, 40);
    let sees = |last: usize| {
        eventually("who follows sees it go on", || followed.text().contains(&number(last)));
    };
    // The newest is not whole yet for the cluster.
    sees(38);
    write(40, 80);
    sees(78);
    write(80, 120);
    sees(118);
    let text = followed.text();
    let twice = (0..119).filter(|each| text.matches(&number(*each)).count() > 1);
    assert_eq!(twice.collect::<Vec<_>>(), [0; 0], "each piece once");
    let longest = text.lines().map(str::len).max().expect("there are some");
    assert!(longest < PIECE + 200, "{longest}");

    let asked = dana.get(&format!("{LOGS}?tail=5")).expect(200);
    assert!(
        asked.text().contains(&number(118)) && asked.body.len() <= 5 * PIECE + 200,
        "{}",
        asked.body.len()
    );
    dana.get(&format!("{LOGS}?tail=2001")).expect(422);
}
