//! JSON from outside, read without good will: a name stands once in an object, and an object is an object.
//!
//! serde alone takes the last of two equal names of a map, and takes `["dana"]` for a struct whose first field is a name.
//! Two programs that read such a body differently can be played off against each other. The rule a newcomer would break:
//! what comes over the network is read by [`from_slice`], here and on the node, so that both refuse it with its place.

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// One step from an object or an array to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of this name.
    Name(String),
    /// The item with this number, from 0.
    Item(usize),
}

/// What is wrong, and where.
#[derive(Debug)]
pub struct Wrong {
    /// From the whole inwards to the value that is wrong. Empty: the whole, or it is not JSON.
    pub at: Vec<Step>,
    /// What serde says.
    pub error: serde_json::Error,
}

impl Wrong {
    /// The place as a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        self.at.iter().fold(String::new(), |mut pointer, step| {
            pointer.push('/');
            match step {
                Step::Name(name) => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
                Step::Item(item) => pointer.push_str(&item.to_string()),
            }
            pointer
        })
    }
}

/// Reads one JSON text, all of it.
///
/// # Errors
/// What is wrong with it, and where.
pub fn from_slice<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, Wrong> {
    let place = Place::default();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = T::deserialize(Strict {
        inner: &mut reader,
        place: &place,
    });
    let read = read.and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let mut at = place.0.into_inner().unwrap_or_default();
        at.reverse();
        // Where the text itself is broken, the line and the column say it.
        if !error.is_data() {
            at.clear();
        }
        Wrong { at, error }
    })
}

/// Where the first error is: its steps from the inside outwards, gathered while it travels up.
#[derive(Default)]
struct Place(RefCell<Option<Vec<Step>>>);

impl Place {
    fn within<T, E>(&self, result: Result<T, E>, step: impl FnOnce() -> Step) -> Result<T, E> {
        if result.is_err() {
            self.0.borrow_mut().get_or_insert_default().push(step());
        }
        result
    }
}

/// A deserializer, a visitor, an access or a seed, watched.
struct Strict<'p, T> {
    inner: T,
    place: &'p Place,
}

macro_rules! forward {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(Strict { inner: visitor, place: self.place })
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier
    }

    /// What nobody reads may be anything.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_map(visitor)
    }

    /// By this name serde_json knows the text of a value, which is taken as it is.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        if name.starts_with("$serde_json") {
            return self.inner.deserialize_newtype_struct(name, visitor);
        }
        let place = self.place;
        self.inner
            .deserialize_newtype_struct(name, Strict { inner: visitor, place })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, D::Error> {
        let place = self.place;
        self.inner.deserialize_tuple(length, Strict { inner: visitor, place })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let place = self.place;
        self.inner
            .deserialize_tuple_struct(name, length, Strict { inner: visitor, place })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, visitor)
    }
}

macro_rules! pass_on {
    ($($method:ident($type:ty))*) => { $(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )* };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass_on! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128) visit_u8(u8)
        visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String) visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let place = self.place;
        let inner = deserializer;
        self.inner.visit_some(Strict { inner, place })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let place = self.place;
        let inner = deserializer;
        self.inner.visit_newtype_struct(Strict { inner, place })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let items = Items {
            inner: access,
            place: self.place,
            next: 0,
        };
        self.inner.visit_seq(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let members = Members {
            inner: access,
            place: self.place,
            seen: Seen::Few(Vec::new()),
        };
        self.inner.visit_map(members)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let place = self.place;
        let inner = deserializer;
        self.inner.deserialize(Strict { inner, place })
    }
}

struct Items<'p, A> {
    inner: A,
    place: &'p Place,
    next: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let (place, item) = (self.place, self.next);
        self.next += 1;
        let read = self.inner.next_element_seed(Strict { inner: seed, place });
        place.within(read, || Step::Item(item))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct Members<'de, 'p, A> {
    inner: A,
    place: &'p Place,
    seen: Seen<'de>,
}

/// The names so far. Nearly every object has few; comparing them is then cheaper than hashing.
enum Seen<'de> {
    Few(Vec<Cow<'de, str>>),
    Many(HashSet<Cow<'de, str>>, Cow<'de, str>),
}

impl<'de> Seen<'de> {
    const FEW: usize = 16;

    /// Whether it is new.
    fn add(&mut self, name: Cow<'de, str>) -> bool {
        match self {
            Self::Few(names) => {
                if names.contains(&name) {
                    return false;
                }
                if names.len() < Self::FEW {
                    names.push(name);
                } else {
                    let mut many: HashSet<_> = std::mem::take(names).into_iter().collect();
                    many.insert(name.clone());
                    *self = Self::Many(many, name);
                }
                true
            }
            Self::Many(names, last) => {
                last.clone_from(&name);
                names.insert(name)
            }
        }
    }

    fn last(&self) -> String {
        match self {
            Self::Few(names) => names.last().map(ToString::to_string).unwrap_or_default(),
            Self::Many(_, last) => last.to_string(),
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'de, '_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let Some(Name(name)) = self.inner.next_key()? else {
            return Ok(None);
        };
        let key = match &name {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            Cow::Owned(name) => seed.deserialize(StringDeserializer::new(name.clone())),
        };
        let key = self.place.within(key, || Step::Name(name.to_string()))?;
        if !self.seen.add(name.clone()) {
            let twice = Err(de::Error::custom("is there twice"));
            return self.place.within(twice, || Step::Name(name.into_owned()));
        }
        Ok(Some(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let place = self.place;
        let read = self.inner.next_value_seed(Strict { inner: seed, place });
        place.within(read, || Step::Name(self.seen.last()))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// A member's name, borrowed from the text where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests;
