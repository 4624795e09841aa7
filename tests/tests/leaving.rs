//! A control plane that is asked to end, with somebody in front who has to send callers elsewhere first.

use acceptance::{Database, Request, World, eventually};
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
