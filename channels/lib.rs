//! All traffic in and out of Tributary: one folder a protocol, inbound and outbound side by side.
//!
//! An inbound channel frames bytes under hard limits and offers them to the engine's [`Intake`]; an
//! outbound channel delivers one message once. Neither knows the store, the routes or each other.

mod credentials;
pub mod fhir;
pub mod file;
pub mod http;
mod inbound;
pub mod lookup;
pub mod mllp;
mod outbound;
pub mod setting;
mod stop;
pub mod syslog;

pub use credentials::Credentials;
pub use inbound::{Acknowledge, ChannelError, Clock, Inbound, Intake, Offered, StatusReport, Tally, Ticket};
pub use outbound::{DeliveryError, Outbound, Outgoing, Receipt};
pub use stop::{Stop, Stopper};
