//! What somebody does to our objects by hand, while a control plane acts and while none is there.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::json;

/// Somebody notes that the Secret is newer than it is, while a control plane acts and while none does: revocations reach it.
#[test]
fn what_is_noted_by_hand_keeps_no_revocation_away() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "noted");
    harbour.deploy(json!({"replicas": 1}));
    let (one, other) = (harbour.key("one"), harbour.key("other"));
    let note = |harbour: &Harbour| {
        let note = "castoff.dev/config-version=9.9";
        let note = ["annotate", "secret/iris-on-kube", "--overwrite", note];
        harbour.namespace.kubectl(&note).expect("it is there");
    };
    let revoke = |harbour: &Harbour, id: &str| {
        let path = format!("/deployments/iris-on-kube/keys/{id}/revoke?wait=20s");
        let receipt = harbour.cast.dana.post(&path, json!({})).expect(200)["receipts"][0].clone();
        assert_eq!(receipt["durable_copy_written"], true, "{receipt}");
        let noted = harbour.field("secret", "/metadata/annotations/castoff.dev~1config-version");
        assert_eq!(noted, Ok(format!("{}.{}", receipt["epoch"], receipt["version"])));
    };
    note(&harbour);
    revoke(&harbour, &one.id);
    harbour.cast.world.server.kill();
    note(&harbour);
    harbour.cast.world.server.launch();
    revoke(&harbour, &other.id);
}
