//! What a recipient must do with what it gets, and what of that a route can see to.

use message::consent::by_entry::{Entry, LabelKind, Terms};
use message::hl7v2::Header;
use message::json::Value;
use message::{Format, fhir};

use crate::config::{Deidentify, DestinationConfig, OutboundKind};

/// Labels of obligations and refrains that travel on what leaves, and ask nothing else of the engine.
const KEPT: [&str; 2] = ["NORDSCLCD", "PERSISTLABEL"];
/// A visible mark in what people read.
pub(super) const VISIBLE: [&str; 2] = ["CUIMark", "PRIVMARK"];
/// What a recipient must do by an agreement with it: the label says it on everything that leaves.
pub(super) const AGREED: [&str; 4] = ["DELAU", "NOINTEGRATE", "NORELINK", "NOREUSE"];
/// What a recipient may have by an agreement with it alone.
const LISTED: [&str; 4] = ["NOLIST", "NOMOU", "NOORGPOL", "NORDSCLW"];
/// What every disclosure has: its record in the log.
const RECORDED: [&str; 3] = ["AUDIT", "AUDTR", "AOD"];
const ENCRYPTED: [&str; 2] = ["ENCRYPT", "ENCRYPTT"];
/// Nobody is to be told by it; those who are told are to be told by a pseudonym.
pub(super) const NAMELESS: [&str; 3] = ["ANONY", "DEID", "PSEUD"];
/// Single elements are left out: a trace of them stays, or none.
pub(super) const MASKED: [&str; 2] = ["MASK", "REDACT"];
/// Obligations that data says of itself by its labels, besides those that a rule adds.
const BY_LABEL: [&str; 11] =
    ["ANONY", "CUIMark", "DEID", "ENCRYPT", "ENCRYPTT", "MASK", "MINEC", "PERSISTLABEL", "PRIVMARK", "PSEUD", "REDACT"];
/// Resources without a narrative.
const WITHOUT_NARRATIVE: [&str; 3] = ["Binary", "Bundle", "Parameters"];
/// HL7 v2 messages that may have a note (NTE) behind the patient, by MSH-9.1.
const WITH_NOTES: [&str; 7] = ["ORU", "ORM", "OML", "OMP", "RDE", "OUL", "OMG"];

/// Whether an obligation can be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Met {
    /// It can.
    Yes,
    /// Not as the route is now, but once its connection is secured.
    Later,
    /// It cannot.
    No,
}

impl Met {
    fn of(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

/// The form in which something leaves, as far as that can carry obligations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// A Bundle that nobody has signed; true where it is no document or message.
    Bundle { plain: bool },
    /// HL7 v2.
    Hl7v2,
    /// A single resource, or what is signed: it leaves as it is.
    #[default]
    Fixed,
}

/// What a route can do with a content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities<'a> {
    form: Form,
    bytes: &'a [u8],
    /// Both sides of the connection show a certificate, or nothing leaves the machine.
    secure: bool,
    destination: &'a DestinationConfig,
}

/// What an obligation is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'a> {
    /// The entry's resource type.
    pub(super) kind: &'a str,
    /// True where the Consents that must travel can.
    pub(super) travels: bool,
    /// True where what leaves is de-identified.
    pub(super) nameless: bool,
}

impl<'a> Abilities<'a> {
    pub(super) fn of(destination: &'a DestinationConfig, form: Form, bytes: &'a [u8]) -> Self {
        let secure = match &destination.outbound {
            OutboundKind::Fhir(config) => config.url.as_str().starts_with("https://") && config.identity_file.is_some(),
            OutboundKind::Mllp(_) | OutboundKind::File(_) => false,
        };
        Self { form, bytes, secure, destination }
    }

    /// Whether the obligation `code` can be met. One that is not known cannot.
    pub(super) fn meets(self, code: &str, about: About<'_>) -> Met {
        let Self { form, secure, destination, .. } = self;
        let bundle = matches!(form, Form::Bundle { .. });
        let agreed = || destination.agreements.contains_key(code);
        match code {
            code if RECORDED.contains(&code) => Met::Yes,
            "NORDSCLCD" if form == Form::Hl7v2 => Met::of(has_notes(self.bytes)),
            code if KEPT.contains(&code) => Met::of(bundle),
            // What is de-identified has no words left that people read.
            code if VISIBLE.contains(&code) => {
                Met::of(bundle && !about.nameless && !WITHOUT_NARRATIVE.contains(&about.kind))
            }
            code if ENCRYPTED.contains(&code) => {
                if secure {
                    Met::Yes
                } else {
                    Met::Later
                }
            }
            "MINEC" => Met::of(bundle && !destination.minimum_necessary.is_empty()),
            code if NAMELESS.contains(&code) => Met::of(self.nameless_by(code)),
            code if MASKED.contains(&code) => Met::of(bundle && destination.mask.contains_key(about.kind)),
            "CPLYCD" => Met::of(bundle && about.travels && !about.nameless),
            code if AGREED.contains(&code) => Met::of(bundle && agreed()),
            code if LISTED.contains(&code) => Met::of(agreed()),
            _ => Met::No,
        }
    }

    /// True where `code` asks for what leaves to name nobody, and the destination says how.
    pub(super) fn nameless_by(self, code: &str) -> bool {
        let how = match code {
            "ANONY" | "DEID" => Deidentify::SafeHarbor,
            "PSEUD" => Deidentify::Pseudonyms,
            _ => return false,
        };
        self.form == (Form::Bundle { plain: true }) && self.destination.deidentify == Some(how)
    }

    /// True where entries can be labelled.
    pub(super) fn labels(self) -> bool {
        matches!(self.form, Form::Bundle { .. })
    }

    /// True where single elements can be left out.
    pub(super) fn masks(self) -> bool {
        self.form != Form::Fixed
    }
}

impl Form {
    pub(super) fn of(format: Format, content: &Value) -> Self {
        match format {
            Format::Hl7v2 => Self::Hl7v2,
            Format::FhirJson if fhir::get_str(content, "resourceType") != Some("Bundle") => Self::Fixed,
            Format::FhirJson if content.get("signature").is_some() => Self::Fixed,
            Format::FhirJson => Self::Bundle {
                plain: !matches!(fhir::get_str(content, "type"), None | Some("document" | "message" | "history")),
            },
        }
    }
}

/// True for an obligation that changes nothing of what leaves.
pub(super) fn is_beside_content(code: &str) -> bool {
    RECORDED.contains(&code) || ENCRYPTED.contains(&code) || LISTED.contains(&code)
}

/// True for an HL7 v2 message in which a note may stand behind the patient.
fn has_notes(bytes: &[u8]) -> bool {
    WITH_NOTES.contains(&&*Header::read(bytes).message_type())
}

/// What an entry's own labels ask of whoever passes it on.
pub(super) fn by_label<'a>(entry: &'a Entry, terms: &Terms) -> Vec<&'a str> {
    let asks = |code: &&str| BY_LABEL.contains(code) && terms.kind(code) == Some(LabelKind::Obligation);
    entry.labels.iter().map(AsRef::as_ref).filter(asks).collect()
}
