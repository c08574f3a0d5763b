//! The HL7 v2 message as scripts see it: values by path.

use message::hl7v2::{Message, Path, Segment};

/// One value: nothing, `""` or text with its escape sequences undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// HL7's `""`.
    Null,
    /// A value.
    Text(String),
}

/// The values at `path`, in order: of every segment and repetition that it does not number. Within `segment` (its
/// place in the message) the path may begin with the field.
///
/// # Errors
///
/// For a person, if `path` is none.
pub(super) fn values(message: &Message, path: &str, segment: Option<usize>) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    match segment {
        None => {
            let path: Path = path.parse()?;
            let nth = path.occurrence.unwrap_or(0);
            let named = message.segments_named(&path.segment).enumerate();
            for (_, segment) in named.filter(|(i, _)| nth == 0 || i + 1 == nth) {
                collect(&segment, &path, &mut found);
            }
        }
        Some(number) => {
            let Some(segment) = message.nth(number) else { return Ok(found) };
            let whole = if path.starts_with(|c: char| c.is_ascii_digit()) {
                format!("{}-{path}", segment.name())
            } else {
                path.to_owned()
            };
            let path: Path = whole.parse()?;
            if path.segment == segment.name() {
                collect(&segment, &path, &mut found);
            }
        }
    }
    Ok(found)
}

fn collect(segment: &Segment<'_>, path: &Path, found: &mut Vec<Found>) {
    let Some(number) = path.field else { return found.push(Found::Text(segment.text().to_owned())) };
    let field = segment.field(number);
    for (i, repetition) in field.repetitions().enumerate() {
        if path.repetition.is_some_and(|nth| nth != i + 1) {
            continue;
        }
        macro_rules! take {
            ($part:expr) => {{
                let part = $part;
                if part.is_null() {
                    found.push(Found::Null);
                } else if part.is_valued() {
                    found.push(Found::Text(part.value().into_owned()));
                }
            }};
        }
        match (path.component, path.subcomponent) {
            (None, _) => take!(repetition),
            (Some(component), None) => take!(repetition.component(component)),
            (Some(component), Some(sub)) => take!(repetition.component(component).subcomponent(sub)),
        }
    }
}
