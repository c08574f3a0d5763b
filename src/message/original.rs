//! A message on its way through the engine: its original bytes and what they have become.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::consent::Flags;
use crate::hl7v2;
use crate::json::Value;
use crate::provenance::Step;
use crate::transform::Finding;
use crate::{MessageId, Sha256};

/// What kind of thing a message's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// HL7 v2 in ER7 (vertical bar) encoding.
    Hl7v2,
    /// A FHIR R4 resource in JSON, most often a Bundle.
    FhirJson,
}

/// What was received, exactly: never changed after it is on disk.
#[derive(Clone)]
pub struct Original {
    /// The message's id.
    pub id: MessageId,
    /// The inbound channel that took it: its file's name.
    pub channel: Arc<str>,
    /// When it was taken.
    pub received: Timestamp,
    /// Who sent it, in the transport's words: an address, a path within the drop folder.
    pub peer: Arc<str>,
    /// What its bytes are.
    pub format: Format,
    /// The bytes as they came, transport framing not counted.
    pub bytes: Bytes,
    /// Their SHA-256.
    pub sha256: Sha256,
    /// A Provenance in JSON that came beside the bytes, about all of them: `X-Provenance` of HTTP. Empty if none did.
    pub beside: Bytes,
    /// MSH-10, Bundle.identifier or X-Request-Id: the sender's own name for the message.
    pub control_id: Option<Arc<str>>,
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Original({} by {}, {:?}, {} bytes)", self.id, self.channel, self.format, self.bytes.len())
    }
}

/// What a message's bytes have become so far.
#[derive(Clone)]
pub enum Body {
    /// HL7 v2, read lazily over its bytes.
    Hl7v2(hl7v2::Message),
    /// A FHIR resource, most often a Bundle.
    Fhir(Value),
}

impl Body {
    /// The bytes that leave: HL7 v2 as its bytes stand, FHIR as compact JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Hl7v2(message) => message.bytes().clone(),
            Self::Fhir(resource) => Bytes::from(resource.to_vec()),
        }
    }

    /// The format of [`Body::to_bytes`].
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Hl7v2(_) => Format::Hl7v2,
            Self::Fhir(_) => Format::FhirJson,
        }
    }
}

/// Prints the kind only: a body is patient data.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", self.format())
    }
}

/// A message between two transforms.
#[derive(Clone, Debug)]
pub struct Message {
    /// What was received.
    pub original: Arc<Original>,
    /// What the transforms so far have made of it.
    pub body: Body,
    /// What each transform did: the engine writes one [`Step`] around each.
    pub steps: Vec<Step>,
    /// What it may be used for, as far as its source and its channel say.
    pub flags: Flags,
    /// What the transforms noticed: unmapped fields, codes with no translation.
    pub findings: Vec<Finding>,
    /// Whether a transform changed the body: true before each, and a transform that left all as it was says so.
    pub changed: bool,
    /// The HL7 v2 message as it came, for conditions on its fields after its conversion.
    received: Option<hl7v2::Message>,
}

impl Message {
    /// A message before its first transform.
    #[must_use]
    pub fn new(original: Arc<Original>, body: Body, flags: Flags) -> Self {
        let received = match &body {
            Body::Hl7v2(message) => Some(message.clone()),
            Body::Fhir(_) => None,
        };
        Self { original, body, steps: Vec::new(), flags, findings: Vec::new(), changed: true, received }
    }

    /// The HL7 v2 message as it came, whatever the transforms have made of it; `None` if it came as something else.
    #[must_use]
    pub fn as_received(&self) -> Option<&hl7v2::Message> {
        self.received.as_ref()
    }
}
