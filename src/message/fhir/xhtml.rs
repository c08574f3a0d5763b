//! The XHTML of narratives: whether it is well-formed, and nothing that R4 forbids in it.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// The namespace of XHTML.
pub(super) const NAMESPACE: &str = "http://www.w3.org/1999/xhtml";
/// Most elements within each other.
const DEEPEST: usize = 64;

/// What is wrong with a narrative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is no well-formed `div` of XHTML.
    Form(&'static str),
    /// txt-1: it has what a narrative may not have.
    Content(&'static str),
    /// txt-2: it says nothing.
    Empty,
}

/// Checks that `text` is one well-formed `div`, with what FHIR R4 §2.27.4 allows in it alone.
pub(super) fn check(text: &str) -> Result<(), Wrong> {
    let mut content = Content { says: false, wrong: None };
    read(text, &mut |event| content.see(event)).map_err(Wrong::Form)?;
    match content {
        Content { wrong: Some(wrong), .. } => Err(Wrong::Content(wrong)),
        Content { says: false, .. } => Err(Wrong::Empty),
        Content { .. } => Ok(()),
    }
}

/// Checks that `text` is one well-formed `div`, whatever is in it.
pub(super) fn check_form(text: &str) -> Result<(), &'static str> {
    read(text, &mut |_| {})
}

/// True if XML 1.0 can hold `text`.
pub(super) fn is_xml_text(text: &str) -> bool {
    text.bytes().all(|b| b >= b' ' || matches!(b, b'\t' | b'\n' | b'\r')) && !text.contains(['\u{FFFE}', '\u{FFFF}'])
}

fn read(text: &str, see: &mut dyn FnMut(&Event<'_>)) -> Result<(), &'static str> {
    const NO_XML: &str = "the narrative is no well-formed XML";
    if !is_xml_text(text) {
        return Err("the narrative has a control character that XML does not allow");
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let (mut depth, mut seen) = (0_usize, false);
    loop {
        let event = reader.read_event().map_err(|_| NO_XML)?;
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                if depth == 0 && (seen || tag.name().as_ref() != "div") {
                    return Err("the narrative is one div");
                }
                check_tag(tag).map_err(|()| NO_XML)?;
                if depth == 0 && !is_in_namespace(tag) {
                    return Err(
                        "the narrative's div has the namespace of XHTML, xmlns=\"http://www.w3.org/1999/xhtml\"",
                    );
                }
                seen = true;
                depth += usize::from(matches!(event, Event::Start(_)));
                if depth > DEEPEST {
                    return Err("the narrative's elements are nested too deep");
                }
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(text) if depth == 0 && !text.trim().is_empty() => return Err("the narrative is one div"),
            Event::CData(_) | Event::GeneralRef(_) if depth == 0 => return Err("the narrative is one div"),
            Event::GeneralRef(reference) => {
                let known = matches!(&**reference, "amp" | "lt" | "gt" | "quot" | "apos");
                if !known && !matches!(reference.resolve_char_ref(), Ok(Some(_))) {
                    return Err("the narrative has an entity that XML does not know; write the character itself");
                }
            }
            Event::DocType(_) | Event::Decl(_) | Event::PI(_) => {
                return Err("the narrative has a declaration or an instruction, which R4 does not allow");
            }
            Event::Eof if depth == 0 && seen => return Ok(()),
            Event::Eof => return Err(NO_XML),
            Event::Text(_) | Event::CData(_) | Event::Comment(_) => {}
        }
        see(&event);
    }
}

/// Names are names; attributes are few, quoted, stand once and have no `<`.
fn check_tag(tag: &BytesStart<'_>) -> Result<(), ()> {
    if !is_name(tag.name().as_ref()) {
        return Err(());
    }
    for (number, attribute) in tag.attributes().enumerate() {
        let attribute = attribute.map_err(|_| ())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let is_well_formed = is_name(attribute.key.as_ref()) && !attribute.value.contains('<') && value.is_ok();
        if !is_well_formed || number >= ATTRIBUTES {
            return Err(());
        }
    }
    Ok(())
}

/// Most attributes of an element.
pub(super) const ATTRIBUTES: usize = 64;

/// True for a name of XML.
pub(super) fn is_name(name: &str) -> bool {
    let is_start = |c: char| c.is_alphabetic() || c == '_';
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_numeric() || "-.:\u{B7}".contains(c))
}

fn is_in_namespace(tag: &BytesStart<'_>) -> bool {
    let namespace = tag.attributes().flatten().find(|attribute| attribute.key.as_ref() == "xmlns");
    namespace.is_some_and(|attribute| attribute.value == NAMESPACE)
}

/// What a narrative has in it.
struct Content {
    says: bool,
    wrong: Option<&'static str>,
}

/// HTML 4.0 chapters 7 to 11 without section 9.4, and 15; `a` and `img` (FHIR R4 §2.27.4).
#[rustfmt::skip]
const ELEMENTS: [&str; 60] = [
    "a", "abbr", "acronym", "address", "area", "b", "bdo", "big", "blockquote", "br", "caption", "center", "cite", "code",
    "col", "colgroup", "dd", "dfn", "dir", "div", "dl", "dt", "em", "font", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img",
    "kbd", "li", "map", "menu", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var",
];

impl Content {
    fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(tag) | Event::Empty(tag) => {
                self.says |= tag.name().as_ref() == "img";
                self.check(tag);
            }
            Event::Text(text) => self.says |= !text.trim().is_empty(),
            Event::CData(text) => self.says |= !text.trim().is_empty(),
            Event::GeneralRef(_) => self.says = true,
            _ => {}
        }
    }

    fn check(&mut self, tag: &BytesStart<'_>) {
        let name = tag.name();
        if !ELEMENTS.contains(&name.as_ref()) {
            self.wrong = Some("the narrative has an element that R4 does not allow in it");
        }
        for attribute in tag.attributes().flatten() {
            let name = attribute.key.as_ref();
            let value = attribute.value.trim_start().as_bytes();
            let is_script = value.get(..11).is_some_and(|start| start.eq_ignore_ascii_case(b"javascript:"));
            if name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("on")) || is_script {
                self.wrong = Some("the narrative has active content");
            }
        }
    }
}
