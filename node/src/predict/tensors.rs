//! The `data` of a JSON tensor, straight into the buffer that the model gets.
//!
//! Apart from the rest of a request, which is small and goes through serde: an array of 150,000 numbers takes half the
//! time without a value per number in between. The rule a newcomer would break: this reads what serde has already found
//! to be JSON, so it is lenient about commas; it must still stand any bytes, and count before it believes a shape.

use crate::engine::tensor::element_count;
use crate::engine::{Data, DataType};

/// What is wrong with the data, and at which element, counted in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The element; `None` when it is the array as a whole.
    pub element: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.element {
            Some(element) => write!(f, "element {element} {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// More dimensions than this no model has.
const MOST_DIMENSIONS: usize = 32;

/// Reads an array of elements, flat or nested as the shape says.
///
/// # Errors
/// [`Bad`] names the first element that is wrong.
pub fn parse(json: &[u8], data_type: DataType, shape: &[i64]) -> Result<Data, Bad> {
    Ok(match data_type {
        DataType::Bool => Data::Bool(elements(json, shape, boolean)?),
        DataType::Uint8 => Data::Uint8(elements(json, shape, integer)?),
        DataType::Uint16 => Data::Uint16(elements(json, shape, integer)?),
        DataType::Uint32 => Data::Uint32(elements(json, shape, integer)?),
        DataType::Uint64 => Data::Uint64(elements(json, shape, integer)?),
        DataType::Int8 => Data::Int8(elements(json, shape, integer)?),
        DataType::Int16 => Data::Int16(elements(json, shape, integer)?),
        DataType::Int32 => Data::Int32(elements(json, shape, integer)?),
        DataType::Int64 => Data::Int64(elements(json, shape, integer)?),
        DataType::Fp32 => Data::Fp32(elements(json, shape, |cursor| float(cursor, f32::is_finite))?),
        DataType::Fp64 => Data::Fp64(elements(json, shape, |cursor| float(cursor, f64::is_finite))?),
        DataType::Bytes => Data::Bytes(elements(json, shape, text)?),
        DataType::Fp16 | DataType::Bf16 => {
            return Err(whole(format!(
                "{} travels only as binary, not as JSON",
                data_type.name()
            )));
        }
    })
}

/// The shape of a nested array, from the first element of each level; a bare value has none.
pub fn shape_of(json: &[u8]) -> Result<Vec<i64>, Bad> {
    let mut shape = Vec::new();
    let mut cursor = Cursor { rest: json };
    while cursor.peek() == Some(b'[') {
        if shape.len() == MOST_DIMENSIONS {
            return Err(whole(format!("more than {MOST_DIMENSIONS} dimensions")));
        }
        shape.push(count(cursor.rest));
        cursor.skip(1);
    }
    Ok(shape)
}

/// Whether a model that takes this shape takes that one. One that does not say its rank shows no dimensions; the runtime
/// judges then.
pub fn fits(takes: &[i64], given: &[i64]) -> bool {
    let pairs = || takes.iter().zip(given);
    takes.is_empty() || takes.len() == given.len() && pairs().all(|(own, it)| *own < 0 || own == it)
}

fn whole(reason: String) -> Bad {
    Bad { element: None, reason }
}

/// How many items the array has that the text starts with.
fn count(json: &[u8]) -> i64 {
    let (mut depth, mut commas, mut any) = (0usize, 0i64, false);
    let (mut in_text, mut escaped) = (false, false);
    for &byte in json {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'[' | b'{' => {
                any |= depth == 1;
                depth += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            b',' => commas += i64::from(depth == 1),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => {
                any = true;
                in_text = byte == b'"';
            }
        }
    }
    if any { commas + 1 } else { 0 }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The next byte that is neither space nor comma.
    fn peek(&mut self) -> Option<u8> {
        let start = self
            .rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b','));
        self.rest = start.and_then(|start| self.rest.get(start..)).unwrap_or_default();
        self.rest.first().copied()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// The next `bytes` bytes, taken.
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let taken = self.rest.get(..bytes).unwrap_or(self.rest);
        self.skip(bytes);
        taken
    }
}

fn elements<T>(
    json: &[u8],
    shape: &[i64],
    mut read: impl FnMut(&mut Cursor<'_>) -> Result<T, &'static str>,
) -> Result<Vec<T>, Bad> {
    let expected = element_count(shape).ok_or_else(|| whole("the shape has a negative or absurd dimension".into()))?;
    // An element takes two bytes at least, so a shape cannot make us reserve more than it sent.
    let mut values = Vec::with_capacity(expected.min(json.len() / 2 + 1));
    let mut cursor = Cursor { rest: json };
    // Items seen so far in each array that is open.
    let mut open: Vec<i64> = Vec::with_capacity(shape.len() + 1);
    let mut leaves_at = None;
    loop {
        match cursor.peek() {
            Some(b'[') => {
                if open.len() >= shape.len().max(1) {
                    return Err(whole("it is nested more deeply than the shape".into()));
                }
                if let Some(items) = open.last_mut() {
                    *items += 1;
                }
                open.push(0);
                cursor.skip(1);
            }
            Some(b']') => {
                cursor.skip(1);
                let items = open.pop().ok_or_else(|| whole("it is not an array".into()))?;
                let flat = leaves_at == Some(1) || (open.is_empty() && leaves_at.is_none());
                if !flat && shape.get(open.len()) != Some(&items) {
                    return Err(whole(format!("an array at depth {} has {items} items", open.len() + 1)));
                }
                if open.is_empty() {
                    break;
                }
            }
            None => return Err(whole("it is not an array".into())),
            Some(_) => {
                let depth = open.len();
                let Some(items) = open.last_mut() else {
                    return Err(whole("it is not an array".into()));
                };
                *items += 1;
                if *leaves_at.get_or_insert(depth) != depth || (depth != 1 && depth != shape.len()) {
                    return Err(whole("it is neither flat nor nested as the shape".into()));
                }
                if values.len() == expected {
                    return Err(whole(format!("the shape holds {expected} elements, the data has more")));
                }
                let value = read(&mut cursor).map_err(|reason| Bad {
                    element: Some(values.len()),
                    reason: reason.to_owned(),
                })?;
                values.push(value);
            }
        }
    }
    if values.len() != expected {
        return Err(whole(format!(
            "the shape holds {expected} elements, the data has {}",
            values.len()
        )));
    }
    Ok(values)
}

fn is_number_start(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')
}

fn float<T: fast_float2::FastFloat>(cursor: &mut Cursor<'_>, is_finite: fn(T) -> bool) -> Result<T, &'static str> {
    if !is_number_start(cursor.rest.first()) {
        return Err("is not a number");
    }
    let (number, length) = fast_float2::parse_partial::<T, _>(cursor.rest).map_err(|_| "is not a number")?;
    if !is_finite(number) {
        return Err("is too large for its type, and infinities are refused");
    }
    cursor.skip(length);
    Ok(number)
}

fn integer<T: TryFrom<i128>>(cursor: &mut Cursor<'_>) -> Result<T, &'static str> {
    if !is_number_start(cursor.rest.first()) {
        return Err("is not an integer");
    }
    let length = cursor
        .rest
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        .unwrap_or(cursor.rest.len());
    let token = std::str::from_utf8(cursor.take(length)).map_err(|_| "is not an integer")?;
    let exact = match token.parse::<i128>() {
        Ok(number) => number,
        Err(_) => from_fraction(token)?,
    };
    T::try_from(exact).map_err(|_| "is out of range for its type")
}

/// `3.0` and `3e2` are integers, too, as long as a double holds them exactly.
fn from_fraction(token: &str) -> Result<i128, &'static str> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number: f64 = fast_float2::parse(token).map_err(|_| "is not an integer")?;
    if number.fract() != 0.0 || !number.is_finite() {
        return Err("is not an integer");
    }
    if number.abs() > EXACT {
        return Err("is out of range for its type");
    }
    Ok(number as i128)
}

fn boolean(cursor: &mut Cursor<'_>) -> Result<bool, &'static str> {
    for (word, value) in [(&b"true"[..], true), (b"false", false)] {
        if cursor.rest.starts_with(word) {
            cursor.skip(word.len());
            return Ok(value);
        }
    }
    match integer::<u8>(cursor) {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        _ => Err("is neither true nor false"),
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, &'static str> {
    if cursor.rest.first() != Some(&b'"') {
        return Err("is not a string");
    }
    let mut escaped = false;
    let end = cursor.rest.iter().skip(1).position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let token = cursor.take(end.ok_or("is not a string")? + 2);
    serde_json::from_slice(token).map_err(|_| "is not a string")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bad(json: &str, data_type: DataType, shape: &[i64]) -> String {
        parse(json.as_bytes(), data_type, shape)
            .err()
            .map(|bad| bad.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn flat_and_nested_are_the_same() {
        let flat = parse(b"[1, 2.5,-3e0,4,5,6]", DataType::Fp32, &[2, 3]).ok();
        let nested = parse(b"[[1,2.5,-3],\n [4,5,6]]", DataType::Fp32, &[2, 3]).ok();
        assert!(flat == nested && flat == Some(Data::Fp32(vec![1.0, 2.5, -3.0, 4.0, 5.0, 6.0])));
        assert!(parse(b"[]", DataType::Fp32, &[0, 3]) == Ok(Data::Fp32(vec![])));
        assert!(parse(b"[[],[]]", DataType::Fp32, &[2, 0]) == Ok(Data::Fp32(vec![])));
        assert!(parse(b"[7]", DataType::Int64, &[]) == Ok(Data::Int64(vec![7])));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (json, data_type, shape, said) in [
            (
                "[1,2]",
                DataType::Fp32,
                &[3][..],
                "the shape holds 3 elements, the data has 2",
            ),
            (
                "[1,2,3,4]",
                DataType::Fp32,
                &[3],
                "the shape holds 3 elements, the data has more",
            ),
            ("[1,null]", DataType::Fp32, &[2], "element 1 is not a number"),
            (
                "[1e39]",
                DataType::Fp32,
                &[1],
                "element 0 is too large for its type, and infinities are refused",
            ),
            ("[256]", DataType::Uint8, &[1], "element 0 is out of range for its type"),
            ("[1.5]", DataType::Int64, &[1], "element 0 is not an integer"),
            (
                "[1e99]",
                DataType::Int64,
                &[1],
                "element 0 is out of range for its type",
            ),
            ("[\"a\"]", DataType::Int64, &[1], "element 0 is not an integer"),
            ("[2]", DataType::Bool, &[1], "element 0 is neither true nor false"),
            ("[1]", DataType::Bytes, &[1], "element 0 is not a string"),
            (
                "[[[1]]]",
                DataType::Fp32,
                &[1, 1],
                "it is nested more deeply than the shape",
            ),
            (
                "[[1,2],[3]]",
                DataType::Fp32,
                &[2, 2],
                "an array at depth 2 has 1 items",
            ),
            (
                "[[1,2],3]",
                DataType::Fp32,
                &[2, 2],
                "it is neither flat nor nested as the shape",
            ),
            ("[[1,2]]", DataType::Fp32, &[2, 1], "an array at depth 2 has 2 items"),
            ("5", DataType::Fp32, &[1], "it is not an array"),
            ("{}", DataType::Fp32, &[1], "it is not an array"),
            (
                "[1]",
                DataType::Fp32,
                &[-1],
                "the shape has a negative or absurd dimension",
            ),
            ("[1]", DataType::Fp16, &[1], "FP16 travels only as binary, not as JSON"),
        ] {
            assert_eq!(bad(json, data_type, shape), said, "{json}");
        }
    }

    #[test]
    fn integers_and_strings_are_exact() {
        let largest = format!("[{},0,3.0,2e1]", u64::MAX);
        assert!(parse(largest.as_bytes(), DataType::Uint64, &[4]) == Ok(Data::Uint64(vec![u64::MAX, 0, 3, 20])));
        let texts = r#"["a\"]","\\","é",""]"#;
        let expected: Vec<String> = serde_json::from_str(texts).unwrap();
        assert!(parse(texts.as_bytes(), DataType::Bytes, &[4]) == Ok(Data::Bytes(expected)));
        assert!(parse(b"[true,false,1,0]", DataType::Bool, &[4]) == Ok(Data::Bool(vec![true, false, true, false])));
    }

    #[test]
    fn a_shape_is_read_from_a_nested_array() {
        for (json, shape) in [
            ("[[1,2,3],[4,5,6]]", vec![2, 3]),
            ("[]", vec![0]),
            ("[[]]", vec![1, 0]),
            (r#"["a,b","]"]"#, vec![2]),
            ("3", vec![]),
        ] {
            assert_eq!(shape_of(json.as_bytes()).unwrap(), shape, "{json}");
        }
        assert!(shape_of("[".repeat(100).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_serde_reads_them(numbers in proptest::collection::vec(proptest::num::f64::NORMAL, 0..40)) {
            let json = serde_json::to_vec(&numbers).unwrap();
            let shape = [numbers.len() as i64];
            prop_assert!(parse(&json, DataType::Fp64, &shape) == Ok(Data::Fp64(numbers)));
        }

        #[test]
        fn integers_are_read_as_serde_reads_them(numbers in proptest::collection::vec(any::<i64>(), 0..40)) {
            let json = serde_json::to_vec(&numbers).unwrap();
            let shape = [numbers.len() as i64];
            prop_assert!(parse(&json, DataType::Int64, &shape) == Ok(Data::Int64(numbers)));
        }

        #[test]
        fn strings_are_read_as_serde_reads_them(texts in proptest::collection::vec(any::<String>(), 0..20)) {
            let json = serde_json::to_vec(&texts).unwrap();
            prop_assert_eq!(shape_of(&json).unwrap(), vec![texts.len() as i64]);
            let shape = [texts.len() as i64];
            prop_assert!(parse(&json, DataType::Bytes, &shape) == Ok(Data::Bytes(texts)));
        }

        #[test]
        fn any_bytes_are_stood(bytes in proptest::collection::vec(any::<u8>(), 0..200), rank in 0usize..4) {
            let shape = vec![2; rank];
            for data_type in DataType::ALL {
                let _ = parse(&bytes, data_type, &shape);
            }
            let _ = shape_of(&bytes);
        }

        #[test]
        fn any_brackets_are_stood(text in r#"[\[\]{}",\\ 0-9.e-]{0,80}"#) {
            let _ = parse(text.as_bytes(), DataType::Fp32, &[2, 2]);
            let _ = parse(text.as_bytes(), DataType::Bytes, &[2, 2]);
            let _ = shape_of(text.as_bytes());
        }
    }
}
