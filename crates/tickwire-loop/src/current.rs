//! What a turn has read from the slot of its connection. Finding the slot takes time, so it is read
//! again only if a command may have changed it.
use crate::{handle::Handle, slots::Slot};

#[derive(Default)]
pub(crate) struct Current {
    /// That has its turn, or had the last.
    of: Option<Handle>,
    /// The connection in `of`, if it had no outbox when the turn last read the slot. `None` after
    /// `change`.
    direct: Option<Handle>,
    /// A command removed or paused any connection, or changed any outbox, since the turn last read
    /// its slot; also while its own connection is paused or has an outbox.
    changed: bool,
}

impl Current {
    #[inline]
    pub(crate) fn begin<T>(&mut self, handle: Handle, slot: &Slot<T>) {
        self.of = Some(handle);
        self.look(handle, slot);
    }

    #[inline]
    pub(crate) fn look<T>(&mut self, handle: Handle, slot: &Slot<T>) {
        self.direct = slot.outbox.is_none().then_some(handle);
        // Counts as changed, so that `deliver` reads the slot before each message.
        self.changed = slot.marks.paused || slot.outbox.is_some();
    }

    pub(crate) fn change(&mut self) {
        self.changed = true;
        self.direct = None;
    }

    #[inline]
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    #[inline]
    pub(crate) fn is(&self, handle: Handle) -> bool {
        self.of == Some(handle)
    }

    /// `Net::send` then feeds messages straight to the connection's sender.
    #[inline]
    pub(crate) fn is_direct(&self, handle: Handle) -> bool {
        self.direct == Some(handle)
    }
}
