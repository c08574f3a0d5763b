//! `tributary run` as a child process, and how it stands.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use tokio::runtime::Runtime;
use tributary::admin::Operation;
use tributary::admin::client::Client;
use tributary::engine::{DestinationStatus, Status};

use super::hl7::update;
use super::mllp::Sender;
use super::{DEADLINE, Site, wait_for, wait_until};

/// What the tests' own asynchronous parts run on.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A running engine; killed when it is dropped.
pub(crate) struct Running<'a> {
    site: &'a Site,
    child: Child,
}

impl<'a> Running<'a> {
    pub(super) fn start(site: &'a Site) -> Self {
        let log = File::create(site.log()).unwrap();
        let child = site.command(&["run"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
        let mut running = Self { site, child };
        let began = Instant::now();
        while running.status_if_up().is_none() {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < DEADLINE, "{ended:?}: {}", site.logs());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        running
    }

    /// How everything stands, if it answers.
    fn status_if_up(&self) -> Option<Status> {
        let socket = self.site.socket();
        RUNTIME.block_on(async { Client::connect(&socket).await.ok()??.call(&Operation::Status).await.ok() })
    }

    /// How everything stands.
    pub(crate) fn status(&self) -> Status {
        self.status_if_up().unwrap_or_else(|| panic!("no answer: {}", self.site.logs()))
    }

    /// How one destination stands.
    pub(crate) fn destination(&self, name: &str) -> DestinationStatus {
        self.status().destinations.into_iter().find(|destination| destination.name == name).unwrap()
    }

    /// Where a channel listens, once it does.
    #[track_caller]
    pub(crate) fn address(&self, channel: &str) -> SocketAddr {
        wait_for("the channel listens", || self.address_if_open(channel))
    }

    /// Where a channel listens, if it does.
    pub(crate) fn address_if_open(&self, channel: &str) -> Option<SocketAddr> {
        let status = self.status_if_up()?;
        let channel = status.channels.iter().find(|known| known.name == channel)?;
        // `http://…` or an address alone.
        channel.address.as_ref()?.trim_start_matches("http://").trim_end_matches('/').parse().ok()
    }

    /// A channel's state and reason.
    pub(crate) fn channel(&self, name: &str) -> (String, String) {
        let channel = self.status().channels.into_iter().find(|channel| channel.name == name).unwrap();
        (channel.state, channel.reason.unwrap_or_default())
    }

    /// Sends the first message to the channel `in` and waits until `out` has it; the connection that it came by.
    pub(crate) fn first_delivered(&self) -> Sender {
        let mut sender = Sender::connect(self.address("in"));
        sender.accepted(&update("P1", "C1", "Ada"));
        self.wait_deliveries("out", &[("delivered", 1)]);
        sender
    }

    /// Waits until a destination's deliveries are these.
    #[track_caller]
    pub(crate) fn wait_deliveries(&self, destination: &str, expected: &[(&str, u64)]) {
        let expected: BTreeMap<String, u64> = expected.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect();
        let mut seen = BTreeMap::new();
        let began = Instant::now();
        while seen != expected {
            seen = self.destination(destination).deliveries.into_iter().filter(|(_, n)| *n > 0).collect();
            let late = began.elapsed() > DEADLINE;
            assert!(!late, "{destination} has {seen:?}, not {expected:?}: {}", tail(&self.site.logs()));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits until all messages together are these.
    #[track_caller]
    pub(crate) fn wait_messages(&self, expected: &[(&str, u64)]) {
        let expected: BTreeMap<String, u64> = expected.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect();
        let mut seen = BTreeMap::new();
        let began = Instant::now();
        while seen != expected {
            seen = self.status().messages;
            assert!(began.elapsed() < DEADLINE, "{seen:?}, not {expected:?}: {}", tail(&self.site.logs()));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits until at least so many messages are in a state.
    #[track_caller]
    pub(crate) fn wait_messages_in(&self, state: &str, least: u64) {
        let count = || self.status().messages.get(state).copied().unwrap_or(0);
        wait_until(&format!("{least} messages are {state}"), || count() >= least);
    }

    /// Waits until a destination is in this state.
    #[track_caller]
    pub(crate) fn wait_state(&self, destination: &str, state: &str) {
        wait_until(&format!("{destination} is {state}"), || self.destination(destination).state == state);
    }

    /// Waits until nothing is left to do, for as long as it becomes less.
    #[track_caller]
    pub(crate) fn wait_idle(&self) {
        let (mut began, mut least) = (Instant::now(), u64::MAX);
        loop {
            let open = self.status_if_up().map(|status| {
                ["received", "queued"].iter().map(|state| status.messages.get(*state).copied().unwrap_or(0)).sum()
            });
            match open {
                Some(0) => return,
                Some(open) if open < least => (began, least) = (Instant::now(), open),
                _ => {}
            }
            assert!(began.elapsed() < DEADLINE, "{open:?} are still at work: {}", tail(&self.site.logs()));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Sends a signal by its name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in good order.
    #[track_caller]
    pub(crate) fn terminate(self) {
        let ended = self.terminated();
        assert_eq!(ended.code(), Some(0), "{ended}");
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminated(mut self) -> ExitStatus {
        self.signal("TERM");
        let child = &mut self.child;
        wait_for("the program ends", || child.try_wait().unwrap())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The end of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
