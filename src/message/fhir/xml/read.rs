//! From XML to JSON.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use super::narrative::narrative;
use super::{FHIR, decode, members::Members, trail};
use crate::Fault;
use crate::fhir::definitions::{Element, Kind, Primitive, TypeId, types};
use crate::fhir::{Limits, Object, Value, xhtml};

/// What an XML document has become.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The resource.
    pub resource: Value,
    /// How many comments there were outside of narratives: FHIR JSON has no place for them.
    pub comments: usize,
}

/// Reads one resource. Decimals keep their digits, narratives all their characters.
///
/// There are no entities but XML's own five, and no DTD; `limits` bounds the depth.
///
/// # Errors
///
/// A [`Fault`] with the element as location, and line and column in its text: if the bytes are no well-formed XML, have
/// what R4 does not know, name an element twice that does not repeat, or are nested too deep.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Read, Fault> {
    let text = decode::decode(bytes)?;
    let mut reader = NsReader::from_str(&text);
    reader.config_mut().check_comments = true;
    let depth = limits.depth.min(100);
    let mut document = Document { reader, text: &text, trail: Vec::new(), open: 0, depth, comments: 0 };
    match document.whole() {
        Ok(resource) => Ok(Read { resource, comments: document.comments }),
        Err(reason) => {
            let (line, column) = document.position();
            let text = format!("{reason} (line {line}, column {column})");
            Err(Fault::new(102, trail::location(&document.trail), text))
        }
    }
}

/// Why something is refused.
pub(super) type Refused = &'static str;

const NO_XML: Refused = "this is no well-formed XML";

/// The rest of a document, and where in it this is.
struct Document<'a> {
    reader: NsReader<&'a [u8]>,
    text: &'a str,
    trail: Vec<trail::Step<'static>>,
    /// Elements that are open.
    open: usize,
    /// How many levels more there may be.
    depth: usize,
    comments: usize,
}

/// The beginning of an element.
struct Tag<'a> {
    start: BytesStart<'a>,
    /// True if it has an end of its own.
    open: bool,
    /// Where it begins.
    at: usize,
    of: Namespace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Fhir,
    Xhtml,
    Other,
}

impl<'a> Document<'a> {
    /// Line and column, counted from 1.
    fn position(&self) -> (usize, usize) {
        let at = usize::try_from(self.reader.error_position().max(self.reader.buffer_position())).unwrap_or(usize::MAX);
        let before = self.text.as_bytes().get(..at.min(self.text.len())).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', before).count();
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        (line + 1, column + 1)
    }

    fn offset(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// The next beginning of an element; `None` at the end of the one that is open.
    fn next(&mut self) -> Result<Option<Tag<'a>>, Refused> {
        loop {
            let at = self.offset();
            let (namespace, event) = self.reader.read_resolved_event().map_err(|_| NO_XML)?;
            let of = match namespace {
                ResolveResult::Bound(name) if name.as_ref() == FHIR => Namespace::Fhir,
                ResolveResult::Bound(name) if name.as_ref() == xhtml::NAMESPACE => Namespace::Xhtml,
                _ => Namespace::Other,
            };
            match event {
                Event::Start(start) => {
                    self.open += 1;
                    return Ok(Some(Tag { start, open: true, at, of }));
                }
                Event::Empty(start) => return Ok(Some(Tag { start, open: false, at, of })),
                Event::End(_) => {
                    self.open = self.open.saturating_sub(1);
                    return Ok(None);
                }
                Event::Eof if self.open == 0 => return Ok(None),
                Event::Eof => return Err("the document ends before its elements do"),
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                    return Err("text stands between elements; FHIR has values in attributes");
                }
                Event::Comment(_) => self.comments += 1,
                Event::Decl(_) | Event::PI(_) => {}
                Event::DocType(_) => return Err("a document of FHIR has no DTD"),
            }
        }
    }

    fn whole(&mut self) -> Result<Value, Refused> {
        let root = self.next()?.ok_or("there is no element")?;
        let resource = self.resource(&root)?;
        match self.next()? {
            None if self.offset() >= self.text.len() => Ok(resource),
            _ => Err("something follows the end of the resource"),
        }
    }

    /// A resource, whose element is its type.
    fn resource(&mut self, tag: &Tag<'a>) -> Result<Value, Refused> {
        if tag.of != Namespace::Fhir {
            return Err("the element is not in FHIR's namespace, http://hl7.org/fhir");
        }
        let id = types().resource(tag.start.local_name().as_ref()).ok_or("this is no resource type of FHIR R4")?;
        let kind = types().get(id);
        let root = self.trail.is_empty();
        if root {
            self.trail.push((&kind.name, None));
        }
        let mut own = Object::new();
        own.insert("resourceType", Value::from(kind.name.as_str()));
        self.attributes(tag, &mut |_, _| Err("a resource has no attributes"))?;
        self.elements(tag, id, own).inspect(|_| {
            if root {
                self.trail.clear();
            }
        })
    }

    /// Calls `take` with the attributes of an element that are FHIR's.
    fn attributes(
        &mut self,
        tag: &Tag<'_>,
        take: &mut dyn FnMut(&str, String) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        for (number, attribute) in tag.start.attributes().enumerate() {
            let attribute = attribute.map_err(|_| NO_XML)?;
            let name = attribute.key.as_ref();
            // Of namespaces, and of `xsi:schemaLocation`.
            if name == "xmlns" || name.starts_with("xmlns:") || name.starts_with("xsi:") {
                continue;
            }
            if number >= xhtml::ATTRIBUTES || attribute.value.contains('<') {
                return Err(NO_XML);
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| "there is an entity that XML does not know")?;
            take(name, value.into_owned())?;
        }
        Ok(())
    }

    /// The elements of a type, up to the end of `tag`, into `own`.
    fn elements(&mut self, tag: &Tag<'a>, kind: TypeId, own: Object) -> Result<Value, Refused> {
        let Some(depth) = self.depth.checked_sub(1) else { return Err("elements are nested too deep") };
        self.depth = depth;
        let mut members = Members::new(own);
        while let Some(child) = if tag.open { self.next()? } else { None } {
            let found = types().get(kind).element(child.start.local_name().as_ref()).filter(|e| !e.attribute);
            let Some(element) = found else { return Err("R4 has no such element here") };
            let is_xhtml = element.kind == Kind::Primitive(Primitive::Xhtml);
            if child.of != if is_xhtml { Namespace::Xhtml } else { Namespace::Fhir } {
                return Err("the element is in another namespace");
            }
            let number = members.count(element);
            self.trail.push((&element.name, element.list.then_some(number)));
            if number > 0 && !element.list {
                return Err("the element does not repeat");
            }
            let (value, beside) = self.element(&child, element)?;
            members.add(element, value, beside);
            self.trail.pop();
        }
        self.depth += 1;
        Ok(Value::Object(members.finish()))
    }

    /// The value of an element, and what JSON has beside it in `_name`.
    fn element(&mut self, tag: &Tag<'a>, element: &'static Element) -> Result<(Value, Value), Refused> {
        match element.kind {
            Kind::Primitive(Primitive::Xhtml) => Ok((self.narrative(tag)?, Value::Null)),
            Kind::Primitive(primitive) => self.primitive(tag, primitive),
            Kind::Complex(kind) if types().is_resource(kind) => {
                self.attributes(tag, &mut |_, _| Err("there is an attribute that R4 does not know"))?;
                let inner = if tag.open { self.next()? } else { None };
                let resource = self.resource(&inner.ok_or("there is no resource in the element")?)?;
                match self.next()? {
                    None => Ok((resource, Value::Null)),
                    Some(_) => Err("there is more than one resource in the element"),
                }
            }
            Kind::Complex(kind) => {
                let mut own = Object::new();
                self.attributes(tag, &mut |name, value| {
                    types()
                        .get(kind)
                        .element(name)
                        .filter(|e| e.attribute)
                        .ok_or("there is an attribute that R4 does not know")?;
                    own.insert(name, Value::from(value));
                    Ok(())
                })?;
                Ok((self.elements(tag, kind, own)?, Value::Null))
            }
        }
    }

    fn primitive(&mut self, tag: &Tag<'a>, primitive: Primitive) -> Result<(Value, Value), Refused> {
        let (mut text, mut beside) = (None, Object::new());
        self.attributes(tag, &mut |name, value| {
            match name {
                "value" => text = Some(value),
                "id" => drop(beside.insert("id", Value::from(value))),
                _ => return Err("there is an attribute that R4 does not know"),
            }
            Ok(())
        })?;
        let value = text.map_or(Ok(Value::Null), |text| value_of(primitive, text))?;
        let of = types().id("Element").unwrap_or(TypeId(u16::MAX));
        let beside = self.elements(tag, of, beside)?;
        let is_empty = beside.as_object().is_none_or(Object::is_empty);
        match (value.is_null(), is_empty) {
            (true, true) => Err("there is neither a value nor an extension"),
            (_, true) => Ok((value, Value::Null)),
            (_, false) => Ok((value, beside)),
        }
    }

    /// The `div` of a narrative, with all its characters.
    fn narrative(&mut self, tag: &Tag<'a>) -> Result<Value, Refused> {
        if tag.open {
            self.reader.read_to_end(tag.start.name()).map_err(|_| NO_XML)?;
            self.open = self.open.saturating_sub(1);
        }
        let source = self.text.get(tag.at..self.offset()).ok_or(NO_XML)?;
        narrative(source).map(Value::from)
    }
}

/// The JSON of a value.
fn value_of(primitive: Primitive, text: String) -> Result<Value, Refused> {
    match primitive {
        Primitive::Boolean => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("a boolean is true or false"),
        },
        _ if primitive.is_number() => text.parse().map(Value::Number).map_err(|_| "the value is no number"),
        _ => Ok(Value::from(text)),
    }
}
