//! The state of a loop, and what several of its modules share: opening and ending a connection,
//! writing, and counting queued bytes.
#[cfg(feature = "client")]
use crate::resolve::Resolver;
use crate::settings::{Counts, Settings};
use crate::stage::{Open, Stage};
use crate::system::{System, Token, Waker};
use crate::{
    clock::Clock,
    current::Current,
    deadlines::Deadlines,
    entrance::Entrance,
    handle::Handle,
    pool::Buffers,
    queues::Queues,
    receiving::Receiving,
    slots::{Origin, Slots},
    tape,
    timers::Timers,
};
use std::{
    io::{self, ErrorKind},
    mem,
    sync::Arc,
};
use tickwire::{Config, Connection, Sender, Time};

/// A connection with unwritten bytes counts as having at least this many bytes queued: its buffer
/// takes memory even if it is mostly unused.
const BUFFER: usize = 16 << 10;

pub(crate) struct Inner<T> {
    pub(crate) settings: Settings,
    pub(crate) system: System,
    pub(crate) waker: Waker,
    pub(crate) slots: Slots<T>,
    pub(crate) entrance: Entrance,
    pub(crate) deadlines: Deadlines,
    pub(crate) timers: Timers,
    #[cfg(feature = "client")]
    pub(crate) resolver: Resolver,
    pub(crate) queues: Queues,
    pub(crate) current: Current,
    pub(crate) receiving: Receiving,
    pub(crate) buffers: Buffers,
    /// [`Net::counts`](crate::Net::counts) adds those that other fields keep.
    pub(crate) counts: Counts,
    /// Connections whose peer did not answer our Close in time, and whose stream is read until it
    /// ends.
    pub(crate) draining: usize,
    pub(crate) clock: Clock,
    /// Then a shutdown removes the connections that are left.
    pub(crate) shuts_at: Option<Time>,
    /// The loop ends for good after this round.
    pub(crate) stops: bool,
}

impl<T> Inner<T> {
    pub(crate) fn new(mut settings: Settings) -> io::Result<Self> {
        if settings.max_connections == 0 || settings.max_per_address == 0 {
            let why = "max_connections and max_per_address must be at least 1: \
                       with 0, the loop would close each connection that it accepts";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        // With 0, no turn would read or deliver anything.
        settings.turn_messages = settings.turn_messages.max(1);
        settings.turn_bytes = settings.turn_bytes.max(1);
        let (system, waker) = System::new(settings.io_uring)?;
        Ok(Self {
            entrance: Entrance::new(&settings),
            receiving: Receiving::new(settings.max_received),
            settings,
            system,
            #[cfg(feature = "client")]
            resolver: Resolver::new(waker.clone()),
            waker,
            slots: Slots::default(),
            deadlines: Deadlines::default(),
            timers: Timers::default(),
            queues: Queues::default(),
            current: Current::default(),
            buffers: Buffers::default(),
            counts: Counts::default(),
            draining: 0,
            clock: Clock::new(),
            shuts_at: None,
            stops: false,
        })
    }

    /// Gives the slot a turn, in this round or the next. It may be free, or have another owner: a
    /// needless turn does no harm.
    pub(crate) fn make_ready(&mut self, at: u32) {
        if let Some(slot) = self.slots.at_mut(at) {
            self.queues.make_ready(at, slot);
        }
    }

    pub(crate) fn arm(&mut self, at: u32, until: Option<Time>) {
        if let Some(until) = until {
            self.deadlines.set_no_later(at, until);
        }
    }

    pub(crate) fn put(&mut self, handle: Handle, stage: Stage, until: Option<Time>) {
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.stage = stage;
            self.arm(handle.at, until);
        }
    }

    pub(crate) fn open(
        &mut self,
        handle: Handle,
        conn: Connection,
        config: Arc<Config>,
    ) -> Box<Open> {
        if let Some(slot) = self.slots.get_mut(handle) {
            let token = Token::Slot(handle.at);
            let stamps = config.stamp_reads;
            slot.config = Some(config);
            slot.wire = slot.wire.take().map(|wire| wire.opened(&mut self.system, token, stamps));
            self.counts.open += 1;
        }
        // If the handshake's deadline stayed set, each wait before it would arm a timer in the
        // kernel.
        self.deadlines.remove(handle.at);
        self.make_whole(handle, conn)
    }

    pub(crate) fn free(&mut self, handle: Handle) -> Option<T> {
        let freed = self.slots.free(handle)?;
        self.counts.open -= usize::from(freed.config.is_some()); // only `open` sets `config`
        self.draining -= usize::from(freed.marks.drains);
        self.counts.queued -= freed.queued;
        self.deadlines.remove(handle.at);
        self.current.change(); // if the connection's turn runs, the turn has to notice
        match freed.stage {
            // A connection that has its turn is not in its slot. Its turn calls `forget`.
            Stage::Open(Some(mut open)) | Stage::Accepted(mut open) => {
                self.forget(handle, &mut open);
            }
            _ => {}
        }
        if let Some(wire) = freed.wire {
            wire.close(&mut self.system);
        }
        if let Some(peer) = freed.peer.filter(|peer| peer.origin != Origin::Dialed) {
            self.entrance.leave(peer.counted_for(), freed.marks.phase);
        }
        freed.value
    }

    // An open connection outside of its turn.

    pub(crate) fn take_open(&mut self, handle: Handle) -> Option<Box<Open>> {
        match &mut self.slots.get_mut(handle)?.stage {
            Stage::Open(open) => open.take(),
            _ => None,
        }
    }

    /// The sender of an open connection that does not have its turn. At the end of the round, the
    /// loop writes what was fed to it or to the connection's outbox.
    pub(crate) fn sender(&mut self, handle: Handle) -> Option<&mut Sender> {
        self.wake(handle); // a dormant connection has no sender
        let slot = self.slots.get_mut(handle)?;
        let (Stage::Open(Some(open)) | Stage::Accepted(open)) = &mut slot.stage else {
            return None;
        };
        let tx = open.conn.sender_mut();
        if !mem::replace(&mut slot.marks.unwritten, true) {
            self.queues.unwritten.push(handle.at);
            if !tx.has_outgoing() {
                // A sender without unsent bytes has no buffer: its buffer went back to the pool.
                tx.lend(self.buffers.outputs.take());
            }
        }
        Some(tx)
    }

    pub(crate) fn forget(&mut self, handle: Handle, open: &mut Open) {
        self.buffers.keep(&mut open.conn);
        self.receiving.count(handle, &mut open.received, 0);
    }

    /// Gives the connection's empty buffers back, counts its bytes, arms its deadline, and gives it
    /// a turn if `Event::Room` is due. `until` is the next deadline of `open.conn`; that of the
    /// outbox is added here.
    #[inline(always)] // into the turn, which ends with this call
    pub(crate) fn rest(&mut self, handle: Handle, mut open: Box<Open>, mut until: Option<Time>) {
        self.buffers.keep(&mut open.conn); // first: an empty buffer must not count as received
        let Some(slot) = self.slots.get_mut(handle) else { return };
        let mut queued = open.conn.sender().buffered_amount();
        if let Some(outbox) = &slot.outbox {
            queued += outbox.counts().bytes;
            // Once the connection is closed, messages stay in the outbox, so its deadline would
            // stay passed, and the loop would spin.
            if !open.conn.sender().is_closed() {
                until = until.into_iter().chain(outbox.poll_timeout()).min();
            }
        }
        if queued > 0 {
            queued += BUFFER;
        }
        slot.set_queued(&mut self.counts, queued);
        let in_stream = slot.wire.as_ref().map_or(0, |wire| wire.held());
        let received = open.conn.receiver().buffer_len() + in_stream;
        self.receiving.count(handle, &mut open.received, received);
        // The last write may have made room. `Event::Room` needs a turn, and perhaps no `Note`
        // causes one.
        let owes_room = slot.owes_room(open.conn.sender());
        if let Stage::Open(place) = &mut slot.stage {
            *place = Some(open); // assigns a pointer: the stage need not be moved
        }
        self.arm(handle.at, until);
        if owes_room {
            self.make_ready(handle.at);
        }
    }

    /// Skips connections that have their turn or are `Accepted`: their own turns write.
    pub(crate) fn write_unwritten(&mut self) {
        // No slot may join the queue meanwhile: `clear` would drop it from there, and its mark
        // `unwritten` would keep it out for ever. So `write_outside` calls neither the handler nor
        // `sender`.
        for i in 0..self.queues.unwritten.len() {
            let Some(&at) = self.queues.unwritten.get(i) else { break };
            let Some((handle, slot)) = self.slots.entry(at) else { continue };
            slot.marks.unwritten = false;
            self.write_outside(handle);
        }
        self.queues.unwritten.clear();
    }

    pub(crate) fn write_outside(&mut self, handle: Handle) {
        let Some(mut open) = self.take_open(handle) else { return };
        if let Some(slot) = self.slots.get_mut(handle) {
            tape::writes(&open.conn, true);
            slot.pump(&mut self.system, &mut open.conn, self.clock.now);
        }
        let over = open.conn.sender().is_closed();
        let until = open.conn.poll_timeout();
        if !over {
            tape::wrote(&open.conn, self.slots.get(handle), until);
        }
        self.rest(handle, open, until);
        if over {
            self.make_ready(handle.at); // its turn ends the connection
        }
    }
}
