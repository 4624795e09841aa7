//! The habit of many small services: `POST /predict` with a JSON object, an object back.
//!
//! The body is one row of columns, a list of rows, `{"text": …}` for a model that takes one string, or `{"inputs": …}`
//! for one that takes tensors. The rule a newcomer would break: a wrong input is 422 with FastAPI's list of places.

use super::call::{Call, Wanted};
use super::columns::{Columns, Row};
use super::failure::{Failure, Field, Reason};
use super::prediction::{self, predict};
use super::{json, tensors, v2_wire};
use crate::engine::{Output, Port, PortKind, Tensor};
use crate::serving::Endpoint;
use axum::response::Response;
use castoff_wire::strict::{self, Step};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json as value};
use std::collections::HashMap;

/// The name that a model's one string input goes by, whatever it is called in the graph.
const TEXT: &str = "text";

/// `/{endpoint}/predict` and `/predict`
pub(super) async fn answer(call: &Call, endpoint: Option<&str>, body: &[u8]) -> Result<Response, Failure> {
    let name = endpoint.or_else(|| call.serving.only_endpoint()).ok_or_else(|| {
        Failure::new(
            Reason::NotFound,
            "there is more than one endpoint; name one: /{endpoint}/predict",
        )
    })?;
    let (_, endpoint) = call.pick(name, Wanted::Any)?;
    call.room(name)?;
    let body = match Columns::of(endpoint) {
        Ok(columns) => rows(call, endpoint, &columns, body).await?,
        Err(_) => inputs(call, endpoint, body).await?,
    };
    Ok(json(body.to_string().into_bytes()))
}

async fn rows(call: &Call, endpoint: &Endpoint, columns: &Columns<'_>, body: &[u8]) -> Result<Value, Failure> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Asked {
        One(Row),
        Many(Vec<Row>),
    }
    let asked: Value = parse(body)?;
    let asked: Asked = serde_json::from_value(asked)
        .map_err(|_| wrong_body("the body is neither an object of columns nor a list of such objects"))?;
    let (mut rows, is_list) = match asked {
        Asked::One(row) => (vec![row], false),
        Asked::Many(rows) => (rows, true),
    };
    if let Some(column) = columns.only_text() {
        for row in rows.iter_mut().filter(|row| !row.contains_key(column)) {
            if let Some(text) = row.shift_remove(TEXT) {
                row.insert(column.to_owned(), text);
            }
        }
    }
    let place = |index: usize| if is_list { vec![value!(index)] } else { Vec::new() };
    let predicted = predict(call, endpoint, columns, &rows, &place).await?.predictions;
    let mut answers = predicted
        .into_iter()
        .map(|prediction| Value::Object(prediction.into_fields()));
    Ok(if is_list {
        answers.collect()
    } else {
        answers.next().unwrap_or_default()
    })
}

/// `{"inputs": [[…]]}` for a model with one input, `{"inputs": {"name": [[…]]}}` for any.
async fn inputs(call: &Call, endpoint: &Endpoint, body: &[u8]) -> Result<Value, Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked<'a> {
        #[serde(borrow)]
        inputs: &'a RawValue,
    }
    let asked: Asked<'_> = parse(body)?;
    let ports = endpoint.model.inputs();
    let given: HashMap<String, &RawValue> = match ports {
        [only] if !asked.inputs.get().trim_start().starts_with('{') => [(only.name.clone(), asked.inputs)].into(),
        _ => strict::from_slice(asked.inputs.get().as_bytes()).map_err(|wrong| match wrong.at.first() {
            Some(Step::Name(name)) => Failure::fields(vec![at(name, &wrong.error.to_string(), "value_error")]),
            _ => wrong_body("inputs is not an object of tensors"),
        })?,
    };
    let known = |name: &String| ports.iter().any(|port| port.name == *name);
    let mut wrong: Vec<Field> = given
        .keys()
        .filter(|name| !known(name))
        .map(|name| at(name, "is not an input", "extra_forbidden"))
        .collect();
    let mut tensors = Vec::with_capacity(ports.len());
    for port in ports {
        match given
            .get(&port.name)
            .ok_or_else(|| ("is missing".to_owned(), "missing"))
            .and_then(|data| tensor(port, data).map_err(|reason| (reason, "type_error")))
        {
            Ok(tensor) => tensors.push(tensor),
            Err((reason, kind)) => wrong.push(at(&port.name, &reason, kind)),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::fields(wrong));
    }
    let given = call.run(endpoint, tensors).await?;
    outputs(endpoint.model.outputs(), &given)
}

fn tensor(port: &Port, data: &RawValue) -> Result<Tensor, String> {
    let PortKind::Tensor {
        data_type,
        shape: takes,
    } = &port.kind
    else {
        return Err("is not a tensor".to_owned());
    };
    let bytes = data.get().as_bytes();
    let shape = tensors::shape_of(bytes).map_err(|bad| bad.to_string())?;
    let data = tensors::parse(bytes, *data_type, &shape).map_err(|bad| bad.to_string())?;
    if !tensors::fits(takes, &shape) {
        return Err(format!("has the shape {shape:?}, the model takes {takes:?}"));
    }
    Tensor::new(shape, data).ok_or_else(|| "has a shape that does not fit".to_owned())
}

/// All outputs by name; the only one as the prediction, too.
fn outputs(ports: &[Port], given: &[Output]) -> Result<Value, Failure> {
    let mut named = Map::new();
    for (port, output) in ports.iter().zip(given) {
        let nested = match output {
            Output::Tensor(tensor) => prediction::nested(tensor),
            Output::Maps(rows) => prediction::maps(rows),
        }
        .map_err(|wrong| Failure::new(Reason::Output, format!("output {}: {wrong}", port.name)))?;
        named.insert(port.name.clone(), nested);
    }
    let only = if named.len() == 1 {
        named.values().next().cloned()
    } else {
        None
    };
    Ok(match only {
        Some(prediction) => value!({ "prediction": prediction, "outputs": named }),
        None => value!({ "outputs": named }),
    })
}

fn at(name: &str, wrong: &str, kind: &'static str) -> Field {
    Field {
        at: vec![value!("inputs"), value!(name)],
        wrong: format!("{name} {wrong}"),
        kind,
    }
}

fn wrong_body(wrong: &str) -> Failure {
    Failure::fields(vec![Field {
        at: Vec::new(),
        wrong: wrong.to_owned(),
        kind: "type_error",
    }])
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    strict::from_slice(body).map_err(|wrong| v2_wire::misread(body, &wrong))
}
