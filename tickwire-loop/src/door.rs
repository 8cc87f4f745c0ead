//! What a loop accepts: [`Door`], and the counts of accepted connections by address.
use crate::{handle::Handle, system::Listener, tls};
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
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

/// The number of connections of each address.
#[derive(Default)]
pub(crate) struct Addresses(HashMap<IpAddr, usize>);

impl Addresses {
    /// Counts a connection. Returns the address to [`leave`](Self::leave), or `None` if the address
    /// has `most` connections already.
    pub(crate) fn enter(&mut self, address: IpAddr, most: usize) -> Option<IpAddr> {
        let address = counted_as(address);
        let before = self.0.get(&address).copied().unwrap_or_default();
        (before < most).then(|| self.0.insert(address, before + 1))?;
        Some(address)
    }

    pub(crate) fn leave(&mut self, address: IpAddr) {
        if let Entry::Occupied(mut entry) = self.0.entry(counted_as(address)) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
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

/// Accepted connections that began a handshake, the oldest first. A connection whose handshake is
/// over leaves the queue only when it is the oldest, or when more than about half of the queue are
/// such connections.
#[derive(Default)]
pub(crate) struct Handshakes {
    queue: VecDeque<Handle>,
    pub(crate) under_way: usize,
}

impl Handshakes {
    pub(crate) fn begin(&mut self, handle: Handle, is_under_way: impl Fn(Handle) -> bool) {
        if self.queue.len() > 2 * self.under_way + 16 {
            self.queue.retain(|handle| is_under_way(*handle));
        }
        self.queue.push_back(handle);
        self.under_way += 1;
    }

    /// Removes and returns the oldest connection whose handshake is still under way.
    pub(crate) fn pop_oldest(&mut self, is_under_way: impl Fn(Handle) -> bool) -> Option<Handle> {
        while let Some(handle) = self.queue.pop_front() {
            if is_under_way(handle) {
                return Some(handle);
            }
        }
        None
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
        let first = addresses.enter(here, 2).unwrap();
        assert_eq!(addresses.enter(mapped, 2), Some(first));
        assert_eq!(addresses.enter(here, 2), None);
        let other = addresses.enter(there, 2).unwrap();
        assert_ne!(other, first);
        addresses.leave(first);
        assert_eq!(addresses.enter(here, 2), Some(first));
        addresses.leave(other);
        assert_eq!(addresses.0.len(), 1, "an address without connections takes no memory");
        assert!(addresses.enter("2001:db8::1".parse().unwrap(), 1).is_some());
        assert_eq!(addresses.enter("2001:db8::2".parse().unwrap(), 1), None);
        assert_eq!(addresses.enter("2001:db8:0:1::2".parse().unwrap(), 0), None);
    }
}
