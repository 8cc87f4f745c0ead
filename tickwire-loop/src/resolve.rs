//! Resolves names on threads of their own, because the operating system's resolver blocks.
use crate::handle::Handle;
use crate::system::{Waker, fault};
use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

/// The most lookups that run at once. If a name server does not respond, the lookup holds its
/// thread for up to half a minute.
const THREADS: usize = 4;

/// What a lookup found.
pub(crate) struct Found {
    pub(crate) handle: Handle,
    pub(crate) addresses: io::Result<Vec<SocketAddr>>,
}

pub(crate) struct Resolver {
    waker: Waker,
    found: (Sender<Found>, Receiver<Found>),
    waiting: VecDeque<(Handle, String, u16)>,
    under_way: usize,
}

impl Resolver {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, found: channel(), waiting: VecDeque::new(), under_way: 0 }
    }

    /// Looks up a name for a connection that is being dialed.
    pub(crate) fn look_up(&mut self, handle: Handle, host: &str, port: u16) {
        self.waiting.push_back((handle, host.to_owned(), port));
        self.go_on();
    }

    /// Returns the next lookup that is done.
    pub(crate) fn found(&mut self) -> Option<Found> {
        let found = self.found.1.try_recv().ok()?;
        self.under_way -= 1;
        self.go_on();
        Some(found)
    }

    fn go_on(&mut self) {
        while self.under_way < THREADS
            && let Some((handle, host, port)) = self.waiting.pop_front()
        {
            self.under_way += 1;
            let (found, waker) = (self.found.0.clone(), self.waker.clone());
            let look_up = move || {
                let resolved = fault("resolve").and_then(|()| (&*host, port).to_socket_addrs());
                let addresses = resolved.map(Iterator::collect);
                // Both calls fail only if the loop is gone.
                let _ = found.send(Found { handle, addresses });
                let _ = waker.wake_quietly();
            };
            #[cfg(test)]
            let look_up = crate::tests::faults::inherited(look_up);
            let thread = thread::Builder::new().name("tickwire-loop: names".into());
            if let Err(error) = fault("spawn").and_then(|()| thread.spawn(look_up)) {
                let _ = self.found.0.send(Found { handle, addresses: Err(error) });
                let _ = self.waker.wake_quietly();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{slots::Slots, stage::Stage, system::System};
    use std::time::Duration;

    #[test]
    fn few_names_are_resolved_at_once_and_each_result_wakes_the_loop() {
        let (mut system, waker) = System::new(false).unwrap();
        let mut resolver = Resolver::new(waker);
        let mut slots = Slots::<()>::default();
        let mut asked: Vec<_> = (0..10).map(|_| slots.take(Stage::Turn).unwrap()).collect();
        for handle in &asked {
            resolver.look_up(*handle, "localhost", 9001);
        }
        assert_eq!((resolver.under_way, resolver.waiting.len()), (THREADS, 10 - THREADS));
        while !asked.is_empty() {
            system.wait(Some(Duration::from_secs(600)), &mut |_| ()).unwrap();
            while let Some(found) = resolver.found() {
                asked.retain(|handle| *handle != found.handle);
                assert!(found.addresses.unwrap().iter().all(|address| address.port() == 9001));
            }
        }
        assert_eq!(resolver.under_way, 0);
    }
}
