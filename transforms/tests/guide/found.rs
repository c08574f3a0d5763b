//! Whether a Bundle has what the guide demands.

use std::collections::HashMap;

use serde_json::Value;

use super::demand::{Demand, Step, Want};

/// A Bundle by the full URLs of its entries.
pub(crate) struct Found<'b> {
    resources: Vec<&'b Value>,
    by_url: HashMap<&'b str, &'b Value>,
}

impl<'b> Found<'b> {
    pub(crate) fn of(bundle: &'b Value) -> Self {
        let entries = || bundle["entry"].as_array().into_iter().flatten();
        let url = |entry: &'b Value| Some((entry["fullUrl"].as_str()?, &entry["resource"]));
        Self {
            resources: entries().map(|entry| &entry["resource"]).collect(),
            by_url: entries().filter_map(url).collect(),
        }
    }

    /// True if any resource of the type has the value at the path.
    pub(crate) fn has(&self, demand: &Demand) -> bool {
        let roots = self.resources.iter().copied().filter(|resource| resource["resourceType"] == demand.root.as_str());
        roots.flat_map(|root| self.at(root, &demand.path)).any(|value| match &demand.want {
            Want::Something => true,
            Want::OneOf(all) => all.iter().any(|text| is_same(text, value)),
        })
    }

    fn at(&self, value: &'b Value, path: &[Step]) -> Vec<&'b Value> {
        if let Value::Array(members) = value {
            return members.iter().flat_map(|member| self.at(member, path)).collect();
        }
        let Some((step, rest)) = path.split_first() else { return vec![value] };
        match step {
            Step::Child(name) => {
                let members = [value.get(name), value.get(format!("_{name}"))];
                members.into_iter().flatten().flat_map(|member| self.at(member, rest)).collect()
            }
            Step::Resource(kind) => {
                let target = value["reference"].as_str().and_then(|url| self.by_url.get(url).copied());
                match target.filter(|target| target["resourceType"] == kind.as_str()) {
                    // A place is also in what it is a part of.
                    Some(target) => {
                        let mut found = self.at(target, rest);
                        if kind == "Location" {
                            found.extend(self.at(&target["partOf"], path));
                        }
                        found
                    }
                    // A reference by the number alone.
                    None if !value["identifier"].is_null() => self.at(value, rest),
                    None => Vec::new(),
                }
            }
        }
    }
}

/// True if `value` says `text`, in FHIR's form.
fn is_same(text: &str, value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(|member| is_same(text, member)),
        Value::Array(members) => members.iter().any(|member| is_same(text, member)),
        Value::String(found) if found.starts_with("<div") => found.contains(text),
        Value::String(found) => plain(found) == plain(text) || is_same_time(text, found),
        Value::Number(number) => {
            number.to_string() == text || number.as_f64() == text.trim_start_matches('+').parse().ok()
        }
        Value::Bool(flag) => text == flag.to_string(),
        Value::Null => false,
    }
}

/// Without blanks at the ends and differences of case, and of how the guide writes URLs.
fn plain(text: &str) -> String {
    let text = text
        .trim()
        .to_lowercase()
        .replace("https://", "http://")
        .replace("/valueset/v2-", "/codesystem/v2-")
        .replace("v\\5.0", "5.0");
    // The page of an extension for its URL.
    let page = text.strip_suffix(".html").and_then(|page| page.split_once("/extension-"));
    let text = page.map_or(text.clone(), |(_, name)| format!("http://hl7.org/fhir/structuredefinition/{name}"));
    text.trim_end_matches(['.', '/']).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `202402291530` and `2024-02-29T15:30:00Z`; a date of a time.
fn is_same_time(text: &str, found: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let said = digits(text.split(['+', '-', '.']).next().unwrap_or_default());
    let time = digits(found.get(..19.min(found.len())).unwrap_or_default());
    let is_time =
        (4..=14).contains(&said.len()) && found.len() >= 4 && found.as_bytes().get(4).is_none_or(|b| *b == b'-');
    is_time && !time.is_empty() && (time.starts_with(&said) || (found.len() == 10 && said.starts_with(&time)))
        || (found.len() == 8 && found.as_bytes().get(2) == Some(&b':') && time.starts_with(&said))
}
