//! One place that the audit is taken to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use channels::{Clock, DeliveryError, Outbound as _, Outgoing, fhir, syslog};
use jiff::Timestamp;
use message::audit::{Event, Kind, Observer, Outcome};
use message::{Format, MessageId};
use serde_json::{Value, json};

use super::super::line::Checkpoint;
use super::super::tail::Told;
use super::super::{AuditError, checkpoint_event};
use super::cursor::{Reached, Refused, replace};
use crate::config::{AuditConfig, By};

/// Most messages in one connection of syslog.
const SYSLOG_BATCH: usize = 500;
/// Receivers of DICOM's audit messages take so many bytes at least (DICOM PS3.15 A.6).
const SYSLOG_BYTES: usize = 32_768;
/// What a header, its frame and the rest of an XML may take beside a text that is cut.
const ROOM: usize = 1024;

/// One place that the audit is taken to.
pub struct Target {
    observer: Observer,
    kind: Kinds,
}

enum Kinds {
    Repository { outbound: Box<fhir::Outbound>, by: By, batch: usize },
    Syslog(syslog::Sender),
    Anchors(PathBuf),
}

/// What is taken there.
pub(super) enum Item {
    Line(Box<Told>),
    Checkpoint {
        /// As it is written.
        text: String,
        checkpoint: Checkpoint,
        /// Where it ends in its file.
        end: u64,
    },
}

impl Item {
    pub(super) fn reached(&self) -> Reached {
        match self {
            Self::Line(told) => Reached::Line(told.seq, told.hash),
            Self::Checkpoint { checkpoint, end, .. } => Reached::Checkpoint(*end, checkpoint.seq),
        }
    }

    pub(super) fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Line(told) => Some(told.event.as_ref()?.at),
            Self::Checkpoint { checkpoint, .. } => Some(checkpoint.at),
        }
    }

    fn line(&self) -> u64 {
        match self {
            Self::Line(told) => told.seq,
            Self::Checkpoint { checkpoint, .. } => checkpoint.seq,
        }
    }

    fn event(&self) -> Option<Event> {
        match self {
            Self::Line(told) => told.event.clone(),
            Self::Checkpoint { text, checkpoint, .. } => Some(checkpoint_event(text, checkpoint)),
        }
    }
}

/// Why something could not be sent.
#[derive(Debug)]
pub(super) struct Failure {
    /// Without anything of the content.
    pub(super) reason: String,
    /// When the other side asks to be tried again.
    pub(super) retry_after: Option<Duration>,
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self { reason: format!("{error}{cause}"), retry_after: None }
    }
}

impl From<DeliveryError> for Failure {
    fn from(error: DeliveryError) -> Self {
        let retry_after = match &error {
            DeliveryError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        };
        Self {
            reason: error.to_string().replace("destination", "repository").replace("the message", "it"),
            retry_after,
        }
    }
}

impl Target {
    /// All that a site names. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if a certificate or key cannot be read.
    pub fn all(config: &AuditConfig, observer: &Observer, clock: &Clock) -> Result<Vec<Self>, AuditError> {
        let wrong = |error: channels::ChannelError| AuditError::Key(error.to_string());
        let mut kinds = Vec::new();
        if let Some(repository) = &config.repository {
            let outbound = fhir::Outbound::new(repository.outbound(), clock.clone()).map_err(wrong)?;
            kinds.push(Kinds::Repository {
                outbound: Box::new(outbound),
                by: repository.by,
                batch: repository.batch.get(),
            });
        }
        if let Some(syslog) = &config.syslog {
            kinds.push(Kinds::Syslog(syslog::Sender::new(syslog.clone()).map_err(wrong)?));
        }
        kinds.extend(config.anchors.clone().map(Kinds::Anchors));
        Ok(kinds.into_iter().map(|kind| Self { observer: observer.clone(), kind }).collect())
    }

    /// `repository`, `syslog` or `anchors`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kinds::Repository { .. } => "repository",
            Kinds::Syslog(_) => "syslog",
            Kinds::Anchors(_) => "anchors",
        }
    }

    /// Reaches it without sending anything.
    ///
    /// # Errors
    ///
    /// Why it is not reached, for a person.
    pub async fn probe(&self) -> Result<String, String> {
        match &self.kind {
            Kinds::Repository { outbound, .. } => outbound.probe().await.map_err(|error| Failure::from(error).reason),
            Kinds::Syslog(sender) => sender.probe().await.map_err(|error| Failure::from(error).reason),
            Kinds::Anchors(folder) => {
                let file = folder.join(".probe.tmp");
                let tried = std::fs::write(&file, b"").and_then(|()| std::fs::remove_file(&file));
                let tried = tried.map(|()| "can be written".to_owned());
                tried.map_err(|error| format!("cannot write to {}: {error}", folder.display()))
            }
        }
    }

    /// True if it takes more than checkpoints.
    pub(super) fn takes_lines(&self) -> bool {
        !matches!(self.kind, Kinds::Anchors(_))
    }

    /// Most lines at once.
    pub(super) fn batch(&self) -> usize {
        match &self.kind {
            Kinds::Repository { batch, .. } => *batch,
            Kinds::Syslog(_) | Kinds::Anchors(_) => SYSLOG_BATCH,
        }
    }

    /// Sends them, once: those that it refused for good, while it took the others.
    pub(super) async fn send(&self, items: &[Item]) -> Result<Vec<Refused>, Failure> {
        match &self.kind {
            Kinds::Repository { outbound, by, .. } => self.to_repository(outbound, *by, items).await,
            Kinds::Syslog(sender) => {
                let frames: Vec<Vec<u8>> =
                    items.iter().filter_map(Item::event).map(|event| self.frame(event)).collect();
                sender.send(&frames).await?;
                Ok(Vec::new())
            }
            Kinds::Anchors(folder) => {
                let drops = items.iter().filter_map(|item| match item {
                    Item::Checkpoint { text, checkpoint, .. } => {
                        Some((file_of(folder, checkpoint), format!("{text}\n")))
                    }
                    Item::Line(_) => None,
                });
                let drops: Vec<(PathBuf, String)> = drops.collect();
                let what = format!("cannot write to {}", folder.display());
                // The folder may be on another machine, which takes its time.
                let dropped =
                    tokio::task::spawn_blocking(move || drops.iter().try_for_each(|(path, text)| drop_at(path, text)));
                let dropped = dropped.await.map_err(std::io::Error::other).and_then(|dropped| dropped);
                dropped.map_err(AuditError::io(what))?;
                Ok(Vec::new())
            }
        }
    }

    async fn to_repository(&self, outbound: &fhir::Outbound, by: By, items: &[Item]) -> Result<Vec<Refused>, Failure> {
        let events: Vec<(u64, Event)> = items.iter().filter_map(|item| Some((item.line(), item.event()?))).collect();
        let Some((line, first)) = events.first() else { return Ok(Vec::new()) };
        let entries: Vec<Value> = events.iter().map(|(_, event)| self.entry(event, by)).collect();
        let bundle = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
        let outgoing = Outgoing {
            message: MessageId(first.id),
            delivery: *line,
            attempt: 0,
            format: Format::FhirJson,
            bytes: Bytes::from(bundle.to_string()),
            transaction: None,
            unsigned: None,
            names: Vec::new(),
        };
        match outbound.deliver(&outgoing).await {
            Ok(_) => Ok(Vec::new()),
            Err(DeliveryError::Partly { receipt, rest, refused: true }) => {
                let rest: Value = serde_json::from_slice(&rest).unwrap_or_default();
                let left = rest.get("entry").and_then(Value::as_array).into_iter().flatten();
                let left: Vec<&str> = left.filter_map(|entry| entry.get("fullUrl")?.as_str()).collect();
                let is_left = |event: &Event| left.contains(&full_url(event).as_str());
                let refused = events.iter().filter(|(_, event)| is_left(event));
                Ok(refused.map(|(line, _)| Refused { line: *line, reason: receipt.summary.clone() }).collect())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// An entry of the batch (IHE ITI-20, Send Audit Bundle).
    fn entry(&self, event: &Event, by: By) -> Value {
        let mut resource = event.into_r4(&self.observer);
        let request = match by {
            By::Update => json!({ "method": "PUT", "url": format!("AuditEvent/{}", event.id) }),
            By::Create => {
                // It gets an id of the repository's: its own is a tag, by which it is found.
                let system = format!("{}/audit-event", self.observer.base_uri);
                let tag = json!({ "system": system, "code": event.id.to_string() });
                if let Some(resource) = resource.as_object_mut() {
                    resource.shift_remove("id");
                    if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
                        meta.insert("tag".into(), json!([tag]));
                    }
                }
                let query = form_urlencoded::Serializer::new(String::new())
                    .append_pair("_tag", &format!("{system}|{}", event.id))
                    .finish();
                json!({ "method": "POST", "url": "AuditEvent", "ifNoneExist": query })
            }
        };
        json!({ "fullUrl": full_url(event), "resource": resource, "request": request })
    }

    /// A DICOM audit message in a frame of syslog (ITI TF-2 3.20.4.1.2).
    fn frame(&self, event: Event) -> Vec<u8> {
        let severity =
            if event.outcome == Outcome::Success { syslog::Severity::Notice } else { syslog::Severity::Warning };
        let host = self.observer.base_uri.split("://").nth(1).unwrap_or(&self.observer.name);
        let header = syslog::Header {
            severity,
            at: event.at,
            host: host.split(['/', ':']).next().unwrap_or_default().to_owned(),
            app: "tributary".to_owned(),
            process: std::process::id().to_string(),
            message_id: "IHE+RFC-3881".to_owned(),
        };
        let text = event.into_dicom(&self.observer);
        let excess = (text.len() + ROOM).saturating_sub(SYSLOG_BYTES);
        if excess == 0 || event.kind == Kind::Checkpoint {
            return header.frame(&text);
        }
        // A text for people can be of any length: what does not fit is in the chain.
        let room = event.text.len().saturating_sub(excess);
        let fits = event.text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c);
        let cut: String = fits.chain(['…']).collect();
        header.frame(&Event { text: cut, ..event }.into_dicom(&self.observer))
    }
}

fn full_url(event: &Event) -> String {
    format!("urn:uuid:{}", event.id)
}

/// Where a checkpoint is dropped: a folder a day, and a name that no other checkpoint has.
fn file_of(folder: &Path, checkpoint: &Checkpoint) -> PathBuf {
    let digits = checkpoint.hash.0.to_string();
    let name = format!("{:020}-{}.json", checkpoint.seq, digits.get(..12).unwrap_or(&digits));
    folder.join(checkpoint.at.strftime("%Y-%m-%d").to_string()).join(name)
}

/// Writes a file that is there whole or not at all. The folder itself must be there: a mount that is away is none.
fn drop_at(path: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    if let Some(day) = path.parent().filter(|day| !day.is_dir()) {
        std::fs::create_dir(day)?;
    }
    replace(path, text.as_bytes())
}
