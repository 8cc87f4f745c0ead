//! Buffers that the connections of a thread share. Before a connection waits for a non-blocking
//! stream, it gives its unused buffers to the thread. The thread keeps one buffer for the next
//! connection that reads, and one buffer for the next connection that writes.
use std::{cell::Cell, thread::LocalKey};
use tickwire::{Receiver, Sender};

/// The size in bytes of the largest buffer that is kept. A buffer that grew for a long message is
/// not worth keeping.
const KEPT: usize = 64 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the read buffer. Call this before a read.
pub(super) fn lend(rx: &mut Receiver) {
    // `reclaim` leaves a buffer with the connection if received bytes fill much of the buffer.
    if !rx.has_buffer() {
        rx.lend(take(&READ));
    }
}

/// Lends the write buffer. Call this before a connection's first message is fed, and before the
/// first message after each `reclaim`.
pub(super) fn lend_out(tx: &mut Sender) {
    tx.lend(take(&WRITE));
}

/// Takes both buffers back. Call this before a wait.
pub(super) fn reclaim(rx: &mut Receiver, tx: &mut Sender) {
    keep(&READ, rx.reclaim());
    keep(&WRITE, tx.reclaim());
}

/// Takes the buffer in `slot`. Returns an empty buffer if `slot` has none, or if the thread is
/// ending.
fn take(slot: &'static LocalKey<Cell<Vec<u8>>>) -> Vec<u8> {
    slot.try_with(Cell::take).unwrap_or_default()
}

fn keep(slot: &'static LocalKey<Cell<Vec<u8>>>, buffer: Vec<u8>) {
    if !buffer.is_empty() && buffer.len() <= KEPT {
        let _ = slot.try_with(|slot| slot.set(buffer)); // fails if the thread is ending
    }
}
