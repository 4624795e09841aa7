//! Many deployments in one cluster. `make bench-cluster` has the figures of a thousand.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::{eventually, json};

const DEPLOYMENTS: usize = 60;
/// Of each: ServiceAccount, Secret, NetworkPolicy, Service, Deployment, PodDisruptionBudget.
const OBJECTS: usize = 6 * DEPLOYMENTS;

/// All that they become is made, and made again where somebody took all of it away while nobody looked. A pass over what is as
/// it should be writes nothing: of each deployment, only the key that was made since.
#[test]
fn what_many_become_is_made_once_and_again_when_it_is_gone() {
    let Some(cluster) = Cluster::second() else { return };
    let mut harbour = Harbour::open(cluster, "many");
    let names: Vec<String> = (0..DEPLOYMENTS).map(|number| format!("d{number}")).collect();
    for name in &names {
        let body = json!({"name": name, "service": "iris", "infrastructure": "kube", "version": "v1"});
        harbour.cast.dana.post("/deployments", body).expect(201);
    }
    let applied = |harbour: &Harbour| {
        let logged = harbour.cast.world.server.logged();
        logged.matches("an object was applied").count()
    };
    eventually("all is there", || applied(&harbour) >= OBJECTS);

    harbour.cast.world.server.kill();
    let kinds = "deployments,secrets,services,serviceaccounts,networkpolicies,poddisruptionbudgets";
    let ours = ["delete", kinds, "-l", "castoff.dev/installation", "--wait=false"];
    harbour.namespace.kubectl(&ours).expect("they are there");
    let before = applied(&harbour);
    harbour.cast.world.server.launch();
    eventually("all is there again", || applied(&harbour) >= before + OBJECTS);

    harbour.cast.world.server.kill();
    harbour.cast.world.server.launch();
    let before = applied(&harbour);
    for name in &names {
        let path = format!("/deployments/{name}/keys?wait=30s");
        let made = harbour.cast.dana.post(&path, json!({"name": "one"})).expect_any(&[201]);
        assert_eq!(made["receipts"][0]["durable_copy_written"], true, "{}", made.text());
    }
    assert_eq!(applied(&harbour), before + DEPLOYMENTS, "the Secret of each");
}
