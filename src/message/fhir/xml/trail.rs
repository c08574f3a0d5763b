//! The way to an element, for the location of a fault.

/// An element, and which of a list.
pub(super) type Step<'a> = (&'a str, Option<usize>);

/// `Patient.name[0].given[1]`; names that no element could have are `?`, as they may be patient data.
pub(super) fn location(trail: &[Step<'_>]) -> Option<String> {
    let step = |(name, index): &Step<'_>| {
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let name = if is_name { name } else { "?" };
        index.map_or_else(|| name.to_owned(), |index| format!("{name}[{index}]"))
    };
    (!trail.is_empty()).then(|| trail.iter().map(step).collect::<Vec<_>>().join("."))
}
