//! Histories by chance: what is granted, joined, handed over, deleted and made again under the same name. After every step
//! lists, single reads, can-i, deeds and the audit agree with each other and with a small model of the design.
//!
//! `CASTOFF_SEED=N` plays a failure again; `CASTOFF_EXHAUSTIVE=1` plays longer.

mod agreement;
mod chance;
mod company;
mod deeds;
mod heirs;
mod proofs;
mod rules;

use acceptance::dice::{Dice, seed};
use acceptance::{Database, Value, World};
use agreement::Differences;
use chance::{INFRASTRUCTURES, SERVICES};
use company::{Account, Company, Group, Place, Row};
use deeds::Deed;
use proofs::Proof;
use std::collections::BTreeMap;

/// Steps of a history, each with about 150 requests: 40 take about ten seconds.
fn steps() -> usize {
    if std::env::var("CASTOFF_EXHAUSTIVE").is_ok_and(|set| set == "1") {
        1_000
    } else {
        40
    }
}

struct History {
    dice: Dice,
    company: Company,
    /// The first admin, who is never touched.
    root: Proof,
    proofs: Vec<Proof>,
    /// What was tried, for the text of a failure.
    told: Vec<String>,
}

impl History {
    fn begin(world: &World, seed: u64) -> Self {
        let mut company = Company::default();
        let number = company.number();
        company.accounts.insert(
            "admin".to_owned(),
            Account {
                number,
                nouns: "users",
                disabled: false,
            },
        );
        let group = Group {
            members: ["admin".to_owned()].into(),
            create_service: true,
            admin: true,
        };
        company.groups.insert("admins".to_owned(), group);
        let root = Proof::token(&world.server.url, ("admin", number), world.admin.token());
        let mut history = Self {
            dice: Dice::new(seed),
            company,
            root,
            proofs: Vec::new(),
            told: Vec::new(),
        };
        history.note((None, None), &BTreeMap::from([("admin".to_owned(), number)]));
        history
    }

    /// The new rows of the audit: who did it by the names of then, and what it was about.
    fn note(&mut self, place: Place, names: &BTreeMap<String, company::Number>) {
        let last = self.company.audit.iter().map(|row| row.id).max().unwrap_or(0);
        for row in self.root.list("/audit") {
            let (id, actor) = (row["id"].as_i64().unwrap(), row["actor"].as_str().unwrap());
            if id > last {
                let by = names.get(actor).copied();
                self.company.audit.push(Row { id, by, place });
            }
        }
    }

    fn names(&self) -> BTreeMap<String, company::Number> {
        let accounts = self.company.accounts.iter();
        accounts.map(|(name, account)| (name.clone(), account.number)).collect()
    }

    /// Somebody tries something; what happens is what the model says. Most of the time it is something that they may.
    fn step(&mut self) {
        let holding = self.proofs.iter().filter(|proof| proof.holds(&self.company)).cloned();
        let who = match self.dice.below(4) {
            0 => self.root.clone(),
            _ => self.dice.one_of(holding).unwrap_or_else(|| self.root.clone()),
        };
        let deed = match self.dice.below(4) {
            0 => chance::draw(&mut self.dice, &self.company),
            _ => self.allowed(&who),
        };
        self.try_it(&who, &deed);
    }

    /// Something that they may, if it is found soon: there is somebody who may nothing.
    fn allowed(&mut self, who: &Proof) -> Deed {
        let mut deed = chance::draw(&mut self.dice, &self.company);
        for _ in 0..40 {
            if deed.refusal(&self.company, &who.name).is_none() {
                break;
            }
            deed = chance::draw(&mut self.dice, &self.company);
        }
        deed
    }

    /// The first admin fills the company, so that the history is about something.
    fn open(&mut self) {
        for _ in 0..40 {
            let root = self.root.clone();
            let deed = self.allowed(&root);
            self.try_it(&root, &deed);
        }
    }

    fn try_it(&mut self, who: &Proof, deed: &Deed) {
        let (method, path, body, done) = deed.request();
        let refusal = deed.refusal(&self.company, &who.name);
        self.told
            .push(format!("{} {method} {path} {body} -> {refusal:?}", who.name));
        let answer = who.send(method, &path, &body);
        assert_eq!(
            answer.status,
            refusal.unwrap_or(done),
            "{}\n{}",
            answer.text(),
            self.so_far()
        );
        // Of a deployment that is gone nothing says where it was.
        let was = deed.place(&self.company, false);
        let mut names = self.names();
        if refusal.is_none() {
            self.did(who, deed, &answer.json);
        }
        names.extend(self.names());
        let place = match deed {
            Deed::RemoveDeployment { .. } => was,
            deed => deed.place(&self.company, refusal.is_none()),
        };
        self.note(place, &names);
    }

    fn did(&mut self, who: &Proof, deed: &Deed, answer: &Value) {
        deed.apply(&mut self.company, &who.name, answer);
        match deed {
            Deed::Account { nouns, name } => {
                let number = self.company.accounts[name].number;
                self.proofs.extend(Proof::of_new(&self.root, nouns, (name, number)));
            }
            Deed::Disable {
                name, disabled: true, ..
            } => {
                let of = self
                    .proofs
                    .iter_mut()
                    .filter(|proof| proof.session && proof.name == *name);
                of.for_each(|proof| proof.ended = true);
            }
            Deed::Service { name } => {
                let model = acceptance::models::read("iris-columns.onnx");
                who.upload(&format!("/services/{name}/versions/v1"), model).expect(201);
            }
            _ => {}
        }
    }

    /// Everybody looks at everything; who is gone is nobody.
    fn look(&mut self) {
        let pair = (
            self.dice.one_of(SERVICES).unwrap(),
            self.dice.one_of(INFRASTRUCTURES).unwrap(),
        );
        let (company, root) = (&self.company, &self.root);
        let (holding, gone): (Vec<&Proof>, Vec<&Proof>) = self.proofs.iter().partition(|proof| proof.holds(company));
        // A session differs from a token by how it is proven; deeds are done with both.
        let tokens = holding.into_iter().filter(|proof| !proof.session).chain([root]);
        let differences: Vec<String> = std::thread::scope(|scope| {
            let looks: Vec<_> = tokens
                .map(|proof| scope.spawn(move || (proof.name.clone(), agreement::look(company, proof, pair))))
                .collect();
            let looks = looks.into_iter().map(|look| look.join().unwrap());
            looks
                .flat_map(|(name, Differences(found))| found.into_iter().map(move |text| format!("{name}: {text}")))
                .collect()
        });
        assert!(differences.is_empty(), "{differences:#?}\n{}", self.so_far());
        for proof in gone.iter().rev().take(6) {
            assert_eq!(
                proof.send("GET", "/whoami", &Value::Null).status,
                401,
                "{proof:?}\n{}",
                self.so_far()
            );
        }
    }

    fn so_far(&self) -> String {
        let last = self.told.iter().enumerate().skip(self.told.len().saturating_sub(40));
        let lines: Vec<String> = last.map(|(number, text)| format!("{number}: {text}")).collect();
        format!("the end of the history:\n{}\n{:#?}", lines.join("\n"), self.company)
    }
}

fn play(database: Database) {
    let world = World::start(database);
    let mut history = History::begin(&world, seed("histories"));
    history.open();
    for _ in 0..steps() {
        history.step();
        history.look();
    }
    let done = history.told.iter().filter(|told| told.ends_with("None")).count();
    println!(
        "{} steps, {done} done, {} rows in the audit",
        history.told.len(),
        history.company.audit.len()
    );
}

#[test]
fn lists_reads_can_i_deeds_and_audit_agree_on_sqlite() {
    play(Database::Sqlite);
}

#[test]
fn lists_reads_can_i_deeds_and_audit_agree_on_postgresql() {
    if let Some(database) = Database::postgres() {
        play(database);
    }
}
