//! What operators ask, and who answers: the running engine over a local socket, or the store itself.
//!
//! [`Operation`] is one question or order. [`perform`] carries it out on a [`Desk`]: an engine with
//! its store, or a store alone. The command line sends it to the engine's [`server`] by a [`client`]
//! when one is up, and opens the store when none is.

mod audit;
pub mod client;
mod consent;
mod coverage;
mod lineage;
mod operation;
mod perform;
pub mod server;

pub use audit::AuditOf;
pub use coverage::{Coverage, CoverageItem};
pub use lineage::{
    Lineage, LineageDelivery, LineageEvent, LineageOutput, LineageProvenance, LineageRecord, LineageVersion,
    LineageWritten,
};
pub use operation::{
    BreakGlass, LineageOf, MessageDetail, MessageSummary, Operation, OperationError, Part, PartBytes, Sent,
};
pub use perform::{Desk, Source, perform, perform_as};
