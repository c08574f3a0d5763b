//! `[inbound.http]`: the settings of a FHIR feed over HTTP.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Size, Span};
use crate::{Acknowledge, Credentials};

/// FHIR over HTTP: `[inbound.http]` in a channel's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundConfig {
    /// Address to listen on, such as `"0.0.0.0:8080"`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The FHIR base's path, such as `"/fhir"`.
    #[serde(default)]
    pub path: BasePath,
    /// Longest body taken, in bytes. A longer one is answered 413.
    #[serde(default = "max_body_bytes")]
    pub max_body_bytes: Size,
    /// Most bytes of bodies held at once, from all clients, until they are on disk. Past it a client
    /// is answered 429. One body of `max_body_bytes` always fits.
    #[serde(default = "max_bytes_in_flight")]
    pub max_bytes_in_flight: Size,
    /// Most connections at once. One more is answered 503 and closed.
    #[serde(default = "max_connections")]
    pub max_connections: NonZeroUsize,
    /// Longest time for a request's head to arrive whole, counted from the last answer; longest
    /// silence within a body; longest time that a client may not read its answer.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Span,
    /// Longest time for a request's body to arrive whole. Past it a client is answered 408.
    #[serde(default = "request_timeout")]
    pub request_timeout: Span,
    /// Longest time that a client waits for its answer once its body is read: first for the disk,
    /// then for what `acknowledge` asks.
    #[serde(default = "answer_timeout")]
    pub answer_timeout: Span,
    /// When a client is answered.
    #[serde(default)]
    pub acknowledge: Acknowledge,
    /// What clients must show, if anything: basic or bearer.
    #[serde(default)]
    pub auth: Option<Credentials>,
}

fn max_body_bytes() -> Size {
    Size(64 << 20)
}

fn max_bytes_in_flight() -> Size {
    Size(128 << 20)
}

fn max_connections() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1023)
}

fn idle_timeout() -> Span {
    Span(Duration::from_secs(60))
}

fn request_timeout() -> Span {
    Span(Duration::from_secs(300))
}

fn answer_timeout() -> Span {
    Span(Duration::from_secs(60))
}

/// The path of a FHIR base: `/`, or segments of letters, digits, `-`, `.`, `_` and `~`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BasePath {
    /// Without a final `/`: the root is empty.
    prefix: String,
}

impl BasePath {
    /// The path of `rest` under this base: `metadata`, `status/{id}`, or nothing for the base itself.
    pub(super) fn join(&self, rest: &str) -> String {
        format!("{}/{rest}", self.prefix)
    }

    /// The base itself, without a final `/` unless it is the root.
    pub(super) fn as_str(&self) -> &str {
        if self.prefix.is_empty() { "/" } else { &self.prefix }
    }
}

impl TryFrom<String> for BasePath {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        let prefix = path.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let legal = prefix.split('/').skip(1).all(|segment| !segment.is_empty() && segment.chars().all(plain));
        if path.starts_with('/') && legal {
            return Ok(Self { prefix: prefix.to_owned() });
        }
        Err(format!("`{path}` is no path for a FHIR base; write it like \"/\" or \"/fhir\""))
    }
}

impl From<BasePath> for String {
    fn from(path: BasePath) -> Self {
        path.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check_path(written: &str, expected: Expect) {
        let read = BasePath::try_from(written.to_owned()).map(|path| (path.as_str().to_owned(), path.join("metadata")));
        expected.assert_eq(&format!("{read:?}"));
    }

    #[test]
    fn reads_a_base_path() {
        check_path("/", expect![[r#"Ok(("/", "/metadata"))"#]]);
        check_path("/fhir/r4/", expect![[r#"Ok(("/fhir/r4", "/fhir/r4/metadata"))"#]]);
        check_path("fhir", expect![[r#"Err("`fhir` is no path for a FHIR base; write it like \"/\" or \"/fhir\"")"#]]);
        check_path(
            "/{id}",
            expect![[r#"Err("`/{id}` is no path for a FHIR base; write it like \"/\" or \"/fhir\"")"#]],
        );
        check_path(
            "/a//b",
            expect![[r#"Err("`/a//b` is no path for a FHIR base; write it like \"/\" or \"/fhir\"")"#]],
        );
    }

    #[test]
    fn needs_an_address_only() {
        let config: InboundConfig = toml::from_str(r#"listen = "127.0.0.1:0""#).unwrap();
        expect![[r#"
            InboundConfig {
                listen: 127.0.0.1:0,
                path: BasePath {
                    prefix: "",
                },
                max_body_bytes: 67108864 bytes,
                max_bytes_in_flight: 134217728 bytes,
                max_connections: 1024,
                idle_timeout: 60s,
                request_timeout: 300s,
                answer_timeout: 60s,
                acknowledge: Stored,
                auth: None,
            }
        "#]]
        .assert_debug_eq(&config);
    }

    #[test]
    fn refuses_a_key_that_it_does_not_know() {
        let error = toml::from_str::<InboundConfig>("listen = \"127.0.0.1:0\"\nmax_body = 1\n").unwrap_err();
        assert!(error.message().starts_with("unknown field `max_body`"), "{error}");
    }
}
