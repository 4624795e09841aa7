//! Walks a protobuf message without decoding it.
//!
//! Apart from prost, because a model may be gigabytes of weights and only its header is wanted: length-delimited fields
//! are stepped over by seeking. The rule a newcomer would break: every length is held against what is left of the message
//! around it before a byte of it is read or room for it is made.

use super::Unreadable;
use std::io::{BufReader, Read, Seek};

/// Fields that are looked at in one file. The largest models (tree ensembles with unpacked lists) have tens of millions;
/// at some 10 ns each this many take two seconds.
const MOST_FIELDS: u64 = 200_000_000;

/// Names and texts kept from one file, with 64 bytes for the keeping of each. 100,000 initializers of 60 characters take
/// 12 MB.
const MOST_KEPT: u64 = 64 << 20;

/// A field's value; a block is where its bytes end, and the walk stands where they begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Number(u64),
    Fixed,
    Block(u64),
}

/// A message that is being walked: where its next field begins and where it ends.
pub(super) struct Message {
    next: u64,
    end: u64,
}

/// The walk over one file.
pub(super) struct Walk<R> {
    source: BufReader<R>,
    at: u64,
    fields: u64,
    kept: u64,
}

impl<R: Read + Seek> Walk<R> {
    /// Starts a walk at the beginning of `source`.
    pub(super) fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(32 << 10, source),
            at: 0,
            fields: 0,
            kept: 0,
        }
    }

    /// The message from here to `end`.
    pub(super) fn message(&self, end: u64) -> Message {
        Message { next: self.at, end }
    }

    /// The next field of a message. What the caller left of the field before is stepped over.
    pub(super) fn field(&mut self, message: &mut Message) -> Result<Option<(u32, Value)>, Unreadable> {
        self.seek(message.next)?;
        if self.at >= message.end {
            return Ok(None);
        }
        self.fields += 1;
        if self.fields > MOST_FIELDS {
            return Err(Unreadable::bad("has too many fields"));
        }
        let tag = self.varint(message.end)?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| *number > 0 && *number < 1 << 29);
        let Some(number) = number else {
            return Err(Unreadable::bad(format!(
                "is not an ONNX model, or damaged: what ends at byte {} is no field",
                self.at
            )));
        };
        let value = match tag & 7 {
            0 => Value::Number(self.varint(message.end)?),
            1 => self.fixed(8, message.end)?,
            5 => self.fixed(4, message.end)?,
            2 => {
                let length = self.varint(message.end)?;
                Value::Block(self.reach(length, message.end)?)
            }
            _ => {
                return Err(Unreadable::bad(format!(
                    "has a field of an unknown type before byte {}",
                    self.at
                )));
            }
        };
        message.next = if let Value::Block(end) = value { end } else { self.at };
        Ok(Some((number, value)))
    }

    /// The text of a block that the walk stands at.
    pub(super) fn text(&mut self, end: u64, most: u64, what: &str) -> Result<String, Unreadable> {
        let bytes = self.bytes(end, most)?;
        let bytes = bytes.ok_or_else(|| Unreadable::bad(format!("{what} has more than {most} bytes")))?;
        String::from_utf8(bytes).map_err(|_| Unreadable::bad(format!("{what} is not UTF-8")))
    }

    /// As `text`, or nothing when it is longer or no UTF-8.
    pub(super) fn short_text(&mut self, end: u64, most: u64) -> Result<Option<String>, Unreadable> {
        Ok(self.bytes(end, most)?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Counts what the caller is going to keep until the walk is over.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), Unreadable> {
        self.kept += bytes as u64 + 64;
        if self.kept > MOST_KEPT {
            Err(Unreadable::bad("has too many names"))
        } else {
            Ok(())
        }
    }

    fn bytes(&mut self, end: u64, most: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        let length = end.saturating_sub(self.at);
        if length > most {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.source.read_exact(&mut bytes)?;
        self.at = end;
        Ok(Some(bytes))
    }

    fn seek(&mut self, to: u64) -> Result<(), Unreadable> {
        let by = i128::from(to) - i128::from(self.at);
        if by != 0 {
            let by = i64::try_from(by).map_err(|_| Unreadable::bad("is larger than a file can be"))?;
            self.source.seek_relative(by)?;
            self.at = to;
        }
        Ok(())
    }

    fn reach(&self, length: u64, end: u64) -> Result<u64, Unreadable> {
        let left = end.saturating_sub(self.at);
        if length > left {
            return Err(Unreadable::bad(format!(
                "is truncated or damaged: a field of {length} bytes begins at byte {}, where only {left} are left",
                self.at
            )));
        }
        Ok(self.at + length)
    }

    fn fixed(&mut self, length: u64, end: u64) -> Result<Value, Unreadable> {
        let behind = self.reach(length, end)?;
        self.seek(behind)?;
        Ok(Value::Fixed)
    }

    fn varint(&mut self, end: u64) -> Result<u64, Unreadable> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            self.reach(1, end)?;
            let mut byte = [0];
            self.source.read_exact(&mut byte)?;
            self.at += 1;
            let [byte] = byte;
            // The tenth byte holds one bit; protobuf ignores the others.
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unreadable::bad(format!(
            "has a number of more than ten bytes before byte {}",
            self.at
        )))
    }
}
