//! The ERR segment: v2.5's own fields, and the single ELD of the versions before.

use super::build::{Draft, shortened};
use crate::Fault;
use crate::hl7v2::{Path, Version};

/// Longest ERR-8, in characters (HL7 v2.5.1 §2.15.5.8).
const ERR_8_LENGTH: usize = 250;

/// Writes the segment that says `fault`.
pub(super) fn err_segment(draft: &mut Draft<'_>, fault: &Fault) {
    draft.raw(b"ERR");
    let place = fault.location.as_deref().and_then(|location| location.parse().ok());
    if draft.version < Version::V2_5 {
        draft.field(|draft| eld(draft, fault, place.as_ref()));
    } else {
        err_2_to_8(draft, fault, place.as_ref());
    }
    draft.end_of_segment();
}

/// ERR-2 to ERR-8 (HL7 v2.5.1 §2.15.5).
fn err_2_to_8(draft: &mut Draft<'_>, fault: &Fault, place: Option<&Path>) {
    draft.empty(1);
    draft.field(|draft| {
        let parts: Vec<String> = place.map(erl).unwrap_or_default();
        joined(draft, draft.delimiters.component, &parts);
    });
    draft.field(|draft| {
        let code = [fault.code.to_string(), meaning(fault.code).to_owned(), "HL70357".to_owned()];
        joined(draft, draft.delimiters.component, &code);
    });
    draft.field(|draft| draft.raw(b"E"));
    draft.empty(2);
    // A place that is no path, such as a byte offset, has no field of its own.
    let elsewhere = fault.location.as_deref().filter(|_| place.is_none()).unwrap_or_default();
    draft.field(|draft| draft.text(elsewhere));
    draft.field(|draft| draft.text(&shortened(&fault.text, ERR_8_LENGTH)));
}

/// ERL (HL7 v2.5.1 §2.A.28): segment, sequence, field, repetition, component, subcomponent.
fn erl(path: &Path) -> Vec<String> {
    let repetition = path.repetition.or(path.component.map(|_| 1));
    let numbers = [path.field, repetition, path.component, path.subcomponent];
    let numbers = numbers.into_iter().map_while(|n| n.map(|n| n.to_string()));
    [path.segment.clone(), path.occurrence.unwrap_or(1).to_string()].into_iter().chain(numbers).collect()
}

/// ELD, ERR-1 up to v2.4 (HL7 v2.4 §2.16.5.1): segment, sequence, field, code.
fn eld(draft: &mut Draft<'_>, fault: &Fault, place: Option<&Path>) {
    let number = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
    let parts = [
        place.map(|path| path.segment.clone()).unwrap_or_default(),
        number(place.map(|path| path.occurrence.unwrap_or(1))),
        number(place.and_then(|path| path.field)),
        fault.code.to_string(),
    ];
    joined(draft, draft.delimiters.component, &parts);
    if let Some(subcomponent) = draft.delimiters.subcomponent {
        draft.raw(&[subcomponent]);
        joined(draft, subcomponent, &[meaning(fault.code).to_owned(), "HL70357".to_owned()]);
    }
}

fn joined(draft: &mut Draft<'_>, separator: u8, parts: &[String]) {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            draft.raw(&[separator]);
        }
        draft.text(part);
    }
}

/// What a code of table 0357 means.
fn meaning(code: u16) -> &'static str {
    match code {
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        104 => "Value too long",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        202 => "Unsupported processing id",
        203 => "Unsupported version id",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        206 => "Application record locked",
        _ => "Application internal error",
    }
}
