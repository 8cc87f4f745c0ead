//! The types that go into an `Arbiter`, and the types that come out.
#[cfg(doc)]
use crate::Arbiter;
use core::ops::RangeInclusive;
use tickwire::Time;

/// A line of an [`Arbiter`]: one connection, from [`open`](Arbiter::open) to
/// [`close`](Arbiter::close).
#[derive(Debug, PartialEq, Eq)]
pub struct Line(pub(crate) usize);

/// The sequence numbers that a message stands for: one (`7.into()`), or a range (`(5..=9).into()`),
/// such as the fields `U` to `u` of Binance's order book updates.
///
/// A message is delivered even if only a part of its range is new, because an update of an order
/// book holds the book's newest state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The first number.
    pub first: u64,
    /// The last number, not less than the first, and less than `u64::MAX`.
    pub last: u64,
}

impl From<u64> for Numbers {
    #[inline]
    fn from(number: u64) -> Self {
        Self { first: number, last: number }
    }
}

impl From<RangeInclusive<u64>> for Numbers {
    #[inline]
    fn from(numbers: RangeInclusive<u64>) -> Self {
        let (first, last) = numbers.into_inner();
        Self { first, last }
    }
}

/// The decision about a message that was [offered](Arbiter::offer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The message is the next of the feed: use it now, then call [`poll`](Arbiter::poll).
    Next,
    /// The message is kept already, or no longer wanted: its numbers were delivered, were reported
    /// as lost, or are before the feed's start.
    Duplicate,
    /// The message is ahead of the feed, and is kept: [`poll`](Arbiter::poll) returns it when its
    /// turn comes, unless a message nearer to the gap [needs its room](Arbiter::most_kept).
    Kept,
    /// The message is not kept: it is [beyond reach](Arbiter::reach), there is no
    /// [room](Arbiter::most_kept), or its numbers are not a range. If no line brings the message
    /// again in time, its numbers become part of a [gap](Event::Gap). A number beyond reach may be
    /// wrong, so the arbiter forgets the number when the line that brought it closes or goes back
    /// to lower numbers.
    Refused,
}

/// The result of [`Arbiter::poll`].
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A kept message, in order.
    Message(T),
    /// These numbers are lost: all lines have passed them, or the arbiter's
    /// [patience](Arbiter::patience) is over. Nothing is delivered until you choose how to
    /// continue, because an order book with a hole is wrong. Call [`resync`](Arbiter::resync) after
    /// a snapshot, or [`resume`](Arbiter::resume) if each message makes sense alone. Until then the
    /// arbiter keeps at most [`most_kept`](Arbiter::most_kept) messages. If more arrive, the newest
    /// messages of each line stay, and the lines share the room evenly. A message that several
    /// lines brought takes the room of only one of these lines. Kept messages of closed lines take
    /// room too.
    Gap(Gap),
    /// Synchronise the feed now, as after a gap. If the exchange has begun to count anew, the kept
    /// messages with numbers of the old count are dropped. Below, "the feed's last number" means
    /// the number just before the number that the feed waits for. The event comes in three cases:
    ///
    /// - The first message has come to an arbiter that was not told where to start.
    /// - Every line has brought a message, and the last number of every line is smaller than the
    ///   feed's last number by more than [`reach`](Arbiter::reach). Then the exchange has begun to
    ///   count anew. The event comes at once, and the message that has shown the new count is kept.
    /// - A line went back below its own last number. Or all lines are below the feed's last number,
    ///   and one of these lines began below the feed's last number. The event comes after the
    ///   arbiter's [patience](Arbiter::patience). It does not come if a line has meanwhile brought
    ///   the feed's last number or a later number. A line that has brought no message does not
    ///   prevent the event.
    ///
    /// A line that is below the feed's last number at [`resync`](Arbiter::resync) may be catching
    /// up with the snapshot. If this line goes on from its own last number, it causes no event.
    Restart,
}

/// Missing numbers: they have not arrived, or were refused, although later numbers have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing number.
    pub first: u64,
    /// The last missing number.
    pub last: u64,
    /// When the gap was found: a number above the gap arrived, or the arbiter refused a message
    /// that has numbers of the gap. The gap has lasted for `now - since`.
    pub since: Time,
}
