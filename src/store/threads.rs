//! Starts the store's threads, and ends them in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use jiff::Timestamp;

use super::appender::Appender;
use super::duplicate::{Duplicates, Filters};
use super::epochs::Epochs;
use super::error::StoreError;
use super::find::Finder;
use super::indexer::Indexer;
use super::keeper::{Keeper, KeeperJob};
use super::lately::Lately;
use super::metrics::Metrics;
use super::open::Opened;
use super::options::StoreOptions;
use super::progress::Progress;
use super::queries::Queries;
use super::spare::Spares;
use super::writer::{Request, Writer};

/// Groups that may wait for the index.
const INDEX_QUEUE: usize = 16;
/// What runs, from the first to end to the last.
pub(super) struct Threads {
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    stop: Arc<AtomicBool>,
    closed: AtomicBool,
    queries: Arc<Queries>,
    keeper: SyncSender<KeeperJob>,
}

/// What asks them.
pub(super) struct Started {
    pub(super) log: SyncSender<Request>,
    pub(super) queries: Arc<Queries>,
    pub(super) keeper: SyncSender<KeeperJob>,
    pub(super) finder: Arc<Finder>,
    pub(super) low: Arc<AtomicBool>,
    pub(super) threads: Threads,
}

/// Starts them all.
pub(super) fn start(
    options: &Arc<StoreOptions>,
    opened: Opened,
    metrics: &Arc<Metrics>,
    units: usize,
    now: Timestamp,
) -> Result<Started, StoreError> {
    let Opened { records, index, tallies, recycled, end, next_segment, lowest_bucket, .. } = opened;
    let progress = Arc::new(Progress::new(end.next, end.sure, options.dir.join("index.broken")));
    index.follow(progress.clone());
    let epochs = Arc::new(Epochs::new(end.next));
    let (lately, followed) = (Arc::new(Lately::default()), u32::MAX.into());
    let finder = Arc::new(Finder { index, records, tallies, progress, epochs, lately, followed });
    let stop = Arc::new(AtomicBool::new(false));
    let filters = Arc::new(Filters::new(lowest_bucket, end.next));
    let (log, requests) = sync_channel(units + 64);
    let (to_index, groups) = sync_channel(INDEX_QUEUE);
    let queries = Arc::new(Queries::new());
    let (keeper, jobs) = sync_channel(64);
    let low = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();

    let keep = Keeper {
        finder: finder.clone(),
        options: options.clone(),
        metrics: metrics.clone(),
        recycled: recycled.clone(),
        log: log.clone(),
        index: to_index.clone(),
        low: low.clone(),
        opened: (now, Instant::now()),
        checkpointed: (end.next, 0, Instant::now()),
        retained: Instant::now(),
    };
    keep.look();
    let ended = stop.clone();
    running.push(spawn("store-keeper", move || keep.run(&jobs, &ended))?);

    let (fill, index, ended) = (filters.clone(), finder.index.clone(), stop.clone());
    running.push(spawn("store-filter", move || {
        if let Err(error) = fill.load(&index, || ended.load(Ordering::Relaxed)) {
            tracing::error!(%error, "the duplicate check could not be warmed up; it asks the index instead");
        }
    })?);

    let (fold, told, progress, ended) =
        (finder.index.clone(), finder.index.folder(), finder.progress.clone(), stop.clone());
    running.push(spawn("store-fold", move || {
        if let Err(error) = fold.run_folder(&told, &ended) {
            progress.set_broken(&error);
        }
    })?);

    let spares = Spares::start(finder.records.segments.clone(), recycled, next_segment, options.segment_bytes)?;
    let writer = Writer {
        requests,
        index: to_index,
        appender: Appender::new(finder.records.segments.clone(), spares, metrics.clone(), end)?,
        duplicates: Duplicates::new(options.duplicate_window, finder.index.clone(), filters),
        records: finder.records.clone(),
        progress: finder.progress.clone(),
        metrics: metrics.clone(),
        sync_within: options.sync_within,
    };
    running.push(spawn("store-log", move || writer.run())?);

    for _ in 0..options.readers.max(1) {
        let (queries, finder) = (queries.clone(), finder.clone());
        running.push(spawn("store-read", move || {
            while let Some(job) = queries.next() {
                job(&finder);
            }
        })?);
    }

    let indexer = Indexer {
        index: finder.index.clone(),
        records: finder.records.clone(),
        tallies: finder.tallies.clone(),
        progress: finder.progress.clone(),
        epochs: finder.epochs.clone(),
        lately: finder.lately.clone(),
    };
    running.push(spawn("store-index", move || indexer.run(&groups))?);
    let threads = Threads {
        running: Mutex::new(running),
        stop,
        closed: AtomicBool::new(false),
        queries: queries.clone(),
        keeper: keeper.clone(),
    };
    Ok(Started { log, queries, keeper, finder, low, threads })
}

fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<(&'static str, JoinHandle<()>), StoreError> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    thread.map(|thread| (name, thread)).map_err(StoreError::io("cannot start a thread"))
}

impl Threads {
    /// True once it is being closed.
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends all threads: what was asked before is done and durable. Blocks; does nothing the second time.
    pub(super) fn close(&self, log: &SyncSender<Request>) {
        self.closed.store(true, Ordering::Release);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(true, Ordering::Release);
        // Wakes those that wait for work; one that is busy looks up by itself.
        let woken = self.keeper.try_send(Box::new(|_| {})).is_ok();
        self.queries.close();
        tracing::debug!(woken, "closing the store");
        for (name, thread) in running.drain(..) {
            if name == "store-log" && log.send(Request::Close).is_err() {
                tracing::debug!("the log's thread had ended already");
            }
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread of the store panicked");
            }
        }
    }
}
