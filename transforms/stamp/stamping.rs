//! One Bundle on its way through the stamps: custody first, then `meta` on all of it.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use message::consent::{ACT_REASON, CONFIDENTIALITY, Confidentiality, Flags, Purpose};
use message::json::{Text, Value, json};
use message::provenance::{Provenance, Reference};
use message::{Finding, FindingKind, Message, TransformError};

use smol_str::format_smolstr;

use super::Stamper;
use super::agents::Site;
use super::authors::{self, name_of};
use super::bundle::{Bundle, Entry, error, text};
use super::complete::{Converted, complete};
use super::custody::{Custody, LABELLING};
use super::events::{Events, trigger};
use super::labels::{Handling, Labels};
use super::marks::Marked;
use super::meta::{self, Fresh, Stamps};
use super::results::Assertions;
use super::source::Source;

/// Resources that stand for others: labelled with the highest level of all.
const ENVELOPES: &[&str] = &["MessageHeader", "Composition", "List"];
/// Those of them that speak for the whole message.
const HEADS: &[&str] = &["MessageHeader", "Composition"];

/// What is stamped, and in the light of what.
pub(super) struct Stamping<'a> {
    pub(super) stamper: &'a Stamper,
    pub(super) message: &'a Message,
    pub(super) handling: &'a Handling,
    pub(super) now: Timestamp,
}

impl Stamping<'_> {
    /// Stamps all of `bundle` and returns what its labels say.
    pub(super) fn apply(&self, bundle: &mut Bundle, findings: &mut Vec<Finding>) -> Result<Flags, TransformError> {
        let whole = Whole::of(bundle);
        let records = self.records(bundle);
        let targets: Vec<Reference> = references(bundle, records.iter().copied());
        if bundle.records().next().is_none() {
            return Ok(Flags::default());
        }
        let (provider, engine) = self.stamper.actors.join(bundle);
        let source = self.source(bundle, &provider);
        let sender = source.transmitter.on_behalf_of.as_ref().unwrap_or(&provider);
        let trigger = self.message.as_received().map(trigger).unwrap_or_default();
        let converted = self.message.as_received().is_some();
        let hash = &self.message.original.sha256;
        let converted = converted.then_some(Converted { hash, trigger: &trigger, sender });
        let mut late = complete(bundle, &targets, converted, self.stamper.clock_skew);
        let (chain, assertions) = self.chain(bundle, &source, (&records, &targets), (&provider, &engine), &trigger);
        late += chain.iter().filter(|provenance| self.is_ahead(provenance)).count();
        if late > 0 {
            findings.push(ahead());
        }
        let known: HashMap<Text, usize, foldhash::quality::RandomState> = {
            let told = bundle.entries.iter().enumerate().filter(|(_, entry)| entry.kind() == "Provenance");
            told.filter_map(|(i, entry)| Some((Text::new(entry.url()?), i))).collect()
        };
        for provenance in chain {
            attach(bundle, provenance, &known);
        }
        self.label(bundle, &source, &whole, &assertions)
    }

    /// The records that are about patients and their care, by place: all but Provenance and our own.
    fn records(&self, bundle: &Bundle) -> Vec<usize> {
        let records = bundle.records().filter(|(_, entry, _)| !self.stamper.actors.are_at(entry));
        records.filter(|(_, entry, _)| entry.kind() != "Provenance").map(|(i, ..)| i).collect()
    }

    fn site(&self) -> Site<'_> {
        Site { base_uri: &self.stamper.base_uri, provider: &self.stamper.provider }
    }

    fn source(&self, bundle: &Bundle, provider: &Reference) -> Source {
        let original = &self.message.original;
        match self.message.as_received() {
            Some(message) => {
                Source::of_hl7v2(message, original, bundle, self.site(), &self.stamper.time_zone, provider)
            }
            None => Source::of_fhir(bundle, original, self.site(), provider),
        }
    }

    fn chain(
        &self,
        bundle: &Bundle,
        source: &Source,
        (records, targets): (&[usize], &[Reference]),
        (provider, engine): (&Reference, &Reference),
        trigger: &str,
    ) -> (Vec<Provenance>, Assertions) {
        let original = &self.message.original;
        let former_sources = self.former_sources(bundle, &source.uri);
        let labels = self.message.steps.iter().any(|step| step.transform == LABELLING);
        let labelled = (0..bundle.entries.len()).filter(|i| labels && is_labelled(bundle, *i));
        let labelled = references(bundle, labelled);
        let custody = Custody {
            original,
            source,
            steps: &self.message.steps,
            labelled: &labelled,
            former_sources: &former_sources,
            provider,
            engine,
            base_uri: &self.stamper.base_uri,
            ids: &self.stamper.ids,
            now: self.now,
        };
        let own = match self.message.as_received() {
            Some(message) => authors::of_hl7v2(message, bundle, self.site()),
            None => {
                let ours = self.sources_of_ours(bundle);
                let id =
                    |entry: &Entry| entry.record().and_then(|provenance| text(provenance, "id")).map(str::to_owned);
                authors::of_fhir(bundle, provider, |entry| id(entry).is_some_and(|id| ours.contains(&id)))
            }
        };
        let mut chain = custody.chain(targets, authors::groups(bundle, records, &source.authors, &own));
        let mut assertions = Assertions::new();
        if let Some(message) = self.message.as_received() {
            let events = Events {
                message,
                trigger,
                site: self.site(),
                zone: &self.stamper.time_zone,
                received: original.received,
                sender: source.transmitter.on_behalf_of.as_ref().unwrap_or(provider),
                ids: &self.stamper.ids,
                hash: &original.sha256,
            };
            let told = events.of(bundle, &chain);
            chain.extend(told.0);
            assertions = told.1;
        }
        (chain, assertions)
    }

    /// The ids of what an earlier stamp of this message said of where it comes from: that names authors.
    fn sources_of_ours(&self, bundle: &Bundle) -> HashSet<String> {
        let provenances = bundle.entries.iter().filter(|entry| entry.kind() == "Provenance").count();
        let id = |n| self.stamper.ids.of_part(&self.message.original.sha256, &format!("provenance/{}", name_of(n)));
        (0..provenances).map(|n| id(n).to_string()).collect()
    }

    /// True if something happened, by its sender's clock, later than it was recorded.
    fn is_ahead(&self, provenance: &Provenance) -> bool {
        let occurred = provenance.occurred.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        occurred.is_some_and(|occurred| occurred.duration_since(provenance.recorded) > self.stamper.clock_skew)
    }

    /// What the records and the Bundle say of their source, each once.
    fn former_sources(&self, bundle: &Bundle, ours: &str) -> Vec<Text> {
        let entries = bundle.entries.iter().filter(|entry| !self.stamper.actors.are_at(entry));
        let resources = entries.filter_map(Entry::record).chain([&bundle.fields]);
        let mut former: Vec<Text> = Vec::new();
        for source in resources.flat_map(|resource| meta::former_sources(resource, ours)) {
            if !former.iter().any(|known| known == source) {
                former.push(source.clone());
            }
        }
        former
    }

    /// `meta` of every record, then of what stands for them, then of the Bundle.
    fn label(
        &self,
        bundle: &mut Bundle,
        source: &Source,
        whole: &Whole,
        assertions: &Assertions,
    ) -> Result<Flags, TransformError> {
        let received = self.message.as_received();
        let mut marked =
            received.map(|message| Marked::place(&self.handling.marks, message, bundle)).unwrap_or_default();
        marked.assert(assertions, bundle.entries.len());
        marked.inherit(bundle);
        let purposes = self.purposes(whole);
        let test = whole.test || self.handling.flags.test_data || self.stamper.channel.test_data;
        let stamps = Stamps {
            source: &source.uri,
            tags: &source.tags,
            level: self.level(),
            inherited: &whole.labels,
            purposes: purposes.as_ref(),
            test,
            integrity: &[],
        };
        // What was HL7 v2 has been mapped to what it is now.
        let mapped = Stamps { integrity: if received.is_some() { &["MAPPED"] } else { &[] }, ..stamps };
        let mut flags = Flags { purposes: purposes.clone(), test_data: test, ..Flags::default() };
        let fresh = |stamps| Fresh::new(stamps, &marked.all).map_err(|reason| error("Bundle", reason));
        let (fresh, fresh_mapped) = (fresh(stamps)?, fresh(mapped)?);
        let ours = |entry: &Entry| self.stamper.actors.are_at(entry);
        for (i, entry) in bundle.entries.iter_mut().enumerate().filter(|(_, entry)| !ours(entry) && !is_envelope(entry))
        {
            let plain = entry.kind() != "Bundle" && marked.of(i).is_none_or(|labels| *labels == Labels::default());
            let is_provenance = entry.kind() == "Provenance";
            let fresh = if is_provenance { &fresh } else { &fresh_mapped };
            if !(plain && entry.record_mut().is_some_and(|resource| fresh.stamp(resource, &mut flags))) {
                let stamps = if is_provenance { stamps } else { mapped };
                stamp_entry(entry, i, stamps, &marked, &mut flags)?;
            }
        }
        let mapped = Stamps { level: stamps.level.max(flags.confidentiality), ..mapped };
        for (i, entry) in bundle.entries.iter_mut().enumerate().filter(|(_, entry)| !ours(entry) && is_envelope(entry))
        {
            stamp_entry(entry, i, mapped, &marked, &mut flags)?;
        }
        // The mark of the whole tells how confidential it is and nothing else (DS4P, high-water mark).
        let stamps = Stamps { level: flags.confidentiality, inherited: &[], purposes: None, ..stamps };
        meta::stamp(&mut bundle.fields, stamps, &[], &mut flags).map_err(|reason| error("Bundle", reason))?;
        Ok(flags)
    }

    /// How confidential the channel says that all is. Normal is no statement: it raises nothing.
    fn level(&self) -> Confidentiality {
        let level = self.stamper.channel.confidentiality;
        if level > Confidentiality::N { level } else { Confidentiality::U }
    }

    /// What the channel, the message's fields and the Bundle as a whole leave; `None` where nothing restricts.
    fn purposes(&self, whole: &Whole) -> Option<BTreeSet<Purpose>> {
        let mut flags = Flags { purposes: self.stamper.channel.purposes.clone(), ..Flags::default() };
        let stated = [self.handling.flags.purposes.as_ref(), Some(&whole.purposes).filter(|p| !p.is_empty())];
        stated.into_iter().flatten().for_each(|purposes| flags.restrict(purposes));
        flags.purposes
    }
}

fn references(bundle: &Bundle, places: impl Iterator<Item = usize>) -> Vec<Reference> {
    places.filter_map(|i| bundle.reference_to(bundle.entries.get(i)?)).collect()
}

/// True if a transform of ours has labelled the entry.
fn is_labelled(bundle: &Bundle, i: usize) -> bool {
    let resource = bundle.entries.get(i).and_then(Entry::record);
    resource.is_some_and(|resource| meta::security_of(resource).any(crate::label::is_classified))
}

/// That a sender's clock is ahead is told, and never mended.
fn ahead() -> Finding {
    Finding {
        kind: FindingKind::Malformed,
        location: "Provenance.occurred".into(),
        text: "something happened later than it was recorded, by more than clocks differ: check the sender's clock \
               and its time zone"
            .into(),
    }
}

fn is_envelope(entry: &Entry) -> bool {
    ENVELOPES.contains(&entry.kind())
}

fn stamp_entry(
    entry: &mut Entry,
    i: usize,
    mut stamps: Stamps<'_>,
    marked: &Marked,
    flags: &mut Flags,
) -> Result<(), TransformError> {
    let holds_others = entry.kind() == "Bundle";
    let Some(resource) = entry.record_mut() else { return Ok(()) };
    if holds_others {
        let mut inside = Flags::default();
        meta::read(resource, &mut inside);
        flags.add(&inside);
        stamps.level = stamps.level.max(inside.confidentiality);
        if resource.contains_key("signature") {
            return Ok(()); // Its bytes stay as they were signed.
        }
    }
    let none = Labels::default();
    let labels = [&marked.all, marked.of(i).unwrap_or(&none)];
    meta::stamp(resource, stamps, &labels, flags).map_err(|reason| error(format!("entry[{i}].resource"), reason))
}

/// What a Bundle says of all that is in it, before it is stamped.
struct Whole {
    /// The labels of the Bundle and of its MessageHeader or Composition, purposes of use left out.
    labels: Vec<Value>,
    /// The purposes of use that they restrict all to; empty where they do not.
    purposes: BTreeSet<Purpose>,
    test: bool,
}

impl Whole {
    fn of(bundle: &Bundle) -> Self {
        let envelopes = HEADS.iter().filter_map(|kind| bundle.first(kind)).chain([&bundle.fields]);
        let mut labels: Vec<Value> = envelopes.flat_map(meta::security_of).cloned().collect();
        let document = bundle.first("Composition").and_then(|document| text(document, "confidentiality"));
        labels.extend(document.map(|code| json!({ "system": CONFIDENTIALITY, "code": code })));
        let resources = bundle.records().map(|(_, _, resource)| resource).chain([&bundle.fields]);
        let purposes = meta::purposes_of(labels.iter());
        labels.retain(|label| label.get("system").is_none_or(|system| system != ACT_REASON));
        Self { purposes, labels, test: resources.into_iter().any(meta::says_test) }
    }
}

/// Adds `provenance`, or brings the one that is there, by its URL among `known`, up to the present targets.
fn attach(bundle: &mut Bundle, provenance: Provenance, known: &HashMap<Text, usize, foldhash::quality::RandomState>) {
    let url = format_smolstr!("Provenance/{}", provenance.id);
    let full_url = format_smolstr!("urn:uuid:{}", provenance.id);
    let mut resource = provenance.into_r4();
    match known.get(&url).and_then(|i| bundle.entries.get_mut(*i)) {
        Some(entry) => {
            if let (Some(own), Some(targets)) = (entry.record_mut(), resource.get_mut("target")) {
                own.insert("target", targets.take());
            }
        }
        None => bundle.entries.push(Entry::put(full_url, resource, url)),
    }
}
