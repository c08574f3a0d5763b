//! Provenance of what a segment tells of by itself: results (OBX), administrations and vaccines (RXA), allergies
//! (IAM), documents (TXA). Who observed, gave, wrote, signed it, for which organisation, and when.

use std::collections::{BTreeSet, HashMap};

use message::hl7v2::{Field, Segment};
use message::json::Text;
use message::provenance::{Activity, Agent, Provenance, Reference, Role};

use super::became::{ADMINISTRATION, ALLERGY, OBSERVATION, became};
use super::bundle::Bundle;
use super::events::{Events, references};

/// What is told of an entry, and of others alike.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Told {
    agents: Vec<Agent>,
    activity: Activity,
    occurred: Option<Text>,
    location: Option<Reference>,
    revisions: Vec<Reference>,
}

/// What is told of entries, each by its place.
type All = Vec<(Told, usize)>;

/// Who stands behind what an entry asserts: codes of v3-ObservationValue, by entry.
pub(super) type Assertions = Vec<(usize, &'static str)>;

impl Events<'_> {
    /// Provenance of single records, alike ones as one, and who asserts what.
    pub(super) fn records(&self, bundle: &Bundle) -> (Vec<Provenance>, Assertions) {
        let (mut told, mut assertions) = (Vec::new(), Vec::new());
        self.results(bundle, &mut told, &mut assertions);
        self.administrations(bundle, &mut told);
        self.allergies(bundle, &mut told, &mut assertions);
        self.documents(bundle, &mut told);
        let mut places: HashMap<Told, usize, foldhash::quality::RandomState> = HashMap::default();
        let mut alike: Vec<(Told, BTreeSet<usize>)> = Vec::new();
        for (told, entry) in told {
            let place = *places.entry(told).or_insert_with_key(|told| {
                alike.push((told.clone(), BTreeSet::new()));
                alike.len() - 1
            });
            alike.get_mut(place).into_iter().for_each(|(_, entries)| _ = entries.insert(entry));
        }
        let told = alike.into_iter().enumerate().filter_map(|(n, (told, entries))| {
            let Told { agents, activity, occurred, location, revisions } = told;
            let targets = references(bundle, &entries);
            let provenance = self.provenance(&format!("record/{n}"), targets, activity, agents)?;
            Some(Provenance { occurred, location, revisions, ..provenance })
        });
        (told.collect(), assertions)
    }

    /// OBX: who observed (16), with which device (18), for which laboratory (23, else 15) under whose direction (25).
    fn results(&self, bundle: &Bundle, told: &mut All, assertions: &mut Assertions) {
        let tells = |obx: &Segment<'_>| {
            [15, 16, 18, 23, 25].iter().any(|field| obx.field(*field).is_valued()) || removal(obx, 11).is_some()
        };
        if !self.message.segments_named("OBX").any(|obx| tells(&obx)) {
            return;
        }
        for (obx, entry) in became(self.message.segments_named("OBX"), OBSERVATION, bundle) {
            let laboratory = self.site.performing(&obx);
            let behind = laboratory.clone().unwrap_or_else(|| self.sender.clone());
            let mut agents = self.people(Role::Author, &obx.field(16), &behind);
            let devices = obx.field(18).repetitions().filter_map(|device| self.site.device(&device));
            agents.extend(devices.map(|who| Agent { role: Role::Performer, who, on_behalf_of: Some(behind.clone()) }));
            if obx.field(18).is_valued() {
                assertions.push((entry, "DEVAST"));
            }
            agents.extend(self.people(Role::Legal, &obx.field(25), &behind));
            agents.extend(laboratory.map(|who| Agent { role: Role::Custodian, who, on_behalf_of: None }));
            let activity = match (removal(&obx, 11), obx.field(11).component(1).text()) {
                (Some(removal), _) => removal,
                (None, "C") => Activity::Operation("UPDATE"),
                (None, _) => Activity::Lifecycle("originate"),
            };
            let occurred = [14, 19].iter().find_map(|field| self.date_time(&obx.field(*field)));
            self.tell(told, entry, Told { occurred, ..self.told(activity, agents) });
        }
    }

    /// RXA: who gave it (10), where (27, else 11); what somebody else gave (9: table NIP001, 01 to 08) has an author
    /// that is not known here.
    fn administrations(&self, bundle: &Bundle, told: &mut All) {
        for (rxa, entry) in became(self.message.segments_named("RXA"), ADMINISTRATION, bundle) {
            let mut agents = self.people(Role::Performer, &rxa.field(10), self.sender);
            if is_historical(&rxa) {
                agents.insert(0, Agent { role: Role::Author, who: Reference::Unknown, on_behalf_of: None });
            }
            let activity = match (removal(&rxa, 21), rxa.field(21).component(1).text()) {
                (Some(removal), _) => removal,
                (None, "U") => Activity::Operation("UPDATE"),
                (None, _) => Activity::Operation("CREATE"),
            };
            let location = [27, 11].iter().find_map(|field| self.site.place(&rxa.field(*field)));
            let occurred = self.date_time(&rxa.field(3));
            self.tell(told, entry, Told { occurred, location, ..self.told(activity, agents) });
        }
    }

    /// IAM: who told of the allergy (14), the patient perhaps (15), and when that was written down (13).
    fn allergies(&self, bundle: &Bundle, told: &mut All, assertions: &mut Assertions) {
        for (iam, entry) in became(self.message.segments_named("IAM"), ALLERGY, bundle) {
            let name = |xpn: u16| iam.field(14).component(usize::from(xpn)).value().trim().to_owned();
            let display = [name(1), name(2)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
            let is_patient = iam.field(15).component(1).text().trim() == "SEL";
            if is_patient {
                assertions.push((entry, "PATAST"));
            }
            let kind = Some(if is_patient { "Patient" } else { "RelatedPerson" });
            let who = (!display.is_empty()).then(|| Reference::Named { kind, display: display.into() });
            let agents = who.map(|who| Agent { role: Role::Informant, who, on_behalf_of: None }).into_iter().collect();
            let activity = match iam.field(6).component(1).text() {
                "D" => Activity::Operation("DELETE"),
                "U" => Activity::Operation("UPDATE"),
                _ => Activity::Operation("CREATE"),
            };
            let occurred = self.date_time(&iam.field(13));
            self.tell(told, entry, Told { occurred, ..self.told(activity, agents) });
        }
    }

    /// TXA: who dictated (5), wrote (9), typed (11), signed the document (10, 22), and which one it follows (13).
    fn documents(&self, bundle: &Bundle, told: &mut All) {
        let Some(txa) = self.message.segment("TXA") else { return };
        let mut agents = self.people(Role::Author, &txa.field(9), self.sender);
        agents.extend(self.people(Role::Performer, &txa.field(5), self.sender));
        agents.extend(self.people(Role::Enterer, &txa.field(11), self.sender));
        agents.extend(self.people(Role::Attester, &txa.field(10), self.sender));
        agents.extend(self.people(Role::Legal, &txa.field(22), self.sender));
        let parent = txa.field(13).component(1);
        let revisions = parent.is_valued().then(|| Reference::Logical {
            kind: Some("DocumentReference"),
            system: None,
            value: Text::new(parent.value().trim()),
            display: None,
        });
        // When it was signed (TXA-22.15), else when it was made.
        let signed = txa.field(22).component(15).value();
        let occurred = self.date_time_of(&signed).or_else(|| self.date_time(&txa.field(6)));
        let occurred = occurred.or_else(|| self.date_time(&txa.field(4)));
        let is_document = |kind: &str| matches!(kind, "DocumentReference" | "Composition");
        let entries = bundle.records().filter(|(_, entry, _)| is_document(entry.kind()));
        for (entry, ..) in entries {
            let alike =
                Told { occurred: occurred.clone(), ..self.told(document_activity(self.trigger), agents.clone()) };
            self.tell(told, entry, Told { revisions: revisions.iter().cloned().collect(), ..alike });
        }
    }

    fn told(&self, activity: Activity, agents: Vec<Agent>) -> Told {
        Told { agents, activity, occurred: None, location: None, revisions: Vec::new() }
    }

    /// Adds what is told of `entry`; where nobody is named, only that it is gone or wrong is worth telling.
    fn tell(&self, all: &mut All, entry: usize, mut one: Told) {
        if one.agents.is_empty() {
            if !is_removal(one.activity) {
                return;
            }
            one.agents.push(Agent { role: Role::Author, who: self.sender.clone(), on_behalf_of: None });
        }
        all.push((one, entry));
    }

    fn date_time(&self, field: &Field<'_>) -> Option<Text> {
        self.date_time_of(&field.component(1).value())
    }
}

/// True for what was given elsewhere, and is only reported here (RXA-9, table NIP001).
pub(super) fn is_historical(rxa: &Segment<'_>) -> bool {
    let notes = rxa.field(9).repetitions();
    notes
        .into_iter()
        .any(|note| matches!(note.component(1).text().trim(), "01" | "02" | "03" | "04" | "05" | "06" | "07" | "08"))
}

/// What takes a record back: deleted (`D`), or wrong from the beginning (OBX-11 `W`).
fn removal(segment: &Segment<'_>, field: usize) -> Option<Activity> {
    match segment.field(field).component(1).text().trim() {
        "D" => Some(Activity::Operation("DELETE")),
        "W" if field == 11 => Some(Activity::Operation("NULLIFY")),
        _ => None,
    }
}

/// True for what takes records back.
pub(super) fn is_removal(activity: Activity) -> bool {
    matches!(activity, Activity::Operation("DELETE" | "NULLIFY" | "CANCEL"))
}

/// What an MDM event does to its document (table 0003).
fn document_activity(trigger: &str) -> Activity {
    Activity::Operation(match trigger {
        "T01" | "T02" => "CREATE",
        "T05" | "T06" => "APPEND",
        "T11" => "CANCEL",
        _ => "UPDATE",
    })
}
