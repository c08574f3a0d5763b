//! `tributary consent lint FILE…`: what is wrong with Consents, policies and label rules, before they count.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use message::consent::by_entry::{Directive, Mode, Policy, Terms};
use message::fhir;
use message::json::{Value, json};
use transforms::label::LabelRules;

use crate::cli::print::say;
use crate::cli::{Failure, Globals, Outcome};

/// What is found in a file.
struct Report {
    file: String,
    /// What it is: `Consent, read as a tree`.
    what: String,
    /// What stops it from being used.
    errors: Vec<String>,
    /// What a person should look at.
    warnings: Vec<String>,
}

pub(super) fn lint(globals: &Globals, files: &[PathBuf]) -> Outcome {
    let terms = Terms::shipped()?;
    let reports: Vec<Report> = files.iter().map(|file| read(file, &terms)).collect();
    if globals.json {
        let listed = reports.iter().map(|report| {
            let Report { file, what, errors, warnings } = report;
            json!({ "file": file, "what": what, "errors": errors, "warnings": warnings })
        });
        say!("{:#}", listed.collect::<Value>())?;
    } else {
        for report in &reports {
            say!("{}: {}", report.file, report.what)?;
            for error in &report.errors {
                say!("  error: {error}")?;
            }
            for warning in &report.warnings {
                say!("  warning: {warning}")?;
            }
        }
    }
    if reports.iter().any(|report| !report.errors.is_empty()) { Err(Failure::No) } else { Ok(()) }
}

fn read(file: &Path, terms: &Terms) -> Report {
    let mut report =
        Report { file: file.display().to_string(), what: String::new(), errors: Vec::new(), warnings: Vec::new() };
    if let Err(error) = look(file, terms, &mut report) {
        report.errors.push(format!("{error:#}"));
    }
    report
}

fn look(file: &Path, terms: &Terms, report: &mut Report) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).context("cannot be read")?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => {
            report.what = "a value set for labels".to_owned();
            LabelRules::default().add_csv(&name, &String::from_utf8(bytes)?)?;
        }
        Some("toml") => toml_file(&name, &String::from_utf8(bytes)?, terms, report)?,
        _ => {
            let value = fhir::read(&bytes, &fhir::Limits::default()).map_err(|fault| anyhow::anyhow!("{fault}"));
            match value {
                Ok(value) if value.get("resourceType") == Some(&json!("Consent")) => consent(&value, terms, report),
                Ok(_) => anyhow::bail!("is no Consent"),
                Err(fault) => {
                    // A policy or label rules as JSON.
                    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| fault)?;
                    table(&name, &value.into(), terms, report)?;
                }
            }
        }
    }
    Ok(())
}

fn toml_file(name: &str, text: &str, terms: &Terms, report: &mut Report) -> anyhow::Result<()> {
    let value: serde_json::Value = toml::from_str(text)?;
    table(name, &value.into(), terms, report)
}

/// A policy, several under `[policy.NAME]`, or label rules.
fn table(name: &str, value: &Value, terms: &Terms, report: &mut Report) -> anyhow::Result<()> {
    if value.get("rule").or_else(|| value.get("rules")).is_some() {
        report.what = "label rules".to_owned();
        LabelRules::default().add(value)?;
        return Ok(());
    }
    let listed = value.get("policy").and_then(Value::as_object);
    let policies: Vec<(String, &Value)> = match listed {
        Some(listed) => listed.iter().map(|(name, value)| (name.to_string(), value)).collect(),
        None => vec![(name.to_owned(), value)],
    };
    report.what = format!("policy {}", policies.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "));
    for (name, value) in policies {
        match Policy::read(&name, value) {
            Ok(policy) => report.warnings.extend(policy.notes(terms)),
            Err(error) => report.errors.push(error.to_string()),
        }
    }
    Ok(())
}

fn consent(value: &Value, terms: &Terms, report: &mut Report) {
    let directive = Directive::read(value);
    let mode = if directive.mode == Mode::Pcf { "by IHE PCF" } else { "as a tree of exceptions" };
    report.what = format!("Consent {}, read {mode}", directive.id);
    report.errors.extend(directive.faults.iter().map(|fault| format!("{fault}: what it might govern waits")));
    report.warnings.extend(directive.notes.iter().cloned());
    if directive.patient.is_empty() {
        report.errors.push("patient: names nobody, so it never counts".to_owned());
    }
    if directive.dated.is_none() {
        report.warnings.push("dateTime: is missing: as a denial it outlives every newer permit".to_owned());
    }
    if !directive.verified {
        report.warnings.push("verification: never done: its permits do not count, its denials do".to_owned());
    }
    for node in &directive.nodes {
        let purposes =
            node.purposes.iter().filter(|p| p.system.ends_with("v3-ActReason") && terms.purpose(&p.code).is_empty());
        for purpose in purposes {
            report.warnings.push(format!("{}: `{}` is no purpose of use (v3-ActReason)", node.path, purpose.code));
        }
        let labels = node.labels.iter().filter(|l| l.system.ends_with("v3-ActCode") && terms.kind(&l.code).is_none());
        for label in labels {
            report.warnings.push(format!("{}: `{}` is no ActCode label that is known", node.path, label.code));
        }
        if [&node.purposes, &node.labels, &node.codes, &node.classes, &node.actions]
            .iter()
            .any(|l| l.iter().any(|c| c.code.is_empty()))
        {
            report
                .warnings
                .push(format!("{}: has text without a code: matches nothing it permits, all it denies", node.path));
        }
    }
}
