//! When a deadline on the peer's silence may be believed.
//!
//! When a deadline of this kind passes, bytes of the peer may still lie unread. These bytes would
//! disprove the silence. So a passed deadline is first only *found*. The connection goes on
//! reading, and believes the deadline once one of these is true:
//!
//! - A read blocked, and this read began after the deadline was found. (If the caller cannot tell
//!   whether a read blocked, two reads that are at least [`AGAIN`] apart must seem to block. A read
//!   that the adapter or the stream put off did not block: see [`Blocked`].)
//! - The caller said how many bytes lay unread when the deadline was found, and this number of
//!   bytes was received.
//! - The caller did not say this number, and made [`ENOUGH_READS`] reads since the deadline was
//!   found.
//!
//! If bytes disprove the silence first, the deadline moves, and is found again once it passes. So
//! after a program has slept, the connection first reads what the peer sent during the sleep, and
//! only then believes a deadline. A flood of bytes that does not disprove the silence (such as
//! Pings, if data is awaited) delays an error by at most `ENOUGH_READS` reads.
use super::Receiver;
use crate::proto::{error::RecvError, time::Time};
use core::time::Duration;

/// The number of reads after which a found deadline is believed, although no read has blocked. With
/// 16 KiB each, these reads take more bytes than a socket's receive buffer holds (6 MiB on Linux).
const ENOUGH_READS: u32 = 1024;

/// If a caller does not say whether its reads block, it has to tell the time again this much later.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// After a read that perhaps blocked, another read of this kind counts only this much later. A read
/// is postponed while another task holds the stream's lock. Two quick reads may be postponed by the
/// same call of that task, so they prove no more than one read. Tasks hold the lock for far less
/// than `AGAIN`: only during a call that never waits.
const AGAIN: Duration = Duration::from_millis(10);

/// Who kept a read from bringing bytes. All adapters report this for each such read, once a
/// deadline was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The stream: it has nothing to read.
    Surely,
    /// At this time, perhaps the stream, and perhaps the runtime's budget or a lock.
    Perhaps(Time),
    /// We ourselves: the adapter or the stream ended the read early, to let others go on. The read
    /// shows nothing.
    PutOff,
}

/// A deadline that has passed, and is not believed yet.
#[derive(Debug)]
pub(super) struct PassedDeadline {
    /// The error that the connection fails with once the deadline is believed.
    pub(super) error: RecvError,
    /// A read that perhaps blocked counts only at this time or later. At first this is the time at
    /// which the deadline was found; later it is [`AGAIN`] after the last read that counted.
    pub(super) at: Time,
    /// The time that the caller told last.
    pub(super) told: Time,
    /// The value of [`Receiver::reads`] when the deadline was found.
    reads: u32,
    /// Whether a read has perhaps blocked since the deadline was found.
    doubted: bool,
    /// Whether a read surely blocked since the deadline was found, or two reads perhaps blocked.
    blocked: bool,
    /// The number of bytes received when the deadline was found.
    total: u64,
    /// The number of bytes that lay unread when the deadline was found, if the caller reported it.
    unread: Option<u64>,
}

impl PassedDeadline {
    pub(super) fn new(error: RecvError, at: Time, rx: &Receiver) -> Self {
        let (reads, total) = (rx.reads(), rx.total());
        Self { error, at, told: at, reads, doubted: false, blocked: false, total, unread: None }
    }

    /// Records who kept a read from bringing bytes. The read must have begun after the deadline was
    /// found.
    pub(super) fn read_blocked(&mut self, blocked: Blocked) {
        match blocked {
            Blocked::Surely => self.blocked = true,
            Blocked::Perhaps(now) if now >= self.at => {
                // The second read that perhaps blocked counts even if bytes came between the two
                // reads. Otherwise a program that reads seldom, and finds a Ping each time, would
                // never get the error.
                self.blocked |= self.doubted;
                (self.doubted, self.at) = (true, now + AGAIN);
            }
            Blocked::Perhaps(_) | Blocked::PutOff => {}
        }
    }

    pub(super) fn set_unread(&mut self, bytes: u64) {
        // Later reports are ignored: only the first is from the time at which `total` was stored.
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
