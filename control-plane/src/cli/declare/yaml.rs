//! YAML from a file: documents one after the other, as JSON, within bounds.
//!
//! Apart from what it means, because it may come from anybody who may propose a change: how deep it is, how much it becomes
//! when its aliases are followed, and names that stand twice are looked at while it is read. The rule a newcomer would
//! break: what is wrong is told by its place and its kind, never by its value, which may be a secret.

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml_ng::Deserializer as Yaml;
use std::cell::{Cell, RefCell};
use std::fmt;

/// So many documents of one file are read.
const MOST_DOCUMENTS: usize = 1_000;

/// Deeper than any setting lies, affinities of pods too.
const DEEPEST: usize = 24;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// A JSON pointer into the document.
    pub(super) pointer: String,
    /// What is wrong there.
    pub(super) reason: String,
}

impl Wrong {
    pub(super) fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            reason: reason.into(),
        }
    }
}

/// One document, and what was wrong while it was read.
#[derive(Debug)]
pub(super) struct Document {
    /// 1, 2, 3, … in its file.
    pub(super) number: usize,
    pub(super) value: Value,
    pub(super) wrong: Vec<Wrong>,
}

/// Where the text is no YAML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: Option<usize>,
    pub(super) document: usize,
    pub(super) reason: String,
}

/// The documents of a text that are not empty. All readings of a run share how many values `left` there may be.
pub(super) fn documents(text: &str, left: &Cell<usize>) -> Result<Vec<Document>, Broken> {
    let mut found = Vec::new();
    for (at, document) in Yaml::from_str(text).enumerate() {
        let number = at.saturating_add(1);
        if number > MOST_DOCUMENTS {
            return Err(Broken {
                line: None,
                document: number,
                reason: format!("has more than {MOST_DOCUMENTS} documents"),
            });
        }
        let wrong = RefCell::default();
        let seed = Reading {
            left,
            wrong: &wrong,
            depth: 0,
            pointer: String::new(),
        };
        let value = seed.deserialize(document).map_err(|error| Broken {
            line: error.location().map(|place| place.line()),
            document: number,
            reason: without_place(&error.to_string()),
        })?;
        if !value.is_null() {
            let wrong = wrong.into_inner();
            found.push(Document { number, value, wrong });
        }
    }
    Ok(found)
}

/// The line of a place in a document, counted in its file.
pub(super) fn line(text: &str, number: usize, pointer: &str) -> Option<usize> {
    let steps: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect();
    let document = Yaml::from_str(text).nth(number.checked_sub(1)?)?;
    let error = Looking(&steps).deserialize(document).err()?;
    Some(error.location()?.line())
}

/// A pointer one step further.
pub(super) fn step(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The parser's words without their position, which is told apart.
fn without_place(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or_default();
    // Whatever it quotes comes from the file.
    text.split(['"', '`']).next().unwrap_or_default().trim().to_owned()
}

/// Reads a value, and notes what is wrong in it.
struct Reading<'a> {
    left: &'a Cell<usize>,
    wrong: &'a RefCell<Vec<Wrong>>,
    depth: usize,
    pointer: String,
}

impl Reading<'_> {
    fn within(&self, pointer: String) -> Self {
        Reading {
            left: self.left,
            wrong: self.wrong,
            depth: self.depth.saturating_add(1),
            pointer,
        }
    }

    fn note(&self, pointer: &str, reason: &str) {
        self.wrong.borrow_mut().push(Wrong::new(pointer, reason));
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        let left = left.ok_or_else(|| de::Error::custom("there is more in these files than is read at once"))?;
        self.left.set(left);
        if self.depth > DEEPEST {
            return Err(de::Error::custom(format!("is more than {DEEPEST} levels deep")));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, yes or no, a list, or names with values")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        if number.is_none() {
            self.note(&self.pointer, "is not a number");
        }
        Ok(number.map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    /// A document with nothing in it.
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.within(step(&self.pointer, &list.len().to_string())))? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let pointer = step(&self.pointer, &name);
            let value = members.next_value_seed(self.within(pointer.clone()))?;
            if map.insert(name, value).is_some() {
                self.note(&pointer, "is there twice");
            }
        }
        Ok(map.into())
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        use serde::de::VariantAccess;
        self.note(&self.pointer, "has a tag (!), which means nothing here");
        let (_, value) = tagged.variant::<String>()?;
        value.newtype_variant::<IgnoredAny>().map(|_| Value::Null)
    }
}

/// Goes to a place and fails there, since a failure carries its line.
struct Looking<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Looking<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Looking<'_> {
    fn here<E: de::Error>(&self) -> Result<(), E> {
        Err(E::custom("here"))
    }
}

impl<'de> Visitor<'de> for Looking<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.here()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.here()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.here()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.here()
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.here()
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.here()
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.here()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.0.split_first() else {
            return self.here();
        };
        let place: usize = first.parse().map_err(de::Error::custom)?;
        for _ in 0..place {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Looking(rest)).map(|_| ())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.0.split_first() else {
            return self.here();
        };
        while let Some(name) = members.next_key::<String>()? {
            if name == *first {
                return members.next_value_seed(Looking(rest));
            }
            members.next_value::<IgnoredAny>()?;
        }
        // What is missing is missed here.
        self.here()
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.here()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Vec<Document>, Broken> {
        documents(text, &Cell::new(10_000))
    }

    #[test]
    fn documents_are_counted_and_empty_ones_left_out() {
        let found = read("# nothing\n---\na: 1\n---\n---\nb: [x, 1.0, true, null]\n").unwrap();
        let numbers: Vec<_> = found.iter().map(|document| document.value.clone()).collect();
        assert_eq!(numbers, [json!({"a": 1}), json!({"b": ["x", 1.0, true, null]})]);
        assert!(found.iter().all(|document| document.wrong.is_empty()));
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn names_are_text_whatever_they_look_like() {
        let found = read("versions: {1.0: a.onnx, 007: b.onnx, true: c.onnx}").unwrap();
        assert_eq!(
            found[0].value,
            json!({"versions": {"1.0": "a.onnx", "007": "b.onnx", "true": "c.onnx"}})
        );
    }

    #[test]
    fn what_is_ambiguous_is_noted_with_its_place() {
        for (text, wrong) in [
            ("a: {b: 1, b: 2}", vec![Wrong::new("/a/b", "is there twice")]),
            ("a: [.nan]", vec![Wrong::new("/a/0", "is not a number")]),
            (
                "a/b: !secret x",
                vec![Wrong::new("/a~1b", "has a tag (!), which means nothing here")],
            ),
        ] {
            assert_eq!(read(text).unwrap()[0].wrong, wrong, "{text}");
        }
    }

    #[test]
    fn what_is_broken_has_a_line_and_is_not_quoted() {
        let broken = read("a: 1\n---\nb: [cst_secret\nc: 2\n").unwrap_err();
        assert_eq!((broken.line.is_some(), broken.document), (true, 2));
        assert!(!broken.reason.contains("cst_secret"), "{broken:?}");
        assert!(read("a: *nowhere").is_err());
    }

    #[test]
    fn it_is_bounded() {
        let deep = format!("a: {}{}", "[".repeat(60), "]".repeat(60));
        assert!(read(&deep).unwrap_err().reason.contains("levels deep"));
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d]\n";
        assert!(read(bomb).unwrap_err().reason.contains("read at once"));
        let many = "---\na: 1\n".repeat(1_001);
        assert!(read(&many).unwrap_err().reason.contains("documents"));
    }

    #[test]
    fn places_have_lines() {
        let text = "a: 1\n---\n# more\nb:\n  c:\n    - x\n    - y: 1\n  d: {e: 2}\n";
        for (number, pointer, found) in [
            (1, "/a", Some(1)),
            (2, "/b/c/0", Some(6)),
            (2, "/b/c/1/y", Some(7)),
            (2, "/b/d/e", Some(8)),
            (2, "", Some(4)),
            (3, "/a", None),
        ] {
            assert_eq!(line(text, number, pointer), found, "{number} {pointer}");
        }
    }
}
