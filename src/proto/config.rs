//! Limits and policies of a connection, each with its default and its reason; the result of a
//! handshake's negotiation.
#[cfg(feature = "deflate")]
mod deflate;

use crate::proto::{
    deflate::{Deflate, DeflateParams},
    message::OwnedMessage,
};
use alloc::string::String;
use core::time::Duration;

/// Settings of a connection and of its opening handshake. The defaults are safe against hostile
/// peers; every count and every wait has a bound.
///
/// ```
/// use tickwire::{Config, Heartbeat};
///
/// let config = Config {
///     max_message: 64 << 10,
///     heartbeat: Some(Heartbeat::TRADING),
///     ..Config::default()
/// };
/// ```
///
/// The `..` is necessary, since later versions add fields. A connection reads its `Config` once,
/// when it begins.
///
#[doc = include_str!("../../docs/LIMITS.md")]
#[derive(Clone, Debug)]
pub struct Config {
    /// The longest message received whole, in bytes; default 16 MiB. For a compressed one it also
    /// bounds the inflated length, checked while inflating. A longer one fails the connection with
    /// Close 1009 at the frame header that says so, before a byte of it is stored.
    ///
    /// Stops a peer from filling memory. It does not bound messages received in chunks, except
    /// their frames if [`max_frame`](Self::max_frame) is not set.
    pub max_message: usize,

    /// The longest frame received, in bytes; default: as [`max_message`](Self::max_message). A
    /// longer one fails the connection with Close 1009. Holds for chunks too: to receive a message
    /// longer than [`max_message`](Self::max_message) in chunks, allow its frames here.
    pub max_frame: Option<usize>,

    /// The most fragments in a message received whole; default 131,072. More fail the connection
    /// with Close 1008.
    ///
    /// Stops a peer from keeping a message open for ever with empty fragments, which no limit on
    /// bytes would notice.
    pub max_fragments: u32,

    /// How much one read asks for, in bytes; default 16 KiB, which stays in the processor's
    /// first-level cache; at least 512, at most 16 MiB. The buffer has additional room for a
    /// frame's header, so that a message of this length comes in one read, and it grows for a
    /// larger one as that arrives.
    pub read_buffer: usize,

    /// How much may be fed and not yet written, in bytes; default 1 MiB. Feeding is refused with
    /// [`SendError::Full`](crate::SendError::Full) once this much is buffered; a message that
    /// begins below it is taken whole, whatever its length.
    ///
    /// Stops a peer that does not read from filling memory with its messages. A buffer that a larger
    /// message left behind is given up once it is written, if it is more than four times as long.
    pub high_water: usize,

    /// How much an adapter lets a batch of replies grow before it writes in the middle of the
    /// batch, in bytes; default 64 KiB.
    ///
    /// So the first reply of a long batch waits for no more than the work on this many bytes.
    /// Measured with replies of 1 KiB (`benches/README.md`): less costs more system calls, more
    /// makes the slowest first reply wait 13 times as long for 6 % less processor time.
    pub cork_limit: usize,

    /// The length from which on a shared payload is written from where it is instead of being
    /// copied, in bytes; default 16 KiB: over TCP a write of two pieces costs more than such a copy
    /// (`benches/README.md`). Less is for a fan-out to many slow peers, whose queues then share the
    /// payload.
    ///
    /// A client masks, and so always copies. A borrowed payload is written from where it is by an
    /// adapter's `send`, from 16 KiB on, or from this length if that is more.
    pub min_vectored: usize,

    /// Whether Pings are answered automatically (§5.5.2); default yes. Otherwise answer the
    /// [`Event::Ping`](crate::Event::Ping)s yourself, with
    /// [`pong`](crate::Sender::pong).
    pub auto_pong: bool,

    /// Whether a Close from the peer is answered automatically (§5.5.1); default yes. Otherwise
    /// answer it yourself, with [`close`](crate::Sender::close).
    pub auto_close: bool,

    /// Whether the Close that reports a violation or a limit says why in its reason (§7.1.6), for
    /// the log of whoever writes the other end; default no. The reason is the text of the
    /// [`RecvError`](crate::RecvError), such as `frame from a client is not masked` or
    /// `message longer than the limit of 4096 bytes (max_message)`: it shows limits of this
    /// `Config`, and never anything that was received.
    pub explain_violations: bool,

    /// Whether the adapters note when each read was made, for
    /// [`Info::read_at`](crate::Info::read_at), and over a `Timestamped` stream when its bytes arrived,
    /// for [`Info::arrived`](crate::Info::arrived); default no, since it reads the clock for each
    /// read, some 20 ns.
    pub stamp_reads: bool,

    /// Pings a silent peer and gives up a dead one; default no. [`Heartbeat`] has presets.
    pub heartbeat: Option<Heartbeat>,

    /// How long the peer may send no data; default: any time. Control frames do not count, so this
    /// finds a feed that has died behind a server which still pings, or answers the
    /// [heartbeat](Self::heartbeat)'s Pings.
    ///
    /// It runs from when the connection opens. A message that arrives starts it anew, text or
    /// binary and whatever it says, an application's own `pong` too; so does each byte of a
    /// payload, so that a long message on a slow line is no silence. Pings, Pongs and fragments
    /// without payload do not.
    ///
    /// When it has passed, or up to a fifth later, since each timeout has five checks, the
    /// connection fails with [`DataTimeout`](crate::RecvError::DataTimeout). What was received is
    /// delivered first, and the peer, which may be alive, is told by a Close with 1001. Receiving
    /// calls drive it, and have read everything there is before they judge, or read for a fifth of
    /// the timeout if there is no end to it: a program that receives late loses nothing. A pause of
    /// reading of two fifths and more, as in a `send` that waits for long, does not count; a
    /// shorter one does, and a check more decides behind it. Below 5 ms counts as 5 ms. It reads
    /// the clock for each read, some 20 ns.
    pub data_timeout: Option<Duration>,

    /// Sends the message whenever no other was sent for the duration, `after`, or up to a fifth
    /// less (more, if the program receives so seldom that it sees each fifth late); default: none.
    /// For servers that end a connection on which they hear no *message*, such as exchanges: some
    /// want a text `ping`, others JSON. Where a Ping does, prefer the [heartbeat](Self::heartbeat),
    /// which costs nothing while the peer sends.
    ///
    /// ```
    /// use tickwire::Config;
    /// use std::time::Duration;
    ///
    /// // A server that closes after 30 s without a message.
    /// let idle_message = Some((Duration::from_secs(25), "ping".into()));
    /// let config = Config { idle_message, ..Config::default() };
    /// ```
    ///
    /// A message counts when it is fed: that reads no clock, since each interval has five checks.
    /// Control frames do not count. The answer, if the server has one, is a message like any other,
    /// for the caller to tell apart and for [`data_timeout`](Self::data_timeout).
    ///
    /// The first comes `after` the connection has opened. It goes before messages that wait to be
    /// written ([`feed_first`](crate::Sender::feed_first)), and is not compressed. None is sent
    /// behind our Close or the peer's; between the pieces of a message in chunks, where no other
    /// may be (§5.4); while [`high_water`](Self::high_water) is reached; or while the one before is
    /// not written: it is tried again with the next check. Receiving calls drive it, and of a split
    /// connection those of the half that receives, which sends it; a `send` that waits does too.
    /// Below 5 ms counts as 5 ms. It reads the clock for each read, some 20 ns.
    pub idle_message: Option<(Duration, OwnedMessage)>,

    /// How long the opening handshake may take, in `connect` with resolving, TCP and TLS before it;
    /// default 10 s. Stops peers from holding sockets with a head that trickles in.
    pub handshake_timeout: Duration,

    /// How long to wait for the peer's Close after ours, and, as a client, for the server to close
    /// the stream after that; default 5 s. A server, which closes it itself, waits for the client's
    /// end of it for a second, or for this long if that is less.
    ///
    /// So a close takes at most `close_timeout` + 1 s as a server and 2 × `close_timeout` as a
    /// client; over a stream that does not take at once what is written, one `close_timeout` more
    /// if the peer's Close comes before ours is written, and a second more to shut it.
    pub close_timeout: Duration,

    /// How long one frame may take from its first byte to its last; default 60 s. Not for messages
    /// received in chunks, unless the rest is skipped. Stops peers that send a byte now and then to
    /// hold a connection.
    pub frame_timeout: Duration,

    /// How long the stream may refuse every byte; default 30 s. Stops peers that never read. TLS
    /// takes up to 64 KiB for a stream that is full, and then this is also how long those may take
    /// to leave.
    pub write_timeout: Duration,

    /// The longest head of a request or response, in bytes; default 64 KiB. A server answers a
    /// longer one with 431.
    pub max_head: usize,

    /// The most headers in a head; default 128, maximum 132. A server answers more with
    /// 431.
    pub max_headers: usize,

    /// The longest request line, in bytes; default 8 KiB. A server answers a longer one with 414.
    pub max_request_line: usize,

    /// The most interim (1xx) responses a client skips before the real one; default 8.
    pub max_interim: u32,

    /// How many bytes of a refusal's body a client keeps; default 4 KiB.
    pub max_refusal_body: usize,

    /// Offers or accepts permessage-deflate (RFC 7692); default no. The module `deflate` has the
    /// settings and says what they cost. Always `None` without the feature `deflate`.
    pub deflate: Option<Deflate>,

    // Not to be named: it makes `..` necessary, so that a new field breaks no program.
    #[doc(hidden)]
    pub more: (),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            read_buffer: 16 << 10,
            max_message: 16 << 20,
            max_frame: None,
            max_fragments: 128 << 10,
            high_water: 1 << 20,
            cork_limit: 64 << 10,
            min_vectored: 16 << 10,
            auto_pong: true,
            auto_close: true,
            explain_violations: false,
            stamp_reads: false,
            heartbeat: None,
            data_timeout: None,
            idle_message: None,
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            frame_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            max_head: 64 << 10,
            max_headers: 128,
            max_request_line: 8 << 10,
            max_interim: 8,
            max_refusal_body: 4 << 10,
            deflate: None,
            more: (),
        }
    }
}

/// When to ping, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// How long nothing was received before a Ping is sent: see [`new`](Self::new).
    pub interval: Duration,
    /// How long nothing may arrive after it.
    pub timeout: Duration,
}

impl Heartbeat {
    /// Sends a Ping when nothing was received for `interval`, or up to a fifth more, since each
    /// interval has five checks; the connection fails with
    /// [`PongTimeout`](crate::RecvError::PongTimeout) if nothing at all arrives within `timeout`
    /// after the Ping was written. Any byte received is a sign of life. Intervals below 5 ms count
    /// as 5 ms.
    ///
    /// A receiving call thus finds a dead peer within 1.25 × `interval` + `timeout` after its last
    /// byte; if `interval` is a second or more, this includes the lateness of the adapters: 1 ms
    /// with tokio, up to 30 ms in `blocking`. While no call waits, nothing is looked at: see
    /// "Timers" at the adapter's module. The Pings also measure the [round-trip
    /// time](crate::Sender::rtt). With a timeout of [`Duration::MAX`] it pings and never gives up.
    pub const fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout }
    }

    /// For a server behind proxies and load balancers: 20 s and 20 s; a dead peer is found within
    /// 45 s.
    ///
    /// These cut a connection that is idle for a time, commonly 60 s (nginx's `proxy_read_timeout`,
    /// AWS's load balancers), sometimes 30 to 55 s. A Ping every 24 s at the latest stays below all
    /// of them, and a lost one is repeated in time. A proxy may keep its own connection to the
    /// server long after the client is gone; only a Ping that it cannot deliver shows that. 20 s
    /// allow a phone to change networks and TCP to retransmit.
    pub const BEHIND_PROXIES: Self = Self::new(Duration::from_secs(20), Duration::from_secs(20));

    /// For a trading client and the like: 1 s and 2 s; a dead server is found within 3.25 s.
    ///
    /// There a quiet market and a dead connection look the same, and telling them apart is worth a
    /// Ping a second, sent only if nothing else arrives. TCP retransmits a lost segment after 200
    /// ms or more, then after twice that: 2 s are enough for three losses in a row on a path
    /// between continents. Too short for networks that pause for seconds, such as mobile ones.
    pub const TRADING: Self = Self::new(Duration::from_secs(1), Duration::from_secs(2));

    /// For a phone, or a device on batteries: 4 min and 30 s; a dead server is found within 5.5
    /// min.
    ///
    /// Each Ping wakes the radio for several seconds, which drains the battery; with too few of
    /// them, the network's address translation forgets the connection, often after 5 min of
    /// silence. So a Ping goes after 4 to 4.8 min. 30 s allow the radio to wake up, or to move to
    /// another cell.
    ///
    /// For the phone's end. A server of phones should ping as rarely, since its Pings wake them
    /// too.
    pub const PHONE: Self = Self::new(Duration::from_secs(4 * 60), Duration::from_secs(30));
}

/// The result of the opening handshake's negotiation; by default, that nothing was agreed on. Can
/// be made by hand, for framing without HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The subprotocol (§1.9), if one was agreed on.
    pub subprotocol: Option<String>,
    /// How messages may be compressed, if permessage-deflate was agreed on; `None` without the
    /// feature `deflate`. `Config::deflate`, or else its defaults, says how to compress.
    pub deflate: Option<DeflateParams>,
}
