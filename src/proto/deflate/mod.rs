//! permessage-deflate (RFC 7692): its settings ([`Deflate`]), the parameters that two ends agreed
//! on ([`DeflateParams`]), and the compressors and decompressors that connections share.
//!
//! A connection's sender decides which messages to compress, and its receiver inflates compressed
//! messages. The handshake writes offers and answers. This crate calls `zlib-rs` directly, so the
//! backend that other crates of the program choose for `flate2` does not matter.
//!
//! Compression needs [`Config::deflate`](crate::Config::deflate) and the consent of the peer.
//!
//! # What it costs in memory
//!
//! A connection without context takeover keeps no compressor or decompressor between messages. Each
//! thread keeps compressors, decompressors and buffers, which all its connections share. With
//! takeover for our messages, a connection keeps its own compressor, from the first message that it
//! compresses until sending ends. With takeover for the peer's messages, it keeps its own
//! decompressor, from the first compressed message that it receives until receiving ends.
//!
//! By default, no message of ours refers back to earlier messages, and a server forbids its clients
//! to refer back. But a client lets the server use takeover for the server's messages, because some
//! servers always use it (Tornado, Mojolicious). A client with
//! [`require_no_takeover`](Deflate::require_no_takeover) refuses these servers.
//!
//! | bytes that compression adds to a connection | idle, no message yet | idle, after messages |
//! |---|---|---|
//! | a server by default; a client whose server uses no takeover | 152 | 152 |
//! | a client whose server uses takeover; a server that allows it to clients (a decompressor) | 152 | 47 KiB |
//! | takeover for our messages (a compressor), window of 15 bits | 152 | 372 KiB |
//! | takeover for our messages, window of 12 bits | 152 | 260 KiB |
//! | takeover for our messages, window of 9 bits | 152 | 246 KiB |
//!
//! The table is for a 64-bit target; `tests/memory/deflate.rs` measures its numbers. In
//! zlib-rs, every compressor has a hash table of 128 KiB, whatever its window, and every
//! decompressor has a window of 32 KiB. While a compressed message is partly fed or received, a
//! connection without takeover uses one of the thread's compressors or decompressors.
//!
//! `feed` compresses a whole message at once. While the sending half of a split connection
//! compresses, it holds the lock that the receiving half needs to queue a Pong. So Pongs wait until
//! the message is compressed.
//!
//! # Choices that RFC 7692 leaves open
//!
//! - By default a client offers `client_no_context_takeover; client_max_window_bits`, and accepts
//!   every answer to this offer that the RFC permits.
//! - A server's answer has `server_no_context_takeover`, unless [`takeover`](Direction::takeover)
//!   is set for the server's messages and the offer allows takeover. The same rule holds for
//!   `client_no_context_takeover` and the client's messages. The answer has a parameter for a
//!   window size only if the offer has the same parameter, because some clients refuse a parameter
//!   that they did not offer.
//! - zlib cannot compress for a window of 8 bits. So a server declines an offer that asks the
//!   server for this window. If a server asks a client for this window, the client sends all
//!   messages uncompressed.
//! - A message is complete if its DEFLATE blocks are complete once 00 00 ff ff is appended
//!   (§7.2.2). Any other message fails with [`BadDeflate`](crate::ProtocolError::BadDeflate). There
//!   are two exceptions, as in other libraries. A message of zero bytes is complete, and is empty
//!   when inflated. A message is also complete if its last byte is ff and ends a block, for example
//!   because the sender did not remove the 00 00 ff ff of its flush.
//! - A block with BFINAL set ends the DEFLATE stream (RFC 1951 §3.2.3). Data after that block, in
//!   this message or the next, cannot refer back to the block or to data before the block.
//! - A received message may refer back up to 32 KiB, even if a shorter window was agreed on.
//!   Without takeover, a message must not refer to earlier messages.
//! - The compressed bytes of a message may exceed [`max_message`](crate::Config::max_message) by an
//!   eighth and 1 KiB, because incompressible data grows when it is compressed. The inflated
//!   message must not exceed `max_message`.
//! - The number of empty blocks is not limited, because a sender that often flushes its compressor
//!   sends many of these blocks. An empty block yields no data, and costs up to 490 instructions
//!   (about 55 ns) for each of its bytes. The limit on compressed bytes also limits the total time
//!   for the empty blocks of a message.
use crate::proto::role::Role;

pub(crate) mod codec;
mod params;
#[cfg_attr(not(feature = "deflate"), path = "no_zlib.rs")]
pub(crate) mod zlib;

pub(crate) use params::{Answer, NAME, Offer, Params};

/// Settings of permessage-deflate: what to offer and answer, and how to compress. Compression is
/// off unless [`Config::deflate`](crate::Config::deflate) is set. If the peer does not agree to
/// compression, messages are sent uncompressed.
///
/// ```
/// # #[cfg(feature = "deflate")] {
/// use tickwire::{Config, deflate::Deflate};
///
/// // For a feed that repeats itself: the server's messages may refer back to earlier messages.
/// let mut feed = Deflate { level: 2, min_size: 64, ..Deflate::default() };
/// feed.server.takeover = true;
/// let config = Config { deflate: Some(feed), ..Config::default() };
/// # let _ = config;
/// # }
/// ```
///
/// # Secrets
///
/// The length of a compressed message reveals something about its content. An attacker who sees
/// these lengths can guess a secret byte by byte (CRIME, BREACH; RFC 7692 §8). The attack works
/// only if text that the attacker chooses is compressed together with the secret: in one message
/// or, with takeover, in one connection. Send secrets as
/// [`Outbound::plain`](crate::Outbound::plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// How hard to compress, from 1 (fastest) to 9 (smallest); default 1. A value outside this
    /// range counts as the nearest value inside.
    ///
    /// The table shows the compressed length of 1 KiB of JSON, and the time that the compression
    /// takes (`benches/deflate.rs`). Inflating the result takes 0.7 to 1.8 µs.
    ///
    /// | level | without takeover | with takeover |
    /// |---|---|---|
    /// | 1 | 364 bytes in 2.8 µs | 248 bytes in 1.4 µs |
    /// | 2 | 289 bytes in 8.5 µs | 208 bytes in 6.2 µs |
    /// | 6 | 278 bytes in 10.4 µs | 189 bytes in 11.0 µs |
    pub level: u8,
    /// Messages of fewer bytes than this are sent uncompressed; default 128. Without takeover,
    /// compressing fewer bytes than the default gains little. Without takeover, a longer message is
    /// also sent uncompressed if it would not become shorter. Empty messages are never compressed.
    /// A message in several chunks is always compressed, because its length is not known at first.
    pub min_size: usize,
    /// The most bytes that a thread keeps in unused compressors and decompressors; default 2 MiB,
    /// which is about five compressors or 40 decompressors. Above this limit, the thread frees the
    /// compressors and decompressors that were unused for the longest time.
    pub memory: usize,
    /// Whether, and how far, messages of the server may refer back to earlier messages.
    ///
    /// With `takeover` set here, a server uses takeover for its messages if the client agrees. A
    /// client ignores `takeover` here, and lets the server decide: see
    /// [`require_no_takeover`](Self::require_no_takeover). With `window_bits` below 15, a client
    /// asks the server for this window. If the server compresses without agreeing to the window,
    /// the handshake fails with [`UnmetDeflate`](crate::handshake::HandshakeError::UnmetDeflate).
    ///
    /// With takeover, messages that repeat each other become much smaller. Each end then keeps a
    /// compressor or decompressor for this connection alone; see the
    /// [table](self#what-it-costs-in-memory). A window of 8 bits counts as 9 bits, because zlib
    /// cannot compress for 8 bits.
    pub server: Direction,
    /// Whether, and how far, messages of the client may refer back to earlier messages. Takeover is
    /// used only if both ends agree to it.
    pub client: Direction,
    /// Whether a client refuses a server that uses takeover; default `false`. A server ignores this
    /// setting.
    ///
    /// With takeover, each connection of the client keeps a decompressor of 47 KiB from the first
    /// compressed message on. With this setting, no connection keeps one, because the offer asks
    /// for `server_no_context_takeover` (§7.1.1.1). If the server compresses, but does not agree to
    /// this parameter, the handshake fails with
    /// [`UnmetDeflate`](crate::handshake::HandshakeError::UnmetDeflate). Tornado and Mojolicious
    /// always use takeover, so they never agree. Some other servers (Netty by default) decline
    /// compression if the offer has this parameter.
    pub require_no_takeover: bool,
    // Makes `..` necessary, as in `Config`.
    #[doc(hidden)]
    pub more: zlib::Supported,
}

/// The compression parameters for the messages of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Whether a message may refer back to earlier messages (§7.1.1); default no. A
    /// [`Prepared`](crate::Prepared) message never refers back. After a compressed `Prepared`
    /// message, the connection's own compressor starts anew, so the next compressed message does
    /// not refer back either.
    pub takeover: bool,
    /// The exponent *n*, from 8 to 15 (§7.1.2): a message may refer back at most 2ⁿ bytes; default
    /// 15. A value outside this range counts as the nearest value inside. A server limits the
    /// client's window only if the client's offer has `client_max_window_bits` (§7.1.2.2).
    pub window_bits: u8,
}

impl Direction {
    fn with_at_least(self, least: u8) -> Self {
        Self { window_bits: self.window_bits.max(least).min(15), ..self }
    }
}

impl Default for Direction {
    fn default() -> Self {
        Self { takeover: false, window_bits: 15 }
    }
}

#[cfg(feature = "deflate")]
impl Default for Deflate {
    /// No takeover, but a client accepts a server that uses takeover. Windows of 15 bits, level 1,
    /// compression of messages from 128 bytes on, and a `memory` of 2 MiB.
    fn default() -> Self {
        Self {
            level: 1,
            min_size: 128,
            memory: 2 << 20,
            server: Direction::default(),
            client: Direction::default(),
            require_no_takeover: false,
            more: (),
        }
    }
}

impl Deflate {
    /// The parameters with windows for which zlib can compress.
    fn within_limits(&self) -> DeflateParams {
        let [server, client] = [self.server, self.client].map(|side| side.with_at_least(9));
        DeflateParams { server, client }
    }
}

/// The parameters that two ends agreed on: part of [`Negotiated`](crate::Negotiated). The default
/// has no takeover, and windows of 15 bits. For a connection without an HTTP handshake, build the
/// value yourself:
///
/// ```
/// # #[cfg(feature = "deflate")] {
/// use tickwire::{Config, Connection, Negotiated, deflate::{DeflateParams, Deflate, Direction}};
///
/// let server = Direction { takeover: true, ..Direction::default() };
/// let agreed = DeflateParams { server, ..DeflateParams::default() };
/// let config = Config { deflate: Some(Deflate::default()), ..Config::server() };
/// let conn = Connection::server(&config, Negotiated::from(agreed));
/// # let _ = conn;
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateParams {
    /// The parameters for messages of the server.
    pub server: Direction,
    /// The parameters for messages of the client.
    pub client: Direction,
}

impl DeflateParams {
    /// With a window of 8 to 15 bits, for messages of `sender`.
    pub(crate) fn of(&self, sender: Role) -> Direction {
        match sender {
            Role::Server => self.server.with_at_least(8),
            Role::Client => self.client.with_at_least(8),
        }
    }
}
