//! How fast a revoked key is gone on one node.

use acceptance::figure::quantile;
use acceptance::{Database, Figure, Report, World, json};
use std::time::Instant;

const KEYS: usize = 50;

/// After the receipt the key must not open anything.
pub fn measure(report: &mut Report) {
    let cast = World::with_cast(Database::Sqlite);
    let deployed = cast.iris_on_dev();
    let taken: Vec<f64> = (0..KEYS)
        .map(|number| {
            let name = format!("bench-{number}");
            let key = deployed.new_key(&name);
            deployed.call(&key).expect(200);
            let path = deployed.path(&format!("/keys/{}/revoke?wait=2s", deployed.key_id(&name)));
            let started = Instant::now();
            cast.dana.post(&path, json!({})).expect(200);
            let taken = started.elapsed();
            deployed.call(&key).expect(401);
            taken.as_secs_f64() * 1e3
        })
        .collect();
    for (of, part) in [("p50", 0.5), ("p99", 0.99)] {
        let what = format!("revoke until its receipt, {of} of {KEYS}");
        report.add(Figure::of(what, "ms", quantile(&taken, part)));
    }
}
