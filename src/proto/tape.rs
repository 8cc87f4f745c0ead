//! The tape: what a connection's caller did, in order, checked at each note.
//!
//! The core notes what it learns, the callers (`next`, `drive` and `tickwire-loop`) what they are
//! about to do, and the adapters' streams whether they were asked, so a fact that a caller has
//! wrong meets the same fact from elsewhere.
//!
//! Only builds of tests have one: unit tests, fuzz targets, and builds with the cfg `tickwire_tape`
//! (see TESTING.md). In every other build [`Tape`] has no size, and a note is no code.
#[cfg_attr(not(all(feature = "std", any(test, fuzzing, tickwire_tape))), path = "tape/no_log.rs")]
mod log;

use crate::proto::{error::RecvError, time::Time};
pub(crate) use log::Tape;
#[cfg(feature = "std")]
pub(crate) use log::{stream_blocked, take_stream_blocked};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    // What the core learns.
    Delivered,
    Starved,
    Ended,
    /// For `step`: bytes, the end of the stream, a passed deadline.
    News,
    /// 0 for a read in vain.
    Read(usize),
    /// A read blocked, or perhaps did.
    Blocked {
        surely: bool,
    },
    Unread,
    Wrote,
    /// Bytes, a flush or the shutdown.
    Refused,
    ShutDown,
    /// `found`: a deadline on the peer's silence has passed and is not believed yet.
    Looked {
        now: Time,
        found: bool,
    },
    Verdict(RecvError),

    // What the callers are about to do.
    /// `early`: before all input is delivered, for a reason of the caller's policy.
    Writes {
        early: bool,
    },
    Reads,
    /// `asked`: the stream itself was asked.
    Pending {
        asked: bool,
    },
    Timer(Time),
    Waits(Wait),
    Over,
    WriterWaits(Time),
    /// `wakes`: it wakes the reader.
    Sent {
        wakes: bool,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// Besides the times that were noted as `Timer`.
    pub(crate) until: Option<Time>,
    /// The caller gives up its turn, so the wait ends at once.
    pub(crate) yields: bool,
    /// The caller writes, and does not read meanwhile.
    pub(crate) flushes: bool,
}

/// From the parts of a connection, not from its caller.
#[derive(Clone, Copy, Debug, Default)]
#[allow(dead_code)] // without a log nobody reads them
pub(crate) struct Facts {
    /// The caller owns the sending side alone. Otherwise fed messages may wait for the other half.
    pub(crate) whole: bool,
    pub(crate) has_outgoing: bool,
    /// The stream holds bytes that it has not flushed.
    pub(crate) unflushed: bool,
    pub(crate) paused: bool,
    /// Once receiving has ended: read on and discard, shut the stream, or drop it.
    pub(crate) drains: bool,
    pub(crate) shuts: bool,
    pub(crate) done: bool,
    pub(crate) over: bool,
    pub(crate) deadline: Option<Time>,
    pub(crate) sending_deadline: Option<Time>,
    /// Somebody has woken the caller already.
    pub(crate) woken: bool,
}
