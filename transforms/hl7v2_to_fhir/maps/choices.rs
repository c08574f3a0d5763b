//! What a channel has chosen where the guide leaves a choice: which rows are there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::Spanned;

use crate::hl7v2_to_fhir::Options;

use super::error::Wrong;
use super::file::OneOrMany;

/// The options of a channel by their names.
#[derive(Debug)]
pub(super) struct Choices(Map<String, Value>);

impl Choices {
    pub(super) fn of(options: &Options) -> Self {
        match serde_json::to_value(options) {
            Ok(Value::Object(chosen)) => Self(chosen),
            _ => Self(Map::new()),
        }
    }

    /// True if the channel has chosen what a row asks for; with the place of what is no option.
    pub(super) fn allow(&self, asked: &Spanned<BTreeMap<String, OneOrMany>>) -> Result<bool, (usize, Wrong)> {
        let at = asked.span().start;
        let mut allowed = true;
        for (name, values) in asked.get_ref() {
            let chosen = self.0.get(name).and_then(Value::as_str);
            let Some(chosen) = chosen else {
                let names = self.0.iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name.as_str());
                return Err((at, Wrong::unknown("there is no option", name, names)));
            };
            for value in values.all() {
                let option = Map::from_iter([(name.clone(), Value::String(value.clone()))]);
                serde_json::from_value::<Options>(Value::Object(option))
                    .map_err(|error| (at, Wrong::new(format!("`{name}`: {error}"))))?;
            }
            allowed &= values.all().iter().any(|value| value == chosen);
        }
        Ok(allowed)
    }
}
