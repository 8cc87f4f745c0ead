//! The receiving half: wire bytes in, one event at a time out, borrowed from the buffer.
//!
//! Rules inside one header are `Header::parse`'s; rules across frames, and which bits this
//! connection allows, are in [`Receiver::check`]; limits are in [`Receiver::check_limits`]. What a
//! frame calls for on the sending side is `respond`'s.
#[cfg(feature = "deflate")]
mod inflate;

#[cfg(feature = "counters")]
use super::counters::Traffic;
use super::inbound::respond;
use super::{Closed, Sender, counters::Tally, recv_buffer::RecvBuffer};
#[cfg(feature = "_task")]
use crate::proto::memory::Memory;
use crate::proto::{
    close::CloseFrame,
    config::Config,
    error::{ProtocolError, RecvError, shown},
    frame::{self, Header, OpCode, ShortHeader},
    kernel,
    mask::Masker,
    message::{Chunk, DataKind, Event, Info, Message, OwnedMessage},
    role::Role,
    time::Time,
    trace,
    utf8::Utf8Validator,
};
use alloc::{boxed::Box, vec::Vec};
use core::{fmt, ops::Range};

/// Where [`step`](super::Connection::step) stopped. Borrows nothing, so that it can be matched on
/// in a loop that reads and writes; what arrived is at [`message`](Receiver::message) or
/// [`event`](Receiver::event).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new one would lose what arrived.
pub enum Step {
    /// A whole data message, or, from [`step_chunk`](super::Connection::step_chunk), a piece.
    Message,
    /// A Ping; its Pong is queued.
    Ping,
    /// A Pong.
    Pong,
    /// A Close; its answer is queued, unless this end closed first.
    Close,
    /// The input is used up: write what is queued, then read.
    NeedInput,
    /// The peer's Close was seen: nothing more will arrive.
    Closed,
}

/// The receiving half of a [`Connection`](super::Connection).
pub struct Receiver {
    buf: RecvBuffer,
    /// What `step` stopped at.
    current: Current,
    /// Where that lies in the buffer, which knows of a text message that it is one.
    view: (usize, usize),
    /// Whole messages shorter than this may be taken by `quick`. Not 0 only where the next frame
    /// begins a new message and the connection is open, so that one compare asks for the state and
    /// for the limits.
    quick_below: usize,
    /// The mask bit that every frame of the peer must carry, as in its second byte.
    mask_bit: u8,
    /// Something arrived since the timers last asked.
    heard: bool,
    eof: bool,
    /// A deadline has passed: what is here is still delivered, then this.
    late: Option<RecvError>,
    /// The message in progress is being handed out in chunks, and the first one was.
    chunking: bool,
    /// What is left of it is not wanted: a whole message was asked for.
    skipping: bool,
    state: State,
    /// The message in progress across frames.
    message: Option<DataKind>,
    /// Fragments of it so far.
    fragments: u32,
    /// Judges a text that is handed out in chunks, of which the buffer keeps nothing.
    utf8: Utf8Validator,
    /// All bytes committed so far, modulo 2⁶⁴: places in the stream, to tell frames apart.
    total: u64,
    /// Where in the stream the frame in progress began.
    begun: u64,
    read_at: Option<Time>,
    tally: Tally,
    max_message: usize,
    max_frame: usize,
    max_fragments: u32,
    close: Option<Box<Close>>,
    /// Where permessage-deflate was agreed on, until nothing more is received.
    #[cfg(feature = "deflate")]
    inflate: Option<Box<inflate::Inflate>>,
}

/// A Close frame's payload, which passed [`CloseFrame::parse`].
struct Close {
    len: usize,
    bytes: [u8; 125],
}

/// Shows how far it is and how much was received, not what: payloads may be secret, and the buffer
/// may have been another connection's before.
impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("state", &self.state)
            .field("current", &self.current)
            .field("fragments", &self.fragments)
            .field("received", &self.total)
            .field("ahead", &self.buf.wire().len())
            .field("eof", &self.eof)
            .finish_non_exhaustive()
    }
}

/// How the caller wants the message that is coming.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Chunks,
}

#[derive(Debug)]
enum State {
    /// A frame header comes next.
    Header,
    /// Inside a data frame.
    Payload {
        remaining: u64,
        fin: bool,
        mask: Option<Masker>,
    },
    /// Inside a control frame whose payload is not all here.
    Control {
        opcode: OpCode,
        len: usize,
        mask: Option<Masker>,
    },
    /// The peer's Close was seen.
    Closed,
    Failed(RecvError),
}

/// What `event` shows.
#[derive(Clone, Copy, Debug)]
enum Current {
    Nothing,
    Message(DataKind),
    Chunk {
        kind: DataKind,
        first: bool,
        last: bool,
    },
    Control(OpCode),
    /// As `Message`, but inflated. Invariant: `quick_below` is 0.
    #[cfg(feature = "deflate")]
    Inflated(DataKind),
    #[cfg(feature = "deflate")]
    InflatedChunk {
        kind: DataKind,
        first: bool,
        last: bool,
    },
}

impl Receiver {
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let mut receiver = Self {
            buf: RecvBuffer::new(config.read_buffer),
            current: Current::Nothing,
            view: (0, 0),
            quick_below: 0,
            mask_bit: if role == Role::Server { frame::MASK } else { 0 },
            heard: false,
            eof: false,
            late: None,
            chunking: false,
            skipping: false,
            state: State::Header,
            message: None,
            fragments: 0,
            utf8: Utf8Validator::default(),
            total: 0,
            begun: 0,
            read_at: None,
            tally: Tally::default(),
            max_message: config.max_message,
            max_frame: config.frame_limit(),
            max_fragments: config.max_fragments,
            close: None,
            #[cfg(feature = "deflate")]
            inflate: None,
        };
        receiver.set_quick();
        receiver
    }

    /// Takes over what came right behind the handshake's head; returns its buffer if nothing did.
    pub(super) fn begin_with(&mut self, head: RecvBuffer) -> Vec<u8> {
        self.total = head.wire().len() as u64;
        self.tally.read(head.wire().len());
        self.buf.take_over(head)
    }

    #[cfg(feature = "_task")]
    pub(super) fn set_memory(&mut self, memory: &'static Memory) {
        self.buf.set_memory(memory);
    }

    // Inputs.

    /// Where to read the stream into: 1 byte or more, typically
    /// [`read_buffer`](Config::read_buffer). Ends the current message.
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let mut rest = 0;
        self.settle();
        if self.quick_below == 0 || self.buf.next != self.buf.end {
            rest = self.rest();
        }
        self.buf.spare_mut(self.max_message, rest)
    }

    /// What the frame in progress still lacks, as far as it may come into the buffer.
    #[inline(never)]
    fn rest(&mut self) -> usize {
        match self.state {
            #[cfg(feature = "deflate")]
            State::Payload { .. } if self.inflating() => 0, // it does not stay in the buffer
            State::Payload { remaining, .. } => {
                let here = self.buf.wire().len() as u64;
                let limit = if self.chunking { usize::MAX } else { self.max_message };
                usize::try_from(remaining.saturating_sub(here)).map_or(limit, |n| n.min(limit))
            }
            State::Closed | State::Failed(_) => {
                self.buf.clear(); // what comes now is not looked at
                0
            }
            State::Header => match Header::parse(self.buf.wire()) {
                Ok(Some((header, len))) if self.waits(&header, len) => {
                    len + header.payload_len as usize - self.buf.wire().len() // `holds` it
                }
                _ => 0,
            },
            State::Control { .. } => 0,
        }
    }

    /// Says that `n` bytes were read into [`spare_mut`](Self::spare_mut).
    ///
    /// # Panics
    ///
    /// When `n` is more than there was room for.
    #[inline]
    pub fn commit(&mut self, n: usize) {
        self.buf.commit(n);
        self.took(n);
    }

    /// Takes note that `n` bytes came.
    #[inline]
    fn took(&mut self, n: usize) {
        self.heard |= n > 0;
        self.total = self.total.wrapping_add(n as u64);
        self.tally.read(n);
    }

    /// [`commit`](Self::commit), and when the bytes came, for [`Info::read_at`].
    ///
    /// # Panics
    ///
    /// When `n` is more than there was room for.
    #[inline]
    pub fn commit_at(&mut self, n: usize, time: Time) {
        self.read_at = Some(time);
        self.commit(n);
    }

    /// Says that the stream ended. What was received whole is still delivered; then, if no Close
    /// came, [`UnexpectedEof`](RecvError::UnexpectedEof).
    pub fn end_of_stream(&mut self) {
        self.settle();
        self.eof = true;
        self.quick_below = 0;
    }

    /// Gives the receiver a buffer to read into, of any length, initialised by its owner; what is
    /// in its present one moves. Ends the current message.
    ///
    /// For those who share buffers among connections; without it, one is allocated when needed.
    #[inline]
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.settle();
        self.buf.lend(buffer);
    }

    /// Takes in `n` bytes from the start of a buffer, which from here is lent: for a kernel that
    /// picks the buffer to receive into itself (provided buffers of io_uring). It stands for
    /// [`lend`](Self::lend), [`spare_mut`](Self::spare_mut), a copy and [`commit`](Self::commit),
    /// without the copy. Ends the current message.
    ///
    /// The bytes are copied, and the buffer comes back, where a partial frame or message is kept
    /// from before, or where fewer than 8 bytes lie behind them.
    ///
    /// # Panics
    ///
    /// When `n` is more than the length of the buffer.
    #[inline]
    pub fn lend_filled(&mut self, buffer: Vec<u8>, n: usize) -> Option<Vec<u8>> {
        self.settle();
        let refused = self.buf.lend_filled(buffer, n);
        match &refused {
            None => self.took(n),
            Some(buffer) => self.copy_in(&buffer[..n]),
        }
        refused
    }

    #[inline(never)]
    fn copy_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.spare_mut();
            let n = room.len().min(bytes.len());
            let (piece, rest) = bytes.split_at(n);
            room[..n].copy_from_slice(piece);
            self.commit(n);
            bytes = rest;
        }
    }

    /// Takes the buffer away, as a rule before a wait: empty if there is none to take. Ends the
    /// current message.
    ///
    /// A partial frame of up to an eighth of the buffer moves to a small one that the connection
    /// keeps; with more than that in it the buffer stays.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        self.settle();
        self.buf.reclaim()
    }

    /// Whether there is a buffer to read into, lent or allocated.
    #[inline]
    pub fn has_buffer(&self) -> bool {
        self.buf.has_buffer()
    }

    /// Ends the current message, and brings the buffer's cursors up to date.
    #[inline]
    fn settle(&mut self) {
        if self.quick_below > 0 {
            self.buf.release();
        } else {
            #[cfg(feature = "deflate")]
            self.settle_inflated();
        }
        self.current = Current::Nothing;
    }

    // Outputs.

    /// Consumes input up to the next event; what it calls for is queued in `tx`. See
    /// [`Connection::step`](super::Connection::step).
    ///
    /// # Errors
    ///
    /// [`RecvError`], repeated by every later call.
    #[inline]
    pub fn step(&mut self, tx: &mut Sender) -> Result<Step, RecvError> {
        match self.quick() {
            Some(step) => Ok(step),
            None => {
                let step = self.step_slow(Delivery::Whole);
                respond(&step, self, tx);
                step
            }
        }
    }

    /// [`step`](Self::step), but stops at each piece of a message, which is then at
    /// [`chunk`](Self::chunk). See [`Connection::step_chunk`](super::Connection::step_chunk).
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn step_chunk(&mut self, tx: &mut Sender) -> Result<Step, RecvError> {
        let step = self.step_slow(Delivery::Chunks);
        respond(&step, self, tx);
        step
    }

    /// The common case, decided in a few compares: the input is used up, or a whole message in one
    /// frame of less than 64 KiB is here. All else, violations too, changes nothing and is left to
    /// `step_slow`.
    #[inline(always)]
    pub(crate) fn quick(&mut self) -> Option<Step> {
        let next = self.buf.next;
        if next == self.buf.end {
            return (self.quick_below > 0).then(|| self.quick_starved());
        }
        // What lies beyond `end` is stale, but then `to` is beyond `end` too.
        let head = *self.buf.bytes.get(next..)?.first_chunk()?;
        let ShortHeader { text, payload_len, len, key } = ShortHeader::parse(head, self.mask_bit)?;
        let from = next + len;
        let to = from + payload_len;
        if payload_len >= self.quick_below {
            return None;
        }
        if to > self.buf.end {
            // A whole header of a frame that can wait where it is changes nothing.
            let waits = from <= self.buf.end && !text && self.buf.holds(to - next);
            return waits.then(|| self.quick_starved());
        }
        let key = (self.mask_bit != 0).then_some(key);
        if text {
            // Where it is not valid, `step_slow` finds the same and says so.
            if !self.buf.bytes.unmask_text(from..to, key) {
                return None;
            }
            self.current = Current::Message(DataKind::Text);
        } else {
            if let Some(key) = key {
                let payload = self.buf.bytes.overwrite(from..)?.get_mut(..payload_len)?;
                kernel::xor_in_place(payload, key);
            }
            self.current = Current::Message(DataKind::Binary);
        }
        self.buf.next = to;
        self.view = (from, to);
        self.tally.frame(head[0], payload_len);
        trace::received(payload_len);
        Some(Step::Message)
    }

    #[inline(always)]
    fn quick_starved(&mut self) -> Step {
        self.current = Current::Nothing;
        Step::NeedInput
    }

    /// All that `quick` does not decide. `respond` has to follow.
    #[inline(never)]
    pub(crate) fn step_slow(&mut self, delivery: Delivery) -> Result<Step, RecvError> {
        self.settle();
        let step = self.walk(delivery);
        if let Err(error) = step {
            self.fail(error);
        }
        #[cfg(feature = "deflate")]
        if step != Ok(Step::Message) {
            self.rest_inflating();
        }
        self.set_quick();
        step
    }

    #[cold]
    fn fail(&mut self, error: RecvError) {
        if !matches!(self.state, State::Failed(_)) {
            trace::failed(error);
        }
        self.state = State::Failed(error);
    }

    fn set_quick(&mut self) {
        let between = matches!(self.state, State::Header) && self.message.is_none();
        let limit = self.max_message.min(self.max_frame).saturating_add(1);
        let open = between && !self.eof && self.late.is_none();
        #[cfg(feature = "deflate")]
        let open = open && !self.shows_inflated();
        self.quick_below = if open { limit } else { 0 };
    }

    /// The state machine.
    fn walk(&mut self, delivery: Delivery) -> Result<Step, RecvError> {
        self.skipping |= self.chunking && delivery == Delivery::Whole;
        loop {
            match &self.state {
                State::Header => {
                    if let [b0, rest @ ..] = self.buf.wire() {
                        self.check(*b0, rest.first())?;
                    }
                    let Some((header, len)) = Header::parse(self.buf.wire())? else {
                        return self.starved();
                    };
                    let whole = delivery == Delivery::Whole && !self.chunking;
                    self.check_limits(&header, whole)?;
                    if whole && self.waits(&header, len) {
                        return self.starved();
                    }
                    self.begun = self.place();
                    self.buf.skip(len);
                    self.begin(header);
                }
                #[cfg(feature = "deflate")]
                State::Payload { .. } if self.inflating() => {
                    if let Some(step) = self.take_compressed(delivery)? {
                        return Ok(step);
                    }
                }
                State::Payload { .. } => {
                    if let Some(step) = self.take_payload(delivery)? {
                        return Ok(step);
                    }
                }
                &State::Control { opcode, len, mask } => {
                    if self.buf.wire().len() < len {
                        return self.starved();
                    }
                    return self.take_control(opcode, len, mask);
                }
                State::Closed => return Ok(Step::Closed),
                State::Failed(error) => return Err(*error),
            }
        }
    }

    /// The rules that span frames, and what this connection allows: all that the first byte of a
    /// frame can break, and the mask bit of the second, once that is here.
    fn check(&self, b0: u8, b1: Option<&u8>) -> Result<(), ProtocolError> {
        if b0 & self.reserved(b0) != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let (opcode, _) = frame::first_byte(b0)?;
        // §5.4: the fragments of a message follow each other.
        match (opcode, self.message) {
            (OpCode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(ProtocolError::ExpectedContinuation);
            }
            _ => {}
        }
        // §5.1: a client masks every frame, a server none.
        match b1 {
            Some(b1) if b1 & frame::MASK == self.mask_bit => Ok(()),
            Some(_) if self.mask_bit != 0 => Err(ProtocolError::MaskRequired),
            Some(_) => Err(ProtocolError::MaskForbidden),
            None => Ok(()),
        }
    }

    /// §10.4: limits on a data frame, and on the message it would make.
    fn check_limits(&self, header: &Header, whole: bool) -> Result<(), RecvError> {
        if header.opcode.is_control() {
            return Ok(());
        }
        #[cfg(feature = "deflate")]
        if self.is_compressed(header) {
            return self.check_compressed(header, whole);
        }
        if whole {
            self.check_message(header.payload_len, self.fragments.saturating_add(1))?;
        }
        if header.payload_len > self.max_frame as u64 {
            return Err(RecvError::FrameTooBig { limit: shown(self.max_frame) });
        }
        Ok(())
    }

    /// Whether a message may have `more` bytes, and so many fragments.
    fn check_message(&self, more: u64, fragments: u32) -> Result<(), RecvError> {
        let kept = self.buf.message().len();
        if more > self.max_message.saturating_sub(kept) as u64 {
            return Err(RecvError::MessageTooBig { limit: shown(self.max_message) });
        }
        if fragments > self.max_fragments {
            return Err(RecvError::TooManyFragments { limit: self.max_fragments });
        }
        Ok(())
    }

    /// Whether to leave a frame where it is until all of it is here: one that one read can bring, of
    /// binary data, which `quick` takes then, or compressed. There is nothing to find out earlier.
    fn waits(&self, header: &Header, len: usize) -> bool {
        let binary = header.opcode == OpCode::Binary;
        header.fin
            && (binary || header.rsv1)
            && usize::try_from(header.payload_len).is_ok_and(|n| {
                (n < self.quick_below || header.rsv1)
                    && self.buf.holds(len + n)
                    && self.buf.wire().len() < len + n
            })
    }

    /// The state that a checked header puts us in.
    fn begin(&mut self, header: Header) {
        let mask = header.masking_key.map(Masker::new);
        let kind = match header.opcode {
            OpCode::Continuation => self.message,
            OpCode::Text => Some(DataKind::Text),
            OpCode::Binary => Some(DataKind::Binary),
            opcode @ (OpCode::Close | OpCode::Ping | OpCode::Pong) => {
                let len = header.payload_len as usize; // at most 125
                self.state = State::Control { opcode, len, mask };
                return;
            }
        };
        #[cfg(feature = "deflate")]
        self.begin_compressed(&header);
        self.tally.frame(header.opcode as u8, 0); // its payload when that comes
        self.message = kind;
        self.fragments = self.fragments.saturating_add(1);
        self.state = State::Payload { remaining: header.payload_len, fin: header.fin, mask };
    }

    /// Takes what is here of a data frame: each byte once, when it arrives.
    fn take_payload(&mut self, delivery: Delivery) -> Result<Option<Step>, RecvError> {
        let whole = delivery == Delivery::Whole && !self.chunking;
        if let (true, &State::Payload { remaining, .. }) = (whole, &self.state) {
            // Again, since a frame begun while chunks were asked for was not held against these.
            self.check_message(remaining, self.fragments)?;
        }
        let (State::Payload { remaining, fin, mask }, Some(kind)) = (&mut self.state, self.message)
        else {
            return Ok(None); // `begin` set both
        };
        let here = self.buf.wire().len();
        let n = usize::try_from(*remaining).map_or(here, |r| r.min(here));
        let range = self.buf.take_into_message(n);
        let piece = self.buf.get_mut(range);
        if let Some(mask) = mask {
            mask.apply(piece);
        }
        *remaining -= n as u64;
        let done = *remaining == 0;
        let last = done && *fin;
        if done {
            self.state = State::Header;
        }
        let range = self.buf.message();
        if kind == DataKind::Text {
            let valid = match (whole, last) {
                (true, true) => self.buf.bytes.is_text(range.clone()),
                (true, false) => self.buf.bytes.begins_text(range.clone()),
                (false, _) => self.utf8.push_all(self.buf.get(range.clone()), last).is_ok(),
            };
            if !valid {
                return Err(ProtocolError::BadUtf8.into());
            }
        }
        if last {
            (self.message, self.fragments) = (None, 0);
        }
        self.tally.more(n, last);
        if self.skipping {
            self.buf.release();
            (self.chunking, self.skipping) = (!last, !last);
        } else if delivery == Delivery::Chunks && (last || !range.is_empty()) {
            let first = !core::mem::replace(&mut self.chunking, !last);
            let current = Current::Chunk { kind, first, last };
            return Ok(Some(self.show(current, range, Step::Message)));
        } else if whole && last {
            return Ok(Some(self.show(Current::Message(kind), range, Step::Message)));
        }
        if done { Ok(None) } else { self.starved().map(Some) }
    }

    fn take_control(
        &mut self,
        opcode: OpCode,
        len: usize,
        mask: Option<Masker>,
    ) -> Result<Step, RecvError> {
        let range = self.buf.take_aside(len);
        let payload = self.buf.get_mut(range.clone());
        if let Some(mut mask) = mask {
            mask.apply(payload);
        }
        self.state = State::Header;
        self.tally.frame(opcode.unfragmented(), len);
        let step = match opcode {
            OpCode::Ping => Step::Ping,
            OpCode::Pong => Step::Pong,
            _ => {
                trace::close_received(CloseFrame::parse(payload)?);
                let mut close = Close { len, bytes: [0; 125] };
                if let Some(bytes) = close.bytes.get_mut(..len) {
                    bytes.copy_from_slice(payload);
                }
                self.close = Some(Box::new(close));
                self.state = State::Closed;
                Step::Close
            }
        };
        self.current = Current::Control(opcode);
        self.view = (range.start, range.end);
        Ok(step)
    }

    /// What lies at `range` is what `step` stopped at, and is let go by the buffer's cursors.
    fn show(&mut self, current: Current, range: Range<usize>, step: Step) -> Step {
        trace::received(range.len());
        self.current = current;
        self.view = (range.start, range.end);
        self.buf.release();
        step
    }

    fn starved(&self) -> Result<Step, RecvError> {
        match (self.late, self.eof) {
            (Some(error), _) => Err(error),
            (None, true) => Err(RecvError::UnexpectedEof),
            (None, false) => Ok(Step::NeedInput),
        }
    }

    /// The message the last `step` stopped at, if it was one. It can be asked for again until the
    /// next receiving call.
    #[inline]
    pub fn message(&self) -> Option<Message<'_>> {
        match self.current {
            Current::Message(DataKind::Text) => Some(Message::Text(self.buf.bytes.text())),
            Current::Message(DataKind::Binary) => Some(Message::Binary(self.payload())),
            #[cfg(feature = "deflate")]
            Current::Inflated(kind) => Some(self.inflated_message(kind)),
            _ => None,
        }
    }

    /// The piece the last [`step_chunk`](Self::step_chunk) stopped at, if it was one.
    #[inline]
    pub fn chunk(&self) -> Option<Chunk<'_>> {
        match self.current {
            Current::Chunk { kind, first, last } => {
                Some(Chunk { kind, first, data: self.payload(), last })
            }
            #[cfg(feature = "deflate")]
            Current::InflatedChunk { kind, first, last } => {
                Some(Chunk { kind, first, data: self.inflated(), last })
            }
            _ => None,
        }
    }

    /// What the last `step` stopped at; `None` for `NeedInput`, `Closed` and chunks.
    pub fn event(&self) -> Option<Event<'_>> {
        match self.current {
            Current::Nothing | Current::Chunk { .. } => None,
            Current::Message(_) => self.message().map(Event::Message),
            #[cfg(feature = "deflate")]
            Current::Inflated(_) => self.message().map(Event::Message),
            #[cfg(feature = "deflate")]
            Current::InflatedChunk { .. } => None,
            Current::Control(OpCode::Ping) => Some(Event::Ping(self.payload())),
            Current::Control(OpCode::Pong) => Some(Event::Pong(self.payload())),
            Current::Control(_) => Some(Event::Close(self.close_frame())),
        }
    }

    /// What was received so far, and looked at. Feature `counters`.
    #[cfg(feature = "counters")]
    #[cfg_attr(docsrs, doc(cfg(feature = "counters")))]
    pub fn counters(&self) -> Traffic {
        self.tally.traffic
    }

    /// What is known about the current message besides its payload. Costs a look at the next
    /// header.
    pub fn info(&self) -> Info {
        let between = matches!(self.state, State::Header) && self.message.is_none();
        Info::new(between && self.more(self.buf.wire()), self.read_at)
    }

    /// Whether `wire` begins, behind any whole control frames, with a whole unfragmented data
    /// message, whose header breaks no rule.
    fn more(&self, mut wire: &[u8]) -> bool {
        while let Ok(Some((header, len))) = Header::parse(wire) {
            let legal = matches!(*wire, [b0, b1, ..] if b0 & self.reserved(b0) == 0
                && b1 & frame::MASK == self.mask_bit);
            if !legal {
                return false;
            }
            let Some(rest) = wire.get(len..).filter(|rest| rest.len() as u64 >= header.payload_len)
            else {
                return false;
            };
            if !header.opcode.is_control() {
                return header.fin && header.opcode != OpCode::Continuation;
            }
            if header.opcode == OpCode::Close {
                return false;
            }
            wire = rest.get(header.payload_len as usize..).unwrap_or_default();
        }
        false
    }

    /// The reserved bits that a frame with this first byte must not have set. §5.2: only an
    /// extension gives them a meaning.
    fn reserved(&self, b0: u8) -> u8 {
        #[cfg(feature = "deflate")]
        if self.allows_rsv1(b0) {
            return frame::RSV & !frame::RSV1;
        }
        let _ = b0;
        frame::RSV
    }

    /// The current message, to keep. One that fills most of the buffer takes the buffer along, and
    /// a new one is allocated; a smaller one is copied. Ends the current message.
    pub fn take_message(&mut self) -> Option<OwnedMessage> {
        let Current::Message(kind) = self.current else {
            #[cfg(feature = "deflate")]
            return self.take_inflated();
            #[cfg(not(feature = "deflate"))]
            return None;
        };
        self.settle();
        Some(match kind {
            DataKind::Text => OwnedMessage::from_text(self.buf.take_text()),
            DataKind::Binary => {
                OwnedMessage::binary(self.buf.take_binary(self.view.0..self.view.1))
            }
        })
    }

    /// [`take_message`](Self::take_message), whatever the kind, as shared bytes.
    pub fn take_bytes(&mut self) -> Option<bytes::Bytes> {
        self.take_message().map(OwnedMessage::into_payload)
    }

    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        self.buf.get(self.view.0..self.view.1)
    }

    // Getters.

    /// Whether the peer's Close was received.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Why nothing more can be received, if so.
    pub(crate) fn error(&self) -> Option<RecvError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The peer's Close: `None` while none came, and for one with an empty body.
    pub(crate) fn close_frame(&self) -> Option<CloseFrame<'_>> {
        let close = self.close.as_deref()?;
        CloseFrame::parse(close.bytes.get(..close.len)?).ok().flatten()
    }

    /// How receiving ended, if it did. Whether that was `clean`, both halves know together.
    pub(super) fn closed(&self, clean: bool) -> Option<Closed<'_>> {
        let error = self.failure();
        let came = self.is_closed();
        let frame = self.close_frame();
        (came || error.is_some()).then(|| Closed {
            code: match frame {
                Some(frame) => frame.code.get(),
                None if came => 1005,
                None => 1006,
            },
            reason: frame.map_or("", |frame| frame.reason),
            clean,
            error,
            cut: self.message.filter(|_| came),
        })
    }

    /// Whether nothing will be received any more.
    pub(super) fn ended(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed(_))
    }

    pub(super) fn at_eof(&self) -> bool {
        self.eof
    }

    /// Fails with `error` once what is here has been delivered, unless the peer has closed.
    pub(crate) fn cut_off(&mut self, error: RecvError) {
        if !self.ended() && self.late.is_none() {
            self.settle();
            self.late = Some(error);
            self.quick_below = 0;
        }
    }

    /// Why nothing more will be received than what is here, if so.
    pub(crate) fn failure(&self) -> Option<RecvError> {
        self.error().or(self.late)
    }

    /// Whether something arrived since `take_heard` was last called.
    #[cfg(feature = "_task")]
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// Whether something arrived since the last call.
    pub(super) fn take_heard(&mut self) -> bool {
        core::mem::take(&mut self.heard)
    }

    /// When the last read was made, if that was said.
    pub(super) fn read_at(&self) -> Option<Time> {
        self.read_at
    }

    /// Where in the stream the first byte not consumed lies.
    fn place(&self) -> u64 {
        self.total.wrapping_sub(self.buf.wire().len() as u64)
    }

    /// Where in the stream the frame began that is not all here, if there is one and its time is
    /// limited.
    pub(crate) fn partial_frame(&self) -> Option<u64> {
        match self.state {
            State::Payload { .. } | State::Control { .. } if !self.chunking => Some(self.begun),
            State::Header if !self.buf.wire().is_empty() => Some(self.place()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Receiver, Step};
    use crate::proto::{
        config::{Config, Negotiated},
        connection::Connection,
        entropy::Entropy,
        frame::{Header, OpCode},
        role::Role,
    };
    use alloc::{vec, vec::Vec};

    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&mut self, dest: &mut [u8]) {
            dest.fill(0);
        }
    }

    fn receiver(role: Role, config: &Config) -> Receiver {
        match role {
            Role::Server => Connection::server(config, Negotiated::new()).inbound.rx,
            Role::Client => Connection::client(config, Negotiated::new(), Zeros).inbound.rx,
        }
    }

    fn frame(role: Role, opcode: OpCode, len: usize) -> Vec<u8> {
        let mut header = Header::new(opcode, len as u64);
        header.masking_key = (role == Role::Server).then_some([0; 4]);
        let (bytes, n) = header.encode();
        [&bytes[..n], &vec![b'x'; len]].concat()
    }

    fn read(rx: &mut Receiver, mut wire: &[u8]) {
        while !wire.is_empty() {
            let spare = rx.spare_mut();
            let n = spare.len().min(wire.len());
            spare[..n].copy_from_slice(&wire[..n]);
            rx.commit(n);
            wire = &wire[n..];
        }
    }

    /// Whatever `quick` declines, `step_slow` decides in the same way, only slower: no other test
    /// would notice.
    #[test]
    fn the_common_case_is_decided_by_quick() {
        for role in [Role::Server, Role::Client] {
            for opcode in [OpCode::Text, OpCode::Binary] {
                for len in [0, 1, 124, 125, 126, 127, 300, 16_000, 65_534, 65_535] {
                    let config = Config::default().read_buffer(70_000).max_message(65_535);
                    let mut rx = receiver(role, &config);
                    assert_eq!(rx.quick(), Some(Step::NeedInput));
                    let wire = frame(role, opcode, len);
                    read(&mut rx, &[&wire[..], &wire[..]].concat());
                    assert_eq!(rx.quick(), Some(Step::Message), "{role:?} {opcode:?} {len}");
                    assert_eq!(rx.payload().len(), len);
                    assert_eq!(rx.quick(), Some(Step::Message));
                    assert_eq!(rx.payload().len(), len);
                    assert_eq!(rx.quick(), Some(Step::NeedInput));
                    // And again, once all was used up.
                    read(&mut rx, &wire);
                    assert_eq!(rx.quick(), Some(Step::Message));
                }
            }
        }
    }

    #[test]
    fn quick_leaves_a_partial_binary_frame_where_it_is_and_all_else_to_the_state_machine() {
        use super::Delivery::Whole;
        for role in [Role::Server, Role::Client] {
            for len in [1, 125, 126, 1000] {
                let wire = frame(role, OpCode::Binary, len);
                let header = wire.len() - len;
                for here in [header, header.midpoint(wire.len()), wire.len() - 1] {
                    let mut rx = receiver(role, &Config::default());
                    read(&mut rx, &wire[..here]);
                    assert_eq!(rx.quick(), Some(Step::NeedInput), "{role:?} {len} {here}");
                    read(&mut rx, &wire[here..]);
                    assert_eq!(rx.quick(), Some(Step::Message));
                }
            }
            // It does not matter how far inside the buffer that is.
            let (small, wire) =
                (frame(role, OpCode::Binary, 200), frame(role, OpCode::Binary, 900));
            let mut rx = receiver(role, &Config::default().read_buffer(1000));
            read(&mut rx, &[&small[..], &wire[..700]].concat());
            assert_eq!(rx.quick(), Some(Step::Message));
            assert_eq!(rx.quick(), Some(Step::NeedInput));
            // Longer than one read asks for: its beginning moves out of the way.
            let mut rx = receiver(role, &Config::default().read_buffer(1000));
            let wire = frame(role, OpCode::Binary, 2000);
            read(&mut rx, &wire[..100]);
            assert_eq!(rx.quick(), None);

            // Behind what it leaves to the state machine it goes on.
            let mut rx = receiver(role, &Config::default());
            let ping = frame(role, OpCode::Ping, 3);
            let data = frame(role, OpCode::Binary, 3);
            read(&mut rx, &[&ping[..], &data, &ping].concat());
            assert_eq!(rx.quick(), None);
            assert_eq!(rx.step_slow(Whole), Ok(Step::Ping));
            assert_eq!(rx.quick(), Some(Step::Message));
            assert_eq!(rx.quick(), None);
            assert_eq!(rx.step_slow(Whole), Ok(Step::Ping));
            assert_eq!(rx.quick(), Some(Step::NeedInput));
            // Never inside a message, nor behind the end.
            let mut open = frame(role, OpCode::Text, 3);
            open[0] = 0x01;
            read(&mut rx, &open);
            assert_eq!(rx.quick(), None);
            assert_eq!(rx.step_slow(Whole), Ok(Step::NeedInput));
            assert_eq!(rx.quick(), None);
            let mut rx = receiver(role, &Config::default());
            rx.end_of_stream();
            assert_eq!(rx.quick(), None);
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_connection_has_a_quick_way_too() {
        let mut conn = Connection::server(&Config::default(), Negotiated::new());
        assert_eq!(conn.inbound().receiver_mut().quick(), Some(Step::NeedInput));
        read(&mut conn.inbound.rx, &frame(Role::Server, OpCode::Binary, 3));
        assert_eq!(conn.inbound().receiver_mut().quick(), Some(Step::Message));
    }

    #[test]
    fn the_first_reason_for_cutting_off_stays_and_none_comes_behind_the_end() {
        use crate::proto::error::RecvError::{CloseTimeout, WriteTimeout};
        let mut rx = receiver(Role::Server, &Config::default());
        rx.cut_off(WriteTimeout);
        rx.cut_off(CloseTimeout);
        assert_eq!(rx.failure(), Some(WriteTimeout));
        assert_eq!(rx.step_slow(super::Delivery::Whole), Err(WriteTimeout));
        rx.cut_off(CloseTimeout);
        assert_eq!((rx.failure(), rx.late), (Some(WriteTimeout), Some(WriteTimeout)));
        let mut rx = receiver(Role::Server, &Config::default());
        read(&mut rx, &frame(Role::Server, OpCode::Close, 0));
        assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::Close));
        rx.cut_off(CloseTimeout);
        assert_eq!(rx.failure(), None);
    }

    /// What is compressed does not stay in the buffer, so that a long frame asks for no more.
    #[cfg(feature = "deflate")]
    #[test]
    fn a_compressed_frame_is_read_in_ordinary_pieces() {
        let negotiated = Negotiated::new().with_deflate(crate::proto::deflate::Agreed::new());
        let mut rx =
            Connection::server(&Config::default().read_buffer(1000), negotiated).inbound.rx;
        let mut header = Header::new(OpCode::Binary, 1 << 20);
        (header.rsv1, header.masking_key) = (true, Some([0; 4]));
        let (bytes, n) = header.encode();
        read(&mut rx, &bytes[..n]);
        assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::NeedInput));
        assert_eq!(rx.rest(), 0);
        assert!((1000..1100).contains(&rx.spare_mut().len()));
    }

    /// How much a read asks for while a frame is under way: up to its end, since what is behind it
    /// would have to be moved.
    #[test]
    fn a_large_frame_is_read_up_to_its_end() {
        let config = Config::default().read_buffer(1000);
        for role in [Role::Server, Role::Client] {
            for opcode in [OpCode::Text, OpCode::Binary] {
                let wire = frame(role, opcode, 5000);
                let mut rx = receiver(role, &config);
                let mut at = 600;
                read(&mut rx, &wire[..at]);
                assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::NeedInput));
                while at < wire.len() {
                    let spare = rx.spare_mut();
                    assert!(spare.len() <= wire.len() - at, "{role:?} {}", spare.len());
                    let n = spare.len();
                    spare.copy_from_slice(&wire[at..at + n]);
                    rx.commit(n);
                    at += n;
                    let step = rx.step_slow(super::Delivery::Whole);
                    let whole = at == wire.len();
                    assert_eq!(step, Ok(if whole { Step::Message } else { Step::NeedInput }));
                }
                assert_eq!(rx.payload().len(), 5000);
                // One that waits for its end in one read too.
                let wire = frame(role, OpCode::Binary, 900);
                let mut rx = receiver(role, &config);
                read(&mut rx, &wire[..400]);
                assert_eq!(rx.quick(), Some(Step::NeedInput));
                assert_eq!(rx.spare_mut().len(), wire.len() - 400);
                // Behind the end, what comes is dropped, at no cost in memory.
                let mut rx = receiver(role, &config);
                read(&mut rx, &frame(role, OpCode::Close, 0));
                assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::Close));
                for _ in 0..100 {
                    let n = rx.spare_mut().len();
                    assert!((1000..1100).contains(&n));
                    rx.commit(n);
                }
            }
        }
    }
}
