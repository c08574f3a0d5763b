//! `[outbound.fhir]`: the settings of a FHIR server as a destination.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::Credentials;
use crate::setting::{Secret, Size, Span};

/// A FHIR R4 server: `[outbound.fhir]` in a destination's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundConfig {
    /// The server's base, such as `"https://ehr.example.org/fhir"`.
    pub url: BaseUrl,
    /// How messages are sent.
    #[serde(default)]
    pub mode: Mode,
    /// Where message Bundles go if `mode` is `as-is`.
    #[serde(default)]
    pub messages: MessageEndpoint,
    /// How much the server is asked to answer.
    #[serde(default)]
    pub prefer: Prefer,
    /// True if a success without a body is to count as delivered, for servers that answer
    /// transactions with nothing. Such a server cannot be told from a misdirected `url`.
    #[serde(default)]
    pub accept_empty: bool,
    /// What we show the server: basic or bearer.
    #[serde(default)]
    pub auth: Option<Credentials>,
    /// More headers for every request.
    #[serde(default)]
    pub headers: Headers,
    /// Longest time to connect, TLS handshake included.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// Longest time from sending to the answer's last byte.
    #[serde(default = "answer_timeout")]
    pub answer_timeout: Span,
    /// How long an unused connection is kept. Shorter than the server's own limit, or the first
    /// message after a pause may meet a connection that is being closed.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Span,
    /// Most connections at once.
    #[serde(default = "connections")]
    pub connections: NonZeroUsize,
    /// Longest answer read, in bytes.
    #[serde(default = "max_answer_bytes")]
    pub max_answer_bytes: Size,
    /// Certificates, in PEM, of the authorities trusted for this server, in place of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its private key, in PEM, for servers that ask for one.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
}

fn connect_timeout() -> Span {
    Span(Duration::from_secs(10))
}

fn answer_timeout() -> Span {
    Span(Duration::from_secs(60))
}

fn idle_timeout() -> Span {
    Span(Duration::from_secs(15))
}

fn connections() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(31)
}

fn max_answer_bytes() -> Size {
    Size(16 << 20)
}

/// How messages are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As one transaction, all or nothing. A batch is made a transaction; a single resource is wrapped.
    #[default]
    Transaction,
    /// As one batch, each entry for itself: only what failed is tried again. A transaction is made a
    /// batch, which suits only entries that do not refer to each other.
    Batch,
    /// Unchanged: transactions and batches to the base, documents and collections to `Bundle`,
    /// messages where [`MessageEndpoint`] says, other resources to their type.
    AsIs,
}

/// Where message Bundles go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageEndpoint {
    /// To `$process-message` (FHIR R4 §2.4): the answer's `MessageHeader.response.code` decides.
    #[default]
    ProcessMessage,
    /// To `Bundle`, to be kept as it is.
    Bundle,
}

/// How much the server is asked to answer: `Prefer: return=…` (FHIR R4 §3.1.0.1.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// Statuses only: the least work for both.
    #[default]
    Minimal,
    /// The resources as the server has them now.
    Representation,
    /// An OperationOutcome with hints and warnings.
    OperationOutcome,
}

impl OutboundConfig {
    /// A server at `url` that takes batches, with the defaults for all else.
    #[must_use]
    pub fn batches(url: BaseUrl) -> Self {
        Self {
            url,
            mode: Mode::Batch,
            messages: MessageEndpoint::default(),
            prefer: Prefer::default(),
            accept_empty: false,
            auth: None,
            headers: Headers::default(),
            connect_timeout: connect_timeout(),
            answer_timeout: answer_timeout(),
            idle_timeout: idle_timeout(),
            connections: connections(),
            max_answer_bytes: max_answer_bytes(),
            ca_file: None,
            identity_file: None,
        }
    }
}

impl Prefer {
    /// The header's value.
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Minimal => "return=minimal",
            Self::Representation => "return=representation",
            Self::OperationOutcome => "return=OperationOutcome",
        })
    }
}

/// The URL of a FHIR base: `http` or `https`, without query, fragment or credentials.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// As it is written, but for what a URL's normal form changes: `https://ehr.example.org/fhir`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The base itself.
    pub(crate) fn root(&self) -> &Url {
        &self.0
    }

    /// `segments` under the base: `metadata`, or `Patient` and an id.
    pub(crate) fn join(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        // Only a URL that has no host has no segments, and this one has.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// True if it is reached by TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}; write the FHIR base like \"https://ehr.example.org/fhir\"");
        let url = Url::parse(&text).map_err(|error| wrong(&format!("no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("a FHIR server is reached by http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("credentials belong into `auth`, not into the URL"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("a base has neither query nor fragment"));
        }
        Ok(Self(url))
    }
}

impl std::fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A table of headers, name to value. Values may be secret: they never print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Secret>")]
pub struct Headers(HeaderMap);

/// The headers that this channel sets itself.
const OWN: [&str; 9] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "prefer",
    "transfer-encoding",
    "x-request-id",
];

impl Headers {
    pub(crate) fn map(&self) -> &HeaderMap {
        &self.0
    }
}

impl TryFrom<BTreeMap<String, Secret>> for Headers {
    type Error = String;

    fn try_from(table: BTreeMap<String, Secret>) -> Result<Self, String> {
        table.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>().map(Self)
    }
}

fn header(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), String> {
    let key = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no name of a header"))?;
    if OWN.contains(&key.as_str()) {
        return Err(format!("the header `{name}` is set by the engine"));
    }
    let mut value = HeaderValue::try_from(value.reveal())
        .map_err(|_| format!("the value of `{name}` is none for a header: look for a line end in it"))?;
    value.set_sensitive(true);
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check_wrong(settings: &str, expected: Expect) {
        let error = toml::from_str::<OutboundConfig>(settings).unwrap_err();
        expected.assert_eq(error.message());
    }

    #[track_caller]
    fn check_urls(url: &str, expected: Expect) {
        let base = BaseUrl::try_from(url.to_owned()).unwrap();
        expected.assert_eq(&format!("{} {}", base.root(), base.join(&["Patient", "a.1"])));
    }

    #[test]
    fn needs_a_url_only() {
        let config: OutboundConfig = toml::from_str(r#"url = "https://ehr.example.org/fhir""#).unwrap();
        expect![[r#"
            OutboundConfig {
                url: https://ehr.example.org/fhir,
                mode: Transaction,
                messages: ProcessMessage,
                prefer: Minimal,
                accept_empty: false,
                auth: None,
                headers: Headers(
                    {},
                ),
                connect_timeout: 10s,
                answer_timeout: 60s,
                idle_timeout: 15s,
                connections: 32,
                max_answer_bytes: 16777216 bytes,
                ca_file: None,
                identity_file: None,
            }
        "#]]
        .assert_debug_eq(&config);
    }

    #[test]
    fn joins_paths_to_a_base() {
        check_urls("http://ehr:8080", expect!["http://ehr:8080/ http://ehr:8080/Patient/a.1"]);
        check_urls(
            "https://ehr.example.org/fhir",
            expect!["https://ehr.example.org/fhir https://ehr.example.org/fhir/Patient/a.1"],
        );
        check_urls(
            "https://ehr.example.org/fhir/",
            expect!["https://ehr.example.org/fhir/ https://ehr.example.org/fhir/Patient/a.1"],
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        check_wrong(
            r#"url = "ehr.example.org""#,
            expect![[
                r#"no URL: relative URL without a base; write the FHIR base like "https://ehr.example.org/fhir""#
            ]],
        );
        check_wrong(
            r#"url = "ftp://ehr.example.org""#,
            expect![[
                r#"a FHIR server is reached by http or https; write the FHIR base like "https://ehr.example.org/fhir""#
            ]],
        );
        check_wrong(
            r#"url = "https://emr:pass@ehr.example.org""#,
            expect![[
                r#"credentials belong into `auth`, not into the URL; write the FHIR base like "https://ehr.example.org/fhir""#
            ]],
        );
        check_wrong(
            r#"url = "https://ehr.example.org/fhir?x=1""#,
            expect![[
                r#"a base has neither query nor fragment; write the FHIR base like "https://ehr.example.org/fhir""#
            ]],
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_header() {
        let with = |headers: &str| format!("url = \"http://ehr\"\nheaders = {{ {headers} }}");
        check_wrong(&with(r#""X Y" = "1""#), expect!["`X Y` is no name of a header"]);
        check_wrong(&with(r#"Host = "a""#), expect!["the header `Host` is set by the engine"]);
        check_wrong(
            &with(r#"X-Key = "s3cret\n""#),
            expect!["the value of `X-Key` is none for a header: look for a line end in it"],
        );
    }

    #[test]
    fn headers_never_print_their_values() {
        let config: OutboundConfig = toml::from_str("url = \"http://ehr\"\nheaders.X-Key = \"s3cret\"").unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
        assert_eq!(config.headers.map()["x-key"], "s3cret");
    }
}
