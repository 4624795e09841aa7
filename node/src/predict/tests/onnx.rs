//! Models small enough to be written down here, so that no test waits for a Python library.

/// Element types, as ONNX numbers them.
pub(super) const FLOAT: u64 = 1;
pub(super) const INT64: u64 = 7;
pub(super) const STRING: u64 = 8;
pub(super) const BOOL: u64 = 9;

/// An input or output: name, element type, shape (−1: any).
pub(super) type Port<'a> = (&'a str, u64, &'a [i64]);

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

fn bytes(field: u64, inside: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(inside.len() as u64), inside.to_vec()].concat()
}

fn port((name, element, shape): &Port<'_>) -> Vec<u8> {
    let dimension = |size: &i64| {
        let inside = if *size < 0 {
            bytes(2, b"N")
        } else {
            number(1, *size as u64)
        };
        bytes(1, &inside)
    };
    let shape = bytes(2, &shape.iter().flat_map(dimension).collect::<Vec<_>>());
    let tensor = [number(1, *element), shape].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// A node of a graph: operator, inputs, outputs, and whatever attributes were encoded.
pub(super) fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let names = |field, names: &[&str]| {
        names
            .iter()
            .flat_map(|name| bytes(field, name.as_bytes()))
            .collect::<Vec<_>>()
    };
    let attributes = attributes
        .iter()
        .flat_map(|attribute| bytes(5, attribute))
        .collect::<Vec<_>>();
    [
        names(1, inputs),
        names(2, outputs),
        bytes(4, operator.as_bytes()),
        attributes,
    ]
    .concat()
}

fn graph(nodes: &[Vec<u8>], initializers: &[Vec<u8>], inputs: &[Port<'_>], outputs: &[Port<'_>]) -> Vec<u8> {
    let all = |field, items: &[Vec<u8>]| items.iter().flat_map(|item| bytes(field, item)).collect::<Vec<_>>();
    let ports = |ports: &[Port<'_>]| ports.iter().map(port).collect::<Vec<_>>();
    [
        all(1, nodes),
        bytes(2, b"g"),
        all(5, initializers),
        all(11, &ports(inputs)),
        all(12, &ports(outputs)),
    ]
    .concat()
}

fn wrapped(graph: &[u8]) -> Vec<u8> {
    [number(1, 8), bytes(7, graph), bytes(8, &number(2, 17))].concat()
}

/// A model of these nodes.
pub(super) fn model(nodes: &[Vec<u8>], inputs: &[Port<'_>], outputs: &[Port<'_>]) -> Vec<u8> {
    wrapped(&graph(nodes, &[], inputs, outputs))
}

/// One operator from x to y.
pub(super) fn single(operator: &str, element: u64, shape: &[i64]) -> Vec<u8> {
    model(
        &[node(operator, &["x"], &["y"], &[])],
        &[("x", element, shape)],
        &[("y", element, shape)],
    )
}

/// y = x + x.
pub(super) fn double() -> Vec<u8> {
    let shape = &[-1, 2][..];
    model(
        &[node("Add", &["x", "x"], &["y"], &[])],
        &[("x", FLOAT, shape)],
        &[("y", FLOAT, shape)],
    )
}

/// sum = x + x, same = x.
pub(super) fn both() -> Vec<u8> {
    let shape = &[-1, 2][..];
    model(
        &[
            node("Add", &["x", "x"], &["sum"], &[]),
            node("Identity", &["x"], &["same"], &[]),
        ],
        &[("x", FLOAT, shape)],
        &[("sum", FLOAT, shape), ("same", FLOAT, shape)],
    )
}

/// A regression: variable = age + income, each a column.
pub(super) fn sum_of_columns() -> Vec<u8> {
    let column = &[-1, 1][..];
    model(
        &[node("Add", &["age", "income"], &["variable"], &[])],
        &[("age", FLOAT, column), ("income", FLOAT, column)],
        &[("variable", FLOAT, column)],
    )
}

/// y = what a table of two has at x: 2 and more are out of bounds.
pub(super) fn look_up() -> Vec<u8> {
    let table = [
        number(1, 2),
        number(2, FLOAT),
        bytes(8, b"table"),
        bytes(9, &[10f32.to_le_bytes(), 20f32.to_le_bytes()].concat()),
    ]
    .concat();
    wrapped(&graph(
        &[node("Gather", &["table", "x"], &["y"], &[])],
        &[table],
        &[("x", INT64, &[-1])],
        &[("y", FLOAT, &[-1])],
    ))
}

/// y = the sum of all rows: one row, however many there are.
pub(super) fn sum_of_rows() -> Vec<u8> {
    model(
        &[node("ReduceSum", &["x"], &["y"], &[])],
        &[("x", FLOAT, &[-1, 1])],
        &[("y", FLOAT, &[-1, 1])],
    )
}

/// y = x, after as many turns as there are numbers.
pub(super) fn endless() -> Vec<u8> {
    let turns = [
        number(2, INT64),
        bytes(8, b"turns"),
        number(1, 1),
        bytes(9, &i64::MAX.to_le_bytes()),
    ]
    .concat();
    let body = graph(
        &[
            node("Identity", &["go"], &["go_on"], &[]),
            node("Add", &["v", "x"], &["w"], &[]),
        ],
        &[],
        &[("i", INT64, &[]), ("go", BOOL, &[]), ("v", FLOAT, &[-1, 1])],
        &[("go_on", BOOL, &[]), ("w", FLOAT, &[-1, 1])],
    );
    let attribute = [bytes(1, b"body"), bytes(6, &body), number(20, 5)].concat();
    wrapped(&graph(
        &[node("Loop", &["turns", "", "x"], &["y"], &[attribute])],
        &[turns],
        &[("x", FLOAT, &[-1, 1])],
        &[("y", FLOAT, &[-1, 1])],
    ))
}

/// A model whose one weight lies in another file.
pub(super) fn external() -> Vec<u8> {
    let entry = [bytes(1, b"location"), bytes(2, b"weights.bin")].concat();
    let weight = [
        number(1, 1),
        number(2, FLOAT),
        bytes(8, b"w"),
        bytes(13, &entry),
        number(14, 1),
    ]
    .concat();
    let shape = &[1][..];
    wrapped(&graph(
        &[node("Add", &["x", "w"], &["y"], &[])],
        &[weight],
        &[("x", FLOAT, shape)],
        &[("y", FLOAT, shape)],
    ))
}
