//! The turn of an open connection: delivers, writes and reads until the stream has no more bytes,
//! or until it has reached a limit of `Settings`. Meanwhile the connection is not in its slot, so
//! the handler can use the whole loop while a message is lent; `Net` has only the connection's
//! sender.
use crate::net::{Handler, Net};
use crate::stage::{Open, Stage};
use crate::wire::Got;
use crate::{event::Event, handle::Handle, inner::Inner, slots::Slot, tape};
use std::{io::ErrorKind, mem};
use tickwire::order::{Allow, Clock, Facts, Input, Todo, order};
use tickwire::{Connection, Ending, Report, Step, Time};

/// How much of a turn's time counts as one byte of `turn_bytes`. For comparison: inflating 1 KiB of
/// JSON takes 3 ns for each byte, and a KeyUpdate counts as 1.6 KB.
const NANOS_PER_BYTE: u128 = 4;
/// For each full part of this length, a message counts as one more of `turn_messages`: the limit on
/// read bytes is not enough, because an inflated message may be long.
const LONG: usize = 4 << 10;

/// How much a read may bring when the turn has almost read its share, in bytes.
const READ: usize = 16 << 10;

pub(crate) struct Turn<'i, T> {
    inner: &'i mut Inner<T>,
    handle: Handle,
    open: Box<Open>,
    /// With so many bytes of replies queued, the turn writes before it delivers more.
    cork: usize,
    /// How many messages the turn may still deliver.
    messages: i64,
    /// The bytes that the turn has read, or those that its time counts as (see `NANOS_PER_BYTE`),
    /// if more.
    spent: usize,
    /// The turn goes on with a read.
    reads: bool,
    /// The turn has checked the next deadline.
    looked: bool,
    /// When the turn, with all input delivered, first found more to read.
    since: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// All input is delivered.
    Starved,
    /// Receiving has ended, or the application removed the connection.
    Ended,
    /// The application has paused reading, or there is no room for replies.
    Held,
    /// The queued replies have reached `cork_limit`, so the turn writes them before it goes on.
    Cork,
    /// `turn_messages` are delivered, so other connections come first.
    Share,
}

enum After {
    Again,
    /// `until` is the next deadline. `unfinished`: the connection needs a turn in the next round,
    /// even if no `Note` comes.
    Rest {
        unfinished: bool,
        until: Option<Time>,
    },
    Ended,
}

impl<'i, T> Turn<'i, T> {
    /// The `Turn`, and references to its fields, are passed only to functions that are inlined:
    /// otherwise the compiler would keep all fields in memory, and each turn would take more
    /// instructions. With `#[inline]` instead of `#[inline(always)]`, it did not inline all calls
    /// in some programs, where a message that comes alone took 7 % more.
    #[inline]
    pub(crate) fn serve(
        inner: &'i mut Inner<T>,
        handle: Handle,
        open: Box<Open>,
        handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) {
        let messages = inner.settings.turn_messages.into();
        let mut turn = Self {
            inner,
            handle,
            open,
            cork: 0, // `prepare` sets it
            messages,
            spent: 0,
            reads: false,
            looked: false,
            since: None,
        };
        turn.prepare(handler);
        let (unfinished, until) = loop {
            if mem::take(&mut turn.reads) {
                turn.read();
            }
            let stop = turn.deliver(handler);
            match turn.write(stop) {
                After::Again => {}
                After::Rest { unfinished, until } => break (unfinished, until),
                After::Ended => {
                    // `finish` calls `forget` too, but only for a connection in its slot.
                    turn.inner.forget(handle, &mut turn.open);
                    return turn.inner.finish(handle, Some(turn.open), None, handler);
                }
            }
        };
        turn.inner.rest(handle, turn.open, until);
        if unfinished && let Some(slot) = turn.inner.slots.get_mut(handle) {
            turn.inner.queues.make_ready_later(handle.at, slot);
        }
    }

    #[inline(always)]
    fn prepare(&mut self, handler: &mut Handler<'_, T>) {
        let may_read = self.may_read();
        let Some(slot) = self.inner.slots.get_mut(self.handle) else { return };
        self.inner.current.begin(self.handle, slot);
        let limit = slot.config.as_ref().map(|of| of.cork_limit.min(of.high_water));
        self.cork = limit.unwrap_or_default(); // an open connection always has a `config`
        let conn = &mut self.open.conn;
        let nothing_queued = slot.queued == 0 && !slot.marks.unwritten;
        // If bytes are queued, the sender usually has a buffer already. If only the outbox or TLS
        // has some, which is rare, it has none and allocates one.
        if nothing_queued {
            conn.sender_mut().lend(self.inner.buffers.outputs.take());
        }
        // Only if all earlier input is delivered. If bytes are queued, there may be no room for
        // replies, so the turn writes before it reads.
        self.reads = slot.marks.starved && !slot.marks.paused && nothing_queued && may_read;
        if self.reads {
            conn.set_paused(false); // the last turn may have stopped reading: see `write`
        }
        if slot.owes_room(conn.sender()) {
            slot.marks.wants_room = false;
            self.reads = false; // the handler may use up the room
            handler(&mut Net::in_turn(self.inner, conn.sender_mut()), Event::Room(self.handle));
        }
    }

    #[inline]
    fn may_read(&mut self) -> bool {
        self.inner.receiving.is_calm() || self.inner.may_hold_more(self.handle, &mut self.open)
    }

    #[inline(always)]
    fn read(&mut self) {
        let Inner { slots, system, buffers, clock, settings, .. } = &mut *self.inner;
        let Some(Slot { wire: Some(wire), .. }) = slots.get_mut(self.handle) else { return };
        tape::reads(&self.open.conn);
        let rx = self.open.conn.receiver_mut();
        if !rx.has_buffer() {
            rx.lend(buffers.inputs.take_for(rx.wanted_len()));
        }
        let mut spent = self.spent; // no reference to a field is passed: see `serve`
        // However long the reads have grown, the turn exceeds its share by no more than `READ`
        // bytes.
        let most = settings.turn_bytes.saturating_sub(spent).max(READ);
        let received = wire.receive(system, rx, clock.epoch, (&mut spent, most));
        self.spent = spent;
        match received {
            Ok(Got::Bytes(0)) => rx.end_of_stream(),
            Ok(_) => {}
            Err(error) => {
                // Ends receiving, but only after the bytes that arrived before it are delivered.
                match error.kind() {
                    ErrorKind::UnexpectedEof => rx.end_of_stream(), // TLS without close_notify
                    _ => {
                        self.open.conn.report(Report::ReadFailed);
                        self.open.error.get_or_insert(error); // the first error is the cause
                    }
                }
                // The TLS alert, if there is one. If this fails too, nothing more can be done.
                let _ = wire.send(system);
            }
        }
    }

    #[inline]
    fn deliver(&mut self, handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>)) -> Stop {
        let Self { inner, handle, open, cork, messages, .. } = self;
        let handle = *handle;
        let Open { conn, received, .. } = &mut **open;
        let mut delivered = false;
        loop {
            if inner.current.has_changed() {
                let Some(slot) = inner.slots.get_mut(handle) else { return Stop::Ended };
                inner.current.look(handle, slot);
                if slot.marks.paused {
                    return if conn.closed().is_some() { drop_received(conn) } else { Stop::Held };
                }
                // The next step may meet a Close, and nothing can follow our answer to it, so
                // `feed` comes first. It writes only if `max_unsent` keeps messages in the outbox.
                slot.feed(&mut inner.system, conn.sender_mut(), inner.clock.now);
            }
            // Before the first message of this call, no new reply is queued, so only a lack of room
            // stops delivering. Later `cork` decides, which is at most `high_water`, so below it
            // there is room.
            let over = match delivered {
                true => conn.sender().buffered_amount() >= *cork,
                false => is_full(conn),
            };
            if over {
                return if is_full(conn) { Stop::Held } else { Stop::Cork };
            }
            // After the check for room, so that a full connection stops with `Held` and waits for a
            // `Note`. With `Share`, it would get a turn in each round, for nothing.
            if *messages <= 0 {
                return Stop::Share;
            }
            let step = conn.step();
            let (rx, tx) = conn.split_mut();
            // A message has its own call of the handler, which the compiler can specialize. The
            // other events are rare, and go through `dyn`, so that the handler is compiled into the
            // turn only once.
            match step {
                // After these steps, `message` and `event` return `Some`.
                Ok(Step::Message) => {
                    let Some(message) = rx.message() else { continue };
                    *messages -= (message.as_bytes().len() / LONG) as i64;
                    received.message_ended = true;
                    let event = Event::Message { from: handle, message, receiver: rx };
                    handler(&mut Net::in_turn(inner, tx), event);
                }
                Ok(Step::Ping | Step::Pong | Step::Close) => {
                    let Some(event) = rx.event() else { continue };
                    let event = Event::Control { from: handle, event };
                    let handler: &mut Handler<'_, T> = handler;
                    handler(&mut Net::in_turn(inner, tx), event);
                }
                // `Connection::closed` has the error.
                Ok(Step::Closed) | Err(_) => return Stop::Ended,
                Ok(_) => return Stop::Starved,
            }
            *messages -= 1;
            delivered = true;
        }
    }

    /// Writes once delivering has stopped. If the handler has removed the connection, there is no
    /// slot, and `finish` delivers no event. A slot has a wire: only `disconnect` takes one, and
    /// never during the turn.
    ///
    /// The clock is read only if input is left to read, because only then may the turn take long,
    /// and only to limit it: deadlines are compared with `clock.now`, as in all calls of this
    /// round. One that passes during the turn is found in the next.
    #[inline(always)]
    fn write(&mut self, stop: Stop) -> After {
        // Bytes that count for the limit on received bytes are read only after `Starved`.
        let stops = stop == Stop::Starved && !self.may_read();
        if stops && self.inner.stop_reading(self.handle, &mut self.open) {
            return After::Again; // the connection is given up: deliver its end next
        }
        let Inner { slots, system, clock, draining, settings, receiving, .. } = &mut *self.inner;
        let Some(slot) = slots.get_mut(self.handle) else { return After::Ended };
        let conn = &mut self.open.conn;
        slot.marks.starved = stop == Stop::Starved;
        tape::writes(conn, !matches!(stop, Stop::Starved | Stop::Ended));
        // Whatever stopped delivering, `order` says to write first. Before `is_full`, because this
        // may make room.
        slot.pump(system, conn, clock.now);
        let Some(wire) = &mut slot.wire else { return After::Ended };
        let held = slot.marks.paused || is_full(conn) || stops;
        conn.set_paused(held); // the peer's deadlines wait while nothing is read
        let input = match stop {
            Stop::Starved => Input::Starved,
            Stop::Ended => match wire.end(system, conn) {
                ending if ending == Ending::Done || slot.marks.may_drain(conn, draining) => {
                    Input::Ended(ending)
                }
                _ => return After::Ended,
            },
            Stop::Held | Stop::Cork | Stop::Share => Input::New,
        };
        // After `Held`, the write may have made room. After `Cork`, there is room even if the
        // stream refused bytes: `high_water` limits that, and `cork` only decides when to write.
        // After `Share`, the next turns deliver before they look at the deadlines.
        let ends_turn = stop == Stop::Share;
        let allow = Allow { deliver: !held && !ends_turn, read: !held, ends_turn };
        // Once in each turn, deadlines come before more input, so that a flood cannot put them off.
        let looks = !mem::replace(&mut self.looked, true);
        let looked = if looks { Clock::Old } else { Clock::Unseen };
        // Nothing to write now: the wire retries what was refused when the next `Note` comes.
        let facts = Facts { input, unsent: false, refused: true, dry: false, clock: looked };
        let readable = facts.reads(allow) && wire.is_readable();
        if readable && !ends_turn {
            let now = clock.read();
            let passed = now - *self.since.get_or_insert(now);
            self.spent = self.spent.max((passed.as_nanos() / NANOS_PER_BYTE) as usize);
        }
        let facts = Facts { dry: !readable || self.spent >= settings.turn_bytes, ..facts };
        let mut until = None;
        let mut todo = order(facts, allow);
        if todo == Todo::Clock {
            until = conn.poll_timeout();
            if until.is_some_and(|at| at <= clock.now) {
                if wire.ask(system) {
                    slot.pump(system, conn, clock.now);
                }
                if let Some(wire) = &mut slot.wire {
                    wire.tell_time(system, conn, clock.now);
                }
                return After::Again; // first `deliver` the error, if a deadline has passed
            }
            todo = if facts.reads_next(allow) { Todo::Read } else { Todo::Wait };
        }
        match todo {
            Todo::Item => return After::Again,
            Todo::Read => {
                self.reads = true;
                return After::Again;
            }
            Todo::Over => {
                tape::over(conn);
                return After::Ended;
            }
            Todo::Write | Todo::Clock | Todo::ShutDown | Todo::Wait => {}
        }
        if ends_turn {
            return After::Rest { unfinished: true, until: conn.poll_timeout() };
        }
        if !readable {
            tape::rests(conn, wire, until);
        }
        // Without a read, time makes `spent` positive only if bytes are left to read.
        let received = &mut self.open.received;
        let did = (self.spent > 0, stops);
        let until = match receiving.until(self.handle, received, did, clock.now) {
            None => until, // the common case
            also => until.into_iter().chain(also).min(),
        };
        After::Rest { unfinished: readable, until }
    }
}

impl<T> Inner<T> {
    /// Called only while `Receiving::is_calm` is `false`.
    #[cold] // few loops come near the limit
    fn may_hold_more(&mut self, handle: Handle, open: &mut Open) -> bool {
        let rx = open.conn.receiver_mut();
        // An empty buffer must not count, so it goes back first.
        self.buffers.inputs.give(rx.reclaim());
        // Each connection that holds nothing may read: not as much as long messages made it.
        rx.reset_reads();
        self.receiving.goes_on(handle, &open.received) || self.receiving.may_read(rx)
    }

    /// Keeps the connection from reading until the limit on received bytes allows it. `true` if its
    /// waits add up to `frame_timeout`: the loop then gives it up.
    #[cold] // few loops come near the limit
    fn stop_reading(&mut self, handle: Handle, open: &mut Open) -> bool {
        let Inner { slots, receiving, counts, clock, .. } = self;
        // An open connection always has both.
        let Some(Slot { wire: Some(wire), config: Some(config), .. }) = slots.get(handle) else {
            return false;
        };
        receiving.stop(handle, &mut open.received, wire.is_readable());
        let over = open.received.wait(clock.now, config.frame_timeout) <= clock.now;
        counts.over_received += u64::from(over && open.give_up());
        over
    }

    pub(crate) fn begin(
        &mut self,
        handle: Handle,
        open: Box<Open>,
        handler: &mut Handler<'_, T>,
    ) -> Option<Box<Open>> {
        // In its slot during the event, so that the handler can send to it.
        self.slots.get_mut(handle)?.stage = Stage::Open(Some(open));
        handler(&mut Net::new(self), Event::Open(handle));
        // The handler may have sent to other connections, which may make a dormant one whole, and
        // this one dormant instead. Its first turn arms its deadlines, so none is armed here.
        self.wake(handle);
        self.take_open(handle)
    }
}

/// A paused connection must not deliver what it received before a deadline ended it, and `step`
/// reports the end only after that.
fn drop_received(conn: &mut Connection) -> Stop {
    loop {
        match conn.step() {
            Ok(Step::Message | Step::Ping | Step::Pong | Step::Close) => {}
            Ok(Step::Closed) | Err(_) => return Stop::Ended,
            Ok(_) => return Stop::Starved,
        }
    }
}

/// Whether there is no room for a reply. A connection that is closing never counts as full, because
/// its turn has to go on until it has ended.
fn is_full(conn: &Connection) -> bool {
    !conn.sender().has_room() && !conn.sender().is_closed()
}
