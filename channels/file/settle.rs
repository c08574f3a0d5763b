//! Reading a file out of the drop folder and moving it on, so that only what was read is moved.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use message::Sha256;

use super::folder::{Found, Stamp};
use super::name::{alternatives, shown};

/// What became of reading a file.
pub(super) enum Content<T = Bytes> {
    /// All of it, and its digest.
    Whole(T, Sha256),
    /// It is longer than the limit, in bytes.
    TooLong(u64),
    /// It is not what was seen in the folder: its sender still writes it.
    Changed,
}

impl<T> Content<T> {
    /// The same, with something made of the bytes.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Content<U> {
        match self {
            Self::Whole(bytes, digest) => Content::Whole(make(bytes), digest),
            Self::TooLong(bytes) => Content::TooLong(bytes),
            Self::Changed => Content::Changed,
        }
    }
}

/// Reads `found` within `folder`, at most `limit` bytes.
///
/// # Errors
///
/// As the file system's; a link put in the file's place is one.
pub(super) fn read(folder: &Path, found: &Found, limit: u64) -> io::Result<Content> {
    let mut file = open(&folder.join(&found.name))?;
    let before = file.metadata()?;
    if !before.is_file() || Stamp::from(&before) != found.stamp {
        return Ok(Content::Changed);
    }
    if before.len() > limit {
        return Ok(Content::TooLong(before.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0) + 1);
    (&mut file).take(before.len() + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != before.len() || Stamp::from(&file.metadata()?) != found.stamp {
        return Ok(Content::Changed);
    }
    let digest = Sha256::of(&bytes);
    Ok(Content::Whole(bytes.into(), digest))
}

/// Neither follows a link nor waits for a pipe's other end.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    std::fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Whether a file went where it was to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Under this name.
    To(OsString),
    /// Another file had taken its name in the folder meanwhile: that one is (back) there, to be taken too.
    Changed,
}

/// Moves `found` from `folder` to `target`, under its own name or, where that is taken, a free one;
/// its marker is removed.
///
/// # Errors
///
/// As the file system's: nothing was moved.
pub(super) fn move_to(target: &Path, folder: &Path, found: &Found, now: Timestamp) -> io::Result<Moved> {
    let name = free_name(target, &found.name, now)?;
    move_as(&name, target, folder, found, now)
}

/// As [`move_to`], with `reason` written beside it as `NAME.reason.json` first, so that no file is
/// ever rejected without one.
///
/// # Errors
///
/// As [`move_to`].
pub(super) fn reject_to(
    target: &Path,
    folder: &Path,
    found: &Found,
    now: Timestamp,
    reason: &[u8],
) -> io::Result<Moved> {
    let name = free_name(target, &found.name, now)?;
    let reason_path = target.join(reason_name(&name));
    std::fs::write(&reason_path, reason)?;
    let moved = move_as(&name, target, folder, found, now);
    if !matches!(moved, Ok(Moved::To(_))) {
        std::fs::remove_file(&reason_path)?;
    }
    moved
}

pub(super) fn reason_name(name: &OsStr) -> OsString {
    let mut out = name.to_owned();
    out.push(".reason.json");
    out
}

fn free_name(target: &Path, name: &OsStr, now: Timestamp) -> io::Result<OsString> {
    std::fs::create_dir_all(target)?;
    alternatives(name, now).find(|name| is_free(&target.join(name))).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("no free name for `{}` in {}", shown(name), target.display()),
        )
    })
}

fn is_free(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// A sender may put a new file in the place of the one that was read, at any moment. So what was
/// moved is looked at again, and goes back if it is not what was read.
fn move_as(name: &OsStr, target: &Path, folder: &Path, found: &Found, now: Timestamp) -> io::Result<Moved> {
    let (from, to) = (folder.join(&found.name), target.join(name));
    if !stands(&from, found) {
        return Ok(Moved::Changed);
    }
    std::fs::rename(&from, &to)?;
    if !stands(&to, found) {
        let back = alternatives(&found.name, now).find(|name| is_free(&folder.join(name)));
        std::fs::rename(&to, folder.join(back.unwrap_or_else(|| found.name.clone())))?;
        return Ok(Moved::Changed);
    }
    remove_marker(folder, found);
    Ok(Moved::To(name.to_owned()))
}

/// One that is left over is older than the next file of its name, and so does no harm.
fn remove_marker(folder: &Path, found: &Found) {
    let Some(marker) = &found.marker else { return };
    if let Err(error) = std::fs::remove_file(folder.join(marker)) {
        tracing::warn!(marker = shown(marker), %error, "cannot remove the marker of a file that was taken");
    }
}

fn stands(path: &Path, found: &Found) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && Stamp::from(&metadata) == found.stamp)
}

/// Sees to it that files can be moved from `folder` to `target`: makes both folders and moves an
/// empty file across.
///
/// # Errors
///
/// As the file system's.
pub(super) fn prepare(folder: &Path, target: &Path) -> io::Result<()> {
    const PROBE: &str = ".tributary-probe";
    std::fs::create_dir_all(folder)?;
    std::fs::create_dir_all(target)?;
    File::create(folder.join(PROBE))?;
    std::fs::rename(folder.join(PROBE), target.join(PROBE))?;
    std::fs::remove_file(target.join(PROBE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &Path, name: &str) -> Found {
        let metadata = folder.join(name).symlink_metadata().unwrap();
        Found { name: name.into(), stamp: Stamp::from(&metadata), marker: None }
    }

    #[test]
    fn a_link_put_in_a_files_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::fs::write(dir.path().join("a"), "file").unwrap();
        let seen = found(dir.path(), "a");
        std::fs::remove_file(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), dir.path().join("a")).unwrap();
        assert!(read(dir.path(), &seen, 100).is_err());
        assert_eq!(
            move_to(&dir.path().join("done"), dir.path(), &seen, Timestamp::UNIX_EPOCH).unwrap(),
            Moved::Changed
        );
    }

    #[test]
    fn a_file_that_is_still_written_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "one").unwrap();
        let seen = found(dir.path(), "a");
        std::fs::write(dir.path().join("a"), "one and two").unwrap();
        assert!(matches!(read(dir.path(), &seen, 100), Ok(Content::Changed)));
        assert!(matches!(read(dir.path(), &found(dir.path(), "a"), 100), Ok(Content::Whole(..))));
    }

    #[test]
    fn a_file_that_is_gone_is_an_error_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "one").unwrap();
        let seen = found(dir.path(), "a");
        std::fs::remove_file(dir.path().join("a")).unwrap();
        assert_eq!(read(dir.path(), &seen, 100).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }
}
