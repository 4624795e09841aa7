//! An API server that has too much to do.

use super::Harbour;
use acceptance::cluster::{Cluster, Namespace};
use acceptance::eventually::within;
use acceptance::{Value, json, scratch};
use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long it is watched that nobody insists.
const WATCHED: Duration = Duration::from_secs(20);
/// Of one deployment, tried after 0.5, 1, 2, 4 and 8 s: at most two questions each, of which one may be on its way when it is
/// counted; and as many again by those who watch.
const MOST: u64 = 24;
/// It is tried again after a minute at the latest.
const LIMIT: Duration = Duration::from_secs(150);

/// What the API server answers to Castoff's account: 429 and when to come again, by its own priority and fairness. It has time
/// for one question of the account, and that is one which does not end.
struct Throttled<'a> {
    namespace: &'a Namespace,
    folder: PathBuf,
    asking: Option<Child>,
}

impl<'a> Throttled<'a> {
    #[track_caller]
    fn new(namespace: &'a Namespace, kubeconfig: &str) -> Self {
        let name = &namespace.name;
        let told: Value = serde_json::from_str(kubeconfig).expect("JSON");
        let throttled = Self {
            namespace,
            folder: scratch::subfolder("throttled"),
            asking: None,
        };
        let token = told["users"][0]["user"]["token"].as_str().expect("a token");
        let authority =
            "go-template={{index (index .clusters 0).cluster \"certificate-authority-data\" | base64decode}}";
        let authority = namespace.kubectl(&["config", "view", "--minify", "--flatten", "-o", authority]);
        let server = told["clusters"][0]["cluster"]["server"].as_str().expect("a URL");
        let url = format!("{server}/api/v1/namespaces/{name}/pods?dryRun=All");
        let asked = format!(
            "url = \"{url}\"\nupload-file = \"-\"\nrequest = \"POST\"\nheader = \"Authorization: Bearer {token}\"\n\
             header = \"Content-Type: application/json\"\nhttp1.1\nsilent\ncacert = \"authority.pem\"\n"
        );
        for (file, text) in [
            ("authority.pem", authority.expect("kubectl knows")),
            ("question", asked),
        ] {
            fs::write(throttled.folder.join(file), text).expect("a file");
        }
        namespace.apply(&json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
            "metadata": {"name": name},
            "spec": {"type": "Limited", "limited": {
                "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
                "limitResponse": {"type": "Reject"},
            }},
        }));
        namespace.apply(&json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "metadata": {"name": name},
            "spec": {
                "matchingPrecedence": 2, "priorityLevelConfiguration": {"name": name},
                "rules": [{
                    "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": "castoff", "namespace": name}}],
                    "resourceRules": [{
                        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
                    }],
                }],
            },
        }));
        throttled
    }

    /// Asks the question that does not end: its body is not sent. The one before ends.
    fn ask(&mut self) {
        self.give_up();
        let asking = Command::new("curl")
            .args(["--config", "question"])
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        self.asking = Some(asking.expect("curl is there"));
    }

    fn give_up(&mut self) {
        if let Some(mut asking) = self.asking.take() {
            asking.kill().ok();
            asking.wait().ok();
        }
    }

    /// How often it has answered so.
    fn count(&self) -> Result<u64, String> {
        let metrics = self.namespace.kubectl(&["get", "--raw", "/metrics"])?;
        let of = format!("flow_schema=\"{}\"", self.namespace.name);
        let rejected = metrics
            .lines()
            .filter(|line| line.starts_with("apiserver_flowcontrol_rejected_requests_total{") && line.contains(&of));
        let counts = rejected.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum::<f64>() as u64)
    }
}

impl Drop for Throttled<'_> {
    fn drop(&mut self) {
        self.give_up();
        for kind in ["flowschema", "prioritylevelconfiguration"] {
            let gone = ["delete", kind, &self.namespace.name, "--ignore-not-found"];
            self.namespace.kubectl(&gone).ok();
        }
    }
}

/// Whoever is told to come later does so, later and later, and says what is the matter; pods obey meanwhile. When the API server
/// has time again all is done.
#[test]
fn whoever_is_told_to_come_later_does() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "throttled");
    harbour.deploy(json!({"replicas": 1}));
    let key = harbour.key("k");
    let kubeconfig = harbour.namespace.kubeconfig(&harbour.cast.admin);
    let throttled = RefCell::new(Throttled::new(&harbour.namespace, &kubeconfig));
    let dana = &harbour.cast.dana;
    let path = "/deployments/iris-on-kube";
    within(LIMIT, "it is told to come later", || {
        throttled.borrow_mut().ask();
        // The API server is asked again about what is changed.
        std::thread::sleep(Duration::from_secs(1));
        dana.patch(path, json!({"limits": {"queue": 40}})).expect(200);
        std::thread::sleep(Duration::from_secs(1));
        match throttled.borrow().count()? {
            0 => Err("it is answered".to_owned()),
            _ => Ok(()),
        }
    });
    let throttled = throttled.into_inner();
    dana.patch(path, json!({"scale": {"replicas": 2}})).expect(200);
    harbour.says("kube", "the cluster has too much to do");
    let revoked = dana.post(&format!("{path}/keys/{}/revoke?wait=5s", key.id), json!({}));
    let receipt = &revoked.expect(202)["receipts"][0];
    assert_eq!(
        (&receipt["pending"], &receipt["durable_copy_written"]),
        (&json!([]), &json!(false)),
        "the pod has obeyed"
    );
    let before = throttled.count().expect("it counts");
    std::thread::sleep(WATCHED);
    let asked = throttled.count().expect("it counts") - before;
    assert!(asked <= MOST, "{asked} questions in {WATCHED:?}");
    drop(throttled);
    within(LIMIT, "all is done", || {
        let status = dana.get(&format!("{path}/status")).expect(200);
        let nodes = status["nodes"].as_array().map_or(0, Vec::len);
        match status["state"] == "running" && nodes == 2 {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
}
