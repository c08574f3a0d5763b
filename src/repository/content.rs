//! One resource as it came: checked as far as FHIR's JSON goes, its links known.

use serde_json::{Map, Value};

use super::kind::{Kind, is_id, kind, split_reference};
use super::outcome::Refusal;

/// A resource to be written.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) content: Map<String, Value>,
    /// What its references say, each once for each time it stands there; contained ones left out.
    pub(super) references: Vec<String>,
}

impl Resource {
    /// Takes `value`, which stands at `root` in the request.
    ///
    /// # Errors
    ///
    /// 400 where it is no FHIR JSON (FHIR R4 §2.6.2): no type, an id that is none, a null, an empty
    /// string, array or object, a reference of a form that there is not, a contained resource that is missing.
    pub(super) fn new(value: Value, root: impl Fn() -> String) -> Result<Self, Refusal> {
        let Value::Object(mut content) = value else {
            return Err(Refusal::invalid("a resource is a JSON object").at(root));
        };
        let kind = content.get("resourceType").and_then(Value::as_str).and_then(kind);
        let kind = kind.ok_or_else(|| {
            Refusal::invalid("`resourceType` does not name a resource type of FHIR R4")
                .at(|| format!("{}.resourceType", root()))
        })?;
        if content.get("id").is_some_and(|id| !id.as_str().is_some_and(is_id)) {
            return Err(Refusal::invalid("the id is not 1 to 64 of A-Z a-z 0-9 - .").at(|| format!("{}.id", root())));
        }
        // Entries of a stored Bundle refer to each other, not to what is here.
        let contained = (kind != "Bundle").then(|| contained_ids(&content));
        let mut walk = Walk { contained, path: Vec::new(), references: Vec::new() };
        walk.object(&content).map_err(|text| Refusal::invalid(text).at(|| walk.expression(&root())))?;
        let references = walk.references;
        drop_version(&mut content);
        Ok(Self { kind, content, references })
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.content.get("id").and_then(Value::as_str)
    }

    /// Puts `id` in, right after the type.
    pub(super) fn set_id(&mut self, id: &str) {
        self.content.shift_remove("id");
        let place = self.content.len().min(1);
        self.content.shift_insert(place, "id".to_owned(), Value::from(id));
    }

    /// Writes `new` for each link that `new` knows: references, and elements of type uri and url
    /// (FHIR R4 §3.1.0.11.2).
    pub(super) fn relink(&mut self, new: &impl Fn(&str) -> Option<String>) {
        relink(&mut self.content, new);
    }

    /// Where the reference `text` stands, for a message about it.
    pub(super) fn expression_of(&self, text: &str, root: &str) -> String {
        fn find(value: &Value, text: &str, path: &str) -> Option<String> {
            match value {
                Value::Object(object) => object.iter().find_map(|(key, value)| match value {
                    Value::String(found) if key == "reference" && found == text => Some(format!("{path}.{key}")),
                    value => find(value, text, &format!("{path}.{key}")),
                }),
                Value::Array(list) => {
                    list.iter().enumerate().find_map(|(index, value)| find(value, text, &format!("{path}[{index}]")))
                }
                _ => None,
            }
        }
        self.content
            .iter()
            .find_map(|(key, value)| find(value, text, &format!("{root}.{key}")))
            .unwrap_or(root.to_owned())
    }
}

/// The server's own account of a version is not content.
fn drop_version(content: &mut Map<String, Value>) {
    if let Some(Value::Object(meta)) = content.get_mut("meta") {
        meta.shift_remove("versionId");
        meta.shift_remove("lastUpdated");
        if meta.is_empty() {
            content.shift_remove("meta");
        }
    }
}

fn contained_ids(content: &Map<String, Value>) -> Vec<&str> {
    let contained = content.get("contained").and_then(Value::as_array);
    contained.into_iter().flatten().filter_map(|resource| resource.get("id")?.as_str()).collect()
}

fn relink(object: &mut Map<String, Value>, new: &impl Fn(&str) -> Option<String>) {
    for (key, value) in object.iter_mut() {
        match value {
            Value::String(text) if is_link(key) => {
                if let Some(new) = new(text) {
                    *text = new;
                }
            }
            Value::Object(object) => relink(object, new),
            Value::Array(list) => {
                list.iter_mut().filter_map(Value::as_object_mut).for_each(|object| relink(object, new));
            }
            _ => {}
        }
    }
}

fn is_link(key: &str) -> bool {
    matches!(key, "reference" | "uri" | "url") || key.ends_with("Uri") || key.ends_with("Url")
}

/// Goes through a resource once: nothing empty, every reference of a known form.
struct Walk<'a> {
    /// The ids that `#…` may name; `None` if references are not looked at.
    contained: Option<Vec<&'a str>>,
    path: Vec<Place<'a>>,
    references: Vec<String>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Walk<'a> {
    fn object(&mut self, object: &'a Map<String, Value>) -> Result<(), String> {
        if object.is_empty() {
            return Err("an object is empty".to_owned());
        }
        for (key, value) in object {
            self.path.push(Place::Key(key));
            match value {
                Value::Null => return Err("null stands for nothing here; leave the element out".to_owned()),
                Value::String(text) if key == "reference" => self.reference(text)?,
                value => self.value(value)?,
            }
            self.path.pop();
        }
        Ok(())
    }

    fn value(&mut self, value: &'a Value) -> Result<(), String> {
        match value {
            Value::String(text) if text.is_empty() => Err("a string is empty".to_owned()),
            Value::Array(list) if list.is_empty() => Err("an array is empty".to_owned()),
            Value::Array(list) => self.list(list),
            Value::Object(object) => self.object(object),
            _ => Ok(()),
        }
    }

    fn list(&mut self, list: &'a [Value]) -> Result<(), String> {
        for (index, value) in list.iter().enumerate() {
            self.path.push(Place::Index(index));
            self.value(value)?;
            self.path.pop();
        }
        Ok(())
    }

    fn reference(&mut self, text: &str) -> Result<(), String> {
        let Some(contained) = &self.contained else { return Ok(()) };
        if let Some(id) = text.strip_prefix('#') {
            let is_known = id.is_empty() || contained.contains(&id);
            return if is_known { Ok(()) } else { Err("no resource of this id is contained".to_owned()) };
        }
        let is_absolute = text.split_once(':').is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        let is_conditional = text.split_once('?').is_some_and(|(name, _)| kind(name).is_some());
        if !is_absolute && !is_conditional && split_reference(text).is_none() {
            return Err("the reference is neither `Type/id`, `Type?query`, `#id` nor a URL".to_owned());
        }
        self.references.push(text.to_owned());
        Ok(())
    }

    fn expression(&self, root: &str) -> String {
        self.path.iter().fold(root.to_owned(), |path, place| match place {
            Place::Key(key) => format!("{path}.{key}"),
            Place::Index(index) => format!("{path}[{index}]"),
        })
    }
}
