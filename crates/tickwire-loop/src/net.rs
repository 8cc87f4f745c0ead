//! [`Net`]: the commands of a loop.
#[cfg(feature = "client")]
use crate::dial::Dial;
use crate::event::{Event, SendError, Sent};
use crate::{
    door::Door, handle::Handle, inner::Inner, settings::Counts, slots::drain_outbox, stage::Stage,
    system::Waker, timers::Timer,
};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::{io, time::Duration};
use tickwire::{
    CloseFrame, Connection, Error, IntoClose, IntoOutbound, Outbound, Prepared,
    SendError::Full,
    Sender, Time,
    handshake::server::{Accept, Rejection, RequestHead},
};
use tickwire_parts::{Outbox, PushError};

/// Behind `dyn`: only the turn of an open connection knows the type of the closure, which the
/// compiler can inline there.
pub(crate) type Handler<'h, T> = dyn FnMut(&mut Net<'_, T>, Event<'_, T>) + 'h;

/// The commands of a loop. A handler gets a `Net` with each event. Outside of the handler,
/// [`Loop::net`](crate::Loop::net) returns a `Net`. No command calls the handler, and none blocks.
pub struct Net<'n, T> {
    pub(crate) inner: &'n mut Inner<T>,
    /// Of the connection that has its turn (`Inner::current`), and is not in its slot meanwhile, so
    /// that its message can be lent.
    tx: Option<&'n mut Sender>,
}

impl<'n, T> Net<'n, T> {
    pub(crate) fn new(inner: &'n mut Inner<T>) -> Self {
        Self { inner, tx: None }
    }

    #[inline]
    pub(crate) fn in_turn(inner: &'n mut Inner<T>, tx: &'n mut Sender) -> Self {
        Self { inner, tx: Some(tx) }
    }

    // Listening and dialing.

    /// Listens on `address`, and returns the address. If `address` has port 0, the returned address
    /// has the port that the operating system chose.
    ///
    /// # Errors
    ///
    /// An error of the operating system, or `ConnectionAborted` during a
    /// [shutdown](Self::shut_down).
    pub fn listen(&mut self, address: SocketAddr, door: Door) -> io::Result<SocketAddr> {
        self.inner.listen(address, door)
    }

    /// Accepts connections from a listener that the program made itself, or got from a service
    /// manager. Use this call if the listener needs socket options, which accepted connections
    /// inherit on Linux: see the example of [`Door`].
    ///
    /// # Errors
    ///
    /// An error of the operating system, or `ConnectionAborted` during a
    /// [shutdown](Self::shut_down).
    pub fn listen_on(&mut self, listener: TcpListener, door: Door) -> io::Result<SocketAddr> {
        self.inner.listen_on(listener, door)
    }

    /// Adds a stream that the program accepted itself, for example to spread streams over several
    /// loops. The same limits and the same handshake apply as for streams that a listener with this
    /// door accepts. While all places for handshakes are taken, the stream waits in the loop.
    ///
    /// # Errors
    ///
    /// An error if the stream is not connected, or `ConnectionAborted` during a
    /// [shutdown](Self::shut_down). In both cases the stream is closed. If a limit closes the
    /// stream, the call returns `Ok`, and the [counts](Self::counts) show the limit.
    pub fn adopt(&mut self, stream: TcpStream, door: &Door) -> io::Result<()> {
        let peer = stream.peer_addr()?;
        stream.set_nonblocking(true)?;
        self.inner.check_not_shutting()?;
        // If too many connections are silent, `held` makes `fill_places` close some.
        self.inner.entrance.held |= !self.inner.entrance.may_accept();
        self.inner.admit_stream(stream, peer, door);
        Ok(())
    }

    /// Closes all listeners. Connections stay.
    pub fn stop_listening(&mut self) {
        self.inner.entrance.doors.clear();
    }

    /// Dials a server. Feature `client`. [`Event::Open`](crate::Event::Open) reports success, or
    /// [`Event::Closed`](crate::Event::Closed) reports failure. The event has the returned handle.
    ///
    /// # Errors
    ///
    /// If the target cannot be dialed at all: [`Error::NoTls`] for `wss` without the feature
    /// `rustls`, `OutOfMemory` if no slot is free, `ConnectionAborted` during a
    /// [shutdown](Self::shut_down). In all these cases `value` is dropped.
    #[cfg(feature = "client")]
    #[cfg_attr(docsrs, doc(cfg(feature = "client")))]
    pub fn dial(&mut self, dial: Dial, value: T) -> Result<Handle, Error> {
        self.inner.dial(dial, value)
    }

    /// Returns a deferred request. `None` if the connection is gone, or has no deferred request.
    pub fn request(&self, from: Handle) -> Option<RequestHead<'_>> {
        match &self.inner.slots.get(from)?.stage {
            Stage::Opening(opening) => opening.deferred(),
            _ => None,
        }
    }

    /// Accepts a deferred request: see [`Answer::defer`](crate::Answer::defer). From then on the
    /// connection counts as open: messages may be sent to it before [`Event::Open`]. Returns
    /// `false`, and drops `value`, if the connection is gone or the request was already accepted or
    /// rejected.
    pub fn accept(&mut self, from: Handle, accept: Accept<'_>, value: T) -> bool {
        let inner = &mut *self.inner;
        let Some(opening) = inner.take_deferred(from) else { return false };
        let Some(open) = inner.admit(from, opening, accept, value) else { return false };
        inner.put(from, Stage::Accepted(open), None);
        inner.make_ready(from.at); // its turn delivers `Event::Open`
        true
    }

    /// Rejects a deferred request. Returns `false` if the connection is gone or the request was
    /// already accepted or rejected.
    pub fn reject(&mut self, from: Handle, rejection: impl Into<Rejection>) -> bool {
        let Some(opening) = self.inner.take_deferred(from) else { return false };
        self.inner.refuse(from, opening, rejection.into());
        true
    }

    // Sending.

    /// Queues a message for a connection, in its [outbox](Self::set_outbox) if it has one. During
    /// [`Message`](crate::Event::Message), `to` may be the connection of that event.
    ///
    /// Messages to the connection that has its turn leave in this turn, as a rule all in one write.
    /// Messages to other connections leave at the end of the round, in one write for each
    /// connection. But the loop writes earlier if 512 connections have unwritten messages.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    #[inline]
    pub fn send<'m>(
        &mut self,
        to: Handle,
        message: impl IntoOutbound<'m>,
    ) -> Result<(), SendError> {
        // The common case: a reply to the lent message. Its bytes are counted at the end of the
        // turn; until then the connection's `high_water` limits them.
        if self.inner.current.is_direct(to)
            && let Some(tx) = &mut self.tx
        {
            let sent = tx.feed(message).map(drop).map_err(SendError::from);
            return self.note_full(to, sent);
        }
        self.queue(to, None, message.into())
    }

    /// Like [`send`](Self::send), for a message with the complete state of one thing, such as an
    /// instrument. `key` stands for this thing. An outbox that
    /// [conflates](tickwire_parts::Overflow::Conflate) replaces a waiting message of the same key:
    /// see [`Outbox::push_keyed`]. Without an outbox, the key has no effect.
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

    /// Queues one message for many connections. The connections share its payload, which is
    /// compressed at most once for each window size.
    pub fn send_to(&mut self, to: impl IntoIterator<Item = Handle>, message: &Prepared) -> Sent {
        self.send_keyed_to(to, None, message)
    }

    /// Like [`send_to`](Self::send_to), with an optional key: see [`send_keyed`](Self::send_keyed).
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

    fn queue(
        &mut self,
        to: Handle,
        key: Option<u64>,
        message: Outbound<'_>,
    ) -> Result<(), SendError> {
        let len = message.as_bytes().len();
        let sent = self.push(to, key, message);
        if sent.is_ok() {
            self.inner.count_queued(to, len + 16); // 16 for a header; `rest` counts exactly
        }
        if self.inner.queues.unwritten.len() >= MOST_UNWRITTEN {
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
        let has_outbox = self.outbox(to).is_some();
        let tx = self.sender(to).ok_or(SendError::NotOpen)?; // puts the slot into `unwritten`
        if !has_outbox {
            return Ok(tx.feed(message).map(drop)?);
        }
        let is_closed = tx.is_closed(); // `push`, below, reports a disconnect by the outbox
        if is_closed && self.outbox(to).is_some_and(|outbox| outbox.disconnected().is_none()) {
            return Err(tickwire::SendError::Closed.into());
        }
        // The outbox's policy is for slow peers alone, so before it acts, the loop writes what the
        // stream accepts.
        if self.outbox(to).is_some_and(|outbox| !outbox.fits(&message)) {
            self.drain(to);
        }
        let Inner { slots, clock, .. } = &mut *self.inner;
        let outbox = slots.get_mut(to).and_then(|slot| slot.outbox.as_mut());
        let outbox = outbox.ok_or(SendError::NotOpen)?;
        Ok(match key {
            Some(key) => outbox.push_keyed(clock.now, key, message),
            None => outbox.push(clock.now, message),
        }?)
    }

    fn drain(&mut self, of: Handle) {
        let Inner { slots, system, counts, clock, current, .. } = &mut *self.inner;
        let Some(slot) = slots.get_mut(of) else { return };
        if let (Some(outbox), Some(wire)) = (&mut slot.outbox, &mut slot.wire)
            && let Some(tx) = match (&mut self.tx, &mut slot.stage) {
                (Some(tx), _) if current.is(of) => Some(&mut **tx),
                (_, Stage::Open(Some(open)) | Stage::Accepted(open)) => {
                    Some(open.conn.sender_mut())
                }
                _ => None,
            }
        {
            drain_outbox(outbox, wire, system, tx, clock.now);
            let queued = outbox.counts().bytes + tx.buffered_amount();
            slot.set_queued(counts, queued);
        }
    }

    #[inline]
    fn note_full(&mut self, to: Handle, sent: Result<(), SendError>) -> Result<(), SendError> {
        if let Err(SendError::Refused(Full { .. }) | SendError::Outbox(PushError::Full)) = sent
            && let Some(slot) = self.inner.slots.get_mut(to)
        {
            slot.marks.wants_room = true;
        }
        sent
    }

    /// Returns the sender of an open connection, for all that [`Sender`] can do: Pings, messages in
    /// chunks, messages that overtake. Messages that you feed to the sender bypass the outbox. They
    /// count for [`max_queued`](crate::Settings::max_queued) once the turn or round is over.
    #[inline]
    pub fn sender(&mut self, of: Handle) -> Option<&mut Sender> {
        match &mut self.tx {
            Some(tx) if self.inner.current.is(of) => {
                self.inner.slots.get(of)?; // the application may have removed it
                Some(tx)
            }
            _ => self.inner.sender(of),
        }
    }

    /// Gives a connection an outbox, or removes its outbox. The outbox decides which messages the
    /// connection gets while it is slow. Returns the previous outbox; `None` if there was none, or
    /// the connection is gone. An outbox that has disconnected its connection stays: then this call
    /// changes nothing, and returns `None`.
    ///
    /// The loop writes from the outbox at the end of the connection's turn or the round, and when a
    /// message would exceed [`max_bytes`](Outbox::max_bytes). If the stream then accepts too
    /// little, the outbox's policy acts, even if the peer is not slow. So `max_bytes` must be
    /// enough for what one call of the handler sends, minus what the system's send buffer accepts.
    /// In a turn, the loop also writes from the outbox before each received message. So when the
    /// loop answers the peer's Close or a violation, it drops only messages the stream refused.
    pub fn set_outbox(&mut self, of: Handle, outbox: impl Into<Option<Outbox>>) -> Option<Outbox> {
        self.inner.current.change(); // so that `send` sees the outbox
        self.inner.make_ready(of.at); // `Event::Room` may be due
        let slot = self.inner.slots.get_mut(of)?;
        // An outbox that has disconnected the connection stays, because the Close may not be queued
        // yet, and because `Event::Closed` gets the code from it.
        let before = slot.outbox.take_if(|outbox| outbox.disconnected().is_none());
        slot.outbox = slot.outbox.take().or(outbox.into().map(Box::new));
        before.map(|outbox| *outbox)
    }

    /// Returns the outbox of a connection, if it has one.
    pub fn outbox(&self, of: Handle) -> Option<&Outbox> {
        self.inner.slots.get(of)?.outbox.as_deref()
    }

    // One connection.

    /// Returns an open connection, for example to read what was negotiated, or its round-trip time.
    /// If the connection is dormant, this call makes it whole, which may make another connection
    /// dormant: see [`max_whole`](crate::Settings::max_whole).
    ///
    /// `None` if the handle names no open connection. During the events
    /// [`Message`](crate::Event::Message), [`Control`](crate::Event::Control) and
    /// [`Room`](crate::Event::Room), also `None` for the connection that the event names.
    pub fn connection(&mut self, of: Handle) -> Option<&Connection> {
        self.inner.wake(of);
        match &self.inner.slots.get(of)?.stage {
            Stage::Open(Some(open)) | Stage::Accepted(open) => Some(&open.conn),
            _ => None,
        }
    }

    /// Returns the application's value of a connection.
    #[inline]
    pub fn value(&self, of: Handle) -> Option<&T> {
        self.inner.slots.get(of)?.value.as_ref()
    }

    /// Returns the application's value of a connection, to change it.
    #[inline]
    pub fn value_mut(&mut self, of: Handle) -> Option<&mut T> {
        self.inner.slots.get_mut(of)?.value.as_mut()
    }

    /// Returns the handles of all connections, including those in their handshake. For
    /// [`send_to`](Self::send_to), keep lists of your own: this iterator borrows the `Net`, so you
    /// would have to collect the handles first.
    pub fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        self.inner.slots.handles()
    }

    /// Returns the address of the other end. `None` before a dialed connection has connected to an
    /// address, or if the connection is gone.
    pub fn peer_addr(&self, of: Handle) -> Option<SocketAddr> {
        Some(self.inner.slots.get(of)?.peer?.address())
    }

    /// Pauses or resumes reading. While a connection is paused, the loop delivers none of its
    /// messages and stops reading, so TCP slows the peer down. (The loop also pauses reading by
    /// itself while a connection has no room for replies.)
    ///
    /// The heartbeat stops too. So while nothing is sent to a paused connection, no event tells
    /// that its peer is gone, even if the peer was killed. If a write fails, the connection ends
    /// after [`close_timeout`](tickwire::Config::close_timeout), with the error of the write. If
    /// the peer takes too few bytes, [`write_timeout`](tickwire::Config::write_timeout) ends the
    /// connection. [`close`](Self::close) and [`shut_down`](Self::shut_down) do not resume reading:
    /// the answer to the Close stays unread, and `close_timeout` ends the connection with
    /// [`CloseTimeout`](tickwire::RecvError::CloseTimeout). In all these cases, received messages
    /// that are not delivered yet are dropped. If the dropped bytes violate the protocol, the
    /// connection ends with this error, although the messages before it were not delivered.
    pub fn pause(&mut self, of: Handle, paused: bool) {
        if let Some(slot) = self.inner.slots.get_mut(of) {
            slot.marks.paused = paused;
            self.inner.current.change();
            self.inner.make_ready(of.at); // no `Note` reports again what arrived during the pause
        }
    }

    /// Closes a connection with the closing handshake. The Close follows everything that was sent
    /// to the connection. But messages in its outbox are dropped if the stream does not accept them
    /// now. The handler still gets the messages that the peer sends before the peer's Close, but
    /// cannot answer them. [`Event::Closed`](crate::Event::Closed) reports the end. If the
    /// connection is not open yet, the loop gives it up.
    ///
    /// `frame` is a [`CloseCode`](tickwire::CloseCode), a [`CloseFrame`](tickwire::CloseFrame) with
    /// a reason, or `None` for a Close without a code. A reason of more than 123 bytes is left
    /// out, and so is a server's 1010, which only clients may send (RFC 6455 §7.4.1).
    ///
    /// To leave a peer that may be dead, call [`Sender::leave`] of the connection's
    /// [`sender`](Self::sender) instead, with a time on the clock of [`now`](Self::now).
    /// [`Event::Closed`](crate::Event::Closed) then comes at this time at the latest.
    pub fn close<'f>(&mut self, of: Handle, frame: impl IntoClose<'f>) {
        self.drain(of); // first, because nothing can follow the Close
        if let Some(tx) = self.sender(of) {
            let frame = frame.into();
            let code = frame.map(|frame| CloseFrame::from(frame.code));
            // All three fail if the connection is closed already.
            let _ = tx.close(frame).or_else(|_| tx.close(code)).or_else(|_| tx.close(None));
            if let Some(slot) = self.inner.slots.get_mut(of) {
                // One that disconnected the connection stays: `Event::Closed` has its code.
                slot.outbox.take_if(|outbox| outbox.disconnected().is_none());
            }
        } else {
            self.inner.give_up(of);
        }
        self.inner.make_ready(of.at);
    }

    /// Removes a connection at once, without a Close and without an event. Returns the
    /// application's value. `None` if there is no such connection, or if it has no value yet.
    pub fn remove(&mut self, of: Handle) -> Option<T> {
        self.inner.free(of)
    }

    // Time, other threads, the end.

    /// Reads the loop's clock: the time since the loop was made.
    /// [`Info::read_at`](tickwire::Info::read_at), timers and outboxes use the same clock.
    pub fn now(&self) -> Time {
        self.inner.clock.read()
    }

    /// Sets a timer. At the time `at` (of the clock of [`now`](Self::now)), the loop delivers
    /// [`Event::Timer`](crate::Event::Timer) with this number. If `at` has passed, the timer is due
    /// at once. Outside of the handler, `Loop::net` borrows the loop, so one expression cannot call
    /// it twice. First read the clock: `let now = net.net().now();`. Then set the timer:
    /// `net.net().set_timer(now + delay, 7)`.
    pub fn set_timer(&mut self, at: Time, number: u64) -> Timer {
        self.inner.timers.set(at, number)
    }

    /// Cancels a timer. Returns its number; `None` if it has already fired or was cancelled.
    pub fn cancel_timer(&mut self, timer: Timer) -> Option<u64> {
        self.inner.timers.cancel(timer)
    }

    /// Returns a waker, with which another thread can wake the loop.
    pub fn waker(&self) -> Waker {
        self.inner.waker.clone()
    }

    /// Whether the loop uses io_uring: see [`io_uring`](crate::Settings::io_uring). Unstable.
    pub fn uses_io_uring(&self) -> bool {
        self.inner.system.is_io_uring()
    }

    /// Returns the loop's counters and its current numbers.
    pub fn counts(&self) -> Counts {
        let Inner { entrance, receiving, counts, .. } = &*self.inner;
        let [silent, waiting, under_way, deferred] = entrance.phases; // in the order of `Phase`
        Counts {
            accepted_now: entrance.accepted,
            handshakes_now: silent + waiting + under_way + deferred,
            waiting,
            deferred,
            received: receiving.all,
            ..*counts
        }
    }

    /// Ends the loop in an orderly way: closes the listeners, gives up connections that are not
    /// open yet, and [closes](Self::close) the open ones with 1001 (going away).
    /// [`run`](crate::Loop::run) returns when all connections are gone. After `within`, `run`
    /// removes the connections that are left, delivers [`Event::Closed`](crate::Event::Closed) with
    /// the error `TimedOut` for each of them, and returns.
    ///
    /// Closing a connection may take longer than its
    /// [`close_timeout`](tickwire::Config::close_timeout). So let `within` be some seconds longer.
    /// Otherwise `within` may end connections that would have closed. A peer gets no 1001 if its
    /// connection is closing already, or if earlier messages are not written in time.
    pub fn shut_down(&mut self, within: Duration) {
        let until = self.inner.clock.read() + within;
        // A further call may shorten the time, but cannot extend it.
        self.inner.shuts_at = Some(self.inner.shuts_at.map_or(until, |at| at.min(until)));
        self.stop_listening();
        for of in self.handles().collect::<Vec<_>>() {
            self.close(of, tickwire::CloseCode::GOING_AWAY);
        }
    }

    /// Ends the loop for good after this round. If no round runs, the loop ends at once, without a
    /// further event. Peers get no Close, and unwritten bytes are lost. From then on
    /// [`run`](crate::Loop::run) returns at once.
    pub fn stop(&mut self) {
        self.inner.stops = true;
    }
}

/// When so many connections have unwritten messages, the loop writes them before the end of the
/// round: until then, each holds a buffer.
const MOST_UNWRITTEN: usize = 512;

/// Shows the counts.
impl<T> std::fmt::Debug for Net<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
