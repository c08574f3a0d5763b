//! What stands in a site's folder and is not in force.

use std::path::Path;

/// The folders of consent's files that lie in `dir`, and that nothing which is sent is decided by yet: `tributary consent`
/// alone reads them. Whoever sees them there must not believe otherwise.
#[must_use]
pub fn asleep(dir: &Path) -> Option<String> {
    let found: Vec<&str> = ["policies", "labels"].into_iter().filter(|folder| dir.join(folder).is_dir()).collect();
    (!found.is_empty()).then(|| {
        let folders = found.iter().map(|folder| format!("{folder}/")).collect::<Vec<_>>().join(" and ");
        format!(
            "{folders}: only `tributary consent` reads what is there; what the engine sends is decided by purposes, \
             confidentiality and test data, not by these files"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_folders_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(asleep(dir.path()), None);
        std::fs::create_dir(dir.path().join("labels")).unwrap();
        assert!(asleep(dir.path()).unwrap().starts_with("labels/: only"));
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        assert!(asleep(dir.path()).unwrap().starts_with("policies/ and labels/: only"));
    }
}
