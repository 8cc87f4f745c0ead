//! The limits and policies of a connection, with their defaults.
use crate::proto::{
    deflate::{Deflate, DeflateParams},
    message::OwnedMessage,
};
use alloc::string::String;
use core::time::Duration;

/// Settings of a connection and of its opening handshake. Most programs set some of these five:
///
/// | field | default | set it |
/// |---|---|---|
/// | [`max_message`](Self::max_message) | 16 MiB | to little more than your longest message |
/// | [`heartbeat`](Self::heartbeat) | off | to find a peer that vanished: see the presets of [`Heartbeat`] |
/// | [`data_timeout`](Self::data_timeout) | off | to find a peer that answers Pings and sends no more data |
/// | [`high_water`](Self::high_water) | 1 MiB | to how many bytes may wait for a slow peer |
/// | [`deflate`](Self::deflate) | off | to compress messages |
///
/// ```
/// use std::time::Duration;
/// use tickwire::{Config, Heartbeat};
///
/// let config = Config {
///     max_message: 64 << 10,
///     heartbeat: Some(Heartbeat::TRADING),
///     data_timeout: Some(Duration::from_secs(10)),
///     ..Config::default()
/// };
/// ```
///
/// A value out of range counts as the nearest in range; each field says its range. The `..` is
/// necessary because later versions may add fields. A connection copies its settings
/// when it begins, so later changes of the `Config` do not affect that connection.
///
/// With the defaults, a hostile peer cannot fill memory. (Over HTTP/2, the HTTP stack keeps [64 KiB
/// for each stream](crate::guide::limits#http2) beside the connection.) A deadline also ends each
/// handshake, frame, write and closing that a hostile peer prolongs. [Limits](crate::guide::limits)
/// has a table of all limits with their defaults. That page also says how late a deadline may be,
/// and how much memory each kind of attack takes. A recipe has [limits for small
/// messages](crate::guide::recipes::servers#limits-for-small-messages).
#[derive(Clone, Debug)]
pub struct Config {
    /// The longest message received whole, in bytes; default 16 MiB. If a frame header announces a
    /// longer message, the connection fails at once, with Close 1009. For a compressed message the
    /// limit is on the inflated length, and is checked while inflating. The compressed message may
    /// exceed the limit by 1 KiB plus an eighth of the limit, because incompressible data grows
    /// when it is compressed.
    ///
    /// This limit stops a peer from filling memory. The default is the length of the longest
    /// messages of the Autobahn TestSuite. A message received in chunks may be longer than the
    /// limit. To accept a single frame longer than the limit, set [`max_frame`](Self::max_frame).
    pub max_message: usize,

    /// Sends a Ping to a silent peer, and fails the connection to a dead peer; default: none.
    /// [`Heartbeat`] has presets, and [`Config::server`] has one of them.
    pub heartbeat: Option<Heartbeat>,

    /// How long the peer may go without sending data; off by default. Finds a server that still
    /// answers Pings, also those of the [heartbeat](Self::heartbeat), but sends no more data.
    ///
    /// When it passes and a read has found nothing, the connection sends Close 1001, waits up to a
    /// second for the peer to end the stream, and fails with
    /// [`DataTimeout`](crate::RecvError::DataTimeout). Its Close doesn't wait for fed data that the
    /// stream refuses, as with [`fail`](crate::Connection::fail). A program that calls late loses
    /// nothing: what has arrived is read first, in up to 1,024 reads, enough to empty a socket's
    /// buffer.
    ///
    /// | | |
    /// |---|---|
    /// | starts | when a receiving call first reads |
    /// | restarts | at each byte of a data payload, and at the end of each message, even an empty one; over TLS a byte counts once its record is whole, so allow for the time that a record of 16 KiB takes |
    /// | does not restart | at Pings, Pongs and empty fragments |
    /// | does not run | while a receiving call waits to send, and once a Close is queued or received |
    ///
    /// A value below 5 ms counts as 5 ms. Costs one clock read per read, some 20 ns.
    pub data_timeout: Option<Duration>,

    /// Once this many bytes are unwritten, feeding fails with
    /// [`SendError::Full`](crate::SendError::Full); default 1 MiB. While fewer bytes are unwritten,
    /// a message of any length is accepted whole. A value of 0 counts as 1. Frames that overtake
    /// queued messages do not count, but [`feed_first`](crate::Sender::feed_first) fails once all
    /// unwritten bytes together reach twice this number. If the waiting Pongs would reach this
    /// number, only the newest Ping is answered. But two Pongs always have room.
    ///
    /// Without this limit, the messages for a peer that does not read would fill memory. If a large
    /// message makes the outgoing buffer more than four times as long as `high_water`, that buffer
    /// is freed once all its bytes are written.
    pub high_water: usize,

    /// Offers permessage-deflate (RFC 7692) as a client, and accepts it as a server; default: none.
    /// The module `deflate` has the settings and their costs. Always `None` without the feature
    /// `deflate`.
    pub deflate: Option<Deflate>,

    /// The longest payload of a received frame, in bytes; default: the longest payload, compressed
    /// or not, of a message within [`max_message`](Self::max_message). A frame with a longer
    /// payload fails the connection with Close 1009. The limit also holds for messages received in
    /// chunks. If you expect a message longer than [`max_message`](Self::max_message) in one frame,
    /// set this limit to at least the length of that frame.
    pub max_frame: Option<usize>,

    /// The longest payload of a data frame sent, in bytes; default: no limit, so each message is
    /// one frame. A longer message is cut into frames of this length (RFC 6455 §5.4); of a
    /// compressed message, the compressed bytes count. Each frame costs a header of up to 14 bytes.
    /// A value of 0 counts as 1.
    ///
    /// Set this for a peer that refuses longer frames with Close 1009: AWS API Gateway takes 32 KiB
    /// a frame, and 128 KiB a message; npm `websocket` and Vert.x take 64 KiB a frame. The limit
    /// does not shorten messages. A Ping, a Pong or a Close may come between two frames of a
    /// message, but no other message.
    pub max_frame_sent: Option<usize>,

    /// The most fragments in a message received whole; default 131,072. A message with more
    /// fragments fails the connection with Close 1008. A value of 0 counts as 1.
    ///
    /// This limit stops a peer from keeping a message open for ever with empty fragments. A limit
    /// on bytes would not notice empty fragments. The Autobahn TestSuite sends messages of 65,536
    /// fragments, so the default is higher.
    pub max_fragments: u32,

    /// The number of bytes that one read asks for, besides the longest frame header; default 16
    /// KiB, which fits the processor's first-level cache. So one read can receive a whole message
    /// of this length. While messages are longer than an eighth of this number, reads grow up to
    /// [`max_read`](Self::max_read). A value below 512 bytes or above 16 MiB counts as the nearer
    /// of these two limits. The buffer grows while a longer message arrives.
    pub read_buffer: usize,

    /// The most bytes that one read asks for, besides a frame header for each `read_buffer` of
    /// them; default 64 KiB. Each read that long messages fill lets the next read ask for twice as
    /// many bytes, and each read that brings few bytes lets it ask for half. So long messages cost
    /// fewer system calls. Inside a long frame, a read asks for the rest of the frame. A value
    /// below [`read_buffer`](Self::read_buffer) counts as `read_buffer`, and a value above 16 MiB
    /// as 16 MiB.
    ///
    /// Without this limit, a peer that fills every read would make the buffer grow without end. A
    /// connection whose peer stops inside a message can keep a buffer of this length. With many
    /// such peers, or to have the replies to a batch leave sooner, set a lower value.
    pub max_read: usize,

    /// The number of bytes up to which an adapter holds back replies; default 64 KiB. The adapter
    /// writes the replies to a batch of messages when it has processed the batch. It writes them
    /// earlier if this many bytes wait to be written. A limit above
    /// [`high_water`](Self::high_water) counts as `high_water`.
    ///
    /// Without this limit, the first reply of a long batch would wait until the whole batch is
    /// processed. A lower limit causes more system calls, and with a higher limit the first reply
    /// waits longer (measured in `benches/RESULTS.md`).
    pub cork_limit: usize,

    /// A server does not copy an owned or prepared payload of at least this many bytes into the
    /// outgoing buffer. Instead, a vectored write sends the payload itself. The default is 16 KiB,
    /// because for a shorter payload a copy costs less than a TCP write in two pieces, header and
    /// payload (`benches/RESULTS.md`). For a fan-out to many slow peers, set a lower value, so that
    /// their queues share payloads.
    ///
    /// A payload of any length is copied if it is borrowed (but see [`Outbound`](crate::Outbound)
    /// for `send`), if it is compressed and not prepared, if a client sends it (a client masks the
    /// copy), if [`feed_first`](crate::Sender::feed_first) queues it, or if the stream has no
    /// vectored writes.
    pub min_vectored: usize,

    /// Whether Pings are answered automatically (§5.5.2); default `true`. If `false`, answer each
    /// [`Event::Ping`](crate::Event::Ping) with [`pong`](crate::Sender::pong).
    pub auto_pong: bool,

    /// Whether a Close from the peer is answered automatically (§5.5.1); default `true`. If
    /// `false`, answer each [`Event::Close`](crate::Event::Close) with
    /// [`close`](crate::Sender::close).
    pub auto_close: bool,

    /// Whether the adapters record the time of each read, for
    /// [`Info::read_at`](crate::Info::read_at). Over a `Timestamped` stream they also record when
    /// the bytes arrived, for [`Info::arrived`](crate::Info::arrived). The default is `false`,
    /// because reading the clock for each read costs about 20 ns.
    pub stamp_reads: bool,

    /// Sends this message whenever no other message was sent for this duration; default: none. For
    /// servers, such as exchanges, that close a connection on which no *message* arrives: some want
    /// the text `ping`, others JSON. If a Ping is enough, prefer the [heartbeat](Self::heartbeat),
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
    /// The message can leave early by up to a fifth of the duration, and late if the program rarely
    /// makes a receiving call, or if the stream is blocked. A duration below 5 ms counts as 5 ms.
    ///
    /// Another message counts as sent when it is fed; control frames don't count. The idle message
    /// overtakes waiting messages ([`feed_first`](crate::Sender::feed_first)), and is not
    /// compressed. The server's answer is received as an ordinary message, and restarts
    /// [`data_timeout`](Self::data_timeout).
    ///
    /// | when | the idle message |
    /// |---|---|
    /// | after our Close, or the peer's | is never sent |
    /// | between the chunks of a message (§5.4 forbids it) | waits for the next check |
    /// | while [`high_water`](Self::high_water) is reached | waits for the next check |
    /// | while the previous idle message is unwritten | waits for the next check |
    ///
    /// Feeding reads no clock, so the connection checks five times in each interval of this
    /// duration whether a message was fed; the first interval begins with the first check.
    /// Receiving calls make the checks, and so does a `send` that waits. On a split connection the
    /// receiving half makes the checks and sends the message.
    ///
    /// With this setting, receiving calls read the clock for each read, which costs about 20 ns.
    pub idle_message: Option<(Duration, OwnedMessage)>,

    /// How long the opening handshake may take; default 10 s. In `connect`, this time includes the
    /// lookup of the name, TCP and TLS. The timeout stops peers from occupying sockets with a head
    /// that arrives byte by byte.
    pub handshake_timeout: Duration,

    /// How long to wait for the peer's Close once the stream has taken ours; default 5 s. Before,
    /// what was fed and then our Close are written, for as long as the peer reads:
    /// [`write_timeout`](Self::write_timeout) is the limit, with at most `close_timeout` as its
    /// full time. After both Closes, this end waits for the peer to end the stream: up to a second,
    /// or up to `close_timeout` if that is shorter. So with a peer that has read what was fed,
    /// closing takes at most `close_timeout` + 1 s, with these exceptions:
    ///
    /// - If a peer goes on sending and does not answer our Close, it has perhaps not read all our
    ///   data. A sudden end of the stream could destroy this data. So this end shuts the stream for
    ///   writing; the stream still sends the bytes that it has accepted. Then this end reads and
    ///   drops input until the peer ends the stream. All this takes at most one more
    ///   `close_timeout`, and ends early after 16 MiB of input.
    /// - If the stream blocks writes, shutting it can take one more second. If a part of a Ping or
    ///   Pong behind our Close is still unwritten, writing the rest can also take one more second.
    ///
    /// To end in a given time, also with a peer that reads slowly, call `leave`.
    pub close_timeout: Duration,

    /// How long one frame may take from its first byte to its last; default 60 s. Each received
    /// byte adds the time that a byte takes at 16 KiB a second, so a large frame may come over a
    /// slow line. A message in several frames gets ten times `frame_timeout`, and the same addition
    /// for each byte of its payload. A pause in which the program makes no receiving call counts
    /// for at most a quarter of `frame_timeout`, because in the pause our buffers may become full,
    /// and then the peer cannot send.
    ///
    /// The timeout stops peers that keep a connection busy by sending a byte now and then. It does
    /// not apply to payloads received in chunks, unless the program skips the rest of the message.
    pub frame_timeout: Duration,

    /// How long the stream may refuse bytes; default 30 s. Ends peers that read nothing, or a byte
    /// now and then.
    ///
    /// The time runs while the stream refuses to accept or to flush bytes. Each byte that the
    /// stream takes gives back a 512th of a second, up to the full time. So a peer that takes
    /// nothing ends after this time, or up to a quarter later, and one that takes 512 bytes a
    /// second is waited for, at any length of the queue. If the program sleeps, at most a quarter
    /// counts. [The page on limits](crate::guide::limits#peers-that-read-slowly) says what a peer's
    /// kernel tells of its reading, and what closing changes.
    pub write_timeout: Duration,

    /// The longest head of a request or response, in bytes; default 64 KiB. A server answers 431 to
    /// a longer head.
    pub max_head: usize,

    /// The most headers in a head; default 128. None of 50 servers that we tried sends more. The
    /// parser has room for 132, so a higher value counts as 132. A server answers 431 to more
    /// headers.
    pub max_headers: usize,

    /// The longest request line, in bytes; default 8 KiB. A server answers 414 to a longer line.
    /// RFC 9112 §3 recommends that servers accept at least 8,000 bytes.
    pub max_request_line: usize,

    // Makes `..` necessary, so that a later version can add fields.
    #[doc(hidden)]
    pub more: (),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            read_buffer: 16 << 10,
            max_read: 64 << 10,
            max_message: 16 << 20,
            max_frame: None,
            max_frame_sent: None,
            max_fragments: 128 << 10,
            high_water: 1 << 20,
            cork_limit: 64 << 10,
            min_vectored: 16 << 10,
            auto_pong: true,
            auto_close: true,
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
            deflate: None,
            more: (),
        }
    }
}

impl Config {
    /// The defaults for a server, with a heartbeat: [`Heartbeat::BEHIND_PROXIES`] pings a silent
    /// client, and finds a dead one within 45 s. Without a heartbeat, a client that vanished keeps
    /// its connection for ever, because TCP notices nothing while the server sends nothing.
    ///
    /// The default has no heartbeat, because one end is enough, and a client may be on batteries.
    /// A server for phones takes [`Heartbeat::PHONE`].
    pub fn server() -> Self {
        Self { heartbeat: Some(Heartbeat::BEHIND_PROXIES), ..Self::default() }
    }

    /// The defaults, but with short timeouts, because a trading client would rather connect again
    /// than wait:
    ///
    /// - [`heartbeat`](Self::heartbeat): [`Heartbeat::TRADING`], which finds a dead server within
    ///   3.25 s.
    /// - [`close_timeout`](Self::close_timeout): 1 s. A live server answers a Close after one round
    ///   trip. One second is enough even if a segment is lost twice in a row: TCP repeats it after
    ///   200 ms or more, and again after twice that time.
    /// - [`handshake_timeout`](Self::handshake_timeout): 3 s. This time covers the lookup of the
    ///   name, TCP, TLS and the upgrade. It is enough even if one SYN is lost, because TCP repeats
    ///   a SYN after 1 s. A frozen server still accepts TCP connections, so only this timeout ends
    ///   an attempt to connect to it.
    /// - [`write_timeout`](Self::write_timeout): 5 s. If the server reads nothing for 5 s, an order
    ///   in the queue is too old.
    ///
    /// Set [`data_timeout`](Self::data_timeout) too if the feed is never quiet for long. The preset
    /// is too short for networks that pause for seconds, such as mobile networks.
    pub fn trading() -> Self {
        Self {
            heartbeat: Some(Heartbeat::TRADING),
            close_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(5),
            ..Self::default()
        }
    }
}

/// When to send a Ping, and when to consider the peer dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// A Ping is sent when nothing was received for this time. The Ping can be late by up to a
    /// fifth of this time, or early by a twentieth.
    pub interval: Duration,
    /// The longest time for which the peer may send nothing after a Ping was written.
    pub timeout: Duration,
}

impl Heartbeat {
    /// Sends a Ping when nothing was received for `interval`. The connection checks for new bytes
    /// five times in each interval, so the Ping can be late by up to a fifth of `interval`. If a
    /// late check found the last byte, the Ping can be early by up to a twentieth, because the next
    /// checks keep their planned times. If nothing at all arrives within `timeout` after the Ping
    /// was written, the connection fails with [`PongTimeout`](crate::RecvError::PongTimeout). If
    /// the stream refuses the Ping, `timeout` counts from when the Ping was due, or from the last
    /// byte that the stream took. Any byte received is a sign of life. Intervals below 5 ms count
    /// as 5 ms.
    ///
    /// Over our own TLS streams, a byte of a record that is not whole yet is a sign of life too.
    /// Over another crate's TLS stream only decrypted bytes count. Then `timeout` has to be longer
    /// than a record of 16 KiB takes on the slowest line, because the Pong may wait behind such a
    /// record: 3 s at 5.4 KB/s.
    ///
    /// A receiving call finds a dead peer within `timeout` plus 1.25 × `interval` after the peer's
    /// last byte: the interval, a fifth for the checks, and a twentieth for a late adapter. The
    /// twentieth is enough if `interval` is a second or more: tokio is late by 1 ms, `blocking` by
    /// up to 30 ms. The heartbeat is checked only while a call waits for the stream: see "Timers"
    /// in the documentation of the adapter's module. The Pings also measure the [round-trip
    /// time](crate::Sender::rtt). With a timeout of [`Duration::MAX`] the heartbeat sends Pings and
    /// never gives up.
    pub const fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout }
    }

    /// For a server behind proxies and load balancers: a Ping after 20 s, a timeout of 20 s. A dead
    /// peer is found within 45 s (1.25 × 20 s + 20 s).
    ///
    /// Proxies and load balancers cut idle connections, commonly after 60 s (nginx's
    /// `proxy_read_timeout`, AWS's load balancers), sometimes after 30 to 55 s. A Ping can be late
    /// by a fifth, so Pings are at most 24 s apart. Even the shortest of these times, 30 s, leaves
    /// TCP time to repeat a lost Ping. A proxy may keep its own connection to the server long after
    /// the client is gone. Only a Ping that gets no Pong shows that the client is gone. A timeout
    /// of 20 s gives a phone time to change networks, and TCP time to retransmit.
    pub const BEHIND_PROXIES: Self = Self::new(Duration::from_secs(20), Duration::from_secs(20));

    /// For a trading client or similar: a Ping after 1 s, a timeout of 2 s. A dead server is found
    /// within 3.25 s (1.25 × 1 s + 2 s).
    ///
    /// A quiet market and a dead connection look the same. A Ping per second shows the difference
    /// at little cost, because no Ping is sent while anything arrives. TCP retransmits a lost
    /// segment after 200 ms or more, then again after twice that time. A timeout of 2 s is enough
    /// for two losses in a row on a path between continents. The preset is too short for networks
    /// that pause for seconds, such as mobile networks.
    ///
    /// [`Config::trading`] has this heartbeat and matching timeouts. If your own check finds a dead
    /// server earlier, call the adapter's `leave`, because `close` would wait for the server's
    /// answer.
    pub const TRADING: Self = Self::new(Duration::from_secs(1), Duration::from_secs(2));

    /// For a phone, or a device on batteries: a Ping after 4 min, a timeout of 30 s. A dead server
    /// is found within 5.5 min (1.25 × 4 min + 30 s).
    ///
    /// Each Ping wakes the radio for several seconds, which drains the battery. With too few Pings,
    /// the network's address translation forgets the connection, often after 5 min of silence. So a
    /// Ping is sent after 4 to 4.8 min. A timeout of 30 s gives the radio time to wake up, or to
    /// move to another cell.
    ///
    /// The preset is for the phone's end. A server for phones should send Pings just as rarely,
    /// because its Pings wake the phones too.
    pub const PHONE: Self = Self::new(Duration::from_secs(4 * 60), Duration::from_secs(30));
}

/// The result of the opening handshake's negotiation. The default value means that the two ends
/// agreed on nothing. For a connection without an HTTP handshake, build the value yourself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The subprotocol (§1.9), if one was agreed on.
    pub subprotocol: Option<String>,
    /// The parameters of permessage-deflate, if the two ends agreed on it; always `None` without
    /// the feature `deflate`. All other settings of compression come from `Config::deflate`. If
    /// `Config::deflate` is `None`, the defaults of `Deflate` apply.
    pub deflate: Option<DeflateParams>,
}

impl Negotiated {
    /// The subprotocol, if one was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }
}

/// Makes a result with these parameters of compression, and without a subprotocol.
impl From<DeflateParams> for Negotiated {
    fn from(agreed: DeflateParams) -> Self {
        Self { subprotocol: None, deflate: Some(agreed) }
    }
}
