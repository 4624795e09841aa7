//! What is answered to who tries a deed, and what becomes of the company when it is done. Pure.

use super::company::{Account, Company, Deployment, Group, Infrastructure, Key, Place, Ring, Service, Verdict};
use super::deeds::Deed;
use acceptance::Value;

impl Deed {
    /// What somebody is answered who tries it: nothing when it is done, or the status of a refusal.
    pub fn refusal(&self, company: &Company, who: &str) -> Option<u16> {
        let c = company;
        let verdict = match self {
            Self::Grant { nouns, name, .. } | Self::Withdraw { nouns, name, .. } => match *nouns {
                "services" => c.verdict(who, ("admin", "", ""), name, ""),
                _ => c.verdict(who, ("", "admin", ""), "", name),
            },
            Self::Service { .. } => c.verdict(who, ("", "", "create-service"), "", ""),
            Self::HandOver { name, .. } | Self::LetReadersReveal { name, .. } | Self::RemoveService { name } => {
                c.verdict(who, ("admin", "", ""), name, "")
            }
            Self::ChangeInfrastructure { name } | Self::RemoveInfrastructure { name } => {
                c.verdict(who, ("", "admin", ""), "", name)
            }
            Self::Deploy {
                service,
                infrastructure,
                ..
            } => match c.verdict(who, ("deploy", "deploy", ""), service, infrastructure) {
                Verdict::Hidden => return Some(422),
                other => other,
            },
            Self::ChangeDeployment { name } | Self::RemoveDeployment { name } => {
                let ring = Ring::Deployment(name.clone());
                c.on_ring(who, &ring, ("", "", ""), ("deploy", "deploy", ""))
            }
            Self::Key { ring } => c.on_ring(who, ring, ("admin", "", ""), ("deploy", "deploy", "")),
            Self::RevealKey { key } => match c.on_ring(who, &key.ring, ("read", "", ""), ("read", "view", "")) {
                Verdict::Allowed if !self.reveals(c, who) => Verdict::Forbidden,
                other => other,
            },
            Self::RenameKey { key } | Self::RevokeKey { key } | Self::RemoveKey { key } => {
                c.on_ring(who, &key.ring, ("admin", "", ""), ("deploy", "deploy", ""))
            }
            _ => c.verdict(who, ("", "", "admin"), "", ""),
        };
        match verdict {
            Verdict::Hidden => Some(404),
            Verdict::Forbidden => Some(403),
            Verdict::Allowed => self.obstacle(c, who),
        }
    }

    /// Its creator reveals a key, and who may list it where the service says so; not the platform admin for being one.
    fn reveals(&self, company: &Company, who: &str) -> bool {
        let Self::RevealKey { key } = self else { return false };
        let own = company
            .accounts
            .get(who)
            .is_some_and(|account| account.number == key.creator);
        let service = company
            .halves(&key.ring)
            .and_then(|(service, _)| company.services.get(service));
        own || service.is_some_and(|service| service.readers_reveal)
    }

    /// What is in the way of somebody who may.
    fn obstacle(&self, c: &Company, who: &str) -> Option<u16> {
        let absent = |there: bool| (!there).then_some(404);
        let taken = |there: bool| there.then_some(409);
        match self {
            Self::Account { name, .. } => taken(c.accounts.contains_key(name)),
            Self::Disable { name, nouns, .. } => absent(c.accounts.get(name).is_some_and(|it| it.nouns == *nouns)),
            Self::RemoveAccount { name, nouns } => absent(c.accounts.get(name).is_some_and(|it| it.nouns == *nouns))
                .or(taken(c.services.values().any(|service| service.owner == *name))),
            Self::Group { name, .. } => taken(c.groups.contains_key(name)),
            Self::ChangeGroup { name, .. } | Self::RemoveGroup { name } => absent(c.groups.contains_key(name)),
            Self::Join { group, account } | Self::Leave { group, account } => {
                absent(c.groups.contains_key(group) && c.accounts.contains_key(account))
            }
            Self::Grant { group, .. } => absent(c.groups.contains_key(group)),
            Self::Withdraw { nouns, name, group } => absent(match *nouns {
                "services" => c.services[name].grants.contains_key(group),
                _ => c.infrastructures[name].grants.contains_key(group),
            }),
            Self::Service { name } => taken(c.services.contains_key(name)),
            Self::HandOver { to, .. } => {
                let there = c.accounts.get(to).is_some_and(|account| !account.disabled);
                (!there || !c.sees_account(who, to)).then_some(422)
            }
            Self::RemoveService { name } => taken(c.deployments.values().any(|it| it.service == *name)),
            Self::Infrastructure { name } => taken(c.infrastructures.contains_key(name)),
            Self::RemoveInfrastructure { name } => taken(c.deployments.values().any(|it| it.infrastructure == *name)),
            Self::Deploy { name, .. } => taken(c.deployments.contains_key(name)),
            Self::RemoveKey { key } => taken(!key.revoked),
            _ => None,
        }
    }

    /// What its row in the audit is about, whether it was done or refused; asked for after it.
    ///
    /// What is gone is seen by nobody, so its removal is about nothing; and so is what the platform refused.
    pub fn place(&self, company: &Company, done: bool) -> Place {
        let service = |name: &str| company.services.get(name).map(|service| service.number);
        let infrastructure = |name: &str| company.infrastructures.get(name).map(|it| it.number);
        match self {
            Self::Grant { nouns, name, .. } | Self::Withdraw { nouns, name, .. } => match *nouns {
                "services" => (service(name), None),
                _ => (None, infrastructure(name)),
            },
            Self::Service { .. } | Self::Infrastructure { .. } if !done => (None, None),
            Self::Service { name }
            | Self::HandOver { name, .. }
            | Self::LetReadersReveal { name, .. }
            | Self::RemoveService { name } => (service(name), None),
            Self::Infrastructure { name }
            | Self::ChangeInfrastructure { name }
            | Self::RemoveInfrastructure { name } => (None, infrastructure(name)),
            Self::Deploy {
                service: of,
                infrastructure: at,
                ..
            } => (service(of), infrastructure(at)),
            Self::ChangeDeployment { name } | Self::RemoveDeployment { name } => Self::Key {
                ring: Ring::Deployment(name.clone()),
            }
            .place(company, done),
            Self::Key { ring } => company
                .halves(ring)
                .map_or((None, None), |(of, at)| (service(of), at.and_then(infrastructure))),
            Self::RenameKey { key } | Self::RevealKey { key } | Self::RevokeKey { key } | Self::RemoveKey { key } => {
                Self::Key { ring: key.ring.clone() }.place(company, done)
            }
            _ => (None, None),
        }
    }

    /// Does it to the model; `answer` is what came back.
    pub fn apply(&self, c: &mut Company, who: &str, answer: &Value) {
        let number = c.number();
        match self.clone() {
            Self::Account { nouns, name } => {
                c.accounts.insert(
                    name,
                    Account {
                        number,
                        nouns,
                        disabled: false,
                    },
                );
            }
            Self::Disable { name, disabled, .. } => c.accounts.get_mut(&name).unwrap().disabled = disabled,
            Self::RemoveAccount { name, .. } => {
                c.accounts.remove(&name);
                c.groups.values_mut().for_each(|group| {
                    group.members.remove(&name);
                });
            }
            Self::Group {
                name,
                create_service,
                admin,
            } => {
                let group = Group {
                    create_service,
                    admin,
                    ..Default::default()
                };
                c.groups.insert(name, group);
            }
            Self::ChangeGroup {
                name,
                create_service,
                admin,
            } => {
                let group = c.groups.get_mut(&name).unwrap();
                (group.create_service, group.admin) = (create_service, admin);
            }
            Self::RemoveGroup { name } => {
                c.groups.remove(&name);
                c.services.values_mut().for_each(|it| drop(it.grants.remove(&name)));
                c.infrastructures
                    .values_mut()
                    .for_each(|it| drop(it.grants.remove(&name)));
            }
            Self::Join { group, account } => drop(c.groups.get_mut(&group).unwrap().members.insert(account)),
            Self::Leave { group, account } => drop(c.groups.get_mut(&group).unwrap().members.remove(&account)),
            Self::Grant {
                nouns,
                name,
                group,
                privileges,
            } => drop(match nouns {
                "services" => c.services.get_mut(&name).unwrap().grants.insert(group, privileges),
                _ => c
                    .infrastructures
                    .get_mut(&name)
                    .unwrap()
                    .grants
                    .insert(group, privileges),
            }),
            Self::Withdraw { nouns, name, group } => drop(match nouns {
                "services" => c.services.get_mut(&name).unwrap().grants.remove(&group),
                _ => c.infrastructures.get_mut(&name).unwrap().grants.remove(&group),
            }),
            Self::Service { name } => {
                let owner = who.to_owned();
                c.services.insert(
                    name,
                    Service {
                        number,
                        owner,
                        grants: Default::default(),
                        readers_reveal: false,
                    },
                );
            }
            Self::HandOver { name, to } => c.services.get_mut(&name).unwrap().owner = to,
            Self::LetReadersReveal { name, readers } => c.services.get_mut(&name).unwrap().readers_reveal = readers,
            Self::RemoveService { name } => {
                c.services.remove(&name);
                c.keys.retain(|key| key.ring != Ring::Service(name.clone()));
            }
            Self::Infrastructure { name } => {
                c.infrastructures.insert(
                    name,
                    Infrastructure {
                        number,
                        grants: Default::default(),
                    },
                );
            }
            Self::RemoveInfrastructure { name } => drop(c.infrastructures.remove(&name)),
            Self::Deploy {
                name,
                service,
                infrastructure,
            } => {
                c.deployments.insert(
                    name,
                    Deployment {
                        service,
                        infrastructure,
                    },
                );
            }
            Self::RemoveDeployment { name } => {
                c.deployments.remove(&name);
                c.keys.retain(|key| key.ring != Ring::Deployment(name.clone()));
            }
            Self::Key { ring } => {
                let (id, creator) = (answer["id"].as_str().unwrap().to_owned(), c.accounts[who].number);
                c.keys.push(Key {
                    id,
                    ring,
                    creator,
                    revoked: false,
                });
            }
            Self::RevokeKey { key } => {
                let of = c.keys.iter_mut().find(|of| of.id == key.id);
                of.unwrap().revoked = true;
            }
            Self::RemoveKey { key } => c.keys.retain(|of| of.id != key.id),
            Self::ChangeInfrastructure { .. }
            | Self::ChangeDeployment { .. }
            | Self::RenameKey { .. }
            | Self::RevealKey { .. } => {}
        }
    }
}
