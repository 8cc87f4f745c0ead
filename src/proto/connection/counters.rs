//! Counts a connection's traffic.
use super::Receiver;

impl Receiver {
    /// Returns counts of the traffic received so far. Feature `counters`.
    pub fn counters(&self) -> Counters {
        self.kept.counters
    }
}

/// Counts of the traffic so far in one direction of a connection, for any metrics library. No count
/// ever decreases. Feature `counters`.
///
/// A [`Receiver`] counts frames as `step` processes them. A [`Sender`](crate::Sender) counts frames
/// as it encodes them, before they are written. `wire` and `calls` grow when the stream is read or
/// written.
///
/// With this feature a connection holds these counts for each direction, and each message costs
/// five to eight instructions more (`cargo bench -p benches --bench instructions --features
/// counters`).
///
/// ```
/// use tickwire::{Config, Connection, Negotiated};
///
/// let mut conn = Connection::server(&Config::server(), Negotiated::default());
/// conn.sender_mut().feed("hello")?;
/// let sent = conn.sender().counters();
/// assert_eq!((sent.messages, sent.payload), (1, 5));
/// # Ok::<(), tickwire::SendError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Complete data messages.
    pub messages: u64,
    /// Frames, control frames included.
    pub frames: u64,
    /// The payload bytes of data frames, as they are on the wire.
    pub payload: u64,
    /// All bytes read or written. A server's response to the opening request counts, unless an HTTP
    /// stack has written it.
    pub wire: u64,
    /// Reads or writes that moved at least one byte.
    pub calls: u64,
    /// Pings.
    pub pings: u64,
    /// Pongs.
    pub pongs: u64,
    /// The size of the compressed messages before compression, in bytes. `payload` counts these
    /// messages by their compressed size, as `packed` does.
    pub plain: u64,
    /// The size of the compressed messages after compression, in bytes.
    pub packed: u64,
}

impl Counters {
    /// A data frame with FIN counts as a message too.
    #[inline(always)]
    pub(super) fn frame(&mut self, b0: u8, payload: usize) {
        self.frames += 1;
        match b0 & 0x0f {
            0x8 => {} // A Close has no count of its own.
            0x9 => self.pings += 1,
            0xa => self.pongs += 1,
            _ => {
                self.messages += u64::from(b0 >> 7);
                self.payload += payload as u64;
            }
        }
    }

    /// `last`: the message ends with this payload, and counts too.
    #[inline(always)]
    pub(super) fn more(&mut self, payload: usize, last: bool) {
        self.messages += u64::from(last);
        self.payload += payload as u64;
    }

    #[inline(always)]
    pub(super) fn packed(&mut self, plain: usize, packed: usize) {
        self.plain += plain as u64;
        self.packed += packed as u64;
    }

    #[inline(always)]
    pub(super) fn read(&mut self, n: usize) {
        self.calls += u64::from(n > 0);
        self.wire += n as u64;
    }
}

/// What was written from the outgoing buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Writes {
    pub(super) calls: u64,
    pub(super) bytes: u64,
}

impl Writes {
    /// `n` is not 0.
    #[inline(always)]
    pub(super) fn add(&mut self, n: usize) {
        self.calls += 1;
        self.bytes += n as u64;
    }
}
