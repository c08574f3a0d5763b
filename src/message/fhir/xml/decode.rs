//! The characters of an XML document: UTF-8, or what its declaration or its first bytes say.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use crate::Fault;

/// The text of `bytes`, without a byte order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or_else(|| (declared(bytes).unwrap_or(UTF_8), 0));
    let bytes = bytes.get(mark..).unwrap_or_default();
    encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or_else(|| {
        Fault::new(102, None, format!("the bytes are no {}, as which they are declared", encoding.name()))
    })
}

/// `encoding="…"` of the declaration, which is plain ASCII.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let end = memchr::memmem::find(bytes.get(..bytes.len().min(200))?, b"?>")?;
    let declaration = std::str::from_utf8(bytes.get(..end)?).ok()?.strip_prefix("<?xml")?;
    let (_, rest) = declaration.split_once("encoding")?;
    let label = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = label.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Encoding::for_label(label.get(1..)?.split(quote).next()?.as_bytes())
}
