//! Consents on file: what a look-up costs with a thousand on file and with a million, side by side.
//!
//! `cargo bench --bench consents [-- COUNT ...]`. Each store is filled, closed and opened again; then look-ups of
//! patients chosen at random take turns. Medians and the 99th of a hundred are printed, in microseconds.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement prints, and stops at the first thing that is not as it should be"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tributary::store::{Lane, NewConsent, Order, Record, Store, StoreOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Identifiers of a patient.
const IDENTIFIERS: u64 = 3;
/// Look-ups of each store in one turn, and turns.
const LOOKUPS: usize = 500;
const TURNS: usize = 20;
/// Consents filed as one.
const AT_ONCE: u64 = 1000;

fn main() {
    let counts: Vec<u64> = std::env::args().skip(1).filter_map(|count| count.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1_000, 1_000_000] } else { counts };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mut stores = Vec::new();
        for count in counts {
            stores.push(Filled::new(place, count).await);
        }
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..TURNS {
            for store in &mut stores {
                store.turn(&mut random).await;
            }
        }
        for store in &mut stores {
            println!(
                "{:>8} consents: look-up {}  epoch {}  open deliveries {}",
                store.count,
                figures(&mut store.lookups),
                figures(&mut store.epochs),
                figures(&mut store.deliveries)
            );
        }
    });
}

struct Filled {
    store: Store,
    count: u64,
    lookups: Vec<Duration>,
    epochs: Vec<Duration>,
    deliveries: Vec<Duration>,
    /// Removed when it is dropped.
    _dir: tempfile::TempDir,
}

impl Filled {
    async fn new(place: &Path, count: u64) -> Self {
        let dir = tempfile::tempdir_in(place).unwrap();
        let options = StoreOptions { ballast_bytes: 0, ..StoreOptions::new(dir.path()) };
        let (store, _) = Store::open(options.clone(), Timestamp::UNIX_EPOCH).unwrap();
        let body = Bytes::from(consent());
        let started = Instant::now();
        for first in (0..count).step_by(AT_ONCE as usize) {
            let records = (first..(first + AT_ONCE).min(count)).map(|number| Record::Consent {
                message: None,
                at: Timestamp::UNIX_EPOCH,
                order: Order::default(),
                consent: NewConsent {
                    key: store.keyed_hash(format!("consent {number}").as_bytes()),
                    subjects: subjects(&store, number),
                    body: body.clone(),
                },
            });
            store.commit(records.collect()).await.unwrap();
        }
        let filed = started.elapsed();
        store.close().await.unwrap();
        let started = Instant::now();
        let (store, _) = Store::open(options, Timestamp::UNIX_EPOCH).unwrap();
        let size = store.counts();
        println!(
            "{count:>8} consents of {} bytes filed in {:.1} s, {:.1} us each; opened in {:.2} s; log {} MiB, index {} MiB",
            body.len(),
            filed.as_secs_f64(),
            filed.as_secs_f64() * 1e6 / count as f64,
            started.elapsed().as_secs_f64(),
            size.log_bytes >> 20,
            size.index_bytes >> 20,
        );
        Self { store, count, lookups: Vec::new(), epochs: Vec::new(), deliveries: Vec::new(), _dir: dir }
    }

    async fn turn(&mut self, random: &mut SmallRng) {
        for _ in 0..LOOKUPS {
            let who = subjects(&self.store, random.random_range(0..self.count));
            let started = Instant::now();
            let found = self.store.consents_of(&who).await.unwrap();
            self.lookups.push(started.elapsed());
            assert_eq!(found.consents.len(), 1);
            let started = Instant::now();
            assert_eq!(self.store.epoch_of(&who), found.epoch);
            self.epochs.push(started.elapsed());
            let started = Instant::now();
            assert!(self.store.open_deliveries_of(&who).await.unwrap().is_empty());
            self.deliveries.push(started.elapsed());
        }
    }
}

fn subjects(store: &Store, number: u64) -> Vec<Lane> {
    (0..IDENTIFIERS).map(|which| store.keyed_hash(format!("urn:site:{which}|{number}").as_bytes())).collect()
}

/// An opt-in with one exception.
fn consent() -> String {
    let coding = |system: &str, code: &str| serde_json::json!({ "coding": [{ "system": system, "code": code }] });
    let reason = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
    let purpose = |code: &str| serde_json::json!([{ "system": reason, "code": code }]);
    serde_json::json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "IDSCL")],
        "patient": { "identifier": { "system": "urn:site:0", "value": "4711" } },
        "dateTime": "2026-01-05T09:00:00Z",
        "organization": [{ "reference": "Organization/st-mary" }],
        "provision": {
            "type": "permit", "period": { "start": "2026-01-05" }, "purpose": purpose("TREAT"),
            "provision": [{ "type": "deny", "purpose": purpose("HRESCH") }]
        }
    })
    .to_string()
}

/// The median and the 99th of a hundred, in microseconds.
fn figures(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |hundredths: usize| times[times.len() * hundredths / 100].as_secs_f64() * 1e6;
    format!("{:.1} ({:.1}) us", at(50), at(99))
}
