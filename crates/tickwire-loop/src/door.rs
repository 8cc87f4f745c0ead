//! What a loop accepts: [`Door`], and the counts of accepted connections by address.
use crate::{handle::Handle, system::Listener, tls};
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    mem,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};
use tickwire::Config;

/// How connections of a listener are accepted: `ws` with this configuration, or `wss`.
///
/// The limits on their number are in [`Settings`](crate::Settings), because they hold for all
/// listeners of a loop together.
#[derive(Clone)]
#[must_use]
pub struct Door {
    pub(crate) config: Arc<Config>,
    pub(crate) tls_config: Option<tls::Server>,
    pub(crate) stamps_reads: bool,
    pub(crate) shares_port: bool,
}

impl Door {
    /// Accepts `ws` connections.
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self { config: config.into(), tls_config: None, stamps_reads: false, shares_port: false }
    }

    /// Accepts `wss` connections instead. In the configuration, set `alpn_protocols` to `http/1.1`
    /// alone. Set `enable_secret_extraction` to open and seal records in place. Feature `rustls`.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn tls(mut self, config: impl Into<tls::Server>) -> Self {
        self.tls_config = Some(config.into());
        self
    }

    /// Whether [`Net::listen`](crate::Net::listen) lets other listeners use the same address; the
    /// default is `false`. With such a listener in each loop, Linux spreads new connections over
    /// the loops (SO_REUSEPORT). Each of these listeners has to set this option, and all of them
    /// have to belong to the same user. A listener that is closed resets the connections that it
    /// has not accepted yet. On macOS the last listener gets all connections. On Windows `listen`
    /// fails, because Windows has no such option.
    pub fn share_port(mut self, yes: bool) -> Self {
        self.shares_port = yes;
        self
    }

    /// Whether the loop gets the time of arrival of received bytes from the kernel
    /// (SO_TIMESTAMPING, Linux); the default is `false`. A message has this time, and the time of
    /// the read, in its [`info`](tickwire::Receiver::info). Bytes that came with the request have
    /// no times. Feature `stamps`.
    #[cfg(feature = "stamps")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stamps")))]
    pub fn timestamps(mut self, yes: bool) -> Self {
        self.stamps_reads = yes;
        self
    }
}

/// A door and the listener that uses it.
pub(crate) struct Open {
    pub(crate) door: Door,
    pub(crate) listener: Listener,
}

/// The number of connections of each address, and of those that are not open yet.
#[derive(Default)]
pub(crate) struct Addresses(HashMap<IpAddr, (usize, usize)>);

impl Addresses {
    /// Counts a connection that is not open yet. Returns `false` if the address has `most`
    /// connections already, in all or not open.
    pub(crate) fn enter(&mut self, address: IpAddr, most: (usize, usize)) -> bool {
        let address = counted_as(address);
        let (all, not_open) = self.0.get(&address).copied().unwrap_or_default();
        let has_room = all < most.0 && not_open < most.1;
        if has_room {
            self.0.insert(address, (all + 1, not_open + 1));
        }
        has_room
    }

    /// The handshake of a connection is over.
    pub(crate) fn opened(&mut self, address: IpAddr) {
        if let Some((_, not_open)) = self.0.get_mut(&counted_as(address)) {
            *not_open -= 1;
        }
    }

    /// Forgets a connection, which may be open or not.
    pub(crate) fn leave(&mut self, address: IpAddr, opening: bool) {
        if let Entry::Occupied(mut entry) = self.0.entry(counted_as(address)) {
            entry.get_mut().0 -= 1;
            entry.get_mut().1 -= usize::from(opening);
            if entry.get().0 == 0 {
                entry.remove();
            }
        }
    }
}

/// Returns the address under which connections count: a whole IPv4 address, or the first 64 bits of
/// an IPv6 address. An IPv4 address that is written as an IPv6 address (`::ffff:a.b.c.d`) counts as
/// IPv4.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// What an accepted connection that is not open yet is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has sent nothing.
    Silent,
    /// It has sent something, and waits for a place in which to be read.
    Waiting,
    /// It has one of the places of `max_handshakes`.
    UnderWay,
    /// The application decides later about its request.
    Deferred,
}

/// How many accepted connections are in each phase of their opening handshake.
#[derive(Default)]
pub(crate) struct Handshakes {
    pub(crate) silent: usize,
    pub(crate) waiting: usize,
    pub(crate) under_way: usize,
    pub(crate) deferred: usize,
    /// Those that wait for a place, the oldest first. Some of them may have ended.
    pub(crate) queue: VecDeque<Handle>,
    /// Connections may wait in the kernel, because the loop does not accept them.
    pub(crate) held: bool,
}

impl Handshakes {
    /// Changes the phase of a connection. `None`: its handshake is not begun, or over.
    pub(crate) fn change(&mut self, phase: &mut Option<Phase>, to: Option<Phase>) {
        if let Some(from) = mem::replace(phase, to) {
            *self.of(from) -= 1;
        }
        if let Some(to) = to {
            *self.of(to) += 1;
        }
    }

    fn of(&mut self, phase: Phase) -> &mut usize {
        match phase {
            Phase::Silent => &mut self.silent,
            Phase::Waiting => &mut self.waiting,
            Phase::UnderWay => &mut self.under_way,
            Phase::Deferred => &mut self.deferred,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_gives_them_back() {
        let mut addresses = Addresses::default();
        let [here, there]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let enter = |of: &mut Addresses, address, all, not_open| of.enter(address, (all, not_open));
        assert!(enter(&mut addresses, here, 2, 2) && enter(&mut addresses, mapped, 2, 2));
        addresses.opened(mapped);
        assert!(!enter(&mut addresses, here, 2, 2));
        assert!(!enter(&mut addresses, here, 3, 1), "one is not open");
        assert!(enter(&mut addresses, there, 2, 1));
        addresses.leave(here, false);
        assert!(enter(&mut addresses, mapped, 2, 2));
        addresses.leave(there, true);
        assert_eq!(addresses.0.len(), 1, "an address without connections takes no memory");
        assert!(enter(&mut addresses, "2001:db8::1".parse().unwrap(), 1, 1));
        assert!(!enter(&mut addresses, "2001:db8::2".parse().unwrap(), 1, 1));
        assert!(!enter(&mut addresses, "2001:db8:0:1::2".parse().unwrap(), 0, 0));
        assert_eq!(addresses.0.len(), 2);
    }
}
