//! How many reads of a deployment the control plane answers in a second.

use acceptance::{Database, Figure, Load, Report, World};
use std::time::Duration;

const CALLERS: usize = 32;
const FOR: Duration = Duration::from_secs(5);

pub fn measure(report: &mut Report) {
    for (database, name) in [(Some(Database::Sqlite), "SQLite"), (Database::postgres(), "PostgreSQL")] {
        let Some(database) = database else { continue };
        let cast = World::with_cast(database);
        let deployed = cast.iris_on_dev();
        let token = format!("Bearer {}", cast.dana.token());
        let headers = [("authorization", token.as_str())];
        let load = Load::get(
            &cast.world.server.url,
            &format!("/api/v1{}", deployed.path("")),
            &headers,
            "\"state\":\"running\"",
        );
        load.run(CALLERS, FOR / 5);
        let rounds: Vec<_> = (0..3).map(|_| load.run(CALLERS, FOR)).collect();
        let rates: Vec<f64> = rounds.iter().map(acceptance::load::Answers::rate).collect();
        let what = format!("reads of a deployment, {CALLERS} callers, {name}");
        report.add(Figure::median(what, "/s", &rates).at_least(4_000.0).goal(10_000.0));
        for (of, part) in [("p50", 0.5), ("p99", 0.99)] {
            let took: Vec<f64> = rounds.iter().map(|answers| answers.within(part)).collect();
            report.add(Figure::median(format!("the same, {name}, {of}"), "µs", &took));
        }
        let alone = load.run(1, FOR).within(0.5);
        report.add(Figure::of(format!("one caller alone, {name}, p50"), "µs", alone));
    }
}
