//! The receiving half: wire bytes in, one event at a time out, borrowed from the buffer.
//!
//! These are its calls: bytes in, the message out. `quick` turns bytes into events, and `walk`
//! those that `quick` declines. `respond` of [`inbound`](super::inbound) queues the answer to a
//! frame on the sending side.
#[cfg_attr(not(feature = "deflate"), path = "receiver/no_inflate.rs")]
mod inflate;
mod progress;
mod quick;
mod read;
mod received;
mod signs;
mod walk;

use super::{Closed, counters::Tally, recv_buffer::RecvBuffer};
use crate::proto::{
    close::CloseFrame,
    config::Config,
    error::RecvError,
    frame::{self, Header, OpCode},
    mask::Masker,
    memory::Memory,
    message::DataKind,
    role::Role,
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use progress::{Handing, InProgress, Limits};
use read::LastRead;

/// Where [`step`](super::Connection::step) stopped. Borrows nothing, so that it can be matched on
/// in a loop that reads and writes; get the message from [`message`](Receiver::message) or
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
    /// The input is used up: write the queued output, then read.
    NeedInput,
    /// The peer's Close was seen: nothing more will arrive.
    Closed,
}

/// The receiving half of a [`Connection`](super::Connection).
pub struct Receiver {
    buf: RecvBuffer,
    /// The message or frame at which `step` stopped.
    current: Current,
    /// Its place in the buffer, which knows whether it is text.
    view: (usize, usize),
    /// `quick` may take whole messages shorter than this. It is 0 unless the next frame
    /// begins a new message and the connection is open, so that one compare checks the state and
    /// the limits.
    quick_below: usize,
    /// The mask bit that every frame of the peer must carry, as in its second byte.
    mask_bit: u8,
    /// Something arrived since the timers last asked.
    heard: bool,
    eof: bool,
    /// A deadline has passed: everything received is delivered first, then this.
    late: Option<RecvError>,
    state: State,
    message: Option<InProgress>,
    /// How many bytes were committed, modulo 2⁶⁴. Places in the stream count from here, so that two
    /// frames can be told apart.
    total: u64,
    /// Where in the stream the frame in progress began.
    begun: u64,
    /// How many of the bytes consumed are no data: control frames, and headers that `quick` did not
    /// take; less one for each message that ended in `walk`, since one may have no payload.
    not_data: u64,
    read: LastRead,
    pub(super) tally: Tally,
    limits: Limits,
    close: Option<Box<Close>>,
    /// Present if permessage-deflate was agreed on, until nothing more is received.
    inflate: Option<inflate::Handle>,
    /// The current message is in `inflate`. Invariant: `quick_below` is 0 then.
    inflated: bool,
}

/// A Close frame's payload, which passed [`CloseFrame::parse`].
struct Close {
    len: usize,
    bytes: [u8; 125],
}

/// Shows states and lengths, not bytes: payloads may be secret, and the buffer may have been
/// another connection's before.
impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("state", &self.state)
            .field("current", &self.current)
            .field("fragments", &self.message.as_ref().map_or(0, |message| message.fragments))
            .field("received", &self.total)
            .field("ahead", &self.buf.wire_len())
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
    Chunk { kind: DataKind, first: bool, last: bool },
    Control(OpCode),
}

impl Receiver {
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let mut receiver = Self {
            buf: RecvBuffer::new(config.read_buffer.clamp(512, 1 << 24)),
            current: Current::Nothing,
            view: (0, 0),
            quick_below: 0,
            mask_bit: if role == Role::Server { frame::MASK } else { 0 },
            heard: false,
            eof: false,
            late: None,
            state: State::Header,
            message: None,
            total: 0,
            begun: 0,
            not_data: 0,
            read: LastRead::default(),
            tally: Tally::default(),
            limits: Limits::new(config),
            close: None,
            inflate: None,
            inflated: false,
        };
        receiver.set_quick();
        receiver
    }

    /// Takes over the bytes right after the handshake's head; returns its buffer if there are none.
    pub(super) fn begin_with(&mut self, head: RecvBuffer) -> Vec<u8> {
        self.total = head.wire().len() as u64;
        self.tally.read(head.wire().len());
        self.buf.take_over(head)
    }

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
        if self.quick_below == 0 || self.buf.wire_len() > 0 {
            rest = self.rest();
        }
        self.buf.spare_mut(self.limits.max_message, rest)
    }

    /// The rest of the frame in progress, as far as it may come into the buffer.
    #[inline(never)]
    fn rest(&mut self) -> usize {
        match self.state {
            State::Payload { remaining, .. } => match &self.message {
                // It does not stay in the buffer.
                Some(message) if message.compressed => 0,
                _ => {
                    let here = self.buf.wire_len() as u64;
                    let limit = if self.in_chunks() { usize::MAX } else { self.limits.max_message };
                    usize::try_from(remaining.saturating_sub(here)).map_or(limit, |n| n.min(limit))
                }
            },
            State::Closed | State::Failed(_) => {
                self.buf.clear(); // what comes now is not looked at
                0
            }
            State::Header => match Header::parse(self.buf.wire()) {
                Ok(Some((header, len))) if self.waits(&header, len) => {
                    len + header.payload_len as usize - self.buf.wire_len() // `holds` it
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
    /// If `n` is more than there was room for.
    #[inline]
    pub fn commit(&mut self, n: usize) {
        self.buf.commit(n);
        self.took(n);
    }

    /// Notes that `n` bytes came.
    #[inline]
    fn took(&mut self, n: usize) {
        self.heard |= n > 0;
        self.read.handed_out = 0;
        self.total = self.total.wrapping_add(n as u64);
        self.tally.read(n);
    }

    /// Says that the stream ended. Whole messages received are still delivered; then, if no Close
    /// came, [`UnexpectedEof`](RecvError::UnexpectedEof).
    pub fn end_of_stream(&mut self) {
        self.settle();
        self.eof = true;
        self.quick_below = 0;
    }

    /// Gives the receiver a buffer to read into, of any length, initialised by its owner; the
    /// contents of the present one move. Ends the current message.
    ///
    /// For sharing buffers among connections; without it, one is allocated when needed.
    #[inline]
    pub fn lend(&mut self, buffer: Vec<u8>) {
        self.settle();
        self.buf.lend(buffer);
    }

    /// Takes in `n` bytes from the start of a buffer, which is lent from then on: for a kernel that
    /// itself picks the buffer to receive into (provided buffers of io_uring). It replaces
    /// [`lend`](Self::lend), [`spare_mut`](Self::spare_mut), a copy and [`commit`](Self::commit),
    /// without the copy. Ends the current message.
    ///
    /// The bytes are copied, and the buffer is returned, if a partial frame or message is kept
    /// from before, or if the buffer has fewer than 8 bytes after them.
    ///
    /// # Panics
    ///
    /// If `n` is more than the length of the buffer.
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

    /// Takes the buffer away, usually before a wait; returns an empty one if there is none to take.
    /// Ends the current message.
    ///
    /// A partial frame of up to an eighth of the buffer moves to a small one that the connection
    /// keeps; if there is more in it, the buffer stays.
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
        } else if self.inflated {
            self.inflated = false;
            if let Some(inflate) = &mut self.inflate {
                inflate.clear();
            }
        }
        self.current = Current::Nothing;
    }

    // Getters.

    /// Whether the peer's Close was received.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Why nothing more can be received, if that is so.
    pub(crate) fn error(&self) -> Option<RecvError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The peer's Close: `None` before it comes, and for one with an empty body.
    pub(crate) fn close_frame(&self) -> Option<CloseFrame<'_>> {
        let close = self.close.as_deref()?;
        CloseFrame::parse(close.bytes.get(..close.len)?).ok().flatten()
    }

    /// How receiving ended, if it did. Only both halves together know whether that was `clean`, and
    /// only the sending half knows the code that it sent.
    pub(super) fn closed(&self, clean: bool, sent_code: u16) -> Option<Closed<'_>> {
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
            sent_code,
            clean,
            error,
            cut: self.message.as_ref().filter(|_| came).map(|message| message.kind),
        })
    }

    #[inline(always)]
    fn role(&self) -> Role {
        Role::by_mask(self.mask_bit == 0) // a peer that does not mask is a server, and this end the client
    }

    /// Whether nothing will be received any more.
    pub(super) fn ended(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed(_))
    }

    pub(super) fn at_eof(&self) -> bool {
        self.eof
    }

    /// Fails with `error` after everything received has been delivered, unless the peer has closed.
    pub(crate) fn cut_off(&mut self, error: RecvError) {
        if !self.ended() && self.late.is_none() {
            self.settle();
            self.late = Some(error);
            self.quick_below = 0;
        }
    }

    /// Fails with `error` at once: what was received and not delivered is not.
    pub(super) fn abandon(&mut self, error: RecvError) {
        self.settle();
        self.fail(error);
        self.set_quick();
    }

    /// Why nothing beyond the bytes here will be received, if that is so.
    pub(crate) fn failure(&self) -> Option<RecvError> {
        self.error().or(self.late)
    }

    /// Whether the connection is open, and nothing is here of the next message.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.quick_below > 0 && self.buf.wire_len() == 0
    }

    /// Whether the next frame begins a new message.
    fn between_messages(&self) -> bool {
        matches!(self.state, State::Header) && self.message.is_none()
    }

    /// Whether the message in progress is being handed out in chunks, and the first one was.
    fn in_chunks(&self) -> bool {
        self.handing().is_some_and(|handing| handing != Handing::Whole)
    }

    /// How the message in progress is handed out.
    fn handing(&self) -> Option<Handing> {
        self.message.as_ref().map(|message| message.handing)
    }

    /// The position in the stream of the first byte not consumed.
    fn place(&self) -> u64 {
        self.total.wrapping_sub(self.buf.wire_len() as u64)
    }
}

#[cfg(test)]
mod tests;
