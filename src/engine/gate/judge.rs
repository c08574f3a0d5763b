//! One decision about one content: each patient's consents, the destination's clearance, and what a recipient must do
//! that the route can or cannot. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use message::consent::by_entry::{
    Basis, Decision, Effect, Emergency, Entry, Micros, Release, Request, Snapshot, Verdict, decide, explain, release,
};

use message::consent::elements;
use message::consent::external::Answer;
use message::json::{Text, Value};

use super::super::process::Hash;
use super::obligations::{Abilities, About, MASKED, Met, by_label};
use super::travel::{Copy, copies};
use crate::config::{ConsentConfig, DestinationConfig, PolicyConfig};

/// Under which name a request and what is on file mean a patient: the store has told whose it is.
pub(super) const THE_PATIENT: &str = "the patient";

/// What is asked for a destination.
pub(super) struct Case<'a> {
    pub(super) rules: &'a ConsentConfig,
    pub(super) policy: &'a PolicyConfig,
    pub(super) destination: &'a DestinationConfig,
    /// The route's purposes.
    pub(super) purposes: &'a [String],
    /// Whether what leaves is labelled with them.
    pub(super) stamps_purpose: bool,
    /// Who discloses it: a provider's key.
    pub(super) custodian: Option<&'a str>,
    pub(super) now: Micros,
    pub(super) abilities: Abilities<'a>,
    /// What gives names that nobody can find out without the store's key.
    pub(super) hash: &'a Hash,
}

/// What is known of one patient.
pub(super) struct Known {
    /// The consents on file.
    pub(super) snapshot: Arc<Snapshot>,
    /// What they say of people, as they were filed.
    pub(super) copies: Arc<[Copy]>,
    /// True if it is certain who that is.
    pub(super) certain: bool,
    /// A declared emergency.
    pub(super) emergency: Option<Emergency>,
    /// The entries about them; all where `None`.
    pub(super) places: Option<BTreeSet<usize>>,
}

/// What was decided, by all layers and for all patients.
pub(super) struct Judged {
    pub(super) release: Release,
    /// Of each entry, in order.
    pub(super) verdicts: Vec<Verdict>,
    pub(super) obligations: BTreeSet<Text>,
    pub(super) valid_until: Option<Micros>,
    /// The labels whose elements are left out of an entry, each with what asks for that.
    pub(super) masks: BTreeMap<usize, BTreeMap<Text, Verdict>>,
    /// What each entry that may go owes.
    pub(super) owed: BTreeMap<usize, BTreeSet<Text>>,
    /// Consents that the recipient must comply with itself.
    pub(super) copies: Vec<Value>,
    by_patient: Vec<ByPatient>,
}

/// What was decided with one patient's consents.
struct ByPatient {
    request: Request,
    snapshot: Arc<Snapshot>,
    decision: Decision,
    places: Vec<usize>,
    /// Consents that refuse who works for the recipient; `None` where that cannot be passed on.
    copies: Option<Vec<Value>>,
}

/// Decides about `entries` for everyone they are about.
pub(super) fn judge(case: &Case<'_>, entries: &[Entry], known: &[Known]) -> Judged {
    let mut by_patient = Vec::with_capacity(known.len());
    let is_one = matches!(known, [one] if one.places.is_none());
    let mut worst: Vec<Option<Verdict>> = vec![None; if is_one { 0 } else { entries.len() }];
    let (mut obligations, mut valid_until) = (BTreeSet::new(), None::<Micros>);
    for one in known {
        let request = case.request(one);
        let theirs: Vec<Entry>;
        let (places, theirs): (Vec<usize>, &[Entry]) = match &one.places {
            None => ((0..entries.len()).collect(), entries),
            Some(places) => {
                theirs = places.iter().filter_map(|at| entries.get(*at).cloned()).collect();
                (places.iter().copied().collect(), &theirs)
            }
        };
        let mut decision = case.decide(&request, theirs, one);
        case.collect(&request, theirs, one, &mut decision);
        for (at, verdict) in places.iter().zip(&decision.entries) {
            let Some(slot) = worst.get_mut(*at) else { continue };
            let rank = |verdict: &Verdict| (verdict.effect, verdict.layer);
            if slot.as_ref().is_none_or(|held| rank(verdict) > rank(held)) {
                *slot = Some(verdict.clone());
            }
        }
        obligations.extend(decision.obligations.iter().cloned());
        valid_until = [valid_until, decision.valid_until].into_iter().flatten().min();
        let complies = decision.obligations.contains("CPLYCD");
        let theirs = || copies(one.snapshot.directives().iter(), &one.copies, &request.staff, &request.directory);
        let copies = if complies { theirs() } else { None };
        by_patient.push(ByPatient { request, snapshot: Arc::clone(&one.snapshot), decision, places, copies });
    }
    let undecided = |(entry, verdict): (&Entry, Option<Verdict>)| {
        verdict.unwrap_or_else(|| Verdict {
            reference: entry.reference.clone(),
            effect: Effect::Park,
            basis: Basis::PatientIdentity,
            layer: 1,
            purpose: Text::default(),
            label: None,
            path: None,
        })
    };
    let verdicts = match by_patient.first() {
        Some(ByPatient { decision, .. }) if is_one => decision.entries.clone(),
        _ => entries.iter().zip(worst).map(undecided).collect(),
    };
    let mut judged = Judged {
        release: Release::Park,
        verdicts,
        obligations,
        valid_until,
        masks: BTreeMap::new(),
        owed: BTreeMap::new(),
        copies: Vec::new(),
        by_patient,
    };
    case.clear(entries, &mut judged);
    case.mask(entries, &mut judged);
    case.oblige(entries, &mut judged);
    judged.release = release(&judged.verdicts, case.policy.policy.whole);
    if matches!(judged.release, Release::Suppress | Release::Park) {
        judged.obligations.clear();
    }
    judged
}

impl Case<'_> {
    /// True where what leaves is labelled with what it is released for, and can be.
    pub(super) fn stamps(&self) -> bool {
        self.stamps_purpose && self.abilities.labels()
    }

    fn decide(&self, request: &Request, entries: &[Entry], known: &Known) -> Decision {
        decide(request, entries, &known.snapshot, &self.policy.policy, &self.rules.terms)
    }

    /// Who gets something collects it: what a Consent refuses to be collected there does not go.
    fn collect(&self, request: &Request, entries: &[Entry], known: &Known, decision: &mut Decision) {
        let nodes = known.snapshot.directives().iter().flat_map(|directive| &directive.nodes);
        if !nodes.flat_map(|node| &node.actions).any(|action| &*action.code == "collect") {
            return;
        }
        let collecting = Request { actions: vec!["collect".into()], ..request.clone() };
        let refused = self.decide(&collecting, entries, known).entries;
        let refused =
            refused.into_iter().map(|own| (matches!(own.basis, Basis::Consent(_)) && own.effect == Effect::Deny, own));
        for (verdict, (_, own)) in decision.entries.iter_mut().zip(refused).filter(|(_, (refused, _))| *refused) {
            if verdict.effect == Effect::Permit {
                *verdict = own;
            }
        }
    }

    fn request(&self, known: &Known) -> Request {
        let directory = &self.rules.directory;
        let organisation = |key: &str| Text::from(format!("Organization/{key}"));
        let name = organisation(&self.destination.recipient);
        let recipient = directory.party(std::slice::from_ref(&name));
        let custodian = self.custodian.map(|key| directory.party(&[organisation(key)]));
        // A declared emergency is for the care of one patient: it asks for nothing else.
        let purposes = match &known.emergency {
            Some(_) => vec!["ETREAT".into()],
            None => self.purposes.iter().map(|code| code.as_str().into()).collect(),
        };
        Request {
            now: self.now,
            actions: ["disclose", "access"].map(Text::from).to_vec(),
            purposes,
            patient: vec![THE_PATIENT.into()],
            identified: known.certain,
            recipient_kinds: directory.nearest_kind(&name).map(Text::from).into_iter().collect(),
            recipient_may_be: directory.kinds(&recipient),
            recipient_is_patient: false,
            named_person: false,
            staff: directory.staff(&recipient.sure),
            production: self.destination.production,
            recipient,
            custodian: custodian.unwrap_or_default(),
            emergency: known.emergency.clone(),
            directory: Arc::clone(directory),
        }
    }

    /// Denies what is more confidential than the destination is cleared for.
    fn clear(&self, entries: &[Entry], judged: &mut Judged) {
        let level = |entry: &Entry| entry.confidentiality.unwrap_or(self.policy.policy.unlabelled);
        for (entry, verdict) in entries.iter().zip(&mut judged.verdicts) {
            if verdict.effect == Effect::Permit && level(entry) > self.destination.clearance {
                (verdict.effect, verdict.basis, verdict.layer) = (Effect::Deny, Basis::Clearance, 4);
            }
        }
    }

    /// Whether single elements may be denied: a Consent, a service or a rule speaks of what they tell of.
    fn looks_inside(&self, snapshot: &Snapshot) -> bool {
        let filed = snapshot.directives().iter().flat_map(|directive| &directive.nodes);
        let named = filed.flat_map(|node| &node.labels).any(|label| elements::is_known(&label.code));
        let policy = &self.policy.policy;
        let rules = policy.mandatory_deny.iter().chain(&policy.obligations);
        let ruled = rules.flat_map(|rule| &rule.when.label).any(|label| elements::is_known(label));
        named
            || ruled
            || matches!(snapshot.external(), Some(Answer::Permit { redactions, .. }) if !redactions.is_empty())
    }

    /// Leaves single elements out whose label is denied where the rest of the entry may go.
    fn mask(&self, entries: &[Entry], judged: &mut Judged) {
        let by_patient = std::mem::take(&mut judged.by_patient);
        for patient in by_patient.iter().filter(|patient| self.looks_inside(&patient.snapshot)) {
            for at in &patient.places {
                let (Some(entry), Some(verdict)) = (entries.get(*at), judged.verdicts.get_mut(*at)) else { continue };
                if entry.inner.is_empty() {
                    continue;
                }
                let base = self.alone(patient, entry).obligations;
                for inner in &entry.inner {
                    if verdict.effect != Effect::Permit {
                        break;
                    }
                    let mut labelled = entry.clone();
                    labelled.labels.push(inner.label.into());
                    let decision = self.alone(patient, &labelled);
                    let Some(own) = decision.entries.into_iter().next() else { continue };
                    let more: BTreeSet<Text> = decision.obligations.difference(&base).cloned().collect();
                    let hides = own.effect == Effect::Deny || MASKED.iter().any(|code| more.contains(*code));
                    match (own.effect, hides) {
                        (Effect::Park, _) => *verdict = own,
                        (Effect::Deny, _) if inner.whole || !self.abilities.masks() => *verdict = own,
                        (_, true) if inner.whole || !self.abilities.masks() => {
                            (verdict.effect, verdict.basis, verdict.layer) =
                                (Effect::Deny, Basis::Obligation("MASK".into()), 4);
                        }
                        (_, true) => _ = judged.masks.entry(*at).or_default().insert(inner.label.into(), own),
                        _ => {}
                    }
                    let others = more.into_iter().filter(|code| !MASKED.contains(&&**code));
                    judged.owed.entry(*at).or_default().extend(others);
                }
            }
        }
        judged.by_patient = by_patient;
    }

    /// The decision about one entry by one patient's consents.
    fn alone(&self, patient: &ByPatient, entry: &Entry) -> Decision {
        let (policy, terms) = (&self.policy.policy, &self.rules.terms);
        decide(&patient.request, std::slice::from_ref(entry), &patient.snapshot, policy, terms)
    }

    /// Denies what comes with an obligation that the route cannot meet.
    fn oblige(&self, entries: &[Entry], judged: &mut Judged) {
        let labelled =
            |entry: &Entry| by_label(entry, &self.rules.terms).into_iter().map(Text::from).collect::<BTreeSet<Text>>();
        let mut owed = std::mem::take(&mut judged.owed);
        let each = entries.iter().map(labelled).enumerate().filter(|(_, labels)| !labels.is_empty());
        each.for_each(|(at, labels)| owed.entry(at).or_default().extend(labels));
        owed.retain(|_, codes| !codes.is_empty());
        // What any route can do needs no closer look.
        if judged.obligations.is_empty() && owed.is_empty() {
            self.masked(judged);
            return;
        }
        let mut copies: BTreeMap<usize, &[Value]> = BTreeMap::new();
        let mut travels: BTreeSet<usize> = BTreeSet::new();
        for patient in &judged.by_patient {
            for at in &patient.places {
                let Some(entry) = entries.get(*at) else { continue };
                let own = self.alone(patient, entry).obligations;
                if own.contains("CPLYCD") && patient.copies.is_none() {
                    travels.insert(*at);
                }
                copies.insert(*at, patient.copies.as_deref().unwrap_or_default());
                owed.entry(*at).or_default().extend(own);
            }
        }
        judged.obligations.clear();
        let permitted = |judged: &Judged, at: &usize| {
            judged.verdicts.get(*at).is_some_and(|verdict| verdict.effect == Effect::Permit)
        };
        owed.retain(|at, _| permitted(judged, at));
        let nameless = owed.values().flatten().any(|code| self.abilities.nameless_by(code));
        for (at, codes) in &owed {
            let (Some(entry), Some(verdict)) = (entries.get(*at), judged.verdicts.get_mut(*at)) else { continue };
            let about = About { kind: &entry.kind, travels: !travels.contains(at), nameless };
            let unmet = codes.iter().map(|code| (self.abilities.meets(code, about), code));
            let unmet = unmet.filter(|(met, _)| *met != Met::Yes).max_by_key(|(met, _)| *met);
            match unmet {
                None => {
                    judged.obligations.extend(codes.iter().cloned());
                    if codes.contains("CPLYCD") {
                        let more = copies.get(at).copied().unwrap_or_default();
                        let new = more.iter().filter(|copy| !judged.copies.contains(copy)).cloned().collect::<Vec<_>>();
                        judged.copies.extend(new);
                    }
                }
                Some((met, code)) => {
                    verdict.effect = if met == Met::Later { Effect::Park } else { Effect::Deny };
                    (verdict.basis, verdict.layer) = (Basis::Obligation(Arc::from(&**code)), 4);
                }
            }
        }
        owed.retain(|at, _| permitted(judged, at));
        judged.owed = owed;
        self.masked(judged);
    }

    /// What is left out of an entry is an obligation as others are.
    fn masked(&self, judged: &mut Judged) {
        let verdicts = &judged.verdicts;
        judged.masks.retain(|at, _| verdicts.get(*at).is_some_and(|verdict| verdict.effect == Effect::Permit));
        if !judged.masks.is_empty() {
            judged.obligations.insert("MASK".into());
        }
    }
}

impl Judged {
    /// The places of what may not go.
    pub(super) fn denied(&self) -> BTreeSet<usize> {
        let each = self.verdicts.iter().enumerate();
        each.filter(|(_, verdict)| verdict.effect != Effect::Permit).map(|(at, _)| at).collect()
    }

    /// The labels of single elements that are left out, each once.
    pub(super) fn masked(&self) -> BTreeSet<Text> {
        self.masks.values().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// What it rests on, for logs and lists: codes and ids, each with how many entries it decided.
    pub(super) fn grounds(&self) -> String {
        self.grounds_of(match self.release {
            Release::Park => Effect::Park,
            Release::Suppress | Release::DeliverRedacted => Effect::Deny,
            Release::Deliver => Effect::Permit,
        })
    }

    /// As [`Judged::grounds`], of what may go.
    pub(super) fn grounds_of_permit(&self) -> String {
        self.grounds_of(Effect::Permit)
    }

    fn grounds_of(&self, wanted: Effect) -> String {
        // Most are alike: each kind is put into words once.
        let mut kinds: Vec<(&Verdict, usize)> = Vec::new();
        for verdict in self.verdicts.iter().filter(|verdict| verdict.effect == wanted) {
            let is_alike = |known: &Verdict| {
                known.layer == verdict.layer && known.purpose == verdict.purpose && known.basis == verdict.basis
            };
            match kinds.iter_mut().find(|(known, _)| is_alike(known)) {
                Some((_, count)) => *count += 1,
                None => kinds.push((verdict, 1)),
            }
        }
        let mut counted: BTreeMap<(u8, String), usize> = BTreeMap::new();
        for (verdict, count) in kinds {
            let purpose = if verdict.purpose.is_empty() { String::new() } else { format!(" for {}", verdict.purpose) };
            *counted.entry((verdict.layer, format!("{}{purpose}", verdict.basis))).or_default() += count;
        }
        let all = self.verdicts.len();
        let listed = counted.into_iter().map(|((_, ground), n)| format!("{ground} ({n} of {all} entries)"));
        let text = listed.collect::<Vec<_>>().join("; ");
        if text.is_empty() { "there is nothing to decide about".to_owned() } else { text }
    }

    /// The Consents that were weighed, with their versions.
    pub(super) fn weighed(&self) -> BTreeSet<String> {
        let named = |basis: &Basis| match basis {
            Basis::Consent(id) | Basis::Uncomputable(id) => Some(Arc::clone(id)),
            _ => None,
        };
        let masking = self.masks.values().flat_map(BTreeMap::values);
        let used: BTreeSet<Arc<str>> =
            self.verdicts.iter().chain(masking).filter_map(|verdict| named(&verdict.basis)).collect();
        let filed = self.by_patient.iter().flat_map(|patient| patient.snapshot.directives());
        let versioned =
            filed.filter(|directive| used.contains(&directive.id)).map(|directive| match &directive.version {
                Some(version) => format!("{}/{version}", directive.id),
                None => directive.id.to_string(),
            });
        versioned.collect()
    }

    /// Each entry's decision, told to a privacy officer; of the patient whose consents decided.
    pub(super) fn explain(&self, case: &Case<'_>) -> Vec<serde_json::Value> {
        let mut told: BTreeMap<usize, serde_json::Value> = BTreeMap::new();
        for patient in &self.by_patient {
            let explained =
                explain(&patient.decision, &patient.request, &patient.snapshot, &case.policy.policy, &case.rules.terms);
            for ((at, verdict), one) in patient.places.iter().zip(&patient.decision.entries).zip(explained) {
                if self.verdicts.get(*at) == Some(verdict) {
                    told.entry(*at)
                        .or_insert_with(|| self.with_masks(*at, serde_json::to_value(one).unwrap_or_default()));
                }
            }
        }
        for (at, verdict) in self.verdicts.iter().enumerate() {
            // Decided by the destination itself: its clearance, or what its route cannot do.
            told.entry(at).or_insert_with(|| {
                serde_json::json!({
                    "decision": verdict.effect.code(), "entry": verdict.reference, "purpose": verdict.purpose,
                    "layer": verdict.layer, "basis": verdict.basis.to_string(), "policy": case.policy.policy.id,
                })
            });
        }
        told.into_values().collect()
    }

    /// An explanation, with what is left out of the entry.
    fn with_masks(&self, at: usize, mut told: serde_json::Value) -> serde_json::Value {
        let masks = self.masks.get(&at).into_iter().flatten();
        let masks: Vec<String> = masks.map(|(label, verdict)| format!("{label} by {}", verdict.basis)).collect();
        if let Some(told) = told.as_object_mut().filter(|_| !masks.is_empty()) {
            told.insert("masked".to_owned(), serde_json::json!(masks));
        }
        told
    }
}
