//! A connection that waits has no buffers: the thread keeps one of each kind, for whichever goes on
//! next.
use std::{cell::Cell, thread::LocalKey};
use tickwire::{Receiver, Sender};

/// A buffer that grew for a long message is not worth keeping.
const KEPT: usize = 64 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Before a read.
pub(super) fn lend(rx: &mut Receiver) {
    if !rx.has_buffer() {
        take(&READ, |buffer| rx.lend(buffer));
    }
}

/// Before a message is fed, where `reclaim` was called since the last.
pub(super) fn lend_out(tx: &mut Sender) {
    take(&WRITE, |buffer| tx.lend(buffer));
}

/// Before a wait.
pub(super) fn reclaim(rx: &mut Receiver, tx: &mut Sender) {
    keep(&READ, rx.reclaim());
    keep(&WRITE, tx.reclaim());
}

fn take(slot: &'static LocalKey<Cell<Vec<u8>>>, lend: impl FnOnce(Vec<u8>)) {
    let buffer = slot.try_with(Cell::take).unwrap_or_default(); // none where the thread is ending
    if !buffer.is_empty() {
        lend(buffer);
    }
}

fn keep(slot: &'static LocalKey<Cell<Vec<u8>>>, buffer: Vec<u8>) {
    if !buffer.is_empty() && buffer.len() <= KEPT {
        let _ = slot.try_with(|slot| slot.set(buffer)); // else the thread is ending
    }
}
