//! The header of an ONNX model: what it takes, what it gives, what it needs.
//!
//! Read in pure Rust and without the weights, so that the control plane neither runs a model nor links a runtime. The rule
//! a newcomer would break: what a node must never do for a model (read another file, load a library) is refused here, in
//! every subgraph and function, not left to the runtime.

mod graph;
mod protobuf;
#[cfg(test)]
mod tests;
mod types;
#[cfg(test)]
pub(super) mod write;

use super::section::Section;
use super::{Unreadable, shown};
use crate::domain::package::TensorSpec;
use protobuf::{Value, Walk};
use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek};
use types::Declared;

/// Inputs and, apart, outputs. The largest sklearn exports have some hundreds of columns.
const MOST_TENSORS: usize = 1_024;
const LONGEST_NAME: u64 = 256;
/// Metadata: entries, bytes of a key, bytes of a value. What is beyond is left out.
const METADATA: (usize, u64, u64) = (64, 256, 4_096);
/// The format's versions so far end at 13; what is far above is no model.
const HIGHEST_IR_VERSION: u64 = 100;

/// What a model says about itself.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// Version of the standard operators; 0 when the model imports none.
    pub(super) opset: i64,
    pub(super) producer: String,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
}

/// Reads the header of a model.
pub(super) fn read(model: &Section) -> Result<Header, Unreadable> {
    let mut reading = Reading::new(model.reader());
    reading.model(model.size)?;
    reading.finish()
}

/// What is gathered on the walk over one file.
struct Reading<R> {
    walk: Walk<R>,
    header: Header,
    ir_version: u64,
    opsets: usize,
    graphs: usize,
    producer_version: String,
    inputs: Vec<Declared>,
    outputs: Vec<Declared>,
    initializers: HashSet<String>,
    /// Domains with operators that no function of the model defines, each with one of its operators.
    strangers: BTreeMap<String, String>,
    functions: HashSet<String>,
}

impl<R: Read + Seek> Reading<R> {
    fn new(source: R) -> Self {
        Self {
            walk: Walk::new(source),
            header: Header::default(),
            ir_version: 0,
            opsets: 0,
            graphs: 0,
            producer_version: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            initializers: HashSet::new(),
            strangers: BTreeMap::new(),
            functions: HashSet::new(),
        }
    }

    fn model(&mut self, end: u64) -> Result<(), Unreadable> {
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (1, Value::Number(version)) => self.ir_version = version,
                (2, Value::Block(end)) => {
                    self.header.producer = self.walk.short_text(end, LONGEST_NAME)?.unwrap_or_default();
                }
                (3, Value::Block(end)) => {
                    self.producer_version = self.walk.short_text(end, LONGEST_NAME)?.unwrap_or_default();
                }
                (7, Value::Block(end)) => {
                    self.graphs += 1;
                    self.graph(end, 0)?;
                }
                (8, Value::Block(end)) => self.opset(end)?,
                (14, Value::Block(end)) => self.metadata(end)?,
                (25, Value::Block(end)) => self.function(end)?,
                (1 | 2 | 3 | 7 | 8 | 14 | 25, _) => return Err(Unreadable::bad("is not an ONNX model")),
                _ => {}
            }
        }
        Ok(())
    }

    fn opset(&mut self, end: u64) -> Result<(), Unreadable> {
        let (mut domain, mut version) = (String::new(), 0);
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (1, Value::Block(end)) => domain = self.walk.text(end, LONGEST_NAME, "a name of an operator set")?,
                (2, Value::Number(number)) => version = number.cast_signed(),
                _ => {}
            }
        }
        self.opsets += 1;
        if matches!(domain.as_str(), "" | "ai.onnx") {
            self.header.opset = self.header.opset.max(version);
        }
        Ok(())
    }

    fn metadata(&mut self, end: u64) -> Result<(), Unreadable> {
        let (most, longest_key, longest_value) = METADATA;
        if self.header.metadata.len() >= most {
            return Ok(());
        }
        let (mut key, mut value) = (None, Some(String::new()));
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (1, Value::Block(end)) => key = self.walk.short_text(end, longest_key)?,
                (2, Value::Block(end)) => value = self.walk.short_text(end, longest_value)?,
                _ => {}
            }
        }
        if let (Some(key), Some(value)) = (key, value) {
            self.header.metadata.insert(key, value);
        }
        Ok(())
    }

    /// Judges what was gathered.
    fn finish(self) -> Result<Header, Unreadable> {
        let part = match (self.ir_version, self.graphs, self.opsets) {
            (0 | HIGHEST_IR_VERSION.., ..) => Some("valid IR version"),
            (_, 0, _) => Some("graph"),
            (_, _, 0) => Some("operator set"),
            _ => None,
        };
        if let Some(part) = part {
            return Err(Unreadable::bad(format!(
                "is not an ONNX model, or one cut short: it has no {part}"
            )));
        }
        if let Some((domain, operator)) = self
            .strangers
            .iter()
            .find(|(domain, _)| !self.functions.contains(*domain))
        {
            return Err(Unreadable::bad(format!(
                "operators of domain {} ({}) need a custom library, which nodes never load",
                shown(domain),
                shown(operator)
            )));
        }
        let taken = |input: &Declared| !self.initializers.contains(&input.name);
        let inputs: Vec<_> = self.inputs.iter().filter(|input| taken(input)).collect();
        let outputs: Vec<_> = self.outputs.iter().collect();
        let mut header = self.header;
        header.inputs = specs(&inputs, "input", Declared::input)?;
        header.outputs = specs(&outputs, "output", Declared::output)?;
        header.producer = format!("{} {}", header.producer, self.producer_version)
            .trim()
            .to_owned();
        Ok(header)
    }
}

fn specs(
    all: &[&Declared],
    what: &str,
    judge: impl Fn(&Declared) -> Result<TensorSpec, String>,
) -> Result<Vec<TensorSpec>, Unreadable> {
    if all.is_empty() {
        return Err(Unreadable::bad(format!("has no {what}")));
    }
    if all.len() > MOST_TENSORS {
        return Err(Unreadable::bad(format!("has more than {MOST_TENSORS} {what}s")));
    }
    let mut names = HashSet::new();
    let judged = all.iter().map(|declared| {
        let spec = judge(declared).map_err(|reason| format!("{what} {} {reason}", shown(&declared.name)))?;
        match names.insert(spec.name.clone()) {
            true => Ok(spec),
            false => Err(format!("has two {what}s named {}", shown(&spec.name))),
        }
    });
    judged.collect::<Result<_, String>>().map_err(Unreadable::Bad)
}
