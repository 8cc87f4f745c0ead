//! Compressed messages (RFC 7692 §6.2): inflated piece by piece, as their bytes arrive, into a
//! buffer of their own.
//!
//! The bytes on the wire are unmasked in place and let go; what they become is limited while it is
//! made. Frames, fragments and limits on frames are the receiver's.
use super::{Current, Delivery, Receiver, State};
use crate::{
    config::{Config, Role},
    connection::Step,
    connection::recv_buffer::SLACK,
    deflate::{
        Agreed,
        codec::{self, Output, TAIL},
    },
    error::{ProtocolError, RecvError, shown},
    frame::{Header, OpCode},
    message::{Chunk, DataKind, Message, OwnedMessage},
    trace,
};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use std::boxed::Box;

/// The most that is inflated for one chunk, in bytes.
const CHUNK: usize = 16 << 10;

/// [`TAIL`] and, for a decompressor that is not needed again, an empty last block: that its end is
/// reached, and with the last byte, says that the message was complete.
const LAST: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];

/// [`TAIL`] and, for one that is, an empty block, which changes nothing where a block may begin.
const TAIL_AND_EMPTY: [u8; 9] = [0, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff];
const EMPTY: &[u8] = &[0, 0, 0, 0xff, 0xff];

/// So many of them are longer than any description of codes.
const MANY: usize = 64;

/// From here on a message may have several blocks, each with a description of its codes.
const LARGE: u64 = 4 << 10;

/// What a connection that agreed on permessage-deflate has for what it receives.
pub(super) struct Inflate {
    /// Keep the decompressor between messages.
    takeover: bool,
    /// How much the thread may keep.
    memory: usize,
    /// The most compressed bytes in a message, and in a frame.
    max_message: usize,
    max_frame: usize,
    raw: Option<Box<Decompress>>,
    /// What was inflated of the message: all of it, or, in chunks, what was not handed out yet.
    out: Output,
    /// The message in progress is compressed.
    active: bool,
    /// How many of the wire bytes in the buffer are unmasked already.
    unmasked: usize,
    /// Compressed bytes of the message so far.
    taken: u64,
    /// How many bytes the message has become so far.
    made: u64,
    /// How much of `LAST` was taken.
    ending: usize,
    /// The stream ended (BFINAL), and nothing came behind it.
    at_end: bool,
}

/// Where inflating stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// All that is here was taken.
    Input,
    /// There is no more room, until what was made has been handed out.
    Full,
    /// The message is complete.
    End,
}

impl Receiver {
    /// From now on messages may be compressed, as `role` agreed.
    pub(in crate::connection) fn set_deflate(
        &mut self,
        role: Role,
        config: &Config,
        agreed: Agreed,
    ) {
        let sender = if role == Role::Server { Role::Client } else { Role::Server };
        // What does not compress grows: by little with zlib, by an eighth with the simplest codes.
        let most = config.max_message;
        let grown = most.saturating_add(most / 8).saturating_add(1 << 10);
        self.inflate = Some(Box::new(Inflate {
            takeover: agreed.takeover(sender),
            memory: config.deflate.unwrap_or_default().memory,
            max_message: grown,
            max_frame: config.max_frame.unwrap_or(grown),
            raw: None,
            out: Output::default(),
            active: false,
            unmasked: 0,
            taken: 0,
            made: 0,
            ending: 0,
            at_end: false,
        }));
    }

    /// Whether a frame with this first byte may have RSV1 set. RFC 7692 §6: the first one of a
    /// message.
    pub(super) fn allows_rsv1(&self, b0: u8) -> bool {
        self.inflate.is_some() && matches!(b0 & 0x0f, 1 | 2)
    }

    /// Whether the message in progress is compressed.
    pub(super) fn inflating(&self) -> bool {
        self.inflate.as_ref().is_some_and(|inflate| inflate.active)
    }

    /// Whether the message that this data frame is of is compressed.
    pub(super) fn is_compressed(&self, header: &Header) -> bool {
        header.rsv1 || (header.opcode == OpCode::Continuation && self.inflating())
    }

    /// Limits on the frame of a compressed message, and on the compressed message it would make.
    pub(super) fn check_compressed(&self, header: &Header, whole: bool) -> Result<(), RecvError> {
        let Some(inflate) = &self.inflate else { return Ok(()) };
        let before = if header.rsv1 { 0 } else { inflate.taken };
        if whole && header.payload_len > (inflate.max_message as u64).saturating_sub(before) {
            return Err(RecvError::MessageTooBig { limit: shown(self.max_message) });
        }
        if whole && self.fragments >= self.max_fragments {
            return Err(RecvError::TooManyFragments { limit: self.max_fragments });
        }
        if header.payload_len > inflate.max_frame as u64 {
            return Err(RecvError::FrameTooBig { limit: shown(inflate.max_frame) });
        }
        Ok(())
    }

    /// Says that a data frame begins.
    pub(super) fn begin_compressed(&mut self, header: &Header) {
        if let Some(inflate) = &mut self.inflate
            && header.opcode != OpCode::Continuation
        {
            inflate.begin(header.rsv1);
        }
    }

    /// Takes what is here of a frame of a compressed message.
    pub(super) fn take_compressed(
        &mut self,
        delivery: Delivery,
    ) -> Result<Option<Step>, RecvError> {
        let whole = delivery == Delivery::Whole && !self.chunking;
        let (State::Payload { remaining, fin, mask }, Some(kind), Some(inflate)) =
            (&mut self.state, self.message, &mut self.inflate)
        else {
            return Ok(None); // `begin` set all
        };
        if whole {
            // Again, since a frame begun while chunks were asked for was not held against these.
            if *remaining > (inflate.max_message as u64).saturating_sub(inflate.taken) {
                return Err(RecvError::MessageTooBig { limit: shown(self.max_message) });
            }
            if self.fragments > self.max_fragments {
                return Err(RecvError::TooManyFragments { limit: self.max_fragments });
            }
        }
        let here = self.buf.wire().len();
        let n = usize::try_from(*remaining).map_or(here, |r| r.min(here));
        let next = self.buf.next;
        if let Some(mask) = mask {
            mask.apply(self.buf.get_mut(next + inflate.unmasked..next + n));
        }
        inflate.unmasked = n;
        let end = *fin && n as u64 == *remaining;
        // One byte more than is allowed tells that there is more.
        let most = if whole { self.max_message.saturating_add(1) } else { CHUNK };
        let from = inflate.out.len();
        let (taken, stop) = inflate.run(self.buf.get_mut(next..next + n + SLACK), n, end, most)?;
        let piece = inflate.out.bytes().get(from..).unwrap_or_default();
        inflate.made += piece.len() as u64;
        self.tally.packed(piece.len(), taken);
        if kind == DataKind::Text {
            // Whole, it is judged as it grows; else all that is here is handed out now.
            let valid = match whole {
                true => inflate.out.begins_text(),
                false => self.utf8.push_all(inflate.out.bytes(), stop == Stop::End).is_ok(),
            };
            if !valid {
                return Err(ProtocolError::BadUtf8.into());
            }
        }
        if whole && inflate.out.len() > self.max_message {
            return Err(RecvError::MessageTooBig { limit: shown(self.max_message) });
        }
        inflate.unmasked -= taken;
        inflate.taken += taken as u64;
        *remaining -= taken as u64;
        let done = *remaining == 0 && stop != Stop::Full;
        let last = stop == Stop::End;
        if done {
            self.state = State::Header;
        }
        self.buf.skip(taken);
        if last {
            if whole && kind == DataKind::Text && !inflate.out.is_text() {
                return Err(ProtocolError::BadUtf8.into());
            }
            inflate.end();
            (self.message, self.fragments) = (None, 0);
        }
        self.tally.more(taken, last);
        if self.skipping {
            inflate.out.clear();
            (self.chunking, self.skipping) = (!last, !last);
        } else if delivery == Delivery::Chunks && (last || inflate.out.len() > 0) {
            self.chunking = !last;
            return Ok(Some(self.show_inflated(Current::InflatedChunk { kind, last })));
        } else if whole && last {
            return Ok(Some(self.show_inflated(Current::Inflated(kind))));
        }
        if done || stop == Stop::Full { Ok(None) } else { self.starved().map(Some) }
    }

    #[inline]
    fn show_inflated(&mut self, current: Current) -> Step {
        let len = self.inflate.as_ref().map_or(0, |inflate| inflate.out.len());
        trace::received(len);
        self.current = current;
        self.view = (0, len);
        Step::Message
    }

    /// Lets go of what was inflated, if that is what `step` stopped at.
    #[inline(never)]
    pub(super) fn settle_inflated(&mut self) {
        if self.shows_inflated()
            && let Some(inflate) = &mut self.inflate
        {
            inflate.out.clear();
        }
    }

    /// Gives the buffer back when there is nothing in it, before a wait; frees all when nothing
    /// more will come.
    pub(super) fn rest_inflating(&mut self) {
        if self.ended() {
            self.inflate = None;
        } else if let Some(inflate) = &mut self.inflate
            && inflate.out.len() == 0
        {
            inflate.out.give();
        }
    }

    pub(super) fn shows_inflated(&self) -> bool {
        matches!(self.current, Current::Inflated(_) | Current::InflatedChunk { .. })
    }

    fn inflated(&self) -> &[u8] {
        self.inflate.as_ref().map_or(&[], |inflate| inflate.out.bytes())
    }

    pub(super) fn inflated_message(&self, kind: DataKind) -> Message<'_> {
        match kind {
            DataKind::Text => {
                Message::Text(self.inflate.as_ref().map_or("", |inflate| inflate.out.text()))
            }
            DataKind::Binary => Message::Binary(self.inflated()),
        }
    }

    pub(super) fn inflated_chunk(&self, kind: DataKind, last: bool) -> Chunk<'_> {
        Chunk { kind, data: self.inflated(), last }
    }

    pub(super) fn take_inflated(&mut self) -> Option<OwnedMessage> {
        let Current::Inflated(kind) = self.current else {
            return None;
        };
        let out = &mut self.inflate.as_mut()?.out;
        let message = match (kind, out.is_well_filled()) {
            (DataKind::Text, true) => OwnedMessage::from_text(out.take_text()),
            (DataKind::Text, false) => OwnedMessage::from_text(out.text().into()),
            (DataKind::Binary, true) => OwnedMessage::binary(out.take()),
            (DataKind::Binary, false) => OwnedMessage::binary(Bytes::copy_from_slice(out.bytes())),
        };
        self.settle();
        Some(message)
    }
}

impl Inflate {
    fn begin(&mut self, compressed: bool) {
        self.active = compressed;
        (self.unmasked, self.taken, self.made, self.ending) = (0, 0, 0, 0);
        self.at_end = false;
    }

    /// The message is complete.
    fn end(&mut self) {
        if !self.takeover
            && let Some(raw) = self.raw.take()
        {
            codec::give_decompressor(raw, self.memory);
        }
    }

    /// Inflates the next `n` bytes of the message, at the front of `wire`, behind which there is
    /// room for `LAST`; `end` says that they are its last. Says how many it took.
    fn run(
        &mut self,
        wire: &mut [u8],
        n: usize,
        end: bool,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        if end && n == 0 && self.taken == 0 {
            return Err(ProtocolError::BadDeflate.into()); // RFC 7692 §7.2.3.6: 00, not nothing
        }
        let mut raw = self.raw.take().unwrap_or_else(codec::take_decompressor);
        let done = match (end, self.takeover) {
            (true, false) if n > 0 => self.run_last(&mut raw, wire, n, most),
            (true, false) => self.run_ending(&mut raw, most),
            _ => self.run_more(&mut raw, wire.get(..n).unwrap_or_default(), end, most),
        };
        self.raw = Some(raw);
        done
    }

    /// The message's last bytes, where nothing is taken over: in one go with what goes behind
    /// them.
    fn run_last(
        &mut self,
        raw: &mut Decompress,
        wire: &mut [u8],
        n: usize,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        self.at_end = false; // something comes behind it
        let Some(input) = wire.get_mut(..n + LAST.len()) else {
            return Err(ProtocolError::BadDeflate.into()); // the buffer has the room
        };
        // What lies behind is the next frame's.
        let mut behind = [0; LAST.len()];
        if let Some(to) = input.get_mut(n..) {
            behind.copy_from_slice(to);
            to.copy_from_slice(&LAST);
        }
        let done = self.pump_to_end(raw, input, n, most);
        if let Some(to) = input.get_mut(n..) {
            to.copy_from_slice(&behind);
        }
        done
    }

    /// What goes behind the message's last bytes, where those were taken before.
    fn run_ending(
        &mut self,
        raw: &mut Decompress,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        if self.at_end {
            return Ok((0, Stop::End));
        }
        let input = LAST.get(self.ending..).unwrap_or_default();
        self.pump_to_end(raw, input, 0, most)
    }

    /// Takes `input`, of which the first `n` bytes are the message's, and which has to lead to the
    /// end of the stream.
    fn pump_to_end(
        &mut self,
        raw: &mut Decompress,
        input: &[u8],
        n: usize,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let (more, status) = self.pump(raw, rest, most)?;
            taken += more;
            let left = input.len() - taken;
            match status {
                // The end that was put there; that of a last block that lacked only `TAIL`; that
                // of a last block behind which nothing comes.
                Some(Status::StreamEnd)
                    if left == 0 || left == LAST.len() - TAIL.len() || taken == n =>
                {
                    return Ok((n, Stop::End));
                }
                Some(Status::StreamEnd) if taken < n => raw.reset(false),
                Some(_) => return Err(ProtocolError::BadDeflate.into()),
                None => {
                    self.ending += taken.saturating_sub(n);
                    return Ok((taken.min(n), Stop::Full));
                }
            }
        }
    }

    /// Bytes that more will follow, or that are the last where the context is taken over.
    fn run_more(
        &mut self,
        raw: &mut Decompress,
        input: &[u8],
        end: bool,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let (mut taken, before) = (0, self.out.len());
        // Once even if there is none: what did not fit may wait inside.
        while !(self.at_end && taken == input.len()) {
            let rest = input.get(taken..).unwrap_or_default();
            self.at_end &= rest.is_empty();
            let (more, status) = self.pump(raw, rest, most)?;
            taken += more;
            match status {
                Some(Status::StreamEnd) => {
                    raw.reset(false);
                    self.at_end = true;
                }
                Some(_) => break,
                None => return Ok((taken, Stop::Full)),
            }
        }
        if end {
            let made = self.made + (self.out.len() - before) as u64;
            self.finish(raw, self.taken + taken as u64, made)?;
        }
        Ok((taken, if end { Stop::End } else { Stop::Input }))
    }

    /// Checks that the message is complete, and leaves the stream where the next one begins. So
    /// many bytes came in all, and were made of them.
    fn finish(&mut self, raw: &mut Decompress, came: u64, made: u64) -> Result<(), RecvError> {
        if self.at_end {
            return Ok(());
        }
        // Nothing must come of what is not sent, nor of an empty block behind it: else a block was
        // not finished.
        let (taken, status) = probe(raw, &TAIL_AND_EMPTY)?;
        if status == Status::StreamEnd {
            raw.reset(false);
            // A last block that lacked only the tail.
            return if taken == TAIL.len() {
                Ok(())
            } else {
                Err(ProtocolError::BadDeflate.into())
            };
        }
        if made == 0 || made >= LARGE || came >= LARGE {
            self.probe_long(raw)?;
        }
        Ok(())
    }

    /// The same, where the message may have ended inside the description of a block's codes, which
    /// takes many bytes before anything comes of them.
    #[cold]
    fn probe_long(&mut self, raw: &mut Decompress) -> Result<(), RecvError> {
        for _ in 0..MANY {
            if probe(raw, EMPTY)?.1 == Status::StreamEnd {
                return Err(ProtocolError::BadDeflate.into());
            }
        }
        Ok(())
    }

    /// Inflates until the input is used up or the stream ends, which the status says; `None` when
    /// there is no more room first.
    fn pump(
        &mut self,
        raw: &mut Decompress,
        input: &[u8],
        most: usize,
    ) -> Result<(usize, Option<Status>), RecvError> {
        let mut taken = 0;
        loop {
            let Some(room) = self.out.room(most) else {
                return Ok((taken, None));
            };
            let before = (raw.total_in(), raw.total_out());
            let rest = input.get(taken..).unwrap_or_default();
            let status = raw.decompress(rest, room, FlushDecompress::None);
            let status = status.map_err(|_| ProtocolError::BadDeflate)?;
            taken += (raw.total_in() - before.0) as usize;
            let n = (raw.total_out() - before.1) as usize;
            // What filled the room may not be all.
            let all = n < room.len();
            self.out.filled(n);
            if status == Status::StreamEnd || all {
                return Ok((taken, Some(status)));
            }
        }
    }
}

/// Takes bytes from which nothing must come.
fn probe(raw: &mut Decompress, input: &[u8]) -> Result<(usize, Status), ProtocolError> {
    let mut out = [0];
    let before = (raw.total_in(), raw.total_out());
    let status = raw.decompress(input, &mut out, FlushDecompress::None);
    match status {
        Ok(status) if raw.total_out() == before.1 => {
            Ok(((raw.total_in() - before.0) as usize, status))
        }
        _ => Err(ProtocolError::BadDeflate),
    }
}
