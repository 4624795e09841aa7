//! Record queries, as Dataiku's API node takes them: named features in, a prediction with probabilities out.
//!
//! The rule a newcomer would break: the service in the path must be the one that is served; a client with the URL of
//! another deployment must not get an answer from this one.

use super::call::{Call, Wanted};
use super::columns::{Columns, Row};
use super::failure::{Failure, Field, Reason};
use super::place::Records;
use super::prediction::{Predicted, predict};
use super::{json, v2_wire};
use axum::extract::Query;
use axum::response::Response;
use castoff_wire::strict;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json as value};
use std::collections::HashSet;
use std::time::Instant;

/// The parts of a request that hold the records.
pub(super) struct Asked<'a> {
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    pub(super) arrived: Instant,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dispatch {
    #[serde(rename = "forcedGeneration")]
    forced_generation: Option<String>,
    #[serde(rename = "dispatchKey")]
    dispatch_key: Option<String>,
}

impl Dispatch {
    fn wanted(&self) -> Result<Wanted<'_>, Failure> {
        match (&self.forced_generation, &self.dispatch_key) {
            (Some(_), Some(_)) => Err(Failure::input(
                "dispatch takes forcedGeneration or dispatchKey, not both",
            )),
            (Some(version), None) => Ok(Wanted::Version(version)),
            (None, Some(key)) => Ok(Wanted::Dispatch(key)),
            (None, None) => Ok(Wanted::Any),
        }
    }
}

/// `context` is the caller's own; it is taken and passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One<'a> {
    features: Row,
    #[serde(borrow, default, rename = "context")]
    _context: Option<&'a RawValue>,
    #[serde(default)]
    dispatch: Option<Dispatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    features: Row,
    #[serde(borrow, default, rename = "context")]
    _context: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Multi<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
    #[serde(borrow, default, rename = "context")]
    _context: Option<&'a RawValue>,
    #[serde(default)]
    dispatch: Option<Dispatch>,
}

/// `/public/api/v1/{service}/{endpoint}/predict`, `/predict-multi` and `/predict-simple`
pub(super) async fn answer(
    call: &Call,
    service: &str,
    endpoint: &str,
    how: Records,
    asked: Asked<'_>,
) -> Result<Response, Failure> {
    if service != call.serving.service {
        return Err(Failure::new(
            Reason::NotFound,
            format!("there is no service {service} here"),
        ));
    }
    // What the path names is looked up before the body is read as anything.
    call.pick(endpoint, Wanted::Any)?;
    call.room(endpoint)?;
    let (rows, dispatch) = match how {
        Records::One => {
            let one: One<'_> = parse(asked.body)?;
            (vec![one.features], one.dispatch)
        }
        Records::Multi => {
            let multi: Multi<'_> = parse(asked.body)?;
            (
                multi.items.into_iter().map(|item| item.features).collect(),
                multi.dispatch,
            )
        }
        Records::Simple => (vec![from_query(asked.query)?], None),
    };
    let dispatch = dispatch.unwrap_or_default();
    let (version, endpoint) = call.pick(endpoint, dispatch.wanted()?)?;
    let columns = Columns::of(endpoint)?;
    let place = |index: usize| match how {
        Records::One => vec![value!("features")],
        Records::Multi => vec![value!("items"), value!(index), value!("features")],
        Records::Simple => Vec::new(),
    };
    let predicted = predict(call, endpoint, &columns, &rows, &place).await?;
    let context = value!({
        "serviceId": call.serving.service,
        "endpointId": endpoint.name,
        "serviceGeneration": version.name,
    });
    Ok(json(
        respond(how, predicted, asked.arrived, context).to_string().into_bytes(),
    ))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    strict::from_slice(body).map_err(|wrong| v2_wire::misread(body, &wrong))
}

/// Each parameter a column; text becomes a number where the column is one.
fn from_query(query: &str) -> Result<Row, Failure> {
    let uri = format!("/?{query}")
        .parse()
        .map_err(|_| Failure::input("the query string cannot be read"))?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map_err(|_| Failure::input("the query string cannot be read"))?;
    let mut seen = HashSet::new();
    let twice = pairs.iter().find(|(name, _)| !seen.insert(name.as_str()));
    if let Some((name, _)) = twice {
        let at = vec![value!(name)];
        let wrong = format!("column {name} is given twice");
        return Err(Failure::fields(vec![Field {
            at,
            wrong,
            kind: "value_error",
        }]));
    }
    Ok(pairs
        .into_iter()
        .map(|(name, text)| (name, Value::String(text)))
        .collect())
}

/// Times are microseconds.
fn respond(how: Records, predicted: Predicted, arrived: Instant, context: Value) -> Value {
    let total = arrived.elapsed();
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let timing = value!({
        "prediction": micros(predicted.running),
        "processing": micros(total.saturating_sub(predicted.running)),
        "total": micros(total),
    });
    let mut results = predicted
        .predictions
        .into_iter()
        .map(|prediction| Value::Object(prediction.into_fields()));
    let mut answer = Map::new();
    match how {
        Records::One | Records::Simple => {
            answer.insert("result".to_owned(), results.next().unwrap_or_default());
        }
        Records::Multi => {
            answer.insert("results".to_owned(), results.collect());
        }
    }
    answer.insert("timing".to_owned(), timing);
    answer.insert("apiContext".to_owned(), context);
    Value::Object(answer)
}
