//! What one delivery asks of the server, and what is promised in return.

use bytes::Bytes;
use message::Format;
use reqwest::{Method, Url};

use super::bundle::{self, Outline};
use super::config::{BaseUrl, MessageEndpoint, Mode, OutboundConfig};
use crate::{Outgoing, Receipt};

/// One request.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Bytes,
    pub(super) expects: Expects,
    /// The search that finds what an earlier attempt may have created.
    pub(super) if_none_exist: Option<String>,
}

/// What a success must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    /// The outcomes of as many entries, all or none taken.
    Transaction(usize),
    /// The outcomes of as many entries, each for itself.
    Batch(usize),
    /// That a resource is kept.
    Resource,
    /// That a message is processed.
    Reply,
}

impl Request {
    /// The request that sends `outgoing`.
    ///
    /// # Errors
    ///
    /// Why it cannot be sent, as a refusal: another try would fare no better.
    pub(super) fn new(outgoing: &Outgoing, config: &OutboundConfig) -> Result<Self, Receipt> {
        if outgoing.format != Format::FhirJson {
            return Err(refusal("not sent: this destination takes FHIR; give the channel a transform to it"));
        }
        let bytes = &outgoing.bytes;
        if let Some(entries) = outgoing.transaction.filter(|_| matches!(config.mode, Mode::Transaction | Mode::AsIs)) {
            return Ok(to_base(bytes.clone(), Expects::Transaction(entries), config));
        }
        let outline =
            Outline::read(bytes).ok_or_else(|| refusal("not sent: the message is no FHIR resource in JSON"))?;
        if outline.resource_type == "Bundle" {
            return bundle_request(bytes, &outline, config);
        }
        if !is_type(&outline.resource_type) || outline.id.as_deref().is_some_and(|id| !is_id(id)) {
            return Err(refusal("not sent: the resource's type or id is none that FHIR allows"));
        }
        Ok(match config.mode {
            Mode::Transaction => to_base(bundle::wrap(bytes, &outline, "transaction"), Expects::Transaction(1), config),
            Mode::Batch => to_base(bundle::wrap(bytes, &outline, "batch"), Expects::Batch(1), config),
            Mode::AsIs => to_type(bytes.clone(), &outline, config),
        })
    }
}

fn bundle_request(bytes: &Bytes, outline: &Outline<'_>, config: &OutboundConfig) -> Result<Request, Receipt> {
    let kind = outline.bundle_type().unwrap_or_default();
    let to_base_as = |kind, expects| Ok(to_base(bundle::with_type(bytes, outline, kind), expects, config));
    match (config.mode, kind) {
        (Mode::Transaction, "transaction" | "batch") | (Mode::AsIs, "transaction") => {
            to_base_as("transaction", Expects::Transaction(outline.entries()))
        }
        (Mode::Batch, "transaction" | "batch") | (Mode::AsIs, "batch") => {
            to_base_as("batch", Expects::Batch(outline.entries()))
        }
        (Mode::AsIs, "message") if config.messages == MessageEndpoint::ProcessMessage => {
            Ok(post(config.url.join(&["$process-message"]), bytes.clone(), Expects::Reply))
        }
        (Mode::AsIs, "message" | "document" | "collection") => {
            let create = post(config.url.join(&["Bundle"]), bytes.clone(), Expects::Resource);
            Ok(Request { if_none_exist: search_for(outline, &config.url), ..create })
        }
        (Mode::Transaction | Mode::Batch, "message" | "document" | "collection") => Err(refusal(
            "not sent: only transactions and batches say what to do with their entries; convert the Bundle in a \
             transform, or set `mode = \"as-is\"`",
        )),
        _ => Err(refusal("not sent: a Bundle of this type is nothing to send to a server")),
    }
}

fn to_base(body: Bytes, expects: Expects, config: &OutboundConfig) -> Request {
    post(config.url.root().clone(), body, expects)
}

fn to_type(body: Bytes, outline: &Outline<'_>, config: &OutboundConfig) -> Request {
    match &outline.id {
        Some(id) => {
            let url = config.url.join(&[&outline.resource_type, id]);
            Request { method: Method::PUT, ..post(url, body, Expects::Resource) }
        }
        None => post(config.url.join(&[&outline.resource_type]), body, Expects::Resource),
    }
}

fn post(url: Url, body: Bytes, expects: Expects) -> Request {
    Request { method: Method::POST, url, body, expects, if_none_exist: None }
}

/// `identifier=system|value`, by which a Bundle is found that is there already.
fn search_for(outline: &Outline<'_>, base: &BaseUrl) -> Option<String> {
    let identifier = outline.bundle_identifier()?;
    let token = match &identifier.system {
        Some(system) => format!("{}|{}", escape(system), escape(&identifier.value)),
        None => escape(&identifier.value),
    };
    let mut url = base.root().clone();
    url.query_pairs_mut().append_pair("identifier", &token);
    url.query().map(str::to_owned)
}

/// FHIR R4 §3.1.1.4.0.1: `\`, `|`, `,` and `$` mean something in a search.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '|' | ',' | '$') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn refusal(summary: &str) -> Receipt {
    Receipt { summary: summary.to_owned(), answer: Bytes::new() }
}

/// The name of a resource type: letters alone.
fn is_type(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// FHIR R4 §2.24.0.1: 1 to 64 letters, digits, `-` and `.`.
fn is_id(id: &str) -> bool {
    let dots = id.bytes().all(|byte| byte == b'.');
    (1..=64).contains(&id.len())
        && !dots
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}
