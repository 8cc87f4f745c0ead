//! The tape: what a connection's caller did, in order. It checks the order of events at each note.
//!
//! Only builds of tests have a tape: unit tests, fuzz targets, and builds with the cfg
//! `tickwire_tape` (see TESTING.md). In every other build [`Tape`] has no size, and a note is no
//! code. The core notes what it learns (bytes, steps, refusals, times). The callers (`next`,
//! `drive` and `tickwire-loop`) note what they are about to do, and the streams of the adapters
//! note whether they were asked. So a fact that a caller has wrong meets the same fact from
//! elsewhere.
#[cfg_attr(not(all(feature = "std", any(test, fuzzing, tickwire_tape))), path = "tape/no_log.rs")]
mod log;

use crate::proto::{error::RecvError, time::Time};
pub(crate) use log::Tape;
#[cfg(feature = "std")]
pub(crate) use log::{stream_blocked, take_stream_blocked};

/// Something that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    // What the core learns.
    /// A step reached a message, a chunk or a control frame.
    Delivered,
    /// A step needs more input.
    Starved,
    /// A step found the end, or an error.
    Ended,
    /// There is something new for `step`: bytes, the end of the stream, a passed deadline.
    News,
    /// This many bytes were read; 0 for a read in vain.
    Read(usize),
    /// The caller says that a read blocked, or perhaps blocked.
    Blocked {
        surely: bool,
    },
    /// The caller says how many bytes lie unread.
    Unread,
    /// The stream accepted bytes.
    Wrote,
    /// The stream refused bytes, a flush or the shutdown.
    Refused,
    ShutDown,
    /// The caller told the time. `found`: whether a deadline on the peer's silence has passed and
    /// is not believed yet.
    Looked {
        now: Time,
        found: bool,
    },
    /// A deadline was believed.
    Verdict(RecvError),

    // What the callers are about to do.
    /// It writes. `early`: before all input is delivered, for a reason of the caller's policy.
    Writes {
        early: bool,
    },
    Reads,
    /// A read of the stream was `Pending`. `asked`: whether the stream itself was asked.
    Pending {
        asked: bool,
    },
    /// It waits for `at` too.
    Timer(Time),
    Waits(Wait),
    Over,
    /// The sending half of a split connection waits until it can write, or until this time.
    WriterWaits(Time),
    /// A call of the sending half is done. `wakes`: whether it wakes the reader.
    Sent {
        wakes: bool,
    },
}

/// What a wait names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The time at which the wait ends at the latest, besides those that were noted as `Timer`.
    pub(crate) until: Option<Time>,
    /// The wait ends at once, because the caller gives up its turn.
    pub(crate) yields: bool,
    /// The caller writes, and does not read meanwhile.
    pub(crate) flushes: bool,
}

/// The state of a connection, from its parts and not from its caller.
#[derive(Clone, Copy, Debug, Default)]
#[allow(dead_code)] // without a log nobody reads them
pub(crate) struct Facts {
    /// Whether the caller owns the sending side alone. Otherwise fed messages may wait for the
    /// other half.
    pub(crate) whole: bool,
    pub(crate) has_outgoing: bool,
    /// Whether the stream holds bytes that it has not flushed.
    pub(crate) unflushed: bool,
    pub(crate) paused: bool,
    /// Once receiving has ended: read on and discard, shut the stream, or drop it.
    pub(crate) drains: bool,
    pub(crate) shuts: bool,
    pub(crate) done: bool,
    /// Whether nothing more is received or sent.
    pub(crate) over: bool,
    pub(crate) deadline: Option<Time>,
    /// For the sending half: the time of its own deadlines.
    pub(crate) sending_deadline: Option<Time>,
    /// Whether somebody has woken the caller already.
    pub(crate) woken: bool,
}
