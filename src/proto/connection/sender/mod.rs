//! The sending half: messages in, wire bytes out. [`Sender`] decides which frames may be sent, and
//! which overtake queued data: these wait in `Urgent` until they get a place. A frame is queued *in
//! order* if it goes to the end of `OutBuffer`, which holds the encoded frames.
mod build;
#[cfg(feature = "counters")]
mod counters;
mod cut;
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
    close::{CloseFrame, OwnedCloseFrame},
    config::Config,
    deflate::zlib::Boxed,
    entropy::Keys,
    error::SendError,
    frame::Control,
    memory::Memory,
    message::DataKind,
    outlined::Empty,
    time::Time,
    utf8::Utf8Validator,
};
use alloc::{boxed::Box, vec::Vec};
pub use build::MessageWriter;
use core::{fmt, time::Duration};
use deflate::Deflating;
pub(super) use dormant::DormantSender;
use encoder::Encoder;
use ends::Leaves;
#[cfg(feature = "std")]
pub(crate) use feed::Offer;
use ledger::Ledger;
pub use ledger::Position;
use urgent::{Tail, Urgent};

/// The sending half of a [`Connection`](super::Connection): its state, without a stream. The half
/// of a split WebSocket is `Writer`, of each adapter.
///
/// Feeding does no I/O; [`outgoing`](Self::outgoing) returns the bytes to write.
pub struct Sender {
    /// While `out` has fewer bytes to write, `feed` frames a message after this one comparison. 0
    /// if this half is closed, if a message in chunks is in progress, or if messages may be
    /// compressed or cut; otherwise `high_water`. Set by `set_admission`.
    admit_below: usize,
    /// At least 1; `usize::MAX` stands for no limit.
    max_frame: usize,
    /// Invariant: `cork_limit <= high_water`, so while `out` has fewer bytes to write, there is
    /// [room](Self::has_room), and a reply is not refused with `Full`. `Core::is_free`, on an
    /// adapter's fast path, relies on this: it checks only `cork_limit`, and that the sender is
    /// open.
    cork_limit: usize,
    min_vectored: usize,
    pub(super) write_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) auto_pong: bool,
    pub(super) auto_close: bool,
    state: State,
    leaves: Leaves,
    urgent: Urgent,
    ledger: Ledger,
    close: Option<Box<OwnedCloseFrame>>,
    /// `None` without an agreement on compression, if zlib does not support the agreed window, or
    /// if this half is closed.
    deflate: Option<Boxed<Deflating>>,
    // Last, because dropping them may panic: the compiler emits the drop code of all later fields
    // twice, with and without a panic.
    pub(super) out: OutBuffer,
    encoder: Encoder,
}

/// Shows no payload, because a payload may be secret.
impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("state", &self.state)
            .field("close_code", &self.close.as_ref().map(|close| close.code))
            .field("buffered", &self.buffered_amount())
            .field("dropped", &self.dropped())
            .field("stall", &self.out.stall)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum State {
    Open,
    /// Of chunks: the kind, and the UTF-8 check so far, which only a text uses.
    MidMessage(DataKind, Utf8Validator),
    /// A Close was queued, and has its place in `out`. No data may follow; Pings and Pongs may,
    /// until the peer's Close comes or this end fails the connection (§5.5.1, §5.5.2). (While a
    /// Close of `fail` waits in `urgent`, the state is already `Closed`.)
    Closing,
    /// No further frame may be queued: both ends have closed, the connection failed, or a write
    /// failed (`broken`).
    Closed {
        broken: bool,
    },
}

impl Empty for Sender {
    fn empty() -> Self {
        Self::new(&Config::default(), None)
    }
}

impl Sender {
    /// `keys` are a client's. The caller makes them, because this must not panic or allocate: see
    /// `Connection::new`.
    #[inline(always)]
    pub(super) fn new(config: &Config, keys: Option<Box<Keys>>) -> Self {
        let high_water = config.high_water.max(1); // 0 would admit no message at all.
        let (max_frame, admit_below) = match config.max_frame_sent {
            None => (usize::MAX, high_water),
            Some(max) => (max.max(1), 0),
        };
        Self {
            out: OutBuffer::new(high_water),
            admit_below, // `set_admission` computes the same in this state.
            max_frame,
            encoder: Encoder::new(keys),
            cork_limit: config.cork_limit.min(high_water),
            min_vectored: config.min_vectored,
            write_timeout: config.write_timeout,
            close_timeout: config.close_timeout,
            auto_pong: config.auto_pong,
            auto_close: config.auto_close,
            state: State::Open,
            leaves: Leaves::No,
            urgent: Urgent::default(),
            ledger: Ledger::default(),
            close: None,
            deflate: None,
        }
    }

    /// Nothing may have been queued before. The sender may use `buffer` as its outgoing buffer. To
    /// the ledger the response is control frames, because it is no message.
    pub(super) fn begin_with(&mut self, buffer: Vec<u8>, response: &[&[u8]]) {
        self.out.lend(buffer);
        // Most responses have empty parts. Skipping them saves instructions.
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

    /// Queues a Ping. The Ping goes after waiting Pongs, and before the data frames that have not
    /// begun to leave. If an earlier Ping still waits for its place among the outgoing bytes, the
    /// new Ping replaces it. The peer's Pong arrives as an [`Event::Pong`](crate::Event::Pong) with
    /// the same payload, so the caller can match the Pong to the Ping. For round-trip times, use
    /// [`measure_rtt`](Self::measure_rtt).
    ///
    /// A Ping may be queued even after our Close, until the peer's Close comes (§5.5.1). This Ping,
    /// too, goes before the first data frame that has not begun to leave. If all data frames have
    /// begun to leave, the Ping goes behind our Close. (Messages of
    /// [`feed_first`](Self::feed_first) do not count as data frames here.)
    ///
    /// # Errors
    ///
    /// [`ControlTooLong`](SendError::ControlTooLong) if `payload` has more than 125 bytes;
    /// [`Closed`](SendError::Closed) once both ends have closed, and after the connection or a
    /// write has failed. `ping` never returns [`Full`](SendError::Full).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.urgent.set_ping(control.payload());
        Ok(())
    }

    /// Queues a Ping, as [`ping`](Self::ping) does, with a payload of 4 bytes that identifies the
    /// Ping. When the Pong arrives, [`rtt`](Self::rtt) has a new time. The
    /// [heartbeat](Config::heartbeat) also measures round trips, but only on a silent connection.
    ///
    /// If several Pings are under way, only the Pongs of the oldest and of the newest give a time.
    /// (The newest Ping counts because a peer may leave all others unanswered, by §5.5.3.) A Pong
    /// that comes after more than 60 s gives no time.
    ///
    /// `now` must come from the same clock as the times of
    /// [`set_read`](crate::Receiver::set_read) and `handle_timeout`. An adapter's clock is
    /// private, so with an adapter call its own `measure_rtt()`.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), when [`ping`](Self::ping) would return this error.
    pub fn measure_rtt(&mut self, now: Time) -> Result<(), SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        self.urgent.measure_rtt(now);
        Ok(())
    }

    /// Queues a Pong. The Pong goes before a waiting Ping, and before the same data frames as a
    /// Ping: see [`ping`](Self::ping). A Pong may be unsolicited (§5.5.3). If more than 16 Pongs,
    /// or [`high_water`](Config::high_water) bytes of Pongs, wait for their place among the
    /// outgoing bytes, only the newest Pong is sent.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.urgent.push_pong(control.payload(), self.out.high_water);
        Ok(())
    }

    fn control(&self, payload: &[u8]) -> Result<Control, SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        Control::new([payload]).ok_or(SendError::ControlTooLong)
    }

    // Calls by the receiving half and its deadlines.

    pub(super) fn answer_ping(&mut self, payload: &[u8]) {
        if !self.is_over() {
            self.urgent.push_pong(payload, self.out.high_water);
        }
    }

    /// A Ping that waits already serves as the heartbeat's. This half must not be closed: the
    /// timers call this only in `Phase::Open`.
    pub(super) fn owe_beat(&mut self, now: Time) {
        self.urgent.owe_beat(now);
    }

    pub(super) fn taken(&self) -> u64 {
        self.ledger.taken(&self.out)
    }

    pub(super) fn beat_written(&self) -> bool {
        self.urgent.beat_written(&self.out)
    }

    pub(super) fn hear_pong(&mut self, payload: &[u8], at: Option<Time>) {
        if let Some(trips) = &mut self.urgent.trips {
            trips.answer(payload, at);
        }
    }

    #[inline]
    pub(crate) fn pong_waits(&self) -> bool {
        self.urgent.trips.as_ref().is_some_and(|trips| trips.wait())
    }

    pub(crate) fn time_pong(&mut self, now: Time) {
        if let Some(trips) = &mut self.urgent.trips {
            trips.pong_at(now);
        }
    }

    // Outputs.

    /// Returns the bytes to write next, as a [`Buf`](bytes::Buf). First, this call gives waiting
    /// control frames and overtaking messages a place among these bytes, except those that have to
    /// wait longer.
    #[inline]
    pub fn outgoing(&mut self) -> Outgoing<'_> {
        if self.frame_waits() {
            self.place_waiting();
        }
        Outgoing(&mut self.out)
    }

    #[cold]
    #[inline(never)]
    fn place_waiting(&mut self) {
        let Self { out, encoder, ledger, urgent, .. } = self;
        urgent.place(&mut Tail { out, encoder, ledger });
    }

    /// Returns the outgoing buffer if it holds no bytes, and otherwise an empty `Vec`.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        self.unused().map(core::mem::take).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn unused(&mut self) -> Option<&mut Vec<u8>> {
        self.out.unused()
    }

    /// Gives the sender a buffer to encode into. The sender uses `buffer.len()` bytes, not the
    /// capacity. Drops `buffer` if the present buffer holds bytes, or is as long or longer.
    #[inline]
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.out.lend(buffer);
    }

    // Getters.

    /// The number of queued bytes that are not yet written. Headers and control frames count. (A
    /// browser's `bufferedAmount` counts only payloads.)
    #[inline]
    pub fn buffered_amount(&self) -> usize {
        // Only for speed: `Urgent::len` would return 0 if no frame waits.
        let urgent =
            if self.frame_waits() { self.urgent.len(self.encoder.control_header()) } else { 0 };
        // The caller may report any number to `set_unflushed`.
        (self.out.len() + urgent).saturating_add(self.ledger.held_back())
    }

    /// Whether the sender has bytes to write, so that [`outgoing`](Self::outgoing) would not be
    /// empty.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        // This has to agree with `Urgent::place`: a wrong `true` would make `Connection::next` ask
        // for empty writes without end, a wrong `false` would leave bytes unwritten.
        //
        // If `out.open` is set, `out` ends inside a message in chunks, where §5.4 allows no other
        // message, so an overtaking one finds a place only before a message in `out`. If `out` is
        // empty there is none; otherwise the result is `true` anyway.
        let first = !self.urgent.first.is_empty() && !self.out.open;
        self.out.len() > 0 || first || self.control_waits()
    }

    #[inline]
    pub(crate) fn frame_waits(&self) -> bool {
        self.control_waits() || !self.urgent.first.is_empty()
    }

    #[inline]
    pub(crate) fn control_waits(&self) -> bool {
        self.urgent.has_controls() || self.urgent.close.is_some()
    }

    /// Whether fewer bytes than [`high_water`](Config::high_water) are unsent, without counting
    /// messages and control frames that overtake. If there is room, one more message of any length
    /// is admitted, unless this half is closed or a message in chunks is in progress.
    #[inline]
    pub fn has_room(&self) -> bool {
        let unsent = self.out.fed().wrapping_sub(self.out.written());
        unsent < self.out.high_water as u64
    }

    /// Then the adapter writes before it has processed the whole batch of received messages.
    #[inline]
    pub(crate) fn reached_cork_limit(&self) -> bool {
        self.out.len() >= self.cork_limit
    }

    /// The position after the last message or chunk fed, even if it is not written yet. Control
    /// frames and [`feed_first`](Self::feed_first) do not change this position. So after the future
    /// of a `send` was dropped, compare this position with the position before the `send`: they
    /// differ if the message was fed.
    pub fn fed(&self) -> Position {
        self.ledger.fed(&self.out)
    }

    /// Whether the message or chunk that ends at `position` was written: the stream has passed
    /// every byte of it to the operating system. Bytes that the stream still buffers (as TLS does)
    /// do not count as written. But once the connection has ended or a write has failed, these
    /// bytes do count, because some may have been sent. A message that lost bytes never counts as
    /// written.
    pub fn is_written(&self, position: Position) -> bool {
        self.ledger.is_written(position, &self.out, self.urgent.first.len())
    }

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

    /// The number of bytes of fed messages, headers included, that were dropped unwritten when this
    /// half ended. [`close`](Self::close) drops only messages of [`feed_first`](Self::feed_first)
    /// that wait for the end of a message in chunks. An [`abort`](Self::abort), a failed connection
    /// or a failed write may drop any message.
    pub fn dropped(&self) -> u64 {
        self.ledger.dropped
    }

    /// Round-trip times of the Pings of the [heartbeat](Config::heartbeat) and of
    /// [`measure_rtt`](Self::measure_rtt); `None` before the first round trip. A Pong counts as
    /// soon as its time of arrival is known, from [`set_read`](crate::Receiver::set_read) or else
    /// from the next `handle_timeout`. An adapter makes these two calls itself.
    pub fn rtt(&self) -> Option<RoundTrip> {
        self.urgent.trips.as_ref()?.times
    }

    /// Whether this half is closed: a Close was queued, or the connection or a write failed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing | State::Closed { .. })
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// The body of this half's Close; `None` before a Close is queued, and for an empty body.
    pub fn close_frame(&self) -> Option<CloseFrame<'_>> {
        self.close.as_deref().map(CloseFrame::from)
    }
}
