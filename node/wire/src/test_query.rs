//! Test queries: what a package says that its own models answer. A node asks them before it takes calls.
//!
//! They are one file of the package, a list in JSON, which the control plane looks through at the upload and nodes fetch by
//! its digest. Both read it here, so that what is taken at the upload is what is asked. The rule a newcomer would break: what
//! is asked goes to the model as it stands in the file; only its names, shapes and counts are looked at.

use crate::strict::{self, Wrong};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of the file. Two images of 3 × 224 × 224 numbers, each of some ten characters, fit.
pub const LARGEST: u64 = 4 << 20;
/// Queries of one endpoint: all of them run before a node takes calls.
pub const MOST: usize = 64;
/// How far a number may be off where the query does not say.
pub const TOLERANCE: f64 = 1e-4;

/// One query, and what must be answered.
#[derive(Debug)]
pub struct TestQuery<'a> {
    /// What is asked.
    pub asks: Asks<'a>,
    /// How far a floating-point number may be off: by so much, and of a number beyond 1 by so much of it. At least 0.
    pub tolerance: f64,
}

/// What is asked, as callers ask it.
#[derive(Debug)]
pub enum Asks<'a> {
    /// One record.
    Record {
        /// Its columns.
        features: BTreeMap<String, &'a RawValue>,
        /// What must be predicted. `None`: there must be an answer.
        expected: Option<Predicted>,
    },
    /// Tensors of the Open Inference Protocol V2.
    Tensors {
        /// One for each input of the model.
        inputs: Vec<Input<'a>>,
        /// Outputs that must be as they are here. Empty: there must be an answer.
        expected: Vec<Output<'a>>,
    },
}

/// What is predicted of a record; at least one of the two.
#[derive(Debug)]
pub struct Predicted {
    /// The class, or the number.
    pub prediction: Option<Value>,
    /// Probabilities of classes: those that matter.
    pub probas: BTreeMap<String, f64>,
}

/// A tensor that is asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Input<'a> {
    /// Of the model's input.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// The protocol's word for the type of its elements.
    pub datatype: String,
    /// Its elements, flat or nested.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// A tensor that must be answered. An answer may be pasted: shape and datatype are taken, and follow from the model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output<'a> {
    /// Of the model's output.
    pub name: String,
    /// Its elements, flat or nested.
    #[serde(borrow)]
    pub data: &'a RawValue,
    #[serde(default, rename = "shape")]
    _shape: de::IgnoredAny,
    #[serde(default, rename = "datatype")]
    _datatype: de::IgnoredAny,
    #[serde(default, rename = "parameters")]
    _parameters: de::IgnoredAny,
}

/// What is wrong with the file, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRead {
    /// A JSON pointer into the file.
    pub pointer: String,
    /// What is wrong there.
    pub reason: String,
}

impl From<Wrong> for NotRead {
    fn from(wrong: Wrong) -> Self {
        Self {
            pointer: wrong.pointer(),
            reason: wrong.error.to_string(),
        }
    }
}

/// Reads the file.
///
/// # Errors
/// It is not such a list.
pub fn parse(file: &[u8]) -> Result<Vec<TestQuery<'_>>, NotRead> {
    let wrong = |pointer: &str, reason: String| NotRead {
        pointer: pointer.to_owned(),
        reason,
    };
    if file.len() as u64 > LARGEST {
        return Err(wrong("", format!("has more than {LARGEST} bytes")));
    }
    let said: Vec<Said<'_>> = strict::from_slice(file)?;
    if said.is_empty() || said.len() > MOST {
        return Err(wrong(
            "",
            format!("must have 1 to {MOST} queries, but has {}", said.len()),
        ));
    }
    let queries = said.into_iter().enumerate();
    let queries = queries.map(|(index, said)| {
        said.query()
            .map_err(|(place, reason)| wrong(&format!("/{index}{place}"), reason.to_owned()))
    });
    queries.collect()
}

/// A query as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said<'a> {
    #[serde(borrow, default)]
    features: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(borrow, default)]
    inputs: Option<Vec<Input<'a>>>,
    #[serde(borrow, default)]
    expected: Option<Expected<'a>>,
    #[serde(default)]
    tolerance: Option<f64>,
}

/// What is expected, of whatever kind of query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected<'a> {
    #[serde(default)]
    prediction: Option<Value>,
    #[serde(default)]
    probas: BTreeMap<String, f64>,
    #[serde(borrow, default)]
    outputs: Vec<Output<'a>>,
}

impl<'a> Said<'a> {
    fn query(self) -> Result<TestQuery<'a>, (&'static str, &'static str)> {
        let tolerance = self.tolerance.unwrap_or(TOLERANCE);
        if tolerance < 0.0 {
            return Err(("/tolerance", "must not be negative"));
        }
        let asks = match (self.features, self.inputs) {
            (Some(features), None) => Asks::Record {
                features,
                expected: self.expected.map(Expected::of_record).transpose()?,
            },
            (None, Some(inputs)) => Asks::Tensors {
                inputs,
                expected: self.expected.map_or(Ok(Vec::new()), Expected::of_tensors)?,
            },
            (None, None) => return Err(("", "must have features, for a record, or inputs, for tensors")),
            (Some(_), Some(_)) => return Err(("", "must have features or inputs, not both")),
        };
        Ok(TestQuery { asks, tolerance })
    }
}

impl<'a> Expected<'a> {
    fn of_record(self) -> Result<Predicted, (&'static str, &'static str)> {
        if !self.outputs.is_empty() {
            return Err((
                "/expected/outputs",
                "are for inputs; a record has prediction and probas",
            ));
        }
        if self.prediction.is_none() && self.probas.is_empty() {
            return Err((
                "/expected",
                "must have prediction or probas; leave it out where any answer will do",
            ));
        }
        Ok(Predicted {
            prediction: self.prediction,
            probas: self.probas,
        })
    }

    fn of_tensors(self) -> Result<Vec<Output<'a>>, (&'static str, &'static str)> {
        if self.prediction.is_some() || !self.probas.is_empty() {
            return Err((
                "/expected",
                "prediction and probas are for features; inputs have outputs",
            ));
        }
        if self.outputs.is_empty() {
            return Err((
                "/expected/outputs",
                "must have at least one; leave expected out where any answer will do",
            ));
        }
        Ok(self.outputs)
    }
}

/// How many numbers, texts and truth values there are in a value, none of which is kept. `None`: it holds an object.
pub fn count(value: &RawValue) -> Option<usize> {
    serde_json::from_str::<Count>(value.get()).ok().map(|count| count.0)
}

struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Counts;
        impl<'de> Visitor<'de> for Counts {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("elements")
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Count, E> {
                Ok(Count(1))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Count, E> {
                Ok(Count(1))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Count, E> {
                Ok(Count(1))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Count, E> {
                Ok(Count(1))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Count, E> {
                Ok(Count(1))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
                let mut all = 0usize;
                while let Some(Count(some)) = items.next_element()? {
                    all = all.saturating_add(some);
                }
                Ok(Count(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Count, A::Error> {
                Err(de::Error::custom("an object"))
            }
        }
        from.deserialize_any(Counts)
    }
}

#[cfg(test)]
mod tests;
