//! Namespaces as stages: who may deploy to one need not be able to see the other.

use super::Harbour;
use acceptance::cluster::{Cluster, Namespace};
use acceptance::json;

#[test]
fn a_data_scientist_deploys_to_the_dev_namespace_and_not_to_prod() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "dev");
    let (admin, dana) = (&harbour.cast.admin, &harbour.cast.dana);
    let prod = Namespace::new(cluster, "prod");
    let kubeconfig = prod.kubeconfig(admin);
    let body = json!({
        "name": "walled", "kind": "kubernetes", "stage": "prod", "kubernetes": {"namespace": prod.name}, "kubeconfig": kubeconfig,
    });
    admin.post("/infrastructures", body).expect(201);
    harbour.deploy(json!({"replicas": 1}));

    let on_prod = json!({"service": "iris", "infrastructure": "walled", "version": "v1"});
    let refused = dana.post("/deployments", on_prod.clone()).expect(422);
    let unknown = json!({"service": "iris", "infrastructure": "none", "version": "v1"});
    let nowhere = dana.post("/deployments", unknown).expect(422);
    assert_eq!(
        refused.text().replace("walled", "none"),
        nowhere.text(),
        "what she may not see is not there"
    );
    admin
        .put(
            "/infrastructures/walled/grants/data-scientists",
            json!({"privileges": ["view"]}),
        )
        .expect_any(&[200, 201, 204]);
    let refused = dana.post("/deployments", on_prod).expect(403);
    assert!(
        refused.text().contains("needs deploy on infrastructure walled"),
        "{}",
        refused.text()
    );
    let made = prod.kubectl(&["get", "all,secrets", "-l", "castoff.dev/installation", "-o", "name"]);
    assert_eq!(made.as_deref(), Ok(""), "nothing of it is in the cluster");
}
