//! What one caller is shown and told, against what follows from the model: lists, single reads, can-i, the audit.

use super::chance::{ACCOUNTS, DEPLOYMENTS, INFRASTRUCTURES, SERVICES};
use super::company::{ACTIONS, Company, Privileges, Verdict};
use super::deeds::key_path;
use super::proofs::Proof;
use acceptance::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// What is not as it should be, in words.
#[derive(Default)]
pub struct Differences(pub Vec<String>);

impl Differences {
    pub fn compare<T: PartialEq + Debug>(&mut self, what: &str, expected: T, got: T) {
        if expected != got {
            self.0.push(format!("{what}: expected {expected:?}, got {got:?}"));
        }
    }
}

/// Everything of one account: `pair` is what can-i is asked about.
pub fn look(company: &Company, proof: &Proof, pair: (&str, &str)) -> Differences {
    let mut differences = Differences::default();
    let d = &mut differences;
    lists(company, proof, d);
    single_reads(company, proof, d);
    can_i(company, proof, pair, d);
    let rows: BTreeSet<i64> = proof
        .list("/audit")
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    d.compare("the audit", company.rows_of(&proof.name), rows);
    differences
}

/// The privileges that an item says one has on it; that of an owner is more than a privilege.
fn privileges(item: &Value) -> BTreeSet<String> {
    let said = item["my_privileges"].as_array().into_iter().flatten();
    let words = said.filter_map(Value::as_str).filter(|word| *word != "owner");
    words.map(str::to_owned).collect()
}

fn words(privileges: &Privileges) -> BTreeSet<String> {
    privileges.iter().map(|word| (*word).to_owned()).collect()
}

fn lists(company: &Company, proof: &Proof, d: &mut Differences) {
    let who = proof.name.as_str();
    let shown = |path| -> BTreeMap<String, BTreeSet<String>> {
        let items = proof.list(path);
        let named = items
            .iter()
            .map(|item| (item["name"].as_str().unwrap().to_owned(), privileges(item)));
        named.collect()
    };
    let seen = company.services.keys().filter(|name| company.sees_service(who, name));
    let seen = seen.map(|name| (name.clone(), words(&company.on_service(who, name))));
    d.compare("GET /services", seen.collect(), shown("/services"));
    let seen = company
        .infrastructures
        .keys()
        .filter(|name| company.sees_infrastructure(who, name));
    let seen = seen.map(|name| (name.clone(), words(&company.on_infrastructure(who, name))));
    d.compare("GET /infrastructures", seen.collect(), shown("/infrastructures"));
    let seen = company
        .deployments
        .keys()
        .filter(|name| company.sees_deployment(who, name));
    let names: BTreeSet<String> = shown("/deployments").into_keys().collect();
    d.compare("GET /deployments", seen.cloned().collect(), names);
}

fn single_reads(company: &Company, proof: &Proof, d: &mut Differences) {
    let who = proof.name.as_str();
    let mut read = |path: String, seen: bool, has: &Privileges| {
        let answer = proof.send("GET", &path, &Value::Null);
        d.compare(&format!("GET {path}"), if seen { 200 } else { 404 }, answer.status);
        if answer.status == 200 && !has.is_empty() {
            d.compare(
                &format!("GET {path}: my_privileges"),
                words(has),
                privileges(&answer.json),
            );
        }
    };
    for name in SERVICES {
        read(
            format!("/services/{name}"),
            company.sees_service(who, name),
            &company.on_service(who, name),
        );
    }
    for name in INFRASTRUCTURES {
        let has = company.on_infrastructure(who, name);
        read(
            format!("/infrastructures/{name}"),
            company.sees_infrastructure(who, name),
            &has,
        );
    }
    for name in DEPLOYMENTS {
        read(
            format!("/deployments/{name}"),
            company.sees_deployment(who, name),
            &Privileges::new(),
        );
    }
    for key in company.keys.iter().rev().take(3) {
        let seen = company.on_ring(who, &key.ring, ("read", "", ""), ("read", "view", ""));
        read(key_path(key), seen == Verdict::Allowed, &Privileges::new());
    }
    // People are the platform's: what is not there says so to who may know, and nothing to anybody else.
    let name = ACCOUNTS[company.audit.len() % ACCOUNTS.len()];
    let there = company
        .accounts
        .get(name)
        .is_some_and(|account| account.nouns == "users");
    let expected = match company.is_admin(who) {
        false => 403,
        true if there => 200,
        true => 404,
    };
    let path = format!("/users/{name}");
    d.compare(
        &format!("GET {path}"),
        expected,
        proof.send("GET", &path, &Value::Null).status,
    );
}

fn can_i(company: &Company, proof: &Proof, (service, infrastructure): (&str, &str), d: &mut Differences) {
    for (action, needs) in ACTIONS {
        let path = format!("/can-i?action={action}&service={service}&infrastructure={infrastructure}");
        let answer = proof.send("GET", &path, &Value::Null);
        let got = match (answer.status, answer.json["allowed"].as_bool()) {
            (200, Some(true)) => Ok(Verdict::Allowed),
            (200, Some(false)) => Ok(Verdict::Forbidden),
            (422, None) => Ok(Verdict::Hidden),
            (status, _) => Err(status),
        };
        let expected = company.verdict(&proof.name, needs, service, infrastructure);
        d.compare(&format!("GET {path}"), Ok(expected), got);
    }
}
