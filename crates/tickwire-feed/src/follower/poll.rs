use super::{
    Follower, NEVER, Over, Place,
    dial::Why,
    followed::Followed,
    open::{Open, Silent},
    run::Dialing,
};
use crate::{Action, Attempts, Cause, ConnectionId, Event, Say, Topic};
use alloc::vec::Vec;
use core::{mem, time::Duration};
use tickwire::{CloseCode, Time};

const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A time later than now.
const MOMENT: Duration = Duration::from_millis(1);

/// A `poll` so much later than `Action::Wait` said shows that the program stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

impl<T> Follower<T> {
    /// Says what to do now. Call `poll` after each call of another method, and at the time that
    /// `Action::Wait` has. Each time, repeat the call until it returns [`Action::Wait`].
    ///
    /// `attempts` limits the attempts of all connections from your IP address, so share it with
    /// your other followers. The follower dials only when [`Attempts::take`] allows an attempt.
    pub fn poll(&mut self, now: Time, attempts: &mut Attempts) -> Action<T> {
        self.note_late_poll(now);
        loop {
            for at in 0..self.runs.len() {
                self.compare(at, now);
            }
            if now < self.wake {
                self.told = Some(self.wake);
                return Action::Wait(self.wake);
            }
            self.wake = now + LONGEST_WAIT;
            if let Some(action) = self.look(now, attempts) {
                self.wake = Time::ZERO; // there may be more
                return action;
            }
        }
    }

    /// The program stood still, and messages may wait unread, so silence proves nothing before
    /// `grace`. If it stands still again before it has heard anything it gets no second one: it
    /// would never find a dead server.
    fn note_late_poll(&mut self, now: Time) {
        let Some(told) = self.told.take() else { return };
        if now - told > STOOD_STILL && self.has_heard {
            self.grace = now + self.set.answer_within;
            self.has_heard = false;
        }
    }

    /// Of a connection and its successor, one goes once nothing depends on it any more.
    fn compare(&mut self, at: usize, now: Time) {
        let [old, new] = &mut self.runs[at].open[..] else { return };
        if old.wrong.or(new.wrong).is_some() {
            return; // `look` leaves it
        }
        old.note_refused(new, now);
        let goes = match old.silent() {
            Some(_) => old.is_outdone_by(new).then_some(0),
            None if new.is_for_silence => Some(1),
            None => {
                let is_ready = |(at, followed): (usize, &Option<Followed<T>>)| {
                    let Some(followed) = followed else { return true };
                    new.seat(at).is_some_and(|seat| {
                        let within = self.set.answer_within;
                        seat.replaces(old.seat(at), &followed.arbiter, within, now)
                    })
                };
                let is_level =
                    new.admitted.is_some() && self.topics.all.iter().enumerate().all(is_ready);
                is_level.then_some(0)
            }
        };
        if let Some(nth) = goes {
            let open = self.runs[at].open.remove(nth);
            let why = open.silent().map(|silent| silent.cause);
            self.close(open, Some(why), now);
        }
    }

    /// On `None`, `wake` says when to look again.
    fn look(&mut self, now: Time, attempts: &mut Attempts) -> Option<Action<T>> {
        if let Some((subscription, event)) = self.topics.poll(now) {
            return Some(match event {
                Event::Message(message) => Action::Message { subscription, message },
                Event::Gap(gap) => Action::Gap { subscription, gap },
                Event::Restart => Action::Restart { subscription },
            });
        }
        if !self.over.is_empty() {
            self.wake = Time::ZERO;
            self.close_lines();
            let Over { open, leave } = self.over.pop_front()?;
            let why = leave?;
            let code = why.map_or(CloseCode::NORMAL, |_| CloseCode::GOING_AWAY);
            return Some(Action::Leave { connection: open.id, code, why });
        }
        for at in 0..self.runs.len() {
            let settles = self.settle(at, now, attempts);
            self.wake = self.wake.min(settles.unwrap_or(NEVER));
            // A key whose login is not accepted yet may be refused still.
            if let shared @ Some(_) = self.dials.lines[at].shared {
                let admitted = self.runs[at].open.iter().filter(|open| open.admitted.is_some());
                admitted.for_each(|open| attempts.tried(shared, open.taken));
            }
        }
        self.dials.look(attempts);
        for at in 0..self.runs.len() {
            self.runs[at].held = None;
            if let Some(next) = self.next_dial(at, now) {
                if now < next.from {
                    self.wake = self.wake.min(next.from);
                } else if let Err(again) = self.dials.take(at, next.address, attempts, now) {
                    self.wake = self.wake.min(again);
                    self.runs[at].held = Some(again);
                } else {
                    return Some(self.dial(at, next.address, now));
                }
            }
            let run = &mut self.runs[at];
            let is_mute = |at: usize| self.topics.is_mute(at, &self.dials.addresses);
            // Where one is missing that may be served elsewhere, a successor has its time for that.
            let seeks = match &run.open[..] {
                [current, successor] => {
                    let ready_at = successor.ready_at(self.set.answer_within, now);
                    self.wake = self.wake.min(ready_at);
                    current.is_silent_in(|at| !is_mute(at))
                }
                _ => false,
            };
            let mut silent = None;
            for (nth, open) in run.open.iter_mut().enumerate() {
                let connection = open.id;
                if let Some(say) = open.poll(self.set.batch, &mut self.next_id, now) {
                    open_lines(open, &say, &mut self.topics.all);
                    return Some(Action::Send { connection, say });
                }
                let ignored = |at| nth > 0 && seeks && is_mute(at);
                match open.look(&self.set, self.grace, ignored, now) {
                    Ok(again) => self.wake = self.wake.min(again),
                    Err(cause) => silent = Some((nth, cause)),
                }
            }
            if let Some((nth, cause)) = silent {
                self.note_fault(at, nth, cause, now, attempts);
                return None;
            }
        }
        self.look_at_topics(now, attempts)
    }

    fn look_at_topics(&mut self, now: Time, attempts: &mut Attempts) -> Option<Action<T>> {
        // Who has waited longest goes first: in the order of the indices the last ones might never.
        let mut asks = None;
        let mut mute = Vec::new();
        for at in 0..self.topics.all.len() {
            let is_mute = self.topics.is_mute(at, &self.dials.addresses)
                && self.topic(at) == Some(Topic::Mute);
            let Some(followed) = self.topics.get_mut(at) else { continue };
            if is_mute && !mem::replace(&mut followed.mute.is_told, true) {
                mute.push(at);
            }
            followed.give_up_snapshot(self.set.snapshot_within, now);
            match followed.asks_at().filter(|asks_at| *asks_at <= now) {
                Some(_) => {
                    let since = followed.waits_since();
                    asks = asks.into_iter().chain([(since, at)]).min();
                }
                None => {
                    // Later than now, otherwise `poll` could loop for ever.
                    let due = followed.due(self.set.snapshot_within, None);
                    self.wake = self.wake.min(due.max(now + MOMENT));
                }
            }
        }
        if !mute.is_empty() {
            return Some(Action::Mute { subscriptions: mute });
        }
        let Some((_, at)) = asks else {
            self.ticket = None;
            return None;
        };
        let ticket = self.ticket.filter(|ticket| attempts.is_valid(*ticket, now));
        let ticket = ticket.unwrap_or_else(|| attempts.snapshot_ticket(now));
        self.ticket = Some(ticket).filter(|ticket| now < *ticket);
        if self.ticket.is_some() {
            self.wake = self.wake.min(ticket);
            return None;
        }
        let id = self.next_snapshot;
        self.next_snapshot += 1;
        self.topics.get_mut(at)?.note_asked(id, now);
        Some(Action::Snapshot { subscription: at, id })
    }

    fn dial(&mut self, at: usize, address: usize, now: Time) -> Action<T> {
        let connection = ConnectionId(self.next_id);
        self.next_id += 1;
        let run = &mut self.runs[at];
        let is_for_silence = run.need().is_some_and(|need| need.why == Why::Silence);
        if is_for_silence {
            run.last_for_silence = Some(now);
            run.for_silence = run.for_silence.saturating_add(1);
        }
        run.dialing = Some(Dialing { connection, address, since: now, is_for_silence });
        Action::Dial { connection, line: at, address, after: self.dials.lines[at].after }
    }

    /// A silent connection stays until its successor is better. Any other fault ends it.
    fn note_fault(
        &mut self,
        at: usize,
        nth: usize,
        cause: Cause,
        now: Time,
        attempts: &mut Attempts,
    ) {
        self.wake = Time::ZERO;
        let run = &mut self.runs[at];
        let is_alone = run.open.len() == 1;
        let open = &mut run.open[nth];
        let connection = open.id;
        let address = open.address;
        let stays = nth == 0 && cause.is_found_here();
        if stays {
            open.note_silence(Silent { cause, since: now });
            // What it has brought may be of a count that is over: it vouches for nothing before it
            // brings data again.
            for (at, seat) in open.seats.iter_mut().enumerate() {
                let line = seat.as_mut().and_then(|seat| seat.line.take());
                self.topics.with(at, |followed| {
                    if cause.subscription().is_none_or(|silent| silent == at) {
                        followed.note_over(connection);
                    }
                    if let Some(line) = line {
                        followed.arbiter.close(line);
                    }
                });
            }
            // The pace of silence belongs to the line: what another one brings says nothing of it.
            let last = run.last_for_silence;
            let settled_after = self.dials.lines[at].backoff.settled_after;
            let is_mute = |at: usize| self.topics.is_mute(at, &self.dials.addresses);
            let is_first = match cause.subscription() {
                Some(at) => !is_mute(at) && open.has_served(last, is_mute),
                None => last.is_none_or(|last| last + settled_after <= now),
            };
            if is_first {
                run.for_silence = 0;
            }
        }
        if let Some(followed) = cause.subscription().and_then(|at| self.topics.get_mut(at)) {
            followed.note_silence(address, open.opened, now);
        }
        match stays {
            true if is_alone => self.dials.note_silence(at, address, cause, now),
            true => {}
            false => self.end(Place { line: at, nth }, cause.into(), true, now, attempts),
        }
    }
}

/// From now on, a gap in the arbiters of what is being sent also waits for this connection.
fn open_lines<T>(open: &mut Open, say: &Say, subscriptions: &mut [Option<Followed<T>>]) {
    let Say::Subscribe { subscriptions: range, .. } = say else { return };
    for at in range.clone() {
        if let Some(seat) = open.seat_mut(at)
            && let Some(Some(followed)) = subscriptions.get_mut(at)
            && !followed.watch.count.is_per_connection()
        {
            seat.line.get_or_insert_with(|| followed.arbiter.open());
        }
    }
}
