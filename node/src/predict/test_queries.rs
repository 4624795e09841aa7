//! Test queries of a package: asked as callers ask, in the dialect that fits, before any caller is answered.
//!
//! Of whatever was built: what came over from the snapshot before has been asked already. The rule a newcomer would break: what
//! is said of a wrong answer is one value of it at most, for it stands in the status and in the log.

use super::call::Call;
use super::failure::{Failure, Reason};
use super::place::Records;
use super::{records, v2};
use crate::serving::{Endpoint, Serving, Version};
use axum::body::to_bytes;
use axum::response::Response;
use castoff_wire::test_query::{self, Asks, Output, Predicted, TestQuery, count};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one query may take. A first run may take much longer than the others, so the deadline of calls says nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait when callers of the version before, which shares the model, have taken all places.
pub(super) const BUSY: Duration = Duration::from_millis(50);
/// Bytes of a value of an answer that are shown.
const MOST_SHOWN: usize = 60;

/// The endpoint that is asked.
struct Asked<'a> {
    serving: &'a Arc<Serving>,
    version: &'a str,
    endpoint: &'a Endpoint,
}

/// Asks one endpoint all of its queries.
///
/// # Errors
/// Which one is answered wrongly, in one line for people.
pub(crate) async fn ask(
    serving: &Arc<Serving>,
    version: &Version,
    endpoint: &Endpoint,
    file: &[u8],
) -> Result<(), String> {
    let queries = test_query::parse(file).map_err(|wrong| format!("at {}: {}", wrong.pointer, wrong.reason))?;
    let asked = Asked {
        serving,
        version: &version.name,
        endpoint,
    };
    let all = queries.len();
    for (index, query) in queries.iter().enumerate() {
        let right = asked.ask(query).await;
        right.map_err(|wrong| format!("query {} of {all}: {wrong}", index + 1))?;
    }
    Ok(())
}

impl Asked<'_> {
    async fn ask(&self, query: &TestQuery<'_>) -> Result<(), String> {
        let body = match &query.asks {
            Asks::Record { features, .. } => {
                json!({"features": features, "dispatch": {"forcedGeneration": self.version}}).to_string()
            }
            Asks::Tensors { inputs, expected } => {
                let named: Vec<_> = expected.iter().map(|output| json!({"name": output.name})).collect();
                format!("{{\"inputs\":{},\"outputs\":{}}}", text(inputs), Value::from(named))
            }
        };
        let answer = self.answer(query, body.as_bytes()).await?;
        match &query.asks {
            Asks::Record { expected: None, .. } => Ok(()),
            Asks::Record {
                expected: Some(expected),
                ..
            } => predicted(expected, &answer, query.tolerance),
            Asks::Tensors { expected, .. } => outputs(expected, &answer, query.tolerance),
        }
    }

    /// The body that a caller would get. While callers of the version before have taken all places of a model that both
    /// share, it is asked again.
    async fn answer(&self, query: &TestQuery<'_>, body: &[u8]) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let call = Call {
                serving: Arc::clone(self.serving),
                deadline,
            };
            match self.call(&call, query, body).await {
                Ok(response) => {
                    let body = to_bytes(response.into_body(), usize::MAX).await;
                    return body.map(Into::into).map_err(|error| error.to_string());
                }
                Err(failure) if failure.reason == Reason::Full && Instant::now() < deadline => {
                    tokio::time::sleep(BUSY).await;
                }
                Err(failure) => return Err(format!("it is not answered: {}", failure.detail)),
            }
        }
    }

    async fn call(&self, call: &Call, query: &TestQuery<'_>, body: &[u8]) -> Result<Response, Failure> {
        let name = &self.endpoint.name;
        match &query.asks {
            Asks::Record { .. } => {
                let asked = records::Asked {
                    query: "",
                    body,
                    arrived: Instant::now(),
                };
                records::answer(call, &self.serving.service, name, Records::One, asked).await
            }
            Asks::Tensors { .. } => v2::infer(call, name, Some(self.version), body).await,
        }
    }
}

fn text<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Compares what was answered to a record.
fn predicted(expected: &Predicted, answer: &[u8], tolerance: f64) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Answer {
        result: Given,
    }
    #[derive(Deserialize)]
    struct Given {
        prediction: Value,
        #[serde(default)]
        probas: Map<String, Value>,
    }
    let Answer { result: given } = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    if let Some(wanted) = &expected.prediction {
        same("prediction", wanted, &given.prediction, tolerance)?;
    }
    for (class, wanted) in &expected.probas {
        let Some(probability) = given.probas.get(class) else {
            let classes: Vec<&str> = given.probas.keys().map(String::as_str).collect();
            return Err(match classes.as_slice() {
                [] => "the model gives no probabilities".to_owned(),
                classes => format!(
                    "there is no class {}; there is {}",
                    shown(&json!(class)),
                    classes.join(", ")
                ),
            });
        };
        same(
            &format!("the probability of {class}"),
            &json!(wanted),
            probability,
            tolerance,
        )?;
    }
    Ok(())
}

/// Compares the tensors that were answered. Of those that nobody expects to be so large, no element is read.
fn outputs(expected: &[Output<'_>], answer: &[u8], tolerance: f64) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        outputs: Vec<Given<'a>>,
    }
    #[derive(Deserialize)]
    struct Given<'a> {
        name: String,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let Answer { outputs } = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    for Output { name, data, .. } in expected {
        let given = outputs.iter().find(|output| output.name == *name);
        let given = given.ok_or_else(|| format!("there is no output {name}"))?;
        let (wanted_count, given_count) = (count(data), count(given.data));
        if wanted_count != given_count {
            let number = |count: Option<usize>| count.unwrap_or_default();
            return Err(format!(
                "output {name} has {} elements instead of {}",
                number(given_count),
                number(wanted_count)
            ));
        }
        let (wanted, given) = (elements(data)?, elements(given.data)?);
        for (index, (wanted, given)) in wanted.iter().zip(&given).enumerate() {
            same(&format!("output {name}, element {index}"), wanted, given, tolerance)?;
        }
    }
    Ok(())
}

/// The elements of an array, however they are nested.
fn elements(array: &RawValue) -> Result<Vec<Value>, String> {
    fn flatten(value: Value, into: &mut Vec<Value>) {
        match value {
            // Not deeper than the parser follows.
            Value::Array(items) => items.into_iter().for_each(|item| flatten(item, into)),
            element => into.push(element),
        }
    }
    let mut all = Vec::new();
    flatten(
        serde_json::from_str(array.get()).map_err(|error| error.to_string())?,
        &mut all,
    );
    Ok(all)
}

fn same(what: &str, wanted: &Value, given: &Value, tolerance: f64) -> Result<(), String> {
    if is_same(wanted, given, tolerance) {
        return Ok(());
    }
    Err(format!("{what} is {} instead of {}", shown(given), shown(wanted)))
}

/// A floating-point number of an answer may be a little off; everything else is as it is, or wrong.
fn is_same(wanted: &Value, given: &Value, tolerance: f64) -> bool {
    match (wanted, given) {
        (Value::Number(wanted), Value::Number(given)) => {
            if wanted == given {
                return true;
            }
            let (Some(wanted), Some(number)) = (wanted.as_f64(), given.as_f64()) else {
                return false;
            };
            if given.is_f64() {
                (number - wanted).abs() <= tolerance * wanted.abs().max(1.0)
            } else {
                // An integer that is written as 1.0, where doubles still tell integers apart.
                number == wanted && number.abs() < 9_007_199_254_740_992.0
            }
        }
        (Value::Array(wanted), Value::Array(given)) => {
            let mut pairs = wanted.iter().zip(given);
            wanted.len() == given.len() && pairs.all(|(wanted, given)| is_same(wanted, given, tolerance))
        }
        _ => wanted == given,
    }
}

/// A value, short enough for a line.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_floating_point_numbers_may_be_off() {
        for (wanted, given, tolerance, is) in [
            (json!(0.5), json!(0.5), 0.0, true),
            (json!(0.5), json!(0.5001), 1e-3, true),
            (json!(0.5), json!(0.502), 1e-3, false),
            // Of a number beyond 1, so much of it.
            (json!(1000.0), json!(1000.9), 1e-3, true),
            (json!(1000.0), json!(1001.1), 1e-3, false),
            (json!(-1000.0), json!(-1000.9), 1e-3, true),
            (json!(0), json!(0.0001), 1e-3, true),
            (json!(1), json!(1), 0.0, true),
            (json!(1.0), json!(1), 0.0, true),
            (json!(1.4), json!(1), 0.5, false),
            (json!(2), json!(1), 5.0, false),
            (json!(i64::MAX), json!(i64::MAX - 1), 5.0, false),
            (
                json!(9_007_199_254_740_993.0),
                json!(9_007_199_254_740_993_i64),
                0.0,
                false,
            ),
            (json!("a"), json!("a"), 0.0, true),
            (json!("a"), json!("b"), 9.0, false),
            (json!("1"), json!(1), 9.0, false),
            (json!(true), json!(true), 0.0, true),
            (json!(null), json!(0.0), 9.0, false),
            (json!([1.0, 2.0]), json!([1.0, 2.05]), 0.1, true),
            (json!([1.0]), json!([1.0, 2.0]), 0.1, false),
        ] {
            assert_eq!(is_same(&wanted, &given, tolerance), is, "{wanted} {given} {tolerance}");
        }
    }

    #[test]
    fn a_wrong_answer_shows_one_value() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let file = br#"[{"inputs": [], "expected": {"outputs": [{"name": "y", "data": [[1.0, 2.0]]}]}}]"#;
        let queries = test_query::parse(file).unwrap();
        let Asks::Tensors { expected, .. } = &queries[0].asks else {
            panic!("tensors")
        };
        let answered = |data: &str| {
            let answer = format!(
                r#"{{"model_name":"m","outputs":[{{"name":"y","data":{}}}]}}"#,
                raw(data)
            );
            outputs(expected, answer.as_bytes(), 0.1)
        };
        assert_eq!(answered("[1.0,2.05]"), Ok(()));
        assert_eq!(
            answered("[1.0,3.5]").unwrap_err(),
            "output y, element 1 is 3.5 instead of 2.0"
        );
        assert_eq!(answered("[1.0]").unwrap_err(), "output y has 1 elements instead of 2");
        let long = "x".repeat(1_000);
        assert!(same("prediction", &json!(long), &json!(1), 0.0).unwrap_err().len() < 120);
    }
}
