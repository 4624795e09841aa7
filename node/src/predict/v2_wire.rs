//! What travels in Open Inference Protocol V2, read and written.
//!
//! Apart from `v2`, which knows models. The rule a newcomer would break: the data of a tensor is neither parsed into nor
//! written from JSON values; it goes between text and buffer directly.

use super::failure::{Failure, Field};
use crate::engine::{ClassRow, Data, Label, Output};
use castoff_wire::strict::{self, Step, Wrong};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Characters of what the parser says about a body; it quotes what it met.
const MOST_SAID: usize = 300;

/// A request.
#[derive(Deserialize)]
pub(super) struct Asked<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) parameters: Parameters,
    #[serde(borrow)]
    pub(super) inputs: Vec<InputIn<'a>>,
    #[serde(borrow, default)]
    pub(super) outputs: Option<Vec<OutputAsked<'a>>>,
}

/// The parameters that mean something to us; others are passed over, as the protocol says.
#[derive(Default, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    pub(super) binary_data: bool,
    #[serde(default)]
    pub(super) binary_data_output: bool,
}

/// A tensor as it was sent.
#[derive(Deserialize)]
pub(super) struct InputIn<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) shape: Vec<i64>,
    #[serde(borrow)]
    pub(super) datatype: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

/// An output that is asked for.
#[derive(Deserialize)]
pub(super) struct OutputAsked<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(default)]
    pub(super) parameters: Parameters,
}

/// Reads a request.
pub(super) fn parse(body: &[u8]) -> Result<Asked<'_>, Failure> {
    strict::from_slice(body).map_err(|wrong| Failure::input(explain(body, &wrong)))
}

/// What is wrong with a body that is not the JSON it should be, and where. JSON has neither NaN nor infinities, though
/// many writers make them.
pub(super) fn explain(body: &[u8], wrong: &Wrong) -> String {
    let error = &wrong.error;
    if error.is_data() {
        let said: String = error.to_string().chars().take(MOST_SAID).collect();
        return match wrong.pointer() {
            place if place.is_empty() => format!("the body is not what is asked for: {said}"),
            place => format!("the body is not what is asked for, at {place}: {said}"),
        };
    }
    let (line, column) = (error.line(), error.column());
    let before: usize = body
        .split_inclusive(|&byte| byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    // The parser stops at the word's first letter or, in -Infinity, just after the sign.
    let start = (before + column).saturating_sub(2);
    let near = body.get(start..).unwrap_or_default();
    let near = near.get(..12).unwrap_or(near);
    let has = |word: &[u8]| near.windows(word.len()).any(|window| window == word);
    if has(b"NaN") || has(b"Inf") {
        return format!("NaN and infinities are refused, at line {line} column {column}");
    }
    format!("the body is not JSON: {error}")
}

/// The same, as a field with its place, for the dialects that say places.
pub(super) fn misread(body: &[u8], wrong: &Wrong) -> Failure {
    let step = |step: &Step| match step {
        Step::Name(name) => name.chars().take(MOST_SAID).collect::<String>().into(),
        Step::Item(item) => serde_json::Value::from(*item),
    };
    Failure::fields(vec![Field {
        at: wrong.at.iter().map(step).collect(),
        wrong: explain(body, wrong),
        kind: if wrong.error.is_data() {
            "type_error"
        } else {
            "json_invalid"
        },
    }])
}

/// An answer that is being written.
pub(super) struct Answer {
    body: Vec<u8>,
    any: bool,
}

impl Answer {
    pub(super) fn begin(model: &str, version: &str, id: Option<&str>) -> Self {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(b"{\"model_name\":");
        string(&mut body, model);
        body.extend_from_slice(b",\"model_version\":");
        string(&mut body, version);
        if let Some(id) = id {
            body.extend_from_slice(b",\"id\":");
            string(&mut body, id);
        }
        body.extend_from_slice(b",\"outputs\":[");
        Self { body, any: false }
    }

    /// Adds an output; an error says what of it JSON cannot carry.
    pub(super) fn push(&mut self, name: &str, output: &Output) -> Result<(), String> {
        if std::mem::replace(&mut self.any, true) {
            self.body.push(b',');
        }
        self.body.extend_from_slice(b"{\"name\":");
        string(&mut self.body, name);
        match output {
            Output::Tensor(tensor) => {
                self.head(tensor.data().data_type().name(), tensor.shape());
                data(&mut self.body, tensor.data())?;
            }
            Output::Maps(rows) => self.maps(rows)?,
        }
        self.body.push(b'}');
        Ok(())
    }

    fn head(&mut self, datatype: &str, shape: &[i64]) {
        self.body.extend_from_slice(b",\"datatype\":");
        string(&mut self.body, datatype);
        self.body.extend_from_slice(b",\"shape\":");
        write(&mut self.body, shape);
        self.body.extend_from_slice(b",\"data\":");
    }

    /// A ZipMap's rows as one tensor of probabilities; the classes stand beside it, as a string of JSON.
    fn maps(&mut self, rows: &[ClassRow]) -> Result<(), String> {
        let classes: Vec<&Label> = rows.first().into_iter().flatten().map(|(label, _)| label).collect();
        let alike = rows
            .iter()
            .all(|row| row.iter().map(|(label, _)| label).eq(classes.iter().copied()));
        if !alike {
            return Err("its rows have different classes".to_owned());
        }
        let names: Vec<serde_json::Value> = classes.iter().map(|label| label.to_json()).collect();
        self.body.extend_from_slice(b",\"parameters\":{\"classes\":");
        string(&mut self.body, &serde_json::Value::Array(names).to_string());
        self.body.push(b'}');
        self.head("FP32", &[rows.len() as i64, classes.len() as i64]);
        let probabilities: Vec<f32> = rows.iter().flatten().map(|(_, probability)| *probability).collect();
        data(&mut self.body, &Data::Fp32(probabilities))
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.body.extend_from_slice(b"]}");
        self.body
    }
}

fn data(body: &mut Vec<u8>, data: &Data) -> Result<(), String> {
    const NOT_FINITE: &str = "it holds NaN or an infinity, which JSON cannot carry; ask for binary";
    match data {
        Data::Fp16(_) | Data::Bf16(_) => {
            return Err(format!(
                "{} cannot be carried by JSON; ask for binary",
                data.data_type().name()
            ));
        }
        Data::Fp32(elements) if !elements.iter().all(|element| element.is_finite()) => {
            return Err(NOT_FINITE.to_owned());
        }
        Data::Fp64(elements) if !elements.iter().all(|element| element.is_finite()) => {
            return Err(NOT_FINITE.to_owned());
        }
        Data::Bool(elements) => write(body, elements),
        Data::Uint8(elements) => write(body, elements),
        Data::Uint16(elements) => write(body, elements),
        Data::Uint32(elements) => write(body, elements),
        Data::Uint64(elements) => write(body, elements),
        Data::Int8(elements) => write(body, elements),
        Data::Int16(elements) => write(body, elements),
        Data::Int32(elements) => write(body, elements),
        Data::Int64(elements) => write(body, elements),
        Data::Fp32(elements) => write(body, elements),
        Data::Fp64(elements) => write(body, elements),
        Data::Bytes(elements) => write(body, elements),
    }
    Ok(())
}

fn string(body: &mut Vec<u8>, text: &str) {
    write(body, text);
}

fn write<T: serde::Serialize + ?Sized>(body: &mut Vec<u8>, value: &T) {
    // Numbers, booleans and strings have a form in JSON, and memory takes whatever it is given.
    let written = serde_json::to_writer(body, value);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Tensor;

    fn said(body: &str) -> String {
        parse(body.as_bytes())
            .err()
            .map(|failure| failure.detail)
            .unwrap_or_default()
    }

    #[test]
    fn nan_and_infinities_are_refused_with_where() {
        for word in ["NaN", "Infinity", "-Infinity"] {
            let body = format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":[1,{word}]}}]}}"#);
            let said = said(&body);
            assert!(
                said.starts_with("NaN and infinities are refused, at line 1 column "),
                "{said}"
            );
            let at: usize = said.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(at.abs_diff(body.find(word).unwrap() + 1) <= 2, "{said}");
        }
        let below = "{\"inputs\":\n[{\"name\":\"x\",\"data\":[\nNaN]}]}";
        assert!(said(below).contains("at line 3 column"), "{}", said(below));
        assert!(said("{").starts_with("the body is not JSON"));
        assert!(said("{}").starts_with("the body is not what is asked for"));
        assert!(said("").starts_with("the body is not JSON"));
    }

    #[test]
    fn an_answer_is_written_as_the_protocol_says() {
        let tensor = |data, shape: &[i64]| Output::Tensor(Tensor::new(shape.to_vec(), data).unwrap());
        let mut answer = Answer::begin("iris", "v1", Some("7"));
        answer
            .push("label", &tensor(Data::Bytes(vec!["a\"b".to_owned()]), &[1]))
            .unwrap();
        answer.push("p", &tensor(Data::Fp32(vec![0.1, 1.0]), &[1, 2])).unwrap();
        let row = vec![(Label::Text("a".to_owned()), 0.25), (Label::Text("b".to_owned()), 0.75)];
        answer.push("z", &Output::Maps(vec![row.clone(), row])).unwrap();
        let text = String::from_utf8(answer.finish()).unwrap();
        assert_eq!(
            text,
            r#"{"model_name":"iris","model_version":"v1","id":"7","outputs":[{"name":"label","datatype":"BYTES","shape":[1],"data":["a\"b"]},{"name":"p","datatype":"FP32","shape":[1,2],"data":[0.1,1.0]},{"name":"z","parameters":{"classes":"[\"a\",\"b\"]"},"datatype":"FP32","shape":[2,2],"data":[0.25,0.75,0.25,0.75]}]}"#
        );
    }

    #[test]
    fn what_json_cannot_carry_is_said() {
        for data in [
            Data::Fp32(vec![f32::NAN]),
            Data::Fp64(vec![f64::INFINITY]),
            Data::Fp16(vec![half::f16::ONE]),
        ] {
            let output = Output::Tensor(Tensor::new(vec![1], data).unwrap());
            let wrong = Answer::begin("m", "v", None).push("y", &output).unwrap_err();
            assert!(wrong.contains("ask for binary"), "{wrong}");
        }
    }
}
