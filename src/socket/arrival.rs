//! Carries the kernel's time of arrival from a stream to the connection that reads it. It uses a
//! thread-local, because the streams between them (TLS, a split, a stream of another crate) have no
//! place for it.
use crate::proto::message::Arrival;
use core::cell::Cell;

std::thread_local! {
    /// The result of the last stamped read. The outer `None`: no such read yet. The inner `None`:
    /// the kernel gave no time.
    static LEFT: Cell<Option<Option<Arrival>>> = const { Cell::new(None) };
}

/// Called before a read.
pub(crate) fn forget() {
    LEFT.set(None);
}

/// Called when a stream was read.
pub(super) fn leave(arrived: Option<Arrival>) {
    LEFT.set(Some(arrived));
}

/// Called after a read. `None` if it read no stamped stream, as for bytes that TLS had kept.
pub(crate) fn left() -> Option<Option<Arrival>> {
    LEFT.get()
}
