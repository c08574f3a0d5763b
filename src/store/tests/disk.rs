//! A disk in memory that forgets what was not synced, tears what was being written, and fails on cue.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::Rng;

use crate::store::{Disk, DiskFile};

const SECTOR: usize = 512;

/// The disk. Clones share it.
#[derive(Clone, Default)]
pub(super) struct TestDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    /// The names as they are on the platter, and the changes that are not yet.
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    dead: bool,
    sync_failures: u32,
    /// Syncs of the log so far.
    syncs: u64,
    room: Option<u64>,
    free: Option<u64>,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync: where, and how long.
    unsynced: Vec<(usize, usize)>,
}

#[derive(Clone)]
enum Change {
    Name(PathBuf, usize),
    Forget(PathBuf),
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].bytes.len() as u64).sum()
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Name(path, file) => _ = names.insert(path.clone(), *file),
        Change::Forget(path) => _ = names.remove(path),
    }
}

impl TestDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Cuts the power: this disk is dead, and what the platter has is the new one. Of what was not
    /// synced, each sector may or may not be there.
    pub(super) fn cut(&self, random: &mut impl Rng) -> Self {
        let mut state = self.state();
        state.dead = true;
        let mut names = state.durable_names.clone();
        let done = random.random_range(0..=state.changes.len());
        state.changes.iter().take(done).for_each(|change| apply(&mut names, change));
        let luck: f64 = *[0.0, 0.2, 0.5, 0.8, 1.0].get(random.random_range(0..5)).unwrap();
        let files = state.files.iter().map(|file| {
            let mut bytes = file.durable.clone();
            for (from, length) in &file.unsynced {
                let mut at = *from;
                while at < from + length {
                    let end = ((at / SECTOR + 1) * SECTOR).min(from + length).min(file.bytes.len());
                    if random.random_bool(luck) {
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[at..end].copy_from_slice(&file.bytes[at..end]);
                    }
                    at = end.max(at + 1);
                }
            }
            File { durable: bytes.clone(), bytes, unsynced: Vec::new() }
        });
        let fresh = State { files: files.collect(), names: names.clone(), durable_names: names, ..State::default() };
        Self(Arc::new(Mutex::new(fresh)))
    }

    /// The next `count` syncs fail, and what they were to sync is lost.
    pub(super) fn fail_syncs(&self, count: u32) {
        self.state().sync_failures = count;
    }

    /// The disk holds so many bytes in all.
    pub(super) fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// What the disk says is free.
    pub(super) fn set_free(&self, free: Option<u64>) {
        self.state().free = free;
    }

    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The names of all files.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    pub(super) fn read_file(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[path]].bytes.clone()
    }

    pub(super) fn write_file(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = state.names[path];
        state.files[file] = File { durable: bytes.clone(), bytes, unsynced: Vec::new() };
    }

    /// Another disk with the same content.
    pub(super) fn copy(&self) -> Self {
        let state = self.state();
        let files =
            state.files.iter().map(|file| File { durable: file.bytes.clone(), unsynced: Vec::new(), ..file.clone() });
        let (names, durable_names) = (state.names.clone(), state.names.clone());
        let copy = State { files: files.collect(), names, durable_names, ..State::default() };
        Self(Arc::new(Mutex::new(copy)))
    }
}

impl Disk for TestDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive()?;
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.alive()?;
        state.files.push(File::default());
        let file = state.files.len() - 1;
        state.change(Change::Name(path.to_owned(), file));
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(Change::Name(to.to_owned(), file));
        state.change(Change::Forget(from.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Forget(path.to_owned()));
        Ok(())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.state().alive()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.durable_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.state();
        let by_room = state.room.map(|room| room.saturating_sub(state.used()));
        Ok(state.free.or(by_room).unwrap_or(1 << 40))
    }
}

struct Handle {
    disk: TestDisk,
    file: usize,
}

impl DiskFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.alive()?;
        let bytes = &state.files[self.file].bytes;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let length = buffer.len().min(bytes.len() - from);
        buffer[..length].copy_from_slice(&bytes[from..from + length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        let offset = usize::try_from(offset).unwrap();
        let end = offset + bytes.len();
        let grows = end.saturating_sub(state.files[self.file].bytes.len()) as u64;
        if grows > 0 && state.room.is_some_and(|room| state.used() + grows > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.files[self.file];
        file.bytes.resize(file.bytes.len().max(end), 0);
        file.bytes[offset..end].copy_from_slice(bytes);
        file.unsynced.push((offset, bytes.len()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        if state.sync_failures > 0 {
            state.sync_failures -= 1;
            // As Linux does: the pages are marked clean, and what they held is gone.
            let file = &mut state.files[self.file];
            file.bytes = file.durable.clone();
            file.unsynced.clear();
            return Err(io::Error::other("the disk did not take it"));
        }
        state.syncs += 1;
        let file = &mut state.files[self.file];
        for (from, length) in std::mem::take(&mut file.unsynced) {
            file.durable.resize(file.durable.len().max(from + length), 0);
            file.durable[from..from + length].copy_from_slice(&file.bytes[from..from + length]);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.files[self.file].bytes.len() as u64)
    }
}
