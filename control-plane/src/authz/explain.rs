//! A decision, explained: which group, which grant, which rule; or what is missing.

use super::action::{Action, Half};
use super::privilege::{InfrastructureMask, Role, Roles, ServiceMask, Standing};
use super::rules::{self, RuleKind};
use super::table::DecisionTable;

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
        let allowed = self.permits(action, held);
        let name = |half: Half| match half {
            Half::Service => format!("service {}", service.unwrap_or_default()),
            Half::Infrastructure => format!("infrastructure {}", infrastructure.unwrap_or_default()),
            Half::Platform => "the platform".to_owned(),
        };
        let mut have = Vec::new();
        let mut because = Vec::new();
        let needed = if allowed {
            self.satisfied_rule(action, held)
        } else {
            None
        };
        let mut tell = |text: String, roles: Roles| {
            let closed = rules::closure(self.rules(), roles);
            if needed
                .as_ref()
                .is_some_and(|(needs, _)| needs.iter().any(|need| closed.has(*need)))
            {
                because.push(text.clone());
            }
            have.push(text);
        };
        if standing.platform_admin {
            tell("you are a platform admin".to_owned(), Roles::of(&[Role::PlatformAdmin]));
        }
        if standing.create_service && action.needs(Half::Platform) {
            tell(
                "a group of yours may create services".to_owned(),
                Roles::of(&[Role::PlatformCreateService]),
            );
        }
        if standing.service_owner {
            tell(
                format!("you own {}", name(Half::Service)),
                Roles::of(&[Role::ServiceOwner]),
            );
        }
        for source in sources.iter().filter(|source| action.needs(source.half)) {
            let words: Vec<_> = source.roles.iter().map(Role::word).collect();
            tell(
                format!(
                    "group {} has {} on {}",
                    source.group,
                    words.join(", "),
                    name(source.half)
                ),
                source.roles,
            );
        }
        if let Some((_, rule)) = needed {
            because.push(rule);
        }
        let missing = if allowed {
            Vec::new()
        } else {
            self.missing(action, held)
        };
        let missing = missing
            .iter()
            .map(|half| half.render(service, infrastructure))
            .collect();
        Explained {
            allowed,
            because,
            missing,
            have,
        }
    }

    /// The first rule that allows it: what it needs, and how it reads.
    fn satisfied_rule(&self, action: Action, held: Roles) -> Option<(Vec<Role>, String)> {
        let has = rules::closure(self.rules(), held);
        self.rules().iter().find_map(|rule| {
            let needs = match rule.kind {
                RuleKind::Single(need, of) if of == action => vec![need],
                RuleKind::Both(service, infrastructure, of) if of == action => vec![service, infrastructure],
                _ => return None,
            };
            let holds = needs.iter().all(|need| has.has(*need));
            holds.then(|| (needs, format!("rule \"{}\" (line {})", rule.text, rule.line)))
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
        assert_eq!(explained.because.len(), 3, "{explained:?}");
        assert_eq!(explained.because[0], "group ds has deploy on service iris");
        assert!(explained.because[2].contains("p2, service:deploy, infrastructure:deploy, change-deployment"));
        let explained = table.explain(Action::AdministerService, &standing, &sources, Some("iris"), None);
        assert_eq!(explained.missing, ["needs admin on service iris; you have deploy"]);
    }
}
