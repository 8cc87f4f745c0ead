//! Resolves names on threads of their own, because the operating system's resolver blocks, and
//! nothing can end its call: a lookup without an answer keeps its thread, and its name is not
//! looked up again before it returns. All dials of a name share one lookup, which goes on for the
//! others if a dial ends.
use crate::handle::Handle;
use crate::system::{Waker, fault};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{collections::BTreeSet, io, sync::Arc, thread, time::Duration};
use tickwire::Time;

/// The most threads. A name that gets no answer keeps its thread, so a few dead names must not use
/// them all.
const THREADS: usize = 64;
/// The most names that are looked up or wait for a thread.
const NAMES: usize = 1024;
/// After a lookup's first dial, all its dials give up. glibc gives up three silent name servers
/// after the same time.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Lookup {
    host: Arc<str>,
    /// Each adds its own port.
    dials: BTreeSet<Handle>,
    until: Time,
    runs: bool,
}

/// The addresses have port 0.
type Found = (Arc<str>, io::Result<Vec<SocketAddr>>);

pub(crate) struct Resolver {
    waker: Waker,
    found: (Sender<Found>, Receiver<Found>),
    /// The oldest first. Invariant: one without a thread has at least one dial.
    pub(crate) lookups: Vec<Lookup>,
}

impl Resolver {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, found: channel(), lookups: Vec::new() }
    }

    pub(crate) fn look_up(&mut self, handle: Handle, host: &str, now: Time) {
        if let Some(lookup) = self.lookups.iter_mut().find(|lookup| *lookup.host == *host) {
            lookup.dials.insert(handle);
        } else if self.lookups.len() < NAMES {
            let dials = [handle].into();
            let until = now + DEADLINE;
            self.lookups.push(Lookup { host: host.into(), dials, until, runs: false });
            self.go_on();
        } // otherwise the dial fails in its turn: `deadline` returns `None`
    }

    /// `None` if the dial found no room among `NAMES`, even if a later dial of the same name did.
    pub(crate) fn deadline(&self, of: Handle) -> Option<Time> {
        self.lookups.iter().find(|lookup| lookup.dials.contains(&of)).map(|lookup| lookup.until)
    }

    /// A lookup that has not begun ends with its last dial.
    pub(crate) fn leave(&mut self, handle: Handle) {
        self.lookups.retain_mut(|lookup| {
            lookup.dials.remove(&handle);
            lookup.runs || !lookup.dials.is_empty()
        });
    }

    pub(crate) fn found(&mut self) -> Option<(BTreeSet<Handle>, io::Result<Vec<SocketAddr>>)> {
        let (host, addresses) = self.found.1.try_recv().ok()?;
        let at = self.lookups.iter().position(|lookup| lookup.host == host)?;
        let lookup = self.lookups.remove(at); // the other lookups keep their order
        self.go_on(); // a thread is free
        Some((lookup.dials, addresses))
    }

    /// The oldest first, until `THREADS` run. If a thread cannot be started, its lookup fails.
    fn go_on(&mut self) {
        while self.lookups.iter().filter(|lookup| lookup.runs).count() < THREADS
            && let Some(next) = self.lookups.iter_mut().find(|lookup| !lookup.runs)
        {
            next.runs = true; // even if no thread starts: the error below goes to `found` too
            let host = next.host.clone();
            let found = self.found.0.clone();
            let waker = self.waker.clone();
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
