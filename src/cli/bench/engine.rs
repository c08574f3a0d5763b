//! The engine under test, as a process of its own: started, measured, killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal};

use super::site::SiteFolder;

/// How long the engine may take to listen.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it may take to stop.
const GRACE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Units of the times in `/proc`: fixed for programs, whatever the kernel's own clock.
const TICKS_A_SECOND: u64 = 100;

/// A running child process that is killed when it is dropped.
pub(super) struct Process {
    child: Child,
}

/// A running engine.
pub(super) struct Engine {
    process: Process,
    dir: PathBuf,
    address: SocketAddr,
}

impl Engine {
    /// Starts this program's `run` on a site and waits until its channel can be connected to.
    pub(super) async fn start(site: &SiteFolder) -> anyhow::Result<Self> {
        let mut engine = Self::spawn(site)?;
        engine.wait_for_door().await?;
        Ok(engine)
    }

    /// Starts it and waits for nothing.
    pub(super) fn spawn(site: &SiteFolder) -> anyhow::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(site.dir.join("engine.log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg("--config").arg(&site.dir).env_remove("TRIBUTARY_CONFIG");
        let process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log))?;
        Ok(Self { process, dir: site.dir.clone(), address: site.listen })
    }

    async fn wait_for_door(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.process.child.try_wait()? {
                let log = std::fs::read_to_string(self.dir.join("engine.log")).unwrap_or_default();
                bail!("the engine ended with {status}: {}", log.trim_end());
            }
            ensure!(Instant::now() < deadline, "the engine does not listen after {} s", PATIENCE.as_secs());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Its resources.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it at once, as a crash does.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.process.child.kill()?;
        self.process.child.wait()?;
        Ok(())
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        rustix::process::kill_process(self.process.pid()?, Signal::TERM)?;
        let deadline = Instant::now() + GRACE;
        loop {
            if let Some(status) = self.process.child.try_wait()? {
                ensure!(status.success(), "the engine ended with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the engine does not stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        Ok(Self { child: command.spawn().context("cannot start this program again")? })
    }

    /// What it prints.
    pub(super) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let pid = i32::try_from(self.child.id())?;
        Pid::from_raw(pid).context("a process has a number")
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {path}: the engine is gone, or this is no Linux"))
    }

    /// The processor time that it has used, in user and system mode.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = self.proc("stat")?;
        // The name may hold anything, so count from its closing bracket: fields 14 and 15 of proc(5).
        let (_, rest) = stat.rsplit_once(')').context("cannot read /proc/…/stat")?;
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 1_000 / TICKS_A_SECOND))
    }

    /// Resident memory in MiB: now, and the most since [`Process::forget_peak`].
    pub(super) fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = self.proc("status")?;
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
        };
        Ok((of("VmRSS:").context("no VmRSS")?, of("VmHWM:").context("no VmHWM")?))
    }

    /// Measures the peak of memory from now on.
    pub(super) fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
