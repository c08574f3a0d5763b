//! The sites that we ship load without a word, and mean what they should.

use std::path::{Path, PathBuf};

use transforms::hl7v2_to_fhir;

use crate::config::read::{keys_of, tables_in};
use crate::config::{
    Hl7v2ToFhirConfig, InboundKind, InitError, OutboundKind, Overrides, Site, TransformConfig, check, init, load,
    load_with,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn no_env(_: &str) -> Option<String> {
    None
}

#[track_caller]
fn check_loads(dir: &Path) -> Site {
    let site = load(dir, &no_env).unwrap_or_else(|problems| panic!("{}: {problems:#?}", dir.display()));
    assert!(site.warnings.is_empty(), "{:#?}", site.warnings);
    assert!(!site.channels.is_empty() && !site.destinations.is_empty());
    site
}

#[test]
fn the_sample_site_loads() {
    let site = check_loads(&root().join("config"));
    let kinds: Vec<_> = site.channels.values().map(|channel| channel.inbound.key()).collect();
    assert_eq!(kinds, ["file", "http", "mllp"]);
}

#[test]
fn every_example_site_loads() {
    let sites: Vec<_> =
        std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let sites: Vec<_> = sites.iter().filter(|path| path.join("tributary.toml").is_file()).collect();
    assert!(!sites.is_empty());
    sites.into_iter().for_each(|dir| drop(check_loads(dir)));
}

#[test]
fn every_toml_file_of_config_and_examples_belongs_to_a_site() {
    let sites = ["config", "examples/site-three-emrs"].map(|dir| root().join(dir));
    let loaded: Vec<PathBuf> = sites.iter().flat_map(|dir| files_of(&check_loads(dir))).collect();
    for dir in ["config", "examples"] {
        // Policies and label rules are read by `consent lint`, which has a test for each that is shipped.
        let is_policy = |file: &Path| {
            ["policies", "labels"].iter().any(|folder| file.parent().is_some_and(|dir| dir.ends_with(folder)))
        };
        for file in toml_files(&root().join(dir)).into_iter().filter(|file| !is_policy(file)) {
            assert!(loaded.contains(&file), "{} is loaded by no test", file.display());
        }
    }
}

fn files_of(site: &Site) -> Vec<PathBuf> {
    let channels = site.channels.values().map(|channel| channel.file.clone());
    let destinations = site.destinations.values().map(|destination| destination.file.clone());
    let own = ["tributary.toml", "providers.toml"].map(|name| site.dir.join(name));
    let transforms = site.channels.values().flat_map(|channel| &channel.transforms);
    let maps = transforms.filter_map(|transform| match transform {
        TransformConfig::Hl7v2ToFhir(options) => options.maps.as_deref(),
        TransformConfig::Script(_) | TransformConfig::Label(_) => None,
    });
    channels.chain(destinations).chain(own).chain(maps.flat_map(tables_in)).collect()
}

fn toml_files(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.chain(dirs.iter().flat_map(|dir| toml_files(dir))).collect()
}

#[test]
fn drop_folders_are_within_the_data_directory() {
    let overrides = Overrides { data_dir: Some("/srv/data".into()) };
    let site = load_with(&root().join("config"), &overrides, &no_env).unwrap();
    let InboundKind::File(inbound) = &site.channels["harbor-lab"].inbound else { panic!("no drop folder") };
    let OutboundKind::File(outbound) = &site.destinations["archive"].outbound else { panic!("no folder") };
    assert_eq!(inbound.folder, Path::new("/srv/data/in/harbor-lab"));
    assert_eq!(outbound.folder, Path::new("/srv/data/out/archive"));
    assert_eq!(site.engine.admin.socket, Path::new("/srv/data/tributary.sock"));
}

#[test]
fn init_writes_a_site_that_loads() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("new");
    assert_eq!(init(&site).unwrap().len(), 4);
    check_loads(&site);
    assert_eq!(check::run(&site, &no_env).summary(), "ok: 1 channel, 1 destination, 0 warnings");
}

#[test]
fn init_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("providers.toml");
    std::fs::write(&there, "mine").unwrap();
    assert!(matches!(init(dir.path()), Err(InitError::Exists(path)) if path == there));
    assert_eq!(std::fs::read_to_string(there).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_check_of_a_bad_site_ends_with_78() {
    let dir = tempfile::tempdir().unwrap();
    let report = check::run(dir.path(), &no_env);
    assert_eq!((report.exit_code(), report.summary().as_str()), (78, "1 error, 0 warnings"));
    assert!(report.render(false, false).contains("tributary init"));
}

#[test]
fn the_sites_own_table_of_systems_stands_behind_a_providers() {
    let dir = tempfile::tempdir().unwrap();
    let providers = "[st-mary]\nname = \"St Mary\"\nsystems = { MRN = \"urn:oid:1.2.3\" }\n\n[region]\nname = \"R\"\n";
    let table = "name,system\n# all feeds\nMRN,urn:oid:9.9.9\n99LAB, https://lab.example.org/codes\n";
    let changed = [("providers.toml", providers), ("codes/systems.csv", table)];
    let site = super::load_in(dir.path(), &changed).unwrap();
    let systems = |provider: &str| site.providers[provider].systems.clone();
    assert_eq!(systems("st-mary")["MRN"], "urn:oid:1.2.3");
    assert_eq!(systems("region")["MRN"], "urn:oid:9.9.9");
    assert_eq!(systems("st-mary")["99LAB"], "https://lab.example.org/codes");
    let before = site.channels["adt"].hash.clone();

    let table = "name,system\nMRN,9.9.9\n99LAB,https://lab.example.org/codes\n99LAB,urn:x:y\n";
    let problems = super::load_in(dir.path(), &[("codes/systems.csv", table)]).unwrap_err();
    let told: Vec<_> =
        problems.iter().map(|problem| (problem.place.map(|at| at.line), problem.message.as_str())).collect();
    assert_eq!(told, [(Some(2), "a line without a name and an absolute URI"), (Some(4), "`99LAB` stands here twice")]);
    let other = "name,system\n99LAB,urn:x:y\n";
    let changed = [("providers.toml", providers), ("codes/systems.csv", other)];
    assert_ne!(super::load_in(dir.path(), &changed).unwrap().channels["adt"].hash, before);
}

#[test]
fn a_channel_chooses_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let channel = "provider = \"st-mary\"\n[inbound.mllp]\nlisten = \"127.0.0.1:2575\"\n[[transform]]\n\
        hl7v2-to-fhir = { next_of_kin = \"contact\", z_segments = \"extension\" }\n\
        [[route]]\nto = \"repository\"\npurpose = \"TREAT\"\n";
    let site = super::load_in(dir.path(), &[("channels/adt.toml", channel)]).unwrap();
    let TransformConfig::Hl7v2ToFhir(config) = &site.channels["adt"].transforms[0] else { panic!("another step") };
    assert_eq!(config.options.next_of_kin, hl7v2_to_fhir::NextOfKin::Contact);
    assert_eq!(config.options.z_segments, hl7v2_to_fhir::ZSegments::Extension);
    assert_eq!(config.options.encounter_status, hl7v2_to_fhir::EncounterStatus::Event);
}

/// What the transform can be told, a channel's file can say.
#[test]
fn no_option_of_a_transform_is_left_out() {
    let ours = keys_of::<Hl7v2ToFhirConfig>();
    let missing: Vec<_> = keys_of::<hl7v2_to_fhir::Options>().iter().filter(|key| !ours.contains(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
