//! Merges several lines (connections) that carry one feed.
//!
//! ```text
//!   delivered          gap          kept until the gap is filled or lost
//! .. 4 5 6 7     |    8 9    |    10 11 12    14
//!                next                         13 is another gap
//! ```
//!
//! Invariant: `next` is the first number that is neither delivered nor reported as lost. A
//! synchronised arbiter (`State::Synced`) delivers a message only if `next` is one of the message's
//! numbers. It skips a number only after `poll` has reported a gap that contains the number. So
//! every lost number is reported.
//!
//! A gap is open if a line brought a number above `next`. The gap reaches from `next` to just
//! before the first kept message. But while `refused` is set, the gap reaches to just before the
//! lowest of these numbers above `next`: the first kept message's number, the number in `refused`,
//! `refused_end`, and each open line's `end`.
mod gap;
mod room;
mod state;

use crate::{Event, Line, Numbers, Verdict};
use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, mem, time::Duration};
use state::{Kept, Source, State};
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
/// use tickwire_feed::{Arbiter, Event, Verdict};
///
/// let now = Time::ZERO; // from your own clock
/// let mut feed = Arbiter::new();
/// let (a, b) = (feed.open(), feed.open());
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
/// The arbiter holds at most [`most_kept`](Self::most_kept) messages, whatever the lines bring.
/// [`Config::max_message`](tickwire::Config::max_message) limits the size of each message.
pub struct Arbiter<T> {
    /// The largest number of messages to keep: 4096 unless set. 0 counts as 1. If more messages
    /// arrive while a gap is open, the arbiter drops the messages farthest from the gap, because
    /// the line that fills the gap will bring them again.
    pub most_kept: usize,
    /// How far the last number of a message may lie above the number that the feed waits for:
    /// 1,000,000 unless set. While the feed is not synchronised, the distance counts from the
    /// message's own first number. A message beyond this distance is [refused](Verdict::Refused).
    /// Otherwise a line with wrong numbers could take the room of all kept messages. If all lines
    /// have gone beyond this distance, the numbers that the feed waits for are lost.
    pub reach: u64,
    /// How long a gap may last while no message arrives that is next in the feed: 1 s unless set.
    /// After this time the gap is lost, even if no line is open, or an open line has not passed the
    /// gap yet. After the same time the arbiter reports [`Event::Restart`] if a line has begun to
    /// count anew. Set `patience` to more than the time by which one line lags behind another.
    pub patience: Duration,
    state: State,
    /// The first number that is neither delivered nor reported as lost.
    next: u64,
    /// The messages received and not delivered yet, in strictly ascending order of `first`. The
    /// numbers of a line ascend, so most messages go to the end.
    kept: VecDeque<Kept<T>>,
    lines: Vec<Source>,
    /// The lowest number of all refused and dropped messages, and when the earliest of these
    /// messages arrived. Set until the feed has passed all numbers of these messages, so the feed
    /// may already have passed the lowest number.
    refused: Option<(u64, Time)>,
    /// The highest `end` of a refused message within reach. A message beyond reach may be wrong, so
    /// only its line's `end` records it, until the line closes or goes back to lower numbers.
    refused_end: u64,
    /// While a gap is open, this is the latest of three times: when the gap was found, when a
    /// message was last `Next`, and when the feed was last synchronised.
    moved: Time,
    /// When the arbiter noticed that a line may count anew, because the line's numbers are below
    /// the feed's last number. `None` if no line seems to count anew, or once a line has brought
    /// the feed's last number or a later number. The flag is false if the arbiter suspects this
    /// only because `guessed` is set.
    anew: Option<(Time, bool)>,
    /// Whether a line has begun below the feed's last number, or has gone back below this number,
    /// since the last `resync`.
    low: bool,
    /// True after the first message, which sets `next` whatever its number is, until a message in
    /// order follows.
    guessed: bool,
    /// Whether `poll` has something to check: a kept message, a gap, or a line that may count anew.
    watched: bool,
}

impl<T> Default for Arbiter<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arbiter<T> {
    /// An arbiter without lines. The arbiter keeps messages, and delivers none, until
    /// [`resync`](Self::resync) or [`resume`](Self::resume). After the first message,
    /// [`poll`](Self::poll) asks for one of these calls by [`Event::Restart`].
    pub const fn new() -> Self {
        Self {
            most_kept: 4096,
            reach: 1_000_000,
            patience: Duration::from_secs(1),
            state: State::Restarted,
            next: 0,
            kept: VecDeque::new(),
            lines: Vec::new(),
            refused: None,
            refused_end: 0,
            moved: Time::ZERO,
            anew: None,
            low: false,
            guessed: false,
            watched: false,
        }
    }

    /// Adds a line: a connection that is subscribed to the feed. From now on, a gap is lost only
    /// after this line too has passed the gap, or after [`patience`](Self::patience).
    pub fn open(&mut self) -> Line {
        // The new line may take the index of a closed line. Messages of the closed line stay in
        // `kept`, because they may still be delivered.
        let at = self.lines.iter().position(|source| !source.is_open).unwrap_or(self.lines.len());
        match self.lines.get_mut(at) {
            Some(source) => (source.is_open, source.end) = (true, 0),
            None => self.lines.push(Source { is_open: true, ..Source::default() }),
        }
        Line(at)
    }

    /// Removes a line whose connection is over. From now on, no gap waits for this line. Call
    /// [`poll`](Self::poll) afterwards.
    pub fn close(&mut self, line: Line) {
        if let Some(source) = self.lines.get_mut(line.0) {
            source.is_open = false;
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
            && last - self.next <= self.reach
            && self.state == State::Synced
        {
            self.next = end;
            if self.watched {
                self.move_on(now);
            }
            return Verdict::Next;
        }
        // A duplicate is ordinary if its line's numbers still ascend and lie within reach, and if
        // `watched` is false. `elsewhere` handles all other duplicates, for example the first
        // message of a new line, or a message of a line that has gone back to lower numbers.
        if end <= self.next
            && before.wrapping_sub(1) < end
            && self.next - end <= self.reach
            && !self.watched
        {
            return Verdict::Duplicate;
        }
        self.elsewhere(line.0, Numbers { first, last }, before, now, own)
    }

    /// Sets the line's `end`, and returns the previous `end`.
    #[inline]
    fn mark(&mut self, line: usize, end: u64) -> u64 {
        let source = self.lines.get_mut(line);
        source.map_or(0, |source| mem::replace(&mut source.end, end))
    }

    /// The `end` of each open line, 0 if the line has brought no message.
    fn ends(&self) -> impl Iterator<Item = u64> {
        self.lines.iter().filter(|source| source.is_open).map(|source| source.end)
    }

    /// Whether there are open lines, and `holds` is true for the `end` of every open line.
    fn all_lines(&self, holds: impl Fn(u64) -> bool) -> bool {
        let mut ends = self.ends().peekable();
        ends.peek().is_some() && ends.all(holds)
    }

    /// Notes that a message was `Next` while `watched` was set.
    #[inline(never)]
    fn move_on(&mut self, now: Time) {
        (self.guessed, self.anew) = (false, None);
        self.moved = now;
        self.forget_refused();
    }

    /// Decides about a message that is neither the next of the feed nor an ordinary duplicate.
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
        if end <= self.next {
            let is_far = |end| end != 0 && self.next.saturating_sub(end) > self.reach;
            if !self.all_lines(is_far) {
                self.look_back(end, before, now);
                return Verdict::Duplicate;
            }
            // Every line is far below the feed, so the exchange counts anew.
            self.restart(State::Restarted);
            self.mark(line, end);
        }
        (self.anew, self.watched) = (None, true);
        let from = if self.state == State::Synced { self.next } else { first };
        let within_reach = last - from <= self.reach;
        if self.state == State::Any && within_reach {
            (self.state, self.next, self.moved) = (State::Synced, end, now);
            self.guessed = true;
            return Verdict::Next;
        }
        if !self.is_waiting() {
            self.moved = now;
        }
        let verdict =
            if within_reach { self.keep(line, first, end, now, own) } else { Verdict::Refused };
        if verdict == Verdict::Refused {
            self.refuse(first, end, now);
        }
        verdict
    }

    /// Handles a message whose numbers are all below `next`: notes whether its line may count anew.
    fn look_back(&mut self, end: u64, before: u64, now: Time) {
        if end == self.next {
            self.anew = None;
            return;
        }
        let went_back = end < before;
        if went_back || self.guessed {
            let (since, is_sure) = self.anew.unwrap_or((now, false));
            self.anew = Some((since, is_sure || went_back));
        }
        if self.anew.is_some() || before == 0 {
            (self.low, self.watched) = (true, true);
        }
    }

    /// Forgets all numbers and kept messages, because the exchange counts anew.
    fn restart(&mut self, state: State) {
        (self.state, self.next, self.refused_end) = (state, 0, 0);
        (self.refused, self.anew) = (None, None);
        (self.low, self.guessed, self.watched) = (false, false, true);
        self.kept.clear();
        for source in &mut self.lines {
            (source.end, source.kept) = (0, 0);
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
            // A line that began below the feed may just lag behind another line. But if all lines
            // are below the feed, the exchange may count anew.
            let is_alone = self.all_lines(|end| end < self.next);
            let anew = self.anew.or(is_alone.then_some((now, true)));
            self.anew = anew.filter(|_| self.ends().any(|end| 0 < end && end < self.next));
            if self.anew.is_some_and(|(since, _)| since + self.patience <= now) {
                self.restart(State::Start);
                return Some(Event::Restart);
            }
        }
        self.forget_refused();
        let Some(gap) = self.gap() else {
            self.watched = self.guessed || self.anew.is_some();
            return None;
        };
        if !self.all_lines(|end| end > gap.last) && self.moved + self.patience > now {
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
