//! How a table stands in TOML, with the place of every part for messages about it.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// One file of `segments/`, `datatypes/`, `messages/` or `blocks/`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableFile {
    /// Take nothing from the table of the same name below.
    #[serde(default)]
    pub(super) replace: bool,
    /// Data types only: the reference by which instances `[1]`, `[2]`, … hang together.
    pub(super) chain: Option<Spanned<String>>,
    /// Segments only: the list of which the first members are one, whichever segment writes them: a
    /// Dosage that RXO, TQ1 and RXR fill.
    pub(super) shared: Option<Spanned<String>>,
    /// Messages only: the structure in HL7's abstract syntax.
    pub(super) grammar: Option<Spanned<String>>,
    /// Messages only: the events with this structure, such as `ADT^A04`.
    #[serde(default)]
    pub(super) events: Vec<Spanned<String>>,
    /// Messages only: rows that many messages have in common.
    #[serde(default, rename = "use")]
    pub(super) uses: Vec<UseFile>,
    /// Why the table is as it is.
    #[serde(rename = "note")]
    pub(super) _note: Option<String>,
    /// The rows.
    #[serde(default)]
    pub(super) row: Vec<Spanned<RowFile>>,
}

/// One `[[use]]`: the rows of a block for the segments of one group.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UseFile {
    /// The block's name: `blocks/NAME.toml`.
    pub(super) block: Spanned<String>,
    /// The group, such as `PATIENT_RESULT.PATIENT`; without it the message itself.
    #[serde(default, rename = "in")]
    pub(super) group: Option<Spanned<String>>,
}

/// One `[[row]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowFile {
    /// Where the value comes from: `PID-5`, `XPN.2`, `PATIENT.PID`.
    pub(super) from: Option<Spanned<String>>,
    /// Messages only: the segment of this name that follows that one.
    pub(super) after: Option<Spanned<String>>,
    /// Where it goes: `name[1].family`.
    pub(super) to: Option<Spanned<String>>,
    /// The table that converts it.
    #[serde(rename = "as")]
    pub(super) table: Option<Spanned<String>>,
    /// The code table that translates it.
    pub(super) code: Option<Spanned<String>>,
    /// The condition.
    pub(super) when: Option<Spanned<String>>,
    /// A value that does not come from the message.
    pub(super) fixed: Option<Spanned<String>>,
    /// A text with places of the message in it: `{XTN.6} {XTN.7}`.
    pub(super) value: Option<Spanned<String>>,
    /// A conversion of the engine's own, by name.
    pub(super) convert: Option<Spanned<String>>,
    /// Write that the value is absent, with this code of data-absent-reason.
    pub(super) absent: Option<Spanned<String>>,
    /// What `""` becomes: nothing, or this code of data-absent-reason.
    pub(super) null: Option<Spanned<String>>,
    /// Not mapped on purpose, and why.
    pub(super) skip: Option<Spanned<String>>,
    /// Messages only: references to set, `Encounter[1].subject = Patient[1]`.
    #[serde(default)]
    pub(super) link: Vec<Spanned<String>>,
    /// Takes the rows with this `from` (and `to`, where given) away.
    #[serde(default)]
    pub(super) remove: bool,
    /// The row counts only where the channel has chosen so: an option and its value, or several.
    #[serde(default)]
    pub(super) option: Option<Spanned<BTreeMap<String, OneOrMany>>>,
    /// The guide's own words for `to`, where they are not ours.
    pub(super) guide: Option<String>,
    /// For people.
    pub(super) note: Option<String>,
}

/// A value of an option, or any of several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => all,
        }
    }
}

/// One file of `codes/`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodesFile {
    /// Take nothing from the table of the same name below.
    #[serde(default)]
    pub(super) replace: bool,
    /// The HL7 table of the codes, such as `HL70001`.
    pub(super) source: Option<String>,
    /// The system of the translations, where a code names no other.
    pub(super) system: Option<String>,
    /// What a code without a translation becomes.
    pub(super) otherwise: Option<String>,
    /// True if a code without a translation is nothing to report.
    #[serde(default)]
    pub(super) partial: bool,
    #[serde(rename = "note")]
    pub(super) _note: Option<String>,
    /// The codes.
    #[serde(default)]
    pub(super) codes: Vec<CodeFile>,
}

/// One code and what it becomes; with no `to` there is no translation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeFile {
    pub(super) from: String,
    pub(super) to: Option<String>,
    pub(super) display: Option<String>,
    pub(super) system: Option<String>,
    /// The number of the file that it stands in.
    #[serde(skip)]
    pub(super) file: usize,
}
