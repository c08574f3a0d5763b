//! What objects that are alike share: their members, and what was found out of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Text, Value};

/// Members that several objects have, until one of them is changed.
#[derive(Default)]
pub(crate) struct Shared {
    pub(super) members: Vec<(Text, Value)>,
    /// The object as JSON, once it was written.
    text: OnceLock<Box<[u8]>>,
    /// As what it was found to be valid: see [`Shared::note_valid`].
    valid: AtomicU32,
}

impl Shared {
    pub(super) fn new(members: Vec<(Text, Value)>) -> Self {
        Self { members, ..Self::default() }
    }

    /// The object as JSON; `write` makes it once.
    pub(super) fn text(&self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.text.get_or_init(|| {
            let mut text = Vec::new();
            write(&mut text);
            text.into_boxed_slice()
        })
    }

    /// Notes that it is valid as what `kind` means to the validator, wherever it stands, with so much depth left.
    pub(crate) fn note_valid(&self, kind: u16, depth: u8) {
        self.valid.store(1 << 31 | u32::from(kind) << 8 | u32::from(depth), Ordering::Relaxed);
    }

    /// True if that was noted of `kind`, with no more depth left.
    pub(crate) fn is_valid(&self, kind: u16, depth: u8) -> bool {
        let noted = self.valid.load(Ordering::Relaxed);
        noted >> 8 == 1 << 23 | u32::from(kind) && noted & 0xFF <= u32::from(depth)
    }
}

/// What was found out of it is found out again.
impl Clone for Shared {
    fn clone(&self) -> Self {
        Self::new(self.members.clone())
    }
}
