//! An open connection: what was said over it, which answers are still due, and whether it is
//! silent.
use super::{Follower, NEVER, Settings, dial::Life};
use crate::{
    Arbiter, Asked, Cause, ConnectionId, Incoming, Line, Numbers, Pace, Say, Subscription,
    attempts::Log, row,
};
use alloc::vec::Vec;
use core::{mem, time::Duration};
use tickwire::{Retry, Time};

/// The login, a subscription or the probe.
#[derive(Clone, Copy, Default)]
enum Ask {
    /// The answer has come, or none is expected.
    No,
    /// Of a new subscription, not sent yet.
    #[default]
    New,
    /// Waits for its turn since this time.
    Due { since: Time },
    /// Not answered yet. Without an answer, the connection is silent if this was the `last`,
    /// otherwise the follower asks once more.
    Said { at: Time, last: bool },
}

/// What to say next.
enum Due {
    Login,
    Subscribe(usize),
    Probe,
}

/// The lower bits of a question say where its message began, so that an answer finds its
/// subscriptions.
const START_BITS: u32 = Follower::<()>::MOST_SUBSCRIPTIONS.trailing_zeros();

const fn question(count: u64, start: usize) -> u64 {
    count << START_BITS | start as u64
}

const fn start_of(question: u64) -> usize {
    question as usize % Follower::<()>::MOST_SUBSCRIPTIONS
}

/// Bytes of a message that is longer in transit are no life.
pub(super) const LONGEST_MESSAGE: Duration = Duration::from_secs(60);

impl Ask {
    /// Silence becomes a reason to ask at `silent_at`, and proves nothing before `grace`. Returns
    /// when to look again; `None` if an answer did not come.
    fn look(&mut self, silent_at: Time, within: Duration, grace: Time, now: Time) -> Option<Time> {
        let due = match *self {
            Self::New | Self::Due { .. } => NEVER, // `Open::poll` says when to send it
            Self::Said { at, .. } => (at + within).max(grace),
            Self::No => silent_at,
        };
        if now < due {
            return Some(due);
        }
        if let Self::Said { last: true, .. } = *self {
            return None;
        }
        *self = Self::Due { since: now };
        Some(now)
    }

    /// `New` comes before `Due`.
    const fn since(&self) -> Option<Time> {
        match *self {
            Self::New => Some(Time::ZERO),
            Self::Due { since } => Some(since),
            Self::No | Self::Said { .. } => None,
        }
    }

    const fn is_asked(&self) -> bool {
        !matches!(self, Self::No)
    }

    fn say(&mut self, now: Time) {
        let last = !matches!(self, Self::New);
        *self = Self::Said { at: now, last };
    }
}

/// The last question that named a subscription, and the one before it.
#[derive(Clone, Copy)]
struct Sent {
    first: Time,
    question: u64,
    before: Option<u64>,
    /// The message had so many subscriptions.
    shares: usize,
}

#[derive(Default)]
pub(super) struct Seat {
    watch: Subscription,
    ask: Ask,
    sent: Option<Sent>,
    /// Data, a keepalive, an answer or a refusal.
    heard: Option<Time>,
    data: Option<Time>,
    /// Data or a keepalive.
    served: Option<Time>,
    answered: Option<Time>,
    /// In a row.
    refusals: u32,
    /// Why the connection is silent in this subscription.
    silent: Option<Silent>,
    /// How many subscriptions may share its next message.
    most: usize,
    /// Once the subscription was sent.
    pub(super) line: Option<Line>,
    is_numbered: bool,
    /// Its last number + 1 in a shared count.
    counted: u64,
}

impl Seat {
    pub(super) fn new(watch: Subscription) -> Self {
        Self { watch, most: usize::MAX, ..Self::default() }
    }

    fn say(&mut self, question: u64, shares: usize, now: Time) {
        self.ask.say(now);
        let first = self.sent.map_or(now, |sent| sent.first);
        let before = self.sent.map(|sent| sent.question);
        self.sent = Some(Sent { first, question, before, shares });
        if self.watch.ask_after.is_none() {
            self.ask = Ask::No; // no answer is expected
        }
    }

    /// An answer to the question before the last proves that the subscription was accepted, but not
    /// that it still is.
    fn is_answered_by(&self, asked: Asked) -> bool {
        let Some(sent) = self.sent else { return false };
        match asked {
            Asked::Subscription(_) => true,
            Asked::Question(id) if id == sent.question => true,
            Asked::Question(id) => Some(id) == sent.before && self.answered.is_none(),
        }
    }

    /// Returns when to look at the seat again.
    fn answer(&mut self, now: Time) -> Time {
        self.ask = Ask::No;
        self.heard = Some(now);
        // Otherwise only data ends a refusal: an answer may mean that it was asked for before.
        if self.watch.leave_after.is_none() {
            self.refusals = 0;
        }
        self.answered.get_or_insert(now);
        let is_answered = |silent: &mut Silent| !matches!(silent.cause, Cause::NoData(_));
        self.silent.take_if(is_answered).map_or_else(|| self.looks_at(), |_| Time::ZERO)
    }

    /// If nothing says which one of a message is meant, each half of it is asked for again.
    fn refuse(&mut self, asked: Asked, now: Time) {
        let Some(sent) = self.sent else { return };
        let is_named = match asked {
            Asked::Subscription(_) => true,
            Asked::Question(id) if id == sent.question => false,
            Asked::Question(_) => return,
        };
        if is_named || sent.shares == 1 {
            self.note_refused(now);
        } else {
            self.most = sent.shares.div_ceil(2);
            self.ask = Ask::New;
        }
    }

    /// Returns when to look at the seat again, if it waited for this.
    fn serve(&mut self, is_data: bool, is_numbered: bool, now: Time) -> Time {
        // Data before the subscription was sent belongs to an earlier one with this index, and is
        // no answer.
        if self.sent.is_none() {
            return NEVER;
        }
        let has_waited = self.ask.is_asked() || self.answered.is_none() || self.is_refused();
        self.ask = Ask::No;
        self.heard = Some(now);
        self.refusals = 0;
        self.answered.get_or_insert(now);
        self.served = Some(now);
        self.is_numbered |= is_numbered;
        if is_data {
            self.data = Some(now);
        }
        match self.silent.take() {
            Some(_) => Time::ZERO,
            None if has_waited => self.looks_at(),
            None => NEVER,
        }
    }

    const fn note_refused(&mut self, now: Time) {
        self.ask = Ask::No;
        self.silent = None;
        self.refusals = self.refusals.saturating_add(1);
        self.heard = Some(now);
    }

    const fn is_silent(&self) -> bool {
        self.silent.is_some()
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.refusals > 0
    }

    pub(super) const fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// What the exchange says of it on this connection is still to come.
    pub(super) fn is_unanswered(&self) -> bool {
        self.ask.is_asked() && self.answered.is_none()
    }

    fn ask_refused(&mut self) {
        if mem::take(&mut self.refusals) > 0 {
            self.ask = Ask::New;
            self.sent = None; // `leave_after` begins anew
        }
    }

    fn asks_at(&self) -> Time {
        let after = match self.is_refused() {
            // What was accepted before may be so again.
            true => self.watch.ask_after.map(|_| row::of_silence(self.refusals)),
            false => self.watch.ask_after,
        };
        let heard = self.heard.filter(|_| self.answered.is_some());
        heard.zip(after).map_or(NEVER, |(heard, after)| heard + after)
    }

    /// Then the lack of data proves that the subscription is dead.
    fn gives_up_at(&self) -> Time {
        let sent = self.sent.filter(|_| self.watch.ask_after.is_none());
        let since = self.served.or(self.answered).or(sent.map(|sent| sent.first));
        let dead = self.watch.leave_after.zip(since).filter(|_| !self.is_refused());
        dead.map_or(NEVER, |(after, since)| since + after)
    }

    fn looks_at(&self) -> Time {
        self.asks_at().min(self.gives_up_at())
    }

    /// The connection with the `old` seat can end without a loss for this subscription. In a quiet
    /// market no data could show that, and some may still be on its way over the old one: so that
    /// stays until `answer_within` after the answer on the successor.
    pub(super) fn replaces<T>(
        &self,
        old: Option<&Self>,
        arbiter: &Arbiter<T>,
        answer_within: Duration,
        now: Time,
    ) -> bool {
        if self.is_refused() && old.is_none_or(Self::is_refused) {
            return true;
        }
        if self.is_numbered && !self.watch.count.is_per_connection() {
            return self.line.as_ref().is_some_and(|line| arbiter.in_sequence(line));
        }
        let old_data = old.and_then(|old| old.data);
        let is_quiet = |answered: Time| {
            answered + answer_within <= now && old_data.is_none_or(|data| data <= answered)
        };
        self.data.is_some() || self.answered.is_some_and(is_quiet)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Silent {
    pub(super) cause: Cause,
    pub(super) since: Time,
}

/// The numbers of all messages of a connection. None is missing from `first` to before `next`.
#[derive(Clone, Copy, Default)]
struct Counted {
    first: u64,
    next: u64,
}

/// What a number says about a count that all messages of a connection share, if it does not go on.
pub(super) enum Counting {
    /// The numbers from the first to before the other are missing.
    Misses(u64, u64),
    GoesBack,
}

pub(super) struct Open {
    pub(super) id: ConnectionId,
    pub(super) address: usize,
    pub(super) opened: Time,
    /// When its attempt began.
    pub(super) taken: Time,
    /// When its successor is due.
    pub(super) renew_at: Time,
    /// When bytes of a message that is not whole yet were last read.
    alive: Time,
    /// When the login was accepted or, without one, the connection was opened.
    pub(super) admitted: Option<Time>,
    heard: Time,
    login: Ask,
    probe: Ask,
    pace: Pace,
    /// The one place in each window that is the follower's, and what the program sends.
    own: Pace,
    rest: Log,
    /// When the pace allows the next message; `NEVER` if none waits.
    paced: Time,
    /// Each lies at its subscription's index; `None` if there is none of this index.
    pub(super) seats: Vec<Option<Seat>>,
    /// The most subscriptions that one message had.
    longest: usize,
    counted: Counted,
    /// Why it is silent as a whole.
    silent: Option<Silent>,
    /// It was opened because the older connection is silent.
    pub(super) is_for_silence: bool,
    /// The program has said that it is of no use.
    pub(super) wrong: Option<Retry>,
    pub(super) is_settled: bool,
    /// The exchange has said that it will end this connection.
    pub(super) is_ending: bool,
}

impl Open {
    pub(super) fn new(
        id: ConnectionId,
        address: usize,
        pace: Pace,
        has_login: bool,
        now: Time,
    ) -> Self {
        let mut own = pace.one();
        own.note(now); // it waits for what the program may have sent
        // Never repeated, because wrong logins may lock an account.
        let login = if has_login { Ask::Due { since: now } } else { Ask::No };
        Self {
            id,
            address,
            opened: now,
            taken: now,
            renew_at: NEVER,
            alive: now,
            admitted: (!has_login).then_some(now),
            heard: now,
            login,
            probe: Ask::No,
            own,
            rest: pace.rest(),
            pace,
            paced: NEVER,
            seats: Vec::new(),
            longest: 0,
            counted: Counted::default(),
            silent: None,
            is_for_silence: false,
            wrong: None,
            is_settled: false,
            is_ending: false,
        }
    }

    pub(super) fn seat(&self, subscription: usize) -> Option<&Seat> {
        self.seats.get(subscription)?.as_ref()
    }

    pub(super) fn seat_mut(&mut self, subscription: usize) -> Option<&mut Seat> {
        self.seats.get_mut(subscription)?.as_mut()
    }

    pub(super) fn life(&self, settled_after: Duration, now: Time) -> Life {
        match self.admitted {
            None => Life::Attempt,
            Some(admitted) if self.silent().is_some() || now - admitted < settled_after => {
                Life::Short
            }
            Some(_) => Life::Settled,
        }
    }

    pub(super) fn subscribe(&mut self, subscription: usize, watch: Subscription) {
        if self.seats.len() <= subscription {
            self.seats.resize_with(subscription + 1, || None);
        }
        self.seats[subscription] = Some(Seat::new(watch));
    }

    /// A question is for up to `batch` subscriptions with neighbouring indices.
    pub(super) fn poll(&mut self, batch: usize, next_id: &mut u64, now: Time) -> Option<Say> {
        self.paced = NEVER;
        let due = self.oldest_question()?;
        // Only now is it certain that a message waits, and `take` counts one, so it must not be
        // called earlier.
        // While the program sends too, one message of each window is the follower's.
        let taken = match self.rest.is_empty(now) {
            true => self.pace.take(now).inspect(|()| self.own.note(now)),
            false => self.own.take(now).inspect(|()| self.pace.note(now)),
        };
        if let Err(again) = taken {
            self.paced = again;
            return None;
        }
        Some(match due {
            Due::Login => {
                self.login.say(now);
                Say::Login
            }
            Due::Probe => {
                self.probe.say(now);
                Say::Probe
            }
            Due::Subscribe(start) => {
                *next_id += 1;
                let id = question(*next_id, start);
                let end = self.end_of_message(start, batch);
                self.longest = self.longest.max(end - start);
                for seat in self.seats[start..end].iter_mut().flatten() {
                    seat.say(id, end - start, now);
                }
                Say::Subscribe { id, subscriptions: start..end }
            }
        })
    }

    fn end_of_message(&self, start: usize, batch: usize) -> usize {
        let mut most = batch.max(1);
        let shares = |(nth, seat): &(usize, &Option<Seat>)| {
            let due = seat.as_ref().filter(|seat| seat.ask.since().is_some()); // not forgotten
            most = most.min(due.map_or(0, |seat| seat.most));
            *nth < most
        };
        start + self.seats[start..].iter().enumerate().take_while(shares).count().max(1)
    }

    /// New subscriptions go first: repeated questions would hold them back when the pace is slow.
    fn oldest_question(&self) -> Option<Due> {
        let login = self.login.since().map(|since| (since, Due::Login));
        let seats = self.seats.iter().enumerate().filter(|_| self.admitted.is_some());
        let seats =
            seats.filter_map(|(at, seat)| Some((seat.as_ref()?.ask.since()?, Due::Subscribe(at))));
        let probe = self.probe.since().map(|since| (since, Due::Probe));
        let all = login.into_iter().chain(seats).chain(probe);
        all.min_by_key(|(since, _)| *since).map(|(_, due)| due)
    }

    /// The subscriptions for which an answer may be.
    fn asked_mut(&mut self, asked: Asked) -> impl Iterator<Item = &mut Seat> {
        let (start, most) = match asked {
            Asked::Subscription(at) => (at, 1),
            Asked::Question(id) => (start_of(id), self.longest),
        };
        self.seats.iter_mut().skip(start).take(most).flatten()
    }

    /// Asks again for what the exchange has refused.
    pub(super) fn ask_refused(&mut self) {
        self.seats.iter_mut().flatten().for_each(Seat::ask_refused);
    }

    /// Returns when to look again because of this message: deadlines that it moves later need no
    /// look.
    pub(super) fn hear(&mut self, incoming: &Incoming, now: Time) -> Time {
        let mut look = NEVER;
        self.heard = now;
        // Any message shows that the connection is alive, so any answers the probe.
        if self.probe.is_asked() {
            self.probe = Ask::No;
            look = Time::ZERO;
        }
        match *incoming {
            // A `LoggedIn` that comes before the login was sent does not answer the login.
            Incoming::LoggedIn if self.login.since().is_none() => {
                self.login = Ask::No;
                self.admitted.get_or_insert(now);
                look = Time::ZERO;
            }
            Incoming::Answer(asked) => {
                for seat in self.asked_mut(asked).filter(|seat| seat.is_answered_by(asked)) {
                    look = look.min(seat.answer(now));
                }
            }
            Incoming::Refused(asked) => {
                self.asked_mut(asked).for_each(|seat| seat.refuse(asked, now));
                look = Time::ZERO;
            }
            Incoming::Data { subscription, numbers } => {
                look = look.min(self.serve(subscription, true, numbers.is_some(), now));
            }
            Incoming::Keepalive { subscription, last } => {
                look = look.min(self.serve(subscription, false, last.is_some(), now));
            }
            Incoming::Wrong(retry) => {
                self.wrong = Some(retry);
                look = Time::ZERO;
            }
            Incoming::LoggedIn | Incoming::Counted(_) | Incoming::Other | Incoming::Ending => {}
        }
        let is_login = |silent: &Silent| silent.cause == Cause::LoginUnanswered;
        if self.admitted.is_none() && self.silent.as_ref().is_some_and(is_login) {
            return look;
        }
        self.silent.take().map_or(look, |_| Time::ZERO)
    }

    fn serve(&mut self, at: usize, is_data: bool, is_numbered: bool, now: Time) -> Time {
        self.seat_mut(at).map_or(NEVER, |seat| seat.serve(is_data, is_numbered, now))
    }

    /// Why, and since when: as a whole, or in one subscription.
    pub(super) fn silent(&self) -> Option<Silent> {
        let seats = self.seats.iter().flatten().filter_map(|seat| seat.silent);
        self.silent.or_else(|| seats.min_by_key(|silent| silent.since))
    }

    /// A message has these numbers in the count of the connection. Data of several subscriptions
    /// may have the same.
    pub(super) const fn count(&mut self, first: u64, last: u64) -> Option<Counting> {
        let next = last.saturating_add(1);
        let due = self.counted.next;
        if due != 0 && first <= due && due <= next {
            self.counted.next = next;
            return None;
        }
        self.counted = Counted { first, next };
        match due {
            0 => None,
            _ if first > due => Some(Counting::Misses(due, first)),
            _ => Some(Counting::GoesBack),
        }
    }

    /// The numbers in the shared count that a subscription's message stands for: its own, and those
    /// before that were of other messages.
    pub(super) fn share(&mut self, subscription: usize, numbers: Numbers) -> Numbers {
        let since = self.counted.first;
        let Some(seat) = self.seat_mut(subscription) else { return numbers };
        if numbers.first > numbers.last {
            return numbers; // the arbiter refuses it
        }
        let first = seat.counted.max(since).min(numbers.first);
        seat.counted = numbers.last.saturating_add(1);
        Numbers { first, last: numbers.last }
    }

    /// The program has sent a message. `false` if it has sent more than the pace leaves it.
    pub(super) fn note_sent(&mut self, now: Time) -> bool {
        self.pace.note(now);
        let is_within = self.rest.due() <= now;
        self.rest.note(now);
        is_within
    }

    /// Some bytes of a message have come. Whether it may still be long.
    pub(super) fn note_alive(&mut self, now: Time) -> bool {
        self.alive = now;
        now <= self.heard + LONGEST_MESSAGE
    }

    pub(super) fn is_silent_for(&self, subscription: usize) -> bool {
        self.silent.is_some() || self.seat(subscription).is_some_and(Seat::is_silent)
    }

    pub(super) fn note_silence(&mut self, silent: Silent) {
        match silent.cause.subscription().and_then(|at| self.seat_mut(at)) {
            Some(seat) => seat.silent = Some(silent),
            None => self.silent = Some(silent),
        }
    }

    /// What is refused on its successor too is at fault itself, and not this connection.
    pub(super) fn note_refused(&mut self, successor: &Self, now: Time) {
        for (seat, new) in self.seats.iter_mut().zip(&successor.seats) {
            if let (Some(seat), Some(new)) = (seat, new)
                && seat.is_silent()
                && new.is_refused()
            {
                seat.note_refused(now);
            }
        }
    }

    /// Whether it has brought since then all that the watchdog asks for, but of what is refused or
    /// mute.
    pub(super) fn has_served(&self, since: Option<Time>, is_mute: impl Fn(usize) -> bool) -> bool {
        let mut seats = self.seats.iter().enumerate();
        seats.all(|(at, seat)| {
            seat.as_ref().is_none_or(|seat| match seat.watch {
                _ if seat.is_refused() || is_mute(at) => true,
                Subscription { leave_after: Some(_), .. } => seat.served > since,
                Subscription { ask_after: Some(_), .. } => {
                    seat.answered.is_some() && seat.heard > since
                }
                _ => true,
            })
        })
    }

    /// Nobody needs this silent connection: its successor has brought data of what is silent here,
    /// and serves what this one still serves.
    pub(super) fn is_outdone_by(&self, successor: &Self) -> bool {
        if self.silent.is_some() {
            return successor.seats.iter().flatten().any(|new| new.served.is_some());
        }
        let seats = self.seats.iter().zip(&successor.seats);
        let mut seats = seats.filter_map(|(old, new)| Some((old.as_ref()?, new.as_ref()?)));
        let brings_more = |(old, new): (&Seat, &Seat)| old.is_silent() && new.served.is_some();
        let serves = |(old, new): (&Seat, &Seat)| {
            old.is_silent() || old.answered.is_none() || new.answered.is_some()
        };
        seats.clone().any(brings_more) && seats.all(serves)
    }

    /// The next time to look, or what did not come. Silence proves nothing before `grace`, and what
    /// subscriptions in `ignored` do not bring does not count.
    pub(super) fn look<T>(
        &mut self,
        set: &Settings<T>,
        mut grace: Time,
        ignored: impl Fn(usize) -> bool,
        now: Time,
    ) -> Result<Time, Cause> {
        if let Some(retry) = self.wrong {
            return Err(Cause::Wrong(retry));
        }
        if self.silent.is_some() {
            return Ok(self.paced);
        }
        let within = set.answer_within;
        if self.alive > self.heard {
            grace = grace.max(self.alive.min(self.heard + LONGEST_MESSAGE) + within);
        }
        let login = self.login.look(NEVER, within, grace, now).ok_or(Cause::LoginUnanswered)?;
        let silent_at = set.probe_after.map_or(NEVER, |after| self.heard + after);
        let probe = self.probe.look(silent_at, within, grace, now).ok_or(Cause::ProbeUnanswered)?;
        let mut next = self.paced.min(login).min(probe);
        for (at, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat.as_mut().filter(|seat| seat.silent.is_none()) else { continue };
            if ignored(at) {
                continue;
            }
            let gives_up_at = seat.gives_up_at().max(grace);
            if gives_up_at <= now {
                return Err(Cause::NoData(at));
            }
            let asked = seat.ask.look(seat.asks_at(), within, grace, now);
            next = next.min(gives_up_at).min(asked.ok_or(Cause::SubscriptionUnanswered(at))?);
        }
        Ok(next)
    }

    /// When the next quiet subscription may be [ready](Seat::replaces), later than now.
    pub(super) fn ready_at(&self, answer_within: Duration, now: Time) -> Time {
        let answered = self.seats.iter().flatten().filter_map(|seat| seat.answered);
        let ready = answered.map(|answered| answered + answer_within).filter(|at| *at > now);
        ready.min().unwrap_or(NEVER)
    }

    pub(super) fn is_silent_in(&self, which: impl Fn(usize) -> bool) -> bool {
        let mut seats = self.seats.iter().enumerate();
        seats.any(|(at, seat)| seat.as_ref().is_some_and(Seat::is_silent) && which(at))
    }

    pub(super) fn missing(&self) -> usize {
        self.seats.iter().flatten().filter(|seat| seat.is_unanswered()).count()
    }

    pub(super) fn is_asking(&self) -> bool {
        self.probe.is_asked() || self.seats.iter().flatten().any(|seat| seat.ask.is_asked())
    }
}
