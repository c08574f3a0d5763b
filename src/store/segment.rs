//! The files of the log: their names, their headers, and those that are open.
//!
//! A segment begins with 4096 bytes that hold its header twice, 512 bytes apart:
//! magic, CRC32C, number, generation. Groups follow.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskFile};
use super::error::{Damage, StoreError};
use super::little_endian::{put, u32_at, u64_at};

/// Where the first group of a segment starts.
pub(super) const START: u64 = 4096;
const MAGIC: u32 = u32::from_le_bytes(*b"TRBS");
const COPY: usize = 512;
const OPEN_FILES: usize = 64;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The segment's number: its file's name.
    pub segment: u32,
    /// The first byte of the record's header.
    pub offset: u32,
    /// How many bytes, header included.
    pub length: u32,
}

/// The segments of a log, shared by its writer and its readers.
pub(super) struct Segments {
    pub(super) disk: Arc<dyn Disk>,
    dir: PathBuf,
    open: Mutex<HashMap<u32, Open>>,
}

/// A segment that is in use.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) generation: u64,
    pub(super) size: u64,
}

impl Segments {
    pub(super) fn new(disk: Arc<dyn Disk>, data: &Path) -> Self {
        Self { disk, dir: data.join("wal"), open: Mutex::default() }
    }

    /// `wal/` in the data directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, number: u32) -> PathBuf {
        self.dir.join(name(number))
    }

    /// The numbers of the segments that are there, rising.
    pub(super) fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        let names = self.disk.list(&self.dir).map_err(StoreError::io(format!("cannot list {}", self.dir.display())))?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The segment, opened if it is not open yet. A bad header is damage.
    pub(super) fn get(&self, number: u32) -> Result<Open, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = open.get(&number) {
            return Ok(segment.clone());
        }
        let path = self.path(number);
        let io = |what: &str| StoreError::io(format!("cannot {what} {}", path.display()));
        let file = self.disk.open(&path).map_err(io("open"))?;
        let size = file.size().map_err(io("read"))?;
        let generation = read_header(&*file, number).map_err(io("read"))?.ok_or_else(|| {
            let what = "the segment's header is unreadable, so that none of its records can be told from stale ones";
            damage(number, 0, size, what)
        })?;
        let segment = Open { file, generation, size };
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        open.insert(number, segment.clone());
        Ok(segment)
    }

    /// Forgets an open file: it was removed or recycled.
    pub(super) fn forget(&self, number: u32) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// The bytes of one record, as they stand.
    pub(super) fn read(&self, at: Position) -> Result<Vec<u8>, StoreError> {
        let segment = self.get(at.segment)?;
        let mut bytes = vec![0; at.length as usize];
        let read = segment
            .file
            .read_at(&mut bytes, u64::from(at.offset))
            .map_err(StoreError::io(format!("cannot read {}", self.path(at.segment).display())))?;
        if read < bytes.len() {
            return Err(damage_at(at, "the segment is cut short").into());
        }
        Ok(bytes)
    }
}

/// Damage in segment `number`.
pub(super) fn damage(number: u32, from: u64, to: u64, what: &str) -> Damage {
    Damage { file: format!("wal/{}", name(number)), from, to, what: what.into() }
}

/// Damage in one record.
pub(super) fn damage_at(at: Position, what: &str) -> Damage {
    damage(at.segment, u64::from(at.offset), u64::from(at.offset) + u64::from(at.length), what)
}

/// The name of segment `number`.
pub(super) fn name(number: u32) -> String {
    format!("{number:08}.seg")
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Writes `size` zero bytes from `from` on, so that later writes allocate nothing.
pub(super) fn zero(file: &dyn DiskFile, from: u64, size: u64) -> io::Result<()> {
    let mut at = from;
    while at < size {
        let room = usize::try_from(size - at).unwrap_or(usize::MAX);
        let zeros = ZEROS.get(..room).unwrap_or(&ZEROS);
        file.write_at(zeros, at)?;
        at += zeros.len() as u64;
    }
    Ok(())
}

/// Makes the file segment `number` with a new generation. Durable after `sync`.
pub(super) fn write_header(file: &dyn DiskFile, number: u32, generation: u64) -> io::Result<()> {
    let mut copy = [0; 24];
    put(&mut copy, 0, &MAGIC.to_le_bytes());
    put(&mut copy, 8, &u64::from(number).to_le_bytes());
    put(&mut copy, 16, &generation.to_le_bytes());
    let crc = crc32c::crc32c(copy.get(8..).unwrap_or_default());
    put(&mut copy, 4, &crc.to_le_bytes());
    file.write_at(&copy, 0)?;
    file.write_at(&copy, COPY as u64)
}

fn read_header(file: &dyn DiskFile, number: u32) -> io::Result<Option<u64>> {
    let mut bytes = [0; COPY + 24];
    file.read_at(&mut bytes, 0)?;
    Ok([0, COPY].iter().find_map(|at| {
        let copy = bytes.get(*at..at + 24)?;
        let good = u32_at(copy, 0)? == MAGIC && u32_at(copy, 4)? == crc32c::crc32c(copy.get(8..)?);
        (good && u64_at(copy, 8)? == u64::from(number)).then(|| u64_at(copy, 16))?
    }))
}
