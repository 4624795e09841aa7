//! What leads to a deployment from outside. Nobody serves it here, so what is shown is that the API server takes it.

use super::{Harbour, second_alone, small};
use acceptance::cluster::Cluster;
use acceptance::{Value, eventually, json};

const NO_GATEWAY_API: &str = "the cluster has no Gateway API: install it, or choose another exposure";

/// An Ingress, then an HTTPRoute in its place, then neither.
#[test]
fn an_ingress_and_a_route_are_taken_and_taken_away() {
    let Some(cluster) = Cluster::there() else { return };
    cluster.define();
    let harbour = Harbour::open(cluster, "exposure");
    let exposed = |exposure: Value| {
        let namespace = &harbour.namespace.name;
        harbour.set(json!({"namespace": namespace, "resources": small(), "exposure": exposure}));
    };
    let there = |kind: &str, pointer: &str, value: &str| {
        eventually("it is there", || match harbour.field(kind, pointer)? {
            found if found == value => Ok(()),
            found => Err(found),
        });
    };
    let gone = |kind: &str| {
        eventually("it is gone", || {
            harbour.namespace.get(&format!("{kind}/iris-on-kube")).is_err()
        });
    };
    let host = "{deployment}.models.example";
    exposed(json!({"kind": "ingress", "host": host, "class": "nginx", "tls_secret": "wildcard"}));
    harbour.deploy(json!({"replicas": 1}));
    there("ingress", "/spec/rules/0/host", "iris-on-kube.models.example");
    there("ingress", "/spec/tls/0/secretName", "wildcard");

    // What is not taken out of a merge patch stays, and means nothing to the other kind.
    exposed(json!({
        "kind": "http-route", "host": host, "class": null, "tls_secret": null,
        "gateway": "shared", "gateway_namespace": "gateways",
    }));
    there("httproute", "/spec/hostnames/0", "iris-on-kube.models.example");
    there("httproute", "/spec/parentRefs/0/namespace", "gateways");
    there("httproute", "/spec/rules/0/backendRefs/0/port", "8000");
    gone("ingress");
    harbour.stands("running");

    exposed(json!({"kind": "cluster-ip", "host": null, "gateway": null, "gateway_namespace": null, "tls": null}));
    gone("httproute");
    harbour.stands("running");
}

/// A balancer's address, which a cluster's provider gives, is where programs are sent. Nobody gives any here: the test is the
/// provider.
#[test]
fn programs_are_sent_to_the_address_of_a_balancer() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "balancer");
    harbour.set(json!({"exposure": {"kind": "load-balancer"}}));
    harbour.deploy(json!({"replicas": 1}));
    let dana = &harbour.cast.dana;
    harbour.says(
        "kube",
        "1 node ready: its Service waits for the cluster to give it an address",
    );
    let url = || dana.get("/deployments/iris-on-kube").expect(200)["url"].clone();
    assert_eq!(url(), Value::Null);
    let refused = dana
        .cli(["query", "iris-on-kube", "--feature", "sepal_length=5.1"])
        .expect(8)
        .err;
    assert!(refused.contains("castoff status iris-on-kube says more"), "{refused}");
    let give = |ingress: Value| {
        let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
        let give = [
            "patch",
            "service/iris-on-kube",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        harbour.namespace.kubectl(&give).expect("kubectl patches");
    };
    for (ingress, expected) in [
        (json!([{"ip": "192.0.2.7"}]), "http://192.0.2.7:8000"),
        (
            json!([{"hostname": "iris.elb.example"}]),
            "http://iris.elb.example:8000",
        ),
    ] {
        give(ingress);
        eventually("it is shown", || match url() {
            url if url == expected => Ok(()),
            url => Err(url.to_string()),
        });
        let status = dana.get("/deployments/iris-on-kube/status").expect(200);
        assert_eq!(
            (&status["url"], &status["message"]),
            (&json!(expected), &json!("1 node ready"))
        );
        let listed = dana.list("/deployments");
        assert_eq!(listed[0]["url"], expected);
        let sample = dana.get("/deployments/iris-on-kube/sample").expect(200);
        assert!(sample.string("/curl").contains(expected), "{}", sample.text());
    }
    // A provider may change its mind: whoever looks meanwhile is not told an address and that there is none yet.
    for ingress in [json!([]), json!([{"ip": "192.0.2.8"}])].iter().cycle().take(20) {
        give(ingress.clone());
        eventually("it is shown", || {
            let status = dana.get("/deployments/iris-on-kube/status").expect(200);
            let waits = status.string("/message").contains("its Service waits");
            assert_eq!(status["url"].is_null(), waits, "{}", status.text());
            waits == (*ingress == json!([]))
        });
    }
    // What it has given is taken back with the exposure.
    harbour.set(json!({"exposure": {"kind": "cluster-ip"}}));
    let inside = format!("http://iris-on-kube.{}.svc:8000", harbour.namespace.name);
    eventually("it is called from inside", || url() == inside.as_str());
    harbour.stands("running");
}

/// A cluster that has the kinds which are not Kubernetes' own; none of them in the end, however that comes.
pub(super) struct Defined(&'static Cluster);

impl Defined {
    pub(super) fn on(cluster: &'static Cluster) -> Self {
        cluster.define();
        Self(cluster)
    }
}

impl Drop for Defined {
    fn drop(&mut self) {
        self.0.undefine();
    }
}

/// Where nobody has installed the Gateway API a deployment has everything but its route: a revocation is in its Secret, it can
/// be switched off, and it says what is missing. Once that is there the route is made, seen, and put right.
#[test]
fn a_cluster_without_the_gateway_api_lacks_the_route_only() {
    let Some(cluster) = Cluster::second() else { return };
    let _alone = second_alone();
    cluster.undefine();
    let harbour = Harbour::open(cluster, "gateway");
    let (admin, dana) = (&harbour.cast.admin, &harbour.cast.dana);
    harbour.set(json!({
        "exposure": {"kind": "http-route", "host": "{deployment}.models.example", "gateway": "shared"},
        "autoscaling": {"min": 1, "max": 3, "cpu_percent": 70},
    }));
    harbour.says("kube", NO_GATEWAY_API);
    for kind in [
        "serviceaccount",
        "secret",
        "networkpolicy",
        "service",
        "deployment",
        "poddisruptionbudget",
        "horizontalpodautoscaler",
    ] {
        harbour.field(kind, "/metadata/name").expect("it does not need a route");
    }
    let check = admin.cli(["infra", "check", "kube"]).expect(1).out;
    assert!(check.contains(NO_GATEWAY_API), "{check}");

    let path = "/deployments/iris-on-kube";
    let noted = || harbour.field("secret", "/metadata/annotations/castoff.dev~1config-version");
    let before = noted().expect("it has a Secret");
    let made = harbour.key("k");
    let revoke = format!("{path}/keys/{}/revoke?wait=20s", made.id);
    let revoked = dana.post(&revoke, json!({})).expect(200);
    let receipt = &revoked["receipts"][0];
    assert_eq!(receipt["durable_copy_written"], true, "{}", revoked.text());
    let config = dana.get(path).expect(200)["config"].clone();
    let now = format!("{}.{}", config["epoch"], config["version"]);
    assert!(noted() == Ok(now) && noted() != Ok(before));
    harbour.says("kube", NO_GATEWAY_API);

    let gone = |kind: &str| {
        eventually("it is gone", || harbour.field(kind, "/metadata/name").is_err());
    };
    harbour.set(json!({"autoscaling": null}));
    gone("horizontalpodautoscaler");
    dana.post(&format!("{path}/disable"), json!({})).expect(200);
    gone("deployment");
    gone("secret");
    dana.post(&format!("{path}/enable"), json!({})).expect(200);
    harbour.says("kube", NO_GATEWAY_API);

    let defined = Defined::on(cluster);
    let routed = || {
        eventually("its route is there", || {
            match harbour.field("httproute", "/spec/hostnames/0")? {
                host if host == "iris-on-kube.models.example" => Ok(()),
                other => Err(other),
            }
        });
    };
    routed();
    eventually("nothing is missing any more", || {
        let status = dana.get(&format!("{path}/status")).expect(200);
        match status.string("/message").contains("Gateway API") {
            true => Err(status.text()),
            false => Ok(()),
        }
    });
    let edit = r#"{"spec": {"hostnames": ["elsewhere.example"]}}"#;
    let edit = ["patch", "httproute/iris-on-kube", "--type=merge", "-p", edit];
    harbour.namespace.kubectl(&edit).expect("it is there");
    routed();
    drop(defined);
    harbour.says("kube", NO_GATEWAY_API);
}
