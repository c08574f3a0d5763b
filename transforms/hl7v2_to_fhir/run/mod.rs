//! One conversion: the segments of a message through the rows of its plan, into a [`Tree`].

mod again;
mod codes;
mod conditions;
mod convert;
mod parents;
mod rows;
mod specimens;
mod subgroups;
mod systems;
mod z_segments;

use std::cell::Cell;
use std::collections::HashSet;

use message::json::Text;
use message::{Context, Finding, FindingKind};

use super::groups::{self, Fit, Groups, Placed};
use super::hashed::Hashed;
use super::known::{KnownKind, known};
use super::maps::plan::{Link, MessagePlan, Plan, RowPlace, SegmentRow};
use super::options::{ObservationGroups, ZSegments};
use super::source::{self, Source};
use super::tree::{Key, NodeId, ResourceId, Tree};

pub(super) use systems::{Systems, push_encoded};

/// A conversion on its way.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) structure: &'a MessagePlan,
    pub(super) source: Source<'a>,
    pub(super) groups: Groups<'a>,
    pub(super) tree: Tree,
    pub(super) systems: Systems<'a>,
    pub(super) context: &'a Context,
    pub(super) z_segments: ZSegments,
    pub(super) observation_groups: ObservationGroups,
    pub(super) findings: Vec<Finding>,
    /// Findings at values, before their places are written out: offset, kind, text.
    pub(super) noted: Vec<(usize, FindingKind, Text)>,
    labels: Hashed<(Scope, usize), ResourceId>,
    /// Resources that one field alone makes, by its table and text: the same text is the same one.
    shared: Hashed<(usize, &'a str), Shared<'a>>,
    pending: Vec<(&'a Link, Here)>,
    /// References between resources that are set, by the first and the last element of their paths: several segments
    /// may say the same.
    linked: Hashed<(ResourceId, ResourceId, [&'static str; 2]), ()>,
    seen: Cell<conditions::Seen<'a>>,
    /// The text that was matched last, the pattern and whether it fitted.
    matched: Cell<Option<(&'a str, &'a str, bool)>>,
    /// How many segments of a name have filled shared members of a resource.
    sharing: Hashed<(NodeId, &'a str), u16>,
    /// Which shared member the segment at hand fills.
    shared_member: u16,
    /// The way that was walked last, and where it led.
    walked: Option<(rows::Way, NodeId)>,
    /// What is about to be kept.
    noting: Option<again::Noting>,
    /// The rows that have run, where somebody wants to know.
    pub(super) used: Option<HashSet<RowPlace>>,
}

/// A resource that one field alone has made.
#[derive(Clone, Debug)]
struct Shared<'a> {
    resource: ResourceId,
    /// The field's text where it first stood.
    first: &'a str,
    /// What was noted of it then, in `noted`.
    noted: std::ops::Range<usize>,
}

/// Where a label lives: a group's occurrence, or one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Instance(usize),
    Segment(usize),
}

/// The segment at hand.
#[derive(Clone, Copy, Debug)]
struct Here {
    segment: usize,
    instance: usize,
    node: Option<usize>,
}

impl<'a> Run<'a> {
    pub(super) fn new(plan: &'a Plan, structure: &'a MessagePlan, source: Source<'a>, context: &'a Context) -> Self {
        let groups = groups::read(structure, &source);
        let tree = Tree::for_message(source.len());
        Self {
            plan,
            structure,
            groups,
            source,
            tree,
            systems: Systems::new(plan, context),
            context,
            z_segments: ZSegments::default(),
            observation_groups: ObservationGroups::default(),
            used: None,
            findings: Vec::new(),
            noted: Vec::new(),
            labels: Hashed::default(),
            shared: Hashed::default(),
            pending: Vec::new(),
            linked: Hashed::default(),
            seen: Cell::default(),
            matched: Cell::new(None),
            sharing: Hashed::default(),
            shared_member: 1,
            walked: None,
            noting: None,
        }
    }

    /// Runs all rows over all segments, then sets the references between their resources.
    pub(super) fn segments(&mut self) {
        let placed = std::mem::take(&mut self.groups.placed);
        for (number, placed) in placed.iter().enumerate() {
            self.segment(number, *placed);
        }
        self.one_specimen(&placed);
        for (link, here) in std::mem::take(&mut self.pending) {
            self.link(link, here);
        }
        self.parents(&placed);
        self.subgroups(&placed);
    }

    fn segment(&mut self, number: usize, placed: Placed) {
        let Some(segment) = self.source.segments.get(number).copied() else { return };
        let structure = self.structure;
        let rows = match placed.node {
            Some(node) => structure.rows.get(&node),
            None => structure.free.get(segment.name),
        };
        let name = &structure.name;
        let here = Here { segment: number, instance: placed.instance, node: placed.node };
        if placed.fit == Fit::Unknown
            && rows.is_none()
            && segment.name.starts_with('Z')
            && self.keep_segment(segment, here)
        {
            return;
        }
        let text = match placed.fit {
            Fit::Expected => None,
            Fit::AfterMissing => Some(format!("a segment that {name} requires is missing before it").into()),
            Fit::Misplaced => Some(format!("{name} does not expect the segment here").into()),
            Fit::Unknown => rows.is_none().then(|| format!("{name} has no such segment").into()),
        };
        if let Some(text) = text {
            let location = source::name_of(&segment);
            self.findings.push(Finding { kind: FindingKind::Unexpected, location, text });
        }
        for row in rows.map_or(&[][..], Vec::as_slice) {
            self.segment_row(row, here);
        }
    }

    fn segment_row(&mut self, row: &'a SegmentRow, here: Here) {
        let around = conditions::Around::segment(here.segment, here.instance);
        if !row.when.as_ref().is_none_or(|test| self.holds(test, &around)) {
            return;
        }
        let read = match &row.of {
            Some(other) => self.segment_named(other, &around),
            None => Some(here.segment),
        };
        let Some(resource) = self.resource(row.label, here) else { return };
        let Some(root) = self.tree.get(resource).map(|r| r.root) else { return };
        if let (Some(table), Some(segment)) = (row.table, read) {
            self.segment_table(table, root, segment, here.instance);
        }
        self.pending.extend(row.links.iter().map(|link| (link, here)));
    }

    /// The resource that `label` means here, made where it is not there yet.
    fn resource(&mut self, label: usize, here: Here) -> Option<ResourceId> {
        if let Some(found) = self.find(label, here) {
            return Some(found);
        }
        let kind = self.structure.labels.get(label)?.kind;
        let resource = self.tree.resource(kind);
        self.labels.insert((self.scope(label, here), label), resource);
        self.belongs(resource, here);
        Some(resource)
    }

    /// Says of `resource`, the newest, whose it is.
    fn belongs(&mut self, resource: ResourceId, here: Here) {
        let (patient, context) = (self.nearest(self.structure.patient, here), self.context_of(here));
        if let Some(made) = self.tree.resources.last_mut() {
            made.labelled = true;
            made.patient = patient.filter(|patient| *patient != resource);
            made.context = context.filter(|context| *context != resource);
        }
    }

    /// The resource that `label` means here, if it is there.
    fn find(&self, label: usize, here: Here) -> Option<ResourceId> {
        self.labels.get(&(self.scope(label, here), label)).copied()
    }

    fn scope(&self, label: usize, here: Here) -> Scope {
        let homes = self.structure.labels.get(label).map_or(&[][..], |label| &label.homes);
        let is_segment = |home: &usize| self.structure.nodes.get(*home).is_some_and(|node| !node.is_group);
        if here.node.is_some_and(|node| homes.contains(&node)) || homes.iter().all(is_segment) {
            return Scope::Segment(here.segment);
        }
        let mut instance = here.instance;
        while instance != 0 {
            let Some(found) = self.groups.instances.get(instance) else { break };
            if homes.contains(&found.node) {
                return Scope::Instance(instance);
            }
            instance = found.parent;
        }
        Scope::Instance(0)
    }

    /// The resource of `label` that is in reach.
    fn nearest(&self, label: Option<usize>, here: Here) -> Option<ResourceId> {
        label.and_then(|label| self.find(label, here))
    }

    /// The report or the order whose group this is.
    fn context_of(&self, here: Here) -> Option<ResourceId> {
        self.structure.contexts.iter().find_map(|label| self.find(*label, here))
    }

    fn link(&mut self, link: &'a Link, here: Here) {
        let (Some(from), Some(to)) = (self.find(link.from, here), self.find(link.to, here)) else { return };
        let Some(root) = self.tree.get(from).map(|r| r.root) else { return };
        let is_empty = self.tree.get(to).is_none_or(|r| self.tree.is_empty(r.root));
        if is_empty || from == to || self.linked.insert((from, to, link.path.ends()), ()).is_some() {
            return;
        }
        if let Some(node) = self.walk_link(link, root, here) {
            self.tree.refer(node, to);
        }
    }

    /// The reference at the end of a link's path; in a list a new one for each thing referred to.
    fn walk_link(&mut self, link: &'a Link, root: NodeId, here: Here) -> Option<NodeId> {
        let owner = u16::try_from(link.to).unwrap_or(0);
        self.walk(&link.path, root, Key { segment: segment_key(here.segment), ..Key::default() }, Some(1000 + owner))
    }

    /// Notes something about the value `at`, a slice of the message.
    pub(super) fn finding(&mut self, kind: FindingKind, at: &str, text: impl Into<Text>) {
        if let Some(offset) = self.source.offset(at) {
            self.noted.push((offset, kind, text.into()));
        }
    }

    /// The first patient of the message.
    pub(super) fn patient(&self) -> Option<ResourceId> {
        let label = self.structure.patient?;
        self.labels.iter().filter(|((_, l), _)| *l == label).map(|(_, resource)| *resource).min()
    }

    /// When the message was sent, or when it was taken: for what must have a time.
    pub(super) fn received(&self) -> String {
        let header = self.source.segments.first().map_or("", |header| self.source.field(*header, 7));
        let sent = super::values::instant(header, &self.context.time_zone);
        sent.unwrap_or_else(|| self.context.now.to_string())
    }

    /// The sender's name for people.
    pub(super) fn sender(&self) -> &str {
        let provider = &self.context.provider;
        if provider.name.is_empty() { "unknown" } else { &provider.name }
    }

    /// What is done with a resource's type.
    pub(super) fn kind(&self, resource: ResourceId) -> KnownKind {
        self.tree.get(resource).map(|r| known().kind(r.kind)).unwrap_or_default()
    }

    /// The name of a resource's type.
    pub(super) fn kind_name(&self, resource: ResourceId) -> &'static str {
        self.tree.get(resource).map_or("", |r| known().kind(r.kind).name)
    }
}

fn segment_key(segment: usize) -> u32 {
    u32::try_from(segment + 1).unwrap_or(u32::MAX)
}
