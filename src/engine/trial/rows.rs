//! Which rows of the mapping tables a channel's tests run.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use message::{Context, Format, hl7v2};
use serde::Serialize;
use transforms::hl7v2_to_fhir::maps::{Origin, Shown, not_among};
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir};

use super::{as_sent, case};
use crate::config::{ChannelConfig, Hl7v2ToFhirConfig, Site, TransformConfig};
use crate::engine::wire::{self, WireError};

/// How many rows of segments and data types there are, and which of them no test of a channel runs.
#[derive(Clone, Debug, Serialize)]
pub struct RowsRun {
    /// The channel.
    pub channel: String,
    /// Whose rows.
    pub origin: Origin,
    /// How many there are.
    pub rows: usize,
    /// Those that no test runs, by table.
    pub unused: Vec<Shown>,
}

impl RowsRun {
    /// How many of the rows a test runs.
    #[must_use]
    pub fn run(&self) -> usize {
        self.rows - self.unused.iter().map(|table| table.rows.len()).sum::<usize>().min(self.rows)
    }
}

/// Which rows of `origin` the tests of a channel run; `None` for a channel that converts nothing.
///
/// # Errors
///
/// [`WireError`] if the channel cannot be built.
pub fn rows_run(site: &Site, config: &ChannelConfig, origin: Origin) -> Result<Option<RowsRun>, WireError> {
    let conversion = config.transforms.iter().find_map(|transform| match transform {
        TransformConfig::Hl7v2ToFhir(conversion) => Some(conversion),
        TransformConfig::Script(_) | TransformConfig::Label(_) => None,
    });
    let Some(Hl7v2ToFhirConfig { maps, options }) = conversion else { return Ok(None) };
    let wrong = |errors: Vec<hl7v2_to_fhir::maps::MapError>| WireError::Maps {
        file: config.file.display().to_string(),
        problems: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    let tables = hl7v2_to_fhir::load(maps.as_deref(), options).map_err(wrong)?;
    let transform = Hl7v2ToFhir::new(tables, options.clone());
    let context = wire::context(site, config);
    let mut used = HashSet::new();
    for case in case::all(site, config).iter().filter(|case| case.format == Format::Hl7v2) {
        used.extend(of_message(&case.message, &transform, config, &context));
    }
    let (rows, unused) = not_among(&used, origin, maps.as_deref(), options).map_err(wrong)?;
    Ok(Some(RowsRun { channel: config.name.clone(), origin, rows, unused }))
}

/// The rows that the message in `file` runs; none if it cannot be read, which its test tells.
fn of_message(
    file: &Path,
    transform: &Hl7v2ToFhir,
    config: &ChannelConfig,
    context: &Context,
) -> HashSet<hl7v2_to_fhir::maps::RowPlace> {
    let Ok(bytes) = std::fs::read(file) else { return HashSet::new() };
    let bytes = Bytes::from(as_sent(bytes, Format::Hl7v2));
    match hl7v2::Message::read(bytes, &config.charset) {
        Ok((message, _)) => transform.rows_run(&message, context),
        Err(_) => HashSet::new(),
    }
}
