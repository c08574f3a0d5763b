//! The XHTML of a narrative, in the validator's words.

use super::issue::IssueType;
use crate::fhir::Value;
use crate::fhir::xhtml::{self, Wrong};

/// What is wrong with the `div` of a narrative: kind, text and the invariant's key.
pub(super) fn check(value: &Value) -> Result<(), (IssueType, &'static str, Option<&'static str>)> {
    let Value::String(text) = value else {
        return Err((IssueType::Value, "the value is a text, in quotation marks", None));
    };
    xhtml::check(text).map_err(|wrong| match wrong {
        Wrong::Form(text) => (IssueType::Value, text, None),
        Wrong::Content(text) => (IssueType::Invariant, text, Some("txt-1")),
        Wrong::Empty => (IssueType::Invariant, "the narrative says nothing; leave it out", Some("txt-2")),
    })
}
