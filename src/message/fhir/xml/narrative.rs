//! The XHTML of a narrative as JSON has it: one `div` that says its namespace itself.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::read::Refused;
use crate::fhir::xhtml;

/// `source`, which begins and ends with the `div`, is in XHTML's namespace by its own or by what is around it. It stays
/// as it is where it says its namespace; a prefix is taken off its names.
pub(super) fn narrative(source: &str) -> Result<String, Refused> {
    if xhtml::check_form(source).is_ok() {
        return Ok(source.to_owned());
    }
    let text = renamed(source)?;
    xhtml::check_form(&text)?;
    Ok(text)
}

/// With its names unprefixed, and the namespace at its `div`.
fn renamed(source: &str) -> Result<String, Refused> {
    let mut reader = Reader::from_str(source);
    let (mut out, mut prefix) = (String::with_capacity(source.len() + 64), None::<String>);
    loop {
        let before = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let event = reader.read_event().map_err(|_| "the narrative is no well-formed XML")?;
        let after = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let root = prefix.is_none();
                let own = tag.name().as_ref().split_once(':').map_or("", |(prefix, _)| prefix).to_owned();
                let prefix = prefix.get_or_insert(own);
                let end = if matches!(event, Event::Empty(_)) { "/>" } else { ">" };
                begin(&mut out, tag, prefix, root)?;
                out.push_str(end);
            }
            Event::End(tag) => {
                let name = local(tag.name().as_ref(), prefix.as_deref().unwrap_or_default()).to_owned();
                out.extend(["</", &name, ">"]);
            }
            Event::Eof => return Ok(out),
            _ => out.push_str(source.get(before..after).unwrap_or_default()),
        }
    }
}

/// `<name attributes`, without the declarations of namespaces.
fn begin(out: &mut String, tag: &BytesStart<'_>, prefix: &str, root: bool) -> Result<(), Refused> {
    out.push('<');
    out.push_str(local(tag.name().as_ref(), prefix));
    if root {
        out.extend([" xmlns=\"", xhtml::NAMESPACE, "\""]);
    }
    for (number, attribute) in tag.attributes().enumerate() {
        let attribute = attribute.map_err(|_| "the narrative is no well-formed XML")?;
        let name = attribute.key.as_ref();
        if number >= xhtml::ATTRIBUTES {
            return Err("an element of the narrative has too many attributes");
        }
        if name != "xmlns" && !name.starts_with("xmlns:") {
            out.extend([" ", name, "=\"", &attribute.value.replace('"', "&quot;"), "\""]);
        }
    }
    Ok(())
}

fn local<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(':')).filter(|_| !prefix.is_empty()).unwrap_or(name)
}
