use super::super::testing;
use super::*;
use crate::domain::EndpointName;
use crate::domain::package::{Digest, PackageFile};

fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    }
}

fn endpoint(kind: EndpointKind, columns: &[&str]) -> Endpoint {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Endpoint {
        name: EndpointName::parse("iris").unwrap(),
        kind,
        file: PackageFile {
            path: "iris.onnx".to_owned(),
            digest: Digest::new([1; 32]),
            size: 1,
        },
        test_queries: None,
        inputs: vec![spec("X", Datatype::Fp32, &[-1, 2])],
        outputs: vec![
            spec("label", Datatype::Int64, &[-1]),
            spec("half", Datatype::Fp16, &[-1, 2]),
        ],
        columns: words(columns),
        labels: words(&["setosa", "other"]),
        max_batch_size: 1,
        opset: 1,
        producer: String::new(),
        metadata: BTreeMap::new(),
    }
}

fn checked(file: &str, endpoint: &Endpoint) -> Result<(), String> {
    match check("q.json", &testing::section(file.as_bytes()), endpoint) {
        Ok(()) => Ok(()),
        Err(Refused::Invalid(invalid)) => {
            assert_eq!(invalid.pointer, "/test_queries", "{file}");
            Err(invalid.reason)
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_fits_the_model_is_taken() {
    let (records, tensor) = (
        endpoint(EndpointKind::Records, &["a", "b"]),
        endpoint(EndpointKind::Tensor, &[]),
    );
    let tensors = r#"{"inputs": [{"name": "X", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4]]}],
        "expected": {"outputs": [{"name": "label", "data": [0, 1]}]}}"#;
    let record = r#"{"features": {"a": 1, "b": "2"}, "expected": {"probas": {"other": 0.1}}}"#;
    assert_eq!(checked(&format!("[{record}, {tensors}]"), &records), Ok(()));
    assert_eq!(checked(&format!("[{tensors}]"), &tensor), Ok(()));
    let unlabelled = Endpoint {
        labels: Vec::new(),
        ..records
    };
    assert_eq!(
        checked(&format!("[{}]", record.replace("other", "2")), &unlabelled),
        Ok(())
    );
}

#[test]
fn what_no_node_could_be_asked_is_refused_with_its_place() {
    let records = endpoint(EndpointKind::Records, &["a", "b"]);
    let input = |fields: &str| format!(r#"[{{"inputs": [{{"name": "X", {fields}}}]}}]"#);
    let answered = |output: &str| {
        format!(
            r#"[{{"inputs": [{{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}}], "expected": {{"outputs": [{output}]}}}}]"#
        )
    };
    for (file, reason) in [
        ("nonsense".to_owned(), "q.json: expected"),
        ("[]".to_owned(), "q.json: must have 1 to 64 queries"),
        (
            r#"[{"features": {"a": 1}}]"#.to_owned(),
            "q.json at /0/features: column b is missing",
        ),
        (
            r#"[{"features": {"a": 1, "b": 2, "c": 3}}]"#.to_owned(),
            "q.json at /0/features: there is no column c",
        ),
        (
            r#"[{"features": {"a": 1, "b": [2]}}]"#.to_owned(),
            "q.json at /0/features/b: must be one value",
        ),
        (
            r#"[{"features": {"a": 1, "b": 2}, "expected": {"probas": {"rose": 1}}}]"#.to_owned(),
            "q.json at /0/expected/probas: rose is not one of the labels",
        ),
        (
            r#"[{"inputs": []}]"#.to_owned(),
            "q.json at /0/inputs: input X is missing",
        ),
        (
            r#"[{"inputs": [{"name": "Y", "shape": [], "datatype": "FP32", "data": [1]}]}]"#.to_owned(),
            "q.json at /0/inputs/0/name: there is no input Y; there is X",
        ),
        (
            input(r#""shape": [1, 2], "datatype": "FP64", "data": [1, 2]"#),
            "/0/inputs/0/datatype: must be FP32",
        ),
        (
            input(r#""shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]"#),
            "/0/inputs/0/shape: does not fit [-1, 2]",
        ),
        (
            input(r#""shape": [-1, 2], "datatype": "FP32", "data": [1, 2]"#),
            "/0/inputs/0/data: must be the elements of the shape",
        ),
        (
            input(r#""shape": [1, 2], "datatype": "FP32", "data": [1]"#),
            "/0/inputs/0/data: has 1 elements, the shape has 2",
        ),
        (
            input(r#""shape": [1, 2], "datatype": "FP32", "data": [1, {}]"#),
            "/0/inputs/0/data: must be the elements",
        ),
        (
            input(r#""shape": [4611686018427387904, 2], "datatype": "FP32", "data": [1]"#),
            "/0/inputs/0/data: has 1 elements, the shape has 9223372036854775808",
        ),
        (
            answered(r#"{"name": "none", "data": [1]}"#),
            "/0/expected/outputs/0/name: there is no output none",
        ),
        (
            answered(r#"{"name": "half", "data": [1]}"#),
            "output half is FP16, which JSON cannot carry",
        ),
        (
            answered(r#"{"name": "label", "data": {}}"#),
            "/0/expected/outputs/0/data: must be an array",
        ),
        (
            answered(r#"{"name": "label", "data": [1]}, {"name": "label", "data": [1]}"#),
            "/0/expected/outputs/1/name: output label is given twice",
        ),
    ] {
        let said = checked(&file, &records).unwrap_err();
        assert!(said.contains(reason), "{file}: {said}");
    }
    let tensor = endpoint(EndpointKind::Tensor, &[]);
    let said = checked(r#"[{"features": {"a": 1}}]"#, &tensor).unwrap_err();
    assert!(said.contains("takes tensors, not records: give inputs"), "{said}");
    let large = " ".repeat(LARGEST as usize + 1);
    assert!(checked(&large, &tensor).unwrap_err().contains("bytes"));
}
