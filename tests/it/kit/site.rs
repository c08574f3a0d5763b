//! A site: its files and its data in a temporary folder, and the command line on it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::Running;

/// The built program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tributary");

const ENGINE: &str = r#"
data_dir = "data"
base_uri = "https://ehr.example/tributary"
grace    = "20s"

[log]
format = "json"
level  = "info,tributary=debug,channels=debug"

[store]
segment  = "4MiB"
min_free = "16MiB"
ballast  = "1MiB"
"#;

const PROVIDERS: &str = r#"
[st-mary]
name    = "St Mary's Hospital"
system  = "urn:oid:2.16.840.1.113883.19.4"
value   = "1"
systems = { ST-MARY = "urn:oid:2.16.840.1.113883.19.5.1" }

[region]
name = "The Region"
"#;

/// A site in a folder of its own.
pub(crate) struct Site {
    dir: TempDir,
    runs: AtomicUsize,
}

impl Site {
    /// One with neither channels nor destinations.
    pub(crate) fn new() -> Self {
        // Short: the path of a Unix socket has 108 bytes.
        let dir = tempfile::Builder::new().prefix("it").tempdir().unwrap();
        let site = Self { dir, runs: AtomicUsize::new(0) };
        site.write("tributary.toml", ENGINE);
        site.write("providers.toml", PROVIDERS);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Changes the engine's own settings: `old` must be there.
    pub(crate) fn engine(self, old: &str, new: &str) -> Self {
        let text = std::fs::read_to_string(self.path("tributary.toml")).unwrap();
        assert!(text.contains(old), "{old}");
        self.write("tributary.toml", text.replace(old, new));
        self
    }

    /// Opens the admin port, on a port that is free.
    pub(crate) fn admin(self) -> (Self, SocketAddr) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        (self.engine("[log]", &format!("[admin]\nlisten = \"{port}\"\n\n[log]")), port)
    }

    /// A channel's file; `provider = "st-mary"` is added.
    pub(crate) fn channel(self, name: &str, text: &str) -> Self {
        self.set_channel(name, text);
        self
    }

    /// A destination's file; `recipient = "region"` is added.
    pub(crate) fn destination(self, name: &str, text: &str) -> Self {
        self.set_destination(name, text);
        self
    }

    pub(crate) fn set_channel(&self, name: &str, text: &str) {
        self.write(&format!("channels/{name}.toml"), format!("provider = \"st-mary\"\n{text}"));
    }

    pub(crate) fn set_destination(&self, name: &str, text: &str) {
        self.write(&format!("destinations/{name}.toml"), format!("recipient = \"region\"\n{text}"));
    }

    /// `tributary run` on it, ready.
    pub(crate) fn start(&self) -> Running<'_> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        Running::start(self)
    }

    /// Where the log of the run in hand goes.
    pub(super) fn log(&self) -> PathBuf {
        self.path(&format!("run-{}.log", self.runs.load(Ordering::SeqCst)))
    }

    /// Everything that any run logged.
    pub(crate) fn logs(&self) -> String {
        let logs = (1..=self.runs.load(Ordering::SeqCst)).map(|run| self.path(&format!("run-{run}.log")));
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// A command on this site.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(self.dir.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("RUST_LOG").env_remove("TRIBUTARY_CONFIG");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it printed.
    #[track_caller]
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.cli(&[&["--json"], arguments].concat())).unwrap()
    }

    /// All messages, the newest first.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.json(&["messages", "list", "-n", "1000000"]).as_array().unwrap().clone()
    }

    /// All messages with this control id, the newest first.
    pub(crate) fn messages_called(&self, control_id: &str) -> Vec<Value> {
        self.json(&["messages", "search", "--control-id", control_id]).as_array().unwrap().clone()
    }

    /// The one message with this control id, with its deliveries.
    #[track_caller]
    pub(crate) fn message(&self, control_id: &str) -> Value {
        let found = self.messages_called(control_id);
        assert_eq!(found.len(), 1, "{control_id}: {found:#?}");
        self.json(&["messages", "show", found[0]["id"].as_str().unwrap()])
    }

    /// The one delivery of the one message with this control id.
    #[track_caller]
    pub(crate) fn delivery(&self, control_id: &str) -> Value {
        let message = self.message(control_id);
        let deliveries = message["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 1, "{message:#}");
        deliveries[0].clone()
    }

    /// Reads the whole store: nothing may be wrong.
    #[track_caller]
    pub(crate) fn verify(&self) -> Value {
        self.json(&["verify"])
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("data/tributary.sock")
    }
}

/// The names of the files in a folder, sorted; none if it is not there.
pub(crate) fn files_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A listener on a free port, taking HL7 v2.
pub(crate) const MLLP_IN: &str = "[inbound.mllp]\nlisten = \"127.0.0.1:0\"\n";

/// A listener on a free port, taking Bundles.
pub(crate) const HTTP_IN: &str = "[inbound.http]\nlisten = \"127.0.0.1:0\"\n";

/// The conversion to FHIR.
pub(crate) const TO_FHIR: &str = "[[transform]]\nhl7v2-to-fhir = {}\n";

/// To `out`, for treatment.
pub(crate) const TO_OUT: &str = "[[route]]\nto = \"out\"\npurpose = \"TREAT\"\n";

/// Retries that a test can wait for.
pub(crate) const QUICK: &str = "[retry]\nfirst = \"20ms\"\nmax_delay = \"200ms\"\n";

/// Retries that no test can wait for.
pub(crate) const NEVER: &str = "[retry]\nfirst = \"1h\"\nmax_delay = \"1h\"\n";

impl Site {
    /// One channel, `in`, that passes HL7 v2 on over MLLP to one destination, `out`, of which this is
    /// the file.
    pub(crate) fn relay(out: &str) -> Self {
        Self::new().channel("in", &format!("{MLLP_IN}{TO_OUT}")).destination("out", out)
    }

    /// One channel, `in`, that takes HL7 v2 over MLLP and sends FHIR to one destination, `out`, of
    /// which this is the file.
    pub(crate) fn convert(out: &str) -> Self {
        Self::new().channel("in", &format!("{MLLP_IN}{TO_FHIR}{TO_OUT}")).destination("out", out)
    }
}
