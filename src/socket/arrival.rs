//! Passes the kernel's time of arrival from a `Timestamped` stream to its connection. The time is
//! in a thread-local, because the streams in between (TLS, a half, a stream of another crate)
//! cannot pass it on.
use crate::proto::message::Arrival;
use core::cell::Cell;

std::thread_local! {
    /// The time of the last stamped read. The outer `Option` is `None` if there was no stamped read
    /// since [`forget`]. The inner `Option` is `None` if the kernel gave no time for that read.
    static LEFT: Cell<Option<Option<Arrival>>> = const { Cell::new(None) };
}

/// Forgets the time of the last stamped read. An adapter calls this before each read whose time it
/// needs.
pub(crate) fn forget() {
    LEFT.set(None);
}

/// Stores the time of a stamped read. A `Timestamped` stream calls this.
pub(super) fn leave(arrived: Option<Arrival>) {
    LEFT.set(Some(arrived));
}

/// Returns the time of the last stamped read since [`forget`]. The result is `None` if there was no
/// stamped read, for example because TLS already had the bytes.
pub(crate) fn left() -> Option<Option<Arrival>> {
    LEFT.get()
}
