//! Canonical JSON (RFC 8785): members sorted, no blanks, numbers as ECMAScript writes them.

use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};

use super::SignatureFault;
use crate::json::{Map, Value};

/// `value` as canonical JSON. Numbers lose what is beyond an IEEE 754 double, and their trailing zeros: so RFC 8785
/// has it, and so everybody computes the same bytes.
///
/// # Errors
///
/// [`SignatureFault::Unknown`] for a number that is too large for a double.
pub fn canonical_json(value: &Value) -> Result<Vec<u8>, SignatureFault> {
    serde_json_canonicalizer::to_vec(&Canonical(value))
        .map_err(|_| SignatureFault::Unknown("a number in it has no canonical form".to_owned()))
}

struct Canonical<'a>(&'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => {
                let number = number.as_f64().ok_or_else(|| S::Error::custom("no finite number"))?;
                serializer.serialize_f64(number)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Canonical)),
            Value::Object(members) => serialize_map(members, serializer),
            plain => plain.serialize(serializer),
        }
    }
}

fn serialize_map<S: Serializer>(members: &Map, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(members.len()))?;
    for (key, value) in members {
        map.serialize_entry(key.as_str(), &Canonical(value))?;
    }
    map.end()
}
