//! What has to be done with infrastructures. Pure, as the rest of the plan.
//!
//! The rule a newcomer would break: what an infrastructure allows comes before the deployments that are to use it, and what
//! it allows no more comes after those that used it.

use super::desired::Infrastructure;
use super::difference::{Change, between, patch};
use super::plan::{Facts, hidden, named, revision};
use super::step::{Act, Call, Kind, Step, Verdict};
use crate::cli::table::cell;
use axum::http::Method;
use serde_json::{Map, Value};

impl Facts<'_> {
    /// The steps that make an infrastructure what a file says, or make it; apart what it allows no more.
    pub(super) fn infrastructure(
        &self,
        name: &str,
        wanted: &Infrastructure,
        (steps, withdrawn): (&mut Vec<Step>, &mut Vec<Step>),
    ) {
        let what = format!("infrastructure {name}");
        let verdict = self.on_infrastructure(name);
        let Some(there) = self.infrastructure_there(name) else {
            steps.push(self.new_infrastructure(name, wanted, what, verdict));
            return;
        };
        let (mut now, later) = apart(&wanted.settings, there);
        // Who does not administer it is not shown how it runs pods.
        let is_hidden = there.get("kind") == Some(&Value::from("kubernetes")) && there.get("kubernetes").is_none();
        if is_hidden && now.shift_remove("kubernetes").is_some() {
            let what = format!("settings of {what}");
            let (kind, verdict) = (Kind::Compare, verdict.clone());
            let (changes, act) = (Vec::new(), Act::Nothing);
            steps.push(Step {
                kind,
                what,
                changes,
                verdict,
                act,
            });
        }
        let step = |settings: &Map<String, Value>, verdict: Verdict| {
            let changes = between(settings, there);
            let body = patch(settings, there, &[], &changes);
            let call = Call::new(
                Method::PATCH,
                &["infrastructures", name],
                Some(body.into()),
                revision(there),
            );
            (!changes.is_empty()).then(|| Step::call(Kind::Change, what.clone(), changes, verdict, call))
        };
        let other_kind = now.get("kind").is_some_and(|kind| there.get("kind") != Some(kind));
        let fixed =
            || Verdict::Impossible("its kind cannot be changed: give another name to one of another kind".to_owned());
        steps.extend(step(&now, if other_kind { fixed() } else { verdict.clone() }));
        let in_use = withdrawn_accesses(&later).find_map(|access| self.user(name, access));
        let in_use = in_use.map(|deployment| {
            Verdict::Impossible(format!(
                "deployment {deployment} uses it: give that another access first"
            ))
        });
        withdrawn.extend(step(&later, in_use.unwrap_or(verdict)));
    }

    fn new_infrastructure(&self, name: &str, wanted: &Infrastructure, what: String, may: Verdict) -> Step {
        let body = named(name, wanted.settings.clone());
        let mut call = Call::new(Method::POST, &["infrastructures"], Some(body), None);
        let mut changes = between(&wanted.settings, &Value::Null);
        let mut verdict = may;
        if let Some(lacking) = lacking_to_be_made(&wanted.settings) {
            let hidden = hidden("infrastructure", name);
            verdict = Verdict::Impossible(format!("{hidden}; to make it, give its {lacking}"));
        }
        if let Some(path) = &wanted.kubeconfig {
            changes.push(Change::new(
                "kubeconfig",
                Value::Null,
                format!("from {}", path.display()),
            ));
            match self.local.secrets.get(path) {
                Some(Ok(text)) => call.secret = Some(("kubeconfig", text.clone())),
                Some(Err(why)) => verdict = Verdict::Impossible(why.clone()),
                None => {}
            }
        }
        Step::call(Kind::Create, what, changes, verdict, call)
    }

    /// A deployment that is opened in this way on this infrastructure when all else is done.
    fn user(&self, infrastructure: &str, way: &str) -> Option<String> {
        let opened = |access: &str, service: &str| {
            access == way || (access == "inherit" && way == "public" && self.access_of(service) == Some("public"))
        };
        let declared = self.desired.deployments.iter().find(|(name, wanted)| {
            let there = || self.state.deployments.get(*name)?.body.as_ref()?.get("access");
            let access = wanted.settings.get("access").or_else(there).and_then(Value::as_str);
            wanted.infrastructure == infrastructure && opened(access.unwrap_or_default(), &wanted.service)
        });
        let stays = |other: &&Value| {
            let of = |at: &str| cell(other, at);
            of("/infrastructure") == infrastructure
                && opened(&of("/access"), &of("/service"))
                && !self.state.strays.contains(other)
        };
        let other = || Some(cell(self.state.others.iter().find(stays)?, "/name"));
        declared.map(|(name, _)| name.clone()).or_else(other)
    }

    /// The access of a service when all is done, where it is known.
    fn access_of(&self, service: &str) -> Option<&str> {
        let declared = || self.desired.services.get(service)?.settings.get("access");
        let there = || self.state.services.get(service)?.body.as_ref()?.get("access");
        declared().or_else(there)?.as_str()
    }
}

/// What is asked for at once, and what it is to allow no more.
fn apart(wanted: &Map<String, Value>, there: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let (mut now, mut later) = (wanted.clone(), Map::new());
    if let Some(Value::Object(allow)) = wanted.get("allow") {
        let allowed = |name: &String| there.pointer(&format!("/allow/{name}")) == Some(&Value::Bool(true));
        // Said as null it is not said.
        let said = allow.clone().into_iter().filter(|(_, value)| !value.is_null());
        let (withdrawn, rest): (Map<_, _>, Map<_, _>) =
            said.partition(|(name, value)| *value == Value::Bool(false) && allowed(name));
        now.insert("allow".to_owned(), rest.into());
        later.insert("allow".to_owned(), withdrawn.into());
    }
    (now, later)
}

/// The ways to open a deployment that are allowed no more, and that the server keeps while one uses them.
fn withdrawn_accesses(later: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let allow = later.get("allow").and_then(Value::as_object);
    let names = allow.into_iter().flat_map(Map::keys).map(String::as_str);
    names.filter(|name| ["inherit", "public"].contains(name))
}

/// What a new infrastructure must have, and is not said.
fn lacking_to_be_made(settings: &Map<String, Value>) -> Option<&'static str> {
    let namespace = settings
        .get("kubernetes")
        .and_then(|settings| settings.get("namespace"));
    match (settings.get("kind"), settings.get("stage")) {
        (Some(kind), Some(_)) if kind == "kubernetes" && namespace.is_none() => Some("kubernetes.namespace"),
        (Some(_), Some(_)) => None,
        (None, Some(_)) => Some("kind"),
        (Some(_), None) => Some("stage"),
        (None, None) => Some("kind and stage"),
    }
}
