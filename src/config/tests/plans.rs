//! What a reload would change.

use expect_test::{Expect, expect};

use super::load_in;
use crate::config::{Effect, plan};

/// What changes from the good site with `before` to the one with `after`.
#[track_caller]
fn check(before: &[(&str, &str)], after: &[(&str, &str)], expected: Expect) {
    let dir = tempfile::tempdir().unwrap();
    let site = |changed| load_in(&dir.path().join("site"), changed).unwrap_or_else(|problems| panic!("{problems:?}"));
    let old = site(before);
    std::fs::remove_dir_all(dir.path().join("site")).unwrap();
    let changes = plan(&old, &site(after));
    let lines: Vec<_> = changes.iter().filter(|c| c.effect != Effect::Unchanged).map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n"));
}

const ORU: (&str, &str) = (
    "channels/oru.toml",
    "provider = \"st-mary\"\n[inbound.file]\nfolder = \"in\"\n[[route]]\nto = \"repository\"\npurpose = \"TREAT\"\n",
);

#[test]
fn the_same_site_changes_nothing() {
    check(&[ORU], &[ORU], expect![""]);
}

#[test]
fn channels_come_go_and_change() {
    check(&[], &[ORU], expect!["+ channel oru: added"]);
    check(&[ORU], &[], expect!["- channel oru: removed"]);
    check(&[ORU], &[(ORU.0, &format!("description = \"x\"\n{}", ORU.1))], expect!["~ channel oru: changed"]);
}

#[test]
fn a_provider_changes_what_names_it() {
    let providers = "[st-mary]\nname = \"St Mary's\"\n[region]\nname = \"Regional EHR\"\n";
    check(&[], &[("providers.toml", providers)], expect!["~ channel adt: changed"]);
}

#[test]
fn the_engine_takes_a_restart() {
    check(&[], &[("tributary.toml", "name = \"other\"\n")], expect!["~ engine: changed, takes a restart"]);
}

#[test]
fn a_changed_secret_is_a_change_but_no_other_hash() {
    let dir = tempfile::tempdir().unwrap();
    let channel = format!("description = \"${{file:secret}}\"\n{}", ORU.1);
    let site = |secret| load_in(dir.path(), &[("secret", secret), (ORU.0, &channel)]).unwrap();
    let (old, new) = (site("one"), site("two"));
    assert_eq!(old.hash, new.hash);
    let changed: Vec<_> = plan(&old, &new).into_iter().filter(|c| c.effect == Effect::Changed).collect();
    expect![[r#"[Change { part: Channel("oru"), effect: Changed }]"#]].assert_eq(&format!("{changed:?}"));
    assert!(!format!("{old:?}").contains(&old.channels["oru"].filled.0.to_string()));
}

#[test]
fn maps_belong_to_their_channel() {
    let channel = super::GOOD[2].1.replace("hl7v2-to-fhir = {}", "hl7v2-to-fhir = { maps = \"st-mary\" }");
    let adt = ("channels/adt.toml", channel.as_str());
    let maps = |text| [adt, ("maps/st-mary/codes/sex.toml", text)];
    check(&maps("# one\n"), &maps("# two\n"), expect!["~ channel adt: changed"]);
}
