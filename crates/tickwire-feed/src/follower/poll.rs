use super::{
    Follower, Wake,
    dial::Why,
    followed::Followed,
    open::{Open, Timeouts},
};
use crate::{Action, Attempts, Cause, ConnectionId, Event, Say, Topic};
use core::{mem, time::Duration};
use tickwire::{CloseCode, Time};

const LONGEST_WAIT: Duration = Duration::from_secs(3600);

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
            if mem::take(&mut self.retires) {
                for at in 0..self.runs.len() {
                    self.retire(at, now);
                }
            }
            if let Some((connection, why)) = self.left.pop_front() {
                let code = match why {
                    Some(_) => CloseCode::GOING_AWAY,
                    None => CloseCode::NORMAL,
                };
                return Action::Leave { connection, code, why };
            }
            if let Some(action) = self.poll_arbiters(now) {
                return action;
            }
            if !self.closing.is_empty() {
                self.close_now();
                continue;
            }
            let Wake(due) = self.wake;
            if now < due {
                self.told = Some(due);
                return Action::Wait(due);
            }
            if let Some(action) = self.act(now, attempts) {
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

    fn poll_arbiters(&mut self, now: Time) -> Option<Action<T>> {
        while let Some(at) = self.unpolled.next() {
            let Some(Some(followed)) = self.subscriptions.get_mut(at) else { continue };
            let before = followed.arbiter.bytes();
            let event = followed.poll(now);
            self.kept = self.kept - before + followed.arbiter.bytes();
            let Some(event) = event else {
                // Later than now, otherwise `poll` could loop for ever.
                if let Some(due) = followed.arbiter.poll_timeout() {
                    self.wake.by(due.max(now + Duration::from_millis(1)));
                }
                continue;
            };
            self.unpolled.start = at; // its arbiter may have more
            return Some(match event {
                Event::Message(message) => Action::Message { subscription: at, message },
                Event::Gap(gap) => {
                    self.wake.by(now);
                    Action::Gap { subscription: at, gap }
                }
                Event::Restart => {
                    self.wake.by(now);
                    Action::Restart { subscription: at }
                }
            });
        }
        None
    }

    /// On `None`, then `wake`, `unpolled`, `left` or `retires` says what comes next.
    fn act(&mut self, now: Time, attempts: &mut Attempts) -> Option<Action<T>> {
        self.wake = Wake(now + LONGEST_WAIT);
        let action = self.act_once(now, attempts);
        if action.is_some() {
            self.wake.by(now); // there may be more
        }
        action
    }

    fn act_once(&mut self, now: Time, attempts: &mut Attempts) -> Option<Action<T>> {
        let timeouts = Timeouts {
            probe_after: self.set.probe_after,
            answer_within: self.set.answer_within,
            grace: self.grace,
        };
        for at in 0..self.runs.len() {
            if let Some(settles) = self.settle(at, now) {
                self.wake.by(settles);
            }
        }
        self.dials.look(attempts);
        for at in 0..self.runs.len() {
            self.runs[at].held = None;
            if let Some(next) = self.next_dial(at, now) {
                if now < next.from {
                    self.wake.by(next.from);
                } else if let Err(again) = self.dials.take(at, next.address, attempts, now) {
                    self.wake.by(again);
                    self.runs[at].held = Some(again);
                } else {
                    return Some(self.dial(at, next.address, now));
                }
            }
            let run = &mut self.runs[at];
            let is_mute = |at: usize| {
                let followed = self.subscriptions.get(at).and_then(Option::as_ref);
                followed.is_some_and(|followed| followed.is_mute(&self.dials.addresses))
            };
            // Where one is missing that may be served elsewhere, a successor has its time for that.
            let seeks = match &run.open[..] {
                [current, _] => current.is_silent_in(|at| !is_mute(at)),
                _ => false,
            };
            let mut silent = None;
            let mut is_successor = false;
            for open in &mut run.open {
                let connection = open.id;
                if let Some(say) = open.poll(self.set.batch, &mut self.asked, now) {
                    open_lines(open, &say, &mut self.subscriptions);
                    return Some(Action::Send { connection, say });
                }
                match open.look(&timeouts, |at| is_successor && seeks && is_mute(at), now) {
                    Ok(again) => self.wake.by(again),
                    Err(cause) => silent = Some((connection, is_successor, cause)),
                }
                is_successor = true;
            }
            if let Some((connection, is_successor, cause)) = silent {
                match is_successor {
                    true => {
                        if let Some(new) = self.runs[at].successor() {
                            self.note_mute(at, new.address, new.opened, cause, now);
                        }
                        self.give_up(at, connection, cause, now);
                    }
                    false => self.note_silence(at, cause, now),
                }
                return None;
            }
            if is_successor && self.runs[at].successor().is_some() {
                // A quiet subscription may be ready after `answer_within`. Even if that is 0, it is
                // looked at later than now, because otherwise `poll` would loop for ever.
                self.wake.by(now + self.set.answer_within.max(STOOD_STILL));
                self.retires = true;
            }
        }
        // Who has waited longest goes first: in the order of the indices the last ones might never.
        let mut asks = None;
        for at in 0..self.subscriptions.len() {
            let Some(followed) = &self.subscriptions[at] else { continue };
            let tells =
                followed.is_untold(&self.dials.addresses) && self.topic(at) == Some(Topic::Mute);
            let Some(followed) = &mut self.subscriptions[at] else { continue };
            if tells {
                followed.note_told();
                return Some(Action::Mute { subscription: at });
            }
            if let Some(overdue) = followed.overdue_at(self.set.snapshot_within) {
                match overdue <= now {
                    true => followed.need(now),
                    false => self.wake.by(overdue),
                }
            }
            match followed.asks_at() {
                Some(again) if again <= now => {
                    let since = followed.waits().map_or(now, |waiting| waiting.since);
                    asks = asks.into_iter().chain([(since, at)]).min();
                }
                Some(again) => self.wake.by(again),
                None => {}
            }
            match followed.arbiter.poll_timeout() {
                Some(again) if again <= now => self.poll_again(at),
                Some(again) => self.wake.by(again),
                None => {}
            }
        }
        let (_, at) = asks?;
        if let Err(again) = attempts.take_snapshot(now) {
            self.wake.by(again);
            return None;
        }
        let id = self.next_snapshot;
        self.next_snapshot += 1;
        self.subscriptions[at].as_mut()?.note_asked(id, now);
        Some(Action::Snapshot { subscription: at, id })
    }

    fn dial(&mut self, at: usize, address: usize, now: Time) -> Action<T> {
        let connection = ConnectionId(self.next_id);
        self.next_id += 1;
        let run = &mut self.runs[at];
        let is_for_silence = run.need().is_some_and(|need| need.why == Why::Silence);
        run.dial(connection, address, is_for_silence, now);
        Action::Dial { connection, line: at, address, after: self.dials.after(at) }
    }

    /// A successor is due, unless there is one.
    pub(super) fn note_silence(&mut self, at: usize, cause: Cause, now: Time) {
        self.wake.by(now);
        let run = &mut self.runs[at];
        let has_successor = run.successor().is_some();
        let Some(current) = run.current_mut() else { return };
        current.note_silence(super::open::Silent { cause, since: now });
        // What it has brought may be of a count that is over: it vouches for nothing before it
        // brings data again.
        for (at, seat) in current.seats.iter_mut().enumerate() {
            let line = seat.as_mut().and_then(|seat| seat.line.take());
            self.closing.extend(line.map(|line| (at, line)));
        }
        for (at, followed) in self.subscriptions.iter_mut().enumerate() {
            if let Some(followed) = followed
                && cause.subscription().is_none_or(|silent| silent == at)
            {
                followed.note_over(current.id);
            }
        }
        let address = current.address;
        let opened = current.opened;
        self.note_mute(at, address, opened, cause, now);
        if !has_successor {
            self.dials.note_silence(at, address, cause, now);
            self.runs[at].note_end();
        }
    }

    fn note_mute(&mut self, at: usize, address: usize, opened: Time, cause: Cause, now: Time) {
        let Some(subscription) = cause.subscription() else {
            if self.runs[at].has_settled_since_silence(self.dials.settled_after(at)) {
                self.runs[at].note_first_silence();
            }
            return;
        };
        // The pace of silence belongs to the line: what another one brings says nothing of it.
        let is_mute = |at: usize| {
            let followed = self.subscriptions.get(at).and_then(Option::as_ref);
            followed.is_some_and(|followed| followed.is_mute(&self.dials.addresses))
        };
        let current = self.runs[at].current().filter(|current| current.opened == opened);
        if current
            .is_some_and(|current| current.has_served(self.runs[at].last_for_silence, is_mute))
        {
            self.runs[at].note_first_silence();
        }
        if let Some(Some(followed)) = self.subscriptions.get_mut(subscription) {
            followed.note_silence(address, opened, now);
        }
    }

    /// Leaves the older connection, if nothing depends on it any more. If it is silent, `heard`
    /// decides.
    fn retire(&mut self, at: usize, now: Time) {
        let run = &self.runs[at];
        let Some(old) = run.current().filter(|old| old.silent.is_none()) else { return };
        let Some(new) = run.successor() else { return };
        let replaces = |(at, followed): (usize, &Option<Followed<T>>)| {
            let Some(followed) = followed else { return true };
            let seat = new.seat(at);
            seat.is_some_and(|seat| {
                seat.replaces(old.seat(at), &followed.arbiter, self.set.answer_within, now)
            })
        };
        let is_level = new.is_logged_in() && self.subscriptions.iter().enumerate().all(replaces);
        if is_level {
            let old = self.runs[at].open.remove(0);
            self.leave_unneeded(old, now);
            self.wake.by(now);
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
