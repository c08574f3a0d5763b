//! A site of any bytes loads, or tells at least one mistake.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use tributary::config;

/// A site's folder, written over with each input.
static SITE: LazyLock<PathBuf> = LazyLock::new(|| {
    let site = std::env::temp_dir().join(format!("tributary-fuzz-{}", std::process::id()));
    for folder in ["channels", "destinations"] {
        fs::create_dir_all(site.join(folder)).unwrap();
    }
    fs::write(site.join("tributary.toml"), "").unwrap();
    fs::write(site.join("providers.toml"), "[a]\nname = \"A\"\n").unwrap();
    site
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for file in ["channels/a.toml", "destinations/b.toml", "providers.toml", "tributary.toml"] {
        let file = SITE.join(file);
        let before = fs::read(&file).unwrap_or_default();
        fs::write(&file, bytes).unwrap();
        if let Err(problems) = config::load(&SITE, &|_| None) {
            assert!(!problems.is_empty());
        }
        fs::write(&file, before).unwrap();
    }
});
