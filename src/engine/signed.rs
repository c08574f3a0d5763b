//! Signatures: those of Bundles that arrive are verified before anything else is made of them, and Bundles that leave
//! are signed as they leave, after consent was decided and what it denies was taken out.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use channels::{Clock, DeliveryError, Outbound, Outgoing, Receipt};
use message::consent::OBSERVATION_VALUE;
use message::json::{Map, Value, json};
use message::provenance::Step;
use message::signature::{Signed, SigningKey, sign, verify};
use message::{Body, Finding, FindingKind, Format, Message, Original, Sha256, TransformError, fhir};
use ring::rand::SystemRandom;
use transforms::stamp::Documents;

use super::process::{Failure, Recipe};
use super::wire::ENGINE;
use crate::config::VerifySignatures;

/// The step's name, in reasons and in lineage.
const STEP: &str = "verify-signature";
/// Where a signature stands.
const LOCATION: &str = "Bundle.signature";

/// Whose signature a message carries; `None` where nobody asks, or where it is not good and only told of.
pub(super) fn check(
    recipe: &Recipe,
    original: &Original,
    body: &Body,
    findings: &mut Vec<Finding>,
) -> Result<Option<Signed>, Failure> {
    let policy = recipe.config.verify_signatures;
    if policy == VerifySignatures::Off {
        return Ok(None);
    }
    let verified = match body {
        Body::Fhir(resource) => verify(resource, &recipe.config.trusted_keys, original.received),
        Body::Hl7v2(_) => Err(message::signature::SignatureFault::Missing),
    };
    match verified {
        Ok(signed) => Ok(Some(signed)),
        Err(fault) if policy == VerifySignatures::Require => {
            let reason = format!("the channel takes signed Bundles only: {fault}");
            Err(Failure { step: STEP.to_owned(), error: TransformError { location: LOCATION.to_owned(), reason } })
        }
        Err(fault) => {
            let text = fault.to_string().into();
            findings.push(Finding { kind: FindingKind::Unexpected, location: LOCATION.into(), text });
            Ok(None)
        }
    }
}

/// Says on `message` that its signature was verified: a label on each of its records, and a step in its lineage. What
/// is kept whole stays as it was signed.
pub(super) fn label(recipe: &Recipe, message: &mut Message, now: jiff::Timestamp) {
    let whole = recipe.config.stamp.documents == Documents::Whole;
    if let Body::Fhir(bundle) = &mut message.body
        && !(whole && matches!(fhir::get_str(bundle, "type"), Some("document" | "message")))
    {
        let entries = bundle.get_mut("entry").and_then(Value::as_array_mut);
        let records = entries.into_iter().flatten().filter_map(|entry| entry.get_mut("resource")?.as_object_mut());
        records.for_each(add_label);
    }
    message.steps.push(Step {
        transform: STEP.to_owned(),
        version: recipe.config.trusted_keys.version(),
        config: recipe.config_hash.clone(),
        at: now,
    });
}

fn add_label(resource: &mut Map) {
    if !resource.get("meta").is_some_and(Value::is_object) {
        let at = resource.keys().take(2).take_while(|key| matches!(key.as_str(), "resourceType" | "id")).count();
        resource.shift_insert(at, "meta", Value::Object(Map::new()));
    }
    let Some(Value::Object(meta)) = resource.get_mut("meta") else { return };
    if !meta.contains_key("security") {
        meta.insert("security", json!([]));
    }
    let label = json!({ "system": OBSERVATION_VALUE, "code": "DIGSIG" });
    let security = meta.get_mut("security").and_then(Value::as_array_mut);
    if let Some(security) = security.filter(|security| !security.contains(&label)) {
        security.push(label);
    }
}

/// A destination whose Bundles are signed as they leave.
pub(super) struct Signing {
    pub(super) inner: Arc<dyn Outbound>,
    pub(super) key: Arc<SigningKey>,
    pub(super) clock: Clock,
}

impl Signing {
    fn signed(&self, outgoing: &Outgoing) -> Result<Bytes, String> {
        if outgoing.format != Format::FhirJson {
            return Err("HL7 v2 has no place for a signature, and this destination's `sign` asks for one".to_owned());
        }
        let mut bundle = fhir::read(&outgoing.bytes, &fhir::Limits::default()).map_err(|fault| fault.to_string())?;
        sign(&mut bundle, &self.key, ENGINE, (self.clock)(), &SystemRandom::new())
            .map_err(|fault| fault.to_string())?;
        Ok(Bytes::from(bundle.to_vec()))
    }
}

#[async_trait]
impl Outbound for Signing {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<Receipt, DeliveryError> {
        let bytes = self.signed(outgoing).map_err(|why| {
            let summary = format!("it cannot be signed, and did not leave: {why}");
            DeliveryError::Refused(Receipt { summary, ..Receipt::default() })
        })?;
        let (digest, unsigned) = (Sha256::of(&bytes), Some(crc32c::crc32c(&outgoing.bytes)));
        let mut receipt =
            self.inner.deliver(&Outgoing { bytes, transaction: None, unsigned, ..outgoing.clone() }).await?;
        receipt.summary = format!("{} (signed with key {}, sha-256 {digest})", receipt.summary, self.key.kid());
        Ok(receipt)
    }

    async fn probe(&self) -> Result<String, DeliveryError> {
        self.inner.probe().await
    }
}
