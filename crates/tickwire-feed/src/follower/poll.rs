//! What a follower does next.
use super::{
    Followed, Follower,
    open::{Open, Patience},
};
use crate::{Action, Attempts, ConnectionId, Ended, Event, Say};
use core::time::Duration;
use tickwire::Time;

/// The longest wait that `poll` returns.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A `poll` this much later than the time of `Action::Wait` shows that the program stood still.
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
            if core::mem::take(&mut self.retires) {
                (0..self.runs.len()).for_each(|at| self.retire(at, now));
            }
            if let Some((connection, code)) = self.left.pop_front() {
                return Action::Leave { connection, code };
            }
            if let Some(action) = self.poll_arbiters(now) {
                return action;
            }
            if now < self.due {
                self.told = Some(self.due);
                return Action::Wait(self.due);
            }
            if let Some(action) = self.act(now, attempts) {
                return action;
            }
        }
    }

    /// Notes a late `poll`: the program stood still, and messages may wait unread, so silence
    /// proves nothing before `grace`. A program that is always late gets this grace only once.
    fn note_late_poll(&mut self, now: Time) {
        let Some(told) = self.told.take() else { return };
        let is_late = now - told > STOOD_STILL;
        if is_late && !self.is_late {
            self.grace = now + self.answer_within;
        }
        self.is_late = is_late;
    }

    fn poll_arbiters(&mut self, now: Time) -> Option<Action<T>> {
        while let Some(at) = self.unpolled.next() {
            let Some(Some(followed)) = self.subscriptions.get_mut(at) else { continue };
            let arbiter = &mut followed.arbiter;
            let Some(event) = arbiter.poll(now) else {
                // `due` must be later than now. Otherwise `poll` could loop for ever.
                let due = arbiter.poll_timeout().map(|due| due.max(now + Duration::from_millis(1)));
                self.due = due.map_or(self.due, |due| self.due.min(due));
                continue;
            };
            self.unpolled.start = at; // its arbiter may have more
            if followed.watch.resume && !matches!(event, Event::Message(_)) {
                arbiter.resume(now);
            }
            return Some(match event {
                Event::Message(message) => Action::Message { subscription: at, message },
                Event::Gap(gap) => Action::Gap { subscription: at, gap },
                Event::Restart => Action::Restart { subscription: at },
            });
        }
        None
    }

    /// Does what is due. If it returns `None`, then `due`, `unpolled`, `left` or `retires` says
    /// what comes next. If it returns an action, `due` stays as it was, so the next `poll` calls
    /// `act` again.
    fn act(&mut self, now: Time, attempts: &mut Attempts) -> Option<Action<T>> {
        let mut due = now + LONGEST_WAIT;
        let Self { probe_after, answer_within, grace, .. } = *self;
        let patience = Patience { probe_after, answer_within, grace };
        for at in 0..self.runs.len() {
            let run = &mut self.runs[at];
            if let Some(again) = run.dials_at() {
                match if now < again { Err(again) } else { attempts.take(now) } {
                    Ok(()) => return Some(self.dial(at)),
                    Err(again) => due = due.min(again),
                }
            }
            let mut silent = None;
            for open in run.rotation.iter_mut() {
                let connection = open.id;
                if let Some(say) = open.poll(self.batch, now) {
                    open_lines(open, &say, &mut self.subscriptions);
                    return Some(Action::Send { connection, say });
                }
                match open.look(&patience, now) {
                    Some(again) => due = due.min(again),
                    None => silent = Some(connection),
                }
            }
            if let Some(connection) = silent {
                self.leave_now(at, connection, Ended::Silent, now);
                return None;
            }
            if run.rotation.iter().nth(1).is_some() {
                // A quiet subscription may be ready after `answer_within`. Even if this time is 0,
                // `due` must be after now, because otherwise `poll` would loop for ever.
                due = due.min(now + answer_within.max(STOOD_STILL));
                self.retires = true;
            }
        }
        self.due = due;
        for at in 0..self.subscriptions.len() {
            let followed = self.subscriptions[at].as_ref();
            match followed.and_then(|followed| followed.arbiter.poll_timeout()) {
                Some(again) if again <= now => self.poll_again(at),
                Some(again) => self.due = self.due.min(again),
                None => {}
            }
        }
        None
    }

    fn dial(&mut self, at: usize) -> Action<T> {
        let connection = ConnectionId(self.next);
        self.next += 1;
        let address = self.runs[at].address % self.addresses.max(1);
        let other = self.runs[at].avoids.then(|| self.unused(at, address)).flatten();
        let address = other.unwrap_or(address);
        let run = &mut self.runs[at];
        (run.address, run.avoids) = (address, false);
        run.dialing = Some((connection, address));
        Action::Dial { connection, line: at, address }
    }

    /// Leaves the older connection of a line, if nothing depends on it any more.
    fn retire(&mut self, at: usize, now: Time) {
        let opens = || self.runs[at].rotation.iter();
        let (Some(old), Some(new)) = (opens().next(), opens().nth(1)) else { return };
        let replaces = |(at, followed): (usize, &Option<Followed<T>>)| {
            let Some(followed) = followed else { return true };
            new.seat(at).is_some_and(|seat| {
                seat.replaces(old.seat(at), &followed.arbiter, self.answer_within, now)
            })
        };
        let is_level = new.is_logged_in() && self.subscriptions.iter().enumerate().all(replaces);
        if let Some(old) = self.runs[at].rotation.retire(|_| is_level) {
            self.leave(old);
            self.due = now;
        }
    }
}

/// Opens a line in the arbiter of each subscription that is being sent. From now on, a gap in these
/// arbiters also waits for this connection.
fn open_lines<T>(open: &mut Open, say: &Say, subscriptions: &mut [Option<Followed<T>>]) {
    let Say::Subscribe(range) = say else { return };
    for at in range.clone() {
        if let Some(seat) = open.seat_mut(at)
            && let Some(Some(followed)) = subscriptions.get_mut(at)
        {
            seat.line.get_or_insert_with(|| followed.arbiter.open());
        }
    }
}
