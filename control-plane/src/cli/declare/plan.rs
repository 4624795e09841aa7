//! What has to be done so that the server is as files say. Pure: what is asked for, what is there, and what lies on this
//! machine become steps, in the order in which they are done.
//!
//! The rule a newcomer would break: what no file speaks of is left as it is. Only with `prune` something goes, and only out
//! of a list that a file has (the `grants` of a thing, its `keys`), or a deployment of a service that the files describe on
//! an infrastructure that they name.

use super::desired::{Desired, Grants, Service};
use super::difference::{Change, between, patch};
use super::key_steps;
use super::local::Local;
use super::state::{Part, Seen, State};
use super::step::{Act, Call, Kind, Question, Step, Verdict};
use crate::cli::table::{cell, size};
use axum::http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) desired: &'a Desired,
    pub(super) state: &'a State,
    pub(super) local: &'a Local,
    /// Whether what the files leave out goes.
    pub(super) prune: bool,
}

/// The revision of what was read.
pub(super) fn revision(body: &Value) -> Option<u64> {
    body.get("revision").and_then(Value::as_u64)
}

/// The steps, with whom the server has still to be asked.
pub(super) fn steps(facts: Facts<'_>) -> Vec<Step> {
    let desired = facts.desired;
    let mut steps = Vec::new();
    for (name, service) in &desired.services {
        steps.extend(facts.service(name, service));
    }
    for (name, service) in &desired.services {
        facts.versions(name, service, &mut steps);
    }
    let mut withdrawn = Vec::new();
    for (name, infrastructure) in &desired.infrastructures {
        facts.infrastructure(name, infrastructure, (&mut steps, &mut withdrawn));
    }
    let mut gone = Vec::new();
    for (name, service) in &desired.services {
        let verdict = facts.on_service(name);
        facts.grants(
            "services",
            name,
            service.grants.as_ref(),
            &verdict,
            (&mut steps, &mut gone),
        );
    }
    for (name, infrastructure) in &desired.infrastructures {
        let verdict = facts.on_infrastructure(name);
        facts.grants(
            "infrastructures",
            name,
            infrastructure.grants.as_ref(),
            &verdict,
            (&mut steps, &mut gone),
        );
    }
    for (name, deployment) in &desired.deployments {
        facts.deployment(name, deployment, &mut steps);
    }
    let mut keys_gone = Vec::new();
    let none = Seen::default();
    for (name, service) in &desired.services {
        let seen = facts.state.services.get(name).unwrap_or(&none);
        let place = key_steps::Place::new("services", name, facts.on_service(name));
        place.steps(facts, service.keys.as_ref(), &seen.keys, (&mut steps, &mut keys_gone));
    }
    for (name, deployment) in &desired.deployments {
        let seen = facts.state.deployments.get(name).unwrap_or(&none);
        let verdict = facts.on_deployment(&deployment.service, &deployment.infrastructure);
        let place = key_steps::Place::new("deployments", name, verdict);
        place.steps(
            facts,
            deployment.keys.as_ref(),
            &seen.keys,
            (&mut steps, &mut keys_gone),
        );
    }
    // What goes goes last, and grants after all: with them the right to the rest may go.
    steps.extend(keys_gone);
    facts
        .state
        .strays
        .iter()
        .for_each(|stray| facts.stray(stray, &mut steps));
    // Nothing uses it any more.
    steps.extend(withdrawn);
    steps.extend(gone);
    steps
}

pub(super) fn hidden(kind: &str, name: &str) -> String {
    format!("there is no {kind} {name}, or you may not see it")
}

impl Facts<'_> {
    pub(super) fn ask(action: &'static str, service: Option<&str>, infrastructure: Option<&str>) -> Verdict {
        Verdict::Ask(Question {
            action,
            service: service.map(str::to_owned),
            infrastructure: infrastructure.map(str::to_owned),
            lacks: None,
        })
    }

    /// The caller may not deploy on the half that is there. Of the whole nobody can be asked while the other half is not
    /// there; who can give it are those who administer this one.
    fn lacking(service: Option<&str>, infrastructure: Option<&str>) -> Verdict {
        let (action, lacks) = match (service, infrastructure) {
            (Some(service), _) => ("administer-service", format!("deploy on service {service}")),
            (None, infrastructure) => (
                "administer-infrastructure",
                format!("deploy on infrastructure {}", infrastructure.unwrap_or_default()),
            ),
        };
        Verdict::Ask(Question {
            action,
            service: service.map(str::to_owned),
            infrastructure: infrastructure.map(str::to_owned),
            lacks: Some(lacks),
        })
    }

    fn service_there(&self, name: &str) -> Option<&Value> {
        self.state.services.get(name)?.body.as_ref()
    }

    pub(super) fn infrastructure_there(&self, name: &str) -> Option<&Value> {
        self.state.infrastructures.get(name)?.body.as_ref()
    }

    /// Whoever makes a service owns it, so that what belongs to a new one needs nothing more.
    fn on_service(&self, name: &str) -> Verdict {
        match self.service_there(name) {
            Some(_) => Self::ask("administer-service", Some(name), None),
            None => Self::ask("create-service", None, None),
        }
    }

    /// Whoever makes infrastructures may do everything on them.
    pub(super) fn on_infrastructure(&self, name: &str) -> Verdict {
        match self.infrastructure_there(name) {
            Some(_) => Self::ask("administer-infrastructure", None, Some(name)),
            None => Self::ask("administer-platform", None, None),
        }
    }

    /// Both halves, each there, to be made by this plan, or neither.
    pub(super) fn on_deployment(&self, service: &str, infrastructure: &str) -> Verdict {
        let may_deploy = |body: &Value| {
            let privileges = body.get("my_privileges").and_then(Value::as_array);
            privileges.into_iter().flatten().any(|privilege| privilege == "deploy")
        };
        let (service_there, infrastructure_there) =
            (self.service_there(service), self.infrastructure_there(infrastructure));
        match (service_there, infrastructure_there) {
            (None, _) if !self.desired.services.contains_key(service) => {
                Verdict::Impossible(hidden("service", service))
            }
            (_, None) if !self.desired.infrastructures.contains_key(infrastructure) => {
                Verdict::Impossible(hidden("infrastructure", infrastructure))
            }
            (Some(_), Some(_)) => Self::ask("change-deployment", Some(service), Some(infrastructure)),
            (None, Some(body)) if !may_deploy(body) => Self::lacking(None, Some(infrastructure)),
            (Some(body), None) if !may_deploy(body) => Self::lacking(Some(service), None),
            (None, Some(_)) => Self::ask("create-service", None, None),
            (_, None) => Self::ask("administer-platform", None, None),
        }
    }

    fn service(&self, name: &str, wanted: &Service) -> Option<Step> {
        let path = ["services", name];
        let what = format!("service {name}");
        let verdict = self.on_service(name);
        let Some(there) = self.service_there(name) else {
            let body = named(name, wanted.settings.clone());
            let changes = between(&wanted.settings, &Value::Null);
            return Some(Step::call(
                Kind::Create,
                what,
                changes,
                verdict,
                Call::new(Method::POST, &["services"], Some(body), None),
            ));
        };
        let changes = between(&wanted.settings, there);
        let body = patch(&wanted.settings, there, &[], &changes);
        let call = Call::new(Method::PATCH, &path, Some(body.into()), revision(there));
        (!changes.is_empty()).then(|| Step::call(Kind::Change, what, changes, verdict, call))
    }

    fn versions(&self, name: &str, wanted: &Service, steps: &mut Vec<Step>) {
        let none = Seen::default();
        let seen = self.state.services.get(name).unwrap_or(&none);
        for (version, wanted) in &wanted.versions {
            let verdict = match seen.body {
                Some(_) => Self::ask("write-versions", Some(name), None),
                None => Self::ask("create-service", None, None),
            };
            let package = wanted
                .package
                .as_ref()
                .and_then(|path| Some((path, self.local.packages.get(path)?)));
            let there = seen.versions.get(version).map(|there| cell(there, "/digest"));
            let mut step = Step {
                kind: Kind::Create,
                what: format!("version {version} of service {name}"),
                changes: Vec::new(),
                verdict,
                act: Act::Nothing,
            };
            let found = package
                .and_then(|(_, found)| found.as_ref().ok())
                .map(|package| &package.digest);
            match (&there, wanted.digest.as_ref().or(found), package) {
                (Some(there), Some(digest), _) if there == digest => continue,
                (Some(there), Some(digest), _) => {
                    step.changes = vec![Change::new("digest", there.as_str(), digest.as_str())];
                    step.verdict = Verdict::Impossible(
                        "it is there with other content, and a version never changes: give the new one another name"
                            .to_owned(),
                    );
                }
                // Nothing is said of it but its name.
                (Some(_), None, None) => continue,
                (_, _, Some((_, Err(why)))) => step.verdict = Verdict::Impossible(why.clone()),
                (None, Some(digest), Some((path, Ok(package)))) if *digest != package.digest => {
                    let text = format!(
                        "{} has another digest than the file says: {}",
                        path.display(),
                        package.digest
                    );
                    step.verdict = Verdict::Impossible(text);
                }
                (None, _, Some((path, Ok(package)))) => {
                    step.changes = vec![
                        Change::new(
                            "package",
                            Value::Null,
                            format!("{} ({})", path.display(), size(package.size)),
                        ),
                        Change::new("digest", Value::Null, package.digest.as_str()),
                    ];
                    step.act = Act::Push {
                        service: name.to_owned(),
                        version: version.clone(),
                        path: path.clone(),
                        package: package.clone(),
                    };
                }
                (None, _, None) | (Some(_), None, Some(_)) => {
                    step.verdict = Verdict::Impossible(
                        "it is not there: name the file or folder to upload with `package`".to_owned(),
                    );
                }
            }
            steps.push(step);
        }
    }

    fn grants(
        &self,
        kind: &str,
        name: &str,
        wanted: Option<&Grants>,
        verdict: &Verdict,
        (steps, gone): (&mut Vec<Step>, &mut Vec<Step>),
    ) {
        let Some(wanted) = wanted.filter(|wanted| self.prune || !wanted.is_empty()) else {
            return;
        };
        let on = kind.trim_end_matches('s');
        let seen = match kind {
            "services" => self.state.services.get(name),
            _ => self.state.infrastructures.get(name),
        };
        let none = Part::Unasked;
        let part = seen.map_or(&none, |seen| &seen.grants);
        if let Part::Hidden(answer) = part {
            let what = format!("grants on {on} {name}");
            steps.push(Step::unseen(what, answer));
            return;
        }
        let what = |group: &str| format!("grant of group {group} on {on} {name}");
        for (group, privileges) in wanted {
            let there = part.items().iter().find(|grant| cell(grant, "/group") == *group);
            let has = there
                .and_then(|grant| grant.get("privileges"))
                .cloned()
                .unwrap_or_default();
            if words(&has) == privileges.iter().map(String::as_str).collect() {
                continue;
            }
            let verdict = match self.state.groups.contains(group) {
                true => verdict.clone(),
                false => Verdict::Impossible(format!("there is no group {group}: castoff group create {group}")),
            };
            let kind_of_step = if there.is_some() { Kind::Change } else { Kind::Create };
            let changes = vec![Change::new("privileges", has, privileges.clone())];
            let held = there.map_or(Some(0), revision);
            let body = json!({"privileges": privileges});
            let call = Call::new(Method::PUT, &[kind, name, "grants", group], Some(body), held);
            steps.push(Step::call(kind_of_step, what(group), changes, verdict, call));
        }
        let left_out = |grant: &&Value| self.prune && !wanted.contains_key(&cell(grant, "/group"));
        for grant in part.items().iter().filter(left_out) {
            let group = cell(grant, "/group");
            let has = grant.get("privileges").cloned().unwrap_or_default();
            let changes = vec![Change::new("privileges", has, Value::Null)];
            let call = Call::new(Method::DELETE, &[kind, name, "grants", &group], None, revision(grant));
            gone.push(Step::call(Kind::Remove, what(&group), changes, verdict.clone(), call));
        }
    }
}

/// A body with its name first.
pub(super) fn named(name: &str, settings: Map<String, Value>) -> Value {
    let first = std::iter::once(("name".to_owned(), Value::from(name)));
    first.chain(settings).collect()
}

fn words(list: &Value) -> BTreeSet<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
