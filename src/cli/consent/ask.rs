//! `tributary consent explain|list|show|simulate|break-glass`: what privacy officers ask of a site that runs.

use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;
use message::MessageId;
use serde_json::Value;
use uuid::Uuid;

use crate::admin::{BreakGlass, Operation};
use crate::cli::connection::connect;
use crate::cli::operate::{done, print_json};
use crate::cli::print::say;
use crate::cli::{Globals, Outcome, table};
use crate::engine::{Declaration, Explained, FiledConsent, Simulated, clock};

/// `consent simulate`.
#[derive(clap::Args)]
pub(in crate::cli) struct SimulateArgs {
    /// The policy to try: a file as in `policies/`.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// For this destination, instead of all that have a policy of the file's name (or any, where none has that).
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Of messages accepted since: a time (2026-01-31T08:00), or how long ago (30m, 2h, 7d).
    #[arg(long, value_parser = crate::cli::select::moment, default_value = "7d")]
    since: Timestamp,
    /// Decide about so many deliveries at most, the newest.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    limit: usize,
}

/// `consent break-glass`.
#[derive(clap::Args)]
pub(in crate::cli) struct BreakGlassArgs {
    /// The patient: SYSTEM|VALUE of an identifier.
    #[arg(long, value_name = "SYSTEM|VALUE", required_unless_present_any = ["list", "end"])]
    patient: Option<String>,
    /// The destination that is to have the record.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["list", "end"])]
    to: Option<String>,
    /// Who declares the emergency: a person.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["list", "end"])]
    by: Option<String>,
    /// Why: OVRER (emergency), OVRPS (patient safety), OVRTPS (safety of others), OVRPJ (professional judgment), OVRINCOMP
    /// (incompetency).
    #[arg(long, value_name = "CODE", required_unless_present_any = ["list", "end"])]
    reason: Option<String>,
    /// For how long: 30m, 4h. The policy may end it earlier.
    #[arg(long = "for", value_name = "TIME", default_value = "4h")]
    lasts: jiff::SignedDuration,
    /// List the emergencies that were declared.
    #[arg(long, conflicts_with_all = ["patient", "to", "by", "reason", "end"])]
    list: bool,
    /// End this one now.
    #[arg(long, value_name = "ID", conflicts_with_all = ["patient", "to", "by", "reason"])]
    end: Option<Uuid>,
}

pub(super) async fn explain(globals: &Globals, message: MessageId, to: &str) -> Outcome {
    let operation = Operation::ConsentExplain { message, destination: to.to_owned() };
    let explained: Explained = connect(globals).await?.call(operation).await?;
    if globals.json {
        return print_json(&explained);
    }
    let Explained { decision, grounds, destination, policy, delivery, state, .. } = &explained;
    say!("{message} to {destination}: {decision}")?;
    say!("  because: {grounds}")?;
    match policy {
        Some(policy) => say!("  policy: {policy}")?,
        None => say!("  policy: none; what its source and channel say decides alone")?,
    }
    if let Some((delivery, state)) = delivery.zip(*state) {
        say!("  delivery {delivery} is {state}")?;
    }
    if !explained.obligations.is_empty() {
        say!("  with: {}", explained.obligations.join(" "))?;
    }
    if let Some(until) = explained.valid_until {
        say!("  holds until {} if nothing new becomes known", table::time(until))?;
    }
    for line in explained.flags.lines().skip(1) {
        say!("{line}")?;
    }
    for entry in &explained.entries {
        say!("")?;
        told(entry)?;
    }
    Ok(())
}

/// One entry's decision, in the words of the standard.
fn told(entry: &Value) -> anyhow::Result<()> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    let list =
        |key: &str| -> Vec<&str> { entry[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let (decision, name, purpose) = (text("decision"), text("entry"), text("purpose"));
    say!("{decision} {name} for {purpose} (layer {}: {})", entry["layer"], text("basis"))?;
    for (what, key) in [("by", "consent"), ("read as", "mode"), ("label", "label"), ("law", "cite")] {
        if !text(key).is_empty() {
            say!("  {what}: {}", text(key))?;
        }
    }
    if !list("path").is_empty() {
        say!("  provision: {}", list("path").join(" > "))?;
    }
    if !list("matched").is_empty() {
        say!("  which asks for: {}", list("matched").join("; "))?;
    }
    for way in list("would_permit") {
        say!("  would let it go: {way}")?;
    }
    Ok(())
}

pub(super) async fn list(globals: &Globals, patient: Option<String>) -> Outcome {
    let operation = Operation::Consents { patient, versions: false };
    let consents: Vec<FiledConsent> = connect(globals).await?.call(operation).await?;
    if globals.json {
        return print_json(&consents);
    }
    let rows = consents.iter().map(|consent| {
        let waits = if consent.faults.is_empty() { String::new() } else { consent.faults.join("; ") };
        [consent.id.clone(), consent.version.to_string(), consent.status.clone(), table::time(consent.filed), waits]
    });
    table::print(["consent", "version", "status", "filed", "cannot be computed"], rows, "No consents on file.")?;
    Ok(())
}

pub(super) async fn show(globals: &Globals, patient: Option<String>) -> Outcome {
    let operation = Operation::Consents { patient, versions: true };
    let consents: Vec<FiledConsent> = connect(globals).await?.call(operation).await?;
    if globals.json {
        return print_json(&consents);
    }
    for consent in &consents {
        let FiledConsent { id, version, status, filed, mode, message, faults, body, .. } = consent;
        say!("{id} version {version}: {status}, filed {}, read as {mode}", table::time(*filed))?;
        if let Some(message) = message {
            say!("  came with message {message}")?;
        }
        for fault in faults {
            say!("  cannot be computed: {fault}")?;
        }
        say!("{body:#}\n")?;
    }
    if consents.is_empty() {
        say!("No consents on file.")?;
    }
    Ok(())
}

pub(super) async fn simulate(globals: &Globals, args: &SimulateArgs) -> Outcome {
    let file = &args.policy;
    let policy = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (destination, since, limit) = (args.destination.clone(), args.since, args.limit);
    let operation = Operation::ConsentSimulate { name, policy, destination, since, limit };
    let simulated: Simulated = connect(globals).await?.call(operation).await?;
    if globals.json {
        return print_json(&simulated);
    }
    let rows = simulated.changes.iter().map(|change| {
        let (message, destination) = (change.message.to_string(), change.destination.clone());
        [message, destination, change.before.clone(), change.after.clone(), change.grounds.clone()]
    });
    table::print(["message", "destination", "now", "then", "because"], rows, "Nothing would change.")?;
    say!("")?;
    for (change, count) in &simulated.counts {
        say!("{count} would change: {change}")?;
    }
    let Simulated { deliveries, unread, more, .. } = &simulated;
    say!("{deliveries} deliveries decided about again, nothing sent")?;
    if *unread > 0 {
        say!("{unread} could not be read: their content is damaged on disk")?;
    }
    if *more {
        say!("There are more: ask for them with --limit.")?;
    }
    Ok(())
}

pub(super) async fn break_glass(globals: &Globals, args: BreakGlassArgs) -> Outcome {
    if args.list {
        return declared(globals).await;
    }
    if let Some(id) = args.end {
        return done(globals, Operation::EndBreakGlass(id), "It is over.").await;
    }
    let text = |value: Option<String>| value.unwrap_or_default();
    let until = clock::now().checked_add(args.lasts)?;
    let (patient, destination) = (text(args.patient), text(args.to));
    let declared = BreakGlass { patient, destination, by: text(args.by), reason: text(args.reason), until };
    let declared: Declaration = connect(globals).await?.call(Operation::BreakGlass(declared)).await?;
    if globals.json {
        return print_json(&declared);
    }
    let Declaration { id, destination, until, .. } = declared;
    say!("{id}: the record is open to {destination} until {}", table::time(until))?;
    say!("What was denied before is not sent by itself: `tributary replay --patient ID` sends what is now permitted.")?;
    Ok(())
}

async fn declared(globals: &Globals) -> Outcome {
    let declared: Vec<Declaration> = connect(globals).await?.call(Operation::BreakGlasses).await?;
    if globals.json {
        return print_json(&declared);
    }
    let rows = declared.into_iter().map(|one| {
        let Declaration { id, destination, by, reason, at, until, .. } = one;
        [id.to_string(), destination, reason, table::time(at), table::time(until), by]
    });
    table::print(["id", "to", "reason", "from", "until", "by"], rows, "No emergency was declared.")?;
    Ok(())
}
