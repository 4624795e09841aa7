//! From policy files to the decision table, by casbin. The only file that names casbin.

use super::action::{Action, Half};
use super::privilege::{Role, Roles};
use super::rules::{self, Rule, RuleKind};
use super::table::DecisionTable;
use casbin::{CoreApi, DefaultModel, EnforceContext, Enforcer, MemoryAdapter, MgmtApi};
use std::path::{Path, PathBuf};

const MODEL: &str = include_str!("../../../policies/model.conf");
const RULES: &str = include_str!("../../../policies/builtin.csv");
const ALLOW_ONLY: &str = "some(where (p.eft == allow))";
/// A policy is a few kilobytes.
const MOST_BYTES: u64 = 256 << 10;

/// Why a policy cannot be used. Stops the start.
#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line is not a rule, or should not be one.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// Which file.
        file: String,
        /// Which line.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Casbin cannot read the model, or fails.
    #[error("model.conf: {0}")]
    Model(String),
    /// The finished table would not be safe.
    #[error("the rules do not hold together: {0}")]
    Table(String),
}

/// The table of the builtin rules.
///
/// # Errors
/// Never, as tests show; but nothing here may panic.
pub async fn load_builtin() -> Result<DecisionTable, BadPolicy> {
    build(MODEL, RULES, "builtin.csv").await
}

/// The table of an operator's `model.conf` and `builtin.csv`.
///
/// # Errors
/// [`BadPolicy`], with file and line.
pub async fn load(folder: &Path) -> Result<DecisionTable, BadPolicy> {
    let read = |name: &str| {
        let path = folder.join(name);
        let text = std::fs::metadata(&path).and_then(|meta| {
            if meta.len() > MOST_BYTES {
                return Err(std::io::Error::other("is larger than 256 KiB"));
            }
            std::fs::read_to_string(&path)
        });
        text.map_err(|error| BadPolicy::File { path, error })
    };
    build(
        &read("model.conf")?,
        &read("builtin.csv")?,
        &folder.join("builtin.csv").display().to_string(),
    )
    .await
}

async fn build(model: &str, text: &str, file: &str) -> Result<DecisionTable, BadPolicy> {
    let rules = rules::parse(text).map_err(|(line, reason)| BadPolicy::Line {
        file: file.to_owned(),
        line,
        reason,
    })?;
    allow_only(model)?;
    let failed = |error: casbin::Error| BadPolicy::Model(error.to_string());
    let model = DefaultModel::from_str(model).await.map_err(failed)?;
    let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await.map_err(failed)?;
    for rule in &rules {
        let fields: Vec<String> = rule.text.split(", ").skip(1).map(str::to_owned).collect();
        let added = match rule.kind {
            RuleKind::Implies(..) => enforcer.add_grouping_policy(fields).await,
            RuleKind::Single(..) => enforcer.add_policy(fields).await,
            RuleKind::Both(..) => enforcer.add_named_policy("p2", fields).await,
        };
        if !added.map_err(failed)? {
            return Err(BadPolicy::Line {
                file: file.to_owned(),
                line: rule.line,
                reason: "was not taken".to_owned(),
            });
        }
    }
    let table = ask(&enforcer, rules);
    table.check().map_err(BadPolicy::Table)?;
    Ok(table)
}

/// Rules only allow. Casbin knows other effects, and panics on those that it does not know.
fn allow_only(model: &str) -> Result<(), BadPolicy> {
    let mut section = "";
    for line in model.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let effect = line
            .split_once('=')
            .filter(|_| section == "[policy_effect]" && !line.starts_with('#'));
        if let Some((name, effect)) = effect
            && effect.trim() != ALLOW_ONLY
        {
            let reason = format!("{} must be {ALLOW_ONLY}: rules only allow", name.trim());
            return Err(BadPolicy::Model(reason));
        }
    }
    Ok(())
}

/// Asks casbin for every cell. An error is a deny.
fn ask(enforcer: &Enforcer, rules: Vec<Rule>) -> DecisionTable {
    let mut table = DecisionTable::denying(rules);
    for action in Action::ALL {
        if action.is_conjunction() {
            for service in Role::ALL {
                for infrastructure in Role::ALL {
                    let cell = vec![service.name(), infrastructure.name(), action.name()];
                    let context = EnforceContext::new("2");
                    if enforcer.enforce_with_context(context, cell).unwrap_or(false) {
                        table.allow_both(action, service, infrastructure);
                    }
                }
            }
        } else {
            for role in Role::ALL {
                if enforcer.enforce(vec![role.name(), action.name()]).unwrap_or(false) {
                    table.allow(action, role);
                }
            }
        }
    }
    table
}

impl DecisionTable {
    /// What every table must hold, whoever wrote the rules.
    fn check(&self) -> Result<(), String> {
        let nobody = Roles::default();
        for action in Action::ALL {
            if self.permits(action, nobody) {
                return Err(format!("{} is allowed without any privilege", action.name()));
            }
            if !self.permits(action, Roles::of(&[Role::PlatformAdmin])) {
                return Err(format!("a platform admin may not {}", action.name()));
            }
        }
        if !self.permits(Action::SeeService, Roles::of(&[Role::ServiceOwner])) {
            return Err("the owner of a service may not see it".to_owned());
        }
        // Every set of roles: 2^10.
        for bits in 0..1u16 << Role::ALL.len() {
            self.check_set(Roles(bits))?;
        }
        Ok(())
    }

    fn check_set(&self, held: Roles) -> Result<(), String> {
        let names = || held.iter().map(Role::name).collect::<Vec<_>>().join(" + ");
        let may = |action| self.permits(action, held);
        let sees = may(Action::SeeService) && may(Action::SeeInfrastructure);
        // Lists are made from the two halves.
        if may(Action::SeeDeployment) != sees {
            return Err(format!(
                "see-deployment must be see-service and see-infrastructure, and is not for {}",
                names()
            ));
        }
        for action in Action::ALL {
            if let Some(sight) = action.sight()
                && may(action)
                && !may(sight)
            {
                return Err(format!("{} may {} but not {}", names(), action.name(), sight.name()));
            }
            for more in Role::ALL {
                let larger = Roles(held.0 | more.bit());
                if may(action) && !self.permits(action, larger) {
                    return Err(format!(
                        "{} may {}, but not together with {}",
                        names(),
                        action.name(),
                        more.name()
                    ));
                }
            }
        }
        // A grant of one half never serves for the other.
        let service_only = Roles(held.0 & Roles::of(SERVICE_ROLES).0);
        if self.permits(Action::SeeInfrastructure, service_only) {
            return Err(format!("{:?} privileges let see an infrastructure", Half::Service));
        }
        Ok(())
    }
}

const SERVICE_ROLES: &[Role] = &[
    Role::ServiceRead,
    Role::ServiceWrite,
    Role::ServiceDeploy,
    Role::ServiceAdmin,
    Role::ServiceOwner,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{InfrastructureMask, ServiceMask, Standing, Verdict};

    /// DESIGN's table, written apart from the rules.
    #[tokio::test]
    async fn the_builtin_rules_are_the_agreed_table() {
        let table = load_builtin().await.unwrap();
        let masks = |bits: i32| {
            (
                ServiceMask::from_stored(bits & 15),
                InfrastructureMask::from_stored(bits >> 4),
            )
        };
        for bits in 0..1 << 7 {
            for (owner, admin) in [(false, false), (true, false), (false, true)] {
                let (service, infrastructure) = masks(bits);
                let standing = Standing {
                    platform_admin: admin,
                    create_service: false,
                    service,
                    service_owner: owner,
                    infrastructure,
                };
                let full = admin || owner;
                let read = full || bits & 15 != 0;
                let write = full || bits & 0b1010 != 0;
                let deploy = full || bits & 0b1100 != 0;
                let administer = full || bits & 0b1000 != 0;
                let view = admin || bits >> 4 != 0;
                let deploy_there = admin || bits >> 4 & 0b110 != 0;
                let administer_there = admin || bits >> 4 & 0b100 != 0;
                for (action, expected) in [
                    (Action::SeeService, read),
                    (Action::ListServiceKeys, read),
                    (Action::WriteVersions, write),
                    (Action::AdministerService, administer),
                    (Action::SeeInfrastructure, view),
                    (Action::AdministerInfrastructure, administer_there),
                    (Action::SeeDeployment, read && view),
                    (Action::ChangeDeployment, deploy && deploy_there),
                    (Action::CreateService, admin),
                    (Action::AdministerPlatform, admin),
                ] {
                    assert_eq!(table.allows(action, &standing), expected, "{action:?} {standing:?}");
                }
                let service_bits = i32::from(table.service_bits(Action::SeeService));
                assert_eq!(
                    i32::from(service) & service_bits != 0,
                    bits & 15 != 0,
                    "lists and decisions agree"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_named_by_halves() {
        let table = load_builtin().await.unwrap();
        let dana = Standing {
            service: ServiceMask::DEPLOY,
            infrastructure: InfrastructureMask::VIEW,
            ..Standing::default()
        };
        let Verdict::Forbidden { missing } = table.decide(Action::ChangeDeployment, &dana) else {
            panic!()
        };
        let said: Vec<_> = missing
            .iter()
            .map(|half| half.render(Some("iris"), Some("prod")))
            .collect();
        assert_eq!(said, ["needs deploy on infrastructure prod; you have view"]);
        assert!(matches!(
            table.decide(Action::ChangeDeployment, &Standing::default()),
            Verdict::Hidden
        ));
    }

    #[tokio::test]
    async fn an_unsafe_policy_stops_the_start() {
        for (from, to, reason) in [
            (
                "p2, service:read, infrastructure:view, see-deployment",
                "p2, service:write, infrastructure:view, see-deployment",
                "see-deployment must be",
            ),
            (
                "p, service:read, see-service",
                "p, service:write, see-service",
                "but not see-service",
            ),
            (
                "g, platform:admin, infrastructure:admin\n",
                "",
                "a platform admin may not",
            ),
            (
                "p, infrastructure:view, see-infrastructure",
                "p, service:read, see-infrastructure",
                "infrastructure",
            ),
        ] {
            assert!(RULES.contains(from), "{from}");
            let error = build(MODEL, &RULES.replace(from, to), "builtin.csv").await.err();
            assert!(
                error.as_ref().is_some_and(|error| error.to_string().contains(reason)),
                "{to}: {error:?}"
            );
        }
        let error = build(MODEL, "", "builtin.csv").await.err().unwrap();
        assert!(error.to_string().starts_with("builtin.csv:"), "{error}");
        let denying = MODEL.replace("e2 = some(where (p.eft == allow))", "e2 = !some(where (p.eft == deny))");
        assert!(build(&denying, RULES, "builtin.csv").await.is_err());
        let open = MODEL.replace("m = g(r.privilege, p.privilege) && r.action == p.action", "m = true");
        assert!(build(&open, RULES, "builtin.csv").await.is_err());
    }
}
