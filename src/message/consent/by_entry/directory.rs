//! Who belongs to whom: organisations, people and groups, and the parties made out of them.

use std::collections::BTreeSet;

use crate::json::{Text, Value};

use super::links::ByName;
use super::reference::normal;

/// Most steps from a department up to the whole.
const MOST_STEPS: usize = 32;

/// The organisations, practitioners and groups that a site knows (mCSD, or a file).
#[derive(Clone, Debug, Default)]
pub struct Directory {
    entities: ByName<Text, Entity>,
    groups: ByName<Text, BTreeSet<Text>>,
    by_identifier: ByName<Text, Text>,
    /// All that anyone has.
    flags: BTreeSet<Text>,
}

#[derive(Clone, Debug, Default)]
struct Entity {
    /// What it is part of, or whom it works for.
    above: Vec<Text>,
    /// True for an organisation.
    organisation: bool,
    kind: Option<Text>,
    flags: BTreeSet<Text>,
    identifiers: Vec<Text>,
}

/// One side of a disclosure, or an author: everything it answers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// What it was named as itself: references and identifiers of nothing that it is part of.
    pub own: Vec<Text>,
    /// What it is for certain: references and identifiers of itself, of what it is part of, of its groups.
    pub sure: Vec<Text>,
    /// What it may be: the organisations of a person who did not say for whom they act.
    pub maybe: Vec<Text>,
    /// True if someone is named who cannot be told from others (by display only).
    pub obscure: bool,
}

/// A directory that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("directory: {0}")]
pub struct DirectoryError(String);

impl Directory {
    /// Reads `{"organizations": {REF: {partOf, type, flags, identifier}}, "practitioners": {REF:
    /// {organizations, identifier}}, "groups": {REF: [REF]}}`.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`] where a table is not of that shape.
    pub fn read(value: &Value) -> Result<Self, DirectoryError> {
        let mut directory = Self::default();
        for (reference, entry) in table(value, "organizations")? {
            let above = text(entry, "partOf")?.into_iter().map(|whole| normal(&whole)).collect();
            directory.add(reference, Entity { above, organisation: true, ..entity(entry)? });
        }
        for (reference, entry) in table(value, "practitioners")? {
            let above = texts(entry, "organizations")?.iter().map(|employer| normal(employer)).collect();
            directory.add(reference, Entity { above, ..entity(entry)? });
        }
        for (group, members) in table(value, "groups")? {
            let members = members.as_array().ok_or_else(|| wrong("groups"))?;
            let members = members.iter().map(|member| member.as_str().map(normal).ok_or_else(|| wrong("groups")));
            directory.groups.insert(normal(group), members.collect::<Result<_, _>>()?);
        }
        Ok(directory)
    }

    fn add(&mut self, reference: &str, entity: Entity) {
        let reference = normal(reference);
        for identifier in &entity.identifiers {
            self.by_identifier.insert(identifier.clone(), reference.clone());
        }
        self.flags.extend(entity.flags.iter().cloned());
        self.entities.insert(reference, entity);
    }

    /// Adds an organisation by hand: `identifiers` are `SYSTEM|VALUE`.
    pub fn organisation(&mut self, reference: &str, kind: Option<&str>, flags: &[&str], identifiers: &[&str]) {
        self.add(
            reference,
            Entity {
                above: Vec::new(),
                organisation: true,
                kind: kind.map(Text::from),
                flags: flags.iter().copied().map(Text::from).collect(),
                identifiers: identifiers.iter().copied().map(Text::from).collect(),
            },
        );
    }

    /// Whom `identifier` (`SYSTEM|VALUE`) names.
    #[must_use]
    pub fn by_identifier(&self, identifier: &str) -> Option<&str> {
        self.by_identifier.get(identifier).map(AsRef::as_ref)
    }

    /// True if the members of `group` are known.
    #[must_use]
    pub fn knows_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// What kind of organisation `name` is: `provider`, `payer`, ….
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&str> {
        self.entity(name)?.kind.as_deref()
    }

    /// True if the organisation `name`, or what it is part of, has `flag`.
    #[must_use]
    pub fn has_flag(&self, name: &str, flag: &str) -> bool {
        self.line(name).iter().any(|name| self.entities.get(name).is_some_and(|entity| entity.flags.contains(flag)))
    }

    /// True if anyone has `flag`.
    #[must_use]
    pub fn knows_flag(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    fn entity(&self, name: &str) -> Option<&Entity> {
        self.entities.get(self.by_identifier(name).unwrap_or(name))
    }

    /// `name` and what it is part of, as references where the directory knows it.
    fn line(&self, name: &str) -> Vec<Text> {
        let mut line: Vec<Text> = vec![self.by_identifier(name).unwrap_or(name).into()];
        let mut at = 0;
        while let Some(here) = line.get(at).filter(|_| at < MOST_STEPS) {
            let above = self.entities.get(here).filter(|entity| entity.organisation).map(|entity| entity.above.clone());
            above.into_iter().flatten().for_each(|whole| {
                if !line.contains(&whole) {
                    line.push(whole);
                }
            });
            at += 1;
        }
        line
    }

    /// The party that goes by `names`, given together: a person and the organisation they act for.
    #[must_use]
    pub fn party(&self, names: &[Text]) -> Party {
        let mut sure: Vec<Text> = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            self.add_line(name, &mut sure);
        }
        self.add_groups(&mut sure);
        let acts_for_one = sure.iter().any(|name| name.starts_with("Organization/") || self.is_organisation(name));
        let mut maybe = Vec::new();
        if !acts_for_one {
            let people = names.iter().filter_map(|name| self.entity(name));
            people.flat_map(|person| &person.above).for_each(|employer| self.add_line(employer, &mut maybe));
            self.add_groups(&mut maybe);
        }
        let mut own: Vec<Text> = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            let entity = self.entity(name).map(|entity| entity.identifiers.iter().cloned());
            let reference = self.by_identifier(name).map(Text::from);
            let all = std::iter::once(name.clone()).chain(reference).chain(entity.into_iter().flatten());
            own.extend(all);
        }
        Party { own, sure, maybe, obscure: false }
    }

    /// What kind of organisation `name` is; where it is not said, what it is part of.
    #[must_use]
    pub fn nearest_kind(&self, name: &str) -> Option<&str> {
        self.line(name).iter().find_map(|name| self.entities.get(name)?.kind.as_deref())
    }

    /// What kinds of organisation a party may be: all of what it is, is part of, or may act for.
    #[must_use]
    pub fn kinds(&self, party: &Party) -> Vec<Text> {
        let all = party.sure.iter().chain(&party.maybe);
        let mut kinds: Vec<Text> = all.filter_map(|name| self.kind(name)).map(Text::from).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn is_organisation(&self, name: &str) -> bool {
        self.entity(name).is_some_and(|entity| entity.organisation)
    }

    fn add_line(&self, name: &str, to: &mut Vec<Text>) {
        let line = self.line(name);
        let identifiers = line.iter().filter_map(|name| self.entities.get(name)).flat_map(|entity| &entity.identifiers);
        let all = [Text::from(name)].into_iter().chain(line.iter().cloned()).chain(identifiers.cloned());
        all.for_each(|name| {
            if !to.contains(&name) {
                to.push(name);
            }
        });
    }

    /// The groups of `names`, and the groups of those groups.
    fn add_groups(&self, names: &mut Vec<Text>) {
        loop {
            let more: Vec<Text> = self
                .groups
                .iter()
                .filter(|(group, members)| !names.contains(group) && members.iter().any(|m| names.contains(m)))
                .map(|(group, _)| group.clone())
                .collect();
            if more.is_empty() {
                return;
            }
            names.extend(more);
        }
    }

    /// The people who work for `organisation` or a part of it, each with the groups they are in.
    #[must_use]
    pub fn staff(&self, organisation: &[Text]) -> Vec<Text> {
        let mut staff = Vec::new();
        for (person, entity) in self.entities.iter().filter(|(_, entity)| !entity.organisation) {
            let employers = entity.above.iter().flat_map(|employer| self.line(employer));
            if employers.into_iter().any(|employer| organisation.contains(&employer)) {
                staff.push(person.clone());
                staff.extend(entity.identifiers.iter().cloned());
            }
        }
        self.add_groups(&mut staff);
        staff
    }
}

fn wrong(table: &str) -> DirectoryError {
    DirectoryError(format!("`{table}` is not of the expected shape"))
}

fn table<'a>(value: &'a Value, name: &str) -> Result<Vec<(&'a Text, &'a Value)>, DirectoryError> {
    match value.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Object(table)) => Ok(table.iter().collect()),
        Some(_) => Err(wrong(name)),
    }
}

fn text(entry: &Value, key: &str) -> Result<Option<String>, DirectoryError> {
    match entry.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(wrong(key)),
    }
}

/// A text, or a list of texts.
fn texts(entry: &Value, key: &str) -> Result<Vec<String>, DirectoryError> {
    match entry.get(key) {
        Some(Value::Array(list)) => {
            list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong(key))).collect()
        }
        _ => Ok(text(entry, key)?.into_iter().collect()),
    }
}

fn entity(entry: &Value) -> Result<Entity, DirectoryError> {
    Ok(Entity {
        above: Vec::new(),
        organisation: false,
        kind: text(entry, "type")?.map(Text::from),
        flags: texts(entry, "flags")?.into_iter().map(Text::from).collect(),
        identifiers: texts(entry, "identifier")?.into_iter().map(Text::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    fn directory() -> Directory {
        Directory::read(&json!({
            "organizations": {
                "Organization/h": { "identifier": ["urn:x|H"], "type": "provider", "flags": ["part2-program"] },
                "Organization/ed": { "partOf": "Organization/h", "identifier": ["urn:x|ED"] },
            },
            "practitioners": { "Practitioner/e": { "organizations": ["Organization/ed"], "identifier": ["urn:y|E"] } },
            "groups": { "Group/g": ["Practitioner/e"], "Group/gg": ["Group/g"] },
        }))
        .unwrap()
    }

    #[test]
    fn a_department_is_part_of_the_whole() {
        let party = directory().party(&["Organization/ed".into()]);
        for name in ["Organization/ed", "urn:x|ED", "Organization/h", "urn:x|H"] {
            assert!(party.sure.contains(&name.into()), "{name}");
        }
        assert!(!directory().party(&["Organization/h".into()]).sure.contains(&"Organization/ed".into()));
        assert!(directory().has_flag("Organization/ed", "part2-program"));
    }

    #[test]
    fn a_person_is_in_their_groups_and_may_act_for_their_employer() {
        let alone = directory().party(&["urn:y|E".into()]);
        assert!(alone.sure.contains(&"Practitioner/e".into()) && alone.sure.contains(&"Group/gg".into()));
        assert!(alone.maybe.contains(&"Organization/h".into()));
        let acting = directory().party(&["Practitioner/e".into(), "Organization/other".into()]);
        assert!(acting.maybe.is_empty());
    }

    #[test]
    fn staff_are_those_of_all_departments_with_their_groups() {
        let staff = directory().staff(&["Organization/h".into()]);
        for name in ["Practitioner/e", "urn:y|E", "Group/g"] {
            assert!(staff.contains(&name.into()), "{name}");
        }
        assert!(directory().staff(&["Organization/other".into()]).is_empty());
    }

    #[test]
    fn survives_organisations_that_are_part_of_each_other() {
        let table = json!({ "organizations": { "Organization/a": { "partOf": "Organization/b" }, "Organization/b": { "partOf": "Organization/a" } } });
        assert_eq!(Directory::read(&table).unwrap().party(&["Organization/a".into()]).sure.len(), 2);
    }
}
