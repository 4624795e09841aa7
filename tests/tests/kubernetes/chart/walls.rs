//! What reaches the control plane: looked at from inside a pod of another namespace.

use super::super::walls::{Stranger, reaches};
use super::replicas::pods;
use super::{Cluster, Namespace, Release, eventually, json};
use acceptance::cluster::processes_of;
use acceptance::processes::Process;

/// The process by which a pod's network is entered.
#[track_caller]
fn process(namespace: &Namespace, pod: &str, program: &str) -> Process {
    let pod = namespace.get(pod).expect("it is there");
    let found = processes_of(pod["metadata"]["uid"].as_str().expect("an id"), program);
    *found.first().expect("its process is on this machine")
}

/// Nodes and operators reach it from anywhere; REST is nobody's until it is exposed, and what else may listen there never.
#[test]
fn others_reach_what_the_policy_opens() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_ours() {
        return;
    }
    let [namespace, elsewhere] = ["walled", "elsewhere"].map(|name| Namespace::new(cluster, name));
    elsewhere.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caller"},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "caller", "image": "localhost/pause:test", "imagePullPolicy": "Never",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }));
    elsewhere.ready("caller", 0);
    let caller = process(&elsewhere, "pod/caller", "pause");
    let release = Release::of(cluster, &namespace);
    release.helm("install", &[]);
    let control_plane = || {
        let [pod] = &pods(&namespace)[..] else {
            return Err("there is not one pod");
        };
        let named = pod["metadata"]["name"].as_str().expect("a name").to_owned();
        let address = pod["status"]["podIP"]
            .as_str()
            .ok_or("it has no address yet")?
            .to_owned();
        Ok((format!("pod/{named}"), address))
    };
    let (pod, address) = eventually("one pod is there", control_plane);
    // REST listens for itself alone; these would answer anybody.
    let inside = process(&namespace, &pod, "castoff");
    let _others = [8400, 9999].map(|port| Stranger::listen_at(inside, &address, port));
    let open = |address: &str| [8401, 8402, 8400, 9999].map(|port| reaches(caller, &format!("{address}:{port}")));
    let becomes = |expected: [bool; 4]| {
        let what = format!("nodes, operators, REST, another port: {expected:?}");
        eventually(&what, || match open(&address) {
            now if now == expected => Ok(()),
            now => Err(format!("{now:?}")),
        });
    };
    let listens = |port: u16| reaches(inside, &format!("{address}:{port}"));
    eventually("they listen", || listens(8400) && listens(9999));
    becomes([true, true, false, false]);
    // That they are not reached is the policy's doing.
    release.helm("upgrade", &["--set", "networkPolicy.enabled=false"]);
    becomes([true, true, true, true]);
    release.helm("upgrade", &["--reset-values"]);
    becomes([true, true, false, false]);

    release.helm("upgrade", &["--set", "http.exposed=true"]);
    let (now, address) = eventually("another pod is there", || match control_plane()? {
        (now, _) if now == pod => Err("it is the one before"),
        other => Ok(other),
    });
    let inside = process(&namespace, &now, "castoff");
    let _other = Stranger::listen_at(inside, &address, 9999);
    eventually("it listens", || reaches(inside, &format!("{address}:9999")));
    eventually("REST is reached, and nothing else", || match open(&address) {
        [true, true, true, false] => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
