//! A CNN that takes some milliseconds, written here so that nothing has to be fetched or kept: what it answers means
//! nothing, what it costs is what a small network for images costs.

use crate::onnx::{FLOAT, bytes, number, port};

/// Pixels of a side, as in CIFAR.
pub const SIDE: i64 = 32;
const CHANNELS: i64 = 64;
const CLASSES: i64 = 10;

/// So many 3 × 3 convolutions over 64 channels, pooled and classified: `x` [1, 3, 32, 32] to `y` [1, 10].
pub fn cnn(depth: i64) -> Vec<u8> {
    let mut graph = bytes(2, b"cnn");
    let mut weights = Weights(1);
    let mut last = "x".to_owned();
    for layer in 0..depth {
        let from = if layer == 0 { 3 } else { CHANNELS };
        let (name, convolved, next) = (format!("w{layer}"), format!("c{layer}"), format!("r{layer}"));
        graph.extend(weights.tensor(&name, &[CHANNELS, from, 3, 3], from * 9));
        let pads = ints("pads", &[1, 1, 1, 1]);
        graph.extend(node("Conv", &[&last, &name], &convolved, &pads));
        graph.extend(node("Relu", &[&convolved], &next, &[]));
        last = next;
    }
    graph.extend(weights.tensor("w", &[CHANNELS, CLASSES], CHANNELS));
    graph.extend(node("GlobalAveragePool", &[&last], "pooled", &[]));
    graph.extend(node("Flatten", &["pooled"], "flat", &[]));
    graph.extend(node("MatMul", &["flat", "w"], "scores", &[]));
    graph.extend(node("Softmax", &["scores"], "y", &[]));
    graph.extend(port(11, "x", FLOAT, &[1, 3, SIDE, SIDE]));
    graph.extend(port(12, "y", FLOAT, &[1, CLASSES]));
    let opset = [bytes(1, b""), number(2, 13)].concat();
    [number(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

/// An image: numbers as they are when bytes were divided by 255.
pub fn image() -> Vec<f32> {
    (0..3 * SIDE * SIDE)
        .map(|pixel| (pixel * 37 % 256) as f32 / 255.0)
        .collect()
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[u8]) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|input| bytes(1, input.as_bytes())).collect();
    node.extend(bytes(2, output.as_bytes()));
    node.extend(bytes(4, operator.as_bytes()));
    node.extend_from_slice(attributes);
    bytes(1, &node)
}

/// An attribute of integers: type INTS = 7.
fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values = values.iter().flat_map(|value| number(8, *value));
    let attribute: Vec<u8> = bytes(1, name.as_bytes())
        .into_iter()
        .chain(values)
        .chain(number(20, 7))
        .collect();
    bytes(5, &attribute)
}

/// Weights from a seed, as large as keeps the signal's size from layer to layer.
struct Weights(u64);

impl Weights {
    fn tensor(&mut self, name: &str, dims: &[i64], fan_in: i64) -> Vec<u8> {
        let most = (6.0 / fan_in as f32).sqrt();
        let count = dims.iter().product::<i64>();
        let raw: Vec<u8> = (0..count).flat_map(|_| (self.next() * most).to_le_bytes()).collect();
        let mut tensor: Vec<u8> = dims.iter().flat_map(|dim| number(1, *dim)).collect();
        tensor.extend(number(2, FLOAT));
        tensor.extend(bytes(8, name.as_bytes()));
        tensor.extend(bytes(9, &raw));
        bytes(5, &tensor)
    }

    /// From -1 to 1, by Knuth's linear congruence.
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
