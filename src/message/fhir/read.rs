//! JSON, read so that nothing is lost and every mistake has a place.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use crate::Fault;
use crate::json::{Map, Number, Text, Value};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How big a resource may be in ways that its length does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most objects and lists within each other; at most 100.
    pub depth: usize,
    /// Most entries of a Bundle.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, entries: 100_000 }
    }
}

/// The name under which `serde_json` hands over the digits of a number.
const NUMBER: &str = "$serde_json::private::Number";

/// Reads a resource, most often a Bundle, and checks that it is one (see [`super::check()`]). Numbers keep their
/// digits, elements their order.
///
/// # Errors
///
/// A [`Fault`] with the element as location, and line and column in its text: if the bytes are no JSON in UTF-8, name
/// an element twice, are nested too deep, or are no resource that is taken here.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Value, Fault> {
    let value = parse(bytes, limits)?;
    super::check::check(&value, limits)?;
    Ok(value)
}

/// Reads any JSON as [`read()`] does, without a look at what it says.
///
/// # Errors
///
/// As [`read()`], but for what is no resource that is taken here.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, Fault> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if memchr::memmem::find(bytes, NUMBER.as_bytes()).is_some() {
        // Such an object could not be told from a number.
        return Err(Fault::new(102, None, format!("no element can be called {NUMBER}")));
    }
    let trail = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let element = Element { depth: limits.depth.min(100), trail: &trail };
    let value = element.deserialize(&mut deserializer).map_err(|error| no_json(&error, &trail.borrow()))?;
    if let Err(error) = deserializer.end() {
        let text = "something follows the end of the resource; send one resource at a time";
        return Err(Fault::new(102, None, format!("{text} ({})", position(&error))));
    }
    Ok(value)
}

fn no_json(error: &serde_json::Error, trail: &[Step]) -> Fault {
    let reason = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends before it is complete".to_owned(),
        _ => {
            // Without the position, which is said below.
            let text = error.to_string();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        }
    };
    Fault::new(102, location(trail), format!("{reason} ({})", position(error)))
}

fn position(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// One step of the way to an element.
enum Step {
    Name(String),
    Index(usize),
}

/// `entry[3].resource`, from steps in the order from the element to the root.
fn location(trail: &[Step]) -> Option<String> {
    let mut out = String::new();
    for step in trail.iter().rev() {
        match step {
            Step::Name(name) if out.is_empty() => out.push_str(name),
            Step::Name(name) => out.extend([".", name]),
            Step::Index(n) => out.push_str(&format!("[{n}]")),
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Reads one element and all within it.
#[derive(Clone, Copy)]
struct Element<'a> {
    /// How many levels more there may be.
    depth: usize,
    /// The way to the element that is wrong, filled in only once there is one.
    trail: &'a RefCell<Vec<Step>>,
}

impl<'a> Element<'a> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(|depth| Self { depth, ..self }).ok_or_else(|| E::custom("objects and lists are nested too deep"))
    }

    fn note<E>(self, step: impl FnOnce() -> Step) -> impl FnOnce(E) -> E {
        move |error| {
            self.trail.borrow_mut().push(step());
            error
        }
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, is: bool) -> Result<Value, E> {
        Ok(Value::Bool(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let item = self.deeper()?;
        let mut items = Vec::new();
        loop {
            let at = items.len();
            match list.next_element_seed(item).map_err(self.note(|| Step::Index(at)))? {
                Some(value) => items.push(value),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let child = self.deeper()?;
        let mut elements = Map::new();
        let mut names = Names::default();
        while let Some(key) = object.next_key()? {
            let name = match key {
                Key::Number => {
                    let digits: String = object.next_value()?;
                    let number = digits.parse::<Number>();
                    return number.map(Value::Number).map_err(|_| de::Error::custom("this is no number"));
                }
                Key::Name(name) => name,
            };
            if names.are_with(&name, &elements) {
                let error = de::Error::custom("this element stands here twice");
                return Err(self.note(|| Step::Name(shown(&name)))(error));
            }
            let value = object.next_value_seed(child).map_err(self.note(|| Step::Name(shown(&name))))?;
            elements.push(name, value);
        }
        Ok(Value::Object(elements))
    }
}

/// The names in an object with very many elements, so that one that stands there twice is found quickly.
#[derive(Default)]
struct Names(HashSet<Text>);

impl Names {
    /// Objects of more elements are not looked through for a name.
    const FEW: usize = 32;

    /// True if `elements` has one called `name`; it is to be added next.
    fn are_with(&mut self, name: &Text, elements: &Map) -> bool {
        if elements.len() < Self::FEW {
            return elements.contains_key(name);
        }
        if self.0.is_empty() {
            self.0.extend(elements.keys().cloned());
        }
        !self.0.insert(name.clone())
    }
}

/// The name of an element, for a person; what is none may be patient data.
fn shown(name: &str) -> String {
    let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_name { name.to_owned() } else { "?".to_owned() }
}

/// A name in an object, or the mark of a number.
enum Key {
    Number,
    Name(Text),
}

impl<'de> de::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key, E> {
                Ok(if name == NUMBER { Key::Number } else { Key::Name(Text::new(name)) })
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key::Name(Text::new(name)))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}
