//! What must be true of any bytes whatever: for the fuzz targets here, and for the mutation tests of `cargo test`.
//!
//! Each check panics where something is wrong.

use bytes::Bytes;
use jiff::tz::TimeZone;
use message::condition::Condition;
use message::hl7v2::ack::{Acknowledgment, AcknowledgmentCode, Phase, Stamp};
use message::hl7v2::timestamp::{Clock, Dtm};
use message::hl7v2::{self, Batch, Charset, CharsetOptions, Header, Message, Path, Undecodable, Wire};
use message::{Answer, Fault, MessageId, fhir};

/// A message reads, or a fault says why not; every byte of its text is in a segment or between two.
pub(crate) fn hl7v2(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    for default in ["UNICODE UTF-8", "8859/1", "BIG-5", "ISO IR87"] {
        for undecodable in [Undecodable::Refuse, Undecodable::Flag] {
            let options = CharsetOptions { default: default.parse().unwrap(), undecodable };
            match Message::read(bytes.clone(), &options) {
                Ok((message, _)) => {
                    assert_eq!(message.bytes(), &bytes);
                    parts_are_whole(&message);
                }
                Err(fault) => says_something(&fault),
            }
        }
    }
}

fn says_something(fault: &Fault) {
    assert!(!fault.text.is_empty() && fault.code >= 100);
}

fn parts_are_whole(message: &Message) {
    let text = message.text();
    let mut at = 0;
    for segment in message.segments() {
        let start = segment.text().as_ptr() as usize - text.as_ptr() as usize;
        only_separators(&text[at..start]);
        at = start + segment.text().len();
        fields_join(&segment);
        assert!(message.segments_named(segment.name()).any(|named| named.number() == segment.number()));
    }
    only_separators(&text[at..]);
}

fn only_separators(between: &str) {
    let separates = |c: char| c.is_ascii_whitespace() || "\0\u{B}\u{1C}\u{FEFF}".contains(c);
    assert!(between.chars().all(separates), "text belongs to no segment");
}

fn fields_join(segment: &hl7v2::Segment<'_>) {
    let delimiter = char::from(segment.delimiters().field);
    let Some((name, _)) = segment.text().split_once(delimiter) else { return };
    let is_header = matches!(name, "MSH" | "FHS" | "BHS");
    let fields: Vec<_> = segment.fields().filter(|(n, _)| !(is_header && *n == 1)).map(|(_, field)| field).collect();
    let joined: Vec<_> = std::iter::once(name).chain(fields.iter().map(|field| field.text())).collect();
    assert_eq!(joined.join(&delimiter.to_string()), segment.text());
    for field in fields {
        for repetition in field.repetitions() {
            for component in repetition.components() {
                for subcomponent in component.subcomponents() {
                    assert!(subcomponent.value().len() <= 2 * subcomponent.text().len());
                }
            }
        }
    }
}

/// Any bytes can be acknowledged, and what is sent says so when it is read again.
pub(crate) fn acknowledgment(bytes: &[u8]) {
    let header = Header::read(bytes);
    let stamp =
        Stamp { now: jiff::Timestamp::UNIX_EPOCH, zone: TimeZone::UTC, control_id: "0123456789-0123456789".to_owned() };
    let fault = hl7v2::check(&header).err().unwrap_or_else(|| Fault::new(207, None, "a|b^c\\é"));
    for answer in [Answer::Stored(MessageId(Default::default())), fault.into()] {
        for phase in [Phase::Original, Phase::Accept, Phase::Application] {
            let Some(ack) = hl7v2::acknowledge(bytes, &answer, phase, &stamp) else {
                assert!(header.is_general_acknowledgment() || phase != Phase::Original);
                continue;
            };
            let read = Acknowledgment::read(&ack).unwrap();
            assert_eq!(read.code, AcknowledgmentCode::of(&answer, phase));
            assert!(Header::read(&ack).is_general_acknowledgment() || header.is_general_acknowledgment());
            // A header that is no text in the character set that it declares cannot be read back.
            let declared = header.charsets().next().and_then(|name| name.parse::<Charset>().ok());
            if header.wire() != Wire::Bytes || !declared.is_some_and(Charset::hides_delimiters) {
                assert!(read.answers(&header));
            }
        }
    }
    if let Err(fault) = Acknowledgment::read(bytes) {
        says_something(&fault);
    }
}

/// A batch cuts into slices of itself, in order, and each begins with MSH.
pub(crate) fn batch(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let batch = Batch::split(&bytes);
    let mut at = 0;
    for message in &batch.messages {
        let start = message.as_ptr() as usize - bytes.as_ptr() as usize;
        assert!(start >= at && !message.is_empty());
        at = start + message.len();
        assert!(Header::read(message).is_present());
    }
    assert!(!batch.messages.is_empty() || !batch.problems.is_empty());
    batch.problems.iter().for_each(says_something);
}

/// A time reads, or not; what is read is written as FHIR writes it.
pub(crate) fn timestamp(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let zone = TimeZone::get("America/Chicago").unwrap();
    if let Ok(time) = Dtm::parse(&text) {
        let written = time.to_fhir_date_time(&zone);
        assert!(written.starts_with(&time.to_fhir_date()) && written.len() <= 35);
        assert!(time.to_timestamp(&zone).is_some() || time.year == 9999 || time.year == 1);
    }
    if let Ok(clock) = Clock::parse(&text) {
        assert!(clock.to_fhir().len() >= 8);
    }
}

/// A condition parses, or an error points into it; what parses can be asked of anything.
pub(crate) fn condition(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Condition::parse(&text) {
        Ok(condition) => {
            let sample = Bytes::from_static(b"MSH|^~\\&|A|B|||2024||ADT^A01|1|P|2.5\rPID|1||1^^^A~2||D^J||1970|F\r");
            let message = Message::read(sample, &CharsetOptions::default()).unwrap().0;
            let resource = message::json!({"resourceType": "Patient", "active": true, "name": [{"given": ["A", "B"]}]});
            let (of_message, of_resource) = (condition.eval(&message), condition.eval(&resource));
            let again = Condition::parse(condition.text()).unwrap();
            assert_eq!((again.eval(&message), again.eval(&resource)), (of_message, of_resource));
        }
        Err(error) => assert!(text.is_char_boundary(error.offset) && !error.message.is_empty()),
    }
    if let Ok(path) = text.parse::<Path>() {
        assert_eq!(path.to_string().parse(), Ok(path));
    }
}

/// JSON reads as a resource that is written as the same JSON, or a fault says where it is none.
pub(crate) fn fhir(bytes: &[u8]) {
    let limits = fhir::Limits::default();
    match fhir::read(bytes, &limits) {
        Ok(resource) => {
            let text = resource.to_string();
            assert_eq!(fhir::read(text.as_bytes(), &limits).as_ref().map(ToString::to_string), Ok(text));
            fhir::for_each_reference(&resource, |reference| assert!(reference.len() <= bytes.len() * 2));
            assert!(fhir::patient_identifiers(&resource).len() <= bytes.len());
            assert!(fhir::outcome_summary(&resource).is_none_or(|line| !line.contains('\n')));
        }
        Err(fault) => says_something(&fault),
    }
}
