//! HL7 v2 in ER7 encoding: read lazily over its bytes, never changed by reading.
//!
//! [`Message`] is a line index over the text; segments, fields, repetitions, components and
//! subcomponents are slices of it, cut when asked for. Nothing is dropped: every byte belongs to a
//! segment or to the separators between them.

pub mod ack;
pub mod batch;
pub mod charset;
mod check;
mod delimiters;
pub mod escape;
mod header;
mod message;
mod path;
mod place;
mod segment;
mod split;
pub mod timestamp;
mod value;
mod version;

pub use ack::acknowledge;
pub use batch::Batch;
pub use charset::{Charset, CharsetOptions, Undecodable};
pub use check::check;
pub use delimiters::Delimiters;
pub use header::{AckCondition, Header, Preceded, Wire};
pub use message::Message;
pub use path::Path;
pub use place::place_of;
pub use segment::Segment;
pub use value::{Component, Field, Repetition, Subcomponent};
pub use version::{UnknownVersion, Version};

#[cfg(test)]
mod tests;
