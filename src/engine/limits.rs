//! How much the engine takes in hand at once: bytes in memory, transforms under way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LimitsConfig;

/// Memory is counted in units of this many bytes.
const UNIT: u64 = 4096;

/// What everything in the engine draws on.
#[derive(Clone)]
pub(super) struct Limits {
    memory: Arc<Semaphore>,
    units: u32,
    transforms: Arc<Semaphore>,
}

/// A share of what there is; given back when dropped.
pub(super) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Limits {
    /// As the site says.
    pub(super) fn new(config: &LimitsConfig) -> Self {
        let units = u32::try_from(config.max_bytes_in_flight.0 / UNIT).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        let cores = std::thread::available_parallelism();
        let transforms = config.transforms.or(cores.ok()).map_or(1, std::num::NonZero::get);
        Self {
            memory: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(1))),
            units,
            transforms: Arc::new(Semaphore::new(transforms)),
        }
    }

    /// Waits until there is room for `bytes`. More than there is altogether waits for all of it.
    pub(super) async fn memory(&self, bytes: u64) -> Share {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, self.units);
        Share { _permit: Arc::clone(&self.memory).acquire_many_owned(units).await.ok() }
    }

    /// Waits until another transform may run.
    pub(super) async fn transform(&self) -> Share {
        Share { _permit: Arc::clone(&self.transforms).acquire_owned().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use channels::setting::Size;
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_message_larger_than_all_there_is_passes_alone() {
        let limits = Limits::new(&LimitsConfig { max_bytes_in_flight: Size(1 << 20), transforms: None });
        let big = limits.memory(50 << 20).await;
        assert!(limits.memory(1).now_or_never().is_none());
        drop(big);
        assert!(limits.memory(1).now_or_never().is_some());
    }
}
