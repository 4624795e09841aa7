//! What a classifier calls its classes, in the order of its probabilities.
//!
//! Exporters leave ZipMap out so that probabilities come as a tensor, whose columns then have no names; but the operator
//! that computes them knows the names. The rule a newcomer would break: names are a help and never a guess, so where the
//! operators of a graph do not agree (a model of several classifiers), there are none.

use super::external::{Value, next, varint};
use super::tensor::Label;

/// Operators that have the classes of what they give.
const OPERATORS: [&[u8]; 4] = [
    b"LinearClassifier",
    b"SVMClassifier",
    b"TreeEnsembleClassifier",
    b"ZipMap",
];

/// The classes that all classifiers of the main graph agree on; empty when there are none.
pub(super) fn of(model: &[u8]) -> Vec<Label> {
    let mut agreed: Option<Vec<Label>> = None;
    // ModelProto: graph = 7; GraphProto: node = 1.
    for node in inside(model, 7).flat_map(|graph| inside(graph, 1)) {
        let Some(labels) = node_classes(node) else { continue };
        match &agreed {
            Some(known) if *known != labels => return Vec::new(),
            _ => agreed = Some(labels),
        }
    }
    agreed.unwrap_or_default()
}

fn node_classes(node: &[u8]) -> Option<Vec<Label>> {
    // NodeProto: op_type = 4, attribute = 5.
    let operator = inside(node, 4).last()?;
    if !OPERATORS.contains(&operator) {
        return None;
    }
    inside(node, 5).map(attribute_classes).find(|labels| !labels.is_empty())
}

/// AttributeProto: name = 1, ints = 8, strings = 9.
fn attribute_classes(attribute: &[u8]) -> Vec<Label> {
    match inside(attribute, 1).last() {
        Some(b"classlabels_strings") => inside(attribute, 9)
            .map(|text| Label::Text(String::from_utf8_lossy(text).into_owned()))
            .collect(),
        Some(b"classlabels_ints" | b"classlabels_int64s") => integers(attribute),
        _ => Vec::new(),
    }
}

/// Integers one by one, or packed into one field: both are in use.
fn integers(attribute: &[u8]) -> Vec<Label> {
    let mut found = Vec::new();
    for (field, value) in fields(attribute) {
        match value {
            Value::Number(number) if field == 8 => found.push(Label::Number(number.cast_signed())),
            Value::Bytes(mut packed) if field == 8 => {
                while let Some((number, rest)) = varint(packed) {
                    found.push(Label::Number(number.cast_signed()));
                    packed = rest;
                }
            }
            _ => {}
        }
    }
    found
}

fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let (field, value, rest) = next(bytes)?;
        bytes = rest;
        Some((field, value))
    })
}

fn inside(bytes: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(bytes).filter_map(move |(field, value)| match value {
        Value::Bytes(inside) if field == wanted => Some(inside),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, inside: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, inside.len() as u8][..], inside].concat()
    }

    fn model(nodes: &[(&str, &str, Vec<u8>)]) -> Vec<u8> {
        let node = |(operator, name, values): &(&str, &str, Vec<u8>)| {
            let attribute = [bytes(1, name.as_bytes()), values.clone()].concat();
            bytes(1, &[bytes(4, operator.as_bytes()), bytes(5, &attribute)].concat())
        };
        bytes(7, &nodes.iter().flat_map(node).collect::<Vec<_>>())
    }

    #[test]
    fn classes_are_read_where_classifiers_agree() {
        let texts = [bytes(9, b"no"), bytes(9, b"yes")].concat();
        let words = vec![Label::Text("no".to_owned()), Label::Text("yes".to_owned())];
        let apart = vec![8 << 3, 4, 8 << 3, 9];
        let packed = bytes(8, &[4, 9]);
        let numbers = vec![Label::Number(4), Label::Number(9)];
        for (nodes, expected) in [
            (vec![("LinearClassifier", "classlabels_strings", texts.clone())], words),
            (
                vec![
                    ("TreeEnsembleClassifier", "classlabels_int64s", apart.clone()),
                    ("ZipMap", "classlabels_int64s", packed.clone()),
                ],
                numbers,
            ),
            (
                vec![
                    ("LinearClassifier", "classlabels_strings", texts),
                    ("SVMClassifier", "classlabels_ints", apart.clone()),
                ],
                Vec::new(),
            ),
            (vec![("Scaler", "classlabels_ints", apart.clone())], Vec::new()),
            (vec![("LinearClassifier", "coefficients", apart)], Vec::new()),
        ] {
            assert_eq!(of(&model(&nodes)), expected, "{nodes:?}");
        }
        assert!(of(b"not a model at all").is_empty());
    }
}
