//! [`Net`]: the commands of a loop.
use crate::{
    Counts, Dial, Door, Handle, SendError, Sent, Timer, Waker,
    inner::Inner,
    slots::{Stage, drain_outbox},
};
use std::{
    io, mem,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use tickwire::{
    Connection, Error, IntoClose, IntoOutbound, Outbound, Prepared,
    SendError::Full,
    Sender, Time,
    handshake::server::{Accept, Rejection, RequestHead},
};
use tickwire_parts::{Outbox, PushError};

/// The commands of a loop. A handler gets it with each event, and [`Loop::net`](crate::Loop::net)
/// returns it in between. No command waits, and none calls the handler.
pub struct Net<'n, T> {
    pub(crate) inner: &'n mut Inner<T>,
    /// The connection that has its turn, whose message may be lent. It is not in its slot.
    current: Option<Current<'n>>,
}

struct Current<'n> {
    handle: Handle,
    tx: &'n mut Sender,
    /// It had no outbox when its turn was last looked at.
    direct: bool,
}

impl<'n, T> Net<'n, T> {
    pub(crate) fn new(inner: &'n mut Inner<T>) -> Self {
        Self { inner, current: None }
    }

    pub(crate) fn in_turn(
        inner: &'n mut Inner<T>,
        handle: Handle,
        tx: &'n mut Sender,
        direct: bool,
    ) -> Self {
        Self { inner, current: Some(Current { handle, tx, direct }) }
    }

    // Connections to come.

    /// Listens on an address. Returns the address, with the port that the system chose for port 0.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn listen(&mut self, address: SocketAddr, door: Door) -> io::Result<SocketAddr> {
        self.inner.listen(address, door)
    }

    /// Listens on a listener that was made elsewhere: with socket options of your own, which
    /// accepted connections inherit on Linux, or handed over by a service manager.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn listen_on(&mut self, listener: TcpListener, door: Door) -> io::Result<SocketAddr> {
        self.inner.listen_on(listener, door)
    }

    /// Takes a stream that was accepted elsewhere, as if a listener with this door had accepted it:
    /// within the limits, and with the door's handshake. For an acceptor that deals streams out to
    /// several loops.
    ///
    /// # Errors
    ///
    /// If the stream is not connected, and `ConnectionAborted` during a
    /// [shutdown](Self::shut_down). The stream is closed then. If a limit closes it, the
    /// [counts](Self::counts) say so.
    pub fn adopt(&mut self, stream: TcpStream, door: &Door) -> io::Result<()> {
        let peer = stream.peer_addr()?;
        if self.inner.shuts_at.is_some() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.inner.admit_stream(stream, peer, door);
        Ok(())
    }

    /// Closes all listeners. Connections stay.
    pub fn stop_listening(&mut self) {
        for open in self.inner.doors.iter_mut().filter_map(Option::take) {
            self.inner.system.stop_listening(open.listener);
        }
    }

    /// Dials. [`Event::Open`](crate::Event::Open) says that the connection is open, and
    /// [`Event::Closed`](crate::Event::Closed) that it could not be had; both name this handle.
    ///
    /// # Errors
    ///
    /// If the target cannot be dialed at all: [`Error::NoTls`] for `wss` without the feature
    /// `rustls`, `Unsupported` for a Unix socket, `ConnectionAborted` during a
    /// [shutdown](Self::shut_down). `value` is dropped then.
    pub fn dial(&mut self, dial: Dial, value: T) -> Result<Handle, Error> {
        self.inner.dial(dial, value)
    }

    /// A deferred request; `None` if it is gone, or was answered.
    pub fn request(&self, from: Handle) -> Option<RequestHead<'_>> {
        match &self.inner.slots.get(from)?.stage {
            Stage::Opening(opening) => opening.request(),
            _ => None,
        }
    }

    /// Accepts a deferred request: see [`Answer::defer`](crate::Answer::defer). Returns `false` if
    /// the request is gone, or was answered; `value` is dropped then.
    pub fn accept(&mut self, from: Handle, accept: Accept<'_>, value: T) -> bool {
        self.request(from).is_some() && self.inner.admit_deferred(from, accept, value)
    }

    /// Rejects a deferred request. Returns `false` if the request is gone, or was answered.
    pub fn reject(&mut self, from: Handle, rejection: impl Into<Rejection>) -> bool {
        self.request(from).is_some() && self.inner.refuse_deferred(from, rejection.into())
    }

    // Sending.

    /// Queues a message for a connection, through its [outbox](Self::set_outbox) if it has one. It
    /// may be the connection whose message is lent.
    ///
    /// What is sent to the connection that has its turn leaves at the end of its turn, in one
    /// write. What is sent to others leaves at the end of the round, in one write for each; but at
    /// once if more than 512 connections have something to be written.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send<'m>(
        &mut self,
        to: Handle,
        message: impl IntoOutbound<'m>,
    ) -> Result<(), SendError> {
        // The common case: an answer to the message that is lent. Its bytes are counted at the end
        // of the turn, and bounded by the connection's own limit until then.
        if let Some(Current { handle, tx, direct: true }) = &mut self.current
            && *handle == to
            && !self.inner.turn_changed
        {
            let sent = tx.feed(message).map(drop).map_err(SendError::from);
            return self.note_full(to, sent);
        }
        self.queue(to, None, message.into())
    }

    /// [`send`](Self::send) with the complete state of a key, for an outbox that
    /// [conflates](tickwire_parts::Overflow::Conflate): see [`Outbox::push_keyed`]. Without an
    /// outbox the key means nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_keyed<'m>(
        &mut self,
        to: Handle,
        key: u64,
        message: impl IntoOutbound<'m>,
    ) -> Result<(), SendError> {
        self.queue(to, Some(key), message.into())
    }

    /// Queues one message for many connections. It was encoded once.
    pub fn send_to(&mut self, to: impl IntoIterator<Item = Handle>, message: &Prepared) -> Sent {
        self.send_keyed_to(to, None, message)
    }

    /// [`send_to`](Self::send_to) with a key, if there is one: see
    /// [`send_keyed`](Self::send_keyed).
    pub fn send_keyed_to(
        &mut self,
        to: impl IntoIterator<Item = Handle>,
        key: Option<u64>,
        message: &Prepared,
    ) -> Sent {
        let mut all = Sent::default();
        for to in to {
            match self.queue(to, key, message.into()) {
                Ok(()) => all.taken += 1,
                Err(SendError::NotOpen) => all.not_open += 1,
                Err(_) => all.refused += 1,
            }
        }
        all
    }

    /// Queues a message, counts it, and has it written.
    fn queue(
        &mut self,
        to: Handle,
        key: Option<u64>,
        message: Outbound<'_>,
    ) -> Result<(), SendError> {
        let len = message.as_bytes().len();
        let sent = self.push(to, key, message);
        if sent.is_ok() {
            self.inner.count_queued(to, len + 16);
        }
        if self.inner.unwritten.len() >= MOST_UNWRITTEN {
            self.inner.write_unwritten();
        }
        self.note_full(to, sent)
    }

    fn push(
        &mut self,
        to: Handle,
        key: Option<u64>,
        message: Outbound<'_>,
    ) -> Result<(), SendError> {
        if self.inner.slots.get(to).ok_or(SendError::NotOpen)?.outbox.is_none() {
            let tx = self.sender(to).ok_or(SendError::NotOpen)?;
            return Ok(tx.feed(message).map(drop)?);
        }
        let _ = self.sender(to); // which has the outbox fed and written
        let Inner { slots, system, counts, now, .. } = &mut *self.inner;
        let slot = slots.get_mut(to).ok_or(SendError::NotOpen)?;
        let outbox = slot.outbox.as_mut().ok_or(SendError::NotOpen)?;
        // The policy is for a slow peer. So before it acts, the stream gets what it accepts. The
        // outbox counts 64 bytes for a message in addition to its payload.
        if outbox.counts().bytes + message.as_bytes().len() + 64 > outbox.max_bytes
            && let Some(wire) = &mut slot.wire
            && let Some(tx) = match (&mut self.current, &mut slot.stage) {
                (Some(Current { handle, tx, .. }), _) if *handle == to => Some(&mut **tx),
                (_, Stage::Open(open)) => Some(open.conn.sender_mut()),
                _ => None,
            }
        {
            drain_outbox(outbox, wire, system, tx, *now);
            let queued = outbox.counts().bytes + tx.buffered_amount();
            counts.queued = counts.queued - mem::replace(&mut slot.queued, queued) + queued;
        }
        Ok(match key {
            Some(key) => outbox.push_keyed(*now, key, message),
            None => outbox.push(*now, message),
        }?)
    }

    /// After a refusal for want of room, an event is due when there is room.
    #[inline]
    fn note_full(&mut self, to: Handle, sent: Result<(), SendError>) -> Result<(), SendError> {
        if let Err(SendError::Refused(Full { .. }) | SendError::Outbox(PushError::Full)) = sent
            && let Some(slot) = self.inner.slots.get_mut(to)
        {
            slot.marks.wants_room = true;
        }
        sent
    }

    /// The sending half of an open connection, for everything that
    /// [`Sender`] can do: Pings, messages in chunks, messages that overtake. What is fed to it
    /// passes by the outbox, and counts for
    /// [`max_queued`](crate::Settings::max_queued) from the end of the round on.
    #[inline]
    pub fn sender(&mut self, of: Handle) -> Option<&mut Sender> {
        match &mut self.current {
            Some(Current { handle, tx, .. }) if *handle == of => {
                self.inner.slots.get(of)?; // the application may have removed it
                Some(tx)
            }
            _ => self.inner.sender(of),
        }
    }

    /// Gives a connection an outbox, which decides what it gets while it is slow. Returns the old
    /// one. `None` if the connection is gone.
    ///
    /// The loop writes from the outbox at the end of the turn or round, and before a message would
    /// exceed [`max_bytes`](Outbox::max_bytes). The policy acts if the stream then accepts too
    /// little. So `max_bytes` must hold all that one call of the handler sends, apart from what
    /// the system's send buffer accepts.
    pub fn set_outbox(&mut self, of: Handle, outbox: impl Into<Option<Outbox>>) -> Option<Outbox> {
        self.inner.turn_changed = true;
        let slot = self.inner.slots.get_mut(of)?;
        mem::replace(&mut slot.outbox, outbox.into().map(Box::new)).map(|outbox| *outbox)
    }

    /// A connection's outbox.
    pub fn outbox(&self, of: Handle) -> Option<&Outbox> {
        self.inner.slots.get(of)?.outbox.as_deref()
    }

    // A connection.

    /// An open connection: what was agreed on, the response to its request, round-trip times.
    /// `None` if the handle names none. Also `None` for the connection that a
    /// [`Message`](crate::Event::Message), [`Control`](crate::Event::Control) or
    /// [`Room`](crate::Event::Room) names, during this event.
    pub fn connection(&mut self, of: Handle) -> Option<&Connection> {
        self.inner.wake(of);
        match &self.inner.slots.get(of)?.stage {
            Stage::Open(open) | Stage::Accepted(open) => Some(&open.conn),
            _ => None,
        }
    }

    /// The application's value.
    #[inline]
    pub fn value(&self, of: Handle) -> Option<&T> {
        self.inner.slots.get(of)?.value.as_ref()
    }

    /// The application's value.
    #[inline]
    pub fn value_mut(&mut self, of: Handle) -> Option<&mut T> {
        self.inner.slots.get_mut(of)?.value.as_mut()
    }

    /// All connections, those in their handshake included. For
    /// [`send_to`](Self::send_to), keep lists of your own: this one has to be collected first.
    pub fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        self.inner.slots.handles()
    }

    /// The address of the other end.
    pub fn peer_addr(&self, of: Handle) -> Option<SocketAddr> {
        self.inner.peer_addr(of)
    }

    /// Pauses or resumes reading. A paused connection delivers no messages, so its peer is told to
    /// wait by TCP. (The loop pauses by itself while a connection has no room for replies.)
    pub fn pause(&mut self, of: Handle, paused: bool) {
        if let Some(slot) = self.inner.slots.get_mut(of) {
            slot.marks.paused = paused;
            self.inner.turn_changed = true;
            self.inner.make_ready(of.at);
        }
    }

    /// Closes a connection with the closing handshake, after everything that it was fed. Its outbox
    /// is dropped. [`Event::Closed`](crate::Event::Closed) says that it is gone. A connection that
    /// is not open yet is given up. `None` sends a Close without a code.
    pub fn close<'f>(&mut self, of: Handle, frame: impl IntoClose<'f>) {
        if let Some(tx) = self.sender(of) {
            let _ = tx.close(frame); // it may be closed already
            if let Some(slot) = self.inner.slots.get_mut(of) {
                slot.outbox = None;
            }
        } else {
            self.inner.give_up(of);
        }
        self.inner.make_ready(of.at);
    }

    /// Takes a connection away at once, without a Close and without an event. Returns the
    /// application's value; `None` if there is no such connection, or no value yet.
    pub fn remove(&mut self, of: Handle) -> Option<T> {
        self.inner.remove(of)
    }

    // Time, other threads, the end.

    /// Reads the loop's clock: the time since the loop was made. It is the clock of
    /// [`Info::read_at`](tickwire::Info::read_at), of timers and of outboxes.
    pub fn now(&self) -> Time {
        self.inner.read_clock()
    }

    /// Delivers [`Event::Timer`](crate::Event::Timer) with this number at this time: see
    /// [`now`](Self::now). A time in the past is due at once.
    pub fn set_timer(&mut self, at: Time, number: u64) -> Timer {
        let (timer, id) = self.inner.timers.set(number);
        self.inner.deadlines.set(id, at);
        timer
    }

    /// Cancels a timer. Returns its number; `None` if it has come already.
    pub fn cancel_timer(&mut self, timer: Timer) -> Option<u64> {
        let (id, number) = self.inner.timers.cancel(timer)?;
        self.inner.deadlines.remove(id);
        Some(number)
    }

    /// A waker for another thread.
    pub fn waker(&self) -> Waker {
        self.inner.waker.clone()
    }

    /// Whether the loop uses io_uring: see [`io_uring`](crate::Settings::io_uring).
    pub fn uses_io_uring(&self) -> bool {
        self.inner.system.is_io_uring()
    }

    /// What the loop has done, and has now.
    pub fn counts(&self) -> Counts {
        Counts { handshakes_now: self.inner.handshakes.under_way, ..self.inner.counts }
    }

    /// Ends the loop in order: closes the listeners, gives up what is not open, and closes the
    /// connections with 1001 (going away). [`run`](crate::Loop::run) returns when all are gone, at
    /// the latest after `within`. What is left then is taken away, with
    /// [`Event::Closed`](crate::Event::Closed).
    pub fn shut_down(&mut self, within: Duration) {
        let until = self.inner.read_clock() + within;
        self.inner.shuts_at = Some(self.inner.shuts_at.map_or(until, |at| at.min(until)));
        self.stop_listening();
        if let Some(Current { tx, .. }) = &mut self.current {
            let _ = tx.close(tickwire::CloseCode::GOING_AWAY);
        }
        self.inner.close_all();
    }

    /// Ends the loop after this round, without a word to the peers.
    pub fn stop(&mut self) {
        self.inner.stops = true;
    }
}

/// When more connections than this have something to be written, it is written at once. Each of
/// them has a buffer until then.
const MOST_UNWRITTEN: usize = 512;

impl<T> Inner<T> {
    fn admit_deferred(&mut self, from: Handle, accept: Accept<'_>, value: T) -> bool {
        let Some(opening) = self.take_opening(from) else { return false };
        let Some(open) = self.admit(from, opening, accept, value) else { return false };
        if let Some(slot) = self.slots.get_mut(from) {
            slot.stage = Stage::Accepted(open);
        }
        self.make_ready(from.at);
        true
    }

    fn refuse_deferred(&mut self, from: Handle, rejection: Rejection) -> bool {
        let Some(opening) = self.take_opening(from) else { return false };
        self.refuse(from, opening, rejection);
        true
    }

    /// Ends a connection that is not open, in its next turn.
    fn give_up(&mut self, of: Handle) {
        let Some(slot) = self.slots.get_mut(of) else { return };
        match &slot.stage {
            Stage::Opening(_) | Stage::Rejected(_) => drop(self.remove(of)),
            Stage::Dialing(_) => slot.marks.given_up = true,
            _ => {}
        }
    }

    /// Frees a slot, with what it has under way.
    pub(crate) fn remove(&mut self, of: Handle) -> Option<T> {
        if let Some(Stage::Dialing(dialing)) = self.slots.get_mut(of).map(|slot| &mut slot.stage) {
            let mut attempts = mem::take(&mut dialing.attempts);
            attempts.drain(..).for_each(|(_, stream)| self.system.close(stream));
        }
        self.free(of)
    }

    /// Closes all connections, for the end of the loop.
    fn close_all(&mut self) {
        let all: Vec<_> = self.slots.handles().collect();
        for handle in all {
            match self.sender(handle) {
                Some(tx) => drop(tx.close(tickwire::CloseCode::GOING_AWAY)),
                None => self.give_up(handle),
            }
            self.make_ready(handle.at);
        }
    }
}

/// Shows the counts.
impl<T> std::fmt::Debug for Net<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
