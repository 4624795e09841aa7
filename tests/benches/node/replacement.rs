//! How long a deployment of one node does not answer after `kill -9` of it.

use acceptance::{Database, Figure, Report, World, eventually};
use std::time::Instant;

/// Once: a second one would be told to wait.
pub fn measure(report: &mut Report) {
    let cast = World::with_cast(Database::Sqlite);
    let deployed = cast.iris_on_dev();
    deployed.processes(1)[0].kill();
    let killed = Instant::now();
    eventually("a new node serves", || {
        deployed
            .try_call(&deployed.key)
            .is_ok_and(|answer| answer.status == 200)
    });
    let taken = killed.elapsed().as_secs_f64() * 1e3;
    report.add(Figure::of(
        "kill -9 of the only node until a new one answers",
        "ms",
        taken,
    ));
}
