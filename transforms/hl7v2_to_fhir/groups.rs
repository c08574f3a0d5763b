//! Which group of the message's grammar each segment belongs to. Nothing stops the rest: what the
//! grammar does not expect is put where it does least harm, and reported.

use super::maps::plan::{MessagePlan, Node};
use super::source::Source;

/// One occurrence of a group.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    pub(super) node: usize,
    pub(super) parent: usize,
    /// The first segment of each name in it.
    pub(super) segments: Vec<(&'a str, usize)>,
}

/// Where a segment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Its node in the grammar; `None` for one that the grammar does not know.
    pub(super) node: Option<usize>,
    pub(super) instance: usize,
    pub(super) expected: bool,
}

/// All segments in their groups; instance 0 is the message.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    pub(super) instances: Vec<Instance<'a>>,
    pub(super) placed: Vec<Placed>,
}

/// Puts the segments of `source` into the groups of `plan`.
pub(super) fn read<'a>(plan: &MessagePlan, source: &Source<'a>) -> Groups<'a> {
    let root = Instance { node: 0, parent: 0, segments: Vec::new() };
    let mut reader = Reader {
        nodes: &plan.nodes,
        groups: Groups { instances: vec![root], placed: Vec::new() },
        at: Position { instance: 0, leaf: None },
    };
    for (number, segment) in source.segments.iter().enumerate() {
        let following = source.segments.get(number + 1..).unwrap_or_default().iter().map(|s| s.name);
        let next = following.clone().find(|name| *name != segment.name);
        let placed = reader.place(segment.name, next);
        if let Some(instance) = reader.groups.instances.get_mut(placed.instance) {
            if !instance.segments.iter().any(|(name, _)| *name == segment.name) {
                instance.segments.push((segment.name, number));
            }
        }
        reader.groups.placed.push(placed);
    }
    reader.groups
}

#[derive(Clone, Copy, Debug)]
struct Position {
    instance: usize,
    /// The last node entered within the instance's group.
    leaf: Option<usize>,
}

struct Reader<'p, 'a> {
    nodes: &'p [Node],
    groups: Groups<'a>,
    at: Position,
}

impl Reader<'_, '_> {
    fn place(&mut self, name: &str, next: Option<&str>) -> Placed {
        if !self.nodes.iter().any(|node| !node.is_group && node.name == name) {
            return Placed { node: None, instance: self.at.instance, expected: false };
        }
        for lenient in [false, true] {
            if let Some(placed) = self.forward(name, next, lenient) {
                return placed;
            }
        }
        self.backward(name)
    }

    /// The same segment again, one further on in the group, in a new occurrence of the group, or
    /// so in the groups around it. `lenient`: required segments may be missing.
    fn forward(&mut self, name: &str, next: Option<&str>, lenient: bool) -> Option<Placed> {
        let mut at = self.at;
        loop {
            let group = self.groups.instances.get(at.instance)?.node;
            let is_again = |leaf: usize| self.node(leaf).is_some_and(|n| n.repeats && !n.is_group && n.name == name);
            if let Some(leaf) = at.leaf.filter(|leaf| is_again(*leaf)) {
                return Some(self.enter(at.instance, &[leaf]));
            }
            let mut path = Vec::new();
            if self.find(group, at.leaf, name, lenient, &mut path) {
                if lenient && self.would_skip(group, at.leaf, &path, next) {
                    let node = path.last().copied();
                    return Some(Placed { node, instance: at.instance, expected: false });
                }
                return Some(Placed { expected: !lenient, ..self.enter(at.instance, &path) });
            }
            if self.node(group).is_some_and(|n| n.repeats) && self.find(group, None, name, false, &mut path) {
                let parent = self.groups.instances.get(at.instance)?.parent;
                let instance = self.open(group, parent);
                return Some(self.enter(instance, &path));
            }
            if at.instance == 0 {
                return None;
            }
            at = Position { instance: self.groups.instances.get(at.instance)?.parent, leaf: Some(group) };
        }
    }

    /// The path of nodes from `group` to the first segment called `name` after `after`.
    fn find(&self, group: usize, after: Option<usize>, name: &str, lenient: bool, path: &mut Vec<usize>) -> bool {
        let children = self.node(group).map_or(&[][..], |n| &n.children);
        let start = after.and_then(|leaf| children.iter().position(|c| *c == leaf)).map_or(0, |i| i + 1);
        for &child in children.get(start..).unwrap_or_default() {
            let Some(node) = self.node(child) else { continue };
            path.push(child);
            if (node.is_group && self.find(child, None, name, lenient, path)) || (!node.is_group && node.name == name) {
                return true;
            }
            path.pop();
            if !lenient && !node.optional && !self.is_optional(child) {
                return false;
            }
        }
        false
    }

    /// True for a group in which nothing is required.
    fn is_optional(&self, node: usize) -> bool {
        self.node(node).is_some_and(|n| n.optional || (n.is_group && n.children.iter().all(|c| self.is_optional(*c))))
    }

    /// True if going to `path` passes over a required segment that comes next.
    fn would_skip(&self, group: usize, after: Option<usize>, path: &[usize], next: Option<&str>) -> bool {
        let Some(next) = next else { return false };
        let mut to_next = Vec::new();
        self.find(group, after, next, true, &mut to_next) && to_next < path.to_vec()
    }

    /// A segment that came too late: in the nearest group around that knows it.
    fn backward(&mut self, name: &str) -> Placed {
        let mut instance = self.at.instance;
        loop {
            let group = self.groups.instances.get(instance).map_or(0, |i| i.node);
            let children = self.node(group).map_or(&[][..], |n| &n.children);
            let is_it = |child: &usize| self.node(*child).is_some_and(|n| !n.is_group && n.name == name);
            if let Some(&leaf) = children.iter().find(|child| is_it(child)) {
                return Placed { node: Some(leaf), instance, expected: false };
            }
            if instance == 0 {
                return self.anywhere(name);
            }
            instance = self.groups.instances.get(instance).map_or(0, |i| i.parent);
        }
    }

    /// A segment of a group that is over: a new occurrence of that group, without moving on.
    fn anywhere(&mut self, name: &str) -> Placed {
        let before = self.at;
        let mut path = Vec::new();
        if !self.find(0, None, name, true, &mut path) {
            return Placed { node: None, instance: 0, expected: false };
        }
        let placed = self.enter(0, &path);
        self.at = before;
        Placed { expected: false, ..placed }
    }

    /// Opens the groups of `path` below `instance` and stands at its segment.
    fn enter(&mut self, instance: usize, path: &[usize]) -> Placed {
        let mut instance = instance;
        for &node in path {
            if self.node(node).is_some_and(|n| n.is_group) {
                instance = self.open(node, instance);
            } else {
                self.at = Position { instance, leaf: Some(node) };
            }
        }
        Placed { node: path.last().copied(), instance, expected: true }
    }

    fn open(&mut self, node: usize, parent: usize) -> usize {
        self.groups.instances.push(Instance { node, parent, segments: Vec::new() });
        self.groups.instances.len() - 1
    }

    fn node(&self, id: usize) -> Option<&Node> {
        self.nodes.get(id)
    }
}
