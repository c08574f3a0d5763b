//! `tributary bench`: load generator and fault injector.
//!
//! The engine that is measured runs as a process of its own, on a fresh site in a temporary folder, so
//! that its processor time and memory are its own; senders and destinations run in this one. What
//! the machine can do at best is measured beside it in the same run, in turns.

mod accept;
mod bare;
mod bed;
mod big;
mod convert;
mod engine;
mod flow;
mod latency;
mod ledger;
mod load;
mod messages;
mod policy;
mod report;
mod sink;
mod site;
mod start;
mod stored;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use self::bare::Peer;
use self::bed::Far;
use self::flow::Targets;
use self::report::Report;
use super::operate::print_json;
use super::{Failure, Globals, Outcome};

#[derive(clap::Args)]
#[command(after_help = "\
Measure on a quiet machine, with --data on the disk that the engine is to use; read ratios before rates.
With --faults and --kill, nothing may be lost or out of order on any machine: the exit code says so.")]
pub(super) struct Args {
    /// What to measure; all, if none is named.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// How long to load, each time.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    seconds: f64,
    /// How many senders, instead of each scenario's own numbers.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    senders: Option<u32>,
    /// One second each, once: to see that it works.
    #[arg(long)]
    quick: bool,
    /// The destination fails at random (mllp-to-mllp, mllp-to-fhir).
    #[arg(long)]
    faults: bool,
    /// The engine is killed at random and started again (mllp-to-mllp, mllp-to-fhir).
    #[arg(long)]
    kill: bool,
    /// How many messages wait when the engine is started (start); 1000000 is the target's number.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT")]
    queued: u64,
    /// Up to how many messages are stored (stored): ten times more each time, 10000000 for the target.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT")]
    stored: u64,
    /// Be one of the receivers that the engine is compared with.
    #[arg(long, hide = true, value_enum, requires = "peer_file")]
    peer: Option<Peer>,
    #[arg(long, hide = true)]
    peer_file: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// Durable accepts, against a bare log and bare receivers.
    Accept,
    /// Through the whole engine to an MLLP receiver, in order.
    MllpToMllp,
    /// Converted, stamped and flagged, to a FHIR server.
    MllpToFhir,
    /// The same, with and without a policy that is asked for consent at every attempt.
    Policy,
    /// 50 MB messages while small ones flow.
    Big,
    /// From start to first acknowledgment, with nothing and with much queued.
    Start,
    /// Cost of a message as the store grows.
    Stored,
    /// Processor time of a conversion.
    Convert,
}

/// How long and how much.
struct Pace {
    time: Duration,
    /// How often each is measured where things are compared in turns.
    rounds: u32,
    senders: Option<u32>,
    faults: bool,
    kill: bool,
    queued: u64,
    stored: u64,
}

impl Pace {
    /// The time of one round.
    fn slice(&self) -> Duration {
        self.time / self.rounds
    }

    fn senders_or(&self, usual: &[u32]) -> Vec<u32> {
        self.senders.map_or_else(|| usual.to_vec(), |senders| vec![senders])
    }
}

impl Args {
    fn pace(&self) -> anyhow::Result<Pace> {
        let time = Duration::try_from_secs_f64(if self.quick { 1.0 } else { self.seconds });
        let small = |count: u64| if self.quick { count.min(10_000) } else { count };
        Ok(Pace {
            time: time.context("--seconds is a number of seconds")?,
            rounds: if self.quick { 1 } else { 5 },
            senders: self.senders,
            faults: self.faults,
            kill: self.kill,
            queued: small(self.queued),
            stored: small(self.stored),
        })
    }

    fn chosen(&self) -> Vec<Scenario> {
        use Scenario::{Accept, Big, Convert, MllpToFhir, MllpToMllp, Policy, Start, Stored};
        match self.scenarios.as_slice() {
            [] if self.faults || self.kill => vec![MllpToMllp, MllpToFhir],
            [] => vec![Convert, Accept, MllpToMllp, MllpToFhir, Policy, Big, Start, Stored],
            named => named.to_vec(),
        }
    }
}

pub(super) async fn bench(globals: &Globals, args: Args) -> Outcome {
    if let (Some(peer), Some(file)) = (args.peer, &args.peer_file) {
        return Ok(bare::serve_peer(peer, file).await?);
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the numbers mean nothing (cargo run --release -- bench)");
    }
    let parent = globals.data.clone().unwrap_or_else(|| PathBuf::from("."));
    let pace = args.pace()?;
    let mut report = Report::default();
    let run = async {
        for scenario in args.chosen() {
            measure(scenario, &parent, &pace, &mut report).await.with_context(|| format!("{scenario:?}"))?;
        }
        anyhow::Ok(())
    };
    // Either way the engines that were started are dropped, and so killed, and their folders removed.
    tokio::select! {
        done = run => done?,
        _ = tokio::signal::ctrl_c() => return Err(anyhow::anyhow!("broken off").into()),
    }
    if globals.json {
        print_json(&report.measures())?;
    } else {
        report.print()?;
    }
    if report.is_sound() { Ok(()) } else { Err(Failure::No) }
}

async fn measure(scenario: Scenario, parent: &Path, pace: &Pace, report: &mut Report) -> anyhow::Result<()> {
    match scenario {
        Scenario::Accept => accept::measure(parent, pace, report.section("accept")).await,
        Scenario::MllpToMllp => {
            let targets = Targets { far: Far::Mllp, rate: 10_000.0 };
            flow::measure(parent, pace, &targets, report.section("mllp-to-mllp")).await
        }
        Scenario::MllpToFhir => {
            let targets = Targets { far: Far::Fhir, rate: 5_000.0 };
            flow::measure(parent, pace, &targets, report.section("mllp-to-fhir")).await
        }
        Scenario::Policy => policy::measure(parent, pace, report.section("policy")).await,
        Scenario::Big => big::measure(parent, pace, report.section("big")).await,
        Scenario::Start => start::measure(parent, pace, report.section("start")).await,
        Scenario::Stored => stored::measure(parent, pace, report.section("stored")).await,
        Scenario::Convert => convert::measure(pace, report.section("convert")),
    }
}
