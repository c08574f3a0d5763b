//! `tributary audit` and `tributary disclosures`: what happened, told so that nobody can change it unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use message::audit::{Event, Kind, Observer, Outcome as Ended};
use message::consent::by_entry::Terms;
use serde_json::{Value, json};

use super::connection::{connect, load_site};
use super::operate::print_json;
use super::print::{note, say};
use super::{Failure, Globals, Outcome, table};
use crate::admin::{AuditOf, Operation};
use crate::audit::{Lines, Selection, Signer, Verified, Verifier, VerifyFrom, folder, observer, verify};
use crate::config::Site;
use crate::engine::clock;

/// For how long back disclosures are accounted for: six years.
const SIX_YEARS: i64 = 6 * 366 * 24;

#[derive(Subcommand)]
#[command(after_help = "  tributary audit verify --from 30d
  tributary audit verify --anchors /mnt/safe/tributary-checkpoints
  tributary audit list --since 1d --kind view --kind break-glass
  tributary audit list --patient 'urn:oid:1.2.3|40017' --fhir")]
pub(super) enum Audit {
    /// Prove that no line was changed, removed, moved or cut off. Exit code 1 if one was; it is named.
    Verify {
        /// The public key that checkpoints must be signed with, in base64. Without it, that of the site's own key.
        #[arg(long, value_name = "BASE64")]
        key: Option<String>,
        /// Checkpoints that are kept elsewhere: a file of them, a folder that they were dropped into, or AuditEvents that a
        /// repository gave back, in JSON. May be given more than once. Without it, those that the site names.
        #[arg(long, visible_alias = "anchor", value_name = "PATH")]
        anchors: Vec<PathBuf>,
        /// Begin at the last checkpoint at or before this: a line (12400), a time (2026-01-31T08:00) or how long ago (7d),
        /// `last`, or a file with a checkpoint that was kept elsewhere. Without it, at the first line.
        #[arg(long, value_name = "WHERE", value_parser = beginning)]
        from: Option<VerifyFrom>,
    },
    /// What happened, the oldest first.
    List(ListArgs),
}

/// Which events.
#[derive(clap::Args)]
pub(super) struct Events {
    /// Since: a time (2026-01-31T08:00), or how long ago (30m, 2h, 7d).
    #[arg(long, value_parser = super::select::moment)]
    pub(super) since: Option<Timestamp>,
    /// Until: as --since.
    #[arg(long, value_parser = super::select::moment)]
    pub(super) until: Option<Timestamp>,
    /// About the patient with this identifier, as SYSTEM|VALUE.
    #[arg(long, value_name = "SYSTEM|VALUE", value_parser = patient)]
    pub(super) patient: Option<String>,
    /// To this destination.
    #[arg(long)]
    pub(super) destination: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Events,
    /// Of this kind; may be given more than once.
    #[arg(long)]
    kind: Vec<Kind>,
    /// Print a FHIR R4 Bundle of AuditEvents.
    #[arg(long)]
    fhir: bool,
}

#[derive(clap::Args)]
#[command(
    after_help = "Treatment, payment, operations, and what the patient asked for are left out, as the rule says; --all has them,
with what was denied and every broken glass.

  tributary disclosures --patient 'urn:oid:1.2.3|40017'
  tributary disclosures --patient 'urn:oid:1.2.3|40017' --all --since 30d --fhir"
)]
pub(super) struct Disclosures {
    /// The patient's identifier, as SYSTEM|VALUE.
    #[arg(long, value_name = "SYSTEM|VALUE", value_parser = patient)]
    patient: String,
    /// Since: a time, or how long ago. Without it, six years back.
    #[arg(long, value_parser = super::select::moment)]
    since: Option<Timestamp>,
    /// All of them, and what was denied.
    #[arg(long)]
    all: bool,
    /// Disclosures to one recipient for one purpose as one: the first, how many, the last (45 CFR 164.528(b)(3)).
    #[arg(long, conflicts_with_all = ["all", "fhir"])]
    summary: bool,
    /// Print a FHIR R4 Bundle of AuditEvents.
    #[arg(long)]
    fhir: bool,
}

pub(super) fn patient(text: &str) -> Result<String, String> {
    match text.split_once('|') {
        Some((_, value)) if !value.is_empty() => Ok(text.to_owned()),
        _ => Err("write the identifier with its system: 'urn:oid:1.2.3|40017'".to_owned()),
    }
}

/// Where a proof begins.
fn beginning(text: &str) -> Result<VerifyFrom, String> {
    if text == "last" {
        return Ok(VerifyFrom::Last);
    }
    if let Ok(line) = text.parse() {
        return Ok(VerifyFrom::Line(line));
    }
    let path = PathBuf::from(text);
    if path.is_file() {
        return Ok(VerifyFrom::Anchor(path));
    }
    super::select::moment(text)
        .map(VerifyFrom::Time)
        .map_err(|why| format!("{why}; or a line, `last`, or a file that is there"))
}

pub(super) async fn audit(globals: &Globals, command: Audit) -> Outcome {
    match command {
        Audit::Verify { key, anchors, from } => verified(globals, key, anchors, &from.unwrap_or_default()).await,
        Audit::List(args) => list(globals, args).await,
    }
}

/// Has the chain brought up to date; whom it is about, where a patient is given.
pub(super) async fn ask(globals: &Globals, what: &str, patient: Option<String>) -> Result<AuditOf, Failure> {
    let connection = connect(globals).await?;
    Ok(connection.call(Operation::Audit { what: what.to_owned(), patient }).await?)
}

async fn verified(globals: &Globals, key: Option<String>, anchors: Vec<PathBuf>, from: &VerifyFrom) -> Outcome {
    // One that is broken cannot be gone on with, and can be looked at all the same.
    if let Err(Failure::Error(error)) = ask(globals, "verified", None).await {
        note!("warning: the audit could not be brought up to date: {error:#}");
    }
    let site = load_site(globals)?;
    let verified = check(&site, key, anchors, from)?;
    if globals.json {
        print_json(&verified)?;
    } else {
        if verified.from > 1 {
            say!("begun at line {}, which a checkpoint vouches for", verified.from)?;
        }
        say!(
            "{} lines and {} checkpoints read; signed up to line {}",
            verified.lines,
            verified.checkpoints,
            verified.signed
        )?;
        verified.faults.iter().try_for_each(|fault| say!("line {}: {}", fault.seq, fault.what))?;
        say!(
            "{}",
            if verified.faults.is_empty() { "whole: nothing was changed, and nothing is missing" } else { "NOT whole" }
        )?;
    }
    if verified.faults.is_empty() { Ok(()) } else { Err(Failure::No) }
}

fn check(site: &Site, key: Option<String>, mut anchors: Vec<PathBuf>, from: &VerifyFrom) -> anyhow::Result<Verified> {
    let config = &site.engine.audit;
    let key = match key {
        Some(key) => key,
        None => Signer::open(&config.key(&site.engine.data_dir))?.public(),
    };
    let verifier = Verifier::new(&key).map_err(anyhow::Error::msg)?;
    if anchors.is_empty() {
        anchors.extend(config.anchor.iter().chain(&config.anchors).cloned());
    } else if let Some(missing) = anchors.iter().find(|path| !path.exists()) {
        anyhow::bail!("there is no {}", missing.display());
    }
    Ok(verify(&folder(&site.engine.data_dir), &anchors, &verifier, from)?)
}

async fn list(globals: &Globals, args: ListArgs) -> Outcome {
    let ListArgs { which: Events { since, until, patient, destination }, kind: kinds, fhir } = args;
    let about = ask(globals, "listed", patient).await?;
    let site = load_site(globals)?;
    let selection = Selection { since, until, kinds, subjects: subjects(about), destination };
    let found = read(&site, selection)?;
    if fhir {
        return print_json(&bundle(&found, &observer(&site.engine)));
    }
    if globals.json {
        return print_json(&numbered(&found));
    }
    let rows = found.iter().map(|(seq, event)| {
        let who = if event.by.is_empty() { "engine".to_owned() } else { event.by.clone() };
        [
            seq.to_string(),
            table::time(event.at),
            event.kind.to_string(),
            ended(event),
            who,
            about_what(event),
            event.text.clone(),
        ]
    });
    Ok(table::print(["line", "time", "what", "outcome", "by", "of", "text"], rows, "Nothing of that kind happened.")?)
}

pub(super) async fn disclosures(globals: &Globals, args: Disclosures) -> Outcome {
    let about = ask(globals, "disclosures of a patient", Some(args.patient)).await?;
    let site = load_site(globals)?;
    let ago = || clock::now().checked_sub(jiff::SignedDuration::from_hours(SIX_YEARS)).ok();
    let kinds = match args.all {
        true => vec![
            Kind::Disclosure,
            Kind::Transfer,
            Kind::Decision,
            Kind::BreakGlass,
            Kind::BreakGlassEnd,
            Kind::LateRevocation,
        ],
        false => vec![Kind::Disclosure],
    };
    let since = args.since.or_else(ago);
    let mut found = read(&site, Selection { since, kinds, subjects: subjects(about), ..Selection::default() })?;
    if args.all {
        // What was permitted is told with what was sent.
        found.retain(|(_, event)| event.kind != Kind::Decision || event.outcome != Ended::Success);
    } else {
        let terms = Terms::shipped().context("the built-in terminology")?;
        found.retain(|(_, event)| event.outcome == Ended::Success && is_accounted_for(event, &terms));
    }
    if !check(&site, None, Vec::new(), &VerifyFrom::Beginning)?.faults.is_empty() {
        note!("warning: the audit is NOT whole, and this list may lack something; see `tributary audit verify`");
    }
    if args.summary {
        return summarised(globals, &found, &site);
    }
    if args.fhir {
        return print_json(&bundle(&found, &observer(&site.engine)));
    }
    if globals.json {
        return print_json(&numbered(&found));
    }
    let rows = found.iter().map(|(_, event)| {
        let what = if matches!(event.kind, Kind::Disclosure | Kind::Transfer) {
            about_what(event)
        } else {
            format!("{}: {}", event.kind, event.text)
        };
        let address = event.address.clone().unwrap_or_default();
        [
            table::time(event.at),
            recipient(event, &site),
            address,
            what,
            purposes_in_words(&event.purposes),
            ended(event),
        ]
    });
    let head = ["date", "recipient", "address", "what", "purpose", "outcome"];
    Ok(table::print(head, rows, "No disclosure has to be accounted for.")?)
}

/// Disclosures to one recipient for one purpose.
#[derive(serde::Serialize)]
struct Repeated {
    recipient: String,
    address: String,
    purposes: Vec<String>,
    first: Timestamp,
    last: Timestamp,
    count: usize,
}

fn summarised(globals: &Globals, found: &[(u64, Event)], site: &Site) -> Outcome {
    let mut by_recipient: BTreeMap<_, Repeated> = BTreeMap::new();
    for (_, event) in found {
        let (recipient, address) = (recipient(event, site), event.address.clone().unwrap_or_default());
        let purposes = event.purposes.clone();
        let one = by_recipient.entry((recipient.clone(), address.clone(), purposes.clone())).or_insert(Repeated {
            recipient,
            address,
            purposes,
            first: event.at,
            last: event.at,
            count: 0,
        });
        (one.last, one.count) = (one.last.max(event.at), one.count + 1);
    }
    let mut all: Vec<Repeated> = by_recipient.into_values().collect();
    all.sort_by_key(|one| one.first);
    if globals.json {
        return print_json(&all);
    }
    let rows = all.into_iter().map(|one| {
        let (first, last) = (table::time(one.first), table::time(one.last));
        [first, one.count.to_string(), last, one.recipient, one.address, one.purposes.join(", ")]
    });
    let head = ["first", "times", "last", "recipient", "address", "purpose"];
    Ok(table::print(head, rows, "No disclosure has to be accounted for.")?)
}

/// 45 CFR 164.528(a)(1): all but treatment, payment and operations, and what the individual asked for.
fn is_accounted_for(event: &Event, terms: &Terms) -> bool {
    const LEFT_OUT: [&str; 4] = ["TREAT", "HPAYMT", "HOPERAT", "PATRQT"];
    let is_left_out = |code: &String| LEFT_OUT.iter().any(|within| terms.is_purpose_within(code, within));
    event.purposes.is_empty() || !event.purposes.iter().all(is_left_out)
}

pub(super) fn subjects(about: AuditOf) -> Option<BTreeSet<String>> {
    about.subjects.map(|subjects| subjects.into_iter().collect())
}

pub(super) fn read(site: &Site, selection: Selection) -> anyhow::Result<Vec<(u64, Event)>> {
    let mut lines = Lines::open(&folder(&site.engine.data_dir), selection)?;
    let found = lines.by_ref().collect();
    if lines.unread > 0 {
        note!("warning: {} lines of the audit cannot be read; see `tributary audit verify`", lines.unread);
    }
    Ok(found)
}

fn numbered(found: &[(u64, Event)]) -> Vec<Value> {
    found.iter().map(|(seq, event)| json!({ "line": seq, "event": event })).collect()
}

fn bundle(found: &[(u64, Event)], observer: &Observer) -> Value {
    let entries: Vec<Value> = found.iter().map(|(_, event)| entry(event, observer)).collect();
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
}

/// An event as an entry of a collection.
pub(super) fn entry(event: &Event, observer: &Observer) -> Value {
    json!({ "fullUrl": format!("urn:uuid:{}", event.id), "resource": event.into_r4(observer) })
}

fn ended(event: &Event) -> String {
    match event.outcome {
        Ended::Success => "done",
        Ended::Refused => "refused",
        Ended::Denied => "denied",
    }
    .to_owned()
}

pub(super) fn recipient(event: &Event, site: &Site) -> String {
    let name = event.party.as_ref().and_then(|key| site.providers.get(key)).map(|provider| provider.name.clone());
    name.or_else(|| event.party.clone()).or_else(|| event.destination.clone()).unwrap_or_default()
}

/// 45 CFR 164.528(b)(2)(iv): a brief statement of the purpose.
fn purposes_in_words(codes: &[String]) -> String {
    let in_words = |code: &String| {
        let words = match code.as_str() {
            "TREAT" => "treatment",
            "ETREAT" => "emergency treatment",
            "BTG" => "break the glass",
            "COC" => "coordination of care",
            "TREATDS" => "decision support for treatment",
            "HPAYMT" => "payment",
            "HOPERAT" => "operations",
            "HRESCH" => "research",
            "CLINTRCH" => "clinical trial research",
            "PUBHLTH" => "public health",
            "PATRQT" => "asked for by the patient",
            "HMARKT" => "marketing",
            "HLEGAL" => "legal",
            "HSYSADMIN" => "system administration",
            "MLTRAINING" => "training of models",
            _ => return code.clone(),
        };
        format!("{words} ({code})")
    };
    if codes.is_empty() { "not stated".to_owned() } else { codes.iter().map(in_words).collect::<Vec<_>>().join(", ") }
}

/// 45 CFR 164.528(b)(2)(iii): a brief description of what was disclosed, by the code of its message (table 0076).
fn data_in_words(what: &str) -> Option<String> {
    let words = match what.get(..3)? {
        "ADT" => "demographics and visits",
        "ORU" | "OUL" => "results",
        "ORM" | "OML" | "OMG" | "OMI" | "ORR" | "OMN" | "OMD" => "orders",
        "OMP" | "RDE" | "RDS" | "RGV" | "RAS" => "medication",
        "VXU" | "VXR" => "immunizations",
        "MDM" => "documents",
        "SIU" | "SRM" => "appointments",
        "DFT" | "BAR" => "charges and accounts",
        "PPR" | "PGL" | "PPP" => "problems and goals",
        "REF" | "RRI" => "referrals",
        _ => return Some(what.to_owned()),
    };
    Some(format!("{words} ({what})"))
}

/// What it was done with: what kind of data, the delivery, the message, the channel.
pub(super) fn about_what(event: &Event) -> String {
    let parts = [
        data_in_words(&event.what),
        event.message.map(|id| format!("message {id}")),
        event.delivery.map(|id| format!("delivery {id}")),
        event.destination.as_ref().map(|name| format!("to {name}")),
        event.channel.as_ref().filter(|_| event.destination.is_none()).map(|name| format!("by {name}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
