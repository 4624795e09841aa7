//! What a model gave, read as predictions: one per row, with the probabilities of the classes where there are any.
//!
//! Shared by the two dialects that answer so. Exporters do not agree on names, so the outputs are told apart by kind and
//! name. The rule a newcomer would break: a number that JSON cannot carry is an error that names its output, never null.

use super::call::Call;
use super::columns::{Columns, Row};
use super::failure::{Failure, Reason};
use crate::engine::{ClassRow, Data, Label, Output, Port, PortKind, Tensor};
use crate::serving::Endpoint;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// What is said of one row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prediction {
    /// The class, or the number.
    pub(super) value: Value,
    /// The classes with their probabilities.
    pub(super) probas: Option<Map<String, Value>>,
}

impl Prediction {
    /// As the fields of an answer.
    pub(super) fn into_fields(self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("prediction".to_owned(), self.value);
        if let Some(probas) = self.probas {
            fields.insert("probas".to_owned(), Value::Object(probas));
        }
        fields
    }
}

/// Predictions, and how long the model took for them, the wait included.
pub(super) struct Predicted {
    pub(super) predictions: Vec<Prediction>,
    pub(super) running: Duration,
}

/// Runs the endpoint on these rows. `place` says where in the body a row stands.
pub(super) async fn predict(
    call: &Call,
    endpoint: &Endpoint,
    columns: &Columns<'_>,
    rows: &[Row],
    place: &(dyn Fn(usize) -> Vec<Value> + Sync),
) -> Result<Predicted, Failure> {
    let mut predicted = Predicted {
        predictions: Vec::with_capacity(rows.len()),
        running: Duration::ZERO,
    };
    if rows.is_empty() {
        return Ok(predicted);
    }
    let at_once = if columns.takes_one_row() { 1 } else { rows.len() };
    let mut runs = Vec::new();
    for (number, rows) in rows.chunks(at_once).enumerate() {
        runs.push((
            columns.tensors(rows, &|index| place(number * at_once + index))?,
            rows.len(),
        ));
    }
    for (tensors, rows) in runs {
        let started = Instant::now();
        let outputs = call.run(endpoint, tensors).await?;
        predicted.running += started.elapsed();
        predicted
            .predictions
            .extend(read(endpoint.model.outputs(), Names::of(endpoint), &outputs, rows)?);
    }
    Ok(predicted)
}

/// What classes are called.
#[derive(Clone, Copy)]
struct Names<'a> {
    /// By the package; empty when it does not say.
    labels: &'a [String],
    /// By the model itself, in the order of its probabilities.
    own: &'a [Label],
}

impl<'a> Names<'a> {
    fn of(endpoint: &'a Endpoint) -> Self {
        Self {
            labels: &endpoint.labels,
            own: endpoint.model.classes(),
        }
    }
}

/// One prediction per row.
fn read(ports: &[Port], names: Names<'_>, outputs: &[Output], rows: usize) -> Result<Vec<Prediction>, Failure> {
    let labels = names.labels;
    let roles = Roles::of(ports, labels);
    let named = |index: usize| {
        let (port, output) = (ports.get(index), outputs.get(index));
        port.zip(output)
            .ok_or_else(|| Failure::new(Reason::Broken, "the model gave fewer outputs than it has"))
    };
    let at = |port: &Port, wrong: &str| Failure::new(Reason::Output, format!("output {}: {wrong}", port.name));
    let mut probas = match roles.probas {
        None => Vec::new(),
        Some(index) => {
            let (port, output) = named(index)?;
            classes(output, names, rows).map_err(|wrong| at(port, &wrong))?
        }
    }
    .into_iter();
    let mut values = match roles.value {
        None => Vec::new(),
        Some(index) => match named(index)? {
            (port, Output::Tensor(tensor)) => by_row(tensor, rows).map_err(|wrong| at(port, &wrong))?,
            (port, Output::Maps(_)) => return Err(at(port, "it is not a prediction")),
        },
    }
    .into_iter();
    (0..rows)
        .map(|_| {
            let classes = probas.next();
            let value = values.next();
            let value = match (value, &classes) {
                (Some(value), classes) => named_class(value, labels, classes.as_deref()),
                (None, Some(classes)) => likeliest(classes).map_or(Value::Null, |class| class.name.clone().into()),
                (None, None) => return Err(Failure::new(Reason::Output, "the model has no output to predict with")),
            };
            Ok(Prediction {
                value,
                probas: classes.map(|classes| probabilities(&classes)),
            })
        })
        .collect()
}

/// Which output says what.
#[derive(Debug, PartialEq, Eq)]
struct Roles {
    value: Option<usize>,
    probas: Option<usize>,
}

impl Roles {
    fn of(ports: &[Port], labels: &[String]) -> Self {
        let name_has = |port: &Port, words: &[&str]| {
            let name = port.name.to_ascii_lowercase();
            words.iter().any(|word| name.contains(word))
        };
        let is_table = |port: &Port| match &port.kind {
            PortKind::Maps => true,
            PortKind::Tensor { data_type, shape } => {
                let is_float = matches!(data_type.name(), "FP32" | "FP64" | "FP16" | "BF16");
                is_float && matches!(shape.as_slice(), [] | [_, _])
            }
        };
        let is_maps = |port: &Port| port.kind == PortKind::Maps;
        let probas = ports
            .iter()
            .position(is_maps)
            .or_else(|| {
                ports
                    .iter()
                    .position(|port| is_table(port) && name_has(port, &["prob"]))
            })
            // One table, and names for its columns: they can only be classes.
            .or_else(|| {
                (ports.len() == 1 && labels.len() > 1)
                    .then(|| ports.iter().position(is_table))
                    .flatten()
            });
        let others = || ports.iter().enumerate().filter(|(index, _)| Some(*index) != probas);
        let value = others()
            .find(|(_, port)| name_has(port, &["label", "variable", "class", "predict"]))
            .or_else(|| others().next())
            .map(|(index, _)| index);
        Self { value, probas }
    }
}

/// A class of one row.
#[derive(Clone, Debug, PartialEq)]
struct Class {
    /// What the model itself calls it, when it does.
    own: Option<Label>,
    name: String,
    probability: Value,
    weight: f64,
}

/// The classes of each row.
fn classes(output: &Output, names: Names<'_>, rows: usize) -> Result<Vec<Vec<Class>>, String> {
    let table: Vec<Vec<(Option<Label>, Value)>> = match output {
        Output::Maps(maps) => maps
            .iter()
            .map(|row| {
                let class = |(label, probability): &(Label, f32)| Ok((Some(label.clone()), single(*probability)?));
                row.iter().map(class).collect::<Result<_, String>>()
            })
            .collect::<Result<_, _>>()?,
        Output::Tensor(tensor) => by_row(tensor, rows)?
            .into_iter()
            .map(|row| match row {
                Value::Array(row) => {
                    let own = |index| names.own.get(index).filter(|_| names.own.len() == row.len()).cloned();
                    let own: Vec<_> = (0..row.len()).map(own).collect();
                    own.into_iter().zip(row).collect()
                }
                probability => vec![(None, probability)],
            })
            .collect(),
    };
    if table.len() != rows {
        return Err(format!("it has {} rows for {rows} records", table.len()));
    }
    let row = |row: Vec<(Option<Label>, Value)>| {
        let ours = names.labels.len() == row.len();
        let class = |(index, (own, probability)): (usize, (Option<Label>, Value))| {
            let ours = names.labels.get(index).filter(|_| ours).cloned();
            let name = ours.unwrap_or_else(|| own.as_ref().map_or_else(|| index.to_string(), Label::name));
            let weight = probability.as_f64().unwrap_or_default();
            Class {
                own,
                name,
                probability,
                weight,
            }
        };
        row.into_iter().enumerate().map(class).collect()
    };
    Ok(table.into_iter().map(row).collect())
}

fn probabilities(classes: &[Class]) -> Map<String, Value> {
    classes
        .iter()
        .map(|class| (class.name.clone(), class.probability.clone()))
        .collect()
}

fn likeliest(classes: &[Class]) -> Option<&Class> {
    // The first of several that are equally likely, as everybody's argmax.
    classes
        .iter()
        .rev()
        .max_by(|one, other| one.weight.total_cmp(&other.weight))
}

/// The name of a class that the model gave as a number, where names are configured.
fn named_class(value: Value, labels: &[String], classes: Option<&[Class]>) -> Value {
    let Some(number) = value.as_i64().filter(|_| !labels.is_empty()) else {
        return value;
    };
    let name = match classes {
        Some(classes) => classes
            .iter()
            .find(|class| class.own == Some(Label::Number(number)))
            .or_else(|| likeliest(classes))
            .map(|class| &class.name),
        None => usize::try_from(number).ok().and_then(|index| labels.get(index)),
    };
    name.map_or(value, |name| name.clone().into())
}

/// A tensor cut into rows: a bare value where a row has one element.
fn by_row(tensor: &Tensor, rows: usize) -> Result<Vec<Value>, String> {
    let elements = elements(tensor.data())?;
    let has_rows = tensor
        .shape()
        .first()
        .is_some_and(|first| usize::try_from(*first) == Ok(rows));
    if !has_rows && rows != 1 {
        return Err(format!("its shape is {:?} for {rows} records", tensor.shape()));
    }
    let width = elements.len() / rows.max(1);
    if width == 1 {
        return Ok(elements);
    }
    Ok(if width == 0 {
        vec![Value::Array(Vec::new()); rows]
    } else {
        elements.chunks(width).map(|row| Value::Array(row.to_vec())).collect()
    })
}

/// A tensor as nested arrays.
pub(super) fn nested(tensor: &Tensor) -> Result<Value, String> {
    let mut level = elements(tensor.data())?;
    for &size in tensor.shape().iter().skip(1).rev() {
        let size = usize::try_from(size).unwrap_or_default();
        if size == 0 {
            return Ok(Value::Array(Vec::new()));
        }
        level = level.chunks(size).map(|items| Value::Array(items.to_vec())).collect();
    }
    if tensor.shape().is_empty() {
        return Ok(level.pop().unwrap_or(Value::Null));
    }
    Ok(Value::Array(level))
}

/// The maps of a ZipMap as they are: for each row the classes with their probabilities.
pub(super) fn maps(rows: &[ClassRow]) -> Result<Value, String> {
    let row = |row: &ClassRow| {
        let class = |(label, probability): &(Label, f32)| Ok((label.name(), single(*probability)?));
        row.iter()
            .map(class)
            .collect::<Result<Map<_, _>, String>>()
            .map(Value::Object)
    };
    rows.iter().map(row).collect::<Result<_, _>>().map(Value::Array)
}

fn elements(data: &Data) -> Result<Vec<Value>, String> {
    fn exact<T: Copy + Into<Value>>(elements: &[T]) -> Result<Vec<Value>, String> {
        Ok(elements.iter().map(|&element| element.into()).collect())
    }
    match data {
        Data::Bool(elements) => exact(elements),
        Data::Uint8(elements) => exact(elements),
        Data::Uint16(elements) => exact(elements),
        Data::Uint32(elements) => exact(elements),
        Data::Uint64(elements) => exact(elements),
        Data::Int8(elements) => exact(elements),
        Data::Int16(elements) => exact(elements),
        Data::Int32(elements) => exact(elements),
        Data::Int64(elements) => exact(elements),
        Data::Bytes(elements) => Ok(elements.iter().map(|element| element.as_str().into()).collect()),
        Data::Fp16(elements) => elements.iter().map(|element| single(element.to_f32())).collect(),
        Data::Bf16(elements) => elements.iter().map(|element| single(element.to_f32())).collect(),
        Data::Fp32(elements) => elements.iter().map(|element| single(*element)).collect(),
        Data::Fp64(elements) => elements.iter().map(|element| double(*element)).collect(),
    }
}

/// A single, in the shortest digits that mean it: 0.1 and not 0.10000000149011612.
fn single(number: f32) -> Result<Value, String> {
    double(number.to_string().parse().unwrap_or(f64::from(number)))
}

fn double(number: f64) -> Result<Value, String> {
    serde_json::Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| "it holds NaN or an infinity, which JSON cannot carry".to_owned())
}

#[cfg(test)]
mod tests;
