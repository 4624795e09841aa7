//! A control plane that has no descriptors left: nothing can be accepted, and with them again all goes on by itself.

use acceptance::{Database, Request, World, eventually, raw};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// The preface of HTTP/2 and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SAID: &str = "connections cannot be accepted";

#[test]
fn a_lack_of_descriptors_passes() {
    let world = World::start(Database::Sqlite);
    let server = &world.server;
    let pid = Pid::from_raw(server.process().pid.cast_signed());
    let none = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let whole = prlimit(pid, Resource::Nofile, none).unwrap();
    let ports = [&server.url, &server.ops, &server.node];
    let held: Vec<TcpStream> = ports.iter().flat_map(|port| (0..20).map(|_| raw::dial(port))).collect();
    eventually("each port says so", || {
        server.logged().matches(SAID).count() >= ports.len()
    });
    // Time for the mistake to happen: to say it again and again.
    thread::sleep(Duration::from_millis(500));
    assert_eq!(server.logged().matches(SAID).count(), ports.len());
    prlimit(pid, Resource::Nofile, whole).unwrap();
    drop(held);
    world.admin.get("/whoami").expect(200);
    Request::get(format!("{}/readyz", server.ops)).send().expect(200);
    // The port of the nodes answers a preface with its settings.
    let mut line = raw::dial(&server.node);
    line.write_all(PREFACE).unwrap();
    let mut frame = [0; 9];
    line.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "settings: {frame:?}");
}
