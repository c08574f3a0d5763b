//! The settings of both directions: `[inbound.mllp]` and `[outbound.mllp]`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use message::hl7v2::ack::AcknowledgmentCode;
use serde::{Deserialize, Serialize};

use super::client::ClientConfig;
use super::reader::Limits;
use crate::Acknowledge;
use crate::setting::{Size, Span};

/// HL7 v2 over MLLP, in: `[inbound.mllp]` in a channel's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundConfig {
    /// Address to listen on, such as `"127.0.0.1:2575"`. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// When the sender is told that its message is taken. A sender in enhanced mode has its accept
    /// acknowledgment at once in any case.
    #[serde(default)]
    pub acknowledge: Acknowledge,
    /// Which acknowledgments a message has.
    #[serde(default)]
    pub acknowledgment_mode: AcknowledgmentMode,
    /// Longest message taken, framing not counted. A longer one is refused with a NAK.
    #[serde(default = "default::max_message_bytes")]
    pub max_message_bytes: Size,
    /// Most bytes of messages in memory at once, all connections together, from their arrival until
    /// they are on disk. Whoever finds it used up is not read from until there is room. It may be
    /// exceeded by one message.
    #[serde(default = "default::max_bytes_in_flight")]
    pub max_bytes_in_flight: Size,
    /// Most connections at once. One more is closed as it comes.
    #[serde(default = "default::max_connections")]
    pub max_connections: NonZeroUsize,
    /// Most connections at once from one IP address. One more is closed as it comes.
    #[serde(default = "default::max_connections_per_peer")]
    pub max_connections_per_peer: NonZeroUsize,
    /// Longest time from a message's first byte to its last, not counting when we do not read. Past
    /// it the connection gets a NAK and is closed.
    #[serde(default = "default::frame_timeout")]
    pub frame_timeout: Span,
    /// A connection with nothing to answer is closed when no message begins for this long.
    #[serde(default = "default::idle_timeout")]
    pub idle_timeout: Span,
    /// Longest time that a peer may take to read our acknowledgments. Past it the connection is closed.
    #[serde(default = "default::write_timeout")]
    pub write_timeout: Span,
    /// With `acknowledge = "processed"` or `"delivered"`, and for application acknowledgments in
    /// enhanced mode: longest wait for the outcome. Past it the answer is AR; the message stays
    /// stored and goes on.
    #[serde(default = "default::outcome_timeout")]
    pub outcome_timeout: Span,
    /// How long to wait for the CR after FS before a message counts as complete without it.
    #[serde(default = "default::missing_cr_wait")]
    pub missing_cr_wait: Span,
    /// Most bytes between two messages that belong to neither. Past it the connection is closed.
    #[serde(default = "default::max_noise_bytes")]
    pub max_noise_bytes: Size,
    /// Most messages of one connection at once that are read and not answered. They are stored side
    /// by side and answered in order. A connection that has as many is not read from.
    #[serde(default = "default::window")]
    pub window: NonZeroUsize,
    /// Most application acknowledgments (enhanced mode) that one connection may wait for. A
    /// connection that has as many is not read from.
    #[serde(default = "default::application_window")]
    pub application_window: NonZeroUsize,
}

impl InboundConfig {
    /// The defaults, listening on `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            acknowledge: Acknowledge::default(),
            acknowledgment_mode: AcknowledgmentMode::default(),
            max_message_bytes: default::max_message_bytes(),
            max_bytes_in_flight: default::max_bytes_in_flight(),
            max_connections: default::max_connections(),
            max_connections_per_peer: default::max_connections_per_peer(),
            frame_timeout: default::frame_timeout(),
            idle_timeout: default::idle_timeout(),
            write_timeout: default::write_timeout(),
            outcome_timeout: default::outcome_timeout(),
            missing_cr_wait: default::missing_cr_wait(),
            max_noise_bytes: default::max_noise_bytes(),
            window: default::window(),
            application_window: default::application_window(),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_message: self.max_message_bytes.as_usize(),
            max_noise: self.max_noise_bytes.0,
            frame_timeout: self.frame_timeout.0,
            missing_cr_wait: self.missing_cr_wait.0,
        }
    }
}

/// Which acknowledgments a message has: `acknowledgment_mode` of `[inbound.mllp]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcknowledgmentMode {
    /// Those that its MSH-15 and MSH-16 ask for: none for `NE` in both (HL7 v2.5.1 §2.9.3).
    #[default]
    AsAsked,
    /// One, AA, AE or AR, whatever MSH-15 and MSH-16 say (HL7 v2.5.1 §2.9.2): for a sender that waits for
    /// one and asks for none.
    Original,
}

/// HL7 v2 over MLLP, out: `[outbound.mllp]` in a destination's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundConfig {
    /// Where to: `"host:port"`, looked up anew for each connection.
    pub address: Address,
    /// Most connections at once.
    #[serde(default = "default::connections")]
    pub connections: NonZeroUsize,
    /// False: a new connection for every message, closed after its acknowledgment.
    #[serde(default = "default::yes")]
    pub reuse: bool,
    /// An unused connection is closed after this long.
    #[serde(default = "default::idle_close")]
    pub idle_close: Span,
    /// Longest time to look up the address and connect.
    #[serde(default = "default::connect_timeout")]
    pub connect_timeout: Span,
    /// Longest time to hand one message to the network.
    #[serde(default = "default::send_timeout")]
    pub send_timeout: Span,
    /// Longest time from a message's last byte to its acknowledgment, and from an accept
    /// acknowledgment to the application acknowledgment. Past it the connection is dropped, so that a
    /// late acknowledgment can never be taken for another message's.
    #[serde(default = "default::ack_timeout")]
    pub ack_timeout: Span,
    /// Longest acknowledgment read.
    #[serde(default = "default::max_ack_bytes")]
    pub max_ack_bytes: Size,
    /// In enhanced mode, after CA: wait on the same connection for the application acknowledgment that
    /// MSH-16 asks for (`AL`, `SU`). False if the peer sends it elsewhere; then CA is the answer.
    #[serde(default = "default::yes")]
    pub await_application_ack: bool,
    /// What each code does.
    #[serde(default)]
    pub answers: Answers,
}

impl OutboundConfig {
    /// The defaults, to `address`.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            connections: default::connections(),
            reuse: true,
            idle_close: default::idle_close(),
            connect_timeout: default::connect_timeout(),
            send_timeout: default::send_timeout(),
            ack_timeout: default::ack_timeout(),
            max_ack_bytes: default::max_ack_bytes(),
            await_application_ack: true,
            answers: Answers::default(),
        }
    }

    pub(super) fn client(&self) -> ClientConfig {
        ClientConfig {
            connect_timeout: self.connect_timeout.0,
            send_timeout: self.send_timeout.0,
            answer_timeout: self.ack_timeout.0,
            max_answer_bytes: self.max_ack_bytes.as_usize(),
        }
    }
}

/// What to do with a message, by the code in MSA-1: `[outbound.mllp.answers]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "UPPERCASE")]
pub struct Answers {
    /// Application accept; `"delivered"` unless set.
    pub aa: Action,
    /// Application error; `"retry"` unless set.
    pub ae: Action,
    /// Application reject; `"dead"` unless set.
    pub ar: Action,
    /// Commit accept; `"delivered"` unless set.
    pub ca: Action,
    /// Commit error; `"retry"` unless set.
    pub ce: Action,
    /// Commit reject; `"dead"` unless set.
    pub cr: Action,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            aa: Action::Delivered,
            ae: Action::Retry,
            ar: Action::Dead,
            ca: Action::Delivered,
            ce: Action::Retry,
            cr: Action::Dead,
        }
    }
}

impl Answers {
    /// What `code` does.
    #[must_use]
    pub fn action(&self, code: AcknowledgmentCode) -> Action {
        match code {
            AcknowledgmentCode::Aa => self.aa,
            AcknowledgmentCode::Ae => self.ae,
            AcknowledgmentCode::Ar => self.ar,
            AcknowledgmentCode::Ca => self.ca,
            AcknowledgmentCode::Ce => self.ce,
            AcknowledgmentCode::Cr => self.cr,
        }
    }
}

/// What an answer does to its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is delivered.
    Delivered,
    /// It is tried again, and dead after too many tries.
    Retry,
    /// It goes to the dead letters at once.
    Dead,
}

/// A host and a port: `"emr.example:2575"`, `"[::1]:2575"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

impl Address {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.rsplit_once(':');
        let is_address = parts.is_some_and(|(host, port)| {
            let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
            !host.is_empty() && !bare_v6 && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if is_address {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no address; write a host and a port, like \"emr.example:2575\""))
        }
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

mod default {
    use super::{Duration, NonZeroUsize, Size, Span};

    const fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    const fn at_least_one(number: usize) -> NonZeroUsize {
        NonZeroUsize::MIN.saturating_add(number - 1)
    }

    pub(super) fn max_message_bytes() -> Size {
        Size(64 << 20)
    }

    pub(super) fn max_bytes_in_flight() -> Size {
        Size(256 << 20)
    }

    pub(super) fn max_connections() -> NonZeroUsize {
        at_least_one(1000)
    }

    pub(super) fn max_connections_per_peer() -> NonZeroUsize {
        at_least_one(100)
    }

    pub(super) fn frame_timeout() -> Span {
        seconds(120)
    }

    pub(super) fn idle_timeout() -> Span {
        seconds(3600)
    }

    pub(super) fn write_timeout() -> Span {
        seconds(30)
    }

    pub(super) fn outcome_timeout() -> Span {
        seconds(60)
    }

    pub(super) fn missing_cr_wait() -> Span {
        Span(Duration::from_millis(100))
    }

    pub(super) fn max_noise_bytes() -> Size {
        Size(64 << 10)
    }

    pub(super) fn window() -> NonZeroUsize {
        at_least_one(64)
    }

    pub(super) fn application_window() -> NonZeroUsize {
        at_least_one(1000)
    }

    pub(super) fn connections() -> NonZeroUsize {
        at_least_one(4)
    }

    pub(super) fn yes() -> bool {
        true
    }

    pub(super) fn idle_close() -> Span {
        seconds(300)
    }

    pub(super) fn connect_timeout() -> Span {
        seconds(10)
    }

    pub(super) fn send_timeout() -> Span {
        seconds(60)
    }

    pub(super) fn ack_timeout() -> Span {
        seconds(30)
    }

    pub(super) fn max_ack_bytes() -> Size {
        Size(1 << 20)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check<T: serde::de::DeserializeOwned + std::fmt::Debug>(settings: serde_json::Value, expected: Expect) {
        let shown = match serde_json::from_value::<T>(settings) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn the_address_alone_is_enough() {
        let inbound: InboundConfig = serde_json::from_value(serde_json::json!({ "listen": "[::1]:2575" })).unwrap();
        assert_eq!(inbound, InboundConfig::new("[::1]:2575".parse().unwrap()));
        let outbound: OutboundConfig = serde_json::from_value(serde_json::json!({ "address": "emr:2575" })).unwrap();
        assert_eq!(outbound, OutboundConfig::new("emr:2575".parse().unwrap()));
    }

    #[test]
    fn one_code_may_be_set_alone() {
        check::<Answers>(
            serde_json::json!({ "AE": "dead" }),
            expect!["Answers { aa: Delivered, ae: Dead, ar: Dead, ca: Delivered, ce: Retry, cr: Dead }"],
        );
        check::<Answers>(
            serde_json::json!({ "XX": "dead" }),
            expect!["unknown field `XX`, expected one of `AA`, `AE`, `AR`, `CA`, `CE`, `CR`"],
        );
    }

    #[test]
    fn an_address_needs_a_host_and_a_port() {
        for wrong in ["emr", "emr:", ":2575", "emr:0", "emr:65536", "::1:2575"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        for right in ["emr:2575", "10.0.0.1:1", "[::1]:2575"] {
            assert!(right.parse::<Address>().is_ok(), "{right}");
        }
    }

    #[test]
    fn unknown_settings_are_named() {
        let error = serde_json::from_value::<InboundConfig>(serde_json::json!({ "lisen": "127.0.0.1:1" }));
        assert!(error.unwrap_err().to_string().starts_with("unknown field `lisen`, expected one of `listen`"));
    }
}
