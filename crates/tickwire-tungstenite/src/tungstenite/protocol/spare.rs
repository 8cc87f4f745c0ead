//! Buffers that the connections of a thread share: before a connection waits for a non-blocking
//! stream, it gives its unused ones back. The thread keeps one for the next connection that reads,
//! and one for the next that writes.
use std::{cell::Cell, thread::LocalKey};
use tickwire::{Receiver, Sender};

/// The longest buffer that is kept, in bytes. One that grew for a long message is not worth
/// keeping.
const KEPT: usize = 64 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Call this before a read.
pub(super) fn lend(rx: &mut Receiver) {
    // `reclaim` leaves a buffer with the connection if received bytes fill much of it.
    if !rx.has_buffer() {
        rx.lend(take(&READ));
    }
}

/// Call this before a connection's first message is fed, and before the first one after each
/// `reclaim`.
pub(super) fn lend_out(tx: &mut Sender) {
    tx.lend(take(&WRITE));
}

/// Call this before a wait.
pub(super) fn reclaim(rx: &mut Receiver, tx: &mut Sender) {
    keep(&READ, rx.reclaim());
    keep(&WRITE, tx.reclaim());
}

/// Empty if `slot` has none, or if the thread is ending.
fn take(slot: &'static LocalKey<Cell<Vec<u8>>>) -> Vec<u8> {
    slot.try_with(Cell::take).unwrap_or_default()
}

fn keep(slot: &'static LocalKey<Cell<Vec<u8>>>, buffer: Vec<u8>) {
    if !buffer.is_empty() && buffer.len() <= KEPT {
        let _ = slot.try_with(|slot| slot.set(buffer)); // fails if the thread is ending
    }
}
