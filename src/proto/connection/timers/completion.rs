//! The deadlines on a frame, and on a message, that has begun and is not complete. They end a peer
//! that holds a connection by sending a byte now and then.
use super::{Receiver, looks::SHORTEST};
use crate::proto::{connection::Unfinished, time::Time};
use core::time::Duration;

/// Bytes per second. Each received byte puts the deadline off by the time that it takes at this
/// rate, so that a peer on a slow line gets the time that it needs.
const LEAST_RATE: u64 = 16 << 10;

/// A message gets this many times `frame_timeout`, because its sender may wait between frames.
const SEVERAL: u32 = 10;

/// The time is told at least so often within `frame_timeout`. If it is told later, the program
/// slept, and our buffers may have been full, so that the peer could not send. So only one such
/// part counts then.
const TIMES_TOLD: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Completion {
    /// [`Config::frame_timeout`](crate::Config::frame_timeout).
    timeout: Duration,
    /// When the caller last told a time. `None` if nothing was unfinished then.
    told: Option<Time>,
    frame: Left,
    message: Left,
}

/// The time that is left to a frame or message.
#[derive(Debug, Default)]
struct Left {
    /// Where it began, if there is one.
    of: Option<u64>,
    left: Duration,
    /// The count of its bytes when `left` was last computed.
    bytes: Option<u64>,
}

impl Completion {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, ..Self::default() }
    }

    pub(super) fn restart(&mut self) {
        *self = Self::new(self.timeout);
    }

    /// Whether a complete frame or message is awaited.
    pub(super) fn is_awaited(&self, rx: &Receiver) -> bool {
        self.told.is_some() && rx.unfinished().is_some()
    }

    /// Leaves out a pause of reading.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.told = self.told.map(|told| told + by);
    }

    /// When the caller has to tell the time: at once if something has begun since the last time.
    pub(super) fn next(&self, rx: &Receiver) -> Option<Time> {
        let Unfinished { frame, message } = rx.unfinished()?;
        let known = self.told.filter(|_| (self.frame.of, self.message.of) == (frame, message));
        let left = [&self.frame, &self.message].map(|it| it.of.map_or(Duration::MAX, |_| it.left));
        Some(known.map_or(Time::ZERO, |told| told + left[0].min(left[1]).min(self.part())))
    }

    /// Counts the time since the last call, and the bytes received. Returns whether no time is
    /// left.
    pub(super) fn passed(&mut self, now: Time, rx: &Receiver) -> bool {
        let Some(Unfinished { frame, message }) = rx.unfinished() else {
            self.told = None;
            return false;
        };
        let past = self.told.map_or(Duration::ZERO, |told| (now - told).min(self.part()));
        self.told = Some(now);
        // All bytes behind the start of an unfinished frame are its own. Those of a message are
        // payloads of data frames alone: Pings between its frames give it no time.
        let of_frame = self.frame.passed(frame, self.timeout, past, Some(rx.total()));
        let whole = self.timeout.saturating_mul(SEVERAL);
        self.message.passed(message, whole, past, rx.data_mark()) || of_frame
    }

    fn part(&self) -> Duration {
        (self.timeout / TIMES_TOLD).max(SHORTEST)
    }
}

impl Left {
    fn passed(
        &mut self,
        of: Option<u64>,
        whole: Duration,
        past: Duration,
        bytes: Option<u64>,
    ) -> bool {
        if self.of != of {
            *self = Self { of, left: whole, bytes };
            return false;
        }
        if let (Some(before), Some(bytes)) = (self.bytes, bytes) {
            self.left = self.left.saturating_add(time_of(bytes.wrapping_sub(before)));
        }
        self.bytes = bytes.or(self.bytes);
        self.left = self.left.saturating_sub(past);
        of.is_some() && self.left.is_zero()
    }
}

/// The time that this many bytes take at `LEAST_RATE`.
fn time_of(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(15_625) / (LEAST_RATE / 64))
}
