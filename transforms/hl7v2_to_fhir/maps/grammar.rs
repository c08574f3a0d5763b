//! A message structure in HL7's abstract syntax: `MSH [{SFT}] {PATIENT: PID [PD1]}`.

use super::error::Wrong;
use super::plan::Node;

/// Reads a grammar; node 0 is the whole message.
///
/// `[ ]` is optional, `{ }` repeats, `< | >` is a choice, a name before `:` names a group.
pub(super) fn read(text: &str) -> Result<Vec<Node>, Wrong> {
    let root =
        Node { name: String::new(), parent: 0, children: Vec::new(), optional: false, repeats: false, is_group: true };
    let mut reader = Reader { rest: text, nodes: vec![root] };
    reader.items(0, false)?;
    if reader.rest.trim().is_empty() {
        Ok(reader.nodes)
    } else {
        Err(Wrong::new(format!("`{}` is left over", reader.rest.trim())))
    }
}

struct Reader<'a> {
    rest: &'a str,
    nodes: Vec<Node>,
}

impl Reader<'_> {
    fn items(&mut self, parent: usize, choice: bool) -> Result<(), Wrong> {
        loop {
            let rest = self.rest.trim_start().trim_start_matches('|').trim_start();
            self.rest = rest;
            let Some(next) = rest.chars().next().filter(|c| !matches!(c, ']' | '}' | '>')) else { return Ok(()) };
            match next {
                '[' | '{' | '<' => self.bracketed(parent, choice)?,
                _ => {
                    let name = self.name()?;
                    self.add(parent, name, (choice, false), false);
                }
            }
        }
    }

    /// `[{NAME: …}]` or `[{SEG}]`.
    fn bracketed(&mut self, parent: usize, choice: bool) -> Result<(), Wrong> {
        let mut closing = Vec::new();
        let (mut optional, mut repeats, mut is_choice) = (choice, false, false);
        while let Some(open) = self.rest.trim_start().chars().next().filter(|c| matches!(c, '[' | '{' | '<')) {
            self.rest = self.rest.trim_start().get(1..).unwrap_or_default();
            closing.push(match open {
                '[' => {
                    optional = true;
                    ']'
                }
                '{' => {
                    repeats = true;
                    '}'
                }
                _ => {
                    is_choice = true;
                    '>'
                }
            });
        }
        let before = self.rest;
        let name = self.name()?;
        let rest = self.rest.trim_start();
        if let Some(after) = rest.strip_prefix(':') {
            self.rest = after;
            let group = self.add(parent, name, (optional, repeats), true);
            self.items(group, is_choice)?;
        } else if rest.starts_with(['}', ']', '>']) {
            self.add(parent, name, (optional, repeats), false);
        } else {
            self.rest = before;
            let group = self.add(parent, String::new(), (optional, repeats), true);
            self.items(group, is_choice)?;
        }
        for close in closing.into_iter().rev() {
            let rest = self.rest.trim_start();
            self.rest =
                rest.strip_prefix(close).ok_or_else(|| Wrong::new(format!("`{close}` is expected at `{rest}`")))?;
        }
        Ok(())
    }

    fn add(&mut self, parent: usize, name: String, (optional, repeats): (bool, bool), is_group: bool) -> usize {
        let id = self.nodes.len();
        self.nodes.push(Node { name, parent, children: Vec::new(), optional, repeats, is_group });
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.children.push(id);
        }
        id
    }

    fn name(&mut self) -> Result<String, Wrong> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        self.rest = after;
        if name.is_empty() { Err(Wrong::new(format!("a name is expected at `{rest}`"))) } else { Ok(name.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_groups_choices_and_cardinality() {
        let nodes = read("MSH [{SFT}] {[PATIENT: PID [PD1]]} <OBR|RXO>").expect("a grammar");
        let shown: Vec<_> =
            nodes.iter().map(|n| format!("{}<{} {} {}", n.name, n.parent, n.optional, n.repeats)).collect();
        assert_eq!(shown[1..4], ["MSH<0 false false", "SFT<0 true true", "PATIENT<0 true true"]);
        assert_eq!(shown[4..6], ["PID<3 false false", "PD1<3 true false"]);
        assert_eq!(shown[6..], ["<0 false false", "OBR<6 true false", "RXO<6 true false"]);
        assert!(read("MSH [PID").is_err());
    }
}
