//! The purposes of use that there are, to notice a mistyped one.

use super::document::{Document, Node};
use super::nearest;

/// The codes of the value set PurposeOfUse (`http://terminology.hl7.org/ValueSet/v3-PurposeOfUse`).
const PURPOSE_OF_USE: [&str; 61] = [
    "PurposeOfUse",
    "BIORCH",
    "BTG",
    "CAREMGT",
    "CLINTRCH",
    "CLINTRCHNPC",
    "CLINTRCHPC",
    "CLINTRL",
    "CLMATTCH",
    "COC",
    "COVAUTH",
    "COVERAGE",
    "DISASTER",
    "DONAT",
    "DSRCH",
    "ELIGDTRM",
    "ELIGVER",
    "ENROLLM",
    "ERTREAT",
    "ETREAT",
    "FAMRQT",
    "FRAUD",
    "GOV",
    "HACCRED",
    "HCOMPL",
    "HDECD",
    "HDIRECT",
    "HDM",
    "HLEGAL",
    "HMARKT",
    "HOPERAT",
    "HOUTCOMS",
    "HPAYMT",
    "HPRGRP",
    "HQUALIMP",
    "HRESCH",
    "HSYSADMIN",
    "HTEST",
    "LABELING",
    "MEMADMIN",
    "METAMGT",
    "MILCDM",
    "MILDCRG",
    "PATADMIN",
    "PATRQT",
    "PATSFTY",
    "PERFMSR",
    "POARCH",
    "POPHLTH",
    "PRECLINTRCH",
    "PUBHLTH",
    "PWATRNY",
    "RECORDMGT",
    "REMITADV",
    "SUPNWK",
    "SYSDEV",
    "THREAT",
    "TRAIN",
    "TRANSRCH",
    "TREAT",
    "TREATDS",
];

/// Warns of each code under `node` that the value set does not have: a site may have its own.
pub(super) fn check(document: &Document, node: &Node) {
    for element in node.elements() {
        let Some(code) = element.text().filter(|code| !PURPOSE_OF_USE.contains(code)) else { continue };
        let meant = nearest::nearest(code, PURPOSE_OF_USE.into_iter());
        let help =
            meant.map_or("such as TREAT, HPAYMT, HOPERAT, HRESCH".into(), |code| format!("did you mean `{code}`?"));
        document.warning(element.span.clone(), "this is no code of HL7's value set PurposeOfUse", Some(help));
    }
}
