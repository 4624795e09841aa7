//! `castoff deployment set`: scale and limits, a few of them at a time.

use super::super::Desk;
use super::super::cluster_settings::read;
use super::super::declare::changed;
use super::super::failure::Failure;
use super::super::service::put;
use super::super::span::Span;
use super::super::wait;
use clap::Args;
use serde_json::{Map, Value};
use std::path::Path;

/// What is to be changed of a deployment.
#[derive(Args, Debug)]
pub struct Set {
    /// The deployment
    deployment: String,
    /// Of how many nodes there are and what each takes: JSON, or a file of YAML or JSON
    #[arg(long, value_name = "JSON|FILE", required_unless_present = "limits")]
    scale: Option<String>,
    /// Of what a node allows itself and its callers: JSON, or a file of YAML or JSON
    #[arg(long, value_name = "JSON|FILE")]
    limits: Option<String>,
    /// Why, for the history
    #[arg(long)]
    note: Option<String>,
    /// Wait until it runs, so long at most [when given without a span: 60s]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "60s")]
    wait: Option<Span>,
}

impl Set {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let mut wanted = Map::new();
        for (name, said) in [("scale", &self.scale), ("limits", &self.limits)] {
            if let Some(said) = said {
                wanted.insert(name.to_owned(), object(name, said)?.into());
            }
        }
        let path = ["deployments", self.deployment.as_str()];
        let found = desk.server.get(&path, &[]).await?;
        let name = &self.deployment;
        let Some(mut body) = changed(&wanted, &found, &["scale", "limits"]) else {
            return desk.out.done(&found, &format!("{name} is already so"));
        };
        put(&mut body, "note", self.note.as_ref());
        let changed = desk.server.patch(&path, &[], &body.into()).await?.body;
        if let Some(most) = self.wait {
            wait::until_running(desk, name, wait::wanted(&changed), most).await?;
        }
        desk.out.done(&changed, &format!("changed {name}"))
    }
}

/// What is said, or what stands in the file of this name.
fn object(what: &str, said: &str) -> Result<Map<String, Value>, Failure> {
    let is_json = said.trim_start().starts_with('{');
    let (place, text) = match is_json {
        true => (format!("--{what}"), said.to_owned()),
        false => (said.to_owned(), read(Path::new(said))?),
    };
    serde_yaml_ng::from_str(&text).map_err(|error| Failure::Local(format!("{place}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_typed_or_in_a_file() {
        let typed = object("scale", r#" {"replicas": 3, "autoscaling": null}"#).unwrap();
        assert_eq!(Value::from(typed), json!({"replicas": 3, "autoscaling": null}));
        for wrong in ["{replicas", "no-such-file.yaml"] {
            assert!(matches!(object("scale", wrong), Err(Failure::Local(_))), "{wrong}");
        }
    }
}
