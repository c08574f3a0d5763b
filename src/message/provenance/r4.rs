//! Provenance as FHIR R4 has it.

use super::{Activity, Agent, Provenance, Reference, Role};
use crate::json::{Map, Text, Value};

const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const US_CORE_PARTICIPANT: &str = "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type";
const V2_TO_FHIR: &str = "http://hl7.org/fhir/uv/v2mappings/CodeSystem/provenance-activity-type-v2-to-fhir";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const DATA_OPERATION: &str = "http://terminology.hl7.org/CodeSystem/v3-DataOperation";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

impl Provenance {
    /// The resource in FHIR R4, `id` included.
    #[must_use]
    pub fn into_r4(self) -> Map {
        let mut out = Map::with_capacity(10);
        out.put("resourceType", Value::fixed("Provenance"));
        out.put("id", self.id.to_string());
        out.put("target", list(self.targets, Reference::into_r4));
        if let Some(occurred) = self.occurred {
            out.put("occurredDateTime", occurred);
        }
        out.put("recorded", self.recorded.to_string());
        if !self.policy.is_empty() {
            out.put("policy", self.policy);
        }
        if let Some(location) = self.location {
            out.put("location", location.into_r4());
        }
        if !self.reasons.is_empty() {
            out.put("reason", list(self.reasons, |(system, code)| concept([coding(system, code)])));
        }
        if let Some(activity) = self.activity {
            out.put("activity", activity.into_r4());
        }
        out.put("agent", list(self.agents, Agent::into_r4));
        let sources = self.sources.into_iter().map(source_entity);
        let revisions = self.revisions.into_iter().map(|record| entity("revision", record.into_r4()));
        let derived = self.derived_from.map(|uri| entity("derivation", Reference::uri(None, uri, None).into_r4()));
        let entities: Vec<Value> = sources.chain(revisions).chain(derived).collect();
        if !entities.is_empty() {
            out.put("entity", entities);
        }
        out
    }
}

impl Activity {
    /// As FHIR R4 Provenance.activity.
    #[must_use]
    pub fn into_r4(self) -> Value {
        match self {
            Self::V2ToFhir => concept([fixed(V2_TO_FHIR, "v2-fhir-transformation"), fixed(LIFECYCLE, "transform")]),
            Self::Lifecycle(code) => concept([fixed(LIFECYCLE, code)]),
            Self::Operation(code) => concept([fixed(DATA_OPERATION, code)]),
            Self::Act(code) => concept([fixed(ACT_CODE, code)]),
        }
    }
}

impl Agent {
    fn into_r4(self) -> Value {
        let mut out = Map::with_capacity(3);
        let acts = self.who.acts_for_somebody();
        out.put("type", self.role.into_r4());
        out.put("who", self.who.into_r4());
        if let Some(organisation) = self.on_behalf_of {
            out.put("onBehalfOf", organisation.into_r4());
        } else if acts {
            // US Core provenance-1: who acts for somebody says for whom, or that nobody knows.
            out.put("onBehalfOf", Reference::Unknown.into_r4());
        }
        Value::Object(out)
    }
}

impl Role {
    /// As FHIR R4 Provenance.agent.type. R4's own participant types know no transmitter; US Core does, and HL7
    /// Terminology since 2.0.
    #[must_use]
    pub fn into_r4(self) -> Value {
        let ours = fixed(PARTICIPANT, self.code());
        match self {
            Self::Transmitter => concept([ours, fixed(US_CORE_PARTICIPANT, self.code())]),
            _ => concept([ours]),
        }
    }
}

impl Reference {
    /// As a FHIR R4 Reference.
    #[must_use]
    pub fn into_r4(self) -> Value {
        let mut out = Map::with_capacity(if matches!(self, Self::Literal { display: None, .. }) { 1 } else { 3 });
        match self {
            Self::Literal { reference, display } => {
                out.put("reference", reference);
                put_some(&mut out, "display", display);
            }
            Self::Logical { kind, system, value, display } => {
                let mut identifier = Map::with_capacity(2);
                put_some(&mut identifier, "system", system);
                identifier.put("value", value);
                put_some(&mut out, "type", kind.map(Text::new_static));
                out.put("identifier", identifier);
                put_some(&mut out, "display", display);
            }
            Self::Named { kind, display } => {
                put_some(&mut out, "type", kind.map(Text::new_static));
                out.put("display", display);
            }
            Self::Unknown => {
                let mut unknown = Map::with_capacity(2);
                unknown.put("url", Value::fixed(ABSENT));
                unknown.put("valueCode", Value::fixed("unknown"));
                out.put("extension", vec![Value::Object(unknown)]);
            }
        }
        Value::Object(out)
    }
}

/// What something was made from, known by `uri`: one `Provenance.entity` of FHIR R4 in the role `source`.
#[must_use]
pub fn source_entity(uri: Text) -> Value {
    let kind = uri.starts_with("ni:").then_some("DocumentReference");
    entity("source", Reference::uri(kind, uri, None).into_r4())
}

fn entity(role: &'static str, what: Value) -> Value {
    let mut out = Map::with_capacity(2);
    out.put("role", Value::fixed(role));
    out.put("what", what);
    Value::Object(out)
}

fn coding(system: impl Into<Text>, code: impl Into<Text>) -> Value {
    let mut out = Map::with_capacity(2);
    out.put("system", system.into());
    out.put("code", code.into());
    Value::Object(out)
}

fn fixed(system: &'static str, code: &'static str) -> Value {
    coding(Text::new_static(system), Text::new_static(code))
}

fn concept<const N: usize>(codings: [Value; N]) -> Value {
    let mut out = Map::with_capacity(1);
    out.put("coding", Value::from(codings));
    Value::Object(out)
}

fn list<T>(items: Vec<T>, render: impl Fn(T) -> Value) -> Value {
    Value::Array(items.into_iter().map(render).collect())
}

fn put_some(map: &mut Map, name: &'static str, value: Option<Text>) {
    if let Some(value) = value {
        map.put(name, value);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn renders_every_part() {
        let provenance = Provenance {
            id: Uuid::nil(),
            targets: vec![Reference::to("Observation/1")],
            occurred: Some("2026-03-01".into()),
            recorded: "2026-03-01T12:00:01.2Z".parse().unwrap(),
            policy: vec!["https://example.org/transform/map:sha-256:aa".into()],
            activity: Some(Activity::V2ToFhir),
            reasons: vec![("urn:ex".into(), "01".into())],
            location: Some(Reference::to("Location/1")),
            agents: vec![
                Agent {
                    role: Role::Transmitter,
                    who: Reference::uri("Device", "urn:oid:1.2", Some("LIS".into())),
                    on_behalf_of: Some(Reference::Unknown),
                },
                Agent {
                    role: Role::Enterer,
                    who: Reference::Named { kind: Some("Practitioner"), display: "Entry, Tom".into() },
                    on_behalf_of: None,
                },
            ],
            sources: vec!["ni:///sha-256;abc".into(), "urn:ex:other".into()],
            revisions: vec![Reference::to("Patient/1/_history/2")],
            derived_from: Some("urn:uuid:00000000-0000-4000-8000-000000000001".into()),
        };
        let text = serde_json::to_string_pretty(&provenance.into_r4()).unwrap();
        expect![[r#"
            {
              "resourceType": "Provenance",
              "id": "00000000-0000-0000-0000-000000000000",
              "target": [
                {
                  "reference": "Observation/1"
                }
              ],
              "occurredDateTime": "2026-03-01",
              "recorded": "2026-03-01T12:00:01.2Z",
              "policy": [
                "https://example.org/transform/map:sha-256:aa"
              ],
              "location": {
                "reference": "Location/1"
              },
              "reason": [
                {
                  "coding": [
                    {
                      "system": "urn:ex",
                      "code": "01"
                    }
                  ]
                }
              ],
              "activity": {
                "coding": [
                  {
                    "system": "http://hl7.org/fhir/uv/v2mappings/CodeSystem/provenance-activity-type-v2-to-fhir",
                    "code": "v2-fhir-transformation"
                  },
                  {
                    "system": "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle",
                    "code": "transform"
                  }
                ]
              },
              "agent": [
                {
                  "type": {
                    "coding": [
                      {
                        "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                        "code": "transmitter"
                      },
                      {
                        "system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type",
                        "code": "transmitter"
                      }
                    ]
                  },
                  "who": {
                    "type": "Device",
                    "identifier": {
                      "system": "urn:ietf:rfc:3986",
                      "value": "urn:oid:1.2"
                    },
                    "display": "LIS"
                  },
                  "onBehalfOf": {
                    "extension": [
                      {
                        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                        "valueCode": "unknown"
                      }
                    ]
                  }
                },
                {
                  "type": {
                    "coding": [
                      {
                        "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                        "code": "enterer"
                      }
                    ]
                  },
                  "who": {
                    "type": "Practitioner",
                    "display": "Entry, Tom"
                  },
                  "onBehalfOf": {
                    "extension": [
                      {
                        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                        "valueCode": "unknown"
                      }
                    ]
                  }
                }
              ],
              "entity": [
                {
                  "role": "source",
                  "what": {
                    "type": "DocumentReference",
                    "identifier": {
                      "system": "urn:ietf:rfc:3986",
                      "value": "ni:///sha-256;abc"
                    }
                  }
                },
                {
                  "role": "source",
                  "what": {
                    "identifier": {
                      "system": "urn:ietf:rfc:3986",
                      "value": "urn:ex:other"
                    }
                  }
                },
                {
                  "role": "revision",
                  "what": {
                    "reference": "Patient/1/_history/2"
                  }
                },
                {
                  "role": "derivation",
                  "what": {
                    "identifier": {
                      "system": "urn:ietf:rfc:3986",
                      "value": "urn:uuid:00000000-0000-4000-8000-000000000001"
                    }
                  }
                }
              ]
            }"#]]
        .assert_eq(&text);
    }
}
