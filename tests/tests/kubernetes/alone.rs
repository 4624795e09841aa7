//! Pods whose processes are all killed while there is no control plane.

use super::{Harbour, call};
use acceptance::cluster::{Cluster, Forward, processes_of};
use acceptance::{eventually, json};

/// Each comes back from what lies in its pod: it refuses the key that was revoked, and serves with the one that was not.
#[test]
fn processes_that_are_killed_all_at_once_come_back_alone_with_the_revocation() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_here() {
        return;
    }
    let mut harbour = Harbour::open(cluster, "alone");
    harbour.deploy(json!({"replicas": 3}));
    let (kept, revoked) = (harbour.key("kept"), harbour.key("revoked"));
    let path = format!("/deployments/iris-on-kube/keys/{}/revoke?wait=30s", revoked.id);
    harbour.cast.dana.post(&path, json!({})).expect(200);
    let asked = |pod: &str| {
        let at = Forward::try_to(&harbour.namespace, &format!("pod/{pod}"), 8000)?;
        Some([None, Some(&kept), Some(&revoked)].map(|key| call(&at.url, key)))
    };
    let (pods, uids) = (harbour.pod_names(), harbour.uids());
    for pod in &pods {
        assert_eq!(asked(pod), Some([401, 200, 401]), "{pod}");
    }
    harbour.cast.world.server.kill();
    let processes: Vec<_> = uids.iter().flat_map(|uid| processes_of(uid, "castoff-node")).collect();
    assert_eq!(processes.len(), 3, "{processes:?}");
    processes.iter().for_each(|process| process.kill());
    for pod in &pods {
        eventually("it is back", || match asked(pod) {
            Some([401, 200, 401]) => Ok(()),
            other => Err(format!("{pod}: {other:?}")),
        });
    }
    assert_eq!((harbour.pod_names(), harbour.uids()), (pods, uids), "the same pods");
}
