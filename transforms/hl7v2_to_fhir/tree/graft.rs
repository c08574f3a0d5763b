//! Pieces of trees: taken out of one to be put into others.

use std::num::NonZeroU32;

use message::fhir::definitions::TypeId;

use super::{Node, NodeId, Resource, ResourceId, Tree};

/// What stands below a node, and resources that it leads to. Numbers of nodes and of resources are its own.
#[derive(Debug)]
pub(in crate::hl7v2_to_fhir) struct Graft {
    /// What the node has at which it is put; the others are counted from 1.
    root: Node,
    nodes: Vec<Node>,
    /// How many of the nodes stand below that one; those of the resources follow.
    below: usize,
    resources: Vec<Made>,
    /// True if it refers to resources.
    refers: bool,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    kind: TypeId,
    root: NodeId,
    /// Number of the node after its last.
    end: usize,
}

/// An element or a resource that was put somewhere.
#[derive(Clone, Copy, Debug)]
pub(in crate::hl7v2_to_fhir) struct Grafted {
    /// The part that it is of.
    pub(in crate::hl7v2_to_fhir) part: u32,
    /// 0 for the node at which the graft was put, and then the resources that it makes.
    pub(in crate::hl7v2_to_fhir) nth: u32,
    root: NodeId,
    /// The nodes below the root, of a resource of the graft's with the root.
    first: u32,
    end: u32,
}

/// What is new in a tree since a piece of it was begun.
#[derive(Clone, Debug)]
pub(in crate::hl7v2_to_fhir) struct Begun {
    /// The node that is filled, if it is one.
    root: Option<NodeId>,
    nodes: usize,
    resources: usize,
    /// Nodes of resources that do not belong to it.
    others: Vec<std::ops::Range<usize>>,
    /// How many resources there were before the first of those, and behind the last.
    own: Option<usize>,
    after: usize,
    /// How many of them are being made.
    depth: usize,
    /// True once something else was written to.
    broken: bool,
}

impl Graft {
    /// How many nodes it has.
    pub(in crate::hl7v2_to_fhir) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many resources it makes.
    pub(in crate::hl7v2_to_fhir) fn resources(&self) -> usize {
        self.resources.len()
    }
}

fn moved(id: NodeId, by: usize) -> NodeId {
    NodeId::new(id.index() + 1 + by)
}

impl Node {
    /// The same, among nodes and resources that are counted from elsewhere, written by `segment`.
    fn copied(&self, nodes: usize, resources: u32, segment: u32) -> Self {
        let mut key = self.key;
        if key.segment != 0 {
            key.segment = segment;
        }
        Self {
            element: self.element,
            key,
            singles: self.singles.map(|(first, last)| (moved(first, nodes), moved(last, nodes))),
            lists: self.lists.map(|last| moved(last, nodes)),
            link: self.link.map(|link| moved(link, nodes)),
            value: self.value.clone(),
            reference: self.reference.map(|to| ResourceId(to.0 + resources)),
            places: self.places,
            detached: false,
            changed: false,
            grafted: None,
        }
    }

    /// True if nothing was ever written to it.
    fn is_fresh(&self) -> bool {
        !self.detached
            && self.value.is_none()
            && self.reference.is_none()
            && self.singles.is_none()
            && self.lists.is_none()
            && self.places == 0
    }
}

impl Tree {
    /// True if nothing was ever written to `node`, and something can be.
    pub(in crate::hl7v2_to_fhir) fn is_fresh(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(Node::is_fresh)
    }

    /// Puts part `number` at `root`, which is that of `resource` if it is a resource's, or its resources alone. The
    /// number before that of its first node, and the first of its resources.
    pub(in crate::hl7v2_to_fhir) fn graft(
        &mut self,
        number: u32,
        (root, resource): (Option<NodeId>, Option<ResourceId>),
        segment: u32,
    ) -> Option<(usize, ResourceId)> {
        let (by, resources) = (self.nodes.len(), u32::try_from(self.resources.len()).ok()?);
        let graft = &self.kept.as_ref()?.part(number)?.graft;
        self.nodes.extend(graft.nodes.iter().map(|node| node.copied(by, resources, segment)));
        let small = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        for (nth, made) in (1..).zip(&graft.resources) {
            let root = moved(made.root, by);
            let grafted =
                Some(Grafted { part: number, nth, root, first: small(root.index()), end: small(by + made.end) });
            self.resources.push(Resource {
                kind: made.kind,
                root,
                labelled: false,
                patient: None,
                context: None,
                grafted,
            });
        }
        let Some(root) = root else { return Some((by, ResourceId(resources))) };
        let own = self.nodes.get_mut(root.index())?;
        let copy = graft.root.copied(by, resources, segment);
        let before = std::mem::replace(own, copy);
        (own.element, own.key, own.link) = (before.element, before.key, before.link);
        let grafted = Grafted { part: number, nth: 0, root, first: small(by), end: small(by + graft.below) };
        match resource.and_then(|resource| self.resources.get_mut(resource.0 as usize)) {
            Some(resource) => resource.grafted = Some(grafted),
            None if !graft.refers => {
                self.grafted.push(grafted);
                own.grafted = u32::try_from(self.grafted.len()).ok().and_then(NonZeroU32::new);
            }
            None => {}
        }
        Some((by, ResourceId(resources)))
    }

    /// The part that stands unchanged at `node`, if it is one that refers to nothing.
    pub(super) fn whole(&self, node: NodeId) -> Option<u32> {
        let grafted = self.grafted.get(self.node(node)?.grafted?.get() as usize - 1)?;
        self.is_unchanged(*grafted).then_some(grafted.part)
    }

    fn nodes_of(&self, grafted: Grafted) -> &[Node] {
        self.nodes.get(grafted.first as usize..grafted.end as usize).unwrap_or_default()
    }

    /// True if nothing was written to what was put there, but what its references are to.
    fn is_unchanged(&self, grafted: Grafted) -> bool {
        !self.node(grafted.root).is_none_or(|root| root.changed)
            && !self.nodes_of(grafted).iter().any(|node| node.changed)
    }

    /// What is kept that `resource` is made of, if nothing was written to it since.
    pub(in crate::hl7v2_to_fhir) fn unchanged(&self, resource: ResourceId) -> Option<Grafted> {
        self.get(resource)?.grafted.filter(|grafted| self.is_unchanged(*grafted))
    }

    /// Notes that what was put there is as it is to be, whatever was written to it.
    pub(in crate::hl7v2_to_fhir) fn accept(&mut self, grafted: Grafted) {
        let nodes = self.nodes.get_mut(grafted.first as usize..grafted.end as usize).unwrap_or_default();
        nodes.iter_mut().for_each(|node| node.changed = false);
        self.node_mut(grafted.root).into_iter().for_each(|root| root.changed = false);
    }

    /// What it refers to, with the numbers of the references among its nodes.
    pub(in crate::hl7v2_to_fhir) fn references_in(&self, grafted: Grafted) -> impl Iterator<Item = (u16, ResourceId)> {
        (0..).zip(self.nodes_of(grafted)).filter_map(|(number, node)| Some((number, node.reference?)))
    }

    /// Watches what is made from now on, below `root` or as resources.
    pub(in crate::hl7v2_to_fhir) fn begin(&mut self, root: Option<NodeId>) {
        self.begun = Some(Begun {
            root,
            nodes: self.nodes.len(),
            resources: self.resources.len(),
            others: Vec::new(),
            own: None,
            after: 0,
            depth: 0,
            broken: false,
        });
    }

    /// True while something is watched.
    pub(in crate::hl7v2_to_fhir) fn is_watched(&self) -> bool {
        self.begun.is_some()
    }

    /// Notes that another resource is made or looked up from now on. How many nodes there are; `None` within another.
    pub(in crate::hl7v2_to_fhir) fn begin_other(&mut self) -> Option<usize> {
        let resources = self.resources.len();
        let begun = self.begun.as_mut()?;
        begun.depth += 1;
        if begun.depth > 1 {
            return None;
        }
        match begun.own {
            None => begun.own = Some(resources),
            // A resource of its own behind another's: in other messages it would be another number.
            Some(_) => begun.broken |= begun.after != resources,
        }
        Some(self.nodes.len())
    }

    /// Notes that the other resource is there, `from` the node at which it began.
    pub(in crate::hl7v2_to_fhir) fn end_other(&mut self, from: Option<usize>) {
        let (nodes, resources) = (self.nodes.len(), self.resources.len());
        if let Some(begun) = &mut self.begun {
            begun.depth -= 1;
            if let Some(from) = from {
                begun.after = resources;
                begun.others.push(from..nodes);
            }
        }
    }

    /// Notes that something is looked up or made below `parent`.
    pub(super) fn enter(&mut self, parent: NodeId) {
        if let Some(begun) = &mut self.begun {
            let at = parent.index();
            let is_own = at >= begun.nodes || Some(parent) == begun.root;
            begun.broken |= !is_own || begun.others.iter().any(|other| other.contains(&at));
        }
    }

    /// Notes that what is watched cannot be put elsewhere.
    pub(in crate::hl7v2_to_fhir) fn spoil(&mut self) {
        self.begun.iter_mut().for_each(|begun| begun.broken = true);
    }

    /// What was made since [`Tree::begin`], and the first resource that was; with the numbers of `slots` in it, whose
    /// references are left open. `None` if it cannot be put elsewhere.
    pub(in crate::hl7v2_to_fhir) fn end(&mut self, slots: &[NodeId]) -> Option<(ResourceId, Graft, Vec<u32>)> {
        let begun = self.begun.take()?;
        let resources = self.resources.len();
        let own = begun.own.unwrap_or(resources);
        if begun.broken || begun.own.is_some_and(|_| begun.after != resources) {
            return None;
        }
        let mut cut = Cut {
            tree: self,
            begun: &begun,
            slots,
            open: vec![None; slots.len()],
            own,
            nodes: Vec::new(),
            refers: false,
        };
        let root = match begun.root {
            Some(root) => {
                if let Some(at) = slots.iter().position(|slot| *slot == root) {
                    *cut.open.get_mut(at)? = Some(0);
                }
                cut.children(root)?
            }
            None => Node::default(),
        };
        let below = cut.nodes.len();
        let mut made = Vec::with_capacity(own - begun.resources);
        for resource in cut.tree.resources.get(begun.resources..own)? {
            if resource.labelled {
                return None;
            }
            let root = cut.node(resource.root)?;
            made.push(Made { kind: resource.kind, root, end: cut.nodes.len() });
        }
        let open = cut.open.into_iter().collect::<Option<Vec<u32>>>()?;
        let graft = Graft { root, nodes: cut.nodes, below, resources: made, refers: cut.refers };
        let first = ResourceId(u32::try_from(begun.resources).ok()?);
        Some((first, graft, open))
    }
}

/// A piece of a tree on its way to be a graft.
struct Cut<'t> {
    tree: &'t Tree,
    begun: &'t Begun,
    slots: &'t [NodeId],
    open: Vec<Option<u32>>,
    /// The resource after the last of its own.
    own: usize,
    nodes: Vec<Node>,
    refers: bool,
}

impl Cut<'_> {
    /// Copies `id` and what is below it.
    fn node(&mut self, id: NodeId) -> Option<NodeId> {
        if id.index() < self.begun.nodes || self.begun.others.iter().any(|other| other.contains(&id.index())) {
            return None;
        }
        self.nodes.push(Node::default());
        let number = NodeId::new(self.nodes.len());
        if let Some(at) = self.slots.iter().position(|slot| *slot == id) {
            *self.open.get_mut(at)? = Some(number.0.get());
        }
        let node = self.children(id)?;
        *self.nodes.get_mut(number.index())? = node;
        Some(number)
    }

    /// A copy of `id` alone, with copies of its children below it.
    fn children(&mut self, id: NodeId) -> Option<Node> {
        let own = self.tree.node(id)?;
        let mut copy = Node {
            element: own.element,
            key: own.key,
            value: own.value.clone(),
            places: own.places,
            ..Node::default()
        };
        if self.slots.contains(&id) {
            self.refers = true;
        } else if let Some(to) = own.reference {
            let to = (to.0 as usize).checked_sub(self.begun.resources)?;
            if self.begun.resources + to >= self.own {
                return None;
            }
            copy.reference = Some(ResourceId(u32::try_from(to).ok()?));
            self.refers = true;
        }
        let mut before: Option<NodeId> = None;
        let mut next = own.singles.map(|(first, _)| first);
        while let Some(child) = next {
            next = self.tree.node(child)?.link;
            let child = self.node(child)?;
            match before {
                Some(before) => self.nodes.get_mut(before.index())?.link = Some(child),
                None => copy.singles = Some((child, child)),
            }
            copy.singles = copy.singles.map(|(first, _)| (first, child));
            before = Some(child);
        }
        let mut before: Option<NodeId> = None;
        let mut next = own.lists;
        while let Some(child) = next {
            next = self.tree.node(child)?.link;
            let child = self.node(child)?;
            match before {
                Some(before) => self.nodes.get_mut(before.index())?.link = Some(child),
                None => copy.lists = Some(child),
            }
            before = Some(child);
        }
        Some(copy)
    }
}
