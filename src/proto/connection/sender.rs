//! The sending half: messages in, wire bytes out.
//!
//! Who may send what and when, and who overtakes whom, is here; how the bytes lie, and where frames
//! begin, is `OutBuffer`'s; what the peer's frames call for comes through `respond`.
#[cfg(feature = "deflate")]
mod deflate;

#[cfg(feature = "counters")]
use super::counters::{Traffic, Writes};
use super::{
    counters::Tally,
    out_buffer::{OutBuffer, Outgoing},
    rtt::{RoundTrip, Trips},
    stall::Stall,
};
#[cfg(feature = "_task")]
use crate::proto::memory::Memory;
use crate::proto::{
    close::{CloseCode, CloseFrame},
    config::Config,
    entropy::{Entropy, Keys},
    error::{RecvError, SendError, shown},
    frame::{self, MAX_CONTROL_LEN, MAX_HEADER_LEN, OpCode},
    kernel,
    message::{Chunk, DataKind},
    outbound::{Content, Outbound},
    prepared::{Encoded, Prepared, opcode},
    time::Time,
    trace,
    utf8::Utf8Validator,
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use bytes::{Bytes, BytesMut};
use core::{fmt, time::Duration};

/// How far the bytes fed had come when a message was fed, to be asked about with
/// [`is_written`](Sender::is_written).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position(u64);

/// Set in the position of a message that overtook; those have a count of their own.
const FIRST: u64 = 1 << 63;

/// The sending half of a [`Connection`](super::Connection).
///
/// Feeding does no I/O; [`outgoing`](Self::outgoing) is what to write.
pub struct Sender {
    out: OutBuffer,
    /// Messages are framed at once while less is buffered. 0 unless open and between messages, and
    /// where messages are compressed, so that one compare asks for all that.
    admit_below: usize,
    /// A client's masking keys; `None` for a server.
    keys: Option<Box<Keys>>,
    high_water: usize,
    cork_limit: usize,
    vectored_from: usize,
    write_timeout: Duration,
    pub(super) auto_pong: bool,
    pub(super) auto_close: bool,
    /// Where our Close ends, once it has a place.
    close_end: u64,
    /// The stream refused to flush, and did not since.
    unflushed: bool,
    /// All of it was written when the rest was dropped.
    close_gone: bool,
    /// Nothing may follow a Close of ours: the peer's came, or this end fails the connection.
    close_is_last: bool,
    state: State,
    owed: Owed,
    /// Messages that overtake and have no place yet.
    first: VecDeque<Bytes>,
    first_waiting: usize,
    /// Bytes of such messages ever fed, without those dropped.
    first_fed: u64,
    /// What was taken out to be written elsewhere and is not written yet.
    held: Held,
    /// Where the last data ends, if what was queued behind it is a control frame that ends at
    /// `control_end`.
    data_end: u64,
    control_end: u64,
    /// What was fed in order and ends behind this was dropped.
    lost_from: u64,
    unsent: u64,
    tally: Tally,
    close: Option<Box<(CloseCode, Box<str>)>>,
    /// Pings under way whose Pongs are timed; `None` before the first.
    trips: Option<Box<Trips>>,
    /// Where permessage-deflate was agreed on, until a Close is queued.
    #[cfg(feature = "deflate")]
    deflate: Option<Box<deflate::Deflating>>,
}

/// Shows how far it is and how much is buffered, not what: payloads may be secret.
impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("state", &self.state)
            .field("close_code", &self.close.as_ref().map(|close| close.0))
            .field("buffered", &self.buffered_amount())
            .field("unsent", &self.unsent)
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

/// Control frames that wait to be put in front of the data.
#[derive(Default)]
struct Owed {
    /// The payloads of Pongs, each behind its length.
    pongs: Vec<u8>,
    /// How many Pings those answer, up to `MAX_PONGS`.
    pinged: u8,
    /// The payload of a Ping, kept in the same way; not inline, since most connections send none.
    ping: Vec<u8>,
    /// Which Ping is the heartbeat's, and how far it has come.
    beat: Beat,
    /// A Close that overtakes: that of an abort at once, that of a violation when the stream does
    /// not take what is before it. Boxed, since most connections never have one.
    close: Option<Box<(Control, AtOnce)>>,
}

type AtOnce = bool;

/// So many Pings that wait are answered each; of more, only the newest (§5.5.3), so that a flood
/// costs one Pong.
const MAX_PONGS: u8 = 16;

#[derive(Clone, Copy)]
struct Control {
    len: u8,
    payload: [u8; MAX_CONTROL_LEN],
}

/// How far the heartbeat's Ping has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Beat {
    #[default]
    None,
    Owed,
    Overtaking,
    /// Queued in order, up to here.
    Queued(u64),
    Written,
}

/// What a writer of a split connection has taken.
#[derive(Debug, Default)]
struct Held {
    len: usize,
    first: usize,
    written: u64,
    stall: Stall,
    #[cfg(feature = "counters")]
    writes: Writes,
}

impl Control {
    fn new(payload: &[u8]) -> Option<Self> {
        let mut control = Self { len: payload.len() as u8, payload: [0; MAX_CONTROL_LEN] };
        control.payload.get_mut(..payload.len())?.copy_from_slice(payload);
        Some(control)
    }

    fn payload(&self) -> &[u8] {
        self.payload.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Sender {
    /// `entropy` is a client's.
    pub(super) fn new(config: &Config, entropy: Option<Box<dyn Entropy + Send + Sync>>) -> Self {
        Self {
            out: OutBuffer::default(),
            admit_below: config.high_water,
            keys: entropy.map(|source| Box::new(Keys::new(source))),
            high_water: config.high_water,
            cork_limit: config.cork_limit.min(config.high_water),
            vectored_from: config.vectored_from,
            write_timeout: config.write_timeout,
            auto_pong: config.auto_pong,
            auto_close: config.auto_close,
            close_end: u64::MAX,
            close_gone: false,
            unflushed: false,
            close_is_last: false,
            state: State::Open,
            owed: Owed::default(),
            first: VecDeque::new(),
            first_waiting: 0,
            first_fed: 0,
            held: Held::default(),
            data_end: 0,
            control_end: 0,
            lost_from: u64::MAX,
            unsent: 0,
            tally: Tally::default(),
            close: None,
            trips: None,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Queues the handshake's response.
    pub(super) fn begin_with(&mut self, buffer: Vec<u8>, response: &[&[u8]]) {
        self.out.lend(buffer);
        for part in response {
            self.out.append(part);
        }
        self.out.begin_frames();
        self.control_end = self.out.fed();
    }

    #[cfg(feature = "_task")]
    pub(super) fn set_memory(&mut self, memory: &'static Memory) {
        self.out.set_memory(memory);
    }

    /// Says that the stream has no vectored writes: what would be written from where it lies is
    /// copied instead, so that a header never travels alone.
    #[cfg(feature = "std")]
    pub(crate) fn set_flat(&mut self) {
        self.vectored_from = usize::MAX;
    }

    // Commands.

    /// Queues a message: at most one copy of the payload, which a client masks on the way. See
    /// [`Outbound`] for what it takes, and for what is not even copied.
    ///
    /// It does no I/O and never waits: with less than [`high_water`](Config::high_water) unsent it
    /// takes a message of any length, and otherwise refuses with [`Full`](SendError::Full). To wait
    /// for room is for the adapters' `ready`.
    ///
    /// # Errors
    ///
    /// [`Full`](SendError::Full), [`Closed`](SendError::Closed),
    /// [`MessageInProgress`](SendError::MessageInProgress); nothing was queued then.
    #[inline]
    pub fn feed<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<Position, SendError> {
        let Outbound { content, plain } = message.into();
        match content {
            Content::Borrowed(message) => {
                let (b0, payload) = (opcode(message.kind()).unfragmented(), message.as_bytes());
                if self.admits() || !self.feed_slow(b0, payload, plain)? {
                    self.frame(b0, payload);
                }
            }
            Content::Vec(kind, payload) => self.feed_owned(kind, payload, plain)?,
            Content::Shared(message) => {
                self.feed_owned(message.kind(), message.into_payload(), plain)?;
            }
            Content::Prepared(message) => {
                if self.admits() || !self.feed_prepared_slow(&message, plain)? {
                    self.frame_encoded(opcode(message.kind()).unfragmented(), message.encoded());
                }
            }
        }
        Ok(self.position())
    }

    /// What is not admitted at once: it is refused, or it may be compressed, and was if `true`.
    #[inline(never)]
    fn feed_slow(&mut self, b0: u8, payload: &[u8], plain: bool) -> Result<bool, SendError> {
        self.admit()?;
        #[cfg(feature = "deflate")]
        if !plain {
            return Ok(self.frame_compressed(b0, payload));
        }
        let _ = (b0, payload, plain);
        Ok(false)
    }

    #[inline(never)]
    fn feed_prepared_slow(&mut self, message: &Prepared, plain: bool) -> Result<bool, SendError> {
        self.admit()?;
        #[cfg(feature = "deflate")]
        if !plain {
            return Ok(self.frame_precompressed(message));
        }
        let _ = (message, plain);
        Ok(false)
    }

    fn feed_owned(
        &mut self,
        kind: DataKind,
        payload: impl AsRef<[u8]> + Into<Bytes>,
        plain: bool,
    ) -> Result<(), SendError> {
        let b0 = opcode(kind).unfragmented();
        if self.admits() || !self.feed_slow(b0, payload.as_ref(), plain)? {
            self.frame_owned(b0, payload);
        }
        Ok(())
    }

    /// Queues a piece of a message, as a fragment (§5.4): with [`first`](Chunk::first) one begins,
    /// with [`last`](Chunk::last) it ends. Until then other data is refused; control frames are
    /// not. [`message_in_progress`](Self::message_in_progress) tells whether one was begun.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed), where [`MessageInProgress`](SendError::MessageInProgress) means
    /// that another message was begun and has not ended, or that the kind is not that of the pieces
    /// before; [`NoMessage`](SendError::NoMessage) when none was begun; [`BadUtf8`](SendError::BadUtf8) when the
    /// pieces of a text cannot be, or do not end as, valid UTF-8. Nothing was queued then.
    pub fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        self.chunk(chunk, true)
    }

    /// [`feed_chunk`](Self::feed_chunk), but a message that begins with this piece is not
    /// compressed, as with [`Outbound::plain`]. For later pieces it makes no
    /// difference.
    ///
    /// # Errors
    ///
    /// As [`feed_chunk`](Self::feed_chunk).
    pub fn feed_chunk_plain(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        self.chunk(chunk, false)
    }

    fn chunk(&mut self, chunk: Chunk<'_>, compress: bool) -> Result<Position, SendError> {
        let _ = compress;
        let Chunk { kind, first, data, last } = chunk;
        let mut utf8 = match &self.state {
            State::Open if first => Utf8Validator::default(),
            State::Open => return Err(SendError::NoMessage),
            State::MidMessage(begun, utf8) if *begun == kind && !first => utf8.clone(),
            State::MidMessage(..) => return Err(SendError::MessageInProgress),
            State::Closing | State::Closed { .. } => return Err(SendError::Closed),
        };
        if !self.has_room() {
            return Err(self.full());
        }
        if kind == DataKind::Text {
            utf8.push(data).map_err(|_| SendError::BadUtf8)?;
            if last {
                utf8.finish().map_err(|_| SendError::BadUtf8)?;
            }
        }
        let opcode = if first { opcode(kind) } else { OpCode::Continuation };
        let b0 = if last { opcode.unfragmented() } else { opcode as u8 };
        #[cfg(feature = "deflate")]
        let framed = self.frame_compressed_chunk(b0, data, first && compress);
        #[cfg(not(feature = "deflate"))]
        let framed = false;
        if !framed {
            self.frame(b0, data);
        }
        self.out.open = !last;
        self.state = if last { State::Open } else { State::MidMessage(kind, utf8) };
        self.set_admission();
        Ok(self.position())
    }

    /// Queues a message in front of all messages that have not begun to be written, behind others
    /// fed this way: for what must not wait, such as a cancel behind quotes. One allocation.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed), but [`Full`](SendError::Full) only at twice
    /// [`high_water`](Config::high_water), and never
    /// [`MessageInProgress`](SendError::MessageInProgress): it then goes behind the last chunk.
    pub fn feed_first<'m>(
        &mut self,
        message: impl Into<Outbound<'m>>,
    ) -> Result<Position, SendError> {
        let message = message.into();
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        if self.buffered_amount() >= self.high_water.saturating_mul(2) {
            return Err(self.full());
        }
        let key = self.keys.as_mut().map(|keys| keys.next());
        let (b0, payload) = (opcode(message.kind()).unfragmented(), message.payload());
        let mut frame = BytesMut::zeroed(MAX_HEADER_LEN + payload.len());
        let n = encode(&mut frame, b0, payload, key);
        self.count(b0, payload.len());
        frame.truncate(n);
        self.first.push_back(frame.freeze());
        self.first_waiting += n;
        self.first_fed = self.first_fed.wrapping_add(n as u64);
        Ok(Position(FIRST | self.first_fed))
    }

    /// Queues a Ping in front of the data. Of several that wait to be written only the newest is sent
    /// (two queued before one write leave as one), and Pongs that wait leave before it. Its Pong
    /// is an [`Event::Pong`](crate::Event::Pong) with the same payload, for the caller to match;
    /// for round-trip times there is [`probe`](Self::probe).
    ///
    /// After a Close of ours it goes behind that, until the peer's comes (§5.5.1).
    ///
    /// # Errors
    ///
    /// [`ControlTooLong`](SendError::ControlTooLong) above 125 bytes;
    /// [`Closed`](SendError::Closed) once both ends have closed, after a violation, and where the
    /// stream refused a write. Never [`Full`](SendError::Full).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.drop_ping();
        self.owed.set_ping(control.payload()); // serves as the heartbeat's, if one waits
        Ok(())
    }

    /// Queues a Ping, as [`ping`](Self::ping) does, with a payload of its own of 4 bytes: when
    /// its Pong comes, [`rtt`](Self::rtt) has another time. Without being asked for, the
    /// [heartbeat](Config::heartbeat) does the same, but only on a silent connection.
    ///
    /// Several may be under way; a Pong settles the Pings before its own (§5.5.3). One that takes
    /// more than 60 s gives no time.
    ///
    /// `now` is of the clock that reads are stamped with. In an adapter that is its own, so call its
    /// `probe` or `feed_probe`, not this.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), as [`ping`](Self::ping).
    pub fn probe(&mut self, now: Time) -> Result<(), SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        self.begin_trip(now);
        Ok(())
    }

    fn begin_trip(&mut self, now: Time) {
        self.drop_ping();
        let mark = self.trips.get_or_insert_default().begin(now);
        self.owed.set_ping(&mark);
    }

    /// Another Ping takes the place of the one that waits: no Pong will come for that.
    fn drop_ping(&mut self) {
        if let Some(trips) = &mut self.trips {
            payloads(&self.owed.ping).for_each(|unsent| trips.forget(unsent));
        }
    }

    /// Queues a Pong in front of the data, and of a Ping that waits: nobody need ask for it (§5.5.3).
    /// Of more than 16 that wait only the newest is sent.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        let control = self.control(payload)?;
        self.owed.push_pong(control.payload());
        Ok(())
    }

    fn control(&self, payload: &[u8]) -> Result<Control, SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        Control::new(payload).ok_or(SendError::ControlTooLong)
    }

    /// Starts the closing handshake, or answers the peer's Close: a Close goes out behind all that
    /// was fed. `None` sends an empty body. No message is accepted after that; Pings of the peer are
    /// still answered until its Close comes.
    ///
    /// A message in chunks that is not finished stays unfinished, which the peer will notice.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed) when that was done before;
    /// [`ReasonTooLong`](SendError::ReasonTooLong) above 123 bytes;
    /// [`BadCloseCode`](SendError::BadCloseCode) for 1010 from a server.
    pub fn close<'f>(&mut self, frame: impl Into<Option<CloseFrame<'f>>>) -> Result<(), SendError> {
        let frame = frame.into();
        let body = self.close_body(frame)?;
        self.close_in_order(frame, &body);
        Ok(())
    }

    /// Closes at once: the Close goes out at the next frame boundary, and what was fed and has not
    /// begun to be written is dropped; see [`unsent`](Self::unsent). Messages are received on, up to
    /// the peer's Close.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn abort<'f>(&mut self, frame: impl Into<Option<CloseFrame<'f>>>) -> Result<(), SendError> {
        let frame = frame.into();
        let body = self.close_body(frame)?;
        self.close_now(frame, body, true);
        Ok(())
    }

    fn close_body(&self, frame: Option<CloseFrame<'_>>) -> Result<Control, SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        let Some(frame) = frame else {
            return Ok(Control { len: 0, payload: [0; MAX_CONTROL_LEN] });
        };
        // §7.4.1: only a client misses an extension.
        if frame.code == CloseCode::MANDATORY_EXTENSION && self.keys.is_none() {
            return Err(SendError::BadCloseCode);
        }
        let (payload, len) = frame.encode().ok_or(SendError::ReasonTooLong)?;
        Ok(Control { len: len as u8, payload })
    }

    fn close_in_order(&mut self, frame: Option<CloseFrame<'_>>, body: &Control) {
        self.settle(); // what is owed goes before
        self.drop_first();
        let mut out = core::mem::take(&mut self.out);
        // Also what waits for others to overtake, in order.
        self.owed.pinged = 0;
        let pongs = core::mem::take(&mut self.owed.pongs);
        for pong in payloads(&pongs).filter_map(Control::new) {
            self.append_control(&mut out, OpCode::Pong, &pong);
        }
        let ping = core::mem::take(&mut self.owed.ping);
        for ping in payloads(&ping).filter_map(Control::new) {
            self.append_control(&mut out, OpCode::Ping, &ping);
        }
        self.append_control(&mut out, OpCode::Close, body);
        self.out = out;
        self.closed(frame);
    }

    fn close_now(&mut self, frame: Option<CloseFrame<'_>>, body: Control, at_once: AtOnce) {
        self.data_end = self.fed().0;
        self.owed.close = Some(Box::new((body, at_once)));
        self.closed(frame);
        if self.held.len == 0 {
            self.settle();
        }
    }

    fn closed(&mut self, frame: Option<CloseFrame<'_>>) {
        trace::close_queued(frame);
        self.close = frame.map(|f| Box::new((f.code, Box::from(f.reason))));
        self.state = match self.close_is_last {
            true => State::Closed { broken: false },
            false => State::Closing,
        };
        self.stop_compressing();
        self.set_admission();
    }

    /// Drops messages that overtake and found no place.
    fn drop_first(&mut self) {
        self.unsent += self.first_waiting as u64;
        self.first_fed = self.first_fed.wrapping_sub(self.first_waiting as u64);
        self.first_waiting = 0;
        self.first.clear();
    }

    /// Says that the stream failed to write: this half is closed, and what it held is dropped; see
    /// [`unsent`](Self::unsent).
    pub(crate) fn write_failed(&mut self) {
        self.data_end = self.fed().0;
        let first = (self.out.first_len() + self.held.first) as u64;
        self.first_fed = self.first_fed.wrapping_sub(first);
        let written = self.written();
        // What was fed in order ends at `data_end`, or, once some was dropped, where that began.
        let end = self.data_end.min(self.lost_from);
        self.unsent += first + end.saturating_sub(written);
        self.close_gone |= self.close_is_out();
        self.drop_first();
        self.out.clear();
        self.lost_from = self.lost_from.min(written);
        self.drop_held();
        self.owed = Owed::default();
        self.state = State::Closed { broken: true };
        self.stop_compressing();
        self.set_admission();
    }

    // What the receiving half owes.

    pub(super) fn answer_ping(&mut self, payload: &[u8]) {
        if !self.is_over() {
            self.owed.push_pong(payload);
        }
    }

    /// Nothing follows a Close of ours from here on. Where one was queued, what waits is dropped.
    pub(super) fn end_controls(&mut self) {
        self.close_is_last = true;
        if let State::Closing = self.state {
            self.drop_ping();
            self.owed = Owed { close: self.owed.close.take(), ..Owed::default() };
            self.state = State::Closed { broken: false };
            // Only Pongs can be behind it, and nobody waits for those any more.
            if self.close_is_out() {
                self.close_gone = true;
                self.out.clear();
                self.drop_held();
            }
        }
    }

    /// Answers the peer's Close with its code (§5.5.1).
    pub(super) fn answer_close(&mut self, frame: Option<CloseFrame<'_>>) {
        if !self.is_closed() {
            let frame = frame.map(|f| CloseFrame::new(f.code));
            let code = frame.map(|f| f.code.get().to_be_bytes());
            if let Some(body) = Control::new(code.as_ref().map_or(&[], |code| &code[..])) {
                self.close_in_order(frame, &body);
            }
        }
    }

    /// Reports a violation to the peer: behind the replies to what came before it, unless the
    /// stream does not take those.
    pub(super) fn fail(&mut self, code: CloseCode) {
        self.end_controls();
        if let (false, Some(body)) = (self.is_closed(), Control::new(&code.get().to_be_bytes())) {
            self.close_now(Some(CloseFrame::new(code)), body, false);
        }
    }

    // The heartbeat.

    pub(super) fn owe_beat(&mut self, now: Time) {
        if !self.is_closed() && self.owed.beat != Beat::Owed {
            if self.owed.ping.is_empty() {
                self.begin_trip(now);
            }
            self.owed.beat = Beat::Owed;
        }
    }

    /// Whether the heartbeat's Ping was written.
    pub(super) fn beat_written(&self) -> bool {
        let beat = self.owed.beat;
        // A buffer that is held elsewhere was looked at in `note`.
        let beat = if self.held.len == 0 { beat.seen(&self.out) } else { beat };
        beat == Beat::Written
    }

    // Round-trip times.

    /// A Pong came, `at` that time if anybody said so.
    pub(super) fn hear_pong(&mut self, payload: &[u8], at: Option<Time>) {
        if let Some(trips) = &mut self.trips {
            trips.answer(payload, at);
        }
    }

    /// Whether a Pong waits for the time to be told.
    #[inline]
    pub(crate) fn pong_waits(&self) -> bool {
        self.trips.as_ref().is_some_and(|trips| trips.wait())
    }

    /// Tells the time to a Pong that waits for it.
    pub(crate) fn time_pong(&mut self, now: Time) {
        if let Some(trips) = &mut self.trips {
            trips.tell(now);
        }
    }

    /// Says that the times told from now on have another epoch.
    #[cfg(feature = "std")]
    pub(super) fn restart_clock(&mut self) {
        self.stall_mut().restart();
        if let Some(trips) = &mut self.trips {
            trips.restart();
        }
    }

    // Outputs.

    /// The bytes to write next, as a [`Buf`](bytes::Buf). Control frames that wait join them here,
    /// once for each write.
    #[inline]
    pub fn outgoing(&mut self) -> Outgoing<'_> {
        if self.owes() {
            self.settle();
        }
        Outgoing(&mut self.out)
    }

    /// Gives what waits beside the buffer its place in it.
    #[cold]
    #[inline(never)]
    fn settle(&mut self) {
        let mut out = core::mem::take(&mut self.out);
        self.settle_in(&mut out);
        self.out = out;
    }

    /// The same for `out`, which is this sender's own buffer, taken out.
    fn settle_in(&mut self, out: &mut OutBuffer) {
        if let Some(close) = self.owed.close.take_if(|close| close.1 || out.refused()) {
            let body = close.0;
            // It waits for nothing but the frame under way; control frames may follow an abort's.
            if self.is_over() {
                self.owed = Owed::default();
            }
            let first = self.out.first_len() + out.first_len();
            self.unsent += (self.out.clear() + out.truncate()) as u64;
            let dropped = (first - out.first_len()) as u64;
            self.first_fed = self.first_fed.wrapping_sub(dropped);
            self.drop_first();
            self.lost_from = out.fed();
            self.append_control(out, OpCode::Close, &body);
        }
        if out.takes_controls() && self.owed.controls() {
            self.place_controls(out);
        }
        while let Some(frame) = self.first.pop_front() {
            let n = frame.len();
            match out.overtake_message(frame) {
                Ok(()) => self.first_waiting -= n,
                Err(frame) => {
                    self.first.push_front(frame);
                    break;
                }
            }
        }
        // What was fed before a violation has been written.
        if out.len() == 0
            && self.out.len() == 0
            && let Some(close) = self.owed.close.take()
        {
            self.drop_first();
            self.append_control(out, OpCode::Close, &close.0);
        }
    }

    /// Pongs, then a Ping.
    fn place_controls(&mut self, out: &mut OutBuffer) {
        let frames = out.controls();
        for payload in payloads(&self.owed.pongs) {
            push_control(frames, &mut self.keys, OpCode::Pong, payload);
            self.tally.frame(OpCode::Pong.unfragmented(), payload.len());
        }
        self.owed.pongs.clear();
        self.owed.pinged = 0;
        for payload in payloads(&self.owed.ping) {
            push_control(frames, &mut self.keys, OpCode::Ping, payload);
            self.tally.frame(OpCode::Ping.unfragmented(), payload.len());
        }
        self.owed.ping.clear();
        let overtake = out.len() > 0;
        if overtake {
            out.place_controls();
        } else {
            self.in_order(out, OutBuffer::append_controls);
        }
        if self.owed.beat == Beat::Owed {
            self.owed.beat = if overtake { Beat::Overtaking } else { Beat::Queued(out.fed()) };
        }
    }

    /// Appends to `out`, keeping apart where the data ends.
    fn in_order(&mut self, out: &mut OutBuffer, append: impl FnOnce(&mut OutBuffer)) {
        if out.fed() != self.control_end && self.lost_from == u64::MAX {
            self.data_end = out.fed();
        }
        append(out);
        self.control_end = out.fed();
    }

    fn append_control(&mut self, out: &mut OutBuffer, opcode: OpCode, control: &Control) {
        let mut frame = [0; CONTROL_ROOM];
        let key = self.keys.as_mut().map(|keys| keys.next());
        let n = encode(&mut frame, opcode.unfragmented(), control.payload(), key);
        self.tally.frame(opcode.unfragmented(), n);
        self.in_order(out, |out| out.append(frame.get(..n).unwrap_or_default()));
        if opcode == OpCode::Close {
            self.close_end = out.fed();
        }
    }

    /// Takes the out buffer away, if nothing is in it: empty if there is none to take.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        self.out.reclaim()
    }

    /// Gives the sender a buffer to encode into, of any length, initialised by its owner.
    #[inline]
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.out.lend(buffer);
    }

    // For a split connection, whose writer writes without holding the sender.

    /// Moves what is to be written into `held`, which is empty, or gives what waits a place there.
    /// Says whether anything is to be written.
    #[cfg(feature = "std")]
    pub(crate) fn take_out(&mut self, held: &mut OutBuffer) -> bool {
        if self.is_broken() || self.close_gone {
            held.clear();
        } else if held.len() > 0 {
            if self.owes() {
                self.settle_in(held);
            }
        } else {
            if self.owes() {
                self.settle();
            }
            if self.out.len() > 0 {
                core::mem::swap(&mut self.out, held);
                self.out.continue_from(held);
                held.writes = held.writes.latest(self.out.writes);
            }
        }
        self.note(held);
        held.len() > 0
    }

    /// [`take_out`](Self::take_out) for a thread that must not be kept from reading: says how many
    /// of the bytes in `held` have to go out so that no control frame waits. All of them, if a
    /// Close is queued; else none that was fed, but the rest of a frame begun.
    #[cfg(feature = "std")]
    pub(crate) fn take_out_owed(&mut self, held: &mut OutBuffer) -> usize {
        if self.is_closed() {
            self.take_out(held);
            return held.len();
        }
        if held.len() > 0 || self.owed.controls() {
            self.take_out(held);
        } else {
            self.note(held);
        }
        held.urgent()
    }

    /// Notes how far `held` was written; to be called after each write.
    #[cfg(feature = "std")]
    pub(crate) fn note(&mut self, held: &OutBuffer) {
        if self.is_broken() {
            #[cfg(feature = "counters")]
            {
                // A write may have been under way when the other side found that out.
                self.held.writes = held.writes.latest(self.held.writes);
            }
            return;
        }
        self.owed.beat = self.owed.beat.seen(held);
        let stall = match (held.stall, self.held.stall) {
            (Stall::No, _) => Stall::No,
            (refused, Stall::No) => refused,
            (_, since) => since,
        };
        let (len, first, written) = (held.len(), held.first_len(), held.written());
        self.held = Held {
            len,
            first,
            written,
            stall,
            #[cfg(feature = "counters")]
            writes: held.writes,
        };
        self.set_admission();
    }

    // Getters.

    /// How many bytes were fed and not yet written: whole frames, control frames included. (A
    /// browser's `bufferedAmount` counts payloads only.)
    pub fn buffered_amount(&self) -> usize {
        let frame = 2 + if self.keys.is_some() { 4 } else { 0 };
        let close = self.owed.close.as_ref().map_or(0, |close| frame + usize::from(close.0.len));
        let owed = self.owed.len(frame) + close;
        self.out.len() + self.held.len + self.first_waiting + owed
    }

    /// What was sent so far. Feature `counters`.
    #[cfg(feature = "counters")]
    #[cfg_attr(docsrs, doc(cfg(feature = "counters")))]
    pub fn counters(&self) -> Traffic {
        let writes = self.held.writes.latest(self.out.writes);
        Traffic { calls: writes.calls, wire: writes.bytes, ..self.tally.traffic }
    }

    /// Says that what was written so far went elsewhere.
    #[cfg(all(feature = "counters", feature = "http"))]
    pub(crate) fn forget_writes(&mut self) {
        self.out.writes = Writes::default();
    }

    /// Whether there is anything to write.
    #[inline]
    pub fn has_outgoing(&self) -> bool {
        // What overtakes waits for the end of a message in chunks.
        let first = !self.first.is_empty() && !self.out.open;
        self.out.len() > 0 || first || self.owed.controls() || self.owed.close.is_some()
    }

    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.owes_control() || !self.first.is_empty()
    }

    /// Whether a control frame waits beside the buffer.
    #[inline]
    pub(crate) fn owes_control(&self) -> bool {
        self.owed.controls() || self.owed.close.is_some()
    }

    /// Whether less was [fed](Self::feed) in order and is unsent than
    /// [`high_water`](Config::high_water): one more message of any length would be admitted, if this
    /// half is open. What overtakes, and control frames, do not count here.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.out.len() + self.held.len < self.high_water
    }

    /// Whether enough is buffered to be written before the batch ends
    /// ([`cork_limit`](Config::cork_limit)).
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.out.len() >= self.cork_limit
    }

    /// The position now: behind the last message fed, whether or not it was written. Unchanged by
    /// control frames and by [`feed_first`](Self::feed_first), so that two of them tell whether a
    /// dropped `send` had fed its message.
    pub fn fed(&self) -> Position {
        let fed = self.out.fed();
        // Where some was dropped, `data_end` is how far it was before.
        let behind_data = fed == self.control_end || self.lost_from != u64::MAX;
        Position(if behind_data { self.data_end } else { fed } & !FIRST)
    }

    /// Whether the stream took all bytes up to this position. Never becomes true for what was
    /// dropped.
    pub fn is_written(&self, position: Position) -> bool {
        let Position(at) = position;
        if at & FIRST != 0 {
            let waiting = self.first_waiting + self.out.first_len() + self.held.first;
            return self.first_fed.wrapping_sub(waiting as u64) >= at & !FIRST;
        }
        let written = self.written();
        written.min(self.lost_from) >= at
    }

    /// The kind of the message in chunks that was begun and has not ended; `None` where the next
    /// chunk has to be a [`first`](Chunk::first) one.
    pub fn message_in_progress(&self) -> Option<DataKind> {
        match self.state {
            State::MidMessage(kind, _) => Some(kind),
            State::Open | State::Closing | State::Closed { .. } => None,
        }
    }

    /// How many bytes of the messages fed, in frames, were dropped, since a violation, an
    /// [`abort`](Self::abort) or a failed write ended this half first.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// How long Pings and their Pongs took, of the [heartbeat](Config::heartbeat) and of
    /// [`probe`](Self::probe); `None` before the first Pong.
    pub fn rtt(&self) -> Option<RoundTrip> {
        self.trips.as_ref()?.times()
    }

    /// Whether this half is closed: a Close was queued, or the stream refused a write.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing | State::Closed { .. })
    }

    /// Whether no frame is queued any more, of any kind.
    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// The Close that was queued; `None` while none was, and for an empty body.
    pub fn close_frame(&self) -> Option<CloseFrame<'_>> {
        let (code, reason) = &**self.close.as_ref()?;
        Some(CloseFrame { code: *code, reason })
    }

    /// Whether our Close was written, and does not lie in a stream that refuses to flush it.
    pub(crate) fn close_written(&self) -> bool {
        self.close_gone
            || (matches!(self.state, State::Closing | State::Closed { broken: false })
                && !self.has_outgoing()
                && self.held.len == 0
                && self.out.stall == Stall::No)
    }

    fn stall_mut(&mut self) -> &mut Stall {
        if self.held.len > 0 { &mut self.held.stall } else { &mut self.out.stall }
    }

    /// How far what was fed in order was written.
    fn written(&self) -> u64 {
        if self.held.len > 0 { self.held.written } else { self.out.written() }
    }

    /// Forgets what was taken out to be written.
    fn drop_held(&mut self) {
        self.held = Held {
            #[cfg(feature = "counters")]
            writes: self.held.writes, // was written all the same
            ..Held::default()
        };
    }

    /// Whether the stream took all of our Close, and does not refuse to pass it on, whatever became
    /// of what is behind it.
    fn close_is_out(&self) -> bool {
        let written = self.written();
        written >= self.close_end && !self.unflushed
    }

    /// Whether the stream failed to write.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.state, State::Closed { broken: true })
    }

    /// The deadline on writing: the stream has to take something by then.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        if self.held.len > 0 { self.held.stall.poll() } else { self.out.stall.poll() }
    }

    /// Tells the time to the deadline on writing. Where it has passed this half is closed.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Result<(), RecvError> {
        let timeout = self.write_timeout;
        if self.stall_mut().handle(now, timeout) {
            self.write_failed();
            return Err(RecvError::WriteTimeout);
        }
        Ok(())
    }

    #[cfg(feature = "std")]
    pub(super) fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    /// Says that the stream refuses bytes for now.
    pub(super) fn blocked(&mut self) {
        self.out.blocked();
    }

    /// Says whether the stream, which took everything, refuses to flush it.
    #[cfg(feature = "std")]
    pub(crate) fn unflushed(&mut self, yes: bool) {
        self.unflushed = yes;
        self.out.unflushed(yes);
    }

    #[inline]
    fn position(&self) -> Position {
        Position(self.out.fed() & !FIRST)
    }

    fn set_admission(&mut self) {
        let open = matches!(self.state, State::Open);
        #[cfg(feature = "deflate")]
        let open = open && self.deflate.is_none();
        self.admit_below = if open { self.high_water.saturating_sub(self.held.len) } else { 0 };
    }

    /// Whether a message is framed at once. If not, `admit` says why.
    #[inline]
    fn admits(&self) -> bool {
        self.out.len() < self.admit_below
    }

    /// Whether a message may be fed.
    #[inline]
    fn admit(&self) -> Result<(), SendError> {
        if self.admits() { Ok(()) } else { self.admit_slow() }
    }

    #[inline(never)]
    fn admit_slow(&self) -> Result<(), SendError> {
        match self.state {
            State::Open if self.has_room() => Ok(()),
            State::Open => Err(self.full()),
            State::MidMessage(..) => Err(SendError::MessageInProgress),
            State::Closing | State::Closed { .. } => Err(SendError::Closed),
        }
    }

    /// Nothing is fed any more.
    fn stop_compressing(&mut self) {
        #[cfg(feature = "deflate")]
        {
            self.deflate = None;
        }
    }

    fn full(&self) -> SendError {
        SendError::Full { buffered: shown(self.buffered_amount()), limit: shown(self.high_water) }
    }

    /// Header and payload in one pass over one reserved region.
    #[inline]
    fn frame(&mut self, b0: u8, payload: &[u8]) {
        let key = self.keys.as_mut().map(|keys| keys.next());
        let n = encode(self.out.room(MAX_HEADER_LEN + payload.len()), b0, payload, key);
        self.out.filled(n);
        self.count(b0, payload.len());
    }

    #[inline(always)]
    fn count(&mut self, b0: u8, payload: usize) {
        self.tally.frame(b0, payload);
        trace::queued(payload);
    }

    /// A frame of a server is there; a client masks its payload.
    #[inline]
    fn frame_encoded(&mut self, b0: u8, encoded: &Encoded) {
        let frame = encoded.frame();
        if self.keys.is_some() {
            self.frame(b0, encoded.payload());
        } else if frame.len() < self.vectored_from {
            self.count(b0, encoded.payload().len());
            self.out.append(frame);
        } else {
            self.frame_owned(b0, frame.slice_ref(encoded.payload()));
        }
    }

    /// Copies the payload where that is cheaper than to write it from where it is.
    fn frame_owned(&mut self, b0: u8, payload: impl AsRef<[u8]> + Into<Bytes>) {
        let len = payload.as_ref().len();
        if self.keys.is_some() || len < self.vectored_from {
            return self.frame(b0, payload.as_ref());
        }
        if let Some(head) = self.out.room(MAX_HEADER_LEN).first_chunk_mut() {
            let n = frame::store(head, b0, len as u64, None);
            self.out.filled(n);
            self.count(b0, len);
            self.out.splice(payload.into());
        }
    }
}

impl Owed {
    fn push_pong(&mut self, payload: &[u8]) {
        if self.pinged == MAX_PONGS {
            self.pongs.clear();
        } else {
            self.pinged += 1;
        }
        self.pongs.push(payload.len() as u8); // at most 125
        self.pongs.extend_from_slice(payload);
    }

    /// Of several that wait only the newest is sent. `payload` is of at most 125 bytes.
    fn set_ping(&mut self, payload: &[u8]) {
        self.ping.clear();
        self.ping.push(payload.len() as u8);
        self.ping.extend_from_slice(payload);
    }

    #[inline]
    fn controls(&self) -> bool {
        !self.pongs.is_empty() || !self.ping.is_empty()
    }

    /// How many bytes the Pongs and the Ping will be; `frame` is what a header takes.
    fn len(&self, frame: usize) -> usize {
        let all = payloads(&self.pongs).chain(payloads(&self.ping));
        all.map(|payload| frame + payload.len()).sum()
    }
}

/// Payloads that each lie behind their length.
fn payloads(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (&len, tail) = rest.split_first()?;
        let (payload, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some(payload)
    })
}

/// Encodes a control frame behind others.
fn push_control(
    frames: &mut Vec<u8>,
    keys: &mut Option<Box<Keys>>,
    opcode: OpCode,
    payload: &[u8],
) {
    let key = keys.as_mut().map(|keys| keys.next());
    let mut frame = [0; CONTROL_ROOM];
    let n = encode(&mut frame, opcode.unfragmented(), payload, key);
    frames.extend_from_slice(frame.get(..n).unwrap_or_default());
}

impl Beat {
    /// How far it has come, seeing what `out` still holds.
    fn seen(self, out: &OutBuffer) -> Self {
        match self {
            Self::Overtaking if out.takes_controls() => Self::Written,
            Self::Queued(at) if out.written() >= at => Self::Written,
            other => other,
        }
    }
}

/// The room for a control frame, header stored as one array.
const CONTROL_ROOM: usize = MAX_HEADER_LEN + MAX_CONTROL_LEN;

/// Encodes a frame; returns its length. `to` has room for `MAX_HEADER_LEN` bytes and the payload.
#[inline]
fn encode(to: &mut [u8], b0: u8, payload: &[u8], key: Option<[u8; 4]>) -> usize {
    let Some(head) = to.first_chunk_mut() else {
        return 0; // all callers give the room
    };
    let at = frame::store(head, b0, payload.len() as u64, key);
    let end = at + payload.len();
    if let Some(to) = to.get_mut(at..end) {
        match key {
            Some(key) => kernel::copy_xor(to, payload, key),
            None => to.copy_from_slice(payload),
        }
    }
    end
}

#[cfg(test)]
#[cfg(feature = "std")]
mod tests {
    use super::{OutBuffer, Outgoing, Time};
    use crate::proto::{
        config::{Config, Negotiated},
        connection::Connection,
    };
    use bytes::Buf;

    /// What is not admitted at once goes the slow way, where it comes to the same.
    #[test]
    fn an_open_half_frames_at_once_while_there_is_room() {
        let config = Config::default().high_water(15);
        let mut conn = Connection::server(&config, Negotiated::new());
        let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
        let fed = [tx.feed("data"), tx.feed("more")]; // 6 bytes each
        assert!(fed.iter().all(Result::is_ok) && tx.admits() && tx.has_room());
        assert!(tx.take_out(held));
        assert!(tx.admits() && tx.has_room(), "12 bytes lie with the writer");
        assert!(tx.feed("full").is_ok());
        assert!(!tx.admits() && !tx.has_room());
        Outgoing(held).advance(4);
        tx.note(held);
        assert!(tx.admits() && tx.has_room());
        assert!(tx.close(None).is_ok());
        assert!(!tx.admits());
    }

    #[test]
    fn a_beat_is_written_when_its_last_byte_is() {
        for (behind, between) in [(false, 0), (true, 5)] {
            let mut conn = Connection::server(&Config::default(), Negotiated::new());
            let tx = &mut conn.tx;
            if behind {
                let fed = [tx.feed("data"), tx.feed("more")];
                assert!(fed.iter().all(Result::is_ok));
                tx.outgoing().advance(1); // what is under way is not overtaken
            }
            tx.owe_beat(Time::ZERO);
            assert!(!tx.beat_written());
            tx.outgoing().advance(between);
            for _ in 0..6 {
                assert!(!tx.beat_written());
                tx.outgoing().advance(1);
            }
            assert!(tx.beat_written());
            assert_eq!(tx.buffered_amount(), if behind { 6 } else { 0 });
        }
    }

    /// A compressor takes more than all the rest of a connection.
    #[cfg(feature = "deflate")]
    #[test]
    fn a_closed_half_keeps_no_compressor() {
        use crate::proto::{deflate::Agreed, role::Role};
        for how in 0..3 {
            let agreed = Agreed::new().with_takeover(Role::Server, true);
            let negotiated = Negotiated::new().with_deflate(agreed);
            let config =
                Config::default().deflate(crate::proto::deflate::Deflate::new().min_size(0));
            let mut conn = Connection::server(&config, negotiated);
            assert!(conn.tx.feed("compressed").is_ok() && conn.tx.deflate.is_some());
            match how {
                0 => conn.tx.write_failed(),
                1 => assert!(conn.tx.close(None).is_ok()),
                _ => assert!(conn.tx.abort(None).is_ok()),
            }
            assert!(conn.tx.deflate.is_none(), "{how}");
        }
    }

    /// Of a split connection a part lies with the writer, and what overtakes in there too.
    #[test]
    fn all_that_was_fed_and_not_written_is_unsent_wherever_it_lies() {
        for written in 0..16 {
            let mut conn = Connection::server(&Config::default(), Negotiated::new());
            let (tx, held) = (&mut conn.tx, &mut OutBuffer::default());
            assert!(!tx.take_out(held), "there is nothing to write");
            let fed = [tx.feed("data"), tx.feed("more")]; // 6 bytes each
            assert!(tx.take_out(held));
            Outgoing(held).advance(1);
            tx.note(held);
            let first = tx.feed_first("1st"); // 5 bytes, behind the first 6
            assert!(tx.take_out(held));
            let late = tx.feed("late"); // stays with the sender
            Outgoing(held).advance(written);
            tx.note(held);
            assert_eq!(tx.buffered_amount(), 1 + 5 + 5 + 6 + 6 - 1 - written, "{written}");
            tx.write_failed();
            assert!(!tx.take_out(held));
            assert_eq!(tx.unsent(), 22 - written as u64, "{written}");
            assert_eq!((tx.buffered_amount(), held.len()), (0, 0));
            let is_written = |at| tx.is_written(at);
            let [a, b, first, late] =
                [fed[0], fed[1], first, late].map(|at| at.is_ok_and(is_written));
            assert_eq!([a, first, b, late], [written >= 5, written >= 10, written >= 16, false]);
        }
    }
}
