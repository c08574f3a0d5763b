//! What a reload would change.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::site::{Fingerprint, Site};

/// One part of a site, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which part.
    pub part: Part,
    /// What becomes of it.
    pub effect: Effect,
}

impl Change {
    /// True if a reload cannot do it.
    #[must_use]
    pub fn takes_a_restart(&self) -> bool {
        self.part == Part::Engine && self.effect == Effect::Changed
    }
}

/// A part of a site that is started and stopped by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// `tributary.toml`: a change takes a restart.
    Engine,
    /// The channel of this name.
    Channel(String),
    /// The destination of this name.
    Destination(String),
}

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its file, or something that it refers to, is another.
    Changed,
    /// It stays as it is.
    Unchanged,
}

/// Compares the site that runs with the one that would: every part of both, in a fixed order.
#[must_use]
pub fn plan(old: &Site, new: &Site) -> Vec<Change> {
    let engine = if old.engine == new.engine { Effect::Unchanged } else { Effect::Changed };
    let mut changes = vec![Change { part: Part::Engine, effect: engine }];
    let channels = |site: &Site| states(site.channels.iter().map(|(name, c)| (name, &c.hash, c.filled)));
    changes.extend(compare(&channels(old), &channels(new), Part::Channel));
    let destinations = |site: &Site| states(site.destinations.iter().map(|(name, d)| (name, &d.hash, d.filled)));
    changes.extend(compare(&destinations(old), &destinations(new), Part::Destination));
    changes
}

type States = BTreeMap<String, (String, Fingerprint)>;

fn states<'a>(parts: impl Iterator<Item = (&'a String, &'a String, Fingerprint)>) -> States {
    parts.map(|(name, hash, filled)| (name.clone(), (hash.clone(), filled))).collect()
}

fn compare(old: &States, new: &States, part: fn(String) -> Part) -> Vec<Change> {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let effect = |name| match (old.get(name), new.get(name)) {
        (None, _) => Effect::Added,
        (_, None) => Effect::Removed,
        (before, after) if before == after => Effect::Unchanged,
        _ => Effect::Changed,
    };
    names.into_iter().map(|name| Change { part: part(name.clone()), effect: effect(name) }).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.effect {
            Effect::Added => '+',
            Effect::Removed => '-',
            Effect::Changed => '~',
            Effect::Unchanged => ' ',
        };
        write!(f, "{sign} {}: {}", self.part, self.effect)?;
        if self.takes_a_restart() { f.write_str(", takes a restart") } else { Ok(()) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("engine"),
            Self::Channel(name) => write!(f, "channel {name}"),
            Self::Destination(name) => write!(f, "destination {name}"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        })
    }
}
