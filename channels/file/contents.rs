//! What a file holds, cut into messages.

use std::ffi::OsStr;
use std::path::Path;

use bytes::Bytes;
use message::hl7v2::Batch;
use message::{Fault, Format};

use super::Contents;

/// How a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// HL7 v2: at each MSH, batch headers and trailers left out.
    Hl7v2,
    /// The whole file is one FHIR resource.
    Resource,
    /// Each line that is not blank is one FHIR resource.
    ResourcePerLine,
}

/// The messages of a file.
pub(super) struct Messages {
    /// In order: slices of the file.
    pub(super) all: Vec<Bytes>,
    /// What is wrong around them.
    pub(super) problems: Vec<Fault>,
}

impl Cut {
    /// How to cut the file called `name`, where its channel's settings say `format` or nothing.
    pub(super) fn of(name: &OsStr, format: Option<Contents>) -> Self {
        let extension = Path::new(name).extension().unwrap_or_default().to_ascii_lowercase();
        let lines = extension == "ndjson" || extension == "jsonl";
        match format {
            Some(Contents::Fhir) | None if lines => Self::ResourcePerLine,
            Some(Contents::Fhir) => Self::Resource,
            None if extension == "json" => Self::Resource,
            Some(Contents::Hl7v2) | None => Self::Hl7v2,
        }
    }

    pub(super) fn format(self) -> Format {
        match self {
            Self::Hl7v2 => Format::Hl7v2,
            Self::Resource | Self::ResourcePerLine => Format::FhirJson,
        }
    }

    pub(super) fn messages(self, bytes: &Bytes) -> Messages {
        if bytes.trim_ascii().is_empty() {
            return Messages { all: Vec::new(), problems: vec![Fault::new(100, None, "the file is empty")] };
        }
        match self {
            Self::Hl7v2 => {
                let batch = Batch::split(bytes);
                Messages { all: batch.messages, problems: batch.problems }
            }
            Self::Resource => Messages { all: vec![bytes.clone()], problems: Vec::new() },
            Self::ResourcePerLine => Messages { all: lines(bytes), problems: Vec::new() },
        }
    }
}

fn lines(bytes: &Bytes) -> Vec<Bytes> {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).map(|line| bytes.slice_ref(line)).collect()
}
