//! What objects that are alike share: their members, and what was found out of them.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Text, Value};

/// Members that several objects have, until one of them is changed.
#[derive(Default)]
pub(crate) struct Shared {
    pub(super) members: Vec<(Text, Value)>,
    /// The object as JSON, once it was written.
    text: OnceLock<Written>,
    /// As what it was found to be valid: see [`Shared::note_valid`].
    valid: AtomicU32,
    /// What the validator keeps of it.
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// An object as JSON.
pub(super) struct Written {
    pub(super) text: Box<[u8]>,
    /// Where its first members end.
    pub(super) ends: [usize; PLACES],
}

/// How many members of an object can have another one behind them while their text is shared.
pub(super) const PLACES: usize = 2;

/// The members of several objects, and one more at its place.
#[derive(Clone)]
pub(crate) struct With {
    pub(crate) shared: Arc<Shared>,
    pub(super) at: usize,
    pub(crate) more: (Text, Value),
}

impl With {
    /// All members in their order.
    pub(super) fn members(&self) -> Vec<(Text, Value)> {
        let mut members = Vec::with_capacity(self.shared.members.len() + 1);
        members.extend_from_slice(&self.shared.members);
        members.insert(self.at.min(members.len()), self.more.clone());
        members
    }
}

impl Shared {
    pub(super) fn new(members: Vec<(Text, Value)>) -> Self {
        Self { members, ..Self::default() }
    }

    /// The object as JSON; `write` makes it once.
    pub(super) fn written(&self, write: impl FnOnce(&[(Text, Value)]) -> Written) -> &Written {
        self.text.get_or_init(|| write(&self.members))
    }

    /// What the validator keeps of it.
    pub(crate) fn kept<T: Any>(&self) -> Option<&T> {
        self.kept.get()?.downcast_ref()
    }

    /// Keeps something of it for the validator, unless something is kept already.
    pub(crate) fn keep(&self, what: impl Any + Send + Sync) {
        if self.kept.get().is_none() {
            drop(self.kept.set(Box::new(what)));
        }
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
