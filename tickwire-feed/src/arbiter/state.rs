//! The state of an `Arbiter`, of each line, and of each kept message.
use crate::Gap;
use tickwire::Time;

/// The arbiter's record of a `Line`.
#[derive(Default)]
pub(super) struct Source {
    pub(super) is_open: bool,
    /// The line's last number + 1, or 0 before its first message.
    pub(super) end: u64,
    /// The number of kept messages that this line brought.
    pub(super) kept: usize,
    /// The numbers of the line's latest messages that were not kept. If `refused.end > end`, the
    /// line has since gone back to lower numbers, and these numbers do not count.
    pub(super) refused: Option<Refused>,
}

impl Source {
    /// `refused`, if these numbers count.
    pub(super) fn counted(&self) -> Option<Refused> {
        self.refused.filter(|refused| refused.end <= self.end)
    }
}

/// Numbers that arrived and were not kept. All these numbers lie in `lowest..end`.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) lowest: u64,
    /// The last number + 1.
    pub(super) end: u64,
    /// When the first of these numbers arrived.
    pub(super) since: Time,
}

impl Refused {
    /// Merges two ranges of refused numbers. `within` is the highest `end` within reach. If only
    /// one range is within reach, the result is this range, so that wrong numbers beyond reach do
    /// not hide it.
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
    /// Not synchronised: messages are kept, and none is delivered.
    Start,
    /// As `Start`, but `poll` still has to return `Event::Restart`, once a message has arrived.
    Restarted,
    /// This gap is lost, and `poll` has reported the gap: messages are kept, and none is delivered.
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
    /// When this number or a higher number first arrived.
    pub(super) since: Time,
    /// The index of the line that brought the message.
    pub(super) line: usize,
    pub(super) message: T,
}
