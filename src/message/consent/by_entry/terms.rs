//! How codes lie within each other: purposes of use, sensitivity labels, and which label is of which kind.

use std::collections::{HashMap, HashSet};

use crate::json::{Text, Value};

use super::links::ByName;

/// HL7's v3-ActCode: sensitivities, obligations, refrains, privacy laws, consent directives.
pub const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// HL7 Terminology (CC0) with one overlay of ours: what comes with the engine.
const SHIPPED: &str = include_str!("terms.json");

/// What a code of v3-ActCode is as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// What the data is about: covers what lies within it.
    Sensitivity,
    /// What the receiver must do.
    Obligation,
    /// What the receiver must not do.
    Refrain,
    /// The law it falls under.
    Law,
}

/// Code trees and kinds of labels.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The edition, for the proof of a decision.
    pub version: String,
    purposes: Tree,
    sensitivities: Tree,
    kinds: ByName<Text, LabelKind>,
}

/// Terminology that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("terminology: {0}")]
pub struct TermsError(String);

/// Each code with itself and all that it lies within, the nearest first.
#[derive(Clone, Debug, Default)]
struct Tree(ByName<Text, Vec<Text>>);

impl Terms {
    /// The terminology that comes with the engine.
    ///
    /// # Errors
    ///
    /// Never for what is shipped; a test reads it.
    pub fn shipped() -> Result<Self, TermsError> {
        let value: serde_json::Value = serde_json::from_str(SHIPPED).map_err(|error| TermsError(error.to_string()))?;
        Self::read(&value.into())
    }

    /// Reads `{"purpose": {CODE: {"parents": [..]}}, "sensitivity": .., "obligation": .., "refrain": ..,
    /// "privacy_law": ..}`.
    ///
    /// # Errors
    ///
    /// [`TermsError`] if a table is missing or not of that shape.
    pub fn read(value: &Value) -> Result<Self, TermsError> {
        let mut kinds = ByName::default();
        let tables = [
            ("obligation", LabelKind::Obligation),
            ("refrain", LabelKind::Refrain),
            ("privacy_law", LabelKind::Law),
            ("sensitivity", LabelKind::Sensitivity),
        ];
        for (name, kind) in tables {
            kinds.extend(parents(value, name)?.into_keys().map(|code| (Text::from(code), kind)));
        }
        Ok(Self {
            version: value.get("source").and_then(Value::as_str).unwrap_or_default().to_owned(),
            purposes: Tree::new(&parents(value, "purpose")?),
            sensitivities: Tree::new(&parents(value, "sensitivity")?),
            kinds,
        })
    }

    /// A purpose with all that it lies within, the nearest first; empty for a code that is not known.
    #[must_use]
    pub fn purpose(&self, code: &str) -> &[Text] {
        self.purposes.of(code)
    }

    /// A sensitivity with all that it lies within; empty for a code that is not known.
    #[must_use]
    pub fn sensitivity(&self, code: &str) -> &[Text] {
        self.sensitivities.of(code)
    }

    /// True if `code` is `within`, or lies within it.
    #[must_use]
    pub fn is_purpose_within(&self, code: &str, within: &str) -> bool {
        code == within || self.purpose(code).iter().any(|broader| **broader == *within)
    }

    /// What kind of label an ActCode code is; `None` for one that is not known.
    #[must_use]
    pub fn kind(&self, code: &str) -> Option<LabelKind> {
        self.kinds.get(code).copied()
    }
}

/// The codes of table `name` with their parents.
fn parents<'a>(value: &'a Value, name: &str) -> Result<HashMap<&'a str, Vec<&'a str>>, TermsError> {
    let wrong = || TermsError(format!("`{name}` must list codes with their `parents`"));
    let table = value.get(name).and_then(Value::as_object).ok_or_else(wrong)?;
    let entry = |(code, entry): (&'a Text, &'a Value)| {
        let listed = entry.get("parents").and_then(Value::as_array).ok_or_else(wrong)?;
        let codes = listed.iter().map(|parent| parent.as_str().ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
        Ok((code.as_str(), codes))
    };
    table.iter().map(entry).collect()
}

impl Tree {
    fn new(parents: &HashMap<&str, Vec<&str>>) -> Self {
        let ancestry = |code: &&str| {
            let (mut line, mut seen) = (vec![*code], HashSet::from([*code]));
            let mut next = 0;
            while let Some(at) = line.get(next).copied() {
                next += 1;
                let above = parents.get(at).map(Vec::as_slice).unwrap_or_default();
                line.extend(above.iter().filter(|parent| seen.insert(**parent)));
            }
            (Text::from(*code), line.into_iter().map(Text::from).collect())
        };
        Self(parents.keys().map(ancestry).collect())
    }

    fn of(&self, code: &str) -> &[Text] {
        self.0.get(code).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_lies_within_what() {
        let terms = Terms::shipped().unwrap();
        assert!(terms.is_purpose_within("BTG", "TREAT"));
        assert!(!terms.is_purpose_within("TREAT", "BTG"));
        assert!(terms.is_purpose_within("X-LOCAL", "X-LOCAL"));
        let line: Vec<&str> = terms.sensitivity("OPIOIDUD").iter().map(AsRef::as_ref).collect();
        assert!(line.starts_with(&["OPIOIDUD", "SUD"]));
        assert!(line.contains(&"ETH") && line.contains(&"SPI"));
        assert_eq!(terms.kind("NORDSCLCD"), Some(LabelKind::Refrain));
        assert_eq!(terms.kind("42CFRPart2"), Some(LabelKind::Law));
        assert_eq!(terms.kind("AUDIT"), Some(LabelKind::Obligation));
        assert_eq!(terms.kind("HIV"), Some(LabelKind::Sensitivity));
        assert_eq!(terms.kind("OPTIN"), None);
    }

    #[test]
    fn survives_codes_that_lie_within_each_other() {
        let table = crate::json!({ "A": { "parents": ["B"] }, "B": { "parents": ["A"] } });
        let terms =
            crate::json!({ "purpose": table, "sensitivity": {}, "obligation": {}, "refrain": {}, "privacy_law": {} });
        assert!(Terms::read(&terms).unwrap().is_purpose_within("A", "B"));
    }
}
