//! Calls a deployment: asks the control plane where it is, then talks to the node itself with a key.

use super::Desk;
use super::client::{Client, Proof};
use super::credentials::{Secret, read_secret};
use super::failure::Failure;
use super::table::cell;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::PathBuf;

/// The variable that holds a key for the process itself.
const KEY_VARIABLE: &str = "CASTOFF_KEY";

/// Call a deployment.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  castoff query iris-on-dev --key-file key.txt --feature sepal_length=5.1 --feature sepal_width=3.5
  castoff query digits-on-dev --key-file key.txt --data @request.json
  castoff query public-on-dev --data '{\"inputs\":[{\"name\":\"X\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]}'

Data with `inputs` is sent as the Open Inference Protocol V2, with `features` or `items` as records, else as it is to
the endpoint's own address. The key comes from --key-file or from the variable CASTOFF_KEY.")]
pub struct Query {
    /// The deployment
    deployment: String,
    /// The endpoint; needed when the version has several
    #[arg(long)]
    endpoint: Option<String>,
    /// JSON, or @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        conflicts_with = "feature",
        required_unless_present = "feature"
    )]
    data: Option<String>,
    /// One column of one record; give it once for each column
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = feature)]
    feature: Vec<(String, String)>,
    /// A file with the key, or - for standard input
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// How a node wants to be spoken to.
#[derive(Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    Records(&'static str),
    Simple,
}

impl Query {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let key = match &self.key_file {
            Some(path) => Some(read_secret(path)?),
            None => std::env::var(KEY_VARIABLE)
                .ok()
                .and_then(|text| Secret::first_line(&text).ok()),
        };
        let data = self.data.as_deref().map(read_data).transpose()?;
        let deployment = desk.server.get(&["deployments", &self.deployment], &[]).await?;
        let Some(url) = deployment.get("url").and_then(Value::as_str) else {
            let text = format!(
                "{name} has no address; it is {}: castoff status {name} says more",
                cell(&deployment, "/state"),
                name = self.deployment
            );
            return Err(Failure::Unreachable(text));
        };
        let service = cell(&deployment, "/service");
        let (body, dialect) = match data {
            Some(data) => {
                let dialect = dialect(&data);
                (data, dialect)
            }
            None => (json!({}), Dialect::Records("predict")),
        };
        let endpoint = match (&self.endpoint, &dialect) {
            (Some(name), _) => json!({"name": name}),
            (None, Dialect::Simple) => Value::Null,
            (None, _) => only_endpoint(desk, &deployment).await?,
        };
        let body = if self.feature.is_empty() {
            body
        } else {
            let shape = self.shape(desk, &deployment, &endpoint).await;
            json!({"features": record(&self.feature, &shape)})
        };
        let name = cell(&endpoint, "/name");
        let path: Vec<&str> = match dialect {
            Dialect::V2 => vec!["v2", "models", &name, "infer"],
            Dialect::Records(verb) => vec!["public", "api", "v1", &service, &name, verb],
            Dialect::Simple if name.is_empty() => vec!["predict"],
            Dialect::Simple => vec![&name, "predict"],
        };
        let header = match cell(&deployment, "/key_header") {
            none if none.is_empty() => "x-api-key".to_owned(),
            header => header,
        };
        let node = Client::new(url, key.map_or(Proof::None, |key| Proof::Key(header, key)))?;
        match node.post(&path, &[], Some(&body)).await {
            Ok(answer) => desk.out.raw(&answer.body),
            Err(Failure::NotLoggedIn) => Err(Failure::NoKey),
            // The node speaks of the key: a log-in to the control plane would not help.
            Err(Failure::Refused(mut refusal)) if matches!(refusal.status, 401 | 403) => {
                if let Some(body) = refusal.body.as_object_mut() {
                    body.remove("type");
                }
                let name = &self.deployment;
                refusal.hint = Some(format!(
                    "the keys that open it: castoff keys list --deployment {name}; a new one: castoff keys create NAME --deployment {name}"
                ));
                Err(Failure::Refused(refusal))
            }
            // Nor would starting a control plane, which is what a command says that reaches no server.
            Err(Failure::Unreachable(text)) => {
                let (name, state) = (&self.deployment, cell(&deployment, "/state"));
                let first = text.lines().next().unwrap_or_default();
                Err(Failure::Unreachable(format!(
                    "{first}\n{name} is {state}; its nodes: castoff status {name}"
                )))
            }
            Err(failure) => Err(failure),
        }
    }

    /// What is known about the endpoint's columns. Who may call need not be allowed to look, so nothing is fine.
    async fn shape(&self, desk: &Desk, deployment: &Value, endpoint: &Value) -> Value {
        if endpoint.get("inputs").is_some() {
            return endpoint.clone();
        }
        let endpoints = endpoints(desk, deployment).await.unwrap_or_default();
        let wanted = endpoint.get("name");
        endpoints
            .into_iter()
            .find(|one| one.get("name") == wanted)
            .unwrap_or_default()
    }
}

/// The endpoints of the version that gets the most calls.
async fn endpoints(desk: &Desk, deployment: &Value) -> Result<Vec<Value>, Failure> {
    let route = deployment.get("route").and_then(Value::as_array).into_iter().flatten();
    let weight = |part: &&Value| part.get("weight").and_then(Value::as_f64).unwrap_or_default();
    let Some(main) = route.max_by(|one, other| weight(one).total_cmp(&weight(other))) else {
        return Ok(Vec::new());
    };
    let (service, version) = (cell(deployment, "/service"), cell(main, "/version"));
    let mut version = desk
        .server
        .get(&["services", &service, "versions", &version], &[])
        .await?;
    match version.get_mut("endpoints").map(Value::take) {
        Some(Value::Array(endpoints)) => Ok(endpoints),
        _ => Ok(Vec::new()),
    }
}

async fn only_endpoint(desk: &Desk, deployment: &Value) -> Result<Value, Failure> {
    let mut endpoints = endpoints(desk, deployment).await?;
    match endpoints.len() {
        1 => Ok(endpoints.remove(0)),
        _ => {
            let names = endpoints
                .iter()
                .map(|one| cell(one, "/name"))
                .collect::<Vec<_>>()
                .join(", ");
            Err(Failure::Usage(format!("say which --endpoint: {names}")))
        }
    }
}

fn dialect(data: &Value) -> Dialect {
    let has = |name: &str| data.get(name).is_some();
    if data.get("inputs").is_some_and(Value::is_array) {
        Dialect::V2
    } else if has("features") {
        Dialect::Records("predict")
    } else if has("items") {
        Dialect::Records("predict-multi")
    } else {
        Dialect::Simple
    }
}

/// A record; each value is text where the model takes text, else JSON if it reads as such.
fn record(features: &[(String, String)], endpoint: &Value) -> Map<String, Value> {
    let inputs = endpoint
        .get("inputs")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text = |column: &str| {
        let named = inputs.iter().find(|input| cell(input, "/name") == column);
        let input = named.or(match inputs {
            [one] => Some(one),
            _ => None,
        });
        input.is_some_and(|input| cell(input, "/datatype") == "BYTES")
    };
    let value = |column: &str, value: &str| match serde_json::from_str::<Value>(value) {
        Ok(parsed) if !text(column) && !parsed.is_object() => parsed,
        _ => Value::String(value.to_owned()),
    };
    features
        .iter()
        .map(|(column, given)| (column.clone(), value(column, given)))
        .collect()
}

fn feature(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        _ => Err("give COLUMN=VALUE".to_owned()),
    }
}

fn read_data(text: &str) -> Result<Value, Failure> {
    let wrong = |error: serde_json::Error| Failure::Usage(format!("the data is not JSON: {error}"));
    let bytes = match text.strip_prefix('@') {
        Some(path) => std::fs::read(path).map_err(|error| Failure::file(path.as_ref(), &error))?,
        None if text == "-" => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| Failure::Local(format!("standard input: {error}")))?;
            bytes
        }
        None => text.as_bytes().to_vec(),
    };
    serde_json::from_slice(&bytes).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_tells_the_dialect() {
        for (data, expected) in [
            (json!({"inputs": []}), Dialect::V2),
            (json!({"features": {"a": 1}}), Dialect::Records("predict")),
            (json!({"items": []}), Dialect::Records("predict-multi")),
            (json!({"inputs": "text"}), Dialect::Simple),
            (json!([1, 2]), Dialect::Simple),
        ] {
            assert_eq!(dialect(&data), expected, "{data}");
        }
    }

    #[test]
    fn values_follow_the_model() {
        let given = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(column, value)| ((*column).to_owned(), (*value).to_owned()))
                .collect::<Vec<_>>()
        };
        let endpoint = json!({"inputs": [{"name": "zip", "datatype": "BYTES"}, {"name": "age", "datatype": "FP32"}]});
        let record = record(
            &given(&[("zip", "01234"), ("age", "41.5"), ("city", "Ulm"), ("big", "true")]),
            &endpoint,
        );
        assert_eq!(
            Value::from(record),
            json!({"zip": "01234", "age": 41.5, "city": "Ulm", "big": true})
        );
        assert!(feature("=1").is_err() && feature("a").is_err());
        assert_eq!(feature("a=b=c"), Ok(("a".into(), "b=c".into())));
    }

    #[test]
    fn data_comes_in_three_ways() {
        assert_eq!(read_data("[1]").unwrap(), json!([1]));
        assert_eq!(read_data("{").unwrap_err().code(), 2);
        assert_eq!(read_data("@/no/such/file").unwrap_err().code(), 1);
    }
}
