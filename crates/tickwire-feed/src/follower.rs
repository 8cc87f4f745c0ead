//! Follows a feed: tells its caller when to dial, send and leave.
//!
//! ```text
//! line 0   Run: Backoff                Open   seat 0   seat 1   ..   what was said and heard
//!                                      Open   seat 0   seat 1        the successor
//! line 1   Run: Backoff                Open   seat 0   seat 1
//!                                             Followed Followed ..   one for each subscription
//! ```
//!
//! | module | decides |
//! |---|---|
//! | this one | what a call changes |
//! | `dial` | when and where a line dials, from facts |
//! | `poll` | what is done next |
//! | `run` | a line: why it dials |
//! | `open` | a connection: which questions are due or unanswered (`Ask`), and whether it is silent |
//! | `followed` | a subscription on all connections: its arbiter, and what follows a gap or a restart |
//!
//! A line of a follower is a `Run`. A `Line` is a connection's place in one subscription's arbiter.
//!
//! `heard` asks `Open::hear` what a message answers, and `Open::looks_at` when to look again.
//!
//! Facts are kept, and `poll` computes from them what is due. Each method but `heard` makes it look
//! at once. `heard` moves most deadlines only later, so it has `poll` look when its own
//! subscription and seat are due.
mod dial;
mod followed;
mod open;
mod poll;
mod run;

#[cfg(doc)]
use crate::{Action, Recovery, Say};
use crate::{
    Arbiter, Asked, Attempts, Cause, ConnectionId, Count, Ended, Incoming, Key, Limits, Pace,
    State, Subscription, Topic, Verdict, row::Row,
};
use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, mem, time::Duration};
use dial::{Dials, End, Life, Next};
use followed::{Followed, PUSHED, Topics};
use open::{Counting, Open, Seat};
use run::{Dialing, Run};
use tickwire::Time;
use tickwire_parts::Backoff;

/// The time of what never becomes due by itself.
const NEVER: Time = Time::new(Duration::MAX);

/// The settings of a [`Follower`]. Start from [`Settings::new`], and change what you need:
///
/// ```
/// use tickwire_feed::{Follower, Settings};
///
/// let follower = Follower::new(Settings { addresses: 2, ..Settings::new(String::len) });
/// # let _: Follower<String> = follower;
/// ```
#[derive(Debug)]
pub struct Settings<T> {
    /// How many addresses there are to dial: 1 by default. 0 counts as 1.
    pub addresses: usize,
    /// The pace of the messages on each connection: 4 in 1.2 s by default, because Binance allows 5
    /// in 1 s, including Pongs. Subscriptions that were not sent yet leave first, in the order of
    /// their indices. Probes and repeated subscriptions follow, in the order in which they became
    /// due.
    pub pace: Pace,
    /// Whether each connection begins with a [login](Say::Login): `false` by default. The
    /// subscriptions wait until the login is [accepted](Incoming::LoggedIn).
    pub login: bool,
    /// How many subscriptions [one message](Say::Subscribe) may have: 1 by default. 0 counts as 1.
    pub batch: usize,
    /// Send a [probe](Say::Probe) after this time without a message: `None` by default. Set it only
    /// if the exchange answers the probe with a message.
    pub probe_after: Option<Duration>,
    /// How long the exchange may take to answer a login, a subscription or a probe: 3 s by default.
    /// The time begins when [`Action::Send`] is returned.
    pub answer_within: Duration,
    /// How long a snapshot may take, from [`Action::Snapshot`] on: 10 s by default. Then it is
    /// asked for again, when its turn is; if it comes late, it [still counts](Follower::snapshot).
    pub snapshot_within: Duration,
    /// The limits of each subscription's [`Arbiter`]. [`most_bytes`](Limits::most_bytes) is the
    /// bound for all subscriptions of the follower together: above it, messages of the
    /// subscription that keeps the most bytes go.
    pub limits: Limits,
    /// Stop after so many refused logins in a row: `None` unless set, and then a refused key is
    /// tried [ever more rarely](Follower#dials). Set it if the exchange revokes a key, or locks an
    /// account, after some. [`Follower::new_key`] and [`Follower::go_on`] start anew.
    pub refused_logins: Option<u32>,
    /// The bytes that a kept message holds on the heap, for example `String::len`.
    pub size: fn(&T) -> usize,
}

impl<T> Settings<T> {
    /// The defaults, with the size of a kept message: see [`size`](Self::size).
    pub fn new(size: fn(&T) -> usize) -> Self {
        Self {
            addresses: 1,
            pace: Pace::new(4, Duration::from_millis(1200)),
            login: false,
            batch: 1,
            probe_after: None,
            answer_within: Duration::from_secs(3),
            snapshot_within: Duration::from_secs(10),
            limits: Limits::default(),
            refused_logins: None,
            size,
        }
    }
}

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
/// use tickwire::{CloseCode, RecvError, Time};
/// use tickwire_feed::{
///     Action, Asked, Attempts, Cause, Follower, Incoming, Recovery, Say, Settings, State,
///     Subscription, Verdict,
/// };
/// use tickwire_parts::Backoff;
///
/// let second = Duration::from_secs(1);
/// let mut attempts = Attempts::new(250, 300 * second);
/// let settings = Settings { addresses: 2, ..Settings::new(String::len) };
/// let mut follower = Follower::<String>::new(settings);
/// follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
/// let ask_after = Some(5 * second);
/// let watch = Subscription { ask_after, recovery: Recovery::Resume, ..Default::default() };
/// let trades = follower.subscribe(watch).unwrap();
///
/// let mut now = Time::ZERO; // from your own clock
/// let dial = follower.poll(now, &mut attempts);
/// let Action::Dial { connection: first, address: 0, .. } = dial else { panic!("{dial:?}") };
/// follower.opened(first, now, &mut attempts); // once the handshake has succeeded
/// let say = follower.poll(now, &mut attempts);
/// let Action::Send { say: Say::Subscribe { id, .. }, .. } = say else { panic!("{say:?}") };
///
/// // The exchange answers, and sends trade number 7.
/// let answer = Incoming::Answer(Asked::Question(id));
/// assert_eq!(follower.heard(first, answer, now, || unreachable!()), None);
/// let trade = Incoming::Data { subscription: trades, numbers: Some(7.into()) };
/// let verdict = follower.heard(first, trade, now, || "trade 7".to_string());
/// assert_eq!(verdict, Some(Verdict::Next)); // use the trade now
/// let Action::Wait(until) = follower.poll(now, &mut attempts) else { panic!() };
/// assert_eq!(until, now + 5 * second);
/// assert_eq!(follower.states().next(), Some(State::Following));
///
/// // 5 s of silence: is the market quiet, or is the subscription dead?
/// now = until;
/// let again = follower.poll(now, &mut attempts);
/// assert!(matches!(again, Action::Send { say: Say::Subscribe { .. }, .. }));
/// let Action::Wait(until) = follower.poll(now, &mut attempts) else { panic!() };
///
/// // No answer for 3 s. The other address may be well.
/// now = until;
/// let dial = follower.poll(now, &mut attempts);
/// let Action::Dial { connection: second, address: 1, .. } = dial else { panic!("{dial:?}") };
/// let state = follower.states().next().unwrap().to_string();
/// assert_eq!(state, "opens another connection: the server did not answer subscription 0");
/// follower.opened(second, now, &mut attempts);
/// let say = follower.poll(now, &mut attempts);
/// assert!(matches!(say, Action::Send { connection, .. } if connection == second));
///
/// // The other connection brings data first, so the silent one goes.
/// let trade = Incoming::Data { subscription: trades, numbers: Some(8.into()) };
/// let verdict = follower.heard(second, trade, now, || "trade 8".to_string());
/// assert_eq!(verdict, Some(Verdict::Next));
/// let why = Some(Cause::SubscriptionUnanswered(trades));
/// let leave = Action::Leave { connection: first, code: CloseCode::GOING_AWAY, why };
/// assert_eq!(follower.poll(now, &mut attempts), leave);
/// ```
///
/// # What to give
///
/// Give a follower at least one [line](Self::add_line) and one [subscription](Self::subscribe).
/// Send each [`Say`], and report the exchange's answer. A line has one connection, and for a short
/// time also the successor of this connection. Each connection carries all subscriptions. If an
/// exchange limits the number of subscriptions on a connection, divide them among several followers
/// that share one [`Attempts`].
///
/// The time that you pass must not go backwards, as [`Time`] says. Before you call `poll`, read all
/// messages that have arrived: otherwise the arbiter's patience may end, and unread numbers count
/// as a gap.
///
/// # What it promises
///
/// **Numbers.** Every number is delivered once, in order ([`Verdict::Next`] or
/// [`Action::Message`]), or reported in exactly one [`Action::Gap`], including those that were sent
/// while you were disconnected. This begins with the first delivered number of a subscription. A
/// gap is found when a later number arrives, and reported as soon as all connections have passed
/// it, or after [`Limits::patience`]. After [`Action::Restart`] the count begins anew. After
/// [`resync`](Self::resync) the snapshot replaces all earlier numbers: what an open connection has
/// passed of the rest is a gap at once. The last numbers before a silence are missed only if the
/// exchange says how far it has come: by the next number, or by a
/// [keepalive](Incoming::Keepalive).
///
/// **Whose numbers.** A message that waits for its turn belongs to a connection. When that is over
/// or [silent](State::Silent), and all that was due before is delivered and reported, it stays only
/// if [another one vouches for it](Arbiter#whose-a-kept-message-is). So an exchange may count anew
/// after an outage. With [`Recovery::Snapshot`], a connection that begins below the book, and at or
/// below the lowest number that one began with in the present count, while there is no other one,
/// is such a count: [`Action::Restart`] comes at once. If the exchange counts anew on *each*
/// connection, set [`Subscription::count`]: otherwise numbers that begin later and catch up within
/// the patience, or go on by chance where the old count stopped, are taken for the old count, and
/// nothing tells you.
///
/// **Snapshots.** With [`Recovery::Snapshot`], each `Gap` and `Restart` leads to one
/// [`Action::Snapshot`], and so does a request that [failed](Self::no_snapshot), took longer than
/// [`Settings::snapshot_within`], or whose [connection](Self::asked_over) has ended. The next waits
/// until 0, 1, 2, 4 .. 60 s after the last; the waits start anew after a snapshot behind which
/// numbers came in order for ten times the patience. In 5 minutes there are at most 12 for a
/// subscription, and for all followers of an address as many as [`Attempts::snapshots`] allows, and
/// none before the Retry-After of a refused one is over.
///
/// **A quiet market** ends no connection if the exchange answers each login, subscription and
/// probe, and if [`Subscription::leave_after`] is not set.
///
/// ## Dials
///
/// [`Action::Dial`] comes only after a successful [`Attempts::take`]. A line dials one connection
/// at a time. An attempt that [reached no server](Cause::reached_no_server) is given back.
///
/// **When.** A connection has *settled* once it has served for `Backoff::settled_after` (60 s), not
/// counting the time before its login was accepted. After one kind of end at the only address,
/// again and again, the line waits so long, in seconds, with the delays of `Backoff::trading`:
///
/// | after this kind of end | the next dial comes after |
/// |---|---|
/// | the connection had settled | 0-0.1, 0-0.1, 0-0.1, 0-0.1, 0-0.1, 0-0.1, then 0-0.1 |
/// | it had not settled, whatever the end; an attempt failed in a way that may pass: nothing listens, no way, a time-out, a cut, 5xx, no token | 0-0.1, 0.1-0.2, 0.2-0.4, 0.4-0.8, 0.8-1.6, 1.6-3.2, then 2.5-5 |
/// | an attempt failed in a way that people mend: 403, 404, 200, 302, 501, the server's certificate, a wrong answer to the handshake, 407, the system | 1-1.2, 2-2.4, 4-4.8, 8-9.6, 10-12, 10-12, then 60-72 |
/// | the key was refused: 401, Close 3000, our certificate; a final code, or `Wrong(Alarm)`, before the login was accepted | 0-0.1, 60-72, 120-144, 240-288, 480-576, 900-1080, then 900-1080 |
/// | 429 without a Retry-After | 1, 2, 4, 8, 16, 32, then 300 |
/// | 418 without a Retry-After | 120, 240, 300, 300, 300, 300, then 300 |
/// | Close 1012 | 5-30, 5-30, 5-30, 5-30, 5-30, 5-30, then 5-30 |
/// | a 5xx, or no token, with a Retry-After of 20 s | 20-22, 20-22, 20-22, 20-22, 20-22, 20-22, then 20-22 |
/// | 429 or 418 with a Retry-After of 20 s | 24, 24, 24, 24, 24, 24, then 24 |
///
/// The second row has the line's own delays. The third stays at 10 to 12 s for five minutes. For
/// the fourth, the exchange sees at most four tries in five minutes and 100 a day, for each key: a
/// line has its own, unless it [shares](Self::share_key) one, and then the tries of all
/// lines and followers count. After 429 and 418, one attempt of all followers goes first:
/// [`Attempts::refused`]. The longest wait is that of the limits' longest window, here 300 s.
///
/// Ends in a row count for what they concern, whatever their kind: the third and the fourth row
/// count for the address, the machine or the key. A row ends with a settled life that was admitted
/// after its last end. If several things want the line to wait, the latest time counts; a later end
/// shortens no wait.
///
/// | an end | concerns |
/// |---|---|
/// | of the fourth row | the key |
/// | 407, 418, 429, the system, settings, [`Cause::Other`] | this machine: the line waits at all addresses |
/// | of a settled connection, but for silence, 1012, 1013 and [`Wrong`](Incoming::Wrong) | nothing but the line |
/// | any other | the address |
///
/// **Where.** Line *n* has the address *n* as its own. What concerns an address leaves the others
/// free: each of them is dialed once without the line's delay until a connection settles. So beside
/// an address that serves, a line has no connection for at most twice the first delay. Of the
/// addresses that may be dialed at the same time it takes its own, then another one at which
/// nothing has ended since a connection settled there, then the one that was dialed longest ago. At
/// a planned change, and after [`renew`](Self::renew), its own comes first in any case. No line
/// dials an address that another line uses while there is one that nobody uses. If two addresses
/// have no token, or no tunnel, and a Retry-After, the others wait too: they may have asked the
/// same host.
///
/// **Who is told.** Two ends in a row, one of which is not `Retry::BackOff`, are an
/// [alarm](State::Alarm) until a connection has settled; [`faults`](Self::faults) has those of each
/// address.
///
/// **What stops.** What is read from the wire stops no line for ever. The program's own word does,
/// until [`go_on`](Self::go_on) or [`new_key`](Self::new_key): `Wrong(Stop)` and other ends that it
/// makes of `Retry::Stop`, [`Cause::Settings`], `Backoff::max_attempts`, and
/// [`Settings::refused_logins`].
///
/// **How many.** With `Backoff::trading`, at most 126 dials in any five minutes and one more for
/// each further address. Set [`Attempts`] below what the exchange allows.
///
/// ## Silence
///
/// | question | sent | the connection is silent, if no answer comes within |
/// |---|---|---|
/// | a login | first | [`answer_within`](Settings::answer_within) |
/// | a new subscription with [`ask_after`](Subscription::ask_after) | then, and again after `answer_within` | twice `answer_within` |
/// | the same subscription again | after `ask_after` without its data or an answer | `answer_within` (data is an answer too) |
/// | a [probe](Say::Probe) | after [`probe_after`](Settings::probe_after) without a message | `answer_within` |
/// | none: a subscription brings no data | | [`leave_after`](Subscription::leave_after), if set |
///
/// The pace may delay these questions. Probes and repeated subscriptions wait until all new
/// subscriptions are sent.
///
/// A silent connection is not left at once. The line opens a successor, and that ends the old
/// connection by its first *data*, or, if single subscriptions are silent, by data of one of them
/// once the exchange has accepted on the successor all that the old one still serves. If the old
/// one speaks first (any message; for a login, a subscription or its data, that), the successor
/// goes. A successor that is silent itself, by any row of the table, is left. A keepalive of a
/// subscription is as data, in all of this section.
///
/// **How fast.** The dials for silence have a pace of their own, for each line: the pace of
/// silence, which does not touch the line's delays. The first comes at once; while the silence
/// lasts, the next ones come 1, 2, 4 .. s after the last, up to 15 min: at most 16 in the first
/// hour and 8 in each later one, for whatever is silent. The pace starts anew when a subscription
/// falls silent that is not mute, and the line's connection has served all of them since the last
/// of these dials, but for those that are refused or mute; and when a connection falls silent as a
/// whole, `settled_after` or more after the last of these dials.
///
/// **Whose fault.** While a subscription is silent, the others are watched as before. If, since it
/// last brought data, it was silent at each address that may be dialed, and also on a connection
/// that was opened after the first of these silences, it is at fault itself: [`Action::Mute`] tells
/// it once, and [`Topic::Mute`] says so. It is dialed for as before, because nothing else would
/// find that it is well again. What is refused on a successor that was opened for it is at fault
/// itself too: the successor goes, and [`Topic::Refused`] says so.
///
/// A message that takes longer than these times is life, if you say so: [`alive`](Self::alive).
///
/// The [heartbeat](tickwire::Config::heartbeat) of the connection finds a dead network earlier, and
/// ends the connection. With `Subscription::leave_after` you need no
/// [`data_timeout`](tickwire::Config::data_timeout); set that one only below the longest silence of
/// *all* subscriptions together, because it ends the connection even in a quiet market.
///
/// ## Successors
///
/// The follower does not leave a connection for its planned successor before every subscription is
/// ready on the successor:
///
/// | a subscription | is ready |
/// |---|---|
/// | with numbers | when it is [in sequence](Arbiter::in_sequence) there |
/// | without | when the successor has brought its first data of it |
/// | that is quiet | `answer_within` after the exchange has answered it on the successor, if neither connection has brought data of it since that answer |
/// | that never becomes ready | never: the older connection stays until the exchange cuts it, and then the successor takes over |
///
/// After [`Incoming::Ending`] the successor waits for the line's next delay, so an exchange that
/// says so on each connection gets no flood of dials.
///
/// ## Clocks
///
/// | what happens | what follows | what to do |
/// |---|---|---|
/// | the time that you pass stands still, as `Instant` does while Linux is suspended | each deadline comes later: `life` counts from a moment that is too late, the exchange cuts first, and the server may have forgotten the connection | let the [heartbeat](tickwire::Config::heartbeat) find that, and call [`renew`](Self::renew) after a wake |
/// | your program stands still: `poll` comes more than 1 s after the time of [`Action::Wait`] | messages wait unread, so silence proves nothing until `answer_within` has passed; but not twice before something was heard | read what has arrived before `poll` |
///
/// # What it holds
///
/// | | at most |
/// |---|---|
/// | lines, with two connections each | [`MOST_LINES`](Self::MOST_LINES) |
/// | subscriptions | [`MOST_SUBSCRIPTIONS`](Self::MOST_SUBSCRIPTIONS) |
/// | kept messages | [`Settings::limits`]: 64 MiB by default |
/// | answers for which a subscription waits, on each connection | one |
///
/// A gap stays in its arbiter until `poll` has reported it. So nothing that a peer sends makes a
/// follower grow, except kept messages. `Debug` shows the state of each line, but no message. The
/// follower never holds a login.
pub struct Follower<T> {
    set: Settings<T>,
    runs: Vec<Run>,
    dials: Dials,
    topics: Topics<T>,
    /// The id of the next connection or question, or the next subscription's first count.
    next_id: u64,
    next_snapshot: u64,
    /// When this follower may ask for its next snapshot.
    ticket: Option<Time>,
    over: VecDeque<Over>,
    /// When `poll` next has something to do, if no other method is called before.
    wake: Time,
    /// The time that the last `Action::Wait` said.
    told: Option<Time>,
    /// The program stood still: silence proves nothing before this time.
    grace: Time,
    /// Since `grace` was last set.
    has_heard: bool,
}

impl<T> Follower<T> {
    /// The largest number of lines that a follower can have.
    pub const MOST_LINES: usize = 4;

    /// The largest number of subscriptions that a follower can have.
    pub const MOST_SUBSCRIPTIONS: usize = 4096;

    /// A follower without lines and subscriptions.
    pub fn new(settings: Settings<T>) -> Self {
        let dials = Dials::new(settings.addresses, settings.refused_logins);
        Self {
            set: settings,
            runs: Vec::new(),
            dials,
            topics: Topics::NONE,
            next_id: 0,
            next_snapshot: 0,
            ticket: None,
            over: VecDeque::new(),
            wake: Time::ZERO,
            told: None,
            grace: Time::ZERO,
            has_heard: true,
        }
    }

    /// Adds a line: a connection to the feed, and its successors. With two lines, each line brings
    /// the whole feed, and one fills the gaps of the other. Line *n* has the address *n* modulo
    /// [`addresses`](Settings::addresses) as its own.
    ///
    /// `backoff` has the delays between attempts: [`Backoff::trading`] for a trading client. Give
    /// each line a different seed. The exchange cuts a connection at the age of `life`, so the
    /// follower dials a successor `lead` earlier: choose a lead that is long enough for several
    /// attempts, with the delays between them. Give each line a different lead, so that two lines
    /// do not replace their connections at the same time. If the exchange cuts no connection, use
    /// [`Duration::MAX`] as `life`, and zero as `lead`.
    ///
    /// Does nothing if there are [`MOST_LINES`](Self::MOST_LINES) lines already.
    pub fn add_line(&mut self, backoff: Backoff, life: Duration, lead: Duration) {
        if self.runs.len() < Self::MOST_LINES {
            self.runs.push(Run { renew_after: life.saturating_sub(lead), ..Run::default() });
            self.dials.add_line(backoff);
            self.wake = Time::ZERO;
        }
    }

    /// Says that this line shares its [key](Attempts::key) with others. Otherwise each line counts
    /// as having a key of its own.
    pub fn share_key(&mut self, line: usize, key: Key) {
        if let Some(line) = self.dials.lines.get_mut(line) {
            line.shared = Some(key);
        }
    }

    /// Adds a subscription, and returns its index: the lowest free index. Each connection sends the
    /// subscription, including the connections that are open already.
    ///
    /// Returns `None` if there are [`MOST_SUBSCRIPTIONS`](Self::MOST_SUBSCRIPTIONS) subscriptions
    /// already.
    pub fn subscribe(&mut self, subscription: Subscription) -> Option<usize> {
        let all = &mut self.topics.all;
        let at = all.iter().position(Option::is_none).unwrap_or(all.len());
        if at == Self::MOST_SUBSCRIPTIONS {
            return None;
        }
        let mut followed = Followed::new(subscription, self.set.limits, self.set.size);
        // Nothing that was pushed for another subscription of this index is of this count.
        followed.arbiter.restarts = self.next_id << 32;
        self.next_id += 1;
        let followed = Some(followed);
        match all.get_mut(at) {
            Some(place) => *place = followed,
            None => all.push(followed),
        }
        for open in self.runs.iter_mut().flat_map(|run| &mut run.open) {
            open.subscribe(at, subscription);
        }
        self.wake = Time::ZERO;
        Some(at)
    }

    /// Forgets a subscription that you no longer need. Its data
    /// is [ignored](Self::heard) from now on. Tell the exchange yourself.
    pub fn unsubscribe(&mut self, subscription: usize) {
        let open = self.runs.iter_mut().flat_map(|run| &mut run.open);
        for open in open.chain(self.over.iter_mut().map(|over| &mut over.open)) {
            if let Some(seat) = open.seats.get_mut(subscription) {
                *seat = None;
            }
        }
        self.topics.remove(subscription);
        self.wake = Time::ZERO;
    }

    /// The arbiter of a subscription, to look at its [gap](Arbiter::gap).
    pub fn arbiter(&self, subscription: usize) -> Option<&Arbiter<T>> {
        Some(&self.topics.get(subscription)?.arbiter)
    }

    /// Says that the exchange has sent a snapshot over this connection, whether it was asked for or
    /// not. `next` is the first number that it does not contain, or 0 if the data has no numbers.
    /// It is the answer to the subscription, and its number counts if the numbers are counted [by
    /// the connection](Count). `begins_anew` if the exchange says that the book begins anew with
    /// this one, whatever its number. Call [`poll`](Self::poll) until it waits, or asks for a
    /// snapshot of this subscription, and then [`snapshot`](Self::snapshot) with the returned id.
    ///
    /// `None` if it is of no use, because the connection is not, its numbers are of a count of
    /// which nothing is used, or there is no such subscription.
    pub fn pushed(
        &mut self,
        connection: ConnectionId,
        subscription: usize,
        next: u64,
        begins_anew: bool,
        now: Time,
    ) -> Option<u64> {
        let answer = Incoming::Answer(Asked::Subscription(subscription));
        self.heard(connection, answer, now, || unreachable!("no data"));
        let is_of_use = |at: &Place| self.runs[at.line].open[at.nth].wrong.is_none();
        let from = self.place(connection).filter(is_of_use)?;
        let last = next.saturating_sub(1);
        if self.topics.get(subscription)?.watch.count == Count::Shared {
            self.count(from, last, last, now);
        }
        self.wake = Time::ZERO;
        let opens = &mut self.runs[from.line].open;
        // Behind data it may be late, and then it shows no count.
        let is_first = !opens[from.nth].seat(subscription)?.has_data();
        self.topics.with(subscription, |followed| {
            let (line, _) = followed.admit(opens, from.nth, subscription, last.into())?;
            if is_first {
                followed.note_first(line, next);
            }
            if begins_anew {
                followed.arbiter.begin_anew();
            }
            followed.arbiter.note_snapshot(line, next, is_first || begins_anew, now);
            Some(PUSHED | followed.arbiter.restarts)
        })?
    }

    /// Says that the snapshot of this [request](Action::Snapshot), or a [pushed](Self::pushed) one,
    /// has come. `next` is the first number that it does not contain, or 0 if the data has no
    /// numbers. Returns whether to use it: then this is as [`resync`](Self::resync), and the book
    /// is what the snapshot says. Call [`poll`](Self::poll) afterwards.
    ///
    /// `false`, and nothing happens, if it was asked for, or pushed, before the count last
    /// [began anew](Action::Restart), so that it may be of an old one; if the subscription waits
    /// for no snapshot any more, but for a pushed one that is not behind the book; or if it was
    /// asked for and came late, another one is under way, and numbers are missing between it and
    /// the first kept message.
    #[must_use]
    pub fn snapshot(&mut self, subscription: usize, id: u64, next: u64, now: Time) -> bool {
        let followed = self.topics.get(subscription);
        let is_taken = followed.is_some_and(|followed| followed.takes_snapshot(id, next));
        if is_taken {
            self.resync(subscription, next, now);
        }
        is_taken
    }

    /// Says that the program has a snapshot of this subscription that it did not ask for: as
    /// [`Arbiter::resync`], with the first number that the snapshot does not contain. It counts as
    /// the one that is being asked for. Call [`poll`](Self::poll) afterwards.
    pub fn resync(&mut self, subscription: usize, next: u64, now: Time) {
        // What a connection that is over had brought must not reach the new book.
        self.close_lines();
        self.change(subscription, |followed| followed.resync(next, now));
    }

    /// Goes on without a snapshot: as [`Arbiter::resume`]. Call [`poll`](Self::poll) afterwards.
    pub fn resume(&mut self, subscription: usize, now: Time) {
        self.change(subscription, |followed| followed.resume(now));
    }

    /// Says that the snapshot of this [request](Action::Snapshot) could not be fetched. The next
    /// [`Action::Snapshot`] comes when its turn is. Pass the Retry-After of a 429 or 418: no
    /// follower that shares `attempts` asks for a snapshot before that time, and a tenth and 2 s
    /// more. Does nothing else if the subscription waits for another request.
    pub fn no_snapshot(
        &mut self,
        subscription: usize,
        id: u64,
        retry_after: Option<Duration>,
        now: Time,
        attempts: &mut Attempts,
    ) {
        if let Some(retry_after) = retry_after {
            attempts.refuse_snapshots(retry_after, now);
        }
        self.change(subscription, |followed| followed.fail(id, now));
    }

    /// Says that the snapshot of this [request](Action::Snapshot) was asked for over this
    /// connection: if the connection ends first, that is as [`no_snapshot`](Self::no_snapshot).
    pub fn asked_over(
        &mut self,
        subscription: usize,
        id: u64,
        connection: ConnectionId,
        now: Time,
    ) {
        let is_open = self.place(connection).is_some();
        self.change(subscription, |followed| match is_open {
            true => followed.note_over_socket(id, connection),
            false => followed.fail(id, now),
        });
    }

    /// Says that the book of this subscription is wrong, for example by its checksum.
    /// [`Action::Restart`] comes, and then, with [`Recovery::Snapshot`], an [`Action::Snapshot`]
    /// when its turn is. What is kept goes. Call [`poll`](Self::poll) afterwards.
    pub fn distrust(&mut self, subscription: usize) {
        self.change(subscription, Followed::distrust);
    }

    /// What a subscription is doing. `None` if there is none of this index.
    pub fn topic(&self, subscription: usize) -> Option<Topic> {
        let followed = self.topics.get(subscription)?;
        let mut currents = self.runs.iter().filter_map(Run::current).peekable();
        if currents.peek().is_none() {
            return Some(followed.topic(self.ticket));
        }
        let mut seats = currents.clone().filter_map(|open| open.seat(subscription));
        let has_none = seats.clone().all(|seat| seat.is_refused() || seat.is_unanswered());
        if has_none && seats.any(Seat::is_refused) {
            return Some(Topic::Refused);
        }
        if currents.all(|open| open.is_silent_for(subscription)) {
            return Some(match followed.is_mute(&self.dials.addresses) {
                true => Topic::Mute,
                false => Topic::Silent,
            });
        }
        Some(followed.topic(self.ticket))
    }

    fn change(&mut self, subscription: usize, change: impl FnOnce(&mut Followed<T>)) {
        self.topics.with(subscription, change);
        self.wake = Time::ZERO;
    }

    /// What each line is doing, in the order of [`add_line`](Self::add_line).
    pub fn states(&self) -> impl Iterator<Item = State> {
        (0..self.runs.len()).map(|at| self.state(at))
    }

    fn state(&self, at: usize) -> State {
        let run = &self.runs[at];
        if let Some(after) = self.dials.stopped(at) {
            return State::Stopped { after };
        }
        let line = &self.dials.lines[at];
        let after = line.after;
        let current = run.current();
        // With a connection, an alarm is of attempts for its successor.
        let is_tried = current.is_none_or(|current| {
            let is_due = current.silent().is_some() || current.renew_at <= line.last;
            line.ends > 0 && line.last > current.opened && is_due
        });
        let dialing = run.dialing.as_ref().map(|dialing| dialing.address);
        if let (None, Some(address)) = (current, dialing) {
            return State::Dialing { address, after };
        }
        if let Some(next) = self.next_dial(at, Time::ZERO).filter(|_| is_tried) {
            let until = run.held.unwrap_or(next.from).max(next.from);
            if let Some(after) = self.dials.alarm(at, next.address) {
                return State::Alarm { until, after };
            }
            if current.is_none() {
                return match run.held {
                    Some(until) => State::Held { until, after },
                    None => State::Waiting { until, after: self.dials.waits_for(at, next) },
                };
            }
        }
        let Some(current) = current else { return State::Waiting { until: Time::ZERO, after } };
        if let Some(silent) = current.silent() {
            return State::Silent { cause: silent.cause };
        }
        match current.missing() {
            _ if current.admitted.is_none() => State::LoggingIn,
            missing @ 1.. => State::Subscribing { missing },
            0 if current.is_asking() => State::Probing,
            0 if run.open.len() > 1 || dialing.is_some() => State::Replacing,
            0 => State::Following,
        }
    }

    /// The end because of which a [person](State::Alarm) should look at an address, for each
    /// address that has one: a line that is well at another address does not show it. It lasts
    /// until a connection to the address has settled.
    pub fn faults(&self) -> impl Iterator<Item = Option<Ended>> {
        self.dials.addresses.iter().map(Row::alarm)
    }

    /// Says that a person has decided to go on: what has ended before is of another time. Each line
    /// that has [stopped](State::Stopped), or waits, dials again, but not before the time that a
    /// server has asked for. Asks again for each subscription that the exchange has
    /// [refused](Incoming::Refused).
    pub fn go_on(&mut self) {
        self.dials.go_on();
        let open = self.runs.iter_mut().flat_map(|run| &mut run.open);
        open.for_each(Open::ask_refused);
        self.wake = Time::ZERO;
    }

    /// Says that this line's next attempt has a new key, so that the refusals of the old one, or
    /// the program's own [stop](Incoming::Wrong), are over.
    pub fn new_key(&mut self, line: usize) {
        self.dials.new_key(line);
        self.wake = Time::ZERO;
    }

    /// Opens a successor of this line's connection as soon as the line may dial, as for a planned
    /// change. The line's own address is first: so a line that is elsewhere comes back to it.
    pub fn renew(&mut self, line: usize, now: Time) {
        if let Some(run) = self.runs.get_mut(line) {
            run.renew(now);
            self.wake = Time::ZERO;
        }
    }

    /// Says that a [dialed](Action::Dial) connection is open: its handshake has succeeded.
    pub fn opened(&mut self, connection: ConnectionId, now: Time, attempts: &mut Attempts) {
        let Some((at, dialing)) = self.take_dialing(connection) else { return };
        let Dialing { since, address, is_for_silence, .. } = dialing;
        attempts.opened(since);
        let pace = self.set.pace.anew();
        let mut open = Open::new(connection, address, pace, self.set.login, now);
        open.taken = since;
        open.is_for_silence = is_for_silence;
        open.renew_at = now + self.runs[at].renew_after;
        let topics = self.topics.all.iter().map(Option::as_ref);
        open.seats = topics.map(|of| of.map(|of| Seat::new(of.watch))).collect();
        self.runs[at].open.push(open);
        self.wake = Time::ZERO;
    }

    /// Says that an attempt has failed, or that a connection is over. Passes on to `attempts` what
    /// concerns the address. Does nothing after [`Action::Leave`].
    pub fn ended(
        &mut self,
        connection: ConnectionId,
        ended: impl Into<Ended>,
        now: Time,
        attempts: &mut Attempts,
    ) {
        let ended = ended.into();
        // The follower was about to say so.
        if let Some(over) = self.over.iter_mut().find(|over| over.open.id == connection) {
            over.leave = None;
        }
        if let Some((at, Dialing { address, since: taken, .. })) = self.take_dialing(connection) {
            self.settle(at, now, attempts);
            attempts.tried(self.dials.lines[at].shared, taken);
            match ended {
                Ended::Refused { status, retry_after, .. } => {
                    attempts.refused(status, retry_after, taken, now);
                }
                _ => attempts.failed(taken),
            }
            if ended.cause().is_some_and(Cause::reached_no_server) {
                attempts.give_back(taken);
            }
            self.dials.note_end(at, End { address, ended, life: Life::Attempt, now }, attempts);
        } else if let Some(place) = self.place(connection) {
            self.end(place, ended, false, now, attempts);
        }
        self.wake = Time::ZERO;
    }

    /// Says that bytes of a message that is not whole yet have come over this connection: they are
    /// life, so nothing counts as unanswered before [`answer_within`](Settings::answer_within) has
    /// passed behind them, for at most a minute since the last whole message. A snapshot that does
    /// not come, or a count that seems to begin anew, waits for at most a minute longer in all.
    /// Call it if messages may take longer than `answer_within`, such as a snapshot of 20 MB.
    pub fn alive(&mut self, connection: ConnectionId, now: Time) {
        if self.find_mut(connection).is_some_and(|open| open.note_alive(now)) {
            let topics = self.topics.all.iter_mut().flatten();
            topics.for_each(|followed| followed.note_alive(connection, now));
        }
    }

    /// Says that the program has sent a message by itself over this connection, such as an order:
    /// the [`pace`](Settings::pace) counts it, and what the follower wants to send waits for it.
    /// One message in each window stays the follower's. `false` if the program has sent more than
    /// the others: then the exchange may count too many.
    pub fn sent(&mut self, connection: ConnectionId, now: Time) -> bool {
        self.find_mut(connection).is_none_or(|open| open.note_sent(now))
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
        let from = self.place(connection)?;
        let open = &mut self.runs[from.line].open;
        if open.len() > 1 {
            self.wake = self.wake.min(now + self.set.answer_within); // a successor may be ready
        }
        let open = open.get_mut(from.nth)?;
        if open.wrong.is_some() {
            return None;
        }
        self.has_heard = true;
        self.wake = self.wake.min(open.hear(&incoming, now));
        if let Some((first, last)) = self.counted(&incoming) {
            self.count(from, first, last, now);
        }
        let open = &mut self.runs[from.line].open;
        let within = self.set.snapshot_within;
        match incoming {
            Incoming::Data { subscription, numbers } => {
                let heard = self.topics.with(subscription, |followed| {
                    let verdict = match numbers {
                        Some(numbers) => {
                            followed.offer(open, from.nth, subscription, numbers, now, own)
                        }
                        None => {
                            followed.unnumbered = Some(connection);
                            Verdict::Next
                        }
                    };
                    followed.note_served();
                    Some((verdict, followed.due(within, self.ticket)))
                });
                let (verdict, due) = heard??;
                self.wake = self.wake.min(due);
                if verdict == Verdict::Kept {
                    self.topics.make_room(self.set.limits.most_bytes);
                }
                return Some(verdict);
            }
            Incoming::Keepalive { subscription, last } => {
                let due = self.topics.with(subscription, |followed| {
                    followed.keep_alive(open.get_mut(from.nth)?, subscription, last, now);
                    followed.note_served();
                    Some(followed.due(within, self.ticket))
                });
                self.wake = self.wake.min(due??);
            }
            Incoming::Ending => {
                if self.runs[from.line].note_ending(from.nth, now) {
                    self.dials.note_ending(from.line, now);
                }
                self.wake = Time::ZERO;
            }
            _ => {}
        }
        None
    }

    fn place(&self, connection: ConnectionId) -> Option<Place> {
        let mut runs = self.runs.iter().enumerate();
        runs.find_map(|(line, run)| Some(Place { line, nth: run.position(connection)? }))
    }

    fn find_mut(&mut self, connection: ConnectionId) -> Option<&mut Open> {
        let Place { line, nth } = self.place(connection)?;
        self.runs[line].open.get_mut(nth)
    }

    /// The message's numbers, if the count is its connection's.
    fn counted(&self, incoming: &Incoming) -> Option<(u64, u64)> {
        let (subscription, first, last) = match *incoming {
            Incoming::Counted(number) => return Some((number, number)),
            Incoming::Data { subscription, numbers: Some(numbers) } => {
                (subscription, numbers.first, numbers.last)
            }
            Incoming::Keepalive { subscription, last: Some(last) } => (subscription, last, last),
            _ => return None,
        };
        let is_shared = self.topics.get(subscription)?.watch.count == Count::Shared;
        (is_shared && first <= last).then_some((first, last))
    }

    /// What is missing from a count that all messages of a connection share is missing from each
    /// subscription that has its data from there.
    fn count(&mut self, from: Place, first: u64, last: u64, now: Time) {
        let Some(open) = self.runs[from.line].open.get_mut(from.nth) else { return };
        let Some(counting) = open.count(first, last) else { return };
        for (at, seat) in open.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            self.topics.with(at, |followed| {
                if followed.watch.count != Count::Shared || !followed.counts_from(open.id) {
                    return;
                }
                // There is none since the connection was silent in a subscription.
                let line = seat.line.get_or_insert_with(|| followed.arbiter.open());
                match counting {
                    Counting::Misses(from, to) => {
                        followed.arbiter.skip(line, from);
                        followed.arbiter.passed(line, to - 1, now);
                    }
                    Counting::GoesBack => followed.arbiter.begin_anew(),
                }
            });
        }
        self.wake = Time::ZERO;
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn followed(&self, subscription: usize) -> Option<&Followed<T>> {
        self.topics.get(subscription)
    }

    fn take_dialing(&mut self, connection: ConnectionId) -> Option<(usize, Dialing)> {
        let is_meant = |dialing: &mut Dialing| dialing.connection == connection;
        let mut runs = self.runs.iter_mut().enumerate();
        runs.find_map(|(at, run)| Some((at, run.dialing.take_if(is_meant)?)))
    }

    /// The connection is over. Whether the program still has to leave it.
    fn end(&mut self, at: Place, ended: Ended, leaves: bool, now: Time, attempts: &mut Attempts) {
        self.settle(at.line, now, attempts);
        let open = self.runs[at.line].open.remove(at.nth);
        attempts.tried(self.dials.lines[at.line].shared, open.taken);
        let cause = ended.cause();
        match cause.filter(|cause| cause.is_found_here()) {
            Some(cause) => self.dials.note_silence(at.line, open.address, cause, now),
            None => {
                let life = open.life(self.dials.lines[at.line].backoff.settled_after, now);
                let end = End { address: open.address, ended, life, now };
                self.dials.note_end(at.line, end, attempts);
            }
        }
        self.close(open, leaves.then_some(cause), now);
    }

    /// The connection is over.
    fn close(&mut self, open: Open, leave: Option<Option<Cause>>, now: Time) {
        for followed in self.topics.all.iter_mut().flatten() {
            followed.note_end(open.id, now);
        }
        self.over.push_back(Over { open, leave });
        self.wake = Time::ZERO;
    }

    /// No gap waits any more for a connection that is over.
    fn close_lines(&mut self) {
        for over in &mut self.over {
            for (at, seat) in mem::take(&mut over.open.seats).into_iter().enumerate() {
                if let Some(line) = seat.and_then(|seat| seat.line) {
                    self.topics.with(at, |followed| followed.arbiter.close(line));
                }
            }
        }
    }

    /// Takes note once if the line's connection has settled. A successor has not, because it may be
    /// left for its older one. Otherwise when it will have.
    fn settle(&mut self, at: usize, now: Time, attempts: &mut Attempts) -> Option<Time> {
        let settled_after = self.dials.lines[at].backoff.settled_after;
        let current = self.runs[at].open.first_mut()?;
        let admitted =
            current.admitted.filter(|_| current.silent().is_none() && !current.is_settled)?;
        if now < admitted + settled_after {
            return Some(admitted + settled_after);
        }
        current.is_settled = true;
        self.dials.note_settled(at, current.address, admitted, attempts);
        None
    }

    /// Where and when the line dials next, if it needs a dial and has not stopped.
    fn next_dial(&self, at: usize, now: Time) -> Option<Next> {
        let need = self.runs[at].need()?;
        // Two lines to one server would fall silent together.
        let has_unused = (0..self.dials.addresses.len()).any(|address| !self.is_used(at, address));
        let may_dial = |address: usize| !has_unused || !self.is_used(at, address);
        self.dials.next(at, need, may_dial, now)
    }

    fn is_used(&self, at: usize, address: usize) -> bool {
        let mut runs = self.runs.iter().enumerate();
        runs.any(|(other, run)| other != at && run.uses(address))
    }
}

/// An open connection of a line: the older one, or its successor.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    nth: usize,
}

/// A connection that is over. What was due before is told first; then its lines are closed, and the
/// program is told to leave it, and why.
struct Over {
    open: Open,
    leave: Option<Option<Cause>>,
}

/// Shows what the lines do.
impl<T> fmt::Debug for Follower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.states()).finish()
    }
}
