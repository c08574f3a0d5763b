//! Audit events as DICOM audit messages, which IHE ATNA sends by syslog (ITI-20).
//!
//! DICOM PS3.15 A.5.1 has the schema: coded values as `csd-code`, `codeSystemName` and `originalText`. PurposeOfUse is
//! IHE's addition to it (ITI TF-2 3.20.7).

use std::io;

use quick_xml::writer::Writer;
use serde_json::{Value, json};

use super::{Event, Observer};

/// By which names code systems are known there.
const SYSTEMS: [(&str, &str); 6] = [
    ("http://dicom.nema.org/resources/ontology/DCM", "DCM"),
    ("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "ISO 21089-2017 Health Record Lifecycle Events"),
    ("https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType", "AuthZsubType"),
    ("http://terminology.hl7.org/CodeSystem/v3-ActReason", "2.16.840.1.113883.5.8"),
    ("http://terminology.hl7.org/CodeSystem/audit-entity-type", "RFC-3881"),
    ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "2.16.840.1.113883.5.90"),
];

impl Event {
    /// The AuditMessage in XML, without a declaration: who, what and whom are those of [`Event::into_r4`].
    #[must_use]
    pub fn into_dicom(&self, observer: &Observer) -> String {
        let event = self.into_r4(observer);
        let mut writer = Writer::new(Vec::new());
        // Writing to memory does not fail.
        let written = writer.create_element("AuditMessage").write_inner_content(|writer| {
            message(writer, &event)?;
            // Syslog has no id of its own: by this one a receiver knows what it has already.
            let system = format!("{}/audit-event", observer.base_uri);
            let identifier = json!({ "system": system, "value": format!("urn:uuid:{}", self.id) });
            object(writer, &json!({ "type": { "code": "2" }, "what": { "identifier": identifier } }))
        });
        drop(written);
        String::from_utf8(writer.into_inner()).unwrap_or_default()
    }
}

type Xml = Writer<Vec<u8>>;

fn message(writer: &mut Xml, event: &Value) -> io::Result<()> {
    identification(writer, event)?;
    for agent in list(event, "agent") {
        participant(writer, agent)?;
    }
    let source = event.get("source").unwrap_or(&Value::Null);
    let element = writer.create_element("AuditSourceIdentification");
    let element = attributes(
        element,
        [("AuditEnterpriseSiteID", text(source, "site")), ("AuditSourceID", who(source.get("observer")))],
    );
    element.write_inner_content(|writer| {
        list(source, "type").try_for_each(|kind| {
            let element = writer.create_element("AuditSourceTypeCode");
            attributes(element, [("csd-code", text(kind, "code"))]).write_empty().map(drop)
        })
    })?;
    list(event, "entity").try_for_each(|entity| object(writer, entity))
}

fn identification(writer: &mut Xml, event: &Value) -> io::Result<()> {
    let element = attributes(
        writer.create_element("EventIdentification"),
        [
            ("EventActionCode", text(event, "action")),
            ("EventDateTime", text(event, "recorded")),
            ("EventOutcomeIndicator", text(event, "outcome")),
        ],
    );
    element.write_inner_content(|writer| {
        coded(writer, "EventID", event.get("type").unwrap_or(&Value::Null))?;
        list(event, "subtype").try_for_each(|subtype| coded(writer, "EventTypeCode", subtype))?;
        if let Some(text) = event.get("outcomeDesc").and_then(Value::as_str) {
            let text = quick_xml::events::BytesText::new(&printable(text)).into_owned();
            writer.create_element("EventOutcomeDescription").write_text_content(text)?;
        }
        let purposes = list(event, "purposeOfEvent").flat_map(|purpose| list(purpose, "coding"));
        purposes.into_iter().try_for_each(|coding| coded(writer, "PurposeOfUse", coding))
    })?;
    Ok(())
}

fn participant(writer: &mut Xml, agent: &Value) -> io::Result<()> {
    let network = agent.get("network").unwrap_or(&Value::Null);
    let requestor = agent.get("requestor").and_then(Value::as_bool).unwrap_or_default();
    let element = attributes(
        writer.create_element("ActiveParticipant"),
        [
            ("UserID", who(agent.get("who"))),
            ("UserName", text(agent, "name")),
            ("UserIsRequestor", if requestor { "true" } else { "false" }),
            ("NetworkAccessPointID", text(network, "address")),
            ("NetworkAccessPointTypeCode", text(network, "type")),
        ],
    );
    element.write_inner_content(|writer| {
        let roles = agent.get("type").into_iter().flat_map(|role| list(role, "coding"));
        roles.into_iter().try_for_each(|coding| coded(writer, "RoleIDCode", coding))
    })?;
    Ok(())
}

fn object(writer: &mut Xml, entity: &Value) -> io::Result<()> {
    let code = |key: &str| entity.get(key).map(|coding| text(coding, "code")).unwrap_or_default();
    let kind = code("type");
    let is_person = kind == "1";
    let element = attributes(
        writer.create_element("ParticipantObjectIdentification"),
        [
            ("ParticipantObjectID", who(entity.get("what"))),
            ("ParticipantObjectTypeCode", if is_person { "1" } else { "2" }),
            ("ParticipantObjectTypeCodeRole", code("role")),
        ],
    );
    element.write_inner_content(|writer| {
        // RFC 3881 §5.5.4: 2 is a patient number, 12 a URI.
        let (id_type, meaning) = if is_person { ("2", "Patient Number") } else { ("12", "URI") };
        let element = writer.create_element("ParticipantObjectIDTypeCode");
        let type_code = [("csd-code", id_type), ("codeSystemName", "RFC-3881"), ("originalText", meaning)];
        attributes(element, type_code).write_empty()?;
        let system = entity.get("what").and_then(|what| what.get("identifier")).map(|id| text(id, "system"));
        let name = system.filter(|system| !system.is_empty()).unwrap_or(kind);
        let name = quick_xml::events::BytesText::new(&printable(name)).into_owned();
        writer.create_element("ParticipantObjectName").write_text_content(name)?;
        list(entity, "detail").try_for_each(|detail| {
            use base64::Engine as _;
            let value = base64::engine::general_purpose::STANDARD.encode(text(detail, "valueString"));
            let element = writer.create_element("ParticipantObjectDetail");
            attributes(element, [("type", text(detail, "type")), ("value", &value)]).write_empty().map(drop)
        })
    })?;
    Ok(())
}

/// A coded value as DICOM has it.
fn coded(writer: &mut Xml, name: &str, coding: &Value) -> io::Result<()> {
    let (system, code) = (text(coding, "system"), text(coding, "code"));
    let known = SYSTEMS.iter().find(|(uri, _)| *uri == system).map_or(system, |(_, name)| name);
    let meaning = coding.get("display").and_then(Value::as_str).unwrap_or(code);
    let element = writer.create_element(name);
    let values = [("csd-code", code), ("codeSystemName", known), ("originalText", meaning)];
    attributes(element, values).write_empty().map(drop)
}

/// Sets those that have a value.
fn attributes<'w, W, const N: usize>(
    element: quick_xml::writer::ElementWriter<'w, W>,
    values: [(&str, &str); N],
) -> quick_xml::writer::ElementWriter<'w, W> {
    values
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .fold(element, |element, (name, value)| element.with_attribute((name, printable(value).as_str())))
}

/// Without what XML 1.0 cannot hold (§2.2).
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') { ' ' } else { c }).collect()
}

/// Whom or what a reference means: its identifier's value, else what it refers to, else its name.
fn who(reference: Option<&Value>) -> &str {
    let Some(reference) = reference else { return "unknown" };
    let identifier = reference.get("identifier").map(|identifier| text(identifier, "value"));
    let found = [identifier.unwrap_or_default(), text(reference, "reference"), text(reference, "display")];
    found.into_iter().find(|text| !text.is_empty()).unwrap_or("unknown")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use quick_xml::events::Event as Part;
    use uuid::Uuid;

    use super::*;
    use crate::MessageId;
    use crate::audit::Kind;

    fn observer() -> Observer {
        Observer { base_uri: "https://ehr.example.org/t".into(), name: "t-1".into(), operator: String::new() }
    }

    fn disclosure() -> Event {
        Event {
            message: Some(MessageId(Uuid::from_u128(7))),
            party: Some("gp-north".into()),
            address: Some("https://gp.example.org/fhir".into()),
            subjects: vec!["0a".repeat(4)],
            purposes: vec!["TREAT".into()],
            text: "201 <Created> \u{1} & \"done\"".into(),
            ..Event::new(Uuid::from_u128(1), "2026-03-01T12:00:02.31Z".parse().unwrap(), Kind::Disclosure)
        }
    }

    #[test]
    fn a_disclosure_is_an_export_with_both_sides_and_the_patient() {
        expect![[r#"
            <AuditMessage>
            <EventIdentification EventActionCode="R" EventDateTime="2026-03-01T12:00:02.31Z" EventOutcomeIndicator="0">
            <EventID csd-code="110106" codeSystemName="DCM" originalText="Export"/>
            <EventTypeCode csd-code="disclose" codeSystemName="ISO 21089-2017 Health Record Lifecycle Events" originalText="disclose"/>
            <EventTypeCode csd-code="disclosure" codeSystemName="https://ehr.example.org/t/CodeSystem/audit" originalText="disclosure"/>
            <EventOutcomeDescription>201 &lt;Created&gt;   &amp; &quot;done&quot;</EventOutcomeDescription>
            <PurposeOfUse csd-code="TREAT" codeSystemName="2.16.840.1.113883.5.8" originalText="TREAT"/>
            </EventIdentification>
            <ActiveParticipant UserID="https://ehr.example.org/t/engine" UserIsRequestor="false" NetworkAccessPointID="https://ehr.example.org/t" NetworkAccessPointTypeCode="5">
            <RoleIDCode csd-code="110153" codeSystemName="DCM" originalText="Source Role ID"/>
            </ActiveParticipant>
            <ActiveParticipant UserID="gp-north" UserIsRequestor="false" NetworkAccessPointID="https://gp.example.org/fhir" NetworkAccessPointTypeCode="5">
            <RoleIDCode csd-code="110152" codeSystemName="DCM" originalText="Destination Role ID"/>
            </ActiveParticipant>
            <AuditSourceIdentification AuditEnterpriseSiteID="https://ehr.example.org/t" AuditSourceID="https://ehr.example.org/t/engine">
            <AuditSourceTypeCode csd-code="4"/>
            </AuditSourceIdentification>
            <ParticipantObjectIdentification ParticipantObjectID="0a0a0a0a" ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1">
            <ParticipantObjectIDTypeCode csd-code="2" codeSystemName="RFC-3881" originalText="Patient Number"/>
            <ParticipantObjectName>https://ehr.example.org/t/subject</ParticipantObjectName>
            </ParticipantObjectIdentification>
            <ParticipantObjectIdentification ParticipantObjectID="00000000-0000-0000-0000-000000000007" ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="20">
            <ParticipantObjectIDTypeCode csd-code="12" codeSystemName="RFC-3881" originalText="URI"/>
            <ParticipantObjectName>https://ehr.example.org/t/message</ParticipantObjectName>
            </ParticipantObjectIdentification>
            <ParticipantObjectIdentification ParticipantObjectID="00000000-0000-0000-0000-000000000007" ParticipantObjectTypeCode="2">
            <ParticipantObjectIDTypeCode csd-code="12" codeSystemName="RFC-3881" originalText="URI"/>
            <ParticipantObjectName>XrequestId</ParticipantObjectName>
            </ParticipantObjectIdentification>
            <ParticipantObjectIdentification ParticipantObjectID="urn:uuid:00000000-0000-0000-0000-000000000001" ParticipantObjectTypeCode="2">
            <ParticipantObjectIDTypeCode csd-code="12" codeSystemName="RFC-3881" originalText="URI"/>
            <ParticipantObjectName>https://ehr.example.org/t/audit-event</ParticipantObjectName>
            </ParticipantObjectIdentification>
            </AuditMessage>"#]].assert_eq(&disclosure().into_dicom(&observer()).replace("><", ">\n<"));
    }

    /// Of every kind, with and without all that it can say: well-formed, and in the order of the schema.
    #[test]
    fn every_kind_is_in_the_order_of_the_schema() {
        for kind in Kind::ALL {
            let bare = Event::new(Uuid::from_u128(1), jiff::Timestamp::UNIX_EPOCH, kind);
            let whole = Event { by: "uid 1".into(), consents: vec!["c1/2".into()], kind, ..disclosure() };
            for event in [bare, whole] {
                let text = event.into_dicom(&observer());
                let mut reader = quick_xml::Reader::from_str(&text);
                let (mut depth, mut names) = (0, Vec::new());
                loop {
                    match reader.read_event().unwrap() {
                        Part::Start(start) => {
                            depth += 1;
                            if depth == 2 {
                                names.push(start.name().as_ref().to_owned());
                            }
                        }
                        Part::End(_) => depth -= 1,
                        Part::Eof => break,
                        _ => {}
                    }
                }
                let order = [
                    "EventIdentification",
                    "ActiveParticipant",
                    "AuditSourceIdentification",
                    "ParticipantObjectIdentification",
                ];
                let places: Vec<usize> =
                    names.iter().map(|name| order.iter().position(|one| one == name).unwrap()).collect();
                assert!(places.is_sorted() && places.iter().filter(|place| **place == 2).count() == 1, "{text}");
                assert!(names.len() > 2, "{kind}: {text}");
            }
        }
    }
}
