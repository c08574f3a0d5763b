//! Reading a request's body under limits: its length, its time, and what all bodies hold together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::answer::{TRY_AGAIN, seconds};
use super::config::InboundConfig;
use super::outcome::Outcome;

/// How long a refused client may go on sending, so that it comes to read the refusal.
const LINGER: Duration = Duration::from_secs(2);

/// The limits of one channel.
pub(super) struct Limits {
    max_body: u64,
    idle: Duration,
    whole: Duration,
    /// What may be held at once, in units of 1 KiB.
    budget: Arc<Semaphore>,
}

/// A body, and its share of the budget until it is dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// Longer than this many bytes.
    TooLong(u64),
    /// Other bodies hold all that may be held.
    Full,
    /// Not whole in time.
    Slow,
    /// The client hung up, or its chunks are no chunks.
    Broken,
}

impl Limits {
    pub(super) fn new(config: &InboundConfig) -> Self {
        let max_body = config.max_body_bytes.0;
        let units = units(config.max_bytes_in_flight.0.max(max_body));
        let budget = Semaphore::new(usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS));
        Self { max_body, idle: config.idle_timeout.0, whole: config.request_timeout.0, budget: Arc::new(budget) }
    }

    /// Reads `body` whole. A declared length is reserved at once, so that a body once begun is not
    /// turned away half way; without one, the share grows with what comes.
    pub(super) async fn read(&self, body: &mut Body) -> Result<Held, Unread> {
        timeout(self.whole, self.collect(body)).await.unwrap_or(Err(Unread::Slow))
    }

    async fn collect(&self, body: &mut Body) -> Result<Held, Unread> {
        let mut share = Share::of(&self.budget);
        let declared = body.size_hint().exact().unwrap_or(0);
        self.reserve(&mut share, declared)?;

        let Some(first) = self.next(body).await? else {
            return Ok(Held { bytes: Bytes::new(), _share: share });
        };
        self.reserve(&mut share, declared.max(length(&first)))?;
        if body.is_end_stream() {
            return Ok(Held { bytes: first, _share: share });
        }
        // Memory that is reserved but never written is never made resident: a false length costs nothing.
        let mut whole = BytesMut::with_capacity(usize::try_from(declared).unwrap_or(0).max(first.len()));
        whole.extend_from_slice(&first);
        while let Some(chunk) = self.next(body).await? {
            self.reserve(&mut share, declared.max(length(&whole) + length(&chunk)))?;
            whole.extend_from_slice(&chunk);
        }
        Ok(Held { bytes: whole.freeze(), _share: share })
    }

    /// The next chunk; trailers are passed over.
    async fn next(&self, body: &mut Body) -> Result<Option<Bytes>, Unread> {
        loop {
            let Some(frame) = timeout(self.idle, body.frame()).await.map_err(|_| Unread::Slow)? else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Makes `share` as large as `bytes` asks.
    fn reserve(&self, share: &mut Share, bytes: u64) -> Result<(), Unread> {
        if bytes > self.max_body {
            return Err(Unread::TooLong(self.max_body));
        }
        if share.grow(units(bytes)) { Ok(()) } else { Err(Unread::Full) }
    }
}

/// What one body may hold of a budget; given back when it is dropped.
struct Share {
    permit: Option<OwnedSemaphorePermit>,
    budget: Arc<Semaphore>,
}

impl Share {
    fn of(budget: &Arc<Semaphore>) -> Self {
        Self { permit: None, budget: Arc::clone(budget) }
    }

    /// False if the budget has no more.
    fn grow(&mut self, units: u64) -> bool {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(units).ok().and_then(|units| units.checked_sub(u32::try_from(held).ok()?));
        let Some(more) = more.filter(|more| *more > 0) else {
            return usize::try_from(units).is_ok_and(|units| units <= held);
        };
        let Ok(extra) = Arc::clone(&self.budget).try_acquire_many_owned(more) else {
            return false;
        };
        match &mut self.permit {
            Some(permit) => permit.merge(extra),
            None => self.permit = Some(extra),
        }
        true
    }
}

/// Bytes in units of 1 KiB, which keep 4 TiB within a permit's count.
fn units(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

/// Reads and drops what a refused client still sends, for a moment: a connection closed under its
/// hands is reset, and it would never see why.
pub(super) async fn linger(body: &mut Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    if timeout(LINGER, rest).await.is_err() {
        tracing::debug!("a refused client is still sending");
    }
}

impl Unread {
    /// True if the client may still be sending, and can come to read the refusal.
    pub(super) fn lingers(&self) -> bool {
        matches!(self, Self::TooLong(_) | Self::Full)
    }

    pub(super) fn outcome(&self) -> Outcome {
        let outcome = match self {
            Self::TooLong(max) => Outcome::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-long",
                format!("the body is longer than {max} bytes, the most that this channel takes"),
            ),
            Self::Full => Outcome::error(
                StatusCode::TOO_MANY_REQUESTS,
                "throttled",
                "the intake is full for the moment; send this again a little later",
            )
            .with(RETRY_AFTER, seconds(TRY_AGAIN)),
            Self::Slow => Outcome::error(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body did not arrive in time; nothing of it is kept",
            ),
            Self::Broken => Outcome::error(
                StatusCode::BAD_REQUEST,
                "incomplete",
                "the body ended early or is badly chunked; nothing of it is kept",
            ),
        };
        outcome.with(CONNECTION, HeaderValue::from_static("close"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_grows_and_is_given_back() {
        let budget = Arc::new(Semaphore::new(3));
        let mut share = Share::of(&budget);
        assert!(share.grow(0) && share.grow(2) && share.grow(1) && share.grow(3));
        assert_eq!(budget.available_permits(), 0);
        assert!(!share.grow(4) && !share.grow(u64::MAX));
        drop(share);
        assert_eq!(budget.available_permits(), 3);
    }
}
