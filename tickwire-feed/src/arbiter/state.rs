//! The state of an `Arbiter`, of each line, and of each kept message.
use crate::Gap;
use tickwire::Time;

/// The arbiter's record of a `Line`.
#[derive(Default)]
pub(super) struct Source {
    pub(super) is_open: bool,
    /// The line's last number + 1, or 0 before its first message.
    pub(super) end: u64,
    /// How many messages of this line are kept.
    pub(super) kept: usize,
    /// The numbers of the line's last messages that were not kept. Not valid if the line has gone
    /// back: `refused.end > end`.
    pub(super) refused: Option<Refused>,
}

/// Numbers that came and were not kept. All these numbers lie in `lowest..end`.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) lowest: u64,
    /// The last number + 1.
    pub(super) end: u64,
    /// When the first of these numbers came.
    pub(super) since: Time,
}

impl Refused {
    /// Merges two ranges of refused numbers. `within` is the highest `end` within reach. If only
    /// one range is within reach, the result is this range, so that a jump beyond reach does not
    /// hide it.
    pub(super) fn both(one: Option<Self>, other: Option<Self>, within: u64) -> Option<Self> {
        one.into_iter().chain(other).reduce(|a, b| match (a.end <= within, b.end <= within) {
            (true, false) => a,
            (false, true) => b,
            _ => Self {
                lowest: a.lowest.min(b.lowest),
                end: a.end.max(b.end),
                since: a.since.min(b.since),
            },
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not synchronised: every message is kept.
    Start,
    /// Not synchronised, and `poll` still has to tell the caller so, once a message has come.
    Restarted,
    /// This gap is lost, and `poll` has reported it: every message is kept.
    Lost(Gap),
    /// The next offered message is the first of the feed, whatever its number.
    Any,
    /// In sync.
    Synced,
}

pub(super) struct Kept<T> {
    pub(super) first: u64,
    /// The message's last number + 1.
    pub(super) end: u64,
    /// When this number or a higher number first came.
    pub(super) since: Time,
    /// The index of the line that brought the message.
    pub(super) line: usize,
    pub(super) message: T,
}
