//! Counts of a connection's traffic, in plain numbers. Without the feature `counters`,
//! `no_counters.rs` replaces this file.
use super::Receiver;

impl Receiver {
    /// Counts of the bytes received and consumed so far. Feature `counters`.
    pub fn counters(&self) -> Traffic {
        self.tally.traffic
    }
}

/// Counts of the traffic in one direction of a connection so far, for any metrics library. Counts
/// only grow. Feature `counters`.
///
/// A [`Receiver`] counts the messages that were received and consumed. A [`Sender`](crate::Sender)
/// counts the messages that were queued. Its `wire` and `calls` count written bytes and writes.
///
/// With this feature a connection is 144 bytes larger, and each message costs five to eight
/// instructions more (`cargo bench -p benches --bench instructions --features counters`).
///
/// ```
/// use tickwire::{Config, Connection, Negotiated};
///
/// let mut conn = Connection::server(&Config::default(), Negotiated::default());
/// conn.sender_mut().feed("hello")?;
/// let sent = conn.sender().counters();
/// assert_eq!((sent.messages, sent.payload), (1, 5));
/// # Ok::<(), tickwire::SendError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Complete data messages.
    pub messages: u64,
    /// Frames, control frames included.
    pub frames: u64,
    /// The payload bytes of data frames, as they are on the wire.
    pub payload: u64,
    /// All bytes read or written. They include a server's response to the opening request, unless
    /// an HTTP stack has written it.
    pub wire: u64,
    /// Reads or writes that moved at least one byte.
    pub calls: u64,
    /// Pings.
    pub pings: u64,
    /// Pongs.
    pub pongs: u64,
    /// The bytes of compressed messages before compression. `payload` counts the same messages
    /// compressed, as `packed` does.
    pub plain: u64,
    /// The bytes of compressed messages after compression.
    pub packed: u64,
}

/// Counts the traffic of one direction.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) traffic: Traffic,
}

impl Tally {
    /// Counts a frame with this first byte, and a message if the byte has FIN.
    #[inline(always)]
    pub(super) fn frame(&mut self, b0: u8, payload: usize) {
        self.traffic.frames += 1;
        match b0 & 0x0f {
            0x8 => {}
            0x9 => self.traffic.pings += 1,
            0xa => self.traffic.pongs += 1,
            _ => {
                self.traffic.messages += u64::from(b0 >> 7);
                self.traffic.payload += payload as u64;
            }
        }
    }

    /// Counts more payload of a frame that was counted before, and a message if the message ends
    /// there.
    #[inline(always)]
    pub(super) fn more(&mut self, payload: usize, last: bool) {
        self.traffic.messages += u64::from(last);
        self.traffic.payload += payload as u64;
    }

    /// Counts `plain` bytes that were compressed to `packed` bytes, or inflated from them.
    #[inline(always)]
    pub(super) fn packed(&mut self, plain: usize, packed: usize) {
        self.traffic.plain += plain as u64;
        self.traffic.packed += packed as u64;
    }

    /// Counts a read of `n` bytes.
    #[inline(always)]
    pub(super) fn read(&mut self, n: usize) {
        self.traffic.calls += u64::from(n > 0);
        self.traffic.wire += n as u64;
    }
}

/// Counts the writes from the outgoing buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Writes {
    pub(super) calls: u64,
    pub(super) bytes: u64,
}

impl Writes {
    /// Counts a write of `n` bytes; `n` is not 0.
    #[inline(always)]
    pub(super) fn add(&mut self, n: usize) {
        self.calls += 1;
        self.bytes += n as u64;
    }
}
