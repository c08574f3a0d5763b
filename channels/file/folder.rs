//! What lies in a drop folder, and what of it is ready to be taken.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{InboundConfig, Order, Ready};

/// Most files looked at in one reading of the folder. More wait until these are taken.
const MOST_FILES: usize = 100_000;

/// An empty file is often one that its sender has just opened: it is waited for so many times longer.
const PATIENCE_WITH_EMPTY: u32 = 30;

/// A file's size and time of last change: while both stand, it is the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) len: u64,
    pub(super) modified: Option<SystemTime>,
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// A file as it was seen in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) stamp: Stamp,
    /// The marker file that says it is whole, if the sender writes one.
    pub(super) marker: Option<OsString>,
}

/// Reads `folder`: regular files whose name `wanted` takes. Links, folders and other things are
/// passed over, as are files that vanish while it is read.
///
/// # Errors
///
/// If the folder itself cannot be read.
pub(super) fn list(folder: &Path, wanted: impl Fn(&OsStr) -> bool) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !wanted(&name) || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // This is the entry's own metadata: a link is not followed.
        if let Some(metadata) = entry.metadata().ok().filter(Metadata::is_file) {
            found.push(Found { name, stamp: Stamp::from(&metadata), marker: None });
        }
        if found.len() == MOST_FILES {
            break;
        }
    }
    Ok(found)
}

/// What the names of marker files end with; nothing where there are none.
#[derive(Clone, Debug)]
pub(super) struct Markers(Vec<String>);

impl Markers {
    pub(super) fn matches(&self, name: &OsStr) -> bool {
        self.0.iter().any(|suffix| name.as_encoded_bytes().ends_with(suffix.as_bytes()))
    }
}

/// Tells which files are whole.
#[derive(Debug)]
pub(super) struct Watch {
    ready: Ready,
    stable_for: Duration,
    markers: Markers,
    order: Order,
    /// Since when each file has stood unchanged.
    seen: HashMap<OsString, (Stamp, Instant)>,
}

impl Watch {
    pub(super) fn new(config: &InboundConfig) -> Self {
        Self {
            ready: config.ready,
            stable_for: config.stable_for.0,
            markers: Markers(if config.ready == Ready::Marker { config.marker.clone() } else { Vec::new() }),
            order: config.order,
            seen: HashMap::new(),
        }
    }

    /// Which names are those of marker files: they are looked at, and never taken.
    pub(super) fn markers(&self) -> Markers {
        self.markers.clone()
    }

    /// Of all files in the folder at `now`, those that are whole, in the order to take them.
    pub(super) fn ready(&mut self, found: Vec<Found>, now: Instant) -> Vec<Found> {
        let mut ready = match self.ready {
            Ready::Renamed => found,
            Ready::Stable => self.stable(found, now),
            Ready::Marker => self.marked(found),
        };
        match self.order {
            Order::Name => ready.sort_unstable_by(|a, b| a.name.cmp(&b.name)),
            Order::Modified => {
                ready.sort_unstable_by(|a, b| (a.stamp.modified, &a.name).cmp(&(b.stamp.modified, &b.name)));
            }
        }
        ready
    }

    fn stable(&mut self, found: Vec<Found>, now: Instant) -> Vec<Found> {
        let mut before = std::mem::take(&mut self.seen);
        let mut ready = Vec::new();
        for file in found {
            let since = match before.remove(&file.name) {
                Some((stamp, since)) if stamp == file.stamp => since,
                _ => now,
            };
            self.seen.insert(file.name.clone(), (file.stamp, since));
            let patience = if file.stamp.len == 0 { PATIENCE_WITH_EMPTY } else { 1 };
            if now.duration_since(since) >= self.stable_for * patience {
                ready.push(file);
            }
        }
        ready
    }

    /// A marker older than its file was left over from an earlier file of the same name.
    fn marked(&self, found: Vec<Found>) -> Vec<Found> {
        let (markers, files): (Vec<Found>, Vec<Found>) =
            found.into_iter().partition(|file| self.markers.matches(&file.name));
        let times: HashMap<OsString, Option<SystemTime>> =
            markers.into_iter().map(|marker| (marker.name, marker.stamp.modified)).collect();
        let is_current =
            |marker: &OsString, file: &Found| times.get(marker).is_some_and(|marked| *marked >= file.stamp.modified);
        let marker_of = |file: &Found| {
            self.markers.0.iter().map(|suffix| concat(&file.name, suffix)).find(|marker| is_current(marker, file))
        };
        files.into_iter().filter_map(|file| Some(Found { marker: Some(marker_of(&file)?), ..file })).collect()
    }
}

fn concat(name: &OsStr, suffix: &str) -> OsString {
    let mut out = name.to_owned();
    out.push(suffix);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::tests::inbound_config;

    const SECOND: Duration = Duration::from_secs(1);

    fn file(name: &str, len: u64, modified: u64) -> Found {
        let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(modified));
        Found { name: name.into(), stamp: Stamp { len, modified }, marker: None }
    }

    fn watch(settings: &str) -> Watch {
        Watch::new(&inbound_config("/drop", settings))
    }

    #[track_caller]
    fn check(watch: &mut Watch, found: &[Found], now: Instant, expected: &[&str]) {
        let ready = watch.ready(found.to_vec(), now);
        let names: Vec<_> = ready.iter().map(|file| file.name.to_str().unwrap()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_file_that_grows_is_not_whole() {
        let (mut watch, start) = (watch("stable_for = '2s'"), Instant::now());
        check(&mut watch, &[file("a.hl7", 1, 1)], start, &[]);
        check(&mut watch, &[file("a.hl7", 2, 1)], start + SECOND, &[]);
        check(&mut watch, &[file("a.hl7", 2, 1)], start + SECOND * 2, &[]);
        check(&mut watch, &[file("a.hl7", 2, 2)], start + SECOND * 3, &[]);
        check(&mut watch, &[file("a.hl7", 2, 2)], start + SECOND * 5, &["a.hl7"]);
    }

    #[test]
    fn an_empty_file_is_waited_for() {
        let (mut watch, start) = (watch("stable_for = '2s'"), Instant::now());
        check(&mut watch, &[file("a.hl7", 0, 1)], start, &[]);
        check(&mut watch, &[file("a.hl7", 0, 1)], start + SECOND * 10, &[]);
        check(&mut watch, &[file("a.hl7", 0, 1)], start + SECOND * 60, &["a.hl7"]);
    }

    #[test]
    fn a_marker_makes_a_file_whole() {
        let mut watch = watch("ready = 'marker'");
        let found = [file("a.hl7", 1, 5), file("a.hl7.ok", 0, 5), file("b.hl7", 1, 5), file("b.hl7.done", 0, 6)];
        check(&mut watch, &found, Instant::now(), &["a.hl7", "b.hl7"]);
        check(&mut watch, &[file("c.hl7", 1, 5)], Instant::now(), &[]);
    }

    #[test]
    fn a_marker_older_than_its_file_is_left_over() {
        let mut watch = watch("ready = 'marker'");
        check(&mut watch, &[file("a.hl7", 1, 5), file("a.hl7.ok", 0, 4)], Instant::now(), &[]);
    }

    #[test]
    fn takes_files_by_name_or_by_time() {
        let found = [file("b", 1, 1), file("a", 1, 2), file("c", 1, 1)];
        check(&mut watch("ready = 'renamed'"), &found, Instant::now(), &["a", "b", "c"]);
        check(&mut watch("ready = 'renamed'\norder = 'modified'"), &found, Instant::now(), &["b", "c", "a"]);
    }
}
