//! Codes through the code tables: translated, or kept and reported.

use message::FindingKind;
use message::json::Text;

use crate::hl7v2_to_fhir::known::known;
use crate::hl7v2_to_fhir::maps::plan::{Codes, Translation};
use crate::hl7v2_to_fhir::tree::{Key, NodeId};
use message::fhir::definitions::Kind;

use super::Run;

impl<'a> Run<'a> {
    /// The translation of `code`, which stands at `at`; a missing one is reported.
    pub(super) fn translated(&mut self, codes: usize, code: &str, at: &str) -> Option<&'a Translation> {
        let codes = self.plan.codes.get(codes)?;
        let found = codes.codes.get(code).and_then(|all| all.first());
        if found.is_none() {
            self.untranslated(codes, at);
        }
        found
    }

    /// What a code without a translation becomes in `codes`.
    pub(super) fn otherwise(&self, codes: usize) -> Option<&'a str> {
        self.plan.codes.get(codes)?.otherwise.as_deref()
    }

    fn untranslated(&mut self, codes: &Codes, at: &str) {
        if !codes.partial {
            self.finding(FindingKind::Untranslated, at, format!("{} has no translation for the code", codes.name));
        }
    }

    /// Translates the codings of a CodeableConcept, or a Coding, that rows have just filled.
    pub(super) fn translate_node(&mut self, node: NodeId, kind: Kind, codes: usize, at: &str) {
        let Kind::Complex(id) = kind else { return };
        if Some(id) == known().coding {
            self.translate_coding(node, codes, at);
        } else if Some(id) == known().concept {
            self.translate_concept(node, codes, at);
        }
    }

    fn translate_concept(&mut self, node: NodeId, codes: usize, at: &str) {
        for (_, child) in self.tree.all_named(node, "coding") {
            let Some(said) = self.translate_coding(child, codes, at) else { continue };
            let (replaced, rest) = said;
            if let Some(display) = replaced {
                // The sender's own words stay as the text.
                if self.tree.text(node, "text").is_none() {
                    self.tree.overwrite(node, known().concept_text, display);
                }
            }
            let Some(element) = known().concept_coding else { continue };
            for (i, translation) in rest.iter().enumerate() {
                let label = 1000 + u16::try_from(i).unwrap_or(0);
                let added = self.tree.child(node, element, Key { label, ..Key::default() });
                self.write_coding(added, translation);
            }
        }
    }

    /// Translates one Coding of the table's own system; gives the sender's display where another
    /// takes its place, and the further translations.
    fn translate_coding(&mut self, node: NodeId, codes: usize, at: &str) -> Option<(Option<Text>, &'a [Translation])> {
        let table = self.plan.codes.get(codes)?;
        let code = self.tree.text(node, "code")?.to_owned();
        let system = self.tree.text(node, "system");
        if system.is_some() && system != table.source.as_deref() {
            return None;
        }
        let display = self.tree.text(node, "display").map(Text::new);
        match table.codes.get(&code).map(|all| all.split_first()) {
            Some(Some((first, rest))) => {
                self.write_coding(node, first);
                Some((display.filter(|d| first.display.as_ref() != Some(d)), rest))
            }
            here => {
                if let (Some(_), Some(source)) = (here, &table.source) {
                    self.tree.overwrite(node, known().coding_system, source.clone());
                }
                self.untranslated(table, at);
                None
            }
        }
    }

    /// Writes a translation over what a Coding holds.
    pub(super) fn write_coding(&mut self, node: NodeId, translation: &Translation) {
        let known = known();
        for (place, text) in [(known.coding_system, &translation.system), (known.coding_display, &translation.display)]
        {
            if let Some(text) = text {
                self.tree.overwrite(node, place, text.clone());
            }
        }
        self.tree.overwrite(node, known.coding_code, translation.code.clone());
    }
}
