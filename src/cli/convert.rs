//! `tributary convert`: HL7 v2 files to FHIR, and FHIR between JSON and XML, without a running engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use message::fhir::xml;
use message::hl7v2::batch::Batch;
use message::hl7v2::{self, CharsetOptions};
use message::json::{Value, json};
use message::{Body, Finding, Message, MessageId, Original, Provider, Sha256, consent::Flags};
use message::{Format, Transform as _};
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir};
use transforms::stamp::{StampOptions, Stamper};

use super::print::note;
use super::{Failure, Globals, Outcome};
use crate::engine::{ENGINE, clock};

#[derive(clap::Args)]
#[command(after_help = "No engine is needed, and nothing is stored. The exit code is 1 if a message was refused.

  tributary convert examples/messages/adt-a01.hl7 | head -40
  tributary convert night/*.hl7 --out bundles/        one file for each: NAME.json, NAME-2.json, …
  tributary convert oru.hl7 --report                  what no table took: the work list of an analyst
  tributary convert oru.hl7 --to xml                  FHIR XML; FHIR files change their form alone
  tributary convert bundle.xml > bundle.json
  tributary convert oru.hl7 --maps my-site/maps/st-mary --time-zone America/Chicago")]
pub(super) struct Args {
    /// Files with one message each, or batches (FHS, BHS, several MSH); or with one FHIR resource, in JSON or XML.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Write FHIR in this form.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    to: Form,
    /// Write NAME.json (NAME.xml) into this folder for each, instead of printing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Add what was not mapped or translated.
    #[arg(long)]
    report: bool,
    /// A folder of the site's own mapping tables, over the built-in ones.
    #[arg(long, value_name = "DIR")]
    maps: Option<PathBuf>,
    /// What a channel may choose, such as `next_of_kin=contact`; may be said several times.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// The zone of times that carry no offset.
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    time_zone: String,
    /// Without provenance, labels and flags: the mapping alone.
    #[arg(long)]
    bare: bool,
}

/// The forms of FHIR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    #[default]
    Json,
    Xml,
}

/// The pieces of a conversion.
struct Converter {
    transform: Hl7v2ToFhir,
    stamper: Option<Stamper>,
    context: message::Context,
}

pub(super) fn convert(_: &Globals, args: &Args) -> Outcome {
    if args.report && args.to == Form::Xml {
        return Err(anyhow::anyhow!("a report is JSON: leave --to xml or --report out").into());
    }
    let converter = Converter::new(args)?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    }
    let mut refused = false;
    for file in &args.files {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                note!("{}: cannot be read: {error}", file.display());
                refused = true;
                continue;
            }
        };
        if let Some(read) = super::validate::resource_of(&bytes) {
            let emitted = read.map_err(anyhow::Error::msg).and_then(|read| {
                if read.comments > 0 {
                    note!("{}: comments that FHIR JSON has no place for: {}", file.display(), read.comments);
                }
                emit(args, file, 0, &read.resource)
            });
            if let Err(reason) = emitted {
                note!("{}: {reason:#}", file.display());
                refused = true;
            }
            continue;
        }
        let parts = parts(&bytes);
        let count = parts.len();
        for (number, part) in parts.into_iter().enumerate() {
            match converter.convert(part) {
                Ok((bundle, findings)) => {
                    let printed = if args.report { json!({ "bundle": bundle, "findings": findings }) } else { bundle };
                    emit(args, file, number, &printed)?;
                }
                Err(reason) => {
                    let which = if count > 1 { format!("message {} of {count}: ", number + 1) } else { String::new() };
                    note!("{}: {which}{reason}", file.display());
                    refused = true;
                }
            }
        }
    }
    if refused { Err(Failure::No) } else { Ok(()) }
}

/// The messages of a file, or the file itself where none can be told apart.
fn parts(bytes: &Bytes) -> Vec<Bytes> {
    let batch = Batch::split(bytes);
    if batch.messages.is_empty() { vec![bytes.clone()] } else { batch.messages }
}

/// Prints a result, or writes it: `NAME.json`, `NAME-2.json` for the second message of a file.
fn emit(args: &Args, file: &Path, number: usize, value: &Value) -> anyhow::Result<()> {
    let (text, extension) = match args.to {
        Form::Json => (format!("{value:#}\n"), "json"),
        Form::Xml => (xml::write(value).map_err(anyhow::Error::msg)?, "xml"),
    };
    let Some(out) = &args.out else {
        return Ok(super::print::bytes(text.as_bytes())?);
    };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = if number == 0 { format!("{stem}.{extension}") } else { format!("{stem}-{}.{extension}", number + 1) };
    let path = out.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

impl Converter {
    fn new(args: &Args) -> Result<Self, Failure> {
        let options = super::maps::options(&args.options)?;
        let maps = hl7v2_to_fhir::load(args.maps.as_deref(), &options).map_err(|errors| {
            errors.iter().for_each(|error| note!("error: {error}"));
            Failure::Config
        })?;
        let time_zone = jiff::tz::TimeZone::get(&args.time_zone).map_err(|_| {
            anyhow::anyhow!("there is no time zone `{}`; write it like America/Chicago", args.time_zone)
        })?;
        let context = message::Context {
            now: clock::now(),
            provider: Arc::new(Provider { key: "sender".into(), name: "Sender".into(), ..Provider::default() }),
            engine: ENGINE.into(),
            base_uri: "urn:tributary".into(),
            time_zone,
        };
        let stamper = Stamper::new(&context, Flags::default(), &StampOptions::default())?;
        let stamper = (!args.bare).then_some(stamper);
        Ok(Self { transform: Hl7v2ToFhir::new(maps, options), stamper, context })
    }

    fn convert(&self, bytes: Bytes) -> Result<(Value, Vec<Finding>), String> {
        let (read, findings) =
            hl7v2::Message::read(bytes.clone(), &CharsetOptions::default()).map_err(|fault| fault.to_string())?;
        let original = Original {
            // The same message gives the same Bundle: no id of this run goes into it.
            id: MessageId(uuid::Uuid::nil()),
            channel: "convert".into(),
            received: self.context.now,
            peer: "".into(),
            format: Format::Hl7v2,
            sha256: Sha256::of(&bytes),
            bytes,
            beside: bytes::Bytes::new(),
            control_id: None,
        };
        let mut message = Message::new(Arc::new(original), Body::Hl7v2(read), Flags::default());
        message.findings = findings;
        let mut message = self.transform.apply(message, &self.context).map_err(|error| error.to_string())?;
        if let Some(stamper) = &self.stamper {
            message = stamper.stamp(message, self.context.now).map_err(|error| error.to_string())?;
        }
        match message.body {
            Body::Fhir(bundle) => Ok((bundle, message.findings)),
            Body::Hl7v2(_) => Err("the transform left HL7 v2".to_owned()),
        }
    }
}
