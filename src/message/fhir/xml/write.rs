//! From JSON to XML.

use std::fmt::Write as _;

use super::{FHIR, trail};
use crate::Fault;
use crate::fhir::definitions::{Element, Kind, Primitive, TypeId, types};
use crate::fhir::{Object, Value, xhtml};

/// Most elements within each other.
const DEEPEST: usize = 128;

/// `resource` as an XML document, indented for people; numbers keep their digits, narratives stay as they are.
///
/// # Errors
///
/// The first [`Fault`], located as `Patient.name[0].given[1]`: where XML has no place for something, as it is no element
/// of R4, null, an empty list, of another JSON type than R4 gives it, or a character that XML cannot hold.
pub fn write(resource: &Value) -> Result<String, Fault> {
    let mut writer =
        Writer { out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), trail: Vec::new(), depth: 0 };
    let written = writer.resource(resource);
    written.map_err(|text| Fault::new(102, trail::location(&writer.trail), text))?;
    writer.out.push('\n');
    Ok(writer.out)
}

/// What was written so far, and where in the resource this is.
struct Writer<'a> {
    out: String,
    trail: Vec<trail::Step<'a>>,
    /// Elements of XML that are open.
    depth: usize,
}

/// Why XML has no place for something.
type Refused = &'static str;

/// An element that is there: its value, and what stands beside it in `_name`.
struct Present<'a> {
    element: &'static Element,
    value: Option<&'a Value>,
    beside: Option<&'a Value>,
}

/// The JSON null stands for nothing.
fn valued(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

impl<'a> Writer<'a> {
    /// Opens `<name attributes`, on a line of its own; `>` or `/>` is to follow.
    fn open(&mut self, name: &str) -> Result<(), Refused> {
        if self.depth >= DEEPEST {
            return Err("elements are nested too deep");
        }
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.depth));
        self.out.push('<');
        self.out.push_str(name);
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.depth));
        self.out.extend(["</", name, ">"]);
    }

    fn close_empty(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.out.push_str("/>");
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        if !xhtml::is_xml_text(value) {
            return Err("the value has a control character, which XML cannot hold");
        }
        self.out.extend([" ", name, "=\""]);
        for c in value.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                // As they are, they would be read as blanks.
                '\t' | '\n' | '\r' => drop(write!(self.out, "&#{};", u32::from(c))),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
        Ok(())
    }

    fn resource(&mut self, resource: &'a Value) -> Result<(), Refused> {
        let own = resource.as_object().ok_or("a resource is a JSON object")?;
        let name = own.get("resourceType").and_then(Value::as_str).ok_or("the resource type is missing")?;
        let kind = types().resource(name).ok_or("this is no resource type of FHIR R4")?;
        let root = self.trail.is_empty();
        if root {
            self.trail.push((name, None));
        }
        self.open(name)?;
        if root {
            self.attribute("xmlns", FHIR)?;
        }
        self.body(name, own, kind)?;
        if root {
            self.trail.pop();
        }
        Ok(())
    }

    /// The attributes and elements of `own`, and the end of the tag `name`.
    fn body(&mut self, name: &str, own: &'a Object, kind: TypeId) -> Result<(), Refused> {
        let (attributes, elements): (Vec<_>, Vec<_>) =
            self.present(own, kind)?.into_iter().partition(|present| present.element.attribute);
        for Present { element, value, beside } in attributes {
            self.trail.push((&element.name, None));
            match (value, beside) {
                (Some(Value::String(text)), None) => self.attribute(&element.name, text)?,
                (Some(_), None) => return Err("the value is a text, in quotation marks"),
                _ => return Err("an attribute of XML has no extensions"),
            }
            self.trail.pop();
        }
        if elements.is_empty() {
            self.close_empty();
            return Ok(());
        }
        self.out.push('>');
        for present in &elements {
            self.element(present)?;
        }
        self.close(name);
        Ok(())
    }

    /// The elements of `own` in the order of the definition.
    fn present(&mut self, own: &'a Object, kind: TypeId) -> Result<Vec<Present<'a>>, Refused> {
        let of = types().get(kind);
        let mut all: Vec<Present<'a>> = Vec::with_capacity(own.len());
        for (name, value) in own.iter() {
            let name: &'a str = name;
            let (stem, is_beside) = name.strip_prefix('_').map_or((name, false), |stem| (stem, true));
            let found = of.element(stem).filter(|e| !is_beside || matches!(e.kind, Kind::Primitive(_)));
            let Some(element) = found else {
                if of.resource && name == "resourceType" {
                    continue;
                }
                self.trail.push((name, None));
                return Err("R4 has no such element");
            };
            let at = match all.iter().position(|present| std::ptr::eq(present.element, element)) {
                Some(at) => at,
                None => {
                    all.push(Present { element, value: None, beside: None });
                    all.len() - 1
                }
            };
            if let Some(present) = all.get_mut(at) {
                *(if is_beside { &mut present.beside } else { &mut present.value }) = Some(value);
            }
        }
        all.sort_by_key(|present| present.element.place);
        Ok(all)
    }

    fn element(&mut self, present: &Present<'a>) -> Result<(), Refused> {
        let element = present.element;
        self.trail.push((&element.name, None));
        if element.list {
            let list = |value: Option<&'a Value>| match value {
                Some(Value::Array(items)) if !items.is_empty() => Ok(items.as_slice()),
                None => Ok(&[][..]),
                Some(_) => Err("the element repeats, so it is a list, and not an empty one"),
            };
            let (values, besides) = (list(present.value)?, list(present.beside)?);
            for number in 0..values.len().max(besides.len()) {
                if let Some(step) = self.trail.last_mut() {
                    step.1 = Some(number);
                }
                self.one(element, valued(values.get(number)), valued(besides.get(number)))?;
            }
        } else {
            self.one(element, valued(present.value), valued(present.beside))?;
        }
        self.trail.pop();
        Ok(())
    }

    fn one(
        &mut self,
        element: &'static Element,
        value: Option<&'a Value>,
        beside: Option<&'a Value>,
    ) -> Result<(), Refused> {
        let primitive = match element.kind {
            Kind::Primitive(Primitive::Xhtml) => return self.narrative(value, beside),
            Kind::Primitive(primitive) => primitive,
            Kind::Complex(kind) => return self.complex(element, kind, value),
        };
        self.open(&element.name)?;
        let beside = match beside {
            None => None,
            Some(Value::Object(beside)) => Some(beside),
            Some(_) => return Err("an object with the id and the extensions stands here"),
        };
        let id = beside.and_then(|beside| beside.get("id"));
        if let Some(id) = id {
            self.attribute("id", id.as_str().ok_or("an id is a text")?)?;
        }
        match value {
            Some(value) => self.value(primitive, value)?,
            None if beside.is_some_and(|beside| !beside.is_empty()) => {}
            None => return Err("there is neither a value nor an extension"),
        }
        let rest = beside.is_some_and(|beside| beside.len() > usize::from(id.is_some()));
        let Some(beside) = beside.filter(|_| rest) else {
            self.close_empty();
            return Ok(());
        };
        self.out.push('>');
        let of = types().id("Element").unwrap_or(TypeId(u16::MAX));
        for present in self.present(beside, of)? {
            if !present.element.attribute {
                self.element(&present)?;
            }
        }
        self.close(&element.name);
        Ok(())
    }

    fn value(&mut self, primitive: Primitive, value: &Value) -> Result<(), Refused> {
        match (primitive, value) {
            (Primitive::Boolean, Value::Bool(is)) => self.attribute("value", if *is { "true" } else { "false" }),
            (Primitive::Boolean, _) => Err("a boolean is true or false, without quotation marks"),
            (_, Value::Number(number)) if primitive.is_number() => self.attribute("value", number.as_str()),
            _ if primitive.is_number() => Err("a number is written without quotation marks"),
            (_, Value::String(text)) => self.attribute("value", text),
            _ => Err("the value is a text, in quotation marks"),
        }
    }

    fn complex(&mut self, element: &'static Element, kind: TypeId, value: Option<&'a Value>) -> Result<(), Refused> {
        let Some(value) = value else { return Err("the value is null") };
        self.open(&element.name)?;
        if types().is_resource(kind) {
            self.out.push('>');
            self.resource(value)?;
            self.close(&element.name);
            return Ok(());
        }
        self.body(&element.name, value.as_object().ok_or("a JSON object stands here")?, kind)
    }

    fn narrative(&mut self, value: Option<&Value>, beside: Option<&Value>) -> Result<(), Refused> {
        let text = value.and_then(Value::as_str).ok_or("the narrative is a text, in quotation marks")?.trim();
        if beside.is_some() {
            return Err("the narrative has no extensions in XML");
        }
        xhtml::check_form(text)?;
        self.out.push('\n');
        self.out.push_str(text);
        Ok(())
    }
}
