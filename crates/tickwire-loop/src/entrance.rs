//! Which connections the loop accepts: the doors, the connections of each address, and the places
//! for opening handshakes.
use crate::{door::Door, handle::Handle, settings::Settings, system::Listener};
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    mem,
    net::{IpAddr, Ipv6Addr},
};
use tickwire::Time;

/// For each place for a handshake, so many accepted connections may be silent or wait for one. More
/// than one, because a silent connection takes little memory.
const SILENT: usize = 4;
/// The share of an address is an eighth of the places, but at least this many: with fewer than 8
/// places it would be 0.
const LEAST_SHARE: usize = 8;

/// How far an accepted connection has come that is not open yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has sent nothing.
    Silent,
    /// It has sent something, and is not read until it has a place.
    Waiting,
    /// It has one of the places of `max_handshakes`.
    UnderWay,
    /// The application has deferred the decision about its request.
    Deferred,
}

#[derive(Default)]
pub(crate) struct Entrance {
    pub(crate) doors: Vec<(Door, Listener)>,
    /// For each address: its connections, and those of them that are not open.
    addresses: HashMap<IpAddr, (usize, usize)>,
    /// The limits on these two.
    most: (usize, usize),
    /// How many accepted connections exist, open or not.
    pub(crate) accepted: usize,
    /// Accepted connections, in each phase.
    pub(crate) phases: [usize; 4],
    /// For handshakes; at least 1, because with 0 no connection could open.
    places: usize,
    /// For a place, the oldest first. Some may have ended.
    waiting: VecDeque<Handle>,
    /// The loop has stopped accepting, so that new connections wait in the kernel.
    pub(crate) held: bool,
    /// When to accept again, after a failed accept or a `close_silent`.
    pub(crate) accept_at: Option<Time>,
}

impl Entrance {
    pub(crate) fn new(settings: &Settings) -> Self {
        let places = settings.max_handshakes.max(1);
        let all = settings.max_per_address;
        let not_open = match all >= settings.max_connections {
            true => all, // behind a proxy, all peers share an address
            false => (places / 8).max(LEAST_SHARE),
        };
        Self { most: (all, not_open), places, ..Self::default() }
    }

    pub(crate) fn number(&self, phase: Phase) -> usize {
        self.phases.get(phase as usize).copied().unwrap_or_default()
    }

    pub(crate) fn change(&mut self, phase: &mut Option<Phase>, to: Option<Phase>) {
        if let Some(from) = mem::replace(phase, to).and_then(|of| self.phases.get_mut(of as usize))
        {
            *from -= 1;
        }
        if let Some(to) = to.and_then(|of| self.phases.get_mut(of as usize)) {
            *to += 1;
        }
    }

    /// `false`, and nothing counted, if the address has too many connections, or too many that are
    /// not open yet. `None`: a proxy will name the address.
    pub(crate) fn enter(&mut self, address: Option<IpAddr>, phase: &mut Option<Phase>) -> bool {
        let has_room = address.is_none_or(|address| self.count_for(address));
        if has_room {
            self.accepted += 1;
            self.change(phase, Some(Phase::Silent));
        }
        has_room
    }

    /// `false`, and nothing counted, if the address has too many.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> bool {
        if self.most.0 == 0 {
            return false; // the address would get an entry without a connection
        }
        let (all, not_open) = self.addresses.entry(counted_as(address)).or_default();
        let has_room = *all < self.most.0 && *not_open < self.most.1;
        *all += usize::from(has_room);
        *not_open += usize::from(has_room);
        has_room
    }

    pub(crate) fn opened(&mut self, address: Option<IpAddr>, phase: &mut Option<Phase>) {
        if let Some((_, not_open)) = address.and_then(|of| self.addresses.get_mut(&counted_as(of)))
        {
            *not_open -= 1;
        }
        self.change(phase, None);
    }

    pub(crate) fn leave(&mut self, address: Option<IpAddr>, mut phase: Option<Phase>) {
        if let Some(address) = address
            && let Entry::Occupied(mut entry) = self.addresses.entry(counted_as(address))
        {
            entry.get_mut().0 -= 1;
            entry.get_mut().1 -= usize::from(phase.is_some());
            if entry.get().0 == 0 {
                entry.remove(); // so that former peers take no memory
            }
        }
        self.change(&mut phase, None);
        self.accepted -= 1;
    }

    pub(crate) fn may_accept(&self) -> bool {
        let not_begun = self.number(Phase::Silent) + self.number(Phase::Waiting);
        self.has_room(Phase::UnderWay) && not_begun < SILENT.saturating_mul(self.places)
    }

    pub(crate) fn has_room(&self, phase: Phase) -> bool {
        self.number(phase) < self.places
    }

    /// At its first bytes (`readable`), the connection takes a place, or waits for one.
    pub(crate) fn goes_on(
        &mut self,
        handle: Handle,
        phase: &mut Option<Phase>,
        readable: bool,
    ) -> bool {
        if *phase == Some(Phase::Silent) && readable {
            // While others wait, a free place goes to the first of them.
            let is_free = self.has_room(Phase::UnderWay) && self.number(Phase::Waiting) == 0;
            if !is_free {
                self.waiting.push_back(handle); // after those that wait already
            }
            self.change(phase, Some(if is_free { Phase::UnderWay } else { Phase::Waiting }));
        }
        *phase != Some(Phase::Waiting)
    }

    pub(crate) fn next_waiting(&mut self) -> Option<Handle> {
        if self.has_room(Phase::UnderWay) { self.waiting.pop_front() } else { None }
    }
}

/// An IPv4 address, or the first 64 bits of an IPv6 address, which usually belong to one customer.
/// `::ffff:a.b.c.d` counts as IPv4.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_gives_them_back() {
        let mut entrance = Entrance::new(&Settings::default());
        let [here, there]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let enter = |of: &mut Entrance, address, all, not_open| {
            of.most = (all, not_open);
            of.enter(Some(address), &mut None)
        };
        assert!(enter(&mut entrance, here, 2, 2) && enter(&mut entrance, mapped, 2, 2));
        entrance.opened(Some(mapped), &mut Some(Phase::Silent));
        assert!(!enter(&mut entrance, here, 2, 2));
        assert!(!enter(&mut entrance, here, 3, 1), "one is not open");
        assert!(enter(&mut entrance, there, 2, 1));
        entrance.leave(Some(here), None);
        assert!(enter(&mut entrance, mapped, 2, 2));
        entrance.leave(Some(there), Some(Phase::Silent));
        assert_eq!(entrance.addresses.len(), 1, "an address without connections takes no memory");
        assert!(enter(&mut entrance, "2001:db8::1".parse().unwrap(), 1, 1));
        assert!(!enter(&mut entrance, "2001:db8::2".parse().unwrap(), 1, 1));
        assert!(!enter(&mut entrance, "2001:db8:0:1::2".parse().unwrap(), 0, 0));
        assert_eq!(entrance.addresses.len(), 2);
        assert_eq!((entrance.accepted, entrance.number(Phase::Silent)), (3, 3));
    }
}
