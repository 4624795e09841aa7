//! A control plane that is asked to end, with somebody in front who has to send callers elsewhere first.

use acceptance::castoff::Server;
use acceptance::world::PASSWORD;
use acceptance::{Database, Request, World, eventually, scratch};
use rustix::process::Signal;

/// It goes on answering, not ready any more and with each answer the last of its connection; who cannot wait asks again.
#[test]
fn whoever_leaves_sends_its_callers_away_first() {
    let mut world = World::start_with(Database::Sqlite, &["--drain-delay", "300"]);
    let ready = format!("{}/readyz", world.server.ops);
    let whoami = || world.admin.get("/whoami").expect(200);
    assert_eq!(whoami().header("connection"), None);
    world.server.process().signal(Signal::TERM);
    eventually("it is not ready", || {
        let answer = Request::get(&ready).try_send()?;
        match answer.status {
            503 => Ok(answer.text()),
            _ => Err(answer.text()),
        }
    });
    assert_eq!(Request::get(&ready).send().text(), "it is ending\n");
    assert_eq!(whoami().header("connection"), Some("close"));
    assert_eq!(world.server.stop(), Some(0));
}

/// Of two that are asked to end at once each leaves what goes on by itself to somebody who stays: there is nobody, so one of them
/// acts as long as both answer, and a node that dies is started again.
#[test]
fn of_two_that_leave_at_once_one_acts_to_the_end() {
    let Some(database) = Database::postgres() else { return };
    let mut cast = World::with_cast_and(database.clone(), &["--drain-delay", "300"]);
    let data = cast.world.server.data.clone();
    let folder = scratch::subfolder("replica");
    std::fs::copy(data.with_file_name("master.key"), folder.join("master.key")).expect("the master key");
    let shared = ["--shared-dir", data.to_str().expect("a path"), "--drain-delay", "300"];
    let mut other = Server::start(&folder, database, PASSWORD, &shared);
    let dev = cast.iris_on_dev();
    let [node] = dev.processes(1)[..] else { panic!("one") };
    for server in [&cast.world.server, &other] {
        server.process().signal(Signal::TERM);
    }
    for server in [&cast.world.server, &other] {
        let ready = format!("{}/readyz", server.ops);
        eventually("it is not ready", || {
            Request::get(&ready).try_send().is_ok_and(|answer| answer.status == 503)
        });
        eventually("it has looked for the other", || {
            let log = std::fs::read_to_string(&server.log).expect("its log");
            let knows = ["left to another control plane", "no other control plane stays"];
            knows.iter().any(|said| log.contains(said)).then_some(()).ok_or(log)
        });
    }
    node.kill();
    eventually("it is started again", || {
        let nodes = dev.nodes();
        let mut processes = nodes.iter().filter_map(|node| node.process.as_ref());
        match processes.any(|process| process.pid != node.pid) {
            true => Ok(()),
            false => Err(format!("{nodes:?}")),
        }
    });
    assert_eq!((cast.world.server.stop(), other.stop()), (Some(0), Some(0)));
}
