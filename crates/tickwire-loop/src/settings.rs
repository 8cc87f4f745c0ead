//! [`Settings`]: how a loop waits, and the limits of a turn and of all connections together.
use std::time::Duration;

/// How a loop waits while there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// The thread sleeps in the kernel. It uses no processor time while nothing happens.
    #[default]
    Sleep,
    /// The thread never sleeps. It asks the kernel again and again, and uses all the time of a
    /// core, so give it a core of its own. Spinning saves the time that the kernel takes to wake a
    /// thread for a message.
    Spin,
    /// The thread spins for this long after something happened, then sleeps.
    SpinFor(Duration),
}

/// The settings of a [`Loop`](crate::Loop). [`Counts`](crate::Counts) has a counter for each limit
/// on connections, on handshakes, on queued bytes and on received bytes.
///
/// ```
/// use tickwire_loop::{Settings, Waiting};
///
/// let settings = Settings { waiting: Waiting::Spin, max_per_address: 32, ..Settings::default() };
/// ```
///
/// The `..` is necessary because later versions add fields.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the loop waits; default [`Waiting::Sleep`].
    pub waiting: Waiting,

    /// The most accepted connections that may exist at once, including those in their handshake;
    /// default 65,536, at least 1. A connection above this limit is closed before a byte is read.
    /// Dialed connections do not count.
    ///
    /// This limit stops peers from using up all memory and all file descriptors.
    pub max_connections: usize,

    /// The most accepted connections from one address that may exist at once; default 1,024, at
    /// least 1. A connection above this limit is closed at once, and its peer sees only a reset, or
    /// the end of the stream. To answer with a status instead, count the connections of each
    /// [`peer_addr`](crate::Net::peer_addr) in the handler, and reject the request. A connection
    /// counts until the loop has noticed its end. IPv6 addresses with the same first 64 bits count
    /// as one address, because one customer usually has all of them.
    ///
    /// This limit stops one peer from using up the places of all others. Set it lower if each peer
    /// has an address of its own. Behind a proxy all peers have one address, so let the proxy name
    /// them ([`Door::proxy_protocol`](crate::Door::proxy_protocol)), or set the limit to
    /// [`max_connections`](Self::max_connections).
    pub max_per_address: usize,

    /// The most opening handshakes, TLS included, that may be under way at once; default 4,096, and
    /// 0 counts as 1. A connection takes one of these places when its first bytes come, and keeps
    /// the place until it is open, rejected or deferred. Four times as many others may be silent,
    /// or wait for a place.
    ///
    /// While no place is free, or too many others are silent or wait, the loop accepts nothing. New
    /// connections then wait in the kernel's queue; accepted connections wait in the loop. A
    /// handshake that has a place is closed only at its
    /// [`handshake_timeout`](tickwire::Config::handshake_timeout), never to make room for others.
    /// The loop closes connections that have sent nothing for 2 s, but only if too many are silent.
    /// At most `max_handshakes` requests may be [deferred](crate::Answer::defer). If one more is
    /// deferred, the loop rejects it with 503.
    ///
    /// Each address has a share of `max_handshakes` for its connections that are not open yet: an
    /// eighth of it, but at least 8. A further connection is closed at once. This share does not
    /// apply if [`max_per_address`](Self::max_per_address) is at least
    /// [`max_connections`](Self::max_connections), as behind a proxy.
    ///
    /// This limit stops peers that never finish their handshakes from filling the memory. The
    /// default comes from the memory that a handshake takes. We measured 3 KB over `ws`, up to 10
    /// KB over `wss`, and 70 KB with a request that is almost as long as
    /// [`max_head`](tickwire::Config::max_head). So 4,096 handshakes take about 290 MB at most. A
    /// silent connection takes 1 KB, or 3.3 KB over `wss`.
    pub max_handshakes: usize,

    /// The bytes that all connections together may have queued for sending; default 256 MiB. The
    /// count includes messages in connections and in outboxes, and 16 KiB for the buffer of each
    /// connection that has unwritten bytes after its turn.
    ///
    /// This limit stops many slow peers, each below its own limit, from filling the memory. Above
    /// the limit, the loop first writes what the streams accept. If that is not enough, it
    /// disconnects the connections with the most queued bytes, until at most 7/8 of the limit are
    /// queued. A Close with 1013 is sent only if the stream accepts it at once.
    pub max_queued: usize,

    /// The bytes that all open connections together may hold in messages that have not wholly
    /// arrived; default 256 MiB. The limit is on memory, so inflated bytes and ciphertext count.
    /// Bytes that rustls holds do not count: some 30 KiB for each connection whose records are not
    /// opened in place. Nor do bytes that io_uring has received for a connection that does not
    /// read: see [`io_uring`](Self::io_uring).
    ///
    /// This limit stops many peers that each begin a long message from filling the memory. Once all
    /// connections together hold half of the limit, each reads only until it holds an equal share
    /// of this half. Above 5/8 of the limit, the share is at most 128 KiB. Above 11/16 of it, a
    /// connection reads only if it holds nothing. But the stopped connection whose message began
    /// first reads on until this message has ended. So the messages of stopped connections end in
    /// turn. If this connection receives nothing for a second, and there is room, the next
    /// connection reads. If the limit stops a connection for its
    /// [`frame_timeout`](tickwire::Config::frame_timeout) in all before its message ends, the loop
    /// closes the connection with 1013. With these rules, all connections together exceed 11/16 of
    /// the limit by at most two messages, and for each connection about
    /// [`read_buffer`](tickwire::Config::read_buffer) bytes (17 KiB over io_uring), however long
    /// its reads were before. Over TLS, partial records take up to 32 KiB more for each connection.
    /// Compression is an exception: one read may inflate to
    /// [`max_message`](tickwire::Config::max_message), so each connection that has agreed on it may
    /// hold as much. What counts are the bytes in use: for a message above 256 KiB, up to as many
    /// again may be reserved, but not touched.
    pub max_received: usize,

    /// The most messages that one turn of a connection delivers; default 256, and 0 counts as 1.
    /// Each Ping, Pong and Close counts as a message, and each full 4 KiB of a message count as one
    /// more message.
    ///
    /// This limit stops a flood on one connection from keeping the others waiting.
    pub turn_messages: u32,

    /// After this number of bytes, a turn reads no more from its connection; default 64 KiB, and 0
    /// counts as 1. The last read may exceed this number. If a turn has delivered its input and
    /// then finds more to read, it may go on for 4 ns for each byte of this limit, including the
    /// handler's time.
    ///
    /// This limit stops large messages from keeping the other connections waiting. It also stops
    /// work that takes more time than its bytes suggest, such as TLS records without a message,
    /// KeyUpdates and inflating.
    pub turn_bytes: usize,

    /// The number of open connections that stay whole in memory while they are idle; default 1,024.
    /// If more are whole, the loop takes the idle connection that has been whole the longest, and
    /// makes it [dormant](tickwire::Dormant), to save memory. Together, becoming dormant and
    /// becoming whole again take about 0.2 µs. Set a higher number if more connections than this
    /// number are always active, and time counts for more than memory.
    pub max_whole: usize,

    /// **Unstable**, and no part of what 1.0 promises: any release may change or remove it.
    ///
    /// Whether to use io_uring (feature `unstable-io-uring`, Linux 6.1 and later on x86-64 and
    /// aarch64); default `false`. If the kernel is older, or a sandbox forbids io_uring, the loop
    /// uses epoll.
    /// [`uses_io_uring`](crate::Net::uses_io_uring) tells which of the two is used.
    ///
    /// With io_uring, one call receives for many connections, and one call sends for many. A loop
    /// on io_uring has to stay in the thread that ran it first; in another thread, running it
    /// fails. For each paused connection, received bytes can use about 150 KiB of memory, or 544
    /// KiB if they arrive in one burst.
    pub io_uring: bool,

    // Makes `..` necessary in each program, so that a later field breaks none.
    #[doc(hidden)]
    pub more: (),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waiting: Waiting::default(),
            max_connections: 1 << 16,
            max_per_address: 1 << 10,
            max_handshakes: 1 << 12,
            max_queued: 256 << 20,
            max_received: 256 << 20,
            turn_messages: 256,
            turn_bytes: 64 << 10,
            max_whole: 1 << 10,
            io_uring: false,
            more: (),
        }
    }
}

/// The counters of a loop, and its current numbers. A value never decreases, unless its description
/// says "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections open now: accepted and dialed connections, even if they are closing.
    pub open: usize,
    /// Accepted connections that exist now, including those in their handshake.
    pub accepted_now: usize,
    /// Accepted connections in their opening handshake now: those that are silent, wait for a place
    /// of [`max_handshakes`](Settings::max_handshakes), have a place, or are deferred.
    pub handshakes_now: usize,
    /// Accepted connections that wait now for a place for their handshake. The loop cannot count
    /// connections that wait in the kernel: see [`held`](Self::held).
    pub waiting: usize,
    /// Requests that are [deferred](crate::Answer::defer) now.
    pub deferred: usize,
    /// Bytes queued for sending now, as [`max_queued`](Settings::max_queued) counts them.
    pub queued: usize,
    /// Bytes that open connections hold now, as [`max_received`](Settings::max_received) counts
    /// them.
    pub received: usize,
    /// Connections accepted, including those that a limit closed.
    pub accepted: u64,
    /// Connections closed at once because of [`max_connections`](Settings::max_connections).
    pub over_connections: u64,
    /// Connections closed at once because of [`max_per_address`](Settings::max_per_address), or
    /// because their address had used up its share of [`max_handshakes`](Settings::max_handshakes).
    pub over_per_address: u64,
    /// The number of times that the loop left connections in the kernel's queue because of
    /// [`max_handshakes`](Settings::max_handshakes).
    pub held: u64,
    /// Connections closed because they had sent nothing for 2 s while others waited: see
    /// [`max_handshakes`](Settings::max_handshakes).
    pub evicted: u64,
    /// Connections disconnected because of [`max_queued`](Settings::max_queued).
    pub over_queued: u64,
    /// Connections closed because of [`max_received`](Settings::max_received).
    pub over_received: u64,
    /// Connections that ended because their [outbox](crate::Net::set_outbox) had disconnected them.
    pub disconnected: u64,
    /// Accepted connections whose opening handshake failed: because of an error in TLS or HTTP, a
    /// deadline, the end of the stream or an error of [`prepare`](crate::Door::prepare)'s hook, or
    /// because the application rejected the request, for example with 404 for a wrong path.
    pub handshakes_failed: u64,
    /// [Health checks](crate::Door::health_check) answered. They do not count as failed handshakes.
    pub health_checks: u64,
    /// Calls that failed to accept a connection, for example because no file descriptor was left.
    /// After a failed call, the loop tries again in 100 ms.
    pub accept_failed: u64,
}
