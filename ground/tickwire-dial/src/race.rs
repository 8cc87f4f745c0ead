//! [`Race`] says which addresses of a name to connect to, and when (RFC 8305).
#[cfg(test)]
mod tests;

use alloc::vec::{self, Vec};
use core::{net::SocketAddr, time::Duration};

/// The attempts to connect to the addresses of one name ("Happy Eyeballs", RFC 8305).
///
/// The families (IPv6 and IPv4) alternate, beginning with the family of the first address (RFC 8305
/// §4). Each attempt has a head start over the next attempt. When an attempt fails, the next
/// attempt begins at once. The first attempt that connects wins.
///
/// Call [`next`](Self::next) until it returns [`Step::Wait`], and again after each wait. `now` is
/// the time since a moment that you choose once for all calls. `E` is the type of an attempt's
/// error. A race has no deadline: to give up, drop it and the attempts.
///
/// ```
/// use std::{net::SocketAddr, time::Duration};
/// use tickwire_dial::{Race, Step};
///
/// let ms = Duration::from_millis;
/// let address = |text: &str| text.parse::<SocketAddr>().unwrap();
/// let [dead, alive] = ["[2001:db8::1]:443", "192.0.2.1:443"].map(address);
/// let mut race = Race::<&str>::new([dead, alive], ms(250));
/// assert_eq!(race.next(ms(0)), Some(Step::Connect(dead)));
/// assert_eq!(race.next(ms(0)), Some(Step::Wait(Some(ms(250)))));
/// assert_eq!(race.next(ms(250)), Some(Step::Connect(alive)));
/// assert_eq!(race.next(ms(250)), Some(Step::Wait(None)));
/// assert_eq!(race.under_way(), [dead, alive]); // when `alive` has connected, close `dead`
/// ```
#[derive(Clone, Debug)]
pub struct Race<E> {
    delay: Duration,
    untried: vec::IntoIter<SocketAddr>,
    under_way: Vec<SocketAddr>,
    failures: Vec<(SocketAddr, E)>,
    /// `None` if it need not wait.
    next_at: Option<Duration>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin an attempt to connect to this address.
    Connect(SocketAddr),
    /// Wait for an attempt to end, at most until this time (`None`: no bound). Then call
    /// [`next`](Race::next).
    Wait(Option<Duration>),
}

impl<E> Race<E> {
    /// A race between attempts to connect to `addresses`, which the resolver has sorted. `delay` is
    /// the head start of each attempt. RFC 8305 §5 recommends 250 ms, and forbids less than 10 ms,
    /// so a shorter delay counts as 10 ms.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>, delay: Duration) -> Self {
        let mut sorted: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            // An address identifies its attempt.
            if !sorted.contains(&address) {
                sorted.push(address);
            }
        }
        Self {
            delay: delay.max(Duration::from_millis(10)),
            untried: alternate(sorted).into_iter(),
            under_way: Vec::new(),
            failures: Vec::new(),
            next_at: None,
        }
    }

    /// Returns what to do next, or `None` if the race is lost: every attempt has failed, or there
    /// was no address. `now` must not be less than in an earlier call.
    pub fn next(&mut self, now: Duration) -> Option<Step> {
        if let Some(at) = self.next_at.filter(|at| self.untried.len() > 0 && now < *at) {
            return Some(Step::Wait(Some(at)));
        }
        match self.untried.next() {
            Some(address) => {
                self.next_at = Some(now.saturating_add(self.delay));
                self.under_way.push(address);
                Some(Step::Connect(address))
            }
            None if self.under_way.is_empty() => None,
            None => Some(Step::Wait(None)),
        }
    }

    /// Notes that an attempt has failed. The next attempt begins at once.
    pub fn failed(&mut self, address: SocketAddr, error: E) {
        self.under_way.retain(|other| *other != address);
        self.failures.push((address, error));
        self.next_at = None;
    }

    /// The attempts under way. When an attempt has connected, the race is won: close all others.
    pub fn under_way(&self) -> &[SocketAddr] {
        &self.under_way
    }

    /// Takes the errors of the attempts that have failed, in the order of the failures.
    pub fn take_failures(&mut self) -> Vec<(SocketAddr, E)> {
        core::mem::take(&mut self.failures)
    }
}

/// Alternates the families as long as both are left. Each keeps its order.
fn alternate(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    while !addresses.is_empty() {
        let before = all.last().map(SocketAddr::is_ipv4);
        let other = addresses.iter().position(|address| Some(address.is_ipv4()) != before);
        all.push(addresses.remove(other.unwrap_or(0)));
    }
    all
}
