//! Which URI stands for an assigning authority or a coding system.

use message::Context;
use message::json::Text;

use crate::hl7v2_to_fhir::hashed::Hashed;
use crate::hl7v2_to_fhir::maps::hl7_table_uri;
use crate::hl7v2_to_fhir::maps::plan::{Codes, Plan};
use crate::hl7v2_to_fhir::values;
use crate::universal;

/// Finds URIs: what the provider's table says, else what the name itself says, else a URI of the
/// site's own that is always the same for the same name.
pub(crate) struct Systems<'a> {
    context: &'a Context,
    coding: Option<&'a Codes>,
    made: Hashed<&'a str, Text>,
    site: &'a str,
    /// The provider's key as a segment of a URI.
    provider: String,
}

impl<'a> Systems<'a> {
    pub(super) fn new(plan: &'a Plan, context: &'a Context) -> Self {
        let coding = plan.coding_systems.and_then(|index| plan.codes.get(index));
        let mut provider = String::new();
        push_encoded(&mut provider, &context.provider.key);
        Self { context, coding, made: Hashed::default(), site: &context.base_uri, provider }
    }

    /// The system of identifiers that an HD (`namespace`, `id`, `id_type`) assigns.
    ///
    /// First `Provider.systems` by namespace, then by universal id; then the universal id by its
    /// type; then `<base_uri>/ns/<provider>/<namespace>`. Also tells which of the three it says.
    pub(super) fn of_identifiers(&self, namespace: &str, id: &str, id_type: &str) -> Option<(Text, [bool; 3])> {
        let systems = &self.context.provider.systems;
        let known = [namespace, id].into_iter().filter(|name| !name.is_empty()).find_map(|name| systems.get(name));
        if let Some(known) = known {
            return Some((Text::new(known), [true; 3]));
        }
        // Table 0301: a local one, which says no more.
        let says_no_more = matches!(id_type.trim(), "L" | "M" | "N");
        if let Some(universal) = universal::uri(id, id_type) {
            let says_type =
                ["ISO", "UUID", "GUID", "URI", "DNS"].iter().any(|of| id_type.trim().eq_ignore_ascii_case(of));
            return Some((Text::from(universal), [false, true, says_type || says_no_more]));
        }
        let by_name = !namespace.is_empty();
        let name = if by_name { namespace } else { id };
        (!name.trim().is_empty()).then(|| (self.own("ns", name), [by_name, !by_name, says_no_more]))
    }

    /// The system behind the name of a coding system (CWE.3): table 0396, HL7's own tables,
    /// `Provider.systems`, a URI or OID as it stands, else `<base_uri>/cs/<provider>/<name>`.
    pub(super) fn of_codes(&mut self, name: &'a str) -> Text {
        if let Some(made) = self.made.get(name) {
            return made.clone();
        }
        let made = self.find_codes(values::trimmed(name));
        self.made.insert(name, made.clone());
        made
    }

    fn find_codes(&self, name: &str) -> Text {
        let known = |name: &str| self.coding.and_then(|codes| codes.codes.get(name)).and_then(|t| t.first());
        if let Some(known) = self.context.provider.systems.get(name) {
            return Text::new(known);
        }
        if let Some(translation) = known(name).or_else(|| known(&name.to_ascii_uppercase())) {
            return translation.code.clone();
        }
        if let Some(uri) = hl7_table_uri(name) {
            return uri.into();
        }
        let is_uri = ["http://", "https://", "urn:"].iter().any(|scheme| name.starts_with(scheme));
        if is_uri && !name.contains(char::is_whitespace) {
            return Text::new(name);
        }
        if universal::is_oid(name) { format!("urn:oid:{name}").into() } else { self.own("cs", name) }
    }

    /// A URI below the site's own.
    pub(crate) fn own(&self, kind: &str, name: &str) -> Text {
        let mut out = String::with_capacity(self.site.len() + self.provider.len() + name.len() + 8);
        for part in [self.site, "/", kind, "/", &self.provider, "/"] {
            out.push_str(part);
        }
        push_encoded(&mut out, name);
        out.into()
    }
}

/// A name as one segment of a URI: what RFC 3986 does not reserve stays, the rest is encoded.
pub(crate) fn push_encoded(out: &mut String, name: &str) {
    for b in values::trimmed(name).bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            _ => {
                let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0').to_ascii_uppercase();
                out.extend(['%', digit(b >> 4), digit(b & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_in_uris() {
        let mut encoded = String::new();
        push_encoded(&mut encoded, "Lab & Ward/3");
        assert_eq!(encoded, "Lab%20%26%20Ward%2F3");
    }
}
