//! Prepares the next segment ahead of the log's thread: filled with zeros and durable, or recycled.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ring::rand::{SecureRandom, SystemRandom};

use super::error::StoreError;
use super::segment::{START, Segments, write_header, zero};

/// Dropped segments that wait to be used again; more than this are removed.
const RECYCLED: usize = 4;

/// Segments that retention dropped, for the next ones to be made of.
#[derive(Default)]
pub(super) struct Recycled(Mutex<VecDeque<PathBuf>>);

impl Recycled {
    /// Takes `path` back if there is room and it has the usual size.
    pub(super) fn give(&self, path: PathBuf) -> bool {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = pool.len() < RECYCLED;
        if room {
            pool.push_back(path);
        }
        room
    }

    fn take(&self) -> Option<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The next segments.
pub(super) struct Spares {
    ready: Option<Receiver<Result<u32, StoreError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// Prepares segments from `next` on, each of `size` bytes, one ahead.
    pub(super) fn start(
        segments: Arc<Segments>,
        recycled: Arc<Recycled>,
        next: u32,
        size: u64,
    ) -> Result<Self, StoreError> {
        let (give, ready) = sync_channel(0);
        let thread = std::thread::Builder::new()
            .name("store-spare".into())
            .spawn(move || prepare_all(&segments, &recycled, next, size, &give))
            .map_err(StoreError::io("cannot start a thread"))?;
        Ok(Self { ready: Some(ready), thread: Some(thread) })
    }

    /// The number of a prepared segment. Tries twice, for space may have come back since it was tried.
    pub(super) fn take(&self) -> Result<u32, StoreError> {
        let ready = self.ready.as_ref().ok_or(StoreError::Closed)?;
        let next = || ready.recv().map_err(|_| StoreError::Closed)?;
        next().or_else(|_| next())
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.ready = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that prepares segments panicked");
        }
    }
}

fn prepare_all(
    segments: &Segments,
    recycled: &Recycled,
    mut next: u32,
    size: u64,
    give: &SyncSender<Result<u32, StoreError>>,
) {
    loop {
        let prepared = prepare(segments, recycled, next, size).map(|()| next);
        next += u32::from(prepared.is_ok());
        if give.send(prepared).is_err() {
            return;
        }
    }
}

/// Makes segment `number`, whole or not at all.
pub(super) fn prepare(segments: &Segments, recycled: &Recycled, number: u32, size: u64) -> Result<(), StoreError> {
    let target = segments.path(number);
    let io = || StoreError::io(format!("cannot prepare {}", target.display()));
    let mut generation = [0; 8];
    SystemRandom::new()
        .fill(&mut generation)
        .map_err(|_| StoreError::Invalid("no randomness from the system".into()))?;
    let disk = &segments.disk;
    let (path, file, fresh) = match recycled.take() {
        Some(path) => (path.clone(), disk.open(&path).map_err(io())?, false),
        None => {
            let path = segments.dir().join("new.seg");
            (path.clone(), disk.create(&path).map_err(io())?, true)
        }
    };
    let filled = if fresh { zero(&*file, 0, size.max(START * 2)) } else { Ok(()) };
    let written = filled
        .and_then(|()| write_header(&*file, number, u64::from_le_bytes(generation)))
        .and_then(|()| file.sync())
        .and_then(|()| disk.rename(&path, &target))
        .and_then(|()| disk.sync_dir(segments.dir()));
    if written.is_err() && fresh && disk.remove(&path).is_err() {
        tracing::debug!("a segment that could not be prepared could not be removed either");
    }
    segments.forget(number);
    written.map_err(io())
}
