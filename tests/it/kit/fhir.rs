//! The stand-in repository, in this process.

use std::net::SocketAddr;

use channels::Stopper;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tributary::engine::clock;
use tributary::repository::{self, Config, Repository};

use super::running::RUNTIME;

/// A FHIR server; closed when it is dropped.
pub(crate) struct Fhir {
    pub(crate) address: SocketAddr,
    pub(crate) repository: Repository,
    stopper: Stopper,
    serving: Option<JoinHandle<std::io::Result<()>>>,
}

impl Fhir {
    pub(crate) fn start() -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = Stopper::new();
        let repository = Repository::new(Config::default(), clock::clock());
        let serving = RUNTIME.spawn(repository::serve(listener, repository.clone(), stop));
        Self { address, repository, stopper, serving: Some(serving) }
    }

    /// What the destination's file says: FHIR, to here. `extra` is added to `[outbound.fhir]`.
    pub(crate) fn outbound(&self, extra: &str) -> String {
        format!("[outbound.fhir]\nurl = \"http://{}\"\n{extra}\n", self.address)
    }

    /// How it misbehaves from now on: the keys of `POST /$behave`.
    pub(crate) fn behave(&self, behaviour: Value) {
        self.repository.behave(serde_json::from_value(behaviour).unwrap());
    }

    /// The given name of a patient, as it stands there.
    pub(crate) fn given_name(&self, patient: &str) -> Option<String> {
        let patients = self.repository.resources("Patient");
        let is_theirs = |resource: &&Value| {
            resource["identifier"].as_array().into_iter().flatten().any(|identifier| identifier["value"] == *patient)
        };
        patients.iter().find(is_theirs)?["name"][0]["given"][0].as_str().map(str::to_owned)
    }
}

impl Drop for Fhir {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(serving) = self.serving.take() {
            drop(RUNTIME.block_on(serving));
        }
    }
}
