//! The deadline on data from the peer: a peer whose Pings arrive, and no message, is a feed that
//! has died.
//!
//! Pauses of reading work differently here. `Pause` in `timers.rs` must be told the time when a
//! pause begins and when it ends. Sends pause often and briefly, and should not read the clock for
//! that. A moment may count here: what came meanwhile is read before the silence is judged. A longer
//! pause shows by a look that is late.
use super::{
    Receiver,
    looks::{LOOKS, SHORTEST},
};
use crate::proto::time::Time;
use core::time::Duration;

/// How long no data came.
#[derive(Debug)]
pub(super) struct Silence {
    timeout: Duration,
    /// `None` before a time was told.
    last: Option<Look>,
    /// Reading was paused since data came: what came meanwhile may lie in the stream.
    paused: bool,
    /// The deadline has passed in doubt, and the next look, if it comes in time, decides.
    decided: Option<Time>,
}

#[derive(Debug)]
struct Look {
    at: Time,
    /// What was received by then: [`Receiver::data_mark`].
    mark: Option<u64>,
    /// From when on the silence counts.
    since: Time,
}

impl Silence {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout: timeout.max(SHORTEST), last: None, paused: false, decided: None }
    }

    /// How long until the next look.
    pub(super) fn between_looks(&self) -> Duration {
        self.timeout / LOOKS
    }

    pub(super) fn restart(&mut self) {
        (self.last, self.decided) = (None, None);
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// When to look next. `busy`: if other input keeps coming.
    pub(super) fn next(&self, busy: bool) -> Time {
        let Some(last) = &self.last else { return Time::ZERO };
        let deadline = last.since + self.timeout;
        let decided = self.decided.filter(|_| busy || self.paused);
        decided.unwrap_or_else(|| (last.at + self.between_looks()).min(deadline))
    }

    /// Looks whether data came; says whether it has not for too long. `busy`: other input keeps
    /// coming, so that there may be data behind it. Then, and where reading was paused, nothing is
    /// decided before a look more: a caller who was slow has not read what arrived meanwhile.
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
            // Not for a moment: the time does not count.
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
