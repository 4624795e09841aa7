//! A decision, explained: which group, which grant, which rule; or what is missing.
//!
//! Apart from the decision itself, which has no time for words. The rule a newcomer would break: an explanation is only for
//! who may see what it is about; the caller checks that first.

use super::action::{Action, Half};
use super::privilege::{InfrastructureMask, Role, Roles, ServiceMask, Standing};
use super::rules;
use super::table::{DecisionTable, place};

/// A grant that the caller has through a group.
#[derive(Clone, Debug)]
pub struct Source {
    group: String,
    half: Half,
    roles: Roles,
}

/// A decision, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Where the privileges come from that allow it, and the rule.
    pub because: Vec<String>,
    /// What is missing.
    pub missing: Vec<String>,
    /// What the caller has.
    pub have: Vec<String>,
}

impl Source {
    /// A grant on the service concerned.
    pub fn service(group: String, mask: ServiceMask) -> Self {
        Self {
            group,
            half: Half::Service,
            roles: mask.roles(),
        }
    }

    /// A grant on the infrastructure concerned.
    pub fn infrastructure(group: String, mask: InfrastructureMask) -> Self {
        Self {
            group,
            half: Half::Infrastructure,
            roles: mask.roles(),
        }
    }
}

impl DecisionTable {
    /// Explains a decision in plain words.
    pub fn explain(
        &self,
        action: Action,
        standing: &Standing,
        sources: &[Source],
        service: Option<&str>,
        infrastructure: Option<&str>,
    ) -> Explained {
        let held = standing.roles();
        let place = |half| place(half, service, infrastructure);
        let have = action
            .halves()
            .iter()
            .map(|half| format!("{} on {}", self.words(*half, held), place(*half)));
        let have = have.collect();
        if !self.permits(action, held) {
            let missing = self.missing(action, held);
            let missing = missing.iter().map(|half| half.name(service, infrastructure)).collect();
            return Explained {
                allowed: false,
                because: Vec::new(),
                missing,
                have,
            };
        }
        let (needs, rule) = self.satisfied_rule(action, held).unwrap_or_default();
        let mut because = Vec::new();
        let mut tell = |text: String, roles: Roles| {
            let has = rules::closure(self.rules(), roles);
            if needs.iter().any(|need| has.has(*need)) {
                because.push(text);
            }
        };
        if standing.platform_admin {
            tell(
                "a group of yours has admin on the platform".to_owned(),
                Roles::of(&[Role::PlatformAdmin]),
            );
        }
        if standing.create_service {
            let roles = Roles::of(&[Role::PlatformCreateService]);
            tell("a group of yours has create-service on the platform".to_owned(), roles);
        }
        if standing.service_owner {
            tell(
                format!("you own {}", place(Half::Service)),
                Roles::of(&[Role::ServiceOwner]),
            );
        }
        for source in sources {
            let words: Vec<_> = source.roles.iter().map(Role::word).collect();
            let (group, words, on) = (&source.group, words.join(" and "), place(source.half));
            tell(format!("group {group} has {words} on {on} (grant)"), source.roles);
        }
        because.push(rule);
        Explained {
            allowed: true,
            because,
            missing: Vec::new(),
            have,
        }
    }

    /// The first rule that allows it: what it needs, and how it reads.
    fn satisfied_rule(&self, action: Action, held: Roles) -> Option<(Vec<Role>, String)> {
        let has = rules::closure(self.rules(), held);
        self.rules().iter().find_map(|rule| {
            let needs = rule.kind.opens(action)?;
            let text = || format!("{}, {}", rule.kind.ptype(), rule.kind.columns().join(", "));
            let holds = needs.iter().all(|need| has.has(*need));
            holds.then(|| (needs, format!("builtin.csv:{}: {}", rule.line, text())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_decision_names_its_grants_and_its_rule() {
        let table = crate::authz::load_builtin().await.unwrap();
        let standing = Standing {
            service: ServiceMask::READ | ServiceMask::DEPLOY,
            infrastructure: InfrastructureMask::DEPLOY,
            ..Standing::default()
        };
        let sources = [
            Source::service("readers".into(), ServiceMask::READ),
            Source::service("ds".into(), ServiceMask::DEPLOY),
            Source::infrastructure("ds".into(), InfrastructureMask::DEPLOY),
        ];
        let explained = table.explain(Action::ChangeDeployment, &standing, &sources, Some("iris"), Some("dev"));
        assert!(explained.allowed);
        assert_eq!(
            explained.because[..2],
            [
                "group ds has deploy on service iris (grant)",
                "group ds has deploy on infrastructure dev (grant)"
            ]
        );
        let rule = &explained.because[2];
        assert!(rule.starts_with("builtin.csv:"), "{rule}");
        assert!(
            rule.ends_with(": p2, service:deploy, infrastructure:deploy, change-deployment"),
            "{rule}"
        );
        assert_eq!(
            explained.have,
            ["deploy on service iris", "deploy on infrastructure dev"]
        );
        assert!(explained.missing.is_empty());

        let explained = table.explain(Action::AdministerService, &standing, &sources, Some("iris"), None);
        assert!(!explained.allowed);
        assert_eq!(explained.missing, ["admin on service iris"]);
        assert_eq!(explained.have, ["deploy on service iris"]);
        assert!(explained.because.is_empty());
    }

    #[tokio::test]
    async fn what_an_account_is_by_itself_is_named() {
        let table = crate::authz::load_builtin().await.unwrap();
        let because = |action, standing| table.explain(action, &standing, &[], Some("iris"), Some("dev")).because;
        let owner = Standing {
            service_owner: true,
            ..Standing::default()
        };
        assert_eq!(because(Action::AdministerService, owner)[0], "you own service iris");
        let admin = Standing {
            platform_admin: true,
            ..Standing::default()
        };
        for action in Action::ALL {
            assert_eq!(
                because(action, admin)[0],
                "a group of yours has admin on the platform",
                "{action:?}"
            );
        }
        let creator = Standing {
            create_service: true,
            ..Standing::default()
        };
        let said = because(Action::CreateService, creator);
        assert_eq!(said[0], "a group of yours has create-service on the platform");
        let nobody = table.explain(Action::CreateService, &Standing::default(), &[], None, None);
        assert_eq!(nobody.missing, ["create-service on the platform"]);
        assert_eq!(nobody.have, ["nothing on the platform"]);
    }
}
