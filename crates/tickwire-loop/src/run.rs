//! [`Loop`]: rounds of waiting, turns and writes.
use crate::net::{Handler, Net};
use crate::settings::{Settings, Waiting};
use crate::slots::{Origin, Peer, Slots};
use crate::stage::{Open, Opening, Stage};
use crate::system::{Note, Token, fault};
use crate::{
    door::Door, event::Event, handle::Handle, inner::Inner, queues::Queues, tls::Tls, turn::Turn,
    wire::Wire,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use tickwire::Time;

/// In one round at a door, so that a storm of new connections does not keep the open ones waiting.
const ACCEPTS: usize = 64;
/// Connections that wait in a listener's queue; the operating system may lower this. By `Socket`,
/// because std's `bind` makes a queue of only 128. If it is full, the client's TCP tries again
/// after a second.
const BACKLOG: i32 = 4096;
/// In a round, for handshakes of accepted connections, and then again for connections whose last
/// turns ended at a limit. The others wait for the next round, which first serves those that have
/// become ready. The first step of a TLS handshake takes 0.1 ms, and a full turn up to 0.3 ms: a
/// hundred of these in one round would keep open connections waiting for 10 to 30 ms.
const LATE: Duration = Duration::from_micros(250);
/// After a failed accept, because no `Note` reports connections that still wait. With less, the
/// failing calls would keep the loop busy.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// An event loop: many connections on one thread, servers and clients, with and without TLS.
///
/// `T` is the application's value for each connection. [`run`](Self::run) waits for events, and
/// calls the handler once for each event. Each call gets the event and the commands ([`Net`]). See
/// the crate's documentation.
pub struct Loop<T> {
    pub(crate) inner: Inner<T>,
    /// Ready before the first turn of this round.
    round: Vec<u32>,
    /// When a round last had something to do, for `Waiting::SpinFor`.
    busy: Time,
}

impl<T> Loop<T> {
    /// Makes a loop without connections.
    ///
    /// # Errors
    ///
    /// If the operating system has no file descriptor left for the loop. `InvalidInput`, if
    /// [`max_connections`](Settings::max_connections) or
    /// [`max_per_address`](Settings::max_per_address) is 0.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let inner = Inner::new(settings)?;
        Ok(Self { inner, round: Vec::new(), busy: Time::ZERO })
    }

    /// Returns the commands, for use outside of the handler.
    pub fn net(&mut self) -> Net<'_, T> {
        self.inner.clock.tick(); // the last tick may be long ago
        Net::new(&mut self.inner)
    }

    /// Runs until a [`shut_down`](Net::shut_down) is done, or [`stop`](Net::stop) is called.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tickwire_loop::{Event, Loop, Settings};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut net = Loop::<()>::new(Settings::default())?;
    /// let waker = net.net().waker(); // for the thread that waits for SIGTERM
    /// # waker.wake()?;
    /// net.run(|net, event| match event {
    ///     Event::Woken => net.shut_down(Duration::from_secs(10)),
    ///     _ => {}
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If waiting for the operating system's events fails, or if io_uring does not accept the
    /// written bytes or has run in another thread. The errors of connections and listeners do not
    /// end the loop.
    ///
    /// # Panics
    ///
    /// If the handler does. Then drop the loop: see [the design page](crate::design).
    pub fn run(
        &mut self,
        mut handler: impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) -> io::Result<()> {
        while self.round(None, &mut handler)? {}
        self.inner.system.submit() // sends io_uring's copied output, because no wait follows
    }

    /// Runs one round: waits for at most `most`, and gives a turn to each connection that is ready.
    /// Returns `false` when [`run`](Self::run) would return. Use this call in a program that has an
    /// event loop of its own.
    ///
    /// # Errors
    ///
    /// The same as for [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// The same as for [`run`](Self::run).
    pub fn turn(
        &mut self,
        most: Duration,
        mut handler: impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) -> io::Result<bool> {
        let goes_on = self.round(Some(most), &mut handler)?;
        self.inner.system.submit()?; // sends io_uring's copied output: the next wait may be late
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
        // Before the wait, because no `Note` reports that places or memory are free.
        self.inner.fill_places();
        self.inner.resume_stopped();
        let woken = self.wait(self.timeout(most))?;
        let inner = &mut self.inner;
        let now = inner.clock.tick();
        // Before `expire`, so that a deadline alone does not make `SpinFor` spin.
        if woken || !inner.queues.are_idle() {
            self.busy = now;
        }
        if woken {
            #[cfg(feature = "client")]
            while let Some(dial) = inner.resolver.answered() {
                inner.make_ready(dial.at);
            }
            if inner.waker.take_asked() {
                handler(&mut Net::new(inner), Event::Woken);
            }
        }
        if inner.entrance.accept_at.take_if(|at| *at <= now).is_some() {
            inner.look_at_doors();
        }
        inner.accept_knocked();
        inner.expire(handler); // before the swap: a due deadline causes a turn in this round
        // What joins `unfinished` in this round waits for the next, so that no connection gets two
        // turns.
        let unfinished = inner.queues.unfinished.len();
        // What joins `ready` from here on gets its turn in the next round.
        mem::swap(&mut inner.queues.ready, &mut self.round);
        for at in self.round.drain(..) {
            inner.take_turn(at, handler);
        }
        // Also for slots that join `opening` meanwhile: `LATE` is the limit.
        inner.give_late_turns(usize::MAX, |queues| &mut queues.opening, handler);
        inner.give_late_turns(unfinished, |queues| &mut queues.unfinished, handler);
        // After all replies, and before `end_all` may drop messages.
        inner.relieve();
        if inner.shuts_at.is_some_and(|at| at <= now) {
            inner.end_all(handler);
        }
        inner.stops |= inner.shuts_at.is_some() && inner.slots.is_empty();
        Ok(!inner.stops)
    }

    fn timeout(&self, most: Option<Duration>) -> Option<Duration> {
        let inner = &self.inner;
        let spins = match inner.settings.waiting {
            Waiting::Sleep => false,
            Waiting::Spin => true,
            Waiting::SpinFor(time) => inner.clock.read() - self.busy < time,
        };
        let is_over = inner.shuts_at.is_some() && inner.slots.is_empty(); // no event would come
        if spins || is_over || !inner.queues.are_idle() {
            return Some(Duration::ZERO);
        }
        let timer = inner.timers.first();
        let times = [inner.deadlines.first(), timer, inner.shuts_at, inner.entrance.accept_at];
        let first = times.into_iter().flatten().min();
        let due = first.map(|at| at - inner.clock.read());
        due.into_iter().chain(most).min()
    }

    /// `true` if a thread woke the loop.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let Inner { system, slots, queues, .. } = &mut self.inner;
        #[cfg(test)]
        crate::tests::faults::waits(timeout);
        system.wait(timeout)?;
        let mut woken = false;
        // One loop over a chain of both iterators would take 30 more instructions for each `Note`.
        system.ring_notes().for_each(|note| _ = take_note(slots, queues, note)); // none is a wake
        for note in system.notes() {
            woken |= take_note(slots, queues, note);
        }
        Ok(woken)
    }
}

impl<T> Inner<T> {
    pub(crate) fn check_not_shutting(&self) -> io::Result<()> {
        let why = "the loop is shutting down";
        self.shuts_at.map_or(Ok(()), |_| Err(io::Error::new(ErrorKind::ConnectionAborted, why)))
    }

    pub(crate) fn listen(&mut self, address: SocketAddr, door: Door) -> io::Result<SocketAddr> {
        fault("socket")?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // On Unix, a restarted server can then listen on its port at once, although connections of
        // the old one are in TIME_WAIT. On Windows, another program could take the port.
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
        let at = self.entrance.doors.len() as u32;
        let address = listener.local_addr()?;
        let listener = self.system.listen(listener, Token::Door(at))?;
        self.entrance.doors.push((door, listener));
        self.queues.knocked.push(at); // connections may wait already
        Ok(address)
    }

    pub(crate) fn look_at_doors(&mut self) {
        self.queues.knocked.extend(0..self.entrance.doors.len() as u32);
    }

    fn accept_knocked(&mut self) {
        // Taken out, because this adds doors to it for the next round.
        for at in mem::take(&mut self.queues.knocked) {
            for n in 0.. {
                if n == ACCEPTS {
                    self.queues.knocked.push(at); // no new `Note` announces the rest
                    break;
                }
                if !self.entrance.may_accept() {
                    self.entrance.held = true; // clients wait in the kernel: see `fill_places`
                    self.counts.held += 1;
                    break;
                }
                // `stop_listening` may have removed the door.
                let Some((door, listener)) = self.entrance.doors.get(at as usize) else { break };
                match self.system.accept(listener) {
                    Ok((stream, peer)) => {
                        let door = door.clone(); // because `admit_stream` borrows all of `self`
                        self.admit_stream(stream, peer, &door);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if is_of_peer(&error) => {}
                    // For example, no file descriptor is left.
                    Err(_) => {
                        self.counts.accept_failed += 1;
                        self.entrance.accept_at = Some(self.clock.now + RETRY);
                        break;
                    }
                }
            }
        }
    }

    /// An early return drops the stream, which closes it.
    pub(crate) fn admit_stream(&mut self, stream: TcpStream, peer: SocketAddr, door: &Door) {
        self.counts.accepted += 1;
        if self.entrance.accepted >= self.settings.max_connections {
            self.counts.over_connections += 1;
            return;
        }
        let is_proxy = door.proxies.iter().any(|network| network.contains(peer.ip()));
        let peer = Peer::new(peer, if is_proxy { Origin::Unnamed } else { Origin::Accepted });
        let mut phase = None;
        if !self.entrance.enter(peer.counted_for(), &mut phase) {
            self.counts.over_per_address += 1;
            return;
        }
        let tls = door.tls_config.as_ref().map(Tls::server).transpose();
        let opening = Opening::new(door, self.clock.now, is_proxy);
        let until = opening.deadline();
        let taken = tls.ok().and_then(|tls| Some((tls, self.slots.take(Stage::Opening(opening))?)));
        let Some((tls, handle)) = taken else {
            // rustls refuses the configuration, or no slot is free.
            self.counts.handshakes_failed += 1;
            self.entrance.leave(peer.counted_for(), phase);
            return;
        };
        let Some(slot) = self.slots.get_mut(handle) else { return };
        // Before the calls that may fail, because `free` needs both to undo `enter`.
        slot.peer = Some(peer);
        slot.marks.phase = phase;
        let token = Token::Slot(handle.at);
        let prepared = door.hook.call(&stream); // before `adopt`, which sets TCP_NODELAY
        match prepared.and_then(|()| self.system.adopt(stream, token, door.stamps_reads)) {
            Ok(stream) => {
                // `false`: a `Note` also reports bytes that arrived before `adopt`.
                slot.wire = Some(Wire::new(stream, tls, false, door.stamps_reads));
                self.arm(handle.at, until);
            }
            Err(_) => {
                self.counts.handshakes_failed += 1;
                self.free(handle);
            }
        }
    }

    /// From the one that has waited the longest, for at most `most` slots, or until `LATE` has
    /// passed.
    fn give_late_turns(
        &mut self,
        most: usize,
        queue: fn(&mut Queues) -> &mut VecDeque<u32>,
        handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) {
        let mut began = None;
        for _ in 0..most {
            let Some(at) = queue(&mut self.queues).pop_front() else { return };
            // Only if the queue has a slot.
            let until = *began.get_or_insert_with(|| self.clock.read()) + LATE;
            self.take_turn(at, handler);
            if self.clock.read() >= until {
                return;
            }
        }
    }

    fn take_turn(&mut self, at: u32, handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>)) {
        let Some((handle, slot)) = self.slots.entry(at) else { return };
        slot.marks.ready = false; // first, so that its turn can make it ready again
        let open = match &mut slot.stage {
            Stage::Open(open) => open.take(),
            Stage::Dormant => {
                self.wake(handle);
                self.take_open(handle)
            }
            _ => self.proceed(handle, handler),
        };
        if let Some(open) = open {
            Turn::serve(self, handle, open, handler);
        }
    }

    fn proceed(&mut self, handle: Handle, handler: &mut Handler<'_, T>) -> Option<Box<Open>> {
        let slot = self.slots.get_mut(handle)?;
        let open = match mem::replace(&mut slot.stage, Stage::Turn) {
            Stage::Opening(opening) => self.open_up(handle, opening, handler)?,
            Stage::Accepted(open) => open,
            #[cfg(feature = "client")]
            Stage::Dialing(dialing) => self.go_on_dialing(handle, dialing, handler)?,
            Stage::Rejected(rejected) => {
                self.go_on_rejected(handle, rejected);
                return None;
            }
            Stage::OverQueued => {
                slot.stage = Stage::OverQueued; // `finish` finds the reason here
                self.finish(handle, None, None, handler);
                return None;
            }
            // It has ended since its slot was queued. Open connections do not come here:
            // `take_turn` serves them.
            stage @ (Stage::Free | Stage::Turn | Stage::Open(_) | Stage::Dormant) => {
                slot.stage = stage;
                return None;
            }
        };
        self.begin(handle, open, handler)
    }

    fn expire(&mut self, handler: &mut Handler<'_, T>) {
        let now = self.clock.now;
        while let Some(at) = self.deadlines.pop_due(now) {
            self.make_ready(at);
        }
        // At most as many timers as are set now: otherwise a handler that sets a new due one at
        // each call would keep this going.
        for _ in 0..self.timers.len() {
            let Some(number) = self.timers.pop_due(now) else { return };
            handler(&mut Net::new(self), Event::Timer(number));
        }
    }
}

#[inline(always)] // a call would take 20 more instructions for each message that comes alone
fn take_note<T>(slots: &mut Slots<T>, queues: &mut Queues, note: Note) -> bool {
    match note.token {
        Token::Waker => return true,
        // If the door is closed by now, `accept_knocked` skips it.
        Token::Door(at) => queues.knocked.push(at),
        Token::Slot(at) => {
            // The slot may be free, or have another owner. A needless turn does no harm.
            let Some(slot) = slots.at_mut(at) else { return false };
            if let Some(wire) = &mut slot.wire {
                wire.note(&note);
            }
            queues.make_ready(at, slot);
        }
    }
    false
}

#[cfg(unix)]
fn share_port(socket: &Socket) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_reuseport(socket, true)?)
}

#[cfg(not(unix))]
fn share_port(_: &Socket) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// The client was gone or a signal came, so the next accept may succeed at once. Under wine,
/// `NotConnected` if the client is gone.
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
