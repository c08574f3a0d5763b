//! `performer[2](PractitionerRole.telecom)`: target paths, checked against R4 and cut into steps.

use message::fhir::definitions::{Element, Kind, TypeId, types};

use super::error::Wrong;
use super::plan::{Step, Target};

/// The label that `[each]` compiles to.
pub(crate) const EACH: u16 = u16::MAX;

/// The label of a list member that several segments fill: `shared` of their tables.
pub(crate) const SHARED: u16 = u16::MAX - 1;

/// Reads `path` below an element of kind `base`.
pub(super) fn read(path: &str, base: Kind) -> Result<Target, Wrong> {
    let (sibling, path) = leading_label(path);
    let mut reader = Reader { rest: path, kind: base, parent: base, steps: Vec::new(), depth: 0 };
    if !matches!(path, "$this" | "$value" | "") {
        reader.path()?;
    }
    let each = reader.steps.iter().any(|step| matches!(step, Step::Element { label: EACH, .. }));
    let multiplies = multiplied(&reader.steps);
    Ok(Target { sibling, multiplies, kind: reader.kind, parent: reader.parent, steps: reader.steps, each, way: None })
}

/// `[2].given` is about the second instance of what the table makes.
fn leading_label(path: &str) -> (u16, &str) {
    let cut = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match cut.and_then(|(label, rest)| Some((label.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))) {
        Some((label, rest)) => (label, rest),
        None => (1, path),
    }
}

/// The step that a repetition of the source gets anew: the one with `[each]`, else the last list,
/// of extensions in extensions the outermost.
fn multiplied(steps: &[Step]) -> Option<usize> {
    let list = |step: &Step| matches!(step, Step::Element { element, .. } if element.list);
    let each = steps.iter().position(|step| matches!(step, Step::Element { label: EACH, .. }));
    if each.is_some() {
        return each;
    }
    let mut at = steps.iter().rposition(list)?;
    let is_extension =
        |i: usize| matches!(steps.get(i), Some(Step::Element { element, .. }) if element.name == "extension");
    while is_extension(at) && at > 0 && is_extension(at - 1) {
        at -= 1;
    }
    Some(at)
}

struct Reader<'a> {
    rest: &'a str,
    kind: Kind,
    parent: Kind,
    steps: Vec<Step>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn path(&mut self) -> Result<(), Wrong> {
        loop {
            self.element()?;
            if self.sign('(') {
                let goes_on = self.resource()?;
                self.depth += 1;
                if goes_on {
                    continue;
                }
            }
            while self.depth > 0 && self.sign(')') {
                self.depth -= 1;
            }
            if self.rest.is_empty() && self.depth == 0 {
                return Ok(());
            }
            if !self.sign('.') {
                return Err(Wrong::new(format!("`{}` is left over in the path", self.rest)));
            }
        }
    }

    fn element(&mut self) -> Result<(), Wrong> {
        let name = self.name();
        let owner = self.owner()?;
        let owner_type = types().get(owner);
        let Some(element) = owner_type.element(name) else {
            let what = format!("R4's {} has no element", owner_type.name);
            return Err(Wrong::unknown(&what, name, owner_type.names()));
        };
        let label = self.label()?;
        self.parent = Kind::Complex(owner);
        self.kind = element.kind;
        self.steps.push(Step::Element { element, label, target: 0 });
        Ok(())
    }

    /// What the next element belongs to; the extensions of a primitive hang on `Element`.
    fn owner(&self) -> Result<TypeId, Wrong> {
        match self.kind {
            Kind::Complex(id) => Ok(id),
            Kind::Primitive(_) => types().id("Element").ok_or_else(|| Wrong::new("R4's Element is missing")),
        }
    }

    /// Takes `PractitionerRole[1].`; true if a path within the resource follows.
    fn resource(&mut self) -> Result<bool, Wrong> {
        let name = self.name();
        let Some(id) = types().id(name) else {
            return Err(Wrong::unknown("there is no resource", name, types().names()));
        };
        let Some(Step::Element { element, target, .. }) = self.steps.last_mut() else {
            return Err(Wrong::new("a resource needs a reference before it"));
        };
        if !is_reference(element) {
            return Err(Wrong::new(format!("`{}` is no reference, so no resource can follow", element.name)));
        }
        *target = id.0 + 1;
        let label = self.label()?;
        self.kind = Kind::Complex(id);
        self.steps.push(Step::Resource { kind: id, label });
        Ok(self.sign('.'))
    }

    fn name(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        name
    }

    /// `[2]`, `[each]`, `[1-3]` (which is 1); 0 where there is none.
    fn label(&mut self) -> Result<u16, Wrong> {
        let Some(after) = self.rest.strip_prefix('[') else { return Ok(0) };
        let (label, rest) = after.split_once(']').ok_or_else(|| Wrong::new("`[` without `]`"))?;
        self.rest = rest;
        if label == "each" {
            return Ok(EACH);
        }
        let first = label.split('-').next().unwrap_or(label);
        first.parse().map_err(|_| Wrong::new(format!("`[{label}]` is no number and not `[each]`")))
    }

    fn sign(&mut self, sign: char) -> bool {
        let found = self.rest.strip_prefix(sign);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }
}

fn is_reference(element: &Element) -> bool {
    matches!(element.kind, Kind::Complex(id) if types().get(id).name == "Reference")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, path: &str, expected: Result<(usize, Option<usize>), &str>) {
        let base = Kind::Complex(types().id(base).expect("a type"));
        let found = read(path, base).map(|target| (target.steps.len(), target.multiplies));
        let found = found.map_err(|wrong| format!("{} {}", wrong.text, wrong.help.unwrap_or_default()));
        assert_eq!(found.as_ref().map_err(|e| e.trim()), expected.as_ref().map_err(|e| *e));
    }

    #[test]
    fn cuts_paths_and_finds_what_a_repetition_multiplies() {
        check("Patient", "name[1].given[2]", Ok((2, Some(1))));
        check("Encounter", "participant[1].individual(Practitioner)", Ok((3, Some(0))));
        check("Patient", "generalPractitioner(PractitionerRole.telecom)", Ok((3, Some(2))));
        check("Patient", "extension[4].extension[1].valueCodeableConcept", Ok((3, Some(0))));
        check("Patient", "birthDate.extension[1].url", Ok((3, Some(1))));
        check("Patient", "gendre", Err("R4's Patient has no element `gendre` did you mean `gender`?"));
        check("Patient", "gender(Practitioner)", Err("`gender` is no reference, so no resource can follow"));
    }
}
