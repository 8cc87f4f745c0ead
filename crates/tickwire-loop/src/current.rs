//! The facts that a turn has read from the slot of its connection. Finding the slot takes time, so
//! the turn reads the slot again only if a command may have changed the slot.
use crate::{handle::Handle, slots::Slot};

#[derive(Default)]
pub(crate) struct Current {
    /// The connection that has its turn, or had the last turn.
    of: Option<Handle>,
    /// The connection in `of`, if it had no outbox when the turn last read the slot. `None` after
    /// `change`.
    direct: Option<Handle>,
    /// `true` if a command removed or paused any connection, or changed any outbox, since the turn
    /// last read the slot of its own connection. Also `true` while the turn's own connection is
    /// paused or has an outbox.
    changed: bool,
}

impl Current {
    /// Begins a turn.
    #[inline]
    pub(crate) fn begin<T>(&mut self, handle: Handle, slot: &Slot<T>) {
        self.of = Some(handle);
        self.look(handle, slot);
    }

    /// Records what the turn needs to know of the slot of its connection.
    #[inline]
    pub(crate) fn look<T>(&mut self, handle: Handle, slot: &Slot<T>) {
        self.direct = slot.outbox.is_none().then_some(handle);
        // A connection that is paused or has an outbox counts as changed, so that `deliver` reads
        // the slot before each message.
        self.changed = slot.marks.paused || slot.outbox.is_some();
    }

    /// Makes the turn read the slot of its connection again.
    pub(crate) fn change(&mut self) {
        (self.changed, self.direct) = (true, None);
    }

    /// Whether the turn has to read the slot again.
    #[inline]
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    #[inline]
    pub(crate) fn is(&self, handle: Handle) -> bool {
        self.of == Some(handle)
    }

    /// Whether the connection has its turn, and has no outbox. If so, `Net::send` feeds messages
    /// straight to the connection's sender.
    #[inline]
    pub(crate) fn is_direct(&self, handle: Handle) -> bool {
        self.direct == Some(handle)
    }
}
