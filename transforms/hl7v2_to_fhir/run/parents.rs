//! Results of a result (OBR-26, OBR-29): the susceptibilities of an organism are its members.

use crate::hl7v2_to_fhir::groups::Placed;
use crate::hl7v2_to_fhir::tree::{Key, ResourceId};
use message::fhir::definitions::types;

use super::{Here, Run, segment_key};

impl Run<'_> {
    /// Makes the observations under each OBR with a parent result (OBR-26) members of that result,
    /// where it stands in the same message: the OBX of its code and sub-id, under the OBR of OBR-29.
    pub(super) fn parents(&mut self, placed: &[Placed]) {
        let named = |run: &Self, number: usize, name: &str| {
            run.source.segments.get(number).is_some_and(|segment| segment.name == name)
        };
        let orders: Vec<usize> = (0..placed.len()).filter(|number| named(self, *number, "OBR")).collect();
        for (at, order) in orders.iter().enumerate() {
            if self.source.segments.get(*order).is_none_or(|segment| self.source.field(*segment, 26).is_empty()) {
                continue;
            }
            let end = orders.get(at + 1).copied().unwrap_or(placed.len());
            let results = |from: usize, to: usize| (from..to).filter(|number| named(self, *number, "OBX"));
            let before = orders.iter().take(at).enumerate();
            let parent = before.filter(|(_, other)| self.is_parent_order(**other, *order)).find_map(|(i, other)| {
                results(*other, orders.get(i + 1).copied().unwrap_or(*order))
                    .find(|result| self.is_parent_result(*result, *order))
            });
            let children: Vec<_> = results(*order, end).collect();
            if let Some(parent) = parent.and_then(|parent| self.observation(parent, placed)) {
                for child in children {
                    self.add_member(parent, child, placed);
                }
                self.take_field(*order, 26);
            }
        }
    }

    /// True if `other` is the OBR whose numbers OBR-29 of `order` names; without OBR-29 any may be.
    fn is_parent_order(&self, other: usize, order: usize) -> bool {
        let [placer, filler] = [1, 2].map(|part| self.leaf_at(order, 29, part, 1));
        let is = |field: usize, number: &str| number.is_empty() || self.leaf_at(other, field, 1, 1) == number;
        is(2, placer) && is(3, filler)
    }

    /// True if the OBX `result` has the code and the sub-id of OBR-26.
    fn is_parent_result(&self, result: usize, order: usize) -> bool {
        let [code, sub_id] = [1, 2].map(|part| self.leaf_at(order, 26, part, 1));
        self.leaf_at(result, 3, 1, 1) == code && (sub_id.is_empty() || self.leaf_at(result, 4, 1, 1) == sub_id)
    }

    /// The Observation that the OBX `number` has become.
    pub(super) fn observation(&self, number: usize, placed: &[Placed]) -> Option<ResourceId> {
        let here = here(number, placed)?;
        let rows = self.structure.rows.get(&here.node?)?;
        let kind = types().id("Observation")?;
        let is_one = |label: &usize| self.structure.labels.get(*label).is_some_and(|label| label.kind == kind);
        rows.iter().map(|row| row.label).filter(is_one).find_map(|label| self.find(label, here))
    }

    pub(super) fn add_member(&mut self, parent: ResourceId, child: usize, placed: &[Placed]) {
        let member = self.observation(child, placed).filter(|member| *member != parent);
        let (Some(member), Some(resource)) = (member, self.tree.get(parent)) else { return };
        let (root, kind) = (resource.root, resource.kind);
        if let Some(element) = types().get(kind).element("hasMember") {
            let key = Key { segment: segment_key(child), ..Key::default() };
            let node = self.tree.child(root, element, key);
            self.tree.refer(node, member);
        }
    }

    fn leaf_at(&self, number: usize, field: usize, component: usize, subcomponent: usize) -> &str {
        let Some(segment) = self.source.segments.get(number).copied() else { return "" };
        let slice = self.source.repetitions(self.source.field(segment, field)).next();
        let part = slice.map(|slice| self.source.part(self.source.part(slice, component), subcomponent));
        part.map_or("", |part| part.text)
    }

    fn take_field(&mut self, number: usize, field: usize) {
        if let Some(segment) = self.source.segments.get(number).copied() {
            let text = self.source.field(segment, field);
            self.source.take(text);
        }
    }
}

fn here(number: usize, placed: &[Placed]) -> Option<Here> {
    placed.get(number).map(|placed| Here { segment: number, instance: placed.instance, node: placed.node })
}
