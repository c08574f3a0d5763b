//! What a recipient may be told of what was taken out: a Provenance beside the rest. Pure.

use message::Sha256;
use message::consent::ACT_REASON;
use message::fhir::{self, deterministic_id};
use message::json::{Text, Value, json};
use message::provenance::{Activity, Agent, Provenance, Reference, Role};
use uuid::Uuid;

use super::judge::Case;
use crate::engine::ENGINE;

/// Adds to `rest`, which is left of a transaction or batch, that it was redacted, by which policy and for which
/// purpose. What was there before is named by an opaque id, which follows from what is left: it tells nothing.
pub(super) fn tell(case: &Case<'_>, rest: &mut Value) {
    if !matches!(fhir::get_str(rest, "type"), Some("transaction" | "batch")) {
        return;
    }
    let left = Sha256::of(&rest.to_vec());
    let of = Uuid::new_v5(&Uuid::NAMESPACE_OID, &left.0);
    let name = |part: &str| deterministic_id(of, &[&case.destination.name, &case.policy.hash, part]);
    let urn = |part: &str| Text::from(format!("urn:uuid:{}", name(part)));
    let id = name("redaction");
    let reasons = case.purposes.iter().map(|code| (Text::new_static(ACT_REASON), Text::new(code)));
    let policy = format!("urn:tributary:consent-policy:{}:sha-256:{}", case.policy.policy.id, case.policy.hash);
    let provenance = Provenance {
        id,
        targets: vec![Reference::uri("Bundle", urn("bundle"), None)],
        occurred: None,
        recorded: jiff::Timestamp::from_microsecond(case.now).unwrap_or_default(),
        policy: vec![policy.into()],
        activity: Some(Activity::Act("REDACT")),
        reasons: reasons.collect(),
        location: None,
        agents: vec![engine()],
        sources: Vec::new(),
        revisions: Vec::new(),
        derived_from: Some(urn("before")),
    };
    let mut resource = provenance.into_r4();
    // Who put the rest together is who took the other things out, for the same organisation.
    let assembled = entries(rest).find_map(|entry| assembler(entry.get("resource")?));
    if let Some(agent) = assembled.cloned() {
        let custodian = agent.get("onBehalfOf").cloned();
        let custodian = custodian.map(|who| json!({ "type": Role::Custodian.into_r4(), "who": who }));
        resource.insert("agent", [agent].into_iter().chain(custodian).collect::<Vec<Value>>());
    }
    let label = json!({ "system": message::consent::CONFIDENTIALITY, "code": "N" });
    resource.shift_insert(2, "meta", json!({ "security": [label] }));
    let entry = json!({
        "fullUrl": format!("urn:uuid:{id}"),
        "resource": Value::Object(resource),
        "request": { "method": "PUT", "url": format!("Provenance/{id}") },
    });
    if let Some(Value::Array(entries)) = rest.get_mut("entry") {
        entries.push(entry);
    }
}

fn entries(bundle: &Value) -> impl Iterator<Item = &Value> {
    bundle.get("entry").and_then(Value::as_array).into_iter().flatten()
}

fn engine() -> Agent {
    let who = Reference::Named { kind: Some("Device"), display: Text::new_static(ENGINE) };
    Agent { role: Role::Assembler, who, on_behalf_of: None }
}

/// The engine as the assembler of a Provenance.
fn assembler(resource: &Value) -> Option<&Value> {
    let agents = resource.get("agent").and_then(Value::as_array)?;
    agents.iter().find(|agent| {
        let role = agent.get("type").and_then(|role| role.get("coding")?.as_array()?.first()?.get("code")?.as_str());
        let who = agent.get("who").and_then(|who| who.get("display")?.as_str());
        role == Some(Role::Assembler.code()) && who == Some(ENGINE)
    })
}
