//! Failed logins, for the audit: each while they are few, and their number where somebody tries many. Whoever tries
//! cannot fill the disk: of each channel at most four events a minute are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use channels::{Clock, Stop};
use jiff::Timestamp;

use crate::store::{Record, Store};

/// So many of each channel are told one by one in a window.
const SINGLY: u32 = 3;
/// A window, and how often the number of the others is told.
const WINDOW: Duration = Duration::from_secs(60);
/// So many addresses are told apart.
const ADDRESSES: usize = 1000;

/// The failed logins of all channels.
pub(super) struct Logins {
    store: Store,
    clock: Clock,
    channels: Mutex<BTreeMap<String, Tries>>,
}

impl Logins {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, channels: Mutex::default() }
    }

    /// Somebody at `peer` did not show the credentials that `channel` asks for.
    pub(super) async fn failed(&self, channel: &str, peer: &str) {
        let at = (self.clock)();
        let told = {
            let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.entry(channel.to_owned()).or_default().failed(peer, at)
        };
        if let Some(told) = told {
            tracing::warn!(channel, peer, "credentials refused");
            self.tell(channel, told, at).await;
        }
    }

    /// Tells once a minute how many more there were, until `stop` fires.
    pub(super) async fn run(&self, mut stop: Stop) {
        while stop.or(tokio::time::sleep(WINDOW)).await.is_some() {
            self.tell_rest().await;
        }
        self.tell_rest().await;
    }

    async fn tell_rest(&self) {
        let at = (self.clock)();
        let rest: Vec<(String, Told)> = {
            let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.iter_mut().filter_map(|(channel, tries)| Some((channel.clone(), tries.rest()?))).collect()
        };
        for (channel, told) in rest {
            let (times, addresses) = (told.times, told.addresses);
            tracing::warn!(channel, times, addresses, "credentials refused, again and again");
            self.tell(&channel, told, at).await;
        }
    }

    async fn tell(&self, channel: &str, told: Told, at: Timestamp) {
        let Told { peer, times, addresses } = told;
        let record = Record::TurnedAway { at, channel: channel.to_owned(), peer, times, addresses };
        if let Err(error) = self.store.record(vec![record]).await {
            tracing::error!(channel, times, %error, "the audit does not tell of failed logins");
        }
    }
}

/// What is told of one or more.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// Where the last came from.
    peer: String,
    times: u64,
    /// From how many addresses, as far as they were told apart.
    addresses: u64,
}

/// The failed logins of one channel. Pure: the time is passed in.
#[derive(Default)]
struct Tries {
    /// When the window began, and how many of it were told one by one.
    window: Option<Timestamp>,
    singly: u32,
    /// How many were not told yet, where from, and where the last came from.
    untold: u64,
    addresses: BTreeSet<String>,
    last: String,
}

impl Tries {
    /// One more, and what is to be told at once.
    fn failed(&mut self, peer: &str, now: Timestamp) -> Option<Told> {
        // A clock that jumped back must not silence anything for long.
        let age = self.window.map(|since| Duration::try_from(now.duration_since(since)).unwrap_or(WINDOW));
        if age.is_none_or(|age| age >= WINDOW) {
            (self.window, self.singly) = (Some(now), 0);
        }
        if self.singly < SINGLY {
            self.singly += 1;
            return Some(Told { peer: peer.to_owned(), times: 1, addresses: 1 });
        }
        self.untold = self.untold.saturating_add(1);
        peer.clone_into(&mut self.last);
        if self.addresses.len() < ADDRESSES {
            self.addresses.insert(peer.to_owned());
        }
        None
    }

    /// What was not told yet.
    fn rest(&mut self) -> Option<Told> {
        let times = std::mem::take(&mut self.untold);
        let addresses = std::mem::take(&mut self.addresses).len() as u64;
        (times > 0).then(|| Told { peer: std::mem::take(&mut self.last), times, addresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn few_are_told_one_by_one_and_many_by_their_number() {
        let mut tries = Tries::default();
        let singly = (0..1000).filter_map(|number| tries.failed(&format!("192.0.2.{}", number % 7), at(number / 20)));
        assert_eq!(singly.count(), 3);
        assert_eq!(tries.rest(), Some(Told { peer: "192.0.2.5".to_owned(), times: 997, addresses: 7 }));
        assert_eq!(tries.rest(), None);
        assert!(tries.failed("192.0.2.9", at(59)).is_none() && tries.failed("192.0.2.9", at(60)).is_some());
        // The clock was set back by a day: what comes is told.
        assert!(tries.failed("192.0.2.9", at(60 - 86_400)).is_some());
    }

    #[test]
    fn an_attack_from_everywhere_takes_no_memory_to_speak_of() {
        let mut tries = Tries::default();
        (0..50_000).for_each(|number| _ = tries.failed(&number.to_string(), at(1)));
        assert_eq!((tries.addresses.len(), tries.untold), (ADDRESSES, 49_997));
    }
}
