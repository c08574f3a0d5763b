//! `docs/configuration.md` has every key and every default of the program, and none besides.

use std::path::Path;

use channels::lookup::LookupConfig;
use channels::{fhir, file, http, mllp, syslog};
use message::Provider;
use transforms::stamp::{LabelRule, StampOptions};

use super::{env, load_in};
use crate::config::read::{ChannelTop, DestinationTop, InboundCommon, OutboundCommon, keys_of};
use crate::config::{
    AdminConfig, Attempts, AuditConfig, AuditRepositoryConfig, EngineConfig, Expectation, Hl7v2ToFhirConfig,
    KeepConfig, LateConfig, LimitsConfig, LogConfig, PauseConfig, RetryConfig, RouteConfig, ScriptConfig, SignConfig,
    Site, StoreConfig, TestConfig, load,
};

/// One table of the page.
struct Table {
    heading: &'static str,
    keys: Vec<&'static str>,
}

fn table(heading: &'static str, keys: &[&'static str]) -> Table {
    Table { heading, keys: keys.to_vec() }
}

/// A protocol's keys, without those that every protocol has.
fn own(heading: &'static str, keys: &[&'static str], common: &[&'static str]) -> Table {
    Table { heading, keys: keys.iter().filter(|key| !common.contains(key)).copied().collect() }
}

fn tables() -> Vec<Table> {
    let (inbound, outbound) = (keys_of::<InboundCommon>(), keys_of::<OutboundCommon>());
    vec![
        table(
            "`tributary.toml`, at its top",
            &without(keys_of::<EngineConfig>(), &["admin", "log", "store", "limits", "audit"]),
        ),
        table("`[admin]`", keys_of::<AdminConfig>()),
        table("`[log]`", keys_of::<LogConfig>()),
        table("`[store]`", keys_of::<StoreConfig>()),
        table("`[limits]`", keys_of::<LimitsConfig>()),
        table("`[audit]`", &without(keys_of::<AuditConfig>(), &["repository", "syslog"])),
        table("`[audit.repository]`", keys_of::<AuditRepositoryConfig>()),
        table("`[audit.syslog]`", keys_of::<syslog::Config>()),
        table("`[PROVIDER]`", keys_of::<Provider>()),
        table("`channels/NAME.toml`, at its top", keys_of::<ChannelTop>()),
        table("`[inbound.…]`, whatever the protocol", inbound),
        own("`[inbound.mllp]`", keys_of::<mllp::InboundConfig>(), inbound),
        own("`[inbound.http]`", keys_of::<http::InboundConfig>(), inbound),
        own("`[inbound.file]`", keys_of::<file::InboundConfig>(), inbound),
        table("`[[transform]]`, `hl7v2-to-fhir = { … }`", keys_of::<Hl7v2ToFhirConfig>()),
        table("`[[transform]]`, `script = { … }`", keys_of::<ScriptConfig>()),
        table("`[[route]]`", keys_of::<RouteConfig>()),
        table("`[late_events]`", keys_of::<LateConfig>()),
        table("`[stamp]`", keys_of::<StampOptions>()),
        table("`[[stamp.label]]`", keys_of::<LabelRule>()),
        table("`[[test]]`", keys_of::<TestConfig>()),
        table("`[[test]]`, `expect = { … }`", keys_of::<Expectation>()),
        table("`destinations/NAME.toml`, at its top", keys_of::<DestinationTop>()),
        table("`sign = { … }`", keys_of::<SignConfig>()),
        table("`[outbound.…]`, whatever the protocol", outbound),
        own("`[outbound.fhir]`", keys_of::<fhir::OutboundConfig>(), outbound),
        own("`[outbound.mllp]`", keys_of::<mllp::OutboundConfig>(), outbound),
        table("`[outbound.mllp.answers]`", keys_of::<mllp::Answers>()),
        own("`[outbound.file]`", keys_of::<file::OutboundConfig>(), outbound),
        table("`[retry]`", keys_of::<RetryConfig>()),
        table("`[retry.attempts]`", keys_of::<Attempts>()),
        table("`[pause]`", keys_of::<PauseConfig>()),
        table("`[consent.NAME]`, `[identity]`", keys_of::<LookupConfig>()),
        table("`[identity]` besides", keys_of::<KeepConfig>()),
    ]
}

fn without(keys: &[&'static str], others: &[&str]) -> Vec<&'static str> {
    keys.iter().filter(|key| !others.contains(key)).copied().collect()
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap()
}

/// The rows of the table under `heading`: key and default as they are written.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<(&'p str, &'p str)> {
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n#").next().unwrap();
    let cells = |line: &'p str| line.strip_prefix("| `").map(|line| line.split(" | ").collect::<Vec<_>>());
    section.lines().filter_map(cells).map(|cells| (cells[0].trim_end_matches('`'), cells[1])).collect()
}

#[test]
fn every_key_is_on_the_page_and_no_other() {
    let page = page();
    for Table { heading, keys } in tables() {
        let mut written: Vec<_> = rows(&page, heading).into_iter().map(|(key, _)| key).collect();
        let mut keys = keys;
        written.sort_unstable();
        keys.sort_unstable();
        assert_eq!(written, keys, "under {heading}");
    }
    assert_eq!(page.matches("\n### `").count(), tables().len(), "headings that this test does not know");
}

/// The defaults under `heading` as TOML, where they are literals.
fn defaults(page: &str, heading: &str) -> String {
    let literal = |text: &str| text.strip_prefix('`').and_then(|text| text.strip_suffix('`')).map(str::to_owned);
    let rows = rows(page, heading).into_iter().filter_map(|(key, default)| Some((key, literal(default)?)));
    rows.map(|(key, default)| format!("{key} = {default}\n")).collect()
}

/// Everything but hashes, in words.
fn described(site: &Site) -> String {
    let mut site = site.clone();
    site.hash.clear();
    site.channels.values_mut().for_each(|channel| channel.hash.clear());
    site.destinations.values_mut().for_each(|destination| destination.hash.clear());
    format!("{site:#?}")
}

/// Writing the page's defaults out changes nothing: `file` has the `needed` lines, then tables with their `headings`.
#[track_caller]
fn check_defaults(file: &str, needed: &[&str], headings: &[&str], beside: &[(&str, &str)]) {
    let page = page();
    let text = |with: bool| {
        let part = |(needed, heading): (&&str, &&str)| {
            needed.to_string() + &if with && !heading.is_empty() { defaults(&page, heading) } else { String::new() }
        };
        needed.iter().zip(headings).map(part).collect::<String>()
    };
    let dir = tempfile::tempdir().unwrap();
    load_in(dir.path(), &[]).unwrap();
    beside.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
    let site = |with| {
        std::fs::write(dir.path().join(file), text(with)).unwrap();
        load(dir.path(), &env).unwrap_or_else(|problems| panic!("{}\n{problems:#?}", text(with)))
    };
    assert_ne!(text(true), text(false));
    assert_eq!(described(&site(true)), described(&site(false)));
}

const ROUTE: &str = "[[route]]\nto = \"repository\"\npurpose = \"TREAT\"\n";

#[test]
fn the_engines_defaults_are_right() {
    check_defaults(
        "tributary.toml",
        &[
            "",
            "[admin]\n",
            "[log]\n",
            "[store]\n",
            "[limits]\n",
            "[audit.repository]\nurl = \"https://arr.example.org/fhir\"\n",
            "[audit.syslog]\naddress = \"arr.example.org:6514\"\nca_file = \"providers.toml\"\n",
        ],
        &[
            "`tributary.toml`, at its top",
            "`[admin]`",
            "`[log]`",
            "`[store]`",
            "`[limits]`",
            "`[audit.repository]`",
            "`[audit.syslog]`",
        ],
        &[],
    );
    check_defaults(
        "providers.toml",
        &["[st-mary]\nname = \"S\"\n", "[region]\nname = \"R\"\n"],
        &["`[PROVIDER]`", ""],
        &[],
    );
}

#[test]
fn the_channels_defaults_are_right() {
    let top = ("provider = \"st-mary\"\n", "`channels/NAME.toml`, at its top");
    let common = "`[inbound.…]`, whatever the protocol";
    let convert = ("[[transform]]\n[transform.hl7v2-to-fhir]\n", "`[[transform]]`, `hl7v2-to-fhir = { … }`");
    let rest = [
        (ROUTE, "`[[route]]`"),
        ("[late_events]\n", "`[late_events]`"),
        ("[stamp]\n", "`[stamp]`"),
        ("[[stamp.label]]\nfrom = \"ZPS-2\"\non = \"visit\"\n", "`[[stamp.label]]`"),
    ];
    for (protocol, heading, hl7) in [
        ("[inbound.mllp]\nlisten = \"127.0.0.1:1\"\n", "`[inbound.mllp]`", true),
        ("[inbound.http]\nlisten = \"127.0.0.1:1\"\n", "`[inbound.http]`", false),
        ("[inbound.file]\nfolder = \"in\"\n", "`[inbound.file]`", true),
    ] {
        let parts = [top, (protocol, heading), ("", common)].into_iter().chain(hl7.then_some(convert)).chain(rest);
        let (needed, headings): (Vec<_>, Vec<_>) = parts.unzip();
        check_defaults("channels/adt.toml", &needed, &headings, &[]);
    }
}

#[test]
fn the_destinations_defaults_are_right() {
    let retry = [("[retry]\n", "`[retry]`"), ("[retry.attempts]\n", "`[retry.attempts]`"), ("[pause]\n", "`[pause]`")];
    let top = ("recipient = \"region\"\n", "`destinations/NAME.toml`, at its top");
    let answers = ("[outbound.mllp.answers]\n", "`[outbound.mllp.answers]`");
    for (protocol, heading) in [
        ("[outbound.fhir]\nurl = \"http://127.0.0.1:8090\"\n", "`[outbound.fhir]`"),
        ("[outbound.mllp]\naddress = \"127.0.0.1:2576\"\n", "`[outbound.mllp]`"),
        ("[outbound.file]\nfolder = \"out\"\n", "`[outbound.file]`"),
    ] {
        let mllp_only = protocol.contains("mllp");
        let mllp = mllp_only.then_some(answers);
        let parts = [top].into_iter().chain(retry).chain([(protocol, heading)]).chain(mllp);
        let (needed, headings): (Vec<_>, Vec<_>) = parts.unzip();
        let original = super::GOOD[2].1.replace("to =", "content = \"original\"\nto =");
        let beside = [("channels/adt.toml", original.as_str())];
        let beside = if mllp_only { &beside[..] } else { &[] };
        check_defaults("destinations/repository.toml", &needed, &headings, beside);
    }
}

#[test]
fn the_services_defaults_are_right() {
    let page = page();
    let read = |with: bool| {
        let written = |heading| if with { defaults(&page, heading) } else { String::new() };
        let all = written("`[consent.NAME]`, `[identity]`");
        let url = "url = \"https://a.example\"\n";
        let text = format!("[consent.a]\n{url}{all}[identity]\n{url}{all}{}", written("`[identity]` besides"));
        let dir = tempfile::tempdir().unwrap();
        load_in(dir.path(), &[("services.toml", &text)]).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
    };
    let (short, long) = (read(false).consent.services.clone(), read(true).consent.services.clone());
    assert!(short.identity.is_some() && short.consent.len() == 1);
    assert_eq!(format!("{short:#?}"), format!("{long:#?}"));
}
