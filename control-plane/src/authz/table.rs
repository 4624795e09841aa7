//! The decision table: what a request reads.

use super::action::{Action, Half};
use super::privilege::{InfrastructureMask, Role, Roles, ServiceMask, Standing};
use super::rules::{self, Rule, RuleKind};

/// Who may do what, every cell decided.
#[derive(Clone, Debug)]
pub struct DecisionTable {
    /// For each deed with one half: the roles of which one is enough.
    single: [Roles; Action::ALL.len()],
    /// For each deed with two halves and each role on the first: the roles of which one on the second is enough.
    both: [[Roles; Role::ALL.len()]; Action::ALL.len()],
    rules: Vec<Rule>,
}

/// What the table says of a deed.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    half: Half,
    need: &'static str,
    have: &'static str,
}

impl Missing {
    /// In plain words, with the names of the two halves.
    pub fn render(&self, service: Option<&str>, infrastructure: Option<&str>) -> String {
        let Self { half, need, have } = self;
        match half {
            Half::Service => format!(
                "needs {need} on service {}; you have {have}",
                service.unwrap_or_default()
            ),
            Half::Infrastructure => {
                format!(
                    "needs {need} on infrastructure {}; you have {have}",
                    infrastructure.unwrap_or_default()
                )
            }
            Half::Platform => format!("needs {need} on the platform, which a group can have"),
        }
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

    /// Whether somebody with some roles may do a deed.
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

    /// Whether somebody may do a deed.
    pub fn allows(&self, action: Action, standing: &Standing) -> bool {
        self.permits(action, standing.roles())
    }

    /// What is to be answered to somebody who wants to do a deed.
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

    /// The halves that are missing, by the first rule of the deed that comes nearest.
    pub(super) fn missing(&self, action: Action, held: Roles) -> Vec<Missing> {
        let has = rules::closure(&self.rules, held);
        let lacks = |half, need: Role| {
            (!has.has(need)).then(|| Missing {
                half,
                need: need.word(),
                have: highest(half, has),
            })
        };
        let ways = self.rules.iter().filter_map(|rule| match rule.kind {
            RuleKind::Single(need, of) if of == action => {
                let half = action.halves().first().copied().unwrap_or(Half::Platform);
                Some(lacks(half, need).into_iter().collect::<Vec<_>>())
            }
            RuleKind::Both(service, infrastructure, of) if of == action => {
                let halves = [
                    lacks(Half::Service, service),
                    lacks(Half::Infrastructure, infrastructure),
                ];
                Some(halves.into_iter().flatten().collect())
            }
            _ => None,
        });
        ways.min_by_key(Vec::len).unwrap_or_default()
    }

    /// Grants on a service of which one is enough for a deed that needs a service only: for lists.
    pub fn service_bits(&self, action: Action) -> ServiceMask {
        ServiceMask::of_roles(self.enough(action))
    }

    /// Grants on an infrastructure of which one is enough for a deed that needs an infrastructure only: for lists.
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

/// The word for the most that somebody has on a half.
fn highest(half: Half, has: Roles) -> &'static str {
    let prefix = match half {
        Half::Service => "service:",
        Half::Infrastructure => "infrastructure:",
        Half::Platform => "platform:",
    };
    let of_half = has.iter().filter(|role| role.name().starts_with(prefix));
    of_half.last().map_or("nothing", Role::word)
}
