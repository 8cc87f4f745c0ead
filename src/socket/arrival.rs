//! Carries the kernel's time of arrival from a stream to the connection above. The time is in a
//! thread-local, because the streams in between (TLS, a split, a stream of another crate) cannot
//! pass it on.
use crate::proto::message::Arrival;
use core::cell::Cell;

std::thread_local! {
    /// The result of the last stamped read. The outer `None`: no stamped read since [`forget`]. The
    /// inner `None`: the kernel gave no time.
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

/// Called after a read. `None` if no stamped stream was read, for example because TLS already had
/// the bytes.
pub(crate) fn left() -> Option<Option<Arrival>> {
    LEFT.get()
}
