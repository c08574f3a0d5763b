//! `tributary send`: HL7 v2 files to any MLLP receiver, showing what it answers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use channels::mllp::{Client, ClientConfig};
use channels::setting::Span;
use message::hl7v2::Header;
use message::hl7v2::ack::Acknowledgment;
use message::hl7v2::batch::Batch;

use super::operate::print_json;
use super::{Failure, Globals, Outcome, table};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Files with one message each, or batches (FHS, BHS, several MSH).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The receiver.
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// How long to wait for each acknowledgment.
    #[arg(long, default_value = "30s", value_parser = span)]
    timeout: Span,
    /// Print each acknowledgment as it came.
    #[arg(long)]
    raw: bool,
}

fn span(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned())
}

/// What came of one message.
#[derive(serde::Serialize)]
struct Sent {
    file: String,
    control_id: String,
    code: String,
    text: String,
    millis: u128,
}

pub(super) async fn send(globals: &Globals, args: Args) -> Outcome {
    let config = ClientConfig { answer_timeout: args.timeout.0, ..ClientConfig::default() };
    let mut client = Client::connect(&args.to, config).await.with_context(|| format!("cannot reach {}", args.to))?;
    let mut sent = Vec::new();
    for file in &args.files {
        let bytes = Bytes::from(std::fs::read(file).with_context(|| file.display().to_string())?);
        for message in messages(&bytes) {
            let began = Instant::now();
            let answer = client.exchange(&message).await.with_context(|| file.display().to_string())?;
            if args.raw && !globals.json {
                println!("{}", String::from_utf8_lossy(&answer).replace('\r', "\n").trim_end());
            }
            sent.push(judged(file.display().to_string(), &message, &answer, began.elapsed()));
        }
    }
    let refused = sent.iter().any(|sent| !matches!(sent.code.as_str(), "AA" | "CA"));
    if globals.json {
        print_json(&sent)?;
    } else {
        let rows = sent.into_iter().map(|Sent { file, control_id, code, text, millis }| {
            [file, control_id, code, text, format!("{millis} ms")]
        });
        table::print(["file", "control id", "answer", "text", "took"], rows, "Nothing was sent.");
    }
    if refused { Err(Failure::No) } else { Ok(()) }
}

/// The messages of a file; a file that is no HL7 goes out as it is, for receivers to refuse.
fn messages(bytes: &Bytes) -> Vec<Bytes> {
    let batch = Batch::split(bytes);
    if batch.messages.is_empty() { vec![bytes.clone()] } else { batch.messages }
}

fn judged(file: String, message: &[u8], answer: &[u8], took: Duration) -> Sent {
    let control_id = Header::read(message).control_id().into_owned();
    let millis = took.as_millis();
    match Acknowledgment::read(answer) {
        Ok(acknowledgment) => {
            let ours = acknowledgment.answers(&Header::read(message));
            let note = if ours { "" } else { " (its MSA-2 names another message)" };
            let text = format!("{}{note}", acknowledgment.text.unwrap_or_default());
            Sent { file, control_id, code: acknowledgment.code.to_string(), text, millis }
        }
        Err(fault) => Sent { file, control_id, code: "?".into(), text: format!("no acknowledgment: {fault}"), millis },
    }
}
