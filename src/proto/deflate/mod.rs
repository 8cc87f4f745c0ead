//! permessage-deflate (RFC 7692): its settings ([`Deflate`]), the parameters that two ends agreed
//! on ([`DeflateParams`]), and the compressors and decompressors that connections share.
//!
//! The sender decides which messages to compress, the receiver takes compressed ones, the handshake
//! writes offers and answers; compression itself is that of `zlib-rs`, whatever other crates of the
//! program choose for `flate2`.
//!
//! It is off unless both ends ask for it:
//!
//! ```
//! use tickwire::{Config, deflate::Deflate};
//!
//! let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
//! # let _ = config;
//! ```
//!
//! # What it costs in memory
//!
//! Without context takeover, the default, a connection keeps nothing between messages: a thread
//! keeps one compressor for each setting in use, some decompressors and buffers, and all its
//! connections share them. With takeover a connection keeps its compressor or decompressor, once
//! needed, until it ends.
//!
//! | bytes per connection, beyond one without compression | idle, no message yet | idle, after messages |
//! |---|---|---|
//! | no takeover | 168 | 168 |
//! | a peer's takeover (receiving) | 168 | 47 KiB |
//! | takeover of our own (sending), window of 15 bits | 168 | 372 KiB |
//! | the same, window of 12 bits | 168 | 260 KiB |
//! | the same, window of 9 bits | 168 | 246 KiB |
//!
//! (On a target of 64 bits; `tests/allocations/deflate.rs` measures these. zlib-rs has a hash table
//! of 128 KiB at any window, and a receiving window of 32 KiB whatever was agreed.) While a
//! compressed message is partly received or sent, its connection holds one of the shared ones.
//!
//! Feeding a message compresses all of it at once: in a split connection the reader's
//! Pongs wait for that.
//!
//! # Choices that RFC 7692 leaves open
//!
//! - A server answers `server_no_context_takeover; client_no_context_takeover` unless
//!   [`takeover`](Direction::takeover) is asked for, and never a window size that was not offered,
//!   which some clients refuse.
//! - Windows of 8 bits: zlib cannot compress for one. A server declines an offer that requires it
//!   of the server; a client that is told to use one sends everything plain.
//! - A message is whole if each of its blocks is, once 00 00 ff ff is appended (§7.2.2). All others
//!   fail with [`BadDeflate`](crate::ProtocolError::BadDeflate), with two exceptions that other
//!   libraries make too: a message of no bytes is empty, and one that ends with a block whose last
//!   byte is ff is whole, as if its sender had left the 00 00 ff ff of its flush in place.
//! - A block with BFINAL set ends the stream as in RFC 1951 §3.2.3: later data, in this
//!   message or the next, cannot refer back across it. No known compressor sets it.
//! - References further back than the window agreed on are followed, up to 32 KiB and
//!   within what takeover allows.
//! - Compressed bytes may exceed [`max_message`](crate::Config::max_message) by an eighth and
//!   1 KiB, since incompressible data grows; the message itself may not.
//! - Blocks without content are not counted: a sender that flushes often has many. They take time
//!   and yield nothing: 210 to 490 instructions per byte received, about 20 to 55 ns (32
//!   where they are stored; stored data 7). That is linear, spent as the bytes arrive, and ends
//!   with the limit above.
use crate::proto::role::Role;

pub(crate) mod codec;
mod params;

pub(crate) use params::{Answer, NAME, Offer};

/// Settings of permessage-deflate: what to offer and answer, and how to compress. Off unless
/// given to [`Config::deflate`](crate::Config::deflate); a peer that does not speak it gets and
/// sends plain messages.
///
/// ```
/// use tickwire::deflate::Deflate;
///
/// // A client of a feed that repeats itself: the server may refer back to earlier messages.
/// let mut feed = Deflate { level: 2, min_size: 64, ..Deflate::default() };
/// feed.server.takeover = true;
/// ```
///
/// # Secrets
///
/// The length of a compressed message tells something about its content. An attacker who can
/// have their own text compressed together with a secret, in one message or, with takeover, in
/// one connection, and who sees lengths, can guess the secret byte by byte (CRIME, BREACH; RFC 7692
/// §8). Send secrets as [`Outbound::plain`](crate::Outbound::plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// How hard to compress, from 1 (fastest) to 9 (smallest); default 1. Other values count as the
    /// nearest of these.
    ///
    /// JSON of 1 KiB takes (`benches/deflate.rs`), alone and with takeover: 2.8 and 1.4 µs for 364
    /// and 248 bytes at level 1; 8.5 and 6.2 µs for 289 and 208 at level 2; 10.4 and 11.0 µs for
    /// 278 and 189 at level 6. To inflate it takes 0.7 to 1.8 µs.
    pub level: u8,
    /// Messages shorter than this, in bytes, are sent plain; default 128, below which little is
    /// gained without takeover. Empty messages always are.
    pub min_size: usize,
    /// How many bytes of shared compressors and decompressors a thread keeps; default 2 MiB, some
    /// five compressors, or 40 decompressors. Those beyond are freed after use and made anew.
    pub memory: usize,
    /// The messages of the server: whether they may refer back to earlier ones, if the client
    /// agrees too, and how far.
    ///
    /// With takeover, messages that repeat each other become much smaller. Either end then keeps
    /// its part of the context for as long as the connection lives; see the
    /// [table](self#what-it-costs-in-memory). A peer's window can be limited only if the peer
    /// supports it; one of 8 bits counts as 9. The window for a message in memory is never longer
    /// than the message.
    pub server: Direction,
    /// The messages of the client, in the same way.
    pub client: Direction,
    // As in `Config`.
    #[doc(hidden)]
    pub more: (),
}

/// The parameters of the messages of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Whether a message may refer back to those before it (§7.1.1); by default not. A
    /// [`Prepared`](crate::Prepared) never does, nor does the message after it.
    pub takeover: bool,
    /// How far it may refer back, as a power of two of bytes, from 8 to 15 (§7.1.2); by default 15.
    /// Other values count as the nearest of these.
    pub window_bits: u8,
}

impl Direction {
    /// With a window of `least` to 15 bits.
    const fn with_at_least(self, least: u8) -> Self {
        Self { window_bits: clamp(self.window_bits, least, 15), ..self }
    }
}

impl Default for Direction {
    fn default() -> Self {
        Self { takeover: false, window_bits: 15 }
    }
}

impl Default for Deflate {
    /// No takeover, windows of 15 bits, level 1, messages from 128 bytes on, 2 MiB shared by the
    /// connections of a thread.
    fn default() -> Self {
        Self {
            level: 1,
            min_size: 128,
            memory: 2 << 20,
            server: Direction::default(),
            client: Direction::default(),
            more: (),
        }
    }
}

impl Deflate {
    /// With windows for which zlib can compress.
    fn within_limits(self) -> Self {
        let [server, client] = [self.server, self.client].map(|side| side.with_at_least(9));
        Self { server, client, ..self }
    }
}

/// The parameters that two ends agreed on: part of [`Negotiated`](crate::Negotiated). By default no
/// takeover, and windows of 15 bits. Can be made by hand, for framing without HTTP:
///
/// ```
/// use tickwire::{Config, Connection, Negotiated, deflate::{DeflateParams, Deflate, Direction}};
///
/// let server = Direction { takeover: true, ..Direction::default() };
/// let agreed = DeflateParams { server, ..DeflateParams::default() };
/// let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
/// let conn = Connection::server(&config, Negotiated::from(agreed));
/// # let _ = conn;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateParams {
    /// The messages of the server.
    pub server: Direction,
    /// The messages of the client.
    pub client: Direction,
}

impl DeflateParams {
    /// The parameters of messages of `sender`, within their limits.
    pub(crate) const fn of(&self, sender: Role) -> Direction {
        match sender {
            Role::Server => self.server.with_at_least(8),
            Role::Client => self.client.with_at_least(8),
        }
    }
}

const fn clamp(n: u8, least: u8, most: u8) -> u8 {
    if n < least {
        least
    } else if n > most {
        most
    } else {
        n
    }
}
