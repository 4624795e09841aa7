//! Tensors as they pass between a dialect and the engine.
//!
//! Apart from `ort.rs`, so that a dialect can build and read tensors without naming the runtime. The rule a newcomer
//! would break: none of these types prints what it holds; tensors belong to the caller and never reach a log.

use half::{bf16, f16};

/// The element types of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DataType {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
    Bf16,
}

impl DataType {
    /// Every type, in the order of the protocol's own table.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
        Self::Bf16,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
            Self::Bf16 => "BF16",
        }
    }

    /// The type of that name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.name() == name)
    }
}

/// The elements of a tensor, row by row.
#[derive(Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    Bool(Vec<bool>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp16(Vec<f16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    Bytes(Vec<String>),
    Bf16(Vec<bf16>),
}

/// Runs the same expression over the vector inside a [`Data`], whatever its type.
macro_rules! each_data {
    ($data:expr, $elements:ident => $result:expr) => {
        match $data {
            $crate::engine::tensor::Data::Bool($elements) => $result,
            $crate::engine::tensor::Data::Uint8($elements) => $result,
            $crate::engine::tensor::Data::Uint16($elements) => $result,
            $crate::engine::tensor::Data::Uint32($elements) => $result,
            $crate::engine::tensor::Data::Uint64($elements) => $result,
            $crate::engine::tensor::Data::Int8($elements) => $result,
            $crate::engine::tensor::Data::Int16($elements) => $result,
            $crate::engine::tensor::Data::Int32($elements) => $result,
            $crate::engine::tensor::Data::Int64($elements) => $result,
            $crate::engine::tensor::Data::Fp16($elements) => $result,
            $crate::engine::tensor::Data::Fp32($elements) => $result,
            $crate::engine::tensor::Data::Fp64($elements) => $result,
            $crate::engine::tensor::Data::Bytes($elements) => $result,
            $crate::engine::tensor::Data::Bf16($elements) => $result,
        }
    };
}

/// The same type of elements, of what the expression makes of the vector inside a [`Data`].
macro_rules! map_data {
    ($data:expr, $elements:ident => $result:expr) => {
        match $data {
            $crate::engine::tensor::Data::Bool($elements) => $crate::engine::tensor::Data::Bool($result),
            $crate::engine::tensor::Data::Uint8($elements) => $crate::engine::tensor::Data::Uint8($result),
            $crate::engine::tensor::Data::Uint16($elements) => $crate::engine::tensor::Data::Uint16($result),
            $crate::engine::tensor::Data::Uint32($elements) => $crate::engine::tensor::Data::Uint32($result),
            $crate::engine::tensor::Data::Uint64($elements) => $crate::engine::tensor::Data::Uint64($result),
            $crate::engine::tensor::Data::Int8($elements) => $crate::engine::tensor::Data::Int8($result),
            $crate::engine::tensor::Data::Int16($elements) => $crate::engine::tensor::Data::Int16($result),
            $crate::engine::tensor::Data::Int32($elements) => $crate::engine::tensor::Data::Int32($result),
            $crate::engine::tensor::Data::Int64($elements) => $crate::engine::tensor::Data::Int64($result),
            $crate::engine::tensor::Data::Fp16($elements) => $crate::engine::tensor::Data::Fp16($result),
            $crate::engine::tensor::Data::Fp32($elements) => $crate::engine::tensor::Data::Fp32($result),
            $crate::engine::tensor::Data::Fp64($elements) => $crate::engine::tensor::Data::Fp64($result),
            $crate::engine::tensor::Data::Bytes($elements) => $crate::engine::tensor::Data::Bytes($result),
            $crate::engine::tensor::Data::Bf16($elements) => $crate::engine::tensor::Data::Bf16($result),
        }
    };
}
pub(super) use map_data;

impl Data {
    /// How many elements.
    pub fn len(&self) -> usize {
        each_data!(self, elements => elements.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of its elements.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Bool(_) => DataType::Bool,
            Self::Uint8(_) => DataType::Uint8,
            Self::Uint16(_) => DataType::Uint16,
            Self::Uint32(_) => DataType::Uint32,
            Self::Uint64(_) => DataType::Uint64,
            Self::Int8(_) => DataType::Int8,
            Self::Int16(_) => DataType::Int16,
            Self::Int32(_) => DataType::Int32,
            Self::Int64(_) => DataType::Int64,
            Self::Fp16(_) => DataType::Fp16,
            Self::Fp32(_) => DataType::Fp32,
            Self::Fp64(_) => DataType::Fp64,
            Self::Bytes(_) => DataType::Bytes,
            Self::Bf16(_) => DataType::Bf16,
        }
    }
}

/// A shape and its elements: as many as the shape says.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<i64>,
    data: Data,
}

impl Tensor {
    /// `None` unless the shape holds exactly the elements of the data.
    pub fn new(shape: Vec<i64>, data: Data) -> Option<Self> {
        (element_count(&shape)? == data.len()).then_some(Self { shape, data })
    }

    /// Its dimensions, none negative.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Its elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// How much there is to read: its elements, and of texts their bytes as well.
    pub fn size(&self) -> usize {
        match &self.data {
            Data::Bytes(texts) => texts.iter().map(|text| text.len() + 1).sum(),
            data => data.len(),
        }
    }
}

/// How many elements a shape holds; `None` for a negative dimension or more than can be counted.
pub fn element_count(shape: &[i64]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(usize::try_from(size).ok()?))
}

/// A class, as a ZipMap names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// A class known by number.
    Number(i64),
    /// A class known by name.
    Text(String),
}

impl Label {
    /// As a value of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }

    /// As the name of a field.
    pub fn name(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// One row of a ZipMap: each class with its probability.
pub type ClassRow = Vec<(Label, f32)>;

/// What a model gave for one of its outputs.
#[derive(Clone, PartialEq)]
pub enum Output {
    /// A tensor.
    Tensor(Tensor),
    /// A sequence of maps, one per row: what scikit-learn's ZipMap gives.
    Maps(Vec<ClassRow>),
}

/// What an input or an output of a model may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A tensor; −1 is a dimension of any size.
    Tensor {
        /// The type of its elements.
        data_type: DataType,
        /// Its dimensions.
        shape: Vec<i64>,
    },
    /// A sequence of maps from a class to its probability. Only an output can be one.
    Maps,
}

/// An input or an output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// What it holds.
    pub kind: PortKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_types_are_their_own_inverse() {
        for data_type in DataType::ALL {
            assert_eq!(DataType::parse(data_type.name()), Some(data_type));
        }
        assert_eq!(DataType::parse("fp32"), None);
    }

    #[test]
    fn a_shape_counts_its_elements_or_refuses() {
        for (shape, expected) in [
            (vec![], Some(1)),
            (vec![2, 3], Some(6)),
            (vec![0, 5], Some(0)),
            (vec![-1, 5], None),
            (vec![i64::MAX, i64::MAX], None),
        ] {
            assert_eq!(element_count(&shape), expected, "{shape:?}");
        }
        assert!(Tensor::new(vec![2], Data::Bool(vec![true])).is_none());
    }
}
