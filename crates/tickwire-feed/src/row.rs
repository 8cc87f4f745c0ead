//! The ends in a row that concern one thing: an address, a key, or this machine. A life that has
//! settled ends a row.
use crate::Ended;
use core::time::Duration;
use tickwire::{Retry, Time};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) ends: u32,
    /// One of them says that a person should look.
    is_grave: bool,
    began: Time,
    pub(crate) last: Time,
    pub(crate) after: Option<Ended>,
    /// No dial before, by the pace of the row.
    paced: Time,
    /// No dial before, because the server has asked for that.
    pub(crate) asked: Time,
    /// See `vouch`.
    is_vouched: bool,
}

impl Row {
    pub(crate) const NONE: Self = Self {
        ends: 0,
        is_grave: false,
        began: Time::ZERO,
        last: Time::ZERO,
        after: None,
        paced: Time::ZERO,
        asked: Time::ZERO,
        is_vouched: false,
    };

    pub(crate) fn note(&mut self, ended: Ended, asked: Duration, now: Time) {
        if self.ends == 0 {
            self.forget();
            self.began = now;
        }
        self.ends = self.ends.saturating_add(1);
        self.is_grave |= ended.retry() != Retry::BackOff;
        self.last = now;
        self.after = Some(ended);
        self.asked = self.asked.max(now + asked);
    }

    /// A later end shortens no wait.
    pub(crate) fn wait(&mut self, delay: Duration, now: Time) {
        self.paced = self.paced.max(now + delay);
    }

    /// Waits for this pace, and up to a fifth more.
    pub(crate) fn pace(&mut self, pace: Duration, draw: u64, now: Time) {
        self.wait(pace + spread(pace / 5, draw), now);
    }

    /// How long the row has lasted at its last end.
    pub(crate) fn age(&self) -> Duration {
        self.last - self.began
    }

    pub(crate) fn from(&self) -> Time {
        self.paced.max(self.asked)
    }

    /// A life has settled. One that was admitted before the last end proves nothing against it.
    pub(crate) fn settle(&mut self, admitted: Time) {
        if self.last <= admitted {
            *self = Self::NONE;
        }
    }

    /// The same, but it was of another line with the same key: that gives one try in a row.
    pub(crate) fn vouch(&mut self, admitted: Time) {
        if self.last <= admitted && !self.is_vouched {
            self.is_vouched = true;
            self.paced = Time::ZERO;
        }
    }

    /// A person says so, or the key is new. What a server asked for stays.
    pub(crate) fn forget(&mut self) {
        *self = Self { asked: self.asked, ..Self::NONE };
    }

    /// The last end, if a person should know of the row.
    pub(crate) fn alarm(&self) -> Option<Ended> {
        self.after.filter(|_| self.ends >= 2 && self.is_grave)
    }
}

/// The pace of what only people mend: 1, 2, 4, 8 and 10 s for five minutes, then a minute.
pub(crate) fn slow(ends: u32, age: Duration) -> Duration {
    match age < 5 * MINUTE {
        true => doubled(SECOND, ends).min(10 * SECOND),
        false => MINUTE,
    }
}

/// The pace of a refused key, at the line's own delay first: four tries in five minutes, 100 a day.
pub(crate) fn of_key(ends: u32) -> Duration {
    match ends {
        0 | 1 => Duration::ZERO,
        _ => doubled(MINUTE, ends - 1).min(15 * MINUTE),
    }
}

/// The pace of silence: how long after so many dials, or refusals, the next one comes.
pub(crate) fn of_silence(times: u32) -> Duration {
    doubled(SECOND, times).min(15 * MINUTE)
}

/// `first` at the first end, and twice as long at each later one.
pub(crate) fn doubled(first: Duration, ends: u32) -> Duration {
    let factor = 1_u32.checked_shl(ends.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor)
}

/// Up to this much more, by the draw.
pub(crate) fn spread(most: Duration, draw: u64) -> Duration {
    most.mul_f64((draw >> 11) as f64 / (1_u64 << 53) as f64)
}
