//! Merges several lines (connections) that carry one feed.
//!
//! ```text
//!   delivered          gap          kept until the gap is filled or lost
//! .. 4 5 6 7     |    8 9    |    10 11 12    14
//!                next                         13 is another gap
//! ```
//!
//! Invariant: `next` is the first number that is neither delivered nor reported as lost. In
//! `State::Synced` only a message with the number `next` is delivered, and a number is skipped only
//! after `poll` has reported a gap that contains it: every lost number is reported.
//!
//! Invariant: each kept message belongs to an open line. When that is over, the message goes to
//! another open line, or is dropped (`Arbiter::release`).
//!
//! A gap is open if an open line brought a number above `next`. It ends before the first kept
//! message or, while `refused` is set, before the lowest `end` above `next` of an open line, if
//! that is lower.
mod gap;
mod room;
mod state;

use crate::{Event, Limits, Line, Numbers, Verdict, Why};
use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, mem, time::Duration};
use state::{Anew, Kept, Refused, Source, State};
use tickwire::Time;

/// Merges several lines, which are connections that carry the same feed, into one sequence. The
/// first arrival of each sequence number is delivered, in order. If numbers are missing before a
/// message, the message is kept until a line fills the gap, or until the gap counts as lost.
///
/// Give each message to [`offer`](Self::offer). If the message is the [next](Verdict::Next) of the
/// feed, use the message where it is, without a copy. Then call [`poll`](Self::poll), which returns
/// the kept messages that are now in order. `T` is the type of a kept message, for example `Bytes`.
///
/// ```
/// use tickwire::Time;
/// use tickwire_feed::{Arbiter, Event, Limits, Verdict};
///
/// let now = Time::ZERO; // from your own clock
/// let mut feed = Arbiter::new(Limits::default(), String::len);
/// let a = feed.open();
/// let b = feed.open();
/// feed.resume(now); // starts with the first message; to start after a snapshot: resync(n, now)
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
///             // No line has the missing numbers: ask for a snapshot, then call `resync`.
///             Event::Gap(_) | Event::Restart => unreachable!(),
///         }
///     }
/// }
/// assert_eq!(seen, ["message 1", "message 2", "message 3", "message 4"]);
/// ```
///
/// A message may stand for several numbers, as an update of an order book does: see [`Numbers`].
///
/// The numbers of one line must ascend, as they do over a WebSocket. So the arbiter assumes that a
/// line that has passed a gap will not fill the gap later. Each number above the first delivered
/// number is either delivered, or reported as missing before any later number is delivered. A
/// number that all lines bring is delivered at the latest when the slowest line brings it, unless a
/// gap before this number is lost.
///
/// # Memory
///
/// [`Limits`] bounds the number and the bytes of kept messages, whatever the lines bring.
///
/// # Whose a kept message is
///
/// A kept message belongs to the line that brought it. A line has *passed* the numbers from its
/// first to its last, whether it brought them or not. When a line is [closed](Self::close), or goes
/// back below its own last number, each of its messages meets the first rule that fits:
///
/// 1. Another open line has passed the message's first number: it stays, as that line's.
/// 2. An open line has not reached that number yet (a line that has brought nothing has reached
///    none): it is dropped, because that line brings it again, or brings the truth.
/// 3. An open line and the closed one have passed a number in common: it stays, as that line's.
/// 4. It is dropped, as it is if no line is open.
///
/// Otherwise a message from before an outage could be delivered in place of a new one with the same
/// number, if the exchange has begun to count anew. A dropped message is forgotten: it costs at
/// most one more gap, when a line brings a later number. Lines that carry *different* counts at the
/// same time, over the same numbers, cannot be told apart.
pub struct Arbiter<T> {
    limits: Limits,
    /// In bytes, besides the `T` itself.
    size: fn(&T) -> usize,
    state: State,
    next: u64,
    /// Received and not delivered yet, in strictly ascending order of `first`. A line's numbers
    /// ascend, so most messages go to the end.
    kept: VecDeque<Kept<T>>,
    bytes: usize,
    lines: Vec<Source>,
    /// An open line is ahead of the feed by numbers that are not kept.
    refused: Option<Refused>,
    /// While a gap is open, the latest of: the gap was found, a message was last `Next`, the feed
    /// was last synchronised.
    moved: Time,
    /// A line that seems to count anew, until a line brings the feed's last number or a later one.
    anew: Option<Anew>,
    /// A line was below the feed's last number at the last `resync`, or began there or went back
    /// there since.
    low: bool,
    /// The lowest number with which a line began since the last restart.
    lowest: Option<u64>,
    /// How often the count began anew, from what its subscription begins with.
    pub(crate) restarts: u64,
    /// After the first message, which sets `next` whatever its number is, until a message in order
    /// follows.
    guessed: bool,
    /// `poll` has something to check: a kept message, a gap, or a line that may count anew.
    watched: bool,
}

impl<T> Arbiter<T> {
    /// An arbiter without lines. The arbiter keeps messages, and delivers none, until
    /// [`resync`](Self::resync) or [`resume`](Self::resume). After the first message,
    /// [`poll`](Self::poll) asks for one of these calls by [`Event::Restart`].
    ///
    /// `size` returns the bytes that a message holds on the heap: `String::len` for a `String`.
    pub const fn new(limits: Limits, size: fn(&T) -> usize) -> Self {
        Self {
            limits,
            size,
            state: State::Restarted,
            next: 0,
            kept: VecDeque::new(),
            bytes: 0,
            lines: Vec::new(),
            refused: None,
            moved: Time::ZERO,
            anew: None,
            low: false,
            lowest: None,
            restarts: 0,
            guessed: false,
            watched: false,
        }
    }

    /// Adds a line: a connection that is subscribed to the feed. From now on, a gap is lost only
    /// after this line too has passed the gap, or after [`patience`](Limits::patience).
    pub fn open(&mut self) -> Line {
        let opened = Source { is_open: true, ..Source::default() };
        let closed = self.lines.iter_mut().enumerate().find(|(_, source)| !source.is_open);
        match closed {
            Some((at, source)) => {
                *source = opened;
                Line(at)
            }
            None => {
                self.lines.push(opened);
                Line(self.lines.len() - 1)
            }
        }
    }

    /// Removes a line whose connection is over. From now on, no gap waits for this line. Its kept
    /// messages stay only if another line [vouches for them](#whose-a-kept-message-is). So first
    /// [`poll`](Self::poll) until there is nothing, and again afterwards.
    pub fn close(&mut self, line: Line) {
        let Some(source) = self.lines.get_mut(line.0) else { return };
        let ended = *source;
        source.is_open = false;
        if ended.kept > 0 {
            self.release(line.0, &ended);
        }
        // A gap that only this line could still fill is now lost, and `poll` has to report it.
        self.watched |= self.state == State::Synced;
    }

    /// Whether this line alone could continue the feed without loss: the line has brought a
    /// message, and everything that the line brought is delivered, or reported as lost. If the line
    /// replaces another connection, keep the other connection until this call returns `true`. While
    /// the feed is not synchronised, for example after a lost gap, no line is in sequence.
    pub fn in_sequence(&self, line: &Line) -> bool {
        let source = self.lines.get(line.0).filter(|source| source.is_open);
        self.state == State::Synced
            && source.is_some_and(|source| source.end != 0 && source.end <= self.next)
    }

    /// Decides about a message that `line` brought. `own` makes the copy to keep, and is called
    /// only if the message is [kept](Verdict::Kept).
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
            return Verdict::Refused; // not a range, or a range that no number could follow
        }
        let before = self.mark(line.0, end);
        if first <= self.next
            && self.next < end
            && (last - self.next <= self.limits.reach || self.is_alone())
            && self.state == State::Synced
        {
            self.next = end;
            if self.watched || before == 0 {
                self.move_on(line.0, first, before, now);
            }
            return Verdict::Next;
        }
        // Ordinary if its line's numbers still ascend and lie within reach, and nothing is watched.
        // `elsewhere` handles all others, such as the first message of a new line, or of one that
        // has gone back.
        if end <= self.next
            && before.wrapping_sub(1) < end
            && self.next - end <= self.limits.reach
            && !self.watched
        {
            return Verdict::Duplicate;
        }
        self.elsewhere(line.0, Numbers { first, last }, before, now, own)
    }

    /// Says that the feed has come to the number `last`: `line` has said so without a message, by a
    /// heartbeat or a keepalive. So the line has passed this number, and what nobody has brought up
    /// to it is a gap. Then call [`poll`](Self::poll).
    pub fn passed(&mut self, line: &Line, last: u64, now: Time) {
        let Some(end) = last.checked_add(1) else { return };
        let before = self.mark(line.0, end);
        self.note_beginning(line.0, end, before);
        if end <= self.next && !self.restart_if_far_below(line.0, end, end, before, now) {
            return;
        }
        self.anew = None;
        self.watched = true;
        if self.state == State::Synced {
            if !self.is_waiting() {
                self.moved = now;
            }
            let why = self.refused.map_or(Why::NotReceived, |refused| refused.why);
            self.refuse(self.next.max(before), end, now, why);
        }
    }

    /// The numbers from the line's last to before `to` are not of this feed. If it has brought
    /// none, those from the feed's last are not.
    pub(crate) fn skip(&mut self, line: &Line, to: u64) {
        let Some(source) = self.lines.get_mut(line.0) else { return };
        let is_level = source.end == self.next || source.end == 0;
        if self.state == State::Synced && is_level && self.next < to {
            source.end = to;
            self.next = to;
        }
    }

    /// If a line goes back, its kept messages belong to another count, or one of its numbers is
    /// wrong. `before` is its `end` before the message that begins with `first`.
    fn note_beginning(&mut self, line: usize, first: u64, before: u64) {
        let Some(source) = self.lines.get_mut(line) else { return };
        if before != 0 && source.end >= before {
            return;
        }
        self.lowest = Some(self.lowest.map_or(first, |lowest| lowest.min(first)));
        let ended = Source { end: before, ..*source };
        source.began = first;
        if before != 0 && ended.kept > 0 {
            self.release(line, &ended);
        }
    }

    /// A snapshot up to before `next` has come over this line, so what it brings next is later. One
    /// below the feed may be the first word of another count, if it is the first of its connection:
    /// its line may be younger.
    pub(crate) fn note_snapshot(&mut self, line: &Line, next: u64, is_first: bool, now: Time) {
        let Some(source) = self.lines.get(line.0) else { return };
        if source.end < next && (is_first || source.end != 0) {
            let before = self.mark(line.0, next);
            self.note_beginning(line.0, next, before);
            if next <= self.next {
                self.restart_if_far_below(line.0, next, next, before, now);
            }
        }
    }

    /// Whether no number is missing between a snapshot that ends before `next` and what is kept.
    pub(crate) fn touches(&self, next: u64) -> bool {
        self.kept.front().is_none_or(|kept| kept.first <= next)
    }

    /// Whether the feed is in order, and further on than a snapshot up to before `next`.
    pub(crate) fn has_passed(&self, next: u64) -> bool {
        self.state == State::Synced && next < self.next
    }

    /// A line is late, so that it is below the feed shows no other count yet.
    pub(crate) fn note_delay(&mut self, now: Time, most: Duration) {
        if let Some(anew) = &mut self.anew {
            anew.since = now.min(anew.found + most);
        }
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.ends().any(|end| end != 0)
    }

    #[inline]
    fn mark(&mut self, line: usize, end: u64) -> u64 {
        let source = self.lines.get_mut(line);
        source.map_or(0, |source| mem::replace(&mut source.end, end))
    }

    /// The end of each open line; 0 if the line has brought no message.
    fn ends(&self) -> impl Iterator<Item = u64> {
        self.lines.iter().filter(|source| source.is_open).map(|source| source.end)
    }

    fn is_alone(&self) -> bool {
        self.ends().count() == 1
    }

    /// Whether a line that begins with this number, while there is no other one, shows another
    /// count: the feed is in order, and not even its first message is older.
    pub(crate) fn is_anew(&self, line: &Line, first: u64) -> bool {
        self.lines.get(line.0).is_some_and(|source| source.end == 0)
            && self.state == State::Synced
            && first < self.next
            && self.is_alone()
            && self.lowest.is_some_and(|lowest| first <= lowest)
    }

    /// `false` without open lines.
    fn all_lines(&self, holds: impl Fn(u64) -> bool) -> bool {
        let mut ends = self.ends().peekable();
        ends.peek().is_some() && ends.all(holds)
    }

    /// Called after a `Next` while `watched` was set, or that is the first message of its line.
    #[inline(never)]
    fn move_on(&mut self, line: usize, first: u64, before: u64, now: Time) {
        self.note_beginning(line, first, before);
        self.guessed = false;
        self.anew = None;
        self.moved = now;
        self.forget_refused();
    }

    #[inline(never)]
    fn elsewhere(
        &mut self,
        line: usize,
        numbers: Numbers,
        before: u64,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Verdict {
        let Numbers { first, last } = numbers;
        let end = last + 1;
        self.note_beginning(line, first, before);
        if end <= self.next && !self.restart_if_far_below(line, first, end, before, now) {
            return Verdict::Duplicate;
        }
        self.anew = None;
        self.watched = true;
        let from = if self.state == State::Synced { self.next } else { first };
        let within_reach = last - from <= self.limits.reach;
        if self.state == State::Any && within_reach {
            self.state = State::Synced;
            self.next = end;
            self.moved = now;
            self.guessed = true;
            return Verdict::Next;
        }
        if !self.is_waiting() {
            self.moved = now;
        }
        if !within_reach {
            self.refuse(first, end, now, Why::BeyondReach);
            return Verdict::Refused;
        }
        self.keep(line, numbers, now, own)
    }

    /// This line is below the feed. If every line is, by more than the reach, the exchange counts
    /// anew, and so does the feed: `true`. Otherwise notes what the line shows.
    fn restart_if_far_below(
        &mut self,
        line: usize,
        first: u64,
        end: u64,
        before: u64,
        now: Time,
    ) -> bool {
        let reach = self.limits.reach;
        if !self.all_lines(|end| end != 0 && self.next.saturating_sub(end) > reach) {
            self.look_back(end, before, now);
            return false;
        }
        self.restart(State::Restarted);
        self.mark(line, end);
        self.note_beginning(line, first, 0);
        true
    }

    /// All numbers of the message are below `next`, so its line may count anew.
    fn look_back(&mut self, end: u64, before: u64, now: Time) {
        if end == self.next {
            self.anew = None;
            return;
        }
        let went_back = end < before;
        if went_back || self.guessed {
            let anew = self.anew.unwrap_or(Anew { found: now, since: now, is_sure: false });
            self.anew = Some(Anew { is_sure: anew.is_sure || went_back, ..anew });
        }
        if self.anew.is_some() || before == 0 {
            self.low = true;
            self.watched = true;
        }
    }

    /// The exchange counts anew: what arrives next is of the new count.
    pub(crate) fn begin_anew(&mut self) {
        self.restart(State::Restarted);
    }

    fn restart(&mut self, state: State) {
        self.state = state;
        self.next = 0;
        self.refused = None;
        self.anew = None;
        self.low = false;
        self.lowest = None;
        self.restarts += 1;
        self.guessed = false;
        self.watched = true;
        self.kept.clear();
        self.bytes = 0;
        for source in &mut self.lines {
            source.began = 0;
            source.end = 0;
            source.kept = 0;
        }
    }

    /// Returns the next kept message that is now in order, or reports a lost gap or a restart. Call
    /// `poll` after each offered message, after [`resync`](Self::resync), [`resume`](Self::resume)
    /// and [`close`](Self::close), and at [`poll_timeout`](Self::poll_timeout). Each time, repeat
    /// the call until it returns `None`.
    #[inline]
    pub fn poll(&mut self, now: Time) -> Option<Event<T>> {
        if self.watched { self.poll_ahead(now) } else { None }
    }

    #[inline(never)]
    fn poll_ahead(&mut self, now: Time) -> Option<Event<T>> {
        match self.state {
            State::Synced | State::Any => {}
            State::Restarted => {
                self.state = State::Start;
                return Some(Event::Restart);
            }
            State::Start | State::Lost(_) => return None,
        }
        while self.kept.front().is_some_and(|kept| kept.first <= self.next)
            && let Some(Kept { end, message, .. }) = self.take_kept(0)
        {
            if end > self.next {
                self.next = end;
                return Some(Event::Message(message));
            }
        }
        if self.low {
            // It may just lag behind another line. But if all are below the feed, the exchange may
            // count anew.
            let is_alone = self.all_lines(|end| end < self.next);
            let is_below = self.is_below();
            let alone =
                (is_alone && is_below).then_some(Anew { found: now, since: now, is_sure: true });
            // What a line has shown outlives it, until another brings something.
            self.anew = self.anew.or(alone).filter(|_| is_below || !self.is_fed());
            if self.anew.is_some_and(|anew| anew.since + self.limits.patience <= now) {
                self.restart(State::Start);
                return Some(Event::Restart);
            }
        }
        self.forget_refused();
        let Some(gap) = self.gap() else {
            self.watched = self.guessed || self.anew.is_some();
            return None;
        };
        if !self.all_lines(|end| end > gap.last) && self.moved + self.limits.patience > now {
            return None;
        }
        self.state = State::Lost(gap);
        Some(Event::Gap(gap))
    }
}

/// Shows lengths and numbers, but no messages.
impl<T> fmt::Debug for Arbiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arbiter")
            .field("next", &self.next)
            .field("kept", &self.kept.len())
            .field("gap", &self.gap())
            .finish_non_exhaustive()
    }
}
