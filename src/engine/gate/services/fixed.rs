//! Consents that a site has on file from the start (`consents/*.json`), for patients and feeds that bring none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use message::consent::by_entry::Directive;

use crate::config::ConsentConfig;
use crate::engine::gate::judge::THE_PATIENT;
use crate::engine::process::Hash;
use crate::store::Lane;

/// Fixed Consents, each weighed beside what is on file.
#[derive(Default)]
pub(in crate::engine::gate) struct Fixed {
    directives: Vec<Directive>,
    by_patient: HashMap<Lane, Vec<usize>>,
    by_name: BTreeMap<String, usize>,
}

impl Fixed {
    pub(super) fn new(rules: &ConsentConfig, hash: &Hash) -> Self {
        let mut fixed = Self::default();
        for consent in &rules.fixed {
            let at = fixed.directives.len();
            if consent.patients.is_empty() {
                fixed.by_name.insert(consent.name.clone(), at);
            }
            for identifier in &consent.patients {
                fixed.by_patient.entry(hash(identifier.as_bytes())).or_default().push(at);
            }
            fixed.directives.push(Directive { patient: vec![THE_PATIENT.into()], ..consent.directive.clone() });
        }
        fixed
    }

    /// Those of the patient that goes by `subjects`, and those of all that comes by a channel which names `feed`.
    pub(in crate::engine::gate) fn of<'a>(&'a self, subjects: &[Lane], feed: &[String]) -> Vec<&'a Directive> {
        let theirs = subjects.iter().filter_map(|subject| self.by_patient.get(subject)).flatten();
        let feeds = feed.iter().filter_map(|name| self.by_name.get(name));
        let places: BTreeSet<usize> = theirs.chain(feeds).copied().collect();
        places.into_iter().filter_map(|at| self.directives.get(at)).collect()
    }
}
