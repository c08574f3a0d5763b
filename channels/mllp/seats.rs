//! Counts the connections of a listener, in all and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The places there are for connections.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    most: usize,
    most_per_peer: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    peer: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSeat {
    #[error("max_connections is reached")]
    InAll,
    #[error("max_connections_per_peer is reached")]
    ForPeer,
}

impl Seats {
    pub(super) fn new(most: usize, most_per_peer: usize) -> Self {
        Self { most, most_per_peer, taken: Arc::default() }
    }

    /// A place for a connection from `peer`.
    pub(super) fn take(&self, peer: IpAddr) -> Result<Seat, NoSeat> {
        let peer = peer.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.most {
            return Err(NoSeat::InAll);
        }
        let from_peer = taken.get(&peer).copied().unwrap_or(0);
        if from_peer >= self.most_per_peer {
            return Err(NoSeat::ForPeer);
        }
        taken.insert(peer, from_peer + 1);
        Ok(Seat { peer, taken: self.taken.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_both_limits_and_frees_places() {
        let seats = Seats::new(3, 2);
        let [one, two]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let first = seats.take(one).unwrap();
        let _second = seats.take("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(seats.take(one).unwrap_err(), NoSeat::ForPeer);
        let _third = seats.take(two).unwrap();
        assert_eq!(seats.take(two).unwrap_err(), NoSeat::InAll);
        drop(first);
        seats.take(one).unwrap();
    }
}
