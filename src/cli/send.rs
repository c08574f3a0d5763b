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
use super::print::{self, note, say};
use super::{Failure, Globals, Outcome, table};

#[derive(clap::Args)]
#[command(
    after_help = "The exit code is 0 if every message was accepted (AA, CA). Files go out byte by byte as they are.

  tributary send examples/messages/adt-a01.hl7 --to 127.0.0.1:2575
  tributary send night/*.hl7 --to emr.example.org:6661 --timeout 2m --json"
)]
pub(super) struct Args {
    /// Files with one message each, or batches (FHS, BHS, several MSH).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The receiver.
    #[arg(long, value_name = "HOST:PORT", value_parser = receiver)]
    to: String,
    /// How long to wait for each acknowledgment.
    #[arg(long, default_value = "30s", value_parser = span, value_name = "TIME")]
    timeout: Span,
    /// Print each acknowledgment as it came.
    #[arg(long)]
    raw: bool,
}

fn receiver(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    let named = port.is_some_and(|port| port > 0);
    if named { Ok(text.to_owned()) } else { Err("write host and port, such as emr.example.org:2575".to_owned()) }
}

fn span(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned())
}

/// A message to send, and where it is from.
struct Letter {
    file: String,
    message: Bytes,
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
    // Read before anything is sent: a file that is not there must not leave half of them sent.
    let letters = letters(&args.files)?;
    let config = ClientConfig { answer_timeout: args.timeout.0, ..ClientConfig::default() };
    let mut client = Client::connect(&args.to, config).await.with_context(|| format!("cannot send to {}", args.to))?;
    let mut sent = Vec::new();
    let mut broken = None;
    for Letter { file, message } in &letters {
        let began = Instant::now();
        match client.exchange(message).await {
            Ok(answer) => {
                if args.raw && !globals.json {
                    say!("{}", print::readable(&answer))?;
                }
                sent.push(judged(file.clone(), message, &answer, began.elapsed()));
            }
            // Whether it was taken is not known, and the connection is of no more use.
            Err(error) => {
                broken = Some(format!("{file}: message {} of {}: {error}", sent.len() + 1, letters.len()));
                break;
            }
        }
    }
    let refused = sent.iter().any(|sent| !matches!(sent.code.as_str(), "AA" | "CA"));
    print(globals, sent)?;
    if let Some(broken) = &broken {
        note!("error: {broken}; those after it were not sent");
    }
    if refused || broken.is_some() { Err(Failure::No) } else { Ok(()) }
}

fn letters(files: &[PathBuf]) -> anyhow::Result<Vec<Letter>> {
    let mut letters = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let bytes = Bytes::from(std::fs::read(file).with_context(|| format!("cannot read {name}"))?);
        letters.extend(messages(&bytes).into_iter().map(|message| Letter { file: name.clone(), message }));
    }
    Ok(letters)
}

/// The messages of a file; a file that is no HL7 goes out as it is, for receivers to refuse.
fn messages(bytes: &Bytes) -> Vec<Bytes> {
    let batch = Batch::split(bytes);
    if batch.messages.is_empty() { vec![bytes.clone()] } else { batch.messages }
}

fn print(globals: &Globals, sent: Vec<Sent>) -> Outcome {
    if globals.json {
        return print_json(&sent);
    }
    let rows = sent
        .into_iter()
        .map(|Sent { file, control_id, code, text, millis }| [file, control_id, code, format!("{millis} ms"), text]);
    Ok(table::print(["file", "control id", "answer", "took", "text"], rows, "Nothing was acknowledged.")?)
}

fn judged(file: String, message: &[u8], answer: &[u8], took: Duration) -> Sent {
    let header = Header::read(message);
    let control_id = header.control_id().into_owned();
    let millis = took.as_millis();
    match Acknowledgment::read(answer) {
        Ok(acknowledgment) => {
            let ours = acknowledgment.answers(&header);
            let note = if ours { "" } else { " (its MSA-2 names another message)" };
            let text = format!("{}{note}", acknowledgment.text.unwrap_or_default());
            Sent { file, control_id, code: acknowledgment.code.to_string(), text, millis }
        }
        Err(fault) => Sent { file, control_id, code: "?".into(), text: format!("no acknowledgment: {fault}"), millis },
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: Expect) {
        let message = b"MSH|^~\\&|EMR|A|B|C|20260131||ADT^A01|42|P|2.5.1\r";
        let Sent { control_id, code, text, .. } = judged("a.hl7".into(), message, answer.as_bytes(), Duration::ZERO);
        expected.assert_eq(&format!("{control_id} {code} {text}"));
    }

    #[test]
    fn a_receiver_has_a_host_and_a_port() {
        for good in ["localhost:2575", "127.0.0.1:1", "[::1]:2575"] {
            assert_eq!(receiver(good).unwrap(), good);
        }
        for bad in ["localhost", "localhost:", ":2575", "localhost:http", "localhost:0", "localhost:70000"] {
            assert!(receiver(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_what_the_receiver_says() {
        check("MSH|^~\\&|B|C|EMR|A|20260131||ACK|1|P|2.5.1\rMSA|AA|42\r", expect!["42 AA "]);
        check("MSH|^~\\&|B|C|EMR|A|20260131||ACK|1|P|2.3\rMSA|AE|42|no bed\r", expect!["42 AE no bed"]);
    }

    #[test]
    fn tells_of_an_acknowledgment_for_another_message() {
        check(
            "MSH|^~\\&|B|C|EMR|A|20260131||ACK|1|P|2.5.1\rMSA|AA|41\r",
            expect!["42 AA  (its MSA-2 names another message)"],
        );
    }

    #[test]
    fn an_answer_without_msa_is_no_acknowledgment() {
        let sent = judged("a.hl7".into(), b"MSH|^~\\&|", b"hello", Duration::ZERO);
        assert_eq!(sent.code, "?");
    }
}
