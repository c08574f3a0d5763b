//! What of an address does not tell where somebody lives (45 CFR 164.514(b)(2)(i)(B)): the country, the state, and the first
//! three digits of a ZIP code whose area has more than 20,000 people.

use crate::json::{Map, Value, json};

/// Three-digit ZIP areas with 20,000 people or fewer (U.S. Census 2000, as HHS's guidance lists them, and 2010): they become `000`.
const SMALL: [&str; 22] = [
    "036", "059", "063", "102", "203", "205", "369", "556", "692", "753", "772", "790", "821", "823", "830", "831",
    "878", "879", "884", "890", "893", "896",
];

/// States, the District of Columbia and territories by their postal abbreviation.
const STATES: [&str; 59] = [
    "AK", "AL", "AR", "AS", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "FM", "GA", "GU", "HI", "IA", "ID", "IL", "IN",
    "KS", "KY", "LA", "MA", "MD", "ME", "MH", "MI", "MN", "MO", "MP", "MS", "MT", "NC", "ND", "NE", "NH", "NJ", "NM",
    "NV", "NY", "OH", "OK", "OR", "PA", "PR", "PW", "RI", "SC", "SD", "TN", "TX", "UT", "VA", "VI", "VT", "WA", "WI",
    "WV", "WY",
];

/// What of an address may stay; `None` where nothing does.
pub(super) fn address(members: &Map) -> Option<Value> {
    let text = |key: &str| members.get(key).and_then(Value::as_str).map(str::trim);
    let country =
        text("country").filter(|code| matches!(code.len(), 2 | 3) && code.bytes().all(|b| b.is_ascii_uppercase()));
    let domestic = matches!(text("country"), None | Some("US" | "USA"));
    let mut rest = Map::new();
    if let Some(state) = text("state").filter(|state| domestic && STATES.contains(state)) {
        rest.put("state", json!(state));
    }
    if let Some(zip) = text("postalCode").filter(|_| domestic).and_then(zip) {
        rest.put("postalCode", json!(zip));
    }
    if let Some(country) = country {
        rest.put("country", json!(country));
    }
    (!rest.is_empty()).then_some(Value::Object(rest))
}

/// The first three digits of a ZIP code; `000` where few people live there.
fn zip(code: &str) -> Option<&str> {
    let digits = code.get(..5).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let whole = matches!(code.len(), 5 | 9 | 10);
    let area = digits.filter(|_| whole)?.get(..3)?;
    Some(if SMALL.contains(&area) { "000" } else { area })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_of_an_address_stays() {
        let of = |value: Value| address(value.as_object().unwrap()).map(|rest| rest.to_string()).unwrap_or_default();
        let full = json!({ "line": ["1 Elm"], "city": "Troy", "state": "NY", "postalCode": "12180-0001", "country": "US", "text": "x" });
        assert_eq!(of(full), r#"{"state":"NY","postalCode":"121","country":"US"}"#);
        assert_eq!(of(json!({ "state": "VT", "postalCode": "05901" })), r#"{"state":"VT","postalCode":"000"}"#);
        assert_eq!(of(json!({ "state": "Bavaria", "postalCode": "80331", "country": "DEU" })), r#"{"country":"DEU"}"#);
        assert_eq!(of(json!({ "state": "Elm Street 1", "postalCode": "1 Elm", "country": "Springfield" })), "");
    }

    #[test]
    fn the_lists_are_in_order() {
        assert!(SMALL.is_sorted() && STATES.is_sorted());
    }
}
