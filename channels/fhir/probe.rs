//! What a server's CapabilityStatement says of it.

use serde::Deserialize;

use super::answer::Answer;
use super::config::Mode;
use super::verdict::{broken_promise, failure};
use crate::DeliveryError;

/// As far as we ask it (FHIR R4 §5.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapabilityStatement {
    resource_type: String,
    fhir_version: Option<String>,
    #[serde(default)]
    software: Option<Software>,
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Deserialize)]
struct Software {
    name: String,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    interaction: Vec<Interaction>,
}

#[derive(Deserialize)]
struct Interaction {
    code: String,
}

/// One line on the server that answered `GET /metadata`.
///
/// # Errors
///
/// [`DeliveryError`] as for a delivery; [`DeliveryError::Refused`] if it speaks another FHIR than R4.
pub(super) fn report(answer: Answer, mode: Mode) -> Result<String, DeliveryError> {
    if !answer.status.is_success() {
        return Err(failure(answer));
    }
    let statement = serde_json::from_slice::<CapabilityStatement>(&answer.body).ok();
    let Some(statement) = statement.filter(|statement| statement.resource_type == "CapabilityStatement") else {
        let what = match &answer.cut {
            Some(cut) => cut.clone(),
            None => format!("it is {}, where a CapabilityStatement should be", answer.media),
        };
        return Err(broken_promise(answer, &what));
    };
    let version = printable(statement.fhir_version.as_deref().unwrap_or("of an unnamed version"));
    if !version.starts_with("4.") {
        return Err(DeliveryError::Refused(answer.receipt(format!("the server speaks FHIR {version}, not R4"))));
    }
    Ok(statement.print(&version, mode))
}

impl CapabilityStatement {
    /// `FHIR 4.0.1, HAPI FHIR Server 7.0; takes transactions`
    fn print(&self, version: &str, mode: Mode) -> String {
        let mut line = format!("FHIR {version}");
        if let Some(software) = &self.software {
            let version = software.version.as_deref().unwrap_or_default();
            line += ", ";
            line += printable(&format!("{} {version}", software.name)).trim_end();
        }
        let asked = match mode {
            Mode::Transaction => "transaction",
            Mode::Batch => "batch",
            Mode::AsIs => return line,
        };
        let declared = self.rest.iter().flat_map(|rest| &rest.interaction).any(|declared| declared.code == asked);
        if declared { line + "; takes each " + asked } else { line + "; does not say that it takes a " + asked }
    }
}

/// The first 80 characters, without control characters: a server's words, for a terminal.
fn printable(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(80).collect()
}
