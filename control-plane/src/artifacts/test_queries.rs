//! Test queries of a package, held against the header of their model: what could be asked of no node is refused here.
//!
//! What a model answers only a node can tell. The rule a newcomer would break: values are looked at by their number and
//! never by what they are; a node reads them as it reads those of its callers.

use super::section::Section;
use super::{Refused, shown};
use crate::domain::Invalid;
use crate::domain::package::{Datatype, Endpoint, EndpointKind, TensorSpec};
use castoff_wire::test_query::{self, Asks, Input, LARGEST, Output, Predicted, count};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};

/// Looks through the file of an endpoint's test queries; `path` is its name in the package.
pub(super) fn check(path: &str, file: &Section, endpoint: &Endpoint) -> Result<(), Refused> {
    let here = |pointer: &str, reason: &str| {
        let place = match pointer {
            "" => String::new(),
            pointer => format!(" at {}", shown(pointer)),
        };
        let reason = shown(reason);
        Refused::from(Invalid::new(
            "/test_queries",
            format!("{}{place}: {reason}", shown(path)),
        ))
    };
    if file.size > LARGEST {
        return Err(here("", &format!("has more than {LARGEST} bytes")));
    }
    let bytes = file.head(usize::try_from(file.size).unwrap_or_default())?;
    let queries = test_query::parse(&bytes).map_err(|wrong| here(&wrong.pointer, &wrong.reason))?;
    for (index, query) in queries.iter().enumerate() {
        let fits = match &query.asks {
            Asks::Record { features, expected } => record(features, expected.as_ref(), endpoint),
            Asks::Tensors { inputs, expected } => tensors(inputs, expected, endpoint),
        };
        fits.map_err(|wrong| here(&format!("/{index}{}", wrong.pointer), &wrong.reason))?;
    }
    Ok(())
}

fn record(
    features: &BTreeMap<String, &RawValue>,
    expected: Option<&Predicted>,
    endpoint: &Endpoint,
) -> Result<(), Invalid> {
    let wrong = |pointer: String, reason: String| Err(Invalid::new(pointer, reason));
    if endpoint.kind != EndpointKind::Records {
        return wrong(
            "/features".to_owned(),
            format!("{} takes tensors, not records: give inputs", endpoint.name),
        );
    }
    let columns: Vec<&str> = match endpoint.columns.as_slice() {
        [] => endpoint.inputs.iter().map(|input| input.name.as_str()).collect(),
        columns => columns.iter().map(String::as_str).collect(),
    };
    if let Some(missing) = columns.iter().find(|column| !features.contains_key(**column)) {
        return wrong("/features".to_owned(), format!("column {missing} is missing"));
    }
    for (name, value) in features {
        if !columns.contains(&name.as_str()) {
            return wrong("/features".to_owned(), format!("there is no column {}", shown(name)));
        }
        if value.get().starts_with(['[', '{']) {
            return wrong(format!("/features/{name}"), "must be one value".to_owned());
        }
    }
    let classes = expected.iter().flat_map(|expected| expected.probas.keys());
    let unknown = classes
        .filter(|_| !endpoint.labels.is_empty())
        .find(|class| !endpoint.labels.contains(class));
    match unknown {
        Some(class) => wrong(
            "/expected/probas".to_owned(),
            format!("{} is not one of the labels", shown(class)),
        ),
        None => Ok(()),
    }
}

fn tensors(inputs: &[Input<'_>], expected: &[Output<'_>], endpoint: &Endpoint) -> Result<(), Invalid> {
    let mut given = HashSet::new();
    for (index, input) in inputs.iter().enumerate() {
        let at = |place: &str, reason: String| Invalid::new(format!("/inputs/{index}{place}"), reason);
        let spec = named(&endpoint.inputs, &input.name, "input").map_err(|reason| at("/name", reason))?;
        if !given.insert(input.name.as_str()) {
            return Err(at("/name", format!("input {} is given twice", shown(&input.name))));
        }
        if input.datatype != spec.datatype.as_str() {
            let reason = format!("must be {}, which the model takes", spec.datatype);
            return Err(at("/datatype", reason));
        }
        if !fits(&spec.shape, &input.shape) {
            return Err(at(
                "/shape",
                format!("does not fit {:?}, which the model takes", spec.shape),
            ));
        }
        let elements = count(input.data);
        let wanted = elements_of(&input.shape);
        if elements.is_none() || elements != wanted {
            let reason = match (elements, wanted) {
                (Some(elements), Some(wanted)) => format!("has {elements} elements, the shape has {wanted}"),
                _ => "must be the elements of the shape, as an array".to_owned(),
            };
            return Err(at("/data", reason));
        }
    }
    if let Some(missing) = endpoint.inputs.iter().find(|spec| !given.contains(spec.name.as_str())) {
        return Err(Invalid::new(
            "/inputs",
            format!("input {} is missing", shown(&missing.name)),
        ));
    }
    let mut wanted = HashSet::new();
    for (index, output) in expected.iter().enumerate() {
        let at = |place: &str, reason: String| Invalid::new(format!("/expected/outputs/{index}{place}"), reason);
        named(&endpoint.outputs, &output.name, "output").map_err(|reason| at("/name", reason))?;
        if !wanted.insert(output.name.as_str()) {
            return Err(at("/name", format!("output {} is given twice", shown(&output.name))));
        }
        if count(output.data).is_none() {
            return Err(at("/data", "must be an array of elements".to_owned()));
        }
    }
    Ok(())
}

/// The input or output of this name, where JSON can carry it.
fn named<'a>(specs: &'a [TensorSpec], name: &str, what: &str) -> Result<&'a TensorSpec, String> {
    let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        return Err(format!(
            "there is no {what} {}; there is {}",
            shown(name),
            names.join(", ")
        ));
    };
    match spec.datatype {
        Datatype::Fp16 | Datatype::Bf16 => Err(format!(
            "{what} {} is {}, which JSON cannot carry",
            spec.name, spec.datatype
        )),
        _ => Ok(spec),
    }
}

/// A model that does not say its rank shows no dimensions.
fn fits(takes: &[i64], given: &[i64]) -> bool {
    let all_fit = || takes.iter().zip(given).all(|(own, it)| *own < 0 || own == it);
    takes.is_empty() || takes.len() == given.len() && all_fit()
}

fn elements_of(shape: &[i64]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, size| count.checked_mul(usize::try_from(*size).ok()?))
}

#[cfg(test)]
mod tests;
