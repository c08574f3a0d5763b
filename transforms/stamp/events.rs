//! Provenance of events and orders: what EVN, PID-33/34 and ORC say of who did what and when
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
use super::results::{Assertions, is_removal};

/// What entry Provenance is built from.
#[derive(Clone, Copy)]
pub(super) struct Events<'a> {
    pub(super) message: &'a Message,
    /// MSH-9.2, or EVN-1 where it is missing.
    pub(super) trigger: &'a str,
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
    /// The Provenances that the message's segments ask for, and who asserts what. What the conversion has told of
    /// the same entries already is not told again, but for merges, links and what is taken back. `custody` is the
    /// engine's own.
    pub(super) fn of(&self, bundle: &Bundle, custody: &[Provenance]) -> (Vec<Provenance>, Assertions) {
        let (records, assertions) = self.records(bundle);
        let mut all = self.all(bundle);
        let ours = custody.iter().chain(&all).chain(&records);
        let own: HashSet<String, foldhash::quality::RandomState> =
            ours.map(|provenance| provenance.id.to_string()).collect();
        let others = bundle.records().filter(|(_, entry, resource)| {
            entry.kind() == "Provenance" && text(resource, "id").is_none_or(|id| !own.contains(id))
        });
        let targets = others.flat_map(|(_, _, provenance)| objects(provenance, "target"));
        let told: HashSet<&str, foldhash::quality::RandomState> =
            targets.filter_map(|target| text(target, "reference")).collect();
        let is_told = |target: &Reference| matches!(target, Reference::Literal { reference, .. } if told.contains(reference.as_str()));
        all.retain(|provenance| {
            provenance.activity.is_some_and(is_told_in_any_case) || !provenance.targets.iter().any(is_told)
        });
        all.extend(records);
        (all, assertions)
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
        let activity = activity_of(self.trigger);
        let tells = (4..=7).any(|number| evn.field(number).is_valued());
        if !tells && !is_told_in_any_case(activity) {
            return None;
        }
        let facility = self.site.facility(&Hd::of_field(&evn.field(7))).unwrap_or_else(|| self.sender.clone());
        let mut agents = self.people(Role::Enterer, &evn.field(5), &facility);
        if agents.is_empty() || is_told_in_any_case(activity) {
            agents.push(Agent { role: Role::Author, who: facility, on_behalf_of: None });
        }
        let reason = evn.field(4).component(1);
        let reasons =
            reason.is_valued().then(|| (table("0062").into(), Text::new(reason.value()))).into_iter().collect();
        let targets = self.targets(bundle, |kind| matches!(kind, "MessageHeader" | "Patient" | "Encounter"));
        // A merge or a link makes new versions of all patients that it is about.
        let of_patients = matches!(activity, Activity::Lifecycle(_));
        let revisions = if of_patients { self.targets(bundle, |kind| kind == "Patient") } else { Vec::new() };
        let provenance = self.provenance("event", targets, activity, agents)?;
        let recorded = self.at(self.time(&evn.field(2)).as_ref(), provenance);
        let occurred = self.time(&evn.field(6)).map(|time| time.to_fhir_date_time(self.zone).into());
        Some(Provenance { occurred, reasons, revisions, location: self.location(&evn.field(7)), ..recorded })
    }

    /// A facility (HD) as the place where something was done.
    fn location(&self, facility: &Field<'_>) -> Option<Reference> {
        let facility = Hd::of_field(facility);
        let name = (!facility.is_empty()).then(|| Text::new(facility.display()))?;
        Some(match facility.uri() {
            Some(uri) => Reference::uri("Location", uri, Some(name)),
            None => Reference::Named { kind: Some("Location"), display: name },
        })
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
        let device = self.site.coded("Device", &orc.field(18).repetition(1));
        agents.extend(device.map(|who| Agent { role: Role::Enterer, who, on_behalf_of: Some(entering.clone()) }));
        agents.extend(self.participants(order, &ordering));
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
        let place = orc.field(21).component(1);
        let display = || Text::new(place.value().trim());
        let location = place.is_valued().then(|| Reference::Named { kind: Some("Location"), display: display() });
        Some(Provenance { location, ..self.at(self.time(&orc.field(9)).as_ref(), provenance) })
    }

    /// PRT and ROL: who took part in an order or its results, in the role that table 0912 or 0443 gives them.
    fn participants(&self, order: &Order<'_>, behind: &Reference) -> Vec<Agent> {
        let mut agents: Vec<Agent> = Vec::new();
        for segment in order.all("PRT").chain(order.all("ROL")) {
            let (role, people) = if segment.is_named("PRT") { (4, 5) } else { (3, 4) };
            let Some(role) = role_of(segment.field(role).component(1).text().trim()) else { continue };
            let own =
                segment.is_named("PRT").then(|| self.site.organisation(&segment.field(8).repetition(1))).flatten();
            let behind = own.as_ref().unwrap_or(behind);
            let mut named = self.people(role, &segment.field(people), behind);
            if segment.is_named("PRT") {
                let devices = segment.field(10).repetitions().filter_map(|device| self.site.device(&device));
                named.extend(devices.map(|who| Agent { role, who, on_behalf_of: Some(behind.clone()) }));
            }
            if let Some(who) = own.filter(|_| named.is_empty()) {
                named.push(Agent { role, who, on_behalf_of: None });
            }
            for agent in named {
                if !agents.contains(&agent) {
                    agents.push(agent);
                }
            }
        }
        agents
    }

    pub(super) fn people(&self, role: Role, field: &Field<'_>, behind: &Reference) -> Vec<Agent> {
        let people = field.repetitions().filter_map(|xcn| self.site.person(&xcn));
        people.map(|who| Agent { role, who, on_behalf_of: Some(behind.clone()) }).collect()
    }

    /// A time as a FHIR dateTime, as precise as it is.
    pub(super) fn date_time_of(&self, text: &str) -> Option<Text> {
        Dtm::parse(text).ok().map(|time| time.to_fhir_date_time(self.zone).into())
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
    pub(super) fn provenance(
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
            reasons: Vec::new(),
            location: None,
            agents,
            sources: vec![self.hash.to_ni_uri().into()],
            revisions: Vec::new(),
            derived_from: None,
        })
    }
}

pub(super) fn references(bundle: &Bundle, entries: &BTreeSet<usize>) -> Vec<Reference> {
    entries.iter().filter_map(|i| bundle.reference_to(bundle.entries.get(*i)?)).collect()
}

/// MSH-9.2, or EVN-1 where it is missing.
pub(super) fn trigger(message: &Message) -> String {
    let at = |name: &str, field: usize, component: usize| {
        let segment: Option<Segment<'_>> = message.segment(name);
        let text = segment.map(|s| s.field(field).component(component).text().trim().to_owned());
        text.filter(|text| !text.is_empty())
    };
    at("MSH", 9, 2).or_else(|| at("EVN", 1, 1)).unwrap_or_default()
}

/// What an ADT event does to the records (table 0003).
pub(super) fn activity_of(trigger: &str) -> Activity {
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

/// True for what is told even where the conversion has told something else of the same records.
fn is_told_in_any_case(activity: Activity) -> bool {
    matches!(activity, Activity::Lifecycle(_)) || is_removal(activity)
}

/// The part that somebody plays in a record by tables 0912 and 0443; `None` for those who only take part in the care.
fn role_of(code: &str) -> Option<Role> {
    Some(match code {
        "AUT" | "OP" | "PI" | "PRI" => Role::Author,
        "EP" | "TR" => Role::Enterer,
        "VP" | "VPS" | "VTS" => Role::Verifier,
        "RO" | "TN" | "AP" | "DP" | "PH" | "SC" | "PO" | "EQUIP" | "AI" | "ARI" => Role::Performer,
        "MDIR" | "POMD" => Role::Legal,
        _ => return None,
    })
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
