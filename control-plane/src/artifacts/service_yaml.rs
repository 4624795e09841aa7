//! `service.yaml`: what a package with more than one file says about itself.
//!
//! The rule a newcomer would break: YAML has aliases, so a small file can say a long list a thousand times; every list and
//! every word is bounded while it is read, not afterwards.

use crate::domain::Invalid;
use crate::domain::package::EndpointKind;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Bytes of the file.
pub(super) const LARGEST: u64 = 64 << 10;
/// Its name, at the root of a package.
pub(super) const NAME: &str = "service.yaml";

const MOST_ENDPOINTS: usize = 64;
const MOST_WORDS: usize = 4_096;
const LONGEST_WORD: usize = 1_024;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceYaml {
    pub(super) endpoints: List<EndpointYaml, MOST_ENDPOINTS>,
}

/// One endpoint as its author wrote it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointYaml {
    pub(super) name: Word,
    pub(super) model: Word,
    pub(super) kind: Option<EndpointKind>,
    pub(super) columns: Option<List<Word, MOST_WORDS>>,
    pub(super) labels: Option<List<Word, MOST_WORDS>>,
    pub(super) max_batch_size: Option<Whole>,
    pub(super) test_queries: Option<Word>,
}

/// Reads the file.
pub(super) fn parse(bytes: &[u8]) -> Result<ServiceYaml, Invalid> {
    let text = str::from_utf8(bytes).map_err(|_| Invalid::new("", format!("{NAME} is not UTF-8")))?;
    serde_yaml_ng::from_str(text).map_err(|error| {
        let message = error.to_string();
        let (pointer, reason) = place(&message).unwrap_or_default();
        let reason = if pointer.is_empty() { &message } else { reason };
        Invalid::new(pointer, format!("{NAME}: {}", super::shown(reason)))
    })
}

/// Splits `endpoints[0].kind: unknown variant …` into a JSON pointer and what is wrong there.
fn place(message: &str) -> Option<(String, &str)> {
    let (path, reason) = message.split_once(": ")?;
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_".contains(&byte);
    pointer.bytes().all(plain).then_some((pointer, reason))
}

/// A word; numbers and truth values are taken as they are written, so that `labels: [0, 1]` is what it looks like.
#[derive(Debug)]
pub(super) struct Word(pub(super) String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a word of at most {LONGEST_WORD} bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
                if text.len() > LONGEST_WORD {
                    return Err(E::custom(format!("a word has more than {LONGEST_WORD} bytes")));
                }
                Ok(Word(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Word, E> {
                Ok(Word(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Word, E> {
                Ok(Word(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Word, E> {
                Ok(Word(value.to_string()))
            }
        }
        from.deserialize_any(Words)
    }
}

/// A whole number.
#[derive(Debug)]
pub(super) struct Whole(pub(super) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                // What is larger is too large for everything that is a number here.
                Ok(Whole(i64::try_from(number).unwrap_or(i64::MAX)))
            }
        }
        from.deserialize_any(Numbers)
    }
}

/// A list of at most `MOST`.
#[derive(Debug)]
pub(super) struct List<T, const MOST: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Lists<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Lists<T, MOST> {
            type Value = List<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element::<T>()? {
                    if list.len() == MOST {
                        return Err(de::Error::custom(format!("a list has more than {MOST} items")));
                    }
                    list.push(item);
                }
                Ok(List(list))
            }
        }
        from.deserialize_seq(Lists(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        let yaml = "endpoints:\n  - name: iris\n    model: iris.onnx\n    kind: records\n    columns: [a, b]\n    labels: [0, yes, -1, true]\n";
        let ServiceYaml {
            endpoints: List(endpoints),
        } = parse(yaml.as_bytes()).unwrap();
        let labels: Vec<_> = endpoints[0]
            .labels
            .as_ref()
            .unwrap()
            .0
            .iter()
            .map(|word| word.0.as_str())
            .collect();
        assert_eq!(labels, ["0", "yes", "-1", "true"]);
        assert_eq!(endpoints[0].kind, Some(EndpointKind::Records));
        assert_eq!(endpoints[0].columns.as_ref().unwrap().0.len(), 2);
    }

    #[test]
    fn says_where_it_is_wrong() {
        for (yaml, pointer, reason) in [
            ("", "", "endpoints"),
            ("endpoints: 3", "/endpoints", "a list of at most 64"),
            (
                "endpoints:\n  - name: a\n    model: b\n    kind: image",
                "/endpoints/0/kind",
                "unknown variant",
            ),
            (
                "endpoints:\n  - name: a\n    model: b\n    colums: []",
                "/endpoints/0",
                "unknown field",
            ),
            ("endpoints:\n  - model: b", "/endpoints/0", "missing field `name`"),
            ("endpoints: [", "", "service.yaml"),
            ("\u{0}", "", "service.yaml"),
            ("endpoint: []", "", "unknown field"),
        ] {
            let invalid = parse(yaml.as_bytes()).unwrap_err();
            assert_eq!(invalid.pointer, pointer, "{yaml}: {invalid}");
            assert!(invalid.reason.contains(reason), "{yaml}: {invalid}");
        }
        assert!(parse(b"\xff").unwrap_err().reason.contains("UTF-8"));
    }

    #[test]
    fn aliases_do_not_multiply() {
        let long = format!(
            "endpoints:\n  - &e {{name: a, model: b, labels: [{}]}}\n",
            "x,".repeat(4_000)
        );
        let many = format!("{long}{}", "  - *e\n".repeat(7_000));
        assert!(parse(many.as_bytes()).unwrap_err().reason.contains("more than 64"));
        let deep = format!("endpoints: {}", "[".repeat(30_000));
        assert!(parse(deep.as_bytes()).is_err());
        let word = format!("endpoints: [{{name: {}, model: b}}]", "a".repeat(2_000));
        assert!(parse(word.as_bytes()).unwrap_err().reason.contains("bytes"));
    }
}
