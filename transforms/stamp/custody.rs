//! The chain of custody of a whole message: its source Provenance and those of what the engine did.

use jiff::Timestamp;
use message::json::Text;
use message::provenance::{Activity, Agent, Provenance, Reference, Role, Step};
use message::{Format, Original};

use super::authors::{Group, name_of};
use super::ids::Ids;
use super::source::Source;

/// The transform that the v2-to-FHIR guide's activity stands for.
const CONVERSION: &str = "hl7v2-to-fhir";
/// The transform that adds labels.
pub(super) const LABELLING: &str = "label-sensitivity";
/// The step that checks signatures.
const VERIFICATION: &str = "verify-signature";

/// What the chain of custody is built from.
#[derive(Clone, Copy)]
pub(super) struct Custody<'a> {
    pub(super) original: &'a Original,
    pub(super) source: &'a Source,
    pub(super) steps: &'a [Step],
    /// What a transform has labelled.
    pub(super) labelled: &'a [Reference],
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
    /// Where the records come from, by who wrote them, then what each transform did to them.
    pub(super) fn chain(&self, targets: &[Reference], written: Vec<Group>) -> Vec<Provenance> {
        let mut chain = Vec::with_capacity(written.len() + self.steps.len().max(1));
        let written = written.into_iter().enumerate().filter(|(_, group)| !group.targets.is_empty());
        chain.extend(written.map(|(n, group)| self.origin(n, group)));
        if self.steps.is_empty() {
            chain.push(self.assembly(targets.to_vec()));
        }
        chain.extend(self.steps.iter().enumerate().filter_map(|(i, step)| self.step(i, step, targets)));
        chain
    }

    /// Who wrote and who sent it; the provider keeps it, or who is said to.
    fn origin(&self, n: usize, group: Group) -> Provenance {
        let mut agents = group.agents;
        agents.push(self.source.transmitter.clone());
        agents.extend(self.source.others.iter().cloned());
        if !agents.iter().any(|agent| agent.role == Role::Custodian) {
            let who = self.source.custodian.as_ref().unwrap_or(self.provider).clone();
            agents.push(Agent { role: Role::Custodian, who, on_behalf_of: None });
        }
        let mut provenance = self.provenance(&name_of(n), group.targets, self.original.received);
        provenance.occurred = self.source.occurred.clone();
        provenance.policy = self.source.policy.clone();
        provenance.reasons = self.source.reasons.clone();
        provenance.agents = agents;
        provenance.sources.extend_from_slice(self.former_sources);
        provenance
    }

    /// One transform: when, and by which version of its tables and of the configuration. What was labelled is told of
    /// alone.
    fn step(&self, i: usize, step: &Step, targets: &[Reference]) -> Option<Provenance> {
        let (name, version) = (&step.transform, &step.version);
        let labels = name == LABELLING;
        let targets = if labels { self.labelled } else { targets };
        if targets.is_empty() {
            return None;
        }
        let mut provenance = self.provenance(&format!("step/{i}/{name}/{version}"), targets.to_vec(), step.at);
        provenance.activity = Some(match name.as_str() {
            CONVERSION => Activity::V2ToFhir,
            LABELLING => Activity::Act("LABEL"),
            VERIFICATION => Activity::Lifecycle("verify"),
            _ => Activity::Lifecycle("transform"),
        });
        if labels {
            provenance.sources.clear();
        }
        provenance.policy = vec![
            format!("{}/transform/{name}:sha-256:{version}", self.base_uri).into(),
            format!("{}/configuration:sha-256:{}", self.base_uri, step.config).into(),
        ];
        Some(provenance)
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
            reasons: Vec::new(),
            location: None,
            agents: vec![Agent {
                role: Role::Assembler,
                who: self.engine.clone(),
                on_behalf_of: Some(self.provider.clone()),
            }],
            sources: vec![hash.to_ni_uri().into()],
            revisions: Vec::new(),
            derived_from: None,
        }
    }
}
