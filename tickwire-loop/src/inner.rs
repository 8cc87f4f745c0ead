//! The state of a loop, and the steps that several of its parts take: opening and ending a
//! connection, writing, counting what is queued.
use crate::{
    Counts, End, Event, Handle, Net, Settings, Waker,
    deadlines::Deadlines,
    door::{self, Addresses, Handshakes},
    pool::Pool,
    resolve::Resolver,
    slots::{Open, Slots, Stage},
    system::System,
    timers::Timers,
    wire::Wire,
};
use std::{collections::VecDeque, io, mem, net::SocketAddr, sync::Arc, time::Instant};
use tickwire::{Config, Connection, Error, RecvError, Sender, Time};

/// A connection whose stream takes no more keeps a buffer of this length. It counts as queued.
const BUFFER: usize = 16 << 10;

/// A handler: what the application does at an event.
pub(crate) type Handler<'h, T> = dyn FnMut(&mut Net<'_, T>, Event<'_, T>) + 'h;

/// The state of a loop.
pub(crate) struct Inner<T> {
    pub(crate) settings: Settings,
    pub(crate) system: System,
    pub(crate) waker: Waker,
    pub(crate) slots: Slots<T>,
    pub(crate) doors: Vec<Option<door::Open>>,
    pub(crate) addresses: Addresses,
    pub(crate) handshakes: Handshakes,
    /// Of slots (even ids) and timers (odd ids).
    pub(crate) deadlines: Deadlines,
    pub(crate) timers: Timers,
    pub(crate) resolver: Resolver,
    /// Slots that can go on, each once.
    pub(crate) ready: Vec<u32>,
    /// Slots to which others sent, each once.
    pub(crate) unwritten: Vec<u32>,
    /// Slots whose connections are whole, each once, in the order of a clock's hand.
    pub(crate) whole: VecDeque<u32>,
    /// Connections that `relieve` disconnected.
    pub(crate) ended: Vec<Handle>,
    /// Doors at which more may wait.
    pub(crate) knocked: Vec<u32>,
    pub(crate) inputs: Pool,
    pub(crate) outputs: Pool,
    pub(crate) counts: Counts,
    pub(crate) epoch: Instant,
    /// The time, as of the last wait.
    pub(crate) now: Time,
    /// When to end what is left, if the loop is shutting down.
    pub(crate) shuts_at: Option<Time>,
    pub(crate) stops: bool,
    /// A connection was removed or paused, or got an outbox: perhaps the one that has its turn.
    pub(crate) turn_changed: bool,
    /// When to try again to accept, after a failure.
    pub(crate) accept_at: Option<Time>,
}

impl<T> Inner<T> {
    pub(crate) fn new(settings: Settings) -> io::Result<Self> {
        let (system, waker) = System::new(settings.io_uring)?;
        Ok(Self {
            settings,
            system,
            resolver: Resolver::new(waker.clone()),
            waker,
            slots: Slots::default(),
            doors: Vec::new(),
            addresses: Addresses::default(),
            handshakes: Handshakes::default(),
            deadlines: Deadlines::default(),
            timers: Timers::default(),
            ready: Vec::new(),
            unwritten: Vec::new(),
            whole: VecDeque::new(),
            ended: Vec::new(),
            knocked: Vec::new(),
            inputs: Pool::default(),
            outputs: Pool::default(),
            counts: Counts::default(),
            epoch: Instant::now(),
            now: Time::ZERO,
            shuts_at: None,
            stops: false,
            turn_changed: false,
            accept_at: None,
        })
    }

    /// Reads the clock.
    pub(crate) fn tick(&mut self) -> Time {
        self.now = Time::new(self.epoch.elapsed());
        self.now
    }

    /// The clock's time, without a change of `now`.
    pub(crate) fn read_clock(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    // Lists.

    /// Gives a slot a turn in this round or the next.
    pub(crate) fn make_ready(&mut self, at: u32) {
        if let Some(slot) = self.slots.at_mut(at)
            && !mem::replace(&mut slot.marks.ready, true)
        {
            self.ready.push(at);
        }
    }

    /// Makes sure that the slot gets its turn at `until`, or earlier.
    pub(crate) fn arm(&mut self, at: u32, until: Option<Time>) {
        if let Some(until) = until {
            self.deadlines.set_no_later(at << 1, until);
        }
    }

    // A connection's life.

    /// Makes a slot's connection an open one.
    pub(crate) fn open(
        &mut self,
        handle: Handle,
        conn: Connection,
        config: Arc<Config>,
    ) -> Box<Open> {
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.config = Some(config);
            slot.marks.open = true;
            self.counts.open += 1;
        }
        // The deadline of its handshake would make the kernel arm a timer for each wait.
        self.deadlines.remove(handle.at << 1);
        self.make_whole(handle, conn)
    }

    /// Frees a slot, and closes its stream. Returns the application's value.
    pub(crate) fn free(&mut self, handle: Handle) -> Option<T> {
        let slot = self.slots.get(handle)?;
        let (open, opening) = (slot.marks.open, matches!(slot.stage, Stage::Opening(_)));
        self.counts.open -= usize::from(open);
        self.counts.queued -= slot.queued;
        self.handshakes.under_way -= usize::from(opening);
        self.deadlines.remove(handle.at << 1);
        self.turn_changed = true;
        let freed = self.slots.free(handle)?;
        if let Some(Wire { stream, .. }) = freed.wire {
            self.system.close(stream);
        }
        if let Some(address) = freed.address {
            self.addresses.leave(address);
            self.counts.accepted_now -= 1;
        }
        freed.value
    }

    /// Ends a connection, and tells the application. `open` is the connection if it was open.
    pub(crate) fn finish(
        &mut self,
        handle: Handle,
        mut open: Option<Box<Open>>,
        failed: Option<Error>,
        handler: &mut Handler<'_, T>,
    ) {
        let Some(value) = self.free(handle) else { return };
        let error = open.as_mut().and_then(|open| open.error.take());
        let closed = open.as_ref().and_then(|open| open.conn.closed());
        let end = match (failed.or(error.map(Error::from)), closed) {
            // The stream's own error says more than that it ended.
            (Some(failed), None) => End::Failed(failed),
            (Some(failed), Some(closed)) if closed.error == Some(RecvError::UnexpectedEof) => {
                End::Failed(failed)
            }
            (_, Some(closed)) => End::Closed(closed),
            (None, None) => End::Failed(RecvError::UnexpectedEof.into()),
        };
        handler(&mut Net::new(self), Event::Closed { handle, end, value });
    }

    // An open connection, outside of its turn.

    /// Takes an open connection out of its slot.
    pub(crate) fn take_open(&mut self, handle: Handle) -> Option<Box<Open>> {
        let slot = self.slots.get_mut(handle)?;
        match mem::replace(&mut slot.stage, Stage::Turn) {
            Stage::Open(open) => Some(open),
            stage => {
                slot.stage = stage;
                None
            }
        }
    }

    /// The sender of an open connection that has no turn. What is fed to it, or to its outbox, is
    /// written at the end of the round.
    pub(crate) fn sender(&mut self, handle: Handle) -> Option<&mut Sender> {
        self.wake(handle);
        let slot = self.slots.get_mut(handle)?;
        let (Stage::Open(open) | Stage::Accepted(open)) = &mut slot.stage else { return None };
        let tx = open.conn.sender_mut();
        if !mem::replace(&mut slot.marks.unwritten, true) {
            self.unwritten.push(handle.at);
            if !tx.has_outgoing() {
                tx.lend(self.outputs.take());
            }
        }
        Some(tx)
    }

    /// Returns the buffers of a connection to the loop, as far as they are empty.
    #[inline]
    pub(crate) fn keep_buffers(&mut self, open: &mut Open) {
        self.inputs.give(open.conn.receiver_mut().reclaim());
        self.outputs.give(open.conn.sender_mut().reclaim());
    }

    /// Puts an open connection back into its slot: returns its buffers, arms its deadline, counts
    /// what it has queued, and gives it a turn if it has to tell that there is room.
    /// `until` is the connection's own deadline.
    pub(crate) fn rest(&mut self, handle: Handle, mut open: Box<Open>, mut until: Option<Time>) {
        self.keep_buffers(&mut open);
        let Some(slot) = self.slots.get_mut(handle) else { return };
        let mut queued = open.conn.sender().buffered_amount();
        if let Some(outbox) = &slot.outbox {
            queued += outbox.counts().bytes;
            until = until.into_iter().chain(outbox.poll_timeout()).min();
        }
        if queued > 0 {
            queued += BUFFER;
        }
        self.counts.queued = self.counts.queued - mem::replace(&mut slot.queued, queued) + queued;
        slot.marks.active = true;
        // The write before this may have made the room. No further note need come.
        let owes_room = slot.owes_room(open.conn.sender());
        slot.stage = Stage::Open(open);
        self.arm(handle.at, until);
        if owes_room {
            self.make_ready(handle.at);
        }
    }

    /// Writes everything that was sent to connections outside of their turns.
    pub(crate) fn write_unwritten(&mut self) {
        for i in 0..self.unwritten.len() {
            let Some(&at) = self.unwritten.get(i) else { break };
            let Some((handle, slot)) = self.slots.entry(at) else { continue };
            slot.marks.unwritten = false;
            let Some(mut open) = self.take_open(handle) else { continue };
            if let Some(slot) = self.slots.get_mut(handle) {
                slot.pump(&mut self.system, &mut open.conn, self.now);
            }
            let over = open.conn.sender().is_closed();
            let until = open.conn.poll_timeout();
            self.rest(handle, open, until);
            if over {
                self.make_ready(at); // its turn goes on with the end
            }
        }
        self.unwritten.clear();
    }

    // The bound on what is queued.

    /// Counts a message that was queued for a connection. Over the bound, makes room.
    #[inline]
    pub(crate) fn count_queued(&mut self, handle: Handle, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.queued += bytes;
            self.counts.queued += bytes;
            if self.counts.queued > self.settings.max_queued {
                self.relieve();
            }
        }
    }

    /// Makes room under the bound: writes what the streams take, then disconnects the connections
    /// that have the most queued, down to 7/8 of the bound. So it is not needed again at once.
    #[cold]
    fn relieve(&mut self) {
        self.write_unwritten();
        if self.counts.queued <= self.settings.max_queued {
            return;
        }
        let target = self.settings.max_queued / 8 * 7;
        let queued = |handle: Handle| Some((self.slots.get(handle)?.queued, handle));
        let mut most: Vec<_> = self.slots.handles().filter_map(queued).collect();
        most.retain(|(queued, _)| *queued > 0);
        most.sort_unstable_by(|a, b| b.cmp(a));
        for (_, handle) in most {
            if self.counts.queued <= target {
                break;
            }
            // One that has its turn is bounded by its own limit.
            if let Some(open) = self.take_open(handle) {
                self.disconnect(handle, open);
            }
        }
    }

    /// Disconnects a connection that has too much queued. The stream gets the Close if it takes
    /// it, but nobody waits for that.
    fn disconnect(&mut self, handle: Handle, mut open: Box<Open>) {
        let _ = open.conn.sender_mut().abort(tickwire::CloseCode::TRY_AGAIN_LATER);
        let Some(slot) = self.slots.get_mut(handle) else { return };
        if let Some(wire) = &mut slot.wire {
            wire.write(&mut self.system, open.conn.sender_mut());
        }
        slot.stage = Stage::OverQueued;
        slot.outbox = None;
        self.counts.queued -= mem::take(&mut slot.queued);
        self.counts.over_queued += 1;
        if let Some(wire) = slot.wire.take() {
            self.system.close(wire.stream);
        }
        self.ended.push(handle);
    }

    /// Tells the application of the connections that `relieve` disconnected.
    pub(crate) fn tell_ended(&mut self, handler: &mut Handler<'_, T>) {
        while let Some(handle) = self.ended.pop() {
            if let Some(value) = self.free(handle) {
                let end = End::OverQueued;
                handler(&mut Net::new(self), Event::Closed { handle, end, value });
            }
        }
    }

    // Getters.

    pub(crate) fn peer_addr(&self, handle: Handle) -> Option<SocketAddr> {
        self.system.peer_addr(&self.slots.get(handle)?.wire.as_ref()?.stream).ok()
    }
}
