//! One message (RFC 5424 §6), in its frame (RFC 5425 §4.3).

use jiff::Timestamp;

/// Facility 10: security and authorization messages.
const FACILITY: u8 = 10;
/// A text in UTF-8 begins with it (RFC 5424 §6.4).
const BOM: &str = "\u{FEFF}";

/// How grave it is (RFC 5424 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// 4: somebody should look.
    Warning,
    /// 5: normal, but significant.
    Notice,
}

impl Severity {
    fn code(self) -> u8 {
        match self {
            Self::Warning => 4,
            Self::Notice => 5,
        }
    }
}

/// What stands before the text. What a field cannot hold is left out of it; what is empty then is `-`.
#[derive(Clone, Debug)]
pub struct Header {
    /// How grave it is.
    pub severity: Severity,
    /// When it happened.
    pub at: Timestamp,
    /// The machine, as a domain name where it has one.
    pub host: String,
    /// The program.
    pub app: String,
    /// The process.
    pub process: String,
    /// What kind of message it is.
    pub message_id: String,
}

impl Header {
    /// `text` behind this header, in a frame: its length in bytes, a space, the message.
    #[must_use]
    pub fn frame(&self, text: &str) -> Vec<u8> {
        let priority = FACILITY * 8 + self.severity.code();
        // Six digits after the point at most (RFC 5424 §6.2.3).
        let at = self.at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
        let (host, app) = (field(&self.host, 255), field(&self.app, 48));
        let (process, id) = (field(&self.process, 128), field(&self.message_id, 32));
        let message = format!("<{priority}>1 {at} {host} {app} {process} {id} - {BOM}{text}");
        let mut frame = format!("{} ", message.len()).into_bytes();
        frame.extend_from_slice(message.as_bytes());
        frame
    }
}

/// Printable ASCII without spaces, at most `longest` (RFC 5424 §6).
fn field(text: &str, longest: usize) -> String {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}
