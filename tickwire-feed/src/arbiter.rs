//! Several lines of one feed, made one.
//!
//! ```text
//!   delivered          gap          kept: they wait for the gap to be filled
//! .. 4 5 6 7     |    8 9    |    10 11 12    14
//!                next                         another gap is in front of it
//! ```
//!
//! Invariant: `next` is the first number that is not delivered. While the arbiter is in sync, all that is kept
//! is behind it, but for what the caller has yet to `poll`.
use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, ops::RangeInclusive, time::Duration};
use tickwire::Time;

/// Makes one feed of several lines that carry it: the first arrival of each sequence number is delivered, in
/// order, and a second one is not. A message that is ahead of the feed is kept until another line has
/// filled the gap, or the gap is lost.
///
/// Each message goes to [`offer`](Self::offer), which says whether it is the [next](Verdict::Next) of the feed:
/// then it is used from where it is, without a copy. After that [`poll`](Self::poll) gives what was kept and
/// is now in order. `T` is a message that is kept, `Bytes` for one.
///
/// ```
/// use tickwire::Time;
/// use tickwire_feed::{Arbiter, Event, Verdict};
///
/// let now = Time::ZERO; // of a clock of yours
/// let mut feed = Arbiter::new();
/// let (a, b) = (feed.open(), feed.open());
/// feed.resume(now); // starts with whatever comes first; resync(n, now) starts behind a snapshot
///
/// let mut seen = Vec::new();
/// for (line, number) in [(&a, 1), (&a, 2), (&b, 1), (&a, 4), (&b, 2), (&b, 3), (&b, 4)] {
///     let message = format!("message {number}");
///     if feed.offer(line, number, now, || message.clone()) == Verdict::Next {
///         seen.push(message);
///     }
///     while let Some(event) = feed.poll(now) {
///         match event {
///             Event::Message(message) => seen.push(message),
///             // No line has what is missing: ask for a snapshot, then `resync`.
///             Event::Gap(_) | Event::Restart => unreachable!(),
///         }
///     }
/// }
/// assert_eq!(seen, ["message 1", "message 2", "message 3", "message 4"]);
/// ```
///
/// A message may stand for several numbers, as an update of an order book does: see [`Numbers`].
///
/// Within a line numbers have to ascend, as they do over a WebSocket: a line that has passed a gap will not
/// fill it any more. So each number is delivered at the latest when the last line brings it.
///
/// Memory is that of [`most_kept`](Self::most_kept) messages, whatever the lines bring. The messages' size is
/// limited by [`Config::max_message`](tickwire::Config::max_message).
pub struct Arbiter<T> {
    /// The most messages that are kept, at least 1, 4096 unless set. The nearest to the gap stay: what is
    /// further ahead comes again with the line that fills it.
    pub most_kept: usize,
    /// How far ahead of the feed a number may be, 1,000,000 unless set. A message further ahead is not kept: a
    /// line with wrong numbers would fill what there is room for. If all lines are beyond it, the gap is lost.
    pub reach: u64,
    /// How long a gap may last once nothing arrives that is next, 1 s unless set: then it is lost, though a line
    /// has not passed it yet. Longer than one line lags behind the other.
    pub patience: Duration,
    state: State,
    /// The first number that is not delivered.
    next: u64,
    /// When the last message was next while a gap was open, the gap began, or the feed was synchronised.
    moved: Time,
    /// What is ahead, each `first` above the one before. Lines ascend, so most go to the end.
    kept: VecDeque<Kept<T>>,
    /// The lowest number beyond reach, and when it came.
    beyond: Option<(u64, Time)>,
    /// For each line that is open the number behind its last one, 0 before its first message.
    lines: Vec<Option<u64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not synchronised yet: all is kept.
    Start,
    /// The same, and the caller is to be told.
    Restarted,
    /// A gap was lost: all is kept.
    Lost,
    /// The next message offered is the first.
    Any,
    /// In sync.
    Synced,
}

struct Kept<T> {
    first: u64,
    /// The number behind its last one.
    end: u64,
    /// Since when this number or a higher one is known.
    since: Time,
    message: T,
}

/// A line of an [`Arbiter`]: one connection, from [`open`](Arbiter::open) to [`close`](Arbiter::close).
#[derive(Debug, PartialEq, Eq)]
pub struct Line(usize);

/// The sequence numbers that a message stands for: one (`7.into()`), or a range (`(5..=9).into()`), such as that
/// of an update of an order book, `U` to `u` at Binance.
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
    /// It is ahead of the feed, and was kept: [`poll`](Arbiter::poll) gives it when its turn has come.
    Kept,
    /// It is ahead, and not kept: [beyond reach](Arbiter::reach), without [room](Arbiter::most_kept), or its
    /// numbers are no range. If another line does not bring it in time, [`poll`](Arbiter::poll) tells of a gap.
    Refused,
}

/// What [`Arbiter::poll`] gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A message that was kept, in order.
    Message(T),
    /// These numbers are lost: all lines have passed them, or the arbiter's [patience](Arbiter::patience) is at
    /// its end. Nothing is delivered until you say how to go on, since an order
    /// book with a hole is wrong: [`resync`](Arbiter::resync) after a snapshot, or [`resume`](Arbiter::resume) where
    /// each message stands for itself. Until then messages are kept, the newest
    /// [`most_kept`](Arbiter::most_kept) of them.
    Gap(Gap),
    /// All lines now bring numbers that are further below those delivered than [`reach`](Arbiter::reach): the
    /// exchange has begun to count anew. Go on as after a gap.
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

impl<T> Default for Arbiter<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arbiter<T> {
    /// Without lines. All is kept until [`resync`](Self::resync) or [`resume`](Self::resume).
    pub const fn new() -> Self {
        Self {
            most_kept: 4096,
            reach: 1_000_000,
            patience: Duration::from_secs(1),
            state: State::Start,
            next: 0,
            moved: Time::ZERO,
            kept: VecDeque::new(),
            beyond: None,
            lines: Vec::new(),
        }
    }

    /// A line more: a connection that is subscribed to the feed. From now on a gap waits for it too.
    pub fn open(&mut self) -> Line {
        match self.lines.iter().position(Option::is_none) {
            Some(at) => {
                self.mark(at, 0);
                Line(at)
            }
            None => {
                self.lines.push(Some(0));
                Line(self.lines.len() - 1)
            }
        }
    }

    /// The line's connection is over: no gap waits for it. [`poll`](Self::poll) afterwards.
    pub fn close(&mut self, line: Line) {
        if let Some(end) = self.lines.get_mut(line.0) {
            *end = None;
        }
    }

    /// Whether the feed would lose nothing if this line alone were left: all that it has brought is delivered,
    /// so it goes on from there. Only then may the connection be closed that it replaces.
    pub fn in_sequence(&self, line: &Line) -> bool {
        let end = self.lines.get(line.0).copied().flatten();
        self.state == State::Synced && end.is_some_and(|end| end != 0 && end <= self.next)
    }

    /// A message of a line. `own` is called only if it is [kept](Verdict::Kept).
    #[inline]
    pub fn offer(
        &mut self,
        line: &Line,
        numbers: impl Into<Numbers>,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Verdict {
        let Numbers { first, last } = numbers.into();
        let end = last.wrapping_add(1);
        if end <= first {
            return Verdict::Refused; // no range, or one that nothing could follow
        }
        self.mark(line.0, end);
        if first <= self.next && self.next < end && self.state == State::Synced {
            self.next = end;
            if self.is_ahead() {
                self.moved = now;
            }
            return Verdict::Next;
        }
        if end <= self.next && self.next - end <= self.reach {
            return Verdict::Duplicate;
        }
        self.elsewhere(first, end, now, own)
    }

    #[inline]
    fn mark(&mut self, line: usize, end: u64) {
        if let Some(line) = self.lines.get_mut(line) {
            *line = Some(end);
        }
    }

    /// Whether there is something that may be ahead of the feed.
    #[inline]
    fn is_ahead(&self) -> bool {
        !self.kept.is_empty() || self.beyond.is_some()
    }

    /// Whether there are lines, and this holds of all. A line that has brought nothing has an `end` of 0.
    fn all_lines(&self, holds: impl Fn(u64) -> bool) -> bool {
        let mut lines = self.lines.iter().flatten().peekable();
        lines.peek().is_some() && lines.all(|&end| holds(end))
    }

    #[inline(never)]
    fn elsewhere(&mut self, first: u64, end: u64, now: Time, own: impl FnOnce() -> T) -> Verdict {
        if end <= self.next {
            let restarted = |end| end != 0 && end < self.next && self.next - end > self.reach;
            if !self.all_lines(restarted) {
                return Verdict::Duplicate;
            }
            self.state = State::Restarted;
            self.next = 0;
            self.kept.clear();
            self.beyond = None;
        } else if self.state == State::Any {
            self.state = State::Synced;
            self.next = end;
            return Verdict::Next;
        } else if self.state == State::Synced && first - self.next > self.reach {
            if !self.is_ahead() {
                self.moved = now;
            }
            if self.beyond.is_none_or(|(lowest, _)| first < lowest) {
                self.beyond = Some((first, now));
            }
            return Verdict::Refused;
        }
        self.keep(first, end, now, own)
    }

    fn keep(&mut self, first: u64, end: u64, now: Time, own: impl FnOnce() -> T) -> Verdict {
        let mut at = match self.kept.back() {
            Some(last) if last.first >= first => {
                self.kept.partition_point(|kept| kept.first < first)
            }
            _ => self.kept.len(),
        };
        let since = match self.kept.get_mut(at) {
            Some(kept) if kept.first == first => {
                if kept.end >= end {
                    return Verdict::Duplicate;
                }
                *kept = Kept { end, message: own(), ..*kept };
                return Verdict::Kept;
            }
            Some(behind) => behind.since,
            None => now,
        };
        if self.kept.len() >= self.most_kept.max(1) {
            // In sync the line that fills the gap will bring the last again, else a snapshot will have the first.
            let dropped = if self.state == State::Synced { self.kept.len() } else { 0 };
            if at == dropped {
                return Verdict::Refused;
            }
            if dropped == 0 {
                self.kept.pop_front();
                at -= 1;
            } else {
                self.kept.pop_back();
            }
        }
        if !self.is_ahead() {
            self.moved = now;
        }
        self.kept.insert(at, Kept { first, end, since, message: own() });
        Verdict::Kept
    }

    /// What was kept and is in order now, or a gap that is lost. After each message offered, after
    /// [`resync`](Self::resync), [`resume`](Self::resume) and [`close`](Self::close), and at
    /// [`poll_timeout`](Self::poll_timeout), until it is `None`.
    #[inline]
    pub fn poll(&mut self, now: Time) -> Option<Event<T>> {
        if self.is_ahead() { self.poll_ahead(now) } else { None }
    }

    #[inline(never)]
    fn poll_ahead(&mut self, now: Time) -> Option<Event<T>> {
        match self.state {
            State::Synced => {}
            State::Restarted => {
                self.state = State::Start;
                return Some(Event::Restart);
            }
            State::Start | State::Lost | State::Any => return None,
        }
        while self.kept.front().is_some_and(|kept| kept.first <= self.next)
            && let Some(Kept { end, message, .. }) = self.kept.pop_front()
        {
            if end > self.next {
                self.next = end;
                return Some(Event::Message(message));
            }
        }
        self.beyond = self.beyond.filter(|&(number, _)| number > self.next);
        let gap = self.gap()?;
        if !self.is_lost(gap, now) {
            return None;
        }
        self.state = State::Lost;
        Some(Event::Gap(gap))
    }

    /// The gap that the feed waits to see filled, or that is lost, until the feed is synchronised again.
    pub fn gap(&self) -> Option<Gap> {
        let kept = self.kept.front().map(|kept| (kept.first, kept.since));
        let (number, since) = kept.or(self.beyond)?;
        let open = matches!(self.state, State::Synced | State::Lost) && number > self.next;
        open.then(|| Gap { first: self.next, last: number - 1, since })
    }

    fn is_lost(&self, gap: Gap, now: Time) -> bool {
        self.all_lines(|end| end > gap.last) || self.patient_until() <= now
    }

    fn patient_until(&self) -> Time {
        self.moved + self.patience
    }

    /// When [`poll`](Self::poll) has to be called although no message has come: a gap is lost then.
    pub fn poll_timeout(&self) -> Option<Time> {
        (self.state == State::Synced && self.gap().is_some()).then(|| self.patient_until())
    }

    /// Starts, or goes on, with this number: the first that a snapshot does not contain. Call
    /// [`poll`](Self::poll), which gives what was kept from there on; what the snapshot contains is dropped.
    ///
    /// A snapshot older than all that the lines brought leaves a gap, which is lost at once: take another.
    pub fn resync(&mut self, next: u64, now: Time) {
        self.state = State::Synced;
        self.next = next;
        self.moved = now;
        self.beyond = None;
        // One wrong number would be in the way of every snapshot.
        let within = next.saturating_add(self.reach);
        self.kept.truncate(self.kept.partition_point(|kept| kept.first < within));
    }

    /// Starts, or goes on behind a gap that is lost, with the first message that is kept, or else the first
    /// that comes. Call [`poll`](Self::poll).
    pub fn resume(&mut self, now: Time) {
        match self.kept.front() {
            Some(kept) => self.resync(self.next.max(kept.first), now),
            None => {
                self.beyond = None;
                self.state = State::Any;
            }
        }
    }
}

/// Lengths and numbers, no messages.
impl<T> fmt::Debug for Arbiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arbiter")
            .field("next", &self.next)
            .field("kept", &self.kept.len())
            .field("gap", &self.gap())
            .finish_non_exhaustive()
    }
}
