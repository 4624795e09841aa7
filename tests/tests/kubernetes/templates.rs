//! The template by which pods are made: kept by whatever happens to Castoff, and moved when somebody says so.

use super::upgrades::{hindered, image_of, upgrade};
use super::{Harbour, call};
use acceptance::cluster::{Cluster, Forward};
use acceptance::{Answer, Database, Value, eventually, json};

const IRIS: &str = "/deployments/iris-on-kube";

/// What the second template has, and the first has not: what lets who makes clusters smaller take a machine away.
const EVICTABLE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// The template of the pods of a deployment, as its object in the cluster says it.
fn template_of(harbour: &Harbour, deployment: &str) -> u32 {
    let object = harbour.namespace.get(&format!("deployment/{deployment}"));
    let pods = &object.expect("it is there")["spec"]["template"]["metadata"];
    let label = pods["labels"]["castoff.dev/template"].as_str();
    let template = label.map_or(1, |label| label.parse().expect("a number"));
    assert_eq!(pods["annotations"][EVICTABLE].is_string(), template == 2, "{pods}");
    template
}

fn status(harbour: &Harbour) -> Answer {
    harbour.cast.dana.get(&format!("{IRIS}/status")).expect(200)
}

/// As after a release that left rows of another template: the control plane starts on them.
fn restart_on(harbour: &mut Harbour, template: Option<u32>) {
    let server = &mut harbour.cast.world.server;
    assert_eq!(server.stop(), Some(0));
    if let Some(template) = template {
        Database::Sqlite.state(&server.data, &format!("UPDATE deployments SET template = {template}"));
    }
    server.launch();
}

/// Image and template are moved together, a few at a time, and no further than the first that does not come up. An earlier
/// template can be gone back to. Nothing else moves them: no start of Castoff, no roll back of a deployment.
#[test]
fn deployments_move_to_a_template_a_few_at_a_time_and_back() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "templates");
    harbour.deploy(json!({"replicas": 1}));
    let body = json!({"name": "second", "service": "iris", "infrastructure": "kube", "version": "v1"});
    harbour.cast.dana.post("/deployments", body).expect(201);
    eventually("both run", || harbour.uids().len() == 2);
    let templates = |harbour: &Harbour| ["iris-on-kube", "second"].map(|name| template_of(harbour, name));
    assert_eq!(templates(&harbour), [2, 2], "new ones have the newest");
    assert_eq!(status(&harbour)["pods"]["next"], Value::Null);

    let back = ["infra", "upgrade", "kube", "--template", "1", "--max-parallel", "2"];
    harbour.cast.admin.cli(back).expect(0);
    assert_eq!(templates(&harbour), [1, 1]);
    let pods = &status(&harbour)["pods"];
    assert_eq!(
        (&pods["template"], &pods["next"]["template"]),
        (&json!(1), &json!(2)),
        "{pods}"
    );
    let said = harbour.cast.dana.cli(["status", "iris-on-kube"]).expect(0).out;
    assert!(said.contains("template 2 by castoff infra upgrade kube"), "{said}");

    // What starts again changes nothing, also when it has had all to write.
    eventually("none is left of those before", || harbour.uids().len() == 2);
    let uids = harbour.uids();
    restart_on(&mut harbour, None);
    harbour.key("after the start");
    assert_eq!((templates(&harbour), harbour.uids()), ([1, 1], uids.clone()));
    let told = upgrade(&harbour, 0);
    assert_eq!((&told["template"], &told["behind"]), (&json!(2), &json!(2)), "{told}");

    let (before, nowhere) = (cluster.image("castoff-node"), "localhost/castoff-node:nowhere");
    harbour.set(json!({"image": nowhere}));
    hindered(&harbour, "does not get its image");
    assert_eq!(templates(&harbour), [2, 1]);
    assert_eq!(image_of(&harbour, "second"), before);
    assert!(uids.is_subset(&harbour.uids()), "who served serves");
    harbour.set(json!({"image": null}));
    let forth = ["infra", "upgrade", "kube", "--max-parallel", "1"];
    harbour.cast.admin.cli(forth).expect(0);
    assert_eq!(templates(&harbour), [2, 2]);
    eventually("all were replaced", || uids.is_disjoint(&harbour.uids()));

    // A deployment's own history is of what people have deployed, not of how its pods are made.
    harbour
        .cast
        .dana
        .post(&format!("{IRIS}/rollback"), json!({"to": 1}))
        .expect(200);
    harbour.key("after the way back");
    assert_eq!(template_of(&harbour, "iris-on-kube"), 2);
    let body = json!({"max_parallel": 1, "template": 3});
    let refused = harbour
        .cast
        .admin
        .post("/infrastructures/kube/upgrade", body)
        .expect(422);
    assert!(refused.text().contains("1 or 2"), "{}", refused.text());
}

/// A later release made pods, and was taken back: they go on and are not made into something else, while keys reach them as
/// always, and the status says what to do. An upgrade moves them; and where there are none, there is nothing to be kept.
#[test]
fn pods_by_a_template_of_a_later_release_are_left_as_they_are() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "later-template");
    harbour.deploy(json!({"replicas": 1}));
    let back = ["infra", "upgrade", "kube", "--template", "1"];
    harbour.cast.admin.cli(back).expect(0);
    eventually("none is left of those before", || harbour.uids().len() == 1);
    let pods = harbour.uids();

    restart_on(&mut harbour, Some(9));
    harbour.says("kube", "by template 9, of a later release of Castoff");
    harbour.says("kube", "castoff infra upgrade kube");
    harbour.stands("running");
    let scale = json!({"scale": {"replicas": 2}});
    harbour.cast.dana.patch(IRIS, scale).expect(200);
    // The receipt of a key says that nodes and the Secret have all that was changed before.
    let key = harbour.key("of this release");
    let at = Forward::to(&harbour.namespace, "service/iris-on-kube", 8000);
    assert_eq!(call(&at.url, Some(&key)), 200);
    assert_eq!(
        (template_of(&harbour, "iris-on-kube"), harbour.uids()),
        (1, pods.clone())
    );
    assert_eq!(harbour.field("deployment", "/spec/replicas"), Ok("1".to_owned()));
    let told = upgrade(&harbour, 0);
    assert_eq!((&told["behind"], &told["moving"]), (&json!(1), &json!(0)), "{told}");

    let forth = ["infra", "upgrade", "kube", "--max-parallel", "1"];
    harbour.cast.admin.cli(forth).expect(0);
    assert_eq!(template_of(&harbour, "iris-on-kube"), 2);
    eventually("as many as were asked for, and none of those before", || {
        let now = harbour.uids();
        now.len() == 2 && now.is_disjoint(&pods)
    });
    eventually("nothing is left to be said", || {
        let message = status(&harbour).string("/message");
        match message.contains("template") {
            false => Ok(()),
            true => Err(message),
        }
    });

    restart_on(&mut harbour, Some(9));
    harbour.says("kube", "by template 9, of a later release of Castoff");
    for (verb, state) in [("disable", "off"), ("enable", "running")] {
        harbour.cast.dana.post(&format!("{IRIS}/{verb}"), json!({})).expect(200);
        harbour.stands(state);
        if state == "off" {
            eventually("its pods are gone", || harbour.field("deployment", "/spec").is_err());
        }
    }
    assert_eq!(status(&harbour)["pods"]["template"], json!(2));
    assert_eq!(template_of(&harbour, "iris-on-kube"), 2);
}
