//! What refers to what among the resources on hand, each by all its names: a Consent may name an encounter by its number,
//! and data by its id.

use std::collections::HashMap;
use std::sync::OnceLock;

use foldhash::fast::RandomState;

use crate::json::{Text, Value};

use super::lists::Lists;
use super::reading::{Known, has_parts};
use super::reference::{Name, Names};

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
    /// All names of each: its own reference first, then the `fullUrl` where it has one.
    names: Names,
    /// What each refers to, as it says.
    refers: Names,
    /// Of each entry, whether it has a `fullUrl`.
    with_url: Vec<bool>,
    /// Made when it is asked for: most decisions do not.
    index: OnceLock<Index>,
}

/// What refers to what, found by name.
struct Index {
    names: Lists<Text>,
    /// What each refers to; entries by their own reference.
    refers: Lists<Text>,
    /// Whose name something is, of those that have several.
    owners: ByName<Text, Owner>,
    /// The entries by their own reference; the last where several have the same.
    entries: ByName<Text, usize>,
    /// Which refer to each entry.
    referred: OnceLock<Vec<Vec<usize>>>,
}

impl Links {
    /// With room for so many entries.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            names: Names::with_capacity(count, 3 * count),
            refers: Names::with_capacity(count, 6 * count),
            with_url: Vec::with_capacity(count),
            index: OnceLock::new(),
        }
    }

    /// Takes up an entry; its references are added with [`Links::refers_mut`] before.
    pub(super) fn add_entry(&mut self, own: &str, url: Option<&Text>, resource: &Value) {
        self.with_url.push(url.is_some());
        self.add(own, url.map(Text::as_str), resource);
    }

    /// Takes up what is no entry, in the same way, after all entries.
    pub(super) fn add_around(&mut self, own: &str, resource: &Value) {
        self.add(own, None, resource);
    }

    /// Where the references of what is taken up next are to be added.
    pub(super) fn refers_mut(&mut self) -> &mut Names {
        &mut self.refers
    }

    fn add(&mut self, own: &str, url: Option<&str>, resource: &Value) {
        self.names.push(Name::Own(own));
        url.into_iter().for_each(|url| self.names.push(Name::Own(url)));
        let identifiers = super::entry::list(resource, "identifier").filter_map(Name::of_identifier);
        identifiers.for_each(|name| self.names.push(name));
        self.names.end();
        self.refers.end();
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        self.with_url.len()
    }

    /// The `fullUrl` of an entry, if it has one.
    pub(super) fn url(&self, number: usize) -> Option<&Text> {
        let has_url = self.with_url.get(number) == Some(&true);
        self.names_of(number).get(1).filter(|_| has_url)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let count = self.entries();
            let names = Lists::of((0..self.names.len()).map(|number| self.names.normal(number)));
            let mut owners = ByName::with_capacity_and_hasher(2 * count, RandomState::default());
            let mut entries = ByName::with_capacity_and_hasher(count, RandomState::default());
            let mut urls: ByName<&Text, &Text> = ByName::with_capacity_and_hasher(count, RandomState::default());
            for (number, names) in names.iter().enumerate() {
                let (is_entry, has_url) = (number < count, self.with_url.get(number) == Some(&true));
                if let Some(own) = names.first().filter(|_| is_entry) {
                    entries.insert(own.clone(), number);
                    names.get(1).filter(|_| has_url).into_iter().for_each(|url| _ = urls.insert(url, own));
                }
                // What has one name only is told from others by that.
                for name in names.iter().filter(|_| !is_entry || names.len() > 1) {
                    let owner = Owner { number, alone: true };
                    owners.entry(name.clone()).and_modify(|owner: &mut Owner| owner.alone = false).or_insert(owner);
                }
            }
            let own = |name: Text| urls.get(&name).map_or(name, |own| Text::clone(own));
            let refers = Lists::of((0..self.refers.len()).map(|number| self.refers.normal(number).map(own)));
            Index { names, refers, owners, entries, referred: OnceLock::new() }
        })
    }

    /// All names of what alone goes by `name`.
    fn others(&self, name: &str) -> &[Text] {
        let owner = self.index().owners.get(name).filter(|owner| owner.alone);
        owner.map(|owner| self.names_of(owner.number)).unwrap_or_default()
    }

    /// All names of one, its own reference first.
    pub(super) fn names_of(&self, number: usize) -> &[Text] {
        self.index().names.get(number)
    }

    fn refers_of(&self, number: usize) -> &[Text] {
        self.index().refers.get(number)
    }

    /// True if that refers to what goes by `name`.
    pub(super) fn refers(&self, number: usize, name: &Text) -> bool {
        self.refers_of(number).iter().any(|own| own == name || self.others(own).contains(name))
    }

    /// True if what goes by `name` refers to that entry.
    pub(super) fn is_referred(&self, number: usize, name: &Text) -> bool {
        let referred = self.index().referred.get_or_init(|| self.referred()).get(number);
        referred.into_iter().flatten().any(|from| {
            let from = self.names_of(*from).first();
            from.is_some_and(|from| from == name || self.others(from).contains(name))
        })
    }

    /// The entries that an entry refers to.
    pub(super) fn targets(&self, number: usize) -> impl Iterator<Item = usize> {
        let entries = &self.index().entries;
        self.refers_of(number).iter().filter_map(|name| {
            let by_any_name = || self.others(name).first().and_then(|own| entries.get(own));
            entries.get(name).or_else(by_any_name).copied()
        })
    }

    fn referred(&self) -> Vec<Vec<usize>> {
        let mut by: ByName<&Text, Vec<usize>> = ByName::default();
        for from in 0..self.refers.len() {
            let targets = self.refers_of(from);
            let own = self.names_of(from).first();
            for target in targets.iter().filter(|target| Some(*target) != own) {
                by.entry(target).or_default().push(from);
            }
        }
        let of = |names: &[Text]| names.iter().filter_map(|name| by.get(name)).flatten().copied().collect();
        self.index().names.iter().map(of).collect()
    }
}

/// What `value` refers to, with all within it.
pub(super) fn references_in(value: &Value, to: &mut Names) {
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
