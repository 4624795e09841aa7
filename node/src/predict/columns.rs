//! Rows of named values into the tensors of a model: one input per column, or one tensor whose columns have names.
//!
//! Shared by the two dialects that speak of columns. The rule a newcomer would break: every column that is missing,
//! unknown or of the wrong type is named, in every row, before the model runs.

use super::failure::{Failure, Field};
use crate::engine::{Data, DataType, PortKind, Tensor};
use crate::serving::Endpoint;
use half::{bf16, f16};
use serde_json::{Map, Value};

/// The columns of one record.
pub(super) type Row = Map<String, Value>;

/// No answer lists more wrong fields than this.
const MOST_FIELDS: usize = 20;

/// How rows become tensors.
pub(super) struct Columns<'a> {
    columns: Vec<Column<'a>>,
    /// The dimensions of the one tensor that holds them all; `None`: each is a tensor of its own.
    together: bool,
    /// The model takes one row at a time.
    one_row: bool,
}

struct Column<'a> {
    name: &'a str,
    data_type: DataType,
    rank: usize,
}

impl<'a> Columns<'a> {
    /// The columns of an endpoint.
    pub(super) fn of(endpoint: &'a Endpoint) -> Result<Self, Failure> {
        let takes_tensors = || {
            let name = &endpoint.name;
            Failure::input(format!(
                "{name} takes tensors, not named values; call it by /v2/models/{name}/infer"
            ))
        };
        let mut columns = Vec::new();
        let mut one_row = false;
        let together = !endpoint.columns.is_empty();
        for port in endpoint.model.inputs() {
            let PortKind::Tensor { data_type, shape } = &port.kind else {
                return Err(takes_tensors());
            };
            // [N, 1], [N], or a model that does not say.
            let is_column = matches!(shape.as_slice(), [] | [-1 | 1] | [_, -1 | 1]);
            if !together && !is_column {
                return Err(takes_tensors());
            }
            one_row |= shape.first() == Some(&1);
            let (data_type, rank) = (*data_type, if shape.is_empty() { 2 } else { shape.len() });
            if together {
                columns.extend(endpoint.columns.iter().map(|name| Column { name, data_type, rank }));
            } else {
                columns.push(Column {
                    name: &port.name,
                    data_type,
                    rank,
                });
            }
        }
        Ok(Self {
            columns,
            together,
            one_row,
        })
    }

    /// Whether the model takes one row at a time.
    pub(super) fn takes_one_row(&self) -> bool {
        self.one_row
    }

    /// The one column, when there is one and it holds text.
    pub(super) fn only_text(&self) -> Option<&'a str> {
        match self.columns.as_slice() {
            [
                Column {
                    name,
                    data_type: DataType::Bytes,
                    ..
                },
            ] => Some(name),
            _ => None,
        }
    }

    /// The tensors of these rows. `place` says where in the body a row stands.
    pub(super) fn tensors(&self, rows: &[Row], place: &dyn Fn(usize) -> Vec<Value>) -> Result<Vec<Tensor>, Failure> {
        let mut wrong = self.names(rows, place);
        let mut tensors = Vec::new();
        if wrong.is_empty() {
            for (columns, data_type, rank) in self.groups() {
                let mut sheet = Sheet {
                    rows,
                    place,
                    wrong: &mut wrong,
                };
                let data = sheet.fill(columns, data_type);
                let count = rows.len() as i64;
                let shape = if rank == 1 {
                    vec![count]
                } else {
                    vec![count, columns.len() as i64]
                };
                tensors.extend(Tensor::new(shape, data));
            }
        }
        wrong.truncate(MOST_FIELDS);
        if wrong.is_empty() {
            Ok(tensors)
        } else {
            Err(Failure::fields(wrong))
        }
    }

    /// Which columns make up each tensor.
    fn groups(&self) -> Vec<(&[Column<'a>], DataType, usize)> {
        let size = if self.together { self.columns.len().max(1) } else { 1 };
        let group = |columns: &'_ [Column<'a>]| columns.first().map(|first| (first.data_type, first.rank));
        self.columns
            .chunks(size)
            .filter_map(|columns| group(columns).map(|(data_type, rank)| (columns, data_type, rank)))
            .collect()
    }

    /// Columns that are missing and columns that do not exist.
    fn names(&self, rows: &[Row], place: &dyn Fn(usize) -> Vec<Value>) -> Vec<Field> {
        let mut wrong = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            for column in self.columns.iter().filter(|column| !row.contains_key(column.name)) {
                let said = format!("column {} is missing", column.name);
                wrong.push(field(place(index), column.name, said, "missing"));
            }
            for name in row
                .keys()
                .filter(|name| !self.columns.iter().any(|column| column.name == name.as_str()))
            {
                let said = format!("there is no column {}", shorten(name));
                wrong.push(field(place(index), name, said, "extra_forbidden"));
            }
            if wrong.len() >= MOST_FIELDS {
                break;
            }
        }
        wrong
    }
}

fn field(mut at: Vec<Value>, name: &str, wrong: String, kind: &'static str) -> Field {
    at.push(shorten(name).into());
    Field { at, wrong, kind }
}

/// A name from outside, short enough to be said back.
fn shorten(name: &str) -> String {
    const MOST: usize = 100;
    if name.chars().count() <= MOST {
        name.to_owned()
    } else {
        name.chars().take(MOST).chain(['…']).collect()
    }
}

/// Rows whose names are right, being turned into elements.
struct Sheet<'s> {
    rows: &'s [Row],
    place: &'s dyn Fn(usize) -> Vec<Value>,
    wrong: &'s mut Vec<Field>,
}

impl Sheet<'_> {
    fn fill(&mut self, columns: &[Column<'_>], data_type: DataType) -> Data {
        match data_type {
            DataType::Bool => Data::Bool(self.cells(columns, boolean)),
            DataType::Uint8 => Data::Uint8(self.cells(columns, integer)),
            DataType::Uint16 => Data::Uint16(self.cells(columns, integer)),
            DataType::Uint32 => Data::Uint32(self.cells(columns, integer)),
            DataType::Uint64 => Data::Uint64(self.cells(columns, integer)),
            DataType::Int8 => Data::Int8(self.cells(columns, integer)),
            DataType::Int16 => Data::Int16(self.cells(columns, integer)),
            DataType::Int32 => Data::Int32(self.cells(columns, integer)),
            DataType::Int64 => Data::Int64(self.cells(columns, integer)),
            DataType::Fp16 => Data::Fp16(self.cells(columns, |cell| float(cell, f16::MAX.to_f64()).map(f16::from_f64))),
            DataType::Bf16 => {
                Data::Bf16(self.cells(columns, |cell| float(cell, bf16::MAX.to_f64()).map(bf16::from_f64)))
            }
            DataType::Fp32 => Data::Fp32(self.cells(columns, |cell| Ok(float(cell, f32::MAX.into())? as f32))),
            DataType::Fp64 => Data::Fp64(self.cells(columns, |cell| float(cell, f64::MAX))),
            DataType::Bytes => Data::Bytes(self.cells(columns, text)),
        }
    }

    /// Row by row, the element of each column. What is wrong is noted, and its place filled.
    fn cells<T: Default>(&mut self, columns: &[Column<'_>], read: fn(&Value) -> Result<T, &'static str>) -> Vec<T> {
        let mut elements = Vec::with_capacity(self.rows.len().saturating_mul(columns.len()));
        for (index, row) in self.rows.iter().enumerate() {
            for column in columns {
                let cell = row.get(column.name).unwrap_or(&Value::Null);
                elements.push(read(cell).unwrap_or_else(|reason| {
                    if self.wrong.len() < MOST_FIELDS {
                        let said = format!("column {} {reason}", column.name);
                        self.wrong
                            .push(field((self.place)(index), column.name, said, "type_error"));
                    }
                    T::default()
                }));
            }
        }
        elements
    }
}

/// A number, or text that is one. Nothing at all is a missing value, which models know as NaN.
fn float(cell: &Value, most: f64) -> Result<f64, &'static str> {
    let number = match cell {
        Value::Null => return Ok(f64::NAN),
        Value::Number(number) => number.as_f64(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(text) if text.trim().is_empty() => return Ok(f64::NAN),
        Value::String(text) => text.trim().parse().ok(),
        Value::Array(_) | Value::Object(_) => None,
    };
    match number {
        Some(number) if number.is_finite() && number.abs() <= most => Ok(number),
        Some(number) if number.is_nan() => Err("is not a number"),
        Some(_) => Err("is too large for its type"),
        None => Err("is not a number"),
    }
}

fn integer<T: TryFrom<i128>>(cell: &Value) -> Result<T, &'static str> {
    const WRONG: &str = "is not an integer";
    let exact = match cell {
        Value::Bool(flag) => i128::from(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(exact), _) => exact.into(),
            (_, Some(exact)) => exact.into(),
            _ => number.as_f64().and_then(whole).ok_or(WRONG)?,
        },
        Value::String(text) => {
            let text = text.trim();
            text.parse::<i128>()
                .ok()
                .or_else(|| whole(text.parse().ok()?))
                .ok_or(WRONG)?
        }
        Value::Null | Value::Array(_) | Value::Object(_) => return Err(WRONG),
    };
    T::try_from(exact).map_err(|_| "is out of range for its type")
}

/// A double that is an integer, where doubles still tell integers apart.
fn whole(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

fn boolean(cell: &Value) -> Result<bool, &'static str> {
    match cell {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => match integer::<u8>(other) {
            Ok(0) => Ok(false),
            Ok(1) => Ok(true),
            _ => Err("is neither true nor false"),
        },
    }
}

fn text(cell: &Value) -> Result<String, &'static str> {
    match cell {
        Value::String(text) => Ok(text.clone()),
        _ => Err("is not a string"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_become_elements_or_say_why_not() {
        for (cell, expected) in [
            (json!(1.5), Ok(1.5)),
            (json!(" 2e3 "), Ok(2000.0)),
            (json!(true), Ok(1.0)),
            (json!("x"), Err("is not a number")),
            (json!("NaN"), Err("is not a number")),
            (json!("inf"), Err("is too large for its type")),
            (json!(1e39), Err("is too large for its type")),
            (json!([1]), Err("is not a number")),
        ] {
            assert_eq!(float(&cell, f32::MAX.into()), expected, "{cell}");
        }
        assert!(float(&Value::Null, 1.0).unwrap().is_nan() && float(&json!(""), 1.0).unwrap().is_nan());
        for (cell, expected) in [
            (json!(7), Ok(7)),
            (json!(7.0), Ok(7)),
            (json!("-7"), Ok(-7)),
            (json!("7.0"), Ok(7)),
            (json!(7.5), Err("is not an integer")),
            (json!(200), Err("is out of range for its type")),
            (Value::Null, Err("is not an integer")),
        ] {
            assert_eq!(integer::<i8>(&cell), expected, "{cell}");
        }
        assert_eq!(boolean(&json!("True")), Ok(true));
        assert_eq!(boolean(&json!(0)), Ok(false));
        assert!(boolean(&json!(2)).is_err());
        assert!(text(&json!(2)).is_err());
    }

    #[test]
    fn missing_and_unknown_columns_are_named_in_every_row() {
        let column = |name| Column {
            name,
            data_type: DataType::Fp32,
            rank: 2,
        };
        let columns = Columns {
            columns: vec![column("a"), column("b")],
            together: true,
            one_row: false,
        };
        let row = |value: Value| value.as_object().unwrap().clone();
        let rows = [row(json!({ "a": 1, "b": 2 })), row(json!({ "a": 3, "c": 4 }))];
        let failure = columns.tensors(&rows, &|index| vec![json!(index)]).err().unwrap();
        let said: Vec<_> = failure
            .fields
            .iter()
            .map(|field| (field.at.clone(), field.wrong.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                (vec![json!(1), json!("b")], "column b is missing"),
                (vec![json!(1), json!("c")], "there is no column c")
            ]
        );
        let good = columns
            .tensors(&[rows[0].clone(), rows[0].clone()], &|_| vec![])
            .ok()
            .unwrap();
        assert!(good == [Tensor::new(vec![2, 2], Data::Fp32(vec![1.0, 2.0, 1.0, 2.0])).unwrap()]);
    }
}
