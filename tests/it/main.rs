//! End to end, by real sockets, against the built program: `tributary run` as a child process, between
//! senders and destinations that misbehave as real ones do.
//!
//! [`kit`] has the pieces. Every wait is for a condition, with a deadline that only a machine in
//! trouble meets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops where something is not as it must be, and says what it skips"
)]

mod acknowledge;
mod audit;
mod audit_down;
mod audit_ship;
mod breach;
mod bytes;
mod clock;
mod commands;
mod configuration;
mod consent;
mod consent_race;
mod consent_scenario;
mod consent_services;
mod corpus;
mod crash;
mod damage;
mod disk;
mod duplicates;
mod fhir_faults;
mod files;
mod fixed_consents;
mod identity;
mod kit;
mod lanes;
mod late;
mod limits;
mod loops;
mod metrics;
mod mllp_faults;
mod obligations;
mod operate;
mod privacy;
mod provenance;
mod replay;
mod stop;
mod tls;
mod valid;
mod x_provenance;
