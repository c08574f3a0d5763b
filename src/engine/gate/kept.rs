//! What is about to leave, looked at while it was at hand: for a while it need not be read from its bytes again.
//!
//! A decision is about the bytes that leave, by the site in force. What is kept counts only where the very same bytes were
//! looked at, by the same site.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use message::MessageId;
use message::json::Value;

use super::Looked;
use crate::config::Site;

/// Most bytes of contents whose looks are kept; those take about as much memory.
const MOST: usize = 32 << 20;
/// Most bytes of one content: reading a big one is a small part of sending it.
const LONGEST: usize = 256 << 10;
/// How long something is kept that nobody asks for: its destination may be down.
const AT_MOST: Duration = Duration::from_secs(10);

/// A content with the bytes that it was written as.
pub(in crate::engine) struct Written {
    pub(in crate::engine) bytes: Bytes,
    pub(in crate::engine) value: Value,
    /// To how many destinations with a policy it goes.
    pub(in crate::engine) uses: usize,
}

/// A content that was looked at, and how often it will be asked about.
pub(in crate::engine) struct Seen {
    pub(super) bytes: Bytes,
    pub(super) looked: Arc<Looked>,
    /// By which rules.
    pub(super) site: Arc<Site>,
    pub(super) uses: usize,
}

/// The contents that are kept.
#[derive(Default)]
pub(super) struct Kept(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    contents: HashMap<MessageId, Seen, foldhash::fast::RandomState>,
    /// In the order of arrival; some may be gone.
    order: VecDeque<(Instant, MessageId)>,
    bytes: usize,
}

impl Kept {
    /// Keeps what was seen of a message, where there is room.
    pub(super) fn put(&self, message: MessageId, content: Seen) {
        if content.bytes.len() > LONGEST || content.uses == 0 {
            return;
        }
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        shelf.clear_away(now);
        if shelf.bytes + content.bytes.len() > MOST {
            return;
        }
        shelf.bytes += content.bytes.len();
        shelf.order.push_back((now, message));
        if let Some(before) = shelf.contents.insert(message, content) {
            shelf.bytes -= before.bytes.len();
        }
    }

    /// What was seen of a message, if that was `bytes`, and by this `site`.
    pub(super) fn take(&self, message: MessageId, bytes: &Bytes, site: &Arc<Site>) -> Option<Arc<Looked>> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |seen: &&mut Seen| seen.bytes == *bytes && Arc::ptr_eq(&seen.site, site);
        let content = shelf.contents.get_mut(&message).filter(same)?;
        content.uses -= 1;
        if content.uses > 0 {
            return Some(Arc::clone(&content.looked));
        }
        shelf.remove(message).map(|content| content.looked)
    }
}

impl Shelf {
    /// Drops what was kept for too long.
    fn clear_away(&mut self, now: Instant) {
        while let Some((since, message)) = self.order.front().copied() {
            if self.contents.contains_key(&message) && now.duration_since(since) < AT_MOST {
                return;
            }
            self.order.pop_front();
            self.remove(message);
        }
    }

    fn remove(&mut self, message: MessageId) -> Option<Seen> {
        let content = self.contents.remove(&message)?;
        self.bytes -= content.bytes.len();
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: impl Into<Bytes>, uses: usize, site: &Arc<Site>) -> Seen {
        Seen { bytes: bytes.into(), looked: Arc::new(Looked::default()), site: Arc::clone(site), uses }
    }

    fn site() -> Arc<Site> {
        let dir = tempfile::tempdir().unwrap();
        crate::config::init(dir.path()).unwrap();
        Arc::new(crate::config::load_with(dir.path(), &crate::config::Overrides::default(), &|_| None).unwrap())
    }

    fn id(n: u8) -> MessageId {
        MessageId::new(jiff::Timestamp::UNIX_EPOCH, [n; 10])
    }

    #[test]
    fn what_was_written_as_other_bytes_does_not_count() {
        let (kept, site) = (Kept::default(), site());
        kept.put(id(1), seen("as it was", 1, &site));
        let was = Bytes::from_static(b"as it was");
        assert!(kept.take(id(1), &Bytes::from_static(b"as it is"), &site).is_none());
        assert!(kept.take(id(2), &was, &site).is_none());
        assert!(kept.take(id(1), &was, &Arc::new(Site::clone(&site))).is_none(), "by other rules");
        assert!(kept.take(id(1), &was, &site).is_some());
    }

    #[test]
    fn is_kept_as_often_as_it_is_asked_for_and_no_longer() {
        let (kept, site) = (Kept::default(), site());
        kept.put(id(1), seen("one", 2, &site));
        let one = Bytes::from_static(b"one");
        assert!(kept.take(id(1), &one, &site).is_some() && kept.take(id(1), &one, &site).is_some());
        assert!(kept.take(id(1), &one, &site).is_none());
        kept.put(id(2), seen("two", 1, &site));
        let mut shelf = kept.0.lock().unwrap();
        assert_eq!((shelf.order.len(), shelf.bytes), (1, 3), "the first was cleared away");
        shelf.clear_away(Instant::now() + AT_MOST);
        assert_eq!((shelf.order.len(), shelf.contents.len(), shelf.bytes), (0, 0, 0));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let (kept, site) = (Kept::default(), site());
        let big = Bytes::from(vec![b'x'; LONGEST]);
        for n in 0..=u8::MAX {
            kept.put(id(n), seen(big.clone(), 1, &site));
        }
        let shelf = kept.0.lock().unwrap();
        assert_eq!((shelf.bytes, shelf.contents.len()), (MOST, MOST / LONGEST));
        drop(shelf);
        kept.put(id(7), seen(vec![b'x'; LONGEST + 1], 1, &site));
        assert_eq!(kept.0.lock().unwrap().bytes, MOST);
    }
}
