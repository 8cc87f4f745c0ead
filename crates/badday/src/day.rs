//! What a day is made of: what happens when, where it was reported, and the exchange's rules.
use std::time::Duration;

/// A script: what an exchange does to its clients, and what it asks of them.
///
/// A day of your own begins as another one:
///
/// ```
/// use badday::{Day, Event, Exchange, Fault, days};
/// use std::time::Duration;
///
/// let other = days::named("close-1000").unwrap();
/// let hour = Duration::from_secs(3600);
/// let close = Event { quiet: hour, fault: Fault::Close(1001, "maintenance"), ..other.events[0] };
/// let day = Day { name: "maintenance", events: vec![close], ..other };
/// assert_eq!(day.length(1), hour + close.watch);
/// let exchange = Exchange::new(day, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Day {
    /// The name for `--day`.
    pub name: &'static str,
    /// What goes wrong, in one line.
    pub title: &'static str,
    /// What a client has to do about it.
    pub advice: &'static str,
    /// Whose messages and numbers the exchange speaks.
    pub shape: Shape,
    /// How many addresses the exchange has.
    pub addresses: usize,
    /// How many symbols there are: the first ones of [`Shape::symbol`].
    pub symbols: usize,
    /// The time between two updates of a symbol in quiet times. The speed shortens it, to 100 ms
    /// at least. From an event to the end of its watch they come each half second, or as often as
    /// before if that is more often.
    pub interval: Duration,
    /// The number of the first update.
    pub first: u64,
    /// Whether a connection has to log in before it may subscribe.
    pub login: bool,
    /// How long a snapshot takes.
    pub snapshot_takes: Duration,
    /// The age at which the exchange cuts a connection. The speed shortens it.
    pub life: Option<Duration>,
    /// What a client may do.
    pub rules: Rules,
    /// What goes wrong, in this order.
    pub events: Vec<Event>,
    /// The longest outage that a good client may have, beyond the time in which no server would
    /// have served it.
    pub blind: Duration,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The quiet time before, which the speed shortens.
    pub quiet: Duration,
    /// What happens.
    pub fault: Fault,
    /// The address where it happens; `None` means all.
    pub address: Option<usize>,
    /// How long to go on before the next quiet time. The speed does not shorten it, because what a
    /// client does about a fault takes the client's time.
    pub watch: Duration,
    /// The public report, as `owner/repository#number` on GitHub.
    pub thread: &'static str,
}

/// What happens to connections, to the numbers, or to whoever dials.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Each connection gets a Close.
    Close(u16, &'static str),
    /// TCP ends each connection, without a Close.
    Cut,
    /// TCP resets each connection.
    Reset,
    /// Each connection falls silent for ever, as behind a NAT that has forgotten it: no FIN, no
    /// RST. New connections are well.
    Silent,
    /// The server stands still for this time, and is then started anew. Its kernel goes on to
    /// accept TCP connections.
    Frozen(Duration),
    /// Nobody listens for this time.
    Down(Duration),
    /// Requests are refused for this time. Open connections stay.
    Refuse {
        /// Which requests.
        what: Requests,
        /// The HTTP status.
        status: u16,
        /// What the response says of it.
        retry_after: RetryAfter,
        /// How long the status is answered.
        lasts: Duration,
    },
    /// The server shows a certificate that is not good, for this time. Only new connections notice.
    Certificate {
        /// Which one.
        shown: Certificate,
        /// How long the certificate is shown.
        lasts: Duration,
    },
    /// For this time the response to an upgrade names a subprotocol for which nobody has asked, so
    /// that a client has to fail the connection (RFC 6455 §4.1).
    WrongSubprotocol(Duration),
    /// Each connection is ended this long after it was opened.
    ShortLived {
        /// How: by a Close of this code; `None`: TCP ends, without a Close.
        code: Option<u16>,
        /// The age at which it is ended.
        life: Duration,
        /// How long connections are ended at that age.
        lasts: Duration,
    },
    /// The first symbol's data stops. Questions are still answered. With a time: on the open
    /// connections and on those that are opened meanwhile, until the time has passed. With
    /// [`Duration::ZERO`]: on the open connections alone, for ever.
    Mute(Duration),
    /// Each connection gets a text that is not UTF-8.
    BadText,
    /// The market is quiet for this time. OKX then repeats its last number, as a keepalive.
    Quiet(Duration),
    /// The next update of each symbol has so many numbers more, as with an exchange whose engine
    /// has one count for all that it does.
    Jump(u64),
    /// The last symbol is delisted: its data ends, and a subscription that names it is refused,
    /// with all that it names besides.
    Delist,
    /// This many updates of the first symbol are sent to nobody.
    Lose(u64),
    /// Each count begins anew at 1, with an empty book.
    Anew,
    /// Snapshots come from a cache that is not renewed for this time.
    Stale(Duration),
    /// Logins are refused for this time, by a Close 1008.
    KeyRefused(Duration),
    /// The exchange announces that it will end its connections, and ends those that are open now
    /// after this time, by a Close 1001. New ones are to servers that stay.
    Announce(Duration),
}

/// Which requests are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// Those for a WebSocket, and those for a snapshot.
    All,
    /// Those for a snapshot.
    Snapshots,
}

/// A certificate that a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// A good one.
    Valid,
    /// One that has expired.
    Lapsed,
    /// One for another host.
    OtherName,
    /// One of an authority that nobody trusts.
    OtherAuthority,
}

/// The header Retry-After of a refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAfter {
    /// The refusal has no Retry-After.
    None,
    /// The Retry-After is a number of seconds.
    Seconds(u64),
    /// The Retry-After is a date, this many seconds after the response's Date.
    Date(u64),
}

/// What a client may do. Whoever breaks a rule gets a strike; see [`Rules::strikes`].
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The messages that a client may send on one connection, Pings and Pongs included. One more
    /// ends the connection with a Close 1008.
    pub messages: Limit,
    /// The attempts to connect, over all addresses. One more is refused with 429.
    pub dials: Limit,
    /// The snapshots over HTTP. One more is refused with 429.
    pub snapshots: Limit,
    /// The logins with a key that is refused.
    pub refused_logins: Limit,
    /// The longest time without a text from the client.
    pub quiet: Option<Duration>,
    /// How often the server sends a Ping, and the longest time without the Pong.
    pub ping: Option<(Duration, Duration)>,
    /// The longest time from the opening handshake to the first subscription.
    pub subscribe: Option<Duration>,
    /// The client is banned at so many strikes in five minutes: for two minutes, and each time
    /// twice as long. To come back before a Retry-After has passed is a strike, too.
    pub strikes: u32,
}

/// A limit on how often something may happen in any time of a given length.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// How many.
    pub most: usize,
    /// The length of the time.
    pub within: Duration,
}

/// Whose messages and numbers the exchange speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Updates have a range `U` to `u`; the snapshot is at `GET /api/v3/depth?symbol=`.
    Binance,
    /// Updates have a `sequence` per product; the snapshot is at `GET /products/ID/book`.
    Coinbase,
    /// Updates have `seqId` and `prevSeqId`; a snapshot answers each subscription.
    Okx,
    /// Updates have `u`; a snapshot answers each subscription, and follows each restart.
    Bybit,
    /// Each message of a connection is counted, from 1; a snapshot answers each subscription.
    Bitfinex,
}

const COINS: [&str; 12] =
    ["BTC", "ETH", "SOL", "XRP", "BNB", "ADA", "DOGE", "AVAX", "LINK", "DOT", "LTC", "TRX"];

impl Shape {
    /// The name of symbol number `index`, below 12, as this exchange writes it.
    #[must_use]
    pub fn symbol(self, index: usize) -> String {
        let coin = COINS[index % COINS.len()];
        match self {
            Self::Binance | Self::Bybit => format!("{coin}USDT"),
            Self::Coinbase => format!("{coin}-USD"),
            Self::Okx => format!("{coin}-USDT"),
            Self::Bitfinex => format!("t{coin}USD"),
        }
    }

    /// Whether a client asks for snapshots over HTTP. Otherwise a snapshot answers a subscription.
    #[must_use]
    pub const fn snapshots_over_http(self) -> bool {
        matches!(self, Self::Binance | Self::Coinbase)
    }
}

impl Day {
    /// When each event happens, and when the day is over.
    pub(crate) fn schedule(&self, speed: u32) -> (Vec<Duration>, Duration) {
        let mut at = Duration::ZERO;
        let mut starts = Vec::new();
        for event in &self.events {
            at += event.quiet / speed.max(1);
            starts.push(at);
            at += event.watch;
        }
        (starts, at)
    }

    /// The same day for a client that knows only so many of the exchange's addresses, at least one.
    /// Nothing happens at the others.
    #[must_use]
    pub fn with_addresses(mut self, addresses: usize) -> Self {
        self.addresses = addresses.clamp(1, self.addresses);
        self.events.retain(|event| event.address.is_none_or(|address| address < self.addresses));
        self
    }

    /// How long the day takes at this speed.
    #[must_use]
    pub fn length(&self, speed: u32) -> Duration {
        self.schedule(speed).1
    }
}

impl Fault {
    /// How long it goes on.
    pub(crate) fn lasts(self) -> Duration {
        match self {
            Self::Frozen(lasts)
            | Self::Down(lasts)
            | Self::Refuse { lasts, .. }
            | Self::Certificate { lasts, .. }
            | Self::WrongSubprotocol(lasts)
            | Self::Mute(lasts)
            | Self::Quiet(lasts)
            | Self::ShortLived { lasts, .. }
            | Self::Stale(lasts)
            | Self::KeyRefused(lasts) => lasts,
            Self::Close(..)
            | Self::Cut
            | Self::Reset
            | Self::Silent
            | Self::BadText
            | Self::Jump(_)
            | Self::Delist
            | Self::Lose(_)
            | Self::Anew
            | Self::Announce(_) => Duration::ZERO,
        }
    }
}
