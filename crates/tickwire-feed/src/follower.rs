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
//! | this one | what a call changes; `note_end`: what an end means for its line and its address; `next_dial`: when and where a line dials |
//! | `address` | whether an address may be dialed, and what else a fault concerns |
//! | `poll` | what is done next |
//! | `run` | a line: why it dials, and how fast |
//! | `open` | a connection: which questions are due or unanswered (`Ask`), and whether it is silent |
//! | `followed` | a subscription on all connections: its arbiter, and what follows a gap or a restart |
//!
//! A line of a follower is a `Run`. A `Line` is a connection's place in one subscription's arbiter.
//!
//! `heard` asks `Open::hear` what a message answers, and `Open::looks_at` when to look again.
//!
//! Invariant: before `wake`, `poll` has something to do only if another method was called. A method
//! that gives `poll` something to do moves `wake` to now or earlier, sets `retires`, or adds to
//! `unpolled` or `left`. A method that gives `poll` something to do at a later time moves `wake` to
//! this time or earlier.
mod address;
mod followed;
mod open;
mod poll;
mod run;

#[cfg(doc)]
use crate::{Action, Recovery, Say};
use crate::{
    Arbiter, Attempts, Cause, ConnectionId, Count, Ended, Incoming, Limits, Line, Numbers, Pace,
    State, Subscription, Topic, Verdict,
};
use address::{Address, Scope};
use alloc::{collections::VecDeque, vec, vec::Vec};
use core::{fmt, ops::Range, time::Duration};
use followed::{Followed, Waiting};
use open::{Counting, Open};
use run::{Away, Purpose, Run};
use tickwire::{CloseCode, Retry, Time};
use tickwire_parts::Backoff;

/// The program's doubts count once in this time.
const DOUBTS: Duration = Duration::from_secs(10);

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
///     Action, Asked, Attempts, Follower, Incoming, Recovery, Say, Settings, State, Subscription,
///     Verdict,
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
/// let leave = Action::Leave { connection: first, code: CloseCode::GOING_AWAY };
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
/// after an outage. With [`Recovery::Snapshot`], a connection that begins at or below the lowest
/// number that one began with in the present count, while there is no other one, is such a count:
/// [`Action::Restart`] comes at once. If the exchange counts anew on *each* connection, set
/// [`Subscription::count`]: otherwise numbers that begin later and catch up within the patience, or
/// go on by chance where the old count stopped, are taken for the old count, and nothing tells you.
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
/// | after an end | the line dials again |
/// |---|---|
/// | [`Ended::retry`] is `BackOff` | after the next delay of its `Backoff` |
/// | it is `Alarm` | after the delay of `Backoff::rarely` |
/// | it is `Stop` | only after [`go_on`](Self::go_on) |
/// | 429, or 418 with a Retry-After | no line dials for [that time](Attempts::refused), then one line tries before the others; a Retry-After above its cap is an alarm |
/// | a final code, such as 1000 or 1008 | as `Alarm`, if the login was not accepted, and at the third in a row of connections that have not settled: `Backoff::after_close` has the rule |
/// | [`Cause::Protocol`] of a connection that has settled | after the next delay, as after a Close |
/// | a server's certificate that has expired or is not valid yet | an alarm, after 1 to 2 minutes, 2 to 4, up to 15; at once after [`clock_was_set`](Self::clock_was_set) |
///
/// A connection that lasted a minute is redialled at once. The delays start anew after a connection
/// that served for `Backoff::settled_after` (60 s), not counting the time before its login was
/// accepted: it has *settled*. Then the first delay (0 to 0.1 s with `Backoff::trading`) follows
/// any close code but 3000.
///
/// **Where, and whether.** What the table says of `Alarm`, `Stop`, Retry-After, 1012 and 1013
/// concerns one address, for all lines, if there are other addresses; [`faults`](Self::faults) has
/// its alarm. That is over early once a connection has settled that began to serve after it, and
/// ends, falls silent or gets a successor: the line is not to wait beside an address that may be
/// well again. Some faults concern more:
///
/// | fault | concerns |
/// |---|---|
/// | 401, Close 3000, `Incoming::Wrong(Retry::Stop)`, our certificate is refused | the key: it is tried at one other address, and then all have stopped |
/// | 403 at two addresses, before the first one's alarm is over | perhaps this machine's address: the line has the alarm |
/// | an alarm at each address, before a connection settles | the line, which has the alarm |
/// | no way to the address, settings, the system, the proxy, no token, a doubt, [`Cause::Other`], 407, 418 | this machine: the line waits, has the alarm or stops, and no address is marked |
///
/// **How fast.** The delays are the line's, whatever the addresses do. But after a fault each other
/// address is free, once until a connection settles: it is dialed at once. So a fault of one
/// address costs no delay. The Retry-After of a proxy holds back no free dial either, and is over
/// early as an alarm is. A connection that ends before it has settled is a fault; one that has
/// settled is a fault only if it was [silent](Cause::is_silence) or ended with 1012 or 1013.
///
/// **Which address.** Line *n* has the address *n* as its own. After an end that was no fault it
/// dials the same address again. After a fault it takes, of those that may be dialed, its own if
/// that is free, then the next one that is free, then the one that was dialed first. It does not
/// dial an address that another line uses while a free one exists. While another line is well,
/// which means that its connection is answered and not silent, a line without a connection, or with
/// a silent one, keeps to its own address, and waits for that, unless that has stopped. Away from
/// its own address, it tries a successor there after 10 minutes, and every 10 minutes, if no other
/// line is there.
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
/// **How fast.** The dials for silence have a delay of their own, and don't touch that of the
/// line's `Backoff`. The first comes at once; while the silence lasts, the next ones come 1, 2, 4
/// .. s after the last, up to 15 min: at most 16 in the first hour and 8 in each later one, for
/// whatever is silent. The delays start anew when a subscription falls silent that has brought
/// data, or was not silent before; and when a connection falls silent as a whole, `settled_after`
/// or more after the last of these dials.
///
/// **Whose fault.** While a subscription is silent, the others are watched as before. If, since it
/// last brought data, it was silent at each address that may be dialed, and also on a connection
/// that was opened after the first of these silences, it is at fault itself: [`Action::Mute`] tells
/// it once, and [`Topic::Mute`] says so. It is dialed for as before, because nothing else would
/// find that it is well again.
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
/// | the time that you pass stands still, as `Instant` does while Linux is suspended | each deadline comes later: `life` counts from a moment that is too late, the exchange cuts first, and the server may have forgotten the connection | call [`doubt`](Self::doubt) after a wake |
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
    addresses: Vec<Address>,
    subscriptions: Vec<Option<Followed<T>>>,
    kept: usize,
    next_id: u64,
    /// How many messages have asked for subscriptions.
    asked: u64,
    next_snapshot: u64,
    left: VecDeque<(ConnectionId, CloseCode)>,
    /// Of connections that are over, in the arbiters of these subscriptions. `poll` closes them
    /// once it has reported what was due before.
    closing: Vec<(usize, Line)>,
    /// The subscriptions whose arbiters have to be polled.
    unpolled: Range<usize>,
    /// The next `poll` decides whether a line leaves the older of its two connections. Not at once,
    /// because the successor may end before.
    retires: bool,
    wake: Wake,
    /// The time that the last `Action::Wait` said.
    told: Option<Time>,
    /// The program stood still: silence proves nothing before this time.
    grace: Time,
    /// Since `grace` was last set.
    has_heard: bool,
    /// No doubts count before this time.
    doubts_from: Time,
}

impl<T> Follower<T> {
    /// The largest number of lines that a follower can have.
    pub const MOST_LINES: usize = 16;

    /// The largest number of subscriptions that a follower can have.
    pub const MOST_SUBSCRIPTIONS: usize = 4096;

    /// A follower without lines and subscriptions.
    pub fn new(settings: Settings<T>) -> Self {
        let addresses = vec![Address::Open; settings.addresses.max(1)];
        Self {
            set: settings,
            runs: Vec::new(),
            addresses,
            subscriptions: Vec::new(),
            kept: 0,
            next_id: 0,
            asked: 0,
            next_snapshot: 0,
            left: VecDeque::new(),
            closing: Vec::new(),
            unpolled: 0..0,
            retires: false,
            wake: Wake(Time::ZERO),
            told: None,
            grace: Time::ZERO,
            has_heard: true,
            doubts_from: Time::ZERO,
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
            let home = self.runs.len();
            self.runs.push(Run::new(backoff, life.saturating_sub(lead), home));
            self.wake.by(Time::ZERO);
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
        let followed = Some(Followed::new(subscription, self.set.limits, self.set.size));
        match self.subscriptions.get_mut(at) {
            Some(place) => *place = followed,
            None => self.subscriptions.push(followed),
        }
        for run in &mut self.runs {
            for open in &mut run.open {
                open.subscribe(at, subscription);
            }
        }
        self.wake.by(Time::ZERO);
        Some(at)
    }

    /// Forgets a subscription that you no longer need. Its data
    /// is [ignored](Self::heard) from now on. Tell the exchange yourself.
    pub fn unsubscribe(&mut self, subscription: usize) {
        for run in &mut self.runs {
            for open in &mut run.open {
                if let Some(seat) = open.seats.get_mut(subscription) {
                    *seat = None;
                }
            }
        }
        self.closing.retain(|(at, _)| *at != subscription);
        if let Some(followed) = self.subscriptions.get_mut(subscription).and_then(Option::take) {
            self.kept -= followed.arbiter.bytes();
        }
    }

    /// The arbiter of a subscription, to look at its [gap](Arbiter::gap).
    pub fn arbiter(&self, subscription: usize) -> Option<&Arbiter<T>> {
        let followed = self.subscriptions.get(subscription)?.as_ref()?;
        Some(&followed.arbiter)
    }

    /// Says that the snapshot of this [request](Action::Snapshot) has come. `next` is the first
    /// number that it does not contain, or 0 if the data has no numbers. Returns whether to use it:
    /// then this is as [`resync`](Self::resync), and the book is what the snapshot says. Call
    /// [`poll`](Self::poll) afterwards.
    ///
    /// `false`, and nothing happens, if it was asked for before the last [`Action::Restart`], so
    /// that it may be of an old count; if the subscription waits for no snapshot any more; or if it
    /// came late, another one is under way, and numbers are missing between it and the first kept
    /// message.
    #[must_use]
    pub fn snapshot(&mut self, subscription: usize, id: u64, next: u64, now: Time) -> bool {
        let followed = self.subscriptions.get(subscription).and_then(Option::as_ref);
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
        self.close_now();
        self.change(subscription, now, |followed| followed.resync(next, now));
    }

    /// Goes on without a snapshot: as [`Arbiter::resume`]. Call [`poll`](Self::poll) afterwards.
    pub fn resume(&mut self, subscription: usize, now: Time) {
        self.change(subscription, now, |followed| followed.resume(now));
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
        self.change(subscription, now, |followed| followed.fail(id, now));
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
        let is_open = self.find(connection).is_some();
        self.change(subscription, now, |followed| match is_open {
            true if followed.is_asked(id) => followed.note_over_socket(connection),
            true => {}
            false => followed.fail(id, now),
        });
    }

    /// Says that the book of this subscription is wrong, for example by its checksum.
    /// [`Action::Restart`] comes, and then, with [`Recovery::Snapshot`], an [`Action::Snapshot`]
    /// when its turn is. What is kept goes. Call [`poll`](Self::poll) afterwards.
    pub fn distrust(&mut self, subscription: usize, now: Time) {
        self.change(subscription, now, Followed::distrust);
    }

    /// What a subscription is doing. `None` if there is none of this index.
    pub fn topic(&self, subscription: usize) -> Option<Topic> {
        let followed = self.subscriptions.get(subscription)?.as_ref()?;
        let mut seats = self.runs.iter().filter_map(|run| run.current()?.seat(subscription));
        let mut currents = self.runs.iter().filter_map(Run::current);
        let is_silent = |open: &Open| {
            let whole = open.silent.is_some_and(|silent| silent.cause.subscription().is_none());
            whole || open.seat(subscription).is_some_and(|seat| seat.is_silent())
        };
        if seats.clone().next().is_some() && seats.all(|seat| seat.is_refused()) {
            return Some(Topic::Refused);
        }
        if currents.clone().next().is_some() && currents.all(is_silent) {
            return Some(match followed.is_mute(&self.addresses) {
                true => Topic::Mute,
                false => Topic::Silent,
            });
        }
        Some(match followed.waits() {
            None => Topic::InOrder,
            Some(Waiting { since, requests, next_at, is_distrusted }) => match is_distrusted {
                true => Topic::Distrusted { since, requests, next_at },
                false => Topic::Waiting { since, requests, next_at },
            },
        })
    }

    fn change(&mut self, subscription: usize, now: Time, change: impl FnOnce(&mut Followed<T>)) {
        let Some(Some(followed)) = self.subscriptions.get_mut(subscription) else { return };
        let before = followed.arbiter.bytes();
        change(followed);
        self.kept = self.kept - before + followed.arbiter.bytes();
        self.poll_again(subscription);
        self.wake.by(now);
    }

    /// What each line is doing, in the order of [`add_line`](Self::add_line).
    pub fn states(&self) -> impl Iterator<Item = State> {
        (0..self.runs.len()).map(|at| {
            let next = self.next_dial(at, Time::ZERO);
            let address = next.map(|next| &self.addresses[next.address]);
            self.runs[at].state(address, self.stopped(at))
        })
    }

    /// The fault of each address for which a [person](State::Alarm) should be told, if it has one:
    /// a line that is well at another address does not show it. It lasts until a connection to the
    /// address opens, or an attempt there fails otherwise. The fault of an address that has stopped
    /// lasts until [`go_on`](Self::go_on), that of a certificate's time until
    /// [`clock_was_set`](Self::clock_was_set) at the latest.
    pub fn faults(&self) -> impl Iterator<Item = Option<Ended>> {
        self.addresses.iter().map(Address::fault)
    }

    /// Dials again with every line that has [stopped](State::Stopped), and starts the line's
    /// `Backoff` anew. Asks again for each subscription that the exchange has
    /// [refused](Incoming::Refused). Call this when a person has decided to go on.
    pub fn go_on(&mut self, now: Time) {
        for at in 0..self.runs.len() {
            if self.stopped(at).is_some() {
                self.runs[at].go_on(now);
            }
            self.runs[at].open.iter_mut().for_each(Open::ask_refused);
        }
        let stopped = self.addresses.iter_mut().filter(|address| address.is_stopped());
        stopped.for_each(Address::clear);
        self.wake.by(now);
    }

    /// Says that the clock of this machine was set, so that a certificate may be valid now: a line
    /// that waits because of a certificate's time dials at once.
    pub fn clock_was_set(&mut self, now: Time) {
        for run in &mut self.runs {
            run.note_clock(now);
        }
        self.addresses.iter_mut().for_each(Address::note_clock);
        self.wake.by(now);
    }

    /// Says that the program has doubts about its connections, because the machine was suspended or
    /// changed its network. Each connection counts as [silent](State::Silent): its line opens a
    /// successor at the same address. Doubts within 10 s after others do nothing.
    pub fn doubt(&mut self, now: Time) {
        if now < self.doubts_from {
            return;
        }
        self.doubts_from = now + DOUBTS;
        for at in 0..self.runs.len() {
            let current = self.runs[at].current();
            if current.is_some_and(|current| current.silent.is_none()) {
                self.note_silence(at, Cause::Doubted, now);
            }
        }
    }

    /// Says that a [dialed](Action::Dial) connection is open: its handshake has succeeded.
    pub fn opened(&mut self, connection: ConnectionId, now: Time, attempts: &mut Attempts) {
        let Some(at) = self.runs.iter().position(|run| run.dials(connection)) else { return };
        attempts.opened();
        self.wake.by(now);
        let run = &mut self.runs[at];
        if let Some(dialing) = &run.dialing {
            // It ends an alarm, but not a stop: only `go_on` does.
            let address = &mut self.addresses[dialing.address];
            if !address.is_stopped() {
                address.clear();
            }
        }
        let Some(dialing) = run.opened(connection) else {
            // The silent connection has spoken meanwhile.
            self.left.push_back((connection, CloseCode::NORMAL));
            return;
        };
        let pace = self.set.pace.anew();
        let mut open = Open::new(connection, dialing.address, pace, self.set.login, now);
        open.is_for_silence = Run::is_for_silence(&dialing);
        for (at, followed) in self.subscriptions.iter().enumerate() {
            if let Some(followed) = followed {
                open.subscribe(at, followed.watch);
            }
        }
        run.hold(open, now);
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
        self.left.retain(|(left, _)| *left != connection);
        let is_known = |run: &Run| run.dials(connection) || run.position(connection).is_some();
        let Some(at) = self.runs.iter().position(is_known) else { return };
        let dialing = self.runs[at].dialing.as_ref();
        let taken = dialing.filter(|dialing| dialing.connection == connection);
        let mut away = None;
        match (ended, taken) {
            (Ended::Refused { status, retry_after, .. }, _) => {
                let is_above_cap = attempts.is_above_cap(retry_after);
                let until = attempts.refused(status, retry_after, now);
                away = until.map(|until| Away { until, is_above_cap });
            }
            (_, Some(dialing)) => {
                attempts.failed();
                if ended.cause().is_some_and(Cause::reached_no_server) {
                    attempts.give_back(dialing.since);
                }
            }
            (_, None) => {}
        }
        self.finish(at, connection, ended, away, now);
    }

    /// Says that bytes of a message that is not whole yet have come over this connection: they are
    /// life, so nothing counts as unanswered before [`answer_within`](Settings::answer_within) has
    /// passed behind them, for at most a minute since the last whole message. Call it if messages
    /// may take longer than `answer_within`, such as a snapshot of 20 MB.
    pub fn alive(&mut self, connection: ConnectionId, now: Time) {
        if let Some(open) = self.find_mut(connection) {
            open.note_alive(now);
        }
    }

    /// Says that the program has sent a message by itself over this connection, such as an order:
    /// the [`pace`](Settings::pace) counts it, and what the follower wants to send waits for it.
    pub fn sent(&mut self, connection: ConnectionId, now: Time) {
        if let Some(open) = self.find_mut(connection) {
            open.pace.note(now);
        }
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
        let from = self.find(connection)?;
        self.has_heard = true;
        let open = self.runs[from.line].open.get_mut(from.nth)?;
        let speaks = open.hear(&incoming, now);
        // `wake` may be the deadline of an answer. If this message is the answer, the deadlines on
        // silence hold again, and `wake` must not be later than these.
        self.wake.by(open.looks_at(&incoming));
        if let Some(after) = self.set.probe_after {
            self.wake.by(now + after);
        }
        if speaks {
            self.wake.by(now);
            if let Some(successor) = self.runs[from.line].note_spoken() {
                self.leave_unneeded(successor, now);
            }
        }
        if let Some((first, last)) = self.counted(&incoming) {
            self.count(from, first, last, now);
        }
        match incoming {
            Incoming::Data { subscription, numbers } => {
                let verdict = match numbers {
                    Some(numbers) => self.offer(from, subscription, numbers, now, own)?,
                    None => {
                        self.runs[from.line].open.get(from.nth)?.seat(subscription)?;
                        if let Some(Some(followed)) = self.subscriptions.get_mut(subscription) {
                            followed.note_unnumbered(connection);
                        }
                        Verdict::Next
                    }
                };
                self.note_served(from, subscription, &incoming, now);
                return Some(verdict);
            }
            Incoming::Keepalive { subscription, last } => {
                if let Some(last) = last {
                    self.pass(from, subscription, last, now);
                }
                self.note_served(from, subscription, &incoming, now);
            }
            Incoming::LoggedIn => self.wake.by(now),
            Incoming::Ending => {
                self.runs[from.line].note_ending(from.nth, &mut self.addresses, now);
                self.wake.by(now);
            }
            Incoming::Wrong(retry) => {
                self.give_up(from.line, connection, Cause::Wrong(retry), now);
            }
            Incoming::Answer(_) | Incoming::Refused(_) | Incoming::Counted(_) | Incoming::Other => {
            }
        }
        None
    }

    fn find(&self, connection: ConnectionId) -> Option<Place> {
        let mut runs = self.runs.iter().enumerate();
        runs.find_map(|(line, run)| Some(Place { line, nth: run.position(connection)? }))
    }

    fn find_mut(&mut self, connection: ConnectionId) -> Option<&mut Open> {
        let Place { line, nth } = self.find(connection)?;
        self.runs[line].open.get_mut(nth)
    }

    fn note_served(&mut self, from: Place, subscription: usize, incoming: &Incoming, now: Time) {
        if let Some(Some(followed)) = self.subscriptions.get_mut(subscription) {
            followed.note_served();
            if let Some(at) = followed.asks_at() {
                self.wake.by(at); // this may be the data that the snapshot waited for
            }
        }
        if let [current, successor] = &self.runs[from.line].open[..] {
            self.retires = true;
            if from.nth == 1 && current.is_outdone_by(successor, incoming) {
                let outdone = self.runs[from.line].open.remove(0);
                self.left.push_back((outdone.id, CloseCode::GOING_AWAY));
                self.close_lines(outdone, now);
                self.wake.by(now);
            }
        }
        self.poll_again(subscription);
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
        let followed = self.subscriptions.get(subscription)?.as_ref()?;
        (followed.watch.count == Count::Shared && first <= last).then_some((first, last))
    }

    /// What is missing from a count that all messages of a connection share is missing from each
    /// subscription that has its data from there.
    fn count(&mut self, from: Place, first: u64, last: u64, now: Time) {
        let Some(open) = self.runs[from.line].open.get_mut(from.nth) else { return };
        let counting = open.count(first, last);
        if let Counting::GoesOn = counting {
            return;
        }
        let id = open.id;
        for (seat, followed) in open.seats.iter_mut().zip(&mut self.subscriptions) {
            if let Some(followed) = followed
                && followed.watch.count == Count::Shared
                && followed.is_taken_from(id)
                && let Some(seat) = seat
            {
                // There is none since the connection was silent in another subscription.
                let line = seat.line.get_or_insert_with(|| followed.arbiter.open());
                let before = followed.arbiter.bytes();
                match counting {
                    Counting::Misses(from, to) => {
                        followed.arbiter.skip(line, from);
                        followed.arbiter.passed(line, to - 1, now);
                    }
                    Counting::GoesBack => followed.arbiter.begin_anew(),
                    Counting::GoesOn => {}
                }
                self.kept = self.kept - before + followed.arbiter.bytes();
            }
        }
        self.unpolled = 0..self.subscriptions.len();
    }

    /// The exchange has sent this subscription's numbers up to `last`, by its own word. In a shared
    /// count the number is the message's own.
    fn pass(&mut self, from: Place, subscription: usize, last: u64, now: Time) {
        let Some(Some(followed)) = self.subscriptions.get_mut(subscription) else { return };
        let Some(open) = self.runs[from.line].open.get_mut(from.nth) else { return };
        let is_used = match followed.watch.count {
            Count::Feed => true,
            Count::Connection => followed.is_taken_from(open.id),
            Count::Shared => false,
        };
        let Some(seat) = open.seat_mut(subscription).filter(|_| is_used) else { return };
        let before = followed.arbiter.bytes();
        let line = seat.line.get_or_insert_with(|| followed.arbiter.open());
        followed.note_first(line, last.saturating_add(1));
        followed.arbiter.passed(line, last, now);
        self.kept = self.kept - before + followed.arbiter.bytes();
    }

    fn offer(
        &mut self,
        from: Place,
        subscription: usize,
        mut numbers: Numbers,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Option<Verdict> {
        numbers = self.share(from, subscription, numbers)?;
        if !self.takes(from, subscription)? {
            return Some(Verdict::Duplicate);
        }
        let followed = self.subscriptions.get_mut(subscription)?.as_mut()?;
        let before = followed.arbiter.bytes();
        let seat = self.runs[from.line].open.get_mut(from.nth)?.seat_mut(subscription)?;
        let line = seat.line.get_or_insert_with(|| followed.arbiter.open());
        followed.note_first(line, numbers.first);
        let verdict = followed.arbiter.offer(line, numbers, now, own);
        followed.note_verdict(verdict, now);
        let kept = followed.arbiter.bytes();
        self.kept = self.kept - before + kept;
        if verdict == Verdict::Kept {
            self.make_room();
        }
        Some(verdict)
    }

    fn share(&mut self, from: Place, subscription: usize, numbers: Numbers) -> Option<Numbers> {
        let followed = self.subscriptions.get(subscription)?.as_ref()?;
        let open = self.runs[from.line].open.get_mut(from.nth)?;
        Some(match followed.watch.count {
            Count::Shared => open.share(subscription, numbers),
            Count::Feed | Count::Connection => numbers,
        })
    }

    /// Whether the connection's data of this subscription is used.
    fn takes(&mut self, from: Place, subscription: usize) -> Option<bool> {
        let followed = self.subscriptions.get_mut(subscription)?.as_mut()?;
        if !followed.watch.count.is_per_connection() {
            return Some(true);
        }
        let (older, open) = self.runs[from.line].open.split_at_mut_checked(from.nth)?;
        let older = older.first_mut();
        let before = followed.arbiter.bytes();
        let takes = followed.takes(open.first()?.id, older.as_ref().map(|older| older.id));
        if takes
            && let Some(seat) = older.and_then(|older| older.seat_mut(subscription))
            && let Some(line) = seat.line.take()
        {
            followed.arbiter.close(line);
        }
        self.kept = self.kept - before + followed.arbiter.bytes();
        Some(takes)
    }

    /// A snapshot has come over this connection: it is counted, and begins the connection's count.
    /// Whether it is of use: not if its numbers are of a count of which nothing is taken.
    #[cfg(feature = "tokio")]
    pub(crate) fn pushed(
        &mut self,
        connection: ConnectionId,
        subscription: usize,
        next: u64,
        now: Time,
    ) -> bool {
        self.heard(
            connection,
            Incoming::Answer(crate::Asked::Subscription(subscription)),
            now,
            || unreachable!("no data"),
        );
        let Some(from) = self.find(connection) else { return false };
        let last = next.saturating_sub(1);
        let data = Incoming::Data { subscription, numbers: Some(last.into()) };
        if self.counted(&data).is_some() {
            self.count(from, last, last, now);
        }
        let _ = self.share(from, subscription, last.into());
        let is_taken = self.takes(from, subscription) == Some(true);
        self.poll_again(subscription);
        is_taken
    }

    /// The connection whose data of this subscription are used, if only one's are.
    #[cfg(feature = "tokio")]
    pub(crate) fn taken(&self, subscription: usize) -> Option<ConnectionId> {
        self.subscriptions.get(subscription)?.as_ref()?.taken()
    }

    fn make_room(&mut self) {
        while self.kept > self.set.limits.most_bytes {
            let kept = self.subscriptions.iter_mut().flatten();
            let Some(most) = kept.max_by_key(|followed| followed.arbiter.bytes()) else { return };
            let before = most.arbiter.bytes();
            if !most.arbiter.shed() {
                return;
            }
            self.kept = self.kept - before + most.arbiter.bytes();
        }
    }

    fn poll_again(&mut self, subscription: usize) {
        self.unpolled = match self.unpolled.is_empty() {
            true => subscription..subscription + 1,
            false => self.unpolled.start.min(subscription)..self.unpolled.end.max(subscription + 1),
        };
    }

    fn give_up(&mut self, at: usize, connection: ConnectionId, cause: Cause, now: Time) {
        self.left.push_back((connection, CloseCode::GOING_AWAY));
        self.finish(at, connection, cause.into(), None, now);
    }

    fn finish(
        &mut self,
        at: usize,
        connection: ConnectionId,
        ended: Ended,
        away: Option<Away>,
        now: Time,
    ) {
        self.wake.by(now);
        let run = &mut self.runs[at];
        let dialed = run.dialing.take_if(|dialing| dialing.connection == connection);
        let open = run.remove(connection);
        if let Some(dialing) = dialed {
            if run.stay_away(&dialing, ended, now) {
                self.addresses[dialing.address].note_tried(now);
            } else {
                self.note_end(at, dialing.address, ended, None, away, now);
            }
        } else if let Some(open) = open {
            // Its own server takes the line, and does not keep it.
            let home = run.home(self.addresses.len());
            let is_away = |current: &Open| current.silent.is_none() && current.address != home;
            if open.address == home && run.current().is_some_and(is_away) {
                run.postpone_home(now);
            }
            // A silent successor has not served, so where else the line has tried still counts.
            let lived = match ended.cause().is_some_and(Cause::is_silence) {
                true => Duration::ZERO,
                false => open.lived(now),
            };
            self.note_end(at, open.address, ended, Some(lived), away, now);
            self.close_lines(open, now);
        }
    }

    /// What an end, or a silence, means for its line and for the address. `lived` is how long the
    /// connection served; `None` for an attempt.
    fn note_end(
        &mut self,
        at: usize,
        address: usize,
        ended: Ended,
        lived: Option<Duration>,
        away: Option<Away>,
        now: Time,
    ) {
        if lived.is_none() {
            self.addresses[address].note_tried(now);
        }
        let run = &mut self.runs[at];
        let lived = lived.unwrap_or_default();
        let has_settled = run.has_settled(lived);
        run.note_life(lived, &mut self.addresses, now);
        run.note_end(ended);
        // An exchange ends its day by a Close, and its network cuts: no fault of the server.
        let moves_on = match ended {
            Ended::Closed { code: 1012 | 1013, .. } => true,
            // Neither is a fault of an address.
            Ended::Failed(Cause::Doubted | Cause::NoToken { .. }) => false,
            Ended::Failed(cause) => cause.is_silence() || !has_settled,
            Ended::Closed { .. } | Ended::Refused { .. } => !has_settled,
        };
        if moves_on {
            run.note_tried(address);
        }
        // Not an end of the server's: the dials for silence have a pace of their own.
        if ended.cause().is_some_and(Cause::is_found_here) {
            return;
        }
        let backoff = &mut run.backoff;
        let scope = Scope::of(ended);
        if ended.retry() == Retry::Stop {
            return match scope {
                Scope::Machine => run.stop(ended, now),
                Scope::Account => self.stop_account(address, ended),
                Scope::Address => self.addresses[address].mark(Address::Stopped { after: ended }),
            };
        }
        if let Some(Away { until, is_above_cap }) = away {
            let delay = backoff.next();
            return match is_above_cap {
                true => run.alarm(delay.map(|_| until), ended, now),
                false => run.wait_until(delay.map(|delay| until + delay), ended, now),
            };
        }
        // What the line itself waits, without what the server asks for.
        let pace = backoff.clone().next();
        let delay = match ended {
            Ended::Closed { code, .. } => backoff.after_close(code, lived),
            Ended::Refused { status, retry_after, .. } => {
                backoff.after_refusal(status, retry_after)
            }
            // One bad frame of a settled connection is as its Close.
            Ended::Failed(Cause::Protocol(_)) if has_settled => backoff.next(),
            Ended::Failed(cause) => backoff.after_error(cause.retry_delay()),
        };
        if let Some(delay) = delay {
            let asks = pace.is_some_and(|pace| delay > pace);
            if asks && scope == Scope::Address {
                self.addresses[address].mark(Address::Waits { from: now + delay, after: ended });
                run.wait_until(pace.map(|pace| now + pace), ended, now);
            } else {
                run.wait_until(Some(now + delay), ended, now);
            }
            return;
        }
        let is_lapsed = ended.cause().is_some_and(Cause::is_lapsed_certificate);
        let rarely = |backoff: &mut Backoff| match is_lapsed {
            true => backoff.after_lapsed_certificate(),
            false => backoff.rarely(),
        };
        // The same refusal at two addresses may be of this machine's address.
        let is_forbidden = |ended| matches!(ended, Ended::Refused { status: 403, .. });
        let mut others = self.addresses.iter().enumerate().filter(|(other, _)| *other != address);
        let is_alike = is_forbidden(ended)
            && others
                .clone()
                .any(|(_, other)| other.holds(now) && other.fault().is_some_and(is_forbidden));
        // The fault of an address that may be dialed again, and was not since, proves nothing now.
        let has_other = others.any(|(other, record)| {
            record.fault().is_none() || !record.holds(now) && !run.tried.contains(&other)
        });
        if scope == Scope::Address && has_other && !is_alike {
            if let Some(delay) = rarely(&mut backoff.clone()) {
                let alarm = Address::Alarm { since: now, from: now + delay, after: ended };
                self.addresses[address].mark(alarm);
            }
            let counted = backoff.next();
            run.wait_until(counted.map(|delay| now + delay), ended, now);
        } else {
            let from = rarely(backoff).map(|delay| now + delay);
            run.alarm(from, ended, now);
            if let Some(from) = from
                && scope == Scope::Address
            {
                self.addresses[address].mark(Address::Alarm { since: now, from, after: ended });
            }
        }
    }

    /// A wrong key at each address would be as many wrong logins: one other address is tried.
    fn stop_account(&mut self, address: usize, ended: Ended) {
        let stopped = Address::Stopped { after: ended };
        let is_account = |address: &Address| match address {
            Address::Stopped { after } => Scope::of(*after) == Scope::Account,
            _ => false,
        };
        let mut others = self.addresses.iter().enumerate().filter(|(other, _)| *other != address);
        if others.any(|(_, other)| is_account(other)) {
            self.addresses.iter_mut().for_each(|address| address.mark(stopped));
        }
        self.addresses[address].mark(stopped);
    }

    /// Where and when the line dials next, if nothing else happens; `None` if it needs nothing or
    /// has to stop. Of the addresses that may be dialed by `now`, the one that the line prefers.
    fn next_dial(&self, at: usize, now: Time) -> Option<Next> {
        let run = &self.runs[at];
        let home = run.home(self.addresses.len());
        let needs = run.needs(self.addresses.len()).into_iter().flatten();
        let nexts = needs.filter_map(|(purpose, due)| {
            let (from, address) = match purpose {
                Purpose::Home => (self.dialed_from(at, home, purpose)?, home),
                Purpose::Need | Purpose::Silence => self.place(at, purpose, now)?,
            };
            Some(Next { from: from.max(due), address, purpose })
        });
        nexts.min_by_key(|next| next.from.max(now))
    }

    fn dialed_from(&self, at: usize, address: usize, purpose: Purpose) -> Option<Time> {
        let paced = self.runs[at].paced(address, purpose)?;
        Some(self.addresses[address].from()?.max(paced))
    }

    fn place(&self, at: usize, purpose: Purpose, now: Time) -> Option<(Time, usize)> {
        let run = &self.runs[at];
        let count = self.addresses.len();
        let home = run.home(count);
        // Two lines to one server would fall silent together.
        let is_unused =
            |address: usize| !self.is_used(at, address) && !self.addresses[address].is_stopped();
        let has_unused = (0..count).any(is_unused);
        let is_well = |(other, run): (usize, &Run)| other != at && run.is_well();
        // With company the line waits for its own address, so that both don't end up at one.
        let is_serving = run.current().is_some_and(|current| current.silent.is_none());
        let keeps_home =
            !is_serving && is_unused(home) && self.runs.iter().enumerate().any(is_well);
        let may_be = (0..count).filter(|&address| match keeps_home {
            true => address == home,
            false => !has_unused || is_unused(address),
        });
        let dialed =
            may_be.filter_map(|address| Some((self.dialed_from(at, address, purpose)?, address)));
        dialed.min_by_key(|&(from, address)| {
            let moves =
                !is_serving || run.current().is_none_or(|current| current.address != address);
            (from.max(now), moves, run.rank(address, count))
        })
    }

    /// The fault because of which the line dials no more.
    fn stopped(&self, at: usize) -> Option<Ended> {
        let run = &self.runs[at];
        if let Some(after) = run.stopped() {
            return Some(after);
        }
        match self.place(at, Purpose::Need, Time::ZERO) {
            Some(_) => None,
            None => {
                let own = self.addresses[run.home(self.addresses.len())].fault();
                own.or_else(|| self.addresses.iter().find_map(Address::fault))
            }
        }
    }

    fn is_used(&self, at: usize, address: usize) -> bool {
        let mut runs = self.runs.iter().enumerate();
        runs.any(|(other, run)| other != at && run.uses(address))
    }

    fn leave_unneeded(&mut self, open: Open, now: Time) {
        self.left.push_back((open.id, CloseCode::NORMAL));
        self.close_lines(open, now);
    }

    fn close_lines(&mut self, open: Open, now: Time) {
        let seats = open.seats.into_iter().zip(&mut self.subscriptions);
        for (at, (seat, followed)) in seats.enumerate() {
            let Some(followed) = followed else { continue };
            followed.note_end(open.id, now);
            self.closing.extend(seat.and_then(|seat| seat.line).map(|line| (at, line)));
        }
        self.unpolled = 0..self.subscriptions.len();
    }

    /// Closes them, so that no gap waits for them any more.
    fn close_now(&mut self) {
        for (at, line) in core::mem::take(&mut self.closing) {
            let Some(Some(followed)) = self.subscriptions.get_mut(at) else { continue };
            let before = followed.arbiter.bytes();
            followed.arbiter.close(line);
            self.kept = self.kept - before + followed.arbiter.bytes();
        }
        self.unpolled = 0..self.subscriptions.len();
    }
}

/// When `poll` next has something to do, if no other method is called before.
struct Wake(Time);

impl Wake {
    fn by(&mut self, at: Time) {
        self.0 = self.0.min(at);
    }
}

/// An open connection of a line: the older one, or its successor.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    nth: usize,
}

/// The next dial of a line.
struct Next {
    from: Time,
    address: usize,
    purpose: Purpose,
}

/// Shows what the lines do.
impl<T> fmt::Debug for Follower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.states()).finish()
    }
}
