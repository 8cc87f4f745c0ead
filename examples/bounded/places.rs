//! Who is inside: bounds on how many are, on how many of them are still in their opening handshake, and
//! on either from one address. The example `game` has these too.
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Of one server.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// How many opening handshakes may be under way. Each ends within
    /// [`handshake_timeout`](tickwire::Config::handshake_timeout), and a second more if it is
    /// refused: a socket takes the answer at once.
    pub(crate) handshakes: usize,
    /// How many of them from one address: or one attacker, who only says nothing, has them all.
    pub(crate) each_handshakes: usize,
    /// How many peers may be inside, those in their handshake among them.
    pub(crate) peers: usize,
    /// How many of them from one address: or one attacker has all places.
    pub(crate) each: usize,
}

/// The places of a server.
#[derive(Clone)]
pub(crate) struct Places {
    limits: Limits,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    all: Count,
    /// No entry is none inside.
    from: HashMap<IpAddr, Count>,
}

/// Invariant: `handshakes <= peers`.
#[derive(Clone, Copy, Default)]
struct Count {
    peers: usize,
    handshakes: usize,
}

/// Being inside. Dropping it is leaving.
pub(crate) struct Place {
    places: Places,
    from: IpAddr,
    /// Its handshake is under way.
    opening: bool,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, inside: Arc::default() }
    }

    /// A place for a peer from there, whose handshake begins, if there is one.
    pub(crate) fn enter(&self, from: IpAddr) -> Option<Place> {
        let from = subscriber(from);
        let mut inside = self.lock();
        let Limits { handshakes, each_handshakes, peers, each } = self.limits;
        let (all, same) = (inside.all, inside.from.get(&from).copied().unwrap_or_default());
        if all.peers >= peers
            || all.handshakes >= handshakes
            || same.peers >= each
            || same.handshakes >= each_handshakes
        {
            return None;
        }
        inside.change(from, |count| {
            count.peers += 1;
            count.handshakes += 1;
        });
        Some(Place { places: self.clone(), from, opening: true })
    }

    /// How many are inside.
    #[allow(dead_code)] // for the test
    pub(crate) fn taken(&self) -> usize {
        self.lock().all.peers
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Both counts of a peer from there.
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
    /// The handshake is over.
    pub(crate) fn opened(&mut self) {
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

/// What counts as one address: of IPv6 a whole /64, which is what one subscriber has.
fn subscriber(address: IpAddr) -> IpAddr {
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
        inside.remove(0);
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
