//! Reads a [`Node`] into a config struct by serde, and reports every mistake on the way.
//!
//! Serde stops at its first error. Here an unknown key is reported and passed over, and after any
//! other error the value that caused it is left out and the struct read again, until nothing new
//! turns up. The structs need no attribute for that: this deserializer refuses unknown keys itself.

mod error;
mod keys;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use self::error::{Error, Kind};
pub(in crate::config) use self::keys::keys_of;
use super::document::{Document, MOST};
use super::hide::sounds_secret;
use super::nearest;
use super::tree::{Entry, Node, Value};

/// Reads `node` as `T`. `also` are keys of its table that somebody else reads.
///
/// Returns `None` after reporting to `document` if anything is wrong with it.
pub(in crate::config) fn read<T: DeserializeOwned>(document: &Document, node: &Node, also: &[&str]) -> Option<T> {
    let reading =
        Reading { document, left_out: RefCell::default(), meant: RefCell::default(), failed: Cell::new(false) };
    for _ in 0..MOST {
        let error = match T::deserialize(Reader { node, reading: &reading, also, free_key: None }) {
            Ok(value) => return (!reading.failed.get()).then_some(value),
            Err(error) => error,
        };
        let at = error.at.unwrap_or(node);
        reading.report(error.kind, at);
        if !reading.left_out.borrow_mut().insert(std::ptr::from_ref(at)) || std::ptr::eq(at, node) {
            return None;
        }
    }
    None
}

/// What goes on while one struct is read.
struct Reading<'a> {
    document: &'a Document,
    left_out: RefCell<BTreeSet<*const Node>>,
    /// Keys that an unknown key was probably meant to be: they are not missing.
    meant: RefCell<Vec<(*const Node, String)>>,
    failed: Cell<bool>,
}

impl Reading<'_> {
    fn is_left_out(&self, node: &Node) -> bool {
        self.left_out.borrow().contains(&std::ptr::from_ref(node))
    }

    fn report(&self, kind: Kind, at: &Node) {
        self.failed.set(true);
        match kind {
            // What is there but wrong has been reported as wrong.
            Kind::Missing(key) if at.at(&[key]).is_some() || self.was_meant(at, key) => {}
            Kind::Missing(key) => {
                self.document.missing(at.span.clone(), format!("`{key}` is missing{}", within(at)), None);
            }
            Kind::Wrong(_) if at.is_filled() => {
                let help = "the value is not shown: it was filled in from elsewhere".to_owned();
                self.document.error(at.span.clone(), "what is filled in does not fit here", Some(help));
            }
            Kind::Wrong(message) => {
                let (span, message) = self.pinpoint(at, message);
                match message.split_once("; ") {
                    Some((message, help)) => self.document.error(span, message, Some(help.to_owned())),
                    None => self.document.error(span, message, None),
                }
            }
            Kind::Reported => {}
        }
    }

    /// Takes ` (at character N)` off the end of `message`, and points there within the text of `node`.
    fn pinpoint(&self, node: &Node, message: String) -> (Range<usize>, String) {
        let place = message.strip_suffix(')').and_then(|message| message.rsplit_once(" (at character "));
        let found = place.and_then(|(rest, number)| Some((rest, number.parse::<usize>().ok()?.checked_sub(1)?)));
        match found.and_then(|(rest, offset)| Some((self.document.within(node, offset)?, rest.to_owned()))) {
            Some(pinpointed) => pinpointed,
            None => (node.span.clone(), message),
        }
    }

    fn was_meant(&self, table: &Node, key: &str) -> bool {
        self.meant.borrow().iter().any(|(other, meant)| std::ptr::eq(*other, table) && meant == key)
    }

    fn unknown_key(&self, table: &Node, entry: &Entry, known: &[&str]) {
        self.failed.set(true);
        if let Some(meant) = nearest::nearest(&entry.key, known.iter().copied()) {
            self.meant.borrow_mut().push((table, meant.to_owned()));
        }
        let message = format!("unknown key `{}`{}", entry.key, within(table));
        self.document.error(entry.span.clone(), message, Some(nearest::help(&entry.key, known)));
    }
}

/// ` in [inbound.mllp]`, or nothing at the top of a file.
fn within(table: &Node) -> String {
    match &table.value {
        Value::Table { title, .. } if !title.is_empty() => format!(" in {title}"),
        _ => String::new(),
    }
}

/// The deserializer of one node.
struct Reader<'a, 'r> {
    node: &'a Node,
    reading: &'r Reading<'r>,
    also: &'r [&'r str],
    /// Its key, where the file's writer chose it.
    free_key: Option<&'a str>,
}

impl<'a, 'r> Reader<'a, 'r> {
    /// For a value inside this one.
    fn of(&self, node: &'a Node) -> Self {
        Self { node, reading: self.reading, also: &[], free_key: None }
    }
}

impl<'a> de::Deserializer<'a> for Reader<'a, '_> {
    type Error = Error<'a>;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match &self.node.value {
            Value::Text { text, .. } => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Datetime(value) => visitor.visit_str(value),
            Value::Array(nodes) => visitor.visit_seq(Elements { reader: self, nodes: nodes.iter() }),
            Value::Table { entries, .. } => {
                visitor.visit_map(Entries { reader: self, entries: entries.iter(), value: None, known: None })
            }
            Value::Broken => Err(Error { kind: Kind::Reported, at: None }),
        }
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match &self.node.value {
            Value::Table { entries, .. } => {
                visitor.visit_map(Entries { reader: self, entries: entries.iter(), value: None, known: Some(known) })
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if name == "Secret" {
            self.reading.document.hide(self.node, self.free_key.is_none_or(sounds_secret));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match &self.node.value {
            Value::Text { text, .. } => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table { entries, .. } => match entries.as_slice() {
                [entry] if !known.contains(&entry.key.as_str()) => {
                    self.reading.unknown_key(self.node, entry, known);
                    Err(Error { kind: Kind::Reported, at: None })
                }
                [entry] => visitor.visit_enum(Variant { reader: self.of(&entry.node), key: &entry.key }),
                _ => Err(Error::wrong(format!("expected one of {} here, and no more", nearest::list(known)))),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// A list's elements.
struct Elements<'a, 'r> {
    reader: Reader<'a, 'r>,
    nodes: std::slice::Iter<'a, Node>,
}

impl<'a> SeqAccess<'a> for Elements<'a, '_> {
    type Error = Error<'a>;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Self::Error> {
        let Some(node) = self.nodes.find(|node| !self.reader.reading.is_left_out(node)) else { return Ok(None) };
        seed.deserialize(self.reader.of(node)).map(Some).map_err(|error| error.at(node))
    }
}

/// A table's entries; unknown keys are reported and passed over.
struct Entries<'a, 'r> {
    reader: Reader<'a, 'r>,
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
    known: Option<&'static [&'static str]>,
}

impl<'a> Entries<'a, '_> {
    fn is_known(&self, entry: &Entry) -> bool {
        let Some(known) = self.known else { return true };
        if known.contains(&entry.key.as_str()) {
            return true;
        }
        let also = self.reader.also;
        if !also.contains(&entry.key.as_str()) {
            let others = also.iter().filter(|key| !known.contains(key));
            let all: Vec<&str> = known.iter().chain(others).copied().collect();
            self.reader.reading.unknown_key(self.reader.node, entry, &all);
        }
        false
    }
}

impl<'a> MapAccess<'a> for Entries<'a, '_> {
    type Error = Error<'a>;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        while let Some(entry) = self.entries.next() {
            if !self.reader.reading.is_left_out(&entry.node) && self.is_known(entry) {
                self.value = Some(entry);
                return seed.deserialize(entry.key.as_str().into_deserializer()).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let entry = self.value.take().ok_or_else(|| Error::wrong("a value without a key".into()))?;
        let free_key = self.known.is_none().then_some(entry.key.as_str());
        seed.deserialize(Reader { free_key, ..self.reader.of(&entry.node) }).map_err(|error| error.at(&entry.node))
    }
}

/// An enum written as a table with one key.
struct Variant<'a, 'r> {
    reader: Reader<'a, 'r>,
    key: &'a str,
}

impl<'a, 'r> EnumAccess<'a> for Variant<'a, 'r> {
    type Error = Error<'a>;
    type Variant = Reader<'a, 'r>;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self::Variant), Self::Error> {
        Ok((seed.deserialize(self.key.into_deserializer())?, self.reader))
    }
}

impl<'a> VariantAccess<'a> for Reader<'a, '_> {
    type Error = Error<'a>;

    fn unit_variant(self) -> Result<(), Self::Error> {
        Err(Error::wrong("this takes no value".into()).at(self.node))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Self::Error> {
        let node = self.node;
        seed.deserialize(self).map_err(|error| error.at(node))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Self::Error> {
        let node = self.node;
        de::Deserializer::deserialize_any(self, visitor).map_err(|error| error.at(node))
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let node = self.node;
        de::Deserializer::deserialize_struct(self, "", known, visitor).map_err(|error| error.at(node))
    }
}
