//! The limits of the machine, measured beside the engine: a bare log, a bare receiver, and both together.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Requests, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use channels::Stopper;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::engine::Process;
use super::latency::Latencies;
use super::load::Sent;
use super::sink::{self, Receiver, Verdict};

/// Most records of a group, as in the engine's log.
const GROUP: usize = 1024;

/// What a peer process does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    /// Acknowledges.
    Echo,
    /// Acknowledges once the message is in a bare log and synced.
    Disk,
}

/// A plain log: what waits is appended to one file, synced once, and answered.
pub(super) struct BareLog {
    log: SyncSender<Record>,
}

struct Record {
    bytes: Bytes,
    synced: oneshot::Sender<()>,
}

impl BareLog {
    /// A new log in `file`. Its thread ends when all who could append are gone.
    pub(super) fn create(file: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::create(file)?;
        let (log, records) = sync_channel(GROUP);
        std::thread::Builder::new().name("bare-log".into()).spawn(move || append(file, &records))?;
        Ok(Self { log })
    }

    /// Appends; returns when it is on the disk, or `false` if that failed.
    pub(super) async fn append(&self, bytes: Bytes) -> bool {
        let (synced, done) = oneshot::channel();
        self.log.try_send(Record { bytes, synced }).is_ok() && done.await.is_ok()
    }
}

fn append(mut file: std::fs::File, records: &Requests<Record>) {
    let mut group = Vec::new();
    let mut buffer = Vec::new();
    while let Ok(first) = records.recv() {
        group.push(first);
        group.extend(records.try_iter().take(GROUP - 1));
        group.iter().for_each(|record| buffer.extend_from_slice(&record.bytes));
        if file.write_all(&buffer).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        buffer.clear();
        for record in group.drain(..) {
            // A writer that gave up no longer waits.
            if record.synced.send(()).is_err() {}
        }
    }
}

/// As many writers as senders append `record` one after another, until `until`.
pub(super) async fn write(log: BareLog, record: &Bytes, writers: u32, until: Instant) -> anyhow::Result<Sent> {
    let (log, record) = (Arc::new(log), record.clone());
    closed_loop(writers, until, move || {
        let (log, record) = (Arc::clone(&log), record.clone());
        async move { log.append(record).await }
    })
    .await
}

/// Does `act` over and over, as many at a time; `act` yields false if it failed.
pub(super) async fn closed_loop<F>(
    many: u32,
    until: Instant,
    act: impl Fn() -> F + Clone + Send + 'static,
) -> anyhow::Result<Sent>
where
    F: Future<Output = bool> + Send,
{
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..many {
        let act = act.clone();
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            while Instant::now() < until {
                let started = Instant::now();
                anyhow::ensure!(act().await, "the measured loop failed");
                latencies.add(started.elapsed());
            }
            Ok(latencies)
        });
    }
    let mut acknowledgments = Latencies::default();
    while let Some(ended) = tasks.join_next().await {
        acknowledgments.merge(ended.context("a measured loop broke off")??);
    }
    Ok(Sent { acknowledgments, took: began.elapsed() })
}

/// A bare receiver as a process of its own, as the engine is one.
pub(super) struct PeerProcess {
    _process: Process,
    pub(super) address: SocketAddr,
}

impl PeerProcess {
    /// Starts this program's `bench --peer`, which writes to `file` if it writes.
    pub(super) fn start(peer: Peer, file: &Path) -> anyhow::Result<Self> {
        let name = match peer {
            Peer::Echo => "echo",
            Peer::Disk => "disk",
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--peer", name, "--peer-file"]).arg(file);
        let mut process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = process.stdout().context("the peer prints its address")?;
        let mut line = String::new();
        std::io::BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().context("the peer did not print its address")?;
        Ok(Self { _process: process, address })
    }
}

/// The peer process itself: prints its address and serves until it is killed.
pub(super) async fn serve_peer(peer: Peer, file: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let (_stopper, stop) = Stopper::new();
    match peer {
        Peer::Echo => sink::serve(listener, Arc::new(Echo), stop).await,
        Peer::Disk => sink::serve(listener, Arc::new(Disk(BareLog::create(file)?)), stop).await,
    }
    Ok(())
}

struct Echo;

impl Receiver for Echo {
    async fn take(&self, _: Bytes) -> Verdict {
        Verdict::Accept
    }
}

struct Disk(BareLog);

impl Receiver for Disk {
    async fn take(&self, message: Bytes) -> Verdict {
        if self.0.append(message).await { Verdict::Accept } else { Verdict::HangUp }
    }
}
