//! The deadlines on an incomplete frame and on an incomplete message. They stop a peer that holds a
//! connection open by sending a byte now and then.
use super::{Receiver, looks::SHORTEST};
use crate::proto::{connection::Unfinished, time::Time};
use core::time::Duration;

/// A rate in bytes per second. Each received byte extends the deadline by the time that a byte
/// takes at this rate. So a peer on a slow line has enough time.
const LEAST_RATE: u64 = 16 << 10;

/// A message gets this many times `frame_timeout`, because its sender may wait between frames.
const SEVERAL: u32 = 10;

/// The caller has to tell the time at least this many times within `frame_timeout`. If the caller
/// is late, the program slept, and full buffers may have kept the peer from sending. So the time
/// since the caller last told the time counts as at most a quarter of `frame_timeout`.
const TIMES_TOLD: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Completion {
    /// [`Config::frame_timeout`](crate::Config::frame_timeout).
    timeout: Duration,
    /// When the caller last told a time. `None` if no frame or message was unfinished at that time.
    told: Option<Time>,
    frame: Left,
    message: Left,
}

/// The time that is left to complete a frame or message.
#[derive(Debug, Default)]
struct Left {
    /// The position at which the frame or message began; `None` if there is none.
    of: Option<u64>,
    left: Duration,
    /// The count of bytes when `left` was last computed: for a frame, the number of all received
    /// bytes; for a message, the `data_mark`.
    bytes: Option<u64>,
}

impl Completion {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, ..Self::default() }
    }

    pub(super) fn restart(&mut self) {
        *self = Self::new(self.timeout);
    }

    /// Whether the deadline on a frame or message runs.
    pub(super) fn is_awaited(&self, rx: &Receiver) -> bool {
        self.told.is_some() && rx.unfinished().is_some()
    }

    /// Moves the deadlines by the length of a pause of reading.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.told = self.told.map(|told| told + by);
    }

    /// When to call `passed` next: at once if a frame or message has begun since the last call.
    pub(super) fn next(&self, rx: &Receiver) -> Option<Time> {
        let Unfinished { frame, message } = rx.unfinished()?;
        // The minimum includes `part`, because `passed` counts at most this time between two calls.
        let known = self.told.filter(|_| (self.frame.of, self.message.of) == (frame, message));
        let left = [&self.frame, &self.message].map(|it| it.of.map_or(Duration::MAX, |_| it.left));
        Some(known.map_or(Time::ZERO, |told| told + left[0].min(left[1]).min(self.part())))
    }

    /// Counts the time and the bytes since the last call. Returns whether no time is left.
    pub(super) fn passed(&mut self, now: Time, rx: &Receiver) -> bool {
        let Some(Unfinished { frame, message }) = rx.unfinished() else {
            self.told = None;
            return false;
        };
        let past = self.told.map_or(Duration::ZERO, |told| (now - told).min(self.part()));
        self.told = Some(now);
        // All bytes after the start of an incomplete frame belong to the frame. Only payloads of
        // data frames belong to a message, so Pings between the frames of a message do not extend
        // its time.
        let of_frame = self.frame.passed(frame, self.timeout, past, Some(rx.total()));
        let whole = self.timeout.saturating_mul(SEVERAL);
        // `of_frame` comes last, because both deadlines must be updated at each call, and `||` may
        // skip its second operand.
        self.message.passed(message, whole, past, rx.data_mark()) || of_frame
    }

    /// The time between two calls of `passed` counts only up to this length.
    fn part(&self) -> Duration {
        (self.timeout / TIMES_TOLD).max(SHORTEST)
    }
}

impl Left {
    /// If the frame or message at position `of` is new, gives it the time `whole`. Otherwise adds
    /// time for the bytes since the last call, if their number is known, and then subtracts `past`.
    /// Returns whether no time is left.
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
        // Time is added first, because the subtraction stops at zero. In the other order, a part of
        // `past` could be lost, and the peer would get too much time.
        if let (Some(before), Some(bytes)) = (self.bytes, bytes) {
            self.left = self.left.saturating_add(time_of(bytes.wrapping_sub(before)));
        }
        // If `bytes` is `None`, a later call adds the time for the bytes of both calls.
        self.bytes = bytes.or(self.bytes);
        self.left = self.left.saturating_sub(past);
        of.is_some() && self.left.is_zero() // Without a frame or message, `left` has no meaning.
    }
}

/// The time that this many bytes take at `LEAST_RATE`. (15,625 is a 64th of the microseconds of a
/// second. With 1,000,000 and `LEAST_RATE`, the product would saturate 64 times sooner.)
fn time_of(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(15_625) / (LEAST_RATE / 64))
}
