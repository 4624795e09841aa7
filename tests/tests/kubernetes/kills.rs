//! The control plane killed while it makes a cluster what it should be.

use super::{Harbour, second_alone};
use acceptance::cluster::Cluster;
use acceptance::dice::{Dice, seed};
use acceptance::processes;
use acceptance::{Value, eventually, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deployments that live at a time.
const SOME: u64 = 4;

/// In `make test`; `make faults` sets CASTOFF_KILLS.
fn kills() -> u64 {
    let given = std::env::var("CASTOFF_KILLS").ok();
    given.map_or(40, |given| given.parse().expect("CASTOFF_KILLS is a number"))
}

/// Programs of the cluster without nodes that are ended: how often, and by what of their arguments they are known.
const OUTAGES: u64 = 10;
const SECOND: [&str; 2] = ["--secure-port=6444", "etcd-second"];

/// At random points of making, changing, switching and deleting. Once it is back, the cluster has what the database says: of
/// each deployment all that it becomes with its newest config, nothing twice, and nothing of those that are gone.
#[test]
fn cluster_and_database_agree_after_every_kill() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "kills");
    // No pod is to run: it is not pods that are tested.
    harbour.set(json!({"placement": {"node_selector": {"made-of": "gold"}}}));
    let mut dice = Dice::new(seed("kubernetes::kills"));
    for kill in 1..=kills() {
        let name = format!("d{}", dice.below(SOME));
        let server = harbour.cast.world.server.process();
        let wait = Duration::from_millis(dice.below(80));
        std::thread::scope(|scope| {
            scope.spawn(|| deed(&harbour, &mut dice, &name));
            scope.spawn(|| {
                std::thread::sleep(wait);
                server.kill();
            });
        });
        harbour.cast.world.server.kill();
        harbour.cast.world.server.launch();
        if kill % 10 == 0 {
            agree(&harbour);
        }
    }
    agree(&harbour);
    take_all_away(&harbour);
}

/// The API server and its etcd killed at such points: what was asked meanwhile is done when they are back, and what a
/// deployment says of it is over.
#[test]
fn cluster_and_database_agree_after_the_api_server_and_etcd_were_killed() {
    let Some(cluster) = Cluster::second() else { return };
    let _alone = second_alone();
    let harbour = Harbour::open(cluster, "outages");
    let mut dice = Dice::new(seed("kubernetes::outages"));
    for outage in 0..OUTAGES {
        let known = SECOND[usize::try_from(outage % 2).expect("0 or 1")];
        let programs: Vec<_> = processes::all()
            .into_iter()
            .filter(|process| process.arguments().contains(known))
            .collect();
        assert!(!programs.is_empty(), "{known} runs on this machine");
        std::thread::scope(|scope| {
            let wait = Duration::from_millis(dice.below(80));
            scope.spawn(|| {
                for _ in 0..3 {
                    let name = format!("d{}", dice.below(SOME));
                    deed(&harbour, &mut dice, &name);
                }
            });
            scope.spawn(move || {
                std::thread::sleep(wait);
                programs.into_iter().for_each(processes::Process::kill);
            });
        });
        agree(&harbour);
    }
    take_all_away(&harbour);
}

fn take_all_away(harbour: &Harbour) {
    for (name, _) in deployed(harbour) {
        harbour
            .cast
            .dana
            .post(&format!("/deployments/{name}/disable"), json!({}))
            .expect(200);
        harbour.cast.dana.delete(&format!("/deployments/{name}")).expect(204);
    }
    eventually("nothing is left", || {
        let left = harbour.try_objects()?;
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    });
}

/// Whatever it is answered, if it is.
fn deed(harbour: &Harbour, dice: &mut Dice, name: &str) {
    let dana = &harbour.cast.dana;
    let path = format!("/deployments/{name}");
    let request = match dice.below(6) {
        0 | 1 => {
            let body = json!({"name": name, "service": "iris", "infrastructure": "kube", "version": "v1"});
            dana.request("POST", "/deployments").json(&body)
        }
        2 => {
            let replicas = 1 + dice.below(3);
            dana.request("PATCH", &path)
                .json(&json!({"scale": {"replicas": replicas}}))
        }
        3 => dana
            .request("POST", &format!("{path}/keys"))
            .json(&json!({"name": format!("k{}", dice.below(1 << 30))})),
        4 => {
            let switch = if dice.below(2) == 0 { "disable" } else { "enable" };
            dana.request("POST", &format!("{path}/{switch}")).json(&json!({}))
        }
        _ => {
            let disable = dana.request("POST", &format!("{path}/disable")).json(&json!({}));
            disable.try_send().ok();
            dana.request("DELETE", &path)
        }
    };
    request.try_send().ok();
}

/// The deployments by name.
fn deployed(harbour: &Harbour) -> BTreeMap<String, Value> {
    let all = harbour.cast.dana.get("/deployments").expect(200);
    let items = all["items"].as_array().cloned().expect("a list");
    let named = items
        .into_iter()
        .map(|item| (item["name"].as_str().expect("a name").to_owned(), item));
    named.collect()
}

fn agree(harbour: &Harbour) {
    eventually("cluster and database agree", || {
        let wanted = deployed(harbour);
        let mut expected = BTreeSet::new();
        for (name, deployment) in &wanted {
            expected.insert(format!("service/{name}"));
            if deployment["enabled"] == true {
                for kind in [
                    "deployment.apps",
                    "secret",
                    "serviceaccount",
                    "networkpolicy.networking.k8s.io",
                    "poddisruptionbudget.policy",
                ] {
                    expected.insert(format!("{kind}/{name}"));
                }
            }
        }
        let there = harbour.try_objects()?;
        let made: BTreeSet<String> = there
            .iter()
            .filter(|object| !object.starts_with("pod/") && !object.starts_with("replicaset"))
            .cloned()
            .collect();
        if made != expected {
            return Err(format!("{made:?} for {expected:?}"));
        }
        for (name, deployment) in wanted.iter().filter(|(_, deployment)| deployment["enabled"] == true) {
            let secret = harbour.namespace.get(&format!("secret/{name}"))?;
            let config = &deployment["config"];
            let position = format!("{}.{}", config["epoch"], config["version"]);
            let object = harbour.namespace.get(&format!("deployment/{name}"))?;
            let noted = &secret["metadata"]["annotations"]["castoff.dev/config-version"];
            let labelled = &object["metadata"]["labels"]["castoff.dev/deployment-id"];
            let is = (noted == &json!(position), labelled == &deployment["id"]);
            if is != (true, true) || object["spec"]["replicas"] != deployment["scale"]["replicas"] {
                return Err(format!(
                    "{name}: {noted} for {position}, {labelled}, {}",
                    object["spec"]["replicas"]
                ));
            }
        }
        Ok(())
    });
}
