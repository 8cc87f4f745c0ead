//! Several lines of one feed, made one.
//!
//! ```text
//!   delivered          gap          kept: they wait for the gap to be filled
//! .. 4 5 6 7     |    8 9    |    10 11 12    14
//!                next                         another gap is in front of it
//! ```
//!
//! Invariant: `next` is the first number that is not delivered. While the arbiter is in sync, all
//! that is kept is behind it, but for what the caller has yet to `poll`.
//!
//! That a number is missing shows by what is kept, and by what a line brought that was not kept:
//! the line's `refused`. That is forgotten once it is behind the feed, or shown by what is kept, or
//! once the line goes back: then it was wrong. It outlives its line only within reach. So a wrong
//! number beyond reach goes with its line.
mod state;

use crate::{Event, Gap, Line, Numbers, Verdict};
use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, mem, time::Duration};
use state::{Kept, Refused, Source, State};
use tickwire::Time;

/// Makes one feed of several lines that carry it: the first arrival of each sequence number is
/// delivered, in order, and a second one is not. A message that is ahead of the feed is kept until
/// another line has filled the gap, or the gap is lost.
///
/// Each message goes to [`offer`](Self::offer), which says whether it is the [next](Verdict::Next)
/// of the feed: then it is used from where it is, without a copy. After that [`poll`](Self::poll)
/// gives what was kept and is now in order. `T` is a message that is kept, `Bytes` for one.
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
/// Within a line numbers have to ascend, as they do over a WebSocket: a line that has passed a gap
/// will not fill it any more. So each number is delivered at the latest when the last line brings
/// it.
///
/// Memory is that of [`most_kept`](Self::most_kept) messages, whatever the lines bring. The
/// messages' size is limited by [`Config::max_message`](tickwire::Config::max_message).
pub struct Arbiter<T> {
    /// The most messages that are kept, at least 1, 4096 unless set. The nearest to the gap stay:
    /// what is further ahead comes again with the line that fills it.
    pub most_kept: usize,
    /// How far ahead of the feed the numbers of a message may go, and how many there may be,
    /// 1,000,000 unless set. A message further ahead is [refused](Verdict::Refused): a line with
    /// wrong numbers would fill the room there is. If all lines are beyond it, the gap is lost.
    pub reach: u64,
    /// How long a gap may last once nothing arrives that is next, 1 s unless set: then it is lost,
    /// though a line has not passed it yet. It is also the time after which a line that has begun
    /// to count anew is [believed](Event::Restart). Longer than one line lags behind the other.
    pub patience: Duration,
    state: State,
    /// The first number that is not delivered.
    next: u64,
    /// When the last message was next while a gap was open, the gap began, or the feed was
    /// synchronised.
    moved: Time,
    /// What is ahead, each `first` above the one before. Lines ascend, so most go to the end.
    kept: VecDeque<Kept<T>>,
    /// Whether a line may have `refused`, or one of the next two is set.
    watched: bool,
    /// Whether `next` was taken from the first message that came, and nothing has followed it.
    guessed: bool,
    /// Since when a line has been counting anew, and no line has brought anything that is not
    /// behind the feed.
    anew: Option<Time>,
    lines: Vec<Source>,
    /// What lines that are closed brought and was not kept.
    left: Option<Refused>,
}

impl<T> Default for Arbiter<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arbiter<T> {
    /// Without lines. All is kept until [`resync`](Self::resync) or [`resume`](Self::resume), and
    /// the first message makes [`poll`](Self::poll) ask for that by [`Event::Restart`].
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

    /// Adds a line: a connection that is subscribed to the feed. From now on a gap waits for it
    /// too.
    pub fn open(&mut self) -> Line {
        let at = self.lines.iter().position(|source| !source.is_open).unwrap_or(self.lines.len());
        match self.lines.get_mut(at) {
            Some(source) => (source.is_open, source.end, source.refused) = (true, 0, None),
            None => self.lines.push(Source { is_open: true, ..Source::default() }),
        }
        Line(at)
    }

    /// The line's connection is over: no gap waits for it. [`poll`](Self::poll) afterwards.
    pub fn close(&mut self, line: Line) {
        let within = self.within_reach(self.next);
        if let Some(source) = self.lines.get_mut(line.0) {
            source.is_open = false;
            // The line brought it: no other may, and then it is missing.
            let refused =
                source.refused.take().filter(|refused| refused.end <= source.end.min(within));
            self.left = Refused::both(self.left, refused, within);
        }
    }

    /// The highest `end` of numbers within reach of a feed that goes on with `next`.
    fn within_reach(&self, next: u64) -> u64 {
        next.saturating_add(self.reach).saturating_add(1)
    }

    /// Whether the feed would lose nothing if this line alone were left: it has brought something,
    /// and all of that is delivered, so the feed goes on from there. Only then may the connection
    /// be closed that it replaces.
    pub fn in_sequence(&self, line: &Line) -> bool {
        let source = self.lines.get(line.0).filter(|source| source.is_open);
        self.state == State::Synced
            && source.is_some_and(|source| source.end != 0 && source.end <= self.next)
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
        // A line goes on where it was. One that is new, or is back behind that, is looked at.
        if end <= self.next && before.wrapping_sub(1) < end && self.next - end <= self.reach {
            if end == self.next {
                self.anew = None;
            }
            return Verdict::Duplicate;
        }
        let numbers = Numbers { first, last };
        self.elsewhere(line.0, numbers, before, now, own)
    }

    /// Returns where the line was before.
    #[inline]
    fn mark(&mut self, line: usize, end: u64) -> u64 {
        let source = self.lines.get_mut(line);
        source.map_or(0, |source| mem::replace(&mut source.end, end))
    }

    /// Whether there is something that may be ahead of the feed, or its numbers may have begun
    /// anew.
    #[inline]
    fn is_watchful(&self) -> bool {
        !self.kept.is_empty() || self.watched
    }

    fn open_lines(&self) -> impl Iterator<Item = &Source> {
        self.lines.iter().filter(|source| source.is_open)
    }

    /// Whether there are lines, and this holds of all. A line that has brought nothing has an `end`
    /// of 0.
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
        // A kept message shows all that its line brought before. One beyond reach shows nothing: it
        // may be dropped without a trace.
        let within = self.within_reach(self.next);
        if let Some(source) = self.lines.get_mut(line).filter(|_| end <= within) {
            source.refused = None;
        }
        verdict
    }

    /// A line has brought what was delivered before, and is new, has gone back, or is far behind.
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

    /// Forgets what belongs to other numbers.
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
    /// Which is dropped for a message of this line that belongs `at` this place, if it is not that
    /// message.
    fn least_wanted(&self, line: usize, at: usize) -> Option<usize> {
        if self.state == State::Synced {
            // The line that fills the gap will bring the last again.
            return (at < self.kept.len()).then(|| self.kept.len() - 1);
        }
        // A snapshot will have the first of a line. Which line is right will show: each has its
        // share.
        let kept = |line: usize| self.lines.get(line).map_or(0, |source| source.kept);
        let most = (0..self.lines.len()).max_by_key(|&other| (kept(other), other == line))?;
        let out = self.kept.iter().position(|kept| kept.line == most)?;
        (most != line || out < at).then_some(out)
    }

    /// The lines that have passed it will not bring it again.
    fn drop_kept(&mut self, at: usize) {
        let Some(Kept { first, end, since, line, .. }) = self.kept.remove(at) else { return };
        let within = self.within_reach(self.next);
        // The part within reach is what another line may have brought as well.
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

    /// What was kept and is in order now, or a gap that is lost. After each message offered, after
    /// [`resync`](Self::resync), [`resume`](Self::resume) and [`close`](Self::close), and at
    /// [`poll_timeout`](Self::poll_timeout), until it is `None`.
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

    /// Whether patience with lines that count anew is at its end. Forgets what is refuted by now.
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

    /// The gap that the feed waits to see filled, or that is lost, until the feed is synchronised
    /// again.
    pub fn gap(&self) -> Option<Gap> {
        let first = match self.state {
            State::Synced => self.next,
            State::Lost(gap) => return Some(gap), // whatever has come or gone since
            State::Start | State::Restarted | State::Any => return None,
        };
        let refused = self.refused().filter(|refused| refused.end > first);
        let refused = refused.map(|Refused { lowest, end, since }| {
            (if lowest > first { lowest } else { end }, since)
        });
        let kept = self.kept.front().filter(|kept| kept.first > first);
        let kept = kept.map(|kept| (kept.first, kept.since));
        let (end, since) = refused.chain(kept).reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))?;
        Some(Gap { first, last: end - 1, since })
    }

    /// What lines brought and was not kept.
    fn refused(&self) -> impl Iterator<Item = Refused> {
        let of_line = |source: &Source| source.refused.filter(|refused| refused.end <= source.end);
        self.lines.iter().filter_map(of_line).chain(self.left)
    }

    fn is_lost(&self, gap: Gap, now: Time) -> bool {
        self.all_lines(|end| end > gap.last) || self.moved + self.patience <= now
    }

    /// When [`poll`](Self::poll) has to be called although no message has come: a gap is lost then,
    /// or lines that count anew are believed.
    pub fn poll_timeout(&self) -> Option<Time> {
        let waits = matches!(self.state, State::Synced | State::Any) && self.is_watchful();
        let since = if waits { self.gap().map(|_| self.moved) } else { None };
        let anew = self.anew.filter(|_| waits);
        since.into_iter().chain(anew).min().map(|since| since + self.patience)
    }

    /// Starts, or goes on, with this number: the first that a snapshot does not contain. Call
    /// [`poll`](Self::poll), which gives what was kept from there on; what the snapshot contains is
    /// dropped.
    ///
    /// A snapshot older than all that the lines brought leaves a gap, which is lost at once: take
    /// another.
    pub fn resync(&mut self, next: u64, now: Time) {
        self.go_on_from(next, next, now);
    }

    /// What is kept has to be in reach of `base`: one wrong number would be in the way of every
    /// snapshot.
    fn go_on_from(&mut self, next: u64, base: u64, now: Time) {
        self.next = next;
        self.moved = now;
        self.go_on(State::Synced, now);
        let end = self.kept.partition_point(|kept| kept.first.saturating_sub(base) <= self.reach);
        while self.kept.len() > end {
            self.drop_kept(self.kept.len() - 1);
        }
    }

    /// Starts, or goes on behind a gap that is lost, with what the lines brought behind it, or else
    /// with the first message that comes. Call [`poll`](Self::poll). If more is missing in front of
    /// what is kept, or a line brought numbers within [`reach`](Self::reach) that were
    /// [refused](Verdict::Refused), it is another [gap](Event::Gap).
    ///
    /// Where the lines brought nothing behind the gap, the first message that comes is believed,
    /// whatever its number: no gap names what is missing in front of it. If nothing follows it
    /// while another line is below, [`Event::Restart`] comes after the arbiter's
    /// [patience](Self::patience).
    pub fn resume(&mut self, now: Time) {
        let behind = self.gap().map(|gap| gap.last + 1);
        let kept = self.kept.front().map(|kept| kept.first);
        let next = behind.into_iter().chain(kept).min().map_or(self.next, |at| at.max(self.next));
        // A kept message shows what its line brought before, unless it lies beyond reach: then it may
        // be dropped without a trace. It shows nothing of another line, which may be the honest one.
        let within = self.within_reach(self.next);
        let unshown = |refused: Refused, line: Option<usize>| {
            let shows = |kept: &&Kept<T>| Some(kept.line) == line && kept.end <= within;
            let shown = self.kept.iter().rev().find(shows).map_or(next, |kept| kept.end);
            let lowest = refused.lowest.max(shown);
            (shown < refused.end && refused.end <= within).then_some(Refused { lowest, ..refused })
        };
        let of_line = |source: &Source| source.refused.filter(|refused| refused.end <= source.end);
        let lines = self.lines.iter().enumerate();
        let refused: Vec<_> = lines
            .map(|(line, source)| of_line(source).and_then(|refused| unshown(refused, Some(line))))
            .collect();
        let left = self.left.and_then(|left| unshown(left, None));
        let is_any = left.is_some() || refused.iter().any(Option::is_some);
        match kept {
            Some(first) => self.go_on_from(next, self.next.max(first), now),
            None if is_any => self.go_on_from(next, next, now),
            None => self.go_on(State::Any, now),
        }
        if is_any {
            for (source, refused) in self.lines.iter_mut().zip(refused) {
                source.refused = Refused::both(source.refused, refused, within);
            }
            (self.left, self.watched) = (Refused::both(self.left, left, within), true);
        }
    }

    fn go_on(&mut self, state: State, now: Time) {
        self.state = state;
        self.guessed = false;
        self.anew = self.anew.map(|_| now);
        self.watched = self.anew.is_some();
        self.left = None;
        for source in &mut self.lines {
            source.refused = None;
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
