//! `tributary validate`: FHIR files by R4's own table, without a running engine.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use message::Fault;
use message::fhir::validate::{self, Issue, IssueType, Options};
use message::fhir::{self, Limits, Severity, xml};
use serde_json::{Value, json};

use super::print::{note, say};
use super::{Failure, Globals, Outcome};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Files with one FHIR resource each, in JSON or XML; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Most issues that are told of a file.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: usize,
}

/// Exit code 1 if there is an error in any of them; warnings are told alone.
pub(super) fn validate(globals: &Globals, args: &Args) -> Outcome {
    let (mut all, mut invalid) = (Vec::new(), 0_usize);
    for file in &args.files {
        let issues = issues_of(file, args.limit);
        invalid += usize::from(issues.iter().any(Issue::is_error));
        for issue in &issues {
            if globals.json {
                all.push(of_json(file, issue));
            } else {
                say!("{}: {}", file.display(), line(issue))?;
            }
        }
    }
    if globals.json {
        say!("{:#}", Value::Array(all))?;
    } else {
        note!("{} of {} valid", args.files.len() - invalid, args.files.len());
    }
    if invalid == 0 { Ok(()) } else { Err(Failure::No) }
}

/// `Bundle.entry[3].resource.status: what is wrong (rule)`.
fn line(issue: &Issue) -> String {
    let mark = if issue.is_error() { "" } else { "warning: " };
    let rule = issue.rule.map(|rule| format!(" ({rule})")).unwrap_or_default();
    format!("{}: {mark}{}{rule}", issue.location, issue.text)
}

fn of_json(file: &Path, issue: &Issue) -> Value {
    json!({
        "file": file.display().to_string(),
        "severity": issue.severity.code(),
        "code": issue.kind.code(),
        "location": issue.location,
        "text": issue.text,
        "rule": issue.rule,
    })
}

/// What is wrong with a file; that it cannot be read is one issue.
fn issues_of(file: &Path, limit: usize) -> Vec<Issue> {
    let unread = |location: Option<String>, text: String| {
        let location = location.unwrap_or_else(|| "resource".to_owned());
        vec![Issue { severity: Severity::Fatal, kind: IssueType::Structure, location, text: text.into(), rule: None }]
    };
    let bytes = match bytes_of(file) {
        Ok(bytes) => bytes,
        Err(error) => return unread(None, format!("cannot be read: {error}")),
    };
    match resource_of(&bytes) {
        Some(Ok(read)) => validate::validate(&read.resource, &Options { issues: limit, ..Options::default() }),
        Some(Err(fault)) => unread(fault.location, fault.text),
        None => unread(None, "this is neither JSON nor XML".to_owned()),
    }
}

/// The resource that `bytes` hold, in JSON or XML; `None` if they begin as neither.
pub(super) fn resource_of(bytes: &[u8]) -> Option<Result<xml::Read, Fault>> {
    const UTF_16: [&[u8]; 2] = [b"\xFE\xFF", b"\xFF\xFE"];
    let begin = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    let limits = Limits::default();
    match begin.first() {
        Some(b'{') => Some(fhir::parse(bytes, &limits).map(|resource| xml::Read { resource, comments: 0 })),
        Some(b'<') => Some(xml::read(bytes, &limits)),
        _ if UTF_16.iter().any(|mark| bytes.starts_with(mark)) => Some(xml::read(bytes, &limits)),
        _ => None,
    }
}

/// The bytes of a file, or of standard input for `-`.
pub(super) fn bytes_of(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}
