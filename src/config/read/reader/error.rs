//! What serde says is wrong, in the words of somebody who writes TOML.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::read::nearest;
use crate::config::read::tree::Node;

/// A serde error and the value that it is about.
#[derive(Debug)]
pub(super) struct Error<'a> {
    pub(super) kind: Kind,
    pub(super) at: Option<&'a Node>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// `what is wrong; what to do (at character N)`, the last two if there is anything to say.
    Wrong(String),
    Missing(&'static str),
    Reported,
}

impl Error<'_> {
    /// With the message `what is wrong; what to do`.
    pub(super) fn wrong(message: String) -> Self {
        Self { kind: Kind::Wrong(message), at: None }
    }
}

impl<'a> Error<'a> {
    /// Says where it happened, unless something further in has.
    pub(super) fn at(mut self, node: &'a Node) -> Self {
        self.at.get_or_insert(node);
        self
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Error<'_> {}

impl de::Error for Error<'_> {
    fn custom<T: fmt::Display>(message: T) -> Self {
        match message.to_string().as_str() {
            "invalid socket address syntax" => {
                Self::wrong("this is no socket address; write it like \"127.0.0.1:2575\"".to_owned())
            }
            message => Self::wrong(message.to_owned()),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(format!("expected {}, found {}", in_words(&expected.to_string()), kind_of(unexpected)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(format!("expected {}", in_words(&expected.to_string())))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::wrong(format!("expected {}, found {length} elements", in_words(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::wrong(format!("`{variant}` is unknown here; {}", nearest::help(variant, known)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { kind: Kind::Missing(field), at: None }
    }
}

/// Rust's names for types, in the words of somebody who writes TOML.
fn in_words(expected: &str) -> String {
    match expected {
        "a string" | "string" => "text in quotes".into(),
        "a boolean" => "`true` or `false`".into(),
        "socket address" => "an address and a port in quotes, like \"127.0.0.1:2575\"".into(),
        "path string" => "a path in quotes".into(),
        "f64" | "f32" => "a number".into(),
        "a sequence" => "a list in [ ]".into(),
        "a map" => "a table".into(),
        _ if expected.starts_with("a nonzero") => "a whole number from 1 on".into(),
        _ if expected.starts_with("struct ") => "a table".into(),
        _ if expected.starts_with("enum ") || expected.contains("variant") => "one of its names in quotes".into(),
        _ => match expected.split_at_checked(1) {
            Some(("u", width)) if width == "size" || width.parse::<u32>().is_ok() => {
                format!("a whole number from 0 on{}", most(width))
            }
            Some(("i", width)) if width == "size" || width.parse::<u32>().is_ok() => "a whole number".into(),
            _ => expected.to_owned(),
        },
    }
}

fn most(width: &str) -> String {
    match width {
        "8" => format!(", at most {}", u8::MAX),
        "16" => format!(", at most {}", u16::MAX),
        "32" => format!(", at most {}", u32::MAX),
        _ => String::new(),
    }
}

fn kind_of(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "`true` or `false`",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "something else",
    }
}
