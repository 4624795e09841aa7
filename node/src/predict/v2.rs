//! Open Inference Protocol V2: tensors by name, in and out. Every endpoint is a model here, of whatever kind.
//!
//! What travels is in `v2_wire`; this finds the model and checks the tensors against it. The rule a newcomer would
//! break: every name, type and shape is checked before the model runs, since a model that misses an input fails deep
//! inside a kernel, with words that help nobody.

use super::call::{Call, Wanted};
use super::failure::{Failure, Reason};
use super::place::{Of, Place};
use super::v2_wire::{self, Asked, InputIn, OutputAsked};
use super::{json, tensors};
use crate::engine::{DataType, Model, Output, Port, PortKind, Tensor};
use crate::serving::{Endpoint, Version};
use crate::state::Node;
use axum::response::Response;
use serde_json::{Value, json as value};

/// The name that ONNX models go by in this protocol.
const PLATFORM: &str = "onnx_onnxv1";

/// `/v2/health/live` and `/v2/health/ready`.
pub(super) fn health(node: &Node, place: &Place) -> Result<Response, Failure> {
    match (place, node.unready()) {
        (Place::Live, _) => Ok(json(value!({ "live": true }).to_string().into_bytes())),
        (_, None) => Ok(json(value!({ "ready": true }).to_string().into_bytes())),
        (_, Some(reason)) => Err(Failure::new(Reason::Unavailable, format!("not ready: {reason}"))),
    }
}

/// `/v2`
pub(super) fn server() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    json(
        value!({ "name": "castoff", "version": version, "extensions": [] })
            .to_string()
            .into_bytes(),
    )
}

/// `/v2/models/{model}[/versions/{version}][/ready]`
pub(super) fn model(call: &Call, name: &str, version: Option<&str>, of: Of) -> Result<Response, Failure> {
    let (_, endpoint) = match version {
        Some(version) => call.pick(name, Wanted::Version(version))?,
        // The one with the largest share stands for all.
        None => call
            .serving
            .endpoints(name)
            .max_by_key(|(version, _)| version.weight)
            .ok_or_else(|| Failure::new(Reason::NotFound, format!("there is no model {name}")))?,
    };
    let body = match of {
        Of::Ready | Of::Infer => value!({ "name": name, "ready": true }),
        Of::Metadata => value!({
            "name": name,
            "versions": call.serving.endpoints(name).map(|(version, _)| version.name.as_str()).collect::<Vec<_>>(),
            "platform": PLATFORM,
            "inputs": endpoint.model.inputs().iter().map(port).collect::<Vec<_>>(),
            "outputs": endpoint.model.outputs().iter().map(port).collect::<Vec<_>>(),
        }),
    };
    Ok(json(body.to_string().into_bytes()))
}

fn port(port: &Port) -> Value {
    match &port.kind {
        PortKind::Tensor { data_type, shape } => {
            value!({ "name": port.name, "datatype": data_type.name(), "shape": shape })
        }
        // The maps of a ZipMap travel as their probabilities.
        PortKind::Maps => value!({ "name": port.name, "datatype": DataType::Fp32.name(), "shape": [-1, -1] }),
    }
}

/// `/v2/models/{model}[/versions/{version}]/infer`
pub(super) async fn infer(call: &Call, name: &str, version: Option<&str>, body: &[u8]) -> Result<Response, Failure> {
    let wanted = version.map_or(Wanted::Any, Wanted::Version);
    let (version, endpoint) = call.pick(name, wanted)?;
    call.room(name)?;
    let asked = v2_wire::parse(body)?;
    let outputs = outputs(&endpoint.model, &asked)?;
    let inputs = inputs(&endpoint.model, asked.inputs)?;
    let given = call.run(endpoint, inputs).await?;
    respond(version, endpoint, asked.id.as_deref(), &outputs, &given)
}

/// One tensor per input of the model, in the model's order.
fn inputs(model: &Model, given: Vec<InputIn<'_>>) -> Result<Vec<Tensor>, Failure> {
    let mut tensors: Vec<Option<Tensor>> = model.inputs().iter().map(|_| None).collect();
    for input in given {
        let known = model
            .inputs()
            .iter()
            .zip(&mut tensors)
            .find(|(port, _)| port.name == input.name);
        let Some((port, slot)) = known else {
            let names: Vec<&str> = model.inputs().iter().map(|port| port.name.as_str()).collect();
            let detail = format!("there is no input {}; the model takes {}", input.name, names.join(", "));
            return Err(Failure::input(detail));
        };
        if slot.is_some() {
            return Err(Failure::input(format!("input {} is given twice", input.name)));
        }
        *slot = Some(tensor(port, &input).map_err(|wrong| Failure::input(format!("input {}: {wrong}", input.name)))?);
    }
    let missing: Vec<&str> = model
        .inputs()
        .iter()
        .zip(&tensors)
        .filter(|(_, tensor)| tensor.is_none())
        .map(|(port, _)| port.name.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(Failure::input(format!("missing input {}", missing.join(", "))));
    }
    Ok(tensors.into_iter().flatten().collect())
}

fn tensor(port: &Port, input: &InputIn<'_>) -> Result<Tensor, String> {
    let PortKind::Tensor { data_type, shape } = &port.kind else {
        return Err("it is not a tensor".to_owned());
    };
    let given = DataType::parse(&input.datatype).ok_or_else(|| format!("there is no datatype {}", input.datatype))?;
    if given != *data_type {
        return Err(format!(
            "datatype is {}, the model takes {}",
            given.name(),
            data_type.name()
        ));
    }
    if !tensors::fits(shape, &input.shape) {
        return Err(format!("shape is {:?}, the model takes {shape:?}", input.shape));
    }
    let data = input.data.ok_or("it has no data; binary tensors are not taken")?;
    let data = tensors::parse(data.get().as_bytes(), given, &input.shape).map_err(|bad| bad.to_string())?;
    Tensor::new(input.shape.clone(), data).ok_or_else(|| "the shape does not fit the data".to_owned())
}

/// The outputs that are asked for, as indices; all when none is named.
fn outputs(model: &Model, asked: &Asked<'_>) -> Result<Vec<usize>, Failure> {
    if asked.parameters.binary_data_output {
        return Err(Failure::input(
            "binary answers are not given; leave binary_data_output out",
        ));
    }
    let Some(wanted) = asked.outputs.as_ref().filter(|wanted| !wanted.is_empty()) else {
        return Ok((0..model.outputs().len()).collect());
    };
    let index = |wanted: &OutputAsked<'_>| {
        if wanted.parameters.binary_data {
            let detail = format!(
                "output {}: binary answers are not given; leave binary_data out",
                wanted.name
            );
            return Err(Failure::input(detail));
        }
        let found = model.outputs().iter().position(|port| port.name == wanted.name);
        found.ok_or_else(|| Failure::input(format!("there is no output {}", wanted.name)))
    };
    wanted.iter().map(index).collect()
}

fn respond(
    version: &Version,
    endpoint: &Endpoint,
    id: Option<&str>,
    wanted: &[usize],
    given: &[Output],
) -> Result<Response, Failure> {
    let mut body = v2_wire::Answer::begin(&endpoint.name, &version.name, id);
    for &index in wanted {
        let (Some(port), Some(output)) = (endpoint.model.outputs().get(index), given.get(index)) else {
            return Err(Failure::new(Reason::Broken, "the model gave fewer outputs than it has"));
        };
        body.push(&port.name, output)
            .map_err(|wrong| Failure::new(Reason::Output, format!("output {}: {wrong}", port.name)))?;
    }
    Ok(json(body.finish()))
}
