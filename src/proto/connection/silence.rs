//! The deadline on data from the peer. It finds a peer that sends no more data, even if its control
//! frames still arrive.
//!
//! The length of a pause of reading is not measured here: adapters pause reading whenever a `send`
//! waits, and would have to read the clock each time. So a short pause may count as silence, but
//! bytes that came during the pause are read before the silence is judged. After a longer pause the
//! next look is late, and `is_over` does not count the pause as silence.
use super::{
    Receiver,
    looks::{LOOKS, SHORTEST},
};
use crate::proto::time::Time;
use core::time::Duration;

/// Measures how long no data has come.
#[derive(Debug)]
pub(super) struct Silence {
    timeout: Duration,
    /// The last look; `None` until the caller has told a time.
    last: Option<Look>,
    /// Whether reading was paused since data last came. If so, unread data may be in the stream.
    paused: bool,
    /// `Some` if the deadline has passed, but unread data may be in the stream. The value is the
    /// time of the look that decides. If that look is late by more than the time between looks, the
    /// look after it decides.
    decided: Option<Time>,
}

#[derive(Debug)]
struct Look {
    at: Time,
    /// [`Receiver::data_mark`] at this look.
    mark: Option<u64>,
    /// When the silence began: the time of the look that last found data, moved by long pauses.
    since: Time,
}

impl Silence {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout: timeout.max(SHORTEST), last: None, paused: false, decided: None }
    }

    /// The time from one look to the next.
    pub(super) fn between_looks(&self) -> Duration {
        self.timeout / LOOKS
    }

    pub(super) fn restart(&mut self) {
        (self.last, self.decided) = (None, None);
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Returns when to look next. `busy`: whether other input keeps coming.
    pub(super) fn next(&self, busy: bool) -> Time {
        let Some(last) = &self.last else { return Time::ZERO };
        let deadline = last.since + self.timeout;
        let decided = self.decided.filter(|_| busy || self.paused);
        decided.unwrap_or_else(|| (last.at + self.between_looks()).min(deadline))
    }

    /// Looks whether data came. Returns `true` if no data came for too long. `busy`: whether other
    /// input keeps coming. If `busy`, or after a pause of reading, unread data may be in the
    /// stream. So one more look has to decide.
    pub(super) fn is_over(&mut self, now: Time, rx: &Receiver, busy: bool) -> bool {
        let (due, pause) = (self.next(busy), self.between_looks());
        let mark = rx.data_mark();
        let Some(last) = &mut self.last else {
            self.last = Some(Look { at: now, mark, since: now });
            return false;
        };
        if now < due {
            return false;
        }
        let before = core::mem::replace(&mut last.at, now);
        if mark.is_none() || mark != last.mark {
            (last.mark, last.since) = (mark, now);
            (self.paused, self.decided) = (false, None);
            return false;
        }
        if self.paused && now > due + pause {
            // This look is late by more than the time between looks, so the pause was long. The
            // time since the previous look does not count as silence.
            last.since = last.since + (now - before);
            (self.paused, self.decided) = (false, None);
        }
        if now < last.since + self.timeout {
            return false;
        }
        let in_time = self.decided.is_some_and(|at| now <= at + pause);
        if in_time || !(busy || self.paused) {
            return true;
        }
        self.decided = Some(now + pause);
        false
    }
}
