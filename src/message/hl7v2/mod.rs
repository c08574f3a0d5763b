//! HL7 v2 in ER7 encoding: read lazily over its bytes, never changed by reading.
//!
//! [`Message`] is a line index over the text; segments, fields, repetitions, components and
//! subcomponents are slices of it, cut when asked for. Nothing is dropped: every byte belongs to a
//! segment or to the separators between them.

mod delimiters;
pub mod escape;
mod message;
mod path;
mod value;

pub use delimiters::Delimiters;
pub use message::{Message, Segment};
pub use path::Path;
pub use value::{Component, Field, Repetition, Subcomponent};
