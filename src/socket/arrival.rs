//! How the kernel's time of arrival gets from a stream to the connection that reads it: by a place
//! of the thread's, since what is between them (TLS, a split, a stream of another crate) has no
//! room for it.
use crate::proto::message::Arrival;
use core::cell::Cell;

std::thread_local! {
    /// What the stamped read before this one said: nothing yet, or, inside, that the kernel did
    /// not.
    static LEFT: Cell<Option<Option<Arrival>>> = const { Cell::new(None) };
}

/// Before a read.
pub(crate) fn forget() {
    LEFT.set(None);
}

/// A stream was read.
pub(super) fn leave(arrived: Option<Arrival>) {
    LEFT.set(Some(arrived));
}

/// After a read: `None` if no stamped stream was read for it, as for bytes that TLS had kept from
/// before.
pub(crate) fn left() -> Option<Option<Arrival>> {
    LEFT.get()
}
