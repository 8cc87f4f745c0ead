//! A [`Follower`] with its sockets, on tokio: [`Feed`].
//!
//! Dials, sockets, snapshots and leaves are in the `Feed`, and not in the future of
//! [`next`](Feed::next), which only polls them. So that future holds nothing, and may be dropped.
//!
//! An event owns its data. It cannot lend them: one message may bring several data, one that had to
//! wait outlives its message, and a borrow of one socket's buffer would have to come out of a loop
//! over all of them.
use crate::{
    Action, Attempts, ConnectionId, Ended, Follower, Gap, Incoming, Numbers, Say, State, Verdict,
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::{
    fmt,
    future::{Future, pending, poll_fn},
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tickwire::{CloseCode, Message, OwnedMessage, Time, tokio::WebSocket};

/// How many messages are read before the follower may act. A socket that always has more must not
/// keep it from a dial.
const AT_ONCE: usize = 256;

type Tasks<K, Out> = Vec<(K, Pin<Box<dyn Future<Output = Out> + Send>>)>;
type Dialed<Stream> = Result<WebSocket<Stream>, Ended>;
/// As (subscription, id).
type Request = (usize, u64);
/// As (the first number after it, it).
type Came<Snapshot> = (u64, Snapshot);

/// What a [`Feed`] has to know of an exchange: how to connect, what to send, and how to read.
///
/// README.md has an order book in this way.
pub trait Exchange {
    /// The stream of a connection: `tickwire::tokio::MaybeTls` if `Dial` opens it.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A datum, as [`read`](Self::read) parses it. A `Bytes` or a `String` will do.
    type Data;
    /// A snapshot; `()` if there is none.
    type Snapshot;

    /// Opens a connection of this line, in the order of [`Follower::add_line`], to this address, an
    /// index below [`Settings::addresses`](crate::Settings::addresses). The future is polled by
    /// [`Feed::next`], and nothing waits for it: other connections go on while it fetches a token.
    /// `after` is the end of the line's last attempt or connection. Without a token, the attempt
    /// ends with [`Cause::NoToken`](crate::Cause::NoToken).
    ///
    /// The follower ends no attempt by itself, so set a
    /// [`handshake_timeout`](tickwire::Config::handshake_timeout), as
    /// [`Config::trading`](tickwire::Config::trading) does, and a time-out for a token.
    fn connect(
        &mut self,
        line: usize,
        address: usize,
        after: Option<Ended>,
    ) -> impl Future<Output = Result<WebSocket<Self::Stream>, Ended>> + Send + 'static;

    /// Pushes to `out` what says this: usually one message. A login may need several, and none
    /// where the exchange speaks first.
    fn write(&mut self, say: Say, out: &mut Vec<OwnedMessage>);

    /// Reads a message: tells `heard` what it means, as often as it means something. A message
    /// that means nothing is a sign of life.
    fn read(&mut self, message: Message<'_>, heard: &mut Heard<'_, Self::Data, Self::Snapshot>);

    /// Fetches a snapshot of a subscription, and the first number that it does not contain. The
    /// future is polled by [`Feed::next`], and nothing waits for it. If it fails, it gives the
    /// Retry-After of a 429 or 418, or `None`. If it takes longer than
    /// [`Settings::snapshot_within`](crate::Settings::snapshot_within), another one is asked for,
    /// and the older one still counts if it fits.
    ///
    /// Where the exchange sends its snapshots over the connection, push to `ask` what asks for one,
    /// return [`pending`], and call [`Heard::snapshot`] when it comes, or [`Heard::no_snapshot`]
    /// when it is refused. By default, `ask` stays empty, and the future is pending.
    fn snapshot(
        &mut self,
        subscription: usize,
        ask: &mut Vec<OwnedMessage>,
    ) -> impl Future<Output = Result<(u64, Self::Snapshot), Option<Duration>>> + Send + 'static
    {
        let _ = (subscription, ask);
        async { pending().await }
    }
}

/// What happens on a [`Feed`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<Data, Snapshot> {
    /// The next datum of a subscription, in order.
    Data {
        /// The subscription's index.
        subscription: usize,
        /// The datum.
        data: Data,
    },
    /// A snapshot of a subscription has come. The data behind it follow.
    Snapshot {
        /// The subscription's index.
        subscription: usize,
        /// The snapshot.
        snapshot: Snapshot,
    },
    /// These numbers are lost: see [`Action::Gap`].
    Gap {
        /// The subscription's index.
        subscription: usize,
        /// The lost numbers.
        gap: Gap,
    },
    /// The numbers of a subscription begin, or begin anew: see [`Action::Restart`].
    Restart {
        /// The subscription's index.
        subscription: usize,
    },
    /// Subscriptions are at fault themselves: see [`Action::Mute`].
    Mute {
        /// The subscriptions' indices.
        subscriptions: Vec<usize>,
    },
    /// Your program sends more over this connection than the [pace](crate::Settings::pace) leaves
    /// beside the follower's own messages.
    AbovePace {
        /// The connection.
        connection: ConnectionId,
    },
    /// A connection is open: the first of its line, or a successor.
    Opened(Link),
    /// A connection is over, and nothing more is read from it; or an attempt has failed, and there
    /// was no `Opened`. What you have kept for it may go, in [`Feed::exchange`] too.
    Ended {
        /// The connection.
        link: Link,
        /// Why. `None` if all was well, and another one has its place.
        why: Option<Ended>,
    },
    /// A line has another state.
    State {
        /// The line's index.
        line: usize,
        /// What it does now.
        state: State,
    },
}

/// A connection of a [`Feed`], or an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its id.
    pub connection: ConnectionId,
    /// Its line.
    pub line: usize,
    /// The index of the address that it leads to.
    pub address: usize,
}

/// Takes what a message means: see [`Exchange::read`].
pub struct Heard<'a, Data, Snapshot> {
    from: ConnectionId,
    now: Time,
    follower: &'a mut Follower<Data>,
    attempts: &'a Mutex<Attempts>,
    events: &'a mut VecDeque<Event<Data, Snapshot>>,
    came: &'a mut VecDeque<(Request, Came<Snapshot>)>,
    replies: &'a mut Vec<OwnedMessage>,
    /// Whether the message meant something.
    told: bool,
}

impl<Data, Snapshot> Heard<'_, Data, Snapshot> {
    /// The message has a datum of a subscription, with these numbers: see [`Incoming::Data`]. If it
    /// is the next one, [`Feed::next`] returns it. `None` if the connection is of no use any more.
    pub fn data(
        &mut self,
        subscription: usize,
        numbers: Option<Numbers>,
        data: Data,
    ) -> Option<Verdict> {
        self.told = true;
        let mut data = Some(data);
        let incoming = Incoming::Data { subscription, numbers };
        // `own` is called only for a datum that has to wait, and then at most once.
        let own = || data.take().unwrap_or_else(|| unreachable!("a message is kept once"));
        let verdict = self.follower.heard(self.from, incoming, self.now, own);
        if verdict == Some(Verdict::Next)
            && let Some(data) = data
        {
            self.events.push_back(Event::Data { subscription, data });
        }
        verdict
    }

    /// The message is a snapshot that the exchange sends over the connection. `next` is the first
    /// number that it does not contain. It counts as the answer to the subscription, and as its
    /// data if the numbers are counted [by the connection](crate::Count): then it is left out if
    /// another connection's data are used. It is also left out if the book is right and further
    /// on, as when it was longer on its way than an update. The first message of a connection shows
    /// [whether the count began anew](Follower#what-it-promises), if it is a snapshot too.
    pub fn snapshot(&mut self, subscription: usize, next: u64, snapshot: Snapshot) {
        self.push(subscription, next, snapshot, false);
    }

    /// As [`snapshot`](Self::snapshot), where the exchange says that the book begins anew with this
    /// one, whatever its number: an [`Event::Restart`] comes first.
    pub fn snapshot_anew(&mut self, subscription: usize, next: u64, snapshot: Snapshot) {
        self.push(subscription, next, snapshot, true);
    }

    /// The message refuses the snapshot that was asked for over this connection: see
    /// [`Follower::no_snapshot`]. If another one was asked for since, elsewhere, only the
    /// Retry-After counts.
    pub fn no_snapshot(&mut self, subscription: usize, retry_after: Option<Duration>) {
        self.is(Incoming::Other);
        let attempts = &mut lock(self.attempts);
        let asked = self.follower.followed(subscription).and_then(|of| of.asked_over(self.from));
        let id = asked.unwrap_or(u64::MAX); // which no request has
        self.follower.no_snapshot(subscription, id, retry_after, self.now, attempts);
    }

    fn push(&mut self, subscription: usize, next: u64, snapshot: Snapshot, begins_anew: bool) {
        self.told = true;
        let id = self.follower.pushed(self.from, subscription, next, begins_anew, self.now);
        self.came.extend(id.map(|id| ((subscription, id), (next, snapshot))));
    }

    /// The message means this. For data, call [`data`](Self::data): here they would be nothing but
    /// a sign of life.
    pub fn is(&mut self, incoming: Incoming) {
        if !matches!(incoming, Incoming::Data { .. }) {
            self.told = true;
            self.follower.heard(self.from, incoming, self.now, || unreachable!("no data"));
        }
    }

    /// Sends a message over the connection from which this one came. It does not wait for the
    /// [pace](crate::Settings::pace), which counts it.
    pub fn reply(&mut self, message: impl Into<OwnedMessage>) {
        self.replies.push(message.into());
    }

    /// The connection from which the message came.
    pub fn from(&self) -> ConnectionId {
        self.from
    }
}

struct Open<S> {
    link: Link,
    socket: WebSocket<S>,
    /// Changes when bytes of a message have come.
    mark: Option<u64>,
    unflushed: bool,
    /// The follower has not been asked yet what it says first. Until then nothing is read: a
    /// welcome would answer a login that was not said.
    is_new: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Open<S> {
    fn feed(&mut self, message: impl Into<OwnedMessage>) -> bool {
        self.unflushed = true;
        self.socket.feed(message.into()).is_ok()
    }

    /// Sends each of them. The follower has counted the first ones.
    fn feed_all<Data>(
        &mut self,
        messages: &mut Vec<OwnedMessage>,
        counted: usize,
        follower: &mut Follower<Data>,
    ) {
        for (nth, message) in messages.drain(..).enumerate() {
            self.feed(message); // receiving tells why
            if nth >= counted {
                follower.sent(self.link.connection, now());
            }
        }
    }
}

/// Follows a feed over its own sockets, under tokio.
///
/// It is `Send` if your [`Exchange`], its data and its snapshots are. Several feeds on one IP
/// address share their [`Attempts`]. To drop a feed cuts its connections; [`leave`](Self::leave)
/// says goodbye.
pub struct Feed<E: Exchange> {
    exchange: E,
    follower: Follower<E::Data>,
    attempts: Arc<Mutex<Attempts>>,
    dials: Tasks<Link, Dialed<E::Stream>>,
    open: Vec<Open<E::Stream>>,
    snapshots: Tasks<Request, Result<Came<E::Snapshot>, Option<Duration>>>,
    leaves: Tasks<(), ()>,
    events: VecDeque<Event<E::Data, E::Snapshot>>,
    /// What came before these snapshots is not delivered yet.
    came: VecDeque<(Request, Came<E::Snapshot>)>,
    replies: Vec<OwnedMessage>,
    /// The lines' states as they were told last.
    states: Vec<Option<State>>,
    /// How many messages were read since the follower could act.
    read: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<E: Exchange> Feed<E> {
    /// A feed of this exchange. The follower has its lines and subscriptions, or gets them by
    /// [`follower_mut`](Self::follower_mut).
    pub fn new(exchange: E, follower: Follower<E::Data>, attempts: Arc<Mutex<Attempts>>) -> Self {
        Self {
            exchange,
            follower,
            attempts,
            dials: Vec::new(),
            open: Vec::new(),
            snapshots: Vec::new(),
            leaves: Vec::new(),
            events: VecDeque::new(),
            came: VecDeque::new(),
            replies: Vec::new(),
            states: Vec::new(),
            read: 0,
            timer: None,
        }
    }

    /// Waits for the next event. All that the feed does, it does in this call: it dials, reads,
    /// sends and leaves. A line that stops is an event too: its [state](State::Stopped). Once all
    /// have stopped, nothing more happens until [`Follower::go_on`], and this waits.
    ///
    /// # Cancel safety
    ///
    /// To drop the future loses nothing: no event, no message and no attempt.
    pub async fn next(&mut self) -> Event<E::Data, E::Snapshot> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Sends a message of your own over an open connection, such as an order: [`next`](Self::next)
    /// writes it. It does not wait for the [pace](crate::Settings::pace), which counts it. `false`
    /// if the connection takes it no more, because it has ended, or is closing, or its queue is
    /// full.
    pub fn send(&mut self, connection: ConnectionId, message: impl Into<OwnedMessage>) -> bool {
        let Some(at) = self.place(connection) else { return false };
        let open = &mut self.open[at];
        let is_taken = open.feed(message);
        if is_taken && !self.follower.sent(connection, now()) {
            self.events.push_back(Event::AbovePace { connection });
        }
        is_taken
    }

    /// The open connections, the oldest first.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.open.iter().map(|open| open.link.connection)
    }

    /// Ends the feed: sends a Close with the code 1000 on each connection, and waits for the peers'
    /// answers, at most for the time `within`. Zero waits for nothing. Events that
    /// [`next`](Self::next) has not returned are lost.
    ///
    /// # Cancel safety
    ///
    /// To drop the future cuts the connections.
    pub async fn leave(mut self, within: Duration) {
        let open = mem::take(&mut self.open);
        open.into_iter().for_each(|open| self.say_goodbye(open, CloseCode::NORMAL, within));
        while !self.leaves.is_empty() {
            poll_fn(|cx| poll_any(&mut self.leaves, cx)).await;
        }
    }

    fn say_goodbye(&mut self, mut open: Open<E::Stream>, code: CloseCode, within: Duration) {
        let leave = async move {
            let _ = open.socket.leave(code, within).await;
        };
        self.leaves.push(((), Box::pin(leave)));
    }

    /// The time now, as the follower counts it: tokio's clock, which a test may pause. All feeds of
    /// the program have the same.
    pub fn now(&self) -> Time {
        now()
    }

    /// Your exchange.
    pub fn exchange(&mut self) -> &mut E {
        &mut self.exchange
    }

    /// The follower, to look at it.
    pub fn follower(&self) -> &Follower<E::Data> {
        &self.follower
    }

    /// The follower, to change what it follows, or to tell it to [go on](Follower::go_on). Leave
    /// its connections and `poll` to the feed.
    pub fn follower_mut(&mut self) -> &mut Follower<E::Data> {
        &mut self.follower
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event<E::Data, E::Snapshot>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            // What has arrived is read before the follower may take something for lost.
            let may_read = self.read < AT_ONCE;
            if may_read && (self.poll_tasks(cx) | self.poll_sockets(cx)) {
                continue;
            }
            self.read = 0;
            let action = self.follower.poll(now(), &mut lock(&self.attempts));
            let Action::Wait(until) = action else {
                self.act(action);
                continue;
            };
            let new = self.open.iter_mut().map(|open| mem::take(&mut open.is_new));
            if new.fold(false, |any, is_new| any | is_new) {
                continue;
            }
            if let Some((request, came)) = self.came.pop_front() {
                self.take(request, came);
                continue;
            }
            if self.tell_states() || !may_read {
                continue;
            }
            let until = Instant::from_std(*START + until.since_epoch());
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            timer.as_mut().reset(until);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Whether something has happened.
    fn poll_tasks(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready((link, opened)) = poll_any(&mut self.dials, cx) {
            moved = true;
            let attempts = &mut lock(&self.attempts);
            match opened {
                Ok(socket) => {
                    self.open.push(Open {
                        link,
                        socket,
                        mark: None,
                        unflushed: false,
                        is_new: true,
                    });
                    self.events.push_back(Event::Opened(link));
                    self.follower.opened(link.connection, now(), attempts);
                }
                Err(ended) => {
                    self.events.push_back(Event::Ended { link, why: Some(ended) });
                    self.follower.ended(link.connection, ended, now(), attempts);
                }
            }
        }
        while let Poll::Ready((request, came)) = poll_any(&mut self.snapshots, cx) {
            moved = true;
            match came {
                Ok(came) => self.came.push_back((request, came)),
                Err(retry_after) => {
                    let attempts = &mut lock(&self.attempts);
                    self.follower.no_snapshot(request.0, request.1, retry_after, now(), attempts);
                }
            }
        }
        while poll_any(&mut self.leaves, cx).is_ready() {}
        moved
    }

    /// Reads at most one message of each. Whether something has happened.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        let mut at = 0;
        while let Some(open) = self.open.get_mut(at) {
            at += 1;
            if open.unflushed {
                // If it fails, receiving tells why.
                open.unflushed = poll_once(open.socket.flush(), cx).is_pending();
            }
            if open.is_new {
                continue;
            }
            let ended = match poll_once(open.socket.recv(), cx) {
                Poll::Pending => {
                    let mark = open.socket.connection().receiver().data_mark();
                    if mem::replace(&mut open.mark, mark) != mark {
                        self.follower.alive(open.link.connection, now());
                    }
                    continue;
                }
                Poll::Ready(Ok(Some(message))) => {
                    let mut heard = Heard {
                        from: open.link.connection,
                        now: now(),
                        follower: &mut self.follower,
                        attempts: &self.attempts,
                        events: &mut self.events,
                        came: &mut self.came,
                        replies: &mut self.replies,
                        told: false,
                    };
                    self.exchange.read(message, &mut heard);
                    if !heard.told {
                        heard.is(Incoming::Other);
                    }
                    open.mark = open.socket.connection().receiver().data_mark();
                    open.feed_all(&mut self.replies, 0, &mut self.follower);
                    self.read += 1;
                    None
                }
                Poll::Ready(Ok(None)) => {
                    let closed = open.socket.closed();
                    Some(closed.map_or_else(|| Ended::closed(1006, ""), Ended::from))
                }
                Poll::Ready(Err(error)) => Some(Ended::from(&error)),
            };
            moved = true;
            if let Some(ended) = ended {
                at -= 1;
                let link = self.open.remove(at).link;
                self.events.push_back(Event::Ended { link, why: Some(ended) });
                self.follower.ended(link.connection, ended, now(), &mut lock(&self.attempts));
            }
        }
        moved
    }

    fn place(&self, connection: ConnectionId) -> Option<usize> {
        self.open.iter().position(|open| open.link.connection == connection)
    }

    fn act(&mut self, action: Action<E::Data>) {
        let event = match action {
            Action::Message { subscription, message: data } => Event::Data { subscription, data },
            Action::Gap { subscription, gap } => Event::Gap { subscription, gap },
            Action::Restart { subscription } => Event::Restart { subscription },
            Action::Mute { subscriptions } => Event::Mute { subscriptions },
            Action::Leave { connection, code, why } => {
                let Some(at) = self.place(connection) else { return };
                let open = self.open.remove(at);
                let link = open.link;
                self.say_goodbye(open, code, Duration::ZERO);
                Event::Ended { link, why: why.map(Ended::from) }
            }
            Action::Dial { connection, line, address, after } => {
                let dial = self.exchange.connect(line, address, after);
                return self.dials.push((Link { connection, line, address }, Box::pin(dial)));
            }
            Action::Send { connection, say } => {
                self.exchange.write(say, &mut self.replies);
                if let Some(at) = self.place(connection) {
                    self.open[at].feed_all(&mut self.replies, 1, &mut self.follower);
                }
                return self.replies.clear();
            }
            Action::Snapshot { subscription, id } => return self.ask(subscription, id),
            Action::Wait(_) => return,
        };
        self.events.push_back(event);
    }

    /// Whether the snapshot is used.
    fn take(&mut self, (subscription, id): Request, (next, snapshot): Came<E::Snapshot>) -> bool {
        let is_used = self.follower.snapshot(subscription, id, next, now());
        if is_used {
            self.events.push_back(Event::Snapshot { subscription, snapshot });
        }
        is_used
    }

    fn ask(&mut self, subscription: usize, id: u64) {
        // One that has come may do.
        let at = self.came.iter().position(|(request, _)| request.0 == subscription);
        let came = at.and_then(|at| self.came.remove(at));
        if came.is_some_and(|(request, came)| self.take(request, came)) {
            return;
        }
        // The last one may still come; one before it would come too late.
        let asked = self.snapshots.iter().map(|(asked, _)| *asked);
        let mut others = asked.filter(|(of, _)| *of == subscription);
        if let (Some(oldest), Some(_)) = (others.next(), others.next()) {
            self.snapshots.retain(|(asked, _)| *asked != oldest);
        }
        let task = Box::pin(self.exchange.snapshot(subscription, &mut self.replies));
        self.snapshots.push(((subscription, id), task));
        // Another connection's numbers may be of another count; the youngest one stays.
        let used = self.follower.followed(subscription).and_then(|of| self.place(of.taken()?));
        let at = used.or(self.open.len().checked_sub(1));
        if !self.replies.is_empty()
            && let Some(open) = at.and_then(|at| self.open.get_mut(at))
        {
            self.follower.asked_over(subscription, id, open.link.connection, now());
            open.feed_all(&mut self.replies, 0, &mut self.follower);
        }
        self.replies.clear();
    }

    /// Whether a line has another state.
    fn tell_states(&mut self) -> bool {
        for (line, state) in self.follower.states().enumerate() {
            if self.states.len() == line {
                self.states.push(None);
            }
            if self.states[line].replace(state) != Some(state) {
                self.events.push_back(Event::State { line, state });
            }
        }
        !self.events.is_empty()
    }
}

/// Shows the states of the lines.
impl<E: Exchange> fmt::Debug for Feed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("follower", &self.follower).finish_non_exhaustive()
    }
}

/// Shows the connection.
impl<Data, Snapshot> fmt::Debug for Heard<'_, Data, Snapshot> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("from", &self.from).finish_non_exhaustive()
    }
}

/// The moment that [`Feed::now`] counts from. Earlier than now, because a paused clock of tokio may
/// have stopped before.
static START: LazyLock<std::time::Instant> = LazyLock::new(|| {
    let now = std::time::Instant::now();
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
});

fn now() -> Time {
    Time::new(Instant::now().into_std().saturating_duration_since(*START))
}

fn lock(attempts: &Mutex<Attempts>) -> MutexGuard<'_, Attempts> {
    attempts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first of these tasks that is done.
fn poll_any<K, Out>(tasks: &mut Tasks<K, Out>, cx: &mut Context<'_>) -> Poll<(K, Out)> {
    for at in 0..tasks.len() {
        if let Poll::Ready(out) = tasks[at].1.as_mut().poll(cx) {
            return Poll::Ready((tasks.remove(at).0, out));
        }
    }
    Poll::Pending
}

/// Polls a future once, and drops it: it may be dropped at any time.
fn poll_once<F: Future>(future: F, cx: &mut Context<'_>) -> Poll<F::Output> {
    pin!(future).poll(cx)
}
