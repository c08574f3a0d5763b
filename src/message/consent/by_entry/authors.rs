//! Who wrote each entry: by the Provenance about it, else by its own elements.

use std::sync::Arc;

use crate::json::{Text, Value};

use super::directory::{Directory, Party};
use super::entry::{Coded, list, push};
use super::links::ByName;
use super::reference::{named, names};

/// The Provenances of a message by what they are about.
#[derive(Default)]
pub(super) struct Authors {
    /// Whom each Provenance names.
    stated: Vec<Vec<Stated>>,
    /// Which Provenances are about each entry, as it is called in the message.
    about_entry: Vec<Vec<usize>>,
    /// False where several entries have one reference: then each has what is said of any.
    distinct: bool,
    /// Which Provenances are about what goes by another name.
    about: ByName<Text, Vec<usize>>,
    /// Those named by several Provenances together: most entries have the same.
    parties: ByName<Vec<usize>, Option<Arc<Party>>>,
}

impl Authors {
    /// Of a message with so many entries, each with a reference of its own or not.
    pub(super) fn new(entries: usize, distinct: bool) -> Self {
        Self { about_entry: vec![Vec::new(); entries], distinct, ..Self::default() }
    }

    /// Takes up a Provenance; `entry` finds the place and the reference of what is called so in the message.
    pub(super) fn add<'a>(&mut self, provenance: &Value, entry: impl Fn(&str) -> Option<(usize, &'a Text)>) {
        let number = self.stated.len();
        self.stated.push(of_provenance(provenance));
        let mut targets = Vec::new();
        list(provenance, "target").for_each(|target| {
            named(target.get("reference"), target.get("identifier"), &mut targets);
        });
        for target in targets {
            let known = entry(&target);
            match known.and_then(|(at, _)| self.about_entry.get_mut(at).filter(|_| self.distinct)) {
                Some(about) => about.push(number),
                None => {
                    let name = known.map_or(target, |(_, reference)| reference.clone());
                    self.about.entry(name).or_default().push(number);
                }
            }
        }
    }

    /// Who wrote a resource that goes by `names`; `None` where nobody is named.
    pub(super) fn of(
        &mut self,
        resource: &Value,
        at: usize,
        names: &[Text],
        directory: &Directory,
    ) -> Option<Arc<Party>> {
        let mut about = self.about_entry.get_mut(at).map(std::mem::take).unwrap_or_default();
        if !self.about.is_empty() {
            about.extend(names.iter().filter_map(|name| self.about.get(name)).flatten());
        }
        about.sort_unstable();
        about.dedup();
        about.retain(|number| self.stated.get(*number).is_some_and(|stated| !stated.is_empty()));
        if about.is_empty() {
            return party(&of_elements(resource), directory).map(Arc::new);
        }
        if let Some(known) = self.parties.get(&about) {
            return known.clone();
        }
        let stated = about.iter().filter_map(|number| self.stated.get(*number)).flatten();
        let party = party(stated, directory).map(Arc::new);
        self.parties.insert(about, party.clone());
        party
    }
}

/// Someone named as author.
#[derive(Clone, Debug)]
struct Stated {
    names: Vec<Text>,
    /// False where it is only likely that they are the author.
    sure: bool,
}

/// The authors that a Provenance names, each with the organisation they act for.
fn of_provenance(provenance: &Value) -> Vec<Stated> {
    let stated = list(provenance, "agent").filter_map(|agent| {
        let roles: Vec<Coded> =
            list(agent, "type").flat_map(|role| list(role, "coding")).filter_map(Coded::of).collect();
        let sure = roles.iter().any(|role| matches!(&*role.code, "author" | "AUT"));
        if !sure && !roles.is_empty() {
            return None;
        }
        let who = ["who", "onBehalfOf"].iter().filter_map(|key| agent.get(*key)).flat_map(names).collect();
        Some(Stated { names: who, sure })
    });
    stated.collect()
}

/// Elements that name an author where no Provenance does, the nearest to that first.
const AUTHORS: &[&str] =
    &["author", "performer", "recorder", "asserter", "requester", "informationSource", "provider", "sender"];

/// The authors that a resource's own elements name: the first of [`AUTHORS`] for certain, the rest perhaps.
fn of_elements(resource: &Value) -> Vec<Stated> {
    let mut stated = Vec::new();
    let present = AUTHORS.iter().filter(|element| resource.get(**element).is_some());
    for (rank, element) in present.enumerate() {
        for value in list(resource, element) {
            let reference = value.get("actor").unwrap_or(value);
            stated.push(Stated { names: names(reference), sure: rank == 0 });
        }
    }
    stated
}

/// All authors as one party; `None` where nobody is named.
fn party<'a>(stated: impl IntoIterator<Item = &'a Stated>, directory: &Directory) -> Option<Party> {
    let mut all: Option<Party> = None;
    for Stated { names, sure } in stated {
        let party = all.get_or_insert_default();
        if names.iter().all(|name| name.is_empty()) {
            party.obscure = true;
            continue;
        }
        let one = directory.party(names);
        one.own.into_iter().filter(|_| *sure).for_each(|name| push(&mut party.own, name));
        let certain = if *sure { &mut party.sure } else { &mut party.maybe };
        one.sure.into_iter().for_each(|name| push(certain, name));
        one.maybe.into_iter().for_each(|name| push(&mut party.maybe, name));
    }
    all
}
