//! What a pod can reach, and what reaches it: looked at from inside its own network.

use super::{Harbour, call};
use acceptance::cluster::{Cluster, processes_of};
use acceptance::processes::Process;
use acceptance::{Value, eventually, json};
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
fn reaches(pod: Process, address: &str) -> bool {
    let connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 4).close()";
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let tried = inside(pod, &["python3", "-c", connect, host, port]).status();
    tried.expect("nsenter is there").success()
}

/// Something else that listens in the pod. It ends with its owner.
struct Stranger(Child);

impl Stranger {
    fn listen(pod: Process, port: u16) -> Self {
        let listen = "import socket, sys, time; s = socket.create_server(('', int(sys.argv[1])))\nwhile True: s.accept()[0].close()";
        let child = inside(pod, &["python3", "-c", listen, &port.to_string()]).spawn();
        Self(child.expect("nsenter is there"))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
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
