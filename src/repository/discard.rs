//! The fast peer: answers as if all was written, and keeps nothing.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;

use super::outcome::Refusal;

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
}

/// The answer to a transaction or batch: one `response` for each `request`. The resources are read
/// as far as JSON goes, and not looked at.
///
/// # Errors
///
/// 400 if it is no Bundle.
pub(super) fn answer(body: &[u8]) -> Result<String, Refusal> {
    let bundle: Bundle<'_> = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("not a Bundle: line {}, column {}", error.line(), error.column())))?;
    if bundle.resource_type != "Bundle" {
        return Err(Refusal::invalid("only a Bundle can be posted to the base"));
    }
    let mut out = String::with_capacity(64 + bundle.entry.len() * 96);
    out.push_str(r#"{"resourceType":"Bundle","type":"transaction-response","entry":["#);
    for (index, entry) in bundle.entry.iter().enumerate() {
        let request = entry.request.as_ref().ok_or_else(|| {
            Refusal::invalid("an entry of a transaction or batch has a request (bdl-3)")
                .at(|| format!("Bundle.entry[{index}]"))
        })?;
        let separator = if index == 0 { "" } else { "," };
        write_response(&mut out, separator, index, request);
    }
    out.push_str("]}");
    Ok(out)
}

fn write_response(out: &mut String, separator: &str, index: usize, request: &Request<'_>) {
    let (path, _) = request.url.split_once('?').unwrap_or((&request.url, ""));
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-.".contains(&b));
    let path = if is_plain { path } else { "Basic" };
    let id = if path.contains('/') { String::new() } else { format!("/{}", index + 1) };
    let status = if request.method == "POST" { "201 Created" } else { "200 OK" };
    let response = write!(
        out,
        r#"{separator}{{"response":{{"status":"{status}","location":"{path}{id}/_history/1","etag":"W/\"1\""}}}}"#
    );
    debug_assert!(response.is_ok(), "writing to a String cannot fail");
}
