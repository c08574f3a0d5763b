//! Stamps what leaves: who produced each entry, what it may be used for, and how confidential it is.
//!
//! The engine calls [`Stamper::stamp`] after the transforms of every channel, so that no transform
//! and no channel's file can forget it. It makes what came into a Bundle that a destination takes,
//! stamps every resource's `meta`, adds the Provenance of the chain of custody, and computes the
//! message's [`Flags`] that routes are held to.
//!
//! Resources keep what they carry: unknown members, extensions, the digits of decimals, their order.
//! Only `meta`, ids and references change. Stamping what is stamped changes nothing.

mod actors;
mod agents;
mod authors;
mod became;
mod bundle;
mod complete;
mod custody;
mod events;
mod ids;
mod labels;
mod loops;
mod marks;
mod meta;
mod normalise;
mod orders;
mod references;
mod results;
mod source;
mod stamping;
#[cfg(test)]
mod tests;
mod uri;

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use message::consent::Flags;
use message::json::Value;
use message::{Body, Context, Finding, Message, Provider, TransformError};
use serde::Deserialize;

use actors::Actors;
use ids::Ids;
use labels::{Handling, LabelRules};
use normalise::{Naming, normalise};
use stamping::Stamping;

pub use labels::{Beside, LabelRule, LabelRuleError, On};

/// How a channel's messages are stamped: `[stamp]` in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StampOptions {
    /// What becomes of document and message Bundles.
    pub documents: Documents,
    /// The site's own label rules, asked before those that come with the engine.
    pub label: Vec<LabelRule>,
    /// How far a sender's clock may be ahead of ours before that is told.
    pub clock_skew: ClockSkew,
}

/// How far clocks may differ: `"5m"` unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ClockSkew(pub SignedDuration);

impl Default for ClockSkew {
    fn default() -> Self {
        Self(SignedDuration::from_mins(5))
    }
}

impl TryFrom<String> for ClockSkew {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let span = text.parse::<SignedDuration>().ok().filter(|span| !span.is_negative());
        span.map(Self).ok_or("this is no duration: write it like \"5m\" or \"90s\"")
    }
}

/// What becomes of document and message Bundles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// Each of their resources is written on its own, Composition and MessageHeader among them.
    #[default]
    Split,
    /// The Bundle is written as one resource, exactly as it came but for its own `meta`.
    Whole,
}

/// Stamps the messages of one channel. Make it once: what does not change is worked out here.
#[derive(Clone, Debug)]
pub struct Stamper {
    provider: Arc<Provider>,
    base_uri: Arc<str>,
    time_zone: TimeZone,
    channel: Flags,
    documents: Documents,
    rules: LabelRules,
    clock_skew: SignedDuration,
    ids: Ids,
    actors: Actors,
}

impl Stamper {
    /// A stamper for the channel that `context` is of, whose file allows what `channel` says.
    ///
    /// # Errors
    ///
    /// [`LabelRuleError`] for a rule of the site's that cannot be used.
    pub fn new(context: &Context, channel: Flags, options: &StampOptions) -> Result<Self, LabelRuleError> {
        let ids = Ids::new(&context.base_uri, &context.provider.key);
        Ok(Self {
            provider: context.provider.clone(),
            base_uri: context.base_uri.clone(),
            time_zone: context.time_zone.clone(),
            channel,
            documents: options.documents,
            rules: LabelRules::new(&options.label)?,
            clock_skew: options.clock_skew.0,
            actors: Actors::new(context, &ids),
            ids,
        })
    }

    /// Stamps `message`, run at `now`: FHIR leaves as a stamped transaction or batch, HL7 v2 as it
    /// stands, and the message's flags say what both may be used for.
    ///
    /// # Errors
    ///
    /// [`TransformError`] with the place of what no destination could take.
    pub fn stamp(&self, mut message: Message, now: Timestamp) -> Result<Message, TransformError> {
        let handling = self.handling(&message);
        let mut flags = self.channel.clone();
        flags.add(&handling.flags);
        let mut findings = handling.findings.clone();
        if let Body::Fhir(resource) = &mut message.body {
            let resource = resource.take();
            let whole = self.documents == Documents::Whole;
            let hash = message.original.sha256;
            let naming = Naming { ids: &self.ids, message: &hash, whole };
            let mut bundle = normalise(resource, naming, &mut findings)?;
            let stamping = Stamping { stamper: self, message: &message, handling: &handling, now };
            flags.add(&stamping.apply(&mut bundle, &mut findings)?);
            message.body = Body::Fhir(bundle.into_value());
        }
        message.flags.add(&flags);
        note(&mut message.findings, findings);
        Ok(message)
    }

    /// What `message` may be used for as it stands, by its channel, its fields and its labels.
    #[must_use]
    pub fn flags_of(&self, message: &Message) -> Flags {
        let mut flags = message.flags.clone();
        flags.add(&self.channel);
        flags.add(&self.handling(message).flags);
        if let Body::Fhir(Value::Object(resource)) = &message.body {
            meta::read(resource, &mut flags);
        }
        flags
    }

    /// What HL7 v2 fields say: those that came, and those that a transform has made of them.
    fn handling(&self, message: &Message) -> Handling {
        let mut handling = message.as_received().map(|received| self.rules.read(received)).unwrap_or_default();
        if let (Body::Hl7v2(present), Some(received)) = (&message.body, message.as_received())
            && present.bytes() != received.bytes()
        {
            handling.flags.add(&self.rules.read(present).flags);
        }
        handling
    }
}

/// Adds `findings` that are not there yet.
fn note(all: &mut Vec<Finding>, findings: Vec<Finding>) {
    for finding in findings {
        if !all.contains(&finding) {
            all.push(finding);
        }
    }
}
