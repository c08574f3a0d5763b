//! Every mistake is told, with its place.

use expect_test::expect;

use super::{channel, check, check_channel, load_changed, problems};

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

#[test]
fn a_channel_has_one_kind() {
    check_channel(
        "",
        expect![[r#"
        error: channels/adt.toml:1:1: [inbound.…] is missing
          help: add one of [inbound.mllp], [inbound.http], [inbound.file]"#]],
    );
    check_channel(
        "[inbound]",
        expect![[r#"
        error: channels/adt.toml:5:1: [inbound.…] is missing
          help: add one of [inbound.mllp], [inbound.http], [inbound.file]"#]],
    );
    check_channel(
        "[inbound.mllp]\nlisten = \"127.0.0.1:1\"\n[inbound.http]\nlisten = \"127.0.0.1:2\"",
        expect![[r#"
        error: channels/adt.toml:7:10: a second kind, `http`, in [inbound]
          help: keep one of them, and make the other a file of its own"#]],
    );
    check(
        &[("channels/adt.toml", &format!("inbound = \"mllp\"\n{}", channel("")))],
        expect![[r#"
            error: channels/adt.toml:1:11: `inbound` must be a table
              help: write one of [inbound.mllp], [inbound.http], [inbound.file]"#]],
    );
}

#[test]
fn an_address_is_an_address() {
    check_channel(
        "[inbound.mllp]\nlisten = \"localhost:2575\"",
        expect![[r#"
        error: channels/adt.toml:3:6: HL7 v2 cannot go to a FHIR destination
          help: convert it: [[transform]] with hl7v2-to-fhir = {}, and no content = "original"
        error: channels/adt.toml:6:10: this is no socket address
          help: write it like "127.0.0.1:2575""#]],
    );
    check_channel(
        "[inbound.mllp]\nlisten = 2575",
        expect![[r#"
        error: channels/adt.toml:3:6: HL7 v2 cannot go to a FHIR destination
          help: convert it: [[transform]] with hl7v2-to-fhir = {}, and no content = "original"
        error: channels/adt.toml:6:10: expected an address and a port in quotes, like "127.0.0.1:2575", found a whole number"#]],
    );
}

#[test]
fn what_nobody_reads_is_told() {
    let (dir, _) = load_changed(&[
        ("channels/adt.toml.bak", ""),
        ("channels/.adt.toml.swp", ""),
        ("channels/ADT Feed.toml", ""),
        ("chanels/x.toml", ""),
        ("extra.toml", ""),
        ("maps/st-mary/codes.toml", ""),
        ("README.md", ""),
    ]);
    std::fs::write(dir.path().join("channels/latin1.toml"), b"# St. Mary\ndescription = \"M\xe4rz\"\n").unwrap();
    let told: Vec<_> =
        crate::config::load(dir.path(), &super::env).unwrap_err().iter().map(ToString::to_string).collect();
    expect![[r#"
        error: channels/ADT Feed.toml: `ADT Feed` cannot be a name
          help: use small letters, digits, `-` and `_`, and begin with a letter or digit
        warning: channels/adt.toml.bak: is not read: only files that end in .toml are
        error: channels/latin1.toml:2:17: is not UTF-8 from here on
          help: save it as UTF-8
        warning: chanels: is not read
          help: did you mean `channels`?
        warning: extra.toml: is not read
          help: channels and destinations have folders of their own
        warning: maps/st-mary: is not read: no channel takes it
          help: a channel takes a folder of tables by `hl7v2-to-fhir = { maps = "NAME" }`"#]]
    .assert_eq(&told.join("\n").replace(&format!("{}/", dir.path().display()), ""));
}

#[test]
fn an_empty_folder_is_no_site() {
    let dir = tempfile::tempdir().unwrap();
    let told: Vec<_> =
        crate::config::load(dir.path(), &super::env).unwrap_err().iter().map(ToString::to_string).collect();
    expect![[r#"
        error: DIR/tributary.toml: there is no such file
          help: `tributary init DIR` writes a site to begin with"#]]
    .assert_eq(&told.join("\n").replace(&dir.path().display().to_string(), "DIR"));
}

#[test]
fn a_key_nested_without_end_is_no_danger() {
    let deep = format!("{}a = 1\n", "a.".repeat(500_000));
    check(&[("tributary.toml", &deep)], expect!["error: tributary.toml:1:1: tables are nested too deep"]);
}

/// Each of these would take hours if all its mistakes were told.
#[test]
fn a_file_of_mistakes_is_cut_short() {
    let unknown: String = (0..100_000).map(|n| format!("a{n} = 1\n")).collect();
    let headers = (0..50_000).map(|n| format!("\"h{n}\" = 1, ")).collect::<String>();
    let wrong =
        format!("recipient = \"region\"\n[outbound.fhir]\nurl = \"http://127.0.0.1:1\"\nheaders = {{ {headers} }}\n");
    let broken = "= x\n".repeat(100_000);
    let found = problems(&[
        ("tributary.toml", &unknown),
        ("destinations/repository.toml", &wrong),
        ("providers.toml", &broken),
    ]);
    assert!((110..=310).contains(&found.matches("error: ").count()), "{}", found.matches("error: ").count());
}

/// A site with an error must not run because there are so many warnings before it.
#[test]
fn an_error_is_told_however_many_warnings_there_are() {
    let routes = "[[route]]\nto = \"repository\"\npurpose = \"XX\"\n".repeat(300);
    let channel = format!("provider = \"nobody\"\n[inbound.http]\nlisten = \"127.0.0.1:1\"\n{routes}");
    let found = problems(&[("channels/adt.toml", &channel)]);
    assert!(found.contains("there is no provider `nobody`") && found.matches("warning: ").count() < 110);
}
