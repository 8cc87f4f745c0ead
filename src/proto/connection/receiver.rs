//! The receiving half: turns wire bytes into events, one at a time, and lends each out. `quick`
//! handles the common case, and `walk` what `quick` declines.
mod inflate;
mod progress;
mod quick;
mod read;
mod received;
mod room;
mod signs;
mod walk;

use super::{Closed, counters::Counters, recv_buffer::RecvBuffer};
use crate::proto::{
    close::CloseFrame,
    config::Config,
    deflate::zlib::Boxed,
    error::RecvError,
    frame::{self, Control, OpCode},
    mask::Masker,
    memory::Memory,
    message::DataKind,
    role::Role,
    tape::{Note, Tape},
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use inflate::Inflate;
use progress::{Handing, InProgress, Limits};
use read::LastRead;
pub(super) use signs::Unfinished;

/// The reason why [`step`](super::Connection::step) returned. A `Step` borrows nothing, so a loop
/// can match on it and then read or write. [`message`](Receiver::message) and
/// [`event`](Receiver::event) return what has arrived.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new variant would lose events.
pub enum Step {
    /// A whole data message, or a chunk from [`step_chunk`](super::Connection::step_chunk).
    Message,
    /// A Ping. Its Pong is queued, unless [`auto_pong`](Config::auto_pong) is off or a write has
    /// failed.
    Ping,
    /// A Pong.
    Pong,
    /// The peer's Close. Our Close is queued, unless it was queued before,
    /// [`auto_close`](Config::auto_close) is off, or a write has failed.
    Close,
    /// The next event needs more input. Write the queued output, then read.
    NeedInput,
    /// The peer's Close was received before, and nothing follows it.
    Closed,
}

/// The receiving half of a [`Connection`](super::Connection): its state, without a stream. The half
/// of a split WebSocket is `Reader`, of each adapter.
pub struct Receiver {
    buf: RecvBuffer,
    /// The item at which `step` stopped.
    current: Current,
    /// Where the current payload lies in `buf`; not used while `inflated` is true.
    view: (usize, usize),
    /// `quick` may handle a message whose payload has fewer bytes. 0 while only `walk` may handle
    /// input (see `set_quick`), so that one comparison checks both the state and the limits on
    /// messages.
    quick_below: usize,
    /// The mask bit that the second byte of every frame from the peer has to have.
    mask_bit: u8,
    pub(super) eof: bool,
    /// A read failed: `eof` is set too, although the peer has not ended the stream.
    cut_short: bool,
    /// The error that `cut_off` was told. Complete messages and control frames that were received
    /// are delivered before it.
    cut_off_by: Option<RecvError>,
    state: State,
    message: Option<InProgress>,
    pub(super) kept: Kept,
    /// Modulo 2³², with those reads that brought nothing and were reported.
    reads: u32,
    /// The position in the received bytes.
    frame_start: u64,
    read: LastRead,
    limits: Limits,
    close: Option<Box<Control>>,
    /// If the handshake agreed on permessage-deflate, until receiving ends.
    inflate: Option<Boxed<Inflate>>,
    /// The current message or chunk is in `inflate`, not in `buf`. `quick_below` is then 0.
    inflated: bool,
    pub(super) tape: Tape,
}

/// All that a dormant connection keeps of its receiver.
#[derive(Default)]
pub(super) struct Kept {
    /// Bytes received, modulo 2⁶⁴. Positions are computed from it, by which the deadlines tell two
    /// frames or messages apart.
    total: u64,
    /// Consumed bytes that are not data: control frames, and headers that `walk` consumed, minus 1
    /// for each message that ends in `walk`, so that even one without payload changes `data_mark`.
    /// Headers that `quick` consumed count as data, so that it need not count anything.
    not_data: u64,
    /// Bytes arrived since the last `take_heard`, if only below TLS.
    heard: bool,
    pub(super) counters: Counters,
}

/// Shows states and lengths, but no bytes. Payloads may be secret, and the buffer may hold bytes of
/// another connection that used it before.
impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("state", &self.state)
            .field("current", &self.current)
            .field("fragments", &self.message.as_ref().map_or(0, |message| message.fragments))
            .field("received", &self.kept.total)
            .field("ahead", &self.buf.wire_len())
            .field("eof", &self.eof)
            .field("heard", &self.kept.heard)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Chunks,
}

#[derive(Debug)]
enum State {
    Header,
    Payload {
        remaining: u64,
        fin: bool,
        mask: Option<Masker>,
    },
    /// Its payload may be incomplete.
    Control {
        opcode: OpCode,
        len: usize,
        mask: Option<Masker>,
    },
    /// The peer's Close has ended receiving.
    Closed,
    Failed(RecvError),
}

#[derive(Clone, Copy, Debug)]
enum Current {
    Nothing,
    Message(DataKind),
    Chunk { kind: DataKind, first: bool, last: bool },
    Control(OpCode),
}

impl Receiver {
    #[inline(always)]
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let mut receiver = Self {
            // The documentation of `read_buffer` and `max_read` names these two limits.
            buf: RecvBuffer::new(
                config.read_buffer.clamp(512, 1 << 24),
                config.max_read.min(1 << 24),
            ),
            current: Current::Nothing,
            view: (0, 0),
            quick_below: 0,
            mask_bit: if role == Role::Server { frame::MASK } else { 0 },
            eof: false,
            cut_short: false,
            cut_off_by: None,
            state: State::Header,
            message: None,
            kept: Kept::default(),
            reads: 0,
            frame_start: 0,
            read: LastRead::default(),
            limits: Limits::new(config),
            close: None,
            inflate: None,
            inflated: false,
            tape: Tape::default(),
        };
        receiver.set_quick();
        receiver
    }

    /// Returns the head's buffer if no bytes follow the head, and otherwise an empty `Vec`.
    pub(super) fn begin_with(&mut self, head: RecvBuffer) -> Vec<u8> {
        self.kept.total = head.wire().len() as u64;
        self.kept.counters.read(head.wire().len());
        self.buf.take_over(head)
    }

    pub(super) fn set_memory(&mut self, memory: &'static Memory) {
        self.buf.memory = memory;
    }

    // Inputs.

    /// Reports that `n` bytes were read into [`spare_mut`](Self::spare_mut).
    ///
    /// # Panics
    ///
    /// If `n` is more than the length of the slice that `spare_mut` returned last, minus the bytes
    /// committed since. A larger `n` would deliver old bytes, perhaps of another connection.
    #[inline]
    pub fn commit(&mut self, n: usize) {
        self.buf.commit(n);
        self.took(n);
    }

    #[inline]
    fn took(&mut self, n: usize) {
        self.kept.heard |= n > 0;
        self.reads = self.reads.wrapping_add(1);
        self.read.handed_out = 0;
        self.kept.total = self.kept.total.wrapping_add(n as u64);
        self.kept.counters.read(n);
        self.tape.note(Note::Read(n));
    }

    /// Reports that the stream ended. Complete messages and control frames received before are
    /// still delivered. If no Close is among them, receiving then fails with
    /// [`UnexpectedEof`](RecvError::UnexpectedEof), or with the error of a deadline that had passed
    /// before.
    pub fn end_of_stream(&mut self) {
        self.end_message(); // first, because it releases a message only while `quick_below` > 0
        self.eof = true;
        self.quick_below = 0;
        self.tape.note(Note::News);
    }

    pub(crate) fn stream_failed(&mut self) {
        self.end_of_stream();
        self.cut_short = true;
    }

    /// Gives the receiver a buffer of any length to read into. The receiver uses `buffer.len()`
    /// bytes, not the capacity. Received bytes that are still needed move to the new buffer. If the
    /// new buffer has no room for these bytes and for more input, the new buffer is dropped
    /// instead. Afterwards [`message`](Self::message), [`chunk`](Self::chunk) and
    /// [`event`](Self::event) return `None`.
    ///
    /// Use this call to share buffers among connections. Without a lent buffer, the receiver
    /// allocates a buffer when needed.
    #[inline]
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.end_message();
        self.buf.lend(buffer);
    }

    /// Lends a buffer whose first `n` bytes are received input. Use this call if the kernel chooses
    /// the buffer for a read, as with provided buffers of io_uring. This call replaces
    /// [`lend`](Self::lend), [`spare_mut`](Self::spare_mut) and [`commit`](Self::commit), and saves
    /// a copy. Afterwards [`message`](Self::message), [`chunk`](Self::chunk) and
    /// [`event`](Self::event) return `None`.
    ///
    /// Returns a buffer that is free now. If the receiver still needs bytes received before, or if
    /// `buffer` has fewer than 8 bytes after the `n` bytes, the `n` bytes are copied, and the
    /// result is `buffer` itself. Otherwise the result is the buffer that the receiver had before,
    /// if it had one.
    ///
    /// # Panics
    ///
    /// If `n` is more than the length of the buffer.
    #[inline]
    pub fn lend_filled(&mut self, buffer: Vec<u8>, n: usize) -> Option<Vec<u8>> {
        self.end_message();
        match self.buf.lend_filled(buffer, n) {
            Ok(old) => {
                self.took(n);
                (!old.is_empty()).then_some(old)
            }
            Err(buffer) => {
                self.copy_in(&buffer[..n]);
                Some(buffer)
            }
        }
    }

    #[inline(never)] // keeps `lend_filled` short
    fn copy_in(&mut self, mut bytes: &[u8]) {
        // Each round makes room as for a read, so `bytes` may be longer than the buffer.
        while !bytes.is_empty() {
            let room = self.spare_mut();
            let n = room.len().min(bytes.len());
            let (piece, rest) = bytes.split_at(n);
            room[..n].copy_from_slice(piece);
            self.commit(n);
            bytes = rest;
        }
    }

    /// Takes the buffer away, so that other connections can use it while this one waits for input.
    /// Returns an empty `Vec` if there is no buffer, or if the receiver still needs the buffer.
    /// Afterwards [`message`](Self::message), [`chunk`](Self::chunk) and [`event`](Self::event)
    /// return `None`.
    ///
    /// If the received bytes that are still needed fill at most an eighth of the buffer, they move
    /// to a small buffer that the connection keeps. Otherwise the receiver keeps the buffer.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        self.end_message();
        self.buf.reclaim()
    }

    /// Whether the receiver has a buffer to read into, lent or allocated. The small buffer of
    /// [`reclaim`](Self::reclaim) does not count.
    #[inline]
    pub fn has_buffer(&self) -> bool {
        self.buf.has_buffer()
    }

    /// The memory that received bytes use, in bytes: the buffer, the small buffer of
    /// [`reclaim`](Self::reclaim) while it is in use, and the inflated part of a compressed
    /// message. Use this number to limit the memory that many connections hold together.
    #[inline]
    pub fn buffer_len(&self) -> usize {
        self.buf.bytes.len() + self.inflated_len()
    }

    #[inline]
    fn inflated_len(&self) -> usize {
        self.inflate.as_ref().map_or(0, |inflate| inflate.out.buffer_len())
    }

    /// The bytes of the event may then be overwritten.
    #[inline]
    fn end_message(&mut self) {
        // While `quick_below` is 0, `buf` may hold a message in progress.
        if self.quick_below > 0 {
            self.buf.release();
        } else if self.inflated {
            self.inflated = false;
            if let Some(inflate) = &mut self.inflate {
                inflate.out.clear();
            }
        }
        self.current = Current::Nothing;
    }

    // Getters.

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub(crate) fn error(&self) -> Option<RecvError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn close_frame(&self) -> Option<CloseFrame<'_>> {
        CloseFrame::parse(self.close.as_ref()?.payload()).ok().flatten()
    }

    /// The receiver does not know what was sent, hence `clean` and `sent_code`.
    pub(super) fn closed(&self, clean: bool, sent_code: u16) -> Option<Closed<'_>> {
        // Not `error`: a passed deadline counts even before `step` has returned its error.
        let error = self.failure();
        let came = self.is_closed();
        let frame = self.close_frame();
        (came || error.is_some()).then(|| Closed {
            code: frame.map_or(if came { 1005 } else { 1006 }, |frame| frame.code.get()),
            reason: frame.map_or("", |frame| frame.reason),
            sent_code,
            clean,
            error,
            unconfirmed: !came
                && error == Some(RecvError::CloseTimeout)
                && (self.cut_short || !self.eof),
            cut: self.message.as_ref().filter(|_| came).map(|message| message.kind),
        })
    }

    #[inline(always)]
    pub(super) fn role(&self) -> Role {
        // A peer that does not mask is the server.
        Role::by_mask(self.mask_bit == 0)
    }

    pub(super) fn ended(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed(_))
    }

    /// Once everything received has been delivered. Does nothing if receiving has ended or was cut
    /// off before.
    pub(crate) fn cut_off(&mut self, error: RecvError) {
        if !self.ended() && self.cut_off_by.is_none() {
            self.end_message(); // first, as in `end_of_stream`
            self.cut_off_by = Some(error);
            // Only `walk` knows `cut_off_by`.
            self.quick_below = 0;
            self.tape.note(Note::News);
        }
    }

    /// Drops bytes that no `step` has processed.
    pub(super) fn abandon(&mut self, error: RecvError) {
        self.end_message();
        self.buf.clear();
        self.fail(error);
        self.set_quick();
        self.tape.note(Note::News);
    }

    pub(crate) fn failure(&self) -> Option<RecvError> {
        self.error().or(self.cut_off_by)
    }

    /// Receiving goes on, no message is in progress, and every received byte is consumed. `false`
    /// while the current message is in `inflate`.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.quick_below > 0 && self.buf.wire_len() == 0
    }

    /// Only `counts` is kept. `false` if messages may be compressed.
    pub(super) fn may_be_dormant(&self) -> bool {
        self.is_idle() && self.inflate.is_none()
    }

    fn between_messages(&self) -> bool {
        matches!(self.state, State::Header) && self.message.is_none()
    }

    fn in_chunks(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.handing != Handing::Whole)
    }

    fn stream_position(&self) -> u64 {
        self.kept.total.wrapping_sub(self.buf.wire_len() as u64)
    }
}

#[cfg(test)]
mod tests;
