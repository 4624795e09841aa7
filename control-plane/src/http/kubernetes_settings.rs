//! The settings of infrastructures of kind kubernetes as they come: merged with what was there, and checked as a whole.

use super::output::Answer;
use crate::domain::kubernetes::Kubeconfig;
use crate::domain::{InfrastructureKind, Invalid, Kubernetes};
use serde_json::{Map, Value};

type Settings = (Option<Kubernetes>, Option<Kubeconfig>);

/// Of a new infrastructure.
pub(super) fn made(
    kind: InfrastructureKind,
    given: Option<Kubernetes>,
    kubeconfig: Option<String>,
) -> Answer<Settings> {
    let is_kubernetes = kind == InfrastructureKind::Kubernetes;
    match given {
        None if is_kubernetes => Err(Invalid::new(
            "/kubernetes",
            "is missing: at least its namespace is needed, {\"namespace\": \"…\"}",
        )
        .into()),
        None if kubeconfig.is_some() => Err(elsewhere("/kubeconfig").into()),
        None => Ok((None, None)),
        Some(_) if !is_kubernetes => Err(elsewhere("/kubernetes").into()),
        Some(given) => {
            let kubeconfig = read(kubeconfig)?;
            let settings = Kubernetes {
                cluster: kubeconfig.as_ref().map(|kubeconfig| kubeconfig.server.clone()),
                ..checked(given)?
            };
            Ok((Some(settings), kubeconfig))
        }
    }
}

/// Of an infrastructure that is there.
pub(super) fn changed(
    before: Option<&Kubernetes>,
    patch: Option<Map<String, Value>>,
    kubeconfig: Option<String>,
) -> Answer<Settings> {
    let Some(before) = before else {
        return match (patch, kubeconfig) {
            (None, None) => Ok((None, None)),
            (Some(_), _) => Err(elsewhere("/kubernetes").into()),
            (None, Some(_)) => Err(elsewhere("/kubeconfig").into()),
        };
    };
    let kubeconfig = read(kubeconfig)?;
    let settings = match patch {
        None => before.clone(),
        Some(patch) => {
            let unreadable = |error: serde_json::Error| Invalid::new("/kubernetes", error.to_string());
            let mut settings = serde_json::to_value(before).map_err(unreadable)?;
            change(&mut settings, patch);
            checked(serde_json::from_value(settings).map_err(unreadable)?)?
        }
    };
    let cluster = match &kubeconfig {
        Some(kubeconfig) => Some(kubeconfig.server.clone()),
        None => before.cluster.clone(),
    };
    Ok((Some(Kubernetes { cluster, ..settings }), kubeconfig))
}

fn elsewhere(pointer: &str) -> Invalid {
    Invalid::new(pointer, "is for infrastructures of kind kubernetes")
}

fn read(kubeconfig: Option<String>) -> Result<Option<Kubeconfig>, Invalid> {
    let read = kubeconfig.map(|text| Kubeconfig::parse(&text).map_err(|invalid| invalid.under("/kubeconfig")));
    read.transpose()
}

fn checked(settings: Kubernetes) -> Result<Kubernetes, Invalid> {
    settings.check().map_err(|invalid| invalid.under("/kubernetes"))
}

/// Merges, but for two things. What an exposure of another kind was told means nothing to the new one; and that there is no
/// limit of processors is said by null, where one who says nothing has a limit.
fn change(settings: &mut Value, patch: Map<String, Value>) {
    let resources = patch.get("resources").and_then(Value::as_object);
    let unlimited = resources.is_some_and(|resources| resources.get("cpu_limit") == Some(&Value::Null));
    let kind = |exposure: Option<&Value>| exposure.and_then(|exposure| exposure.get("kind")).cloned();
    let (before, after) = (kind(settings.get("exposure")), kind(patch.get("exposure")));
    if let (true, Some(settings)) = (after.is_some() && after != before, settings.as_object_mut()) {
        settings.shift_remove("exposure");
    }
    merge(settings, Value::Object(patch));
    let resources = settings.get_mut("resources").and_then(Value::as_object_mut);
    if let (true, Some(resources)) = (unlimited, resources) {
        resources.insert("cpu_limit".to_owned(), Value::Null);
    }
}

/// JSON Merge Patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.shift_remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_exposure_of_another_kind_takes_the_place_of_the_one_before() {
        let before =
            json!({"namespace": "m", "exposure": {"kind": "ingress", "host": "{deployment}.a", "class": "nginx"}});
        for (patch, exposure) in [
            (
                json!({"exposure": {"class": null}}),
                json!({"kind": "ingress", "host": "{deployment}.a"}),
            ),
            (
                json!({"exposure": {"kind": "ingress", "host": "{deployment}.b"}}),
                json!({"kind": "ingress", "host": "{deployment}.b", "class": "nginx"}),
            ),
            (
                json!({"exposure": {"kind": "cluster-ip"}}),
                json!({"kind": "cluster-ip"}),
            ),
        ] {
            let mut settings = before.clone();
            change(&mut settings, patch.as_object().unwrap().clone());
            assert_eq!(settings["exposure"], exposure, "{patch}");
        }
    }

    #[test]
    fn no_limit_is_another_thing_than_the_default_one() {
        let before = json!({"namespace": "m", "resources": {"cpu": "1", "cpu_limit": "3"}});
        for (patch, resources) in [
            (json!({"cpu_limit": null}), json!({"cpu": "1", "cpu_limit": null})),
            (json!({"cpu": null}), json!({"cpu_limit": "3"})),
            (json!({"cpu_limit": "4"}), json!({"cpu": "1", "cpu_limit": "4"})),
        ] {
            let mut settings = before.clone();
            let patch = json!({ "resources": patch });
            change(&mut settings, patch.as_object().unwrap().clone());
            assert_eq!(settings["resources"], resources, "{patch}");
        }
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn merging() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!(["a"]), json!({"a": "c"}), json!({"a": "c"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, patch.clone());
            assert_eq!(merged, result, "{target} {patch}");
        }
    }
}
