//! Resources under construction: nodes that rows find again by the labels of their paths.

use std::cell::Cell;
use std::collections::HashMap;
use std::num::NonZeroU32;

use message::json::{Map, Text, Value};

use message::fhir::definitions::{Element, Kind, TypeId};

use super::kept::Kept;
use super::known::Place;

mod graft;
mod render;

pub(super) use graft::{Graft, Grafted};
pub(super) use render::{absent, has};

/// A node by its number, from 1, so that there is room for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(NonZeroU32);

impl NodeId {
    pub(super) fn new(number: usize) -> Self {
        Self(u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Index of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ResourceId(pub(super) u32);

/// What tells the members of a list apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// An element: what it is, what it holds, and the next of its parent's children.
#[derive(Debug, Default)]
struct Node {
    element: Option<&'static Element>,
    key: Key,
    /// First and last single child; they go on by `link`.
    singles: Option<(NodeId, NodeId)>,
    /// Last member of any list; earlier ones by `link`.
    lists: Option<NodeId>,
    /// The next single child of the parent, or the list member before.
    link: Option<NodeId>,
    value: Option<Value>,
    reference: Option<ResourceId>,
    /// The places of all elements that were ever below it, as bits.
    places: u64,
    /// Another value of the same choice was there first: what is written here goes nowhere.
    detached: bool,
    /// Something was written to it since it was put there as a part of something that is kept.
    changed: bool,
    /// What was put here whole, by its number in the tree.
    grafted: Option<NonZeroU32>,
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
    /// What is kept that it was made of.
    pub(super) grafted: Option<Grafted>,
}

/// How a reference is written.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    /// To an entry of the Bundle, by its `fullUrl`.
    Entry(Text),
    /// To something that is not in the message, by its identifier.
    Logical(Map),
}

/// All that a message has become so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub(super) resources: Vec<Resource>,
    /// Members of long lists, so that a field with very many repetitions is no slower than any other.
    index: HashMap<(NodeId, &'static str, Key), NodeId>,
    /// Members of lists that are being written, those of each object behind those of the one around it.
    listed: Vec<Option<Member>>,
    /// What is kept of the messages before.
    pub(super) kept: Option<Box<Kept>>,
    grafted: Vec<Grafted>,
    /// What is about to be kept.
    begun: Option<graft::Begun>,
}

type Member = (NodeId, &'static Element);

thread_local! {
    /// Memory of a tree that is done with, for the next one on this thread: to ask the system for it anew takes longer
    /// than to fill it.
    static SPARE: Cell<Vec<Node>> = const { Cell::new(Vec::new()) };
}

/// More nodes than this are not kept for the next tree.
const KEPT: usize = 16 << 10;

impl Drop for Tree {
    fn drop(&mut self) {
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.clear();
        if nodes.capacity() <= KEPT {
            SPARE.set(nodes);
        }
    }
}

/// With how many of its members what is merged into a resource is compared.
const COMPARED: usize = 64;

/// Members of a list are looked through up to this repetition, and found by the index from there on.
const INDEXED_FROM: u32 = 32;

impl Tree {
    /// With room for what a message of `bytes` most often becomes.
    pub(super) fn for_message(bytes: usize) -> Self {
        let mut nodes = SPARE.take();
        nodes.reserve(bytes / 3);
        let mut tree = Self::default();
        (tree.nodes, tree.resources) = (nodes, Vec::with_capacity(bytes / 32));
        tree
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId::new(self.nodes.len())
    }

    /// A new, empty resource.
    pub(super) fn resource(&mut self, kind: TypeId) -> ResourceId {
        let root = self.add(Node::default());
        self.resources.push(Resource { kind, root, labelled: false, patient: None, context: None, grafted: None });
        ResourceId(u32::try_from(self.resources.len() - 1).unwrap_or(u32::MAX))
    }

    pub(super) fn get(&self, id: ResourceId) -> Option<&Resource> {
        self.resources.get(id.0 as usize)
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index())
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.index())
    }

    /// The single children of `parent`, in order.
    fn singles(&self, parent: NodeId) -> impl Iterator<Item = (NodeId, &Node)> {
        let first = self.node(parent).and_then(|node| node.singles).map(|(first, _)| first);
        self.chain(first)
    }

    /// The members of all lists of `parent`, the last one first.
    fn lists(&self, parent: NodeId) -> impl Iterator<Item = (NodeId, &Node)> {
        self.chain(self.node(parent).and_then(|node| node.lists))
    }

    fn chain(&self, first: Option<NodeId>) -> impl Iterator<Item = (NodeId, &Node)> {
        let pair = |id: NodeId| self.node(id).map(|node| (id, node));
        std::iter::successors(first.and_then(pair), move |(_, node)| node.link.and_then(pair))
    }

    /// The child of `parent` for `element`, made where it is not there yet.
    pub(super) fn child(&mut self, parent: NodeId, element: &'static Element, key: Key) -> NodeId {
        self.enter(parent);
        if let Some(found) = self.find(parent, element, key) {
            return found;
        }
        let detached = self.is_refused(parent, element);
        let id = self.add(Node { element: Some(element), key, detached, ..Node::default() });
        if !detached {
            self.attach(parent, id, element.list);
            if element.list && key.repetition >= INDEXED_FROM {
                self.index.insert((parent, element.name.as_str(), key), id);
            }
        }
        id
    }

    fn attach(&mut self, parent: NodeId, child: NodeId, list: bool) {
        let place = self.node(child).and_then(|node| node.element).map_or(0, bit);
        let Some(owner) = self.node_mut(parent) else { return };
        owner.places |= place;
        owner.changed = true;
        if list {
            let before = owner.lists.replace(child);
            self.set_link(child, before);
            return;
        }
        let (first, last) = match owner.singles {
            Some((first, last)) => (first, Some(last)),
            None => (child, None),
        };
        owner.singles = Some((first, child));
        self.set_link(child, None);
        if let Some(last) = last {
            self.set_link(last, Some(child));
        }
    }

    fn set_link(&mut self, node: NodeId, link: Option<NodeId>) {
        if let Some(node) = self.node_mut(node) {
            node.link = link;
        }
    }

    /// True where another element of the same choice has a value, or the parent itself goes nowhere.
    fn is_refused(&self, parent: NodeId, element: &'static Element) -> bool {
        if self.node(parent).is_none_or(|node| node.detached) {
            return true;
        }
        let is_rival = |(id, node): (NodeId, &Node)| {
            node.element.is_some_and(|other| other.choice == element.choice) && !self.is_empty(id)
        };
        element.choice.is_some() && self.singles(parent).any(is_rival)
    }

    /// The child of `parent` for `element`, if it is there.
    pub(super) fn find(&self, parent: NodeId, element: &'static Element, key: Key) -> Option<NodeId> {
        if self.node(parent).is_none_or(|node| node.places & bit(element) == 0) {
            return None;
        }
        let is_it = |node: &Node| node.element.is_some_and(|own| std::ptr::eq(own, element));
        if !element.list {
            return self.singles(parent).find(|(_, node)| is_it(node)).map(|(id, _)| id);
        }
        if key.repetition >= INDEXED_FROM {
            return self.index.get(&(parent, element.name.as_str(), key)).copied();
        }
        // Segments come in order, so what an earlier one wrote is not looked for.
        // What belongs to no segment in particular stands anywhere.
        let is_near = |node: &Node| node.key.segment >= key.segment || node.key.segment == 0;
        let own = self.lists(parent).take_while(|(_, node)| is_near(node));
        own.into_iter().find(|(_, node)| node.key == key && is_it(node)).map(|(id, _)| id)
    }

    /// The keys of the members of the list `element` that `segment` has written, for `[each]`.
    pub(super) fn members(&self, parent: NodeId, element: &'static Element, segment: u32) -> Vec<Key> {
        let own = self.lists(parent).take_while(|(_, node)| node.key.segment >= segment);
        let is_it = |node: &Node| node.element.is_some_and(|own| std::ptr::eq(own, element));
        let mut keys: Vec<_> = own.filter(|(_, node)| is_it(node)).map(|(_, node)| node.key).collect();
        keys.reverse();
        keys
    }

    /// The child called `name`, whatever its key: for lists the first.
    pub(super) fn named(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        let is_it = |node: &Node| node.element.is_some_and(|element| element.name == name);
        let single = self.singles(parent).find(|(_, node)| is_it(node));
        single.or_else(|| self.lists(parent).filter(|(_, node)| is_it(node)).last()).map(|(id, _)| id)
    }

    /// All children of the list `name` with their keys.
    pub(super) fn all_named(&self, parent: NodeId, name: &str) -> Vec<(Key, NodeId)> {
        let is_it = |node: &Node| node.element.is_some_and(|element| element.name == name);
        let mut all: Vec<_> =
            self.lists(parent).filter(|(_, node)| is_it(node)).map(|(id, node)| (node.key, id)).collect();
        all.reverse();
        all
    }

    /// True if `node` holds nothing but the list or element called `name`.
    pub(super) fn has_only(&self, node: NodeId, name: &str) -> bool {
        let mut children = self.singles(node).chain(self.lists(node)).filter(|(id, _)| !self.is_empty(*id)).peekable();
        children.peek().is_some() && children.all(|(_, node)| node.element.is_some_and(|element| element.name == name))
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
            Some(node) if node.value.is_none() && !node.detached => {
                (node.value, node.changed) = (Some(value), true);
                true
            }
            Some(node) => !node.detached && node.value.as_ref() == Some(&value),
            None => false,
        }
    }

    /// Sets the value of the primitive child at `place`, over any other.
    pub(super) fn overwrite(&mut self, parent: NodeId, place: Place, value: impl Into<Value>) {
        let Some(element) = place else { return };
        let node = self.child(parent, element, Key::default());
        if let Some(node) = self.node_mut(node) {
            (node.value, node.changed) = (Some(value.into()), true);
        }
    }

    /// Makes `node` a reference to `resource`, unless it refers to another already.
    pub(super) fn refer(&mut self, node: NodeId, resource: ResourceId) {
        if let Some(node) = self.node_mut(node).filter(|node| !node.detached && node.reference.is_none()) {
            (node.reference, node.changed) = (Some(resource), true);
        }
    }

    /// As [`Tree::refer`], where what is kept has left it open.
    pub(super) fn refer_from(&mut self, node: NodeId, resource: ResourceId) {
        if let Some(node) = self.node_mut(node).filter(|node| !node.detached) {
            node.reference.get_or_insert(resource);
        }
    }

    pub(super) fn reference(&self, node: NodeId) -> Option<ResourceId> {
        self.node(node)?.reference
    }

    /// What `node` is of its parent; `None` for a resource.
    pub(super) fn element(&self, node: NodeId) -> Option<&'static Element> {
        self.node(node)?.element
    }

    /// True if nothing was written below `node`.
    pub(super) fn is_empty(&self, node: NodeId) -> bool {
        let Some(own) = self.node(node) else { return true };
        own.value.is_none()
            && own.reference.is_none()
            && self.are_empty(own.singles.map(|(first, _)| first))
            && self.are_empty(own.lists)
    }

    /// As [`Self::is_empty`], of children from this one on.
    fn are_empty(&self, mut child: Option<NodeId>) -> bool {
        while let Some(id) = child {
            if !self.is_empty(id) {
                return false;
            }
            child = self.node(id).and_then(|node| node.link);
        }
        true
    }

    /// True if both hold the same; `redirects` says which resources are one.
    fn is_same(&self, a: NodeId, b: NodeId, redirects: &[ResourceId]) -> bool {
        let (Some(left), Some(right)) = (self.node(a), self.node(b)) else { return false };
        let to = |id: ResourceId| redirects.get(id.0 as usize).copied().unwrap_or(id);
        let same_element = match (left.element, right.element) {
            (Some(left), Some(right)) => std::ptr::eq(left, right),
            (left, right) => left.is_none() && right.is_none(),
        };
        let first = |node: &Node| node.singles.map(|(first, _)| first);
        same_element
            && left.value == right.value
            && left.reference.map(to) == right.reference.map(to)
            && self.are_same(first(left), first(right), redirects)
            && self.are_same(left.lists, right.lists, redirects)
    }

    /// As [`Self::is_same`], of children from these on.
    fn are_same(&self, a: Option<NodeId>, b: Option<NodeId>, redirects: &[ResourceId]) -> bool {
        let link = |id: NodeId| self.node(id).and_then(|node| node.link);
        let (mut a, mut b) = (a, b);
        while let (Some(left), Some(right)) = (a, b) {
            if !self.is_same(left, right, redirects) {
                return false;
            }
            (a, b) = (link(left), link(right));
        }
        a.is_none() && b.is_none()
    }

    /// Adds to `into` what `from` holds and it does not; where both hold a single value, that of
    /// `into` stays.
    pub(super) fn merge(&mut self, into: NodeId, from: NodeId, redirects: &[ResourceId]) {
        let singles: Vec<_> = self.singles(from).map(|(id, node)| (id, node.element)).collect();
        for (id, element) in singles {
            let Some(element) = element else { continue };
            match self.find(into, element, Key::default()) {
                None if self.is_refused(into, element) => {}
                None => self.attach(into, id, false),
                Some(own) if matches!(element.kind, Kind::Complex(_)) => self.merge(own, id, redirects),
                Some(_) => {}
            }
        }
        let mut members: Vec<_> = self.lists(from).map(|(id, _)| id).collect();
        members.reverse();
        for id in members {
            // The same again most often stands near; looking through long lists would make work of their square.
            if !self.lists(into).take(COMPARED).any(|(own, _)| self.is_same(own, id, redirects)) {
                self.attach(into, id, true);
            }
        }
    }

    /// True if `from` says of an element that can be there once something else than `into` does.
    pub(super) fn contradicts(&self, into: NodeId, from: NodeId) -> bool {
        self.singles(from).any(|(id, node)| {
            let Some(element) = node.element else { return false };
            match self.find(into, element, Key::default()) {
                None => !self.is_empty(id) && self.is_refused(into, element),
                Some(own) if matches!(element.kind, Kind::Complex(_)) => self.contradicts(own, id),
                Some(own) => self.value(own).zip(node.value.as_ref()).is_some_and(|(own, other)| own != other),
            }
        })
    }

    /// Takes all that is below `node` off it.
    pub(super) fn strip(&mut self, node: NodeId) {
        if let Some(node) = self.node_mut(node) {
            (node.singles, node.lists, node.changed) = (None, None, true);
        }
    }

    /// Takes the members of the list `name` off `parent`.
    pub(super) fn clear(&mut self, parent: NodeId, name: &str) {
        let keep = |node: &Node| node.element.is_none_or(|element| element.name != name);
        let mut kept: Vec<_> = self.lists(parent).filter(|(_, node)| keep(node)).map(|(id, _)| id).collect();
        kept.reverse();
        if let Some(parent) = self.node_mut(parent) {
            (parent.lists, parent.changed) = (None, true);
        }
        for id in kept {
            self.attach(parent, id, true);
        }
    }
}

/// The place of `element` in its type, as a bit.
fn bit(element: &Element) -> u64 {
    1 << element.place
}
