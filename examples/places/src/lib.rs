//! Counts the connections of a server, and bounds their number: in all, and from one address.
//!
//! ```text
//! accept --> Places::enter(address) --> None: drop the stream
//!                                   --> Place: hold it as long as the connection
//! ```
//!
//! [`Config`] bounds what one connection costs. Only the loop that accepts can bound how many there
//! are.
//!
//! [`Config`]: https://docs.rs/tickwire/latest/tickwire/struct.Config.html
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bounds of one server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections in their opening handshake. A handshake ends within
    /// `Config::handshake_timeout`.
    pub handshakes: usize,
    /// The most handshakes from one address. It stops an attacker that connects and says nothing.
    pub each_handshakes: usize,
    /// The most connections, including connections in their opening handshake.
    pub peers: usize,
    /// The most connections from one address. This limit stops an attacker that takes every place.
    pub each: usize,
}

impl Limits {
    /// Bounds all connections, without a separate bound for handshakes.
    #[must_use]
    pub fn of_connections(peers: usize, each: usize) -> Self {
        Self { handshakes: peers, each_handshakes: each, peers, each }
    }
}

/// The connections of a server, counted. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Places {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: Count,
    /// An address without a connection has no entry.
    from: HashMap<IpAddr, Count>,
}

/// Invariant: `handshakes <= peers`.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    peers: usize,
    handshakes: usize,
}

/// The place of one connection. Dropping this value frees the place.
#[derive(Debug)]
#[must_use]
pub struct Place {
    places: Places,
    from: IpAddr,
    /// Whether the opening handshake is under way.
    opening: bool,
}

impl Places {
    /// No connections yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// Counts a connection whose handshake begins. `None` if a limit is reached.
    pub fn enter(&self, from: IpAddr) -> Option<Place> {
        let from = counted_as(from);
        let mut taken = self.lock();
        let Limits { handshakes, each_handshakes, peers, each } = self.limits;
        let (all, same) = (taken.all, taken.from.get(&from).copied().unwrap_or_default());
        if all.peers >= peers
            || all.handshakes >= handshakes
            || same.peers >= each
            || same.handshakes >= each_handshakes
        {
            return None;
        }
        taken.change(from, |count| {
            count.peers += 1;
            count.handshakes += 1;
        });
        Some(Place { places: self.clone(), from, opening: true })
    }

    /// How many connections there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.lock().all.peers
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Changes the total count and the count of this address.
    fn change(&mut self, from: IpAddr, by: impl Fn(&mut Count)) {
        by(&mut self.all);
        let same = self.from.entry(from).or_default();
        by(same);
        if same.peers == 0 {
            self.from.remove(&from);
        }
    }
}

impl Place {
    /// Says that the opening handshake is over. A second call does nothing.
    pub fn opened(&mut self) {
        if self.opening {
            self.opening = false;
            self.places.lock().change(self.from, |count| count.handshakes -= 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.opened();
        self.places.lock().change(self.from, |count| count.peers -= 1);
    }
}

/// The address under which a connection counts: for IPv6, a subscriber's whole /64.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMITS: Limits = Limits { handshakes: 4, each_handshakes: 2, peers: 6, each: 3 };

    fn enter(places: &Places, from: &str) -> Option<Place> {
        places.enter(from.parse().unwrap())
    }

    #[test]
    fn one_address_takes_its_share_of_handshakes_and_of_places() {
        let places = Places::new(LIMITS);
        let mut inside: Vec<_> = (0..140).filter_map(|_| enter(&places, "10.0.0.1")).collect();
        assert_eq!(inside.len(), 2); // half-open
        inside.push(enter(&places, "10.0.0.2").unwrap());
        inside[0].opened();
        inside[0].opened(); // counts once
        inside.push(enter(&places, "10.0.0.1").unwrap());
        inside[1].opened();
        assert!(enter(&places, "10.0.0.1").is_none()); // three are inside
        drop(inside.remove(0));
        assert!(enter(&places, "10.0.0.1").is_some());
        drop(inside);
        assert_eq!(places.taken(), 0);
        assert!(places.lock().from.is_empty() && places.lock().all.handshakes == 0);
    }

    #[test]
    fn handshakes_and_places_end_for_all_addresses_together() {
        let places = Places::new(LIMITS);
        let mut inside: Vec<_> =
            (1..=9).filter_map(|n| enter(&places, &format!("10.0.0.{n}"))).collect();
        assert_eq!(inside.len(), 4);
        inside.iter_mut().for_each(Place::opened);
        inside.extend((5..=9).filter_map(|n| enter(&places, &format!("10.0.0.{n}"))));
        assert_eq!((inside.len(), places.taken()), (6, 6));
    }
}
