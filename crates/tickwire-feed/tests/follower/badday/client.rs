//! A program that follows an exchange of `badday` with a `Follower`, wired as README.md shows: in
//! virtual time, with the errors that the real sockets would give.
use super::{
    book::Book,
    exchanges::{self, Level, Read, Snapshot},
};
use crate::refusal::refusal;
use badday::{Certificate, Day, Dialed, Exchange, Heard, Reply, Report, Said, Shape};
use std::{
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    time::Duration,
};
use tickwire::{
    Config, Error, ProtocolError, RecvError, Time, handshake::HandshakeError, tls::rustls,
};
use tickwire_feed::{
    Action, Asked, Attempts, ConnectionId, Count, Ended, Follower, Incoming, Pace, Recovery,
    Settings, Subscription, Verdict,
};
use tickwire_parts::Backoff;

const SECOND: Duration = Duration::from_secs(1);

/// Dialing, TLS and the opening handshake.
const ROUND_TRIPS: Duration = Duration::from_millis(50);

/// The heartbeat of `Config::trading`: a Ping after this silence, and the end after the other.
const SILENCE: Duration = Duration::from_millis(1_250);
const NO_PONG: Duration = Duration::from_millis(3_250);

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// How long a book was not the exchange's although some server would have served: the worst
    /// stretch, and all.
    pub(crate) worst: Duration,
    pub(crate) blind: Duration,
    /// The most snapshots of one symbol in any five minutes.
    pub(crate) snapshots: usize,
    pub(crate) gaps: usize,
    /// What the oracle found.
    pub(crate) wrong: Vec<String>,
    /// Whether all books are the exchange's at the end.
    pub(crate) well: bool,
}

/// How long a person takes.
const MENDED_WITHIN: Duration = Duration::from_secs(300);

/// Something that comes later.
enum Later {
    /// The dial is over.
    Dialed(ConnectionId, usize),
    Ended(ConnectionId, Error),
    Snapshot(usize, Option<Snapshot>),
    /// No byte has come for a while.
    Silence(u64),
    /// No text was sent for a while.
    Idle(u64),
    /// The person who was told of a fault says that it is mended.
    Mended,
}

/// An open connection, by its number at the exchange.
struct Link {
    id: ConnectionId,
    frozen: bool,
    heard: Duration,
    texted: Duration,
}

pub(crate) struct Client {
    shape: Shape,
    symbols: usize,
    exchange: Exchange,
    follower: Follower<Vec<Level>>,
    attempts: Attempts,
    now: Duration,
    wait: Duration,
    later: BTreeMap<(Duration, u64), Later>,
    order: u64,
    links: HashMap<u64, Link>,
    /// A person looks after a fault.
    is_told: bool,
    books: Vec<Book>,
    /// The symbols whose snapshot came with a subscription, and is being reported.
    coming: Vec<bool>,
    /// The last request of each symbol.
    request: Vec<u64>,
    /// When snapshots were asked for.
    asked: Vec<Vec<Duration>>,
    address: usize,
    gaps: usize,
    wrong: Vec<String>,
    /// Whether all books were right once.
    started: bool,
    stretch: Duration,
    worst: Duration,
    blind: Duration,
}

impl Client {
    pub(crate) fn new(day: Day, seed: u64) -> Self {
        // Some bytes for each level: the count is what matters.
        let settings = Settings::new(|levels: &Vec<Level>| levels.len() * size_of::<Level>());
        let mut follower =
            Follower::new(Settings { addresses: day.addresses, login: day.login, ..settings });
        let backoff = Backoff::seeded(seed).trading();
        match day.life {
            Some(life) => follower.add_line(backoff, life, life / 24),
            None => follower.add_line(backoff, Duration::MAX, Duration::ZERO),
        }
        // Longer than any of these books is ever silent.
        let leave_after = Some((5 * day.interval).max(15 * SECOND));
        let ask_after = Some((2 * day.interval).max(10 * SECOND));
        for _ in 0..day.symbols {
            let count = match day.shape == Shape::Bitfinex {
                true => Count::Shared,
                false => Count::Feed,
            };
            follower.subscribe(Subscription {
                ask_after,
                leave_after,
                recovery: Recovery::Snapshot,
                count,
            });
        }
        Self {
            shape: day.shape,
            symbols: day.symbols,
            follower,
            attempts: Attempts::new(250, 300 * SECOND)
                .and(20, SECOND)
                .snapshots(Pace::new(100, 60 * SECOND).at_once(30)),
            now: Duration::ZERO,
            wait: Duration::ZERO,
            later: BTreeMap::new(),
            order: 0,
            links: HashMap::new(),
            is_told: false,
            books: (0..day.symbols).map(|_| Book::default()).collect(),
            coming: vec![false; day.symbols],
            request: vec![0; day.symbols],
            asked: vec![Vec::new(); day.symbols],
            address: 0,
            gaps: 0,
            wrong: Vec::new(),
            started: false,
            stretch: Duration::ZERO,
            worst: Duration::ZERO,
            blind: Duration::ZERO,
            exchange: Exchange::new(day, 1),
        }
    }

    /// Lives the day.
    pub(crate) fn live(mut self) -> Outcome {
        while self.now < self.exchange.end() {
            let first = self.later.first_key_value().map_or(Duration::MAX, |(&(at, _), _)| at);
            let next = self.exchange.poll_timeout().min(self.wait).min(first).max(self.now);
            let next = next.min(self.exchange.end());
            self.pass(next - self.now);
            self.now = next;
            let mut news = self.wait <= self.now;
            while let Some((&(at, order), _)) = self.later.first_key_value()
                && at <= self.now
            {
                let later = self.later.remove(&(at, order));
                news |= later.is_some_and(|later| self.happens(later));
            }
            while let Some((connection, said)) = self.exchange.poll(self.now) {
                news = true;
                self.said(connection, said);
            }
            if news {
                self.poll();
            }
        }
        let worst_window = |times: &Vec<Duration>| {
            let within = |&from: &Duration| {
                times.iter().filter(|&&at| at >= from && at < from + 300 * SECOND).count()
            };
            times.iter().map(within).max().unwrap_or(0)
        };
        Outcome {
            worst: self.worst.max(self.stretch),
            blind: self.blind,
            snapshots: self.asked.iter().map(worst_window).max().unwrap_or(0),
            gaps: self.gaps,
            well: self.is_right(),
            wrong: self.wrong,
            report: self.exchange.report(),
        }
    }

    fn time(&self) -> Time {
        Time::new(self.now)
    }

    fn is_right(&self) -> bool {
        let mut books = self.books.iter().enumerate();
        self.exchange.is_seen() && books.all(|(i, book)| book.is_at(self.exchange.truth(i)))
    }

    /// Time goes by as things are now.
    fn pass(&mut self, time: Duration) {
        let right = self.is_right();
        self.started |= right;
        if !self.started {
            return;
        }
        if right {
            self.worst = self.worst.max(self.stretch);
            self.stretch = Duration::ZERO;
        } else if self.exchange.serves() {
            self.stretch += time;
            self.blind += time;
        }
    }

    fn in_time(&mut self, after: Duration, later: Later) {
        self.order += 1;
        self.later.insert((self.now + after, self.order), later);
    }

    /// Does what the follower says, until it waits.
    fn poll(&mut self) {
        loop {
            match self.follower.poll(self.time(), &mut self.attempts) {
                Action::Dial { connection, address, .. } => {
                    self.in_time(ROUND_TRIPS, Later::Dialed(connection, address));
                }
                Action::Send { connection, say } => {
                    let text = exchanges::write(self.shape, say);
                    self.send(connection, &text);
                }
                Action::Leave { connection, .. } => {
                    let link = self.links.iter().find(|(_, link)| link.id == connection);
                    if let Some((&number, _)) = link {
                        self.links.remove(&number);
                        self.exchange.heard(self.now, number, Heard::End);
                    }
                }
                Action::Message { subscription, message } => self.apply(subscription, &message),
                Action::Gap { subscription, .. } => {
                    self.gaps += 1;
                    self.books[subscription].valid = false;
                }
                Action::Mute { .. } => {}
                Action::Restart { subscription } => self.books[subscription].valid = false,
                Action::Snapshot { subscription, id } => {
                    self.request[subscription] = id;
                    self.ask(subscription);
                }
                Action::Wait(until) => {
                    self.wait = until.since_epoch();
                    if !self.is_told && self.follower.faults().flatten().next().is_some() {
                        self.is_told = true;
                        self.in_time(MENDED_WITHIN, Later::Mended);
                    }
                    return;
                }
            }
        }
    }

    fn send(&mut self, id: ConnectionId, text: &str) {
        let now = self.now;
        let link = self.links.iter_mut().find(|(_, link)| link.id == id);
        if let Some((&number, link)) = link {
            link.texted = now;
            if !link.frozen {
                self.exchange.heard(now, number, Heard::Text(text));
            }
        }
    }

    /// Whether the follower has to be asked again.
    fn happens(&mut self, later: Later) -> bool {
        match later {
            Later::Dialed(id, address) => self.dial(id, address),
            Later::Mended => {
                self.is_told = false;
                self.follower.go_on();
            }
            Later::Ended(id, error) => self.ended(id, &error),
            Later::Snapshot(index, snapshot) => self.snapshot_came(index, snapshot),
            Later::Silence(number) => {
                self.silence(number);
                return false;
            }
            Later::Idle(number) => {
                self.idle(number);
                return false;
            }
        }
        true
    }

    fn ended(&mut self, id: ConnectionId, ended: impl Into<Ended>) {
        self.follower.ended(id, ended, self.time(), &mut self.attempts);
    }

    fn dial(&mut self, id: ConnectionId, address: usize) {
        let handshake_timeout = Config::trading().handshake_timeout - ROUND_TRIPS;
        let timeout = Error::Handshake(HandshakeError::Timeout);
        let number = match self.exchange.dial(self.now, address) {
            Dialed::Open(number) => number,
            Dialed::Refused => {
                let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
                return self.ended(id, Error::from(refused));
            }
            Dialed::Stuck(_) => return self.in_time(handshake_timeout, Later::Ended(id, timeout)),
        };
        let bad = match self.exchange.certificate(number) {
            Certificate::Valid => None,
            Certificate::Lapsed => Some(rustls::CertificateError::Expired),
            Certificate::OtherName => Some(rustls::CertificateError::NotValidForName),
            Certificate::OtherAuthority => Some(rustls::CertificateError::UnknownIssuer),
        };
        if let Some(bad) = bad {
            self.exchange.heard(self.now, number, Heard::End);
            return self.ended(id, Error::Tls(rustls::Error::InvalidCertificate(bad).into()));
        }
        match self.exchange.request(self.now, number, "/ws", true) {
            Reply::Upgrade => {
                let link = Link { id, frozen: false, heard: self.now, texted: self.now };
                self.links.insert(number, link);
                self.address = address;
                self.in_time(SILENCE, Later::Silence(number));
                self.in_time(20 * SECOND, Later::Idle(number));
                self.follower.opened(id, self.time(), &mut self.attempts);
            }
            Reply::Http { status, headers, body, .. } => {
                self.ended(id, refusal(status, &headers, &body));
            }
            Reply::WrongSubprotocol => {
                self.ended(id, Error::Handshake(HandshakeError::UnexpectedSubprotocol));
            }
            Reply::Nothing => self.in_time(handshake_timeout, Later::Ended(id, timeout)),
        }
    }

    /// The exchange has said something on a connection.
    fn said(&mut self, number: u64, said: Said) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&number) else { return };
        let id = link.id;
        link.heard = now;
        match said {
            Said::Text(text) => self.text(number, id, &text),
            Said::Ping => self.exchange.heard(now, number, Heard::Pong),
            Said::BadText => {
                self.links.remove(&number);
                self.ended(id, Error::from(RecvError::Protocol(ProtocolError::BadUtf8)));
            }
            Said::Freeze => {
                link.frozen = true;
                self.in_time(NO_PONG, Later::Silence(number));
            }
            Said::Close(code, _) => {
                self.links.remove(&number);
                self.ended(id, Ended::closed(code, ""));
            }
            Said::Cut => {
                self.links.remove(&number);
                self.ended(id, Error::from(RecvError::UnexpectedEof));
            }
            Said::Reset => {
                self.links.remove(&number);
                let reset = std::io::Error::from(ErrorKind::ConnectionReset);
                self.ended(id, Error::from(reset));
            }
        }
    }

    fn text(&mut self, number: u64, id: ConnectionId, text: &str) {
        let mut update = Vec::new();
        let mut of = 0;
        let incoming = match exchanges::read(self.shape, text, self.symbols) {
            Read::LoggedIn => Incoming::LoggedIn,
            Read::Answer(subscription) => Incoming::Answer(Asked::Subscription(subscription)),
            Read::Ending => Incoming::Ending,
            Read::Other => Incoming::Other,
            Read::Update { subscription, first, last, levels } => {
                update = levels;
                of = subscription;
                let numbers = Some((first..=last).into());
                Incoming::Data { subscription, numbers }
            }
            Read::Snapshot(subscription, snapshot) => {
                // It is data: with a count of the connection, it makes the follower switch.
                let numbers = Some(snapshot.number.into());
                let data = Incoming::Data { subscription, numbers };
                let _ = self.follower.heard(id, data, self.time(), Vec::new);
                self.coming[subscription] = true;
                self.poll();
                self.coming[subscription] = false;
                self.asked[subscription].push(self.now);
                self.replace(subscription, &snapshot);
                return;
            }
        };
        let verdict = self.follower.heard(id, incoming, self.time(), || update.clone());
        if verdict == Some(Verdict::Next) {
            self.apply(of, &update);
        }
        // Each arrived message is followed by a poll.
        if self.links.contains_key(&number) {
            self.poll();
        }
    }

    fn apply(&mut self, subscription: usize, levels: &[Level]) {
        let found = match self.books[subscription].valid {
            true => self.books[subscription].apply(levels),
            false => Err(format!("{levels:?} was delivered behind a gap")),
        };
        if let Err(found) = found
            && self.wrong.len() < 3
        {
            self.wrong.push(format!("{:?}: {found}", self.now));
        }
    }

    /// Asks for a snapshot.
    fn ask(&mut self, index: usize) {
        if !self.shape.snapshots_over_http() {
            return self.subscribe_anew(index);
        }
        self.asked[index].push(self.now);
        let number = match self.exchange.dial(self.now, self.address) {
            Dialed::Open(number) => number,
            Dialed::Refused => return self.in_time(ROUND_TRIPS, Later::Snapshot(index, None)),
            Dialed::Stuck(_) => return self.in_time(3 * SECOND, Later::Snapshot(index, None)),
        };
        let target = exchanges::snapshot_target(self.shape, index);
        match self.exchange.request(self.now, number, &target, false) {
            Reply::Http { after, status: 200, body, .. } => {
                self.in_time(after, Later::Snapshot(index, exchanges::read_snapshot(&body)));
            }
            Reply::Http { headers, .. } => {
                let wait = headers.iter().find(|(name, _)| *name == "Retry-After");
                let wait = wait.and_then(|(_, value)| value.parse().ok());
                let wait = wait.map(Duration::from_secs);
                self.no_snapshot(index, wait);
            }
            _ => self.in_time(3 * SECOND, Later::Snapshot(index, None)),
        }
    }

    /// Where a subscription brings the snapshot: on the youngest connection.
    fn subscribe_anew(&mut self, index: usize) {
        if self.coming[index] {
            return;
        }
        let link = self.links.iter().max_by_key(|(number, _)| **number);
        let Some(id) = link.map(|(_, link)| link.id) else {
            return self.in_time(SECOND, Later::Snapshot(index, None));
        };
        let now = self.time();
        self.follower.asked_over(index, self.request[index], id, now);
        self.send(id, &exchanges::unsubscribe(self.shape, index));
        self.send(id, &exchanges::subscribe(self.shape, index..index + 1));
    }

    fn no_snapshot(&mut self, index: usize, retry_after: Option<Duration>) {
        let id = self.request[index];
        let now = self.time();
        self.follower.no_snapshot(index, id, retry_after, now, &mut self.attempts);
    }

    fn snapshot_came(&mut self, index: usize, snapshot: Option<Snapshot>) {
        match snapshot {
            Some(snapshot) => self.replace(index, &snapshot),
            None => self.no_snapshot(index, None),
        }
    }

    fn replace(&mut self, index: usize, snapshot: &Snapshot) {
        self.books[index].replace(snapshot);
        let time = self.time();
        self.follower.resync(index, snapshot.number + 1, time);
        self.poll();
    }

    /// The heartbeat.
    fn silence(&mut self, number: u64) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let silent = self.now - link.heard;
        if link.frozen && silent >= NO_PONG {
            let id = link.id;
            self.links.remove(&number);
            self.exchange.heard(self.now, number, Heard::End);
            self.ended(id, Error::from(RecvError::PongTimeout));
            self.poll();
        } else if !link.frozen {
            if silent >= SILENCE {
                link.heard = self.now;
                self.exchange.heard(self.now, number, Heard::Ping);
            }
            let wait = SILENCE - self.now.saturating_sub(self.links[&number].heard).min(SILENCE);
            self.in_time(wait.max(SECOND / 100), Later::Silence(number));
        }
    }

    /// `Config::idle_message`, for the exchanges that want it.
    fn idle(&mut self, number: u64) {
        let Some(link) = self.links.get(&number) else { return };
        if !matches!(self.shape, Shape::Okx | Shape::Bybit) {
            return;
        }
        let idle = self.now - link.texted;
        let id = link.id;
        if idle >= 20 * SECOND {
            self.send(id, exchanges::ping(self.shape));
            return self.in_time(20 * SECOND, Later::Idle(number));
        }
        self.in_time(20 * SECOND - idle, Later::Idle(number));
    }
}
