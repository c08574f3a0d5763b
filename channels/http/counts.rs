//! What an inbound channel counts, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;

use crate::Tally;

/// Counters of one inbound channel; they only go up.
#[derive(Debug, Default)]
pub(super) struct Counts {
    connections: AtomicU64,
    refused_connections: AtomicU64,
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Counts {
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(status.as_u16()).or_default() += 1;
    }
}

impl Tally for Counts {
    fn answers(&self) -> Vec<(String, u64)> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().map(|(status, count)| (status.to_string(), *count)).collect()
    }

    fn events(&self) -> Vec<(&'static str, u64)> {
        let events = [("connections", &self.connections), ("refused_connections", &self.refused_connections)];
        events.map(|(name, count)| (name, count.load(Ordering::Relaxed))).into()
    }
}
