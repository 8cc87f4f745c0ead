//! [`Loop`]: rounds of waiting, turns and writes.
use crate::door::{self, Door, Phase};
use crate::net::{Handler, Net};
use crate::settings::{Settings, Waiting};
use crate::stage::{Open, Opening, Stage};
use crate::system::{Token, fault};
use crate::{
    event::Event, handle::Handle, inner::Inner, slots::Peer, tls::Tls, turn::Turn, wire::Wire,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, ErrorKind},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use tickwire::Time;

/// The most connections that one round accepts at a door. Further connections wait for the next
/// round.
const ACCEPTS: usize = 64;
/// The most connections that may wait to be accepted. The operating system may allow fewer, and the
/// standard library asks for only 128. If no place is free, the client's TCP tries again after a
/// second.
const BACKLOG: i32 = 4096;
/// The time that the handshakes of accepted connections may take in a round. The beginning of one
/// under TLS takes 0.1 ms, so a hundred at once would keep open connections waiting for 10 ms.
const HANDSHAKES: Duration = Duration::from_millis(1);
/// The time from a failed accept to the next try.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// An event loop: many connections on one thread, servers and clients, with and without TLS.
///
/// `T` is the application's value for each connection. [`run`](Self::run) waits for events. It
/// calls the handler with each event, and with the commands ([`Net`]). See the crate's
/// documentation.
pub struct Loop<T> {
    pub(crate) inner: Inner<T>,
    /// The slots that get a turn in this round.
    round: Vec<u32>,
    /// The time of the last round that had something to do, for `Waiting::SpinFor`.
    busy: Time,
}

impl<T> Loop<T> {
    /// Makes a loop without connections.
    ///
    /// # Errors
    ///
    /// If the operating system has no file descriptor left for the loop.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let inner = Inner::new(settings)?;
        Ok(Self { inner, round: Vec::new(), busy: Time::ZERO })
    }

    /// Returns the commands, for use outside of the handler.
    pub fn net(&mut self) -> Net<'_, T> {
        self.inner.clock.tick();
        Net::new(&mut self.inner)
    }

    /// Runs until a [`shut_down`](Net::shut_down) is done, or [`stop`](Net::stop) is called.
    ///
    /// # Errors
    ///
    /// If waiting for the operating system's events fails, or if io_uring does not take the written
    /// bytes. The errors of connections and listeners do not end the loop.
    pub fn run(
        &mut self,
        mut handler: impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) -> io::Result<()> {
        while self.round(None, &mut handler)? {}
        self.inner.system.submit()
    }

    /// Runs one round: waits for at most `most`, and gives a turn to each connection that is ready.
    /// Returns `false` when [`run`](Self::run) would return. Use it in a program that has an event
    /// loop of its own.
    ///
    /// # Errors
    ///
    /// The same as for [`run`](Self::run).
    pub fn turn(
        &mut self,
        most: Duration,
        mut handler: impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) -> io::Result<bool> {
        let goes_on = self.round(Some(most), &mut handler)?;
        self.inner.system.submit()?;
        Ok(goes_on)
    }

    fn round(
        &mut self,
        most: Option<Duration>,
        handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) -> io::Result<bool> {
        if self.inner.stops {
            return Ok(false);
        }
        self.inner.fill_places();
        let woken = self.wait(self.timeout(most))?;
        let inner = &mut self.inner;
        let now = inner.clock.tick();
        if woken || !inner.queues.ready.is_empty() || !inner.queues.knocked.is_empty() {
            self.busy = now;
        }
        if woken {
            inner.take_found();
            if inner.waker.take_asked() {
                handler(&mut Net::new(inner), Event::Woken);
            }
        }
        inner.accept_at.take_if(|at| *at <= now).into_iter().for_each(|_| {
            inner.queues.knocked.extend(0..inner.doors.len() as u32);
        });
        if !inner.queues.knocked.is_empty() {
            inner.accept_knocked();
        }
        inner.expire(handler);
        mem::swap(&mut inner.queues.ready, &mut self.round);
        for at in self.round.drain(..) {
            inner.give_turn(at, handler);
        }
        inner.give_opening_turns(handler);
        inner.resume_stopped();
        inner.relieve(); // replies count for the limit only now
        inner.tell_ended(handler);
        if let Some(at) = inner.shuts_at {
            if inner.slots.is_empty() {
                inner.stops = true;
            } else if at <= now {
                inner.end_all(handler);
                inner.stops = true;
            }
        }
        Ok(!inner.stops)
    }

    /// Returns the time that the next wait may take; `None`: without a limit.
    fn timeout(&self, most: Option<Duration>) -> Option<Duration> {
        let inner = &self.inner;
        let spins = match inner.settings.waiting {
            Waiting::Sleep => false,
            Waiting::Spin => true,
            Waiting::SpinFor(time) => inner.clock.read() - self.busy < time,
        };
        let is_over = inner.shuts_at.is_some() && inner.slots.is_empty();
        if spins || is_over || !inner.queues.are_idle() {
            return Some(Duration::ZERO);
        }
        let times = [inner.deadlines.first(), inner.shuts_at, inner.accept_at];
        let first = times.into_iter().flatten().min();
        let due = first.map(|at| at - inner.clock.read());
        due.into_iter().chain(most).min()
    }

    /// Waits, and passes the notes to their slots and doors. Returns whether a thread woke the
    /// loop.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let Inner { system, slots, queues, .. } = &mut self.inner;
        // A connection whose turn used up its share comes after those that are ready only now.
        mem::swap(&mut queues.ready, &mut self.round);
        let mut woken = false;
        #[cfg(test)]
        crate::tests::faults::waits(timeout);
        let waited = system.wait(timeout, &mut |note| match note.token {
            Token::Waker => woken = true,
            Token::Door(at) => queues.knocked.push(at),
            Token::Slot(at) => {
                let Some(slot) = slots.at_mut(at) else { return };
                if let Some(wire) = &mut slot.wire {
                    wire.note(&note);
                }
                queues.make_ready(at, slot);
            }
        });
        queues.ready.append(&mut self.round);
        waited.map(|()| woken)
    }
}

impl<T> Inner<T> {
    /// Returns an error during a shutdown, because the loop takes no new connections then.
    pub(crate) fn check_not_shutting(&self) -> io::Result<()> {
        match self.shuts_at {
            Some(_) => {
                Err(io::Error::new(ErrorKind::ConnectionAborted, "the loop is shutting down"))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn listen(&mut self, address: SocketAddr, door: Door) -> io::Result<SocketAddr> {
        fault("socket")?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // On Windows this option would let another program take the port.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        if door.shares_port {
            share_port(&socket)?;
        }
        fault("bind")?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        self.listen_on(socket.into(), door)
    }

    pub(crate) fn listen_on(
        &mut self,
        listener: TcpListener,
        door: Door,
    ) -> io::Result<SocketAddr> {
        self.check_not_shutting()?;
        let at = self.doors.len() as u32;
        let listener = self.system.listen(listener, Token::Door(at))?;
        let address = listener.local_addr()?;
        self.doors.push(door::Open { door, listener });
        self.queues.knocked.push(at);
        Ok(address)
    }

    /// Accepts the connections that wait, at most `ACCEPTS` at each door.
    fn accept_knocked(&mut self) {
        for at in mem::take(&mut self.queues.knocked) {
            for n in 0.. {
                if n == ACCEPTS {
                    self.queues.knocked.push(at); // no new note announces the rest
                    break;
                }
                if !self.may_accept() {
                    self.handshakes.held = true;
                    self.counts.held += 1;
                    break;
                }
                let Some(open) = self.doors.get(at as usize) else { break };
                match self.system.accept(&open.listener) {
                    Ok((stream, peer)) => {
                        let door = open.door.clone();
                        self.admit_stream(stream, peer, &door);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if is_of_peer(&error) => {
                        // Over io_uring it was accepted, but its address is not known any more.
                        let accepted = u64::from(error.kind() == ErrorKind::NotConnected);
                        self.counts.accepted += accepted;
                        self.counts.handshakes_failed += accepted;
                    }
                    Err(_) => {
                        self.counts.accept_failed += 1;
                        self.accept_at = Some(self.clock.now + RETRY);
                        break;
                    }
                }
            }
        }
    }

    /// Gives an accepted stream a slot, within the limits.
    pub(crate) fn admit_stream(&mut self, stream: TcpStream, peer: SocketAddr, door: &Door) {
        self.counts.accepted += 1;
        if self.counts.accepted_now >= self.settings.max_connections {
            self.counts.over_connections += 1;
            return;
        }
        if !self.addresses.enter(peer.ip(), self.most_of_address()) {
            self.counts.over_per_address += 1;
            return;
        }
        let tls = door.tls_config.as_ref().map(Tls::server).transpose();
        let opening = Opening::new(door.config.clone(), self.clock.now);
        let until = opening.deadline();
        let taken = tls.ok().and_then(|tls| Some((tls, self.slots.take(Stage::Opening(opening))?)));
        let Some((tls, handle)) = taken else {
            self.counts.handshakes_failed += 1;
            self.addresses.leave(peer.ip(), true);
            return;
        };
        self.counts.accepted_now += 1;
        let Some(slot) = self.slots.get_mut(handle) else { return };
        slot.peer = Some(Peer::new(peer, true));
        self.handshakes.change(&mut slot.marks.phase, Some(Phase::Silent));
        match self.system.adopt(stream, Token::Slot(handle.at), door.stamps_reads) {
            Ok(stream) => {
                let stamps = door.config.stamp_reads || door.stamps_reads;
                slot.wire = Some(Wire::new(stream, tls, false, stamps));
                self.arm(handle.at, until);
            }
            Err(_) => {
                self.counts.handshakes_failed += 1;
                self.free(handle);
            }
        }
    }

    /// Gives the connection of a slot its turn. The turns of opening handshakes come later.
    fn give_turn(&mut self, at: u32, handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>)) {
        match self.slots.at(at) {
            Some(slot) if matches!(slot.stage, Stage::Opening(_)) => {
                self.queues.opening.push_back(at)
            }
            _ => self.take_turn(at, handler),
        }
    }

    /// Gives handshakes their turns, the one that has waited the longest first, until `HANDSHAKES`
    /// have passed.
    fn give_opening_turns(&mut self, handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>)) {
        if self.queues.opening.is_empty() {
            return;
        }
        let until = self.clock.read() + HANDSHAKES;
        while let Some(at) = self.queues.opening.pop_front() {
            self.take_turn(at, handler);
            if self.clock.read() >= until {
                return;
            }
        }
    }

    fn take_turn(&mut self, at: u32, handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>)) {
        let Some((handle, slot)) = self.slots.entry(at) else { return };
        slot.marks.ready = false;
        let open = match &mut slot.stage {
            Stage::Open(open) => open.take(),
            _ => self.proceed(handle, handler),
        };
        if let Some(open) = open {
            Turn::begin(self, handle, open).serve(handler);
        }
    }

    /// Gives a turn to a connection that is dormant or not open yet. Returns the connection if it
    /// is open and whole now.
    fn proceed(&mut self, handle: Handle, handler: &mut Handler<'_, T>) -> Option<Box<Open>> {
        let slot = self.slots.get_mut(handle)?;
        let open = match mem::replace(&mut slot.stage, Stage::Turn) {
            Stage::Dormant => {
                slot.stage = Stage::Dormant;
                self.wake(handle);
                return self.take_open(handle);
            }
            Stage::Opening(opening) => self.open_up(handle, opening, handler)?,
            Stage::Accepted(open) => open,
            Stage::Dialing(dialing) => self.go_on_dialing(handle, dialing, handler)?,
            Stage::Rejected(rejected) => {
                self.go_on_rejected(handle, rejected);
                return None;
            }
            stage @ (Stage::Free | Stage::Turn | Stage::Open(_) | Stage::OverQueued) => {
                slot.stage = stage;
                return None;
            }
        };
        self.begin(handle, open, handler)
    }

    /// Gives a turn to the slots whose deadlines have passed, and delivers the timers that are due.
    fn expire(&mut self, handler: &mut Handler<'_, T>) {
        // At most as many deadlines as there are at first. Otherwise a handler that always sets a
        // timer that is due would keep this loop going.
        for _ in 0..self.deadlines.len() {
            let Some(id) = self.deadlines.pop_due(self.clock.now) else { return };
            if id & 1 == 0 {
                self.make_ready(id >> 1);
            } else if let Some(number) = self.timers.take(id) {
                handler(&mut Net::new(self), Event::Timer(number));
            }
        }
    }
}

#[cfg(unix)]
fn share_port(socket: &Socket) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_reuseport(socket, true)?)
}

#[cfg(not(unix))]
fn share_port(_: &Socket) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether the next accept may succeed at once: this one peer was gone already, or a signal
/// interrupted the call. Under wine, `NotConnected` is what a peer that is gone is called.
fn is_of_peer(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
    matches!(error.kind(), Interrupted | ConnectionAborted | ConnectionReset | NotConnected)
}

/// Shows the counts.
impl<T> std::fmt::Debug for Loop<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loop").field("counts", &self.inner.counts).finish_non_exhaustive()
    }
}
