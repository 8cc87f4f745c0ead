//! [`Settings`]: how a loop waits, what a turn may take, and what all connections together may.
use std::time::Duration;

/// How a loop waits when nothing is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// The thread sleeps in the kernel. It takes no processor time while nothing happens.
    #[default]
    Sleep,
    /// The thread never sleeps. It asks the kernel again and again, and takes a whole core, which
    /// should be its own. A message is noticed without the time that it takes to wake a thread.
    Spin,
    /// The thread spins for this long after the last event, then sleeps.
    SpinFor(Duration),
}

/// The settings of a [`Loop`](crate::Loop). Each limit has a counter in
/// [`Counts`](crate::Counts).
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
    /// default 65,536. A connection above this limit is closed before a byte is read. Dialed
    /// connections do not count.
    ///
    /// Stops peers from taking all memory and all descriptors.
    pub max_connections: usize,

    /// The most accepted connections from one address that may exist at once; default 1,024. A
    /// connection above this limit is closed at once. Addresses of IPv6 count by their first 64
    /// bits, because one customer has all of these.
    ///
    /// Stops one peer from taking the places of all others. Set it lower if each peer has an
    /// address of its own. Behind a proxy all peers have one address, so set it to
    /// [`max_connections`](Self::max_connections).
    pub max_per_address: usize,

    /// The most accepted connections in their opening handshake, TLS included; default 1,024. One
    /// above it is accepted, and takes the place of the oldest, which is closed.
    ///
    /// Stops peers that begin a handshake and do not go on with it. The oldest goes because an
    /// honest handshake takes a few round trips. If the newest went, such peers could keep
    /// everybody out.
    pub max_handshakes: usize,

    /// The bytes that all connections together may have queued for sending; default 256 MiB. It
    /// counts messages in connections and in outboxes, and 16 KiB for the buffer of each
    /// connection whose stream takes no more.
    ///
    /// Stops many slow peers, each below its own bound, from filling memory. At the bound, the
    /// loop first writes what the streams take. If that is not enough, it disconnects the
    /// connections with the most queued bytes, with 1013, until 7/8 of the bound are queued.
    pub max_queued: usize,

    /// The most messages of one connection delivered in one turn; default 256. Pings, Pongs and
    /// Closes count.
    ///
    /// Stops a flood on one connection from keeping the others waiting.
    pub turn_messages: u32,

    /// The bytes that one turn reads from one connection, or more by one read; default 64 KiB.
    ///
    /// Stops large messages, and bytes of TLS without a message, from keeping the others waiting.
    pub turn_bytes: usize,

    /// How many open connections are kept whole; default 1,024. The others, which were not active
    /// for longest, are [dormant](tickwire::Dormant) while they are idle. A dormant connection
    /// takes about an eighth of the memory, and about 0.1 µs to make whole again.
    pub max_whole: usize,

    /// Whether to use io_uring (feature `io-uring`, Linux 6.1 and later); default `false`. Where the
    /// kernel refuses it, because it is older or a sandbox forbids it, the loop uses epoll, and
    /// [`uses_io_uring`](crate::Net::uses_io_uring) says so.
    ///
    /// The kernel then receives for many connections in one call, and sends for many in one. A
    /// loop on io_uring stays in the thread that first ran it: in another one, it fails. Bytes
    /// that arrived for a connection whose reading is paused take about 150 KiB of memory at most,
    /// or 544 KiB if they came at once.
    pub io_uring: bool,

    // Do not name this field. It makes `..` necessary, so that a new field breaks no program.
    #[doc(hidden)]
    pub more: (),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waiting: Waiting::default(),
            max_connections: 1 << 16,
            max_per_address: 1 << 10,
            max_handshakes: 1 << 10,
            max_queued: 256 << 20,
            turn_messages: 256,
            turn_bytes: 64 << 10,
            max_whole: 1 << 10,
            io_uring: false,
            more: (),
        }
    }
}

/// What a loop has done so far, and what it has now. Counters never decrease, unless they say "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections open now, in both roles, those that are closing included.
    pub open: usize,
    /// Accepted connections now, those in their handshake included.
    pub accepted_now: usize,
    /// Accepted connections in their opening handshake now.
    pub handshakes_now: usize,
    /// Bytes queued for sending now, as [`max_queued`](Settings::max_queued) counts them.
    pub queued: usize,
    /// Connections accepted, those closed for a limit included.
    pub accepted: u64,
    /// Connections closed at once, for [`max_connections`](Settings::max_connections).
    pub over_connections: u64,
    /// Connections closed at once, for [`max_per_address`](Settings::max_per_address).
    pub over_per_address: u64,
    /// Handshakes ended for a newer one, for [`max_handshakes`](Settings::max_handshakes).
    pub over_handshakes: u64,
    /// Connections disconnected for [`max_queued`](Settings::max_queued).
    pub over_queued: u64,
    /// Accepted connections that did not become open, for other reasons than a limit: a fault of
    /// TLS or HTTP, a deadline, an end of the stream, or the application's rejection.
    pub handshakes_failed: u64,
    /// Failed calls that accept a connection, for example because there were no descriptors left.
    /// The loop tries again after 100 ms.
    pub accept_failed: u64,
}
