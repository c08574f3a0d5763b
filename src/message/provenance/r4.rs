//! Provenance as FHIR R4 has it.

use serde_json::{Map, Value};

use super::{Activity, Agent, Provenance, Reference, Role};

const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const US_CORE_PARTICIPANT: &str = "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type";
const V2_TO_FHIR: &str = "http://hl7.org/fhir/uv/v2mappings/CodeSystem/provenance-activity-type-v2-to-fhir";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const DATA_OPERATION: &str = "http://terminology.hl7.org/CodeSystem/v3-DataOperation";
const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

impl Provenance {
    /// The resource in FHIR R4, `id` included.
    #[must_use]
    pub fn into_r4(self) -> Map<String, Value> {
        let mut out = Map::with_capacity(10);
        put(&mut out, "resourceType", "Provenance");
        put(&mut out, "id", self.id.to_string());
        put(&mut out, "target", list(self.targets, Reference::into_r4));
        if let Some(occurred) = self.occurred {
            put(&mut out, "occurredDateTime", occurred);
        }
        put(&mut out, "recorded", self.recorded.to_string());
        if !self.policy.is_empty() {
            put(&mut out, "policy", self.policy);
        }
        if let Some((system, code)) = self.reason {
            put(&mut out, "reason", vec![concept([coding(&system, &code)])]);
        }
        if let Some(activity) = self.activity {
            put(&mut out, "activity", activity.into_r4());
        }
        put(&mut out, "agent", list(self.agents, Agent::into_r4));
        if !self.sources.is_empty() {
            put(&mut out, "entity", list(self.sources, source_entity));
        }
        out
    }
}

impl Activity {
    fn into_r4(self) -> Value {
        match self {
            Self::V2ToFhir => concept([coding(V2_TO_FHIR, "v2-fhir-transformation"), coding(LIFECYCLE, "transform")]),
            Self::Lifecycle(code) => concept([coding(LIFECYCLE, code)]),
            Self::Operation(code) => concept([coding(DATA_OPERATION, code)]),
        }
    }
}

impl Agent {
    fn into_r4(self) -> Value {
        let mut out = Map::with_capacity(3);
        put(&mut out, "type", self.role.into_r4());
        put(&mut out, "who", self.who.into_r4());
        if let Some(organisation) = self.on_behalf_of {
            put(&mut out, "onBehalfOf", organisation.into_r4());
        }
        Value::Object(out)
    }
}

impl Role {
    /// R4's own participant types know no transmitter; US Core does, and HL7 Terminology since 2.0.
    fn into_r4(self) -> Value {
        let ours = coding(PARTICIPANT, self.code());
        match self {
            Self::Transmitter => concept([ours, coding(US_CORE_PARTICIPANT, self.code())]),
            _ => concept([ours]),
        }
    }
}

impl Reference {
    /// As a FHIR R4 Reference.
    #[must_use]
    pub fn into_r4(self) -> Value {
        let mut out = Map::with_capacity(3);
        match self {
            Self::Literal { reference, display } => {
                put(&mut out, "reference", reference);
                put_some(&mut out, "display", display);
            }
            Self::Logical { kind, system, value, display } => {
                let mut identifier = Map::with_capacity(2);
                put_some(&mut identifier, "system", system);
                put(&mut identifier, "value", value);
                put_some(&mut out, "type", kind.map(str::to_owned));
                put(&mut out, "identifier", identifier);
                put_some(&mut out, "display", display);
            }
            Self::Named { kind, display } => {
                put_some(&mut out, "type", kind.map(str::to_owned));
                put(&mut out, "display", display);
            }
            Self::Unknown => {
                let mut unknown = Map::with_capacity(2);
                put(&mut unknown, "url", ABSENT);
                put(&mut unknown, "valueCode", "unknown");
                put(&mut out, "extension", vec![Value::Object(unknown)]);
            }
        }
        Value::Object(out)
    }
}

/// What something was made from, known by `uri`: one `Provenance.entity` of FHIR R4 in the role `source`.
#[must_use]
pub fn source_entity(uri: String) -> Value {
    let mut out = Map::with_capacity(2);
    put(&mut out, "role", "source");
    let kind = uri.starts_with("ni:").then_some("DocumentReference");
    put(&mut out, "what", Reference::uri(kind, uri, None).into_r4());
    Value::Object(out)
}

fn coding(system: &str, code: &str) -> Value {
    let mut out = Map::with_capacity(2);
    put(&mut out, "system", system);
    put(&mut out, "code", code);
    Value::Object(out)
}

fn concept<const N: usize>(codings: [Value; N]) -> Value {
    let mut out = Map::with_capacity(1);
    put(&mut out, "coding", Vec::from(codings));
    Value::Object(out)
}

fn list<T>(items: Vec<T>, render: impl Fn(T) -> Value) -> Value {
    Value::Array(items.into_iter().map(render).collect())
}

fn put(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    map.insert(key.to_owned(), value.into());
}

fn put_some(map: &mut Map<String, Value>, key: &str, value: Option<String>) {
    if let Some(value) = value {
        put(map, key, value);
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
            occurred: Some("2026-03-01".to_owned()),
            recorded: "2026-03-01T12:00:01.2Z".parse().unwrap(),
            policy: vec!["https://example.org/transform/map:sha-256:aa".to_owned()],
            activity: Some(Activity::V2ToFhir),
            reason: Some(("urn:ex".to_owned(), "01".to_owned())),
            agents: vec![
                Agent {
                    role: Role::Transmitter,
                    who: Reference::uri("Device", "urn:oid:1.2", Some("LIS".to_owned())),
                    on_behalf_of: Some(Reference::Unknown),
                },
                Agent {
                    role: Role::Enterer,
                    who: Reference::Named { kind: Some("Practitioner"), display: "Entry, Tom".to_owned() },
                    on_behalf_of: None,
                },
            ],
            sources: vec!["ni:///sha-256;abc".to_owned(), "urn:ex:other".to_owned()],
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
                }
              ]
            }"#]]
        .assert_eq(&text);
    }
}
