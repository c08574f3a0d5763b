//! What the tests are made of: a site in a folder of its own, the program running it, senders, and
//! destinations that do as they are told.

pub(crate) mod disk;
pub(crate) mod fhir;
pub(crate) mod hl7;
pub(crate) mod http;
pub(crate) mod mllp;
mod running;
mod service;
pub(crate) mod sink;
mod site;
pub(crate) mod tls;
mod wait;

pub(crate) use fhir::Fhir;
pub(crate) use running::{RUNTIME, Running};
pub(crate) use service::Service;
pub(crate) use sink::{Reply, Sink};
pub(crate) use site::{HTTP_IN, MLLP_IN, NEVER, PROGRAM, QUICK, Site, TO_FHIR, TO_OUT, files_in};
pub(crate) use wait::{DEADLINE, wait_for, wait_until};
