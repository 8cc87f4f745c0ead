use crate::{
    entrance::Phase, handle::Handle, settings::Counts, stage::Stage, system::System, wire::Wire,
};
use std::{
    mem,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    sync::Arc,
};
use tickwire::{Config, Connection, Dormant, RecvError, Sender, Time};
use tickwire_parts::Outbox;

pub(crate) struct Slot<T> {
    generation: u32,
    pub(crate) marks: Marks,
    /// `None` until a dialed connection has connected.
    pub(crate) peer: Option<Peer>,
    /// How many queued bytes of this connection the loop's sum contains.
    pub(crate) queued: usize,
    pub(crate) stage: Stage,
    /// Not in `stage`, which is moved when a connection opens or becomes whole, and has to stay
    /// small.
    pub(crate) dormant: Option<Dormant>,
    pub(crate) wire: Option<Wire>,
    pub(crate) value: Option<T>,
    pub(crate) outbox: Option<Box<Outbox>>,
    /// `None` until the connection is open.
    pub(crate) config: Option<Arc<Config>>,
}

/// A `SocketAddr` would make each slot 8 bytes longer.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    port: u16,
    scope: u32,
    pub(crate) origin: Origin,
}

/// Where a connection comes from. `Entrance` counts only accepted connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Dialed,
    /// It counts for the peer's address.
    Accepted,
    /// It is accepted from a proxy that has not named the client yet, so it counts for no address.
    Unnamed,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, origin: Origin) -> Self {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        Self { ip: address.ip(), port: address.port(), scope, origin }
    }

    /// Returns the address for which `Entrance` counts the connection.
    pub(crate) fn counted_for(&self) -> Option<IpAddr> {
        (self.origin == Origin::Accepted).then_some(self.ip)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self.ip {
            IpAddr::V4(ip) => SocketAddrV4::new(ip, self.port).into(),
            // The flow information is no part of a peer's address.
            IpAddr::V6(ip) => SocketAddrV6::new(ip, self.port, 0, self.scope).into(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// In `Queues::ready`, `Queues::opening` or `Queues::unfinished`.
    pub(crate) ready: bool,
    /// In `Queues::unwritten`.
    pub(crate) unwritten: bool,
    /// In `Queues::whole`.
    pub(crate) whole: bool,
    /// The application has paused the connection.
    pub(crate) paused: bool,
    /// A message was refused for lack of room: `Event::Room` is due once there is some.
    pub(crate) wants_room: bool,
    /// The last turn delivered everything that was read, so the next may begin with a read.
    pub(crate) starved: bool,
    /// `Some` until the request is accepted or rejected. Until then the connection counts for its
    /// address's share of the handshakes.
    pub(crate) phase: Option<Phase>,
    /// `Inner::draining` counts the connection.
    pub(crate) drains: bool,
}

/// How many connections may be drained at a time. A connection is drained if its peer did not
/// answer our Close within `close_timeout`; draining may take that once more, and read up to 16
/// MiB.
const MOST_DRAINING: usize = 1024;

impl Marks {
    /// For a connection that is ending: `false` if the peer did not answer our Close in time, and
    /// `MOST_DRAINING` others are drained already.
    pub(crate) fn may_drain(&mut self, conn: &Connection, draining: &mut usize) -> bool {
        let overdue = conn.closed().is_some_and(|end| end.error == Some(RecvError::CloseTimeout));
        if overdue && !self.drains {
            self.drains = *draining < MOST_DRAINING;
            *draining += usize::from(self.drains);
        }
        self.drains || !overdue
    }
}

/// A block never moves, so new slots cause no copy of the old ones. It is an array, so finding a
/// slot needs no check of its length.
const BLOCK: usize = 64;

/// All slots, by number. The one that was freed last is used first.
pub(crate) struct Slots<T> {
    blocks: Vec<Box<[Slot<T>; BLOCK]>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// `None` if all 2³¹ are in use: a token of mio may have only 32 bits, one of which tells slots
    /// from doors.
    pub(crate) fn take(&mut self, stage: Stage) -> Option<Handle> {
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                let at = u32::try_from(self.known()).ok().filter(|at| *at < 1 << 31)?;
                // As a vector first, because a block of a large `T` may not fit on the stack.
                let block: Vec<_> = (0..BLOCK).map(|_| Slot::free(0, Marks::default())).collect();
                self.blocks.push(block.try_into().ok()?); // does not fail: it has `BLOCK` slots
                self.free.extend((at + 1..at + BLOCK as u32).rev()); // the lowest is used first
                at
            }
        };
        let slot = self.at_mut(at)?;
        slot.stage = stage; // the marks stay: see `free`
        Some(Handle { at, generation: slot.generation })
    }

    pub(crate) fn free(&mut self, handle: Handle) -> Option<Slot<T>> {
        let slot = self.get_mut(handle)?;
        // The queues may still have entries for the slot. Without these marks, it would be queued a
        // second time.
        let Marks { ready, unwritten, whole, .. } = slot.marks;
        let marks = Marks { ready, unwritten, whole, ..Marks::default() };
        let free = Slot::free(slot.generation.wrapping_add(1), marks);
        let freed = mem::replace(slot, free);
        self.free.push(handle.at);
        Some(freed)
    }

    #[inline]
    pub(crate) fn at(&self, at: u32) -> Option<&Slot<T>> {
        self.blocks.get(at as usize / BLOCK)?.get(at as usize % BLOCK)
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, at: u32) -> Option<&mut Slot<T>> {
        self.blocks.get_mut(at as usize / BLOCK)?.get_mut(at as usize % BLOCK)
    }

    /// `None` if the connection is gone. Many callers know that it exists, and return early only
    /// because this crate has no `unwrap`.
    #[inline]
    pub(crate) fn get(&self, handle: Handle) -> Option<&Slot<T>> {
        self.at(handle.at).filter(|slot| slot.is_of(handle))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut Slot<T>> {
        self.at_mut(handle.at).filter(|slot| slot.is_of(handle))
    }

    /// The slot may be free. Its handle will then name the next connection, so the caller must not
    /// keep it, and must not act on a slot whose stage is `Free`.
    #[inline]
    pub(crate) fn entry(&mut self, at: u32) -> Option<(Handle, &mut Slot<T>)> {
        let slot = self.at_mut(at)?;
        Some((Handle { at, generation: slot.generation }, slot))
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        (0..self.known() as u32).filter_map(|at| {
            let slot = self.at(at).filter(|slot| !matches!(slot.stage, Stage::Free))?;
            Some(Handle { at, generation: slot.generation })
        })
    }

    fn known(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.known()
    }
}

impl<T> Slot<T> {
    fn free(generation: u32, marks: Marks) -> Self {
        Self {
            generation,
            marks,
            peer: None,
            queued: 0,
            stage: Stage::Free,
            dormant: None,
            wire: None,
            value: None,
            outbox: None,
            config: None,
        }
    }

    #[inline(always)] // so a turn with nothing to write makes no call
    pub(crate) fn pump(&mut self, system: &mut System, conn: &mut Connection, now: Time) {
        let Some(wire) = &mut self.wire else { return };
        let tx = conn.sender_mut();
        let wrote = match &mut self.outbox {
            None => wire.write(system, tx),
            Some(outbox) => drain_outbox(outbox, wire, system, tx, now),
        };
        if !wrote {
            wire.tell(conn);
        }
    }

    /// Feeds what the outbox holds, and writes only if messages are left there. If the stream
    /// accepts no more, the connection learns it from `pump`, at the end of the turn.
    #[cold] // few connections have an outbox
    pub(crate) fn feed(&mut self, system: &mut System, tx: &mut Sender, now: Time) {
        let (Some(outbox), Some(wire)) = (&mut self.outbox, &mut self.wire) else { return };
        let _ = outbox.feed(now, tx); // at the end of the turn, `drain_outbox` handles a failure
        if outbox.counts().waiting > 0 {
            drain_outbox(outbox, wire, system, tx, now);
        }
    }

    pub(crate) fn is_rejected(&self) -> bool {
        matches!(self.stage, Stage::Rejected(_))
    }

    pub(crate) fn set_queued(&mut self, counts: &mut Counts, queued: usize) {
        counts.queued = counts.queued - mem::replace(&mut self.queued, queued) + queued;
    }

    pub(crate) fn owes_room(&self, tx: &Sender) -> bool {
        let has_room = || self.outbox.as_ref().map_or(tx.has_room(), |outbox| outbox.has_room());
        self.marks.wants_room && !tx.is_closed() && has_room()
    }

    #[inline]
    fn is_of(&self, handle: Handle) -> bool {
        // A free slot already has the generation of its next connection.
        self.generation == handle.generation
    }
}

/// Until the outbox has no more, or the stream accepts no more (`false`).
pub(crate) fn drain_outbox(
    outbox: &mut Outbox,
    wire: &mut Wire,
    system: &mut System,
    tx: &mut Sender,
    now: Time,
) -> bool {
    let mut before = None;
    loop {
        if !tx.is_closed() {
            // `feed` fails only if the outbox disconnects with 1010, which a server must not send.
            // A Close without a code takes its place.
            let _ = outbox.feed(now, tx).or_else(|_| tx.abort(None));
        }
        // Ciphertext that an earlier turn left unsent takes up room, so even if this feed fed
        // nothing, the write may make room for the next. The loop ends when a feed leaves as many
        // messages waiting as the one before.
        let wrote = wire.write(system, tx);
        let waiting = outbox.counts().waiting;
        // Over io_uring, a stream accepts no more until the copy of its last short output is sent,
        // which `accepts_again` does.
        if !wrote && waiting > 0 && wire.accepts_again(system) {
            continue;
        }
        if !wrote || waiting == 0 || before.replace(waiting) == Some(waiting) {
            return wrote;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_of_a_freed_place_names_nothing_though_another_has_the_place() {
        let mut slots = Slots::<u8>::default();
        let first = slots.take(Stage::Turn).unwrap();
        assert!(slots.get(first).is_some());
        assert!(slots.free(first).is_some() && slots.free(first).is_none());
        assert!(slots.get(first).is_none());
        let second = slots.take(Stage::Turn).unwrap();
        assert_eq!(second.at, first.at);
        assert_ne!(second, first);
        assert!(slots.get(first).is_none() && slots.get(second).is_some());
    }

    #[test]
    fn places_are_used_again_before_there_are_more() {
        let mut slots = Slots::<u8>::default();
        let all: Vec<_> = (0..3 * BLOCK).map(|_| slots.take(Stage::Turn).unwrap()).collect();
        assert_eq!(slots.handles().collect::<Vec<_>>(), all);
        for handle in &all {
            slots.free(*handle);
        }
        assert!(slots.is_empty());
        let again = (0..3 * BLOCK).map(|_| slots.take(Stage::Turn).unwrap().at).max();
        assert_eq!(again, Some(3 * BLOCK as u32 - 1));
    }
}
