//! `accept`: how many messages a second are durable and acknowledged, against what the disk and the
//! loopback can do at best.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use message::{Format, Sha256};

use super::bare::{self, BareLog, Peer, PeerProcess, closed_loop};
use super::bed::{Bed, Far, Setup};
use super::latency::median;
use super::ledger::Ledger;
use super::load::{Load, Sent, Until};
use super::report::{Section, Target};
use super::{Pace, messages};
use crate::engine::clock;
use crate::store::{Received, Store, StoreOptions};

/// Patients, so that lanes are as in a real feed.
const PATIENTS: u32 = 1_000;
/// The share of the bare loop that the store must reach.
const SHARE: f64 = 0.8;

/// All that is measured in turn.
struct Bench {
    folder: tempfile::TempDir,
    record: Bytes,
    bed: Bed,
    echo: PeerProcess,
    disk: PeerProcess,
    store: Store,
}

/// One round: everything with as many senders, one after another.
struct Round {
    engine: Sent,
    cpu: Duration,
    log: Sent,
    echo: Sent,
    disk: Sent,
    store: Sent,
}

pub(super) async fn measure(parent: &Path, pace: &Pace, mut section: Section<'_>) -> anyhow::Result<()> {
    let bench = Bench::start(parent).await?;
    for senders in pace.senders_or(&[1, 16, 64, 256]) {
        let mut rounds = Vec::new();
        for round in 1..=pace.rounds {
            eprintln!("accept: {senders} senders, round {round} of {}", pace.rounds);
            rounds.push(bench.round(senders, pace.slice()).await?);
        }
        report(senders, &rounds, &mut section);
    }
    bench.store.clone().close().await?;
    Ok(())
}

/// One of the things that are measured in a round.
type Of = fn(&Round) -> &Sent;

const ENGINE: Of = |round| &round.engine;
const STORE: Of = |round| &round.store;
const LOG: Of = |round| &round.log;
const DISK: Of = |round| &round.disk;
const ECHO: Of = |round| &round.echo;

fn report(senders: u32, rounds: &[Round], section: &mut Section<'_>) {
    let middle = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of));
    let ratio = |a: Of, b: Of| middle(&|round| a(round).rate() / b(round).rate());
    let store_share = (format!("{senders}: store alone / bare append and fdatasync"), ratio(STORE, LOG));
    let mllp_share = (format!("{senders}: MLLP accepts / bare MLLP and fdatasync"), ratio(ENGINE, DISK));
    for (what, share) in [store_share, mllp_share] {
        match senders {
            ..=64 => section.add_for(what, share, "", Target::AtLeast(SHARE)),
            _ => section.add(what, share, ""),
        }
    }
    section.add(format!("{senders}: MLLP accepts / bare append and fdatasync"), ratio(ENGINE, LOG), "");
    for (what, of) in [
        ("MLLP accepts", ENGINE),
        ("store alone", STORE),
        ("bare append and fdatasync", LOG),
        ("bare MLLP and fdatasync", DISK),
        ("bare MLLP echo", ECHO),
    ] {
        section.add(format!("{senders}: {what}"), middle(&|round| of(round).rate()), "/s");
    }
    let quantile = |of: Of, share| middle(&|round| of(round).acknowledgments.quantile_ms(share));
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        section.add(format!("{senders}: ACK {name}"), quantile(ENGINE, share), "ms");
    }
    let syncs = quantile(ENGINE, 0.99) / quantile(DISK, 0.99);
    section.add_for(format!("{senders}: ACK p99 / that of bare MLLP and fdatasync"), syncs, "", Target::AtMost(2.0));
    let cpu = |round: &Round| round.cpu.as_secs_f64() * 1e6 / round.engine.acknowledgments.len().max(1) as f64;
    section.add(format!("{senders}: engine CPU a message"), middle(&cpu), "µs");
}

impl Bench {
    async fn start(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tributary-bench-").tempdir_in(parent)?;
        let bed = Bed::start(parent, Setup::to(Far::Nothing)).await?;
        let echo = PeerProcess::start(Peer::Echo, &folder.path().join("unused"))?;
        let disk = PeerProcess::start(Peer::Disk, &folder.path().join("peer.log"))?;
        let (store, _) = Store::open(StoreOptions::new(folder.path().join("store")), clock::now())?;
        Ok(Self { record: messages::adt(0, 0), folder, bed, echo, disk, store })
    }

    async fn round(&self, senders: u32, slice: Duration) -> anyhow::Result<Round> {
        let until = || Instant::now() + slice;
        let log = BareLog::create(&self.folder.path().join("bare.log"))?;
        let log = bare::write(log, &self.record, senders, until()).await?;
        let process = self.bed.engine()?.process();
        let before = process.cpu()?;
        let engine = self.bed.load(senders, PATIENTS, Until::Time(until())).run().await?;
        let cpu = process.cpu()?.saturating_sub(before);
        let disk = self.against(&self.disk, senders, until()).await?;
        let store = self.store_alone(senders, until()).await?;
        let echo = self.against(&self.echo, senders, until()).await?;
        Ok(Round { engine, cpu, log, echo, disk, store })
    }

    async fn against(&self, peer: &PeerProcess, senders: u32, until: Instant) -> anyhow::Result<Sent> {
        let load = self.bed.load(senders, PATIENTS, Until::Time(until));
        Load { address: peer.address, ledger: Arc::new(Ledger::new()), ..load }.run().await
    }

    /// The engine's store by itself, in this process: what the bare loop is fairly compared with.
    async fn store_alone(&self, senders: u32, until: Instant) -> anyhow::Result<Sent> {
        let (store, payload) = (self.store.clone(), self.record.clone());
        closed_loop(senders, until, move || {
            let (store, received) = (store.clone(), received(&payload));
            async move { store.accept(received).await.is_ok() }
        })
        .await
    }
}

fn received(payload: &Bytes) -> Received {
    let at = clock::now();
    let id = clock::new_id(at);
    Received {
        control_id: Some(id.to_string()),
        id,
        channel: "feed".into(),
        peer: "127.0.0.1:1".into(),
        at,
        format: Format::Hl7v2,
        kind: "ADT^A01".into(),
        sender: "MERIDIAN|ST-MARY".into(),
        search: ["000000".to_owned()].into(),
        beside: Bytes::new(),
        sha256: Sha256::of(payload),
        payload: payload.clone(),
    }
}
