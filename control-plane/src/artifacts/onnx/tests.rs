use super::super::section::Section;
use super::super::testing;
use super::write::*;
use super::*;
use crate::domain::package::Datatype;
use proptest::prelude::*;

fn read_bytes(bytes: &[u8]) -> Result<Header, String> {
    let section: Section = testing::section(bytes);
    read(&section).map_err(|error| match error {
        Unreadable::Bad(reason) => reason,
        Unreadable::Io(error) => panic!("{error}"),
    })
}

fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    }
}

#[test]
fn reads_what_a_model_takes_and_gives() {
    let header = read_bytes(&classifier(4)).unwrap();
    assert_eq!(header.inputs, [spec("X", Datatype::Fp32, &[-1, 4])]);
    assert_eq!(
        header.outputs,
        [
            spec("label", Datatype::Int64, &[-1]),
            spec("probabilities", Datatype::Fp32, &[-1, 3])
        ]
    );
    assert_eq!((header.opset, header.producer.as_str()), (21, "castoff 1.0"));
    assert_eq!(header.metadata.get("author").map(String::as_str), Some("dana"));
    let header = read_bytes(&by_columns()).unwrap();
    assert_eq!(header.outputs[1], spec("probabilities", Datatype::SequenceOfMap, &[-1]));
    assert_eq!(header.inputs[1], spec("town", Datatype::Bytes, &[-1, 1]));
}

#[test]
fn dimensions_without_a_size_are_variable() {
    let model = model(&[input("x", 11, &[-2, 3, -1]), output("y", 9, &[])]);
    let header = read_bytes(&model).unwrap();
    assert_eq!(header.inputs, [spec("x", Datatype::Fp64, &[-1, 3, -1])]);
    assert_eq!(header.outputs, [spec("y", Datatype::Bool, &[])]);
}

/// The operator set comes last in these models, so whatever is cut off is missed.
#[test]
fn a_model_cut_anywhere_is_refused_with_a_reason() {
    for whole in [classifier(4), by_columns()] {
        let last = block(8, &number(2, 21)).len();
        for end in 0..whole.len() {
            match read_bytes(&whole[..end]) {
                Err(reason) => assert!(reason.len() > 10, "{end}: {reason}"),
                // Only the second operator set is missing.
                Ok(_) => assert_eq!(end, whole.len() - last),
            }
        }
    }
}

#[test]
fn external_data_is_refused_wherever_it_hides() {
    let weights = external("w", "../../secret.bin");
    let graph = block(5, &weights);
    let mut deep = graph.clone();
    for _ in 0..5 {
        deep = node("If", "", &block(6, &deep));
    }
    let ends = [input("x", 1, &[-1]), output("y", 1, &[-1])].concat();
    let function = [number(1, 10), block(7, &ends), block(8, &number(2, 21)), {
        let mut field = block(
            15,
            &[
                block(10, b"mine"),
                block(7, &node("Constant", "", &block(5, &weights))[2..]),
            ]
            .concat(),
        );
        field.splice(0..1, [0xca, 0x01]);
        field
    }]
    .concat();
    for model in [
        model(&[graph, ends.clone()]),
        model(&[deep, ends.clone()]),
        model(&[node("Constant", "", &block(5, &weights)), ends.clone()]),
        model(&[node("Constant", "", &block(10, &weights)), ends.clone()]),
        model(&[block(15, &block(1, &weights)), ends.clone()]),
        function,
    ] {
        let reason = read_bytes(&model).unwrap_err();
        assert!(
            reason.starts_with("external data is not accepted: tensor w points to ../../secret.bin"),
            "{reason}"
        );
    }
}

#[test]
fn what_a_node_could_not_serve_is_refused() {
    let ends = [input("x", 1, &[-1]), output("y", 1, &[-1])].concat();
    let mut endless = Vec::new();
    for _ in 0..40 {
        endless = node("If", "", &block(6, &endless));
    }
    let mut types = tensor_type(1, &[]);
    for _ in 0..20 {
        types = block(4, &block(1, &types));
    }
    for (model, expected) in [
        (
            model(&[node("Mine", "my.ops", &[]), ends.clone()]),
            "operators of domain my.ops (Mine) need a custom library",
        ),
        (model(&[endless, ends.clone()]), "more than 16 deep"),
        (
            model(&[block(11, &value("x", &types)), output("y", 1, &[-1])]),
            "types within types",
        ),
        (
            model(&[block(11, &value("x", &zip_map(7))), output("y", 1, &[-1])]),
            "input x is a sequence",
        ),
        (
            model(&[input("x", 1, &[-1]), block(12, &value("y", &block(9, &[])))]),
            "output y is an optional",
        ),
        (
            model(&[input("x", 14, &[-1]), output("y", 1, &[-1])]),
            "input x has complex numbers",
        ),
        (
            model(&[input("x", 99, &[-1]), output("y", 1, &[-1])]),
            "input x has an unknown data type",
        ),
        (model(&[input("", 1, &[-1]), output("y", 1, &[-1])]), "must have a name"),
        (
            model(&[input("x", 1, &[-1]), input("x", 1, &[-1]), output("y", 1, &[-1])]),
            "two inputs named x",
        ),
        (model(&[output("y", 1, &[-1])]), "has no input"),
        (model(&[input("x", 1, &[-1])]), "has no output"),
        (
            model(&[input("x", 1, &[1; 40]), output("y", 1, &[-1])]),
            "more than 32 dimensions",
        ),
        (model(&vec![ends; 2_000]), "more than 1024 inputs"),
        (b"\x0a\x03abc".to_vec(), "is not an ONNX model"),
        (b"\x08\x0a".to_vec(), "it has no graph"),
        (b"\x0b".to_vec(), "unknown type"),
        (vec![0x80; 20], "more than ten bytes"),
        (vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f], "is truncated or damaged"),
        (Vec::new(), "is not an ONNX model"),
    ] {
        let reason = read_bytes(&model).unwrap_err();
        assert!(reason.contains(expected), "{reason} / {expected}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_bytes(&bytes);
    }

    #[test]
    fn any_damage_is_answered(at in 0usize..200, byte in any::<u8>()) {
        let mut model = by_columns();
        let at = at % model.len();
        model[at] = byte;
        let _ = read_bytes(&model);
    }
}
