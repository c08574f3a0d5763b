//! Resources under construction: nodes that rows find again by the labels of their paths.

use serde_json::{Map, Value, json};

use crate::r4::{Element, Kind, Type, TypeId, types};

/// Index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

/// Index of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ResourceId(pub(super) u32);

/// What tells the members of a list apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    /// The `[n]` of the path.
    pub(super) label: u16,
    /// Which instance of what a table makes.
    pub(super) sibling: u16,
    /// The kind of resource that it refers to, and 0 for none.
    pub(super) target: u16,
    /// The segment that wrote it.
    pub(super) segment: u32,
    /// The repetition that it comes from.
    pub(super) repetition: u32,
}

#[derive(Debug)]
struct Child {
    element: &'static Element,
    key: Key,
    node: NodeId,
}

/// An element: what it holds, as far as it is known.
#[derive(Debug, Default)]
struct Node {
    singles: Vec<Child>,
    lists: Vec<Child>,
    value: Option<Value>,
    reference: Option<ResourceId>,
}

/// A resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: TypeId,
    pub(super) root: NodeId,
    /// True for one that a message's table names; false for one that a path leads to.
    pub(super) labelled: bool,
    /// The group's Patient, to which it belongs where nothing else says so.
    pub(super) patient: Option<ResourceId>,
    /// The order or report in whose group it stands.
    pub(super) context: Option<ResourceId>,
}

/// All that a message has become so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub(super) resources: Vec<Resource>,
}

impl Tree {
    fn add(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        NodeId(u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX))
    }

    /// A new, empty resource.
    pub(super) fn resource(&mut self, kind: TypeId) -> ResourceId {
        let root = self.add();
        self.resources.push(Resource { kind, root, labelled: false, patient: None, context: None });
        ResourceId(u32::try_from(self.resources.len() - 1).unwrap_or(u32::MAX))
    }

    pub(super) fn get(&self, id: ResourceId) -> Option<&Resource> {
        self.resources.get(id.0 as usize)
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    /// The child of `parent` for `element`, made where it is not there yet.
    pub(super) fn child(&mut self, parent: NodeId, element: &'static Element, key: Key) -> NodeId {
        if let Some(found) = self.find(parent, element, key) {
            return found;
        }
        let node = self.add();
        if let Some(parent) = self.node_mut(parent) {
            let children = if element.list { &mut parent.lists } else { &mut parent.singles };
            children.push(Child { element, key, node });
        }
        node
    }

    /// The child of `parent` for `element`, if it is there.
    pub(super) fn find(&self, parent: NodeId, element: &'static Element, key: Key) -> Option<NodeId> {
        let parent = self.node(parent)?;
        if !element.list {
            return parent.singles.iter().find(|child| std::ptr::eq(child.element, element)).map(|child| child.node);
        }
        // Segments come in order, so what an earlier one wrote is not looked for.
        let own = parent.lists.iter().rev().take_while(|child| child.key.segment >= key.segment);
        own.into_iter().find(|child| std::ptr::eq(child.element, element) && child.key == key).map(|child| child.node)
    }

    /// The members of the list `element` that `segment` has written, for `[each]`.
    pub(super) fn members(&self, parent: NodeId, element: &'static Element, segment: u32) -> Vec<Key> {
        let Some(parent) = self.node(parent) else { return Vec::new() };
        let own = parent.lists.iter().rev().take_while(|child| child.key.segment >= segment);
        let mut keys: Vec<_> =
            own.filter(|child| std::ptr::eq(child.element, element)).map(|child| child.key).collect();
        keys.reverse();
        keys
    }

    /// The child called `name`, whatever its key: for lists the first.
    pub(super) fn named(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        let parent = self.node(parent)?;
        let mut all = parent.singles.iter().chain(&parent.lists);
        all.find(|child| child.element.name == name).map(|child| child.node)
    }

    /// All children of the list `name`.
    pub(super) fn all_named(&self, parent: NodeId, name: &str) -> Vec<NodeId> {
        self.keyed(parent, name).into_iter().map(|(_, node)| node).collect()
    }

    /// All children of the list `name` with their keys.
    pub(super) fn keyed(&self, parent: NodeId, name: &str) -> Vec<(Key, NodeId)> {
        let Some(parent) = self.node(parent) else { return Vec::new() };
        parent.lists.iter().filter(|child| child.element.name == name).map(|child| (child.key, child.node)).collect()
    }

    /// The names of the elements that `node` holds.
    pub(super) fn names(&self, node: NodeId) -> Vec<&'static str> {
        let Some(node) = self.node(node) else { return Vec::new() };
        let children = node.singles.iter().chain(&node.lists).filter(|child| !self.is_empty(child.node));
        children.map(|child| child.element.name.as_str()).collect()
    }

    /// Takes the child called `name` away.
    pub(super) fn remove_named(&mut self, parent: NodeId, name: &str) {
        if let Some(parent) = self.node_mut(parent) {
            parent.singles.retain(|child| child.element.name != name);
            parent.lists.retain(|child| child.element.name != name);
        }
    }

    pub(super) fn value(&self, node: NodeId) -> Option<&Value> {
        self.node(node)?.value.as_ref()
    }

    /// The text of the child called `name`.
    pub(super) fn text(&self, parent: NodeId, name: &str) -> Option<&str> {
        self.value(self.named(parent, name)?)?.as_str()
    }

    /// Sets the value; the first one stays. True if it is now this one.
    pub(super) fn set(&mut self, node: NodeId, value: Value) -> bool {
        match self.node_mut(node) {
            Some(node) if node.value.is_none() => {
                node.value = Some(value);
                true
            }
            Some(node) => node.value.as_ref() == Some(&value),
            None => false,
        }
    }

    /// Sets the value of the primitive child called `name` of a node of type `kind`, over any other.
    pub(super) fn overwrite(&mut self, parent: NodeId, kind: TypeId, name: &str, value: Value) {
        let Some(element) = types().get(kind).element(name) else { return };
        let node = self.child(parent, element, Key::default());
        if let Some(node) = self.node_mut(node) {
            node.value = Some(value);
        }
    }

    /// Makes `node` a reference to `resource`, unless it refers to another already.
    pub(super) fn refer(&mut self, node: NodeId, resource: ResourceId) {
        if let Some(node) = self.node_mut(node) {
            node.reference.get_or_insert(resource);
        }
    }

    pub(super) fn reference(&self, node: NodeId) -> Option<ResourceId> {
        self.node(node)?.reference
    }

    /// True if nothing was written below `node`.
    pub(super) fn is_empty(&self, node: NodeId) -> bool {
        let Some(node) = self.node(node) else { return true };
        let mut children = node.singles.iter().chain(&node.lists);
        node.value.is_none() && node.reference.is_none() && children.all(|child| self.is_empty(child.node))
    }

    /// Adds what `from` holds to `into`; where both hold a single value, that of `into` stays.
    pub(super) fn merge(&mut self, into: NodeId, from: NodeId) {
        let Some(taken) = self.node_mut(from).map(std::mem::take) else { return };
        let Some(into) = self.node_mut(into) else { return };
        for child in taken.singles {
            if !into.singles.iter().any(|own| std::ptr::eq(own.element, child.element)) {
                into.singles.push(child);
            }
        }
        into.lists.extend(taken.lists);
    }

    /// The elements of `node` as JSON; `refs` has the reference to each resource.
    pub(super) fn render_into(&mut self, node: NodeId, out: &mut Map<String, Value>, refs: &[Option<Value>]) {
        if let Some(node) = self.node_mut(node) {
            let node = std::mem::take(node);
            self.render_children(node, out, refs);
        }
    }

    fn render(&mut self, node: NodeId, kind: Kind, refs: &[Option<Value>]) -> Option<Value> {
        let taken = std::mem::take(self.node_mut(node)?);
        let mut out = match taken.reference.map(|to| refs.get(to.0 as usize).cloned().flatten()) {
            Some(Some(Value::Object(reference))) => reference,
            _ => Map::new(),
        };
        self.render_children(taken, &mut out, refs);
        match kind {
            Kind::Complex(id) if !out.is_empty() => fill(id, out).map(Value::Object),
            _ => (!out.is_empty()).then_some(Value::Object(out)),
        }
    }

    fn render_children(&mut self, node: Node, out: &mut Map<String, Value>, refs: &[Option<Value>]) {
        for child in node.singles {
            let (value, more) = self.render_child(&child, refs);
            if let Some(value) = value {
                out.insert(child.element.name.clone(), value);
            }
            if let Some(more) = more {
                out.insert(format!("_{}", child.element.name), more);
            }
        }
        for child in node.lists {
            let (value, more) = self.render_child(&child, refs);
            if value.is_some() || more.is_some() {
                push(out, child.element, value, more);
            }
        }
    }

    /// A child's value, and for a primitive what goes beside it under `_name`.
    fn render_child(&mut self, child: &Child, refs: &[Option<Value>]) -> (Option<Value>, Option<Value>) {
        if matches!(child.element.kind, Kind::Complex(_)) {
            return (self.render(child.node, child.element.kind, refs), None);
        }
        let value = self.node_mut(child.node).and_then(|node| node.value.take());
        (value, self.render(child.node, child.element.kind, refs))
    }
}

/// Says of every required element that is not there that it is absent; without that, strict
/// servers refuse the whole Bundle. An extension with no URL, or with nothing else, goes.
fn fill(kind: TypeId, mut out: Map<String, Value>) -> Option<Map<String, Value>> {
    let kind = types().get(kind);
    for name in kind.required() {
        let is_there = out.keys().any(|key| {
            key.strip_prefix(name.as_str()).is_some_and(|rest| is_choice(rest)) || key.strip_prefix('_') == Some(name)
        });
        if is_there {
            continue;
        }
        if kind.name == "Extension" {
            return None;
        }
        absent(kind, name, &mut out);
    }
    let says_nothing = kind.name == "Extension" && out.len() == 1;
    (!says_nothing).then_some(out)
}

fn is_choice(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Writes that the required element `name` is absent for a reason nobody knows.
pub(super) fn absent(kind: &Type, name: &str, out: &mut Map<String, Value>) {
    let reason = json!({ "extension": [{
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown" }] });
    let Some(element) = kind.element(name) else { return };
    let is_primitive = matches!(element.kind, Kind::Primitive(_));
    let name = if is_primitive { format!("_{name}") } else { name.to_owned() };
    out.insert(name, if element.list { Value::Array(vec![reason]) } else { reason });
}

/// Adds to the list `name`, with its twin `_name` kept in step.
fn push(out: &mut Map<String, Value>, element: &Element, value: Option<Value>, more: Option<Value>) {
    let name = element.name.as_str();
    let before = match out.get(name) {
        Some(Value::Array(values)) => values.len(),
        _ => 0,
    };
    if let Some(value) = &value {
        let is_there = |all: &[Value]| all.len() <= 32 && all.contains(value);
        if is_a_set(element) && matches!(out.get(name), Some(Value::Array(all)) if is_there(all)) {
            return;
        }
    }
    let twin = format!("_{name}");
    if more.is_some() || out.contains_key(&twin) {
        let twins = out.entry(twin).or_insert_with(|| Value::Array(vec![Value::Null; before]));
        if let Value::Array(twins) = twins {
            twins.push(more.unwrap_or(Value::Null));
        }
    }
    // A primitive with extensions alone is `null` in its list; see `without_bare_nulls`.
    let list = out.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = list {
        list.push(value.unwrap_or(Value::Null));
    }
}

/// True for lists in which the same member twice says nothing more: two segments carry the same
/// number, the same name.
fn is_a_set(element: &Element) -> bool {
    const SETS: [&str; 8] =
        ["Identifier", "Coding", "CodeableConcept", "Reference", "ContactPoint", "Address", "HumanName", "Extension"];
    matches!(element.kind, Kind::Complex(id) if SETS.contains(&types().get(id).name.as_str()))
}
