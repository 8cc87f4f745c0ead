//! An open connection: what was said over it, and which answers are still due.
use crate::{Arbiter, ConnectionId, Incoming, Line, Pace, Say, Subscription};
use alloc::vec::Vec;
use core::time::Duration;
use tickwire::Time;

/// The state of a question to the peer. The question is the login, a subscription or the probe.
#[derive(Clone, Copy)]
enum Ask {
    /// Nothing is asked: the answer has come, or none is expected.
    No,
    /// A new subscription, which was not sent yet.
    New,
    /// A question of any other kind, which has waited for its turn since this time.
    Due { since: Time },
    /// Sent at this time, and not answered yet. If no answer comes, the follower leaves the
    /// connection if `last` is true, and otherwise asks once more.
    Said { at: Time, last: bool },
}

/// The due time of something that never becomes due by itself.
const NEVER: Time = Time::new(Duration::MAX);

/// How long the peer may take to answer.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) probe_after: Option<Duration>,
    pub(super) answer_within: Duration,
    /// Silence ends no connection before this time, because the program stood still.
    pub(super) grace: Time,
}

impl Ask {
    /// Decides what is due. `silent_at` is when silence becomes a reason to ask. Returns when to
    /// look again, or `None` to leave the connection.
    fn turn(&mut self, silent_at: Time, patience: &Patience, now: Time) -> Option<Time> {
        let due = match *self {
            Self::New | Self::Due { .. } => NEVER, // `Open::poll` says when to send it
            Self::Said { at, .. } => (at + patience.answer_within).max(patience.grace),
            Self::No => silent_at,
        };
        match *self {
            _ if now < due => return Some(due),
            Self::Said { last: true, .. } => return None,
            _ => *self = Self::Due { since: now },
        }
        Some(now)
    }

    /// Since when the question waits for its turn, if it waits. `New` comes before `Due`.
    fn since(&self) -> Option<Time> {
        match *self {
            Self::New => Some(Time::ZERO),
            Self::Due { since } => Some(since),
            Self::No | Self::Said { .. } => None,
        }
    }

    /// Notes that the question is sent now.
    fn say(&mut self, now: Time) {
        *self = Self::Said { at: now, last: !matches!(self, Self::New) };
    }
}

/// A subscription's place on one connection.
pub(super) struct Seat {
    watch: Subscription,
    ask: Ask,
    /// The start of the range in the message that last sent this subscription.
    said_by: Option<usize>,
    /// When data or an answer last came.
    heard: Time,
    /// When data last came.
    pub(super) data: Option<Time>,
    pub(super) answered: Option<Time>,
    /// The connection's line in the subscription's arbiter, once the subscription was sent.
    pub(super) line: Option<Line>,
    pub(super) is_numbered: bool,
}

impl Seat {
    fn new(watch: Subscription) -> Self {
        Self {
            watch,
            ask: Ask::New,
            said_by: None,
            heard: Time::ZERO,
            data: None,
            answered: None,
            line: None,
            is_numbered: false,
        }
    }

    fn say(&mut self, start: usize, now: Time) {
        self.ask.say(now);
        self.said_by = Some(start);
        if self.watch.ask_after.is_none() {
            self.ask = Ask::No; // no answer is expected
        }
    }

    /// Notes an answer or data. Returns when the follower has to act if nothing more comes.
    fn answer(&mut self, now: Time) -> Time {
        (self.ask, self.heard) = (Ask::No, now);
        self.answered.get_or_insert(now);
        let Subscription { ask_after, leave_after, .. } = self.watch;
        ask_after.into_iter().chain(leave_after).min().map_or(NEVER, |after| now + after)
    }

    /// Whether the connection with the `old` seat can end without a loss for this subscription. In
    /// a quiet market, no data comes that could show this. So the `old` connection stays until
    /// `answer_within` after the answer on the successor, because data may still be on its way over
    /// the `old` connection.
    pub(super) fn replaces<T>(
        &self,
        old: Option<&Self>,
        arbiter: &Arbiter<T>,
        answer_within: Duration,
        now: Time,
    ) -> bool {
        if self.is_numbered {
            return self.line.as_ref().is_some_and(|line| arbiter.in_sequence(line));
        }
        let old = old.and_then(|old| old.data);
        let is_quiet = |answered: Time| {
            answered + answer_within <= now && old.is_none_or(|data| data <= answered)
        };
        self.data.is_some() || self.answered.is_some_and(is_quiet)
    }

    fn turn(&mut self, patience: &Patience, now: Time) -> Option<Time> {
        let leaves = self.watch.leave_after.zip(self.data.or(self.answered));
        let leaves = leaves.map_or(NEVER, |(after, since)| (since + after).max(patience.grace));
        if leaves <= now {
            return None;
        }
        // Before the first answer or data, `heard` has no meaning.
        let ask_after = self.answered.and(self.watch.ask_after);
        let silent_at = ask_after.map_or(NEVER, |after| self.heard + after);
        Some(self.ask.turn(silent_at, patience, now)?.min(leaves))
    }
}

pub(super) struct Open {
    pub(super) id: ConnectionId,
    pub(super) address: usize,
    pub(super) opened: Time,
    /// When a message last came.
    heard: Time,
    login: Ask,
    probe: Ask,
    pace: Pace,
    /// When the pace allows the next message. `NEVER` if no message waits.
    paced: Time,
    /// The seat of each subscription, at the subscription's index. `None` if there is no
    /// subscription of this index.
    pub(super) seats: Vec<Option<Seat>>,
}

impl Open {
    pub(super) fn new(id: ConnectionId, address: usize, pace: Pace, now: Time) -> Self {
        let (login, probe, seats, paced) = (Ask::No, Ask::No, Vec::new(), NEVER);
        Self { id, address, opened: now, heard: now, login, probe, pace, paced, seats }
    }

    pub(super) fn seat(&self, subscription: usize) -> Option<&Seat> {
        self.seats.get(subscription)?.as_ref()
    }

    pub(super) fn seat_mut(&mut self, subscription: usize) -> Option<&mut Seat> {
        self.seats.get_mut(subscription)?.as_mut()
    }

    /// Asks for the login. The subscriptions wait for its answer.
    pub(super) fn log_in(&mut self) {
        // A login is never repeated, because wrong logins may lock an account.
        self.login = Ask::Due { since: self.opened };
    }

    pub(super) fn is_logged_in(&self) -> bool {
        matches!(self.login, Ask::No)
    }

    /// Gives a subscription its seat, and makes the subscription due.
    pub(super) fn subscribe(&mut self, subscription: usize, watch: Subscription) {
        self.seats.resize_with(self.seats.len().max(subscription + 1), || None);
        self.seats[subscription] = Some(Seat::new(watch));
    }

    /// The next message to send now, for up to `batch` subscriptions with neighbouring indices. New
    /// subscriptions go first. If repeated questions went first, they would hold back new
    /// subscriptions when the pace is slow.
    pub(super) fn poll(&mut self, batch: usize, now: Time) -> Option<Say> {
        self.paced = NEVER;
        let is_logged_in = self.is_logged_in(); // subscriptions wait for the login
        let seats = self.seats.iter().enumerate().filter(|_| is_logged_in);
        let seats = seats.filter_map(|(at, seat)| Some((&seat.as_ref()?.ask, at)));
        let seats = seats.map(|(ask, at)| (ask, Say::Subscribe(at..at)));
        let asks = [(&self.login, Say::Login)].into_iter().chain(seats);
        let asks = asks.chain([(&self.probe, Say::Probe)]);
        let due = asks.filter_map(|(ask, say)| Some((ask.since()?, say)));
        let (_, mut say) = due.min_by_key(|(since, _)| *since)?;
        // Only now is it certain that a message waits. `take` counts a message, so it must not be
        // called earlier.
        if let Err(again) = self.pace.take(now) {
            self.paced = again;
            return None;
        }
        match &mut say {
            Say::Login => self.login.say(now),
            Say::Probe => self.probe.say(now),
            Say::Subscribe(range) => {
                for seat in self.seats[range.start..].iter_mut().take(batch.max(1)) {
                    let due = seat.as_mut().filter(|seat| seat.ask.since().is_some());
                    let Some(seat) = due else { break }; // forgotten, or not due
                    seat.say(range.start, now);
                    range.end += 1;
                }
            }
        }
        Some(say)
    }

    /// Notes a message. Returns when the follower has to act if the message's subscriptions bring
    /// nothing more.
    pub(super) fn hear(&mut self, incoming: &Incoming, now: Time) -> Time {
        // Any message shows that the connection is alive, so any message answers the probe.
        (self.heard, self.probe) = (now, Ask::No);
        let mut due = NEVER;
        match *incoming {
            // A `LoggedIn` that comes before the login was sent does not answer the login.
            Incoming::LoggedIn if self.login.since().is_none() => self.login = Ask::No,
            Incoming::Answer(start) => {
                let said = self.seats.iter_mut().skip(start).flatten();
                let said = said.filter(|seat| seat.said_by == Some(start));
                said.for_each(|seat| due = due.min(seat.answer(now)));
            }
            Incoming::Data { subscription, numbers } => {
                // Data before the subscription was sent is no answer. The data belongs to an
                // earlier subscription with this index.
                let seat = self.seat_mut(subscription);
                if let Some(seat) = seat.filter(|seat| seat.said_by.is_some()) {
                    due = due.min(seat.answer(now));
                    seat.data = Some(now);
                    seat.is_numbered |= numbers.is_some();
                }
            }
            _ => {}
        }
        due
    }

    /// Notes the due questions. Returns the next time to look, or `None` to leave the connection.
    pub(super) fn look(&mut self, patience: &Patience, now: Time) -> Option<Time> {
        let silent_at = patience.probe_after.map_or(NEVER, |after| self.heard + after);
        let next = self.login.turn(NEVER, patience, now)?.min(self.paced);
        let next = self.probe.turn(silent_at, patience, now)?.min(next);
        let mut seats = self.seats.iter_mut().flatten();
        seats.try_fold(next, |next, seat| Some(seat.turn(patience, now)?.min(next)))
    }

    /// How many new subscriptions are unsent or unanswered, and whether any probe or subscription,
    /// new or repeated, is unsent or unanswered.
    pub(super) fn missing(&self) -> (usize, bool) {
        let is_asked = |ask: Ask| !matches!(ask, Ask::No);
        let asked = || self.seats.iter().flatten().filter(|seat| is_asked(seat.ask));
        let missing = asked().filter(|seat| seat.answered.is_none()).count();
        (missing, is_asked(self.probe) || asked().next().is_some())
    }
}
