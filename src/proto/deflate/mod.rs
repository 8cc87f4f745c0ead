//! permessage-deflate (RFC 7692): its settings ([`Deflate`]), the parameters that two ends agreed
//! on ([`DeflateParams`]), and the compressors and decompressors that connections share.
//!
//! The sender decides which messages to compress, and the receiver inflates compressed messages.
//! The handshake writes offers and answers. `zlib-rs` does the compression, even if other crates of
//! the program choose a different backend for `flate2`.
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
//! Without context takeover, which is the default, a connection keeps nothing between messages.
//! Each thread keeps a compressor for each setting in use, some decompressors and some buffers, and
//! all its connections share them. With takeover, a connection keeps its compressor or decompressor
//! from its first use until the connection ends.
//!
//! | bytes per connection, beyond one without compression | idle, no message yet | idle, after messages |
//! |---|---|---|
//! | no takeover | 168 | 168 |
//! | a peer's takeover (receiving) | 168 | 47 KiB |
//! | takeover of our own (sending), window of 15 bits | 168 | 372 KiB |
//! | the same, window of 12 bits | 168 | 260 KiB |
//! | the same, window of 9 bits | 168 | 246 KiB |
//!
//! The table is for a 64-bit target; `tests/allocations/deflate.rs` measures it. zlib-rs has a hash
//! table of 128 KiB for every window, and always a receiving window of 32 KiB. While a compressed
//! message is partly received or sent, its connection holds one of the shared compressors or
//! decompressors.
//!
//! Feeding a message compresses all of it at once. In a split connection, the reader's Pongs wait
//! for that.
//!
//! # Choices that RFC 7692 leaves open
//!
//! - A server answers `server_no_context_takeover; client_no_context_takeover` unless
//!   [`takeover`](Direction::takeover) is set. It never answers with a window size that was not
//!   offered, because some clients refuse it.
//! - zlib cannot compress for a window of 8 bits. A server declines an offer that requires the
//!   server to use it. A client that must use it sends all messages uncompressed.
//! - A message is complete if all its blocks are, once 00 00 ff ff is appended (§7.2.2). Any other
//!   message fails with [`BadDeflate`](crate::ProtocolError::BadDeflate), with two exceptions that
//!   other libraries make too. A message of zero bytes is empty. A message that ends with a block
//!   whose last byte is ff is complete, as if its sender had left the 00 00 ff ff of its flush in
//!   place.
//! - A block with BFINAL set ends the stream as in RFC 1951 §3.2.3. Later data, in this message or
//!   the next, cannot refer back across it. No known compressor sets it.
//! - References beyond the window agreed on are accepted, up to 32 KiB back. Without takeover they
//!   must stay within the message.
//! - Compressed bytes may exceed [`max_message`](crate::Config::max_message) by an eighth and 1
//!   KiB, because incompressible data grows. The inflated message may not exceed it.
//! - Blocks without content are not limited, because a sender that flushes often sends many. They
//!   cost time without yielding data: 210 to 490 instructions per byte received, about 20 to 55 ns
//!   (32 for stored blocks, 7 for stored data). The cost is linear, is spent as the bytes arrive,
//!   and is bounded by the limit above.
use crate::proto::role::Role;

pub(crate) mod codec;
mod params;

pub(crate) use params::{Answer, NAME, Offer};

/// Settings of permessage-deflate: what to offer and answer, and how to compress. It is off unless
/// set in [`Config::deflate`](crate::Config::deflate). With a peer that does not support it,
/// messages are uncompressed.
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
/// The length of a compressed message reveals something about its content. An attack needs two
/// things: text of the attacker is compressed together with a secret (in one message or, with
/// takeover, in one connection), and the attacker sees lengths. Then the secret can be guessed byte
/// by byte (CRIME, BREACH; RFC 7692 §8). Send secrets as
/// [`Outbound::plain`](crate::Outbound::plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// How hard to compress, from 1 (fastest) to 9 (smallest); default 1. Values outside count as
    /// the nearest of these.
    ///
    /// JSON of 1 KiB takes (`benches/deflate.rs`), alone and with takeover: 2.8 and 1.4 µs for 364
    /// and 248 bytes at level 1; 8.5 and 6.2 µs for 289 and 208 at level 2; 10.4 and 11.0 µs for
    /// 278 and 189 at level 6. Inflating it takes 0.7 to 1.8 µs.
    pub level: u8,
    /// Messages shorter than this, in bytes, are sent uncompressed; default 128. Below that,
    /// compression gains little without takeover. Empty messages are never compressed.
    pub min_size: usize,
    /// The number of bytes of shared compressors and decompressors that a thread keeps; default 2
    /// MiB, which is about five compressors or 40 decompressors. Any more are freed after use and
    /// allocated again.
    pub memory: usize,
    /// Whether messages of the server may refer back to earlier messages, if the client agrees, and
    /// how far.
    ///
    /// With takeover, messages that repeat each other become much smaller. Each end then keeps its
    /// part of the context as long as the connection lives; see the
    /// [table](self#what-it-costs-in-memory). A peer's window can be limited only if the peer
    /// supports it. A window of 8 bits counts as 9. The window for a message in memory is never
    /// longer than the message.
    pub server: Direction,
    /// The same as `server`, for messages of the client.
    pub client: Direction,
    // As in `Config`, it makes `..` necessary.
    #[doc(hidden)]
    pub more: (),
}

/// The compression parameters for the messages of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Whether a message may refer back to earlier messages (§7.1.1); default no. A
    /// [`Prepared`](crate::Prepared) never does, and neither does the message after it.
    pub takeover: bool,
    /// How far a message may refer back, as the exponent of a power of two of bytes, from 8 to 15
    /// (§7.1.2); default 15. Values outside count as the nearest of these.
    pub window_bits: u8,
}

impl Direction {
    /// The parameters with the window limited to `least` to 15 bits.
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
    /// The settings with windows limited to sizes for which zlib can compress.
    fn within_limits(self) -> Self {
        let [server, client] = [self.server, self.client].map(|side| side.with_at_least(9));
        Self { server, client, ..self }
    }
}

/// The parameters that two ends agreed on: part of [`Negotiated`](crate::Negotiated). The default
/// has no takeover, and windows of 15 bits. It can be built by hand, for framing without HTTP:
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
