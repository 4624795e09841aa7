//! The database goes away under load: its connections are cut, its server ends in order or at once, and comes back. The same
//! of a pooler that stands before it.
//!
//! Whoever asks gets the right answer, or hears that the database is away: a 503 that says whether nothing was changed or
//! nobody can know. What was promised is looked at after each round.

use super::kills::look::nodes_agree;
use super::kills::people::{Person, of_a_lost_database};
use super::kills::{PEOPLE, all_work, check, keys_open, show};
use acceptance::dice::{self, Dice};
use acceptance::postgres::{OwnServer, Shutdown};
use acceptance::{Actor, Cast, Database, Deployed, Pooler, World};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

const ROUNDS: usize = 6;
/// Of each round: so often all connections are cut before the server ends.
const CUTS: usize = 4;
/// Changes that are begun between two cuts.
const BETWEEN: u64 = 12;

/// What those who only read and call have heard.
#[derive(Default)]
struct Heard {
    right: AtomicU32,
    away: AtomicU32,
    calls: AtomicU32,
}

/// What happens to it.
enum Loss {
    /// Connections are cut, and nothing else.
    Cut,
    /// It ends and starts again.
    Restart(Shutdown),
}

#[test]
fn postgresql_is_cut_off_and_restarted_under_load() {
    let Some((mut server, url)) = OwnServer::start() else {
        return;
    };
    let cast = World::with_cast(Database::at(url));
    goes_away(&cast, "a database that goes away", |loss| match loss {
        Loss::Cut => server.cut(),
        Loss::Restart(how) => server.restart(how),
    });
}

/// The sessions that it lends are cut under whoever has them, and it ends in order or is killed.
#[test]
fn a_pooler_is_cut_off_and_restarted_under_load() {
    let Some((server, url)) = OwnServer::start() else {
        return;
    };
    let Some(mut pooler) = Pooler::start(&url) else { return };
    let cast = World::with_cast(Database::behind(&pooler));
    goes_away(&cast, "a pooler that goes away", |loss| match loss {
        Loss::Cut => server.cut(),
        Loss::Restart(how) => pooler.restart(how),
    });
}

fn goes_away(cast: &Cast, what: &str, mut lose: impl FnMut(Loss)) {
    let dev = cast.iris_on_dev();
    let seed = dice::seed(what);
    let mut dice = Dice::new(seed);
    let mut people: Vec<Person> = (0..PEOPLE)
        .map(|number| Person::new(number, seed, cast, &dev))
        .collect();
    let heard = Heard::default();
    for round in 1..=ROUNDS {
        people.iter_mut().for_each(|person| person.unsteady = true);
        let waits: Vec<u64> = (0..CUTS).map(|_| 1 + dice.below(BETWEEN)).collect();
        let how = [Shutdown::Fast, Shutdown::Immediate][round % 2];
        one_round(cast, &dev, &mut people, (&mut lose, how), &waits, &heard);
        check(cast, &dev, &mut people, round == ROUNDS);
    }
    keys_open(&dev, &mut people, &mut dice);
    nodes_agree(cast, &dev, 1);
    // Whoever looks after the nodes, and tells them, is still at it: without waiting for anything that would ask again.
    let second = dev.new_key("second");
    dev.call(&second).expect(200);
    let revoke = dev.path(&format!("/keys/{}/revoke?wait=30s", dev.key_id("second")));
    cast.dana.post(&revoke, json!({})).expect(200);
    dev.call(&second).expect(401);
    let node = dev.processes(1)[0];
    node.kill();
    acceptance::eventually("the node is replaced", || {
        dev.try_call(&dev.key).is_ok_and(|answer| answer.status == 200)
    });
    let (acknowledged, unclear) = show(&people);
    let lost: u32 = people.iter().map(|person| person.lost).sum();
    println!("{lost} changes heard that the database was away, {unclear} of them that nobody knows");
    assert!(acknowledged > lost && lost > 0);
    let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
    let (right, away, calls) = (of(&heard.right), of(&heard.away), of(&heard.calls));
    println!("{right:5} read, {away} times the database was away; {calls} calls of the deployment");
    assert!(right > away && calls > 0);
    assert!(
        !cast.world.server.logged().contains("a request failed"),
        "{}",
        cast.world.server.tail()
    );
}

/// Tells the others when it goes, however it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Four change, two read and one calls while connections are cut and the server ends and comes back.
fn one_round(
    cast: &Cast,
    dev: &Deployed,
    people: &mut [Person],
    (lose, how): (&mut impl FnMut(Loss), Shutdown),
    waits: &[u64],
    heard: &Heard,
) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let told = all_work(scope, people);
        for (reader, path) in [
            (&cast.dana, "/services?limit=5"),
            (&cast.omar, "/deployments/iris-on-dev"),
        ] {
            scope.spawn(|| read(reader, path, &over, heard));
        }
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                dev.answers();
                heard.calls.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _over = Over(&over);
        for wait in waits {
            // Some moment between two changes, or in one. Whoever does not know what became of theirs waits for the end
            // of the round.
            for _ in 0..*wait {
                let _ = told.recv();
            }
            lose(Loss::Cut);
        }
        lose(Loss::Restart(how));
        for _ in 0..BETWEEN {
            let _ = told.recv();
        }
        drop(told);
    });
}

fn read(reader: &Actor, path: &str, over: &AtomicBool, heard: &Heard) {
    while !over.load(Ordering::Relaxed) {
        let answer = reader.get(path);
        if answer.status == 200 {
            heard.right.fetch_add(1, Ordering::Relaxed);
        } else {
            of_a_lost_database(&answer);
            heard.away.fetch_add(1, Ordering::Relaxed);
        }
    }
}
