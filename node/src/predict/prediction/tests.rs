use super::*;
use crate::engine::DataType;
use serde_json::json;

fn port(name: &str, data_type: DataType, shape: &[i64]) -> Port {
    Port {
        name: name.to_owned(),
        kind: PortKind::Tensor {
            data_type,
            shape: shape.to_vec(),
        },
    }
}

fn named(labels: &[String]) -> Names<'_> {
    Names { labels, own: &[] }
}

fn maps(name: &str) -> Port {
    Port {
        name: name.to_owned(),
        kind: PortKind::Maps,
    }
}

fn tensor(shape: &[i64], data: Data) -> Output {
    Output::Tensor(Tensor::new(shape.to_vec(), data).unwrap())
}

#[test]
fn a_classifier_answers_with_its_own_labels() {
    let ports = [port("output_label", DataType::Int64, &[-1]), maps("output_probability")];
    let row = vec![(Label::Number(4), 0.1), (Label::Number(9), 0.9)];
    let outputs = [tensor(&[1], Data::Int64(vec![9])), Output::Maps(vec![row])];
    let own = read(&ports, named(&[]), &outputs, 1).unwrap();
    assert_eq!(
        Value::Object(own[0].clone().into_fields()),
        json!({ "prediction": 9, "probas": { "4": 0.1, "9": 0.9 } })
    );
    let named = read(&ports, named(&["no".to_owned(), "yes".to_owned()]), &outputs, 1).unwrap();
    assert_eq!(
        Value::Object(named[0].clone().into_fields()),
        json!({ "prediction": "yes", "probas": { "no": 0.1, "yes": 0.9 } })
    );
}

#[test]
fn probabilities_in_a_tensor_are_told_by_name_or_by_labels() {
    let table = Data::Fp32(vec![0.25, 0.75, 0.5, 0.5]);
    let ports = [
        port("label", DataType::Bytes, &[-1]),
        port("probabilities", DataType::Fp32, &[-1, 2]),
    ];
    let texts = Data::Bytes(vec!["b".to_owned(), "a".to_owned()]);
    let outputs = [tensor(&[2], texts), tensor(&[2, 2], table.clone())];
    let read_both = read(&ports, named(&["a".to_owned(), "b".to_owned()]), &outputs, 2).unwrap();
    assert_eq!(read_both[0].value, "b");
    assert_eq!(read_both[1].probas.as_ref().unwrap()["a"], 0.5);

    let only = [port("logits", DataType::Fp32, &[-1, 2])];
    let read_table = read(
        &only,
        named(&["a".to_owned(), "b".to_owned()]),
        &[tensor(&[2, 2], table.clone())],
        2,
    )
    .unwrap();
    assert_eq!((&read_table[0].value, &read_table[1].value), (&json!("b"), &json!("a")));
    let bare = read(&only, named(&[]), &[tensor(&[2, 2], table)], 2).unwrap();
    assert_eq!(
        (bare[0].value.clone(), bare[0].probas.clone()),
        (json!([0.25, 0.75]), None)
    );
}

#[test]
fn probabilities_in_a_tensor_have_the_names_that_the_model_knows() {
    let ports = [
        port("label", DataType::Int64, &[-1]),
        port("probabilities", DataType::Fp32, &[-1, 2]),
    ];
    // The label is the model's own, even where it is not the likeliest.
    let outputs = [
        tensor(&[1], Data::Int64(vec![4])),
        tensor(&[1, 2], Data::Fp32(vec![0.25, 0.75])),
    ];
    let own = [Label::Number(4), Label::Number(9)];
    let fields = |labels: &[String], own: &[Label]| {
        let read = read(&ports, Names { labels, own }, &outputs, 1).unwrap();
        Value::Object(read[0].clone().into_fields())
    };
    let numbers = json!({ "prediction": 4, "probas": { "4": 0.25, "9": 0.75 } });
    assert_eq!(fields(&[], &own), numbers);
    let words = ["no".to_owned(), "yes".to_owned()];
    let named = json!({ "prediction": "no", "probas": { "no": 0.25, "yes": 0.75 } });
    assert_eq!(fields(&words, &own), named);
    // Names of another number of classes are not those of these columns.
    let counted = json!({ "prediction": 4, "probas": { "0": 0.25, "1": 0.75 } });
    assert_eq!(fields(&[], &own[..1]), counted);
}

#[test]
fn a_regression_is_a_number_in_its_shortest_digits() {
    let ports = [port("variable", DataType::Fp32, &[-1, 1])];
    let outputs = [tensor(&[2, 1], Data::Fp32(vec![12356.23, 0.1]))];
    let predictions = read(&ports, named(&[]), &outputs, 2).unwrap();
    assert_eq!(
        Value::Object(predictions[0].clone().into_fields()).to_string(),
        r#"{"prediction":12356.23}"#
    );
    assert_eq!(predictions[1].value.to_string(), "0.1");
}

#[test]
fn what_cannot_be_said_names_its_output() {
    let ports = [port("variable", DataType::Fp32, &[-1, 1])];
    let failure = read(&ports, named(&[]), &[tensor(&[1, 1], Data::Fp32(vec![f32::NAN]))], 1).unwrap_err();
    assert_eq!(failure.reason, Reason::Output);
    assert!(failure.detail.starts_with("output variable: "), "{}", failure.detail);
    assert!(read(&ports, named(&[]), &[tensor(&[3, 1], Data::Fp32(vec![1.0; 3]))], 2).is_err());
    assert!(read(&[], named(&[]), &[], 1).is_err());
}

#[test]
fn tensors_nest_as_their_shape() {
    let nest = |shape: &[i64], count: i64| {
        nested(&Tensor::new(shape.to_vec(), Data::Int64((0..count).collect())).unwrap()).unwrap()
    };
    assert_eq!(nest(&[2, 3], 6), json!([[0, 1, 2], [3, 4, 5]]));
    assert_eq!(nest(&[], 1), json!(0));
    assert_eq!(nest(&[2], 2), json!([0, 1]));
    assert_eq!(nest(&[0, 3], 0), json!([]));
}
