//! Somebody who creates, changes and deletes without end, and remembers what was answered.
//!
//! Each works on things of their own, so that what they remember is all there is to know. What they may not do they try,
//! too: it is refused, and must leave nothing.

use acceptance::castoff::Sha256;
use acceptance::dice::Dice;
use acceptance::promises::{Outcome, Promises, State};
use acceptance::{Actor, Answer, Cast, Deployed, Request, models};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// One at work.
pub struct Person {
    number: usize,
    dice: Dice,
    dana: Actor,
    admin: Actor,
    sam: Actor,
    /// `/deployments/<name>` of the deployment that runs, and that all of them make keys for.
    running: String,
    /// What was answered.
    pub promises: Promises,
    /// Ids and, where they were shown, texts of keys, by thing.
    pub keys: BTreeMap<String, (String, Option<String>)>,
    /// What has been spoken of since the kill before.
    pub touched: Vec<String>,
    count: usize,
    /// Answers, and the time that they took.
    pub answered: (u32, Duration),
    /// How often what was acknowledged, refused, not answered.
    pub tally: BTreeMap<String, [u32; 3]>,
    told: Option<Sender<()>>,
    /// The database may be away: that is no answer, and must be said.
    pub unsteady: bool,
    /// How often that was said.
    pub lost: u32,
}

/// A change: what it is called, its request, and what it does.
struct Change {
    what: String,
    request: Request,
    effects: Vec<(String, State)>,
}

impl Person {
    /// A new one, with nothing yet.
    pub fn new(number: usize, seed: u64, cast: &Cast, running: &Deployed) -> Self {
        Self {
            number,
            dice: Dice::new(seed + number as u64),
            dana: cast.dana.clone(),
            admin: cast.admin.clone(),
            sam: cast.sam.clone(),
            running: running.path(""),
            promises: Promises::default(),
            keys: BTreeMap::new(),
            touched: Vec::new(),
            count: 0,
            answered: (0, Duration::ZERO),
            tally: BTreeMap::new(),
            told: None,
            unsteady: false,
            lost: 0,
        }
    }

    /// The start of the names of all they make.
    pub fn mark(&self) -> String {
        format!("p{}-", self.number)
    }

    /// Works until no answer comes, or nobody wants to hear of it any more. Each request is told of right before it is sent.
    pub fn work(&mut self, told: Sender<()>) {
        self.told = Some(told);
        while self.told.is_some() && self.step() {}
        self.told = None;
    }

    fn step(&mut self) -> bool {
        let change = match self.dice.below(30) {
            0..=2 => self.make_service(),
            3 => self.describe_service(),
            4..=6 => self.upload(),
            7 => self.remove_version(),
            8 | 9 => self.grant(),
            10 => self.take_grant(),
            11..=14 => self.make_key(),
            15..=17 => self.turn_key("active", "revoke", Some("revoked")),
            18 => self.turn_key("revoked", "activate", Some("active")),
            19 => self.turn_key("revoked", "", None),
            20 => self.make_user(),
            21 => self.change_user(),
            22 => self.make_group(),
            23 => self.change_member(),
            24 => self.make_infrastructure(),
            25 => self.change_infrastructure(),
            26 => self.make_deployment(),
            27 => self.change_deployment(),
            28 => self.remove_something(),
            _ => self.what_is_refused(),
        };
        change.is_none_or(|change| self.ask(change))
    }

    /// Whether an answer came.
    fn ask(&mut self, change: Change) -> bool {
        let Change { what, request, effects } = change;
        self.touched.extend(effects.iter().map(|(thing, _)| thing.clone()));
        let gone = self.told.as_ref().is_some_and(|told| told.send(()).is_err());
        if gone && self.unsteady {
            self.told = None;
        }
        let began = Instant::now();
        let answer = request.try_send();
        let outcome = match &answer {
            Err(_) => Outcome::Unknown,
            Ok(answer) if (200..300).contains(&answer.status) => Outcome::Acknowledged,
            Ok(answer) if self.unsteady && answer.status == 503 => {
                self.lost += 1;
                of_a_lost_database(answer)
            }
            Ok(answer) => {
                assert!(
                    (400..500).contains(&answer.status),
                    "{what}: {} {}",
                    answer.status,
                    answer.text()
                );
                Outcome::Refused
            }
        };
        if let Ok(answer) = &answer {
            self.answered.0 += 1;
            self.answered.1 += began.elapsed();
            self.learn_key(answer, &effects);
        }
        let kind: String = what.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        self.tally.entry(kind).or_default()[outcome as usize] += 1;
        self.promises.heard(&what, effects, outcome);
        outcome != Outcome::Unknown
    }

    fn learn_key(&mut self, answer: &Answer, effects: &[(String, State)]) {
        if let (201, Some(id), Some(text)) = (answer.status, answer["id"].as_str(), answer["key"].as_str()) {
            let key = (id.to_owned(), Some(text.to_owned()));
            self.keys.insert(effects[0].0.clone(), key);
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("{}{}", self.mark(), self.count)
    }

    fn one_there(&mut self, start: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
        let found: Vec<String> = self
            .promises
            .there(start)
            .filter(|thing| fits(thing))
            .map(str::to_owned)
            .collect();
        self.dice.one_of(found)
    }

    fn a_service(&mut self) -> Option<String> {
        self.one_there("/services/", |thing| thing.matches('/').count() == 2)
    }

    fn change(what: &str, request: Request, thing: &str, to: State) -> Option<Change> {
        Some(Change {
            what: format!("{what} {thing}"),
            request,
            effects: vec![(thing.to_owned(), to)],
        })
    }

    fn make_service(&mut self) -> Option<Change> {
        let (name, about) = (self.name(), self.name());
        let request = self
            .dana
            .request("POST", "/services")
            .json(&json!({"name": name, "description": about}));
        Self::change("make", request, &format!("/services/{name}"), Some(about))
    }

    fn describe_service(&mut self) -> Option<Change> {
        let (service, about) = (self.a_service()?, self.name());
        let request = self
            .dana
            .request("PATCH", &service)
            .json(&json!({"description": about}));
        Self::change("describe", request, &service, Some(about))
    }

    fn upload(&mut self) -> Option<Change> {
        let (service, version) = (self.a_service()?, self.name());
        // A model with a text of its own in it: other bytes, the same answers. Small, or more than is written at once.
        let size = [100, 100, 300_000, 3_000_000][usize::try_from(self.dice.below(4)).unwrap()];
        let package = models::with_text("iris-columns.onnx", &[&*version, &*"x".repeat(size)].concat());
        let digest = Sha256::of(&package).to_string();
        let thing = format!("{service}/versions/{version}");
        let request = self
            .dana
            .request("PUT", &thing)
            .header("content-type", "application/octet-stream");
        Self::change("upload", request.body(package), &thing, Some(digest))
    }

    fn remove_version(&mut self) -> Option<Change> {
        let version = self.one_there("/services/", |thing| thing.contains("/versions/"))?;
        Self::change("remove", self.dana.request("DELETE", &version), &version, None)
    }

    fn grant(&mut self) -> Option<Change> {
        let service = self.a_service()?;
        let privilege = self.dice.one_of(["read", "write", "deploy", "admin"])?;
        let thing = format!("{service}/grants/devops");
        let request = self
            .dana
            .request("PUT", &thing)
            .json(&json!({"privileges": [privilege]}));
        Self::change("grant", request, &thing, Some(privilege.to_owned()))
    }

    fn take_grant(&mut self) -> Option<Change> {
        let grant = self.one_there("/services/", |thing| thing.contains("/grants/"))?;
        Self::change("take away", self.dana.request("DELETE", &grant), &grant, None)
    }

    fn make_key(&mut self) -> Option<Change> {
        let service = self.a_service();
        let ring = self
            .dice
            .one_of([Some(self.running.clone()), service].into_iter().flatten())?;
        let name = self.name();
        let request = self
            .dana
            .request("POST", &format!("{ring}/keys"))
            .json(&json!({"name": name}));
        Self::change(
            "make",
            request,
            &format!("{ring}/keys#{name}"),
            Some("active".to_owned()),
        )
    }

    fn turn_key(&mut self, from: &str, verb: &str, to: Option<&str>) -> Option<Change> {
        let keys = self
            .keys
            .iter()
            .filter(|(thing, _)| self.promises.state(thing) == Some(from));
        let keys: Vec<_> = keys.map(|(thing, (id, _))| (thing.clone(), id.clone())).collect();
        let (thing, id) = self.dice.one_of(keys)?;
        let ring = thing.split('#').next()?;
        let request = match verb {
            "" => self.dana.request("DELETE", &format!("{ring}/{id}")),
            verb => self.dana.request("POST", &format!("{ring}/{id}/{verb}")),
        };
        Self::change(&format!("{from}: {verb}"), request, &thing, to.map(str::to_owned))
    }

    fn make_user(&mut self) -> Option<Change> {
        let name = self.name();
        let body = json!({"name": name, "password": format!("{name} and a long password")});
        let request = self.admin.request("POST", "/users").json(&body);
        Self::change("make", request, &format!("/users/{name}"), Some("on".to_owned()))
    }

    fn change_user(&mut self) -> Option<Change> {
        let user = self.one_there("/users/", |_| true)?;
        let off = self.promises.state(&user) == Some("on");
        let request = self.admin.request("PATCH", &user).json(&json!({"disabled": off}));
        Self::change(
            "switch",
            request,
            &user,
            Some(if off { "off" } else { "on" }.to_owned()),
        )
    }

    fn make_group(&mut self) -> Option<Change> {
        let name = self.name();
        let request = self.admin.request("POST", "/groups").json(&json!({"name": name}));
        Self::change("make", request, &format!("/groups/{name}"), Some("group".to_owned()))
    }

    fn change_member(&mut self) -> Option<Change> {
        let group = self.one_there("/groups/", |thing| thing.matches('/').count() == 2)?;
        let user = self.one_there("/users/", |_| true)?;
        let thing = format!("{group}/members/{}", user.trim_start_matches("/users/"));
        match self.promises.state(&thing) {
            None => Self::change(
                "add",
                self.admin.request("PUT", &thing),
                &thing,
                Some("member".to_owned()),
            ),
            Some(_) => Self::change("leave", self.admin.request("DELETE", &thing), &thing, None),
        }
    }

    fn make_infrastructure(&mut self) -> Option<Change> {
        let (name, about) = (self.name(), self.name());
        let body = json!({"name": name, "kind": "local", "stage": "test", "description": about});
        let request = self.admin.request("POST", "/infrastructures").json(&body);
        Self::change("make", request, &format!("/infrastructures/{name}"), Some(about))
    }

    fn change_infrastructure(&mut self) -> Option<Change> {
        let place = self.one_there("/infrastructures/", |_| true)?;
        let about = self.name();
        let request = self.admin.request("PATCH", &place).json(&json!({"description": about}));
        Self::change("describe", request, &place, Some(about))
    }

    /// Switched off: a world full of nodes would be slow. The one that runs is looked at by the nodes' own tests.
    fn make_deployment(&mut self) -> Option<Change> {
        if self
            .promises
            .there("/deployments/")
            .filter(|thing| !thing.contains('#'))
            .count()
            > 3
        {
            return None;
        }
        let version = self.one_there("/services/", |thing| thing.contains("/versions/"))?;
        let (service, version) = version.trim_start_matches("/services/").split_once("/versions/")?;
        let name = self.name();
        let body =
            json!({"name": name, "service": service, "infrastructure": "dev", "version": version, "enabled": false});
        let request = self.dana.request("POST", "/deployments").json(&body);
        Self::change(
            "make",
            request,
            &format!("/deployments/{name}"),
            Some(format!("{version} on 1")),
        )
    }

    fn change_deployment(&mut self) -> Option<Change> {
        let deployment = self.one_there("/deployments/", |thing| !thing.contains('#'))?;
        let version = self.promises.state(&deployment)?.split(' ').next()?.to_owned();
        let replicas = 1 + self.dice.below(5);
        let body = json!({"scale": {"replicas": replicas}});
        let request = self.dana.request("PATCH", &deployment).json(&body);
        Self::change("scale", request, &deployment, Some(format!("{version} on {replicas}")))
    }

    /// With all that hangs on it. What is in the way refuses it.
    fn remove_something(&mut self) -> Option<Change> {
        let nouns = self.dice.one_of([
            "/services/",
            "/users/",
            "/groups/",
            "/infrastructures/",
            "/deployments/",
        ])?;
        let whole = self.one_there(nouns, |thing| thing.matches('/').count() == 2)?;
        let name = whole.trim_start_matches(nouns);
        let (below, as_member) = (format!("{whole}/"), format!("/members/{name}"));
        let hangs_on = |thing: &&str| *thing == whole || thing.starts_with(&below) || thing.ends_with(&as_member);
        let effects = self
            .promises
            .there("/")
            .filter(hangs_on)
            .map(|thing| (thing.to_owned(), None))
            .collect();
        let by = if matches!(nouns, "/services/" | "/deployments/") {
            &self.dana
        } else {
            &self.admin
        };
        Some(Change {
            what: format!("remove {whole}"),
            request: by.request("DELETE", &whole),
            effects,
        })
    }

    fn what_is_refused(&mut self) -> Option<Change> {
        let name = self.name();
        match self.dice.below(3) {
            0 => {
                let request = self.sam.request("POST", "/services").json(&json!({"name": name}));
                Self::change(
                    "without permission: make",
                    request,
                    &format!("/services/{name}"),
                    Some(String::new()),
                )
            }
            1 => {
                let service = self.a_service()?;
                let request = self.dana.request("PATCH", &service).header("if-match", "\"9999\"");
                Self::change(
                    "stale: describe",
                    request.json(&json!({"description": name})),
                    &service,
                    Some(name),
                )
            }
            _ => {
                let request = self
                    .admin
                    .request("POST", "/users")
                    .json(&json!({"name": name, "password": "short"}));
                Self::change(
                    "malformed: make",
                    request,
                    &format!("/users/{name}"),
                    Some("on".to_owned()),
                )
            }
        }
    }

    /// Looks again at what a list of keys says: a key that was made while nobody could answer has an id, too.
    pub fn learn_ids(&mut self, listed: impl Iterator<Item = (String, Value)>) {
        for (thing, key) in listed {
            if let (true, Some(id)) = (thing.contains(&format!("#{}", self.mark())), key["id"].as_str()) {
                self.keys.entry(thing).or_insert_with(|| (id.to_owned(), None));
            }
        }
    }
}

/// What an answer means that says that the database is away.
#[track_caller]
pub fn of_a_lost_database(answer: &Answer) -> Outcome {
    assert_eq!(answer.status, 503, "{} {}", answer.what, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
    match answer.string("/type").rsplit('/').next() {
        Some("unavailable") => Outcome::Refused,
        Some("unclear") => Outcome::Unknown,
        _ => panic!("{} answered {}", answer.what, answer.text()),
    }
}
