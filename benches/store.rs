//! Durable accepts against a bare append-and-`fdatasync` loop with as many senders, side by side.
//!
//! `cargo bench --bench store [-- SECONDS ROUNDS]`. The contenders take turns; medians are printed.
//! `plain` appends to a growing file, `ahead` writes into one that is filled with zeros; both collect
//! what waits and sync once for all, as any group commit does. One sender syncs by itself.
//!
//! `cargo bench --bench store -- scale COUNT` fills one store instead, and prints what a message
//! costs along the way, then how long opening takes, cleanly and with the index gone.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement prints, and stops at the first thing that is not as it should be"
)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::Flags;
use message::{Format, MessageId, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tributary::store::{NewDelivery, NewOutput, Outcome, Received, Record, Store, StoreOptions};

/// sled frees on other threads than it allocates on: with the C library's allocator it takes half as
/// much CPU time again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SENDERS: [usize; 4] = [1, 16, 64, 256];
const PAYLOAD: usize = 1024;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("scale") {
        let count = std::env::args().nth(2).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
        return scale(Path::new(env!("CARGO_TARGET_TMPDIR")), count);
    }
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let seconds = numbers.first().copied().unwrap_or(1.0);
    let rounds = numbers.get(1).map_or(5, |rounds| *rounds as usize);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("1 KB, {rounds} rounds of {seconds} s, medians: accepts a second (p99 in ms, CPU time of one in us)");
    for senders in SENDERS {
        let mut results = [(); 3].map(|()| Vec::new());
        for _ in 0..rounds {
            let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let time = Duration::from_secs_f64(seconds);
            results[0].push(runtime.block_on(bare(place, senders, time, false)));
            results[1].push(runtime.block_on(bare(place, senders, time, true)));
            results[2].push(runtime.block_on(store(place, senders, time)));
        }
        let [plain, ahead, store] = results.map(median);
        let show = |run: Run| format!("{:>7.0} ({:.2}, {:.0})", run.rate, run.p99, run.cpu);
        println!(
            "{senders:>4} senders: plain {}  ahead {}  store {}  {:.2} x plain, {:.2} x ahead",
            show(plain),
            show(ahead),
            show(store),
            store.rate / plain.rate,
            store.rate / ahead.rate,
        );
    }
}

/// Accepts a second, the p99 in milliseconds, and the CPU time of one in microseconds.
#[derive(Clone, Copy)]
struct Run {
    rate: f64,
    p99: f64,
    cpu: f64,
}

impl Run {
    fn new(mut latencies: Vec<Duration>, elapsed: Duration, cpu: f64) -> Self {
        latencies.sort_unstable();
        let p99 = latencies[latencies.len() * 99 / 100].as_secs_f64() * 1000.0;
        let count = latencies.len() as f64;
        Self { rate: count / elapsed.as_secs_f64(), p99, cpu: cpu * 1e6 / count }
    }
}

fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    runs[runs.len() / 2]
}

/// Runs `senders` of `send` for `time`.
async fn measure<F: Future<Output = ()> + Send>(
    senders: usize,
    time: Duration,
    send: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Run {
    let used = cpu_seconds();
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        let (stop, count, send) = (stop.clone(), count.clone(), send.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                send(count.fetch_add(1, Ordering::Relaxed)).await;
                latencies.push(started.elapsed());
            }
            latencies
        });
    }
    let started = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let latencies: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    Run::new(latencies, started.elapsed(), cpu_seconds() - used)
}

/// The limit: bytes appended to a file, one `fdatasync` for all that wait.
async fn bare(place: &Path, senders: usize, time: Duration, ahead: bool) -> Run {
    let path = place.join("bare.log");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
    if ahead {
        let zeros = vec![0; 1 << 20];
        let megabytes = (time.as_secs_f64() * 300.0) as u64 + 64;
        (0..megabytes).for_each(|at| file.write_all_at(&zeros, at << 20).unwrap());
        file.sync_all().unwrap();
    }
    let result = if senders == 1 { alone(file, time) } else { grouped(file, senders, time).await };
    std::fs::remove_file(path).unwrap();
    result
}

fn alone(file: File, time: Duration) -> Run {
    let (payload, mut at, mut latencies) = (vec![7; PAYLOAD], 0, Vec::new());
    let (started, used) = (Instant::now(), cpu_seconds());
    while started.elapsed() < time {
        let one = Instant::now();
        file.write_all_at(&payload, at).unwrap();
        file.sync_data().unwrap();
        at += PAYLOAD as u64;
        latencies.push(one.elapsed());
    }
    Run::new(latencies, started.elapsed(), cpu_seconds() - used)
}

async fn grouped(file: File, senders: usize, time: Duration) -> Run {
    let (requests, mut waiting) = mpsc::channel::<(Bytes, oneshot::Sender<()>)>(1024);
    let writer = std::thread::spawn(move || {
        let (mut at, mut buffer, mut wake) = (0, Vec::new(), Vec::new());
        while let Some(first) = waiting.blocking_recv() {
            let mut next = Some(first);
            while let Some((bytes, done)) = next.take() {
                buffer.extend_from_slice(&bytes);
                wake.push(done);
                next = if wake.len() < 1024 { waiting.try_recv().ok() } else { None };
            }
            file.write_all_at(&buffer, at).unwrap();
            file.sync_data().unwrap();
            at += buffer.len() as u64;
            buffer.clear();
            wake.drain(..).for_each(|done| done.send(()).unwrap());
        }
    });
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let send = move |_| {
        let (requests, payload) = (requests.clone(), payload.clone());
        async move {
            let (done, wait) = oneshot::channel();
            requests.send((payload, done)).await.unwrap();
            wait.await.unwrap();
        }
    };
    let result = measure(senders, time, send).await;
    writer.join().unwrap();
    result
}

/// The store: an id, a duplicate check, a search key, the index behind it.
async fn store(place: &Path, senders: usize, time: Duration) -> Run {
    let dir = tempfile::tempdir_in(place).unwrap();
    let options = StoreOptions { ballast_bytes: 0, ..StoreOptions::new(dir.path()) };
    let (store, _) = Store::open(options, start()).unwrap();
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let sha256 = Sha256::of(&payload);
    let send = {
        let store = store.clone();
        move |number: u64| {
            let (store, received) = (store.clone(), message(number, &payload, sha256));
            async move { store.accept(received).await.map(drop).unwrap() }
        }
    };
    let result = measure(senders, time, send).await;
    store.close().await.unwrap();
    result
}

fn start() -> Timestamp {
    "2024-05-06T07:08:09Z".parse().unwrap()
}

fn message(number: u64, payload: &Bytes, sha256: Sha256) -> Received {
    let at = start() + Duration::from_micros(number * 10);
    Received {
        id: MessageId::new(at, rand::random()),
        channel: "adt".into(),
        peer: "192.0.2.7:4711".into(),
        at,
        format: Format::Hl7v2,
        kind: "ADT^A01".into(),
        control_id: Some(number.to_string()),
        sender: "LAB|ST MARY".into(),
        search: [format!("MRN{}", number % 500_000)].into(),
        beside: Bytes::new(),
        sha256,
        payload: payload.clone(),
    }
}

/// Fills one store with `count` queued messages, by 64 senders.
fn scale(place: &Path, count: u64) {
    const SENDERS: u64 = 64;
    let dir = tempfile::tempdir_in(place).unwrap();
    let options = StoreOptions { ballast_bytes: 0, ..StoreOptions::new(dir.path()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let sha256 = Sha256::of(&payload);
    let (store, _) = Store::open(options.clone(), start()).unwrap();
    let step = (count / 10).max(1);
    for part in 0..10 {
        let (started, used) = (Instant::now(), cpu_seconds());
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for sender in 0..SENDERS {
                let (store, payload) = (store.clone(), payload.clone());
                tasks.spawn(async move {
                    for number in (part * step + sender..(part + 1) * step).step_by(SENDERS as usize) {
                        let received = message(number, &payload, sha256);
                        let id = received.id;
                        store.accept(received).await.unwrap();
                        store.commit(vec![queued(id)]).await.unwrap();
                    }
                });
            }
            tasks.join_all().await;
        });
        let each = |seconds: f64| seconds * 1e6 / step as f64;
        println!(
            "{:>9} stored: {:>6.1} us and {:>6.1} us of CPU a message (accept and commit), {} MiB resident",
            (part + 1) * step,
            each(started.elapsed().as_secs_f64()),
            each(cpu_seconds() - used),
            resident_mib(),
        );
    }
    let closing = Instant::now();
    runtime.block_on(store.close()).unwrap();
    println!("closed in {:?}", closing.elapsed());
    for lose_index in [false, true] {
        if lose_index {
            std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
        let (opening, used) = (Instant::now(), cpu_seconds());
        let (store, report) = Store::open(options.clone(), start()).unwrap();
        let opened = opening.elapsed();
        runtime.block_on(store.accept(message(count + u64::from(lose_index), &payload, sha256))).unwrap();
        let (first, lost) = (opening.elapsed(), report.rebuilt.is_some());
        let (cpu, memory) = (cpu_seconds() - used, resident_mib());
        println!(
            "opened in {opened:?}, first accept after {first:?}, {cpu:.1} s of CPU (rebuilt: {lost}), {memory} MiB"
        );
        runtime.block_on(store.close()).unwrap();
    }
}

fn queued(message: MessageId) -> Record {
    let output = NewOutput { format: Format::Hl7v2, flags: Flags::default(), bytes: None, transaction: None };
    let lane = message.as_bytes().map(|byte| byte % 16);
    let delivery = NewDelivery {
        destination: "repository".into(),
        output: 0,
        lanes: vec![lane],
        subjects: vec![lane],
        purposes: vec!["TREAT".into()],
        held: None,
    };
    let outcome = Outcome::Queued { outputs: vec![output], deliveries: vec![delivery] };
    Record::Processed { message, at: start(), outcome, steps: Vec::new(), findings: Vec::new() }
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> = stat.rsplit(')').next().unwrap().split(' ').filter_map(|field| field.parse().ok()).collect();
    (fields[10] + fields[11]) / 100.0
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
