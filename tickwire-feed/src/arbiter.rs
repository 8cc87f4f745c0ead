//! Merges several lines that carry one feed.
//!
//! ```text
//!   delivered          gap          kept: they wait for the gap to be filled
//! .. 4 5 6 7     |    8 9    |    10 11 12    14
//!                next                         another gap is in front of it
//! ```
//!
//! Invariant: `next` is the first number that is not delivered. While the arbiter is in sync, a
//! kept message that begins after `next` waits for a gap to be filled. Any other kept message is
//! due: `poll` returns it, or drops it if all its numbers are delivered.
//!
//! Two things show that a number is missing: a kept message with a higher number, and a line's
//! `refused` numbers, which the line brought and the arbiter did not keep. The arbiter forgets
//! `refused` numbers in three cases: the feed has passed them, a kept message shows the same gap,
//! or the line goes back to lower numbers. (In the last case the refused numbers were wrong.) When
//! a line closes, the arbiter moves its `refused` numbers to `left` if they are within reach, and
//! forgets them otherwise. So a closed line's wrong number beyond reach cannot block the feed.
mod gap;
mod state;

use crate::{Event, Line, Numbers, Verdict};
use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, mem, time::Duration};
use state::{Kept, Refused, Source, State};
use tickwire::Time;

/// Merges several lines that carry the same feed into one sequence. Each sequence number is
/// delivered once, at its first arrival, in order. A message ahead of the feed is kept until
/// another line fills the gap, or the gap is lost.
///
/// Give each message to [`offer`](Self::offer). If the message is the [next](Verdict::Next) of the
/// feed, use it where it is, without a copy. Then call [`poll`](Self::poll), which returns the kept
/// messages that are now in order. `T` is the type of a kept message, for example `Bytes`.
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
/// The numbers of one line must ascend, as they do over a WebSocket: a line that has passed a gap
/// will not fill the gap later. So each number is delivered at the latest when the slowest line
/// brings it, or is reported as missing.
///
/// The arbiter holds at most [`most_kept`](Self::most_kept) messages, whatever the lines bring.
/// [`Config::max_message`](tickwire::Config::max_message) limits the size of each message.
pub struct Arbiter<T> {
    /// The most messages that are kept: 4096 unless set. 0 counts as 1. If more messages arrive
    /// while a gap is open, the messages nearest to the gap stay, because the line that fills the
    /// gap brings the dropped messages again.
    pub most_kept: usize,
    /// How far ahead of the feed a message's numbers may go, and how many numbers one message may
    /// have: 1,000,000 unless set. A message further ahead is [refused](Verdict::Refused).
    /// Otherwise a line with wrong numbers could fill all the room. If all lines are beyond the
    /// reach, the gap is lost.
    pub reach: u64,
    /// How long a gap may last if no arriving message is the next of the feed: 1 s unless set.
    /// After this time the gap is lost, even if a line has not passed the gap yet. After the same
    /// time the arbiter reports [`Event::Restart`] if a line has begun to count anew. Set
    /// `patience` to more than the time by which one line lags behind another.
    pub patience: Duration,
    state: State,
    /// The first number that is not delivered.
    next: u64,
    /// When the feed last moved on. This is the latest of three times: when the gap began, when a
    /// message was last `Next` during the gap, and when the feed was last synchronised.
    moved: Time,
    /// The messages received and not delivered yet, in strictly ascending order of `first`. The
    /// numbers of a line ascend, so most messages go to the end.
    kept: VecDeque<Kept<T>>,
    /// True if a line may have `refused` numbers, or if `guessed`, `anew` or `left` is set.
    watched: bool,
    /// `next` was taken from the first message, whatever its number, and no message has followed
    /// the first message.
    guessed: bool,
    /// When a line was first seen to count anew, below the feed. `None` if no line does so, or once
    /// a line has brought the feed's last number or a later number.
    anew: Option<Time>,
    lines: Vec<Source>,
    /// Numbers that closed lines brought and the arbiter did not keep.
    left: Option<Refused>,
}

impl<T> Default for Arbiter<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arbiter<T> {
    /// An arbiter without lines. The arbiter keeps every message until [`resync`](Self::resync) or
    /// [`resume`](Self::resume). After the first message, [`poll`](Self::poll) asks for one of
    /// these calls by [`Event::Restart`].
    pub const fn new() -> Self {
        Self {
            most_kept: 4096,
            reach: 1_000_000,
            patience: Duration::from_secs(1),
            state: State::Restarted,
            next: 0,
            moved: Time::ZERO,
            kept: VecDeque::new(),
            watched: false,
            guessed: false,
            anew: None,
            lines: Vec::new(),
            left: None,
        }
    }

    /// Adds a line: a connection that is subscribed to the feed. From now on, a gap is lost only
    /// after this line too has passed the gap, or after [`patience`](Self::patience).
    pub fn open(&mut self) -> Line {
        let at = self.lines.iter().position(|source| !source.is_open).unwrap_or(self.lines.len());
        match self.lines.get_mut(at) {
            Some(source) => (source.is_open, source.end, source.refused) = (true, 0, None),
            None => self.lines.push(Source { is_open: true, ..Source::default() }),
        }
        Line(at)
    }

    /// Removes a line whose connection is over. No gap waits for the line any more. Call
    /// [`poll`](Self::poll) afterwards.
    pub fn close(&mut self, line: Line) {
        let within = self.within_reach(self.next);
        if let Some(source) = self.lines.get_mut(line.0) {
            source.is_open = false;
            // The line's `refused` numbers are missing if no other line brings them.
            let refused =
                source.refused.take().filter(|refused| refused.end <= source.end.min(within));
            self.left = Refused::both(self.left, refused, within);
        }
    }

    /// The highest `end` that numbers within reach can have, in a feed that continues at `next`.
    fn within_reach(&self, next: u64) -> u64 {
        next.saturating_add(self.reach).saturating_add(1)
    }

    /// Whether this line alone could continue the feed without loss: the line has brought a
    /// message, and everything that it brought is delivered. Close the connection that the line
    /// replaces only when this is true.
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
            if self.is_watchful() {
                self.moved = now;
                (self.guessed, self.anew) = (false, None);
            }
            return Verdict::Next;
        }
        // The line goes on from its last number, so this is an ordinary duplicate. A line that is
        // new, or has gone back to lower numbers, is handled by `elsewhere`.
        if end <= self.next && before.wrapping_sub(1) < end && self.next - end <= self.reach {
            if end == self.next {
                self.anew = None;
            }
            return Verdict::Duplicate;
        }
        let numbers = Numbers { first, last };
        self.elsewhere(line.0, numbers, before, now, own)
    }

    /// Sets the line's `end`, and returns the previous `end`.
    #[inline]
    fn mark(&mut self, line: usize, end: u64) -> u64 {
        let source = self.lines.get_mut(line);
        source.map_or(0, |source| mem::replace(&mut source.end, end))
    }

    /// Whether numbers may have arrived ahead of the feed, or a line may have begun to count anew.
    #[inline]
    fn is_watchful(&self) -> bool {
        !self.kept.is_empty() || self.watched
    }

    fn open_lines(&self) -> impl Iterator<Item = &Source> {
        self.lines.iter().filter(|source| source.is_open)
    }

    /// Whether there are open lines, and `holds` is true for the `end` of every open line. The
    /// `end` of a line that has brought no message is 0.
    fn all_lines(&self, holds: impl Fn(u64) -> bool) -> bool {
        let mut lines = self.open_lines().peekable();
        lines.peek().is_some() && lines.all(|source| holds(source.end))
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
        if end <= self.next {
            let restarted = |end| end != 0 && self.next.saturating_sub(end) > self.reach;
            if !self.all_lines(restarted) {
                self.look_back(end, before, now);
                return Verdict::Duplicate;
            }
            self.restart(State::Restarted);
            self.mark(line, end);
        } else {
            self.anew = None;
            let from = if self.state == State::Synced { self.next } else { first };
            if last - from > self.reach {
                return self.refuse(line, numbers, before, now);
            }
            if self.state == State::Any {
                self.state = State::Synced;
                self.next = end;
                (self.watched, self.guessed) = (true, true);
                return Verdict::Next;
            }
        }
        if !self.is_watchful() {
            self.moved = now;
        }
        let verdict = self.keep(line, first, end, now, own);
        if verdict == Verdict::Refused {
            return self.refuse(line, numbers, before, now);
        }
        // The line's refused numbers lie below the message just kept. That message now shows that
        // the numbers are missing. A kept message beyond reach shows nothing, because it may be
        // dropped without a trace.
        let within = self.within_reach(self.next);
        if let Some(source) = self.lines.get_mut(line).filter(|_| end <= within) {
            source.refused = None;
        }
        verdict
    }

    /// Handles old numbers from a line that is new, has gone back, or is far behind: notes whether
    /// the line counts anew.
    fn look_back(&mut self, end: u64, before: u64, now: Time) {
        if end == self.next {
            self.anew = None;
            return;
        }
        let went_back = end < before && before <= self.next;
        if went_back || self.guessed || self.all_lines(|end| end < self.next) {
            self.watched = true;
            self.anew.get_or_insert(now);
        }
    }

    /// Forgets everything that belongs to the old numbers.
    fn restart(&mut self, state: State) {
        self.state = state;
        self.next = 0;
        (self.guessed, self.anew) = (false, None);
        self.kept.clear();
        self.left = None;
        for source in &mut self.lines {
            (source.end, source.kept, source.refused) = (0, 0, None);
        }
    }

    fn refuse(&mut self, line: usize, numbers: Numbers, before: u64, now: Time) -> Verdict {
        if !self.is_watchful() {
            self.moved = now;
        }
        self.watched = true;
        let (next, within) = (self.next, self.within_reach(self.next));
        let Numbers { first, last } = numbers;
        let new = Refused { lowest: first, end: last + 1, since: now };
        if let Some(source) = self.lines.get_mut(line) {
            let known = source.refused.filter(|known| known.end > next && known.end <= before);
            let known = known.map(|known| Refused { end: known.end.min(new.end), ..known });
            source.refused = Refused::both(known, Some(new), within);
        }
        Verdict::Refused
    }

    fn keep(
        &mut self,
        line: usize,
        first: u64,
        end: u64,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Verdict {
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
            let Some(out) = self.least_wanted(line, at) else { return Verdict::Refused };
            self.drop_kept(out);
            at -= usize::from(out < at);
        }
        if let Some(source) = self.lines.get_mut(line) {
            source.kept += 1;
        }
        self.kept.insert(at, Kept { first, end, since, line, message: own() });
        Verdict::Kept
    }

    /// The index of the kept message to drop, so that a new message of `line` can go to the index
    /// `at`. `None` if the new message itself is the least wanted message.
    fn least_wanted(&self, line: usize, at: usize) -> Option<usize> {
        if self.state == State::Synced {
            // Drop the last message: the line that fills the gap will bring it again.
            return (at < self.kept.len()).then(|| self.kept.len() - 1);
        }
        // Drop the first message of the line with the most kept messages: a snapshot will contain
        // that message. Each line keeps its share, because nobody knows yet which line has the
        // right numbers.
        let kept = |line: usize| self.lines.get(line).map_or(0, |source| source.kept);
        let most = (0..self.lines.len()).max_by_key(|&other| (kept(other), other == line))?;
        let out = self.kept.iter().position(|kept| kept.line == most)?;
        (most != line || out < at).then_some(out)
    }

    /// Drops a kept message, and notes its numbers as refused: the lines that have passed these
    /// numbers will not bring them again.
    fn drop_kept(&mut self, at: usize) {
        let Some(Kept { first, end, since, line, .. }) = self.kept.remove(at) else { return };
        let within = self.within_reach(self.next);
        // `end` is cut at the reach, because another line may have brought only the numbers within
        // reach.
        let end = if first < within { end.min(within) } else { end };
        let dropped = Refused { lowest: first, end, since };
        let mut is_noted = false;
        for (index, source) in self.lines.iter_mut().enumerate() {
            source.kept -= usize::from(index == line);
            if source.is_open && source.end > first {
                let dropped = Refused { end: end.min(source.end), ..dropped };
                source.refused = Refused::both(source.refused, Some(dropped), within);
                is_noted |= index == line && source.end >= end;
            }
        }
        if !is_noted && end <= within {
            self.left = Refused::both(self.left, Some(dropped), within); // its line is closed
        }
        self.watched = true;
    }

    /// Returns the next kept message that is now in order, or reports a lost gap or a restart. Call
    /// `poll` until it returns `None`: after each offered message, after [`resync`](Self::resync),
    /// [`resume`](Self::resume) and [`close`](Self::close), and at
    /// [`poll_timeout`](Self::poll_timeout).
    #[inline]
    pub fn poll(&mut self, now: Time) -> Option<Event<T>> {
        if self.is_watchful() { self.poll_ahead(now) } else { None }
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
            && let Some(Kept { end, line, message, .. }) = self.kept.pop_front()
        {
            if let Some(source) = self.lines.get_mut(line) {
                source.kept -= 1;
            }
            if end > self.next {
                self.next = end;
                return Some(Event::Message(message));
            }
        }
        if self.watched && self.has_restarted(now) {
            self.restart(State::Start);
            return Some(Event::Restart);
        }
        let gap = self.gap()?;
        if !self.is_lost(gap, now) {
            return None;
        }
        self.state = State::Lost(gap);
        Some(Event::Gap(gap))
    }

    /// Whether a line has counted anew for longer than `patience`. Also forgets each `refused` that
    /// the feed has passed, or whose line has gone back.
    fn has_restarted(&mut self, now: Time) -> bool {
        let next = self.next;
        for source in &mut self.lines {
            let holds = |refused: &Refused| refused.end > next && refused.end <= source.end;
            source.refused = source.refused.filter(holds);
        }
        self.left = self.left.filter(|left| left.end > next);
        let is_over = self.anew.is_some_and(|since| since + self.patience <= now);
        let is_behind = |source: &Source| source.end != 0 && source.end < next;
        let restarted = is_over && self.open_lines().any(is_behind);
        if is_over {
            self.anew = None;
        }
        let refused = self.refused().next().is_some();
        self.watched = refused || self.guessed || self.anew.is_some();
        restarted
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
