//! What leaves as HL7 v2: read as entries by the conversion of its channel, and redacted by whole groups of segments.
//!
//! A group is an order with its results, a diagnosis, an allergy, a document: what stands and falls together. Each is
//! decided about with the message's frame around it (MSH, PID, PV1, …); those that may not go are left out whole, so that
//! no field is emptied that a receiver would take for an erasure. What is left is read and decided about again, and
//! leaves only if all of it may.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::by_entry::{Effect, Release};
use message::consent::elements;
use message::hl7v2::{CharsetOptions, Message};
use message::json::{Text, Value};
use message::{Body, Format, MessageId, Original, Sha256};

use super::super::process::{Recipe, transformed};
use super::carry::part_2;
use super::judge::{Case, Judged, judge};
use super::people::parts;
use super::v2_elements::{Separators, masked, noted as noted_with};
use super::v2_unseen::add as unseen;
use super::{Answer, Asked, Gate, Weighed, entries as entries_of, proof, suppressed};
use crate::config::Site;

/// Segments that begin a group of their own.
const STARTS: [&str; 20] = [
    "ORC", "OBR", "DG1", "DRG", "PR1", "AL1", "IAM", "PRB", "GOL", "PTH", "RXA", "RXO", "RXE", "RXD", "RXG", "IN1",
    "GT1", "FT1", "TXA", "NK1",
];
/// Of these, those that belong to an order that ORC began.
const IN_ORDER: [&str; 6] = ["OBR", "RXA", "RXO", "RXE", "RXD", "RXG"];
/// The frame of a message: what every group is read with.
const FRAME: [&str; 14] =
    ["MSH", "SFT", "UAC", "EVN", "PID", "PD1", "ARV", "ROL", "PV1", "PV2", "MRG", "ACC", "CON", "PDA"];
/// What begins an order or a document: without any, nothing is left to be sent.
const SUBSTANCE: [&str; 3] = ["ORC", "OBR", "TXA"];

/// HL7 v2 as the entries that its channel's conversion makes of it.
///
/// # Errors
///
/// What could not be converted, without values.
pub(super) fn entries(reader: &Recipe, bytes: Bytes) -> Result<Value, String> {
    let now = Timestamp::UNIX_EPOCH;
    let original = Arc::new(Original {
        id: MessageId(uuid::Uuid::nil()),
        channel: reader.config.name.as_str().into(),
        received: now,
        peer: "".into(),
        format: Format::Hl7v2,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: None,
    });
    let (_, message) =
        transformed(reader, &original, None, now).map_err(|failure| format!("{}: {}", failure.step, failure.error))?;
    match message.body {
        Body::Fhir(mut content) => {
            if let Ok((came, _)) = Message::read(original.bytes.clone(), &reader.config.charset) {
                unseen(&mut content, &came, &message.findings);
            }
            Ok(content)
        }
        Body::Hl7v2(_) => Err("its channel cannot convert it".to_owned()),
    }
}

impl Gate {
    /// What of an HL7 v2 message may leave, which was decided to go at least in part.
    pub(super) fn hl7v2(&self, site: &Arc<Site>, case: &Case<'_>, asked: Asked<'_>, weighed: &Weighed) -> Answer {
        let first = &weighed.judged;
        let labels = of_elements(first);
        if first.release == Release::Deliver && labels.is_empty() {
            return leaves(case, first, asked.bytes, 0);
        }
        let [known] = weighed.known.as_slice() else {
            return cannot("it is about several patients");
        };
        if known.places.is_some() {
            return cannot("it is about several patients");
        }
        let Ok(reader) = self.reader(site, asked.channel) else { return cannot("its channel is gone") };
        let decided = |bytes: Bytes| -> Option<Judged> {
            let content = entries(&reader, bytes).ok()?;
            let entries = entries_of(&parts(&content), site, asked.channel);
            Some(judge(case, &entries, &weighed.known))
        };
        let goes = |judged: &Judged| judged.release == Release::Deliver && judged.masks.is_empty();
        let mut bytes = asked.bytes.clone();
        if !labels.is_empty() {
            let Some(separators) = separators(&bytes, reader.config.charset) else {
                return cannot("it cannot be read");
            };
            bytes = match masked(&bytes, separators, &labels) {
                Ok(bytes) => bytes,
                Err(why) => return cannot(why),
            };
            match decided(bytes.clone()) {
                Some(judged) if goes(&judged) => return leaves(case, first, &bytes, 0),
                Some(_) => {}
                None => return cannot("what is left cannot be read"),
            }
        }
        match redacted(&bytes, reader.config.charset, &|bytes| decided(bytes).is_some_and(|judged| goes(&judged))) {
            Ok(Some((bytes, removed))) => leaves(case, first, &bytes, removed),
            Ok(None) => suppressed(first),
            Err(why) => cannot(why),
        }
    }
}

/// The labels of single elements that may not go, with what else is denied for them.
fn of_elements(judged: &Judged) -> BTreeSet<Text> {
    let denied = judged.verdicts.iter().filter(|verdict| verdict.effect == Effect::Deny);
    let labels = denied.filter_map(|verdict| verdict.label.clone()).filter(|label| elements::is_known(label));
    judged.masked().into_iter().chain(labels).collect()
}

/// What leaves, with what the recipient must be told.
fn leaves(case: &Case<'_>, judged: &Judged, bytes: &Bytes, removed: usize) -> Answer {
    let mut bytes = bytes.clone();
    let mut changed = removed > 0 || !of_elements(judged).is_empty();
    if judged.obligations.contains("NORDSCLCD") {
        let text = part_2(&judged.weighed());
        let noted = separators(&bytes, CharsetOptions::default()).ok_or("it cannot be read");
        bytes = match noted.and_then(|separators| noted_with(&bytes, separators, &text)) {
            Ok(bytes) => bytes,
            Err(why) => return cannot(why),
        };
        changed = true;
    }
    let proof = proof(case, judged, removed, Some(&bytes[..]).filter(|_| changed));
    Answer::Permit { bytes: changed.then_some(bytes), proof, nameless: false }
}

fn separators(bytes: &Bytes, charset: CharsetOptions) -> Option<Separators> {
    let (message, _) = Message::read(bytes.clone(), &charset).ok()?;
    let delimiters = message.delimiters();
    let within = [delimiters.component, delimiters.repetition, delimiters.subcomponent.unwrap_or(delimiters.component)];
    Some(Separators { field: delimiters.field, within })
}

fn cannot(why: &str) -> Answer {
    Answer::Suppress { reason: format!("denied by consent in part, and HL7 v2 cannot be redacted here: {why}") }
}

/// `bytes` without the groups that may not go, and how many those were; `None` where nothing is left that says anything.
fn redacted(
    bytes: &Bytes,
    charset: CharsetOptions,
    may_go: &dyn Fn(Bytes) -> bool,
) -> Result<Option<(Bytes, usize)>, &'static str> {
    let (message, _) = Message::read(bytes.clone(), &charset).map_err(|_| "it cannot be read")?;
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\r').filter(|line| !line.is_empty()).collect();
    let names: Vec<&str> = message.segments().map(|segment| segment.name()).collect();
    if lines.len() != names.len() {
        return Err("its segments do not end in CR");
    }
    if names.iter().filter(|name| **name == "PID").count() != 1 {
        return Err("it is about several patients");
    }
    let (frame, groups) = groups(&names);
    let with = |kept: &[&Range<usize>]| {
        let is_kept = |at: &usize| frame.contains(at) || kept.iter().any(|group| group.contains(at));
        let each: Vec<&[u8]> = (0..lines.len()).filter(is_kept).filter_map(|at| lines.get(at).copied()).collect();
        joined(&each)
    };
    if !may_go(with(&[])) {
        return Err("what frames it may not go");
    }
    let kept: Vec<&Range<usize>> = groups.iter().filter(|group| may_go(with(&[group]))).collect();
    let has_substance = |groups: &[&Range<usize>]| {
        groups.iter().any(|group| names.get(group.start).is_some_and(|name| SUBSTANCE.contains(name)))
    };
    let all: Vec<&Range<usize>> = groups.iter().collect();
    if has_substance(&all) && !has_substance(&kept) {
        return Ok(None);
    }
    let rest = renumbered(&with(&kept), message.delimiters().field);
    // What may go group by group may still not go together.
    if may_go(rest.clone()) { Ok(Some((rest, groups.len() - kept.len()))) } else { Err("what is left may not go") }
}

/// The places of a message's frame, and its groups.
fn groups(names: &[&str]) -> (Vec<usize>, Vec<Range<usize>>) {
    let (mut frame, mut groups): (Vec<usize>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    // The segment that began the group in hand, and whether the order in it has its detail.
    let mut open: Option<(&str, bool)> = None;
    for (at, name) in names.iter().copied().enumerate() {
        let joins = match open {
            // The details of an order belong to the ORC before them: once.
            Some(("ORC", detailed)) if IN_ORDER.contains(&name) => !detailed,
            // Results belong to their order or document; others stand for themselves.
            Some((start, _)) if name == "OBX" => SUBSTANCE.contains(&start) || IN_ORDER.contains(&start),
            Some((start, _)) if start == "RXA" || start == "RXO" => !STARTS.contains(&name) && !FRAME.contains(&name),
            // ROL and PV1 within an order belong to it.
            Some((start, _)) if SUBSTANCE.contains(&start) && name == "ROL" => true,
            Some(_) => !STARTS.contains(&name) && !FRAME.contains(&name),
            None => false,
        };
        match (joins, groups.last_mut()) {
            (true, Some(group)) => {
                group.end = at + 1;
                if let Some((_, detailed)) = &mut open {
                    *detailed |= IN_ORDER.contains(&name);
                }
            }
            _ if STARTS.contains(&name) || name == "OBX" => {
                groups.push(at..at + 1);
                open = Some((name, false));
            }
            _ => {
                frame.push(at);
                open = None;
            }
        }
    }
    (frame, groups)
}

fn joined(lines: &[&[u8]]) -> Bytes {
    let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.push(b'\r');
    }
    bytes.into()
}

/// Set ids that count groups count those that are left: a gap would tell.
fn renumbered(bytes: &Bytes, separator: u8) -> Bytes {
    const COUNTED: [&str; 11] = ["OBR", "DG1", "PR1", "AL1", "IAM", "IN1", "GT1", "FT1", "TXA", "NK1", "OBX"];
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\r').filter(|line| !line.is_empty()).collect();
    let mut counts: std::collections::BTreeMap<&[u8], u32> = std::collections::BTreeMap::new();
    let mut rest = Vec::with_capacity(bytes.len());
    for line in lines {
        let name = line.get(..3).unwrap_or_default();
        if COUNTED.iter().any(|counted| counted.as_bytes() == name) {
            // Results count within their order.
            if name == b"OBR" {
                counts.remove(b"OBX".as_slice());
            }
            let count = counts.entry(name).or_default();
            *count += 1;
            let mut fields = line.splitn(3, |byte| *byte == separator);
            let (start, id, tail) = (fields.next(), fields.next(), fields.next());
            if let (Some(start), Some(id)) = (start, id)
                && !id.is_empty()
                && id.iter().all(u8::is_ascii_digit)
            {
                rest.extend_from_slice(start);
                rest.push(separator);
                rest.extend_from_slice(count.to_string().as_bytes());
                if let Some(tail) = tail {
                    rest.push(separator);
                    rest.extend_from_slice(tail);
                }
                rest.push(b'\r');
                continue;
            }
        }
        rest.extend_from_slice(line);
        rest.push(b'\r');
    }
    rest.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = "MSH|^~\\&|LAB|X|||20260101||ORU^R01|1|P|2.5.1\rPID|1||7\rPV1|1|O\r\
        ORC|RE|1\rOBR|1|1||A\rOBX|1|NM|a\rNTE|1||n\rORC|RE|2\rOBR|2|2||SECRET\rOBX|1|NM|SECRET\rORC|RE|3\rOBR|3|3||C\rOBX|1|NM|c\r";

    fn redact(text: &str, secret: &str) -> Result<Option<(String, usize)>, &'static str> {
        let may_go = |bytes: Bytes| !String::from_utf8_lossy(&bytes).contains(secret);
        let rest = redacted(&Bytes::copy_from_slice(text.as_bytes()), CharsetOptions::default(), &may_go)?;
        Ok(rest.map(|(bytes, removed)| (String::from_utf8(bytes.to_vec()).unwrap(), removed)))
    }

    #[test]
    fn an_order_goes_with_its_results_and_the_rest_counts_on() {
        let (rest, removed) = redact(RESULT, "SECRET").unwrap().unwrap();
        assert_eq!(removed, 1);
        assert_eq!(
            rest,
            "MSH|^~\\&|LAB|X|||20260101||ORU^R01|1|P|2.5.1\rPID|1||7\rPV1|1|O\r\
             ORC|RE|1\rOBR|1|1||A\rOBX|1|NM|a\rNTE|1||n\rORC|RE|3\rOBR|2|3||C\rOBX|1|NM|c\r"
        );
    }

    #[test]
    fn a_diagnosis_goes_alone() {
        let text =
            "MSH|^~\\&|A|X|||20260101||ADT^A01|1|P|2.5.1\rPID|1||7\rPV1|1|I\rDG1|1||SECRET\rDG1|2||B\rAL1|1||C\r";
        let (rest, _) = redact(text, "SECRET").unwrap().unwrap();
        assert!(rest.ends_with("PV1|1|I\rDG1|1||B\rAL1|1||C\r"), "{rest}");
        assert!(!rest.contains("\"\""));
    }

    #[test]
    fn nothing_is_left_of_a_result_without_results() {
        let only = RESULT.split("ORC|RE|1").next().unwrap().to_owned() + "ORC|RE|2\rOBR|1|2||SECRET\rOBX|1|NM|SECRET\r";
        assert_eq!(redact(&only, "SECRET"), Ok(None));
    }

    #[test]
    fn a_frame_that_may_not_go_cannot_be_redacted() {
        assert_eq!(redact(&RESULT.replace("PV1|1|O", "PV1|1|SECRET"), "SECRET"), Err("what frames it may not go"));
    }

    #[test]
    fn several_patients_cannot_be_redacted() {
        let two = format!("{RESULT}PID|2||8\rORC|RE|4\rOBR|1|4||D\r");
        assert_eq!(redact(&two, "SECRET"), Err("it is about several patients"));
    }
}
