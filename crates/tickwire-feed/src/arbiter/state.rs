//! The state of an `Arbiter`, of each line, and of each kept message.
use crate::{Gap, Why};
use tickwire::Time;

/// The arbiter's record of a `Line`. The numbers of a line ascend, so it has passed all numbers
/// from `began` to before `end`.
#[derive(Clone, Copy, Default)]
pub(super) struct Source {
    pub(super) is_open: bool,
    /// The line's first number since it was opened or went back. A line whose first message was
    /// `Next` has what the feed waited for when the line was opened, which is not above its first
    /// number.
    pub(super) began: u64,
    /// The line's last number + 1, or 0 before its first message.
    pub(super) end: u64,
    /// The number of kept messages that this line brought.
    pub(super) kept: usize,
}

impl Source {
    /// Whether the line brought this number, or passed it without bringing it.
    pub(super) const fn has_passed(&self, number: u64) -> bool {
        self.began <= number && number < self.end
    }

    pub(super) const fn shares_a_number(&self, other: &Self) -> bool {
        self.began < other.end && other.began < self.end
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not synchronised: messages are kept, and none is delivered.
    Start,
    /// As `Start`, but `poll` returns `Event::Restart` once a message has arrived.
    Restarted,
    /// This gap is lost, and `poll` has reported the gap: messages are kept, and none is delivered.
    Lost(Gap),
    /// The next offered message is the first of the feed, whatever its number.
    Any,
    /// Synchronised: messages are delivered in order.
    Synced,
}

pub(super) struct Kept<T> {
    pub(super) first: u64,
    /// The message's last number + 1.
    pub(super) end: u64,
    /// The earliest arrival time of this message and of the messages kept behind it. A gap just
    /// before this message was found at this time.
    pub(super) since: Time,
    /// The index of an open line that brought the message.
    pub(super) line: usize,
    pub(super) bytes: usize,
    pub(super) message: T,
}

/// Since when an open line is ahead of the feed by numbers that are not kept, and what is known of
/// the reason.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) since: Time,
    /// The numbers of refused and dropped messages lie from `first` to before `end`.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) why: Why,
}

/// A line may count anew, because its numbers are below the feed's last number.
#[derive(Clone, Copy)]
pub(super) struct Anew {
    pub(super) since: Time,
    /// False if the only reason is that the feed's first number was believed, whatever it was.
    pub(super) is_sure: bool,
}
