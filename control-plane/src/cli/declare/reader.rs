//! Reads documents as what they ask for, and notes all that is wrong in them.
//!
//! What belongs to the API is held against its description; what belongs to files (paths, and what is listed below a thing)
//! is read here. The rule a newcomer would break: a secret is refused wherever it stands, and told by its place only.

use super::desired::{Deployment, Desired, Grants, Infrastructure, Key, Keys, Service, Source, Version};
use super::schema;
use super::yaml::{Wrong, step};
use crate::domain::{DeploymentName, GroupName, InfrastructureName, Invalid, ServiceName, Time, Title, VersionName};
use castoff_wire::key::looks_minted;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The kinds of things that files may name.
const KINDS: [&str; 3] = ["infrastructures", "services", "deployments"];

/// What may be said of a thing: settings, of which the API says what they may be, and what only files have.
struct Noun {
    schema: &'static str,
    settings: &'static [&'static str],
    own: &'static [&'static str],
}

const SERVICE: Noun = Noun {
    schema: "NewService",
    settings: &["description", "access", "key_visibility"],
    own: &["versions", "grants", "keys"],
};

const INFRASTRUCTURE: Noun = Noun {
    schema: "NewInfrastructure",
    settings: &["kind", "stage", "description", "allow", "kubernetes"],
    own: &["kubeconfig", "grants"],
};

const DEPLOYMENT: Noun = Noun {
    schema: "NewDeployment",
    settings: &[
        "service",
        "infrastructure",
        "version",
        "route",
        "enabled",
        "access",
        "scale",
        "limits",
        "key_header",
    ],
    own: &["keys"],
};

/// What a file says of a key, and what is written into one.
pub(super) const KEY_SETTINGS: &[&str] = &[
    "class",
    "weak",
    "not_before",
    "expires_at",
    "endpoints",
    "rate_limit",
    "quota",
];

const KEY: Noun = Noun {
    schema: "NewKey",
    settings: KEY_SETTINGS,
    own: &["import", "save", "revoked"],
};

/// What is said to whoever writes a secret into a file.
const NO_SECRETS: &str = "a secret does not belong here: write `import: FILE` with the file that holds the key, or `save: FILE` with a new file for a key that the server makes";

/// Reads one document; what it names is added to what there is. The folder is what paths in it are relative to.
pub(super) fn add(document: &Value, folder: &Path, desired: &mut Desired, wrong: &mut Vec<Wrong>) {
    let before = wrong.len();
    secrets(document, "", wrong);
    if wrong.len() > before {
        // The rest would be told by names and places that may hold what must not be shown.
        return;
    }
    let mut reader = Reader { folder, wrong };
    for (kind, things, at) in reader.members(document, "") {
        if !KINDS.contains(&kind.as_str()) {
            reader.wrong.push(schema::unknown(at, KINDS.into_iter()));
            continue;
        }
        for (name, thing, at) in reader.members(things, &at) {
            let taken = match kind.as_str() {
                "services" => {
                    reader.name(ServiceName::parse(name), &at);
                    let service = reader.service(thing, &at);
                    desired.services.insert(name.clone(), service).is_some()
                }
                "infrastructures" => {
                    reader.name(InfrastructureName::parse(name), &at);
                    let infrastructure = reader.infrastructure(thing, &at);
                    desired.infrastructures.insert(name.clone(), infrastructure).is_some()
                }
                _ => {
                    reader.name(DeploymentName::parse(name), &at);
                    let deployment = reader.deployment(thing, &at);
                    desired.deployments.insert(name.clone(), deployment).is_some()
                }
            };
            if taken {
                reader.note(&at, "is named in another document already");
            }
        }
    }
}

/// Notes every text that is a key of ours, without showing it.
fn secrets(value: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    match value {
        Value::String(text) if text.split_whitespace().any(looks_minted) => wrong.push(Wrong::new(at, NO_SECRETS)),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                secrets(item, &step(at, &number.to_string()), wrong);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                if looks_minted(name) {
                    wrong.push(Wrong::new(at, NO_SECRETS));
                } else {
                    secrets(value, &step(at, name), wrong);
                }
            }
        }
        _ => {}
    }
}

/// Reads things, and notes what is wrong with them.
struct Reader<'a> {
    folder: &'a Path,
    wrong: &'a mut Vec<Wrong>,
}

impl Reader<'_> {
    fn note(&mut self, at: &str, reason: impl Into<String>) {
        self.wrong.push(Wrong::new(at, reason));
    }

    fn name<T>(&mut self, parsed: Result<T, Invalid>, at: &str) {
        if let Err(invalid) = parsed {
            self.note(at, format!("is no such name: it {}", invalid.reason));
        }
    }

    /// The members of a value with their places; none of nothing.
    fn members<'v>(&mut self, value: &'v Value, at: &str) -> Vec<(&'v String, &'v Value, String)> {
        match value {
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (name, value, step(at, name)))
                .collect(),
            Value::Null => Vec::new(),
            other => {
                self.note(
                    at,
                    format!("must be names with values, and is {}", schema::called(other)),
                );
                Vec::new()
            }
        }
    }

    /// Holds a setting against the API's description of it.
    fn setting(&mut self, noun: &Noun, name: &str, value: &Value, at: String) -> bool {
        match schema::member(noun.schema, name).filter(|_| noun.settings.contains(&name)) {
            Some(_) if value.is_null() => self.note(&at, "is empty: give it a value, or leave it out"),
            Some(described) => {
                let before = self.wrong.len();
                schema::check(described, value, &at, self.wrong);
                // What a thing has already need not be said again; what a new one must have is looked at in the plan.
                let partly = |wrong: &Wrong| {
                    name == "kubernetes" && wrong.pointer == at && wrong.reason.starts_with("must have ")
                };
                self.wrong.retain(|wrong| !partly(wrong));
                return self.wrong.len() == before;
            }
            None => self
                .wrong
                .push(schema::unknown(at, noun.settings.iter().chain(noun.own).copied())),
        }
        false
    }

    fn service(&mut self, value: &Value, at: &str) -> Service {
        let mut service = Service::default();
        for (name, value, at) in self.members(value, at) {
            match name.as_str() {
                "versions" => service.versions = self.versions(value, &at),
                "grants" => service.grants = Some(self.grants("ServicePrivileges", value, &at)),
                "keys" => service.keys = Some(self.keys(value, &at)),
                _ => {
                    if self.setting(&SERVICE, name, value, at) {
                        service.settings.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        service
    }

    fn infrastructure(&mut self, value: &Value, at: &str) -> Infrastructure {
        let mut infrastructure = Infrastructure::default();
        for (name, value, at) in self.members(value, at) {
            match name.as_str() {
                "grants" => infrastructure.grants = Some(self.grants("InfrastructurePrivileges", value, &at)),
                "kubeconfig" => {
                    let named = value.as_str().is_none_or(|text| !text.contains('\n'));
                    infrastructure.kubeconfig = self.path(value, &at).filter(|_| named);
                    if !named {
                        self.note(
                            &at,
                            "must name a file: a kubeconfig holds secrets, which do not belong here",
                        );
                    }
                }
                _ => {
                    if self.setting(&INFRASTRUCTURE, name, value, at) {
                        infrastructure.settings.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        infrastructure
    }

    fn deployment(&mut self, value: &Value, at: &str) -> Deployment {
        let mut deployment = Deployment::default();
        for (name, value, at) in self.members(value, at) {
            if name == "keys" {
                deployment.keys = Some(self.keys(value, &at));
                continue;
            }
            if !self.setting(&DEPLOYMENT, name, value, at.clone()) {
                continue;
            }
            let text = value.as_str().unwrap_or_default().to_owned();
            match name.as_str() {
                "service" => {
                    self.name(ServiceName::parse(&text), &at);
                    deployment.service = text;
                }
                "infrastructure" => {
                    self.name(InfrastructureName::parse(&text), &at);
                    deployment.infrastructure = text;
                }
                "version" | "route" => {
                    if deployment.route.is_some() {
                        self.note(&at, "is said twice: give version or route");
                    }
                    deployment.route = Some(match value {
                        Value::Array(legs) => self.route(legs, &at),
                        _ => vec![(text, 100)],
                    });
                }
                "enabled" => deployment.enabled = value.as_bool(),
                _ => drop(deployment.settings.insert(name.clone(), value.clone())),
            }
        }
        for (name, given) in [
            ("service", &deployment.service),
            ("infrastructure", &deployment.infrastructure),
        ] {
            // What is there and wrong was noted already.
            if given.is_empty() && value.get(name).is_none() {
                self.note(at, format!("must have {name}"));
            }
        }
        deployment
    }

    fn route(&mut self, legs: &[Value], at: &str) -> Vec<(String, u64)> {
        let mut route: Vec<(String, u64)> = Vec::new();
        for (number, leg) in legs.iter().enumerate() {
            let at = step(at, &number.to_string());
            if leg.get("digest").is_some() {
                self.note(
                    &step(&at, "digest"),
                    "is not said here, but of the version of the service",
                );
            }
            let version = leg
                .get("version")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            if route.iter().any(|(earlier, _)| *earlier == version) {
                self.note(&step(&at, "version"), "is named twice");
            }
            route.push((version, leg.get("weight").and_then(Value::as_u64).unwrap_or_default()));
        }
        let sum = route.iter().fold(0u64, |sum, (_, weight)| sum.saturating_add(*weight));
        if sum != 100 {
            self.note(at, format!("has weights that sum to {sum}, and must sum to 100"));
        }
        route
    }

    fn versions(&mut self, value: &Value, at: &str) -> BTreeMap<String, Version> {
        let mut versions = BTreeMap::new();
        for (name, value, at) in self.members(value, at) {
            self.name(VersionName::parse(name), &at);
            let mut version = Version::default();
            match value {
                Value::String(_) => version.package = self.path(value, &at),
                value => {
                    for (name, value, at) in self.members(value, &at) {
                        match name.as_str() {
                            "package" => version.package = self.path(value, &at),
                            "digest" => version.digest = self.digest(value, &at),
                            _ => self.wrong.push(schema::unknown(at, ["package", "digest"].into_iter())),
                        }
                    }
                }
            }
            versions.insert(name.clone(), version);
        }
        versions
    }

    fn digest(&mut self, value: &Value, at: &str) -> Option<String> {
        let text = value.as_str().unwrap_or_default();
        let fits = text.strip_prefix("sha256:").is_some_and(|digits| {
            digits.len() == 64 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        });
        if !fits {
            self.note(at, "must be sha256: and 64 hexadecimal digits");
        }
        fits.then(|| text.to_owned())
    }

    fn grants(&mut self, schema: &str, value: &Value, at: &str) -> Grants {
        let mut grants = BTreeMap::new();
        for (group, value, at) in self.members(value, at) {
            self.name(GroupName::parse(group), &at);
            // One privilege may stand without its list.
            let list = match value {
                Value::String(one) => Value::from(vec![one.clone()]),
                other => other.clone(),
            };
            if let Some(described) = schema::member(schema, "privileges") {
                schema::check(described, &list, &at, self.wrong);
            }
            let items = list.as_array().into_iter().flatten();
            let privileges = items.filter_map(|item| Some(item.as_str()?.to_owned())).collect();
            grants.insert(group.clone(), privileges);
        }
        grants
    }

    fn keys(&mut self, value: &Value, at: &str) -> Keys {
        let mut keys = BTreeMap::new();
        for (name, value, at) in self.members(value, at) {
            self.name(Title::parse(name), &at);
            if value.is_string() {
                self.note(&at, NO_SECRETS);
                continue;
            }
            let key = self.key(value, &at);
            keys.insert(name.clone(), key);
        }
        keys
    }

    fn key(&mut self, value: &Value, at: &str) -> Key {
        let mut key = Key::default();
        for (name, value, at) in self.members(value, at) {
            match name.as_str() {
                "import" | "save" => {
                    if key.source.is_some() {
                        self.note(&at, "is one too many: give import or save");
                    }
                    let path = self.path(value, &at);
                    key.source = path.map(if name == "import" { Source::Import } else { Source::Save });
                }
                "revoked" => match value.as_bool() {
                    Some(revoked) => key.revoked = Some(revoked),
                    None => self.note(&at, "must be true or false"),
                },
                "key" | "secret" | "value" | "text" | "token" | "password" => self.note(&at, NO_SECRETS),
                _ => {
                    if self.setting(&KEY, name, value, at.clone()) {
                        if matches!(name.as_str(), "not_before" | "expires_at") {
                            self.time(value, &at);
                        }
                        key.settings.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        key
    }

    fn time(&mut self, value: &Value, at: &str) {
        if Time::parse(value.as_str().unwrap_or_default()).is_err() {
            self.note(at, "must be a time such as 2027-01-31T12:00:00Z");
        }
    }

    /// A path, from the folder of its file on.
    fn path(&mut self, value: &Value, at: &str) -> Option<PathBuf> {
        match value.as_str() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Some(self.folder.join(text)),
            _ => {
                self.note(at, "must be the path of a file");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting that the API learns can be declared, or is left out here for a reason.
    #[test]
    fn every_setting_of_the_api_can_be_declared() {
        let elsewhere = ["name", "note", "kubeconfig", "key"];
        for noun in [SERVICE, INFRASTRUCTURE, DEPLOYMENT, KEY] {
            let api = schema::members(noun.schema).map(|(name, _)| name.as_str());
            let api: Vec<&str> = api.filter(|name| !elsewhere.contains(name)).collect();
            assert!(!api.is_empty(), "{}", noun.schema);
            for name in api {
                assert!(noun.settings.contains(&name), "{} has {name}", noun.schema);
            }
        }
    }
}
