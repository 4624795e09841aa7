//! Moving the deployments of a cluster to another image.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::{Value, eventually, json};

pub(super) fn image_of(harbour: &Harbour, deployment: &str) -> String {
    let object = harbour
        .namespace
        .get(&format!("deployment/{deployment}"))
        .expect("it is there");
    let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
    image.as_str().expect("an image").to_owned()
}

/// Asks to go on, and for how far it is.
pub(super) fn upgrade(harbour: &Harbour, at_once: u32) -> Value {
    let path = "/infrastructures/kube/upgrade";
    let asked = harbour
        .cast
        .admin
        .post(path, json!({"max_parallel": at_once}))
        .expect(200);
    serde_json::from_str(&asked.text()).expect("JSON")
}

/// Goes on until what hinders is this.
#[track_caller]
pub(super) fn hindered(harbour: &Harbour, why: &str) {
    eventually("the upgrade says what hinders it", || {
        let now = upgrade(harbour, 1);
        let says = now["hindered"][0]["message"]
            .as_str()
            .is_some_and(|message| message.contains(why));
        match says {
            true => Ok(()),
            false => Err(now.to_string()),
        }
    });
}

/// Who only deploys learns that there is another image, that it does not come and why; not where it comes from.
fn images_are_for_admins(harbour: &Harbour, image: &str) {
    let status = "/deployments/second/status";
    let shown = harbour.cast.admin.get(status).expect(200);
    assert!(shown["pods"]["image"].is_string(), "{}", shown.text());
    let hidden = harbour.cast.dana.get(status).expect(200);
    assert_eq!(
        (&hidden["pods"]["image"], &hidden["pods"]["next"]["another_image"]),
        (&Value::Null, &json!(true)),
        "{}",
        hidden.text()
    );
    harbour.says("kube", "its registry is not reached from the machine");
    for path in ["/deployments/iris-on-kube/status", "/deployments", "/audit?limit=50"] {
        let told = harbour.cast.dana.get(path).expect(200).text();
        assert!(!told.contains("localhost/"), "{path}: {told}");
        let told = harbour.cast.admin.get(path).expect(200).text();
        assert!(told.contains(image) || path == "/deployments", "{path}: {told}");
    }
    let said = harbour.cast.dana.cli(["status", "second"]).expect(0).out;
    assert!(
        said.contains("another image by castoff infra upgrade kube") && !said.contains("localhost/"),
        "{said}"
    );
}

/// Nothing moves by itself. An image that does not work stops at the first deployment, whose old pod goes on, and each
/// trouble says what to do; one that works moves all, a few at a time.
#[test]
fn deployments_move_to_another_image_a_few_at_a_time() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "upgrades");
    let names = ["iris-on-kube", "second", "third"];
    harbour.deploy(json!({"replicas": 1}));
    for name in &names[1..] {
        let body = json!({"name": name, "service": "iris", "infrastructure": "kube", "version": "v1"});
        harbour.cast.dana.post("/deployments", body).expect(201);
    }
    eventually("all run", || harbour.uids().len() == 3);
    let before = cluster.image("castoff-node");
    let images = || names.map(|name| image_of(&harbour, name));
    let pods = harbour.uids();

    let nowhere = "localhost/castoff-node:nowhere";
    harbour.set(json!({"image": nowhere}));
    let told = upgrade(&harbour, 0);
    assert_eq!((&told["behind"], &told["moving"]), (&json!(3), &json!(0)), "{told}");
    assert_eq!(images(), [&before; 3].map(String::as_str), "nothing moves by itself");
    hindered(&harbour, "does not get its image");
    harbour.says("kube", "set kubernetes.image or kubernetes.image_pull_secrets");
    assert_eq!(images(), [nowhere, &before, &before]);
    images_are_for_admins(&harbour, nowhere);
    assert!(pods.is_subset(&harbour.uids()), "who served serves");
    // What ends at once, with its last words: it is our other program.
    harbour.set(json!({"image": cluster.image("castoff")}));
    hindered(&harbour, "--join");
    // What the container may not have.
    let starved = json!({"cpu": "10m", "memory": "16Mi", "memory_limit": "16Mi"});
    harbour.set(json!({"image": format!("{before}-next"), "resources": starved}));
    hindered(&harbour, "raise resources.memory_limit");

    harbour.set(json!({"resources": super::small()}));
    harbour
        .cast
        .admin
        .cli(["infra", "upgrade", "kube", "--max-parallel", "2"])
        .expect(0);
    let next = format!("{before}-next");
    assert_eq!(images(), [&next; 3].map(String::as_str));
    let done = upgrade(&harbour, 0);
    assert_eq!((&done["behind"], &done["moving"]), (&json!(0), &json!(0)), "{done}");
    eventually("all were replaced", || pods.is_disjoint(&harbour.uids()));

    // Who may not administer the infrastructure moves nothing, and a local one has no image.
    let body = json!({"max_parallel": 1});
    harbour
        .cast
        .dana
        .post("/infrastructures/kube/upgrade", body.clone())
        .expect(403);
    harbour
        .cast
        .admin
        .post("/infrastructures/dev/upgrade", body)
        .expect(409);
    let audit = harbour.cast.admin.get("/audit?limit=50").expect(200).text();
    assert!(audit.contains("upgrade-infrastructure"), "{audit}");
}
