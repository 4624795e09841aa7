//! How often a key may be used in a day or month of UTC: counted by the control plane, obeyed by the nodes.
//!
//! The clocks of both are turned to where in a month a test plays. Told by the real calendar, a key that has used up its
//! month would open again in the middle of a test that runs on the last of it.

use acceptance::castoff::binary;
use acceptance::faketime::Faketime;
use acceptance::{Answer, Cast, Database, Deployed, World, eventually, json, scratch};
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);
const A_DAY: Duration = Duration::from_secs(86_400);

/// What `date` makes of this, in UTC.
fn date(text: &str, format: &str) -> String {
    let said = Command::new("date").args(["-u", "-d", text, format]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// The first moment of the month after the one that this moment lies in.
fn month_after(moment: SystemTime) -> SystemTime {
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let month = date(&format!("@{seconds}"), "+%Y-%m-01");
    let first: u64 = date(&format!("{month} + 1 month"), "+%s").parse().unwrap();
    UNIX_EPOCH + Duration::from_secs(first)
}

/// A full second, as the API writes it.
fn written(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap().as_secs();
    date(&format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S.000Z")
}

/// Turns the clocks so that they show this moment.
fn turn_to(clock: &Faketime, moment: SystemTime) {
    clock.turn_by(moment.duration_since(SystemTime::now()).unwrap());
}

/// The cast in a world whose control plane and local nodes go by these clocks.
fn cast_by(clock: &Faketime, database: Database) -> Cast {
    let environment = clock.environment();
    // A node gets nothing of its control plane's environment.
    let exports = environment
        .iter()
        .map(|(name, value)| format!("export {name}='{value}'\n"));
    let node = scratch::subfolder("node-by-the-clock").join("castoff-node");
    let script = format!(
        "#!/bin/sh\n{}exec '{}' \"$@\"\n",
        exports.collect::<String>(),
        binary("castoff-node").display()
    );
    fs::write(&node, script).unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o700)).unwrap();
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let program = ["--node-binary", node.to_str().unwrap()];
    Cast::gather(World::start_in(database, &program, &environment))
}

fn databases() -> impl Iterator<Item = Database> {
    [Some(Database::Sqlite), Database::postgres()].into_iter().flatten()
}

fn quota(requests: u64) -> Value {
    json!({"requests": requests, "per": "month"})
}

/// A key with a quota by the month, and its path; its nodes know it when this returns.
#[track_caller]
fn with_quota(cast: &Cast, dev: &Deployed, name: &str, requests: u64) -> (Answer, String) {
    let body = json!({"name": name, "quota": quota(requests)});
    let made = cast.dana.post(&dev.path("/keys?wait=30s"), body).expect(201);
    let path = dev.path(&format!("/keys/{}", made.string("/id")));
    (made, path)
}

/// Calls until it is refused: how many were answered.
#[track_caller]
fn calls_until_refused(dev: &Deployed, key: &str) -> u64 {
    let answered = Cell::new(0);
    eventually("it is refused", || {
        let status = dev.call(key).expect_any(&[200, 429]).status;
        answered.set(answered.get() + u64::from(status == 200));
        status == 429
    });
    answered.get()
}

/// The control plane counts what the nodes report: a key is refused some seconds after its quota was used up.
#[test]
fn a_quota_that_is_used_up_refuses_until_its_window_ends() {
    for database in databases() {
        let clock = Faketime::new(&scratch::subfolder("clock"));
        let end = month_after(month_after(SystemTime::now()));
        turn_to(&clock, month_after(SystemTime::now()) + A_DAY);
        let cast = cast_by(&clock, database);
        is_used_up_and_changed(&cast, &written(end));
    }
}

fn is_used_up_and_changed(cast: &Cast, end: &str) {
    let dev = cast.iris_on_dev();
    let events = cast.dana.request("GET", &dev.path("/events")).stream();
    let (made, path) = with_quota(cast, &dev, "partner", 5);
    let key = made.string("/key");
    let shown = [&made["quota"], &made["quota_used"], &made["used_up_until"]];
    assert_eq!(shown, [&quota(5), &json!(0), &Value::Null]);
    for _ in 0..4 {
        dev.call(&key).expect(200);
    }
    eventually("the calls are counted", || {
        cast.dana.get(&path).expect(200)["quota_used"] == 4
    });
    dev.call(&key).expect(200);
    calls_until_refused(&dev, &key);
    let refused = dev.call(&key).expect(429);
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=31 * 86_400).contains(&seconds), "{seconds}");
    let detail = refused.string("/detail");
    assert!(detail.starts_with("the API key has used up its quota"), "{detail}");
    let shown = cast.dana.get(&path).expect(200);
    assert!(shown["quota_used"].as_u64() >= Some(5), "{}", shown.text());
    assert_eq!(shown["used_up_until"], end);
    dev.call(&dev.key).expect(200);
    eventually("it is told", || {
        let text = events.text();
        text.contains("quota-used-up").then_some(()).ok_or(text)
    });
    // Another process of the node obeys the same, and a successor has used as much.
    let [process] = dev.processes(1)[..] else { panic!("one") };
    process.kill();
    eventually("there is another", || dev.processes(1) != [process]);
    dev.call(&key).expect(429);
    let heir = cast
        .dana
        .post(&format!("{path}/rotate?wait=30s"), json!({}))
        .expect(201);
    assert_eq!([&heir["quota"], &heir["used_up_until"]], [&quota(5), &json!(end)]);
    dev.call(&heir.string("/key")).expect(429);

    // More opens at once, and what was used counts on.
    let change = |quota: Value| {
        let path = format!("{path}?wait=30s");
        cast.dana.patch(&path, json!({"quota": quota})).expect(200)
    };
    assert_eq!(change(quota(1_000_000))["used_up_until"], Value::Null);
    dev.call(&key).expect(200);
    assert_eq!(change(quota(2))["used_up_until"], end);
    dev.call(&key).expect(429);
    let free = change(Value::Null);
    let shown = [&free["quota"], &free["quota_used"], &free["used_up_until"]];
    assert_eq!(shown, [&Value::Null; 3]);
    dev.call(&key).expect(200);
}

/// Across the end of a month, part of it with nobody there to count: what was called before counts for the month before.
#[test]
fn a_quota_begins_anew_with_the_month() {
    for database in databases() {
        let clock = Faketime::new(&scratch::subfolder("clock"));
        let end = month_after(SystemTime::now() + HALF_AN_HOUR);
        turn_to(&clock, end - HALF_AN_HOUR);
        let mut cast = cast_by(&clock, database);
        let dev = cast.iris_on_dev();
        let (spent, path_of_spent) = with_quota(&cast, &dev, "spent", 2);
        let (other, path_of_other) = with_quota(&cast, &dev, "other", 100);
        let (spent, other) = (spent.string("/key"), other.string("/key"));
        let call = |key: &str, times| (0..times).for_each(|_| drop(dev.call(key).expect(200)));
        let dana = cast.dana.clone();
        let counted = |path: &str, calls: u64| {
            eventually("all calls are counted", || {
                let key = dana.get(path).expect(200);
                match key["calls"] == calls {
                    true => Ok(key),
                    false => Err(key.text()),
                }
            })
        };
        let before = calls_until_refused(&dev, &spent);
        call(&other, 3);
        assert_eq!(counted(&path_of_other, 3)["quota_used"], 3);
        counted(&path_of_spent, before);
        let shown = cast.dana.get(&path_of_spent).expect(200);
        assert_eq!(shown["used_up_until"], written(end));

        cast.world.server.kill();
        call(&other, 2);
        dev.call(&spent).expect(429);
        turn_to(&clock, end + Duration::from_secs(1));
        // Its node lets it in by itself.
        call(&spent, 1);
        cast.world.server.launch();
        let shown = counted(&path_of_other, 5);
        assert_eq!(shown["quota_used"], 0, "{}", shown.text());
        let shown = counted(&path_of_spent, before + 1);
        assert_eq!(
            [&shown["quota_used"], &shown["used_up_until"]],
            [&json!(1), &Value::Null]
        );

        // The new month's quota is used up in turn, and its nodes are told again.
        calls_until_refused(&dev, &spent);
        let shown = cast.dana.get(&path_of_spent).expect(200);
        assert_eq!(shown["used_up_until"], written(month_after(end)));
        call(&other, 1);
    }
}
