//! What the account may not look at.

use super::exposure::Defined;
use super::{Harbour, second_alone};
use acceptance::cluster::Cluster;
use acceptance::{Value, eventually, json};

/// What the account may do with most kinds.
const ALL: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// The Role that `infra manifest` has printed.
struct Role<'a> {
    harbour: &'a Harbour,
    rules: Value,
}

impl<'a> Role<'a> {
    fn of(harbour: &'a Harbour) -> Self {
        let rules = harbour.namespace.get("role/castoff").expect("it is applied")["rules"].clone();
        Self { harbour, rules }
    }

    /// Has it but for these verbs on these resources, and waits until that holds.
    #[track_caller]
    fn without(&self, lacks: &[(&str, &[&str])]) {
        let of = |rule: &Value, name: &str| rule["resources"] == json!([name.split('.').next()]);
        let mut rules = self.rules.as_array().cloned().expect("rules");
        for (resource, verbs) in lacks {
            for rule in rules.iter_mut().filter(|rule| of(rule, resource)) {
                let kept = rule["verbs"].as_array().expect("verbs").iter();
                let is_kept = |verb: &&Value| !verbs.iter().any(|lacking| *verb == lacking);
                rule["verbs"] = kept.filter(is_kept).cloned().collect();
            }
        }
        rules.retain(|rule| rule["verbs"] != json!([]));
        let patch = json!([{"op": "replace", "path": "/rules", "value": rules}]).to_string();
        let namespace = &self.harbour.namespace;
        let patch = ["patch", "role/castoff", "--type=json", "-p", &patch];
        namespace.kubectl(&patch).expect("it is there");
        let account = format!("system:serviceaccount:{}:castoff", namespace.name);
        for (resource, verbs) in lacks {
            eventually("the API server knows of it", || {
                let may = ["auth", "can-i", verbs[0], resource, "--as", &account];
                namespace.kubectl(&may).is_err()
            });
        }
    }
}

/// Where the account may not look at what pods do without, a deployment has everything but that: a revocation is in its Secret,
/// and it says which permission is missing. Once that is given the rest is made.
#[test]
fn an_account_that_may_not_look_at_a_kind_lacks_that_only() {
    let Some(cluster) = Cluster::second() else { return };
    let _alone = second_alone();
    let _defined = Defined::on(cluster);
    let harbour = Harbour::open(cluster, "forbidden");
    let (admin, dana) = (&harbour.cast.admin, &harbour.cast.dana);
    let role = Role::of(&harbour);
    let routes = "httproutes.gateway.networking.k8s.io";
    role.without(&[("horizontalpodautoscalers", ALL), (routes, ALL)]);
    let host = "{deployment}.models.example";
    harbour.set(json!({
        "exposure": {"kind": "http-route", "host": host, "gateway": "shared"},
        "autoscaling": {"min": 1, "max": 3, "cpu_percent": 70},
    }));
    harbour.says("kube", "cannot list resource \"horizontalpodautoscalers\"");
    harbour.says("kube", "castoff infra manifest");
    for kind in [
        "serviceaccount",
        "secret",
        "networkpolicy",
        "service",
        "deployment",
        "poddisruptionbudget",
    ] {
        harbour.field(kind, "/metadata/name").expect("it needs neither");
    }
    let check = admin.cli(["infra", "check", "kube"]).expect(1).out;
    for resource in ["horizontalpodautoscalers", "httproutes"] {
        let told = |line: &str| line.contains(resource) && line.contains("may not get, list, watch");
        assert!(check.lines().any(told), "{check}");
    }
    let path = "/deployments/iris-on-kube";
    let made = harbour.key("k");
    let revoke = format!("{path}/keys/{}/revoke?wait=20s", made.id);
    let revoked = dana.post(&revoke, json!({})).expect(200);
    let receipt = &revoked["receipts"][0];
    assert_eq!(receipt["durable_copy_written"], true, "{}", revoked.text());

    let there = |kind: &str| {
        eventually("it is there", || harbour.field(kind, "/metadata/name"));
    };
    let gone = |kind: &str| {
        eventually("it is gone", || harbour.field(kind, "/metadata/name").is_err());
    };
    let says_nothing = || {
        eventually("nothing is missing any more", || {
            let status = dana.get(&format!("{path}/status")).expect(200);
            match status.string("/message").contains("permission") {
                true => Err(status.text()),
                false => Ok(()),
            }
        });
    };
    // One that may be listed only is none that is seen.
    role.without(&[(routes, &["watch"])]);
    there("horizontalpodautoscaler");
    harbour.says("kube", "cannot watch resource \"httproutes\"");
    role.without(&[]);
    there("httproute");
    says_nothing();

    role.without(&[("ingresses.networking.k8s.io", ALL)]);
    harbour.set(json!({"exposure": {"kind": "ingress", "host": host, "gateway": null}}));
    harbour.says("kube", "cannot list resource \"ingresses\"");
    harbour.field("httproute", "/metadata/name").expect("it is the way in");
    role.without(&[]);
    there("ingress");
    gone("httproute");
    says_nothing();

    // What pods need has to be seen, or nothing is done.
    role.without(&[("secrets", &["list"])]);
    harbour.set(json!({"autoscaling": null}));
    harbour.says("kube", "cannot list resource \"secrets\"");
    there("horizontalpodautoscaler");

    // There may be something of a kind that is not seen: a deployment that is deleted is not forgotten until it is.
    role.without(&[("ingresses.networking.k8s.io", ALL)]);
    harbour.set(json!({"labels": {"another": "template"}}));
    harbour.says("kube", "cannot list resource \"ingresses\"");
    dana.post(&format!("{path}/disable"), json!({})).expect(200);
    dana.delete(path).expect(204);
    gone("service");
    let refused = admin.delete("/infrastructures/kube").expect(409);
    assert!(refused.text().contains("iris-on-kube"), "{}", refused.text());
    there("ingress");
    role.without(&[]);
    eventually("it is gone, and so can its infrastructure", || {
        let deleted = admin.delete("/infrastructures/kube");
        match deleted.status {
            204 => Ok(()),
            _ => Err(deleted.text()),
        }
    });
    gone("ingress");
}
