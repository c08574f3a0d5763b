//! Provenance of single entries: what EVN, PID-33/34 and ORC say of who did what and when
//! (v2-to-FHIR, EVN[Provenance], PID[Provenance], ORC[Provenance]).

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use message::Sha256;
use message::hl7v2::timestamp::Dtm;
use message::hl7v2::{Field, Message, Segment};
use message::json::Text;
use message::provenance::{Activity, Agent, Provenance, Reference, Role};

use super::agents::{Hd, Site};
use super::bundle::{Bundle, objects, text};
use super::ids::Ids;
use super::orders::{Order, ordered_entries, orders};

/// What entry Provenance is built from.
#[derive(Clone, Copy)]
pub(super) struct Events<'a> {
    pub(super) message: &'a Message,
    pub(super) site: Site<'a>,
    pub(super) zone: &'a TimeZone,
    /// When the message was received: the time of record where it names none.
    pub(super) received: Timestamp,
    /// Who stands behind what nobody else does: the sending organisation.
    pub(super) sender: &'a Reference,
    pub(super) ids: &'a Ids,
    /// The hash of the message's bytes.
    pub(super) hash: &'a Sha256,
}

impl Events<'_> {
    /// The Provenances that the message's segments ask for, but for what the conversion has told of the
    /// same entries already. Merges and links are told in any case. `custody` is the engine's own.
    pub(super) fn of(&self, bundle: &Bundle, custody: &[Provenance]) -> Vec<Provenance> {
        let mut all = self.all(bundle);
        let own: HashSet<String> = custody.iter().chain(&all).map(|provenance| provenance.id.to_string()).collect();
        let others = bundle.records().filter(|(_, entry, resource)| {
            entry.kind() == "Provenance" && text(resource, "id").is_none_or(|id| !own.contains(id))
        });
        let targets = others.flat_map(|(_, _, provenance)| objects(provenance, "target"));
        let told: HashSet<&str> = targets.filter_map(|target| text(target, "reference")).collect();
        let is_told = |target: &Reference| matches!(target, Reference::Literal { reference, .. } if told.contains(reference.as_str()));
        all.retain(|provenance| {
            matches!(provenance.activity, Some(Activity::Lifecycle(_))) || !provenance.targets.iter().any(is_told)
        });
        all
    }

    fn all(&self, bundle: &Bundle) -> Vec<Provenance> {
        let mut all: Vec<Provenance> = self.event(bundle).into_iter().collect();
        all.extend(self.patient_update(bundle));
        let orders = orders(self.message);
        let alone = orders.len() == 1;
        all.extend(orders.iter().enumerate().filter_map(|(i, order)| self.order(i, order, alone, bundle)));
        all
    }

    /// EVN: who entered the event, when it happened, why; and merges and links in any case.
    fn event(&self, bundle: &Bundle) -> Option<Provenance> {
        let evn = self.message.segment("EVN")?;
        let activity = activity_of(&trigger(self.message));
        let tells = (4..=7).any(|number| evn.field(number).is_valued());
        if !tells && !matches!(activity, Activity::Lifecycle(_)) {
            return None;
        }
        let facility = self.site.facility(&Hd::of_field(&evn.field(7))).unwrap_or_else(|| self.sender.clone());
        let mut agents = self.people(Role::Enterer, &evn.field(5), &facility);
        if agents.is_empty() {
            agents.push(Agent { role: Role::Author, who: facility, on_behalf_of: None });
        }
        let reason = evn.field(4).component(1);
        let reason = reason.is_valued().then(|| (table("0062").into(), Text::new(reason.value())));
        let targets = self.targets(bundle, |kind| matches!(kind, "MessageHeader" | "Patient" | "Encounter"));
        let provenance = self.provenance("event", targets, activity, agents)?;
        let recorded = self.at(self.time(&evn.field(2)).as_ref(), provenance);
        let occurred = self.time(&evn.field(6)).map(|time| time.to_fhir_date_time(self.zone).into());
        Some(Provenance { occurred, reason, ..recorded })
    }

    /// PID-33 and PID-34: which facility last changed the patient's record, and when.
    fn patient_update(&self, bundle: &Bundle) -> Option<Provenance> {
        let pid = self.message.segment("PID")?;
        let who = self.site.facility(&Hd::of_field(&pid.field(34)))?;
        let targets = self.targets(bundle, |kind| kind == "Patient");
        let agents = vec![Agent { role: Role::Author, who, on_behalf_of: None }];
        let provenance = self.provenance("patient-update", targets, Activity::Operation("UPDATE"), agents)?;
        Some(self.at(self.time(&pid.field(33)).as_ref(), provenance))
    }

    /// ORC: who entered, verified, ordered and carried out the order, and when.
    fn order(&self, i: usize, order: &Order<'_>, alone: bool, bundle: &Bundle) -> Option<Provenance> {
        let orc = order.first("ORC")?;
        let ordering = self.site.organisation(&orc.field(21).repetition(1)).unwrap_or_else(|| self.sender.clone());
        let entering = self.site.coded_organisation(&orc.field(17).repetition(1)).unwrap_or_else(|| ordering.clone());
        let mut agents = self.people(Role::Enterer, &orc.field(10), &entering);
        agents.extend(self.people(Role::Verifier, &orc.field(11), &ordering));
        agents.extend(self.people(Role::Author, &orc.field(12), &ordering));
        agents.extend(self.people(Role::Performer, &orc.field(19), &ordering));
        if self.site.provider.hub {
            let authors = order.producers(self.site).into_iter();
            agents.extend(authors.map(|who| Agent { role: Role::Author, who, on_behalf_of: None }));
        }
        if agents.is_empty() {
            return None;
        }
        let mut entries = order.entries(bundle);
        if entries.is_empty() && alone {
            entries = ordered_entries(bundle);
        }
        let code = operation_of(orc.field(1).component(1).text());
        let targets = references(bundle, &entries);
        let provenance = self.provenance(&format!("order/{i}"), targets, Activity::Operation(code), agents)?;
        Some(self.at(self.time(&orc.field(9)).as_ref(), provenance))
    }

    fn people(&self, role: Role, field: &Field<'_>, behind: &Reference) -> Vec<Agent> {
        let people = field.repetitions().filter_map(|xcn| self.site.person(&xcn));
        people.map(|who| Agent { role, who, on_behalf_of: Some(behind.clone()) }).collect()
    }

    fn time(&self, field: &Field<'_>) -> Option<Dtm> {
        Dtm::parse(&field.component(1).value()).ok()
    }

    /// When it happened as precisely as `time` says, and when it was recorded: the same instant, or
    /// receipt where `time` is only a day.
    fn at(&self, time: Option<&Dtm>, provenance: Provenance) -> Provenance {
        let instant = time.filter(|time| time.clock.is_some()).and_then(|time| time.to_timestamp(self.zone));
        let occurred = time.map(|time| time.to_fhir_date_time(self.zone).into());
        Provenance { occurred, recorded: instant.unwrap_or(self.received), ..provenance }
    }

    fn targets(&self, bundle: &Bundle, wanted: impl Fn(&str) -> bool) -> Vec<Reference> {
        let entries = bundle.records().filter(|(_, entry, _)| wanted(entry.kind())).map(|(i, _, _)| i).collect();
        references(bundle, &entries)
    }

    /// Nothing to tell of without a target.
    fn provenance(
        &self,
        name: &str,
        targets: Vec<Reference>,
        activity: Activity,
        agents: Vec<Agent>,
    ) -> Option<Provenance> {
        (!targets.is_empty()).then(|| Provenance {
            id: self.ids.of_part(self.hash, &format!("provenance/{name}")),
            targets,
            occurred: None,
            recorded: self.received,
            policy: Vec::new(),
            activity: Some(activity),
            reason: None,
            agents,
            sources: vec![self.hash.to_ni_uri().into()],
        })
    }
}

fn references(bundle: &Bundle, entries: &BTreeSet<usize>) -> Vec<Reference> {
    entries.iter().filter_map(|i| bundle.reference_to(bundle.entries.get(*i)?)).collect()
}

/// MSH-9.2, or EVN-1 where it is missing.
fn trigger(message: &Message) -> String {
    let at = |name: &str, field: usize, component: usize| {
        let segment: Option<Segment<'_>> = message.segment(name);
        let text = segment.map(|s| s.field(field).component(component).text().trim().to_owned());
        text.filter(|text| !text.is_empty())
    };
    at("MSH", 9, 2).or_else(|| at("EVN", 1, 1)).unwrap_or_default()
}

/// What an ADT event does to the records (table 0003).
fn activity_of(trigger: &str) -> Activity {
    match trigger {
        "A18" | "A30" | "A34" | "A35" | "A36" | "A39" | "A40" | "A41" | "A42" => Activity::Lifecycle("merge"),
        "A24" => Activity::Lifecycle("link"),
        "A37" => Activity::Lifecycle("unlink"),
        "A01" | "A04" | "A05" | "A14" | "A28" => Activity::Operation("CREATE"),
        "A11" | "A12" | "A13" | "A25" | "A26" | "A27" | "A38" => Activity::Operation("CANCEL"),
        "A23" | "A29" => Activity::Operation("DELETE"),
        _ => Activity::Operation("UPDATE"),
    }
}

/// What an order control code does to the order (table 0119).
fn operation_of(control: &str) -> &'static str {
    match control {
        "NW" => "CREATE",
        "OC" | "CA" => "CANCEL",
        "DC" => "ABORT",
        "HD" => "HOLD",
        "RL" => "RELEASE",
        _ => "UPDATE",
    }
}

fn table(number: &str) -> String {
    format!("http://terminology.hl7.org/CodeSystem/v2-{number}")
}
