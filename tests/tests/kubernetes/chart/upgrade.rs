//! From the release before this one to this one, and back: its chart and its programs.

use super::{Actor, Cluster, Forward, Namespace, Release, call, eventually, json, new_key};
use std::path::{Path, PathBuf};

/// The chart as it was released, so that neither a tag nor the history of a clone is needed.
pub(super) fn previous_chart() -> PathBuf {
    let name = format!("charts/castoff-{}.tgz", acceptance::Release::Previous.number());
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A key that comes and goes, as the pods hear of it from whichever control plane runs.
#[track_caller]
pub(super) fn is_obeyed(namespace: &Namespace, admin: &Actor, name: &str) {
    let at = Forward::to(namespace, "service/iris-on-cluster", 8000);
    let key = new_key(admin, name);
    assert_eq!(call(&at.url, Some(&key)), 200, "{name}");
    let path = format!("/deployments/iris-on-cluster/keys/{}/revoke?wait=30s", key.id);
    admin.post(&path, json!({})).expect(200);
    assert_eq!(call(&at.url, Some(&key)), 401, "{name}");
}

/// Nothing is lost on either way, and no model's pod is touched: those of the release before go on, and obey, until they are
/// told to move, to another image and template at once.
#[test]
fn the_previous_chart_is_upgraded_and_rolled_back_to() {
    let Some(cluster) = Cluster::there() else { return };
    // Where its programs are not there, with those of this one: it is the chart that is tested then.
    let programs = acceptance::Release::previous().unwrap_or_default();
    let namespace = Namespace::new(cluster, "upgrade");
    let before = Release::of_programs(programs, cluster, &namespace);
    let release = Release::of(cluster, &namespace);
    before.helm_with(&previous_chart(), "install", &[]);
    let (mut door, password) = (release.door(), release.password());
    let mut admin = Actor::log_in(&door.url, "admin", &password);
    let mut keys = vec![release.serves_iris(&admin, 1)];
    let mut pods = release.pods();
    let image = || {
        let pod = [
            "get",
            "deployment/iris-on-cluster",
            "-o",
            "jsonpath={.spec.template.spec.containers[0].image}",
        ];
        namespace.kubectl(&pod).expect("it is there")
    };
    // The first has no such label.
    let template = || {
        let label = "jsonpath={.spec.template.metadata.labels.castoff\\.dev/template}";
        let pod = ["get", "deployment/iris-on-cluster", "-o", label];
        namespace.kubectl(&pod).expect("it is there")
    };
    let replaced = |before: &str| {
        eventually("the pod was replaced", || {
            let now = release.pods();
            now != before && !now.is_empty() && !now.contains(' ')
        });
        release.pods()
    };
    let first = if programs == acceptance::Release::Previous {
        ""
    } else {
        "2"
    };
    let version = |revision: &str| {
        let metadata = namespace.helm(&["get", "metadata", "castoff", "--revision", revision]);
        let metadata = metadata.expect("helm keeps it");
        let version = metadata.lines().find_map(|line| line.strip_prefix("VERSION: "));
        version.expect("a version").to_owned()
    };
    let image_of = |programs| {
        let (repository, tag) = cluster.image_parts(programs, "castoff-node");
        format!("{repository}:{tag}")
    };
    assert_eq!((image(), template().as_str()), (image_of(programs), first));
    for step in ["upgrade", "rollback"] {
        match step {
            "upgrade" => release.helm("upgrade", &[]),
            _ => {
                let back = ["rollback", "castoff", "1", "--wait", "--timeout", "180s"];
                namespace.helm(&back).expect("helm is content");
                if programs == acceptance::Release::Previous {
                    // That one knows of one template only. Those after it leave alone what they do not know.
                    eventually("its template is back", || template().is_empty());
                    pods = replaced(&pods);
                }
            }
        }
        let at = Forward::to(&namespace, "service/iris-on-cluster", 8000);
        for key in &keys {
            assert_eq!(call(&at.url, Some(key)), 200, "{step}");
        }
        door = release.door();
        admin = Actor::with_token(&door.url, "admin", admin.token());
        release.runs(&admin);
        is_obeyed(&namespace, &admin, &format!("passing-{step}"));
        keys.push(new_key(&admin, &format!("after-{step}")));
        assert_eq!(call(&at.url, keys.last()), 200, "{step}");
        assert_eq!(release.password(), password, "{step}");
        assert_eq!(release.pods(), pods, "{step}");
        if step == "upgrade" {
            assert_eq!(
                (image(), template().as_str()),
                (image_of(programs), first),
                "nothing moves by itself"
            );
            if programs == acceptance::Release::Previous {
                let status = admin.get("/deployments/iris-on-cluster/status").expect(200);
                assert_eq!(status["pods"]["next"]["template"], 2, "{}", status.text());
            }
            // Pods move when they are told to, and are then as good for who comes back.
            admin.password.clone_from(&password);
            admin
                .cli(["infra", "upgrade", "cluster", "--max-parallel", "1"])
                .expect(0);
            assert_eq!(
                (image(), template().as_str()),
                (image_of(acceptance::Release::This), "2")
            );
            if programs == acceptance::Release::Previous {
                pods = replaced(&pods);
            }
            release.runs(&admin);
        }
    }
    let listed = admin.get("/deployments/iris-on-cluster/keys").expect(200);
    assert_eq!(listed.items().len(), 5, "{}", listed.text());
    let numbers = [acceptance::Release::Previous, acceptance::Release::This].map(acceptance::Release::number);
    assert_eq!([version("1"), version("2")], numbers);
    assert_eq!(version("3"), numbers[0]);

    // The end of all of it, for whoever says so.
    release.helm("upgrade", &["--set", "persistence.keep=false"]);
    namespace
        .helm(&["uninstall", "castoff", "--wait"])
        .expect("it was there");
    eventually("its volume and its Secret go with it", || {
        let mut objects = ["persistentvolumeclaim/castoff", "secret/castoff"].into_iter();
        objects.all(|object| namespace.get(object).is_err())
    });
}
