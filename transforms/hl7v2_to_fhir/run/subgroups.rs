//! Results that OBX-4 puts together: one below another by its dots (`1.2` of `1`), and groups with no result of their
//! own, for which an Observation is made.

use message::fhir::definitions::types;
use message::json::Value;

use super::{Here, Run, segment_key};
use crate::hl7v2_to_fhir::groups::Placed;
use crate::hl7v2_to_fhir::hashed::Hashed;
use crate::hl7v2_to_fhir::known::known;
use crate::hl7v2_to_fhir::options::ObservationGroups;
use crate::hl7v2_to_fhir::tree::{Key, NodeId};
use crate::hl7v2_to_fhir::values;

/// How far `1.2.3` is followed upwards.
const DEEPEST: usize = 16;

const SUB_ID: &str = "http://hl7.org/fhir/StructureDefinition/observation-v2-subid";

/// An OBX with what its OBX-4 says.
#[derive(Clone, Copy)]
struct Sub<'a> {
    number: usize,
    /// OG.1, all of OBX-4 before v2.8.2.
    id: &'a str,
    /// OG.2.
    group: &'a str,
}

impl<'a> Sub<'a> {
    /// What it is grouped by, and whether the sender says so: by OG.2, or by dots.
    fn key(&self) -> (&'a str, bool) {
        match self.id.split_once('.') {
            _ if !self.group.is_empty() => (self.group, true),
            Some((first, _)) => (first, true),
            None => (self.id, false),
        }
    }
}

impl<'a> Run<'a> {
    /// Says of the observations under each OBR how they stand together.
    pub(super) fn subgroups(&mut self, placed: &[Placed]) {
        if self.observation_groups == ObservationGroups::Extension {
            return;
        }
        let mut order: Option<usize> = None;
        let mut results: Vec<Sub<'a>> = Vec::new();
        for number in 0..placed.len() {
            match self.source.segments.get(number).map(|segment| segment.name) {
                Some("OBR") => {
                    self.subgroups_of(order.replace(number), std::mem::take(&mut results), placed);
                }
                Some("OBX") if order.is_some() => results.extend(self.sub(number)),
                _ => {}
            }
        }
        self.subgroups_of(order, results, placed);
    }

    fn sub(&self, number: usize) -> Option<Sub<'a>> {
        let segment = self.source.segments.get(number).copied()?;
        let field = self.source.repetitions(self.source.field(segment, 4)).next()?;
        let [id, group] = [1, 2].map(|part| self.source.leaf(self.source.part(field, part)).text);
        (!(id.is_empty() && group.is_empty())).then_some(Sub { number, id, group })
    }

    fn subgroups_of(&mut self, order: Option<usize>, results: Vec<Sub<'a>>, placed: &[Placed]) {
        let Some(order) = order.filter(|_| results.len() > 1) else { return };
        let mut first: Hashed<&str, usize> = Hashed::default();
        results.iter().filter(|sub| !sub.id.is_empty()).for_each(|sub| {
            first.entry(sub.id).or_insert(sub.number);
        });
        let mut groups: Vec<(&str, bool, Vec<usize>)> = Vec::new();
        let mut place: Hashed<&str, usize> = Hashed::default();
        for sub in &results {
            let above = std::iter::successors(sub.id.rsplit_once('.'), |(above, _)| above.rsplit_once('.'));
            let parent = above.take(DEEPEST).find_map(|(above, _)| first.get(above)).copied();
            if let Some(parent) = parent.and_then(|parent| self.observation(parent, placed)) {
                self.add_member(parent, sub.number, placed);
                continue;
            }
            let (key, said) = sub.key();
            let at = *place.entry(key).or_insert(groups.len());
            match groups.get_mut(at) {
                Some((_, known, members)) => {
                    *known |= said;
                    members.push(sub.number);
                }
                None => groups.push((key, said, vec![sub.number])),
            }
        }
        // A group of all results is the report itself.
        if groups.len() < 2 {
            return;
        }
        let all = self.observation_groups == ObservationGroups::Panels;
        for (key, said, members) in groups {
            if members.len() > 1 && (said || all) {
                self.panel(order, key, &members, placed);
            }
        }
    }

    /// Makes an Observation of the group `key` of the report of `order`, which has `members`.
    fn panel(&mut self, order: usize, key: &str, members: &[usize], placed: &[Placed]) {
        let Some(here) = placed.get(order).map(|at| Here { segment: order, instance: at.instance, node: at.node })
        else {
            return;
        };
        let report = self.context_of(here).filter(|report| self.kind_name(*report) == "DiagnosticReport");
        let (Some(report), Some(kind)) = (report, types().id("Observation")) else { return };
        let panel = self.tree.resource(kind);
        self.belongs(panel, here);
        let Some(root) = self.tree.get(panel).map(|made| made.root) else { return };
        if let Some(table) = self.plan.group_of_results {
            self.segment_table(table, root, order, here.instance);
        }
        self.sub_id(root, key);
        for member in members {
            self.add_member(panel, *member, placed);
        }
        let Some((report_kind, report)) = self.tree.get(report).map(|made| (made.kind, made.root)) else { return };
        if let Some(result) = types().get(report_kind).element("result") {
            // Behind what any segment says of the report.
            let key = Key { label: 4, segment: segment_key(order), repetition: panel.0, ..Key::default() };
            let node = self.tree.child(report, result, key);
            self.tree.refer(node, panel);
        }
        let visit = self.tree.named(report, "encounter").and_then(|node| self.tree.reference(node));
        if let (Some(visit), Some(element)) = (visit, types().get(kind).element("encounter")) {
            let node = self.tree.child(root, element, Key::default());
            self.tree.refer(node, visit);
        }
    }

    /// The extension for OBX-4, with the group alone.
    fn sub_id(&mut self, root: NodeId, key: &str) {
        let observation = types().id("Observation").map(|id| types().get(id));
        let extension = types().id("Extension").map(|id| types().get(id));
        let (Some(own), Some(part)) = (
            observation.and_then(|kind| kind.element("extension")),
            extension.and_then(|kind| kind.element("extension")),
        ) else {
            return;
        };
        let outer = self.tree.child(root, own, Key { label: 4, ..Key::default() });
        self.tree.overwrite(outer, known().extension_url, Value::fixed(SUB_ID));
        let inner = self.tree.child(outer, part, Key { label: 1, ..Key::default() });
        let number = values::decimal(key);
        let (name, value) = match number {
            Some(number) => ("group", Value::Number(number)),
            None => ("identifier", Value::from(self.source.unescaped(key).into_owned())),
        };
        self.tree.overwrite(inner, known().extension_url, Value::fixed(name));
        let element = if name == "group" { "valueDecimal" } else { "valueString" };
        self.tree.overwrite(inner, extension.and_then(|kind| kind.element(element)), value);
    }
}
