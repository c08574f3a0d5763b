//! The chain of custody of a whole message: its source Provenance and those of what the engine did.

use jiff::Timestamp;
use message::json::Text;
use message::provenance::{Activity, Agent, Provenance, Reference, Role, Step};
use message::{Format, Original};

use super::ids::Ids;
use super::source::Source;

/// The transform that the v2-to-FHIR guide's activity stands for.
const CONVERSION: &str = "hl7v2-to-fhir";

/// What the chain of custody is built from.
#[derive(Clone, Copy)]
pub(super) struct Custody<'a> {
    pub(super) original: &'a Original,
    pub(super) source: &'a Source,
    pub(super) steps: &'a [Step],
    /// What the records said of their source before: URIs.
    pub(super) former_sources: &'a [Text],
    /// The provider: custodian of what it sends.
    pub(super) provider: &'a Reference,
    /// This engine, a Device.
    pub(super) engine: &'a Reference,
    pub(super) base_uri: &'a str,
    pub(super) ids: &'a Ids,
    pub(super) now: Timestamp,
}

impl Custody<'_> {
    /// Where the records come from, then what each transform did to them.
    pub(super) fn chain(&self, targets: &[Reference]) -> Vec<Provenance> {
        let mut chain = vec![self.origin(targets.to_vec())];
        if self.steps.is_empty() {
            chain.push(self.assembly(targets.to_vec()));
        }
        chain.extend(self.steps.iter().enumerate().map(|(i, step)| self.step(i, step, targets.to_vec())));
        chain
    }

    /// Who wrote and who sent it; the provider keeps it.
    fn origin(&self, targets: Vec<Reference>) -> Provenance {
        let mut agents = self.source.agents.clone();
        agents.push(Agent { role: Role::Custodian, who: self.provider.clone(), on_behalf_of: None });
        let mut provenance = self.provenance("source", targets, self.original.received);
        provenance.occurred = self.source.occurred.clone();
        provenance.agents = agents;
        provenance.sources.extend_from_slice(self.former_sources);
        provenance
    }

    /// One transform: when, and by which version of its tables and of the configuration.
    fn step(&self, i: usize, step: &Step, targets: Vec<Reference>) -> Provenance {
        let (name, version) = (&step.transform, &step.version);
        let mut provenance = self.provenance(&format!("step/{i}/{name}/{version}"), targets, step.at);
        let converts = name == CONVERSION;
        provenance.activity = Some(if converts { Activity::V2ToFhir } else { Activity::Lifecycle("transform") });
        provenance.policy = vec![
            format!("{}/transform/{name}:sha-256:{version}", self.base_uri).into(),
            format!("{}/configuration:sha-256:{}", self.base_uri, step.config).into(),
        ];
        provenance
    }

    /// What passed no transform was received and put together for its destinations.
    fn assembly(&self, targets: Vec<Reference>) -> Provenance {
        let mut provenance = self.provenance("assembly", targets, self.now);
        let converted = self.original.format == Format::Hl7v2;
        provenance.activity = Some(if converted { Activity::V2ToFhir } else { Activity::Lifecycle("receive") });
        provenance
    }

    /// By this engine for the provider, from the original bytes.
    fn provenance(&self, name: &str, targets: Vec<Reference>, recorded: Timestamp) -> Provenance {
        let hash = &self.original.sha256;
        Provenance {
            id: self.ids.of_part(hash, &format!("provenance/{name}")),
            targets,
            occurred: None,
            recorded,
            policy: Vec::new(),
            activity: None,
            reason: None,
            agents: vec![Agent {
                role: Role::Assembler,
                who: self.engine.clone(),
                on_behalf_of: Some(self.provider.clone()),
            }],
            sources: vec![hash.to_ni_uri().into()],
        }
    }
}
