//! Refusing models whose weights lie in other files.
//!
//! The runtime would look for such a file beside the process, wherever a model says. So the bytes are walked before it
//! sees them. The walk knows only the few fields of ONNX that can lead to a tensor; the rule a newcomer would break:
//! what cannot be walked to its end is refused, else an odd field would hide what comes after it.

/// Deeper subgraphs than this no exporter makes.
const DEEPEST: u8 = 32;

/// A message of ONNX that can lead to a tensor.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Function,
    Training,
    Tensor,
}

impl Message {
    /// The message in a field of this one. Numbers are those of `onnx.proto`.
    fn inside(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Model, 20) => Self::Training,
            (Self::Training, 1 | 2) => Self::Graph,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            _ => return None,
        })
    }
}

/// An error when any tensor of the model says that its data lies elsewhere.
pub(super) fn refuse(model: &[u8]) -> Result<(), String> {
    walk(Message::Model, model, 0)
}

fn walk(message: Message, mut bytes: &[u8], depth: u8) -> Result<(), String> {
    if depth > DEEPEST {
        return Err("its graphs are nested too deeply".to_owned());
    }
    while !bytes.is_empty() {
        let (field, value, rest) = next(bytes).ok_or("it is not an ONNX model")?;
        bytes = rest;
        // TensorProto: external_data = 13, data_location = 14 with EXTERNAL = 1.
        let elsewhere = match (message, field, &value) {
            (Message::Tensor, 13, _) => true,
            (Message::Tensor, 14, Value::Number(place)) => *place != 0,
            _ => false,
        };
        if elsewhere {
            return Err("its weights lie in another file (external data), which is not allowed".to_owned());
        }
        if let (Some(inner), Value::Bytes(inside)) = (message.inside(field), value) {
            walk(inner, inside, depth + 1)?;
        }
    }
    Ok(())
}

/// The value of a field.
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The first field of a message and what follows it; `None` where the bytes are no message of ONNX.
pub(super) fn next(bytes: &[u8]) -> Option<(u64, Value<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let (value, rest) = match tag & 7 {
        0 => varint(rest).map(|(number, rest)| (Value::Number(number), rest))?,
        1 => (Value::Fixed, rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            let (inside, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Value::Bytes(inside), rest)
        }
        5 => (Value::Fixed, rest.get(4..)?),
        _ => return None,
    };
    Some((tag >> 3, value, rest))
}

/// A number and what follows it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, inside: &[u8]) -> Vec<u8> {
        let tag = u16::from(number) << 3 | 2;
        let mut bytes = if tag < 128 {
            vec![tag as u8]
        } else {
            vec![(tag & 0x7f) as u8 | 0x80, (tag >> 7) as u8]
        };
        bytes.push(inside.len() as u8);
        bytes.extend_from_slice(inside);
        bytes
    }

    #[test]
    fn external_data_is_seen_wherever_a_tensor_can_be() {
        let located = [14 << 3, 1];
        let listed = field(13, b"\x0a\x08location");
        for tensor in [located.as_slice(), &listed] {
            for model in [
                field(7, &field(5, tensor)),
                field(7, &field(15, &field(1, tensor))),
                field(7, &field(1, &field(5, &field(5, tensor)))),
                field(7, &field(1, &field(5, &field(6, &field(5, tensor))))),
                field(25, &field(7, &field(5, &field(10, tensor)))),
                field(20, &field(2, &field(5, tensor))),
            ] {
                assert!(refuse(&model).is_err(), "{model:?}");
            }
        }
        assert!(refuse(&field(7, &field(5, &[14 << 3, 0]))).is_ok());
        assert!(refuse(b"not a model at all").is_err());
        assert!(refuse(&[0xff; 40]).is_err());
        // A group (wire types 3 and 4) is skipped by other readers; here it hides nothing.
        let hidden = [vec![0x0b, 0x0c], field(7, &field(5, &located))].concat();
        assert!(refuse(&hidden).is_err());
    }
}
