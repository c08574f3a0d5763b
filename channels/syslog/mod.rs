//! Syslog out, over TLS: RFC 5424 messages in the frames of RFC 5425.
//!
//! Syslog knows no acknowledgment. What stands for one is the end of the connection: once all is written the sender
//! says that it closes (close_notify), and the receiver, which has read all by then, closes too (RFC 5425 §4.4). So
//! each [`Sender::send`] has a connection of its own, and before the receiver has closed it nothing counts as sent.

mod config;
mod message;
mod sender;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use message::{Header, Severity};
pub use sender::Sender;
