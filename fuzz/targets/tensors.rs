//! The data of a JSON tensor. The first byte says the type, the second the rank, then a byte for each dimension; the rest
//! is the text. A flat array is held against serde_json's and the standard library's reading of it.

#![no_main]

use castoff_node::engine::tensor::element_count;
use castoff_node::engine::{Data, DataType};
use castoff_node::predict::tensors;
use serde_json::value::RawValue;

const MOST_RANK: usize = 5;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [kind, rank, rest @ ..] = bytes else { return };
    let data_type = DataType::ALL[usize::from(*kind) % DataType::ALL.len()];
    let Some((sizes, json)) = rest.split_at_checked(usize::from(*rank) % MOST_RANK) else {
        return;
    };
    let shape: Vec<i64> = sizes.iter().map(|size| i64::from(size.cast_signed())).collect();
    if let Ok(data) = tensors::parse(json, data_type, &shape) {
        assert_eq!(data.data_type(), data_type);
        assert_eq!(Some(data.len()), element_count(&shape));
    }
    if let Ok(shape) = tensors::shape_of(json) {
        assert!(shape.iter().all(|size| *size >= 0 && *size <= json.len() as i64));
    }
    if let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(json) {
        if elements.iter().any(|element| element.get().starts_with(['[', '{'])) {
            return;
        }
        let flat = tensors::parse(json, data_type, &[elements.len() as i64]);
        if let Some(expected) = read(data_type, &elements) {
            assert!(
                flat.as_ref().ok() == expected.as_ref(),
                "{data_type:?}: {:?}",
                flat.err().map(|bad| bad.to_string())
            );
        }
    }
});

/// The elements as the standard library reads them: `Some(None)` when one is wrong, nothing where we read more than it.
fn read(data_type: DataType, elements: &[&RawValue]) -> Option<Option<Data>> {
    fn all<T>(elements: &[&RawValue], one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        elements.iter().map(|element| one(element.get())).collect()
    }
    fn integers<T: TryFrom<i128>>(elements: &[&RawValue]) -> Option<Vec<T>> {
        all(elements, |text| T::try_from(text.parse::<i128>().ok()?).ok())
    }
    let is_number = |text: &str| text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let plain = |text: &str| !is_number(text) || !text.contains(['.', 'e', 'E']);
    let integral = !matches!(data_type, DataType::Fp32 | DataType::Fp64 | DataType::Bytes);
    if integral && !elements.iter().all(|element| plain(element.get())) {
        return None;
    }
    Some(match data_type {
        DataType::Bool => all(elements, |text| match text {
            "true" => Some(true),
            "false" => Some(false),
            text if is_number(text) => match text.parse::<i128>() {
                Ok(0) => Some(false),
                Ok(1) => Some(true),
                _ => None,
            },
            _ => None,
        })
        .map(Data::Bool),
        DataType::Uint8 => integers(elements).map(Data::Uint8),
        DataType::Uint16 => integers(elements).map(Data::Uint16),
        DataType::Uint32 => integers(elements).map(Data::Uint32),
        DataType::Uint64 => integers(elements).map(Data::Uint64),
        DataType::Int8 => integers(elements).map(Data::Int8),
        DataType::Int16 => integers(elements).map(Data::Int16),
        DataType::Int32 => integers(elements).map(Data::Int32),
        DataType::Int64 => integers(elements).map(Data::Int64),
        DataType::Fp32 => all(elements, |text| {
            let number = is_number(text).then(|| text.parse::<f32>().ok())??;
            number.is_finite().then_some(number)
        })
        .map(Data::Fp32),
        DataType::Fp64 => all(elements, |text| {
            let number = is_number(text).then(|| text.parse::<f64>().ok())??;
            number.is_finite().then_some(number)
        })
        .map(Data::Fp64),
        DataType::Bytes => all(elements, |text| serde_json::from_str(text).ok()).map(Data::Bytes),
        DataType::Fp16 | DataType::Bf16 => None,
    })
}
