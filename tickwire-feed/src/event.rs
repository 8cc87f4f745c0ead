//! What goes into an `Arbiter`, and what comes out.
#[cfg(doc)]
use crate::Arbiter;
use core::ops::RangeInclusive;
use tickwire::Time;

/// A line of an [`Arbiter`]: one connection, from [`open`](Arbiter::open) to
/// [`close`](Arbiter::close).
#[derive(Debug, PartialEq, Eq)]
pub struct Line(pub(crate) usize);

/// The sequence numbers that a message stands for: one (`7.into()`), or a range (`(5..=9).into()`),
/// such as that of an update of an order book, `U` to `u` at Binance.
///
/// A range that is new only in part is delivered: an update of a book holds its newest state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The first.
    pub first: u64,
    /// The last, not less than the first, and less than `u64::MAX`.
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

/// What becomes of a message that was [offered](Arbiter::offer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is the next of the feed: use it now. Then [`poll`](Arbiter::poll).
    Next,
    /// It was delivered before, or is kept already.
    Duplicate,
    /// It is ahead of the feed, and was kept: [`poll`](Arbiter::poll) gives it when its turn has
    /// come.
    Kept,
    /// It is not kept: [beyond reach](Arbiter::reach), without [room](Arbiter::most_kept), or its
    /// numbers are no range. If it is within reach and no line brings it in time, it is part of a
    /// [gap](Event::Gap).
    Refused,
}

/// What [`Arbiter::poll`] gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A message that was kept, in order.
    Message(T),
    /// These numbers are lost: all lines have passed them, or the arbiter's
    /// [patience](Arbiter::patience) is at its end. Nothing is delivered until you say how to go
    /// on, since an order book with a hole is wrong: [`resync`](Arbiter::resync) after a snapshot,
    /// or [`resume`](Arbiter::resume) where each message stands for itself. Until then messages are
    /// kept, the newest [`most_kept`](Arbiter::most_kept) of them, shared evenly among lines that
    /// bring more.
    Gap(Gap),
    /// Synchronise now, as after a gap. It comes
    ///
    /// - with the first message of an arbiter that was not told where to start;
    /// - at once when all lines are further below the feed than [`reach`](Arbiter::reach): the
    ///   exchange has begun to count anew;
    /// - after the arbiter's [patience](Arbiter::patience) when a line went back below its own last
    ///   number, or a new one is below the feed and all others are too, and since then no line has
    ///   brought the feed's last number or a later one. So a line that is silent does not hide that
    ///   the exchange counts anew.
    Restart,
}

/// Numbers that have not arrived although later ones have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first number missing.
    pub first: u64,
    /// The last number missing.
    pub last: u64,
    /// When the gap showed: how long it has lasted is `now - since`.
    pub since: Time,
}
