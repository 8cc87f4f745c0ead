//! Tells the reader of a TLS stream that a read got ciphertext, although it found no plaintext: a
//! part of a record, or records without data. In a thread-local, because the streams in between (a
//! half, a buffer, another TLS stream) cannot pass it on.
use std::cell::Cell;

thread_local! {
    static HEARD: Cell<bool> = const { Cell::new(false) };
}

/// Forgets what earlier reads of this thread got. Call this before a read.
#[inline]
pub fn forget() {
    HEARD.set(false);
}

/// Whether a read since [`forget`] got ciphertext and found no plaintext.
#[inline]
pub fn heard() -> bool {
    HEARD.get()
}

#[cold]
pub(crate) fn leave() {
    HEARD.set(true);
}
