//! A message as lines and separators, no more.

/// One segment: its name, and its fields as texts, of which the first is the name.
#[derive(Clone, Debug)]
pub(crate) struct Segment<'m> {
    pub(crate) fields: Vec<&'m str>,
}

impl<'m> Segment<'m> {
    /// All segments of a message with the usual separators.
    pub(crate) fn all(message: &'m str) -> Vec<Self> {
        let lines = message.split(['\r', '\n']).filter(|line| !line.trim().is_empty());
        lines.map(|line| Self { fields: line.trim_end().split('|').collect() }).collect()
    }

    pub(crate) fn name(&self) -> &'m str {
        self.fields[0]
    }

    pub(crate) fn field(&self, number: usize) -> &'m str {
        // In MSH the separator itself is the first field.
        let at = if self.name() == "MSH" { number - 1 } else { number };
        self.fields.get(at).copied().unwrap_or_default()
    }
}

/// Component `number` of `text`; whoever has no components has one.
pub(crate) fn component(text: &str, number: usize) -> &str {
    part(text, if text.contains('^') { '^' } else { '&' }, number)
}

pub(crate) fn part(text: &str, mark: char, number: usize) -> &str {
    text.split(mark).nth(number - 1).unwrap_or_default()
}

/// True if anything stands there.
pub(crate) fn is_valued(text: &str) -> bool {
    text.chars().any(|c| !matches!(c, '^' | '&' | '~' | ' ')) && text != "\"\""
}
