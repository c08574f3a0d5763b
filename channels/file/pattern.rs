//! Which file names a drop folder takes.

use std::ffi::OsStr;
use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// One or more globs (`"*.hl7"`, `["ADT*", "ORU*"]`), compiled; upper and lower case are the same.
#[derive(Clone, Serialize)]
#[serde(into = "Vec<String>")]
pub struct Patterns {
    globs: Vec<String>,
    set: GlobSet,
}

impl Patterns {
    /// Compiles `globs`.
    ///
    /// # Errors
    ///
    /// Which glob is wrong, and why, for a person.
    pub fn new(globs: Vec<String>) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for glob in &globs {
            set.add(GlobBuilder::new(glob).case_insensitive(true).build().map_err(|error| error.to_string())?);
        }
        let set = set.build().map_err(|error| error.to_string())?;
        Ok(Self { globs, set })
    }

    /// True if a file of this name is to be taken.
    #[must_use]
    pub fn matches(&self, name: &OsStr) -> bool {
        self.set.is_match(name)
    }
}

impl From<Patterns> for Vec<String> {
    fn from(patterns: Patterns) -> Self {
        patterns.globs
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.globs.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Patterns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file name pattern like \"*.hl7\", or a list of them")
    }

    fn visit_str<E: de::Error>(self, glob: &str) -> Result<Patterns, E> {
        Patterns::new(vec![glob.to_owned()]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Patterns, A::Error> {
        let mut globs = Vec::new();
        while let Some(glob) = list.next_element()? {
            globs.push(glob);
        }
        Patterns::new(globs).map_err(de::Error::custom)
    }
}
