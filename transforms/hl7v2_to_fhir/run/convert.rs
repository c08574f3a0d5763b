//! The engine's own conversions: what a table cannot say in rows.

use message::FindingKind;
use message::json::{Text, Value};

use super::conditions::Around;
use crate::hl7v2_to_fhir::maps::plan::Convert;
use crate::hl7v2_to_fhir::source::Slice;
use crate::hl7v2_to_fhir::values;

use super::Run;

impl<'a> Run<'a> {
    /// `slice` by `convert`; `place` says what it stands in.
    pub(super) fn converted(&mut self, convert: Convert, slice: Slice<'a>, place: &Around<'a>) -> Option<Value> {
        let around = place.slice.unwrap_or(slice);
        let text = match convert {
            Convert::IdentifierSystem => self.identifier_system(slice, 1)?,
            Convert::EntitySystem => self.identifier_system(slice, 2)?,
            Convert::CodingSystem => {
                let leaf = self.source.leaf(slice).text;
                self.source.take(leaf);
                self.systems.of_codes(leaf)
            }
            Convert::Base64 => self.base64(slice, around).into(),
            Convert::Mime => self.mime(slice)?.into(),
            Convert::NameText => self.name_text(slice)?.into(),
            Convert::SampledData => self.all_numbers(place).into(),
            Convert::Dimensions => return Some(Value::from(self.dimensions(slice))),
            Convert::WholeText => {
                self.source.take(slice.text);
                values::printable(&self.source.unescaped(slice.text))
            }
            Convert::Comparator => self.comparator(slice)?.into(),
        };
        (!values::trimmed(&text).is_empty()).then_some(Value::String(text))
    }

    /// An HD that begins at component `first`.
    fn identifier_system(&mut self, slice: Slice<'a>, first: usize) -> Option<Text> {
        let leaves = [first, first + 1, first + 2].map(|part| self.source.leaf(self.source.part(slice, part)).text);
        let [namespace, id, id_type] = leaves.map(|text| self.source.unescaped(text));
        let (system, says) = self.systems.of_identifiers(&namespace, &id, &id_type)?;
        // What does not show in the system is left for other rows, or for the report.
        leaves.into_iter().zip(says).filter(|(_, says)| *says).for_each(|(leaf, _)| self.source.take(leaf));
        Some(system)
    }

    fn base64(&mut self, slice: Slice<'a>, around: Slice<'a>) -> String {
        let said = self.source.leaf(self.source.part(around, 4)).text;
        let encoding = self.source.unescaped(said);
        if ["base64", "hex", "a"].iter().any(|known| encoding.eq_ignore_ascii_case(known)) {
            self.source.take(said);
        }
        self.source.take(slice.text);
        let text = self.source.unescaped(slice.text);
        values::base64_of(&text, &encoding).unwrap_or_else(|| {
            self.finding(FindingKind::Malformed, slice.text, "the data is not in the encoding that the field names");
            values::base64_of(&text, "A").unwrap_or_default()
        })
    }

    /// ED.2 and ED.3 or RP.3 and RP.4, of which `slice` is the first.
    fn mime(&mut self, slice: Slice<'a>) -> Option<String> {
        let (kind, subtype) =
            if self.source.part(slice, 4).text.is_empty() || self.is_ed(slice) { (2, 3) } else { (3, 4) };
        let leaves = [kind, subtype].map(|part| self.source.leaf(self.source.part(slice, part)).text);
        let [kind, subtype] = leaves.map(|text| self.source.unescaped(text));
        let mime = values::mime(&kind, &subtype)?;
        for (leaf, word) in leaves.into_iter().zip([kind, subtype]) {
            if values::is_said_by(&mime, &word) {
                self.source.take(leaf);
            }
        }
        Some(mime)
    }

    /// ED has its data in component 5; RP ends at 4.
    fn is_ed(&self, slice: Slice<'a>) -> bool {
        !self.source.part(slice, 5).text.is_empty()
    }

    /// `Prefix Given Middle Family Suffix`, or by XPN.11 `F` with the family name before.
    fn name_text(&mut self, slice: Slice<'a>) -> Option<String> {
        let family_first = self.component(slice, 11) == "F";
        let order = if family_first { [5, 1, 3, 2, 4] } else { [5, 2, 3, 1, 4] };
        let parts = order.map(|part| self.component(slice, part));
        let text = parts.iter().filter(|part| !part.is_empty()).map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then_some(text)
    }

    /// The numbers of all repetitions of the field in order; `E` is SampledData's word for an error.
    fn all_numbers(&mut self, place: &Around<'a>) -> String {
        let Some(segment) = self.source.segments.get(place.segment).copied() else { return String::new() };
        let field = self.source.field(segment, usize::from(place.field));
        self.source.take(field);
        let parts =
            self.source.repetitions(field).flat_map(|slice| self.source.parts(slice).map(|(_, part)| part.text));
        let parts: Vec<&str> = parts.filter(|text| !text.trim().is_empty()).collect();
        let number = |text: &&str| match values::decimal(text) {
            Some(number) => number.to_string(),
            None => {
                self.finding(FindingKind::Malformed, text, "the value is no number; an error stands in its place");
                "E".to_owned()
            }
        };
        parts.iter().map(number).collect::<Vec<_>>().join(" ")
    }

    fn dimensions(&mut self, slice: Slice<'a>) -> usize {
        self.source.parts(slice).count().max(1)
    }

    fn comparator(&mut self, slice: Slice<'a>) -> Option<String> {
        let leaf = self.source.leaf(slice).text;
        let sign = self.source.unescaped(leaf);
        let known = matches!(&*sign, "<" | "<=" | ">=" | ">");
        if known || &*sign == "=" {
            self.source.take(leaf);
        }
        known.then(|| sign.into_owned())
    }
}
