//! `tributary breach`: what went out and, as is known by now, should not have (45 CFR 164.400–414).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use message::audit::{Event, Kind, Observer, Outcome as Ended};
use serde::Serialize;
use serde_json::{Value, json};

use super::audit::{Events, about_what, ask, entry, read, recipient, subjects};
use super::connection::{connect, load_site};
use super::operate::print_json;
use super::print::say;
use super::{Failure, Globals, Outcome, table};
use crate::admin::{Operation, Sent};
use crate::audit::{Selection, observer};
use crate::config::Site;
use crate::engine::{Hindsight, clock};

/// How many deliveries are decided about in one request.
const AT_ONCE: usize = 200;
/// From so many individuals on, more has to be done than to tell them (45 CFR 164.406, 164.408).
const MANY: usize = 500;
/// How long there is to tell them, from the day on that it is known (45 CFR 164.404).
const SIXTY_DAYS: i64 = 60 * 24;

#[derive(Subcommand)]
pub(super) enum Breach {
    /// Deliveries that went out and should not have: a Consent that came later was in force already, consent ended while
    /// they were on their way, or today's policy, labels or links of patients deny them.
    #[command(
        after_help = "Each delivery in the audit is decided about again, as of when it went out, by all that is known now. A Consent
that came later counts from its own date on. --policy tries another policy than today's, as `consent simulate` does.

  tributary breach list --since 30d
  tributary breach list --destination heart-registry --since 2026-01-31T08:00 --policy right.toml --fhir"
    )]
    List(ListArgs),
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Events,
    /// Decide by this policy, a file as in `policies/`, instead of the one of the same name.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print a FHIR R4 Bundle: the AuditEvents, and a Task for each recipient.
    #[arg(long)]
    fhir: bool,
}

/// One that should not have been sent.
#[derive(Serialize)]
struct Found {
    /// Its line in the audit.
    line: u64,
    event: Event,
    recipient: String,
    /// False if it could be read on its way.
    encrypted: bool,
    #[serde(flatten)]
    why: Hindsight,
}

/// What was found.
#[derive(Serialize)]
struct Report {
    /// Disclosures that were looked at.
    looked_at: usize,
    /// Patients whose data is in `found`.
    patients: usize,
    /// Until when they must be told, if it is a breach and became known today.
    tell_until: Timestamp,
    found: Vec<Found>,
    /// Deliveries that cannot be decided about any more.
    unknown: Vec<Found>,
}

pub(super) async fn breach(globals: &Globals, command: Breach) -> Outcome {
    let Breach::List(args) = command;
    let ListArgs { which: Events { since, until, patient, destination }, policy, fhir } = args;
    let about = ask(globals, "what should not have been sent", patient).await?;
    let site = load_site(globals)?;
    let kinds = vec![Kind::Disclosure, Kind::Transfer, Kind::Decision, Kind::LateRevocation];
    let events = read(&site, Selection { since, until, kinds, subjects: subjects(about), ..Selection::default() })?;
    let report = report(globals, &site, events, destination.as_deref(), policy).await?;
    if fhir {
        return print_json(&bundle(&report, &observer(&site.engine)));
    }
    if globals.json {
        return print_json(&report);
    }
    shown(&report)
}

async fn report(
    globals: &Globals,
    site: &Site,
    events: Vec<(u64, Event)>,
    destination: Option<&str>,
    policy: Option<PathBuf>,
) -> Result<Report, Failure> {
    let policy = policy.map(|file| {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        anyhow::Ok((name, text))
    });
    let policy = policy.transpose()?;
    let (mut proofs, mut raced, mut sent) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (line, event) in events {
        let Some(delivery) = event.delivery else { continue };
        match event.kind {
            Kind::Decision if event.outcome == Ended::Success => _ = proofs.insert(delivery, event.text),
            Kind::LateRevocation => _ = raced.insert(delivery, event.text),
            // Whoever refused it has seen it all the same.
            Kind::Disclosure | Kind::Transfer
                if destination.is_none_or(|name| event.destination.as_deref() == Some(name)) =>
            {
                sent.insert(delivery, (line, event));
            }
            _ => {}
        }
    }
    let connection = connect(globals).await?;
    let mut whys: BTreeMap<u64, Hindsight> = BTreeMap::new();
    let all: Vec<Sent> = sent
        .iter()
        .map(|(delivery, (_, event))| {
            let proof = proofs.get(delivery).cloned().unwrap_or_default();
            Sent { delivery: *delivery, at: event.at, proof }
        })
        .collect();
    for some in all.chunks(AT_ONCE) {
        let operation = Operation::Hindsight { sent: some.to_vec(), policy: policy.clone() };
        let found: Vec<Hindsight> = connection.call(operation).await?;
        whys.extend(found.into_iter().map(|why| (why.delivery, why)));
    }
    for (delivery, grounds) in raced.into_iter().filter(|(delivery, _)| sent.contains_key(delivery)) {
        let (cause, decision) = ("late-revocation".to_owned(), "suppress".to_owned());
        whys.insert(delivery, Hindsight { delivery, cause, decision, grounds, consents: Vec::new(), filed: None });
    }
    let looked_at = sent.len();
    let found = sent.into_iter().filter_map(|(delivery, (line, event))| {
        let why = whys.remove(&delivery)?;
        let recipient = recipient(&event, site);
        let encrypted = event.address.as_deref().is_some_and(|address| address.starts_with("https:"));
        Some(Found { line, event, recipient, encrypted, why })
    });
    let (unknown, found): (Vec<_>, Vec<_>) = found.partition(|one| one.why.cause == "unknown");
    let tell_until = clock::now().checked_add(SignedDuration::from_hours(SIXTY_DAYS))?;
    Ok(Report { looked_at, patients: patients(&found), tell_until, found, unknown })
}

/// How many patients there are: identifiers that stand together are one's.
fn patients(found: &[Found]) -> usize {
    let mut groups: Vec<BTreeSet<&str>> = Vec::new();
    for one in found.iter().filter(|one| !one.event.subjects.is_empty()) {
        let mut group: BTreeSet<&str> = one.event.subjects.iter().map(String::as_str).collect();
        let (theirs, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(|other| !other.is_disjoint(&group));
        group.extend(theirs.into_iter().flatten());
        groups = others;
        groups.push(group);
    }
    groups.len()
}

fn shown(report: &Report) -> Outcome {
    let rows = report.found.iter().map(|one| {
        let Found { event, recipient, encrypted, why, .. } = one;
        let how = match (event.outcome, encrypted) {
            (Ended::Success, true) => "taken, encrypted on its way",
            (Ended::Success, false) => "taken, in clear text",
            (_, true) => "refused, encrypted on its way",
            (_, false) => "refused, in clear text",
        };
        [
            table::time(event.at),
            recipient.clone(),
            event.address.clone().unwrap_or_default(),
            about_what(event),
            event.purposes.join(", "),
            how.to_owned(),
            why.cause.clone(),
            format!("{}: {}", why.decision, why.grounds),
        ]
    });
    let head = ["date", "recipient", "address", "what", "purpose", "how", "cause", "as is known now"];
    table::print(head, rows, "Nothing went out that should not have.")?;
    let (found, unknown) = (report.found.len(), report.unknown.len());
    say!(
        "\n{} disclosures looked at: {found} should not have been, of {} patients",
        report.looked_at,
        report.patients
    )?;
    if unknown > 0 {
        say!("{unknown} cannot be decided about any more: what they carried is no longer kept")?;
    }
    if found > 0 {
        let until = table::time(report.tell_until);
        say!("If it is a breach that became known today, each patient must be told by {until} (45 CFR 164.404)")?;
    }
    if report.patients >= MANY {
        say!("{MANY} or more: the media and the Secretary must be told too (45 CFR 164.406, 164.408)")?;
    }
    Ok(())
}

/// The AuditEvents of what should not have been sent, and for each recipient a Task to have it deleted or given back.
fn bundle(report: &Report, observer: &Observer) -> Value {
    let mut entries: Vec<Value> = report.found.iter().map(|one| entry(&one.event, observer)).collect();
    let mut by_recipient: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
    for one in &report.found {
        by_recipient.entry(one.event.party.as_deref().unwrap_or_default()).or_default().push(one);
    }
    for (party, found) in by_recipient {
        let inputs: Vec<Value> = found
            .iter()
            .map(|one| {
                let reference = json!({ "reference": format!("urn:uuid:{}", one.event.id) });
                json!({ "type": { "text": one.why.cause }, "valueReference": reference })
            })
            .collect();
        let owner = json!({ "system": format!("{}/provider", observer.base_uri), "value": party });
        let name = format!("tributary/breach/{party}/{inputs:?}");
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
        let task = json!({
            "resourceType": "Task",
            "id": id.to_string(),
            "status": "requested",
            "intent": "order",
            "code": { "text": "Delete or give back what should not have been disclosed, and confirm it" },
            "owner": { "type": "Organization", "identifier": owner },
            "input": inputs,
        });
        entries.push(json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": task }));
    }
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
}
