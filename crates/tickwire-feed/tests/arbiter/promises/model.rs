//! The model: what was brought, delivered and told, as plain ranges of numbers. It says what the
//! documentation of `Arbiter` allows, and keeps no messages in order.
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Weak;
use std::time::Duration;

use Verdict::{Duplicate, Kept, Next, Refused};
use tickwire::Time;
use tickwire_feed::{Gap, Verdict};

/// The first and the last number of a message or a gap.
pub(crate) type Span = (u64, u64);

/// A sentence of the documentation that does not hold, and what happened.
pub(crate) type Broken = (&'static str, String);

pub(crate) fn hold(
    holds: bool,
    sentence: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err((sentence, what())) }
}

/// The heart of the documentation.
pub(crate) const EACH: &str = "each number behind the first delivered number is delivered at the \
    latest when the slowest line brings it, or is reported as missing before any later number is \
    delivered";

/// Whether each number of `span` lies in one of `spans`.
pub(crate) fn covered(span: Span, spans: &[Span]) -> bool {
    let found = spans.iter().find(|s| s.0 <= span.0 && span.0 <= s.1);
    found.is_some_and(|s| span.1 <= s.1 || covered((s.1 + 1, span.1), spans))
}

/// Whether `span` is a range: "less than `u64::MAX`".
pub(crate) fn is_range(span: Span) -> bool {
    span.0 <= span.1 && span.1 < u64::MAX
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Feed {
    /// Neither `resync` nor `resume` was called.
    #[default]
    Start,
    /// `Restart` was told.
    Asked,
    /// This gap was told.
    Lost(Span),
    /// `resume` found no kept message: the feed starts with the next message.
    Any,
    Synced,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) most_kept: usize,
    pub(crate) reach: u64,
    pub(crate) patience: Duration,
}

/// A kept message.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) span: Span,
    pub(crate) alive: Weak<Span>,
    /// The line that it belongs to. `None` if several lines vouched for it.
    pub(crate) of: Option<u8>,
}

/// What the documentation says about a kept message whose line is over.
pub(crate) enum Fate {
    Stays(Vec<u8>),
    Goes,
}

/// What an open line brought. Only ranges count.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Each message of an honest line is behind the one before.
    pub(crate) honest: bool,
    /// The newest message in this count of the exchange.
    pub(crate) last: Option<Span>,
    /// Its first number, since it was opened or went back.
    pub(crate) began: u64,
    /// Since the feed stopped, without duplicates.
    pub(crate) stopped: Vec<Span>,
    /// Whether it went back below its own last number.
    pub(crate) went_back: bool,
    /// Whether it is below a number that was believed.
    pub(crate) doubts: bool,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) set: Setting,
    pub(crate) feed: Feed,
    pub(crate) lines: BTreeMap<u8, Brought>,
    /// Whether a line was ever closed, or left a message to another one.
    pub(crate) closed: bool,
    /// The messages that got `Kept`. The arbiter holds those whose `Weak` is alive.
    pub(crate) kept: Vec<Held>,
    /// All messages, and when they came.
    pub(crate) arrived: Vec<(Span, Time)>,
    /// Whether the feed was told where to start, or has delivered its first number.
    pub(crate) started: bool,
    /// Behind the last number that was delivered or told.
    pub(crate) next: u64,
    /// What honest lines brought within reach since the last `resync`, from `next` on.
    pub(crate) owed: BTreeSet<u64>,
    /// When a message was last `Next`.
    pub(crate) advanced: Option<Time>,
    /// The latest time at which the patience with a gap before a held message may begin.
    pub(crate) moved: Option<Time>,
    /// Whether the first message was believed, and no message in order has followed.
    pub(crate) believes: bool,
    /// Whether a line began or went back below the feed since the last `resync`.
    pub(crate) low: bool,
    /// Since when a line counts anew: at the earliest, and, if it still does, at the latest.
    pub(crate) anew: Option<Time>,
    pub(crate) surely_anew: Option<Time>,
    /// The line whose message showed that all lines are further below the feed than the reach.
    pub(crate) far: Option<u8>,
}

impl Model {
    pub(crate) fn cap(&self) -> usize {
        self.set.most_kept.max(1) // "0 counts as 1."
    }

    /// The messages that the arbiter holds.
    pub(crate) fn held(&self) -> Vec<Span> {
        self.kept.iter().filter(|k| k.alive.strong_count() > 0).map(|k| k.span).collect()
    }

    /// "Whose a kept message is". `began` and `last` are of the line that is over or went back.
    fn fate(&self, id: u8, first: u64, began: u64, last: u64) -> Fate {
        let open = self.lines.iter();
        let mut behind = open.clone().map(|(_, l)| l.last.map(|last| last.1));
        let others = open.filter(|(other, _)| **other != id);
        let others = others.filter_map(|(other, l)| Some((*other, l.began, l.last?.1)));
        let passed = others.clone().filter(|(_, began, last)| (*began..=*last).contains(&first));
        let passed: Vec<u8> = passed.map(|(other, ..)| other).collect();
        if !passed.is_empty() {
            return Fate::Stays(passed);
        }
        let common = others.filter(|(_, other, end)| *other <= last && began <= *end);
        let common: Vec<u8> = common.map(|(other, ..)| other).collect();
        let is_behind = behind.any(|last| last.is_none_or(|last| last < first));
        if is_behind || common.is_empty() { Fate::Goes } else { Fate::Stays(common) }
    }

    /// Decides about the messages of a line that is over or went back. Returns those that go.
    pub(crate) fn release(&mut self, id: u8, began: u64, last: u64) -> Vec<Held> {
        let mut gone = Vec::new();
        for mut held in std::mem::take(&mut self.kept) {
            if held.of == Some(id) {
                match self.fate(id, held.span.0, began, last) {
                    Fate::Stays(heirs) => {
                        held.of = Some(heirs[0]).filter(|_| heirs.len() == 1);
                        self.closed = true;
                    }
                    Fate::Goes => {
                        gone.push(held);
                        continue;
                    }
                }
            }
            self.kept.push(held);
        }
        // "A dropped message is forgotten."
        let lasts: Vec<u64> = self.lines.values().filter_map(|l| Some(l.last?.1)).collect();
        self.owed.retain(|number| lasts.iter().any(|last| last >= number));
        if self.held().is_empty() {
            self.moved = None;
        }
        gone
    }

    pub(crate) fn is_stopped(&self) -> bool {
        !matches!(self.feed, Feed::Any | Feed::Synced)
    }

    /// Whether all lines that brought something are more than `distance` below the feed's last
    /// number.
    fn all_below(&self, distance: u64) -> bool {
        let mut lasts = self.lines.values().filter_map(|l| l.last).peekable();
        lasts.peek().is_some() && lasts.all(|l| l.1.saturating_add(1 + distance) < self.next)
    }

    /// Those of which the model knows whose they are.
    pub(crate) fn held_by_one(&self) -> Vec<Span> {
        let known = self.kept.iter().filter(|k| k.of.is_some());
        known.filter(|k| k.alive.strong_count() > 0).map(|k| k.span).collect()
    }

    /// The verdicts that the documentation allows for a message that `brought` has noted, beside
    /// these `held`.
    pub(crate) fn allowed(&self, m: Span, held: &[Span]) -> Vec<Verdict> {
        let (reach, next) = (self.set.reach, self.next);
        let from = if self.feed == Feed::Synced { next } else { m.0 };
        match self.feed {
            _ if !is_range(m) => vec![Refused], // "its numbers are not a range"
            _ if self.far.is_some() => vec![if m.1 - m.0 > reach { Refused } else { Kept }],
            _ if self.started && m.1 < next => vec![Duplicate], // "delivered, told, or before"
            // "the next one of the feed while one line alone is open"
            Feed::Synced if m.0 <= next && self.lines.len() == 1 => vec![Next],
            _ if m.1 - from > reach => vec![Refused], // "beyond reach"
            Feed::Any => vec![Next],                  // "whatever its number"
            Feed::Synced if m.0 <= next => vec![Next], // "is the next of the feed"
            _ if held.contains(&m) => vec![Duplicate], // "or is kept already"
            _ if covered(m, held) => vec![Duplicate, Kept, Refused],
            _ if held.len() < self.cap() => vec![Kept],
            // "the messages nearest to the gap stay"
            Feed::Synced if held.iter().all(|h| h.0 < m.0 && h.1 < m.1) => vec![Refused],
            Feed::Synced if held.iter().any(|h| h.0 > m.0 && h.1 > m.1) => vec![Kept],
            _ => vec![Kept, Refused],
        }
    }

    /// Notes a message that is offered, before its verdict.
    pub(crate) fn brought(&mut self, id: u8, m: Span, now: Time) {
        let (next, reach, started) = (self.next, self.set.reach, self.started);
        let Some(line) = self.lines.get_mut(&id).filter(|_| is_range(m)) else { return };
        if started && m.1 + 1 < next {
            line.doubts |= self.believes;
            line.went_back |= line.last.is_some_and(|last| m.1 < last.1);
            self.low |= line.doubts || line.went_back || line.last.is_none();
        }
        if line.last.is_none_or(|last| m.1 < last.1) {
            line.began = m.0;
        }
        line.last = Some(m);
        self.arrived.push((m, now));
        if line.honest && started && m.1 >= next && m.1 - next <= reach {
            self.owed.extend(m.0.max(next)..=m.1);
        }
        if started && m.1 + 1 >= next {
            // "a line has since brought the feed's last number or a later number"
            (self.anew, self.surely_anew) = (None, None);
            self.lines.values_mut().for_each(|l| (l.went_back, l.doubts) = (false, false));
        }
        let all_spoke = self.lines.values().all(|l| l.last.is_some());
        self.far = (started && all_spoke && self.all_below(reach)).then_some(id);
    }

    pub(crate) fn deliver(&mut self, m: Span) -> Result<(), Broken> {
        let at = || format!("{m:?} at {}, {:?}", self.next, self.feed);
        hold(!self.is_stopped(), "Nothing is delivered until you choose how to continue", at)?;
        if self.started {
            hold(m.1 >= self.next, "Each sequence number is delivered once, .. in order", at)?;
            hold(m.0 <= self.next, EACH, at)?;
        }
        self.believes = !self.started;
        (self.feed, self.started) = (Feed::Synced, true);
        self.settle(m.1 + 1);
        Ok(())
    }

    fn settle(&mut self, next: u64) {
        self.next = next;
        self.owed = self.owed.split_off(&next);
    }

    pub(crate) fn lose(&mut self, gap: Gap, now: Time) -> Result<(), Broken> {
        let g = (gap.first, gap.last);
        let found = self.arrived.iter().filter(|a| a.0.1 >= g.0).map(|a| a.1).min();
        let what = || format!("{gap:?} at {now:?}, {found:?}, {}, {:?}", self.next, self.feed);
        let sentence = "A lost gap is returned too, until the feed is synchronised again";
        hold(!self.is_stopped(), sentence, what)?;
        hold(g.0 == self.next && is_range(g), "The first missing number", what)?;
        let held = self.held().iter().any(|h| h.0 <= g.1 && g.0 <= h.1);
        hold(!held, "These numbers are lost", what)?;
        let sentence = "Numbers that have not arrived, although later numbers have arrived";
        hold(self.arrived.iter().any(|a| a.0.1 >= g.1), sentence, what)?;
        let mut lines = self.lines.values().peekable();
        let passed = |l: &Brought| l.last.is_some_and(|last| last.1 >= g.1);
        let passed = lines.peek().is_some() && lines.all(passed);
        let began = found.max(self.advanced);
        let patient = began.is_some_and(|began| now >= began + self.set.patience);
        hold(passed || patient, "all lines have passed them, or .. patience has passed", what)?;
        let since = found <= Some(gap.since) && gap.since <= now;
        hold(since, "When the gap was found", what)?;
        self.stop(Feed::Lost(g));
        Ok(())
    }

    pub(crate) fn restart(&mut self, now: Time) -> Result<(), Broken> {
        if self.feed == Feed::Start {
            let sentence = "with the first message of an arbiter that was not told where to start";
            self.feed = Feed::Asked;
            return hold(!self.arrived.is_empty(), sentence, String::new);
        }
        let patient = self.anew.is_some_and(|since| now >= since + self.set.patience);
        let anew = self.far.is_some() || self.feed == Feed::Synced && patient;
        let sentence = "This event comes .. after the arbiter's patience, if a line counts anew";
        hold(anew, sentence, || format!("Restart at {now:?}, {}, {:?}", self.next, self.feed))?;
        let far = self.far.take(); // its message belongs to the new count
        for (id, line) in &mut self.lines {
            line.last = line.last.filter(|_| far == Some(*id));
            line.began = line.last.map_or(0, |last| last.0);
        }
        self.go_on(Feed::Asked, 0);
        self.stop(Feed::Asked);
        Ok(())
    }

    fn stop(&mut self, feed: Feed) {
        self.feed = feed;
        self.lines.values_mut().for_each(|l| l.stopped.clear());
    }

    /// Forgets all but the held messages, and goes on at `next`.
    fn go_on(&mut self, feed: Feed, next: u64) {
        (self.feed, self.next, self.started) = (feed, next, feed == Feed::Synced);
        (self.believes, self.low) = (false, false);
        (self.anew, self.surely_anew) = (None, None);
        self.owed.clear();
        self.lines.values_mut().for_each(|l| (l.went_back, l.doubts) = (false, false));
    }

    pub(crate) fn resync(&mut self, next: u64, now: Time) {
        self.go_on(Feed::Synced, next);
        self.low = self.lines.values().any(|l| l.last.is_some_and(|last| last.1 + 1 < next));
        self.moved = Some(now);
    }

    pub(crate) fn resume(&mut self, now: Time) {
        match (self.feed, self.held().iter().map(|m| m.0).min()) {
            (Feed::Lost(gap), _) => {
                (self.feed, self.believes) = (Feed::Synced, false);
                self.settle(gap.1 + 1);
                // The gap was told, so a doubt is no reason any more. A closed line may have gone
                // back.
                self.lines.values_mut().for_each(|l| l.doubts = false);
                let counts = self.closed || self.counts_anew();
                self.anew = self.anew.filter(|_| counts).map(|_| now);
            }
            (_, Some(first)) => self.go_on(Feed::Synced, first),
            (_, None) => self.go_on(Feed::Any, 0),
        }
        self.moved = Some(now);
    }

    fn counts_anew(&self) -> bool {
        let is_below = |l: &Brought| l.last.is_some_and(|last| last.1 + 1 < self.next);
        let below = self.lines.values().any(|l| (l.went_back || l.doubts) && is_below(l));
        self.started && (below || self.low && self.all_below(0))
    }

    /// Notes since when something waits.
    pub(crate) fn note_waiting(&mut self, now: Time) {
        let synced = self.feed == Feed::Synced;
        let waits = synced && !self.held().is_empty();
        self.moved = self.moved.or(Some(now)).filter(|_| waits);
        let counts = self.counts_anew();
        self.anew = self.anew.or(counts.then_some(now));
        self.surely_anew = self.surely_anew.or(Some(now)).filter(|_| synced && counts);
    }
}
