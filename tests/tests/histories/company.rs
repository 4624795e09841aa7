//! A company as the design's section on permissions has it, and nothing else: who is there, what groups were granted, and
//! what follows. Pure, and written apart from the product, so that the two can disagree.
//!
//! Names are used again, so everything that must not be inherited hangs on a number that is not.

use std::collections::{BTreeMap, BTreeSet};

/// A number that is given once.
pub type Number = u64;

/// Privileges by name.
pub type Privileges = BTreeSet<&'static str>;

/// On a service, each with what it brings along.
const SERVICE: [(&str, &[&str]); 4] = [
    ("read", &["read"]),
    ("write", &["read", "write"]),
    ("deploy", &["read", "deploy"]),
    ("admin", &["read", "write", "deploy", "admin"]),
];
/// On an infrastructure.
const INFRASTRUCTURE: [(&str, &[&str]); 3] = [
    ("view", &["view"]),
    ("deploy", &["view", "deploy"]),
    ("admin", &["view", "deploy", "admin"]),
];

/// What a deed needs: on a service, on an infrastructure, on the platform; empty where it needs nothing.
pub type Needs = (&'static str, &'static str, &'static str);

/// The deeds that can be asked about, with their needs.
pub const ACTIONS: [(&str, Needs); 10] = [
    ("see-service", ("read", "", "")),
    ("list-service-keys", ("read", "", "")),
    ("write-versions", ("write", "", "")),
    ("administer-service", ("admin", "", "")),
    ("see-infrastructure", ("", "view", "")),
    ("administer-infrastructure", ("", "admin", "")),
    ("see-deployment", ("read", "view", "")),
    ("change-deployment", ("deploy", "deploy", "")),
    ("create-service", ("", "", "create-service")),
    ("administer-platform", ("", "", "admin")),
];

/// What somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Forbidden,
    Hidden,
}

#[derive(Clone, Debug)]
pub struct Account {
    pub number: Number,
    /// `users` or `service-accounts`.
    pub nouns: &'static str,
    pub disabled: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub members: BTreeSet<String>,
    pub create_service: bool,
    pub admin: bool,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub number: Number,
    pub owner: String,
    pub grants: BTreeMap<String, Privileges>,
    /// Whoever may list its recoverable keys may reveal them.
    pub readers_reveal: bool,
}

#[derive(Clone, Debug)]
pub struct Infrastructure {
    pub number: Number,
    pub grants: BTreeMap<String, Privileges>,
}

#[derive(Clone, Debug)]
pub struct Deployment {
    pub service: String,
    pub infrastructure: String,
}

/// Where a key is: on a service or on a deployment, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    Service(String),
    Deployment(String),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub ring: Ring,
    pub creator: Number,
    pub revoked: bool,
}

/// What a deed was about: the halves by their numbers.
pub type Place = (Option<Number>, Option<Number>);

/// A row of the audit: who did it, and about what.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: i64,
    pub by: Option<Number>,
    pub place: Place,
}

/// All that there is.
#[derive(Clone, Debug, Default)]
pub struct Company {
    pub accounts: BTreeMap<String, Account>,
    pub groups: BTreeMap<String, Group>,
    pub services: BTreeMap<String, Service>,
    pub infrastructures: BTreeMap<String, Infrastructure>,
    pub deployments: BTreeMap<String, Deployment>,
    pub keys: Vec<Key>,
    pub audit: Vec<Row>,
    last: Number,
}

fn implied(table: &[(&'static str, &'static [&'static str])], granted: &Privileges) -> Privileges {
    let brings = table.iter().filter(|(name, _)| granted.contains(name));
    brings.flat_map(|(_, brings)| brings.iter().copied()).collect()
}

impl Company {
    /// A number that nothing had before.
    pub fn number(&mut self) -> Number {
        self.last += 1;
        self.last
    }

    fn in_groups(&self, who: &str, that: impl Fn(&Group) -> bool) -> bool {
        self.groups
            .values()
            .any(|group| group.members.contains(who) && that(group))
    }

    pub fn is_admin(&self, who: &str) -> bool {
        self.in_groups(who, |group| group.admin)
    }

    fn granted(&self, who: &str, grants: &BTreeMap<String, Privileges>) -> Privileges {
        let own = grants
            .iter()
            .filter(|(group, _)| self.groups.get(*group).is_some_and(|group| group.members.contains(who)));
        own.flat_map(|(_, privileges)| privileges.iter().copied()).collect()
    }

    /// All privileges that somebody has on a service; none on one that is not there.
    pub fn on_service(&self, who: &str, name: &str) -> Privileges {
        let Some(service) = self.services.get(name) else {
            return Privileges::new();
        };
        if self.is_admin(who) || service.owner == who {
            return implied(&SERVICE, &Privileges::from(["admin"]));
        }
        implied(&SERVICE, &self.granted(who, &service.grants))
    }

    /// All privileges that somebody has on an infrastructure.
    pub fn on_infrastructure(&self, who: &str, name: &str) -> Privileges {
        let Some(infrastructure) = self.infrastructures.get(name) else {
            return Privileges::new();
        };
        if self.is_admin(who) {
            return implied(&INFRASTRUCTURE, &Privileges::from(["admin"]));
        }
        implied(&INFRASTRUCTURE, &self.granted(who, &infrastructure.grants))
    }

    /// Whether somebody may do what needs this, on a service and an infrastructure of these names.
    pub fn verdict(&self, who: &str, needs: Needs, service: &str, infrastructure: &str) -> Verdict {
        let (on_service, on_infrastructure) = (
            self.on_service(who, service),
            self.on_infrastructure(who, infrastructure),
        );
        let hidden = |need: &str, has: &Privileges| !need.is_empty() && has.is_empty();
        if hidden(needs.0, &on_service) || hidden(needs.1, &on_infrastructure) {
            return Verdict::Hidden;
        }
        let has = |need: &str, has: &Privileges| need.is_empty() || has.contains(need);
        let platform = match needs.2 {
            "" => true,
            "create-service" => self.is_admin(who) || self.in_groups(who, |group| group.create_service),
            _ => self.is_admin(who),
        };
        match platform && has(needs.0, &on_service) && has(needs.1, &on_infrastructure) {
            true => Verdict::Allowed,
            false => Verdict::Forbidden,
        }
    }

    pub fn sees_service(&self, who: &str, name: &str) -> bool {
        !self.on_service(who, name).is_empty()
    }

    /// Their own, and whose name stands on a service that they see.
    pub fn sees_account(&self, who: &str, name: &str) -> bool {
        let shown = |(of, service): (&String, &Service)| service.owner == name && self.sees_service(who, of);
        self.is_admin(who) || who == name || self.services.iter().any(shown)
    }

    pub fn sees_infrastructure(&self, who: &str, name: &str) -> bool {
        !self.on_infrastructure(who, name).is_empty()
    }

    pub fn sees_deployment(&self, who: &str, name: &str) -> bool {
        self.deployments.get(name).is_some_and(|deployment| {
            self.sees_service(who, &deployment.service) && self.sees_infrastructure(who, &deployment.infrastructure)
        })
    }

    /// The two halves of a ring of keys, by name; none when what it is on is not there.
    pub fn halves<'a>(&'a self, ring: &'a Ring) -> Option<(&'a str, Option<&'a str>)> {
        match ring {
            Ring::Service(name) => self.services.contains_key(name).then_some((name.as_str(), None)),
            Ring::Deployment(name) => {
                let deployment = self.deployments.get(name)?;
                Some((&deployment.service, Some(&deployment.infrastructure)))
            }
        }
    }

    /// What somebody may do with keys there: with the need for a service's, and the need for a deployment's.
    pub fn on_ring(&self, who: &str, ring: &Ring, of_service: Needs, of_deployment: Needs) -> Verdict {
        match self.halves(ring) {
            None => Verdict::Hidden,
            Some((service, None)) => self.verdict(who, of_service, service, ""),
            Some((service, Some(infrastructure))) => self.verdict(who, of_deployment, service, infrastructure),
        }
    }

    /// The rows of the audit that somebody may read: about what may be seen now, and what is one's own and about nothing.
    pub fn rows_of(&self, who: &str) -> BTreeSet<i64> {
        if self.is_admin(who) {
            return self.audit.iter().map(|row| row.id).collect();
        }
        let services = self.services.iter().filter(|(name, _)| self.sees_service(who, name));
        let services: BTreeSet<Number> = services.map(|(_, service)| service.number).collect();
        let infrastructures = self
            .infrastructures
            .iter()
            .filter(|(name, _)| self.sees_infrastructure(who, name));
        let infrastructures: BTreeSet<Number> = infrastructures.map(|(_, it)| it.number).collect();
        let own = self.accounts.get(who).map(|account| account.number);
        let readable = |row: &&Row| match row.place {
            (None, None) => row.by.is_some() && row.by == own,
            (service, infrastructure) => {
                service.is_none_or(|number| services.contains(&number))
                    && infrastructure.is_none_or(|number| infrastructures.contains(&number))
            }
        };
        self.audit.iter().filter(readable).map(|row| row.id).collect()
    }
}
