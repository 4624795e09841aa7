//! What a pod can reach, and what reaches it: looked at from inside its own network.

use super::{Harbour, call};
use acceptance::cluster::{Cluster, processes_of};
use acceptance::processes::Process;
use acceptance::{Value, eventually, json};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// The name server's Service, and the API server's.
const NAMES: &str = "10.96.0.10:53";
const API_SERVER: &str = "10.96.0.1:443";

/// Runs a program in a pod's network: our images have no shell.
fn inside(pod: Process, program: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{}/ns/net", pod.pid))
        .args(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Whether something in the pod can connect there, within seconds.
pub(super) fn reaches(pod: Process, address: &str) -> bool {
    let connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 4).close()";
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let tried = inside(pod, &["python3", "-c", connect, host, port]).status();
    tried.expect("nsenter is there").success()
}

/// Something else that listens in the pod. It ends with its owner.
pub(super) struct Stranger(Child);

impl Stranger {
    fn listen(pod: Process, port: u16) -> Self {
        Self::listen_at(pod, "", port)
    }

    /// At this address of the pod.
    pub(super) fn listen_at(pod: Process, address: &str, port: u16) -> Self {
        let listen = "import socket, sys; s = socket.create_server((sys.argv[1], int(sys.argv[2])))\nwhile True: s.accept()[0].close()";
        let child = inside(pod, &["python3", "-c", listen, address, &port.to_string()]).spawn();
        Self(child.expect("nsenter is there"))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Another address of this machine. It goes with its owner.
struct Elsewhere;

impl Elsewhere {
    const ADDRESS: &str = "10.203.77.7";

    fn set(what: &str) -> bool {
        let mut command = Command::new("ip");
        command.args(["addr", what, &format!("{}/32", Self::ADDRESS), "dev", "lo"]);
        command
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|ended| ended.success())
    }

    fn open() -> Self {
        // One that a killed test has left serves as well.
        Self::set("add");
        Self
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        Self::set("del");
    }
}

/// A name of this machine that this machine knows, and by a Service without pods everybody in a namespace. It goes with its
/// owner.
struct Named(String);

impl Named {
    const HOSTS: &str = "/etc/hosts";

    fn open(cluster: &Cluster) -> Self {
        let name = format!("castoff-walls-{}", std::process::id());
        let hosts = std::fs::OpenOptions::new().append(true).open(Self::HOSTS);
        writeln!(hosts.expect("root may"), "{} {name}", cluster.outside).expect("it is written");
        Self(name)
    }

    fn tell(&self, harbour: &Harbour, outside: &str, port: u16) {
        let name = &self.0;
        harbour.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"clusterIP": "None", "ports": [{"port": port}]},
        }));
        harbour.namespace.apply(&json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [outside], "conditions": {"ready": true}}], "ports": [{"port": port}],
        }));
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let hosts = std::fs::read_to_string(Self::HOSTS).unwrap_or_default();
        let others = hosts.lines().filter(|line| !line.ends_with(&self.0));
        let others: Vec<&str> = others.collect();
        // In place: in a container the file may not be replaced by another.
        std::fs::write(Self::HOSTS, others.join("\n") + "\n").ok();
    }
}

/// The control plane by name: pods reach its addresses on its port and no other address.
#[test]
fn a_control_plane_by_name_is_reached_and_nothing_else_on_its_port() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_ours() {
        return;
    }
    let named = Named::open(cluster);
    let name = named.0.as_str();
    let environment = [("CASTOFF_NODE_SAN", name)];
    let harbour = Harbour::on(cluster, "named", acceptance::Database::Sqlite, &environment);
    harbour.open_namespace();
    let port = harbour.dialled.rsplit_once(':').expect("host:port").1.to_owned();
    named.tell(&harbour, &cluster.outside, port.parse().expect("a port"));
    harbour.set(json!({"control_plane": {"url": format!("https://{name}:{port}")}}));
    harbour.deploy(json!({"replicas": 1}));
    let key = harbour.key("first");
    if harbour.calls(&key).is_none() {
        return;
    }
    let pods = harbour.namespace.get("pods").expect("kubectl lists");
    let uid = pods["items"][0]["metadata"]["uid"].as_str().expect("an id");
    let [pod] = processes_of(uid, "castoff-node")[..] else {
        panic!("its process is on this machine: its Service is reached from here")
    };
    let _elsewhere = Elsewhere::open();
    let other = format!("{}:{port}", Elsewhere::ADDRESS);
    let _listening = TcpListener::bind(&other).expect("nobody else does there");
    eventually("its control plane is reached", || reaches(pod, &harbour.dialled));
    eventually("nothing else on that port is", || !reaches(pod, &other));
    // That it is not reached is the policy's doing.
    let cidr = format!("{}/32", Elsewhere::ADDRESS);
    harbour.set(json!({"egress": [{"cidr": cidr, "port": port.parse::<u16>().expect("a port")}]}));
    eventually("it is reached once it is listed", || reaches(pod, &other));
    // What was known stays where a name is not known any more, and what is to be done is said.
    harbour.set(json!({"egress": [], "control_plane": {"url": "https://no.such.host.invalid:1"}}));
    harbour.says(
        "kube",
        "no address of the control plane's host no.such.host.invalid is known",
    );
    assert!(reaches(pod, &harbour.dialled));
    harbour.set(json!({"control_plane": {"url": format!("https://{name}:{port}")}}));
    eventually("all is as it was", || {
        !reaches(pod, &other) && reaches(pod, &harbour.dialled)
    });
}

/// Out: the control plane, names, and what the infrastructure lists, by address and port; not the API server, nor anything
/// else. In: calls and probes, and nothing else that may listen in a pod.
#[test]
fn a_pod_reaches_what_is_listed_and_is_reached_where_it_serves() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "walls");
    let listening = || TcpListener::bind((cluster.outside.as_str(), 0)).expect("pods reach this machine there");
    let (listed, other) = (listening(), listening());
    let port = |listener: &TcpListener| listener.local_addr().expect("it listens").port();
    let at = |port: u16| format!("{}:{port}", cluster.outside);
    let lists = |ports: &[u16]| {
        let cidr = format!("{}/32", cluster.outside);
        let egress: Vec<Value> = ports.iter().map(|port| json!({"cidr": cidr, "port": port})).collect();
        harbour.set(json!({ "egress": egress }));
    };
    lists(&[port(&listed)]);
    harbour.deploy(json!({"replicas": 1}));
    let key = harbour.key("first");
    if harbour.calls(&key).is_none() {
        return;
    }
    let pods = harbour.namespace.get("pods").expect("kubectl lists");
    let (uid, address) = (
        &pods["items"][0]["metadata"]["uid"],
        &pods["items"][0]["status"]["podIP"],
    );
    let address = address.as_str().expect("it runs");
    let [pod] = processes_of(uid.as_str().expect("an id"), "castoff-node")[..] else {
        panic!("its process is on this machine: its Service is reached from here")
    };
    for (place, may) in [
        (harbour.dialled.as_str(), true),
        (NAMES, true),
        (&at(port(&listed)), true),
        (&at(port(&other)), false),
        (API_SERVER, false),
    ] {
        let what = format!("{place} from a pod: {may}");
        eventually(&what, || reaches(pod, place) == may);
    }
    // That the one is not reached is the list's doing.
    lists(&[port(&listed), port(&other)]);
    eventually("it is reached once it is listed", || reaches(pod, &at(port(&other))));
    lists(&[port(&other)]);
    eventually("what is listed no more is not reached any more", || {
        !reaches(pod, &at(port(&listed)))
    });

    let _stranger = Stranger::listen(pod, 9_999);
    eventually("it listens", || reaches(pod, "127.0.0.1:9999"));
    let connects = |port: u16| {
        let address = format!("{address}:{port}").parse().expect("an address");
        std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(4)).is_ok()
    };
    assert_eq!([connects(8_000), connects(8_002), connects(9_999)], [true, true, false]);
    assert_eq!(call(&format!("http://{address}:8000"), Some(&key)), 200);
}
