//! Lists (SQL), single answers (the decision table) and `can-i` agree, whatever was granted.

use acceptance::world::{Database, World, grant};
use acceptance::{Actor, json};
use serde_json::Value;
use std::collections::BTreeSet;

/// Small, seeded, the same everywhere: what is drawn is in the failure's text.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }

    fn some_of<'a>(&mut self, from: &[&'a str]) -> Vec<&'a str> {
        from.iter().copied().filter(|_| self.below(2) == 0).collect()
    }
}

const GROUPS: [&str; 3] = ["red", "green", "blue"];
const SERVICES: [&str; 4] = ["s-one", "s-two", "s-three", "s-four"];
const INFRASTRUCTURES: [&str; 3] = ["i-one", "i-two", "i-three"];

fn listed(actor: &Actor, path: &str) -> BTreeSet<String> {
    let items = actor.list(path);
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

fn seen_one_by_one<'a>(actor: &Actor, path: &str, names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names
        .filter(|name| match actor.get(&format!("{path}/{name}")).status {
            200 => true,
            404 => false,
            other => panic!("{path}/{name}: {other}"),
        })
        .map(str::to_owned)
        .collect()
}

fn allowed(actor: &Actor, query: &str) -> bool {
    let answer = actor.get(&format!("/can-i?{query}"));
    match answer.status {
        // What one may not see is unknown; an unknown action would be a mistake in here.
        422 => {
            assert_ne!(answer["errors"][0]["pointer"], "/action", "{}", answer.text());
            false
        }
        _ => answer.expect(200)["allowed"] == true,
    }
}

#[test]
fn lists_and_single_decisions_agree() {
    let seed = 0x00ca_5707;
    let mut dice = Dice(seed);
    let world = World::start(Database::Sqlite);
    let admin = &world.admin;
    for group in GROUPS {
        admin.post("/groups", json!({"name": group})).expect(201);
    }
    for name in SERVICES {
        admin.post("/services", json!({"name": name})).expect(201);
        admin
            .upload(name, "v1", acceptance::models::read("iris-columns.onnx"))
            .expect(201);
    }
    for name in INFRASTRUCTURES {
        admin
            .post(
                "/infrastructures",
                json!({"name": name, "kind": "local", "stage": "dev"}),
            )
            .expect(201);
    }
    let mut deployments = Vec::new();
    for service in SERVICES {
        for infrastructure in INFRASTRUCTURES {
            let body = json!({"service": service, "infrastructure": infrastructure, "version": "v1", "enabled": false});
            deployments.push(admin.post("/deployments", body).expect(201).string("/name"));
        }
    }
    let people: Vec<Actor> = (0..4)
        .map(|number| world.user(&format!("user-{number}"), &dice.some_of(&GROUPS)))
        .collect();

    for round in 0..3 {
        for group in GROUPS {
            for name in SERVICES {
                let privileges = dice.some_of(&["read", "write", "deploy", "admin"]);
                change(admin, "services", name, group, &privileges);
            }
            for name in INFRASTRUCTURES {
                let privilege = ["", "view", "deploy", "admin"][dice.below(4)];
                let privileges: Vec<&str> = Some(privilege).filter(|word| !word.is_empty()).into_iter().collect();
                change(admin, "infrastructures", name, group, &privileges);
            }
        }
        for person in &people {
            let context = format!("seed {seed:#x}, round {round}, {}", person.name);
            let services = listed(person, "/services");
            let infrastructures = listed(person, "/infrastructures");
            assert_eq!(
                services,
                seen_one_by_one(person, "/services", SERVICES.into_iter()),
                "{context}"
            );
            let one_by_one = seen_one_by_one(person, "/infrastructures", INFRASTRUCTURES.into_iter());
            assert_eq!(infrastructures, one_by_one, "{context}");
            let shown = listed(person, "/deployments");
            let names = deployments.iter().map(String::as_str);
            assert_eq!(shown, seen_one_by_one(person, "/deployments", names), "{context}");
            for service in SERVICES {
                assert_eq!(
                    allowed(person, &format!("action=see-service&service={service}")),
                    services.contains(service),
                    "{context}"
                );
                for infrastructure in INFRASTRUCTURES {
                    let both = format!("service={service}&infrastructure={infrastructure}");
                    let name = format!("{service}-on-{infrastructure}");
                    let sees = services.contains(service) && infrastructures.contains(infrastructure);
                    assert_eq!(shown.contains(&name), sees, "{context}: {name}");
                    let may = allowed(person, &format!("action=change-deployment&{both}"));
                    let did = person.patch(
                        &format!("/deployments/{name}"),
                        json!({"note": "x", "scale": {"replicas": 1}}),
                    );
                    assert_eq!(may, did.status == 200, "{context}: {name} {}", did.text());
                }
            }
            for item in person.list("/services").iter().chain(&person.list("/infrastructures")) {
                assert!(
                    !item["my_privileges"].as_array().is_none_or(Vec::is_empty),
                    "{context}: {item}"
                );
            }
        }
        // The admin sees all of it.
        assert_eq!(listed(admin, "/services").len(), SERVICES.len());
        assert_eq!(listed(admin, "/deployments").len(), deployments.len());
    }
}

fn change(admin: &Actor, nouns: &str, name: &str, group: &str, privileges: &[&str]) {
    if privileges.is_empty() {
        admin
            .delete(&format!("/{nouns}/{name}/grants/{group}"))
            .expect_any(&[204, 404]);
    } else {
        grant(admin, nouns, name, group, privileges);
    }
}

/// A list is the same in pages of any size.
#[test]
fn pages_join_without_gap_or_repetition() {
    let world = World::start(Database::Sqlite);
    for number in 0..23 {
        world
            .admin
            .post("/services", json!({"name": format!("service-{number}")}))
            .expect(201);
    }
    for limit in [1, 7, 23, 200] {
        let mut found: Vec<String> = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = world.admin.get(&format!("/services?limit={limit}{cursor}")).expect(200);
            assert!(page.items().len() <= limit);
            found.extend(page.names());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let different: BTreeSet<&String> = found.iter().collect();
        assert_eq!((found.len(), different.len()), (23, 23), "limit {limit}");
    }
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=garbage"] {
        let answer = world.admin.get(&format!("/services?{bad}"));
        assert!(matches!(answer.status, 200 | 400 | 422), "{bad}: {}", answer.status);
    }
    let next: Value = world.admin.get("/services?limit=5").expect(200)["next"].clone();
    assert!(next.is_string());
}
