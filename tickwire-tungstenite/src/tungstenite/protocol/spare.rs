//! A connection that waits has no receive buffer: the thread keeps one, for whichever reads next.
use std::cell::Cell;
use tickwire::Receiver;

/// A buffer that grew for a long message is not worth keeping.
const KEPT: usize = 64 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Before a read.
pub(super) fn lend(rx: &mut Receiver) {
    if !rx.has_buffer() {
        let spare = SPARE.take();
        if !spare.is_empty() {
            rx.lend(spare);
        }
    }
}

/// Before a wait.
pub(super) fn reclaim(rx: &mut Receiver) {
    let buffer = rx.reclaim();
    if !buffer.is_empty() && buffer.len() <= KEPT {
        SPARE.set(buffer);
    }
}
