//! A test bed: an engine, the destination that it sends to, and the account between them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use channels::{Stop, Stopper};
use rand::Rng as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::engine::Engine;
use super::ledger::Ledger;
use super::load::{Load, Until};
use super::messages;
use super::sink::{self, Receiver, Verdict};
use super::site::{Plan, SiteFolder, Towards};
use crate::engine::clock;
use crate::repository::{self, Behaviour, DropAfter, Repository};

/// How long what was accepted may take to arrive.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The kind of destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Far {
    Nothing,
    Mllp,
    Fhir,
}

/// How a bed is set up.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) far: Far,
    /// The destination fails at random.
    pub(super) faults: bool,
    /// False: deliveries wait in the queue.
    pub(super) delivering: bool,
    /// The destination has a policy.
    pub(super) policy: bool,
}

impl Setup {
    /// Everything goes to such a destination, which takes it.
    pub(super) fn to(far: Far) -> Self {
        Self { far, faults: false, delivering: true, policy: false }
    }
}

/// An engine with a destination.
pub(super) struct Bed {
    pub(super) site: SiteFolder,
    pub(super) engine: Option<Engine>,
    pub(super) ledger: Arc<Ledger>,
    folder: tempfile::TempDir,
    _stopper: Stopper,
    _tasks: JoinSet<()>,
}

impl Bed {
    /// A fresh one in a folder of its own within `parent`; the engine is not started.
    pub(super) async fn lay(parent: &Path, setup: Setup) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tributary-bench-").tempdir_in(parent);
        let folder = folder.with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        let ledger = Arc::new(Ledger::new());
        let (stopper, stop) = Stopper::new();
        let mut tasks = JoinSet::new();
        let towards = match setup.far {
            Far::Nothing => Towards::Nothing,
            Far::Mllp => Towards::Mllp(mllp_sink(Arc::clone(&ledger), setup.faults, stop, &mut tasks).await?),
            Far::Fhir => Towards::Fhir(fhir_sink(Arc::clone(&ledger), setup.faults, stop, &mut tasks).await?),
        };
        let plan = Plan { towards, enabled: setup.delivering, policy: setup.policy };
        let site = SiteFolder::write(folder.path(), &plan)?;
        Ok(Self { site, engine: None, ledger, folder, _stopper: stopper, _tasks: tasks })
    }

    /// A fresh one with its engine running.
    pub(super) async fn start(parent: &Path, setup: Setup) -> anyhow::Result<Self> {
        let mut bed = Self::lay(parent, setup).await?;
        bed.engine = Some(Engine::start(&bed.site).await?);
        Ok(bed)
    }

    /// The engine.
    pub(super) fn engine(&self) -> anyhow::Result<&Engine> {
        self.engine.as_ref().context("the engine is running")
    }

    /// 1 KB messages of `patients` patients, as fast as `senders` are answered, until `until`.
    pub(super) fn load(&self, senders: u32, patients: u32, until: Until) -> Load {
        Load {
            address: self.site.listen,
            ledger: Arc::clone(&self.ledger),
            senders,
            patients: patients.max(senders),
            first_patient: 0,
            until,
            message: messages::adt,
            pace: Duration::ZERO,
            ahead: 1,
            patient_with_crashes: false,
        }
    }

    /// Waits until everything that was acknowledged has arrived; what has not by then is lost.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let mut last = (self.ledger.progress(), Instant::now());
        while !self.ledger.is_settled() && last.1.elapsed() < PATIENCE.min(Duration::from_secs(30)) {
            tokio::time::sleep(LOOK_EVERY).await;
            let progress = self.ledger.progress();
            if progress != last.0 {
                last = (progress, Instant::now());
            }
        }
        Ok(())
    }

    /// Stops the engine and has `tributary verify` read its whole store.
    pub(super) async fn verify(&mut self) -> anyhow::Result<()> {
        self.engine.take().context("the engine is running")?.stop().await?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        let verified = command.arg("verify").arg("--config").arg(self.folder.path()).output()?;
        ensure!(verified.status.success(), "verify: {}", String::from_utf8_lossy(&verified.stdout).trim());
        Ok(())
    }
}

/// An MLLP receiver that keeps the account, and fails at random if it is to.
struct Accountant {
    ledger: Arc<Ledger>,
    faults: bool,
}

impl Receiver for Accountant {
    async fn take(&self, message: Bytes) -> Verdict {
        let luck = if self.faults { rand::rng().random_range(0..100) } else { 100 };
        match luck {
            0..4 => return Verdict::Err,
            4..6 => return Verdict::HangUp,
            _ => {}
        }
        self.ledger.arrive(messages::number_in(&message));
        if luck == 6 { Verdict::HangUp } else { Verdict::Accept }
    }
}

async fn mllp_sink(
    ledger: Arc<Ledger>,
    faults: bool,
    stop: Stop,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tasks.spawn(sink::serve(listener, Arc::new(Accountant { ledger, faults }), stop));
    Ok(address)
}

async fn fhir_sink(
    ledger: Arc<Ledger>,
    faults: bool,
    stop: Stop,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let config = repository::Config { discard: true, ..repository::Config::default() };
    let seen = Arc::new(move |body: &Bytes| ledger.arrive(messages::number_in(body)));
    let repository = Repository::watched(config, clock::clock(), seen);
    if faults {
        tasks.spawn(misbehave(repository.clone(), stop.clone()));
    }
    tasks.spawn(async move {
        if let Err(error) = repository::serve(listener, repository, stop).await {
            eprintln!("the repository broke off: {error}");
        }
    });
    Ok(address)
}

/// Another fault, or none, every few hundred milliseconds.
async fn misbehave(repository: Repository, mut stop: Stop) {
    let every = std::num::NonZeroU64::new(5);
    loop {
        let (fault, rest) = (rand::rng().random_range(0..5), rand::rng().random_range(100..400));
        repository.behave(match fault {
            0 => Behaviour { fail: Some(503), every, ..Behaviour::default() },
            1 => Behaviour { fail: Some(500), every, ..Behaviour::default() },
            2 => Behaviour { drop_after: Some(DropAfter::Read), every, ..Behaviour::default() },
            3 => Behaviour { drop_after: Some(DropAfter::Stored), every, ..Behaviour::default() },
            _ => Behaviour::default(),
        });
        if stop.or(tokio::time::sleep(Duration::from_millis(rest))).await.is_none() {
            return;
        }
    }
}
