//! What refers to what among the resources on hand, each by all its names: a Consent may name an encounter by its number,
//! and data by its id.

use std::collections::HashMap;
use std::sync::OnceLock;

use foldhash::fast::RandomState;

use crate::json::{Text, Value};

use super::entry::{Known, has_parts};
use super::reference::identifier;

/// Something by name.
pub(super) type ByName<N, T> = HashMap<N, T, RandomState>;

/// Who goes by a name.
#[derive(Clone, Copy)]
struct Owner {
    number: usize,
    /// False where others go by it as well.
    alone: bool,
}

/// The references of a message's resources. Each has a number: entries first, then what stands around them.
#[derive(Default)]
pub(super) struct Links {
    /// All names of each, its own reference first.
    names: Vec<Vec<Text>>,
    /// What each refers to.
    refers: Vec<Vec<Text>>,
    /// Whose name something is, of those that have several.
    owners: ByName<Text, Owner>,
    /// The entries by their own reference; the last where several have the same.
    entries: ByName<Text, usize>,
    /// Which refer to each entry.
    referred: OnceLock<Vec<Vec<usize>>>,
}

impl Links {
    /// Takes up an entry that goes by `names`, its own reference first.
    pub(super) fn add_entry(&mut self, names: Vec<Text>, refers: Vec<Text>) {
        if let Some(own) = names.first() {
            self.entries.insert(own.clone(), self.names.len());
        }
        // What has one name only is told from others by that.
        let several = names.len() > 1;
        self.add(names, refers, several);
    }

    /// Takes up what is no entry.
    pub(super) fn add_around(&mut self, names: Vec<Text>, refers: Vec<Text>) {
        self.add(names, refers, true);
    }

    fn add(&mut self, names: Vec<Text>, refers: Vec<Text>, owns: bool) {
        let number = self.names.len();
        for name in names.iter().filter(|_| owns) {
            let owner = Owner { number, alone: true };
            self.owners.entry(name.clone()).and_modify(|owner| owner.alone = false).or_insert(owner);
        }
        self.names.push(names);
        self.refers.push(refers);
    }

    /// Brings all references to one name for each entry.
    pub(super) fn rename(&mut self, alias: impl Fn(&Text) -> Option<Text>) {
        for name in self.refers.iter_mut().flatten() {
            if let Some(known) = alias(name) {
                *name = known;
            }
        }
    }

    /// All names of what alone goes by `name`.
    fn others(&self, name: &str) -> &[Text] {
        let owner = self.owners.get(name).filter(|owner| owner.alone);
        owner.and_then(|owner| self.names.get(owner.number)).map(Vec::as_slice).unwrap_or_default()
    }

    fn names_of(&self, number: usize) -> &[Text] {
        self.names.get(number).map(Vec::as_slice).unwrap_or_default()
    }

    fn refers_of(&self, number: usize) -> &[Text] {
        self.refers.get(number).map(Vec::as_slice).unwrap_or_default()
    }

    /// True if that refers to what goes by `name`.
    pub(super) fn refers(&self, number: usize, name: &Text) -> bool {
        self.refers_of(number).iter().any(|own| own == name || self.others(own).contains(name))
    }

    /// True if what goes by `name` refers to that entry.
    pub(super) fn is_referred(&self, number: usize, name: &Text) -> bool {
        let referred = self.referred.get_or_init(|| self.referred()).get(number);
        referred.into_iter().flatten().any(|from| {
            let from = self.names_of(*from).first();
            from.is_some_and(|from| from == name || self.others(from).contains(name))
        })
    }

    /// The entries that an entry refers to.
    pub(super) fn targets(&self, number: usize) -> impl Iterator<Item = usize> {
        self.refers_of(number).iter().filter_map(|name| {
            let by_any_name = || self.others(name).first().and_then(|own| self.entries.get(own));
            self.entries.get(name).or_else(by_any_name).copied()
        })
    }

    fn referred(&self) -> Vec<Vec<usize>> {
        let mut by: ByName<&Text, Vec<usize>> = ByName::default();
        for (from, targets) in self.refers.iter().enumerate() {
            let own = self.names_of(from).first();
            for target in targets.iter().filter(|target| Some(*target) != own) {
                by.entry(target).or_default().push(from);
            }
        }
        let of = |names: &Vec<Text>| names.iter().filter_map(|name| by.get(name)).flatten().copied().collect();
        self.names.iter().map(of).collect()
    }
}

/// What `value` refers to, with all within it.
pub(super) fn references_in(value: &Value, to: &mut Vec<Text>) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items.iter().filter(|item| has_parts(item))),
            Value::Object(elements) => {
                let known = Known::of(elements, &mut waiting);
                known.refer(to);
                waiting.extend(known.meta);
            }
            _ => {}
        }
    }
}

/// The business identifiers of a resource.
pub(super) fn identifiers(resource: &Value) -> impl Iterator<Item = Text> {
    super::entry::list(resource, "identifier").filter_map(identifier)
}
