//! Notes on the connection's tape, in builds of tests; in others a note is no code.
//! `src/proto/tape.rs` of the crate `tickwire` says what it checks.
use crate::{slots::Slot, wire::Wire};
use tickwire::{Connection, Time};

#[inline(always)]
pub(crate) fn reads(conn: &Connection) {
    let _ = conn;
    #[cfg(any(fuzzing, tickwire_tape))]
    conn.note_read(true);
}

/// `early`: before all input is delivered.
#[inline(always)]
pub(crate) fn writes(conn: &Connection, early: bool) {
    let _ = (conn, early);
    #[cfg(any(fuzzing, tickwire_tape))]
    conn.note_write(early);
}

#[inline(always)]
pub(crate) fn over(conn: &Connection) {
    let _ = conn;
    #[cfg(any(fuzzing, tickwire_tape))]
    conn.note_over();
}

/// A `Note` of the system comes only for what the wire has tried in vain.
#[inline(always)]
pub(crate) fn rests(conn: &Connection, wire: &Wire, until: Option<Time>) {
    let _ = (conn, wire, until);
    #[cfg(any(fuzzing, tickwire_tape))]
    conn.note_wait(true, (!wire.is_readable(), wire.refuses()), until);
}

/// A write outside of a turn is over. The connection does not read before its next turn.
#[inline(always)]
pub(crate) fn wrote<T>(conn: &Connection, slot: Option<&Slot<T>>, until: Option<Time>) {
    let _ = (conn, slot, until);
    #[cfg(any(fuzzing, tickwire_tape))]
    if let Some(Slot { wire: Some(wire), .. }) = slot {
        conn.note_flush(wire.refuses(), until);
    }
}
