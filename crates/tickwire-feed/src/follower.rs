//! Follows a feed: tells its caller when to dial, send and leave.
//!
//! ```text
//! line 0   Run: Backoff, Rotation      Open   seat 0   seat 1   ..   what was said and heard
//!                                      Open   seat 0   seat 1        the successor
//! line 1   Run: Backoff, Rotation      Open   seat 0   seat 1
//!                                             Arbiter  Arbiter  ..   one for each subscription
//! ```
//!
//! Invariant: before `due`, `poll` has something to do only if another method was called. A method
//! that gives `poll` something to do sets `due` to now or earlier, sets `retires`, or adds to
//! `unpolled` or `left`. A method that gives `poll` something to do at a later time sets `due` to
//! this time or earlier.
mod open;
mod poll;
mod run;

#[cfg(doc)]
use crate::{Action, Say};
use crate::{
    Arbiter, Attempts, ConnectionId, Ended, Incoming, Pace, Rotation, State, Subscription, Verdict,
};
use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, ops::Range, time::Duration};
use open::Open;
use run::Run;
use tickwire::{CloseCode, Time};
use tickwire_parts::Backoff;

/// Follows a feed: says when to dial which address, what to send, and when to leave. You own the
/// sockets, the messages and the clock. `T` is the type of a kept message, for example `String`.
///
/// Call [`poll`](Self::poll) and do what it says, until it returns [`Action::Wait`]. Wait until the
/// time in that action, or until something happens. Report what has happened by
/// [`opened`](Self::opened), [`heard`](Self::heard) or [`ended`](Self::ended), and call `poll`
/// again. README.md has a program that does this over sockets. This example has no sockets:
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::{
///     Action, Attempts, Follower, Incoming, Pace, Say, State, Subscription, Verdict,
/// };
/// use tickwire_parts::Backoff;
///
/// let second = Duration::from_secs(1);
/// let mut attempts = Attempts::new(Pace::new(250, 300 * second));
/// let mut follower = Follower::<String>::new();
/// follower.addresses = 2;
/// follower.add_line(Backoff::seeded(1), Duration::MAX, Duration::ZERO);
/// let watch = Subscription { ask_after: Some(5 * second), resume: true, ..Default::default() };
/// let trades = follower.subscribe(watch).unwrap();
///
/// let mut now = Time::ZERO; // from your own clock
/// let dial = follower.poll(now, &mut attempts);
/// let Action::Dial { connection, address: 0, .. } = dial else { panic!("{dial:?}") };
/// follower.opened(connection, now); // once the handshake has succeeded
/// let send = Action::Send { connection, say: Say::Subscribe(trades..trades + 1) };
/// assert_eq!(follower.poll(now, &mut attempts), send);
///
/// // The exchange answers, and sends trade number 7.
/// let trade = Incoming::Data { subscription: trades, numbers: Some(7.into()) };
/// let verdicts = [Incoming::Answer(trades), trade]
///     .map(|incoming| follower.heard(connection, incoming, now, || "trade 7".to_string()));
/// assert_eq!(verdicts, [None, Some(Verdict::Next)]); // use the trade now
/// let Action::Wait(until) = follower.poll(now, &mut attempts) else { panic!() };
/// assert_eq!((until, follower.states().next()), (now + 5 * second, Some(State::Following)));
///
/// // 5 s of silence: is the market quiet, or is the subscription dead?
/// now = until;
/// assert_eq!(follower.poll(now, &mut attempts), send);
/// let Action::Wait(until) = follower.poll(now, &mut attempts) else { panic!() };
///
/// // No answer for 3 s: it is dead. The other address may be well.
/// now = until;
/// assert!(matches!(follower.poll(now, &mut attempts), Action::Leave { .. }));
/// while let Action::Wait(until) = follower.poll(now, &mut attempts) {
///     now = until; // the pace of the attempts
/// }
/// assert_eq!(follower.states().next().unwrap().to_string(), "dials address 1");
/// ```
///
/// # What to give
///
/// Give a follower at least one [line](Self::add_line) and one [subscription](Self::subscribe).
/// Send each [`Say`], and report the exchange's answer. A line has one connection, and for a short
/// time also the successor of this connection. Each connection of a follower carries all
/// subscriptions of the follower. If an exchange limits the number of subscriptions on a
/// connection, divide the subscriptions among several followers that share one [`Attempts`].
///
/// The time that you pass must not go backwards, as [`Time`] says.
///
/// # What it promises
///
/// - **Numbers.** From the first delivered number of a subscription on, each number is either
///   delivered once, in order, or lies in one [`Action::Gap`]. "Delivered" means [`Verdict::Next`]
///   or [`Action::Message`]. Numbers that the exchange sent while no connection was open lie in a
///   gap too. This gap is found when the next number arrives. A gap is reported as soon as all
///   lines have passed it, or after [`Limits::patience`](crate::Limits::patience). After [`Action::Restart`] the count
///   begins anew, and after [`Arbiter::resync`] the snapshot replaces all earlier numbers.
/// - **Dials.** [`Action::Dial`] comes only after a successful [`Attempts::take`]. A line dials one
///   connection at a time.
/// - **After an end.** [`Retry`](tickwire::Retry) decides when the line dials again. With `BackOff`
///   the line waits for the next delay of its `Backoff`, with `Alarm` for the delay of
///   `Backoff::rarely`. With `Stop` the line does not dial until [`go_on`](Self::go_on). The
///   `Backoff` of a line starts anew after a connection that lasted for at least the `max_delay` of
///   the `Backoff`. After the HTTP status 429 or 418, [`Attempts`] allows no line to dial for the
///   time of Retry-After, but at most for [`max_retry_after`](Attempts::max_retry_after).
/// - **Addresses.** After an attempt that failed, and after [`Ended::Silent`], a line turns to the
///   next address. A line uses the addresses that it dials or has a connection to. After any other
///   end of a connection, the line dials the same address again. But if another line uses this
///   address, the line turns to the next address that no other line uses, if there is one. The line
///   decides this at the end of the connection, and again when it dials. If an attempt to dial a
///   successor has failed, the line has turned already, and does not turn again at the end of the
///   older connection. After [`Ended::Silent`], and after [`Ended::Failed`] with
///   [`Retry::BackOff`](tickwire::Retry::BackOff), a line that turns to another address dials it at
///   once. But after as many ended attempts and connections as there are addresses, the line first
///   waits for the next delay of its `Backoff`. This count starts anew after a connection that
///   lasted for `max_delay`, and after `go_on`.
/// - **A quiet market** ends no connection if the exchange answers each login, subscription and
///   probe, and if [`Subscription::leave_after`] is not set.
/// - **A dead connection or subscription.** The follower sends a [probe](Say::Probe) after
///   [`probe_after`](Self::probe_after) without a message, and repeats a silent subscription after
///   [`ask_after`](Subscription::ask_after). If no answer comes within
///   [`answer_within`](Self::answer_within), the follower leaves the connection. It also leaves
///   after `answer_within` if a login stays unanswered, and after twice `answer_within` if a new
///   subscription with `ask_after` stays unanswered. The pace may delay all these messages, and
///   probes and repeated subscriptions wait until all new subscriptions are sent. The
///   [heartbeat](tickwire::Config::heartbeat) of the connection finds a dead network earlier. Do
///   not set [`data_timeout`](tickwire::Config::data_timeout): it would end connections in a quiet
///   market.
/// - **Successors.** The follower does not leave a connection for its successor before every
///   subscription is ready on the successor. A subscription with numbers is ready when it is [in
///   sequence](Arbiter::in_sequence) there. Any other subscription is ready when the successor has
///   brought its first data of this subscription. A quiet subscription becomes ready too,
///   `answer_within` after the exchange has answered it on the successor, if neither connection has
///   brought data of this subscription since that answer. If a subscription never becomes ready,
///   the older connection stays until the exchange cuts it. Then the successor takes over.
/// - **Clocks.** If the time that you pass stands still, nothing becomes due, and each deadline
///   comes later. If your program stands still, as on a suspended laptop, the time jumps, and
///   messages wait unread. So after a `poll` that comes more than 1 s after the time of
///   [`Action::Wait`], silence ends no connection until `answer_within` has passed. If the next
///   `poll` after a wait is late too, the follower takes the program for a slow one, and does not
///   extend this time. Before you call `poll`, read all messages that have arrived. Otherwise the
///   arbiter's patience may end, and unread numbers count as a gap.
///
/// # What it holds
///
/// A follower holds at most [`MOST_LINES`](Self::MOST_LINES) lines with two connections each, and
/// [`MOST_SUBSCRIPTIONS`](Self::MOST_SUBSCRIPTIONS) subscriptions. Each subscription has one
/// [`Arbiter`], whose limits bound the kept messages. On each connection, a subscription waits for
/// at most one answer. A gap stays in its arbiter until `poll` has reported it. So nothing that a
/// peer sends makes a follower grow, except kept messages. `Debug` shows the state of each line,
/// but no message. The follower never holds a login.
pub struct Follower<T> {
    /// How many addresses there are to dial: 1 unless set. 0 counts as 1.
    pub addresses: usize,
    /// The pace of the messages on each connection: 4 in 1.2 s unless set, because Binance allows 5
    /// in 1 s, including Pongs. Subscriptions that were not sent yet leave first, in the order of
    /// their indices. Probes and repeated subscriptions follow, in the order in which they became
    /// due.
    pub pace: Pace,
    /// Whether each connection begins with a [login](Say::Login): `false` unless set. The
    /// subscriptions wait until the login is [accepted](Incoming::LoggedIn).
    pub login: bool,
    /// How many subscriptions [one message](Say::Subscribe) may have: 1 unless set. 0 counts as 1.
    pub batch: usize,
    /// Send a [probe](Say::Probe) after this time without a message: `None` unless set. Set it only
    /// if the exchange answers the probe with a message.
    pub probe_after: Option<Duration>,
    /// How long the exchange may take to answer a login, a subscription or a probe: 3 s unless set.
    /// The time begins when [`Action::Send`] is returned.
    pub answer_within: Duration,
    runs: Vec<Run>,
    subscriptions: Vec<Option<Followed<T>>>,
    /// The id of the next connection.
    next: u64,
    /// Connections to leave.
    left: VecDeque<(ConnectionId, CloseCode)>,
    /// The subscriptions whose arbiters have to be polled.
    unpolled: Range<usize>,
    /// Whether the next `poll` has to decide if a line leaves the older of its two connections. Set
    /// when data has come or time has passed. The decision waits for `poll`, because the successor
    /// may end before.
    retires: bool,
    /// When `poll` next has something to do, if no other method is called before.
    due: Time,
    /// The time that the last `Action::Wait` contains.
    told: Option<Time>,
    /// If the program stood still: the time before which silence ends no connection.
    grace: Time,
    /// Whether the last `poll` after an `Action::Wait` came too late. If the next such `poll` is
    /// late too, `grace` stays as it is.
    is_late: bool,
}

struct Followed<T> {
    watch: Subscription,
    arbiter: Arbiter<T>,
}

impl<T> Default for Follower<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Follower<T> {
    /// The largest number of lines that a follower can have.
    pub const MOST_LINES: usize = 16;

    /// The largest number of subscriptions that a follower can have.
    pub const MOST_SUBSCRIPTIONS: usize = 4096;

    /// A follower without lines and subscriptions.
    pub fn new() -> Self {
        Self {
            addresses: 1,
            pace: Pace::new(4, Duration::from_millis(1200)),
            login: false,
            batch: 1,
            probe_after: None,
            answer_within: Duration::from_secs(3),
            runs: Vec::new(),
            subscriptions: Vec::new(),
            next: 0,
            left: VecDeque::new(),
            unpolled: 0..0,
            retires: false,
            due: Time::ZERO,
            told: None,
            grace: Time::ZERO,
            is_late: false,
        }
    }

    /// Adds a line: a connection to the feed, and its successors. With two lines, each line brings
    /// the whole feed, and the [arbiters](Arbiter) fill the gaps of one line from the other line.
    /// Line *n* first dials the address *n* modulo [`addresses`](Self::addresses).
    ///
    /// `backoff` has the delays between attempts. Give each line a different seed. The exchange
    /// cuts a connection at the age of `life`, so the follower dials a successor `lead` earlier, as
    /// [`Rotation::new`] says. Give each line a different lead, so that two lines do not replace
    /// their connections at the same time. If the exchange cuts no connection, use
    /// [`Duration::MAX`] as `life`, and zero as `lead`.
    ///
    /// Does nothing if there are [`MOST_LINES`](Self::MOST_LINES) lines already.
    pub fn add_line(&mut self, backoff: Backoff, life: Duration, lead: Duration) {
        if self.runs.len() < Self::MOST_LINES {
            let address = self.runs.len();
            self.runs.push(Run::new(backoff, Rotation::new(life, lead), address));
            self.due = Time::ZERO;
        }
    }

    /// Adds a subscription, and returns its index: the lowest free index. Each connection sends the
    /// subscription, including the connections that are open already.
    ///
    /// Returns `None` if there are [`MOST_SUBSCRIPTIONS`](Self::MOST_SUBSCRIPTIONS) subscriptions
    /// already.
    pub fn subscribe(&mut self, subscription: Subscription) -> Option<usize> {
        let free = self.subscriptions.iter().position(Option::is_none);
        let at = free.unwrap_or(self.subscriptions.len());
        if at == Self::MOST_SUBSCRIPTIONS {
            return None;
        }
        let mut arbiter = Arbiter::new(crate::Limits::default(), |_| 0);
        if subscription.resume {
            arbiter.resume(Time::ZERO); // starts with the first message
        }
        let followed = Some(Followed { watch: subscription, arbiter });
        match self.subscriptions.get_mut(at) {
            Some(place) => *place = followed,
            None => self.subscriptions.push(followed),
        }
        for open in self.runs.iter_mut().flat_map(|run| run.rotation.iter_mut()) {
            open.subscribe(at, subscription);
        }
        self.due = Time::ZERO;
        Some(at)
    }

    /// Forgets a subscription that you no longer need, or that the exchange has refused. Its data
    /// is [ignored](Self::heard) from now on. Tell the exchange yourself.
    pub fn unsubscribe(&mut self, subscription: usize) {
        let opens = self.runs.iter_mut().flat_map(|run| run.rotation.iter_mut());
        for seat in opens.filter_map(|open| open.seats.get_mut(subscription)) {
            *seat = None;
        }
        if let Some(place) = self.subscriptions.get_mut(subscription) {
            *place = None;
        }
    }

    /// The arbiter of a subscription, for [`resync`](Arbiter::resync) or
    /// [`resume`](Arbiter::resume), or to set its limits. After `resync` or `resume`, call the
    /// follower's [`poll`](Self::poll). Do not call the arbiter's `offer`, `poll`, `open` or
    /// `close`: the follower calls these methods itself.
    pub fn arbiter(&mut self, subscription: usize) -> Option<&mut Arbiter<T>> {
        self.unpolled = 0..self.subscriptions.len();
        let followed = self.subscriptions.get_mut(subscription)?.as_mut()?;
        Some(&mut followed.arbiter)
    }

    /// What each line is doing, in the order of [`add_line`](Self::add_line).
    pub fn states(&self) -> impl Iterator<Item = State> {
        self.runs.iter().map(Run::state)
    }

    /// Dials again with every line that has [stopped](State::Stopped), and starts the line's
    /// `Backoff` anew. Call this when a person has decided to go on.
    pub fn go_on(&mut self, now: Time) {
        for run in self.runs.iter_mut().filter(|run| run.not_before.is_none()) {
            run.backoff.reset();
            (run.failed, run.not_before) = (0, Some(now));
        }
        self.due = now;
    }

    /// Says that a [dialed](Action::Dial) connection is open: its handshake has succeeded.
    pub fn opened(&mut self, connection: ConnectionId, now: Time) {
        let mut runs = self.runs.iter_mut();
        let found = runs.find_map(|run| Some((run.end_dialing(connection)?, run)));
        let Some((address, run)) = found else { return };
        // A new connection ends an alarm, but not a stop, because only `go_on` ends a stop.
        run.after = run.after.map(|(ended, _)| (ended, tickwire::Retry::BackOff));
        let mut open = Open::new(connection, address, self.pace.anew(), now);
        if self.login {
            open.log_in();
        }
        for (at, followed) in self.subscriptions.iter().enumerate() {
            followed.iter().for_each(|followed| open.subscribe(at, followed.watch));
        }
        if let Some(old) = run.rotation.opened(open, now) {
            self.leave(old);
        }
        self.due = now;
    }

    /// Says that an attempt has failed, or that a connection is over. Passes a refusal on to
    /// `attempts`. Does nothing after [`Action::Leave`].
    pub fn ended(
        &mut self,
        connection: ConnectionId,
        ended: Ended,
        now: Time,
        attempts: &mut Attempts,
    ) {
        let is_known = |run: &Run| run.dials(connection) || run.has(connection);
        let Some(at) = self.runs.iter().position(is_known) else { return };
        let away = match ended {
            Ended::Refused { status, retry_after } => attempts.refused(status, retry_after, now),
            _ => None,
        };
        self.finish(at, connection, ended, away, now);
    }

    /// Says that a message has come. `own` makes the copy to keep, and is called only if the
    /// arbiter [keeps](Verdict::Kept) the message. Call [`poll`](Self::poll) afterwards.
    ///
    /// With [`Verdict::Next`], use the data now. With any other verdict, you have nothing to do.
    /// Returns `None` if the message is no data, or if its connection or subscription is unknown.
    pub fn heard(
        &mut self,
        connection: ConnectionId,
        incoming: Incoming,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Option<Verdict> {
        let at = self.runs.iter().position(|run| run.has(connection))?;
        let run = &mut self.runs[at];
        let open = run.rotation.iter_mut().find(|open| open.id == connection)?;
        // `due` may be the deadline of an answer. If this message is the answer, the deadlines on
        // silence hold again, and `due` must not be later than these deadlines.
        self.due = self.due.min(open.hear(&incoming, now));
        self.due = self.probe_after.map_or(self.due, |after| self.due.min(now + after));
        match incoming {
            Incoming::Data { subscription, numbers } => {
                let followed = self.subscriptions.get_mut(subscription)?.as_mut()?;
                let seat = open.seat_mut(subscription)?;
                let arbiter = &mut followed.arbiter;
                let verdict = numbers.map_or(Verdict::Next, |numbers| {
                    let line = seat.line.get_or_insert_with(|| arbiter.open());
                    arbiter.offer(line, numbers, now, own)
                });
                self.retires |= run.rotation.iter().nth(1).is_some();
                self.poll_again(subscription);
                return Some(verdict);
            }
            Incoming::LoggedIn => {}
            Incoming::Ending => run.rotation.hasten(now),
            Incoming::Wrong(retry) => self.leave_now(at, connection, Ended::Failed(retry), now),
            Incoming::Answer(_) | Incoming::Other => return None,
        }
        self.due = now;
        None
    }

    /// Makes the next `poll` also poll the arbiter of this subscription.
    fn poll_again(&mut self, subscription: usize) {
        self.unpolled = match self.unpolled.is_empty() {
            true => subscription..subscription + 1,
            false => self.unpolled.start.min(subscription)..self.unpolled.end.max(subscription + 1),
        };
    }

    /// Leaves a connection for the reason `ended`.
    fn leave_now(&mut self, at: usize, connection: ConnectionId, ended: Ended, now: Time) {
        self.left.push_back((connection, CloseCode::GOING_AWAY));
        self.finish(at, connection, ended, None, now);
    }

    /// Handles the end of an attempt, or of a connection, of the line `at`.
    fn finish(
        &mut self,
        at: usize,
        connection: ConnectionId,
        ended: Ended,
        away: Option<Time>,
        now: Time,
    ) {
        let run = &mut self.runs[at];
        let dialed = run.end_dialing(connection);
        let open = run.remove(connection, now);
        let Some(address) = dialed.or(open.as_ref().map(|open| open.address)) else { return };
        let addresses = self.addresses.max(1);
        let is_next = run.address % addresses == address; // if not, the line has turned already
        let turns = dialed.is_some() || ended == Ended::Silent;
        let other = match turns {
            true => Some((address + 1) % addresses),
            false => self.unused(at, address),
        };
        let run = &mut self.runs[at];
        if is_next {
            run.avoids = !turns;
        }
        run.over(ended, other.filter(|_| is_next), addresses, away, now);
        open.into_iter().for_each(|open| self.close_lines(open));
        self.due = now;
    }

    /// If another line uses `address`, returns the next address that no other line uses, because
    /// two lines to one server would fall silent together. A line uses the addresses that it dials
    /// or has a connection to.
    fn unused(&self, at: usize, address: usize) -> Option<usize> {
        let others = || self.runs.iter().enumerate().filter(|(other, _)| *other != at);
        let uses = |address| others().any(|(_, run)| run.uses(address));
        let mut next = (address + 1..self.addresses).chain(0..address);
        if uses(address) { next.find(|address| !uses(*address)) } else { None }
    }

    /// Leaves a connection that nobody needs any more.
    fn leave(&mut self, open: Open) {
        self.left.push_back((open.id, CloseCode::NORMAL));
        self.close_lines(open);
    }

    /// Closes the connection's lines in the arbiters, so that no gap waits for this connection any
    /// more.
    fn close_lines(&mut self, open: Open) {
        for (seat, followed) in open.seats.into_iter().zip(&mut self.subscriptions) {
            if let Some(line) = seat.and_then(|seat| seat.line)
                && let Some(followed) = followed
            {
                followed.arbiter.close(line);
            }
        }
        self.unpolled = 0..self.subscriptions.len();
    }
}

/// Shows what the lines do.
impl<T> fmt::Debug for Follower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.states()).finish()
    }
}
