//! Who wrote each entry: by the Provenance about it, else by its own elements.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

use crate::json::{Map, Text, Value};

use super::directory::{Directory, Party};
use super::entry::{items, list, push};
use super::links::{ByName, Links};
use super::reference::{Names, named_by};

/// What a message says of who wrote its entries, as it stands; worked out when it is asked for, as most decisions do not.
#[derive(Default)]
pub(super) struct Authors {
    provenances: Vec<Statement>,
    /// Whom entries name by elements of their own, each with the entry's number.
    by_elements: Vec<(usize, Stated)>,
    /// How those who are stated are named, and what Provenances are about: list after list.
    names: Names,
    /// Who wrote each entry.
    made: OnceLock<Vec<Option<Arc<Party>>>>,
}

/// What a Provenance says.
struct Statement {
    agents: Vec<Stated>,
    /// What it is about: which list of names.
    targets: usize,
}

/// Someone named as author.
struct Stated {
    /// Which list of names.
    names: usize,
    /// False where it is only likely that they are the author.
    sure: bool,
}

impl Authors {
    /// Takes up a Provenance.
    pub(super) fn add(&mut self, provenance: &Value) {
        list(provenance, "target").for_each(|target| named_by(target, &mut self.names));
        let targets = self.end_names();
        let agents = list(provenance, "agent").filter_map(|agent| self.agent(agent)).collect();
        self.provenances.push(Statement { agents, targets });
    }

    /// Ends a list of names: its number.
    fn end_names(&mut self) -> usize {
        self.names.end();
        self.names.len() - 1
    }

    /// An author that a Provenance names, with the organisation that they act for.
    fn agent(&mut self, agent: &Value) -> Option<Stated> {
        let roles = || list(agent, "type").flat_map(|role| list(role, "coding"));
        let codes =
            || roles().filter_map(|role| role.get("code")?.as_str()).map(str::trim).filter(|code| !code.is_empty());
        let sure = codes().any(|code| matches!(code, "author" | "AUT"));
        if !sure && codes().next().is_some() {
            return None;
        }
        for who in ["who", "onBehalfOf"].iter().filter_map(|key| agent.get(*key)) {
            named_by(who, &mut self.names);
        }
        Some(Stated { names: self.end_names(), sure })
    }

    /// Takes up whom an entry names by its own elements: the first of [`AUTHORS`] for certain, the rest perhaps.
    pub(super) fn add_elements(&mut self, entry: usize, elements: &Map) {
        let mut present = [None; AUTHORS.len()];
        for (name, value) in elements.iter().filter(|(name, _)| matches!(name.len(), 6 | 8 | 9 | 17)) {
            let rank = AUTHORS.iter().position(|known| name == known);
            rank.and_then(|rank| present.get_mut(rank)).into_iter().for_each(|slot| *slot = Some(value));
        }
        for (rank, value) in present.into_iter().flatten().enumerate() {
            for value in items(value) {
                let who = value.get("actor").unwrap_or(value);
                named_by(who, &mut self.names);
                let names = self.end_names();
                self.by_elements.push((entry, Stated { names, sure: rank == 0 }));
            }
        }
    }

    /// Who wrote an entry; `None` where nobody is named.
    pub(super) fn of(&self, entry: usize, links: &Links, directory: &Directory) -> Option<&Arc<Party>> {
        self.made.get_or_init(|| self.make(links, directory)).get(entry)?.as_ref()
    }

    fn make(&self, links: &Links, directory: &Directory) -> Vec<Option<Arc<Party>>> {
        let about = About::of(&self.provenances, &self.names, links);
        // Those named by several Provenances together: most entries have the same.
        let mut parties: ByName<Vec<usize>, Option<Arc<Party>>> = ByName::default();
        let mut by_elements = self.by_elements.iter().peekable();
        let each = (0..links.entries()).map(|entry| {
            let own: Vec<&Stated> =
                std::iter::from_fn(|| by_elements.next_if(|(of, _)| *of == entry)).map(|(_, stated)| stated).collect();
            let mut told_by = about.entry(entry, links);
            told_by.retain(|at| self.provenances.get(*at).is_some_and(|statement| !statement.agents.is_empty()));
            if told_by.is_empty() {
                return party(own, &self.names, directory).map(Arc::new);
            }
            if let Some(known) = parties.get(&told_by) {
                return known.clone();
            }
            let stated =
                told_by.iter().filter_map(|at| self.provenances.get(*at)).flat_map(|statement| &statement.agents);
            let party = party(stated, &self.names, directory).map(Arc::new);
            parties.insert(told_by, party.clone());
            party
        });
        each.collect()
    }
}

/// Which Provenances are about what.
struct About {
    /// Each entry, as it is called in the message.
    entries: Vec<Vec<usize>>,
    /// What goes by another name.
    others: ByName<Text, Vec<usize>>,
}

impl About {
    fn of(provenances: &[Statement], names: &Names, links: &Links) -> Self {
        let count = links.entries();
        // The entry of each `fullUrl`; the last where several have the same.
        let urls: ByName<&Text, usize> = (0..count).filter_map(|at| Some((links.url(at)?, at))).collect();
        let own = |entry: usize| links.names_of(entry).first();
        // Where several entries have one reference, each has what is said of any.
        let distinct = (0..count).filter_map(own).collect::<HashSet<&Text, RandomState>>().len() == count;
        let mut about = Self { entries: vec![Vec::new(); count], others: ByName::default() };
        for (at, statement) in provenances.iter().enumerate() {
            for target in names.normal(statement.targets) {
                let known = urls.get(&target).copied();
                match known.and_then(|entry| about.entries.get_mut(entry).filter(|_| distinct)) {
                    Some(entry) => entry.push(at),
                    None => {
                        let name = known.and_then(own).cloned().unwrap_or(target);
                        about.others.entry(name).or_default().push(at);
                    }
                }
            }
        }
        about
    }

    /// Those about an entry, by all its names; each once, in order.
    fn entry(&self, entry: usize, links: &Links) -> Vec<usize> {
        let mut about = self.entries.get(entry).cloned().unwrap_or_default();
        if !self.others.is_empty() {
            about.extend(links.names_of(entry).iter().filter_map(|name| self.others.get(name)).flatten());
        }
        about.sort_unstable();
        about.dedup();
        about
    }
}

/// Elements that name an author where no Provenance does, the nearest to that first.
const AUTHORS: [&str; 8] =
    ["author", "performer", "recorder", "asserter", "requester", "informationSource", "provider", "sender"];

/// All authors as one party; `None` where nobody is named.
fn party<'a>(stated: impl IntoIterator<Item = &'a Stated>, listed: &Names, directory: &Directory) -> Option<Party> {
    let mut all: Option<Party> = None;
    for Stated { names, sure } in stated {
        let names: Vec<Text> = listed.normal(*names).collect();
        let party = all.get_or_insert_default();
        if names.iter().all(|name| name.is_empty()) {
            party.obscure = true;
            continue;
        }
        let one = directory.party(&names);
        one.own.into_iter().filter(|_| *sure).for_each(|name| push(&mut party.own, name));
        let certain = if *sure { &mut party.sure } else { &mut party.maybe };
        one.sure.into_iter().for_each(|name| push(certain, name));
        one.maybe.into_iter().for_each(|name| push(&mut party.maybe, name));
    }
    all
}
