//! Rows at work: a slice of the message through a table into a node.

use message::FindingKind;
use message::json::Value;

use crate::hl7v2_to_fhir::known::known;
use crate::hl7v2_to_fhir::maps::plan::{Action, Convert, From, PartRows, Row, Step, Table, Target};
use crate::hl7v2_to_fhir::maps::{EACH, SHARED};
use crate::hl7v2_to_fhir::source::Slice;
use crate::hl7v2_to_fhir::tree::{Key, NodeId, ResourceId};
use crate::hl7v2_to_fhir::values;
use message::fhir::definitions::{Element, Kind, Primitive, TypeId, types};

use super::conditions::Around;
use super::{Run, segment_key};

/// The node that a table writes into, and how its siblings are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) node: NodeId,
    pub(super) kind: Kind,
    /// Which instance of what its table makes it is.
    pub(super) sibling: u16,
    /// The resource whose root it is, where the way to it tells.
    pub(super) resource: Option<ResourceId>,
    /// The list that the node is in.
    pub(super) list: Option<(NodeId, &'static Element, Key)>,
}

/// What a row runs with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Env<'a> {
    around: Around<'a>,
    /// The repetition of the field, from 0.
    repetition: u32,
    /// The code table of the row that called this table.
    pub(super) codes: Option<usize>,
}

/// A way that was walked: it leads to the same node each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// By [`Target::way`].
    number: u32,
    start: NodeId,
    key: Key,
    /// Which shared member the segment fills.
    member: u16,
}

impl Env<'_> {
    pub(super) fn key(&self) -> Key {
        Key { segment: segment_key(self.around.segment), repetition: self.repetition, ..Key::default() }
    }
}

impl<'a> Run<'a> {
    /// Runs a segment's table over segment `number`.
    pub(super) fn segment_table(&mut self, table: usize, root: NodeId, number: usize, instance: usize) {
        let plan = self.plan;
        let (Some(table), Some(segment)) = (plan.tables.get(table), self.source.segments.get(number).copied()) else {
            return;
        };
        let spot = Spot { node: root, kind: table.base, sibling: 1, resource: None, list: None };
        if table.shares {
            let count = self.sharing.entry((root, segment.name)).or_insert(0);
            *count = count.saturating_add(1);
            self.shared_member = *count;
        }
        for field in self.source.numbers(segment) {
            let text = self.source.field(segment, field);
            let rows = table.by_part.get(field).filter(|rows| !(text.is_empty() || rows.all.is_empty()));
            if let Some(rows) = rows {
                self.field(table, rows, spot, (field, text), Around::segment(number, instance));
            }
        }
        for rows in [&table.whole, &table.always] {
            for row in rows.iter().filter_map(|row| table.row(*row)) {
                let text = self.source.field(segment, usize::from(row.from.part));
                let around = Around { field: row.from.part, ..Around::segment(number, instance) };
                let slice = self.source.repetitions(text).next().map(|slice| self.within(row.from, slice));
                self.row(row, spot, slice, &Env { around, repetition: 0, codes: None });
            }
        }
        self.each(table, spot, number, instance);
    }

    fn field(
        &mut self,
        table: &'a Table,
        rows: &'a PartRows,
        spot: Spot,
        (field, text): (usize, &'a str),
        around: Around<'a>,
    ) {
        let field = u16::try_from(field).unwrap_or(0);
        for (repetition, slice) in (0..).zip(self.source.repetitions(text)) {
            if slice.text.is_empty() {
                continue;
            }
            let around = Around { field, repetition: Some(slice), slice: Some(slice), valued: None, ..around };
            let env = Env { around, repetition, codes: None };
            for row in self.that_can_hold(rows, slice, &env.around).iter().filter_map(|row| table.row(*row)) {
                if repetition > 0 && row.target.multiplies.is_none() && !matches!(row.action, Action::Skip) {
                    continue;
                }
                let slice = self.within(row.from, slice);
                self.row(row, spot, Some(slice), &env);
            }
        }
    }

    /// Those of `rows` whose conditions the field that they ask for does not rule out.
    fn that_can_hold(&self, rows: &'a PartRows, slice: Slice<'a>, around: &Around<'a>) -> &'a [u16] {
        match &rows.by_value {
            // `""` is for every row, whatever its condition.
            Some(sorted) if !slice.text.contains('"') => {
                let of = self.first_value(sorted.field, around).and_then(|value| sorted.of.get(value));
                of.unwrap_or(&sorted.other)
            }
            _ => &rows.all,
        }
    }

    /// Rows with `[each]`: first those whose field repeats, which make the members; then those that
    /// say the same of every member.
    fn each(&mut self, table: &'a Table, spot: Spot, number: usize, instance: usize) {
        let Some(segment) = self.source.segments.get(number).copied() else { return };
        for making in [true, false] {
            for row in table.each.iter().filter_map(|row| table.row(*row)) {
                let text = self.source.field(segment, usize::from(row.from.part));
                if text.is_empty() {
                    continue;
                }
                let repetitions: Vec<_> = self.source.repetitions(text).collect();
                if (repetitions.len() > 1) != making {
                    continue;
                }
                let members =
                    if making { (0..repetitions.len()).collect() } else { self.each_member(row, spot, number) };
                for member in members {
                    let Some(&slice) = repetitions.get(if making { member } else { 0 }) else { continue };
                    let around = Around {
                        field: row.from.part,
                        repetition: Some(slice),
                        slice: Some(slice),
                        ..Around::segment(number, instance)
                    };
                    let repetition = u32::try_from(member).unwrap_or(0);
                    let slice = self.within(row.from, slice);
                    self.row(row, spot, Some(slice), &Env { around, repetition, codes: None });
                }
            }
        }
    }

    fn each_member(&self, row: &Row, spot: Spot, number: usize) -> Vec<usize> {
        let Some(Step::Element { element, .. }) = row.target.steps.first() else { return Vec::new() };
        let keys = self.tree.members(spot.node, element, segment_key(number));
        let own = keys.into_iter().filter(|key| key.label == EACH);
        let members: Vec<_> = own.filter_map(|key| usize::try_from(key.repetition).ok()).collect();
        if members.is_empty() { vec![0] } else { members }
    }

    /// The part of a repetition that `from` names.
    fn within(&self, from: From, slice: Slice<'a>) -> Slice<'a> {
        let component = usize::from(from.component);
        let slice = if component == 0 { slice } else { self.source.part(slice, component) };
        let subcomponent = usize::from(from.subcomponent);
        if subcomponent == 0 { slice } else { self.source.part(slice, subcomponent) }
    }

    /// Runs a data type's table over `slice`.
    fn data_type(&mut self, table: &'a Table, spot: Spot, slice: Slice<'a>, env: &Env<'a>) {
        let valued = if table.asks { Some(self.valued(slice)) } else { None };
        let env = &Env { around: Around { slice: Some(slice), valued, ..env.around }, repetition: 0, ..*env };
        for (number, part) in self.source.parts(slice).take(table.by_part.len()) {
            if part.text.is_empty() {
                continue;
            }
            let rows = table.by_part.get(number).map_or(&[][..], |rows| &rows.all);
            for row in rows.iter().filter_map(|row| table.row(*row)) {
                let part = match row.from.component {
                    0 => part,
                    sub => self.source.part(part, usize::from(sub)),
                };
                self.row(row, spot, Some(part), env);
            }
        }
        for row in table.whole.iter().chain(&table.always).filter_map(|row| table.row(*row)) {
            let part = self.source.part(slice, usize::from(row.from.part));
            let whole = row.from.part == 0;
            self.row(row, spot, Some(if whole { slice } else { part }), env);
        }
    }

    fn row(&mut self, row: &'a Row, spot: Spot, slice: Option<Slice<'a>>, env: &Env<'a>) {
        let comes_from = row.from != From::default() || matches!(row.action, Action::Copy(_) | Action::Table(_));
        let asks = row.when.as_ref();
        if comes_from {
            let Some(slice) = slice else { return };
            if slice.text == "\"\"" {
                return self.null(row, spot, slice, env);
            }
            let needs_value =
                !matches!(row.action, Action::Fixed(_) | Action::Absent(_) | Action::Text(_)) || asks.is_none();
            if needs_value && !self.source.is_valued(slice.text) {
                return;
            }
        }
        if asks.is_some_and(|test| !self.holds(test, &env.around)) {
            return;
        }
        self.act(row, spot, slice, env);
    }

    fn act(&mut self, row: &'a Row, spot: Spot, slice: Option<Slice<'a>>, env: &Env<'a>) {
        if let Some(used) = &mut self.used {
            used.insert(row.at);
        }
        match &row.action {
            Action::Skip => {
                if let Some(slice) = slice {
                    self.source.take(slice.text);
                }
            }
            Action::Fixed(value) => drop(self.write(&row.target, spot, env, value.clone())),
            Action::Text(pieces) => {
                if let Some(text) = self.template(pieces, &env.around)
                    && self.write_text(row, spot, &text, slice, env)
                {
                    self.take_pieces(pieces, &env.around);
                }
            }
            Action::Absent(reason) => self.absent(&row.target, spot, env, reason),
            Action::Copy(convert) => {
                if let Some(slice) = slice {
                    self.copy(row, *convert, spot, slice, env);
                }
            }
            Action::Table(table) => {
                let Some(slice) = slice else { return };
                if row.alone {
                    self.shared(row, *table, spot, slice, env);
                } else {
                    self.apply(row, *table, spot, slice, env);
                }
            }
        }
    }

    /// `""`: the element stays away, which deletes it where the receiver replaces the resource; or
    /// the row says that it is absent.
    fn null(&mut self, row: &'a Row, spot: Spot, slice: Slice<'a>, env: &Env<'a>) {
        self.source.take(slice.text);
        if let Some(reason) = &row.null {
            self.absent(&row.target, spot, env, reason);
        }
    }

    /// Runs table `number` over `slice` at the row's target.
    fn apply(&mut self, row: &'a Row, number: usize, spot: Spot, slice: Slice<'a>, env: &Env<'a>) {
        let Some(table) = self.plan.tables.get(number) else { return };
        if table.chain.is_none() {
            if let Some(at) = self.spot(&row.target, spot, env) {
                self.fill(number, table, at, slice, row.codes.or(env.codes), env);
            }
            return;
        }
        let Some((Step::Resource { kind, .. }, steps)) = row.target.steps.split_last() else { return };
        let Some(head) = self.chained(number, table, *kind, slice, env) else { return };
        if let Some(node) = self.steps(steps, row.target.multiplies, spot.node, env.key(), None) {
            self.tree.refer(node, head);
        }
    }

    /// Fills the node at hand from `slice` by `table`, with the codes of the row.
    pub(super) fn fill_anew(
        &mut self,
        table: &'a Table,
        at: Spot,
        slice: Slice<'a>,
        codes: Option<usize>,
        env: &Env<'a>,
    ) {
        let is_primitive = matches!(at.kind, Kind::Primitive(_));
        let inner = &Env { codes: codes.filter(|_| is_primitive), ..*env };
        self.data_type(table, at, slice, inner);
        if let Some(codes) = codes.filter(|_| !is_primitive) {
            self.translate_node(at.node, at.kind, codes, slice.text);
        }
    }

    /// A table whose numbered instances hang together: PL is a bed in a room in a ward. Gives the first that is there.
    pub(super) fn chained_anew(
        &mut self,
        table: &'a Table,
        kind: TypeId,
        slice: Slice<'a>,
        env: &Env<'a>,
    ) -> Option<ResourceId> {
        let mut made: Vec<(u16, ResourceId)> = Vec::new();
        let around = Around { slice: Some(slice), valued: Some(self.valued(slice)), ..env.around };
        let inner = &Env { around, repetition: 0, ..*env };
        for member in &table.rows {
            let part = self.source.part(slice, usize::from(member.from.part));
            let part = if member.from.part == 0 { slice } else { part };
            let number = member.target.sibling;
            let known = made.iter().find(|(n, _)| *n == number).map(|(_, resource)| *resource);
            let resource = known.unwrap_or_else(|| self.tree.resource(kind));
            if known.is_none() {
                made.push((number, resource));
            }
            let Some(root) = self.tree.get(resource).map(|r| r.root) else { continue };
            let at =
                Spot { node: root, kind: Kind::Complex(kind), sibling: number, resource: Some(resource), list: None };
            self.row(member, at, Some(part), inner);
        }
        made.retain(|(_, resource)| self.tree.get(*resource).is_some_and(|r| !self.tree.is_empty(r.root)));
        made.sort_unstable();
        for pair in made.windows(2) {
            if let (Some(element), [(_, inner), (_, outer)]) = (table.chain, pair) {
                let Some(root) = self.tree.get(*inner).map(|r| r.root) else { continue };
                let node = self.tree.child(root, element, Key::default());
                self.tree.refer(node, *outer);
            }
        }
        made.first().map(|(_, head)| *head)
    }

    fn copy(&mut self, row: &'a Row, convert: Option<Convert>, spot: Spot, slice: Slice<'a>, env: &Env<'a>) {
        if let Some(convert) = convert {
            if let Some(value) = self.converted(convert, slice, &env.around)
                && !self.write(&row.target, spot, env, value)
                && matches!(convert, Convert::WholeText | Convert::Base64 | Convert::SampledData)
            {
                self.finding(FindingKind::Unmapped, slice.text, "another value stands where it would");
            }
            return;
        }
        let kind = if row.target.steps.is_empty() { spot.kind } else { row.target.kind };
        let is_text = matches!(kind, Kind::Primitive(Primitive::String | Primitive::Markdown | Primitive::Xhtml));
        let piece = if is_text { slice } else { self.source.leaf(slice) };
        let text = self.source.unescaped(piece.text);
        if self.write_text(row, spot, &text, Some(piece), env) {
            self.source.take(piece.text);
        }
    }

    /// Writes `text` as the target's type, translated where the row names a code table.
    fn write_text(&mut self, row: &'a Row, spot: Spot, text: &str, at: Option<Slice<'a>>, env: &Env<'a>) -> bool {
        let kind = if row.target.steps.is_empty() { spot.kind } else { row.target.kind };
        let Kind::Primitive(primitive) = kind else { return false };
        let place = at.map_or("", |slice| slice.text);
        let mut text = text;
        if let Some(codes) = row.codes.or(env.codes) {
            match self.translated(codes, values::trimmed(text), place) {
                Some(translation) => {
                    if self.is_coding_code(&row.target) {
                        return self.write_translation(row, spot, env, translation);
                    }
                    text = &translation.code;
                }
                None => match self.otherwise(codes) {
                    Some(otherwise) => text = otherwise,
                    // A code that stands beside its system is kept, and one that is text; alone it must be one of FHIR's.
                    None if self.is_coding_code(&row.target) || primitive == Primitive::String => {}
                    None => return true,
                },
            }
        }
        match values::primitive(primitive, text, &self.context.time_zone) {
            Some(value) => match self.spot(&row.target, spot, env) {
                Some(at) if primitive == Primitive::Code && self.is_foreign(at.node, &value) => {
                    self.finding(FindingKind::Untranslated, place, "the code is none of those that R4 allows here");
                    true
                }
                Some(at) => self.tree.set(at.node, value),
                None => false,
            },
            None if text.trim().is_empty() => true,
            None => {
                self.finding(FindingKind::Malformed, place, format!("the value is no FHIR {primitive:?}"));
                true
            }
        }
    }

    /// True if R4 has a list of codes for `node` and `code` is not on it.
    fn is_foreign(&self, node: NodeId, code: &Value) -> bool {
        let values = self.tree.element(node).and_then(|element| element.values);
        let values = values.and_then(|values| types().value_set(values));
        values.is_some_and(|values| !code.as_str().is_some_and(|code| values.has(code)))
    }

    fn is_coding_code(&self, target: &Target) -> bool {
        let code = known().coding_code;
        matches!(target.steps.last(), Some(Step::Element { element, .. }) if Some(*element) == code)
    }

    fn write_translation(
        &mut self,
        row: &'a Row,
        spot: Spot,
        env: &Env<'a>,
        translation: &'a crate::hl7v2_to_fhir::maps::plan::Translation,
    ) -> bool {
        let Some((_, steps)) = row.target.steps.split_last() else { return false };
        match self.steps(steps, row.target.multiplies, spot.node, env.key(), None) {
            Some(node) => {
                self.write_coding(node, translation);
                true
            }
            None => false,
        }
    }

    fn write(&mut self, target: &Target, spot: Spot, env: &Env<'a>, value: Value) -> bool {
        self.spot(target, spot, env).is_some_and(|at| self.tree.set(at.node, value))
    }

    /// Writes the data-absent-reason extension at the target.
    fn absent(&mut self, target: &Target, spot: Spot, env: &Env<'a>, reason: &str) {
        let Some(at) = self.spot(target, spot, env) else { return };
        let element = match at.kind {
            Kind::Complex(id) => types().get(id).element("extension"),
            Kind::Primitive(_) => known().primitive_extension,
        };
        let Some(element) = element else { return };
        let node = self.tree.child(at.node, element, Key { label: 999, ..Key::default() });
        let url = Value::fixed("http://hl7.org/fhir/StructureDefinition/data-absent-reason");
        self.tree.overwrite(node, known().extension_url, url);
        self.tree.overwrite(node, known().extension_code, reason);
    }

    /// The node at `target`, with what is needed to find its siblings.
    fn spot(&mut self, target: &Target, spot: Spot, env: &Env<'a>) -> Option<Spot> {
        let start = match spot.list {
            _ if target.sibling == spot.sibling => spot.node,
            Some((parent, element, key)) => self.tree.child(parent, element, Key { sibling: target.sibling, ..key }),
            None => return None,
        };
        let Some((last, steps)) = target.steps.split_last() else {
            return Some(Spot { node: start, ..spot });
        };
        let parent = self.parent(target, steps, start, env.key())?;
        let at = steps.len();
        match last {
            Step::Element { element, .. } => {
                let key = self.across(step_key(last, env.key(), target.multiplies == Some(at), None));
                let node = self.tree.child(parent, element, key);
                Some(Spot {
                    node,
                    kind: target.kind,
                    sibling: 1,
                    resource: None,
                    list: element.list.then_some((parent, *element, key)),
                })
            }
            Step::Resource { .. } => {
                let node = self.steps(std::slice::from_ref(last), None, parent, env.key(), None)?;
                let resource = self.tree.reference(parent);
                Some(Spot { node, kind: target.kind, sibling: 1, resource, list: None })
            }
        }
    }

    /// The node at `steps`, all but the last of `target`'s. Rows that follow one another most often share it.
    fn parent(&mut self, target: &Target, steps: &[Step], start: NodeId, key: Key) -> Option<NodeId> {
        if steps.is_empty() {
            return Some(start);
        }
        let way = target.way.map(|number| Way { number, start, key, member: self.shared_member });
        if let (Some(way), Some((walked, node))) = (way, self.walked)
            && way == walked
        {
            return Some(node);
        }
        let node = self.steps(steps, target.multiplies, start, key, None)?;
        if let Some(way) = way {
            self.walked = Some((way, node));
        }
        Some(node)
    }

    /// Walks `path` from `start`; `label` takes the place of the last list's label.
    pub(super) fn walk(&mut self, path: &Target, start: NodeId, key: Key, label: Option<u16>) -> Option<NodeId> {
        self.steps(&path.steps, path.multiplies, start, key, label)
    }

    pub(super) fn steps(
        &mut self,
        steps: &[Step],
        multiplies: Option<usize>,
        start: NodeId,
        key: Key,
        last_label: Option<u16>,
    ) -> Option<NodeId> {
        let mut node = start;
        for (i, step) in steps.iter().enumerate() {
            node = match step {
                Step::Element { element, .. } => {
                    let own = last_label.filter(|_| i + 1 == steps.len());
                    let key = self.across(step_key(step, key, multiplies == Some(i), own));
                    self.tree.child(node, element, key)
                }
                Step::Resource { kind, .. } => {
                    let resource = match self.tree.reference(node) {
                        Some(resource) => resource,
                        None => {
                            let made = self.tree.resource(*kind);
                            self.tree.refer(node, made);
                            made
                        }
                    };
                    self.tree.get(resource).filter(|r| r.kind == *kind)?.root
                }
            };
        }
        Some(node)
    }
}

impl Run<'_> {
    /// The key of a member that several segments share: the first of each with the first of the others.
    fn across(&self, key: Key) -> Key {
        if key.label == SHARED { Key { segment: 0, repetition: 0, sibling: self.shared_member, ..key } } else { key }
    }
}

/// The key of a list member that `step` leads to.
fn step_key(step: &Step, key: Key, multiplied: bool, own: Option<u16>) -> Key {
    let Step::Element { element, label, target } = step else { return Key::default() };
    if !element.list {
        return Key::default();
    }
    Key {
        label: own.unwrap_or(*label),
        sibling: 1,
        target: *target,
        repetition: if multiplied { key.repetition } else { 0 },
        ..key
    }
}
