//! Whole sites: what loads, and what is said of what does not.

mod docs;
mod examples;
mod fuzz;
mod plans;
mod problems;
mod rules;
mod secrets;
mod sites;

use std::path::Path;

use expect_test::Expect;

use super::*;

/// The files of a site that loads without a word; a test changes some.
const GOOD: [(&str, &str); 4] = [
    ("tributary.toml", "name = \"test\"\n"),
    ("providers.toml", "[st-mary]\nname = \"St Mary\"\n\n[region]\nname = \"Regional EHR\"\n"),
    (
        "channels/adt.toml",
        r#"provider = "st-mary"

[inbound.mllp]
listen = "127.0.0.1:2575"

[[transform]]
hl7v2-to-fhir = {}

[[route]]
to = "repository"
purpose = "TREAT"
"#,
    ),
    (
        "destinations/repository.toml",
        r#"recipient = "region"

[outbound.fhir]
url = "http://127.0.0.1:8090"
"#,
    ),
];

fn env(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "t0ken-of-the-environment".to_owned())
}

/// Writes [`GOOD`] with `changed` files over it into `dir`, and loads it.
fn load_in(dir: &Path, changed: &[(&str, &str)]) -> Result<Site, Vec<Problem>> {
    for (name, text) in GOOD.iter().chain(changed) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    load(dir, &env)
}

/// As [`load_in`], in a folder of its own.
fn load_changed(changed: &[(&str, &str)]) -> (tempfile::TempDir, Result<Site, Vec<Problem>>) {
    let dir = tempfile::tempdir().unwrap();
    let site = load_in(dir.path(), changed);
    (dir, site)
}

fn problems(changed: &[(&str, &str)]) -> String {
    let (dir, site) = load_changed(changed);
    let problems = match site {
        Ok(site) => site.warnings,
        Err(problems) => problems,
    };
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n").replace(&format!("{}/", dir.path().display()), "")
}

#[track_caller]
fn check(changed: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&problems(changed));
}

/// A channel with `rest` after what every channel needs.
fn channel(rest: &str) -> String {
    format!("provider = \"st-mary\"\n[[route]]\nto = \"repository\"\npurpose = \"TREAT\"\n{rest}\n")
}

#[track_caller]
fn check_channel(rest: &str, expected: Expect) {
    check(&[("channels/adt.toml", &channel(rest))], expected);
}

#[track_caller]
fn check_destination(text: &str, expected: Expect) {
    check(&[("destinations/repository.toml", text)], expected);
}
