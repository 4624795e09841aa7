//! By what Castoff knows its own objects: labels of the installation and of the deployment. What lacks them is nobody's to
//! touch.

use serde_json::{Value, json};
use uuid::Uuid;

/// Whose it is.
pub(super) const INSTALLATION: &str = "castoff.dev/installation";
/// What it is for. The selector of pods, alone: a selector can never be changed.
pub(super) const DEPLOYMENT: &str = "castoff.dev/deployment-id";
/// A label of pods: by which template they are made, from the second on.
pub(super) const TEMPLATE: &str = "castoff.dev/template";
/// An annotation: the config in a Secret, as `epoch.version`.
pub(super) const CONFIG: &str = "castoff.dev/config-version";
/// An annotation: SHA-256 of what was applied.
pub(super) const APPLIED: &str = "castoff.dev/applied";

/// The container of a pod that is its node, whichever others somebody has put beside it.
pub(super) const CONTAINER: &str = "node";

/// Labels that choose everything of an installation.
pub(super) fn of_installation(installation: Uuid) -> String {
    format!("{INSTALLATION}={installation}")
}

/// Who applies: the name under which the API server keeps what is ours of an object.
pub(super) fn manager(installation: Uuid) -> String {
    format!("castoff-{installation}")
}

/// Who keeps the number of pods while an autoscaler decides it.
pub(super) fn scale_manager(installation: Uuid) -> String {
    format!("castoff-{installation}-scale")
}

/// The labels by which a deployment's pods are selected.
pub(super) fn selector(deployment: Uuid) -> Value {
    json!({ DEPLOYMENT: deployment })
}

/// Where a config stands, in an annotation.
pub(super) fn position(config: (u64, u64)) -> String {
    format!("{}.{}", config.0, config.1)
}

/// Where a config stands, from an annotation.
pub(super) fn parse_position(text: &str) -> Option<(u64, u64)> {
    let (epoch, version) = text.split_once('.')?;
    Some((epoch.parse().ok()?, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        assert_eq!(parse_position(&position((2, 17))), Some((2, 17)));
        for text in ["", "1", "1.", ".1", "1.2.3", "a.b"] {
            assert_eq!(parse_position(text), None, "{text}");
        }
    }
}
