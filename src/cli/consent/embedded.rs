//! The policies that come with the engine, and the directory of the published vectors.

use anyhow::Context as _;
use message::json::Value;

/// Each jurisdiction pack by name.
const POLICIES: &[(&str, &str)] = &[
    ("au-mhr", include_str!("../../../config/policies/au-mhr.toml")),
    ("ch-epd", include_str!("../../../config/policies/ch-epd.toml")),
    ("de-epa", include_str!("../../../config/policies/de-epa.toml")),
    ("eu-ehds", include_str!("../../../config/policies/eu-ehds.toml")),
    ("in-abdm", include_str!("../../../config/policies/in-abdm.toml")),
    ("nordic", include_str!("../../../config/policies/nordic.toml")),
    ("optin-strict", include_str!("../../../config/policies/optin-strict.toml")),
    ("park-unknown", include_str!("../../../config/policies/park-unknown.toml")),
    ("pcf", include_str!("../../../config/policies/pcf.toml")),
    ("signed-document", include_str!("../../../config/policies/signed-document.toml")),
    ("uk-ndo", include_str!("../../../config/policies/uk-ndo.toml")),
    ("us-tpo", include_str!("../../../config/policies/us-tpo.toml")),
];

/// Whom the published vectors know.
const DIRECTORY: &str = include_str!("../../../tests/consent-vectors/directory.json");

/// The policies that come with the engine.
pub(super) fn policies() -> anyhow::Result<Vec<(String, Value)>> {
    let read = |(name, text): &(&str, &str)| {
        let value: serde_json::Value = toml::from_str(text).with_context(|| format!("the built-in policy {name}"))?;
        Ok(((*name).to_owned(), value.into()))
    };
    POLICIES.iter().map(read).collect()
}

/// The directory of the published vectors.
pub(super) fn directory() -> anyhow::Result<Value> {
    let value: serde_json::Value = serde_json::from_str(DIRECTORY).context("the built-in directory")?;
    Ok(value.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use message::consent::by_entry::Policy;

    use super::*;

    /// What a site reads from TOML is what the published vectors were decided by.
    #[test]
    fn a_pack_says_what_the_published_policy_says() {
        let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consent-vectors/policies");
        let packs = policies().unwrap();
        let mut compared = 0;
        for file in std::fs::read_dir(published).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let value = Value::from(value);
            let (_, pack) = packs.iter().find(|(pack, _)| *pack == name).unwrap();
            let told = |value: &Value| format!("{:?}", Policy::read(&name, value).unwrap());
            assert_eq!(told(pack), told(&value), "{name}");
            compared += 1;
        }
        assert_eq!(compared, 8);
    }

    /// The folder that ships with the program and what is built in are the same.
    #[test]
    fn every_policy_of_the_folder_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policies");
        let packs = policies().unwrap();
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        for file in &files {
            let name = file.file_stem().unwrap().to_string_lossy();
            let (_, pack) = packs.iter().find(|(pack, _)| *pack == *name).unwrap();
            Policy::read(&name, pack).unwrap();
        }
        assert_eq!(files.len(), packs.len());
    }

    /// Every rule of law says which.
    #[test]
    fn every_mandatory_rule_has_its_citation() {
        for (name, pack) in policies().unwrap() {
            let policy = Policy::read(&name, &pack).unwrap();
            for rule in policy.mandatory_deny.iter().chain(&policy.mandatory_permit) {
                assert!(rule.cite.is_some(), "{name}: {}", rule.id);
            }
            assert!(policy.default.contains_key("*"), "{name}");
        }
    }
}
