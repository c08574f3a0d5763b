//! One specimen: what OBR says of it, and the only SPM of its group.

use message::FindingKind;
use message::fhir::definitions::types;

use super::{Here, Run};
use crate::hl7v2_to_fhir::groups::Placed;
use crate::hl7v2_to_fhir::hashed::Hashed;
use crate::hl7v2_to_fhir::source::name_of;
use crate::hl7v2_to_fhir::tree::ResourceId;

impl Run<'_> {
    /// Puts what an OBR says of its specimen into the one that the only SPM in or around its group has made. Where
    /// there are several, nobody knows which of them OBR means: its own stays beside them.
    pub(super) fn one_specimen(&mut self, placed: &[Placed]) {
        let [orders, specimens] = ["OBR", "SPM"].map(|name| self.numbers_of(name));
        if orders.is_empty() || specimens.is_empty() {
            return;
        }
        for (order, specimen) in self.pairs(placed, &orders, &specimens) {
            let (Some(at), Some(made)) = (here(order, placed), self.specimen(here(specimen, placed))) else { continue };
            let Some(label) = self.specimen_label(at) else { continue };
            if let Some(own) = self.find(label, at).filter(|own| *own != made) {
                self.merge_specimens(made, own, order);
            }
            // Links that name the specimen of OBR lead to this one.
            self.labels.insert((self.scope(label, at), label), made);
        }
    }

    fn numbers_of(&self, name: &str) -> Vec<usize> {
        let all = self.source.segments.iter().enumerate();
        all.filter(|(_, segment)| segment.name == name).map(|(number, _)| number).collect()
    }

    /// Each OBR with the SPM in its group, or else the one in a group around it, where there is just one.
    fn pairs(&self, placed: &[Placed], orders: &[usize], specimens: &[usize]) -> Vec<(usize, usize)> {
        let instance = |number: usize| placed.get(number).map_or(0, |placed| placed.instance);
        let mut order_at: Hashed<usize, usize> = Hashed::default();
        order_at.extend(orders.iter().map(|order| (instance(*order), *order)));
        // Of an OBR or of a group: the first SPM, and how many there are.
        let mut below: Hashed<usize, (usize, usize)> = Hashed::default();
        let mut around: Hashed<usize, (usize, usize)> = Hashed::default();
        for specimen in specimens {
            let own = instance(*specimen);
            let order = self.line(own).find_map(|at| order_at.get(&at));
            let slot = match order {
                Some(order) => below.entry(*order),
                None => around.entry(own),
            };
            slot.or_insert((*specimen, 0)).1 += 1;
        }
        let of = |order: usize| {
            let nearest = || self.line(instance(order)).find_map(|at| around.get(&at));
            below.get(&order).or_else(nearest).filter(|(_, count)| *count == 1).map(|(specimen, _)| *specimen)
        };
        orders.iter().filter_map(|order| Some((*order, of(*order)?))).collect()
    }

    /// The group and all around it, but for the message as a whole.
    fn line(&self, instance: usize) -> impl Iterator<Item = usize> {
        let group = |at: usize| (at != 0).then_some(at);
        std::iter::successors(group(instance), move |at| {
            self.groups.instances.get(*at).and_then(|found| group(found.parent))
        })
    }

    fn specimen(&self, at: Option<Here>) -> Option<ResourceId> {
        let at = at?;
        self.find(self.specimen_label(at)?, at)
    }

    /// The label of the Specimen that the segment's rows speak of.
    fn specimen_label(&self, at: Here) -> Option<usize> {
        let kind = types().id("Specimen")?;
        let is_one = |label: &usize| self.structure.labels.get(*label).is_some_and(|label| label.kind == kind);
        self.structure.rows.get(&at.node?)?.iter().map(|row| row.label).find(is_one)
    }

    fn merge_specimens(&mut self, into: ResourceId, from: ResourceId, order: usize) {
        let root = |run: &Self, id: ResourceId| run.tree.get(id).map(|resource| resource.root);
        let (Some(into), Some(from)) = (root(self, into), root(self, from)) else { return };
        if self.tree.contradicts(into, from)
            && let Some(segment) = self.source.segments.get(order)
        {
            let text = "SPM says otherwise of the same specimen, and stands".into();
            let location = name_of(segment);
            self.findings.push(message::Finding { kind: FindingKind::Unmapped, location, text });
        }
        self.tree.merge(into, from, &[]);
        self.tree.strip(from);
    }
}

fn here(number: usize, placed: &[Placed]) -> Option<Here> {
    placed.get(number).map(|placed| Here { segment: number, instance: placed.instance, node: placed.node })
}
