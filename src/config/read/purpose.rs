//! Warns of purposes of use that are probably mistyped.

use message::consent::Purpose;

use super::document::Document;
use super::nearest;
use super::tree::Node;

/// Warns of each code under `node` that HL7's value set does not have: a site may have its own.
pub(super) fn check(document: &Document, node: &Node) {
    for element in node.elements() {
        let Some(code) = element.text().filter(|code| !Purpose::known().any(|known| known == *code)) else { continue };
        let help = match nearest::nearest(code, Purpose::known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "such as TREAT, HPAYMT, HOPERAT, HRESCH".to_owned(),
        };
        document.warning(element.span.clone(), "this is no code of HL7's value set PurposeOfUse", Some(help));
    }
}
