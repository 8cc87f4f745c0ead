use crate::{Gap, Why};
use tickwire::Time;

/// A line's numbers ascend, so it has passed all from `began` to before `end`.
#[derive(Clone, Copy, Default)]
pub(super) struct Source {
    pub(super) is_open: bool,
    /// Its first number since it was opened or went back.
    pub(super) began: u64,
    /// The last number + 1, or 0 before the first message.
    pub(super) end: u64,
    /// The messages that this line brought.
    pub(super) kept: usize,
}

impl Source {
    /// Even without bringing it.
    pub(super) const fn has_passed(&self, number: u64) -> bool {
        self.began <= number && number < self.end
    }

    pub(super) const fn shares_a_number(&self, other: &Self) -> bool {
        self.began < other.end && other.began < self.end
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Messages are kept, and none is delivered.
    Start,
    /// As `Start`, but `poll` returns `Event::Restart` once a message has arrived.
    Restarted,
    /// This gap is lost and reported: messages are kept, and none is delivered.
    Lost(Gap),
    /// The next message is the first of the feed, whatever its number.
    Any,
    /// Messages are delivered in order.
    Synced,
}

pub(super) struct Kept<T> {
    pub(super) first: u64,
    /// The last number + 1.
    pub(super) end: u64,
    /// The earliest arrival of this message and of those kept behind it: when a gap just before it
    /// was found.
    pub(super) since: Time,
    /// An open line that brought the message.
    pub(super) line: usize,
    pub(super) bytes: usize,
    pub(super) message: T,
}

/// An open line is ahead of the feed by numbers that are not kept.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) since: Time,
    /// Their numbers lie from `first` to before `end`.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) why: Why,
}

/// A line may count anew, because its numbers are below the feed's last.
#[derive(Clone, Copy)]
pub(super) struct Anew {
    pub(super) found: Time,
    /// When it was found, or its line was late last.
    pub(super) since: Time,
    /// `false` if the only reason is that the feed's first number was believed, whatever it was.
    pub(super) is_sure: bool,
}
