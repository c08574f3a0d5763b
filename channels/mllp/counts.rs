//! What an inbound channel counts, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

use message::hl7v2::ack::AcknowledgmentCode;

use crate::Tally;

const CODES: [AcknowledgmentCode; 6] = [
    AcknowledgmentCode::Aa,
    AcknowledgmentCode::Ae,
    AcknowledgmentCode::Ar,
    AcknowledgmentCode::Ca,
    AcknowledgmentCode::Ce,
    AcknowledgmentCode::Cr,
];

/// Counters of one inbound channel; they only go up.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections closed as they came, for too many in all or from their address.
    pub refused_connections: AtomicU64,
    /// Messages offered to the engine.
    pub messages: AtomicU64,
    /// Acknowledgments that came in: neither offered nor answered.
    pub acknowledgments_received: AtomicU64,
    /// Messages refused for their length.
    pub too_long: AtomicU64,
    /// Messages whose end did not come in time.
    pub too_slow: AtomicU64,
    /// Messages whose end did not come before the connection's.
    pub cut_off: AtomicU64,
    /// Messages begun and given up by the sender for a new one.
    pub abandoned: AtomicU64,
    /// Bytes that belong to no message.
    pub noise_bytes: AtomicU64,
    /// Acknowledgments that could not be written: the peer had hung up or did not read.
    pub unanswered: AtomicU64,
    sent: [AtomicU64; 6],
}

impl Counts {
    /// How many acknowledgments with `code` were sent.
    #[must_use]
    pub fn sent(&self, code: AcknowledgmentCode) -> u64 {
        get(self.of(code))
    }

    pub(super) fn count_sent(&self, code: AcknowledgmentCode) {
        add(self.of(code), 1);
    }

    fn of(&self, code: AcknowledgmentCode) -> &AtomicU64 {
        let [aa, ae, ar, ca, ce, cr] = &self.sent;
        match code {
            AcknowledgmentCode::Aa => aa,
            AcknowledgmentCode::Ae => ae,
            AcknowledgmentCode::Ar => ar,
            AcknowledgmentCode::Ca => ca,
            AcknowledgmentCode::Ce => ce,
            AcknowledgmentCode::Cr => cr,
        }
    }
}

impl Tally for Counts {
    fn answers(&self) -> Vec<(String, u64)> {
        CODES.map(|code| (code.code().to_owned(), self.sent(code))).into()
    }

    fn events(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("connections", get(&self.connections)),
            ("refused_connections", get(&self.refused_connections)),
            ("acknowledgments_received", get(&self.acknowledgments_received)),
            ("too_long", get(&self.too_long)),
            ("too_slow", get(&self.too_slow)),
            ("cut_off", get(&self.cut_off)),
            ("abandoned", get(&self.abandoned)),
            ("noise_bytes", get(&self.noise_bytes)),
            ("unanswered", get(&self.unanswered)),
        ]
    }
}

pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
