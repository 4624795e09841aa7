//! From the chart before this one to this one, and back.

use super::{Actor, Cluster, Forward, Namespace, Release, call, eventually, new_key};
use std::path::Path;

/// As it was released, so that neither a tag nor the history of a clone is needed.
const PREVIOUS: &str = "charts/castoff-0.1.0.tgz";

/// Nothing is lost on either way, and no model's pod is touched.
#[test]
fn the_previous_chart_is_upgraded_and_rolled_back_to() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "upgrade");
    let release = Release::of(cluster, &namespace);
    let previous = Path::new(env!("CARGO_MANIFEST_DIR")).join(PREVIOUS);
    release.helm_with(&previous, "install", &[]);
    let (mut door, password) = (release.door(), release.password());
    let mut admin = Actor::log_in(&door.url, "admin", &password);
    let mut keys = vec![release.serves_iris(&admin, 1)];
    let at = Forward::to(&namespace, "service/iris-on-cluster", 8000);
    let pods = release.pods();
    let version = |revision: &str| {
        let metadata = namespace.helm(&["get", "metadata", "castoff", "--revision", revision]);
        let metadata = metadata.expect("helm keeps it");
        let version = metadata.lines().find_map(|line| line.strip_prefix("VERSION: "));
        version.expect("a version").to_owned()
    };
    for (number, step) in ["upgrade", "rollback"].into_iter().enumerate() {
        match step {
            "upgrade" => release.helm("upgrade", &[]),
            _ => {
                let back = ["rollback", "castoff", "1", "--wait", "--timeout", "180s"];
                namespace.helm(&back).expect("helm is content");
            }
        }
        for key in &keys {
            assert_eq!(
                (call(&at.url, Some(key)), release.pods()),
                (200, pods.clone()),
                "{step}"
            );
        }
        door = release.door();
        admin = Actor::with_token(&door.url, "admin", admin.token());
        release.runs(&admin);
        keys.push(new_key(&admin, &format!("after-{number}")));
        assert_eq!(call(&at.url, keys.last()), 200, "{step}");
        assert_eq!(release.password(), password, "{step}");
    }
    let listed = admin.get("/deployments/iris-on-cluster/keys").expect(200);
    assert_eq!(listed.items().len(), 3, "{}", listed.text());
    assert_eq!([version("1"), version("3")], ["0.1.0"; 2]);
    assert_ne!(version("2"), "0.1.0");

    // The end of all of it, for whoever says so. The Secret is nobody's but Castoff's.
    release.helm("upgrade", &["--set", "persistence.keep=false"]);
    namespace
        .helm(&["uninstall", "castoff", "--wait"])
        .expect("it was there");
    eventually("its volume goes with it", || {
        namespace.get("persistentvolumeclaim/castoff").is_err()
    });
    assert_eq!(release.password(), password);
}
