//! The way through a resource by the table: every element is looked at once.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::LazyLock;

use super::issue::{Issue, IssueType};
use super::path::Path;
use super::scope::{self, Entries, Scope};
use super::{Options, bundle, format, invariants, narrative, reference};
use crate::fhir::definitions::{Element, Kind, Primitive, TypeId, types};
use crate::fhir::{Object, Severity, Value, get_str};
use crate::json::{Shared, Text};

/// The types that are looked at more closely.
pub(super) struct Known {
    bundle: TypeId,
    codeable_concept: TypeId,
    coding: TypeId,
    element: TypeId,
    reference: TypeId,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let id = |name: &str| types().id(name).unwrap_or(TypeId(u16::MAX));
    Known {
        bundle: id("Bundle"),
        codeable_concept: id("CodeableConcept"),
        coding: id("Coding"),
        element: id("Element"),
        reference: id("Reference"),
    }
});

/// Objects and lists within each other that the stack has room for, whatever the options say.
const DEEPEST: usize = 128;

/// A reference to an entry: the element that it stands in, and the `fullUrl`.
type Link = (&'static Element, Text);

/// What is shared is valid as what `kind` is, with so much depth left, where its references are to what they may be to.
struct Linked {
    kind: TypeId,
    depth: u8,
    refs: Vec<Link>,
}

/// What was found so far, and where the walk is.
pub(super) struct Walk<'a> {
    issues: Vec<Issue>,
    most: usize,
    more: bool,
    depth: usize,
    known: &'static Known,
    /// True once something was looked at that depends on what is around it: a reference, a resource.
    outside: bool,
    /// How many objects around it are shared by several, and the references in these to entries of the Bundle.
    shared: usize,
    refs: Vec<Link>,
    /// The resource that is walked.
    pub(super) scope: Scope<'a>,
    /// The Bundle around it.
    pub(super) entries: Option<Entries<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            issues: Vec::new(),
            most: options.issues.max(1),
            more: false,
            depth: options.depth.min(DEEPEST),
            known: &KNOWN,
            outside: false,
            shared: 0,
            refs: Vec::new(),
            scope: Scope::default(),
            entries: None,
        }
    }

    /// The issues, with a last one where there are more.
    pub(super) fn told(mut self) -> Vec<Issue> {
        if self.more {
            let location = self.issues.first().map_or("", |issue| issue.location.split('.').next().unwrap_or_default());
            self.issues.push(Issue {
                severity: Severity::Information,
                kind: IssueType::TooLong,
                location: location.to_owned(),
                text: format!("there are more than the {} issues that are told", self.most).into(),
                rule: None,
            });
        }
        self.issues
    }

    /// Walks a resource that stands alone.
    pub(super) fn root(&mut self, resource: &'a Value) {
        let kind = get_str(resource, "resourceType").filter(|kind| types().resource(kind).is_some());
        self.resource(resource, &Path::root(kind.unwrap_or("resource")));
    }

    /// Says that something is forbidden.
    pub(super) fn error(&mut self, kind: IssueType, at: &dyn Display, text: impl Into<Cow<'static, str>>) {
        self.tell(Severity::Error, kind, at, text.into(), None);
    }

    /// Says that an invariant is broken.
    pub(super) fn broken(&mut self, rule: &'static str, at: &dyn Display, text: impl Into<Cow<'static, str>>) {
        self.tell(Severity::Error, IssueType::Invariant, at, text.into(), Some(rule));
    }

    pub(super) fn tell(
        &mut self,
        severity: Severity,
        kind: IssueType,
        at: &dyn Display,
        text: Cow<'static, str>,
        rule: Option<&'static str>,
    ) {
        if self.issues.len() >= self.most {
            self.more = true;
        } else {
            self.issues.push(Issue { severity, kind, location: at.to_string(), text, rule });
        }
    }

    /// A resource that is not contained.
    fn resource(&mut self, resource: &'a Value, path: &Path<'_>) {
        let Some((own, kind)) = self.resource_type(resource, path) else { return };
        let scope = std::mem::replace(&mut self.scope, Scope::of(own));
        if kind == self.known.bundle {
            let around = self.entries.replace(Entries::of(own));
            bundle::check(self, own, path);
            self.object(own, kind, path);
            self.entries = around;
        } else {
            self.object(own, kind, path);
        }
        let scope = std::mem::replace(&mut self.scope, scope);
        let contained = path.to("contained");
        scope::unmentioned(&scope, &mut |number| {
            self.broken("dom-3", &contained.at(number), "nothing refers to the contained resource");
        });
    }

    /// A contained resource: it sees what its container sees.
    fn contained(&mut self, resource: &'a Value, path: &Path<'_>) {
        let Some((own, kind)) = self.resource_type(resource, path) else { return };
        if self.scope.inside || own.contains_key("contained") {
            self.broken("dom-2", path, "a contained resource contains no other");
        }
        let meta = own.get("meta");
        let has = |name: &str| meta.is_some_and(|meta| meta.get(name).is_some());
        if has("versionId") || has("lastUpdated") {
            self.broken("dom-4", path, "a contained resource has no meta.versionId and no meta.lastUpdated");
        }
        if has("security") {
            self.broken("dom-5", path, "a contained resource has no security label");
        }
        let inside = std::mem::replace(&mut self.scope.inside, true);
        self.object(own, kind, path);
        self.scope.inside = inside;
    }

    fn resource_type(&mut self, resource: &'a Value, path: &Path<'_>) -> Option<(&'a Object, TypeId)> {
        let Some(own) = resource.as_object() else {
            self.error(IssueType::Structure, path, "a resource is a JSON object");
            return None;
        };
        let at = path.to("resourceType");
        match own.get("resourceType") {
            None => self.error(IssueType::Required, &at, "the resource type is missing"),
            Some(Value::String(name)) => match types().resource(name) {
                Some(kind) => return Some((own, kind)),
                None => self.error(IssueType::Value, &at, "this is no resource type of FHIR R4"),
            },
            Some(_) => self.error(IssueType::Structure, &at, "the resource type is a text"),
        }
        None
    }

    /// The elements of `own`, which is of type `kind`. What several objects share is looked at once, if it is valid
    /// wherever it stands, but for what its references are to.
    fn object(&mut self, own: &'a Object, kind: TypeId, path: &Path<'_>) {
        let with = own.with().filter(|with| with.more.0 == "meta" && types().get(kind).resource);
        let Some(shared) = own.shared().or(with.map(|with| &*with.shared)) else {
            return self.elements(own, kind, path);
        };
        // No more than `DEEPEST`.
        let depth = u8::try_from(self.depth).unwrap_or(u8::MAX);
        if self.depth > 0 && !self.more && self.was_valid(shared, kind, depth) {
            // No invariant of a resource asks for its meta.
            return with.into_iter().for_each(|with| self.meta(&with.more.1, kind, path));
        }
        let (issues, refs) = (self.issues.len(), self.refs.len());
        let outside = std::mem::take(&mut self.outside);
        self.shared += 1;
        self.elements(own, kind, path);
        self.shared -= 1;
        if !self.more && self.issues.len() == issues && !self.outside {
            match self.refs.get(refs..) {
                Some(refs) if !refs.is_empty() => shared.keep(Linked { kind, depth, refs: refs.to_vec() }),
                _ => shared.note_valid(kind.0, depth),
            }
        }
        self.outside |= outside;
        if self.shared == 0 {
            self.refs.clear();
        }
    }

    /// True if what is shared was found to be valid, and what it refers to is what it may be.
    fn was_valid(&mut self, shared: &'a Shared, kind: TypeId, depth: u8) -> bool {
        if shared.is_valid(kind.0, depth) {
            return true;
        }
        let Some(linked) = shared.kept::<Linked>() else { return false };
        if linked.kind != kind || linked.depth > depth {
            return false;
        }
        let is_right = |(element, to): &Link| {
            let found = self.entries.as_ref().and_then(|entries| entries.find_string(to));
            found.is_some_and(|found| reference::may_be_to(element, found))
        };
        let are_right = linked.refs.iter().all(is_right);
        if are_right && self.shared > 0 {
            self.refs.extend_from_slice(&linked.refs);
        }
        are_right
    }

    /// The meta of a resource of type `kind` of which nothing else is looked at.
    fn meta(&mut self, value: &'a Value, kind: TypeId, path: &Path<'_>) {
        let Some(element) = types().get(kind).element("meta") else { return };
        if let Kind::Complex(id) = element.kind {
            self.depth -= 1;
            self.complexes(element, id, value, &path.to("meta"));
            self.depth += 1;
        }
    }

    fn elements(&mut self, own: &'a Object, kind: TypeId, path: &Path<'_>) {
        if self.more {
            return;
        }
        let Some(depth) = self.depth.checked_sub(1) else {
            self.error(IssueType::TooLong, path, "objects are nested too deep");
            return;
        };
        self.depth = depth;
        let of = types().get(kind);
        // Of the extras of a primitive, its value is part of what is looked at.
        let mut content = of.resource || kind == self.known.element;
        let (mut present, mut told) = (0_u64, 0_u64);
        for (name, value) in own.iter() {
            let name: &'a str = name;
            let (stem, beside) = name.strip_prefix('_').map_or((name, false), |stem| (stem, true));
            let Some(element) = of.element(stem) else {
                if !(of.resource && name == "resourceType") {
                    self.error(IssueType::Structure, &path.to(name), format!("{} has no such element in R4", of.name));
                }
                continue;
            };
            let bit = 1_u64 << element.place;
            if present & bit & !told != 0 && self.is_second(own, element) {
                told |= bit;
                let text = format!("only one of {} can be there", of.name_at(element.place));
                self.error(IssueType::Structure, &path.to(name), text);
            }
            present |= bit;
            content |= stem != "id";
            let at = path.to(name);
            match element.kind {
                Kind::Primitive(_) if beside => self.extras(own, element, value, &at),
                Kind::Primitive(primitive) => self.primitives(own, element, primitive, value, &at),
                Kind::Complex(_) if beside => {
                    self.error(IssueType::Structure, &at, "only elements of a primitive type have one with `_`");
                }
                Kind::Complex(id) => self.complexes(element, id, value, &at),
            }
        }
        if !content {
            self.broken("ele-1", path, "an element has a value or elements, besides its id");
        }
        self.missing(of.required_places() & !present, kind, path);
        for invariant in invariants::of(kind) {
            if invariant.is_broken(present, own) {
                self.broken(invariant.key, path, invariant.text);
            }
        }
        self.depth += 1;
    }

    /// True if `own` has another element of the choice than `element`.
    fn is_second(&self, own: &Object, element: &'static Element) -> bool {
        let Some(choice) = &element.choice else { return false };
        let mut others = own.iter().map(|(name, _)| {
            let name: &str = name;
            name.strip_prefix('_').unwrap_or(name)
        });
        others.any(|name| {
            let rest = name.strip_prefix(choice.as_str());
            name != element.name && rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        })
    }

    fn missing(&mut self, mut places: u64, kind: TypeId, path: &Path<'_>) {
        while places != 0 {
            let place = places.trailing_zeros();
            places &= places - 1;
            let name = types().get(kind).name_at(u8::try_from(place).unwrap_or(u8::MAX));
            self.error(IssueType::Required, &format!("{path}.{name}"), "R4 requires the element, and it is missing");
        }
    }

    /// The members of `value`, which is a list where R4 says so: each with its place.
    fn members(&mut self, element: &'static Element, value: &'a Value, path: &Path<'_>) -> Option<&'a [Value]> {
        match (element.list, value) {
            (true, Value::Array(items)) if items.is_empty() => {
                self.broken("ele-1", path, "the list is empty; leave the element out");
                None
            }
            (true, Value::Array(items)) => Some(items),
            (true, _) => {
                self.error(IssueType::Structure, path, "the element repeats, so it is a list");
                None
            }
            (false, Value::Array(_)) => {
                self.error(IssueType::Structure, path, "the element does not repeat, so it is no list");
                None
            }
            (false, value) => Some(std::slice::from_ref(value)),
        }
    }

    /// The values of an element of a primitive type.
    fn primitives(
        &mut self,
        own: &'a Object,
        element: &'static Element,
        primitive: Primitive,
        value: &'a Value,
        path: &Path<'_>,
    ) {
        let Some(items) = self.members(element, value, path) else { return };
        for (number, item) in items.iter().enumerate() {
            let member = path.at(number);
            let at = if element.list { &member } else { path };
            match item {
                Value::Null if element.list && beside(own, element, number).is_some_and(Value::is_object) => {}
                Value::Null => self.error(IssueType::Structure, at, "the value is null; leave the element out"),
                item => self.value(element, primitive, item, at),
            }
        }
    }

    fn value(&mut self, element: &'static Element, primitive: Primitive, value: &'a Value, path: &Path<'_>) {
        if primitive == Primitive::Xhtml {
            if let Err((kind, text, rule)) = narrative::check(value) {
                self.tell(Severity::Error, kind, path, text.into(), rule);
            }
            return;
        }
        if let Err(text) = format::check(primitive, value) {
            return self.error(IssueType::Value, path, text);
        }
        let Value::String(text) = value else { return };
        match primitive {
            Primitive::Code => {
                let set = element.values.and_then(|id| types().value_set(id));
                if let Some(set) = set.filter(|set| !set.has(text)) {
                    self.error(IssueType::CodeInvalid, path, reference::not_in(set));
                }
            }
            Primitive::Uri | Primitive::Url | Primitive::Canonical => {
                if let Some(id) = text.strip_prefix('#') {
                    self.outside = true;
                    if !self.scope.contained.is_empty() {
                        self.mention(id);
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes that `#id` stands somewhere.
    pub(super) fn mention(&mut self, id: &'a str) {
        if id.is_empty() {
            self.scope.container = true;
        } else {
            self.scope.mentioned.insert(id);
        }
    }

    /// `_name`: ids and extensions of a primitive element.
    fn extras(&mut self, own: &'a Object, element: &'static Element, value: &'a Value, path: &Path<'_>) {
        let Some(items) = self.members(element, value, path) else { return };
        for (number, item) in items.iter().enumerate() {
            let member = path.at(number);
            let at = if element.list { &member } else { path };
            let value = own.get(&element.name);
            let value = if element.list { value.and_then(|list| list.get(number)) } else { value };
            let has_value = value.is_some_and(|value| !value.is_null());
            match item {
                Value::Object(extras) => {
                    if !has_value && !extras.contains_key("extension") {
                        self.broken("ele-1", at, "an element has a value or an extension");
                    }
                    self.object(extras, self.known.element, at);
                }
                Value::Null if element.list && has_value => {}
                Value::Null if element.list && value.is_some() => {} // Told where the value is.
                _ => self.error(IssueType::Structure, at, "an object with the id and the extensions stands here"),
            }
        }
    }

    /// True for a reference to an entry of the Bundle, by its `fullUrl`, that says nothing more, as most are: then it is
    /// checked with that.
    fn is_to_entry(&mut self, own: &'a Object, element: &'static Element, path: &Path<'_>) -> bool {
        let (Some(entries), Some((name, Value::String(to)))) = (&self.entries, own.iter().next()) else { return false };
        if own.len() > 1 || name != "reference" || self.more || self.depth == 0 {
            return false;
        }
        let Some(kind) = entries.find_string(to) else { return false };
        if self.shared > 0 {
            self.refs.push((element, to.clone()));
        }
        reference::check_type(self, own, kind, element, path);
        true
    }

    /// Notes what the reference `own` is to, if that is an entry of the Bundle by its `fullUrl` and nothing is said of its
    /// type: it is valid wherever that entry is.
    fn links(&mut self, own: &'a Object, element: &'static Element) -> bool {
        let Some(Value::String(to)) = own.get("reference").filter(|_| !own.contains_key("type")) else { return false };
        let is_to_entry = self.entries.as_ref().is_some_and(|entries| entries.find_string(to).is_some());
        if is_to_entry {
            self.refs.push((element, to.clone()));
        }
        is_to_entry
    }

    /// The values of an element of a complex type.
    fn complexes(&mut self, element: &'static Element, kind: TypeId, value: &'a Value, path: &Path<'_>) {
        let Some(items) = self.members(element, value, path) else { return };
        for (number, item) in items.iter().enumerate() {
            let member = path.at(number);
            self.complex(element, kind, item, if element.list { &member } else { path });
        }
    }

    fn complex(&mut self, element: &'static Element, kind: TypeId, value: &'a Value, path: &Path<'_>) {
        if types().is_resource(kind) {
            self.outside = true;
            return if element.name == "contained" { self.contained(value, path) } else { self.resource(value, path) };
        }
        let Value::Object(own) = value else {
            let text = format!("a {} is a JSON object", types().get(kind).name);
            return self.error(IssueType::Structure, path, text);
        };
        if kind == self.known.reference && self.is_to_entry(own, element, path) {
            return;
        }
        self.object(own, kind, path);
        if kind == self.known.reference {
            self.outside |= self.shared == 0 || !self.links(own, element);
            reference::check(self, own, element, path);
        } else if element.values.is_some() && (kind == self.known.codeable_concept || kind == self.known.coding) {
            reference::check_codes(self, own, element, path);
        }
    }
}

/// The member of `_name` that stands at `number`.
fn beside<'a>(own: &'a Object, element: &Element, number: usize) -> Option<&'a Value> {
    own.get(format!("_{}", element.name).as_str())?.get(number)
}
