//! Notes what a call does on the connection's tape, in builds of tests. In other builds a note is
//! no code. `src/proto/tape.rs` of the crate `tickwire` says what the tape checks.
//!
//! The program decides when to flush, so what it has fed may stay unwritten while this crate reads
//! and waits.
use tickwire::Connection;

#[inline(always)]
pub(super) fn reads(conn: &Connection) {
    let _ = conn;
    #[cfg(tickwire_tape)]
    conn.note_read(false);
}

/// A reply is due, or the program writes: neither waits until all input is delivered.
#[inline(always)]
pub(super) fn writes(conn: &Connection) {
    let _ = conn;
    #[cfg(tickwire_tape)]
    conn.note_write(true);
}

/// The stream has nothing to read. The caller gets `WouldBlock`.
#[inline(always)]
pub(super) fn blocks(conn: &Connection) {
    let _ = conn;
    #[cfg(tickwire_tape)]
    conn.note_wait(false, (true, false), None);
}
