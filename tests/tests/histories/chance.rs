//! What is tried next, drawn by chance. Few names, so that what is deleted comes back under a name that something else had.

use super::company::{Company, Privileges, Ring};
use super::deeds::Deed;
use acceptance::dice::Dice;

pub const ACCOUNTS: [&str; 5] = ["ann", "ben", "cat", "rob", "ada"];
pub const GROUPS: [&str; 4] = ["red", "green", "blue", "gold"];
pub const SERVICES: [&str; 3] = ["s-one", "s-two", "s-three"];
pub const INFRASTRUCTURES: [&str; 2] = ["i-one", "i-two"];
/// Names that a deployment of anything may have.
pub const DEPLOYMENTS: [&str; 3] = ["d-one", "d-two", "d-three"];
fn any(dice: &mut Dice, names: &[&str]) -> String {
    dice.one_of(names.iter().copied()).unwrap().to_owned()
}

fn some_of(dice: &mut Dice, privileges: &[&'static str]) -> Privileges {
    let drawn: Privileges = privileges.iter().copied().filter(|_| dice.below(3) == 0).collect();
    if drawn.is_empty() {
        privileges.iter().copied().take(1).collect()
    } else {
        drawn
    }
}

/// A name that is there, most of the time.
fn one<V>(dice: &mut Dice, there: &std::collections::BTreeMap<String, V>, names: &[&str]) -> String {
    let known = dice.one_of(names.iter().filter(|name| there.contains_key(**name)));
    match known {
        Some(name) if dice.below(8) > 0 => (*name).to_owned(),
        _ => any(dice, names),
    }
}

fn ring(dice: &mut Dice, company: &Company) -> Ring {
    match dice.below(2) {
        0 => Ring::Service(one(dice, &company.services, &SERVICES)),
        _ => Ring::Deployment(one(dice, &company.deployments, &DEPLOYMENTS)),
    }
}

/// What is tried next.
pub fn draw(dice: &mut Dice, company: &Company) -> Deed {
    let d = dice;
    let nouns = ["users", "service-accounts"][usize::from(d.below(3) == 0)];
    let account = one(d, &company.accounts, &ACCOUNTS);
    // Under its own noun, as the other one does not know it.
    let noun_of = company.accounts.get(&account).map_or(nouns, |account| account.nouns);
    let group = one(d, &company.groups, &GROUPS);
    let (create_service, admin) = (d.below(3) > 0, d.below(6) == 0);
    let (service, infrastructure) = (
        one(d, &company.services, &SERVICES),
        one(d, &company.infrastructures, &INFRASTRUCTURES),
    );
    let deployment = one(d, &company.deployments, &DEPLOYMENTS);
    let key = d.one_of(company.keys.iter().cloned());
    let on_service = || ("services", service.clone());
    let on_infrastructure = || ("infrastructures", infrastructure.clone());
    match (d.below(100), key) {
        (0..=7, _) => Deed::Account {
            nouns,
            name: any(d, &ACCOUNTS),
        },
        (8..=9, _) => Deed::Disable {
            nouns: noun_of,
            name: account,
            disabled: d.below(3) > 0,
        },
        (10..=13, _) => Deed::RemoveAccount {
            nouns: noun_of,
            name: account,
        },
        (14..=18, _) => Deed::Group {
            name: any(d, &GROUPS),
            create_service,
            admin,
        },
        (19..=21, _) => Deed::ChangeGroup {
            name: group,
            create_service,
            admin,
        },
        (22..=24, _) => Deed::RemoveGroup { name: group },
        (25..=33, _) => Deed::Join { group, account },
        (34..=36, _) => Deed::Leave { group, account },
        (37..=49, _) => {
            let ((nouns, name), all): (_, &[&str]) = match d.below(5) {
                0..=2 => (on_service(), &["read", "write", "deploy", "admin"]),
                _ => (on_infrastructure(), &["view", "deploy", "admin"]),
            };
            Deed::Grant {
                nouns,
                name,
                group,
                privileges: some_of(d, all),
            }
        }
        (50..=54, _) => {
            let (nouns, name) = if d.below(2) == 0 {
                on_service()
            } else {
                on_infrastructure()
            };
            Deed::Withdraw { nouns, name, group }
        }
        (55..=60, _) => Deed::Service {
            name: any(d, &SERVICES),
        },
        (61..=63, _) => Deed::HandOver {
            name: service,
            to: account,
        },
        (64..=65, _) => Deed::LetReadersReveal {
            name: service,
            readers: d.below(2) == 0,
        },
        (66..=69, _) => Deed::RemoveService { name: service },
        (70..=73, _) => Deed::Infrastructure {
            name: any(d, &INFRASTRUCTURES),
        },
        (74, _) => Deed::ChangeInfrastructure { name: infrastructure },
        (75..=76, _) => Deed::RemoveInfrastructure { name: infrastructure },
        (77..=82, _) => Deed::Deploy {
            name: any(d, &DEPLOYMENTS),
            service,
            infrastructure,
        },
        (83..=85, _) => Deed::ChangeDeployment { name: deployment },
        (86..=88, _) => Deed::RemoveDeployment { name: deployment },
        (89, Some(key)) => Deed::RenameKey { key },
        (90..=91, Some(key)) => Deed::RevealKey { key },
        (92..=93, Some(key)) => Deed::RevokeKey { key },
        (94..=95, Some(key)) => Deed::RemoveKey { key },
        _ => Deed::Key { ring: ring(d, company) },
    }
}
