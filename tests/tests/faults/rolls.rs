//! Nodes that are asked to end, one after the other, while calls go on: with a connection for each call, and with one that
//! is kept.
//!
//! `CASTOFF_ROLLS` says how often (10; `make faults`: 100).

use acceptance::load::Load;
use acceptance::{Database, World, json, models};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

fn rolls() -> u32 {
    let given = std::env::var("CASTOFF_ROLLS").ok();
    given.map_or(10, |text| text.parse().expect("CASTOFF_ROLLS is a number"))
}

/// No call fails, and each node comes again at the same address.
#[test]
fn nodes_that_are_rolled_under_load_fail_no_call() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let body = json!({"scale": {"replicas": 2}, "limits": {"drain_delay_ms": 200}});
    cast.dana.patch(&dev.path("?wait=30s"), body).expect_any(&[200, 202]);
    dev.processes(2);
    let (stop, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    let goes_on = || {
        calls.fetch_add(1, Ordering::SeqCst);
        !stop.load(Ordering::SeqCst)
    };
    let (path, body) = (dev.predict_url().replace(&dev.url, ""), models::setosa().to_string());
    let load = Load::post(&dev.url, &path, &[("x-api-key", &dev.key)], &body, "setosa");
    // As often as they are answered.
    let kept = load.begin(2, 10_000);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while goes_on() {
                    dev.call(&dev.key).expect(200);
                }
            });
        }
        // The callers end when this does, however it does.
        let rolled = thread::scope(|rolling| {
            rolling
                .spawn(|| {
                    for roll in 0..rolls() as usize {
                        let node = dev.processes(2)[roll % 2];
                        // One that is asked sooner counts as failing, and comes again later and later.
                        acceptance::eventually("it has lived for a second", || node.age() > Duration::from_secs(1));
                        node.signal(Signal::TERM);
                        acceptance::eventually("it has ended", || !node.alive());
                    }
                    dev.processes(2)
                })
                .join()
        });
        stop.store(true, Ordering::SeqCst);
        let nodes = rolled.expect("each node comes again");
        assert_eq!(nodes.len(), cast.world.nodes().len());
    });
    let kept = kept.end();
    assert!(kept.failures.is_empty(), "{kept:?}");
    let calls = calls.into_inner() as usize + kept.answers;
    println!("{} rolls, {calls} calls", rolls());
    let states = dev.nodes();
    assert!(states.iter().all(|node| node.shown["state"] == "ready"), "{states:?}");
}
