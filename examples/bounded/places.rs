//! Who is inside: bounds on how many are, and on how many come from one address.
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
    /// refused; who comes meanwhile waits in the system's queue.
    pub(crate) handshakes: usize,
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
    peers: usize,
    /// No entry is 0.
    from: HashMap<IpAddr, usize>,
}

/// Being inside. Dropping it is leaving.
pub(crate) struct Place {
    places: Places,
    from: IpAddr,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, inside: Arc::default() }
    }

    /// A place for a peer from there, if there is one.
    pub(crate) fn enter(&self, from: IpAddr) -> Option<Place> {
        let from = subscriber(from);
        let mut inside = self.lock();
        let same = inside.from.get(&from).copied().unwrap_or(0);
        if inside.peers >= self.limits.peers || same >= self.limits.each {
            return None;
        }
        inside.peers += 1;
        inside.from.insert(from, same + 1);
        Some(Place { places: self.clone(), from })
    }

    /// How many are inside.
    #[allow(dead_code)] // for the test
    pub(crate) fn taken(&self) -> usize {
        self.lock().peers
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.places.lock();
        inside.peers -= 1;
        match inside.from.get_mut(&self.from) {
            Some(same) if *same > 1 => *same -= 1,
            _ => drop(inside.from.remove(&self.from)),
        }
    }
}

/// What counts as one address: of IPv6 a whole /64, which is what one subscriber has.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 => v4,
    }
}
