//! What a reference is seen from: its resource with what that contains, and its Bundle.

use std::collections::{HashMap, HashSet};

use crate::fhir::definitions::{TypeId, types};
use crate::fhir::{Object, Value, get_str};

use super::format;

/// Seeded anew for every Bundle, so that no sender can choose names that all fall together.
type Hasher = foldhash::quality::RandomState;

/// A resource that is not contained, while it is walked.
#[derive(Default)]
pub(super) struct Scope<'a> {
    /// What it contains.
    pub(super) contained: &'a [Value],
    by_id: HashMap<&'a str, &'a Value>,
    /// The ids of contained resources that were referred to.
    pub(super) mentioned: HashSet<&'a str>,
    /// True if something contained refers back, by `#`.
    pub(super) container: bool,
    /// True while a contained resource is walked.
    pub(super) inside: bool,
}

impl<'a> Scope<'a> {
    /// Of `resource`.
    pub(super) fn of(resource: &'a Object) -> Self {
        let Some(contained) = resource.get("contained").and_then(Value::as_array) else { return Self::default() };
        let by_id = contained.iter().filter_map(|resource| Some((get_str(resource, "id")?, resource))).collect();
        Self { contained, by_id, ..Self::default() }
    }

    /// The contained resource with this id.
    pub(super) fn find(&self, id: &str) -> Option<&'a Value> {
        self.by_id.get(id).copied()
    }
}

/// The entries of a Bundle, by what refers to them.
pub(super) struct Entries<'a> {
    /// `Bundle.type`.
    pub(super) kind: &'a str,
    by_full_url: HashMap<&'a str, (Option<TypeId>, Option<&'a str>), Hasher>,
    /// True if every `fullUrl` is a string too.
    are_strings: bool,
    /// Entries that are the same as an earlier one.
    pub(super) doubles: Vec<usize>,
}

impl<'a> Entries<'a> {
    /// Of `bundle`.
    pub(super) fn of(bundle: &'a Object) -> Self {
        let all = bundle.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let kind = bundle.get("type").and_then(Value::as_str).unwrap_or_default();
        let mut made = Self {
            kind,
            by_full_url: HashMap::with_capacity_and_hasher(all.len(), Hasher::default()),
            are_strings: true,
            doubles: Vec::new(),
        };
        let mut versions = HashSet::new();
        for (number, entry) in all.iter().enumerate() {
            let Some(full_url) = text(entry, "fullUrl") else { continue };
            made.are_strings &= format::is_string(full_url);
            let resource = entry.get("resource");
            let version = resource.and_then(|resource| text(resource.get("meta")?, "versionId"));
            let kind = resource.and_then(|resource| types().resource(text(resource, "resourceType")?));
            if let Some((_, first)) = made.by_full_url.insert(full_url, (kind, version)) {
                // The version before this one, so that all but the last are in `versions`.
                versions.insert((full_url, first));
                if versions.contains(&(full_url, version)) {
                    made.doubles.push(number);
                }
            }
        }
        made
    }

    /// As [`Entries::find`], of what is a string for certain, and no reference to what is contained.
    pub(super) fn find_string(&self, full_url: &str) -> Option<Option<TypeId>> {
        if self.are_strings && !full_url.starts_with('#') { self.find(full_url) } else { None }
    }

    /// The entry with this `fullUrl`: the type of its resource, where it has one that R4 knows.
    pub(super) fn find(&self, full_url: &str) -> Option<Option<TypeId>> {
        self.by_full_url.get(full_url).map(|(kind, _)| *kind)
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// A contained resource that nothing refers to, and that refers to nothing (dom-3).
pub(super) fn unmentioned(scope: &Scope<'_>, tell: &mut dyn FnMut(usize)) {
    if scope.container {
        return;
    }
    for (number, resource) in scope.contained.iter().enumerate() {
        if !get_str(resource, "id").is_some_and(|id| scope.mentioned.contains(id)) {
            tell(number);
        }
    }
}
