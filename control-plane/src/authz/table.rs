//! The decision table: what a request reads.
//!
//! Apart from casbin, which filled it. The rule a newcomer would break: a refusal says 404 or 403 by [`DecisionTable::decide`]
//! alone; who may not see a thing must not learn from another answer that it is there.

use super::action::{Action, Half};
use super::privilege::{InfrastructureMask, Role, Roles, ServiceMask, Standing};
use super::rules::{self, Rule};

/// Who may do what, every cell decided.
#[derive(Clone, Debug)]
pub struct DecisionTable {
    /// For each action with one half: the roles of which one is enough.
    single: [Roles; Action::ALL.len()],
    /// For each action with two halves and each role on the first: the roles of which one on the second is enough.
    both: [[Roles; Role::ALL.len()]; Action::ALL.len()],
    rules: Vec<Rule>,
}

/// What the table says of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// No, and its object is as if it were not there.
    Hidden,
    /// No, but its object may be seen.
    Forbidden {
        /// Each half that is missing.
        missing: Vec<Missing>,
    },
}

/// A half that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    half: Half,
    need: &'static str,
    have: String,
}

impl Missing {
    /// Which half it is.
    pub fn half(&self) -> Half {
        self.half
    }

    /// What is missing: `deploy on infrastructure prod`.
    pub fn name(&self, service: Option<&str>, infrastructure: Option<&str>) -> String {
        format!("{} on {}", self.need, place(self.half, service, infrastructure))
    }

    /// In plain words: `needs deploy on infrastructure prod; you have view`.
    pub fn render(&self, service: Option<&str>, infrastructure: Option<&str>) -> String {
        format!("needs {}; you have {}", self.name(service, infrastructure), self.have)
    }
}

/// What a privilege is on, in plain words.
pub(super) fn place(half: Half, service: Option<&str>, infrastructure: Option<&str>) -> String {
    let name = match half {
        Half::Service => service,
        Half::Infrastructure => infrastructure,
        Half::Platform => None,
    };
    match name {
        Some(name) => format!("{} {name}", half.name()),
        None => format!("the {}", half.name()),
    }
}

impl DecisionTable {
    pub(super) fn denying(rules: Vec<Rule>) -> Self {
        let none = Roles::default();
        Self {
            single: [none; Action::ALL.len()],
            both: [[none; Role::ALL.len()]; Action::ALL.len()],
            rules,
        }
    }

    pub(super) fn allow(&mut self, action: Action, role: Role) {
        if let Some(cell) = self.single.get_mut(action as usize) {
            cell.0 |= role.bit();
        }
    }

    pub(super) fn allow_both(&mut self, action: Action, service: Role, infrastructure: Role) {
        if let Some(cell) = self
            .both
            .get_mut(action as usize)
            .and_then(|row| row.get_mut(service as usize))
        {
            cell.0 |= infrastructure.bit();
        }
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether somebody with some roles may do something.
    pub(super) fn permits(&self, action: Action, held: Roles) -> bool {
        if action.is_conjunction() {
            let row = self.both.get(action as usize);
            row.is_some_and(|row| {
                held.iter()
                    .any(|role| row.get(role as usize).is_some_and(|cell| cell.0 & held.0 != 0))
            })
        } else {
            self.single
                .get(action as usize)
                .is_some_and(|cell| cell.0 & held.0 != 0)
        }
    }

    /// Whether somebody may do something.
    pub fn allows(&self, action: Action, standing: &Standing) -> bool {
        self.permits(action, standing.roles())
    }

    /// What is to be answered to somebody who wants to do something.
    pub fn decide(&self, action: Action, standing: &Standing) -> Verdict {
        let held = standing.roles();
        if self.permits(action, held) {
            return Verdict::Allowed;
        }
        if action.sight().is_some_and(|sight| !self.permits(sight, held)) {
            return Verdict::Hidden;
        }
        Verdict::Forbidden {
            missing: self.missing(action, held),
        }
    }

    /// The same as [`Self::permits`], read from the rules and not from what casbin made of them.
    pub(super) fn reads(&self, action: Action, held: Roles) -> bool {
        let has = rules::closure(&self.rules, held);
        let mut ways = self.rules.iter().filter_map(|rule| rule.kind.opens(action));
        ways.any(|needs| needs.iter().all(|need| has.has(*need)))
    }

    /// The halves that are missing, by the rule of the action that comes nearest.
    pub(super) fn missing(&self, action: Action, held: Roles) -> Vec<Missing> {
        let has = rules::closure(&self.rules, held);
        let missing = |need: Role| Missing {
            half: need.half(),
            need: need.word(),
            have: self.words(need.half(), held),
        };
        let ways = self.rules.iter().filter_map(|rule| rule.kind.opens(action));
        let lacks = ways.map(|needs| {
            needs
                .into_iter()
                .filter(|need| !has.has(*need))
                .map(missing)
                .collect::<Vec<_>>()
        });
        lacks.min_by_key(Vec::len).unwrap_or_default()
    }

    /// The most that somebody has on a half: what they hold and nothing else that they hold implies.
    pub(super) fn words(&self, half: Half, held: Roles) -> String {
        let has = rules::closure(&self.rules, held).on(half);
        let implied = |role: Role| {
            let others = has.without(role).iter();
            others
                .into_iter()
                .any(|other| rules::closure(&self.rules, Roles::of(&[other])).has(role))
        };
        let most: Vec<_> = has.iter().filter(|role| !implied(*role)).map(Role::word).collect();
        if most.is_empty() {
            "nothing".to_owned()
        } else {
            most.join(" and ")
        }
    }

    /// Grants on a service of which one is enough for an action that needs a service only: for lists.
    pub fn service_bits(&self, action: Action) -> ServiceMask {
        ServiceMask::of_roles(self.enough(action))
    }

    /// Grants on an infrastructure of which one is enough for an action that needs an infrastructure only: for lists.
    pub fn infrastructure_bits(&self, action: Action) -> InfrastructureMask {
        InfrastructureMask::of_roles(self.enough(action))
    }

    fn enough(&self, action: Action) -> Roles {
        self.single.get(action as usize).copied().unwrap_or_default()
    }

    /// Every privilege that somebody has on the service concerned.
    pub fn service_privileges(&self, standing: &Standing) -> ServiceMask {
        ServiceMask::of_roles(rules::closure(&self.rules, standing.roles()))
    }

    /// Every privilege that somebody has on the infrastructure concerned.
    pub fn infrastructure_privileges(&self, standing: &Standing) -> InfrastructureMask {
        InfrastructureMask::of_roles(rules::closure(&self.rules, standing.roles()))
    }
}
