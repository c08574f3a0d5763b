//! Z segments that no row maps: kept whole, as a Basic resource or an extension of the MessageHeader.

use message::json::Text;

use crate::hl7v2_to_fhir::options::ZSegments;
use crate::hl7v2_to_fhir::source::Segment;
use crate::hl7v2_to_fhir::tree::{Key, NodeId};
use crate::hl7v2_to_fhir::values;
use message::fhir::definitions::{Kind, TypeId, types};

use super::{Here, Run, segment_key};

/// What stands at one place of a segment.
struct Leaf<'a> {
    place: String,
    text: &'a str,
}

impl<'a> Run<'a> {
    /// Keeps the segment `here` as the channel has chosen; false if it has chosen a report alone.
    pub(super) fn keep_segment(&mut self, segment: Segment<'a>, here: Here) -> bool {
        let leaves = self.leaves(segment);
        let holder = match self.z_segments {
            ZSegments::Report => return false,
            ZSegments::Basic => None,
            ZSegments::Extension => self.header(here),
        };
        if leaves.is_empty() {
            return true;
        }
        let Some((root, kind)) = holder.or_else(|| self.basic(segment.name, here)) else { return false };
        let key = Key { segment: segment_key(here.segment), ..Key::default() };
        let Some((whole, extension)) = self.list_member(root, kind, "extension", key) else { return false };
        let url = format!("{}/StructureDefinition/hl7v2-segment", self.context.base_uri);
        self.put(whole, extension, "url", url);
        self.part(whole, extension, key, ("segment", Text::new(segment.name)));
        for (number, leaf) in (1..).zip(leaves) {
            let key = Key { repetition: number, ..key };
            let Some((field, _)) = self.list_member(whole, extension, "extension", key) else { continue };
            self.put(field, extension, "url", "field");
            let value = values::printable(&self.source.unescaped(leaf.text));
            self.part(field, extension, Key { label: 1, ..key }, ("location", leaf.place.into()));
            self.part(field, extension, Key { label: 2, ..key }, ("value", value));
            self.source.take(leaf.text);
        }
        true
    }

    /// All values of a segment, each with its place: `ZPI-3[2].1`.
    fn leaves(&self, segment: Segment<'a>) -> Vec<Leaf<'a>> {
        let mut out = Vec::new();
        for (number, field) in self.source.fields(segment) {
            for (repetition, slice) in (1..).zip(self.source.repetitions(field)) {
                for (component, part) in self.source.parts(slice) {
                    for (subcomponent, leaf) in self.source.parts(part) {
                        if leaf.text.trim().is_empty() {
                            continue;
                        }
                        let name = segment.name;
                        let place = match (component, subcomponent) {
                            (_, 1) => format!("{name}-{number}[{repetition}].{component}"),
                            _ => format!("{name}-{number}[{repetition}].{component}.{subcomponent}"),
                        };
                        out.push(Leaf { place, text: leaf.text });
                    }
                }
            }
        }
        out
    }

    /// The message's MessageHeader, if it has one.
    fn header(&self, here: Here) -> Option<(NodeId, TypeId)> {
        let kind = types().id("MessageHeader")?;
        let label = self.structure.labels.iter().position(|label| label.kind == kind)?;
        let resource = self.tree.get(self.find(label, here)?)?;
        Some((resource.root, kind))
    }

    /// A new Basic for a segment called `name`, of the group's patient.
    fn basic(&mut self, name: &str, here: Here) -> Option<(NodeId, TypeId)> {
        let kind = types().id("Basic")?;
        let resource = self.tree.resource(kind);
        self.belongs(resource, here);
        let root = self.tree.get(resource)?.root;
        let code = self.tree.child(root, types().get(kind).element("code")?, Key::default());
        let (coding, coding_kind) = self.list_member(code, types().id("CodeableConcept")?, "coding", Key::default())?;
        let system = format!("{}/CodeSystem/hl7v2-segment", self.context.base_uri);
        self.put(coding, coding_kind, "system", system);
        self.put(coding, coding_kind, "code", name);
        Some((root, kind))
    }

    /// The extension `url` with a text.
    fn part(&mut self, parent: NodeId, kind: TypeId, key: Key, (url, text): (&str, Text)) {
        if let Some((node, kind)) = self.list_member(parent, kind, "extension", key) {
            self.put(node, kind, "url", url);
            self.put(node, kind, "valueString", text);
        }
    }

    fn list_member(&mut self, parent: NodeId, kind: TypeId, name: &str, key: Key) -> Option<(NodeId, TypeId)> {
        let element = types().get(kind).element(name)?;
        match element.kind {
            Kind::Complex(held) => Some((self.tree.child(parent, element, key), held)),
            Kind::Primitive(_) => None,
        }
    }

    fn put(&mut self, node: NodeId, kind: TypeId, name: &str, text: impl Into<Text>) {
        self.tree.overwrite(node, types().get(kind).element(name), text.into());
    }
}
