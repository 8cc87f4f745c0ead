//! The exchange: connections come in, messages go out, and the day's events happen.
mod conversation;
mod events;

use crate::{
    books::Books,
    day::{Certificate, Day, Event, Fault, Requests, RetryAfter},
    market::{Market, Position},
    report::Report,
    sight::Sight,
    visitor::{Door, Visitor, Welcome, Window},
    wire::{self, Voice},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, UNIX_EPOCH},
};

const SECOND: Duration = Duration::from_secs(1);

/// How often updates come while something happens.
const BUSY: Duration = Duration::from_millis(500);

/// Updates come at most this often, however fast the day is played.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A connection of the client's, from TCP on.
pub type ConnectionId = u64;

/// What becomes of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialed {
    /// The server will read the request.
    Open(ConnectionId),
    /// The kernel has accepted it, and nobody will read it, until [`Said::Reset`] or the client
    /// ends it.
    Stuck(ConnectionId),
    /// Nobody listens: refuse it.
    Refused,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The WebSocket is open: answer 101.
    Upgrade,
    /// Answer 101 with a subprotocol for which nobody has asked, such as `badday`. It ends the
    /// connection.
    WrongSubprotocol,
    /// Another response. It ends the connection.
    Http {
        /// How long it takes.
        after: Duration,
        /// The status.
        status: u16,
        /// The headers, without Content-Length.
        headers: Vec<(&'static str, String)>,
        /// The body, JSON or text.
        body: String,
    },
    /// The server has fallen silent meanwhile: answer nothing.
    Nothing,
}

/// What a client says on an open WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A text.
    Text(&'a str),
    /// A Ping, which whoever has the socket answers unless the connection is silent.
    Ping,
    /// A Pong.
    Pong,
    /// The connection has ended, in whatever way.
    End,
}

/// What the exchange says on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Send a text.
    Text(String),
    /// Send a text that is not UTF-8, and end the connection as the client does.
    BadText,
    /// Send a Ping.
    Ping,
    /// Send a Close and end the connection.
    Close(u16, &'static str),
    /// End TCP by a FIN, without a Close.
    Cut,
    /// End TCP by an RST.
    Reset,
    /// Read and write nothing any more, but keep TCP.
    Freeze,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its request has not come yet.
    Dialed,
    Open,
    /// Nobody reads it or writes to it.
    Frozen,
}

struct Connection {
    address: usize,
    stage: Stage,
    opened: Duration,
    voice: Voice,
    subscribed: Vec<bool>,
    muted: Vec<bool>,
    logged_in: bool,
    heard: Window,
    last_text: Duration,
    next_ping: Duration,
    /// Since when a Pong is due.
    pinged: Option<Duration>,
    ever_subscribed: bool,
    /// When it ends, because that was announced.
    retires: Option<Duration>,
}

impl Connection {
    fn brings(&self, symbol: usize) -> bool {
        self.stage == Stage::Open && self.subscribed[symbol] && !self.muted[symbol]
    }
}

struct Condition {
    fault: Fault,
    address: Option<usize>,
    until: Duration,
}

/// An exchange on a bad day, for one client. It needs no socket and no clock: whoever has them
/// reports each connection, request and message, calls [`poll`](Self::poll) after each call and at
/// [`poll_timeout`](Self::poll_timeout), and does what it says.
///
/// Times are those since the start of the day, and must not go backwards.
///
/// ```
/// use badday::{Dialed, Exchange, Heard, Reply, Said, days};
/// use std::time::Duration;
///
/// let mut exchange = Exchange::new(days::named("binance-1008").unwrap(), 1);
/// let start = Duration::ZERO;
/// let Dialed::Open(connection) = exchange.dial(start, 0) else { panic!() };
/// assert_eq!(exchange.request(start, connection, "/ws", true), Reply::Upgrade);
/// let subscribe = r#"{"method":"SUBSCRIBE","params":["btcusdt@depth"],"id":1}"#;
/// exchange.heard(start, connection, Heard::Text(subscribe));
/// let answer = Said::Text(r#"{"id":1,"result":null}"#.into());
/// assert_eq!(exchange.poll(start), Some((connection, answer)));
///
/// let later = Duration::from_secs(600);
/// let mut said = std::iter::from_fn(|| exchange.poll(later)).map(|(_, said)| said);
/// assert!(said.any(|said| said == Said::Close(1008, "Pong timeout")));
/// assert_eq!(exchange.report().dials, 1);
/// ```
pub struct Exchange {
    day: Day,
    speed: u32,
    started: Duration,
    now: Duration,
    schedule: Vec<Duration>,
    next_event: usize,
    end: Duration,
    next_tick: Duration,
    /// When the busy time ends, in which updates come often.
    busy_until: Duration,
    market: Market,
    /// How many symbols there are still.
    listed: usize,
    books: Books,
    connections: BTreeMap<ConnectionId, Connection>,
    dialed: ConnectionId,
    conditions: Vec<Condition>,
    visitor: Visitor,
    sight: Sight,
    /// What ended a connection last.
    cause: String,
    messages: Window,
    refused_logins: Window,
    /// How many connections were ended for what the client did or left undone.
    expelled: usize,
    connected: usize,
    dials_refused: usize,
    snapshots_refused: usize,
    said: VecDeque<(ConnectionId, Said)>,
}

impl Exchange {
    /// Begins a day. `speed` divides the quiet times between events, the life of connections, and
    /// the time between updates; 0 counts as 1.
    #[must_use]
    pub fn new(day: Day, speed: u32) -> Self {
        let (schedule, end) = day.schedule(speed);
        let span = if day.shape == crate::day::Shape::Binance { 3 } else { 1 };
        Self {
            speed: speed.max(1),
            started: Duration::from_secs(1_795_824_000), // 28 November 2026
            now: Duration::ZERO,
            schedule,
            next_event: 0,
            end,
            next_tick: Duration::ZERO,
            busy_until: Duration::ZERO,
            market: Market::new(day.symbols, day.first, span),
            listed: day.symbols,
            books: Books::new((0..day.symbols).map(|symbol| day.shape.symbol(symbol)).collect()),
            connections: BTreeMap::new(),
            dialed: 0,
            conditions: Vec::new(),
            visitor: Visitor::new(day.rules),
            sight: Sight::new(day.symbols),
            cause: "the start".into(),
            messages: Window::new(SECOND),
            refused_logins: Window::new(day.rules.refused_logins.within),
            expelled: 0,
            connected: 0,
            dials_refused: 0,
            snapshots_refused: 0,
            said: VecDeque::new(),
            day,
        }
    }

    /// Says when the day began, as time since 1970, for the dates in messages. 28 November 2026
    /// unless called.
    #[must_use]
    pub fn started(mut self, since_1970: Duration) -> Self {
        self.started = since_1970;
        self
    }

    /// The day.
    #[must_use]
    pub const fn day(&self) -> &Day {
        &self.day
    }

    /// When the day ends.
    #[must_use]
    pub const fn end(&self) -> Duration {
        self.end
    }

    /// The events that have begun.
    #[must_use]
    pub fn happened(&self) -> &[Event] {
        &self.day.events[..self.next_event]
    }

    /// When to call [`poll`](Self::poll) next, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        match self.said.is_empty() {
            true => self.due(),
            false => self.now,
        }
    }

    /// What to do now, until it returns `None`.
    pub fn poll(&mut self, now: Duration) -> Option<(ConnectionId, Said)> {
        self.advance(now);
        self.said.pop_front()
    }

    /// A TCP connection to an address comes in.
    pub fn dial(&mut self, now: Duration, address: usize) -> Dialed {
        self.advance(now);
        let address = address % self.day.addresses;
        if !self.listens(address) {
            self.visitor.dialed.add(self.now);
            self.dials_refused += 1;
            return Dialed::Refused;
        }
        self.dialed += 1;
        let frozen = self.fault_at(address, |fault| matches!(fault, Fault::Frozen(_))).is_some();
        if frozen {
            self.visitor.dialed.add(self.now);
        }
        let connection = self.connection(address, frozen);
        self.connections.insert(self.dialed, connection);
        match frozen {
            true => Dialed::Stuck(self.dialed),
            false => Dialed::Open(self.dialed),
        }
    }

    /// Whether somebody listens at an address. If not, whoever has its socket closes it, so that
    /// the kernel refuses those who dial; they are then no dials of the [`Report`].
    #[must_use]
    pub fn listens(&self, address: usize) -> bool {
        self.fault_at(address, |fault| matches!(fault, Fault::Down(_))).is_none()
    }

    /// The certificate that the server shows on this connection.
    #[must_use]
    pub fn certificate(&self, connection: ConnectionId) -> Certificate {
        let Some(connection) = self.connections.get(&connection) else {
            return Certificate::Valid;
        };
        let shows = |fault: &Fault| matches!(fault, Fault::Certificate { .. });
        match self.fault_at(connection.address, shows) {
            Some(Fault::Certificate { shown, .. }) => shown,
            _ => Certificate::Valid,
        }
    }

    /// The client says what it has applied to its books: a line, as README.md describes it. Lines
    /// judge the client, so say each as soon as the client has written it.
    ///
    /// # Errors
    ///
    /// If the line has none of the forms. Empty lines are well.
    pub fn applied(&mut self, now: Duration, line: &str) -> Result<(), String> {
        self.advance(now);
        self.books.line(line, |symbol| self.market.position(symbol))?;
        self.look_at_books();
        Ok(())
    }

    /// A request comes in: its target, and whether it is for a WebSocket.
    pub fn request(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        target: &str,
        upgrade: bool,
    ) -> Reply {
        self.advance(now);
        let Some(open) = self.connections.get(&connection) else { return Reply::Nothing };
        if open.stage == Stage::Frozen {
            return Reply::Nothing;
        }
        let address = open.address;
        let symbol = match upgrade {
            true => None,
            false => wire::snapshot_of(self.day.shape, target, self.listed),
        };
        let reply = match (upgrade, symbol) {
            (true, _) => self.upgrade(address),
            (false, Some(symbol)) => self.snapshot(address, symbol),
            (false, None) => reply(404, Vec::new(), "no such page, symbol or snapshot\n"),
        };
        if reply != Reply::Upgrade {
            self.connections.remove(&connection);
            return reply;
        }
        self.connected += 1;
        self.open(connection, target);
        reply
    }

    fn upgrade(&mut self, address: usize) -> Reply {
        let welcome = self.visitor.comes(Door::Dials, self.now);
        if let Some(refused) = self.unwelcome(Door::Dials, welcome) {
            return refused;
        }
        let wrong = |fault: &Fault| matches!(fault, Fault::WrongSubprotocol(_));
        if self.fault_at(address, wrong).is_some() {
            self.dials_refused += 1;
            return Reply::WrongSubprotocol;
        }
        self.refusal(Door::Dials, address).unwrap_or(Reply::Upgrade)
    }

    fn refusal(&mut self, door: Door, address: usize) -> Option<Reply> {
        let refuses = |fault: &Fault| match fault {
            Fault::Refuse { what, .. } => *what == Requests::All || door == Door::Snapshots,
            _ => false,
        };
        match self.fault_at(address, refuses) {
            Some(Fault::Refuse { status, retry_after, .. }) => {
                Some(self.refuse(door, status, retry_after))
            }
            _ => None,
        }
    }

    fn snapshot(&mut self, address: usize, symbol: usize) -> Reply {
        let welcome = self.visitor.comes(Door::Snapshots, self.now);
        if let Some(refused) = self.unwelcome(Door::Snapshots, welcome) {
            return refused;
        }
        if let Some(refused) = self.refusal(Door::Snapshots, address) {
            return refused;
        }
        let at = self.market.snapshot(symbol);
        self.sight.snapshot(symbol, at);
        let body = self.voice(0).snapshot(symbol, at, 0);
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Reply::Http { after: self.day.snapshot_takes, status: 200, headers, body }
    }

    fn unwelcome(&mut self, door: Door, welcome: Welcome) -> Option<Reply> {
        let (status, until) = match welcome {
            Welcome::Yes => return None,
            Welcome::TooMany(until) => (429, until),
            Welcome::Banned(until) => {
                self.end_all();
                (418, until)
            }
        };
        let seconds = (until - self.now).as_secs() + 1;
        Some(self.refuse(door, status, RetryAfter::Seconds(seconds)))
    }

    fn refuse(&mut self, door: Door, status: u16, retry_after: RetryAfter) -> Reply {
        match door {
            Door::Dials => self.dials_refused += 1,
            Door::Snapshots => self.snapshots_refused += 1,
        }
        let date = |after: u64| {
            let since_1970 = self.started + self.now + SECOND * u32::try_from(after).unwrap_or(0);
            httpdate::fmt_http_date(UNIX_EPOCH + since_1970)
        };
        let mut headers = vec![("Date", date(0))];
        let seconds = match retry_after {
            RetryAfter::None => None,
            RetryAfter::Seconds(seconds) => {
                headers.push(("Retry-After", seconds.to_string()));
                Some(seconds)
            }
            RetryAfter::Date(seconds) => {
                headers.push(("Retry-After", date(seconds)));
                Some(seconds)
            }
        };
        if let Some(seconds) = seconds {
            self.visitor.stay_away(door, self.now, self.now + Duration::from_secs(seconds));
        }
        reply(status, headers, "not now\n")
    }

    fn connection(&self, address: usize, frozen: bool) -> Connection {
        Connection {
            address,
            stage: if frozen { Stage::Frozen } else { Stage::Dialed },
            opened: self.now,
            voice: self.voice(self.dialed),
            subscribed: vec![false; self.day.symbols],
            muted: vec![false; self.day.symbols],
            logged_in: !self.day.login,
            heard: Window::new(self.day.rules.messages.within),
            last_text: self.now,
            next_ping: Duration::MAX,
            pinged: None,
            ever_subscribed: false,
            retires: None,
        }
    }

    fn voice(&self, connection: ConnectionId) -> Voice {
        Voice { shape: self.day.shape, connection, sent: 0, wrapped: false }
    }

    fn fault_at(&self, address: usize, is: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let here = |condition: &&Condition| condition.address.is_none_or(|at| at == address);
        let mut here = self.conditions.iter().filter(here);
        here.find(|condition| is(&condition.fault)).map(|condition| condition.fault)
    }

    fn since_1970(&self) -> u128 {
        (self.started + self.now).as_millis()
    }

    /// Which count a symbol's last update was of that was not lost, and its last number: where a
    /// client's book is, if it is right.
    #[must_use]
    pub fn truth(&self, symbol: usize) -> (u32, u64) {
        let Position { count, number } = self.market.shown(symbol);
        (count, number)
    }

    /// Whether the client has a healthy connection for each symbol that it has ever subscribed to.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.sight.has_seen() && !self.sight.is_blind()
    }

    /// Whether some address would serve a new connection now, and with a snapshot that is right.
    #[must_use]
    pub fn serves(&self) -> bool {
        !self.is_unserved()
    }

    /// What became of the client so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            day: self.day.name,
            speed: self.speed,
            played: self.now.min(self.end),
            dials: self.visitor.dialed.total,
            dials_in_five_minutes: self.visitor.dialed.worst,
            connected: self.connected,
            refused: self.dials_refused,
            expelled: self.expelled,
            messages: self.messages.total,
            messages_in_a_second: self.messages.worst,
            snapshots: self.visitor.snapshots_taken.total,
            snapshots_in_five_minutes: self.visitor.snapshots_taken.worst,
            snapshots_refused: self.snapshots_refused,
            delivered: self.sight.delivered(),
            without_snapshot: {
                let symbols = self.sight.without_snapshot();
                symbols.map(|symbol| self.day.shape.symbol(symbol)).collect()
            },
            strikes: self.visitor.strikes.total,
            last_strike: self.visitor.last_strike.clone(),
            banned: self.visitor.ban.clone(),
            subscribed: self.sight.has_seen(),
            outages: self.sight.outages(),
            allowed: self.day.blind,
            applied: self.books.verdict(|symbol| self.sight.has_seen_symbol(symbol)),
        }
    }
}

fn reply(status: u16, headers: Vec<(&'static str, String)>, body: &str) -> Reply {
    Reply::Http { after: Duration::ZERO, status, headers, body: body.into() }
}
