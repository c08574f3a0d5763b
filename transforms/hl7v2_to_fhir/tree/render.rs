//! The tree as JSON: what its nodes say, and what R4 requires beside it.

use std::ops::Range;

use message::fhir::definitions::{Element, Kind, Type, TypeId, types};
use message::json::{Map, Text, Value};
use smol_str::format_smolstr;

use super::{Node, NodeId, Reference, Tree};
use crate::hl7v2_to_fhir::known::known;

impl Tree {
    /// `start` with the elements of `node`; an element that `start` has is written over it.
    pub(in crate::hl7v2_to_fhir) fn render_onto(
        &mut self,
        node: NodeId,
        mut start: Map,
        refs: &[Option<Reference>],
    ) -> Map {
        let is_there = |(_, child): (NodeId, &Node)| child.element.is_some_and(|e| start.contains_key(&e.name));
        if !start.is_empty() && self.singles(node).chain(self.lists(node)).any(is_there) {
            let mut own = Map::new();
            self.render_into(node, &mut own, refs);
            start.extend(own);
        } else {
            self.render_into(node, &mut start, refs);
        }
        start
    }

    /// Writes the elements of `node` as JSON; `refs` has the reference to each resource. `out` has none of them.
    pub(in crate::hl7v2_to_fhir) fn render_into(&mut self, node: NodeId, out: &mut Map, refs: &[Option<Reference>]) {
        let Some(own) = self.node_mut(node) else { return };
        let (singles, lists) = (own.singles.take(), own.lists.take());
        let mut next = singles.map(|(first, _)| first);
        while let Some(id) = next {
            let Some((element, link)) = self.node(id).and_then(|node| Some((node.element?, node.link))) else { return };
            let (value, more) = self.render_child(id, element, refs);
            if let Some(value) = value {
                out.put(&element.name, value);
            }
            if let Some(more) = more {
                out.push(format_smolstr!("_{}", element.name), more);
            }
            next = link;
        }
        let from = self.listed.len();
        let mut next = lists;
        while let Some((id, node)) = next.and_then(|id| Some((id, self.node(id)?))) {
            next = node.link;
            let member = node.element.map(|element| (id, element));
            self.listed.push(member);
        }
        let all = from..self.listed.len();
        self.listed.get_mut(all.clone()).unwrap_or_default().reverse();
        for at in all.clone() {
            if let Some(&Some((_, element))) = self.listed.get(at) {
                self.render_list(element, at..all.end, out, refs);
            }
        }
        self.listed.truncate(from);
    }

    /// Writes the list `element`, whose members are among those `at`, with its twin `_name` where a member has
    /// extensions.
    fn render_list(&mut self, element: &'static Element, at: Range<usize>, out: &mut Map, refs: &[Option<Reference>]) {
        let (mut values, mut twins): (Vec<Value>, Vec<Value>) = (Vec::with_capacity(at.len()), Vec::new());
        for at in at {
            let own =
                self.listed.get_mut(at).and_then(|member| member.take_if(|(_, other)| std::ptr::eq(*other, element)));
            let Some((id, _)) = own else { continue };
            let (value, more) = self.render_child(id, element, refs);
            let again = |value: &Value| {
                element.set && values.len() <= 32 && values.iter().any(|before| is_again(before, value))
            };
            if (value.is_none() && more.is_none()) || value.as_ref().is_some_and(again) {
                continue;
            }
            // A member with extensions alone is `null` in its list (FHIR R4 JSON, primitive elements).
            values.push(value.unwrap_or(Value::Null));
            if more.is_some() || !twins.is_empty() {
                twins.resize(values.len() - 1, Value::Null);
                twins.push(more.unwrap_or(Value::Null));
            }
        }
        if !values.is_empty() {
            out.put(&element.name, Value::Array(values));
        }
        if !twins.is_empty() {
            out.push(format_smolstr!("_{}", element.name), Value::Array(twins));
        }
    }

    /// A child's value, and for a primitive what goes beside it under `_name`.
    fn render_child(
        &mut self,
        id: NodeId,
        element: &'static Element,
        refs: &[Option<Reference>],
    ) -> (Option<Value>, Option<Value>) {
        let whole = self.whole(id);
        if let Some(written) = whole.and_then(|part| self.kept.as_ref()?.part(part)?.written.clone()) {
            return (Some(Value::Object(written)), None);
        }
        let Some(node) = self.node_mut(id) else { return (None, None) };
        let (value, reference) = (node.value.take(), node.reference);
        if reference.is_none() && node.singles.is_none() && node.lists.is_none() {
            return (value, None);
        }
        let start = match reference.and_then(|to| refs.get(to.0 as usize)) {
            Some(Some(Reference::Entry(url))) => {
                let mut out = Map::with_capacity(1);
                out.put("reference", url.clone());
                out
            }
            Some(Some(Reference::Logical(reference))) => reference.clone(),
            _ => Map::with_capacity(self.singles(id).count() + usize::from(self.lists(id).next().is_some())),
        };
        let out = self.render_onto(id, start, refs);
        if out.is_empty() {
            return (value, None);
        }
        match element.kind {
            Kind::Complex(kind) => {
                let mut out = fill(kind, out);
                if let (Some(part), Some(out), Some(kept)) = (whole, &mut out, &mut self.kept) {
                    kept.write(part, out);
                }
                (out.map(Value::Object), None)
            }
            Kind::Primitive(_) => (value, Some(Value::Object(out))),
        }
    }
}

/// As `before == value`, quick where they differ in what they say first, as references do.
fn is_again(before: &Value, value: &Value) -> bool {
    fn first(value: &Value) -> Option<(&Text, &Value)> {
        value.as_object()?.iter().next()
    }
    match (first(before), first(value)) {
        (Some((own, Value::String(before))), Some((name, Value::String(text)))) if own == name && before != text => {
            false
        }
        _ => before == value,
    }
}

/// Says of every required element that is not there that it is absent; without that, strict
/// servers refuse the whole Bundle. An extension with no URL, or with nothing else, goes.
fn fill(kind: TypeId, mut out: Map) -> Option<Map> {
    let rule = known().kind(kind).rule;
    let kind = types().get(kind);
    for name in kind.required() {
        if has(&out, name) {
            continue;
        }
        if kind.name == "Extension" {
            return None;
        }
        absent(kind, name, &mut out);
    }
    if let Some(rule) = rule {
        rule(kind, &mut out);
    }
    let says_nothing = kind.name == "Extension" && out.len() == 1;
    (!says_nothing).then_some(out)
}

/// True if `out` has the element `name`, by a choice or by its extensions alone.
pub(in crate::hl7v2_to_fhir) fn has(out: &Map, name: &str) -> bool {
    let is_it = |rest: &str| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_uppercase());
    out.keys().any(|key| key.trim_start_matches('_').strip_prefix(name).is_some_and(is_it))
}

/// Writes that the required element `name` is absent for a reason nobody knows.
pub(in crate::hl7v2_to_fhir) fn absent(kind: &Type, name: &str, out: &mut Map) {
    let Some(element) = kind.element(name).or_else(|| kind.choice(name)) else { return };
    let mut value = unknown();
    let name = match element.kind {
        Kind::Primitive(_) => format_smolstr!("_{}", element.name),
        Kind::Complex(id) => {
            // What is absent still has the parts that it must have.
            let kind = types().get(id);
            if let Some(members) = value.as_object_mut() {
                kind.required().iter().for_each(|part| absent(kind, part, members));
                known().kind(id).rule.into_iter().for_each(|rule| rule(kind, members));
            }
            Text::new(&element.name)
        }
    };
    out.insert(name, if element.list { Value::Array(vec![value]) } else { value });
}

/// An element that is absent for a reason nobody knows.
fn unknown() -> Value {
    let url = Value::fixed("http://hl7.org/fhir/StructureDefinition/data-absent-reason");
    let extension = Value::object([("url", url), ("valueCode", Value::fixed("unknown"))]);
    Value::object([("extension", Value::Array(vec![extension]))])
}
