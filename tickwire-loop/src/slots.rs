//! The places of connections, and the handles that name them.
use crate::{dialing::Dialing, opening::Opening, system::System, wire::Wire};
use std::{io, sync::Arc};
use tickwire::{Config, Connection, Dormant, Sender, Time};
use tickwire_parts::Outbox;

/// Names a connection of one loop. It is small, and outlives the connection: a handle of a
/// connection that is gone names nothing, even if its place was given to another. (A place would
/// have to be given away 2³² times for that to fail.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(crate) at: u32,
    generation: u32,
}

/// An open connection while it is whole.
pub(crate) struct Open {
    pub(crate) conn: Connection,
    /// Why the stream failed, if it did. The connection first delivers what arrived before.
    pub(crate) error: Option<io::Error>,
}

/// What a slot's connection is doing.
pub(crate) enum Stage {
    Free,
    /// It has its turn, which holds the rest of it.
    Turn,
    Dialing(Box<Dialing>),
    Opening(Box<Opening>),
    /// It is open, and the application is yet to be told: its request was deferred.
    Accepted(Box<Open>),
    Open(Box<Open>),
    /// It is open and idle, and in `dormant`.
    Dormant,
    /// The application rejected its request. Until this time its bytes are read and dropped.
    Rejected(Time),
    /// It was disconnected for [`max_queued`](crate::Settings::max_queued). The application is yet
    /// to be told.
    OverQueued,
}

pub(crate) struct Slot<T> {
    generation: u32,
    pub(crate) marks: Marks,
    /// Its address at the door; `None` if it was dialed.
    pub(crate) address: Option<u32>,
    /// Its part of the loop's queued bytes.
    pub(crate) queued: usize,
    pub(crate) stage: Stage,
    /// Beside `stage`, which moves with each turn, and is small.
    pub(crate) dormant: Option<Dormant>,
    pub(crate) wire: Option<Wire>,
    pub(crate) value: Option<T>,
    pub(crate) outbox: Option<Box<Outbox>>,
    pub(crate) config: Option<Arc<Config>>,
}

/// Facts about a slot, each a bit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// It is in the list of those that can go on.
    pub(crate) ready: bool,
    /// It is in the list of those that others sent to.
    pub(crate) unwritten: bool,
    /// It is in the ring of whole connections.
    pub(crate) whole: bool,
    /// It was active since the ring was last at it.
    pub(crate) active: bool,
    /// The application paused reading.
    pub(crate) paused: bool,
    /// A message was refused for want of room, in the connection or its outbox.
    pub(crate) wants_room: bool,
    /// Its last turn ended before it had read everything.
    pub(crate) unfinished: bool,
    /// Everything that it had read was delivered in its last turn. So its next turn begins with a
    /// read.
    pub(crate) starved: bool,
    /// It is counted as open.
    pub(crate) open: bool,
    /// The application closed it while it was dialed.
    pub(crate) given_up: bool,
}

impl Marks {
    /// The marks that stay when the connection goes, because the lists keep their entries.
    fn of_lists(self) -> Self {
        let Self { ready, unwritten, whole, .. } = self;
        Self { ready, unwritten, whole, ..Self::default() }
    }
}

/// The number of slots in a block. Blocks never move, so growing copies nothing.
const BLOCK: usize = 256;

/// The slots, by number. Freed ones are used first.
pub(crate) struct Slots<T> {
    blocks: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    used: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new(), used: 0 }
    }
}

impl<T> Slots<T> {
    /// Takes a slot. `None` if there are 2³¹ of them.
    pub(crate) fn take(&mut self, stage: Stage) -> Option<Handle> {
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                let count = self.blocks.iter().map(Vec::len).sum::<usize>();
                let at = u32::try_from(count).ok().filter(|at| *at < 1 << 31)?;
                if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
                    self.blocks.push(Vec::with_capacity(BLOCK));
                }
                self.blocks.last_mut()?.push(Slot {
                    generation: 0,
                    marks: Marks::default(),
                    address: None,
                    queued: 0,
                    stage: Stage::Free,
                    dormant: None,
                    wire: None,
                    value: None,
                    outbox: None,
                    config: None,
                });
                at
            }
        };
        let slot = self.at_mut(at)?;
        slot.stage = stage;
        let handle = Handle { at, generation: slot.generation };
        self.used += 1;
        Some(handle)
    }

    /// Frees a slot. Its handle names nothing from here on.
    pub(crate) fn free(&mut self, handle: Handle) -> Option<Freed<T>> {
        let slot = self.get_mut(handle)?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.marks = slot.marks.of_lists();
        slot.stage = Stage::Free;
        slot.dormant = None;
        slot.outbox = None;
        slot.config = None;
        slot.queued = 0;
        let freed = Freed {
            value: slot.value.take(),
            wire: slot.wire.take(),
            address: slot.address.take(),
        };
        self.free.push(handle.at);
        self.used -= 1;
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

    #[inline]
    pub(crate) fn get(&self, handle: Handle) -> Option<&Slot<T>> {
        self.at(handle.at).filter(|slot| slot.is_of(handle))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut Slot<T>> {
        self.at_mut(handle.at).filter(|slot| slot.is_of(handle))
    }

    /// The slot at `at` and its handle, though it may be free.
    #[inline]
    pub(crate) fn entry(&mut self, at: u32) -> Option<(Handle, &mut Slot<T>)> {
        let slot = self.at_mut(at)?;
        Some((Handle { at, generation: slot.generation }, slot))
    }

    /// The handle of the connection at `at`, if there is one.
    #[inline]
    pub(crate) fn handle(&self, at: u32) -> Option<Handle> {
        let slot = self.at(at).filter(|slot| !matches!(slot.stage, Stage::Free))?;
        Some(Handle { at, generation: slot.generation })
    }

    /// All connections, in the order of their places.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        (0..self.blocks.iter().map(Vec::len).sum::<usize>() as u32).filter_map(|at| self.handle(at))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }
}

/// What is left of a connection whose slot was freed.
pub(crate) struct Freed<T> {
    pub(crate) value: Option<T>,
    pub(crate) wire: Option<Wire>,
    pub(crate) address: Option<u32>,
}

impl<T> Slot<T> {
    /// Writes what the open connection has to send, from its outbox and its session of TLS too.
    #[inline(always)] // a turn with nothing to write finds that out without a call
    pub(crate) fn pump(&mut self, system: &mut System, conn: &mut Connection, now: Time) {
        let Some(wire) = &mut self.wire else { return };
        let tx = conn.sender_mut();
        let wrote = match &mut self.outbox {
            None if wire.is_plain() && !tx.has_outgoing() => return,
            None => wire.write(system, tx),
            Some(outbox) => drain_outbox(outbox, wire, system, tx, now),
        };
        if !wrote {
            wire.tell(conn);
        }
    }

    /// Whether [`Event::Room`](crate::Event::Room) is due: a message was refused, and now there is
    /// room for it.
    pub(crate) fn owes_room(&self, tx: &Sender) -> bool {
        let has_room = || self.outbox.as_ref().map_or(tx.has_room(), |outbox| outbox.has_room());
        self.marks.wants_room && !tx.is_closed() && has_room()
    }

    /// Whether its open connection was not active, and nothing outside of the connection waits to
    /// be sent. (The connection itself knows the rest.)
    pub(crate) fn is_idle(&self) -> bool {
        let Marks { active, unwritten, paused, wants_room, unfinished, .. } = self.marks;
        !(active || unwritten || paused || wants_room || unfinished)
            && self.queued == 0
            && matches!(&self.stage, Stage::Open(open) if open.error.is_none())
    }

    #[inline]
    fn is_of(&self, handle: Handle) -> bool {
        // A place that is free has the next generation already, of which there is no handle yet.
        self.generation == handle.generation
    }
}

/// Writes what the connection has to send, and then what its outbox has. Returns `false` if the
/// stream takes no more.
pub(crate) fn drain_outbox(
    outbox: &mut Outbox,
    wire: &mut Wire,
    system: &mut System,
    tx: &mut Sender,
    now: Time,
) -> bool {
    loop {
        let _ = outbox.feed(now, tx); // a closed connection takes no more
        let fed = tx.has_outgoing();
        let wrote = wire.write(system, tx);
        if !fed || !wrote {
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
