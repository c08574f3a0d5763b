//! The settings of a receiver of syslog over TLS.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::mllp::Address;
use crate::setting::Span;

/// A receiver of syslog over TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to: `"host:port"`, looked up anew for each connection. Its certificate must be of this host.
    pub address: Address,
    /// Certificates, in PEM, of the authorities trusted for this receiver; no others are.
    pub ca_file: PathBuf,
    /// Our own certificate and its private key, in PEM, for receivers that ask for one.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
    /// Longest time to connect, TLS handshake included.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// Longest time to hand over one batch, until the receiver has closed the connection.
    #[serde(default = "answer_timeout")]
    pub answer_timeout: Span,
}

fn connect_timeout() -> Span {
    Span(Duration::from_secs(10))
}

fn answer_timeout() -> Span {
    Span(Duration::from_secs(60))
}
