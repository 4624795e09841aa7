//! ONNX Runtime: the one file that names it.
//!
//! Apart, so that another runtime would be another file. The rules a newcomer would break: a session is built from
//! bytes that were already scanned for external data, and its own logging stays off, since it quotes tensors.

use super::tensor::{ClassRow, Data, DataType, Label, Output, Port, PortKind, Tensor};
pub(super) use ::ort::environment::Environment;
use ::ort::error::ErrorCode;
use ::ort::logging::LogLevel;
use ::ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ::ort::session::{NoSelectedOutputs, RunOptions, Session, SessionInputValue};
use ::ort::value::{
    DynMapValueType, DynSequence, DynSequenceRef, DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef,
    ValueType,
};
use half::{bf16, f16};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Mutex;

/// The process's environment. The runtime allows one, for ever.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Why a run gave no outputs.
pub(super) enum RunFailure {
    /// The model does not take what it was given.
    Input(String),
    /// It was told to stop.
    Stopped,
    /// The model gave something that this release cannot pass on.
    Output(String),
}

/// Opens the library and makes the environment, or gives the one that there is.
pub(super) fn open(library: &Path) -> Result<Environment, String> {
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(environment) = slot.as_ref() {
        return Ok(environment.clone());
    }
    let environment = ::ort::init_from(library)
        .map_err(|error| format!("cannot load ONNX Runtime from {}: {error}", library.display()))?
        .with_name("castoff")
        .with_telemetry(false)
        .build()
        .map_err(|error| format!("cannot start ONNX Runtime: {error}"))?;
    environment.set_log_level(LogLevel::Fatal);
    *slot = Some(environment.clone());
    Ok(environment)
}

/// A model, ready to run on the thread that has this.
pub(super) struct Loaded {
    session: Session,
    outputs: Vec<PortKind>,
}

/// What makes a run end early, from any thread.
pub(super) struct Brake(RunOptions<NoSelectedOutputs>);

impl Brake {
    pub(super) fn new() -> Result<Self, String> {
        let mut options = RunOptions::new().map_err(|error| error.to_string())?;
        options
            .set_log_level(LogLevel::Fatal)
            .map_err(|error| error.to_string())?;
        Ok(Self(options))
    }

    /// Ends the run that goes on, within about a millisecond.
    pub(super) fn pull(&self) {
        if let Err(error) = self.0.terminate() {
            tracing::error!(%error, "a run could not be told to stop");
        }
    }

    /// Lets the next run go.
    pub(super) fn release(&self) {
        if let Err(error) = self.0.unterminate() {
            tracing::error!(%error, "a stopped session could not be freed");
        }
    }
}

impl Loaded {
    /// Builds a session from the bytes of a model, and says what goes in and out.
    pub(super) fn load(environment: &Environment, model: &[u8]) -> Result<(Self, Vec<Port>, Vec<Port>), String> {
        let session = builder(environment)
            .and_then(|mut builder| builder.commit_from_memory(model))
            .map_err(|error| error.to_string())?;
        let inputs = session.inputs().iter().map(port).collect::<Result<Vec<_>, _>>()?;
        let outputs = session.outputs().iter().map(port).collect::<Result<Vec<_>, _>>()?;
        if let Some(input) = inputs.iter().find(|input| input.kind == PortKind::Maps) {
            return Err(format!("input {} is not a tensor", input.name));
        }
        let kinds = outputs.iter().map(|output| output.kind.clone()).collect();
        Ok((
            Self {
                session,
                outputs: kinds,
            },
            inputs,
            outputs,
        ))
    }

    /// Runs the model on one tensor per input, in the order of its inputs.
    pub(super) fn run(&mut self, inputs: &[Tensor], brake: &Brake) -> Result<Vec<Output>, RunFailure> {
        let inputs = inputs
            .iter()
            .map(value)
            .collect::<::ort::Result<Vec<SessionInputValue<'_>>>>()
            .map_err(|error| RunFailure::Input(error.to_string()))?;
        let given = self
            .session
            .run_with_options(inputs.as_slice(), &brake.0)
            .map_err(|error| {
                let stopped = error.message().contains("terminate flag");
                if stopped {
                    RunFailure::Stopped
                } else {
                    RunFailure::Input(explain(&error))
                }
            })?;
        given
            .values()
            .zip(&self.outputs)
            .map(|(value, kind)| output(&value, kind))
            .collect::<Result<Vec<_>, _>>()
            .map_err(RunFailure::Output)
    }
}

fn builder(environment: &Environment) -> ::ort::Result<SessionBuilder> {
    // One thread per session: the sessions are the parallelism, and spinning threads cost their neighbours latency.
    Ok(Session::builder(environment)?
        .with_log_level(LogLevel::Fatal)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?)
}

fn explain(error: &::ort::Error) -> String {
    match error.code() {
        ErrorCode::InvalidArgument => error.message().to_owned(),
        _ => format!("the model failed on this input: {}", error.message()),
    }
}

fn port(outlet: &::ort::value::Outlet) -> Result<Port, String> {
    let name = outlet.name().to_owned();
    if name.is_empty() {
        return Err("an input or output has no name".to_owned());
    }
    let kind = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let data_type = data_type(*ty).ok_or_else(|| format!("{name} has elements of type {ty}"))?;
            PortKind::Tensor {
                data_type,
                shape: shape.iter().copied().collect(),
            }
        }
        ValueType::Sequence(item) => match item.as_ref() {
            ValueType::Map {
                key: TensorElementType::Int64 | TensorElementType::String,
                value,
            } => match value {
                TensorElementType::Float32 => PortKind::Maps,
                other => return Err(format!("{name} has maps to {other}")),
            },
            other => return Err(format!("{name} is a sequence of {other}")),
        },
        other => return Err(format!("{name} is of type {other}")),
    };
    Ok(Port { name, kind })
}

fn data_type(ty: TensorElementType) -> Option<DataType> {
    Some(match ty {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        TensorElementType::Bfloat16 => DataType::Bf16,
        _ => return None,
    })
}

/// Lends the elements to the runtime; strings are copied.
fn value(tensor: &Tensor) -> ::ort::Result<SessionInputValue<'_>> {
    fn lend<'a, T>(shape: &'a [i64], elements: &'a [T]) -> ::ort::Result<SessionInputValue<'a>>
    where
        T: PrimitiveTensorElementType + Debug + Clone + 'static,
    {
        Ok(TensorRef::from_array_view((shape, elements))?.into())
    }
    let shape = tensor.shape();
    match tensor.data() {
        Data::Bytes(elements) => Ok(::ort::value::Tensor::from_string_array((shape, elements.as_slice()))?.into()),
        Data::Bool(elements) => lend(shape, elements),
        Data::Uint8(elements) => lend(shape, elements),
        Data::Uint16(elements) => lend(shape, elements),
        Data::Uint32(elements) => lend(shape, elements),
        Data::Uint64(elements) => lend(shape, elements),
        Data::Int8(elements) => lend(shape, elements),
        Data::Int16(elements) => lend(shape, elements),
        Data::Int32(elements) => lend(shape, elements),
        Data::Int64(elements) => lend(shape, elements),
        Data::Fp16(elements) => lend(shape, elements),
        Data::Fp32(elements) => lend(shape, elements),
        Data::Fp64(elements) => lend(shape, elements),
        Data::Bf16(elements) => lend(shape, elements),
    }
}

fn output(value: &DynValue, kind: &PortKind) -> Result<Output, String> {
    match kind {
        PortKind::Tensor { data_type, .. } => tensor(value, *data_type).map(Output::Tensor),
        PortKind::Maps => maps(value).map(Output::Maps).map_err(|error| error.to_string()),
    }
}

fn tensor(value: &DynValue, data_type: DataType) -> Result<Tensor, String> {
    fn take<T: PrimitiveTensorElementType + Clone>(value: &DynValue) -> ::ort::Result<(Vec<i64>, Vec<T>)> {
        let (shape, elements) = value.try_extract_tensor::<T>()?;
        Ok((shape.iter().copied().collect(), elements.to_vec()))
    }
    let extracted = match data_type {
        DataType::Bool => take::<bool>(value).map(|(shape, elements)| (shape, Data::Bool(elements))),
        DataType::Uint8 => take::<u8>(value).map(|(shape, elements)| (shape, Data::Uint8(elements))),
        DataType::Uint16 => take::<u16>(value).map(|(shape, elements)| (shape, Data::Uint16(elements))),
        DataType::Uint32 => take::<u32>(value).map(|(shape, elements)| (shape, Data::Uint32(elements))),
        DataType::Uint64 => take::<u64>(value).map(|(shape, elements)| (shape, Data::Uint64(elements))),
        DataType::Int8 => take::<i8>(value).map(|(shape, elements)| (shape, Data::Int8(elements))),
        DataType::Int16 => take::<i16>(value).map(|(shape, elements)| (shape, Data::Int16(elements))),
        DataType::Int32 => take::<i32>(value).map(|(shape, elements)| (shape, Data::Int32(elements))),
        DataType::Int64 => take::<i64>(value).map(|(shape, elements)| (shape, Data::Int64(elements))),
        DataType::Fp16 => take::<f16>(value).map(|(shape, elements)| (shape, Data::Fp16(elements))),
        DataType::Fp32 => take::<f32>(value).map(|(shape, elements)| (shape, Data::Fp32(elements))),
        DataType::Fp64 => take::<f64>(value).map(|(shape, elements)| (shape, Data::Fp64(elements))),
        DataType::Bf16 => take::<bf16>(value).map(|(shape, elements)| (shape, Data::Bf16(elements))),
        DataType::Bytes => value
            .try_extract_strings()
            .map(|(shape, elements)| (shape.iter().copied().collect(), Data::Bytes(elements))),
    };
    let (shape, data) = extracted.map_err(|error| error.to_string())?;
    Tensor::new(shape, data).ok_or_else(|| "an output's shape does not fit its elements".to_owned())
}

fn maps(value: &DynValue) -> ::ort::Result<Vec<ClassRow>> {
    let sequence: DynSequenceRef<'_> = value.view().downcast()?;
    let sequence: &DynSequence = &sequence;
    let mut rows = Vec::new();
    for map in sequence.try_extract_sequence::<DynMapValueType>()? {
        let by_number = matches!(
            map.dtype(),
            ValueType::Map {
                key: TensorElementType::Int64,
                ..
            }
        );
        rows.push(if by_number {
            let row = map.try_extract_key_values::<i64, f32>()?;
            row.into_iter()
                .map(|(class, probability)| (Label::Number(class), probability))
                .collect()
        } else {
            let row = map.try_extract_key_values::<String, f32>()?;
            row.into_iter()
                .map(|(class, probability)| (Label::Text(class), probability))
                .collect()
        });
    }
    Ok(rows)
}
