//! The state of a loop, and the actions that several of its modules share: opening and ending a
//! connection, writing, and counting queued bytes.
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
use std::{collections::VecDeque, io, mem, sync::Arc, time::Instant};
use tickwire::{Config, Connection, Error, RecvError, Sender, Time};

/// The length of the buffer that a connection with unwritten bytes keeps. It counts as queued.
const BUFFER: usize = 16 << 10;

/// A handler: what the application does at an event. Only the turn of an open connection is
/// compiled for the type of the application's closure, so that its call can be inlined.
pub(crate) type Handler<'h, T> = dyn FnMut(&mut Net<'_, T>, Event<'_, T>) + 'h;

/// The state of a loop.
pub(crate) struct Inner<T> {
    pub(crate) settings: Settings,
    pub(crate) system: System,
    pub(crate) waker: Waker,
    pub(crate) slots: Slots<T>,
    pub(crate) doors: Vec<door::Open>,
    pub(crate) addresses: Addresses,
    pub(crate) handshakes: Handshakes,
    /// The deadlines of slots (even ids) and of timers (odd ids).
    pub(crate) deadlines: Deadlines,
    pub(crate) timers: Timers,
    pub(crate) resolver: Resolver,
    /// The slots that get the next turns, each once.
    pub(crate) ready: Vec<u32>,
    /// The slots of connections that were sent something outside of their turns, each once.
    pub(crate) unwritten: Vec<u32>,
    /// The queue of slots whose connections are whole, each once. The first one becomes dormant
    /// first.
    pub(crate) whole: VecDeque<u32>,
    /// Connections that `relieve` disconnected.
    pub(crate) ended: Vec<Handle>,
    /// The doors at which connections may wait to be accepted.
    pub(crate) knocked: Vec<u32>,
    pub(crate) inputs: Pool,
    pub(crate) outputs: Pool,
    pub(crate) counts: Counts,
    /// The number of connections whose peer did not answer our Close in time, and whose stream is
    /// read until it ends.
    pub(crate) draining: usize,
    pub(crate) epoch: Instant,
    /// The time when `tick` last read the clock, as a rule after the last wait.
    pub(crate) now: Time,
    /// When to remove the connections that are left, if the loop is shutting down.
    pub(crate) shuts_at: Option<Time>,
    pub(crate) stops: bool,
    /// Whether a connection was removed or paused, or its outbox was changed, since the turn last
    /// read the slot of its connection. It may be this connection. Also set if this connection was
    /// paused before.
    pub(crate) turn_changed: bool,
    /// The connection that has its turn, or had the last one.
    pub(crate) current: Option<Handle>,
    /// `current`, if it had no outbox when the turn last read its slot. `None` after `change_turn`.
    pub(crate) direct: Option<Handle>,
    /// When to accept again, after an accept failed.
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
            draining: 0,
            epoch: Instant::now(),
            now: Time::ZERO,
            shuts_at: None,
            stops: false,
            turn_changed: false,
            current: None,
            direct: None,
            accept_at: None,
        })
    }

    /// Reads the clock.
    pub(crate) fn tick(&mut self) -> Time {
        self.now = Time::new(self.epoch.elapsed());
        self.now
    }

    /// Reads the clock without changing `now`.
    pub(crate) fn read_clock(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    // Lists.

    /// Gives a slot a turn in this round or the next.
    pub(crate) fn make_ready(&mut self, at: u32) {
        if let Some(slot) = self.slots.at_mut(at) {
            slot.make_ready(at, &mut self.ready);
        }
    }

    /// Makes sure that the slot gets a turn at `until` or earlier.
    pub(crate) fn arm(&mut self, at: u32, until: Option<Time>) {
        if let Some(until) = until {
            self.deadlines.set_no_later(at << 1, until);
        }
    }

    /// Makes the turn read the slot of its connection again.
    pub(crate) fn change_turn(&mut self) {
        (self.turn_changed, self.direct) = (true, None);
    }

    // A connection's life.

    /// Puts a connection that is not open yet back into its slot. It gets a turn at `until`.
    pub(crate) fn put(&mut self, handle: Handle, stage: Stage, until: Option<Time>) {
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.stage = stage;
            self.arm(handle.at, until);
        }
    }

    /// Makes the connection of a slot open, after its handshake.
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
        // If the handshake's deadline stayed set, the kernel would arm a timer for each wait.
        self.deadlines.remove(handle.at << 1);
        self.make_whole(handle, conn)
    }

    /// Frees a slot, and closes its streams. Returns the application's value.
    pub(crate) fn free(&mut self, handle: Handle) -> Option<T> {
        let freed = self.slots.free(handle)?;
        self.counts.open -= usize::from(freed.marks.open);
        self.draining -= usize::from(freed.marks.drains);
        self.counts.queued -= freed.queued;
        self.deadlines.remove(handle.at << 1);
        self.change_turn();
        match freed.stage {
            Stage::Opening(_) => self.handshakes.under_way -= 1,
            Stage::Dialing(dialing) => self.close_attempts(dialing.attempts),
            _ => {}
        }
        if let Some(Wire { stream, .. }) = freed.wire {
            self.system.close(stream);
        }
        if let Some(address) = freed.address {
            self.addresses.leave(address);
            self.counts.accepted_now -= 1;
        }
        freed.value
    }

    /// Ends a connection, and delivers `Event::Closed`. `open` is the connection, if it was open.
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
            // The stream's own error says more than that the stream ended.
            (Some(failed), None) => End::Failed(failed),
            (Some(failed), Some(closed)) if closed.error == Some(RecvError::UnexpectedEof) => {
                End::Failed(failed)
            }
            (_, Some(closed)) => End::Closed(closed),
            (None, None) => End::Failed(RecvError::UnexpectedEof.into()),
        };
        handler(&mut Net::new(self), Event::Closed { handle, end, value });
    }

    // An open connection outside of its turn.

    /// Takes an open connection out of its slot.
    pub(crate) fn take_open(&mut self, handle: Handle) -> Option<Box<Open>> {
        match &mut self.slots.get_mut(handle)?.stage {
            Stage::Open(open) => open.take(),
            _ => None,
        }
    }

    /// Returns the sender of an open connection that does not have its turn. At the end of the
    /// round, the loop writes what was fed to this sender or to the connection's outbox.
    pub(crate) fn sender(&mut self, handle: Handle) -> Option<&mut Sender> {
        self.wake(handle);
        let slot = self.slots.get_mut(handle)?;
        let (Stage::Open(Some(open)) | Stage::Accepted(open)) = &mut slot.stage else {
            return None;
        };
        let tx = open.conn.sender_mut();
        if !mem::replace(&mut slot.marks.unwritten, true) {
            self.unwritten.push(handle.at);
            if !tx.has_outgoing() {
                tx.lend(self.outputs.take());
            }
        }
        Some(tx)
    }

    /// Gives the empty buffers of a connection back to the loop's pools.
    #[inline]
    pub(crate) fn keep_buffers(&mut self, open: &mut Open) {
        self.inputs.give(open.conn.receiver_mut().reclaim());
        self.outputs.give(open.conn.sender_mut().reclaim());
    }

    /// Puts an open connection back into its slot. Gives its empty buffers back, counts its queued
    /// bytes, arms its deadline, and gives it a turn if `Event::Room` is due. `until` is the
    /// deadline of the connection without its outbox.
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
        // The write before this may have made the room. No further note need come.
        let owes_room = slot.owes_room(open.conn.sender());
        if let Stage::Open(place) = &mut slot.stage {
            *place = Some(open);
        }
        self.arm(handle.at, until);
        if owes_room {
            self.make_ready(handle.at);
        }
    }

    /// Writes what was sent to all connections outside of their turns.
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

    // The limit on queued bytes.

    /// Counts the bytes that were queued for a connection. If the loop is now over the limit, makes
    /// room.
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

    /// Writes what was sent to all connections outside of their turns. If the loop is then over the
    /// limit, disconnects the connections with the most queued bytes, until at most 7/8 of the
    /// limit are queued. The remaining eighth is room for the next messages, so that they do not
    /// cause another call.
    pub(crate) fn relieve(&mut self) {
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
            // The connection that has its turn is not in its slot, and is skipped: `high_water`
            // limits it.
            if let Some(open) = self.take_open(handle) {
                self.disconnect(handle, open);
            }
        }
    }

    /// Disconnects a connection that has too many bytes queued. Its Close is sent only if the
    /// stream accepts it at once.
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

    /// Delivers `Event::Closed` for the connections that `relieve` disconnected.
    pub(crate) fn tell_ended(&mut self, handler: &mut Handler<'_, T>) {
        while let Some(handle) = self.ended.pop() {
            if let Some(value) = self.free(handle) {
                handler(&mut Net::new(self), Event::Closed { handle, end: End::OverQueued, value });
            }
        }
    }
}
