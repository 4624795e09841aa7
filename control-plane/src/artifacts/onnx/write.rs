//! Writes small ONNX models by hand, for tests.

/// A length-delimited field.
pub(crate) fn block(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    if number > 15 {
        field = vec![(number << 3 | 2) | 0x80, number >> 4];
    }
    varint(&mut field, content.len() as u64);
    field.extend_from_slice(content);
    field
}

/// A number field.
pub(crate) fn number(number: u8, value: i64) -> Vec<u8> {
    let mut field = vec![number << 3];
    varint(&mut field, value.cast_unsigned());
    field
}

fn varint(field: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        field.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    field.push(value as u8);
}

pub(crate) fn tensor_type(element: i64, shape: &[i64]) -> Vec<u8> {
    let dimension = |size: &i64| match size {
        -1 => block(1, &block(2, b"N")),
        -2 => block(1, &[]),
        size => block(1, &number(1, *size)),
    };
    let dimensions: Vec<u8> = shape.iter().flat_map(dimension).collect();
    block(1, &[number(1, element), block(2, &dimensions)].concat())
}

/// A classifier's sequence of maps from class to probability.
pub(crate) fn zip_map(key: i64) -> Vec<u8> {
    let map = block(5, &[number(1, key), block(2, &tensor_type(1, &[]))].concat());
    block(4, &block(1, &map))
}

pub(crate) fn value(name: &str, kind: &[u8]) -> Vec<u8> {
    [block(1, name.as_bytes()), block(2, kind)].concat()
}

pub(crate) fn input(name: &str, element: i64, shape: &[i64]) -> Vec<u8> {
    block(11, &value(name, &tensor_type(element, shape)))
}

pub(crate) fn output(name: &str, element: i64, shape: &[i64]) -> Vec<u8> {
    block(12, &value(name, &tensor_type(element, shape)))
}

pub(crate) fn node(operator: &str, domain: &str, attributes: &[u8]) -> Vec<u8> {
    let attribute = if attributes.is_empty() {
        Vec::new()
    } else {
        block(5, attributes)
    };
    block(
        1,
        &[block(4, operator.as_bytes()), attribute, block(7, domain.as_bytes())].concat(),
    )
}

/// A tensor with its weights in another file.
pub(crate) fn external(name: &str, file: &str) -> Vec<u8> {
    let entry = [block(1, b"location"), block(2, file.as_bytes())].concat();
    [
        number(2, 1),
        block(8, name.as_bytes()),
        block(13, &entry),
        number(14, 1),
    ]
    .concat()
}

/// A model around the parts of its graph.
pub(crate) fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    let property = [block(1, b"author"), block(2, b"dana")].concat();
    [
        number(1, 10),
        block(2, b"castoff"),
        block(3, b"1.0"),
        block(7, &graph.concat()),
        block(14, &property),
        block(8, &[block(1, b"ai.onnx.ml"), number(2, 3)].concat()),
        block(8, &number(2, 21)),
    ]
    .concat()
}

/// A classifier of one tensor.
pub(crate) fn classifier(columns: i64) -> Vec<u8> {
    model(&[
        node("LinearClassifier", "ai.onnx.ml", &[]),
        block(5, &[number(2, 1), block(8, b"weights"), block(9, &[0; 64])].concat()),
        input("X", 1, &[-1, columns]),
        input("weights", 1, &[16]),
        output("label", 7, &[-1]),
        output("probabilities", 1, &[-1, 3]),
    ])
}

/// A model whose every input is a column.
pub(crate) fn by_columns() -> Vec<u8> {
    model(&[
        node("ZipMap", "ai.onnx.ml", &[]),
        input("age", 1, &[-1, 1]),
        input("town", 8, &[-1, 1]),
        output("label", 7, &[-1]),
        block(12, &value("probabilities", &zip_map(7))),
    ])
}
