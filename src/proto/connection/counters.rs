//! Counts of the traffic of a connection, in plain numbers. Without the feature `counters`,
//! `no_counters.rs` takes the place of this.
use super::Receiver;

impl Receiver {
    /// Counts of the bytes received and consumed so far. Feature `counters`.
    pub fn counters(&self) -> Traffic {
        self.tally.traffic
    }
}

/// Counts of the traffic of one direction of a connection so far, for any metrics library: those of
/// a [`Receiver`], of what was received and consumed, and those of a [`Sender`](crate::Sender), of
/// what was queued, where `wire` and `calls` count what was written. They only grow. A connection
/// that counts is 144 bytes larger, and each message costs five to eight instructions more
/// (`cargo bench -p benches --bench instructions --features counters`). Feature `counters`.
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
    /// Data messages, whole.
    pub messages: u64,
    /// Frames, control frames included.
    pub frames: u64,
    /// The payloads of data frames as they are on the wire, in bytes.
    pub payload: u64,
    /// All bytes read or written, including a server's response to the opening request, unless
    /// an HTTP stack has written it.
    pub wire: u64,
    /// Reads or writes that moved at least a byte.
    pub calls: u64,
    /// Pings.
    pub pings: u64,
    /// Pongs.
    pub pongs: u64,
    /// The bytes of compressed messages before compression; `payload` counts them as
    /// `packed`.
    pub plain: u64,
    /// The same bytes compressed.
    pub packed: u64,
}

/// Counts one direction.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) traffic: Traffic,
}

impl Tally {
    /// A frame with this first byte, and a message if it says FIN.
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

    /// More of the payload of a frame that was counted before, and whether the message ends there.
    #[inline(always)]
    pub(super) fn more(&mut self, payload: usize, last: bool) {
        self.traffic.messages += u64::from(last);
        self.traffic.payload += payload as u64;
    }

    /// `plain` bytes were compressed to `packed`, or inflated from them.
    #[inline(always)]
    pub(super) fn packed(&mut self, plain: usize, packed: usize) {
        self.traffic.plain += plain as u64;
        self.traffic.packed += packed as u64;
    }

    /// A read of `n` bytes.
    #[inline(always)]
    pub(super) fn read(&mut self, n: usize) {
        self.traffic.calls += u64::from(n > 0);
        self.traffic.wire += n as u64;
    }
}

/// Counts writes; kept with the buffer that is written, and carried along where two are swapped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Writes {
    pub(super) calls: u64,
    pub(super) bytes: u64,
}

impl Writes {
    /// A write of `n` bytes, not 0.
    #[inline(always)]
    pub(super) fn add(&mut self, n: usize) {
        self.calls += 1;
        self.bytes += n as u64;
    }
}
