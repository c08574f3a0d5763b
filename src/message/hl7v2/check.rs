//! Whether we speak a message: its header against what we support.

use super::{Delimiters, Header, Preceded, Version};
use crate::Fault;

/// Checks the header of a message before it is taken.
///
/// An empty MSH-11 or MSH-12 is passed over: many senders leave them out. MSH-10 is required unless
/// MSH-15 and MSH-16 both say `NE`, for without it no answer can be told from another.
///
/// # Errors
///
/// The first [`Fault`], with a code of table 0357. [`Fault::is_unsupported`] tells what we do not speak
/// (MSH-9, MSH-11, MSH-12: rejected) from wrong content (an error).
pub fn check(header: &Header) -> Result<(), Fault> {
    check_frame(header)?;
    check_version(header)?;
    check_processing_id(header)?;
    check_message_type(header)?;
    check_control_id(header)
}

fn check_frame(header: &Header) -> Result<(), Fault> {
    if !header.is_present() {
        return fault(100, "MSH", "there is no MSH segment; a message begins with one");
    }
    match header.preceded() {
        Preceded::Nothing => Delimiters::read(header.line()).map(|_| ()),
        Preceded::Batch => fault(100, "MSH", "a batch (FHS, BHS) stands where a single message is expected"),
        Preceded::Other => fault(100, "MSH", "something stands before the MSH segment; a message begins with it"),
    }
}

fn check_version(header: &Header) -> Result<(), Fault> {
    match &*header.version_id() {
        "" => Ok(()),
        id if id.parse::<Version>().is_ok() => Ok(()),
        _ => fault(203, "MSH-12", "this version of HL7 is not supported; versions 2.1 to 2.9.1 are"),
    }
}

fn check_processing_id(header: &Header) -> Result<(), Fault> {
    match &*header.processing_id() {
        "" | "P" | "T" | "D" => Ok(()),
        _ => fault(202, "MSH-11", "this processing id is not supported; P, T and D are (table 0103)"),
    }
}

fn check_message_type(header: &Header) -> Result<(), Fault> {
    let kind = header.message_type();
    if kind.is_empty() {
        return fault(200, "MSH-9.1", "the message type is missing; write it like ADT^A01");
    }
    let usable = kind.len() == 3 && kind.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if usable { Ok(()) } else { fault(200, "MSH-9.1", "this is no message type of table 0076, such as ADT or ORU") }
}

fn check_control_id(header: &Header) -> Result<(), Fault> {
    use super::AckCondition::Ne;
    let never = header.accept_ack() == Some(Ne) && header.application_ack() == Some(Ne);
    if never || !header.control_id().is_empty() {
        return Ok(());
    }
    fault(101, "MSH-10", "the message control id is missing; without it no acknowledgment can be matched")
}

fn fault(code: u16, location: &str, text: &str) -> Result<(), Fault> {
    Err(Fault::new(code, location.to_owned(), text))
}
