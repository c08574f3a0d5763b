//! Secrets are filled in, and never shown.

use expect_test::expect;

use super::{load_changed, problems};

const SECRET: &str = "t0ken-of-the-environment";

#[test]
fn what_is_filled_in_is_not_shown() {
    let channel = r#"provider = "${env:TOKEN}"
description = "${env:NOWHERE} and ${file:nowhere} and ${vault:x}"
[inbound.mllp]
listen = "${env:TOKEN}"
charset = "${env:TOKEN}"
idle_timeout = "${env:TOKEN}"
time_zone = "${env:TOKEN}"
[[route]]
to = "${env:TOKEN}"
purpose = "${env:TOKEN}"
content = "${env:TOKEN}"
"#;
    let told = problems(&[("channels/adt.toml", channel)]);
    assert!(!told.contains(SECRET), "{told}");
    expect![[r#"
        error: channels/adt.toml:1:12: there is no provider
          help: known here: `st-mary`, `region`
        error: channels/adt.toml:2:15: the environment has no `NOWHERE`
          help: set it where tributary is started: Environment=NOWHERE=… in the systemd unit
        error: channels/adt.toml:2:15: cannot read the file `nowhere`: No such file or directory (os error 2)
          help: it is looked for at nowhere; the user that runs tributary must be able to read it
        error: channels/adt.toml:2:15: `${vault:x}` is unknown
          help: there are `${env:NAME}` and `${file:PATH}`; write `$${` for a literal `${`
        error: channels/adt.toml:4:10: what is filled in does not fit here
          help: the value is not shown: it was filled in from elsewhere
        error: channels/adt.toml:5:11: what is filled in does not fit here
          help: the value is not shown: it was filled in from elsewhere
        error: channels/adt.toml:6:16: what is filled in does not fit here
          help: the value is not shown: it was filled in from elsewhere
        error: channels/adt.toml:7:13: what is filled in does not fit here
          help: the value is not shown: it was filled in from elsewhere
        error: channels/adt.toml:9:6: there is no destination
          help: known here: `repository`
        error: channels/adt.toml:10:11: what is filled in does not fit here
          help: the value is not shown: it was filled in from elsewhere
        warning: channels/adt.toml:10:11: this is no code of HL7's value set PurposeOfUse
          help: such as TREAT, HPAYMT, HOPERAT, HRESCH
        error: channels/adt.toml:11:11: what is filled in does not fit here
          help: the value is not shown: it was filled in from elsewhere
        warning: destinations/repository.toml:1:1: no route leads to this destination
          help: add a [[route]] with to = "repository" to a channel"#]]
    .assert_eq(&told);
}

#[test]
fn a_literal_secret_is_blanked_wherever_it_stands() {
    let destination = r#"recipient = "region"
pasword = "hunter2"
[outbound.fhir]
url = "http://127.0.0.1:8090"
tokn = "hunter2"
auth = { barer = { token = "hunter2" } }
secret = { deep = ["hunter2"] }
bearer_token = hunter2
"#;
    let (_dir, site) = load_changed(&[("destinations/repository.toml", destination)]);
    let problems = site.unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| format!("{problem}\n{}", problem.render(false))).collect();
    assert!(problems.len() > 3 && !told.join("\n").contains("hunter2"), "{}", told.join("\n"));
}

#[test]
fn a_literal_secret_is_worth_a_warning() {
    let told = problems(&[(
        "destinations/repository.toml",
        r#"recipient = "region"
[outbound.fhir]
url = "http://127.0.0.1:8090"
auth = { basic = { user = "tributary", password = "hunter2" } }
headers = { X-Api-Key = "${env:TOKEN}", X-Tenant = "willowmere" }
"#,
    )]);
    expect![[r#"
        warning: destinations/repository.toml:4:51: a secret stands in clear in this file
          help: put it into a file that only tributary can read, and write `${file:PATH}` here"#]]
    .assert_eq(&told);
}

#[test]
fn a_site_does_not_print_its_secrets() {
    let destination = r#"recipient = "region"
[outbound.fhir]
url = "http://127.0.0.1:8090"
auth = { bearer = { token = "${env:TOKEN}" } }
headers = { X-Api-Key = "${env:TOKEN}" }
"#;
    let (_dir, site) = load_changed(&[("destinations/repository.toml", destination)]);
    let printed = format!("{:?}", site.unwrap());
    assert!(!printed.contains(SECRET) && printed.contains("8090"));
}
