//! `kill -9` of the control plane at random moments, while people create, change, delete, upload and revoke.
//!
//! `CASTOFF_KILLS` says how often (40), `CASTOFF_SEED` with which chances. What a failure prints is what was promised and
//! what was found.

pub mod look;
pub mod people;

use acceptance::dice::{self, Dice};
use acceptance::{Cast, Deployed, eventually, on_both_databases};
use look::{Look, age, nodes_agree, nodes_are_one_to_one, package_files};
use people::Person;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, Scope};
use std::time::Duration;

/// How many work at the same time.
pub const PEOPLE: usize = 4;
/// Nodes dial again after a random wait of up to seconds: they are asked to agree after each so many kills.
const NODES_AGREE_EVERY: usize = 5;
/// All lists in which something of theirs can stand.
const LISTS: [&str; 5] = ["/services", "/users", "/groups", "/infrastructures", "/deployments"];

fn kills() -> usize {
    let given = std::env::var("CASTOFF_KILLS").ok();
    given.map_or(40, |text| text.parse().expect("CASTOFF_KILLS is a number"))
}

on_both_databases! {
    /// After each restart everything acknowledged is there, nothing refused is, and what was under way is there wholly or
    /// not at all; in the end no file is left over and the nodes hold what the database says.
    fn nothing_acknowledged_is_lost_and_nothing_refused_is_there(cast: Cast) {
        let mut cast = cast;
        let dev = cast.iris_on_dev();
        let seed = dice::seed("kills of the control plane");
        let mut dice = Dice::new(seed);
        let mut people: Vec<Person> = (0..PEOPLE).map(|number| Person::new(number, seed, &cast, &dev)).collect();
        for round in 1..=kills() {
            let replicas = 1 + usize::from(round / NODES_AGREE_EVERY % 2 == 1);
            let scaling = (round % NODES_AGREE_EVERY == 1).then_some(replicas);
            one_kill(&mut cast, &dev, &mut people, &mut dice, scaling);
            check(&cast, &dev, &mut people, round == kills());
            nodes_are_one_to_one(&cast, &dev, 1 + (round - 1) / NODES_AGREE_EVERY % 2);
            if round % NODES_AGREE_EVERY == 0 || round == kills() {
                scale(&cast, &dev, replicas);
                nodes_agree(&cast, &dev, replicas);
                keys_open(&dev, &mut people, &mut dice);
            }
        }
        no_file_is_left(&mut cast);
        let (acknowledged, unknown) = show(&people);
        assert!(acknowledged > unknown && unknown > 0, "{acknowledged} acknowledged, {unknown} under way");
    }
}

/// Lets each work on a thread of theirs, and hears of every change that is begun.
pub fn all_work<'scope>(scope: &'scope Scope<'scope, '_>, people: &'scope mut [Person]) -> Receiver<()> {
    let (tells, told) = mpsc::channel();
    for person in people {
        person.touched.clear();
        let tells = tells.clone();
        scope.spawn(move || person.work(tells));
    }
    told
}

/// Lets them work, and kills right after a request was sent, or at some moment of its answer being made.
fn one_kill(cast: &mut Cast, dev: &Deployed, people: &mut [Person], dice: &mut Dice, scaling: Option<usize>) {
    let answered = people.iter().fold((1, Duration::from_millis(20)), |sum, person| {
        (sum.0 + person.answered.0, sum.1 + person.answered.1)
    });
    let one = answered.1 / answered.0;
    thread::scope(|scope| {
        let told = all_work(scope, people);
        if let Some(replicas) = scaling {
            // Nodes are started or stopped while it dies.
            scale(cast, dev, replicas);
        }
        for _ in 0..=dice.below(24) {
            told.recv().expect("they work until it is killed");
        }
        if dice.below(2) == 0 {
            thread::sleep(one.mul_f64(dice.below(1_500) as f64 / 1_000.0));
        }
        cast.world.server.kill();
    });
    cast.world.server.launch();
}

/// So many nodes are wanted.
pub fn scale(cast: &Cast, dev: &Deployed, replicas: usize) {
    let body = json!({"scale": {"replicas": replicas}});
    cast.dana.patch(&dev.path(""), body).expect_any(&[200, 202]);
}

/// Settles what was under way, and looks whether all promises are kept.
pub fn check(cast: &Cast, dev: &Deployed, people: &mut [Person], last: bool) {
    let mut look = Look::new(&cast.admin);
    let mut broken = Vec::new();
    for person in people {
        broken.extend(person.promises.settle(|thing| look.at(thing)));
        let mark = person.mark();
        for list in LISTS {
            let listed = look.named(list, '/', &mark);
            let start = format!("{list}/{mark}");
            // Only whole things: what hangs on them is no item of this list.
            broken.extend(person.promises.unlike(&start, &listed).into_iter().filter(|said| {
                let thing = said.split(':').next().unwrap_or_default();
                thing.matches('/').count() == 2 && !thing.contains('#')
            }));
        }
        let ring = dev.path("/keys");
        broken.extend(
            person
                .promises
                .unlike(&format!("{ring}#{mark}"), &look.named(&ring, '#', &mark)),
        );
        let things: BTreeSet<String> = match last {
            true => person.promises.known().map(str::to_owned).collect(),
            false => person.touched.iter().cloned().collect(),
        };
        broken.extend(
            person
                .promises
                .broken(things.iter().map(String::as_str), |thing| look.at(thing)),
        );
        for ring in things
            .iter()
            .filter_map(|thing| thing.split_once('#'))
            .map(|(ring, _)| ring)
        {
            let keys = look.list(ring).iter();
            let keys = keys.map(|key| {
                (
                    format!("{ring}#{}", key["name"].as_str().unwrap_or_default()),
                    key.clone(),
                )
            });
            person.learn_ids(keys.collect::<Vec<_>>().into_iter());
        }
    }
    assert!(broken.is_empty(), "{broken:#?}\n--- log\n{}", cast.world.server.tail());
}

/// The newest keys and some older ones: those that are active open, those that are not do not.
pub fn keys_open(dev: &Deployed, people: &mut [Person], dice: &mut Dice) {
    let ring = dev.path("/keys#");
    for person in people {
        let known = person.keys.iter().filter(|(thing, _)| thing.starts_with(&ring));
        let known: Vec<_> = known
            .filter_map(|(thing, (_, text))| Some((thing.clone(), text.clone()?)))
            .collect();
        let fresh = known.iter().filter(|(thing, _)| person.touched.contains(thing)).take(5);
        let older = (0..5).filter_map(|_| dice.one_of(known.iter()));
        for (thing, text) in fresh.chain(older) {
            let state = person.promises.state(thing);
            let expected = if state == Some("active") { 200 } else { 401 };
            assert_eq!(dev.call(text).status, expected, "{thing} is {state:?}");
        }
    }
}

/// What uploads that were cut short have left goes away by itself, once it is old; what versions name stays.
fn no_file_is_left(cast: &mut Cast) {
    cast.world.server.kill();
    age(&cast.world.server.data.join("packages"));
    cast.world.server.launch();
    let mut named = BTreeSet::new();
    for service in cast.admin.list("/services") {
        let path = format!("/services/{}/versions", service["name"].as_str().expect("a name"));
        let versions = cast.admin.list(&path);
        named.extend(
            versions
                .iter()
                .filter_map(|version| Some(version["digest"].as_str()?.to_owned())),
        );
    }
    eventually("only what versions name is kept", || {
        let (kept, unfinished) = package_files(cast);
        let over: Vec<_> = kept.difference(&named).collect();
        assert!(named.is_subset(&kept), "a version's package is missing");
        match over.is_empty() && unfinished == 0 {
            true => Ok(()),
            false => Err(format!("{unfinished} unfinished files, and {over:?}")),
        }
    });
}

/// Shows what they did, for a run in which everything was refused would prove nothing: how much was acknowledged, and of
/// how much nobody knows.
pub fn show(people: &[Person]) -> (u32, u32) {
    let mut tally: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    for (kind, counts) in people.iter().flat_map(|person| &person.tally) {
        let kind = kind.replace("p-", "…").replace("…/", "…").to_owned();
        let sum = tally.entry(kind).or_default();
        (0..3).for_each(|at| sum[at] += counts[at]);
    }
    for (kind, [acknowledged, refused, unknown]) in &tally {
        println!("{acknowledged:5} acknowledged {refused:5} refused {unknown:5} under way: {kind}");
    }
    let acknowledged: u32 = tally.values().map(|counts| counts[0]).sum();
    let unknown: u32 = tally.values().map(|counts| counts[2]).sum();
    (acknowledged, unknown)
}
