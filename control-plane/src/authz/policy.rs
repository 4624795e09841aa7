//! From policy files to the decision table, by casbin. The only file that names casbin.
//!
//! Apart, so that nothing else depends on how casbin reads. The rule a newcomer would break: casbin is not trusted with what
//! it does not know; every line is checked before it, and every cell after it.

use super::action::Action;
use super::model;
use super::privilege::{Role, Roles};
use super::rules::{self, RuleKind};
use super::table::DecisionTable;
use casbin::{CoreApi, DefaultModel, EnforceContext, Enforcer, MemoryAdapter, MgmtApi};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const MODEL: &str = include_str!("../../../policies/model.conf");
const RULES: &str = include_str!("../../../policies/builtin.csv");
/// A policy is a few kilobytes.
const MOST_BYTES: u64 = 256 << 10;
/// Who holds no privilege. Casbin allows everything to it as soon as a matcher is too open.
const NOBODY: &str = "nobody";

/// Why a policy cannot be used. Stops the start.
#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is not what it should be.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// Which file.
        file: String,
        /// Which line.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Casbin cannot use the files.
    #[error("{file}: {reason}")]
    Casbin {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The finished table would not be safe.
    #[error("{file}: the rules do not hold together: {reason}")]
    Table {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
}

/// A file of a policy: what it is called in errors, and what it says.
struct File {
    name: String,
    text: String,
}

/// The table of the builtin rules.
///
/// # Errors
/// Never, as tests show; but nothing here may panic.
pub async fn load_builtin() -> Result<DecisionTable, BadPolicy> {
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    build(&file("model.conf", MODEL), &file("builtin.csv", RULES)).await
}

/// The table of an operator's `model.conf` and `builtin.csv`.
///
/// # Errors
/// [`BadPolicy`], with file and line.
pub async fn load(folder: &Path) -> Result<DecisionTable, BadPolicy> {
    let read = |name: &str| {
        let path = folder.join(name);
        match read(&path) {
            Ok(text) => Ok(File {
                name: path.display().to_string(),
                text,
            }),
            Err(error) => Err(BadPolicy::File { path, error }),
        }
    };
    build(&read("model.conf")?, &read("builtin.csv")?).await
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("is larger than 256 KiB"));
    }
    Ok(text)
}

async fn build(model: &File, csv: &File) -> Result<DecisionTable, BadPolicy> {
    let line = |file: &File, (line, reason)| BadPolicy::Line {
        file: file.name.clone(),
        line,
        reason,
    };
    let failed = |file: &File, error: casbin::Error| BadPolicy::Casbin {
        file: file.name.clone(),
        reason: error.to_string(),
    };
    model::check(&model.text).map_err(|bad| line(model, bad))?;
    let rules = rules::parse(&csv.text).map_err(|bad| line(csv, bad))?;

    let read = DefaultModel::from_str(&model.text)
        .await
        .map_err(|error| failed(model, error))?;
    let made = Enforcer::new(read, MemoryAdapter::default()).await;
    let mut enforcer = made.map_err(|error| failed(model, error))?;
    for rule in &rules {
        let columns = rule.kind.columns().into_iter().map(str::to_owned).collect();
        let added = match rule.kind {
            RuleKind::Implies(..) => enforcer.add_named_grouping_policy("g", columns).await,
            RuleKind::Single(..) | RuleKind::Both(..) => enforcer.add_named_policy(rule.kind.ptype(), columns).await,
        };
        if !added.map_err(|error| failed(csv, error))? {
            return Err(line(csv, (rule.line, "casbin did not take it".to_owned())));
        }
    }
    let mut table = DecisionTable::denying(rules);
    ask(&enforcer, &mut table).map_err(|reason| BadPolicy::Casbin {
        file: model.name.clone(),
        reason,
    })?;
    check(&table).map_err(|reason| BadPolicy::Table {
        file: csv.name.clone(),
        reason,
    })?;
    Ok(table)
}

/// Asks casbin for every cell, and for those of nobody.
fn ask(enforcer: &Enforcer, table: &mut DecisionTable) -> Result<(), String> {
    let failed = |error: casbin::Error| error.to_string();
    let somebody = || Role::ALL.into_iter().map(Some).chain([None]);
    let name = |role: Option<Role>| role.map_or(NOBODY, Role::name);
    for action in Action::ALL {
        let nobody = || format!("somebody without a privilege may {}", action.name());
        if action.is_conjunction() {
            for (service, infrastructure) in somebody().flat_map(|one| somebody().map(move |other| (one, other))) {
                let cell = vec![name(service), name(infrastructure), action.name()];
                if enforcer
                    .enforce_with_context(EnforceContext::new("2"), cell)
                    .map_err(failed)?
                {
                    let (Some(service), Some(infrastructure)) = (service, infrastructure) else {
                        return Err(nobody());
                    };
                    table.allow_both(action, service, infrastructure);
                }
            }
        } else {
            for role in somebody() {
                if enforcer.enforce(vec![name(role), action.name()]).map_err(failed)? {
                    table.allow(action, role.ok_or_else(nobody)?);
                }
            }
        }
    }
    Ok(())
}

/// What every table must hold, whoever wrote the rules. That more privileges never allow less follows from two things: a
/// set of them is allowed what any one (or any pair) in it is, and whoever holds a privilege is allowed what it allows.
fn check(table: &DecisionTable) -> Result<(), String> {
    let only = |role| Roles::of(&[role]);
    for action in Action::ALL {
        if !table.permits(action, only(Role::PlatformAdmin)) {
            return Err(format!("a platform admin may not {}", action.name()));
        }
    }
    if !table.permits(Action::SeeService, only(Role::ServiceOwner)) {
        return Err("the owner of a service may not see it".to_owned());
    }
    // Every set of roles: 2^10.
    for bits in 0..1u16 << Role::ALL.len() {
        check_set(table, Roles(bits))?;
    }
    Ok(())
}

fn check_set(table: &DecisionTable, held: Roles) -> Result<(), String> {
    let names = || held.iter().map(Role::name).collect::<Vec<_>>().join(" + ");
    let may = |action| table.permits(action, held);
    // Lists are made from the two halves.
    if may(Action::SeeDeployment) != (may(Action::SeeService) && may(Action::SeeInfrastructure)) {
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
        for rule in table.rules() {
            if let RuleKind::Implies(more, less) = rule.kind
                && held.has(less)
                && may(action)
                && !table.permits(action, held.without(less).with(more))
            {
                let (more, less, action) = (more.name(), less.name(), action.name());
                return Err(format!(
                    "{more} holds {less} (line {}), but may not {action} as it may",
                    rule.line
                ));
            }
        }
        // The rules are read a second time, here, for explanations: both readings have to agree.
        if may(action) != table.reads(action, held) {
            return Err(format!(
                "casbin and the lines say different things of {} and {}",
                names(),
                action.name()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(model: &str, csv: &str) -> String {
        let file = |name: &str, text: &str| File {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        let refused = build(&file("model.conf", model), &file("builtin.csv", csv)).await;
        refused
            .err()
            .map_or_else(|| panic!("taken: {model}{csv}"), |error| error.to_string())
    }

    #[tokio::test]
    async fn rules_that_do_not_hold_together_stop_the_start() {
        for (from, to, reason) in [
            (
                "p2, service:read, infra",
                "p2, service:write, infra",
                "see-deployment must be",
            ),
            (
                "p, service:read, see-service",
                "p, service:write, see-service",
                "but not see-service",
            ),
            ("p, service:write, write-", "p, service:read, write-", ""),
            ("g, service:owner, service:admin\n", "", "platform admin may not"),
            (
                "g, platform:admin, infrastructure:admin\n",
                "",
                "platform admin may not",
            ),
            (
                "g, service:write, service:read\n",
                "",
                "may write-versions but not see-service",
            ),
        ] {
            assert!(RULES.contains(from), "{from}");
            let changed = RULES.replace(from, to);
            if reason.is_empty() {
                let file = |text: &str| File {
                    name: String::new(),
                    text: text.to_owned(),
                };
                assert!(
                    build(&file(MODEL), &file(&changed)).await.is_ok(),
                    "an operator may open more: {to}"
                );
            } else {
                let error = refusal(MODEL, &changed).await;
                assert!(error.contains(reason), "{from} → {to}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn a_model_that_decides_otherwise_stops_the_start() {
        let m = "m = g(r.privilege, p.privilege) && r.action == p.action";
        let m2 = "m2 = g(r2.service, p2.service) && g(r2.infrastructure, p2.infrastructure) && r2.action == p2.action";
        for (from, to, reason) in [
            (m, "m = true", "without a privilege may see-service"),
            (m, "m = r.action == p.action", "without a privilege may see-service"),
            (
                m2,
                "m2 = g(r2.service, p2.service) && r2.action == p2.action",
                "without a privilege may see-deployment",
            ),
            // Without the hierarchy a platform admin holds nothing; with a part of it admin has less than read.
            (
                m,
                "m = r.privilege == p.privilege && r.action == p.action",
                "platform admin may not",
            ),
            (
                m,
                r#"m = g(r.privilege, p.privilege) && r.action == p.action && r.privilege != "service:deploy""#,
                "service:deploy holds service:read",
            ),
            (
                m,
                r#"m = r.action == p.action && (g(r.privilege, p.privilege) || r.privilege == "service:read")"#,
                "",
            ),
            (m, "m = g(r.privilege, p.privilege) && r.action == p.deed", "p_deed"),
            (m, "m = g(r.privilege, ", ""),
        ] {
            assert!(MODEL.contains(from), "{from}");
            let error = refusal(&MODEL.replace(from, to), RULES).await;
            assert!(error.contains(reason), "{to}: {error}");
        }
    }

    #[tokio::test]
    async fn an_empty_policy_stops_the_start() {
        assert!(refusal(MODEL, "").await.starts_with("builtin.csv:1: no rule"));
        assert!(refusal("", RULES).await.starts_with("model.conf:1: "));
    }

    #[tokio::test]
    async fn a_folder_replaces_the_builtin_rules() {
        let folder = tempfile::tempdir().unwrap();
        let missing = load(folder.path()).await.err().unwrap().to_string();
        assert!(missing.contains("model.conf"), "{missing}");
        std::fs::write(folder.path().join("model.conf"), MODEL).unwrap();
        std::fs::write(folder.path().join("builtin.csv"), format!("{RULES}\nq, x, y\n")).unwrap();
        let line = RULES.lines().count() + 2;
        let bad = load(folder.path()).await.err().unwrap().to_string();
        assert!(
            bad.ends_with(&format!(
                "builtin.csv:{line}: is not a rule: it must begin with g, p or p2"
            )),
            "{bad}"
        );
        let chained = RULES.replace(
            "g, service:admin, service:write\n",
            "g, service:deploy, service:write\n",
        );
        std::fs::write(folder.path().join("builtin.csv"), chained).unwrap();
        let table = load(folder.path()).await.unwrap();
        assert!(table.permits(Action::WriteVersions, Roles::of(&[Role::ServiceDeploy])));
        std::fs::write(folder.path().join("builtin.csv"), "#".repeat(300 << 10)).unwrap();
        assert!(load(folder.path()).await.err().unwrap().to_string().contains("larger"));
    }
}
