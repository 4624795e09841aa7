//! The control plane killed while it makes a cluster what it should be.

use super::{Harbour, second_alone};
use acceptance::cluster::Cluster;
use acceptance::dice::{Dice, seed};
use acceptance::processes;
use acceptance::{Value, eventually, json, tell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deployments that live at a time.
const SOME: u64 = 4;

/// In `make test`; `make faults` sets CASTOFF_KILLS.
fn kills() -> u64 {
    let given = std::env::var("CASTOFF_KILLS").ok();
    given.map_or(40, |given| given.parse().expect("CASTOFF_KILLS is a number"))
}

/// Outages for each of so many kills.
const KILLS_PER_OUTAGE: u64 = 4;
/// Programs of the cluster without nodes that are ended, by what of their arguments they are known.
const SECOND: [&str; 2] = ["--secure-port=6444", "etcd-second"];

/// At random points of making, changing, switching and deleting. Once it is back, the cluster has what the database says: of
/// each deployment all that it becomes with its newest config, nothing twice, and nothing of those that are gone.
#[test]
fn cluster_and_database_agree_after_every_kill() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "kills");
    // No pod is to run: it is not pods that are tested.
    harbour.set(json!({
        "placement": {"node_selector": {"made-of": "gold"}},
        "exposure": {"kind": "ingress", "host": "{deployment}.models.example"},
    }));
    let mut dice = Dice::new(seed("kubernetes::kills"));
    let mut in_the_middle = 0;
    for _ in 0..kills() {
        let name = format!("d{}", dice.below(SOME));
        let server = harbour.cast.world.server.process();
        // Of a change that is made at once most is over in 80 ms; what follows from it goes on for longer.
        let longest = if dice.below(2) == 0 { 80 } else { 400 };
        let wait = Duration::from_millis(dice.below(longest));
        std::thread::scope(|scope| {
            scope.spawn(|| deed(&harbour, &mut dice, &name));
            scope.spawn(|| {
                std::thread::sleep(wait);
                server.kill();
            });
        });
        harbour.cast.world.server.kill();
        let left = harbour.try_owned().expect("the cluster is there");
        harbour.cast.world.server.launch();
        in_the_middle += u64::from(compare(&deployed(&harbour), &left).is_err());
        agree(&harbour);
    }
    assert!(in_the_middle > 0, "every kill came when all was done");
    tell(&format!(
        "{} kills, {in_the_middle} of them in the middle of something",
        kills()
    ));
    take_all_away(&harbour);
}

/// The API server and its etcd killed at such points: what was asked meanwhile is done when they are back, and what a
/// deployment says of it is over.
#[test]
fn cluster_and_database_agree_after_the_api_server_and_etcd_were_killed() {
    let Some(cluster) = Cluster::second() else { return };
    let _alone = second_alone();
    let harbour = Harbour::open(cluster, "outages");
    harbour.set(json!({"exposure": {"kind": "ingress", "host": "{deployment}.models.example"}}));
    let mut dice = Dice::new(seed("kubernetes::outages"));
    for outage in 0..kills() / KILLS_PER_OUTAGE {
        // One, the other, both.
        let ended: &[&str] = match outage % 3 {
            0 => &SECOND[..1],
            1 => &SECOND[1..],
            _ => &SECOND,
        };
        let is_ended = |process: &processes::Process| {
            let arguments = process.arguments();
            ended.iter().any(|known| arguments.contains(known))
        };
        let programs: Vec<_> = processes::all().into_iter().filter(is_ended).collect();
        assert!(programs.len() >= ended.len(), "{ended:?} run on this machine");
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
            let scale = match dice.below(4) {
                0 => json!({"replicas": 1, "autoscaling": {"min": 1, "max": 3, "cpu_percent": 50}}),
                replicas => json!({"replicas": replicas, "autoscaling": null}),
            };
            dana.request("PATCH", &path).json(&json!({"scale": scale}))
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

/// Then the number of pods is the autoscaler's.
fn is_autoscaled(deployment: &Value) -> bool {
    !deployment["scale"]["autoscaling"].is_null()
}

/// What a deployment becomes, by kind.
fn kinds(deployment: &Value) -> Vec<&'static str> {
    let mut kinds = vec!["Service", "Ingress"];
    if deployment["enabled"] == true {
        kinds.extend([
            "Deployment",
            "Secret",
            "ServiceAccount",
            "NetworkPolicy",
            "PodDisruptionBudget",
        ]);
        if is_autoscaled(deployment) {
            kinds.push("HorizontalPodAutoscaler");
        }
    }
    kinds
}

/// Waits until they agree.
fn agree(harbour: &Harbour) {
    eventually("cluster and database agree", || {
        compare(&deployed(harbour), &harbour.try_owned()?)
    });
}

/// Whether these objects are what these deployments become.
fn compare(wanted: &BTreeMap<String, Value>, there: &[Value]) -> Result<(), String> {
    let expected: BTreeSet<_> = wanted
        .iter()
        .flat_map(|(name, deployment)| kinds(deployment).into_iter().map(move |kind| format!("{kind}/{name}")))
        .collect();
    let named = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
    };
    let there: BTreeMap<_, _> = there.iter().map(|object| (named(object), object)).collect();
    let made: BTreeSet<_> = there.keys().cloned().collect();
    if made != expected {
        return Err(format!("{made:?} for {expected:?}"));
    }
    for (name, deployment) in wanted {
        let metadata = |kind: &str| &there[&format!("{kind}/{name}")]["metadata"];
        for kind in kinds(deployment) {
            let labelled = &metadata(kind)["labels"]["castoff.dev/deployment-id"];
            if labelled != &deployment["id"] {
                return Err(format!("{kind}/{name} is of {labelled}"));
            }
        }
        if deployment["enabled"] != true {
            continue;
        }
        let config = &deployment["config"];
        let position = format!("{}.{}", config["epoch"], config["version"]);
        let noted = &metadata("Secret")["annotations"]["castoff.dev/config-version"];
        let replicas = &there[&format!("Deployment/{name}")]["spec"]["replicas"];
        let is_right = is_autoscaled(deployment) || replicas == &deployment["scale"]["replicas"];
        if noted != &json!(position) || !is_right {
            return Err(format!("{name}: {noted} for {position}, {replicas}"));
        }
    }
    Ok(())
}
