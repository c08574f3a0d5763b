//! What this channel says of itself at `GET /metadata`: no more than it does.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use super::config::InboundConfig;

/// The CapabilityStatement (FHIR R4 §5.1) of `channel` as it runs since `started`.
pub(super) fn statement(channel: &str, config: &InboundConfig, started: Timestamp) -> Bytes {
    let security = config.auth.as_ref().map_or_else(
        || json!({ "description": "No credentials are asked." }),
        |credentials| json!({ "description": format!("HTTP {} credentials are asked.", credentials.scheme()) }),
    );
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": started.to_string(),
        "kind": "instance",
        "software": { "name": "Tributary", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": format!("Tributary's inbound channel {channel}") },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{
            "mode": "server",
            "documentation": "Takes Bundles, stores them durably and passes them on. Answers 202 and the URL of the \
                message's status once a Bundle is on disk, or the destination's own answer if the channel waits for \
                delivery. Nothing can be read or searched here. A Bundle that comes again with the same \
                Bundle.identifier or X-Request-Id is taken once.",
            "security": security,
            "resource": [{
                "type": "Bundle",
                "interaction": [{ "code": "create", "documentation": "As a POST to the base." }],
            }],
            "interaction": [
                { "code": "transaction", "documentation": "Stored; passed on as a transaction or as the channel's routes say." },
                { "code": "batch", "documentation": "Stored; passed on as a batch or as the channel's routes say." },
            ],
            "operation": [{
                "name": "process-message",
                "definition": "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message",
                "documentation": "As a POST to the base: the message is stored, and answered as any other Bundle.",
            }],
        }],
    });
    Bytes::from(statement.to_string())
}
