//! Time zones by their IANA names.

use jiff::tz::TimeZone;
use serde::de::{Deserialize, Deserializer, Error};

use super::nearest;

/// Reads a zone, such as `America/Chicago`.
pub(in crate::config) fn zone<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<TimeZone>,
{
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name).map(T::from).map_err(|_| {
        let names: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let meant = nearest::nearest(&name, names.iter().map(String::as_str));
        let help = meant.map_or("write it like `America/Chicago`".into(), |name| format!("did you mean `{name}`?"));
        D::Error::custom(format!("this is no IANA time zone; {help}"))
    })
}
