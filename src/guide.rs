//! Pages of documentation. This module has no functions or types, and adds nothing to a program.

// If a link is defined twice, rustdoc uses the first definition, which is in this file. The
// included file defines the same links again for readers of the repository.
/// Code for common jobs, such as reconnecting, slow subscribers, TLS and shutdown.
///
/// [feeds]: crate::guide::recipes::feeds
/// [servers]: crate::guide::recipes::servers
/// [browsers]: crate::guide::recipes::browsers
/// [socketio]: crate::guide::recipes::socketio
/// [operations]: crate::guide::recipes::operations
/// [latency]: crate::guide::recipes::latency
/// [devices]: crate::guide::recipes::devices
/// [testing]: crate::guide::recipes::testing
/// [loop]: https://docs.rs/tickwire-loop/latest/tickwire_loop/design/index.html
///
#[doc = include_str!("../docs/recipes/README.md")]
pub mod recipes {
    /// Find a dead peer, reconnect, and know which orders were sent.
    ///
    #[doc = include_str!("../docs/recipes/feeds.md")]
    pub mod feeds {}

    /// Many or slow subscribers, tasks and threads, TLS, access control.
    ///
    #[doc = include_str!("../docs/recipes/servers.md")]
    pub mod servers {}

    /// Web pages, phones, proxies and load balancers.
    ///
    #[doc = include_str!("../docs/recipes/browsers.md")]
    pub mod browsers {}

    /// Serve clients of Socket.IO, or leave Socket.IO.
    ///
    #[doc = include_str!("../docs/recipes/socketio.md")]
    pub mod socketio {}

    /// Shutdown, metrics, logs, compression, a million connections.
    ///
    #[doc = include_str!("../docs/recipes/operations.md")]
    pub mod operations {}

    /// Settings for low latency in the program and in the system, and measurements.
    ///
    #[doc = include_str!("../docs/recipes/latency.md")]
    pub mod latency {}

    /// A client without an operating system, in 64 KiB of memory.
    ///
    #[doc = include_str!("../docs/recipes/devices.md")]
    pub mod devices {}

    /// Tests without sockets and without waiting.
    ///
    #[doc = include_str!("../docs/recipes/testing.md")]
    pub mod testing {}
}

/// Every limit and deadline with its default, and how much memory a peer can fill.
///
#[doc = include_str!("../docs/LIMITS.md")]
pub mod limits {}

/// Symptoms of typical problems, and the calls of other crates with their counterparts here.
///
#[doc = include_str!("../docs/MIGRATING.md")]
pub mod migrating {}

/// What the events of the feature `tracing` say, and when they come.
///
/// All have the target `tickwire`.
///
/// | level | event | fields | when |
/// |---|---|---|---|
/// | DEBUG | opening handshake done | `role`, `path`, `subprotocol` | `subprotocol`: only at a server that has chosen a subprotocol |
/// | INFO | opening handshake failed | `role`, `error`, `status` | also for a failure at a proxy; `status`: the HTTP status of the response, only at a server |
/// | TRACE | message received | `role`, `payload` | a message or a chunk arrived; `payload`: its length in bytes |
/// | TRACE | message queued | `role`, `payload` | a message or a chunk was fed; `payload`: its length in bytes, after compression |
/// | DEBUG | Close received | `role`, `code`, `reason` | `code`: 1005 for a Close without a code |
/// | DEBUG | Close queued | `role`, `code` | our Close is queued: as the first Close of the connection, or as the answer to the peer's Close |
/// | INFO | connection failed | `role`, `error`, `code` | receiving ended because of a violation, a limit, `data_timeout` or [`fail`](crate::Connection::fail); `code`: the close code for `error`; our Close carries this code, unless a Close was queued before |
/// | INFO | dropped with messages unsent | `role`, `unsent` | a connection, or both halves of a split connection, were dropped before all fed messages were written; `unsent`: the unwritten bytes of these messages, headers included |
/// | DEBUG | connection ended | `role`, `error` | receiving ended because a deadline other than `data_timeout` passed, or the stream ended without a Close |
///
/// `role` is `Client` or `Server`: the end that reports the event. Text from the peer is cut at 64
/// bytes, then escaped. Events never show payloads of messages, queries of URLs or header values,
/// except the subprotocol that a server has chosen.
///
/// Events do not identify the connection, because the core has no name for a connection. Put a span
/// of your own around the connection's calls, or on the task that owns the connection
/// (`.instrument(info_span!("feed", %peer))`). If the connection is split, put the span on the
/// tasks of both halves.
///
/// Some errors are in no event: failures before the handshake (the URL, the lookup of a name,
/// dialing, TLS), and errors that the operating system reports for a stream. Log these errors
/// yourself: the call that fails returns them. A request that a server's application rejects with a
/// [`Rejection`](crate::handshake::server::Rejection) of its own is in no event either.
pub mod events {}

/// What we chose where the RFCs leave a choice, and why.
///
/// - Up to 16 Pings that wait for a Pong are answered individually, because test suites expect a
///   Pong for each Ping. If more Pings wait, or if their payloads reach
///   [`high_water`](crate::Config::high_water) bytes, only the newest Ping is answered, as §5.5.3
///   allows. So a flood of Pings cannot fill memory with Pongs.
/// - The Close that reports a violation follows the replies to earlier messages, because these
///   messages were legal. But if the stream refuses bytes while replies wait, the unwritten replies
///   are dropped, so that the Close can leave. Otherwise the connection might end before a slow
///   peer learns of its violation.
/// - The answer to a Close repeats the code of that Close, but not the reason. (§5.5.1 asks only
///   for the code, and only "typically".)
/// - For the heartbeat, not only a Pong but every received byte is a sign of life. A peer that is
///   busy with sending a large message may answer a Ping late, but is not dead.
/// - A peer that sends no data for [`data_timeout`](crate::Config::data_timeout) gets a Close with
///   1001 (going away). This code fits, because the peer has broken no rule, and this end leaves.
/// - A message beyond one of our limits closes the connection. The close code is 1009 if the
///   message or one of its frames is too long, and 1008 if the message has too many fragments.
/// - The unused bits of the last base64 digit of a Sec-WebSocket-Key may have any value, because
///   base64 decoders may ignore these bits. A key that is not base64 of 16 bytes is refused.
/// - A request without an Origin passes an allow-list of origins, because the list is there to stop
///   foreign web pages, and no browser leaves out the Origin of a page.
///   [`required`](crate::handshake::server::Origins::required) refuses these requests.
/// - Blanks around `=` in Sec-WebSocket-Extensions are accepted, but never written. Names of
///   extensions match without regard to case.
/// - If a server and its client share no subprotocol, the server accepts the request and chooses no
///   subprotocol, because many programs expect this. (A browser then fails the connection, if the
///   page asked for a subprotocol.) A client can
///   [require](crate::handshake::client::Request::require_subprotocol) a subprotocol.
/// - [A table](crate::handshake#heads) lists the accepted and the refused forms of HTTP heads.
pub mod choices {}

/// The crate's own page has the cheat sheet. Its examples are compiled here, because they need all
/// of the features that this module needs.
#[cfg(doctest)]
#[doc = include_str!("../docs/CHEATSHEET.md")]
struct CheatSheet;
