//! What somebody should look at in a policy, though it can be used.

use super::policy::{Effect, Policy, Rule};
use super::terms::Terms;
use crate::consent::Confidentiality;

impl Policy {
    /// What is probably not meant as it is written: codes that are not known, defaults that permit what
    /// nobody thought of, emergencies without an end, rules of law without their citation.
    #[must_use]
    pub fn notes(&self, terms: &Terms) -> Vec<String> {
        let mut notes = Vec::new();
        match self.default.get("*") {
            None => notes.push("`default` has no `*`: what it does not name is denied".to_owned()),
            Some(Effect::Permit) => {
                notes.push("`default` permits every purpose (`*`), also those that nobody thought of".to_owned());
            }
            Some(_) => {}
        }
        let unknown_purpose = |code: &&String| *code != "*" && terms.purpose(code).is_empty();
        for code in self.default.keys().chain(&self.explicit_purpose).filter(unknown_purpose) {
            notes.push(format!("`{code}` is no purpose of use (v3-ActReason)"));
        }
        if let Some(glass) = &self.break_glass {
            if !glass.requires_reason {
                notes.push("an emergency needs no reason".to_owned());
            }
            if glass.lasts.is_none() {
                notes.push("an emergency never ends: set `max`".to_owned());
            }
            for label in glass.never.iter().filter(|label| !is_label(label, terms)) {
                notes.push(format!(
                    "an emergency never opens `{label}`, which is no label that is known: nothing has it"
                ));
            }
            if glass.purposes.is_empty() {
                notes.push("an emergency opens nothing: set `purposes`".to_owned());
            }
        }
        for rule in self.mandatory_deny.iter().chain(&self.mandatory_permit) {
            if rule.cite.is_none() {
                notes.push(format!("mandatory rule `{}` does not `cite` its law", rule.id));
            }
        }
        let of_treatment =
            |rule: &&Rule| rule.when.purpose.is_empty() || rule.when.purpose.iter().any(|code| code == "TREAT");
        for rule in self.mandatory_deny.iter().filter(of_treatment) {
            for kind in rule.when.resource_type.iter().filter(|kind| VITAL.contains(&kind.as_str())) {
                notes.push(format!("rule `{}` withholds {kind} from treatment: who treats may harm", rule.id));
            }
        }
        let rules = [&self.mandatory_deny, &self.mandatory_permit, &self.obligations];
        rules.into_iter().flatten().for_each(|rule| of_rule(rule, terms, &mut notes));
        notes
    }
}

/// What nobody should treat somebody without.
const VITAL: [&str; 4] = ["AllergyIntolerance", "MedicationRequest", "MedicationStatement", "MedicationAdministration"];

fn is_label(code: &str, terms: &Terms) -> bool {
    terms.kind(code).is_some() || Confidentiality::from_code(code).is_some()
}

fn of_rule(rule: &Rule, terms: &Terms, notes: &mut Vec<String>) {
    let place = if rule.id.is_empty() { "an obligation".to_owned() } else { format!("rule `{}`", rule.id) };
    for label in rule.when.label.iter().chain(&rule.add).filter(|code| !is_label(code, terms)) {
        notes.push(format!("{place}: `{label}` is no ActCode label that is known"));
    }
    for purpose in rule.when.purpose.iter().filter(|code| terms.purpose(code).is_empty()) {
        notes.push(format!("{place}: `{purpose}` is no purpose of use (v3-ActReason)"));
    }
}
