//! WebSockets (RFC 6455) for many small binary messages, as in market data, order entry, games and
//! devices.
//!
#![cfg_attr(all(doc, not(doctest)), doc = include_str!("../docs/CHEATSHEET.md"))]
//!
//! # Which call
//!
//! | to | call |
//! |---|---|
//! | receive | [`recv`]: the message is borrowed; [`Message::into_owned`] or [`recv_owned`] keeps it |
//! | act on only the newest message | [`recv_with_info`]: skip each message whose [`Info::more`] is set |
//! | answer each message | [`recv_to_reply`]: call [`feed`](Sender::feed) of the sender that comes with the message |
//! | see Pings and Closes | [`recv_event`]: they are answered automatically, unless [`Config`] says otherwise; `Events` is a `Stream` of these events |
//! | receive a message larger than memory | [`recv_chunk`]: chunks of the message, as they arrive |
//! | send a message larger than memory | [`ready`], [`feed_chunk`](Sender::feed_chunk) .. [`flush`]: `first` and `last` of a [`Chunk`] mark the first and the last chunk |
//! | send a message now | [`send`]: when `send` returns `Ok`, the stream has accepted the message |
//! | send several messages | [`feed`] .. [`flush`]: they are written together; if the buffer is full, `feed` fails, and [`ready`] waits for room |
//! | send one message to many peers | [`Prepared`] and [`feed`]: all peers share the payload, which is compressed once for each window size |
//! | limit how far a slow subscriber falls behind | [`Outbox`] of `tickwire-parts`: it feeds [`sender_mut()`] of a WebSocket, or the sender that [`with_sender`] of a `Writer` passes to a closure; its four policies are wait, drop, conflate, disconnect |
//! | check which website's page opens the connection | [`Origins`](handshake::server::Origins): [why to check](handshake::server#who-is-asking); the example `auth` |
//! | connect again | [`Backoff`] of `tickwire-parts`: random, growing delays; `Feed` or `Follower` of [`tickwire-feed`](#beside-this-crate) for a feed; the example `reconnect` |
//! | decide what to do after an error | [`Error::retry`] returns a [`Retry`]: connect again, tell a person, or stop |
//! | use short timeouts, as a trading client | [`Config::trading`]: it shortens the timeouts of the handshake, the heartbeat, writing and closing |
//! | end a connection to a peer that may be dead | [`leave`]: it ends within the time that you pass; `close` waits for the peer's answer |
//! | send a secret uncompressed | [`Outbound::plain`] and [`feed`]: if the message were compressed, its length could reveal the secret |
//! | build a message in the outgoing buffer | [`build`](Sender::build): no `Vec` for the message |
//! | overtake waiting messages | [`feed_first`](Sender::feed_first): for example, the cancellation of an order overtakes queued quotes |
//! | find a dead peer | [`Config::heartbeat`]; [`Config::server`] has one, and [`Heartbeat`] has presets |
//! | notice that a live peer sends no more data | [`Config::data_timeout`]: Pings do not count as data |
//! | send a message whenever none was sent for some time | [`Config::idle_message`]: some servers demand this; the recipes list the messages that exchanges ask for |
//! | send a Ping of your own | [`Sender::ping`] and [`flush`]: the peer's Pong is an [`Event`] |
//! | see the headers of the server's 101 | [`Request::on_response`](handshake::client::Request::on_response); those of a refusal are in [`Error::Refused`] |
//! | see the agreed subprotocol | [`Connection::negotiated`]; an adapter's `connection()` returns the [`Connection`] |
//! | measure the round trip | [`rtt`](Sender::rtt): the Pings of the heartbeat and of [`measure_rtt`] are timed |
//! | publish metrics, log | the features `counters` and `tracing`; a [recipe](guide::recipes::operations), [the events](guide::events) |
//! | record the bytes of a connection | [`tickwire-tap`](#beside-this-crate): for bug reports; a test can pass the recorded bytes to the core again |
//! | run a client against an exchange on a bad day | [`badday`](#beside-this-crate): days made of public bug reports, for any client |
//! | serve thousands of connections on one thread | [`tickwire-loop`]: an event loop for servers and clients |
//! | use two tasks or threads | [`into_split`]: the receiving half answers Pings |
//!
//! Four types have names that are easily confused:
//!
//! | | receives | sends |
//! |---|---|---|
//! | a state of the core, without a stream; a [`Connection`] has both | [`Receiver`] | [`Sender`] |
//! | a half of a split WebSocket, with its half of the stream | `Reader` of each adapter | `Writer` of each adapter |
//!
//! Four calls end a connection. Each sends our Close, unless one was queued before:
//!
//! | call | when | our Close leaves | what you fed | what the peer still sends | takes at most |
//! |---|---|---|---|---|---|
//! | [`close`] | you are done | behind everything fed | is written | a `WebSocket` drops it; after `close` of a `Writer` or [`Sender`] it is received | [`close_timeout`](Config::close_timeout) and a second; see there |
//! | [`leave`] | the peer may be dead, or you must be gone in time | at once | is dropped, except what has begun to leave | is dropped; after `leave` of a `Writer` or [`Sender`] it is received until the time is over | the time that you pass |
//! | [`abort`](Sender::abort) | the peer lives, but doesn't keep up with what waits for it (`Outbox` calls this) | at once | as with `leave` | is received, up to the peer's Close | as `close` |
//! | [`fail`](Connection::fail) | the peer broke a rule of yours | behind everything fed; at once, if the stream is blocked | is written; if the stream is blocked, as with `leave` | is dropped, and so is what has arrived | a few seconds |
//!
//! Afterwards [`closed`](Connection::closed) says how it ended, and
//! [`is_written`](Sender::is_written) what the peer may have. Dropping a WebSocket sends no
//! Close.
//!
//! The links lead to the `tokio` adapter. The other adapters have calls of the same names, except
//! [these](guide::recipes).
//!
//! [`recv`]: crate::tokio::WebSocket::recv
//! [`recv_owned`]: crate::tokio::WebSocket::recv_owned
//! [`recv_to_reply`]: crate::tokio::WebSocket::recv_to_reply
//! [`recv_with_info`]: crate::tokio::WebSocket::recv_with_info
//! [`recv_event`]: crate::tokio::WebSocket::recv_event
//! [`recv_chunk`]: crate::tokio::WebSocket::recv_chunk
//! [`send`]: crate::tokio::WebSocket::send
//! [`feed`]: crate::tokio::WebSocket::feed
//! [`flush`]: crate::tokio::WebSocket::flush
//! [`ready`]: crate::tokio::WebSocket::ready
//! [`measure_rtt`]: crate::tokio::WebSocket::measure_rtt
//! [`close`]: crate::tokio::WebSocket::close
//! [`leave`]: crate::tokio::WebSocket::leave
//! [`into_split`]: crate::tokio::WebSocket::into_split
//! [`sender_mut()`]: crate::tokio::WebSocket::sender_mut
//! [`with_sender`]: crate::tokio::Writer::with_sender
//! [`connect`]: crate::tokio::connect()
//! [`client`]: crate::tokio::client
//! [`accept`]: crate::tokio::accept
//! [`Incoming`]: crate::tokio::Incoming
//! [`Outbox`]: https://docs.rs/tickwire-parts/latest/tickwire_parts/struct.Outbox.html
//! [`Backoff`]: https://docs.rs/tickwire-parts/latest/tickwire_parts/struct.Backoff.html
//!
//! # Where to read on
//!
//! - A client: [`connect`], or [`Dial`] with options. A server: [`accept`], or [`Incoming`] to see
//!   the request first. On threads: the same calls in [`blocking`]. On other runtimes:
//!   [`futures_io`].
//! - [`Config`]: limits, heartbeat and timeouts, [all with their defaults](guide::limits)
//! - [Recipes](guide::recipes): [reconnect](guide::recipes::feeds#reconnect), [dead
//!   peers](guide::recipes::feeds#find-a-dead-peer), [slow
//!   subscribers](guide::recipes::servers#a-subscriber-that-is-too-slow),
//!   [`wss`](guide::recipes::servers#serve-wss), [cancel
//!   safety](guide::recipes::servers#cancel-safety),
//!   [shutdown](guide::recipes::operations#shut-down-gracefully) and more
//! - [`tls`]: providers, roots, certificates of your own
//! - [Migrating](guide::migrating) from tungstenite and other crates, with symptoms of typical
//!   problems
//! - [What the events of `tracing` say](guide::events), and [what we chose where the RFCs leave a
//!   choice](guide::choices)
//!
//! # Beside this crate
//!
//! | crate | for |
//! |---|---|
//! | [`tickwire-parts`] | queues for slow subscribers, delays before reconnecting |
//! | [`tickwire-loop`] | thousands of connections on one thread: servers and clients |
//! | [`tickwire-axum`] | a server with axum |
//! | [`tickwire-http`] | hyper and other HTTP stacks, HTTP/2 |
//! | [`tickwire-tungstenite`] | programs that now use tungstenite or tokio-tungstenite |
//! | `tickwire-feed`, in the repository: no such crate is on the registry | clients that follow a market data feed |
//! | `tickwire-tap`, in the repository: no such crate is on the registry | recording the bytes of a connection, and replaying them |
//! | `badday`, in the repository: no such crate is on the registry | testing your client against an exchange on a bad day |
//!
//! [`tickwire-parts`]: https://docs.rs/tickwire-parts/latest/tickwire_parts/index.html
//! [`tickwire-loop`]: https://docs.rs/tickwire-loop/latest/tickwire_loop/index.html
//! [`tickwire-axum`]: https://docs.rs/tickwire-axum/latest/tickwire_axum/index.html
//! [`tickwire-http`]: https://docs.rs/tickwire-http/latest/tickwire_http/index.html
//! [`tickwire-tungstenite`]:
//!     https://docs.rs/tickwire-tungstenite/latest/tickwire_tungstenite/index.html
//! [`futures_io`]: crate::futures_io
//! [`tls`]: crate::tls
//!
//! # How it works
//!
//! - A **sans-IO core** ([`Connection`], [`handshake`]): the caller passes
//!   bytes, time and entropy, so the core runs under any runtime, in a test, in a fuzzer, and
//!   without `std`.
//! - Three thin adapters, `tokio`, `blocking` and `futures_io`. They contain no protocol rule.
//! - A received message is **borrowed**: it is a slice of the buffer that the stream was read into.
//!   (Over `wss`, the decrypted bytes are copied, once in place and three times through rustls.) A
//!   compressed message is a slice of the buffer that it was inflated into. In steady state
//!   nothing is allocated, and a batch of messages costs one read and one write.
//! - The crate makes every check that the RFC requires, and limits everything that grows with a
//!   peer's input. Each violation has a precise error for you, and a close code for the peer.
//!
//! ```text
//! socket -> spare_mut | commit -> step -> message()    a slice of the receive buffer, unmasked
//!                                    |
//!                                    v replies
//! socket <- outgoing() <- Sender <- feed               one copy, during which a client masks
//! ```
//!
//! [`Sender::outgoing`] returns a [`Buf`](bytes::Buf): write its chunks, and `advance` it by the
//! number of bytes that the socket accepted.
//!
//! # Your own I/O
//!
//! ```
//! use bytes::Buf;
//! use tickwire::{Config, Connection, Event, Message, Negotiated, Next, Time};
//!
//! let mut server = Connection::server(&Config::server(), Negotiated::default());
//! let wire = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; // "Hello", masked (§5.7)
//! let mut wrote = Vec::new();
//! for _ in 0..3 {
//!     match server.next(Time::ZERO) {
//!         Next::Read(rx) => {
//!             rx.spare_mut()[..wire.len()].copy_from_slice(wire);
//!             rx.commit(wire.len());
//!         }
//!         Next::Event(Event::Message(message), tx) => {
//!             assert_eq!(message, Message::Text("Hello"));
//!             tx.feed(message)?;
//!         }
//!         Next::Write(mut out) => {
//!             wrote.extend_from_slice(out.chunk());
//!             out.advance(out.remaining());
//!         }
//!         _ => {} // a control frame, a wait, or the end
//!     }
//! }
//! assert_eq!(wrote, b"\x81\x05Hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The documentation of [`Connection`] shows the whole loop.
//!
//! # Left to you
//!
//! - **Reconnecting.** Only the application knows what has to happen after a connect: how to log
//!   in, what to subscribe to, and what to do about missed data. `Backoff` of the crate
//!   `tickwire-parts` says whether to try again, and when. `Follower` of
//!   [`tickwire-feed`](#beside-this-crate) says when to dial and leave the servers of a feed
//!   (example `reconnect`).
//! - **The number of connections.** This crate limits the cost of each connection, and your accept
//!   loop must limit the number of connections. The example `bounded` has four limits: for the
//!   handshakes in progress and for the number of peers, each in total and per address.
//! - **Acknowledged delivery, rooms.** The examples `ack` and `rooms` show both in little code.
//!
//! # Guarantees
//!
//! - Nothing that a peer sends makes this crate panic or hang. A connection's memory stays within a
//!   small multiple of the limits in [`Config`], which are finite by default. Memory grows with the
//!   bytes received, never with the length that a header announces. [The memory that each kind of
//!   attack takes](guide::limits#what-a-peer-can-make-a-connection-keep) is measured.
//! - Messages received before a violation, a broken stream or a failed write are still delivered.
//!   After the last of these messages, the next receiving call returns the error, or `None` if the
//!   peer's Close came before the failure.
//! - Every byte of a fed message is written, waits, or is dropped.
//!   [`buffered_amount`](Sender::buffered_amount) counts the waiting bytes, including control
//!   frames. [`dropped`](Sender::dropped) counts the dropped bytes.
//!   [`is_written`](Sender::is_written) says whether a given message is written.
//! - Every future of an open connection can be dropped at any point: no bytes are lost or sent
//!   twice. (The only exception is a `send` that you drop before it has queued its message: this
//!   message is not sent.) Dropping a future of a handshake drops the handshake's stream.
//! - A connection builds no illegal frame: close codes, reasons and control payloads are checked
//!   before a byte is queued. A [`Text`] is always valid UTF-8.
//! - The adapters give each client its own generator of masking keys (`SystemEntropy`): ChaCha12,
//!   seeded by the operating system. If a program makes the [`Connection`] itself, it chooses the
//!   [`Entropy`].
//! - On Linux, a write to a peer that is gone fails with an error, and raises no SIGPIPE, which
//!   would end the process. `sigpipe_is_ignored` lists the exceptions.
//! - `unsafe` is in one file, `src/proto/kernel.rs`, for two purposes. One is to call functions
//!   compiled for AVX2, after a check of the CPU. The other is to make a `str` from validated
//!   bytes.
//!
//! # Features
//!
//! | feature | default | gives |
//! |---|---|---|
//! | `client` | yes | what only a client needs: `connect` and `client` of each adapter, `Dial` and `Proxy`, masking keys from the operating system's entropy (`SystemEntropy`); with `rustls`, the platform's roots (`tls::platform_config`) |
//! | `tokio` | yes | the `tokio` adapter |
//! | `blocking` | no | the `blocking` adapter, for threads |
//! | `futures` | no | the `futures_io` adapter for smol and other runtimes; `Stream` and `Sink` of [`OwnedMessage`]s for its WebSockets and those of `tokio`, and of [`OwnedEvent`]s for a WebSocket wrapped in `Events` |
//! | `rustls` | no | `wss` in the `connect` of `tokio` and `blocking`, a TLS stream for each of these two adapters, and the module `tls`; by rustls 0.23, whose types the API has only in conversions; without a cryptographic provider |
//! | `ring` | no | `rustls`, and ring as the provider of programs that install no other; compiles C code |
//! | `in-place` | no | `rustls`, and `in_place` of its configurations: this crate then opens and seals the records of TLS 1.3, and not rustls |
//! | `deflate` | no | permessage-deflate (RFC 7692) over `zlib-rs`; a connection compresses only if [`Config`] enables compression and the peer agrees |
//! | `counters` | no | counts of the messages, bytes, frames, reads, writes, Pings and Pongs of each connection |
//! | `tracing` | no | handshakes, Closes and violations as [events](guide::events) of the crate `tracing`; at level TRACE, also each message |
//! | `stamps` | no | on Linux, `Timestamped` gets the kernel's time of arrival for each read |
//! | `std` | by the others | for a loop of your own: `Error`, vectored output, detection of CPU features |
//!
//! | a program that | has in its Cargo.toml |
//! |---|---|
//! | connects, or connects and serves, under tokio | the default features; for `wss` with `ring` |
//! | only serves under tokio, or a library that is given its streams | `default-features = false, features = ["tokio"]`; for `wss` with `rustls` |
//! | connects from threads | `default-features = false, features = ["blocking", "client"]` |
//! | connects under smol | `default-features = false, features = ["client", "futures"]` |
//! | drives the core, without `std` | `default-features = false` |
//!
//! If an item is missing, the compiler's error names the feature that has it.
//!
//! `wss` needs a cryptographic provider, and tickwire never installs one. If no other crate of your
//! program brings one, enable `ring`. Otherwise enable `rustls`, and let `main` begin by installing
//! a provider, for example by
//! `rustls::crypto::aws_lc_rs::default_provider().install_default().expect("no other default")`;
//! the module `tls` shows more. A library built on tickwire should enable `rustls`, not `ring`.
//!
//! Features are additive. If a part of a feature gets a feature of its own, the old one brings the
//! new one along. Without features, the crate consists of the core, is `no_std` and needs `alloc`.
//! The crate `tickwire-http` is for hyper and similar stacks, and `tickwire-axum` is for axum.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without an adapter, or without clients, much has no caller. A build with all of these features
// finds what no build uses.
#![cfg_attr(
    not(all(feature = "blocking", feature = "client", feature = "tokio")),
    allow(dead_code, unused_imports)
)]
// The links above lead to the guide and to all adapters.
#![cfg_attr(
    not(all(
        feature = "blocking",
        feature = "client",
        feature = "futures",
        feature = "rustls",
        feature = "tokio"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(all(feature = "client", any(feature = "blocking", feature = "tokio")))]
mod dial;
#[cfg(any(feature = "blocking", feature = "_task"))]
mod drive;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "futures")]
pub mod futures_io;
// The guide's examples need all features listed here. docs.rs and the tests turn these features on,
// and the tests compile the examples.
#[cfg(all(
    any(doc, doctest),
    feature = "blocking",
    feature = "client",
    feature = "counters",
    feature = "deflate",
    feature = "futures",
    feature = "rustls",
    feature = "stamps",
    feature = "tokio"
))]
pub mod guide;
mod proto;
#[cfg(feature = "std")]
mod socket;
#[cfg(feature = "rustls")]
pub mod tls;
#[cfg(all(any(feature = "blocking", feature = "tokio"), not(feature = "rustls")))]
#[path = "tls/off.rs"]
mod tls;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "std")]
pub use crate::{
    error::Error,
    socket::{sigpipe::sigpipe_is_ignored, timestamped::Timestamped},
};
#[cfg(all(feature = "client", any(feature = "blocking", feature = "tokio")))]
pub use dial::{Dial, proxy::Proxy};
#[cfg(any(feature = "blocking", feature = "_task"))]
pub use drive::received::Received;
#[cfg(feature = "futures")]
pub use drive::task::streams::Events;
#[cfg(feature = "counters")]
pub use proto::connection::counters::Counters;
#[doc(hidden)]
pub use proto::connection::order;
#[cfg(feature = "deflate")]
pub use proto::deflate;
#[cfg(feature = "client")]
pub use proto::entropy::system::SystemEntropy;
pub use proto::{
    close::{CloseCode, CloseFrame, IntoClose, InvalidCloseCode, OwnedCloseFrame},
    code::Retry,
    config::{Config, Heartbeat, Negotiated},
    connection::{
        Closed, Connection, Dormant, Ending, MessageWriter, Next, Outgoing, Position, ReadyState,
        Receiver, Report, RoundTrip, Sender, Step, Wait,
    },
    entropy::Entropy,
    error::{ProtocolError, RecvError, SendError},
    event::OwnedEvent,
    handshake,
    kernel::Text,
    message::{Arrival, Chunk, DataKind, Event, Info, Message, OwnedMessage},
    outbound::{IntoOutbound, Outbound, prepared::Prepared},
    role::Role,
    time::Time,
    url,
};

// For `tickwire-tungstenite`, which has frames in its API, and for benches. A program that speaks
// WebSocket has no use for a header or a masker without the checks of a `Connection`.
#[doc(hidden)]
pub use proto::{frame, mask};

/// Internals for fuzz targets. Users cannot reach them.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::dial::proxy::dialogue::{Address, Dialogue};
}

/// The README's examples are compiled and run with the tests.
#[cfg(all(doctest, feature = "client", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
