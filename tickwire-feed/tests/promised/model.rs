//! The model: what was brought, delivered and told, as plain ranges of numbers. It says what the
//! documentation of `Arbiter` allows, and keeps no messages in order.
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Weak;
use std::time::Duration;

use Verdict::{Duplicate, Kept, Next, Refused};
use tickwire::Time;
use tickwire_feed::{Gap, Verdict};

/// The first and the last number of a message, of a gap, or of a hole.
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

/// The heart of the documentation: "So each number is delivered at the latest when the slowest line
/// brings it, or is reported as missing."
pub(crate) const EACH: &str = "each number is delivered at the latest when the slowest line brings \
    it, or is reported as missing";

/// The first number of `span` that lies in none of `spans`.
pub(crate) fn missing(span: Span, spans: &[Span]) -> Option<u64> {
    let mut number = span.0;
    while let Some(found) = spans.iter().find(|s| s.0 <= number && number <= s.1) {
        if found.1 >= span.1 {
            return None;
        }
        number = found.1 + 1;
    }
    (number <= span.1).then_some(number)
}

pub(crate) fn covered(span: Span, spans: &[Span]) -> bool {
    missing(span, spans).is_none()
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
    /// `resume` found no kept message.
    Any,
    Synced,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) most_kept: usize,
    pub(crate) reach: u64,
    pub(crate) patience: Duration,
}

/// What an open line brought. Only ranges count.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Each message of an honest line is behind the one before.
    pub(crate) honest: bool,
    /// Since the last `Restart`: in this count of the exchange.
    pub(crate) messages: Vec<Span>,
    /// Since the feed stopped, without duplicates.
    pub(crate) stopped: Vec<Span>,
    /// The highest number ever.
    pub(crate) highest: Option<u64>,
    /// Whether it brought a message since the feed was synchronised.
    pub(crate) spoke: bool,
    /// Whether it went back below its own last number, and no line brought the feed's last since.
    pub(crate) went_back: bool,
}

impl Brought {
    pub(crate) fn last(&self) -> Option<u64> {
        self.messages.last().map(|m| m.1)
    }
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) set: Setting,
    pub(crate) feed: Feed,
    pub(crate) lines: BTreeMap<u8, Brought>,
    /// Whether a line was ever closed.
    pub(crate) closed: bool,
    /// The messages that got `Kept`. The arbiter holds those whose `Weak` is alive.
    pub(crate) kept: Vec<(Span, Weak<Span>)>,
    /// All messages, and when they came.
    pub(crate) arrived: Vec<(Span, Time)>,
    pub(crate) delivered: Vec<Span>,
    /// The gaps that were told.
    pub(crate) told: Vec<Span>,
    /// Missing before a wrong number that was believed.
    pub(crate) excused: Vec<Span>,
    /// What honest lines brought in this count.
    pub(crate) owed: BTreeSet<u64>,
    /// The first number that the feed owes: of a snapshot, or of the first delivered message.
    pub(crate) base: Option<u64>,
    /// Behind the last delivered number; behind the last delivered or told number.
    pub(crate) done: u64,
    pub(crate) next: u64,
    /// When an arriving message was last the next.
    pub(crate) advanced: Option<Time>,
    /// When, and at which number, the feed was last synchronised.
    pub(crate) synced: Option<(Time, u64)>,
    /// Since when messages are held.
    pub(crate) held_since: Option<Time>,
    /// Since when a line has gone back, or all lines are below the feed's last number: at the
    /// earliest, and at the latest.
    pub(crate) low: Option<Time>,
    pub(crate) surely_low: Option<Time>,
    /// When a message was delivered whatever its number, until the next one followed; whether any
    /// message has followed; if not, when another line brought a lower number.
    pub(crate) wrong: Option<Time>,
    pub(crate) followed: bool,
    pub(crate) below: Option<Time>,
}

impl Model {
    pub(crate) fn cap(&self) -> usize {
        self.set.most_kept.max(1) // "0 counts as 1."
    }

    /// The messages that the arbiter holds.
    pub(crate) fn held(&self) -> Vec<Span> {
        self.kept.iter().filter(|k| k.1.strong_count() > 0).map(|k| k.0).collect()
    }

    pub(crate) fn settled(&self) -> Vec<Span> {
        self.delivered.iter().chain(&self.told).chain(&self.excused).copied().collect()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        !matches!(self.feed, Feed::Any | Feed::Synced)
    }

    /// Whether all lines that brought something are further than `distance` below the feed's last
    /// number.
    pub(crate) fn all_below(&self, distance: u64) -> bool {
        let mut lasts = self.lines.values().filter_map(Brought::last).peekable();
        lasts.peek().is_some() && lasts.all(|l| l.saturating_add(1 + distance) < self.next)
    }

    pub(crate) fn is_below(&self) -> bool {
        self.lines.values().any(|l| l.last().is_some_and(|n| n + 1 < self.next))
    }

    /// The verdicts that the documentation allows for a message. It does not say whether the reach
    /// begins at the next number or before it.
    pub(crate) fn allowed(&self, m: Span) -> Vec<Verdict> {
        let (held, reach, next) = (self.held(), self.set.reach, self.next);
        let old = self.base.is_some() && m.1 < next;
        let (far, edge) = (next.saturating_add(reach) < m.1, next.saturating_add(reach) == m.1);
        let anew = old && m.1.saturating_add(reach) < next;
        match self.feed {
            _ if !is_range(m) => vec![Refused], // "its numbers are not a range"
            Feed::Any if anew => vec![Next, Duplicate, Kept, Refused],
            _ if anew => vec![Duplicate, Kept, Refused], // "has begun to count anew"
            _ if old && covered(m, &self.delivered) => vec![Duplicate], // "was delivered before"
            // "how many numbers one message may have"
            _ if m.1 - m.0 >= reach && (old || covered(m, &held)) => vec![Duplicate, Refused],
            _ if m.1 - m.0 >= reach => vec![Refused],
            Feed::Any if self.base.is_none() => vec![Next], // "whatever its number"
            Feed::Any if m.0 <= next && next <= m.1 => vec![Next],
            Feed::Any if old => vec![Next, Duplicate, Kept, Refused],
            // Whatever its number, but another line may still bring what is before it.
            Feed::Any if far || edge => vec![Next, Kept, Refused],
            Feed::Any => vec![Next, Kept],
            Feed::Synced if old => vec![Duplicate, Refused],
            Feed::Lost(gap) if m.1 <= gap.1 => vec![Duplicate, Kept, Refused],
            Feed::Synced if (far || edge) && held.contains(&m) => vec![Duplicate, Refused],
            _ if held.contains(&m) => vec![Duplicate], // "or is kept already"
            _ if covered(m, &held) => vec![Duplicate, Kept, Refused],
            Feed::Synced if far => vec![Refused], // "A message further ahead is refused."
            Feed::Synced if edge => vec![Next, Kept, Refused],
            Feed::Lost(_) if far || edge => vec![Kept, Refused],
            Feed::Synced if m.0 <= next => vec![Next], // "is the next of the feed"
            _ if held.len() < self.cap() => vec![Kept],
            // "the messages nearest to the gap stay"
            Feed::Synced if held.iter().all(|h| h.0 < m.0 && h.1 < m.1) => vec![Refused],
            Feed::Synced if held.iter().any(|h| h.0 > m.0 && h.1 > m.1) => vec![Kept],
            _ => vec![Kept, Refused],
        }
    }

    /// Notes a message that is offered, before its verdict.
    pub(crate) fn brought(&mut self, id: u8, m: Span, now: Time) {
        let started = self.base.is_some();
        let Some(line) = self.lines.get_mut(&id).filter(|_| is_range(m)) else { return };
        if started && m.1 + 1 < self.next && line.last().is_some_and(|last| m.1 < last) {
            line.went_back = true;
            self.low.get_or_insert(now);
        }
        line.messages.push(m);
        line.spoke = true;
        line.highest = line.highest.max(Some(m.1));
        if line.honest {
            self.owed.extend(m.0..=m.1);
        }
        self.arrived.push((m, now));
        if started && m.1 + 1 >= self.next {
            // "a line has since brought the feed's last number or a later number"
            (self.low, self.surely_low, self.below, self.followed) = (None, None, None, true);
            self.lines.values_mut().for_each(|l| l.went_back = false);
        } else if self.wrong.is_some() && !self.followed && !covered(m, &self.told) {
            self.below.get_or_insert(now);
        }
        if m.0 <= self.next && self.next <= m.1 {
            self.wrong = None;
        }
        if started && self.all_below(0) {
            self.surely_low.get_or_insert(now);
        }
    }

    /// A message is delivered, which an honest line brought or not.
    pub(crate) fn deliver(&mut self, m: Span, honest: bool) -> Result<(), Broken> {
        let at = format!("{m:?} at {}..{}, {:?}", self.done, self.next, self.feed);
        let sentence = "Nothing is delivered until you choose how to continue";
        hold(!self.is_stopped(), sentence, || at.clone())?;
        let sentence = "Each sequence number is delivered once, .. in order";
        hold(m.1 >= self.done, sentence, || at.clone())?;
        if self.base.is_none() {
            (self.base, self.done, self.next) = (Some(m.0), m.0, m.0);
        }
        if self.done < m.0 {
            let hole = (self.done, m.0 - 1);
            let untold = if self.feed == Feed::Synced {
                missing(hole, &self.told)
            } else if honest {
                // "no gap reports the numbers that are missing before this message", unless an
                // honest line brought them.
                self.owed.range(hole.0..=hole.1).copied().find(|&n| !covered((n, n), &self.told))
            } else {
                self.excused.push(hole); // "If the number was wrong", `Restart` follows.
                None
            };
            hold(untold.is_none(), EACH, || format!("{untold:?} is missing before {at}"))?;
        }
        self.feed = Feed::Synced;
        self.delivered.push(m);
        (self.done, self.next) = (m.1 + 1, m.1 + 1);
        Ok(())
    }

    pub(crate) fn lose(&mut self, gap: Gap, now: Time) -> Result<(), Broken> {
        let g = (gap.first, gap.last);
        let what = || format!("{gap:?} at {now:?}, {}..{}, {:?}", self.done, self.next, self.feed);
        let sentence = "A lost gap is returned too, until the feed is synchronised again";
        hold(!self.is_stopped(), sentence, what)?;
        hold(g.0 == self.next && is_range(g), "The first missing number", what)?;
        let held = self.held().iter().any(|h| h.0 <= g.1 && g.0 <= h.1);
        hold(!held, "These numbers are lost", what)?;
        let sentence = "Numbers that have not arrived, although later numbers have arrived";
        hold(self.arrived.iter().any(|a| a.0.1 >= g.1), sentence, what)?;
        let found = self.arrived.iter().filter(|a| a.0.1 >= g.0).map(|a| a.1).min();
        let began = found.max(self.advanced);
        let passed = self.lines.values().all(|l| l.highest >= Some(g.1));
        let patient = began.is_some_and(|began| now >= began + self.set.patience);
        let sentence =
            "a gap is lost only after this line too has passed the gap, or after patience";
        hold(passed || patient, sentence, what)?;
        let since = found <= Some(gap.since) && gap.since <= now;
        hold(since, "When the gap was found", || format!("{} found at {found:?}", what()))?;
        self.told.push(g);
        self.stop(Feed::Lost(g));
        Ok(())
    }

    pub(crate) fn restart(&mut self, now: Time) -> Result<(), Broken> {
        if self.feed == Feed::Start {
            let sentence = "with the first message of an arbiter that was not told where to start";
            self.feed = Feed::Asked;
            return hold(!self.arrived.is_empty(), sentence, String::new);
        }
        if self.all_below(0) {
            self.low.get_or_insert(now);
        }
        let patient = |since: Option<Time>| since.is_some_and(|t| now >= t + self.set.patience);
        let wrong = patient(self.wrong) && self.is_below();
        let anew = self.all_below(self.set.reach - 1) || patient(self.low) || wrong;
        let sentence = "This event comes .. after the arbiter's patience, if a line went back below \
            its own last number, or if all lines are below the feed's last number";
        let what = || format!("Restart at {now:?}, {}, {:?}", self.next, self.feed);
        hold(anew && self.feed != Feed::Asked, sentence, what)?;
        self.delivered.clear();
        self.told.clear();
        self.excused.clear();
        self.owed.clear();
        self.lines.values_mut().for_each(|l| l.messages.clear());
        (self.base, self.done, self.next) = (None, 0, 0);
        (self.low, self.surely_low, self.wrong, self.below) = (None, None, None, None);
        self.stop(Feed::Asked);
        Ok(())
    }

    fn stop(&mut self, feed: Feed) {
        self.feed = feed;
        self.lines.values_mut().for_each(|l| l.stopped.clear());
    }

    pub(crate) fn resume(&mut self, now: Time) {
        let stopped = std::mem::replace(&mut self.feed, Feed::Any);
        let first = self.held().iter().map(|m| m.0).min();
        let mut begins = first.unwrap_or(0);
        if let Feed::Lost(gap) = stopped {
            self.next = gap.1 + 1;
            begins = first.map_or(self.next, |first| first.min(self.next));
            if self.held().iter().any(|h| h.1 > gap.1) {
                self.feed = Feed::Synced;
            }
        }
        self.synced = Some((now, begins));
        self.lines.values_mut().for_each(|l| l.spoke = false);
    }

    pub(crate) fn resync(&mut self, next: u64, now: Time) {
        for spans in [&mut self.delivered, &mut self.told, &mut self.excused] {
            spans.retain(|s| s.0 < next);
            spans.iter_mut().for_each(|s| s.1 = s.1.min(next - 1));
        }
        (self.feed, self.base, self.done, self.next) = (Feed::Synced, Some(next), next, next);
        (self.surely_low, self.wrong, self.below) = (None, None, None);
        self.synced = Some((now, next));
        self.lines.values_mut().for_each(|l| (l.went_back, l.spoke) = (false, false));
    }

    /// Notes since when something waits, once `poll` has returned `None`.
    pub(crate) fn note_waiting(&mut self, now: Time) {
        let synced = self.feed == Feed::Synced;
        let waits = synced && !self.held().is_empty();
        self.held_since = self.held_since.or(Some(now)).filter(|_| waits);
        let all_below = self.base.is_some() && self.all_below(0);
        if all_below {
            self.low.get_or_insert(now);
        }
        let went_back = self.lines.values().any(|l| l.went_back);
        if went_back {
            self.surely_low.get_or_insert(now);
        }
        self.surely_low = self.surely_low.filter(|_| synced && (all_below || went_back));
        self.below = self.below.filter(|_| self.is_below());
    }
}
