//! The kernel's time of arrival, from a `Timestamped` stream to its connection. In a thread-local,
//! because the streams in between (TLS, a half, a stream of another crate) cannot pass it on.
use crate::proto::message::Arrival;
use core::cell::Cell;

std::thread_local! {
    /// The outer `None`: no stamped read since [`forget`]. The inner one: the kernel gave no time.
    static LEFT: Cell<Option<Option<Arrival>>> = const { Cell::new(None) };
}

pub(crate) fn forget() {
    LEFT.set(None);
}

pub(super) fn leave(arrived: Option<Arrival>) {
    LEFT.set(Some(arrived));
}

/// `None` without a stamped read since [`forget`], for example because TLS already had the bytes.
pub(crate) fn left() -> Option<Option<Arrival>> {
    LEFT.get()
}
