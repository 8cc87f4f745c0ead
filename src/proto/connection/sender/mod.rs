//! The sending half: messages in, wire bytes out.
//!
//! This decides what may be sent, and which frames overtake; `OutBuffer` holds the bytes and finds
//! where frames begin; answers to the peer's frames come through `respond`.
mod build;
#[cfg(feature = "counters")]
mod counters;
#[cfg_attr(not(feature = "deflate"), path = "no_deflate.rs")]
mod deflate;
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
    entropy::{Entropy, Keys},
    error::SendError,
    memory::Memory,
    message::DataKind,
    time::Time,
    utf8::Utf8Validator,
};
use alloc::{boxed::Box, vec::Vec};
pub use build::MessageWriter;
use core::{fmt, time::Duration};
use deflate::Deflate;
use encoder::Encoder;
use ledger::Ledger;
pub use ledger::Position;
use urgent::{Control, Tail, Urgent};

/// The sending half of a [`Connection`](super::Connection).
///
/// Feeding does no I/O; [`outgoing`](Self::outgoing) is what to write.
pub struct Sender {
    out: OutBuffer,
    /// Messages are framed at once while less is buffered. 0 unless open and between messages, and
    /// where messages are compressed, so that one compare asks for all that.
    admit_below: usize,
    encoder: Encoder,
    high_water: usize,
    cork_limit: usize,
    min_vectored: usize,
    write_timeout: Duration,
    pub(super) auto_pong: bool,
    pub(super) auto_close: bool,
    pub(super) explains: bool,
    state: State,
    urgent: Urgent,
    ledger: Ledger,
    close: Option<Box<(CloseCode, Box<str>)>>,
    deflate: Deflate,
}

/// Shows how far it is and how much is buffered, not what: payloads may be secret.
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
    /// A message in chunks is not finished.
    MidMessage(DataKind, Utf8Validator),
    /// A Close was queued: no data may follow it, but control frames until the peer's Close comes
    /// (§5.5.1, §5.5.2).
    Closing,
    /// Nothing more is queued: both have closed, this end failed the connection, or the stream
    /// refused a write.
    Closed {
        broken: bool,
    },
}

impl Sender {
    /// `entropy` is a client's.
    pub(super) fn new(config: &Config, entropy: Option<Box<dyn Entropy + Send + Sync>>) -> Self {
        let high_water = config.high_water.max(1);
        Self {
            out: OutBuffer::new(high_water),
            admit_below: high_water,
            encoder: Encoder::new(entropy.map(|source| Box::new(Keys::new(source)))),
            high_water,
            cork_limit: config.cork_limit.min(high_water),
            min_vectored: config.min_vectored.max(1),
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

    /// Queues the handshake's response, of which most parts are mostly empty.
    pub(super) fn begin_with(&mut self, buffer: Vec<u8>, response: &[&[u8]]) {
        self.out.lend(buffer);
        for part in response.iter().filter(|part| !part.is_empty()) {
            self.out.append(part);
        }
        self.out.begin_frames();
        self.ledger.controls_queued(0, &self.out);
    }

    pub(super) fn set_memory(&mut self, memory: &'static Memory) {
        self.out.set_memory(memory);
    }

    // Commands.

    /// Queues a Ping before the data. Of several waiting Pings only the newest is sent
    /// (two queued before one write leave as one), and waiting Pongs leave before it. Its Pong
    /// is an [`Event::Pong`](crate::Event::Pong) with the same payload, for the caller to match;
    /// for round-trip times there is [`measure_rtt`](Self::measure_rtt).
    ///
    /// After our Close it goes before the data that is left, or behind that Close, until the peer's
    /// comes (§5.5.1).
    ///
    /// # Errors
    ///
    /// [`ControlTooLong`](SendError::ControlTooLong) above 125 bytes; [`Closed`](SendError::Closed)
    /// once both ends have closed, after a violation, and after a failed write. Never
    /// [`Full`](SendError::Full).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.urgent.set_ping(control.payload());
        Ok(())
    }

    /// Queues a Ping, as [`ping`](Self::ping), with a unique payload of 4 bytes: when
    /// its Pong comes, [`rtt`](Self::rtt) has another time. The
    /// [heartbeat](Config::heartbeat) does the same by itself, but only on a silent connection.
    ///
    /// Several may be under way; a Pong settles the Pings before its own (§5.5.3). One that takes
    /// more than 60 s gives no time.
    ///
    /// `now` is of the clock that reads are stamped with. In an adapter that is its own, so call
    /// its `measure_rtt()`, not this.
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

    /// Queues a Pong before the data and any waiting Ping; it may be unsolicited (§5.5.3).
    /// If more than 16 wait, only the newest is sent.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.urgent.push_pong(control.payload());
        Ok(())
    }

    fn control(&self, payload: &[u8]) -> Result<Control, SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        Control::new(payload).ok_or(SendError::ControlTooLong)
    }

    // What the receiving half owes.

    pub(super) fn answer_ping(&mut self, payload: &[u8]) {
        if !self.is_over() {
            self.urgent.push_pong(payload);
        }
    }

    /// The heartbeat's Ping.
    pub(super) fn owe_beat(&mut self, now: Time) {
        if !self.is_closed() {
            self.urgent.owe_beat(now);
        }
    }

    /// Whether the heartbeat's Ping was written.
    pub(super) fn beat_written(&self) -> bool {
        self.urgent.beat_written(&self.out)
    }

    /// A Pong came, `at` that time if anybody said so.
    pub(super) fn hear_pong(&mut self, payload: &[u8], at: Option<Time>) {
        self.urgent.hear_pong(payload, at);
    }

    /// Whether a Pong waits for the time to be told.
    #[inline]
    pub(crate) fn pong_waits(&self) -> bool {
        self.urgent.pong_waits()
    }

    /// Tells the time to a Pong that waits for it.
    pub(crate) fn time_pong(&mut self, now: Time) {
        self.urgent.time_pong(now);
    }

    // Outputs.

    /// The bytes to write next, as a [`Buf`](bytes::Buf). Waiting control frames join them here,
    /// once per write.
    #[inline]
    pub fn outgoing(&mut self) -> Outgoing<'_> {
        if self.owes() {
            self.settle();
        }
        Outgoing(&mut self.out)
    }

    /// Gives the frames that wait beside the buffer their place in it.
    #[cold]
    #[inline(never)]
    fn settle(&mut self) {
        let Self { out, encoder, ledger, urgent, .. } = self;
        urgent.place(&mut Tail { out, encoder, ledger });
    }

    /// Takes the output buffer away if it holds nothing; returns an empty one if there is none to
    /// take.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        self.out.reclaim()
    }

    /// Gives the sender a buffer to encode into, of any length, initialised by its owner.
    #[inline]
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.out.lend(buffer);
    }

    // Getters.

    /// The bytes fed and not yet written: whole frames, control frames included. (A
    /// browser's `bufferedAmount` counts only payloads.)
    #[inline]
    pub fn buffered_amount(&self) -> usize {
        let urgent = if self.owes() {
            self.urgent.len(2 + if self.encoder.masks() { 4 } else { 0 })
        } else {
            0
        };
        self.out.len() + self.ledger.held_back() + urgent
    }

    /// Whether there is anything to write.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        // What overtakes waits for the end of a message in chunks.
        let first = self.urgent.has_first() && !self.out.open;
        self.out.len() > 0 || first || self.owes_control()
    }

    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.owes_control() || self.urgent.has_first()
    }

    /// Whether a control frame waits beside the buffer.
    #[inline]
    pub(crate) fn owes_control(&self) -> bool {
        self.urgent.has_controls() || self.urgent.has_close()
    }

    /// Whether less than [`high_water`](Config::high_water) was [fed](Self::feed) in order and is
    /// unsent: one more message of any length would be admitted, if this half is open. Messages
    /// that overtake do not count here, nor do control frames that do.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.ledger.unsent(&self.out) < self.high_water as u64
    }

    /// Whether enough is buffered to be written before the batch ends
    /// ([`cork_limit`](Config::cork_limit)).
    #[inline]
    pub(crate) fn reached_cork_limit(&self) -> bool {
        self.out.len() >= self.cork_limit
    }

    /// The position after the last message fed, whether or not it was written. Unchanged by control
    /// frames and by [`feed_first`](Self::feed_first), so that comparing two of them tells whether
    /// a dropped `send` had fed its message.
    pub fn fed(&self) -> Position {
        self.ledger.fed(&self.out)
    }

    /// Whether the system has all bytes up to this position. What a stream such as TLS took and
    /// holds itself does not count, until the connection is over: then whatever it took does, since
    /// some of it may have left. Never becomes true for dropped bytes.
    pub fn is_written(&self, position: Position) -> bool {
        self.ledger.is_written(position, &self.out, self.urgent.first_len())
    }

    /// A number that changes with each message fed, in whatever order.
    pub(super) fn data_mark(&self) -> u64 {
        self.ledger.data_mark(&self.out)
    }

    /// The kind of the message in chunks that was begun and has not ended; `None` if the next
    /// chunk has to be a [`first`](crate::Chunk::first) one.
    pub fn message_in_progress(&self) -> Option<DataKind> {
        match self.state {
            State::MidMessage(kind, _) => Some(kind),
            State::Open | State::Closing | State::Closed { .. } => None,
        }
    }

    /// How many bytes of the messages fed, in frames, were dropped because a violation, an
    /// [`abort`](Self::abort) or a failed write ended this half first.
    pub fn dropped(&self) -> u64 {
        self.ledger.dropped()
    }

    /// Round-trip times of the Pings of the [heartbeat](Config::heartbeat) and of
    /// [`measure_rtt`](Self::measure_rtt). A Pong counts once the time is told at which it came: by
    /// [`commit_at`](crate::Receiver::commit_at), else by the next `handle_timeout`; the adapters
    /// do so. `None` before the first.
    pub fn rtt(&self) -> Option<RoundTrip> {
        self.urgent.rtt()
    }

    /// Whether this half is closed: a Close was queued, or the stream refused a write.
    #[inline]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing | State::Closed { .. })
    }

    /// Whether no more frames of any kind are queued.
    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// The Close that was queued; `None` before that, and for an empty body.
    pub fn close_frame(&self) -> Option<CloseFrame<'_>> {
        let (code, reason) = &**self.close.as_ref()?;
        Some(CloseFrame { code: *code, reason })
    }
}
