//! Tells the caller of a TLS stream what a `Pending` call cannot return. In a thread-local, because
//! the streams in between (a half, a buffer, another TLS stream) cannot pass it on.
use std::cell::Cell;

thread_local! {
    static LEFT: Cell<Left> = const { Cell::new(Left::Nothing) };
}

#[derive(Clone, Copy)]
enum Left {
    Nothing,
    Heard,
    Held(usize),
}

/// Forgets what earlier calls of this thread left. Call this before a read, and before a flush.
#[inline]
pub fn forget() {
    LEFT.set(Left::Nothing);
}

/// Whether a read since [`forget`] got ciphertext and found no plaintext: a part of a record, or
/// records without data.
#[inline]
pub fn heard() -> bool {
    matches!(LEFT.get(), Left::Heard)
}

/// How many bytes of ciphertext a TLS stream still holds, if a flush since [`forget`] was `Pending`
/// there. If TLS lies over TLS, the bytes that both hold.
#[cold]
pub fn held() -> Option<usize> {
    match LEFT.get() {
        Left::Held(bytes) => Some(bytes),
        _ => None,
    }
}

#[cold]
pub(crate) fn leave_heard() {
    LEFT.set(Left::Heard);
}

/// Added to what TLS below this stream left: a flush that is `Pending` ends each flush above it.
#[cold]
pub(crate) fn leave_held(bytes: usize) {
    LEFT.set(Left::Held(bytes.saturating_add(held().unwrap_or(0))));
}
