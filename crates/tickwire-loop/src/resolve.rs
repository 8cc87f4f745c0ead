//! Resolves names on threads of their own, because the operating system's resolver blocks.
//!
//! A name has at most one lookup at a time. All dials of the name share the lookup. If a dial ends,
//! the lookup goes on for the other dials. Nothing can end a call of the operating system's
//! resolver. So a lookup without an answer keeps its thread, and its name is not looked up again
//! before the resolver returns.
use crate::handle::Handle;
use crate::system::{Waker, fault};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{collections::BTreeSet, io, sync::Arc, thread, time::Duration};
use tickwire::Time;

/// The most lookups that run at the same time. For example, if 32 names get no answer and keep
/// their threads, 32 threads are left for other names.
const THREADS: usize = 64;
/// The most names that are looked up, or wait for a thread.
const NAMES: usize = 1024;
/// If a lookup has no answer this long after its first dial, all its dials give up. glibc gives up
/// three silent name servers after the same time.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Lookup {
    host: Arc<str>,
    /// The dials that wait for the addresses. Each dial adds its own port.
    dials: BTreeSet<Handle>,
    until: Time,
    /// Whether the lookup has a thread.
    runs: bool,
}

/// The name and its addresses, with port 0.
type Found = (Arc<str>, io::Result<Vec<SocketAddr>>);

pub(crate) struct Resolver {
    waker: Waker,
    found: (Sender<Found>, Receiver<Found>),
    /// The lookups, the oldest first. Invariant: a lookup without a thread has at least one dial.
    pub(crate) lookups: Vec<Lookup>,
}

impl Resolver {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, found: channel(), lookups: Vec::new() }
    }

    /// Looks up a name for a connection that is being dialed, unless `NAMES` other names are looked
    /// up or wait already.
    pub(crate) fn look_up(&mut self, handle: Handle, host: &str, now: Time) {
        if let Some(lookup) = self.lookups.iter_mut().find(|lookup| *lookup.host == *host) {
            lookup.dials.insert(handle);
        } else if self.lookups.len() < NAMES {
            let (dials, until) = ([handle].into(), now + DEADLINE);
            self.lookups.push(Lookup { host: host.into(), dials, until, runs: false });
            self.go_on();
        } // otherwise the dial fails in its turn: `deadline` returns `None`
    }

    /// Returns the time at which a dial gives up the lookup of its name. `None` if the dial found
    /// no room among `NAMES`, even if a later dial of the same name found room.
    pub(crate) fn deadline(&self, of: Handle) -> Option<Time> {
        self.lookups.iter().find(|lookup| lookup.dials.contains(&of)).map(|lookup| lookup.until)
    }

    /// Forgets a dial. A lookup that has not begun ends with its last dial.
    pub(crate) fn leave(&mut self, handle: Handle) {
        self.lookups.retain_mut(|lookup| {
            lookup.dials.remove(&handle);
            lookup.runs || !lookup.dials.is_empty()
        });
    }

    /// Returns the dials and the result of the next lookup that is done.
    pub(crate) fn found(&mut self) -> Option<(BTreeSet<Handle>, io::Result<Vec<SocketAddr>>)> {
        let (host, addresses) = self.found.1.try_recv().ok()?;
        let at = self.lookups.iter().position(|lookup| lookup.host == host)?;
        let lookup = self.lookups.remove(at); // the other lookups keep their order
        self.go_on(); // a thread is free
        Some((lookup.dials, addresses))
    }

    /// Begins waiting lookups, the oldest first, until `THREADS` lookups run. If a thread cannot be
    /// started, its lookup fails.
    fn go_on(&mut self) {
        while self.lookups.iter().filter(|lookup| lookup.runs).count() < THREADS
            && let Some(next) = self.lookups.iter_mut().find(|lookup| !lookup.runs)
        {
            next.runs = true; // even if no thread starts: the error below goes to `found` too
            let host = next.host.clone();
            let (found, waker) = (self.found.0.clone(), self.waker.clone());
            let look_up = move || {
                let resolved =
                    fault(&format!("resolve {host}")).and_then(|()| (&*host, 0).to_socket_addrs());
                // The send fails only if the loop is gone. If the wake fails, the loop finds the
                // result at its next wake.
                let _ = found.send((host, resolved.map(Iterator::collect)));
                let _ = waker.wake_quietly();
            };
            #[cfg(test)]
            let look_up = crate::tests::faults::inherited(look_up);
            let thread = thread::Builder::new().name("tickwire-loop: names".into());
            if let Err(error) = fault("spawn").and_then(|()| thread.spawn(look_up)) {
                let _ = self.found.0.send((next.host.clone(), Err(error)));
                let _ = self.waker.wake_quietly();
            }
        }
    }
}
