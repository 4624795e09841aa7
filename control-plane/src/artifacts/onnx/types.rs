//! What inputs and outputs are made of.

use super::protobuf::Value;
use super::{LONGEST_NAME, Reading, Unreadable};
use crate::domain::package::{Datatype, TensorSpec};
use std::io::{Read, Seek};

/// Types within types: a sequence of maps to tensors has three.
const DEEPEST_TYPE: u32 = 6;
/// Of one tensor: four terabytes of singles.
const MOST_ELEMENTS: i64 = 1 << 40;
const MOST_DIMENSIONS: usize = 32;

/// An input or output as the model declares it; judged only when it is known not to be an initializer.
pub(super) struct Declared {
    pub(super) name: String,
    kind: Type,
}

enum Type {
    Tensor(u64, Vec<i64>),
    Sequence(Box<Type>),
    Map(u64, Box<Type>),
    Other(&'static str),
}

const INT64: u64 = 7;
const STRING: u64 = 8;
const FLOAT: u64 = 1;

impl Declared {
    /// As an input; the reason follows "input NAME".
    pub(super) fn input(&self) -> Result<TensorSpec, String> {
        match &self.kind {
            Type::Tensor(element, shape) => self.tensor(*element, shape),
            Type::Sequence(_) => Err("is a sequence; only tensors can be sent".to_owned()),
            Type::Map(..) => Err("is a map; only tensors can be sent".to_owned()),
            Type::Other(what) => Err(format!("is {what}; only tensors can be sent")),
        }
    }

    /// As an output; the reason follows "output NAME".
    pub(super) fn output(&self) -> Result<TensorSpec, String> {
        match &self.kind {
            Type::Tensor(element, shape) => self.tensor(*element, shape),
            Type::Sequence(inner) => match inner.as_ref() {
                Type::Map(INT64 | STRING, value) if matches!(**value, Type::Tensor(FLOAT, _)) => {
                    self.spec(Datatype::SequenceOfMap, vec![-1])
                }
                _ => Err("is a sequence; only tensors and a classifier's sequence of maps can be answered".to_owned()),
            },
            Type::Map(..) => {
                Err("is a map; only tensors and a classifier's sequence of maps can be answered".to_owned())
            }
            Type::Other(what) => Err(format!("is {what}; only tensors can be answered")),
        }
    }

    fn tensor(&self, element: u64, shape: &[i64]) -> Result<TensorSpec, String> {
        let datatype = match element {
            FLOAT => Datatype::Fp32,
            2 => Datatype::Uint8,
            3 => Datatype::Int8,
            4 => Datatype::Uint16,
            5 => Datatype::Int16,
            6 => Datatype::Int32,
            INT64 => Datatype::Int64,
            STRING => Datatype::Bytes,
            9 => Datatype::Bool,
            10 => Datatype::Fp16,
            11 => Datatype::Fp64,
            12 => Datatype::Uint32,
            13 => Datatype::Uint64,
            16 => Datatype::Bf16,
            14 | 15 => return Err("has complex numbers, which the protocols cannot carry".to_owned()),
            17..=30 => return Err("has numbers of 8 bits or fewer that the protocols cannot carry".to_owned()),
            _ => return Err("has an unknown data type".to_owned()),
        };
        self.spec(datatype, shape.to_vec())
    }

    fn spec(&self, datatype: Datatype, shape: Vec<i64>) -> Result<TensorSpec, String> {
        if self.name.is_empty() || self.name.len() as u64 > LONGEST_NAME || self.name.chars().any(char::is_control) {
            return Err(format!("must have a name of 1 to {LONGEST_NAME} bytes that prints"));
        }
        Ok(TensorSpec {
            name: self.name.clone(),
            datatype,
            shape,
        })
    }
}

impl<R: Read + Seek> Reading<R> {
    pub(super) fn declared(&mut self, end: u64) -> Result<Declared, Unreadable> {
        let (mut name, mut kind) = (String::new(), Type::Other("of no stated type"));
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (1, Value::Block(end)) => {
                    name = self.walk.text(end, 4 * LONGEST_NAME, "a name of an input or output")?;
                }
                (2, Value::Block(end)) => kind = self.kind(end, 0)?,
                _ => {}
            }
        }
        let dimensions = if let Type::Tensor(_, shape) = &kind {
            shape.len()
        } else {
            0
        };
        self.walk.keep(name.len() + 8 * dimensions)?;
        Ok(Declared { name, kind })
    }

    fn kind(&mut self, end: u64, depth: u32) -> Result<Type, Unreadable> {
        if depth > DEEPEST_TYPE {
            return Err(Unreadable::bad(format!(
                "has types within types, more than {DEEPEST_TYPE} deep"
            )));
        }
        let mut kind = Type::Other("of no stated type");
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            kind = match field {
                (1, Value::Block(end)) => self.tensor_type(end)?,
                (4, Value::Block(end)) => {
                    let (_, inner) = self.container(end, depth, 1)?;
                    Type::Sequence(Box::new(inner))
                }
                (5, Value::Block(end)) => {
                    let (key, inner) = self.container(end, depth, 2)?;
                    Type::Map(key, Box::new(inner))
                }
                (9, _) => Type::Other("an optional"),
                (8, _) => Type::Other("a sparse tensor"),
                (7, _) => Type::Other("opaque"),
                _ => continue,
            };
        }
        Ok(kind)
    }

    /// A sequence's or map's type: the map's key type, and the type of what is in it, which is field `inner`.
    fn container(&mut self, end: u64, depth: u32, inner: u32) -> Result<(u64, Type), Unreadable> {
        let (mut key, mut kind) = (0, Type::Other("of no stated type"));
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (number, Value::Block(end)) if number == inner => kind = self.kind(end, depth + 1)?,
                (1, Value::Number(number)) => key = number,
                _ => {}
            }
        }
        Ok((key, kind))
    }

    fn tensor_type(&mut self, end: u64) -> Result<Type, Unreadable> {
        let (mut element, mut shape) = (0, Vec::new());
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            match field {
                (1, Value::Number(number)) => element = number,
                (2, Value::Block(end)) => {
                    let mut dimensions = self.walk.message(end);
                    while let Some(field) = self.walk.field(&mut dimensions)? {
                        if let (1, Value::Block(end)) = field {
                            let dimension = self.dimension(end)?;
                            shape.push(dimension);
                        }
                        if shape.len() > MOST_DIMENSIONS {
                            return Err(Unreadable::bad(format!(
                                "has a tensor of more than {MOST_DIMENSIONS} dimensions"
                            )));
                        }
                    }
                }
                _ => {}
            }
        }
        let known = shape.iter().filter(|size| **size >= 0);
        let elements = known.fold(1_i64, |elements, size| elements.saturating_mul(*size));
        if elements > MOST_ELEMENTS {
            return Err(Unreadable::bad(format!(
                "has a tensor of more than {MOST_ELEMENTS} elements: {shape:?}"
            )));
        }
        Ok(Type::Tensor(element, shape))
    }

    /// Named, absent and negative dimensions are variable.
    fn dimension(&mut self, end: u64) -> Result<i64, Unreadable> {
        let mut size = -1;
        let mut message = self.walk.message(end);
        while let Some(field) = self.walk.field(&mut message)? {
            size = match field {
                (1, Value::Number(number)) => number.cast_signed().max(-1),
                (2, _) => -1,
                _ => size,
            };
        }
        Ok(size)
    }
}
