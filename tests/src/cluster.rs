//! A Kubernetes cluster: the one that `tests/cluster/up` makes, or the one of `KUBECONFIG`. Spoken to by kubectl.
//!
//! The rule a newcomer would break: a test has a namespace of its own and touches nothing beside it; what it leaves is
//! printed when it fails, and taken away in any case.

use crate::actor::Actor;
use crate::eventually::within;
use crate::release::Release;
use crate::tell::skipped;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A pod is pulled, started and asked whether it is ready within this.
const LIMIT: Duration = Duration::from_secs(120);

/// Definitions of kinds that are not Kubernetes' own.
const KINDS: [&str; 7] = [
    "crd/httproutes.gateway.networking.k8s.io",
    "crd/servicemonitors.monitoring.coreos.com",
    "crd/podmonitors.monitoring.coreos.com",
    "crd/certificates.cert-manager.io",
    "crd/certificaterequests.cert-manager.io",
    "crd/clusterissuers.cert-manager.io",
    "crd/issuers.cert-manager.io",
];

/// The cluster of this run.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    /// The address of this machine that pods reach.
    pub outside: String,
    /// Before the names of images, and what comes after them.
    images: (String, String),
}

impl Cluster {
    /// The cluster, as `tests/cluster/with` has told; none where it could not be brought up, which CI does not forgive.
    pub fn there() -> Option<&'static Self> {
        static ONE: OnceLock<Option<Cluster>> = OnceLock::new();
        ONE.get_or_init(|| Self::told("CASTOFF_CLUSTER_KUBECONFIG")).as_ref()
    }

    /// One beside it that has no nodes, and whose programs a test may end: they come again after a second.
    pub fn second() -> Option<&'static Self> {
        static ONE: OnceLock<Option<Cluster>> = OnceLock::new();
        ONE.get_or_init(|| Self::told("CASTOFF_CLUSTER_SECOND")).as_ref()
    }

    fn told(kubeconfig: &str) -> Option<Self> {
        let told = |name: &str| std::env::var(name).ok().filter(|told| !told.is_empty());
        let found = told(kubeconfig);
        let reason = "no cluster is there: `make test-cluster` brings one up, or says why it cannot";
        if found.is_none() {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "needed in CI: {reason}"
            );
            skipped("on Kubernetes", reason);
        }
        Some(Self {
            kubeconfig: found?.into(),
            outside: told("CASTOFF_CLUSTER_OUTSIDE").expect("the address of this machine that pods reach"),
            images: (
                told("CASTOFF_CLUSTER_PREFIX").unwrap_or_else(|| "localhost/".to_owned()),
                told("CASTOFF_CLUSTER_TAG").unwrap_or_else(|| "test".to_owned()),
            ),
        })
    }

    /// Whether its nodes are processes of this machine, and so have its folders.
    pub fn is_here(&self) -> bool {
        let boot = self
            .kubectl()
            .args(["get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.bootID}"])
            .output()
            .expect("kubectl is there");
        let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux says so");
        let is_here = String::from_utf8_lossy(&boot.stdout).trim() == own.trim();
        if !is_here {
            let elsewhere = std::env::var_os("CI").is_none_or(|ci| ci != "true");
            assert!(elsewhere, "in CI the cluster is on this machine");
            skipped("on Kubernetes", "this needs a cluster whose nodes are on this machine");
        }
        is_here
    }

    /// Whether it is the one of `tests/cluster`, which has programs that other clusters have not, or have as they want them.
    pub fn is_ours(&self) -> bool {
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        let asked = ["get", "deployment/coredns", "--namespace", "kube-system", "-o", image];
        let said = self.kubectl().args(asked).output().expect("kubectl is there");
        let is_ours = said.stdout == b"localhost/coredns:test";
        if !is_ours {
            let elsewhere = std::env::var_os("CI").is_none_or(|ci| ci != "true");
            assert!(elsewhere, "in CI the cluster is that of tests/cluster");
            skipped(
                "on Kubernetes",
                "this needs what is added to the cluster of tests/cluster",
            );
        }
        is_ours
    }

    /// Defines the kinds that are not Kubernetes' own, so that objects of them can be judged. Those that are there, and
    /// perhaps somebody else's, are left as they are; what is made stays.
    #[track_caller]
    pub fn define(&self) {
        let kubectl = |arguments: &[&str]| {
            let mut command = self.kubectl();
            command.args(arguments);
            command
        };
        let are_there = kubectl(&["get"]).args(KINDS).output().expect("kubectl is there");
        if !are_there.status.success() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/crds");
            let printed = Command::new(script).output().expect("the script is there");
            let said = String::from_utf8_lossy(&printed.stderr);
            assert!(printed.status.success(), "tests/cluster/crds: {said}");
            let applied = fed(&mut kubectl(&["apply", "--server-side", "-f", "-"]), &printed.stdout);
            assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        }
        let mut wait = kubectl(&["wait", "--for=condition=Established", "--timeout=60s"]);
        let waited = wait.args(KINDS).output().expect("kubectl is there");
        assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    }

    /// Takes these kinds away, with all objects of them. Only for a cluster that is no more than a test's.
    #[track_caller]
    pub fn undefine(&self) {
        let mut delete = self.kubectl();
        delete.args(["delete", "--ignore-not-found"]).args(KINDS);
        let deleted = delete.output().expect("kubectl is there");
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    }

    /// Where the image of one of our programs is, and its tag.
    pub fn image_parts(&self, release: Release, program: &str) -> (String, String) {
        let (prefix, tag) = &self.images;
        let tag = match release {
            Release::This => tag.clone(),
            Release::Previous => format!("{tag}-previous"),
        };
        (format!("{prefix}{program}"), tag)
    }

    /// The image of one of our programs.
    pub fn image(&self, program: &str) -> String {
        let (prefix, tag) = &self.images;
        format!("{prefix}{program}:{tag}")
    }

    /// Applies a file of objects that belong to the whole cluster, and which nobody takes away.
    #[track_caller]
    pub fn apply_file(&self, file: &Path) {
        let applied = self
            .kubectl()
            .arg("apply")
            .arg("-f")
            .arg(file)
            .output()
            .expect("kubectl is there");
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    fn kubectl(&self) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

fn fed(command: &mut Command, input: &[u8]) -> Output {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl is there");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(input).expect("kubectl reads");
    drop(stdin);
    child.wait_with_output().expect("kubectl ends")
}

/// A namespace of one test, which admits no pod that is not *restricted*.
#[derive(Debug)]
pub struct Namespace {
    cluster: &'static Cluster,
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// A new one, named after what is tested.
    #[track_caller]
    pub fn new(cluster: &'static Cluster, subject: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("castoff-test-{subject}-{}-{number}", std::process::id());
        let namespace = Self { cluster, name };
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": namespace.name,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }));
        namespace
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.cluster.kubectl();
        command.args(["--namespace", &self.name]).args(arguments);
        fed(&mut command, input.as_bytes())
    }

    /// A program in the environment in which kubectl and helm find the cluster.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.cluster.kubeconfig);
        command
    }

    /// What kubectl answers to these arguments.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.run(arguments, "");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// What helm answers to these arguments, about this namespace.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self
            .command("helm")
            .args(["--namespace", &self.name])
            .args(arguments)
            .output()
            .expect("helm is there");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// Applies objects.
    ///
    /// # Errors
    /// Why one was refused.
    pub fn try_apply(&self, object: &Value) -> Result<(), String> {
        let output = self.run(&["apply", "-f", "-"], &object.to_string());
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Asks the API server whether it would take these objects, in YAML.
    ///
    /// # Errors
    /// Why it would not.
    pub fn dry_run(&self, objects: &str) -> Result<(), String> {
        let output = self.run(&["apply", "--dry-run=server", "-f", "-"], objects);
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Applies objects.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        self.try_apply(object).expect("the API server takes it");
    }

    /// What opens this namespace and nothing else, by the manifest that `castoff infra manifest` prints and the commands
    /// that it names.
    #[track_caller]
    pub fn kubeconfig(&self, admin: &Actor) -> String {
        let manifest = admin.cli(["infra", "manifest", &self.name]).expect(0).out;
        let applied = self.run(&["apply", "-f", "-"], &manifest);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let told = |arguments: &[&str]| self.kubectl(arguments).expect("kubectl knows");
        let token = told(&["create", "token", "castoff", "--duration", "24h"]);
        let mut kubeconfig: Value =
            serde_json::from_str(&told(&["config", "view", "--minify", "--flatten", "-o", "json"])).expect("JSON");
        let user = kubeconfig["contexts"][0]["context"]["user"].clone();
        kubeconfig["users"] = json!([{"name": user, "user": {"token": token.trim()}}]);
        kubeconfig.to_string()
    }

    /// An object as it is, such as `pod/name`.
    ///
    /// # Errors
    /// It is not there.
    pub fn get(&self, object: &str) -> Result<Value, String> {
        let text = self.kubectl(&["get", object, "-o", "json"])?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// The kinds of objects that Castoff makes in it, such as `services` or `deployments.apps`: what it may take away, by the
    /// manifest that lets it in.
    ///
    /// # Errors
    /// The manifest was not applied here, or the cluster is away.
    pub fn owned_kinds(&self) -> Result<Vec<String>, String> {
        let role = self.get("role/castoff")?;
        let rules = role["rules"].as_array().cloned().unwrap_or_default();
        let owned = rules
            .iter()
            .filter(|rule| rule["verbs"].to_string().contains("\"delete\""));
        let named = owned.flat_map(|rule| {
            let group = rule["apiGroups"][0].as_str().unwrap_or_default().to_owned();
            let resources = rule["resources"].as_array().cloned().unwrap_or_default();
            resources.into_iter().filter_map(move |resource| match group.as_str() {
                "" => resource.as_str().map(str::to_owned),
                group => Some(format!("{}.{group}", resource.as_str()?)),
            })
        });
        Ok(named.collect())
    }

    /// Waits until a pod says that it is ready, having started again so many times.
    #[track_caller]
    pub fn ready(&self, pod: &str, restarts: u64) {
        within(LIMIT, "the pod is ready", || {
            let found = self.get(&format!("pod/{pod}"))?;
            let container = &found["status"]["containerStatuses"][0];
            match container["ready"] == true && container["restartCount"] == restarts {
                true => Ok(()),
                false => Err(found["status"].to_string()),
            }
        });
    }

    /// What happened in it, for whoever has to find out why a test failed.
    fn print(&self) {
        let show = |what: &str, arguments: &[&str]| {
            let said = self.kubectl(arguments).unwrap_or_else(|error| error);
            eprintln!("--- {} of {}\n{said}", what, self.name);
        };
        show("objects", &["get", "all,secrets,networkpolicies", "-o", "wide"]);
        show("events", &["get", "events", "--sort-by=.lastTimestamp"]);
        for pod in self.kubectl(&["get", "pods", "-o", "name"]).unwrap_or_default().lines() {
            show(pod, &["logs", "--tail=100", "--all-containers", pod]);
            show(pod, &["logs", "--tail=100", "--all-containers", "--previous", pod]);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print();
        }
        self.kubectl(&["delete", "namespace", &self.name, "--wait=false"]).ok();
    }
}

/// A port of a pod, on this machine. Ends with its owner.
#[derive(Debug)]
pub struct Forward {
    child: Child,
    /// It writes on, and ends when nobody takes it.
    _said: BufReader<ChildStdout>,
    /// `http://host:port`.
    pub url: String,
}

impl Forward {
    /// To this port of `pod/name` or `service/name`.
    #[track_caller]
    pub fn to(namespace: &Namespace, target: &str, port: u16) -> Self {
        // What runs may not have been noticed yet.
        let reached = RefCell::new(None);
        within(LIMIT, target, || {
            *reached.borrow_mut() = Self::try_to(namespace, target, port);
            reached.borrow().is_some()
        });
        reached.into_inner().expect("it is reached")
    }

    /// The same; none when kubectl does not find it.
    pub fn try_to(namespace: &Namespace, target: &str, port: u16) -> Option<Self> {
        let mut child = namespace
            .cluster
            .kubectl()
            .args([
                "--namespace",
                &namespace.name,
                "port-forward",
                target,
                &format!("{}:{port}", crate::ports::one()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl is there");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("it was asked for"));
        said.read_line(&mut line).expect("kubectl says where");
        // "Forwarding from 127.0.0.1:34567 -> 8000"
        let Some(address) = line.split_whitespace().nth(2) else {
            child.wait().expect("it has said all that it had to say");
            return None;
        };
        Some(Self {
            url: format!("http://{address}"),
            child,
            _said: said,
        })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The processes of a pod on this machine, by the control group of its containers. None when the cluster is elsewhere.
pub fn processes_of(uid: &str, program: &str) -> Vec<crate::processes::Process> {
    crate::processes::all()
        .into_iter()
        .filter(|process| {
            let read = |file: &str| {
                let path = Path::new("/proc").join(process.pid.to_string()).join(file);
                std::fs::read_to_string(path).unwrap_or_default()
            };
            read("cgroup").contains(uid) && read("comm").trim() == program
        })
        .collect()
}
