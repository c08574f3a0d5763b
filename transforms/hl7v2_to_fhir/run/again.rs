//! Work that was done before: what a text became in an earlier message ([`Kept`]), and the resources that a message
//! makes once however often it names them.
//!
//! [`Kept`]: crate::hl7v2_to_fhir::kept::Kept

use message::fhir::definitions::{Kind, TypeId};

use crate::hl7v2_to_fhir::kept::{Asked, Key, Part, Slot};
use crate::hl7v2_to_fhir::maps::plan::{Row, Step, Table};
use crate::hl7v2_to_fhir::source::Slice;
use crate::hl7v2_to_fhir::tree::{NodeId, ResourceId};

use super::rows::{Env, Spot};
use super::{Run, Shared};

/// What is noted of a text while it is looked at, to be kept.
#[derive(Debug)]
pub(super) struct Noting {
    slots: Vec<(NodeId, Slot)>,
    /// Where what is noted of values begins, and how much of it is of slots.
    noted: usize,
    of_slots: usize,
    /// Which of its values were taken before.
    taken: Vec<u16>,
}

/// A table that makes a resource of a text: its number, of what type, with which codes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maker {
    table: usize,
    kind: TypeId,
    codes: Option<usize>,
}

impl<'a> Run<'a> {
    /// Runs table `number` over `slice` at the row's target, if the same text has not made that resource before.
    pub(super) fn shared(&mut self, row: &'a Row, number: usize, spot: Spot, slice: Slice<'a>, env: &Env<'a>) {
        let Some(table) = self.plan.tables.get(number) else { return };
        let Some((Step::Resource { kind, .. }, steps)) = row.target.steps.split_last() else { return };
        let maker = Maker { table: number, kind: *kind, codes: row.codes.or(env.codes) };
        let leads_through_others = steps.iter().any(|step| matches!(step, Step::Resource { .. }));
        if table.chain.is_some() && leads_through_others {
            // What it makes is numbered before what it leads through.
            self.tree.spoil();
            let (before, noted) = (self.made_before(maker, slice), self.noted.len());
            let head = if before.is_none() { self.chained(number, table, maker.kind, slice, env) } else { None };
            if let Some(node) = self.steps(steps, row.target.multiplies, spot.node, env.key(), None) {
                self.refer_to(node, maker, slice, (before, head), noted);
            }
        } else if let Some(node) = self.steps(steps, row.target.multiplies, spot.node, env.key(), None) {
            self.point(node, maker, table, slice, env);
        }
    }

    /// Makes `node` refer to what `maker` makes of `slice`, or has made of the same text before.
    fn point(&mut self, node: NodeId, maker: Maker, table: &'a Table, slice: Slice<'a>, env: &Env<'a>) {
        let other = self.tree.begin_other();
        if other.is_some() {
            self.note_slot(node, maker, slice);
        }
        let (before, noted) = (self.made_before(maker, slice), self.noted.len());
        let mut head = None;
        if before.is_none() {
            match table.chain {
                Some(_) => head = self.chained(maker.table, table, maker.kind, slice, env),
                None => self.make(node, maker, table, slice, env),
            }
        }
        self.refer_to(node, maker, slice, (before, head), noted);
        if let Some(noting) = self.noting.as_mut().filter(|_| other.is_some()) {
            noting.of_slots += self.noted.len() - noted;
        }
        self.tree.end_other(other);
    }

    fn note_slot(&mut self, node: NodeId, maker: Maker, slice: Slice<'a>) {
        let (start, len) = (self.source.offset(slice.text), u16::try_from(slice.text.len()));
        let Maker { table, kind, codes } = maker;
        // Its place in the text is counted when all is there.
        let slot = len.ok().map(|len| Slot {
            node: 0,
            table,
            kind,
            codes,
            start: start.unwrap_or(usize::MAX),
            len,
            level: slice.level,
        });
        match (self.noting.as_mut(), slot) {
            (Some(noting), Some(slot)) if self.tree.reference(node).is_none() => noting.slots.push((node, slot)),
            _ => self.tree.spoil(),
        }
    }

    /// What `maker` has made of the same text.
    fn made_before(&self, maker: Maker, slice: Slice<'a>) -> Option<Shared<'a>> {
        let before = self.shared.get(&(maker.table, slice.text)).cloned();
        before.filter(|before| self.tree.get(before.resource).is_some_and(|made| made.kind == maker.kind))
    }

    /// Makes the resource that `node` refers to.
    fn make(&mut self, node: NodeId, maker: Maker, table: &'a Table, slice: Slice<'a>, env: &Env<'a>) {
        let resource = self.tree.reference(node).unwrap_or_else(|| {
            let made = self.tree.resource(maker.kind);
            self.tree.refer_from(node, made);
            made
        });
        let Some(root) = self.tree.get(resource).filter(|made| made.kind == maker.kind).map(|made| made.root) else {
            return;
        };
        let resource = Some(resource);
        let at = Spot { node: root, kind: Kind::Complex(maker.kind), sibling: 1, resource, list: None };
        self.fill(maker.table, table, at, slice, maker.codes, env);
    }

    /// Makes `node` refer to what was made `before`, or to the head of a chain; what it refers to otherwise is what was
    /// made of `slice`.
    fn refer_to(
        &mut self,
        node: NodeId,
        maker: Maker,
        slice: Slice<'a>,
        (before, head): (Option<Shared<'a>>, Option<ResourceId>),
        noted: usize,
    ) {
        head.into_iter().for_each(|head| self.tree.refer_from(node, head));
        match (before, self.tree.reference(node)) {
            (Some(before), None) => {
                self.source.take_as(slice.text, before.first);
                self.note_as(slice.text, &before);
                self.tree.refer_from(node, before.resource);
            }
            (None, Some(resource)) => {
                let noted = noted..self.noted.len();
                self.shared.insert((maker.table, slice.text), Shared { resource, first: slice.text, noted });
            }
            _ => {}
        }
    }

    /// Notes of `text` what was noted of the same text before.
    fn note_as(&mut self, text: &str, before: &Shared<'a>) {
        let (Some(start), Some(first)) = (self.source.offset(text), self.source.offset(before.first)) else { return };
        let noted = self.noted.get(before.noted.clone()).unwrap_or_default();
        let again =
            noted.iter().filter_map(|(at, kind, said)| Some((at.checked_sub(first)? + start, *kind, said.clone())));
        let again: Vec<_> = again.collect();
        self.noted.extend(again);
    }

    /// Fills the node at hand, the root of a resource perhaps, from `slice` by table `number`, with the codes of the row.
    pub(super) fn fill(
        &mut self,
        number: usize,
        table: &'a Table,
        at: Spot,
        slice: Slice<'a>,
        codes: Option<usize>,
        env: &Env<'a>,
    ) {
        let key = Key { table: number, kind: at.kind, codes, level: slice.level, text: slice.text };
        match self.asked(&key, Some(at.node)) {
            Asked::Kept(part) => drop(self.put_again(part, (Some(at.node), at.resource), slice, env)),
            Asked::Again(known) => {
                self.watch(Some(at.node), slice);
                self.fill_anew(table, at, slice, codes, env);
                self.keep(known, &key, slice, None);
            }
            Asked::Never => self.fill_anew(table, at, slice, codes, env),
        }
    }

    /// The first of the resources of type `kind` that table `number`, a chain, makes of `slice`.
    pub(super) fn chained(
        &mut self,
        number: usize,
        table: &'a Table,
        kind: TypeId,
        slice: Slice<'a>,
        env: &Env<'a>,
    ) -> Option<ResourceId> {
        let key = Key { table: number, kind: Kind::Complex(kind), codes: None, level: slice.level, text: slice.text };
        match self.asked(&key, None) {
            Asked::Kept(part) => self.put_again(part, (None, None), slice, env),
            Asked::Again(known) => {
                self.watch(None, slice);
                let head = self.chained_anew(table, kind, slice, env);
                self.keep(known, &key, slice, head);
                head
            }
            Asked::Never => self.chained_anew(table, kind, slice, env),
        }
    }

    /// What is kept of `key`, if it may be used here.
    fn asked(&mut self, key: &Key<'_>, root: Option<NodeId>) -> Asked {
        if self.used.is_some() || self.tree.is_watched() || root.is_some_and(|root| !self.tree.is_fresh(root)) {
            return Asked::Never;
        }
        let kept = self.tree.kept.as_mut().filter(|kept| kept.is_apart(key.table));
        kept.map_or(Asked::Never, |kept| kept.ask(key))
    }

    /// Puts `part` there; gives the resource that is referred to, if it makes one.
    fn put_again(
        &mut self,
        part: u32,
        at: (Option<NodeId>, Option<ResourceId>),
        slice: Slice<'a>,
        env: &Env<'a>,
    ) -> Option<ResourceId> {
        let (by, first) = self.tree.graft(part, at, env.key().segment)?;
        let start = self.source.offset(slice.text)?;
        let known = self.tree.kept.as_ref()?.part(part)?;
        known.taken.iter().for_each(|taken| self.source.take_at(start + usize::from(*taken)));
        let noted = known.noted.iter().map(|(at, kind, said)| (start + usize::from(*at), *kind, said.clone()));
        self.noted.extend(noted);
        let head = known.head.map(|head| ResourceId(first.0 + head));
        let mut number = 0;
        while let Some(slot) = self.slot(part, number) {
            number += 1;
            let node = if slot.node == 0 { at.0 } else { Some(NodeId::new(by + slot.node as usize)) };
            let piece = slice.text.get(slot.start..slot.start + usize::from(slot.len));
            let (Some(node), Some(text), Some(table)) = (node, piece, self.plan.tables.get(slot.table)) else {
                continue;
            };
            let maker = Maker { table: slot.table, kind: slot.kind, codes: slot.codes };
            self.point(node, maker, table, Slice { text, level: slot.level }, env);
        }
        head
    }

    fn slot(&self, part: u32, number: usize) -> Option<Slot> {
        self.tree.kept.as_ref()?.part(part)?.slots.get(number).copied()
    }

    /// Notes from now on what becomes of `slice`.
    fn watch(&mut self, root: Option<NodeId>, slice: Slice<'a>) {
        let taken = self.source.give_back(slice.text);
        self.noting = Some(Noting { slots: Vec::new(), noted: self.noted.len(), of_slots: 0, taken });
        self.tree.begin(root);
    }

    /// Keeps what `slice` has become, if that can be put elsewhere.
    fn keep(&mut self, known: u64, key: &Key<'_>, slice: Slice<'a>, head: Option<ResourceId>) {
        let Some(noting) = self.noting.take() else { return };
        let taken = self.source.taken_within(slice.text);
        let start = self.source.offset(slice.text);
        noting.taken.iter().for_each(|at| self.source.take_at(start.unwrap_or(0) + usize::from(*at)));
        let part = start.and_then(|start| self.made_part(key, start, &noting, head));
        if let Some(kept) = &mut self.tree.kept {
            kept.put(
                known,
                part.map(|mut part| {
                    part.taken = taken.into_boxed_slice();
                    part
                }),
            );
        }
    }

    fn made_part(&mut self, key: &Key<'_>, start: usize, noting: &Noting, head: Option<ResourceId>) -> Option<Part> {
        let within =
            |at: usize| u16::try_from(at.checked_sub(start)?).ok().filter(|at| usize::from(*at) <= key.text.len());
        let nodes: Vec<NodeId> = noting.slots.iter().map(|(node, _)| *node).collect();
        let (first, graft, open) = self.tree.end(&nodes)?;
        let noted = self.noted.get(noting.noted..).unwrap_or_default();
        let noted: Box<[_]> = if noting.slots.is_empty() {
            let noted = noted.iter().map(|(at, kind, said)| Some((within(*at)?, *kind, said.clone())));
            noted.collect::<Option<_>>()?
        } else if noted.len() == noting.of_slots {
            Box::default()
        } else {
            // In which order they are told is no longer known.
            return None;
        };
        let slots = noting.slots.iter().zip(open).map(|((_, slot), node)| {
            let start = usize::from(within(slot.start)?);
            (start + usize::from(slot.len) <= key.text.len()).then_some(Slot { node, start, ..*slot })
        });
        let slots = slots.collect::<Option<_>>()?;
        let head = match head {
            Some(head) => Some(head.0.checked_sub(first.0)?),
            None => None,
        };
        let mut part = Part::new(key, graft);
        (part.slots, part.noted, part.head) = (slots, noted, head);
        Some(part)
    }
}
