//! `tributary init`: writes a commented site to begin with.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The files of a new site, by their path in it.
const FILES: [(&str, &str); 4] = [
    ("tributary.toml", include_str!("init/tributary.toml")),
    ("providers.toml", include_str!("init/providers.toml")),
    ("channels/first-adt.toml", include_str!("init/channels/first-adt.toml")),
    ("destinations/archive.toml", include_str!("init/destinations/archive.toml")),
];

/// Why no site was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file of this name is there already; nothing was written.
    #[error("{0} is there already; nothing was written")]
    Exists(PathBuf),
    /// The disk said no.
    #[error("cannot write {path}")]
    Unwritable {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Writes a commented site into `dir`, which is made if need be, and names the files written.
///
/// # Errors
///
/// [`InitError::Exists`] if any of its files is there: nothing is overwritten or half written then.
/// [`InitError::Unwritable`] if the disk says no.
pub fn init(dir: &Path) -> Result<Vec<PathBuf>, InitError> {
    let files = FILES.map(|(name, text)| (dir.join(name), text));
    if let Some((there, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(InitError::Exists(there.clone()));
    }
    files.into_iter().map(|(path, text)| write_new(&path, text).map(|()| path)).collect()
}

fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    let unwritable = |source| InitError::Unwritable { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(unwritable)?;
    let mut file = std::fs::File::create_new(path).map_err(unwritable)?;
    file.write_all(text.as_bytes()).map_err(unwritable)
}
