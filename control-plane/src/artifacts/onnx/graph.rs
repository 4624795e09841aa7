//! Graphs, nodes and tensors: looked through for what a node must not do, and for the names of initializers.

use super::protobuf::{Message, Value};
use super::{LONGEST_NAME, Reading, Unreadable, shown};
use std::io::{Read, Seek};

/// Graphs within graphs (If, Loop, Scan). Real models have two or three.
const DEEPEST_GRAPH: u32 = 16;
/// Domains of operators that ONNX Runtime's own CPU build has.
const BUILT_IN: [&str; 6] = [
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.preview",
    "com.microsoft",
    "com.microsoft.nchwc",
];
/// Domains that are remembered until the functions of the model are known.
const MOST_STRANGERS: usize = 256;

impl<R: Read + Seek> Reading<R> {
    /// A graph; only the model's own, at depth 0, declares what callers see.
    pub(super) fn graph(&mut self, end: u64, depth: u32) -> Result<(), Unreadable> {
        if depth > DEEPEST_GRAPH {
            return Err(Unreadable::bad(format!(
                "has graphs within graphs, more than {DEEPEST_GRAPH} deep"
            )));
        }
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (1, Value::Block(end)) => self.node(end, depth)?,
                (5, Value::Block(end)) => {
                    let name = self.tensor(end)?;
                    self.initializer(name, depth)?;
                }
                (15, Value::Block(end)) => {
                    let name = self.sparse_tensor(end)?;
                    self.initializer(name, depth)?;
                }
                (11, Value::Block(end)) if depth == 0 => {
                    let declared = self.declared(end)?;
                    self.inputs.push(declared);
                }
                (12, Value::Block(end)) if depth == 0 => {
                    let declared = self.declared(end)?;
                    self.outputs.push(declared);
                }
                (1 | 5 | 15 | 11 | 12, Value::Number(_) | Value::Fixed) => {
                    return Err(Unreadable::bad("has a graph that is not one"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn initializer(&mut self, name: String, depth: u32) -> Result<(), Unreadable> {
        if depth == 0 {
            self.walk.keep(name.len())?;
            self.initializers.insert(name);
        }
        Ok(())
    }

    fn node(&mut self, end: u64, depth: u32) -> Result<(), Unreadable> {
        let (mut operator, mut domain) = (String::new(), String::new());
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (4, Value::Block(end)) => operator = self.walk.short_text(end, LONGEST_NAME)?.unwrap_or_default(),
                (7, Value::Block(end)) => domain = self.walk.text(end, LONGEST_NAME, "a domain of an operator")?,
                (5, Value::Block(end)) => self.attribute(end, depth)?,
                _ => {}
            }
        }
        if !BUILT_IN.contains(&domain.as_str()) {
            self.strangers.entry(domain).or_insert(operator);
            if self.strangers.len() > MOST_STRANGERS {
                return Err(Unreadable::bad("has operators of too many domains"));
            }
        }
        Ok(())
    }

    fn attribute(&mut self, end: u64, depth: u32) -> Result<(), Unreadable> {
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (5 | 10, Value::Block(end)) => drop(self.tensor(end)?),
                (22 | 23, Value::Block(end)) => drop(self.sparse_tensor(end)?),
                (6 | 11, Value::Block(end)) => self.graph(end, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn function(&mut self, end: u64) -> Result<(), Unreadable> {
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (7, Value::Block(end)) => self.node(end, 0)?,
                (11, Value::Block(end)) => self.attribute(end, 0)?,
                (10, Value::Block(end)) => {
                    let domain = self.walk.text(end, LONGEST_NAME, "a domain of a function")?;
                    self.walk.keep(domain.len())?;
                    self.functions.insert(domain);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A tensor's name. One that lies in another file is refused: a node loads models from memory.
    fn tensor(&mut self, end: u64) -> Result<String, Unreadable> {
        let (mut name, mut place, mut external) = (String::new(), String::new(), false);
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (8, Value::Block(end)) => name = self.walk.text(end, 4 * LONGEST_NAME, "a name of a tensor")?,
                (13, Value::Block(end)) => {
                    let mut entry = self.walk.message(end);
                    let found = self.external_place(&mut entry)?;
                    place = found.unwrap_or(place);
                }
                (14, Value::Number(location)) => external |= location == 1,
                _ => {}
            }
        }
        if external {
            let place = if place.is_empty() {
                "another file".to_owned()
            } else {
                shown(&place)
            };
            return Err(Unreadable::bad(format!(
                "external data is not accepted: tensor {} points to {place}; save the model as one file",
                shown(&name)
            )));
        }
        Ok(name)
    }

    fn external_place(&mut self, entry: &mut Message) -> Result<Option<String>, Unreadable> {
        let (mut key, mut value) = (None, None);
        while let Some(field) = self.walk.field(entry)? {
            match field {
                (1, Value::Block(end)) => key = self.walk.short_text(end, LONGEST_NAME)?,
                (2, Value::Block(end)) => value = self.walk.short_text(end, 4 * LONGEST_NAME)?,
                _ => {}
            }
        }
        Ok(value.filter(|_| key.as_deref() == Some("location")))
    }

    fn sparse_tensor(&mut self, end: u64) -> Result<String, Unreadable> {
        let mut name = String::new();
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (1, Value::Block(end)) => name = self.tensor(end)?,
                (2, Value::Block(end)) => drop(self.tensor(end)?),
                _ => {}
            }
        }
        Ok(name)
    }
}
