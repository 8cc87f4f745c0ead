//! An open connection: what was said over it, and which answers are still due.
use crate::{Arbiter, ConnectionId, Incoming, Line, Pace, Paced, Say, Subscription};
use alloc::vec::Vec;
use core::{ops::Range, time::Duration};
use tickwire::Time;

/// A question to the peer: the login, a subscription or the probe.
#[derive(Clone, Copy)]
enum Ask {
    /// Nothing is asked: the answer has come, or none is expected.
    No,
    /// The question waits for its turn in the queue. `last` means the same as in `Said`.
    Queued { last: bool },
    /// Sent at this time, and not answered yet. If a `last` question stays unanswered, the follower
    /// leaves the connection. It repeats any other question once.
    Said { at: Time, last: bool },
}

/// When to look at an `Ask` again, and whether to queue its question. `None`: leave the connection.
type Due = Option<(Time, bool)>;

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
    /// Decides what is due. `silent_at` is when silence becomes a reason to ask.
    fn turn(&mut self, silent_at: Option<Time>, patience: &Patience, now: Time) -> Due {
        let due = match *self {
            Self::Queued { .. } => None, // the queue says when to send it
            Self::Said { at, .. } => Some((at + patience.answer_within).max(patience.grace)),
            Self::No => silent_at,
        };
        match (due.unwrap_or(NEVER), *self) {
            (due, _) if now < due => Some((due, false)),
            (_, Self::Said { last: true, .. }) => None,
            _ => {
                *self = Self::Queued { last: true };
                Some((now, true))
            }
        }
    }

    /// If the question is queued, notes that it is sent now, and returns `true`.
    fn say(&mut self, now: Time) -> bool {
        let Self::Queued { last } = *self else { return false };
        *self = Self::Said { at: now, last };
        true
    }

    fn is_last(self) -> bool {
        matches!(self, Self::Queued { last: true } | Self::Said { last: true, .. })
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
            ask: Ask::Queued { last: false },
            said_by: None,
            heard: Time::ZERO,
            data: None,
            answered: None,
            line: None,
            is_numbered: false,
        }
    }

    fn say(&mut self, start: usize, now: Time) -> bool {
        if !self.ask.say(now) {
            return false;
        }
        self.said_by = Some(start);
        if self.watch.ask_after.is_none() {
            self.ask = Ask::No; // no answer is expected
        }
        true
    }

    /// Notes an answer or data. Returns the next due time if nothing more comes.
    fn answer(&mut self, now: Time) -> Time {
        (self.ask, self.heard) = (Ask::No, now);
        self.answered.get_or_insert(now);
        let Subscription { ask_after, leave_after, .. } = self.watch;
        ask_after.into_iter().chain(leave_after).min().map_or(NEVER, |after| now + after)
    }

    /// Whether the connection with the `old` seat can end without a loss for this subscription. In
    /// a quiet market, no data shows this. So the `old` connection stays for `answer_within` after
    /// the answer, because data may still be on its way over the `old` connection.
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

    fn turn(&mut self, patience: &Patience, now: Time) -> Due {
        let leaves = self.watch.leave_after.zip(self.data.or(self.answered));
        let leaves = leaves.map_or(NEVER, |(after, since)| (since + after).max(patience.grace));
        if leaves <= now {
            return None;
        }
        // Before the first answer or data, `heard` has no meaning.
        let silent_at = self.answered.and(self.watch.ask_after).map(|after| self.heard + after);
        let (due, say) = self.ask.turn(silent_at, patience, now)?;
        Some((due.min(leaves), say))
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
    /// All messages leave in the order of queueing, and none is urgent. If repeated questions were
    /// urgent, they would hold back unsent subscriptions when the pace is slow.
    sending: Paced<Say>,
    /// The seat of each subscription, at the subscription's index. `None` if there is no
    /// subscription of this index.
    pub(super) seats: Vec<Option<Seat>>,
}

impl Open {
    pub(super) fn new(id: ConnectionId, address: usize, pace: Pace, now: Time) -> Self {
        let (login, probe, seats, sending) = (Ask::No, Ask::No, Vec::new(), Paced::new(pace));
        Self { id, address, opened: now, heard: now, login, probe, sending, seats }
    }

    pub(super) fn seat(&self, subscription: usize) -> Option<&Seat> {
        self.seats.get(subscription)?.as_ref()
    }

    pub(super) fn seat_mut(&mut self, subscription: usize) -> Option<&mut Seat> {
        self.seats.get_mut(subscription)?.as_mut()
    }

    /// Queues the login. The subscriptions wait for its answer.
    pub(super) fn log_in(&mut self) {
        self.login = Ask::Queued { last: true }; // never repeated: wrong logins may lock an account
        self.sending.push(Say::Login);
    }

    pub(super) fn is_logged_in(&self) -> bool {
        matches!(self.login, Ask::No)
    }

    /// Gives a seat to each of these subscriptions. Queues the subscriptions, unless the login is
    /// still unanswered.
    pub(super) fn subscribe(
        &mut self,
        subscriptions: impl IntoIterator<Item = (usize, Subscription)>,
        batch: usize,
    ) {
        let mut new: Vec<usize> = Vec::new();
        for (subscription, watch) in subscriptions {
            self.seats.resize_with(self.seats.len().max(subscription + 1), || None);
            self.seats[subscription] = Some(Seat::new(watch));
            new.push(subscription);
        }
        if self.is_logged_in() {
            self.queue(new, batch);
        }
    }

    /// Queues messages, each for up to `batch` subscriptions with neighbouring indices.
    fn queue(&mut self, subscriptions: Vec<usize>, batch: usize) {
        let neighbours = subscriptions.chunk_by(|at, next| at + 1 == *next);
        for group in neighbours.flat_map(|group| group.chunks(batch.max(1))) {
            self.sending.push(Say::Subscribe(group[0]..group[0] + group.len()));
        }
    }

    /// The next message to send now. A question that was answered meanwhile is left out.
    pub(super) fn poll(&mut self, now: Time) -> Option<Say> {
        while let Some(mut say) = self.sending.poll(now) {
            let is_wanted = match &mut say {
                Say::Login => self.login.say(now),
                Say::Probe => self.probe.say(now),
                Say::Subscribe(range) => self.say(range, now),
            };
            if is_wanted {
                return Some(say);
            }
        }
        None
    }

    /// Notes that the subscriptions of the range are sent now. If some were forgotten meanwhile,
    /// the range shrinks to its first unbroken part, and the rest is queued as another message.
    /// Returns whether a subscription in the range still had to be sent.
    fn say(&mut self, range: &mut Range<usize>, now: Time) -> bool {
        let is_free = |at: &usize| self.seat(*at).is_none();
        range.start = range.clone().find(|at| !is_free(at)).unwrap_or(range.end);
        let end = range.clone().find(is_free).unwrap_or(range.end);
        let rest = end..range.end;
        range.end = end;
        if !rest.is_empty() {
            self.sending.push(Say::Subscribe(rest));
        }
        let seats = self.seats[range.clone()].iter_mut().flatten();
        // `any` would stop at the first `true`, but every seat has to note that it was sent.
        seats.fold(false, |wanted, seat| seat.say(range.start, now) | wanted)
    }

    /// Notes a message. Returns the next due time if its subscriptions bring nothing more.
    pub(super) fn hear(&mut self, incoming: &Incoming, batch: usize, now: Time) -> Time {
        // Any message shows that the connection is alive, so any message answers the probe.
        (self.heard, self.probe) = (now, Ask::No);
        let mut due = NEVER;
        match *incoming {
            Incoming::LoggedIn if !self.is_logged_in() => {
                self.login = Ask::No;
                let seated = (0..self.seats.len()).filter(|at| self.seat(*at).is_some());
                self.queue(seated.collect(), batch);
            }
            Incoming::Answer(start) => {
                let said = self.seats.iter_mut().skip(start).flatten();
                let said = said.filter(|seat| seat.said_by == Some(start));
                said.for_each(|seat| due = due.min(seat.answer(now)));
            }
            Incoming::Data { subscription, numbers } => {
                if let Some(seat) = self.seat_mut(subscription) {
                    due = due.min(seat.answer(now));
                    seat.data = Some(now);
                    seat.is_numbered |= numbers.is_some();
                }
            }
            _ => {}
        }
        due
    }

    /// Queues the due questions. Returns the next time to look, or `None` to leave the connection.
    pub(super) fn look(&mut self, patience: &Patience, batch: usize, now: Time) -> Option<Time> {
        let (login_due, _) = self.login.turn(None, patience, now)?; // a login is not repeated
        let silent_at = patience.probe_after.map(|after| self.heard + after);
        let (probe_due, say) = self.probe.turn(silent_at, patience, now)?;
        if say {
            self.sending.push(Say::Probe);
        }
        let (mut next, mut again) = (login_due.min(probe_due), Vec::new());
        for (at, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            let (due, say) = seat.turn(patience, now)?;
            next = next.min(due);
            again.extend(say.then_some(at));
        }
        self.queue(again, batch); // `poll` sends them at the pace
        Some(self.sending.poll_timeout().map_or(next, |due| next.min(due)))
    }

    /// Which questions are unsent or unanswered: the number of new subscriptions, and whether a
    /// probe or a repeated subscription is among them.
    pub(super) fn missing(&self) -> (usize, bool) {
        let asks = || self.seats.iter().flatten().map(|seat| seat.ask);
        let missing = asks().filter(|ask| !matches!(ask, Ask::No) && !ask.is_last()).count();
        (missing, self.probe.is_last() || asks().any(Ask::is_last))
    }
}
