//! Whole sites: what loads, and what is said of what does not.

use expect_test::{Expect, expect};

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

/// Writes [`GOOD`] with `changed` files over it, and loads it.
fn load_changed(changed: &[(&str, &str)]) -> (tempfile::TempDir, Result<Site, Vec<Problem>>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in GOOD.iter().chain(changed) {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let site = load(dir.path(), &env);
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

#[test]
fn says_nothing_of_a_good_site() {
    check(&[], expect![""]);
}

#[test]
fn tells_every_mistake_of_every_file_in_one_run() {
    check(
        &[
            ("tributary.toml", "nme = \"x\"\ngrace = \"soon\"\n[log]\nformat = \"xml\"\nlevel = 3\n"),
            ("providers.toml", "[st-mary]\nnaem = \"St Mary\"\nhub = \"yes\"\n[region]\nname = \"R\"\n"),
            (
                "channels/adt.toml",
                r#"provider = "st-marry"
lane = "pateint"

[inbound.mllp]
lisen = "127.0.0.1:2575"
time_zone = "America/Chigaco"

[[transform]]
hl7v2-to-fihr = {}

[[route]]
to = ["repositori", "archive"]
purpose = "TRAET"
wen = "MSH-9.1 = 'ADT'"
"#,
            ),
            (
                "destinations/repository.toml",
                "recipient = \"regoin\"\nrate = 0\n[retry]\nfactor = 0.5\nattempts = { erred = 0, unknwon = 3 }\n[outbound.fihr]\nurl = 1\n",
            ),
        ],
        expect![[r#"
            error: tributary.toml:1:1: unknown key `nme`
              help: did you mean `name`?
            error: tributary.toml:2:9: `soon` is no length of time
              help: write it with a unit, like "200ms", "30s" or "5m"
            error: tributary.toml:4:10: `xml` is unknown here
              help: known here: `text`, `json`
            error: tributary.toml:5:9: expected text in quotes, found a whole number
            error: providers.toml:2:1: unknown key `naem` in [st-mary]
              help: did you mean `name`?
            error: providers.toml:3:7: expected `true` or `false`, found text
            error: channels/adt.toml:1:12: there is no provider `st-marry`
              help: did you mean `st-mary`?
            error: channels/adt.toml:2:8: `pateint` is unknown here
              help: did you mean `patient`?
            error: channels/adt.toml:5:1: unknown key `lisen` in [inbound.mllp]
              help: did you mean `listen`?
            error: channels/adt.toml:6:13: this is no IANA time zone
              help: did you mean `America/Chicago`?
            error: channels/adt.toml:9:1: unknown key `hl7v2-to-fihr` in [[transform]]
              help: did you mean `hl7v2-to-fhir`?
            error: channels/adt.toml:12:7: there is no destination `repositori`
              help: did you mean `repository`?
            error: channels/adt.toml:12:21: there is no destination `archive`
              help: known here: `repository`
            warning: channels/adt.toml:13:11: this is no code of HL7's value set PurposeOfUse
              help: did you mean `TREAT`?
            error: channels/adt.toml:14:1: unknown key `wen` in [[route]]
              help: did you mean `when`?
            warning: destinations/repository.toml:1:1: no route leads to this destination
              help: add a [[route]] with to = "repository" to a channel
            error: destinations/repository.toml:1:13: there is no provider `regoin`
              help: did you mean `region`?
            error: destinations/repository.toml:2:8: `rate` must be more than 0
            error: destinations/repository.toml:4:10: `factor` must be 1 or more
            error: destinations/repository.toml:5:22: attempts must be 1 or more
            error: destinations/repository.toml:5:25: unknown key `unknwon` in [retry.attempts]
              help: did you mean `unknown`?
            error: destinations/repository.toml:6:11: unknown kind `fihr` in [outbound]
              help: did you mean `fhir`?"#]],
    );
}

#[test]
fn finds_the_good_lines_of_a_file_with_broken_ones() {
    check(
        &[(
            "channels/adt.toml",
            "provider = st-mary\nlane = \"none\nlaen = 1\n[inbound.mllp]\nlisten = 127.0.0.1:2575\nlisten2 = 1\n",
        )],
        expect![[r#"
            error: channels/adt.toml:1:12: a value is missing or not in quotes
              help: text goes in quotes: key = "value"
            error: channels/adt.toml:2:13: invalid basic string, expected `"`
            error: channels/adt.toml:3:1: unknown key `laen`
              help: did you mean `lane`?
            error: channels/adt.toml:5:15: this is no number
              help: text goes in quotes: key = "value"
            error: channels/adt.toml:6:1: unknown key `listen2` in [inbound.mllp]
              help: did you mean `listen`?"#]],
    );
}

#[test]
fn shows_the_line_and_a_mark_at_a_terminal() {
    let (dir, site) = load_changed(&[("tributary.toml", "name = \"x\"\ngarce = \"30s\"\n")]);
    let shown: Vec<_> = site.unwrap_err().iter().map(|problem| problem.render(false)).collect();
    expect![[r#"
        error: unknown key `garce`
         --> tributary.toml:2:1
          |
        2 | garce = "30s"
          | ^^^^^
          |
          = help: did you mean `grace`?"#]]
    .assert_eq(&shown.join("\n").replace(&format!("{}/", dir.path().display()), ""));
}
