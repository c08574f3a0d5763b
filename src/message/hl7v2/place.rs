//! From a byte's offset to the segment and field that it stands in.

use std::collections::HashMap;

use super::Delimiters;

/// The field at byte `offset` of a message, as `OBX[3]-5`; a byte offset where that cannot be told. Never a value.
#[must_use]
pub fn place_of(message: &[u8], offset: usize) -> String {
    let Some(before) = message.get(..offset) else { return format!("byte {offset}") };
    let header = before.split(ends_line).find(|line| line.starts_with(b"MSH")).unwrap_or_default();
    let field = Delimiters::read_leniently(header).field;
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    let (mut place, mut at) = (None, 0);
    for line in before.split(ends_line) {
        // A line without a name is a line break within a value.
        if let Some(name) = name_of(line.trim_ascii_start(), field) {
            let occurrence = *seen.entry(name).and_modify(|n| *n += 1).or_insert(1);
            place = Some((name, occurrence, at));
        }
        at += line.len() + 1;
    }
    let Some((name, occurrence, start)) = place else { return format!("byte {offset}") };
    let name = String::from_utf8_lossy(name);
    let separators = before.get(start..).unwrap_or_default().iter().filter(|b| **b == field).count();
    let number = if matches!(&*name, "MSH" | "FHS" | "BHS") { separators + 1 } else { separators };
    format!("{name}[{occurrence}]-{number}")
}

fn ends_line(b: &u8) -> bool {
    matches!(b, b'\r' | b'\n')
}

/// The name that a segment begins with: three letters or digits before a field separator.
fn name_of(line: &[u8], field: u8) -> Option<&[u8]> {
    let (name, rest) = line.split_at_checked(3)?;
    let named = name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    (named && rest.first() == Some(&field)).then_some(name)
}
