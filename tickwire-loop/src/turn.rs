//! The turn of an open connection: deliver, write and read, until its stream has no more bytes, or
//! until its share of the round is used up.
//!
//! During its turn the connection is not in its slot. So the handler can use the whole loop while a
//! message is lent. `Net` reaches this connection only through its sender.
use crate::{
    Event, Handle, Net,
    inner::{Handler, Inner},
    slots::{Open, Slot, Stage},
    wire::{Next, is_passing},
};
use std::{io::ErrorKind, mem, sync::Arc};
use tickwire::{CloseCode, Config, Connection, Step};

/// Why delivering stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// All input is delivered.
    Starved,
    /// Receiving has ended.
    Ended,
    /// The application has paused reading, or there is no room for replies.
    Held,
    /// The replies that wait have reached `cork_limit`, so they are written before more messages
    /// are delivered.
    Cork,
    /// The turn has delivered `turn_messages` messages, so other connections have their turns
    /// first.
    Share,
    /// The application removed the connection.
    Removed,
}

impl<T> Inner<T> {
    /// Gives an open connection its turn.
    pub(crate) fn serve(
        &mut self,
        handle: Handle,
        mut open: Box<Open>,
        handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        self.current = Some(handle);
        self.direct = slot.outbox.is_none().then_some(handle);
        self.turn_changed = slot.marks.paused;
        let limit = |config: &Arc<Config>| config.cork_limit.min(config.high_water);
        let cork = slot.config.as_ref().map_or(0, limit);
        let conn = &mut open.conn;
        let nothing_queued = slot.queued == 0 && !slot.marks.unwritten;
        if nothing_queued {
            conn.sender_mut().lend(self.outputs.take());
        }
        // If bytes are queued, there may be no room for replies, so the turn begins with a write.
        let starved = mem::take(&mut slot.marks.starved);
        let mut reads = starved && nothing_queued && !slot.marks.paused;
        if reads {
            conn.set_paused(false);
        }
        if slot.owes_room(conn.sender()) {
            (slot.marks.wants_room, reads) = (false, false);
            let handler: &mut Handler<'_, T> = handler;
            handler(&mut Net::in_turn(self, conn.sender_mut()), Event::Room(handle));
        }
        let (mut looked, turn_bytes) = (false, self.settings.turn_bytes);
        let (mut messages, mut spent) = (self.settings.turn_messages.max(1), 0);
        let (unfinished, until) = loop {
            if mem::take(&mut reads)
                && let Some(Slot { wire: Some(wire), .. }) = self.slots.get_mut(handle)
            {
                let rx = open.conn.receiver_mut();
                if !rx.has_buffer() {
                    rx.lend(self.inputs.take());
                }
                match wire.receive(&mut self.system, rx, self.epoch, &mut spent) {
                    Ok(0) => rx.end_of_stream(),
                    Ok(_) => {}
                    Err(error) if is_passing(&error) => {}
                    Err(error) => {
                        // The error ends receiving, but only after the bytes that arrived before
                        // it.
                        match error.kind() {
                            ErrorKind::UnexpectedEof => rx.end_of_stream(), // TLS, no close_notify
                            _ => {
                                rx.stream_failed();
                                open.error.get_or_insert(error);
                            }
                        }
                        let _ = wire.send(&mut self.system); // the TLS alert, if there is one
                    }
                }
            }
            let stop = self.deliver(handle, &mut open.conn, cork, &mut messages, handler);
            if stop == Stop::Removed {
                return self.keep_buffers(&mut open);
            }
            let Some(slot) = self.slots.get_mut(handle) else { return };
            slot.marks.starved = stop == Stop::Starved;
            slot.pump(&mut self.system, &mut open.conn, self.now);
            let Some(wire) = &mut slot.wire else { return };
            let conn = &mut open.conn;
            let held = slot.marks.paused || is_full(conn);
            conn.set_paused(held);
            reads = match stop {
                Stop::Ended => match wire.end(&mut self.system, conn) {
                    Some(reads) if slot.marks.may_drain(conn, &mut self.draining) => reads,
                    _ => {
                        self.keep_buffers(&mut open);
                        return self.finish(handle, Some(open), None, handler);
                    }
                },
                Stop::Starved => !held,
                Stop::Held | Stop::Cork if !held => continue, // the write made room
                Stop::Held | Stop::Cork => false,
                Stop::Share | Stop::Removed => {
                    break (true, conn.poll_timeout());
                }
            };
            // Once a turn, deadlines come before more input, so that a flood puts off none.
            let may_read = (reads, spent >= turn_bytes, !mem::replace(&mut looked, true));
            match wire.next(may_read, self.now, || conn.poll_timeout()) {
                Next::Read => {}
                Next::TellTime => {
                    reads = false;
                    wire.tell_time(&mut self.system, conn, self.now);
                }
                Next::Rest { unfinished, until } => break (unfinished, until),
            }
        };
        self.rest(handle, open, until);
        if unfinished {
            self.make_ready(handle.at);
        }
    }

    /// Delivers the received messages and control frames.
    fn deliver(
        &mut self,
        handle: Handle,
        conn: &mut Connection,
        cork: usize,
        messages: &mut u32,
        handler: &mut impl FnMut(&mut Net<'_, T>, Event<'_, T>),
    ) -> Stop {
        let mut delivered = false;
        loop {
            // Finding the slot takes time. So it is read only if a handler may have changed it.
            if self.turn_changed {
                let Some(slot) = self.slots.get(handle) else { return Stop::Removed };
                if slot.marks.paused && conn.closed().is_none() {
                    return Stop::Held;
                }
                self.direct = slot.outbox.is_none().then_some(handle);
                self.turn_changed = false;
            }
            // Before the first message, a write gains nothing, so only a lack of room counts.
            // Later, `cork` decides: it is at most `high_water`, so below it there is room.
            let over = match delivered {
                true => conn.sender().buffered_amount() >= cork,
                false => is_full(conn),
            };
            if over {
                return if is_full(conn) { Stop::Held } else { Stop::Cork };
            }
            if *messages == 0 {
                return Stop::Share;
            }
            let step = conn.step();
            let (rx, tx) = conn.split_mut();
            // Two calls, so that the one for a message is compiled for a message alone.
            match step {
                Ok(Step::Message) => {
                    let Some(message) = rx.message() else { continue };
                    let event = Event::Message { from: handle, message, receiver: rx };
                    handler(&mut Net::in_turn(self, tx), event);
                }
                Ok(Step::Ping | Step::Pong | Step::Close) => {
                    let Some(event) = rx.event() else { continue };
                    let event = Event::Control { from: handle, event };
                    let handler: &mut Handler<'_, T> = handler;
                    handler(&mut Net::in_turn(self, tx), event);
                }
                Ok(Step::Closed) | Err(_) => return Stop::Ended,
                Ok(_) => return Stop::Starved,
            }
            *messages -= 1;
            delivered = true;
        }
    }

    /// Delivers `Event::Open`. Returns the connection for its first turn.
    pub(crate) fn begin(
        &mut self,
        handle: Handle,
        open: Box<Open>,
        handler: &mut Handler<'_, T>,
    ) -> Option<Box<Open>> {
        // During the event the connection is in its slot, so that the handler can send to it.
        self.slots.get_mut(handle)?.stage = Stage::Open(Some(open));
        handler(&mut Net::new(self), Event::Open(handle));
        if self.shuts_at.is_some()
            && let Some(tx) = self.sender(handle)
        {
            let _ = tx.close(CloseCode::GOING_AWAY); // it may be closed already
        }
        self.take_open(handle)
    }
}

/// Whether the connection has no room for the reply to a message. A connection that is closing
/// never counts as full, because its turn has to go on until the connection has ended.
fn is_full(conn: &Connection) -> bool {
    !conn.sender().has_room() && !conn.sender().is_closed()
}
