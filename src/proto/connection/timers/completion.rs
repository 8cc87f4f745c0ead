//! The deadline on a frame, or on a message of several frames, that has begun and is not complete.
//! It ends a peer that holds a connection by sending a byte now and then.
use super::Receiver;
use crate::proto::{connection::Unfinished, time::Time};
use core::{mem, time::Duration};

/// Bytes per second. Each received byte puts the deadline off by the time that it takes at this
/// rate, so that a peer on a slow line gets the time that it needs.
const LEAST_RATE: u64 = 16 << 10;

/// A message of several frames gets this many times `frame_timeout`, because its sender may wait
/// between frames. The time starts anew at most so often.
const SEVERAL: u8 = 10;

#[derive(Debug)]
pub(super) struct Completion {
    /// [`Config::frame_timeout`](crate::Config::frame_timeout).
    timeout: Duration,
    /// `None` until the caller tells a time after the first byte.
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    of: Unfinished,
    until: Time,
    /// The number of bytes received when `until` was last computed.
    total: u64,
    /// Whether the deadline passed while the program slept: see [`Completion::passed`].
    slept: bool,
    /// How often the time has started anew.
    anew: u8,
}

impl Completion {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, armed: None }
    }

    pub(super) fn restart(&mut self) {
        self.armed = None;
    }

    /// Whether a complete frame or message is awaited.
    pub(super) fn is_awaited(&self, rx: &Receiver) -> bool {
        self.armed.is_some() && rx.unfinished().is_some()
    }

    /// Moves the deadline by the length of a pause of reading.
    pub(super) fn put_off(&mut self, by: Duration) {
        if let Some(armed) = &mut self.armed {
            armed.until = armed.until + by;
        }
    }

    pub(super) fn next(&self, rx: &Receiver) -> Option<Time> {
        let of = rx.unfinished()?;
        let armed = self.armed.as_ref().filter(|armed| armed.of == of);
        Some(armed.map_or(Time::ZERO, |armed| armed.until))
    }

    /// Arms the deadline, or moves it by the bytes received. Returns whether it has passed.
    ///
    /// If the deadline is found late, the program slept. Meanwhile our buffers may have been full,
    /// so that the peer could not send. So if bytes arrive after all, the time starts anew.
    pub(super) fn passed(&mut self, now: Time, rx: &Receiver) -> bool {
        let Some(of) = rx.unfinished() else {
            self.armed = None;
            return false;
        };
        let times = if of.several { SEVERAL } else { 1 };
        let (total, whole) = (rx.total(), now + self.timeout.saturating_mul(times.into()));
        let Some(armed) = self.armed.as_mut().filter(|armed| armed.of == of) else {
            self.armed = Some(Armed { of, until: whole, total, slept: false, anew: 0 });
            return false;
        };
        let bytes = total.wrapping_sub(mem::replace(&mut armed.total, total));
        armed.until = armed.until + time_of(bytes);
        if bytes > 0 && mem::take(&mut armed.slept) && armed.anew < SEVERAL {
            armed.until = whole;
            armed.anew += 1;
        }
        armed.slept |= now - armed.until > self.timeout / 64;
        now >= armed.until
    }
}

/// The time that this many bytes take at `LEAST_RATE`.
fn time_of(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(15_625) / (LEAST_RATE / 64))
}
