//! A control plane that has no descriptors left: nothing can be accepted, and with them again all goes on by itself.

use acceptance::{Database, Request, World, eventually, raw};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

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
    raw::greet(&server.node);
}
