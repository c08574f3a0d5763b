//! What must be true of a site beyond its syntax: what is used is there, once, and fits.

use expect_test::expect;

use super::{channel, check, check_channel, check_destination, load_changed};

#[test]
fn a_port_is_used_once() {
    check(
        &[
            ("tributary.toml", "[admin]\nlisten = \"127.0.0.1:2575\"\n"),
            ("channels/oru.toml", &channel("[inbound.http]\nlisten = \"127.0.0.1:2575\"")),
            (
                "channels/off.toml",
                &format!("enabled = false\n{}", channel("[inbound.http]\nlisten = \"127.0.0.1:2575\"")),
            ),
        ],
        expect![[r#"
            error: channels/adt.toml:4:10: port 2575 is used twice
              help: give one of them another port; the other is in tributary.toml
            error: channels/oru.toml:6:10: port 2575 is used twice
              help: give one of them another port; the other is in tributary.toml"#]],
    );
}

#[test]
fn a_folder_is_read_by_one_channel() {
    let fhir = |folder: &str| channel(&format!("[inbound.file]\nformat = \"fhir\"\nfolder = \"{folder}\""));
    check(
        &[("channels/a.toml", &fhir("in/a")), ("channels/b.toml", &fhir("in/../in/./a"))],
        expect![[r#"
        error: channels/b.toml:7:10: two channels take files from this folder
          help: give each its own; the other is in channels/a.toml"#]],
    );
}

#[test]
fn a_destination_gets_what_it_can_take() {
    let fhir = "provider = \"st-mary\"\n[inbound.http]\nlisten = \"127.0.0.1:1\"\n[[transform]]\nhl7v2-to-fhir = {}\n[[route]]\nto = \"emr\"\npurpose = \"TREAT\"\n";
    check(
        &[
            ("channels/adt.toml", &channel("content = \"original\"\n[inbound.mllp]\nlisten = \"127.0.0.1:2\"")),
            ("channels/http.toml", fhir),
            ("destinations/emr.toml", "recipient = \"region\"\n[outbound.mllp]\naddress = \"127.0.0.1:3\"\n"),
        ],
        expect![[r#"
            error: channels/adt.toml:3:6: HL7 v2 cannot go to a FHIR destination
              help: convert it: [[transform]] with hl7v2-to-fhir = {}, and no content = "original"
            error: channels/http.toml:5:17: what comes here is FHIR already
              help: leave this [[transform]] out
            error: channels/http.toml:7:6: FHIR cannot go to an MLLP destination
              help: write content = "original" in this route, or leave the transform out"#]],
    );
}

#[test]
fn clear_text_off_this_machine_needs_a_reason() {
    let listen = "[inbound.mllp]\nlisten = \"0.0.0.0:2575\"\n[[transform]]\nhl7v2-to-fhir = {}";
    check_channel(
        listen,
        expect![[r#"
        error: channels/adt.toml:5:1: messages arrive in clear text, to be read on the way
          help: listen on 127.0.0.1, or say why it may be so: plain_text = "the reason""#]],
    );
    check_channel(
        &listen.replace("[[tr", "plain_text = \" \"\n[[tr"),
        expect![[r#"
        error: channels/adt.toml:5:1: messages arrive in clear text, to be read on the way
          help: listen on 127.0.0.1, or say why it may be so: plain_text = "the reason""#]],
    );
    check_channel(&listen.replace("[[tr", "plain_text = \"a VLAN of its own\"\n[[tr"), expect![[""]]);
    let fhir = |url: &str| format!("recipient = \"region\"\n[outbound.fhir]\nurl = \"{url}\"\n");
    check_destination(
        &fhir("http://ehr.example/fhir"),
        expect![[r#"
        error: destinations/repository.toml:2:1: messages leave in clear text, to be read on the way
          help: use https://, or say why it may be so: plain_text = "the reason""#]],
    );
    check_destination(&fhir("https://ehr.example/fhir"), expect![[""]]);
    check_destination(&fhir("http://[::1]:8090"), expect![[""]]);
}

/// What an audit tells is restricted: it leaves as messages do.
#[test]
fn the_audit_does_not_leave_in_clear_text_without_a_reason() {
    #[track_caller]
    fn check_audit(text: &str, expected: expect_test::Expect) {
        check(&[("tributary.toml", text)], expected);
    }
    let to = |url: &str, more: &str| format!("[audit.repository]\nurl = \"{url}\"\n{more}");
    check_audit(
        &to("http://arr.example/fhir", ""),
        expect![[r#"
        error: tributary.toml:1:1: the audit leaves in clear text, to be read on the way
          help: use https://, or say why it may be so: plain_text = "the reason""#]],
    );
    check_audit(&to("http://arr.example/fhir", "plain_text = \"a VLAN of its own\"\n"), expect![[""]]);
    check_audit(&to("https://arr.example/fhir", ""), expect![[""]]);
    check_audit(
        "[audit.syslog]\naddress = \"arr.example:6514\"\nca_file = \"none.pem\"\n",
        expect![[r#"
        error: tributary.toml:3:11: there is no such file
          help: it is looked for at none.pem"#]],
    );
    check_audit(
        "[audit.syslog]\naddress = \"arr.example:6514\"\n",
        expect!["error: tributary.toml:1:1: `ca_file` is missing in [audit.syslog]"],
    );
}

#[test]
fn numbers_are_in_their_bounds() {
    check_destination(
        r#"recipient = "region"
rate = 0.0
concurrency = 0
min_interval = 5
[retry]
first = "10m"
factor = 0.5
jitter = 2
attempts = { unavailable = "always", unknown = 0, erred = 1.5 }
[outbound.fhir]
url = "http://localhost:8090"
"#,
        expect![[r#"
            error: destinations/repository.toml:2:8: `rate` must be more than 0
            error: destinations/repository.toml:3:15: expected a whole number from 1 on
            error: destinations/repository.toml:4:16: expected a length of time in quotes, like "30s" or "5m", found a whole number
            error: destinations/repository.toml:7:10: `factor` must be 1 or more
            error: destinations/repository.toml:8:10: `jitter` must be between 0 and 1
            error: destinations/repository.toml:9:28: expected a number of attempts from 1 on, or "unlimited"
            error: destinations/repository.toml:9:48: attempts must be 1 or more
            error: destinations/repository.toml:9:59: expected a number of attempts from 1 on, or "unlimited", found a number"#]],
    );
    check_destination(
        "recipient = \"region\"\n[retry]\nfirst = \"10m\"\n[outbound.fhir]\nurl = \"http://localhost:8090\"\n",
        expect!["error: destinations/repository.toml:3:9: the longest wait (300s) is shorter than the first (600s)"],
    );
}

#[test]
fn names_that_are_missing_are_told() {
    check(
        &[
            ("providers.toml", "[st-mary]\nname = \"St Mary\"\nsystem = \"urn:oid:1.2\"\n[region]\n"),
            ("channels/adt.toml", "[inbound.mllp]\n[[route]]\nto = []\n[[route]]\n"),
            ("destinations/repository.toml", "rate = 1\n"),
        ],
        expect![[r#"
            error: providers.toml:1:1: `value` is missing in [st-mary]
              help: an identifier is a `system` (a URI) and a `value` in it
            error: providers.toml:4:1: `name` is missing in [region]
            error: channels/adt.toml:1:1: `listen` is missing in [inbound.mllp]
            error: channels/adt.toml:1:1: `provider` is missing
              help: add provider = "KEY", a key of providers.toml
            error: channels/adt.toml:2:1: `purpose` is missing in [[route]]
            error: channels/adt.toml:3:6: `to` is empty
            error: channels/adt.toml:4:1: `to` is missing in [[route]]
            error: channels/adt.toml:4:1: `purpose` is missing in [[route]]
            error: destinations/repository.toml:1:1: [outbound.…] is missing
              help: add one of [outbound.fhir], [outbound.mllp], [outbound.file]
            error: destinations/repository.toml:1:1: `recipient` is missing
              help: add recipient = "KEY", a key of providers.toml
            warning: destinations/repository.toml:1:1: no route leads to this destination
              help: add a [[route]] with to = "repository" to a channel"#]],
    );
}

#[test]
fn files_that_are_referred_to_must_be_there() {
    check_channel(
        r#"[inbound.mllp]
listen = "127.0.0.1:1"
[[transform]]
hl7v2-to-fhir = { maps = "st-mary" }
[[test]]
name = "a discharge"
send = "adt-a03.hl7"
expect = { to = "registry" }
"#,
        expect![[r#"
            error: channels/adt.toml:8:26: there is no such folder of maps
              help: make the folder maps/st-mary for the site's own rows, or leave `maps` out
            error: channels/adt.toml:11:8: there is no such file
              help: it is looked for at channels/adt-a03.hl7
            error: channels/adt.toml:12:17: there is no destination `registry`
              help: known here: `repository`"#]],
    );
}

#[test]
fn a_channel_without_routes_is_worth_a_warning() {
    check(
        &[("channels/adt.toml", "provider = \"st-mary\"\n[inbound.mllp]\nlisten = \"127.0.0.1:1\"\n")],
        expect![[r#"
            warning: channels/adt.toml:1:1: no route leads out of this channel
              help: add a [[route]] with `to` and `purpose`; without one, every message ends as filtered
            warning: destinations/repository.toml:1:1: no route leads to this destination
              help: add a [[route]] with to = "repository" to a channel"#]],
    );
}

#[test]
fn the_engine_has_rules_of_its_own() {
    check(
        &[(
            "tributary.toml",
            r#"base_uri = "https://ehr.example/"
time_zone = "Mars/Olympus"
[admin]
listen = "0.0.0.0:9180"
[log]
level = "tributary=loud"
[store]
segment = "64 furlongs"
keep = "-3d"
"#,
        )],
        expect![[r#"
            error: tributary.toml:1:12: this is no absolute URI to build others on
              help: write it like "https://ehr.example.org/tributary", without a final `/`
            error: tributary.toml:2:13: this is no IANA time zone
              help: write it like `America/Chicago`
            error: tributary.toml:4:10: the admin port must be on a loopback address
              help: write "127.0.0.1:PORT", and reach it from elsewhere through a proxy that asks who it is
            error: tributary.toml:6:9: this is no log filter
              help: write a level (error, warn, info, debug, trace) or a filter like "warn,tributary=debug"
            error: tributary.toml:8:11: `64 furlongs` is no size
              help: write it like "64MiB" or "500kB"
            error: tributary.toml:9:8: `-3d` is no length of time
              help: write it with a unit, like "200ms", "30s" or "5m""#]],
    );
}

#[test]
fn a_condition_is_wrong_at_its_very_character() {
    let with = |when: &str| {
        format!("when = {when}\n[inbound.mllp]\nlisten = \"127.0.0.1:1\"\n[[transform]]\nhl7v2-to-fhir = {{}}")
    };
    check_channel(
        &with("\"MSH-9.1 == 'ADT'\""),
        expect![[r#"
        error: channels/adt.toml:5:17: `==` is not known here
          help: did you mean `=`?"#]],
    );
    check_channel(
        &with("\"MSH-9.1 in ['ADT'\""),
        expect!["error: channels/adt.toml:5:26: a `,` or `]` is missing in the list"],
    );
    check_channel(
        &with("'MSH-9.1 = \"ADT\" adn PV1-2 = \"I\"'"),
        expect!["error: channels/adt.toml:5:25: `and`, `or` or the end is expected here"],
    );
    check_channel(
        &with("\"MSH-9.1 = \\\"ADT\\\" xor true\""),
        expect!["error: channels/adt.toml:5:8: `and`, `or` or the end is expected here (at character 17)"],
    );
}

#[test]
fn a_certificate_must_be_there() {
    check_destination(
        "recipient = \"region\"\n[outbound.fhir]\nurl = \"https://ehr.example/fhir\"\nca_file = \"tls/ca.pem\"\n",
        expect![[r#"
            error: destinations/repository.toml:4:11: there is no such file
              help: it is looked for at tls/ca.pem"#]],
    );
}

#[test]
fn the_protocols_own_values_are_checked() {
    check_channel(
        r#"[inbound.mllp]
listen = "127.0.0.1:1"
max_message_bytes = "64MB "
window = 0
idle_timeout = "1 fortnight"
charset = "EBCDIC"
acknowledge = "storde"
[[transform]]
hl7v2-to-fhir = { map = "x" }
"#,
        expect![[r#"
            error: channels/adt.toml:8:10: expected a whole number from 1 on
            error: channels/adt.toml:9:16: `1 fortnight` is no length of time
              help: write it with a unit, like "200ms", "30s" or "5m"
            error: channels/adt.toml:10:11: `EBCDIC` is no character set that is read here
              help: write it like "UNICODE UTF-8", "8859/1" or "windows-1252"
            error: channels/adt.toml:11:15: `storde` is unknown here
              help: did you mean `stored`?
            error: channels/adt.toml:13:19: unknown key `map` in [transform.hl7v2-to-fhir]
              help: did you mean `maps`?"#]],
    );
    check_destination(
        r#"recipient = "region"
[outbound.mllp]
address = "downstream"
answers = { AA = "ok", XX = "dead" }
"#,
        expect![[r#"
            error: channels/adt.toml:10:6: FHIR cannot go to an MLLP destination
              help: write content = "original" in this route, or leave the transform out
            error: destinations/repository.toml:3:11: `downstream` is no address
              help: write a host and a port, like "emr.example:2575"
            error: destinations/repository.toml:4:18: `ok` is unknown here
              help: known here: `delivered`, `retry`, `dead`
            error: destinations/repository.toml:4:24: unknown key `XX` in [outbound.mllp.answers]
              help: known here: `AA`, `AE`, `AR`, `CA`, `CE`, `CR`"#]],
    );
    check_channel(
        "[inbound.file]\nfolder = \"in\"\npattern = \"[\"\nready = \"stabel\"",
        expect![[r#"
        error: channels/adt.toml:7:11: error parsing glob '[': unclosed character class
          help: missing ']'
        error: channels/adt.toml:8:9: `stabel` is unknown here
          help: did you mean `stable`?"#]],
    );
}

#[test]
fn a_sites_own_maps_are_compiled() {
    let transform = "[inbound.mllp]\nlisten = \"127.0.0.1:1\"\n[[transform]]\nhl7v2-to-fhir = { maps = \"st-mary\" }";
    let channel = channel(transform);
    let with = |text| [("channels/adt.toml", channel.as_str()), ("maps/st-mary/segments/PID[Patient].toml", text)];
    check(
        &with("[[row]]\nfrom = \"PID-8\"\nto = \"gendre\"\n"),
        expect![[r#"
        error: maps/st-mary/segments/PID[Patient].toml:3:6: R4's Patient has no element `gendre`
          help: did you mean `gender`?"#]],
    );
    let (dir, site) = load_changed(&with("# ours\n[[row]]\nfrom = \"PID-8\"\nto = \"gendre\"\n"));
    let shown = site.unwrap_err().iter().map(|problem| problem.render(false)).collect::<String>();
    expect![[r#"
        error: R4's Patient has no element `gendre`
         --> maps/st-mary/segments/PID[Patient].toml:4:6
          |
        4 | to = "gendre"
          |      ^
          |
          = help: did you mean `gender`?"#]]
    .assert_eq(&shown.replace(&format!("{}/", dir.path().display()), ""));
}

#[test]
fn tables_that_change_nothing_are_told() {
    let transform = "[inbound.mllp]\nlisten = \"127.0.0.1:1\"\n[[transform]]\nhl7v2-to-fhir = { maps = \"st-mary\" }";
    let row = "[[row]]\nfrom = \"PID-8\"\nto = \"gender\"\nas = \"CWE[code]\"\n";
    check(
        &[
            ("channels/adt.toml", channel(transform).as_str()),
            ("maps/st-mary/segments/PID[Patient].toml", row),
            ("maps/st-mary/segments/PID[Patient-Ward].toml", row),
            ("maps/st-mary/codes/Sex.csv", "from,to\nF,female\n"),
            ("maps/st-mary/codes/CodingSystem.toml", ""),
            ("maps/st-mary/segments/PV1.toml.old", ""),
            ("maps/st-mary/segment/PV1[Encounter].toml", ""),
            ("maps/st-mary/README.txt", ""),
            ("maps/st-marys/codes/AdministrativeSex.toml", ""),
        ],
        expect![[r#"
        warning: maps/st-mary/codes/Sex.csv: no message goes through it: what it says changes nothing
          help: compare its name with `tributary maps show SEGMENT`, or name it in `as` or `code` of a row
        warning: maps/st-mary/segments/PID[Patient-Ward].toml: no message goes through it: what it says changes nothing
          help: compare its name with `tributary maps show SEGMENT`, or name it in `as` or `code` of a row
        warning: maps/st-mary/segment: is not read: it is no folder of tables
          help: tables stand in segments/, datatypes/, codes/, messages/, blocks/
        warning: maps/st-mary/segments/PV1.toml.old: is not read: it is no table
          help: tables are files NAME.toml, codes also NAME.csv
        warning: maps/st-marys: is not read: no channel takes it
          help: a channel takes a folder of tables by `hl7v2-to-fhir = { maps = "NAME" }`"#]],
    );
}

#[test]
fn label_rules_are_tried() {
    let rules = r#"[inbound.mllp]
listen = "127.0.0.1:1"
[[transform]]
hl7v2-to-fhir = { structur = "ADT_A01" }
[stamp]
documents = "hole"
[[stamp.label]]
from = "PV1-10"
value = ["PSY"]
on = "visits"
[[stamp.label]]
from = "ZPS-2"
labels = ["R"]
"#;
    check_channel(
        rules,
        expect![[r#"
        error: channels/adt.toml:8:19: unknown key `structur` in [transform.hl7v2-to-fhir]
          help: did you mean `structure`?
        error: channels/adt.toml:10:13: `hole` is unknown here
          help: did you mean `whole`?
        error: channels/adt.toml:14:6: `visits` is unknown here
          help: did you mean `visit`?
        error: channels/adt.toml:15:1: `on` is missing in [[stamp.label]]
        error: channels/adt.toml:17:1: unknown key `labels` in [[stamp.label]]
          help: did you mean `label`?"#]],
    );
    let rules = r#"[inbound.mllp]
listen = "127.0.0.1:1"
[[transform]]
hl7v2-to-fhir = {}
[[stamp.label]]
from = "PV1-10"
value = ["PSY"]
on = "visit"
label = ["R"]
[[stamp.label]]
from = "PV1"
on = "visit"
label = ["R"]
[[stamp.label]]
from = "PV1-10"
on = "visit"
label = ["secret stuff"]
"#;
    check_channel(
        rules,
        expect![[r#"
        error: channels/adt.toml:14:1: label rule for `PV1`: `PV1` must name a field or a component, such as PV1-3.1
        error: channels/adt.toml:18:1: label rule for `PV1-10`: `secret stuff` is no label: write a Confidentiality or ActCode code, such as R or HIV"#]],
    );
}

#[test]
fn services_are_what_they_should_be() {
    check(
        &[(
            "services.toml",
            "[consent.a]\nurl = \"http://consent.example.org\"\n[consent.b]\nur = \"x\"\n[identity]\nurl = \"https://m\"\ncach = \"1m\"\n[mpi]\nurl = \"x\"\n",
        )],
        expect![[r#"
            error: services.toml:1:1: who the patients are leaves in clear text, to be read on the way
              help: use https://, or say why it may be so: plain_text = "the reason"
            error: services.toml:4:1: unknown key `ur` in [consent.b]
              help: did you mean `url`?
            error: services.toml:7:1: unknown key `cach` in [identity]
              help: did you mean `cache`?
            error: services.toml:8:2: unknown kind of service `mpi`
              help: known here: `consent`, `identity`"#]],
    );
    check_destination(
        "consent_service = \"a\"\n[outbound.fhir]\nurl = \"http://127.0.0.1:1\"\n",
        expect![[r#"
        error: destinations/repository.toml:1:1: `recipient` is missing
          help: add recipient = "KEY", a key of providers.toml
        error: destinations/repository.toml:1:19: a consent service decides nothing without a policy
          help: add policy = "NAME": what the law says, and what is done where the service knows of no consent
        error: destinations/repository.toml:1:19: there is no consent service `a`
          help: there are none yet"#]],
    );
}
