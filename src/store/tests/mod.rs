//! The store, as the engine uses it and as disks treat it.

mod consents;
mod damage;
mod deliveries;
mod disk;
mod duplicates;
mod faults;
mod finding;
mod index;
mod power;
mod retention;
mod tail;
mod whole;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::Flags;
use message::{Format, MessageId, Sha256};
use tempfile::TempDir;

use self::disk::TestDisk;
use super::*;

/// The time at which all tests begin.
fn start() -> Timestamp {
    "2024-05-06T07:08:09Z".parse().unwrap()
}

/// `seconds` after the start.
fn at(seconds: i64) -> Timestamp {
    start() + jiff::SignedDuration::from_secs(seconds)
}

/// A store in a directory of its own, on a disk in memory.
struct Site {
    dir: TempDir,
    disk: TestDisk,
    options: StoreOptions,
}

impl Site {
    fn new() -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), TestDisk::default());
        let options = StoreOptions {
            segment_bytes: 256 << 10,
            big_threshold: 64 << 10,
            checkpoint_every: Duration::from_millis(20),
            ballast_bytes: 0,
            min_free_bytes: 0,
            disk: Arc::new(disk.clone()),
            ..StoreOptions::new(dir.path())
        };
        Self { dir, disk, options }
    }

    fn on(&mut self, disk: TestDisk) {
        self.options.disk = Arc::new(disk.clone());
        self.disk = disk;
    }

    fn open(&self) -> (Store, OpenReport) {
        Store::open(self.options.clone(), start()).unwrap()
    }

    fn store(&self) -> Store {
        self.open().0
    }

    fn lose_index(&self) {
        std::fs::remove_dir_all(self.dir.path().join("index")).unwrap();
    }
}

/// A message with a text of its own, from channel `adt`.
fn a_message() -> Received {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    message_of(format!("MSH|^~\\&|LAB|ST MARY|||||ADT^A01|{number}|P|2.5\rPID|||{number}\r").into_bytes())
}

fn message_of(payload: Vec<u8>) -> Received {
    Received {
        id: MessageId::new(start(), rand::random()),
        channel: "adt".into(),
        peer: "192.0.2.7:4711".into(),
        at: start(),
        format: Format::Hl7v2,
        kind: "ADT^A01".into(),
        control_id: None,
        sender: "LAB|ST MARY".into(),
        search: Default::default(),
        beside: Bytes::new(),
        sha256: Sha256::of(&payload),
        payload: payload.into(),
    }
}

/// A `Processed` with one output and a delivery to each of `destinations`.
fn processed(message: MessageId, destinations: &[&str]) -> Record {
    processed_in(message, destinations, &[])
}

fn processed_in(message: MessageId, destinations: &[&str], lanes: &[u8]) -> Record {
    let output = NewOutput {
        format: Format::FhirJson,
        flags: Flags::default(),
        bytes: Some(Bytes::from_static(b"{}")),
        transaction: None,
    };
    let deliveries = destinations.iter().map(|destination| NewDelivery {
        destination: (*destination).into(),
        output: 0,
        lanes: lanes.iter().map(|lane| [*lane; 16]).collect(),
        subjects: lanes.iter().map(|lane| [*lane; 16]).collect(),
        purposes: vec!["TREAT".into()],
        held: None,
    });
    let outcome = Outcome::Queued { outputs: vec![output], deliveries: deliveries.collect() };
    Record::Processed { message, at: at(1), outcome, steps: Vec::new(), findings: Vec::new() }
}

fn delivered(delivery: DeliveryId) -> Record {
    Record::Delivered { delivery, at: at(2), summary: "201 Created".into(), answer: Some(Bytes::from_static(b"ok")) }
}

fn dead(delivery: DeliveryId) -> Record {
    Record::Dead { delivery, at: at(2), reason: "422 Unprocessable".into(), answer: None, rest: None }
}

fn attempted(delivery: DeliveryId, rest: Option<&'static [u8]>) -> Record {
    Record::Attempted {
        delivery,
        at: at(2),
        reason: "503 Service Unavailable".into(),
        due: at(60),
        answer: None,
        rest: rest.map(Bytes::from_static),
    }
}

fn held(delivery: DeliveryId) -> Record {
    Record::Held { delivery, at: at(3), reason: "waits for consent".into() }
}

fn released(delivery: DeliveryId) -> Record {
    Record::Released { delivery, at: at(4), reason: "consent came".into() }
}

fn replayed(message: MessageId) -> Record {
    Record::Replayed {
        message,
        at: at(5),
        job: uuid::Uuid::nil(),
        destination: None,
        reason: "the map was mended".into(),
    }
}

/// Accepts a message and commits deliveries to `destinations`.
async fn queue(store: &Store, destinations: &[&str]) -> (MessageId, Vec<DeliveryId>) {
    let message = a_message();
    let id = message.id;
    assert_eq!(store.accept(message).await.unwrap(), Accepted::New);
    let committed = store.commit(vec![processed(id, destinations)]).await.unwrap();
    (id, committed.deliveries)
}

async fn state(store: &Store, id: MessageId) -> State {
    store.message(id).await.unwrap().unwrap().state
}

/// The log and the index agree, and nothing is damaged.
async fn assert_clean(store: &Store) {
    let report = store.verify().await.unwrap();
    assert!(report.is_clean(), "{:?} {:?}", report.damages, report.mismatches);
}
