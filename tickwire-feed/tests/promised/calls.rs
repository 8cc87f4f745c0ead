//! Calls of the arbiter, and what must be true after each call.
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Line, Numbers, Verdict};

use super::model::{
    Broken, Brought, EACH, Feed, Model, Setting, Span, covered, hold, is_range, missing,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// Opens an honest line: its numbers ascend.
    Open(u8),
    /// Opens a line that may bring any number.
    Liar(u8),
    Close(u8),
    /// The line brings a message with these numbers.
    Offer(u8, u64, u64),
    /// Milliseconds pass, and the user polls at each `poll_timeout`.
    Wait(u64),
    /// Milliseconds pass, and the user does not poll.
    Late(u64),
    /// If the feed has stopped.
    Resume,
    Resync(u64),
}

/// An arbiter, and the model that watches it.
pub(crate) struct Run {
    arbiter: Arbiter<Rc<Span>>,
    lines: BTreeMap<u8, Line>,
    pub(crate) model: Model,
    now: Time,
    /// Whether `Restart` has come since `poll` last returned `None`.
    restarted: bool,
}

impl Run {
    pub(crate) fn new(set: Setting) -> Self {
        let mut arbiter = Arbiter::new();
        (arbiter.most_kept, arbiter.reach) = (set.most_kept, set.reach);
        arbiter.patience = set.patience;
        let model = Model { set, ..Model::default() };
        Self { arbiter, lines: BTreeMap::new(), model, now: Time::ZERO, restarted: false }
    }

    pub(crate) fn call(&mut self, call: Call) -> Result<(), Broken> {
        match call {
            Call::Open(id) | Call::Liar(id) if !self.lines.contains_key(&id) => {
                let honest = matches!(call, Call::Open(_));
                self.lines.insert(id, self.arbiter.open());
                self.model.lines.insert(id, Brought { honest, ..Brought::default() });
            }
            Call::Close(id) if self.lines.contains_key(&id) => {
                self.model.closed = true;
                self.model.lines.remove(&id);
                self.lines.remove(&id).into_iter().for_each(|line| self.arbiter.close(line));
                self.drain()?;
            }
            Call::Offer(id, first, last) if self.lines.contains_key(&id) => {
                self.offer(id, (first, last))?;
            }
            Call::Wait(ms) => self.wait(Duration::from_millis(ms))?,
            Call::Late(ms) => self.now = self.now + Duration::from_millis(ms),
            Call::Resume if self.model.is_stopped() => self.resume()?,
            Call::Resync(next) => {
                self.arbiter.resync(next, self.now);
                self.model.resync(next, self.now);
                self.drain()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn offer(&mut self, id: u8, m: Span) -> Result<(), Broken> {
        let (model, now) = (&mut self.model, self.now);
        let (before, allowed, feed) = (model.held(), model.allowed(m), model.feed);
        let expected = model.base.is_some() && m.0 <= model.next;
        let at = format!("{m:?} at {}..{}, {feed:?}, held {before:?}", model.done, model.next);
        model.brought(id, m, now);
        let mut own = None;
        let numbers = Numbers { first: m.0, last: m.1 };
        let verdict = self.arbiter.offer(&self.lines[&id], numbers, now, || {
            let message = Rc::new(m);
            own = Some(Rc::downgrade(&message));
            message
        });
        let kept = verdict == Verdict::Kept;
        hold(own.is_some() == kept, "`own` .. is called only if the message is kept", || {
            at.clone()
        })?;
        hold(allowed.contains(&verdict), sentence_of(verdict, m, model), || {
            format!("{verdict:?}, not one of {allowed:?}, for {at}")
        })?;
        model.kept.extend(own.map(|weak| (m, weak)));
        let honest = model.lines[&id].honest;
        if verdict == Verdict::Next {
            if feed == Feed::Any {
                (model.wrong, model.below, model.followed) = (Some(now), None, expected);
            }
            model.deliver(m, honest)?;
            model.advanced = Some(now);
        }
        if verdict != Verdict::Duplicate && is_range(m) {
            model.lines.entry(id).and_modify(|line| line.stopped.push(m));
        }
        if kept && feed == Feed::Any {
            model.feed = Feed::Synced;
        }
        // What an honest line brings below the last delivered number was delivered or told before.
        if let Some(base) = model.base.filter(|&base| honest && m.1 >= base && model.done > 0) {
            let below = (m.0.max(base), m.1.min(model.done - 1));
            let settled = model.settled();
            let untold = missing(below, &settled);
            hold(untold.is_none(), EACH, || {
                format!("{untold:?} is missing: {verdict:?} for {at}")
            })?;
        }
        // "If more messages arrive while a gap is open, the messages nearest to the gap stay".
        let (full, held) = (before.len() >= model.cap(), model.held());
        let (anew, synced) = (model.all_below(model.set.reach - 1), model.feed == Feed::Synced);
        self.vanished(|gone| {
            let nearer = held.iter().any(|h| h.0 > gone.0 && h.1 > gone.1);
            anew || kept && full && !(synced && nearer)
        })?;
        self.shares()?;
        self.drain()
    }

    /// "Until then the arbiter keeps the newest `most_kept` messages. If more messages arrive, the
    /// lines share this room evenly." It does not say what a closed line's share is.
    fn shares(&self) -> Result<(), Broken> {
        let (model, held) = (&self.model, self.model.held());
        if !model.is_stopped() || model.closed {
            return Ok(());
        }
        let (behind, end) = match model.feed {
            Feed::Lost(gap) => (gap.1 + 1, gap.0.saturating_add(model.set.reach)),
            _ => (0, u64::MAX),
        };
        let share = model.cap() / model.lines.len().max(1);
        let honest = model.lines.values().filter(|line| line.honest);
        let newest = honest.flat_map(|line| line.stopped.iter().rev().take(share));
        let gone = newest.copied().find(|&m| {
            let may_be_kept = behind <= m.0 && m.1 < end && m.1 - m.0 < model.set.reach;
            may_be_kept && !covered(m, &held)
        });
        let sentence = "the arbiter keeps the newest `most_kept` messages .. evenly";
        hold(gone.is_none(), sentence, || format!("{gone:?} is not in {held:?}"))
    }

    /// Kept messages vanish only if they are settled, or if they may.
    fn vanished(&mut self, may: impl Fn(Span) -> bool) -> Result<(), Broken> {
        let (held, model) = (self.model.held(), &mut self.model);
        let gone = |k: &Span| !held.contains(k);
        let settled = |k: &Span| model.base.is_some() && k.1 < model.next || covered(*k, &held);
        let lost = model.kept.iter().map(|k| k.0).find(|k| gone(k) && !settled(k) && !may(*k));
        let what = || format!("{lost:?} vanished at {}, {:?}", model.next, model.feed);
        hold(lost.is_none(), "`poll` returns it when its turn comes", what)?;
        model.kept.retain(|k| k.1.strong_count() > 0);
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Broken> {
        let stopped = self.model.feed;
        let first = self.model.held().iter().map(|m| m.0).min();
        self.arbiter.resume(self.now);
        self.model.resume(self.now);
        let event = self.arbiter.poll(self.now);
        let begins = match &event {
            _ if matches!(stopped, Feed::Lost(_)) => true,
            Some(Event::Message(m)) => Some(m.0) == first,
            _ => first.is_none(),
        };
        let sentence =
            "The feed begins with the first message that the lines brought after the gap";
        hold(begins, sentence, || format!("{event:?} after {stopped:?}, not {first:?}"))?;
        event.map_or(Ok(()), |event| self.event(event))?;
        self.drain()
    }

    fn wait(&mut self, time: Duration) -> Result<(), Broken> {
        let end = self.now + time;
        self.drain()?;
        while let Some(at) = self.arbiter.poll_timeout().filter(|&at| at <= end) {
            self.now = at;
            let event = self.arbiter.poll(self.now);
            let sentence = "At this time a gap is lost, or `Event::Restart` comes";
            let comes = matches!(event, Some(Event::Gap(_) | Event::Restart));
            hold(comes, sentence, || format!("{event:?} at {at:?}, {:?}", self.model.feed))?;
            event.map_or(Ok(()), |event| self.event(event))?;
            self.drain()?;
        }
        self.now = end;
        let event = self.arbiter.poll(self.now);
        let sentence = "When to call `poll` even if no message has arrived";
        hold(event.is_none(), sentence, || format!("{event:?} at {end:?}, without a timeout"))
    }

    fn event(&mut self, event: Event<Rc<Span>>) -> Result<(), Broken> {
        let model = &mut self.model;
        match event {
            Event::Message(message) => {
                let is = |weak: &std::rc::Weak<Span>| std::ptr::eq(weak.as_ptr(), &*message);
                let at = model.kept.iter().position(|k| is(&k.1));
                let sentence = "Returns the next kept message";
                hold(at.is_some(), sentence, || format!("{message:?} was not kept"))?;
                at.map(|at| model.kept.remove(at));
                model.deliver(*message, true)
            }
            Event::Gap(gap) => model.lose(gap, self.now),
            Event::Restart => {
                self.restarted |= model.feed != Feed::Start;
                model.restart(self.now)
            }
        }
    }

    /// "Call `poll` until it returns `None`".
    fn drain(&mut self) -> Result<(), Broken> {
        for _ in 0..=self.model.kept.len() + 3 {
            let Some(event) = self.arbiter.poll(self.now) else {
                let restarted = std::mem::take(&mut self.restarted);
                let synced = self.model.synced.filter(|synced| synced.0 == self.now);
                let end = synced.map(|synced| synced.1.saturating_add(self.model.set.reach));
                self.vanished(|m| restarted || end.is_some_and(|end| m.1 + 1 >= end))?;
                self.model.note_waiting(self.now);
                return self.quiet();
            };
            self.event(event)?;
        }
        Err(("Call `poll` until it returns `None`", format!("{:?}", self.model.feed)))
    }

    /// What must be true when `poll` has returned `None`.
    fn quiet(&self) -> Result<(), Broken> {
        let (model, now) = (&self.model, self.now);
        let (held, due) = (model.held(), self.arbiter.poll_timeout());
        let what = || format!("at {now:?}, {}, {:?}, held {held:?}", model.next, model.feed);
        let sentence = "The arbiter holds at most `most_kept` messages";
        hold(held.len() <= model.cap(), sentence, what)?;
        hold(due.is_none_or(|due| due > now), "When to call `poll`: not in the past", what)?;
        for (id, line) in &self.lines {
            in_sequence(model, *id, self.arbiter.in_sequence(line))?;
        }
        let gap = self.arbiter.gap().map(|gap| (gap.first, gap.last));
        let nearest = held.iter().map(|m| m.0).min();
        let waits = match (model.feed, nearest) {
            (Feed::Lost(lost), _) => gap == Some(lost),
            (Feed::Synced, Some(near)) => gap.is_some_and(|g| g.0 == model.next && g.1 < near),
            (Feed::Synced, None) => gap.is_none_or(|g| g.0 == model.next),
            (Feed::Any, _) => gap.is_none_or(|g| g.0 == model.next && model.base.is_some()),
            _ => gap.is_none(),
        };
        let sentence = "The open gap: the missing numbers that the feed waits for";
        hold(waits, sentence, || format!("{gap:?} {}", what()))?;
        if model.feed == Feed::Synced { self.in_time(nearest, due) } else { Ok(()) }
    }

    /// What must have come by now, or must be due.
    fn in_time(&self, nearest: Option<u64>, due: Option<Time>) -> Result<(), Broken> {
        let (model, next) = (&self.model, self.model.next);
        let what = || format!("{due:?} at {:?}, {next}, {:?}", self.now, model.held());
        let turn = nearest.is_some_and(|first| first <= next);
        hold(!turn, "Returns the next kept message that is now in order", what)?;
        let behind = nearest.unwrap_or(next.saturating_add(1));
        let passed = |l: &Brought| l.messages.last().is_some_and(|m| m.0 >= behind);
        let lost = !model.lines.is_empty() && model.lines.values().all(passed);
        let sentence = if nearest.is_some() {
            "These numbers are lost: all lines have passed them"
        } else {
            "If the snapshot is older than everything that the lines brought, a gap remains, and \
                `poll` reports this gap at once"
        };
        hold(!lost, sentence, what)?;
        let all_spoke = model.lines.values().all(|l| l.spoke);
        let far = all_spoke && model.all_below(model.set.reach + 1);
        let sentence = "at once, when every line is further below the feed than `reach`";
        hold(!far, sentence, what)?;
        let gap = model.held_since.max(model.advanced).max(model.synced.map(|synced| synced.0));
        for (sentence, since) in [
            ("How long a gap may last", gap.filter(|_| nearest.is_some())),
            ("after the arbiter's patience, if .. all lines are below", model.surely_low),
            ("If the number was wrong .., `poll` reports `Event::Restart`", model.below),
        ] {
            let Some(bound) = since.map(|since| since + model.set.patience) else { continue };
            let comes = due.is_some_and(|due| due <= bound) || bound == Time::new(Duration::MAX);
            hold(comes, sentence, || format!("not by {bound:?}: {}", what()))?;
        }
        Ok(())
    }
}

fn sentence_of(verdict: Verdict, m: Span, model: &Model) -> &'static str {
    match verdict {
        _ if is_range(m) && m.1 - m.0 >= model.set.reach => "how many numbers one message may have",
        Verdict::Next => "Next: The message is the next of the feed",
        Verdict::Duplicate => "Duplicate: The message was delivered before, or is kept already",
        Verdict::Kept => "Kept: The message is ahead of the feed",
        Verdict::Refused => "Refused: beyond reach, there is no room, or not a range",
    }
}

/// "Whether this line alone could continue the feed without loss: the line has brought a message,
/// and everything that it brought is delivered." What was told, or lies before the feed's start, may
/// count as delivered.
fn in_sequence(model: &Model, id: u8, told: bool) -> Result<(), Broken> {
    let line = &model.lines[&id];
    let what = || format!("{told}: {line:?}, {}..{}, {:?}", model.done, model.next, model.feed);
    hold(!told || line.highest.is_some(), "the line has brought a message", what)?;
    let settled = model.settled();
    let open = line.messages.iter().any(|m| match model.base {
        Some(base) => m.1 >= base && !covered((m.0.max(base), m.1), &settled),
        None => true,
    });
    let all = !line.messages.is_empty() && model.feed == Feed::Synced;
    let all = all && line.messages.iter().all(|&m| covered(m, &model.delivered));
    let holds = !line.honest || (told || !all) && !(told && open);
    hold(holds, "everything that it brought is delivered", what)
}
