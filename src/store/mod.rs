//! Where everything accepted lives: the log is the truth, the index finds things in it.
//!
//! The engine sees [`Store`] alone. A [`Record`] is something that happened; a group of records is
//! appended, written and made visible as one. [`Store::accept`] returns when the message is on
//! disk; [`Store::commit`] returns when its records are in the index as well, so that what was
//! committed is what the queries below it see.

mod record;

pub use record::{
    DeliveryId, DeliveryRecord, DestinationId, Lane, LaneSet, NewDelivery, NewOutput, Outcome, Received, Record, State,
};
