//! A pooler that gives each transaction a session stands between the control planes and PostgreSQL: what works there as
//! everywhere, and what is said where it cannot work.

use acceptance::castoff::command;
use acceptance::{Database, Planes, Pooler, Request, eventually, json, postgres, scratch};
use std::process::Stdio;
use std::thread;

/// A new database, and a pooler before it.
fn pooler(settings: &[&str]) -> Option<Pooler> {
    Pooler::start_with(&postgres::database()?, settings)
}

/// A key made at one control plane opens a node that is on the line with the other, and no more once it is revoked there.
#[test]
fn keys_come_and_go_on_the_nodes_of_the_other() {
    let Some(pooler) = pooler(&[]) else { return };
    let planes = Planes::start_on(&Database::behind(&pooler), 2);
    let nodes = [0, 1].map(|number| planes.edge.node(&format!("http://{}", planes.get(number).node)));
    nodes.iter().for_each(|node| planes.edge.up_to_date(node));
    for round in 0..6 {
        let (here, there) = (planes.dana_at(round % 2), planes.dana_at(1 - round % 2));
        let path = planes.edge.path("/keys");
        let made = here.post(&format!("{path}?wait=30s"), json!({"name": format!("key-{round}")}));
        let made = made.expect(201);
        let key = made.string("/key");
        nodes.iter().for_each(|node| assert_eq!(node.call(&key), 200));
        let revoke = format!("{path}/{}/revoke?wait=30s", made.string("/id"));
        there.post(&revoke, json!({})).expect(200);
        nodes.iter().for_each(|node| assert_eq!(node.call(&key), 401));
    }
    // By LISTEN, past the pooler.
    for number in 0..2 {
        eventually("each has heard of the other", || {
            let metrics = Request::get(format!("{}/metrics", planes.get(number).ops)).send();
            metrics.text().contains("castoff_hints_heard_total")
        });
    }
}

/// Far more ask than there are sessions: each gets their turn, and their own statements.
#[test]
fn many_ask_at_once_through_few_sessions() {
    const CALLERS: usize = 32;
    const CHANGES: usize = 6;
    // Whoever comes next gets another session than the last one had.
    let Some(pooler) = pooler(&["default_pool_size = 2", "server_round_robin = 1"]) else {
        return;
    };
    let planes = Planes::start_on(&Database::behind(&pooler), 2);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let dana = planes.dana_at(caller % 2);
            scope.spawn(move || {
                for number in 0..CHANGES {
                    let name = format!("s{caller}-{number}");
                    dana.post("/services", json!({"name": name})).expect(201);
                    let path = format!("/services/{name}");
                    dana.patch(&path, json!({"description": name})).expect(200);
                    dana.get("/deployments/iris-on-edge").expect(200);
                    assert_eq!(dana.get(&path).expect(200)["description"], name);
                }
            });
        }
    });
    let made = planes.dana_at(0).list("/services");
    assert_eq!(made.len(), CALLERS * CHANGES + 1, "and iris");
    for number in 0..2 {
        let server = planes.get(number);
        assert!(!server.logged().contains("a request failed"), "{}", server.tail());
    }
}

/// Several start at once on an empty database: each waits for the lock, which is not asked for through the pooler.
#[test]
fn the_schema_is_moved_past_it() {
    let Some(pooler) = pooler(&[]) else { return };
    let database = Database::behind(&pooler);
    let before = pooler.visits();
    let migrating: Vec<_> = (0..4)
        .map(|_| {
            let mut up = command(&scratch::subfolder("migrate").join("data"), &database);
            up.args(["migrate", "up"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            up.spawn().expect("castoff can be started")
        })
        .collect();
    for up in migrating {
        let done = up.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        assert!(!String::from_utf8_lossy(&done.stdout).contains("pending"));
    }
    assert_eq!(pooler.visits(), before, "{}", pooler.logged());
}

/// What `castoff` says when it opens a database and cannot.
#[track_caller]
fn refused(database: &Database) -> String {
    let mut opens = command(&scratch::subfolder("refused").join("data"), database);
    let done = opens
        .args(["admin-key", "list"])
        .output()
        .expect("castoff can be started");
    assert!(!done.status.success());
    String::from_utf8(done.stderr).expect("text")
}

/// Without a way past it, as by one that leads to it as well, nothing is begun: no lock is left with somebody else.
#[test]
fn without_a_way_past_it_that_is_said() {
    for settings in [
        &[][..],
        // It takes what is said of a session, and forgets it.
        &["ignore_startup_parameters = extra_float_digits, options"],
        &[
            "ignore_startup_parameters = extra_float_digits, options",
            "pool_mode = session",
        ],
    ] {
        let Some(pooler) = pooler(settings) else { return };
        let past_nothing = Database::Postgres {
            url: pooler.url(),
            direct: Some(pooler.url()),
        };
        for database in [Database::at(pooler.url()), past_nothing] {
            let said = refused(&database);
            assert!(
                said.contains("a pooler stands before the database")
                    && said.contains("--database-direct-url-file")
                    && said.contains("database.directUrl"),
                "{settings:?}: {said}"
            );
        }
    }
}

/// It loses statements only when several ask at once: said at the start all the same.
#[test]
fn one_that_keeps_no_statements_is_told_what_to_set() {
    let none = "max_prepared_statements = 0";
    for settings in [&[none][..], &[none, "server_round_robin = 1"]] {
        let Some(pooler) = pooler(settings) else { return };
        let said = refused(&Database::behind(&pooler));
        assert!(
            said.contains("set max_prepared_statements to 200"),
            "{settings:?}: {said}"
        );
    }
    // Whoever has a session to themselves may use such a one.
    let Some(pooler) = pooler(&[none, "pool_mode = session", "default_pool_size = 40"]) else {
        return;
    };
    let planes = Planes::start_on(&Database::behind(&pooler), 1);
    planes.dana_at(0).get("/services/iris").expect(200);
}

/// One that passes on what is said of a session, as some do, is found out by lending it in between.
#[test]
fn one_that_passes_on_what_is_said_is_found_out() {
    for settings in [&[][..], &["max_prepared_statements = 0"]] {
        let ignores = "ignore_startup_parameters = extra_float_digits, options";
        let Some(pooler) = pooler(&[&[ignores], settings].concat()) else {
            return;
        };
        let name = pooler.before().rsplit('/').next().unwrap_or_default();
        let pass_on = format!("ALTER DATABASE {name} SET castoff.session = 'own'");
        postgres::state(pooler.before(), &pass_on);
        let said = refused(&Database::at(pooler.url()));
        assert!(said.contains("--database-direct-url-file"), "{said}");
    }
}

/// The URLs hold passwords: what is wrong with one is said without it.
#[test]
fn no_password_is_shown() {
    let Some(pooler) = pooler(&[]) else { return };
    let url = pooler.url().replace("castoff@", "castoff:hidden@");
    let said = refused(&Database::at(url));
    assert!(said.contains("a pooler") && !said.contains("hidden"), "{said}");
}
