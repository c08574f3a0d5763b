//! Which group of the message's grammar each segment belongs to. Nothing stops the rest: what the
//! grammar does not expect is put where it does least harm, and reported.

use std::collections::HashSet;

use super::hashed::Hasher;
use super::maps::plan::{MessagePlan, Node};
use super::source::Source;

/// One occurrence of a group.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    pub(super) node: usize,
    pub(super) parent: usize,
    /// The first segment of each name in it, also of those in groups in it that do not repeat.
    pub(super) segments: Vec<(&'a str, usize)>,
    /// As above, of the groups in it that repeat.
    pub(super) below: Vec<(&'a str, usize)>,
}

/// Where a segment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Its node in the grammar; `None` for one that the grammar does not know.
    pub(super) node: Option<usize>,
    pub(super) instance: usize,
    pub(super) fit: Fit,
}

/// How well a segment stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// As the grammar says.
    Expected,
    /// A required segment before it is missing.
    AfterMissing,
    /// Elsewhere than the grammar says.
    Misplaced,
    /// The grammar does not know it.
    Unknown,
}

/// All segments in their groups; instance 0 is the message.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    pub(super) instances: Vec<Instance<'a>>,
    pub(super) placed: Vec<Placed>,
}

/// Puts the segments of `source` into the groups of `plan`.
pub(super) fn read<'a>(plan: &MessagePlan, source: &Source<'a>) -> Groups<'a> {
    let root = Instance { node: 0, parent: 0, segments: Vec::new(), below: Vec::new() };
    let mut reader = Reader {
        nodes: &plan.nodes,
        known: &plan.known,
        groups: Groups { instances: vec![root], placed: Vec::new() },
        at: Position { instance: 0, leaf: None },
    };
    for ((number, segment), next) in source.segments.iter().enumerate().zip(nexts(source)) {
        let placed = reader.place(segment.name, next);
        reader.note(placed.instance, segment.name, number);
        reader.groups.placed.push(placed);
    }
    reader.groups
}

/// For each segment the name of the next one that is called otherwise.
fn nexts<'a>(source: &Source<'a>) -> Vec<Option<&'a str>> {
    let mut nexts = vec![None; source.segments.len()];
    let (mut after, mut next) = (None, None);
    for (segment, slot) in source.segments.iter().zip(&mut nexts).rev() {
        if after.is_some_and(|name| name != segment.name) {
            next = after;
        }
        *slot = next;
        after = Some(segment.name);
    }
    nexts
}

#[derive(Clone, Copy, Debug)]
struct Position {
    instance: usize,
    /// The last node entered within the instance's group.
    leaf: Option<usize>,
}

/// How strictly a place is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Where the segment that comes next can stand behind it.
    Leading,
    Strict,
    /// Required segments before it may be missing.
    Lenient,
}

struct Reader<'p, 'a> {
    nodes: &'p [Node],
    /// The names of all segments of the grammar.
    known: &'p HashSet<String, Hasher>,
    groups: Groups<'a>,
    at: Position,
}

impl<'a> Reader<'_, 'a> {
    fn place(&mut self, name: &str, next: Option<&str>) -> Placed {
        if !self.known.contains(name) {
            return Placed { node: None, instance: self.at.instance, fit: Fit::Unknown };
        }
        // An ORC begins orders of several kinds: what comes next says of which.
        let leading = if name == "ORC" { self.forward(name, next, How::Leading) } else { None };
        let forward = leading.or_else(|| self.forward(name, next, How::Strict)).or_else(|| self.again(name));
        // A note is about what stands before it, not about something that is missing.
        let note = |reader: &Self| reader.near(name).filter(|placed| name == "NTE" && placed.instance != 0);
        let forward = forward.or_else(|| note(self)).or_else(|| self.forward(name, next, How::Lenient));
        forward.unwrap_or_else(|| self.backward(name))
    }

    /// Notes the segment in its group and in those around it.
    fn note(&mut self, instance: usize, name: &'a str, number: usize) {
        let (mut instance, mut repeats) = (instance, false);
        while let Some(found) = self.groups.instances.get_mut(instance) {
            let list = if repeats { &mut found.below } else { &mut found.segments };
            if list.iter().any(|(known, _)| *known == name) && repeats {
                return;
            }
            if !list.iter().any(|(known, _)| *known == name) {
                list.push((name, number));
            }
            if instance == 0 {
                return;
            }
            repeats |= self.nodes.get(found.node).is_some_and(|node| node.repeats);
            instance = found.parent;
        }
    }

    /// The same segment again, one further on in the group, in a new occurrence of the group, or
    /// so in the groups around it.
    fn forward(&mut self, name: &str, next: Option<&str>, how: How) -> Option<Placed> {
        let lenient = how == How::Lenient;
        let leads = |reader: &Self, group, path: &[usize]| how != How::Leading || reader.leads(group, path, next);
        let mut at = self.at;
        loop {
            let group = self.groups.instances.get(at.instance)?.node;
            let is_again = |leaf: usize| self.node(leaf).is_some_and(|n| n.repeats && !n.is_group && n.name == name);
            if let Some(leaf) = at.leaf.filter(|leaf| is_again(*leaf)) {
                return Some(self.enter(at.instance, &[leaf]));
            }
            let mut path = Vec::new();
            let mut found = self.find(group, at.leaf, name, lenient, &mut path);
            while found && !leads(self, group, &path) {
                let passed = path.first().copied();
                path.clear();
                found = self.find(group, passed, name, lenient, &mut path);
            }
            if found {
                if lenient && self.would_skip(group, at.leaf, &path, next) {
                    return Some(self.aside(at.instance, &path));
                }
                let fit = if lenient { Fit::AfterMissing } else { Fit::Expected };
                return Some(Placed { fit, ..self.enter(at.instance, &path) });
            }
            path.clear();
            let again = self.node(group).is_some_and(|n| n.repeats) && self.find(group, None, name, false, &mut path);
            if again && leads(self, group, &path) {
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

    /// A segment that its group can hold once and holds already, in a new occurrence of the group: a
    /// second OBR without an ORC begins the next order.
    fn again(&mut self, name: &str) -> Option<Placed> {
        let mut instance = self.at.instance;
        while instance != 0 {
            let found = self.groups.instances.get(instance)?;
            let (group, parent) = (found.node, found.parent);
            let mut path = Vec::new();
            let repeats = self.node(group).is_some_and(|n| n.repeats) && self.is_second(instance, name);
            if repeats && self.find(group, None, name, true, &mut path) {
                let opened = self.open(group, parent);
                return Some(Placed { fit: Fit::AfterMissing, ..self.enter(opened, &path) });
            }
            instance = parent;
        }
        None
    }

    /// True if the group's occurrence has the segment already, which can be there once.
    fn is_second(&self, instance: usize, name: &str) -> bool {
        let is_there = |found: &Instance<'_>| found.segments.iter().any(|(known, _)| *known == name);
        let single = self.nodes.iter().any(|node| !node.is_group && node.name == name && !node.repeats);
        single && self.groups.instances.get(instance).is_some_and(is_there)
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

    /// True if the segment `next` may stand behind the one at the end of `path` from `group`, or in what comes after.
    fn leads(&self, group: usize, path: &[usize], next: Option<&str>) -> bool {
        let (Some(next), Some((leaf, groups))) = (next, path.split_last()) else { return true };
        let mut after = *leaf;
        for group in groups.iter().rev().copied().chain([group]) {
            if self.find(group, Some(after), next, false, &mut Vec::new()) {
                return true;
            }
            let rest = self.node(group).map_or(&[][..], |node| &node.children);
            let rest = rest.iter().skip_while(|child| **child != after).skip(1);
            if rest.clone().any(|child| !self.is_optional(*child)) {
                return false;
            }
            after = group;
        }
        true
    }

    /// True if going to `path` passes over a required segment that comes next.
    fn would_skip(&self, group: usize, after: Option<usize>, path: &[usize], next: Option<&str>) -> bool {
        let Some(next) = next else { return false };
        let mut to_next = Vec::new();
        self.find(group, after, next, true, &mut to_next) && to_next < path.to_vec()
    }

    /// A segment that came too late: in the nearest group around that knows it.
    fn backward(&mut self, name: &str) -> Placed {
        self.near(name).unwrap_or_else(|| self.anywhere(name))
    }

    /// The nearest group around that knows the segment.
    fn near(&self, name: &str) -> Option<Placed> {
        let mut instance = self.at.instance;
        loop {
            let group = self.groups.instances.get(instance).map_or(0, |i| i.node);
            let children = self.node(group).map_or(&[][..], |n| &n.children);
            let is_it = |child: &usize| self.node(*child).is_some_and(|n| !n.is_group && n.name == name);
            if let Some(&leaf) = children.iter().find(|child| is_it(child)) {
                return Some(Placed { node: Some(leaf), instance, fit: Fit::Misplaced });
            }
            if instance == 0 {
                return None;
            }
            instance = self.groups.instances.get(instance).map_or(0, |i| i.parent);
        }
    }

    /// A segment of a group that is over: a new occurrence of that group, without moving on.
    fn anywhere(&mut self, name: &str) -> Placed {
        let mut path = Vec::new();
        if !self.find(0, None, name, true, &mut path) {
            return Placed { node: None, instance: 0, fit: Fit::Unknown };
        }
        self.aside(0, &path)
    }

    /// A segment before its time, or after: in an occurrence of its own of the groups of `path`, without moving on.
    fn aside(&mut self, instance: usize, path: &[usize]) -> Placed {
        let before = self.at;
        let placed = self.enter(instance, path);
        self.at = before;
        Placed { fit: Fit::Misplaced, ..placed }
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
        Placed { node: path.last().copied(), instance, fit: Fit::Expected }
    }

    fn open(&mut self, node: usize, parent: usize) -> usize {
        self.groups.instances.push(Instance { node, parent, segments: Vec::new(), below: Vec::new() });
        self.groups.instances.len() - 1
    }

    fn node(&self, id: usize) -> Option<&Node> {
        self.nodes.get(id)
    }
}
