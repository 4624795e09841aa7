//! What a package holds, as the control plane read it at upload.
//!
//! Stored as JSON beside its version and shown over REST, so a field may be added but never renamed. The rule a newcomer
//! would break: a manifest says what the files' headers said; nothing in it comes from running a model.

use super::{EndpointName, Invalid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// SHA-256 of some bytes, written `sha256:<64 hexadecimal digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// From the 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without `sha256:`.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let reason = "must be sha256: and 64 lower-case hexadecimal digits";
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let mut bytes = [0; 32];
        // One digest has one spelling, so that it can be compared as text.
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) || hex::decode_to_slice(digits, &mut bytes).is_err() {
            return Err(Invalid::new("", reason));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// What a package serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// The highest version of the standard ONNX operators that a model of it asks for; 0 when none asks for any.
    pub opset: i64,
    /// What can be called, by name; at least one.
    pub endpoints: Vec<Endpoint>,
}

impl Manifest {
    /// An endpoint by its name.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name.as_str() == name)
    }

    /// Everything that a node fetches to serve it, each digest once.
    pub fn files(&self) -> impl Iterator<Item = &PackageFile> {
        let mut seen = HashSet::new();
        let all = self.endpoints.iter().flat_map(Endpoint::files);
        all.filter(move |file| seen.insert(file.digest))
    }
}

/// One callable model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its name in paths.
    #[schema(value_type = String)]
    pub name: EndpointName,
    /// How it is called.
    pub kind: EndpointKind,
    /// The model.
    pub file: PackageFile,
    /// What a node asks the model before it takes calls, and what must be answered; null: nothing.
    #[serde(default)]
    pub test_queries: Option<PackageFile>,
    /// What the model takes, initializers left out.
    pub inputs: Vec<TensorSpec>,
    /// What the model gives.
    pub outputs: Vec<TensorSpec>,
    /// Names of the columns of a records endpoint whose model takes one tensor, in the tensor's order. Empty: each input
    /// is a column.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Names of the classes, in the order of a probability tensor. Empty: the model's own.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Rows that one run of the model may have when a node answers calls together; 1: each call alone.
    #[serde(default = "one")]
    pub max_batch_size: u32,
    /// The version of the standard ONNX operators that the model asks for; 0 when it asks for none.
    pub opset: i64,
    /// What wrote the model, such as `skl2onnx 1.19`; may be empty.
    #[serde(default)]
    pub producer: String,
    /// The model's own metadata. What is long is left out.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl Endpoint {
    /// What a node fetches to serve it.
    pub fn files(&self) -> impl Iterator<Item = &PackageFile> {
        std::iter::once(&self.file).chain(&self.test_queries)
    }
}

/// What a package means that says nothing of batches.
fn one() -> u32 {
    1
}

/// How an endpoint is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndpointKind {
    /// With tensors.
    Tensor,
    /// With records of named columns, and with tensors, too.
    Records,
}

impl fmt::Display for EndpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensor => "tensor",
            Self::Records => "records",
        })
    }
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageFile {
    /// Where it lay in the package; never a path on a disk.
    pub path: String,
    /// SHA-256 of its bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TensorSpec {
    /// Its name in the model.
    pub name: String,
    /// What it is made of.
    pub datatype: Datatype,
    /// Dimensions; -1 is variable. Empty: a single value, or a rank that the model does not state.
    pub shape: Vec<i64>,
}

/// Data types in the words of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Datatype {
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
    Bf16,
    Fp32,
    Fp64,
    Bytes,
    /// A classifier's probabilities by class, one map per row (ZipMap). Outputs only; not a word of the protocol.
    #[serde(rename = "SEQUENCE_OF_MAP")]
    SequenceOfMap,
}

impl Datatype {
    /// The protocol's word.
    pub fn as_str(self) -> &'static str {
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
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
            Self::SequenceOfMap => "SEQUENCE_OF_MAP",
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_one_spelling() {
        let digest = Digest::new([0xab; 32]);
        let text = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        for wrong in [
            "",
            "sha256:",
            &text[..70],
            &text.to_uppercase(),
            &text.replace("ab", "AB"),
            &text[7..],
            "md5:ab",
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{text}\""));
    }

    #[test]
    fn words_of_the_protocol_are_what_json_shows() {
        for datatype in [
            Datatype::Bool,
            Datatype::Fp32,
            Datatype::Bf16,
            Datatype::Int64,
            Datatype::SequenceOfMap,
        ] {
            assert_eq!(serde_json::to_value(datatype).unwrap(), datatype.as_str());
        }
        assert_eq!(serde_json::to_value(EndpointKind::Records).unwrap(), "records");
    }
}
