//! What has to be done with deployments. Pure, as the rest of the plan.

use super::desired::Deployment;
use super::difference::{Change, between, patch};
use super::plan::{Facts, named, revision};
use super::step::{Act, Call, Kind, Step, Verdict};
use crate::cli::table::{cell, route};
use axum::http::Method;
use serde_json::{Value, json};

impl Facts<'_> {
    /// The steps that make a deployment what a file says, or make it.
    pub(super) fn deployment(&self, name: &str, wanted: &Deployment, steps: &mut Vec<Step>) {
        let what = format!("deployment {name}");
        let verdict = self.routed(wanted, self.on_deployment(&wanted.service, &wanted.infrastructure));
        let (version, legs) = said(wanted.route.as_deref());
        let Some(there) = self.state.deployments.get(name).and_then(|seen| seen.body.as_ref()) else {
            let mut body = wanted.settings.clone();
            for (field, value) in [
                ("service", Some(Value::from(wanted.service.as_str()))),
                ("infrastructure", Some(Value::from(wanted.infrastructure.as_str()))),
                ("version", version),
                ("route", legs),
                ("enabled", wanted.enabled.map(Value::from)),
            ] {
                body.extend(value.map(|value| (field.to_owned(), value)));
            }
            let verdict = match (&wanted.route, verdict) {
                (None, Verdict::Ask(_)) => {
                    Verdict::Impossible("it is not there: to make it, give its version or route".to_owned())
                }
                (_, verdict) => verdict,
            };
            let changes = between(&body, &Value::Null);
            let call = Call::new(Method::POST, &["deployments"], Some(named(name, body)), None);
            steps.push(Step::call(Kind::Create, what, changes, verdict, call));
            return;
        };
        let mut changes = Vec::new();
        let (before, after) = (route(there, "/route"), wanted.route.as_deref().map(in_words));
        let moved = after.filter(|after| *after != before);
        changes.extend(
            moved
                .as_ref()
                .map(|after| Change::new("version", before, after.as_str())),
        );
        let settings = between(&wanted.settings, there);
        let mut body = patch(&wanted.settings, there, &["scale", "limits"], &settings);
        if moved.is_some() {
            body.extend(version.map(|version| ("version".to_owned(), version)));
            body.extend(legs.map(|legs| ("route".to_owned(), legs)));
        }
        changes.extend(settings);
        let fixed = [("service", &wanted.service), ("infrastructure", &wanted.infrastructure)];
        let fixed = fixed
            .into_iter()
            .filter(|(field, wanted)| there.get(*field).is_some_and(|there| there != wanted.as_str()));
        let fixed: Vec<Change> = fixed
            .map(|(field, wanted)| Change::new(field, cell(there, &format!("/{field}")), wanted.as_str()))
            .collect();
        if !fixed.is_empty() {
            let why =
                "it is there, and what it deploys where cannot be changed: give another name to this one".to_owned();
            let verdict = Verdict::Impossible(why);
            steps.push(Step {
                kind: Kind::Change,
                what,
                changes: fixed,
                verdict,
                act: Act::Nothing,
            });
            return;
        }
        if !changes.is_empty() {
            let call = Call::new(
                Method::PATCH,
                &["deployments", name],
                Some(body.into()),
                revision(there),
            );
            steps.push(Step::call(Kind::Change, what.clone(), changes, verdict.clone(), call));
        }
        if let Some(enabled) = wanted
            .enabled
            .filter(|enabled| there.get("enabled") != Some(&Value::Bool(*enabled)))
        {
            steps.push(switch(name, enabled, verdict, revision(there)));
        }
    }

    /// A route whose versions are neither there nor described cannot be.
    fn routed(&self, wanted: &Deployment, verdict: Verdict) -> Verdict {
        let there = self.state.services.get(&wanted.service);
        let described = self.desired.services.get(&wanted.service);
        let missing = wanted
            .route
            .iter()
            .flatten()
            .map(|(version, _)| version)
            .find(|version| {
                !there.is_some_and(|seen| seen.versions.contains_key(*version))
                    && !described.is_some_and(|service| service.versions.contains_key(*version))
            });
        match (missing, &verdict) {
            (Some(version), Verdict::Ask(_)) => {
                let service = &wanted.service;
                let listing = format!("those there are: castoff version list {service}");
                Verdict::Impossible(format!("there is no version {version} of service {service}; {listing}"))
            }
            _ => verdict,
        }
    }

    /// A deployment goes in two steps, as by hand: off, then away.
    pub(super) fn stray(&self, stray: &Value, steps: &mut Vec<Step>) {
        let name = cell(stray, "/name");
        let verdict = self.on_deployment(&cell(stray, "/service"), &cell(stray, "/infrastructure"));
        if stray.get("enabled") == Some(&Value::Bool(true)) {
            steps.push(switch(&name, false, verdict.clone(), revision(stray)));
        }
        let changes = vec![Change::new("version", route(stray, "/route"), Value::Null)];
        let call = Call::new(Method::DELETE, &["deployments", &name], None, revision(stray));
        steps.push(Step::call(
            Kind::Remove,
            format!("deployment {name}, with its keys"),
            changes,
            verdict,
            call,
        ));
    }
}

fn switch(name: &str, on: bool, verdict: Verdict, held: Option<u64>) -> Step {
    let changes = vec![Change::new("enabled", !on, on)];
    let call = Call::verb(&["deployments", name, if on { "enable" } else { "disable" }], held);
    Step::call(Kind::Change, format!("deployment {name}"), changes, verdict, call)
}

/// A route as the API takes it: one version alone, or legs.
fn said(route: Option<&[(String, u64)]>) -> (Option<Value>, Option<Value>) {
    match route {
        None => (None, None),
        Some([(version, _)]) => (Some(version.as_str().into()), None),
        Some(legs) => {
            let legs = legs
                .iter()
                .map(|(version, weight)| json!({"version": version, "weight": weight}));
            (None, Some(legs.collect()))
        }
    }
}

/// A route as people read it, in the words of [`route`].
fn in_words(legs: &[(String, u64)]) -> String {
    match legs {
        [(version, _)] => version.clone(),
        legs => legs
            .iter()
            .map(|(version, weight)| format!("{version}={weight}"))
            .collect::<Vec<_>>()
            .join(","),
    }
}
