//! `consents/*.json`: fixed Consents, for patients and feeds that bring none.

use std::path::Path;

use message::Sha256;
use message::consent::by_entry::Directive;
use message::fhir;

use super::files::consents_in;
use crate::config::consent::FixedConsent;
use crate::config::problem::Problem;

/// Reads the Consents in the site's folder `dir`, with the text of all of them, and reports what is wrong.
pub(in crate::config) fn consents(dir: &Path, problems: &mut Vec<Problem>) -> (Vec<FixedConsent>, String) {
    let (mut consents, mut texts) = (Vec::new(), String::new());
    for (name, path) in consents_in(&dir.join("consents"), problems) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes::Bytes::from(bytes),
            Err(error) => {
                problems.push(Problem::error(path, format!("cannot be read: {error}")));
                continue;
            }
        };
        let value = match fhir::read(&bytes, &fhir::Limits::default()) {
            Ok(value) if fhir::get_str(&value, "resourceType") == Some("Consent") => value,
            Ok(_) => {
                problems.push(Problem::error(path, "this is no FHIR Consent"));
                continue;
            }
            Err(fault) => {
                problems.push(Problem::error(path, format!("this is no FHIR resource: {fault}")));
                continue;
            }
        };
        let directive = Directive::read(&value);
        for fault in &directive.faults {
            let help = "`tributary consent lint FILE` tells more; a person must code it".to_owned();
            problems.push(Problem::error(&path, fault.clone()).help(help));
        }
        let patients: Vec<String> =
            directive.patient.iter().filter(|name| name.contains('|')).map(|name| name.to_string()).collect();
        if patients.is_empty() && !directive.patient.is_empty() {
            let help = "name the patient by `identifier` (system and value), or leave `patient` out for all of a feed";
            problems.push(Problem::error(&path, "its patient is not named by an identifier").help(help));
        }
        let version = Sha256::of(&bytes).to_string().get(..12).unwrap_or_default().to_owned();
        texts.push_str(&name);
        texts.push_str(&version);
        consents.push(FixedConsent {
            name,
            directive: Directive { version: Some(version.into()), ..directive },
            patients,
        });
    }
    (consents, texts)
}
