//! Calls of the arbiter, and what must be true after each call.
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Limits, Line, Numbers, Verdict};

use super::model::{
    Broken, Brought, EACH, Feed, Held, Model, Setting, Span, covered, hold, is_range,
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
    Resume,
    Resync(u64),
}

/// An arbiter, and the model that watches it.
pub(crate) struct Run {
    arbiter: Arbiter<Rc<Span>>,
    lines: BTreeMap<u8, Line>,
    pub(crate) model: Model,
    now: Time,
}

impl Run {
    pub(crate) fn new(set: Setting) -> Self {
        let Setting { most_kept, reach, patience } = set;
        let limits = Limits { most_kept, reach, patience, ..Limits::default() };
        let arbiter = Arbiter::new(limits, |_| 0);
        let model = Model { set, ..Model::default() };
        Self { arbiter, lines: BTreeMap::new(), model, now: Time::ZERO }
    }

    pub(crate) fn call(&mut self, call: Call) -> Result<(), Broken> {
        match call {
            Call::Open(id) | Call::Liar(id) if !self.lines.contains_key(&id) => {
                let honest = matches!(call, Call::Open(_));
                self.lines.insert(id, self.arbiter.open());
                self.model.lines.insert(id, Brought { honest, ..Brought::default() });
            }
            Call::Close(id) => {
                let Some(line) = self.lines.remove(&id) else { return Ok(()) };
                self.arbiter.close(line);
                let brought = self.model.lines.remove(&id);
                self.model.closed = true;
                if let Some((began, (_, last))) = brought.and_then(|l| Some((l.began, l.last?))) {
                    are_gone(&self.model.release(id, began, last))?;
                }
            }
            Call::Offer(id, ..) if !self.lines.contains_key(&id) => {}
            Call::Offer(id, first, last) => self.offer(id, (first, last))?,
            Call::Wait(ms) => return self.wait(Duration::from_millis(ms)),
            Call::Late(ms) => {
                self.now = self.now + Duration::from_millis(ms);
                return Ok(());
            }
            Call::Resync(next) => {
                self.arbiter.resync(next, self.now);
                self.model.resync(next, self.now);
                self.synchronised(next)?;
            }
            Call::Resume => {
                self.arbiter.resume(self.now);
                if self.model.is_stopped() {
                    let first = self.model.held().iter().map(|m| m.0).min();
                    self.model.resume(self.now);
                    self.synchronised(first.unwrap_or(0).max(self.model.next))?;
                }
            }
            _ => {}
        }
        self.drain()
    }

    fn offer(&mut self, id: u8, m: Span) -> Result<(), Broken> {
        let (model, now) = (&mut self.model, self.now);
        let (feed, next) = (model.feed, model.next);
        let line = &model.lines[&id];
        let back = line.last.filter(|last| is_range(m) && m.1 < last.1);
        let back = back.map(|last| (line.began, last.1));
        model.brought(id, m, now);
        let gone = match back {
            Some((began, last)) => model.release(id, began, last),
            None => Vec::new(),
        };
        let before = model.held();
        let mut allowed = model.allowed(m, &before);
        if back.is_some() {
            // What several lines vouched for may be this line's, and go.
            allowed.extend(model.allowed(m, &model.held_by_one()));
        }
        let mut own = None;
        let numbers = Numbers { first: m.0, last: m.1 };
        let verdict = self.arbiter.offer(&self.lines[&id], numbers, now, || {
            let message = Rc::new(m);
            own = Some(Rc::downgrade(&message));
            message
        });
        let kept = verdict == Verdict::Kept;
        let what = || format!("{verdict:?} of {allowed:?}: {m:?} at {next}, {feed:?}, {before:?}");
        hold(own.is_some() == kept, "`own` .. is called only if the message is kept", what)?;
        hold(allowed.contains(&verdict), "The decision about a message", what)?;
        are_gone(&gone)?;
        model.kept.extend(own.map(|alive| Held { span: m, alive, of: Some(id) }));
        if verdict == Verdict::Next {
            model.deliver(m)?;
            (model.advanced, model.moved) = (Some(now), Some(now));
        }
        if verdict != Verdict::Duplicate && is_range(m) {
            model.lines.entry(id).and_modify(|line| line.stopped.push(m));
        }
        // "If more messages arrive while a gap is open, the messages nearest to the gap stay".
        let (full, held) = (before.len() >= model.cap(), model.held());
        let (anew, synced) = (model.far.is_some(), model.feed == Feed::Synced);
        self.vanished(|gone| {
            let nearer = held.iter().any(|h| h.0 > gone.0 && h.1 > gone.1);
            anew || kept && full && !(synced && nearer)
        })?;
        self.shares()
    }

    /// "Until then the arbiter keeps the newest messages, and the lines share the room evenly."
    fn shares(&self) -> Result<(), Broken> {
        let (model, held) = (&self.model, self.model.held());
        if !model.is_stopped() || model.closed {
            return Ok(()); // "Messages of closed lines count too."
        }
        let share = model.cap() / model.lines.len();
        let honest = model.lines.values().filter(|line| line.honest);
        let mut newest = honest.flat_map(|line| line.stopped.iter().rev().take(share));
        let may_be_kept = |m: Span| m.1 >= model.next && m.1 - m.0 <= model.set.reach;
        // "A message that several lines brought counts for one of them": the one that says more.
        let all = || model.lines.values().flat_map(|line| &line.stopped);
        let counts = |m: Span| !all().any(|more| more.0 == m.0 && more.1 > m.1);
        let gone = newest.find(|&&m| may_be_kept(m) && counts(m) && !covered(m, &held));
        hold(gone.is_none(), "the lines share the room", || format!("{gone:?} not in {held:?}"))
    }

    /// Kept messages vanish only if they are settled, or if they may.
    fn vanished(&mut self, may: impl Fn(Span) -> bool) -> Result<(), Broken> {
        let (held, model) = (self.model.held(), &mut self.model);
        let settled = |k: Span| model.started && k.1 < model.next || covered(k, &held);
        let known = model.kept.iter().filter(|k| k.of.is_some());
        let gone = known.map(|k| k.span).filter(|k| !held.contains(k));
        let lost = gone.into_iter().find(|&k| !settled(k) && !may(k));
        let what = || format!("{lost:?} vanished at {}, {:?}", model.next, model.feed);
        hold(lost.is_none(), "`poll` returns it when its turn comes", what)?;
        model.kept.retain(|k| k.alive.strong_count() > 0);
        Ok(())
    }

    /// A message further above `base` than the reach may be wrong.
    fn synchronised(&mut self, base: u64) -> Result<(), Broken> {
        let end = base.saturating_add(self.model.set.reach);
        self.vanished(|m| m.0 > end)
    }

    fn wait(&mut self, time: Duration) -> Result<(), Broken> {
        let end = self.now + time;
        self.drain()?;
        while let Some(at) = self.arbiter.poll_timeout().filter(|&at| at <= end) {
            self.now = at;
            let event = self.arbiter.poll(self.now);
            let comes = matches!(event, Some(Event::Gap(_) | Event::Restart));
            let sentence = "At this time a gap is lost, or `Event::Restart` comes";
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
                let is = |weak: &Weak<Span>| std::ptr::eq(weak.as_ptr(), &*message);
                let at = model.kept.iter().position(|k| is(&k.alive));
                hold(at.is_some(), "Returns the next kept message", || format!("{message:?}"))?;
                at.map(|at| model.kept.remove(at));
                model.deliver(*message)
            }
            Event::Gap(gap) => model.lose(gap, self.now),
            Event::Restart => {
                let first = model.feed == Feed::Start;
                model.restart(self.now)?;
                self.vanished(|_| !first) // "the kept messages of the old count are dropped"
            }
        }
    }

    /// "Call `poll` until it returns `None`".
    fn drain(&mut self) -> Result<(), Broken> {
        for _ in 0..=self.model.kept.len() + 3 {
            self.model.note_waiting(self.now);
            let Some(event) = self.arbiter.poll(self.now) else {
                self.vanished(|_| false)?;
                self.model.note_waiting(self.now);
                return self.quiet();
            };
            self.event(event)?;
        }
        Err(("Call `poll` until it returns `None`", format!("{:?}", self.model.feed)))
    }

    /// What must be true when `poll` has returned `None`.
    fn quiet(&self) -> Result<(), Broken> {
        let (model, held, next) = (&self.model, self.model.held(), self.model.next);
        let (due, synced) = (self.arbiter.poll_timeout(), model.feed == Feed::Synced);
        let gap = self.arbiter.gap().map(|gap| (gap.first, gap.last));
        let what = || format!("{next} {:?}, {due:?}, {gap:?}, {held:?}", (self.now, model.feed));
        hold(held.len() <= model.cap(), "holds at most `most_kept` messages", what)?;
        hold(due.is_none_or(|due| due > self.now), "poll_timeout is in the past", what)?;
        hold(model.far.is_none(), "once every line is further below the feed than reach", what)?;
        for (id, line) in &model.lines {
            let passed = line.last.is_some_and(|last| last.1 < next);
            let holds = self.arbiter.in_sequence(&self.lines[id]) == (passed && synced);
            let sentence = "everything that it brought is delivered, or reported as lost";
            hold(holds || !line.honest, sentence, || format!("{} {line:?}", what()))?;
        }
        let nearest = held.iter().map(|m| m.0).min();
        let is_open = match (model.feed, nearest) {
            (Feed::Lost(lost), _) => gap == Some(lost),
            (Feed::Synced, Some(near)) => gap.is_some_and(|g| g.0 == next && g.1 < near),
            (Feed::Synced, None) => gap.is_none_or(|g| g.0 == next),
            _ => gap.is_none(),
        };
        hold(is_open, "The open gap: the missing numbers that the feed waits for", what)?;
        if !synced {
            return Ok(());
        }
        // What must have come by now, or must be due.
        let turn = nearest.is_some_and(|first| first <= next);
        hold(!turn, "Returns the next kept message that is now in order", what)?;
        let behind = nearest.unwrap_or(next.saturating_add(1));
        let passed = |l: &Brought| l.last.is_some_and(|m| m.0 >= behind);
        let lost = !model.lines.is_empty() && model.lines.values().all(passed);
        hold(!lost, "These numbers are lost: all lines have passed them", what)?;
        hold(model.owed.is_empty() || due.is_some(), EACH, || {
            format!("{:?} {}", model.owed, what())
        })?;
        for (sentence, since) in [
            ("How long a gap may last", model.moved),
            ("after the arbiter's patience, if a line counts anew", model.surely_anew),
        ] {
            let Some(bound) = since.map(|since| since + model.set.patience) else { continue };
            let comes = due.is_some_and(|due| due <= bound) || bound == Time::new(Duration::MAX);
            hold(comes, sentence, || format!("not by {bound:?}: {}", what()))?;
        }
        Ok(())
    }
}

fn are_gone(held: &[Held]) -> Result<(), Broken> {
    let stays = held.iter().find(|held| held.alive.strong_count() > 0);
    hold(stays.is_none(), "Whose a kept message is", || format!("{stays:?} stays"))
}
