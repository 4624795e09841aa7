//! `castoff deploy`: the one command of a pipeline.
//!
//! It says how things shall be, not what to do: run twice it does nothing the second time, and it never switches on what
//! somebody has switched off.

use super::Desk;
use super::failure::Failure;
use super::service::{put, word};
use super::span::Span;
use super::table::{Table, cell, route, scaled};
use super::wait;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

/// Bring a version to an infrastructure.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  castoff deploy iris v1 --on dev --wait 30s
  castoff deploy iris v2 --on prod --replicas 3 --note 'release 42'

Creates the deployment, or switches it to the version; when all is as asked, does nothing. One that is off stays off.")]
pub struct Deploy {
    /// The service
    service: String,
    /// The version
    version: String,
    /// The infrastructure
    #[arg(long, value_name = "INFRASTRUCTURE")]
    on: String,
    /// What to call the deployment [default: SERVICE-on-INFRASTRUCTURE]
    #[arg(long)]
    name: Option<String>,
    /// How many nodes; more of its scale by `castoff deployment set`
    #[arg(long)]
    replicas: Option<u32>,
    /// Who may call
    #[arg(long, value_enum)]
    access: Option<Access>,
    /// Why, for the history
    #[arg(long)]
    note: Option<String>,
    /// Wait until it runs, so long at most [when given without a span: 60s]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "60s")]
    wait: Option<Span>,
}

/// Who may call a deployment.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Access {
    /// Callers with a key of the deployment
    Keys,
    /// As the service says, with the service's keys too
    Inherit,
    /// Everybody
    Public,
}

impl Deploy {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let name = self
            .name
            .clone()
            .unwrap_or_else(|| format!("{}-on-{}", self.service, self.on));
        let (deployment, sentence) = match self.find(desk, &name).await? {
            Some(found) => self.change(desk, &name, found).await?,
            None => match desk.server.post(&["deployments"], &[], Some(&self.creation())).await {
                Ok(made) => (
                    made.body,
                    format!("created {name}: {} {} on {}", self.service, self.version, self.on),
                ),
                // Somebody else may have made it in this moment; else the server's refusal stands.
                Err(refused) if refused.status() == Some(409) => match self.find(desk, &name).await? {
                    Some(found) => self.change(desk, &name, found).await?,
                    None => return Err(refused),
                },
                Err(failure) => return Err(self.versions(failure)),
            },
        };
        let off = deployment.get("enabled").and_then(Value::as_bool) == Some(false);
        if off {
            desk.out.note(&format!(
                "{name} is off; switch it on with `castoff deployment enable {name}`"
            ));
        }
        if let Some(scaled) = self.replicas.and_then(|_| scaled(&deployment)) {
            desk.out.note(&format!(
                "{name} has {scaled} nodes by what they have to do, whatever --replicas says; that number holds after `castoff deployment set {name} --scale '{{\"fixed\": true, \"autoscaling\": null}}'`"
            ));
        }
        if !desk.out.json() {
            desk.out.done(&Value::Null, &sentence)?;
        }
        if let Some(most) = self.wait {
            wait::until_running(desk, &name, wait::wanted(&deployment), most).await?;
        }
        let now = desk.server.get(&["deployments", &name], &[]).await?;
        desk.out.show(&now, |now| {
            let mut facts = Table::facts();
            facts.fact("url", cell(now, "/url"));
            facts.fact("state", cell(now, "/state"));
            facts
        })
    }

    async fn find(&self, desk: &Desk, name: &str) -> Result<Option<Value>, Failure> {
        match desk.server.get(&["deployments", name], &[]).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn creation(&self) -> Value {
        let mut body = Map::new();
        put(&mut body, "name", self.name.as_ref());
        put(&mut body, "service", Some(&self.service));
        put(&mut body, "infrastructure", Some(&self.on));
        put(&mut body, "version", Some(&self.version));
        put(&mut body, "access", self.access.map(word));
        put(&mut body, "note", self.note.as_ref());
        if let Some(replicas) = self.replicas {
            body.insert("scale".to_owned(), json!({"replicas": replicas}));
        }
        body.into()
    }

    async fn change(&self, desk: &Desk, name: &str, found: Value) -> Result<(Value, String), Failure> {
        for (what, asked) in [("service", &self.service), ("infrastructure", &self.on)] {
            let is = cell(&found, &format!("/{what}"));
            if is != *asked {
                let text = format!("{name} is there already, with {what} {is}; give another --name");
                return Err(Failure::Conflict(text));
            }
        }
        let Some((body, sentence)) = self.difference(name, &found) else {
            return Ok((found, format!("{name} already serves {}", self.version)));
        };
        let changed = desk.server.patch(&["deployments", name], &[], &body).await;
        Ok((changed.map_err(|failure| self.versions(failure))?.body, sentence))
    }

    /// Adds where to look, when it is the version that is not there.
    fn versions(&self, failure: Failure) -> Failure {
        match failure.points_at("version") {
            true => failure.hint(422, || {
                format!("those there are: castoff version list {}", self.service)
            }),
            false => failure,
        }
    }

    /// What has to change, and how to say so.
    fn difference(&self, name: &str, found: &Value) -> Option<(Value, String)> {
        let mut body = Map::new();
        let mut said = Vec::new();
        let before = route(found, "/route");
        if before != self.version {
            put(&mut body, "version", Some(&self.version));
            said.push(format!("switched from {before} to {}", self.version));
        }
        if let Some(access) = self.access.map(word).filter(|access| *access != cell(found, "/access")) {
            said.push(format!("access {access}"));
            put(&mut body, "access", Some(access));
        }
        let replicas = found.pointer("/scale/replicas").and_then(Value::as_u64);
        if let Some(asked) = self.replicas.filter(|asked| replicas != Some(u64::from(*asked))) {
            said.push(format!("{asked} replicas"));
            // The API takes it as a whole.
            let scale = found.get("scale").and_then(Value::as_object).cloned();
            let mut scale = scale.unwrap_or_default();
            scale.insert("replicas".to_owned(), json!(asked));
            body.insert("scale".to_owned(), scale.into());
        }
        if body.is_empty() {
            return None;
        }
        put(&mut body, "note", self.note.as_ref());
        Some((body.into(), format!("{name}: {}", said.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(replicas: Option<u32>, access: Option<Access>) -> Deploy {
        Deploy {
            service: "iris".into(),
            version: "v2".into(),
            on: "dev".into(),
            name: None,
            replicas,
            access,
            note: Some("because".into()),
            wait: None,
        }
    }

    #[test]
    fn what_else_its_scale_says_stays() {
        let found = json!({
            "route": [{"version": "v2", "weight": 100}], "scale": {"replicas": 2, "resources": {"cpu": "1", "cpu_limit": null}},
        });
        let (body, _) = asked(Some(3), None).difference("d", &found).unwrap();
        assert_eq!(
            body["scale"],
            json!({"replicas": 3, "resources": {"cpu": "1", "cpu_limit": null}})
        );
    }

    #[test]
    fn only_what_differs_is_changed() {
        let found = |version: &str| json!({"route": [{"version": version, "weight": 100}], "access": "keys", "scale": {"replicas": 2}});
        assert_eq!(asked(None, None).difference("d", &found("v2")), None);
        assert_eq!(asked(Some(2), Some(Access::Keys)).difference("d", &found("v2")), None);
        let (body, sentence) = asked(Some(3), Some(Access::Public))
            .difference("d", &found("v1"))
            .unwrap();
        assert_eq!(
            body,
            json!({"version": "v2", "access": "public", "scale": {"replicas": 3}, "note": "because"})
        );
        assert_eq!(sentence, "d: switched from v1 to v2, access public, 3 replicas");
    }

    #[test]
    fn a_split_route_becomes_one_version() {
        let found = json!({"route": [{"version": "v1", "weight": 90}, {"version": "v2", "weight": 10}]});
        let (body, _) = asked(None, None).difference("d", &found).unwrap();
        assert_eq!(body["version"], "v2");
    }
}
