//! Small ONNX models written field by field, so that each can lie in one place.
//!
//! The numbers are those of `onnx.proto3`.

/// A field that holds bytes: a string or a message.
pub fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    let mut out = opening(field, content.len() as u64);
    out.extend_from_slice(content);
    out
}

/// A field that holds a number.
pub fn number(field: u8, value: i64) -> Vec<u8> {
    let mut out = varint(u64::from(field) << 3);
    out.extend(varint(value.cast_unsigned()));
    out
}

/// The beginning of a field that holds so many bytes.
fn opening(field: u8, length: u64) -> Vec<u8> {
    let mut out = varint(u64::from(field) << 3 | 2);
    out.extend(varint(length));
    out
}

/// What stands before and after so many bytes of weights in a model that is [`identity`] all the same.
pub fn heavy(weights: u64) -> (Vec<u8>, Vec<u8>) {
    let values = i64::try_from(weights / 4).expect("a size of this world");
    let mut tensor = [number(1, values), number(2, FLOAT), bytes(8, b"w")].concat();
    tensor.extend(opening(9, weights));
    let mut initializer = opening(5, tensor.len() as u64 + weights);
    initializer.extend(tensor);
    let node = [bytes(1, b"x"), bytes(2, b"y"), bytes(4, b"Identity")].concat();
    let begun = [bytes(1, &node), bytes(2, b"g"), initializer].concat();
    let ports = [input(FLOAT, &[-1, 4]), output(FLOAT, &[-1, 4])].concat();
    let graph = begun.len() as u64 + weights + ports.len() as u64;
    let before = [number(1, 8), opening(7, graph), begun].concat();
    let opset = [bytes(1, b""), number(2, 13)].concat();
    (before, [ports, bytes(8, &opset)].concat())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// `float32[…]` of ONNX.
pub const FLOAT: i64 = 1;
/// `int64[…]` of ONNX.
pub const INT64: i64 = 7;

/// A named tensor of this type and these dimensions.
pub fn port(field: u8, name: &str, element: i64, dims: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| bytes(1, &number(1, *dim))).collect();
    let tensor = [number(1, element), bytes(2, &dims)].concat();
    bytes(
        field,
        &[bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat(),
    )
}

/// A model that gives `y = Identity(x)`; `x` and `y` as given, and more fields of its graph.
pub fn identity(x: Vec<u8>, y: Vec<u8>, more: &[u8]) -> Vec<u8> {
    let node = [bytes(1, b"x"), bytes(2, b"y"), bytes(4, b"Identity")].concat();
    let graph = [bytes(1, &node), bytes(2, b"g"), more.to_vec(), x, y].concat();
    let opset = [bytes(1, b""), number(2, 13)].concat();
    [number(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

/// The input `x` of a graph.
pub fn input(element: i64, dims: &[i64]) -> Vec<u8> {
    port(11, "x", element, dims)
}

/// The output `y` of a graph.
pub fn output(element: i64, dims: &[i64]) -> Vec<u8> {
    port(12, "y", element, dims)
}

/// An initializer whose values are in a file beside the model.
pub fn external(file: &str) -> Vec<u8> {
    let place = [bytes(1, b"location"), bytes(2, file.as_bytes())].concat();
    let tensor = [
        number(1, 4),
        number(2, FLOAT),
        bytes(8, b"w"),
        bytes(13, &place),
        number(14, 1),
    ];
    bytes(5, &tensor.concat())
}
