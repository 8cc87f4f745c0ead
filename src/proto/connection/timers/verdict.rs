//! When a deadline on the peer's silence may be believed.
//!
//! When it passes, bytes of the peer that disprove the silence may still lie unread. So it is first
//! only *found*: the connection goes on reading, and believes it once one of these is true:
//!
//! - A read blocked that began after the deadline was found. (If the caller cannot tell whether a
//!   read blocked, two that are at least [`AGAIN`] apart must seem to. One that the adapter or the
//!   stream put off did not block: see [`Blocked`].)
//! - The caller said how many bytes lay unread when the deadline was found, and so many were
//!   received.
//! - The caller did not say this, and made [`ENOUGH_READS`] reads since.
//!
//! If bytes disprove the silence first, the deadline moves, and is found again once it passes. So
//! after a program has slept, the connection first reads what the peer sent meanwhile. A flood of
//! bytes that does not disprove the silence (such as Pings, if data is awaited) delays an error by
//! at most `ENOUGH_READS` reads.
use super::Receiver;
use crate::proto::{error::RecvError, time::Time};
use core::time::Duration;

/// With 16 KiB each, these reads take more bytes than a socket's receive buffer holds (6 MiB on
/// Linux).
const ENOUGH_READS: u32 = 1024;

/// How much later a caller that does not say whether its reads block has to tell the time again.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// After a read that perhaps blocked, another counts only so much later. A read is put off while
/// another task holds the stream's lock, and two quick ones may be by the same call of that task,
/// so they prove no more than one. Tasks hold the lock for far less: only during a call that never
/// waits.
const AGAIN: Duration = Duration::from_millis(10);

/// Who kept a read from bringing bytes, as all adapters report once a deadline was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The stream: it has nothing to read.
    Surely,
    /// At this time, perhaps the stream, and perhaps the runtime's budget or a lock.
    Perhaps(Time),
    /// We ourselves: the adapter or the stream ended the read early, to let others go on. It shows
    /// nothing.
    PutOff,
}

#[derive(Debug)]
pub(super) struct PassedDeadline {
    pub(super) error: RecvError,
    /// A read that perhaps blocked counts from now on: when the deadline was found, later [`AGAIN`]
    /// after the last one that counted.
    pub(super) at: Time,
    /// By the caller, last.
    pub(super) told: Time,
    /// [`Receiver::reads`] when the deadline was found.
    reads: u32,
    /// A read has perhaps blocked since.
    doubted: bool,
    /// A read surely blocked since, or two perhaps.
    blocked: bool,
    /// Bytes received when the deadline was found.
    total: u64,
    /// Bytes unread at that time, if the caller reported it.
    unread: Option<u64>,
}

impl PassedDeadline {
    pub(super) fn new(error: RecvError, at: Time, rx: &Receiver) -> Self {
        let reads = rx.reads();
        let total = rx.total();
        Self { error, at, told: at, reads, doubted: false, blocked: false, total, unread: None }
    }

    /// The read must have begun after the deadline was found.
    pub(super) fn read_blocked(&mut self, blocked: Blocked) {
        match blocked {
            Blocked::Surely => self.blocked = true,
            Blocked::Perhaps(now) if now >= self.at => {
                // Even if bytes came between the two reads: otherwise a program that reads seldom,
                // and finds a Ping each time, would never get the error.
                self.blocked |= self.doubted;
                self.doubted = true;
                self.at = now + AGAIN;
            }
            Blocked::Perhaps(_) | Blocked::PutOff => {}
        }
    }

    pub(super) fn set_unread(&mut self, bytes: u64) {
        // Only the first is from the time at which `total` was stored.
        self.unread.get_or_insert(bytes);
    }

    pub(super) fn is_believed(&self, rx: &Receiver) -> bool {
        let read = match self.unread {
            Some(unread) => rx.total().wrapping_sub(self.total) >= unread,
            None => rx.reads().wrapping_sub(self.reads) >= ENOUGH_READS,
        };
        read || self.blocked
    }
}
