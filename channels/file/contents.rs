//! What a file holds, cut into messages.

use std::ffi::OsStr;
use std::path::Path;

use bytes::Bytes;
use message::{Fault, Format};

use super::Contents;
use super::batch;

/// How a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// HL7 v2: at each MSH, batch headers and trailers left out.
    Hl7v2 { verify_counts: bool },
    /// The whole file is one FHIR resource.
    Resource,
    /// Each line that is not blank is one FHIR resource.
    ResourcePerLine,
}

impl Cut {
    /// How to cut the file called `name`, where its channel's settings say `format` or nothing.
    pub(super) fn of(name: &OsStr, format: Option<Contents>, verify_counts: bool) -> Self {
        let extension = Path::new(name).extension().unwrap_or_default().to_ascii_lowercase();
        let lines = extension == "ndjson" || extension == "jsonl";
        match format {
            Some(Contents::Fhir) | None if lines => Self::ResourcePerLine,
            Some(Contents::Fhir) => Self::Resource,
            None if extension == "json" => Self::Resource,
            Some(Contents::Hl7v2) | None => Self::Hl7v2 { verify_counts },
        }
    }

    pub(super) fn format(self) -> Format {
        match self {
            Self::Hl7v2 { .. } => Format::Hl7v2,
            Self::Resource | Self::ResourcePerLine => Format::FhirJson,
        }
    }

    /// The messages in `bytes`, in order: slices of it.
    ///
    /// # Errors
    ///
    /// What makes the file as a whole unusable, and where.
    pub(super) fn messages(self, bytes: &Bytes) -> Result<Vec<Bytes>, Fault> {
        let messages = match self {
            Self::Hl7v2 { verify_counts } => batch::split(bytes, verify_counts)?,
            Self::Resource => vec![bytes.clone()],
            Self::ResourcePerLine => lines(bytes),
        };
        if messages.is_empty() { Err(Fault::new(100, None, "the file holds no message")) } else { Ok(messages) }
    }
}

fn lines(bytes: &Bytes) -> Vec<Bytes> {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).map(|line| bytes.slice_ref(line)).collect()
}
