//! The deadlines on an incomplete frame and message, against a peer that holds a connection open by
//! sending a byte now and then.
use super::Receiver;
use crate::proto::{
    connection::{Unfinished, looks::part},
    time::Time,
};
use core::time::Duration;

/// The rate of the slowest line that is given enough time, in bytes per second. Each received byte
/// extends the deadline by the time that it takes at this rate.
const LEAST_RATE: u64 = 16 << 10;

/// Times `frame_timeout` for a message, because its sender may wait between frames.
const SEVERAL: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Completion {
    /// [`Config::frame_timeout`](crate::Config::frame_timeout).
    timeout: Duration,
    /// `None` if no frame or message was unfinished at that time.
    told: Option<Time>,
    frame: Left,
    message: Left,
}

/// Time to complete a frame or message.
#[derive(Debug, Default)]
struct Left {
    /// Where it began; `None` if there is none.
    of: Option<u64>,
    left: Duration,
    /// When `left` was last computed: for a frame, all received bytes; for a message, the
    /// `data_mark`.
    bytes: Option<u64>,
}

impl Completion {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, ..Self::default() }
    }

    pub(super) fn restart(&mut self) {
        *self = Self::new(self.timeout);
    }

    pub(super) fn is_awaited(&self, rx: &Receiver) -> bool {
        self.told.is_some() && rx.unfinished().is_some()
    }

    pub(super) fn put_off(&mut self, by: Duration) {
        self.told = self.told.map(|told| told + by);
    }

    /// When to call again: at once if a frame or message has begun since the last call.
    pub(super) fn next(&self, rx: &Receiver) -> Option<Time> {
        let Unfinished { frame, message } = rx.unfinished()?;
        // With `part`, because `passed` counts at most this time between two calls.
        let known = self.told.filter(|_| (self.frame.of, self.message.of) == (frame, message));
        let left = [&self.frame, &self.message].map(|it| it.of.map_or(Duration::MAX, |_| it.left));
        Some(known.map_or(Time::ZERO, |told| told + left[0].min(left[1]).min(part(self.timeout))))
    }

    pub(super) fn passed(&mut self, now: Time, rx: &Receiver) -> bool {
        let Some(Unfinished { frame, message }) = rx.unfinished() else {
            self.told = None;
            return false;
        };
        let past = self.told.map_or(Duration::ZERO, |told| (now - told).min(part(self.timeout)));
        self.told = Some(now);
        // All bytes after the start of an incomplete frame belong to it, but only payloads of data
        // frames to a message: Pings between its frames do not extend its time.
        let of_frame = self.frame.passed(frame, self.timeout, past, Some(rx.total()));
        let whole = self.timeout.saturating_mul(SEVERAL);
        // `of_frame` last, because both must be updated at each call, and `||` may skip its second
        // operand.
        self.message.passed(message, whole, past, rx.data_mark()) || of_frame
    }
}

impl Left {
    /// A new frame or message, at position `of`, gets the time `whole`. Otherwise the bytes since
    /// the last call add time, if their number is known, and `past` is subtracted. `true` if none
    /// is left.
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
        // First, because the subtraction stops at zero: a part of `past` could be lost, and the
        // peer would get too much time.
        if let (Some(before), Some(bytes)) = (self.bytes, bytes) {
            self.left = self.left.saturating_add(time_of(bytes.wrapping_sub(before)));
        }
        // If `bytes` is `None`, a later call adds the time for the bytes of both.
        self.bytes = bytes.or(self.bytes);
        self.left = self.left.saturating_sub(past);
        of.is_some() && self.left.is_zero() // Without a frame or message, `left` has no meaning.
    }
}

/// How long these bytes take at `LEAST_RATE`. (15,625 is a 64th of the microseconds of a second:
/// with 1,000,000 and `LEAST_RATE`, the product would saturate 64 times sooner.)
fn time_of(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(15_625) / (LEAST_RATE / 64))
}
