//! The sending half: messages in, wire bytes out.
//!
//! [`Sender`] decides which frames may be sent and which overtake. `OutBuffer` holds the bytes and
//! finds where frames begin. Replies to the peer's frames come through `respond`.
mod build;
#[cfg(feature = "counters")]
mod counters;
#[cfg_attr(not(feature = "deflate"), path = "no_deflate.rs")]
mod deflate;
mod dormant;
mod encoder;
mod ends;
mod feed;
mod flush;
mod ledger;
mod loss;
#[cfg(test)]
mod tests;
mod urgent;

use super::{
    out_buffer::{OutBuffer, Outgoing},
    rtt::RoundTrip,
};
use crate::proto::{
    close::{CloseCode, CloseFrame},
    config::Config,
    entropy::Keys,
    error::SendError,
    frame::Control,
    memory::Memory,
    message::DataKind,
    time::Time,
    utf8::Utf8Validator,
};
use alloc::{boxed::Box, vec::Vec};
pub use build::MessageWriter;
use core::{fmt, time::Duration};
use deflate::Deflate;
pub(super) use dormant::Kept;
use encoder::Encoder;
use ledger::Ledger;
pub use ledger::Position;
use urgent::{Tail, Urgent};

/// The sending half of a [`Connection`](super::Connection).
///
/// Feeding does no I/O; [`outgoing`](Self::outgoing) returns the bytes to write.
pub struct Sender {
    /// `feed` frames a message at once while fewer bytes than this are buffered, so its fast path
    /// needs only one comparison. The value is `high_water`, or 0 if `feed` has to check more: if
    /// this half is not open, if a message in chunks is in progress, or if messages are compressed.
    /// `set_admission` computes the value.
    admit_below: usize,
    high_water: usize,
    /// See [`Config::cork_limit`]. Invariant: at most `high_water`, so that there is
    /// [room](Self::has_room) while fewer bytes than this are buffered. The adapters check only
    /// `cork_limit` before they hand out a message, and still a reply to that message never fails
    /// with `Full`.
    cork_limit: usize,
    min_vectored: usize,
    pub(super) write_timeout: Duration,
    pub(super) auto_pong: bool,
    pub(super) auto_close: bool,
    pub(super) explains: bool,
    state: State,
    urgent: Urgent,
    ledger: Ledger,
    close: Option<Box<(CloseCode, Box<str>)>>,
    deflate: Deflate,
    // `out` and `encoder` come last, because dropping them may panic. The compiler emits the drop
    // code of each later field twice: for the case of a panic, and for the case without.
    pub(super) out: OutBuffer,
    encoder: Encoder,
}

/// Shows the state and how much is buffered, but no payload, which may be secret.
impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("state", &self.state)
            .field("close_code", &self.close.as_ref().map(|close| close.0))
            .field("buffered", &self.buffered_amount())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum State {
    Open,
    /// A message in chunks is not finished: its kind, and the check of its text.
    MidMessage(DataKind, Utf8Validator),
    /// A Close was queued. No data may follow. Control frames may follow until the peer's Close
    /// comes (§5.5.1, §5.5.2). Invariant: our Close has its place in `out`. Only the Close of a
    /// violation may wait in `urgent`, and then the state is `Closed`.
    Closing,
    /// Nothing more is queued: both ends have closed, this end failed the connection, or a write
    /// failed.
    Closed {
        broken: bool,
    },
}

impl Sender {
    /// `keys` is `Some` for a client.
    #[inline(always)]
    pub(super) fn new(config: &Config, keys: Option<Box<Keys>>) -> Self {
        let high_water = config.high_water.max(1); // 0 would admit no message at all.
        Self {
            out: OutBuffer::new(high_water),
            admit_below: high_water,
            encoder: Encoder::new(keys),
            high_water,
            cork_limit: config.cork_limit.min(high_water),
            min_vectored: config.min_vectored,
            write_timeout: config.write_timeout,
            auto_pong: config.auto_pong,
            auto_close: config.auto_close,
            explains: config.explain_violations,
            state: State::Open,
            urgent: Urgent::default(),
            ledger: Ledger::default(),
            close: None,
            deflate: Deflate::default(),
        }
    }

    /// Queues the handshake's response, before anything else. The ledger counts the response as
    /// control frames, because a response is not a message.
    pub(super) fn begin_with(&mut self, buffer: Vec<u8>, response: &[&[u8]]) {
        self.out.lend(buffer);
        for part in response.iter().filter(|part| !part.is_empty()) {
            self.out.append(part);
        }
        self.out.begin_frames();
        self.ledger.controls_queued(0, &self.out);
    }

    pub(super) fn set_memory(&mut self, memory: &'static Memory) {
        self.out.memory = memory;
    }

    // Commands.

    /// Queues a Ping before the data, and behind waiting Pongs. If several Pings wait, only the
    /// newest is sent. The peer's Pong arrives as an [`Event::Pong`](crate::Event::Pong) with the
    /// same payload, so the caller can match it to the Ping. For round-trip times, use
    /// [`measure_rtt`](Self::measure_rtt).
    ///
    /// A Ping may be queued even after our Close, until the peer's Close comes (§5.5.1). The Ping
    /// goes before data frames of which nothing was written, and so before our Close. If no data
    /// frame is left before our Close, the Ping goes behind our Close.
    ///
    /// # Errors
    ///
    /// [`ControlTooLong`](SendError::ControlTooLong) above 125 bytes; [`Closed`](SendError::Closed)
    /// once both ends have closed, after this end failed the connection, and after a failed write.
    /// `ping` never returns [`Full`](SendError::Full).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.urgent.set_ping(control.payload());
        Ok(())
    }

    /// Queues a Ping, as [`ping`](Self::ping) does, with a payload of 4 bytes that identifies it.
    /// Its Pong gives [`rtt`](Self::rtt) a new time. The [heartbeat](Config::heartbeat) also
    /// measures round trips, but sends a Ping only on a silent connection.
    ///
    /// Several Pings may be under way. A Pong also answers the Pings sent before its own Ping
    /// (§5.5.3). A Pong that takes more than 60 s gives no time.
    ///
    /// `now` must come from the same clock as the times of
    /// [`set_read`](crate::Receiver::set_read) and `handle_timeout`. An adapter's clock is
    /// private, so with an adapter call its own `measure_rtt()`.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), as [`ping`](Self::ping).
    pub fn measure_rtt(&mut self, now: Time) -> Result<(), SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        self.urgent.measure_rtt(now);
        Ok(())
    }

    /// Queues a Pong before the data and any waiting Ping. A Pong may be unsolicited (§5.5.3). If
    /// more than 16 Pongs wait, only the newest is sent.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.urgent.push_pong(control.payload());
        Ok(())
    }

    /// Makes a control frame with the caller's payload, if the caller may send one.
    fn control(&self, payload: &[u8]) -> Result<Control, SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        Control::new([payload]).ok_or(SendError::ControlTooLong)
    }

    // Replies and Pings that the receiving half asks for.

    pub(super) fn answer_ping(&mut self, payload: &[u8]) {
        if !self.is_over() {
            self.urgent.push_pong(payload);
        }
    }

    /// Queues the heartbeat's Ping, unless this half is closed.
    pub(super) fn owe_beat(&mut self, now: Time) {
        if !self.is_closed() {
            self.urgent.owe_beat(now);
        }
    }

    /// Whether the heartbeat's Ping was written.
    pub(super) fn beat_written(&self) -> bool {
        self.urgent.beat_written(&self.out)
    }

    /// Handles a Pong. `at` is its time of arrival, if the caller gave the time.
    pub(super) fn hear_pong(&mut self, payload: &[u8], at: Option<Time>) {
        if let Some(trips) = &mut self.urgent.trips {
            trips.answer(payload, at);
        }
    }

    /// Whether a received Pong still lacks its time of arrival. It gets the first time that the
    /// caller tells afterwards.
    #[inline]
    pub(crate) fn pong_waits(&self) -> bool {
        self.urgent.trips.as_ref().is_some_and(|trips| trips.wait())
    }

    /// Uses `now` as the time of arrival if a received Pong lacks its time.
    pub(crate) fn time_pong(&mut self, now: Time) {
        if let Some(trips) = &mut self.urgent.trips {
            trips.pong_at(now);
        }
    }

    // Outputs.

    /// Returns the bytes to write next, as a [`Buf`](bytes::Buf). Before that, it places waiting
    /// control frames and overtaking messages among these bytes.
    #[inline]
    pub fn outgoing(&mut self) -> Outgoing<'_> {
        if self.frame_waits() {
            self.place_waiting();
        }
        Outgoing(&mut self.out)
    }

    /// Moves the frames that wait beside the buffer into the buffer. Frames that have no place yet
    /// keep waiting.
    #[cold]
    #[inline(never)]
    fn place_waiting(&mut self) {
        let Self { out, encoder, ledger, urgent, .. } = self;
        urgent.place(&mut Tail { out, encoder, ledger });
    }

    /// Returns the output buffer if it holds no bytes, and otherwise an empty `Vec`.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        self.out.reclaim()
    }

    /// Gives the sender a buffer of any length to encode into. The sender uses `buffer.len()`
    /// bytes, not the capacity.
    #[inline]
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.out.lend(buffer);
    }

    // Getters.

    /// The number of bytes fed and not yet written. The number includes headers and control frames.
    /// (A browser's `bufferedAmount` counts only payloads.)
    #[inline]
    pub fn buffered_amount(&self) -> usize {
        let urgent = if self.frame_waits() {
            self.urgent.len(2 + if self.encoder.masks() { 4 } else { 0 })
        } else {
            0
        };
        (self.out.len() + urgent).saturating_add(self.ledger.held_back())
    }

    /// Whether the sender has bytes to write: true exactly if [`outgoing`](Self::outgoing) would
    /// not be empty.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        // `Connection::next` and the adapters' writes rely on the result. A wrong `true` would make
        // `next` ask for empty writes without end. A wrong `false` would leave bytes unwritten. So
        // this has to agree with `Urgent::place`.
        //
        // Messages that overtake wait until a message in chunks has ended: §5.4 forbids other
        // messages inside it.
        let first = self.urgent.has_first() && !self.out.open;
        self.out.len() > 0 || first || self.control_waits()
    }

    /// Whether a frame waits beside the buffer. [`outgoing`](Self::outgoing) places the frame, if
    /// it can.
    #[inline]
    pub(crate) fn frame_waits(&self) -> bool {
        self.control_waits() || self.urgent.has_first()
    }

    /// Whether a control frame waits beside the buffer.
    #[inline]
    pub(crate) fn control_waits(&self) -> bool {
        self.urgent.has_controls() || self.urgent.close.is_some()
    }

    /// Whether fewer bytes than [`high_water`](Config::high_water) were [fed](Self::feed) in order
    /// and are unsent. If so, and if this half is open, one more message of any length is admitted.
    /// Messages and control frames that overtake do not count.
    #[inline]
    pub fn has_room(&self) -> bool {
        let unsent = self.out.fed().wrapping_sub(self.out.written());
        unsent < self.high_water as u64
    }

    /// Whether the buffered bytes have reached [`cork_limit`](Config::cork_limit), so that they are
    /// written before the batch ends.
    #[inline]
    pub(crate) fn reached_cork_limit(&self) -> bool {
        self.out.len() >= self.cork_limit
    }

    /// The position after the last message fed, whether or not it was written. Control frames and
    /// [`feed_first`](Self::feed_first) do not change it. So comparing two positions tells whether
    /// a `send` whose future was dropped had fed its message.
    pub fn fed(&self) -> Position {
        self.ledger.fed(&self.out)
    }

    /// Whether the stream has passed all bytes up to this position to the operating system. While
    /// the connection is open, bytes that the stream still buffers (as TLS does) are not written.
    /// Once the connection is over, such bytes count as written, because some may have been sent.
    /// Dropped bytes never count as written.
    pub fn is_written(&self, position: Position) -> bool {
        self.ledger.is_written(position, &self.out, self.urgent.first_len())
    }

    /// Returns a number that changes with each message fed, whether in order or to overtake.
    pub(super) fn data_mark(&self) -> u64 {
        self.ledger.data_mark(&self.out)
    }

    /// The kind of the message in chunks that is in progress. If `None`, the next chunk must have
    /// [`first`](crate::Chunk::first) set.
    pub fn message_in_progress(&self) -> Option<DataKind> {
        match self.state {
            State::MidMessage(kind, _) => Some(kind),
            State::Open | State::Closing | State::Closed { .. } => None,
        }
    }

    /// How many bytes of fed messages, headers included, were dropped because a violation, an
    /// [`abort`](Self::abort) or a failed write ended this half before they were written.
    pub fn dropped(&self) -> u64 {
        self.ledger.dropped
    }

    /// Round-trip times of the Pings of the [heartbeat](Config::heartbeat) and of
    /// [`measure_rtt`](Self::measure_rtt); `None` before the first round trip. A Pong counts once
    /// its time of arrival is known, from [`set_read`](crate::Receiver::set_read) or else from
    /// the next `handle_timeout`. The adapters call both.
    pub fn rtt(&self) -> Option<RoundTrip> {
        self.urgent.trips.as_ref()?.times
    }

    /// Whether this half is closed: a Close was queued, or a write failed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing | State::Closed { .. })
    }

    /// Whether this half accepts no more frames of any kind.
    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// The Close that was queued; `None` before, and for an empty body.
    pub fn close_frame(&self) -> Option<CloseFrame<'_>> {
        let (code, reason) = &**self.close.as_ref()?;
        Some(CloseFrame { code: *code, reason })
    }
}
