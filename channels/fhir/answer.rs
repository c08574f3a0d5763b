//! One answer of the server, read under limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode, Url};

use super::{retry_after, transport};
use crate::Receipt;

/// A status and a body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    /// Where a redirect leads: scheme, host and port.
    pub(super) leads_to: Option<String>,
    /// True if it names a version of a resource that it keeps.
    pub(super) names_version: bool,
    /// What the body says that it is, in a word of ours.
    pub(super) media: &'static str,
    pub(super) body: Bytes,
    /// Why the body is not whole, if it is not.
    pub(super) cut: Option<String>,
}

impl Answer {
    /// Reads `response`, at most `limit` bytes of it, at `now`.
    pub(super) async fn read(response: Response, limit: usize, now: Timestamp) -> Self {
        let headers = response.headers();
        let mut answer = Self {
            status: response.status(),
            retry_after: retry_after::read(headers, now),
            leads_to: origin_of_location(headers),
            names_version: headers.contains_key(LOCATION) || headers.contains_key(ETAG),
            media: media(headers),
            body: Bytes::new(),
            cut: None,
        };
        (answer.body, answer.cut) = collect(response, limit).await;
        answer
    }

    /// `422 Unprocessable Entity`, in our own words.
    pub(super) fn status_line(&self) -> String {
        status_line(self.status)
    }

    /// The answer, kept, with what it comes to.
    pub(super) fn receipt(self, summary: String) -> Receipt {
        Receipt { summary, answer: self.body }
    }
}

/// A status with its reason phrase of RFC 9110; a server's own phrase is not repeated.
pub(super) fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// The body, and why it is not whole.
async fn collect(mut response: Response, limit: usize) -> (Bytes, Option<String>) {
    let mut body = match next(&mut response).await {
        Ok(Some(first)) if first.len() <= limit => first,
        Ok(None) => return (Bytes::new(), None),
        Ok(Some(_)) => return (Bytes::new(), Some(too_long(limit))),
        Err(cut) => return (Bytes::new(), Some(cut)),
    };
    let mut more: Option<BytesMut> = None;
    let cut = loop {
        match next(&mut response).await {
            Ok(None) => break None,
            Err(cut) => break Some(cut),
            Ok(Some(chunk)) => {
                let whole = more.get_or_insert_with(|| BytesMut::from(&*std::mem::take(&mut body)));
                if whole.len() + chunk.len() > limit {
                    break Some(too_long(limit));
                }
                whole.extend_from_slice(&chunk);
            }
        }
    };
    (more.map_or(body, BytesMut::freeze), cut)
}

async fn next(response: &mut Response) -> Result<Option<Bytes>, String> {
    response.chunk().await.map_err(|error| format!("its body broke off: {}", transport::reason(&error)))
}

fn too_long(limit: usize) -> String {
    format!("its body is longer than max_answer_bytes, {limit}")
}

fn origin_of_location(headers: &HeaderMap) -> Option<String> {
    let url = Url::parse(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    Some(url.origin().ascii_serialization())
}

fn media(headers: &HeaderMap) -> &'static str {
    let said = headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or_default();
    match said.split(';').next().map(str::trim).unwrap_or_default() {
        "" => "something without a Content-Type",
        "text/html" => "an HTML page",
        "text/plain" => "plain text",
        "application/fhir+xml" | "application/xml" | "text/xml" => "XML",
        "application/fhir+json" | "application/json" => "other JSON",
        _ => "something else",
    }
}
