//! Audit events as FHIR R4 AuditEvents, per IHE BALP where one of its profiles fits.

use serde_json::{Map, Value, json};

use super::{Event, Kind, Observer, Outcome};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const AUTHZ: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

impl Event {
    /// The AuditEvent in FHIR R4. A disclosure of a known patient's data claims BALP's `PrivacyDisclosure.Source`,
    /// an import of such its `PrivacyDisclosure.Recipient`; both ask for the network addresses of both sides. A decision
    /// by a Consent about a delivery claims `AuthZconsent`, which names nobody and nothing but the patient and the Consents:
    /// the message and the delivery are in `outcomeDesc` there.
    #[must_use]
    pub fn into_r4(&self, observer: &Observer) -> Value {
        let mut out = Map::new();
        out.insert("resourceType".into(), json!("AuditEvent"));
        out.insert("id".into(), json!(self.id.to_string()));
        out.insert("meta".into(), self.meta());
        out.insert("type".into(), self.class().0);
        out.insert("subtype".into(), self.subtypes(observer));
        out.insert("action".into(), json!(self.class().1));
        out.insert("recorded".into(), json!(self.at.to_string()));
        out.insert("outcome".into(), json!(self.outcome.code()));
        let description = self.description();
        if !description.is_empty() {
            out.insert("outcomeDesc".into(), json!(description));
        }
        let purposes: Vec<Value> = self.purposes.iter().map(|code| concept(ACT_REASON, code)).collect();
        if !purposes.is_empty() {
            out.insert("purposeOfEvent".into(), Value::Array(purposes));
        }
        out.insert("agent".into(), Value::Array(self.agents(observer)));
        out.insert("source".into(), self.source(observer));
        let entities = self.entities(observer);
        if !entities.is_empty() {
            out.insert("entity".into(), Value::Array(entities));
        }
        Value::Object(out)
    }

    /// True if it is about one patient who is known: BALP's profiles have one patient each.
    fn is_of_one(&self) -> bool {
        !self.subjects.is_empty() && !self.several
    }

    /// True if it has all that BALP's `AuthZconsent` asks for.
    fn is_by_consent(&self) -> bool {
        self.kind == Kind::Decision && !self.consents.is_empty() && self.is_of_one() && self.party.is_some()
    }

    fn description(&self) -> String {
        if !self.is_by_consent() {
            return self.text.clone();
        }
        let of = [
            self.message.map(|id| format!("message {id}")),
            self.delivery.map(|id| format!("delivery {id}")),
            self.destination.as_ref().map(|name| format!("to {name}")),
        ];
        format!("{} ({})", self.text, of.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }

    /// An audit tells more than one may think: it is restricted.
    fn meta(&self) -> Value {
        let mut meta = json!({ "security": [{ "system": CONFIDENTIALITY, "code": "R" }] });
        let profile = match self.kind {
            _ if !self.is_of_one() => None,
            Kind::Disclosure if self.outcome == Outcome::Success => Some("PrivacyDisclosure.Source"),
            // Whether further identifiers are the same patient's is not known at the door.
            Kind::Import if self.subjects.len() == 1 => Some("PrivacyDisclosure.Recipient"),
            _ if self.is_by_consent() => Some("AuthZconsent"),
            _ => None,
        };
        if let (Some(profile), Some(meta)) = (profile, meta.as_object_mut()) {
            meta.insert("profile".into(), json!([format!("{BALP}{profile}")]));
        }
        meta
    }

    /// AuditEvent.type and AuditEvent.action.
    fn class(&self) -> (Value, &'static str) {
        let (code, display, action) = match self.kind {
            Kind::Import => ("110107", "Import", "C"),
            Kind::Disclosure | Kind::Transfer => ("110106", "Export", "R"),
            Kind::Decision | Kind::BreakGlass | Kind::BreakGlassEnd | Kind::LateRevocation | Kind::Gap => {
                ("110113", "Security Alert", "E")
            }
            Kind::Hold | Kind::Release | Kind::Skip | Kind::Replay => ("110106", "Export", "E"),
            Kind::Consent | Kind::Configuration => ("110129", "Security Configuration", "U"),
            Kind::Identity => ("110110", "Patient Record", "U"),
            Kind::View => ("110110", "Patient Record", "R"),
            Kind::Query => ("110112", "Query", "E"),
            Kind::Store => ("110106", "Export", "R"),
            Kind::FailedLogin => ("110114", "User Authentication", "E"),
            Kind::AuditRead => ("110101", "Audit Log Used", "R"),
            Kind::Start | Kind::Stop | Kind::Checkpoint => ("110100", "Application Activity", "E"),
        };
        (json!({ "system": DCM, "code": code, "display": display }), action)
    }

    fn subtypes(&self, observer: &Observer) -> Value {
        let standard = match self.kind {
            Kind::Import => Some((LIFECYCLE, "receive")),
            Kind::Disclosure => Some((LIFECYCLE, "disclose")),
            Kind::Transfer => Some((LIFECYCLE, "transmit")),
            Kind::Decision => Some((AUTHZ, "AuthZ-Consent")),
            Kind::BreakGlass => Some((DCM, "110127")),
            Kind::BreakGlassEnd => Some((DCM, "110138")),
            Kind::Start => Some((DCM, "110120")),
            Kind::Stop => Some((DCM, "110121")),
            Kind::FailedLogin => Some((DCM, "110122")),
            _ => None,
        };
        let mut subtypes: Vec<Value> =
            standard.into_iter().map(|(system, code)| json!({ "system": system, "code": code })).collect();
        if self.is_by_consent() {
            // The profile has this one alone.
            return Value::Array(subtypes);
        }
        // BALP wants a disclosure to be named as one on the side that gets it, too.
        if self.kind == Kind::Import && !self.subjects.is_empty() {
            subtypes.push(json!({ "system": LIFECYCLE, "code": "disclose" }));
        }
        let system = format!("{}/CodeSystem/audit", observer.base_uri);
        subtypes.push(json!({ "system": system, "code": self.kind.name() }));
        Value::Array(subtypes)
    }

    /// Who took part: where data went from and where to, or who did it and with what.
    fn agents(&self, observer: &Observer) -> Vec<Value> {
        let ours = |code, display| agent(code, display, device(observer), false, Some(&network(&observer.base_uri)));
        let theirs = |code, display| {
            let who =
                self.party.as_ref().map_or_else(|| unknown("Organization"), |party| organization(observer, party));
            agent(code, display, who, false, Some(&network(self.address.as_deref().unwrap_or("unknown"))))
        };
        match self.kind {
            Kind::Decision if self.is_by_consent() => self.parties_to_a_decision(observer),
            Kind::Disclosure | Kind::Transfer => {
                let custodian = self.custodian.as_ref().map(|key| {
                    // BALP's own code for it is SNOMED's, and needs a licence.
                    let role = concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "CST");
                    json!({ "type": role, "who": organization(observer, key), "requestor": false })
                });
                let both = [ours("110153", "Source Role ID"), theirs("110152", "Destination Role ID")];
                both.into_iter().chain(custodian).collect()
            }
            Kind::Import => vec![theirs("110153", "Source Role ID"), ours("110152", "Destination Role ID")],
            // Who it was is not known, but for where from.
            Kind::FailedLogin => {
                let network = network(self.address.as_deref().unwrap_or("unknown"));
                let somebody = json!({ "who": { "display": "unknown" }, "requestor": true, "network": network });
                vec![agent("110150", "Application", device(observer), false, None), somebody]
            }
            _ if self.by.is_empty() => vec![agent("110150", "Application", device(observer), true, None)],
            _ => {
                let who = json!({ "display": self.by });
                vec![
                    agent("110150", "Application", device(observer), false, None),
                    json!({ "who": who, "name": self.by, "requestor": true }),
                ]
            }
        }
    }

    /// BALP `AuthZconsent`: the client, the user, the user's organisation and who authorizes, each once. Deliveries are
    /// unattended: the user is the organisation that is to receive.
    fn parties_to_a_decision(&self, observer: &Observer) -> Vec<Value> {
        let organization = || self.party.as_ref().map(|party| organization(observer, party));
        let coded = |system: &str, code: &str, who: Value, requestor: bool| json!({ "type": concept(system, code), "who": who, "requestor": requestor });
        let route = json!({ "system": format!("{}/destination", observer.base_uri), "value": self.destination });
        let to = network(self.address.as_deref().unwrap_or("unknown"));
        let client = agent("110150", "Application", json!({ "identifier": route }), false, Some(&to));
        let mut user =
            coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP", json!(organization()), true);
        let purposes: Vec<Value> = self.purposes.iter().map(|code| concept(ACT_REASON, code)).collect();
        if let (Some(user), false) = (user.as_object_mut(), purposes.is_empty()) {
            user.insert("purposeOfUse".into(), Value::Array(purposes));
        }
        let roles = "http://terminology.hl7.org/CodeSystem/extra-security-role-type";
        vec![
            client,
            user,
            coded("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV", json!(organization()), false),
            coded(roles, "authserver", device(observer), false),
        ]
    }

    fn source(&self, observer: &Observer) -> Value {
        let (code, display) = if self.is_by_consent() { ("6", "Security Server") } else { ("4", "Application Server") };
        let kind = coded("http://terminology.hl7.org/CodeSystem/security-source-type", code, display);
        json!({ "site": observer.base_uri, "observer": device(observer), "type": [kind] })
    }

    /// Consents, each with its version.
    fn consent_entities(&self) -> impl Iterator<Item = Value> {
        self.consents.iter().map(|consent| {
            let (id, version) = consent.split_once('/').unwrap_or((consent, ""));
            let what = match version {
                // No id that a reference can name (FHIR R4 id).
                _ if !is_id(id) => json!({ "type": "Consent", "identifier": { "value": consent } }),
                "" => json!({ "reference": format!("Consent/{id}") }),
                _ => json!({ "reference": format!("Consent/{id}/_history/{version}") }),
            };
            json!({ "type": { "system": "http://hl7.org/fhir/resource-types", "code": "Consent" }, "what": what })
        })
    }

    /// The patient, once, with further identifiers of theirs beside the first; each of several.
    fn patients(&self, base: &str) -> Vec<Value> {
        let person = |subject: &String, others: &[String]| {
            let system = format!("{base}/subject");
            let mut entity = json!({
                "what": { "type": "Patient", "identifier": { "system": system, "value": subject } },
                "type": coded("http://terminology.hl7.org/CodeSystem/audit-entity-type", "1", "Person"),
                "role": coded("http://terminology.hl7.org/CodeSystem/object-role", "1", "Patient"),
            });
            let others = others.iter().map(|other| json!({ "type": system, "valueString": other }));
            let others: Vec<Value> = others.collect();
            if let (Some(entity), false) = (entity.as_object_mut(), others.is_empty()) {
                entity.insert("detail".into(), Value::Array(others));
            }
            entity
        };
        match self.subjects.split_first() {
            Some((first, others)) if !self.several && self.kind != Kind::Import => vec![person(first, others)],
            _ => self.subjects.iter().map(|subject| person(subject, &[])).collect(),
        }
    }

    fn entities(&self, observer: &Observer) -> Vec<Value> {
        let entity = |kind: &str, display: &str, role: &str, role_display: &str, what: Value| {
            json!({
                "type": coded("http://terminology.hl7.org/CodeSystem/audit-entity-type", kind, display),
                "role": coded("http://terminology.hl7.org/CodeSystem/object-role", role, role_display),
                "what": what,
            })
        };
        let identified = |system: String, value: String| json!({ "identifier": { "system": system, "value": value } });
        let base = &observer.base_uri;
        let mut entities = self.patients(base);
        entities.extend(self.consent_entities());
        if self.is_by_consent() {
            return entities;
        }
        if let Some(sha256) = self.sha256 {
            let what = identified("urn:ietf:rfc:3986".into(), sha256.to_ni_uri());
            let mut entity = match self.kind {
                Kind::Configuration | Kind::Start => entity("2", "System Object", "13", "Security Resource", what),
                _ => entity("2", "System Object", "4", "Domain Resource", what),
            };
            if let (Some(entity), false) = (entity.as_object_mut(), self.what.is_empty()) {
                entity.insert("description".into(), json!(self.what));
            }
            entities.push(entity);
        }
        let numbered = [
            self.message.map(|id| ("message", id.to_string())),
            self.delivery.map(|id| ("delivery", id.to_string())),
            self.channel.clone().map(|name| ("channel", name)),
            self.destination.clone().map(|name| ("destination", name)),
        ];
        entities.extend(numbered.into_iter().flatten().map(|(what, value)| {
            entity("2", "System Object", "20", "Job", identified(format!("{base}/{what}"), value))
        }));
        if let (Kind::Disclosure | Kind::Transfer, Some(message)) = (self.kind, self.message) {
            // What the decision about it is joined by.
            entities.push(json!({
                "type": { "system": BALP_ENTITY, "code": "XrequestId" },
                "what": { "identifier": { "value": message.to_string() } },
            }));
        }
        entities
    }
}

/// The engine.
fn device(observer: &Observer) -> Value {
    let identifier = json!({ "system": "urn:ietf:rfc:3986", "value": format!("{}/engine", observer.base_uri) });
    json!({ "type": "Device", "identifier": identifier, "display": observer.name })
}

fn organization(observer: &Observer, key: &str) -> Value {
    let identifier = json!({ "system": format!("{}/provider", observer.base_uri), "value": key });
    json!({ "type": "Organization", "identifier": identifier })
}

fn unknown(kind: &str) -> Value {
    json!({ "type": kind, "display": "unknown" })
}

fn agent(code: &str, display: &str, who: Value, requestor: bool, network: Option<&Value>) -> Value {
    let mut agent = json!({ "type": { "coding": [coded(DCM, code, display)] }, "who": who, "requestor": requestor });
    if let (Some(network), Some(agent)) = (network, agent.as_object_mut()) {
        agent.insert("network".into(), network.clone());
    }
    agent
}

/// AuditEvent.agent.network: a URI (5), an IP address (2) or the name of a machine (1).
fn network(address: &str) -> Value {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let is_ip = |text: &str| text.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let (address, kind) = match address {
        _ if address.contains("://") || address.starts_with("urn:") => (address, "5"),
        _ if is_ip(address) => (address, "2"),
        _ if is_ip(host) => (host, "2"),
        _ => (host, "1"),
    };
    json!({ "address": address, "type": kind })
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn coded(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code }] })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use uuid::Uuid;

    use super::*;
    use crate::fhir::{self, validate};
    use crate::{MessageId, Sha256};

    fn observer() -> Observer {
        Observer {
            base_uri: "https://ehr.example.org/tributary".into(),
            name: "tributary-1".into(),
            operator: "Example Region".into(),
        }
    }

    fn event(kind: Kind) -> Event {
        Event {
            message: Some(MessageId(Uuid::from_u128(7))),
            delivery: Some(42),
            destination: Some("gp".into()),
            party: Some("gp-north".into()),
            address: Some("https://gp.example.org/fhir".into()),
            subjects: vec!["0a".repeat(16)],
            purposes: vec!["TREAT".into()],
            sha256: Some(Sha256::of(b"x")),
            ..Event::new(Uuid::from_u128(1), "2026-03-01T12:00:02.31Z".parse().unwrap(), kind)
        }
    }

    #[test]
    fn every_kind_is_valid_r4_with_all_it_can_say_and_with_nothing() {
        for kind in Kind::ALL {
            let bare = Event::new(Uuid::from_u128(1), jiff::Timestamp::UNIX_EPOCH, kind);
            let by = Event { by: "Ada Officer".into(), text: "why".into(), ..event(kind) };
            let consents = vec!["c1/3".to_owned(), "c2/1".to_owned()];
            for event in [bare, event(kind), by, Event { consents, ..event(kind) }] {
                let text = event.into_r4(&observer()).to_string();
                let read = fhir::read(text.as_bytes(), &fhir::Limits::default()).unwrap();
                assert_eq!(validate::validate(&read, &validate::Options::default()), [], "{kind}: {text}");
                assert_eq!(kind.name().parse(), Ok(kind));
                let json = serde_json::to_string(&event).unwrap();
                assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
                let members: std::collections::BTreeMap<String, Value> = serde_json::from_str(&json).unwrap();
                assert_eq!(serde_json::to_string(&members).unwrap(), json, "the JSON is canonical as it is");
            }
        }
    }

    /// BALP: source.observer is the agent in the role of the source, and both sides have a network address.
    #[test]
    fn a_disclosure_is_as_balp_has_it() {
        let told = event(Kind::Disclosure).into_r4(&observer());
        let agents = told["agent"].as_array().unwrap();
        assert_eq!(agents[0]["who"], told["source"]["observer"]);
        expect![[r#"[[{"address":"https://ehr.example.org/tributary","type":"5"},{"address":"https://gp.example.org/fhir","type":"5"}],{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}],"profile":["https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"]}]"#]]
        .assert_eq(&json!([[agents[0]["network"], agents[1]["network"]], told["meta"]]).to_string());
    }

    /// BALP `PrivacyDisclosure`: one patient, of the type that it is, whatever they are called; purposes need not be known.
    #[test]
    fn an_event_about_one_patient_has_one_patient() {
        let persons = |event: &Event| {
            let told = event.into_r4(&observer());
            let entities = told["entity"].as_array().unwrap().clone();
            let persons: Vec<Value> = entities.into_iter().filter(|entity| entity["type"]["code"] == "1").collect();
            assert!(persons.iter().all(|person| person["what"]["type"] == "Patient"), "{persons:?}");
            (
                persons.len(),
                told["meta"]["profile"][0].as_str().map(|uri| uri.rsplit("BasicAudit.").next().unwrap().to_owned()),
            )
        };
        let two = vec!["0a".repeat(16), "0b".repeat(16)];
        let disclosure = Event { subjects: two.clone(), purposes: Vec::new(), ..event(Kind::Disclosure) };
        assert_eq!(persons(&disclosure), (1, Some("PrivacyDisclosure.Source".to_owned())));
        assert_eq!(persons(&Event { several: true, ..disclosure.clone() }), (2, None));
        assert_eq!(persons(&Event { outcome: Outcome::Refused, ..disclosure }), (1, None));
        let import = Event { purposes: Vec::new(), ..event(Kind::Import) };
        assert_eq!(persons(&import), (1, Some("PrivacyDisclosure.Recipient".to_owned())));
        assert_eq!(persons(&Event { subjects: two, ..import }), (2, None));
    }

    /// Whose data it was is told apart from who runs the engine and who got it.
    #[test]
    fn a_disclosure_names_the_custodian_and_what_it_was() {
        let event = Event { custodian: Some("st-mary".into()), what: "ORU^R01".into(), ..event(Kind::Disclosure) };
        let told = event.into_r4(&observer());
        let custodian = &told["agent"][2];
        assert_eq!(
            (&custodian["type"]["coding"][0]["code"], &custodian["who"]["identifier"]["value"]),
            (&"CST".into(), &"st-mary".into())
        );
        let data = told["entity"].as_array().unwrap().iter().find(|entity| entity["role"]["code"] == "4").unwrap();
        assert_eq!(data["description"], "ORU^R01");
    }

    #[test]
    fn a_failed_login_is_somebody_at_an_address() {
        let told = Event { outcome: Outcome::Refused, ..event(Kind::FailedLogin) }.into_r4(&observer());
        expect![[r#"["110114","110122","4",{"who":{"display":"unknown"},"requestor":true,"network":{"address":"https://gp.example.org/fhir","type":"5"}}]"#]]
        .assert_eq(&json!([told["type"]["code"], told["subtype"][0]["code"], told["outcome"], told["agent"][1]]).to_string());
    }

    /// BALP `AuthZconsent`: four agents, and no entity but the patient and the Consents.
    #[test]
    fn a_decision_by_consent_is_as_balp_has_it() {
        let subjects = vec!["0a".repeat(16), "0b".repeat(16)];
        let event = Event { consents: vec!["c1/3".into()], subjects, text: "deny".into(), ..event(Kind::Decision) };
        let told = Event { outcome: Outcome::Denied, ..event.clone() }.into_r4(&observer());
        let roles: Vec<&Value> =
            told["agent"].as_array().unwrap().iter().map(|agent| &agent["type"]["coding"][0]["code"]).collect();
        expect![[r#"[["110150","IRCP","PROV","authserver"],["1","Consent"],"Consent/c1/_history/3","deny (message 00000000-0000-0000-0000-000000000007, delivery 42, to gp)",["https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.AuthZconsent"],"8"]"#]]
        .assert_eq(
            &json!([
                roles,
                told["entity"].as_array().unwrap().iter().map(|one| &one["type"]["code"]).collect::<Vec<_>>(),
                told["entity"][1]["what"]["reference"],
                told["outcomeDesc"],
                told["meta"]["profile"],
                told["outcome"],
            ])
            .to_string(),
        );
        assert_eq!(told["entity"][0]["detail"][0]["valueString"], "0b".repeat(16));
        assert_eq!(told["subtype"], json!([{ "system": AUTHZ, "code": "AuthZ-Consent" }]));
        // Without a Consent it is no such event, and does not say so.
        let without = Event { consents: Vec::new(), ..event }.into_r4(&observer());
        assert_eq!(without["meta"]["profile"], Value::Null);
    }

    #[test]
    fn addresses_are_of_the_kind_that_they_are() {
        let kinds = ["https://a.example.org/fhir", "192.0.2.7:2575", "[2001:db8::1]:2575", "lis.example.org:2575", "x"];
        let kinds = kinds.map(|address| network(address)["type"].as_str().unwrap_or_default().to_owned());
        assert_eq!(kinds, ["5", "2", "2", "1", "1"]);
    }
}
