//! The settings of `[inbound.file]` and `[outbound.file]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NameTemplate, Patterns, SubfolderTemplate};
use crate::Acknowledge;
use crate::setting::{Size, Span};

/// A drop folder: `[inbound.file]` in a channel's file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InboundConfig {
    /// The folder that files are dropped in; created if it is not there. Its sub-folders are not read.
    pub folder: PathBuf,
    /// Which names are taken, such as `"*.hl7"` or `["ADT*", "ORU*"]`, upper or lower case. By default
    /// `*.hl7` and `*.er7` for HL7 v2, `*.json` and `*.ndjson` for FHIR. Names with a leading dot are never taken.
    #[serde(default)]
    pub pattern: Option<Patterns>,
    /// What the files hold; by default FHIR in `.json`, `.ndjson` and `.jsonl`, HL7 v2 in all others.
    #[serde(default)]
    pub format: Option<Contents>,
    /// How the sender shows that a file is whole.
    #[serde(default)]
    pub ready: Ready,
    /// With `ready = "stable"`: how long size and time must stand unchanged.
    #[serde(default = "two_seconds")]
    pub stable_for: Span,
    /// With `ready = "marker"`: what the marker file's name adds to the file's, such as `adt.hl7.ok`.
    #[serde(default = "marker_suffixes")]
    pub marker: Vec<String>,
    /// How often the folder is read. It is polled, because NFS and SMB announce nothing.
    #[serde(default = "one_second")]
    pub every: Span,
    /// Where files go of which every message was taken, within `folder` or absolute; on the same file system.
    #[serde(default = "done")]
    pub done: PathBuf,
    /// Where files go of which a message was refused, with `NAME.reason.json` beside them; as `done`.
    #[serde(default = "rejected")]
    pub rejected: PathBuf,
    /// Longest file taken; a longer one is rejected unread.
    #[serde(default = "sixty_four_mebibytes")]
    pub max_file_bytes: Size,
    /// Most bytes held in memory for this folder at once. One file is always let through.
    #[serde(default = "sixty_four_mebibytes")]
    pub max_bytes_in_flight: Size,
    /// Most files taken before the folder is read again.
    #[serde(default = "a_hundred")]
    pub max_files_per_poll: NonZeroUsize,
    /// How many files are taken at once. More than one gives up the order between files, never the
    /// order within one.
    #[serde(default = "one")]
    pub files_at_once: NonZeroUsize,
    /// In which order files are taken.
    #[serde(default)]
    pub order: Order,
    /// Whether an HL7 v2 file is rejected as a whole, before any message of it is taken, where the counts
    /// of BTS-1 or FTS-1 do not hold, a trailer is missing or a line belongs to no message: it was most
    /// likely cut off. Switched off, that is logged and the messages are taken.
    #[serde(default = "yes")]
    pub verify_batches: bool,
    /// What must have become of its messages before a file is moved.
    #[serde(default)]
    pub acknowledge: Acknowledge,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contents {
    /// HL7 v2: one message, several, or a batch (FHS, BHS; HL7 v2.5.1 §2.10.3).
    Hl7v2,
    /// FHIR R4 in JSON: one resource, most often a Bundle; one a line in `.ndjson` and `.jsonl`.
    Fhir,
}

/// How a sender shows that a file is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// Its size and time have stood still for a while.
    #[default]
    Stable,
    /// A second file says so: `adt.hl7.ok` for `adt.hl7`. It is removed with it.
    Marker,
    /// It is there: the sender writes it elsewhere, or under another name, and renames it.
    Renamed,
}

/// In which order files are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By name, byte by byte.
    #[default]
    Name,
    /// By the time they were last written, then by name.
    Modified,
}

/// A folder that deliveries are written to: `[outbound.file]` in a destination's file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundConfig {
    /// The folder to write to; created if it is not there.
    pub folder: PathBuf,
    /// Each file's name: text with names in braces.
    #[serde(default)]
    pub name: NameTemplate,
    /// A folder within `folder`, such as `"{channel}/{message_type}"`.
    #[serde(default)]
    pub subfolder: Option<SubfolderTemplate>,
    /// What to do if another file has the name already.
    #[serde(default)]
    pub existing: Existing,
    /// Whether a file must be on disk (`fsync` of it and of its folder) before it counts as delivered.
    #[serde(default = "yes")]
    pub fsync: bool,
}

/// What to do if a file of the same name with other bytes is there. The same bytes are the same
/// delivery, and count as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// Take the next free name: `adt-1.hl7`.
    #[default]
    Number,
    /// Refuse the delivery: it becomes a dead letter.
    Refuse,
    /// Put the new file in its place.
    Overwrite,
}

fn two_seconds() -> Span {
    Span(Duration::from_secs(2))
}

fn one_second() -> Span {
    Span(Duration::from_secs(1))
}

fn marker_suffixes() -> Vec<String> {
    vec![".ok".to_owned(), ".done".to_owned()]
}

fn done() -> PathBuf {
    "done".into()
}

fn rejected() -> PathBuf {
    "rejected".into()
}

fn sixty_four_mebibytes() -> Size {
    Size(64 << 20)
}

fn a_hundred() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(99)
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn yes() -> bool {
    true
}
