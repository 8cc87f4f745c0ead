//! The deadline on data from the peer: a peer whose Pings arrive, and no message, is a feed that has died.
use super::Receiver;
use crate::proto::time::Time;
use core::time::Duration;

/// How often per timeout to look whether data came, so that nothing is noted for a message. The deadline is
/// thus up to a fifth late.
const LOOKS: u32 = 5;
/// A shorter timeout counts as this one, so that other work gets done between looks.
const SHORTEST: Duration = Duration::from_millis(5);

/// How long no data came, of a connection whose reading is not paused.
#[derive(Debug)]
pub(super) struct Silence {
    timeout: Duration,
    /// `None` before a time was told.
    last: Option<Look>,
    /// Reading was paused since the last look, so that the time since proves nothing.
    paused: bool,
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
        Self { timeout: timeout.max(SHORTEST), last: None, paused: false }
    }

    /// How long until the next look.
    pub(super) fn between_looks(&self) -> Duration {
        self.timeout / LOOKS
    }

    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// When to look next.
    pub(super) fn next(&self) -> Time {
        self.last.as_ref().map_or(Time::ZERO, |last| {
            (last.at + self.between_looks()).min(last.since + self.timeout)
        })
    }

    /// Looks whether data came; says whether it has not for too long. `busy`: other input keeps coming, so
    /// that there may be data behind it. Then the time that nobody looked for does not count: a caller who was
    /// slow has not read what arrived meanwhile.
    pub(super) fn is_over(&mut self, now: Time, rx: &Receiver, busy: bool) -> bool {
        let due = self.next();
        let pause = self.between_looks();
        let mark = rx.data_mark();
        let Some(last) = &mut self.last else {
            self.last = Some(Look { at: now, mark, since: now });
            return false;
        };
        if now < due {
            return false;
        }
        if mark.is_none() || mark != last.mark {
            last.since = now;
        } else if self.paused || (busy && now > due + pause) {
            last.since = last.since + (now - last.at);
        }
        self.paused = false;
        (last.at, last.mark) = (now, mark);
        now >= last.since + self.timeout
    }
}
