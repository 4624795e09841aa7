use super::super::labels::TEMPLATE;
use super::*;
use crate::domain::kubernetes::PERMISSIONS;
use crate::domain::{DeploymentName, NamespaceName};

fn desired() -> Desired {
    Desired {
        installation: Uuid::from_u128(1),
        deployment: Uuid::from_u128(2),
        name: DeploymentName::parse("iris-on-prod").unwrap(),
        enabled: true,
        scale: Scale::default(),
        limits: Limits::default(),
        settings: Kubernetes::of(NamespaceName::parse("models").unwrap()),
        image: "castoff-node:1".to_owned(),
        template: Some(Template::NEWEST),
        boot: Boot {
            join: r#"{"token":"very-secret"}"#.to_owned(),
            config: vec![1, 2, 3],
            position: (1, 7),
            vouched: None,
            uncopied_token: None,
            packages: Packages::Nowhere,
        },
        control_plane: Dialled {
            blocks: BTreeMap::from([(8401, BTreeSet::from(["10.0.0.1/32".to_owned()]))]),
            ..Dialled::default()
        },
        is_walled: false,
    }
}

fn with(change: impl FnOnce(&mut Desired)) -> Desired {
    let mut desired = desired();
    change(&mut desired);
    desired
}

/// With these settings over what is there by default.
fn told(settings: Value) -> Desired {
    with(|desired| {
        let mut all = serde_json::to_value(&desired.settings).unwrap();
        all.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        desired.settings = serde_json::from_value::<Kubernetes>(all).unwrap().check().unwrap();
    })
}

fn kinds(desired: &Desired) -> Vec<Kind> {
    build(desired).items().iter().map(|object| object.kind).collect()
}

fn body(desired: &Desired, kind: Kind) -> Value {
    let built = build(desired);
    let found = built.items().iter().find(|object| object.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind:?}")).body.clone()
}

fn at(desired: &Desired, kind: Kind, pointer: &str) -> Value {
    body(desired, kind).pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn what_pods_need_is_there_before_them() {
    use Kind::*;
    let usual = [
        ServiceAccount,
        Secret,
        NetworkPolicy,
        Service,
        Deployment,
        PodDisruptionBudget,
    ];
    assert_eq!(kinds(&desired()), usual);
    assert_eq!(
        kinds(&with(|desired| desired.enabled = false)),
        [Service],
        "its address stays"
    );
    assert!(nothing().items().is_empty());
}

#[test]
fn everything_is_labelled_and_may_be_made() {
    let exposed = [
        json!({"kind": "ingress", "host": "{deployment}.example"}),
        json!({"kind": "http-route", "host": "{deployment}.example", "gateway": "g"}),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for exposure in exposed {
        let scaled = json!({"min": 1, "max": 3, "cpu_percent": 50});
        let desired = told(json!({"exposure": exposure, "autoscaling": scaled, "labels": {"team": "a"}}));
        for object in build(&desired).items() {
            seen.insert(object.kind);
            let labels = &object.body["metadata"]["labels"];
            assert_eq!(labels[INSTALLATION], Uuid::from_u128(1).to_string());
            assert_eq!(labels[DEPLOYMENT], Uuid::from_u128(2).to_string());
            assert_eq!(labels["team"], "a");
            assert_eq!(object.body["metadata"]["namespace"], "models");
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), Kind::ALL);
    for kind in Kind::ALL {
        let [group, _, _, resource] = kind.api();
        let permitted = PERMISSIONS
            .iter()
            .find(|one| (one.group, one.resource) == (group, resource));
        for verb in ["get", "list", "watch", "create", "patch", "delete"] {
            assert!(
                permitted.is_some_and(|one| one.verbs.contains(&verb)),
                "{verb} {resource}"
            );
        }
    }
}

#[test]
fn pods_may_do_nothing_and_show_no_secret() {
    let template = at(&desired(), Kind::Deployment, "/spec/template");
    let (spec, container) = (&template["spec"], &template["spec"]["containers"][0]);
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    // Five seconds of accepting, ten of the last call, five to end.
    assert_eq!(spec["terminationGracePeriodSeconds"], 20);
    for object in build(&desired()).items() {
        let text = object.body.to_string();
        assert!(
            object.kind == Kind::Secret || !text.contains("secret\":\"very"),
            "{text}"
        );
        assert!(!text.contains("very-secret"), "encoded at the least: {text}");
    }
    assert_eq!(at(&desired(), Kind::Secret, "/data/config"), "AQID");
    assert_eq!(
        body(&desired(), Kind::Deployment)["spec"]["selector"]["matchLabels"],
        json!({DEPLOYMENT: Uuid::from_u128(2)})
    );
}

#[test]
fn a_change_of_keys_changes_no_pod() {
    let other = with(|desired| {
        desired.boot.config = vec![4];
        desired.boot.position = (1, 8);
    });
    let pods = |desired: &Desired| body(desired, Kind::Deployment).to_string();
    assert_eq!(pods(&desired()), pods(&other));
    assert_eq!(pods(&desired()), pods(&desired()), "the same bytes each time");
    let secret = build(&other)
        .items()
        .iter()
        .find(|object| object.kind == Kind::Secret)
        .cloned()
        .unwrap();
    assert_eq!(secret.position(), Some((1, 8)));
}

#[test]
fn what_is_made_anew_changes_nothing_but_the_secret() {
    let other = with(|desired| {
        desired.boot.packages = Packages::At(b"{}".to_vec());
        desired.boot.vouched = Some(Vouched {
            document: b"[]".to_vec(),
            again: Duration::from_secs(1),
        });
    });
    let all = |desired: &Desired| build(desired).items().to_vec();
    for (before, after) in all(&desired()).iter().zip(all(&other)) {
        assert_eq!(*before == after, before.kind != Kind::Secret, "{:?}", before.kind);
        assert_eq!(before.position(), after.position());
    }
    assert_eq!(at(&other, Kind::Secret, "/data/packages"), "e30=");
    assert_eq!(at(&other, Kind::Secret, "/data/vouched"), "W10=");
}

#[test]
fn an_autoscaler_decides_the_number_of_pods() {
    assert_eq!(at(&desired(), Kind::Deployment, "/spec/replicas"), 1);
    let scaled =
        told(json!({"autoscaling": {"min": 2, "max": 5, "memory_percent": 70, "in_flight": 8, "scale_down_s": 60}}));
    assert_eq!(at(&scaled, Kind::Deployment, "/spec/replicas"), Value::Null);
    let spec = at(&scaled, Kind::HorizontalPodAutoscaler, "/spec");
    assert_eq!((&spec["minReplicas"], &spec["maxReplicas"]), (&json!(2), &json!(5)));
    assert_eq!(spec["metrics"][0]["resource"]["name"], "memory");
    assert_eq!(spec["metrics"][1]["pods"]["target"]["averageValue"], "8");
    assert_eq!(spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 60);
}

#[test]
fn a_deployment_has_its_own_amounts() {
    let resources = serde_json::from_value(json!({"cpu": "1", "cpu_limit": null, "memory": "1Gi"})).unwrap();
    let own = with(|desired| desired.scale.resources = Some(resources));
    let resources = at(&own, Kind::Deployment, "/spec/template/spec/containers/0/resources");
    assert_eq!(
        resources,
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}})
    );
}

#[test]
fn pods_connect_to_what_is_listed_and_nothing_else() {
    let desired = told(json!({"egress": [{"cidr": "10.9.0.0/16", "port": 443}]}));
    let out = at(&desired, Kind::NetworkPolicy, "/spec/egress");
    let to = |rule: usize| out[rule]["to"][0]["ipBlock"]["cidr"].clone();
    assert_eq!(out.as_array().map(Vec::len), Some(4));
    assert_eq!(out[0]["to"][0]["podSelector"]["matchLabels"]["k8s-app"], "kube-dns");
    assert_eq!(
        (to(2), &out[2]["ports"][0]["port"]),
        (json!("10.0.0.1/32"), &json!(8401))
    );
    assert_eq!(
        (to(3), &out[3]["ports"][0]["port"]),
        (json!("10.9.0.0/16"), &json!(443))
    );
    let told = told(json!({
        "egress": [{"cidr": "10.9.0.7/32", "port": 53, "protocol": "udp"}], "name_servers": {"dns": "default"},
    }));
    let out = at(&told, Kind::NetworkPolicy, "/spec/egress");
    assert_eq!(out[0]["to"][0]["podSelector"]["matchLabels"], json!({"dns": "default"}));
    assert_eq!(out[3]["ports"][0], json!({"protocol": "UDP", "port": 53}));
    let taken = at(&desired, Kind::NetworkPolicy, "/spec/ingress/0/ports");
    let ports: Vec<&Value> = taken.as_array().unwrap().iter().map(|port| &port["port"]).collect();
    assert_eq!(ports, [8000, 8001, 8002]);
}

#[test]
fn pods_are_let_out_to_the_control_plane_alone() {
    let dialling = |dialled: Dialled, is_walled: bool| {
        with(|desired| {
            desired.control_plane = dialled;
            desired.is_walled = is_walled;
        })
    };
    let out = |dialled| at(&dialling(dialled, false), Kind::NetworkPolicy, "/spec/egress");
    let own = OwnPods {
        namespace: "castoff".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "castoff".to_owned())]),
        port: 8401,
    };
    let inside = out(Dialled {
        inside: vec![Inside::Pods(own), Inside::Namespace("far".to_owned())],
        ..Dialled::default()
    });
    let namespace = |name: &str| json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    assert_eq!(
        inside[2],
        json!({
            "to": [{"namespaceSelector": namespace("castoff"), "podSelector": {"matchLabels": {"app": "castoff"}}}],
            "ports": [{"protocol": "TCP", "port": 8401}],
        })
    );
    assert_eq!(inside[3], json!({"to": [{"namespaceSelector": namespace("far")}]}));

    // Without `to` a rule lets out to everywhere.
    let unknown = Dialled {
        unknown: Some("castoff.example".to_owned()),
        ..Dialled::default()
    };
    let rules = out(unknown.clone());
    assert_eq!(rules.as_array().map(Vec::len), Some(2), "names only: {rules}");
    assert!(unknown_host(&unknown).unwrap().contains("castoff.example"));
    let known = dialling(unknown, true);
    assert!(!kinds(&known).contains(&Kind::NetworkPolicy));
    assert!(build(&known).leaves_alone(Kind::NetworkPolicy), "what was known stays");
}

#[test]
fn hosts_are_of_the_deployment() {
    let host = "{deployment}.models.example";
    let ingress = told(json!({"exposure": {"kind": "ingress", "host": host, "class": "nginx", "tls_secret": "wild"}}));
    let spec = at(&ingress, Kind::Ingress, "/spec");
    assert_eq!(spec["rules"][0]["host"], "iris-on-prod.models.example");
    assert_eq!(
        (&spec["tls"][0]["secretName"], &spec["ingressClassName"]),
        (&json!("wild"), &json!("nginx"))
    );
    assert_eq!(
        ingress.settings.address("iris-on-prod", None).as_deref(),
        Some("https://iris-on-prod.models.example")
    );
    let route = told(json!({"exposure": {"kind": "http-route", "host": host, "gateway": "g"}}));
    let spec = at(&route, Kind::HttpRoute, "/spec");
    assert_eq!(spec["parentRefs"][0], json!({"name": "g", "namespace": "models"}));
    assert_eq!(spec["rules"][0]["backendRefs"][0]["name"], "iris-on-prod");
    let balanced = told(json!({"exposure": {"kind": "load-balancer"}}));
    assert_eq!(at(&balanced, Kind::Service, "/spec/type"), "LoadBalancer");
}

#[test]
fn pods_are_placed_as_said() {
    let desired = told(json!({"placement": {
        "node_selector": {"disk": "ssd"}, "runtime_class": "gvisor", "priority_class": "high",
        "tolerations": [{"key": "gpu", "operator": "exists", "effect": "no-schedule"}],
        "affinity": {"podAntiAffinity": {}}, "spread": [{"topology_key": "topology.kubernetes.io/zone"}],
    }}));
    let spec = at(&desired, Kind::Deployment, "/spec/template/spec");
    assert_eq!(spec["nodeSelector"]["disk"], "ssd");
    assert_eq!(
        (&spec["runtimeClassName"], &spec["priorityClassName"]),
        (&json!("gvisor"), &json!("high"))
    );
    assert_eq!(
        spec["tolerations"][0],
        json!({"operator": "Exists", "key": "gpu", "effect": "NoSchedule"})
    );
    assert_eq!(spec["affinity"], json!({"podAntiAffinity": {}}));
    assert_eq!(
        spec["topologySpreadConstraints"][0]["topologyKey"],
        "topology.kubernetes.io/zone"
    );
}

/// The settings that decide what a pod looks like, all of them.
fn all_settings() -> Desired {
    told(json!({
        "image_pull_secrets": ["registry"], "labels": {"team": "a"}, "annotations": {"note": "b"},
        "resources": {"cpu": "250m", "cpu_limit": null, "memory": "1Gi", "memory_limit": "2Gi"}, "packages": "8Gi",
        "placement": {
            "node_selector": {"disk": "fast"}, "priority_class": "high", "runtime_class": "gvisor",
            "tolerations": [{"key": "gpu", "operator": "exists", "effect": "no-execute", "seconds": 30}],
            "spread": [{"topology_key": "zone", "max_skew": 1, "when_unsatisfiable": "schedule-anyway"}],
            "affinity": {"nodeAffinity": {}},
        },
    }))
}

/// Pods are replaced when their template differs by a byte, and an upgrade of Castoff is to replace none. What differs from
/// a committed file needs a template of its own, which deployments are moved to as they are to another image, and not
/// `CASTOFF_UPDATE=1`, which writes the newest only, for as long as it was never released.
#[test]
fn pods_look_as_they_did_in_earlier_releases() {
    for template in Template::ALL {
        let made = |mut desired: Desired| {
            desired.template = Some(template);
            at(&desired, Kind::Deployment, "/spec/template")
        };
        let text = format!(
            "{:#}\n",
            json!({"plain": made(desired()), "full": made(all_settings())})
        );
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/launch/kubernetes/objects");
        let path = format!("{folder}/template-{}.json", template.number());
        if template == Template::NEWEST && std::env::var_os("CASTOFF_UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "every pod by {template:?} of every deployment would be replaced: {text}"
        );
    }
}

#[test]
fn what_the_second_template_says_of_pods_it_says_of_nothing_else() {
    let said = "cluster-autoscaler.kubernetes.io~1safe-to-evict-local-volumes";
    let of_pods = |desired: &Desired| at(desired, Kind::Deployment, "/spec/template/metadata");
    let pods = of_pods(&desired());
    assert_eq!(
        pods.pointer(&format!("/annotations/{said}")),
        Some(&json!("copy,packages"))
    );
    assert_eq!(pods["labels"][TEMPLATE], "2");
    // Whoever says something else is right: it is their cluster.
    let own = told(json!({"annotations": {said.replace("~1", "/"): "copy"}}));
    assert_eq!(
        of_pods(&own).pointer(&format!("/annotations/{said}")),
        Some(&json!("copy"))
    );
    for kind in kinds(&desired()) {
        let of_object = at(&desired(), kind, "/metadata").to_string();
        assert!(
            !of_object.contains("safe-to-evict") && !of_object.contains(TEMPLATE),
            "{of_object}"
        );
    }
    let volumes = at(&desired(), Kind::Deployment, "/spec/template/spec/volumes");
    let emptied = volumes
        .as_array()
        .unwrap()
        .iter()
        .filter(|volume| !volume["emptyDir"].is_null());
    let emptied: Vec<&str> = emptied.filter_map(|volume| volume["name"].as_str()).collect();
    assert_eq!(emptied, ["copy", "packages"], "it names all that there are");
}

/// All but the pods is made as always: their keys, and how they are reached.
#[test]
fn pods_of_another_release_are_left_as_they_are() {
    let foreign = with(|desired| desired.template = None);
    let built = build(&foreign);
    assert!(built.leaves_alone(Kind::Deployment) && !built.leaves_alone(Kind::Secret));
    let others: Vec<Kind> = kinds(&desired())
        .into_iter()
        .filter(|kind| *kind != Kind::Deployment)
        .collect();
    assert_eq!(kinds(&foreign), others);
    let off = with(|desired| (desired.template, desired.enabled) = (None, false));
    assert!(!build(&off).leaves_alone(Kind::Deployment), "switched off it has none");
}
