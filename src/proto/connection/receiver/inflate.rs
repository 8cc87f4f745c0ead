//! Compressed messages (RFC 7692 §6.2): inflated piece by piece, as their bytes arrive, into a
//! buffer of their own.
//!
//! The bytes on the wire are unmasked in place and let go; what they become is limited while it is
//! made. Frames, fragments and limits on frames are the receiver's.
use super::{Current, Delivery, Receiver, State};
use crate::proto::{
    config::Config,
    connection::{Step, recv_buffer::SLACK},
    deflate::{
        Agreed,
        codec::{self, Decompressor, Output, TAIL},
    },
    error::{ProtocolError, RecvError, shown},
    frame::{Header, OpCode},
    message::{DataKind, Message, OwnedMessage},
    role::Role,
    trace,
};
use bytes::Bytes;
use std::boxed::Box;
use zlib_rs::{InflateFlush, Status};

/// The most that is inflated for one chunk, in bytes.
const CHUNK: usize = 16 << 10;

/// An empty stored block at a byte boundary: nothing comes of it.
const EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// How many bytes are put behind a message, at most: [`TAIL`] or [`EMPTY`], and one more.
const BEHIND: usize = EMPTY.len() + 1;

const BAD: RecvError = RecvError::Protocol(ProtocolError::BadDeflate);

/// What a connection that agreed on permessage-deflate has for what it receives.
pub(super) struct Inflate {
    /// Keep the decompressor between messages.
    takeover: bool,
    /// How much the thread may keep.
    memory: usize,
    /// The most compressed bytes in a message, and in a frame.
    max_message: usize,
    max_frame: usize,
    raw: Option<Box<Decompressor>>,
    /// What was inflated of the message: all of it, or, in chunks, what was not handed out yet.
    out: Output,
    /// The message in progress is compressed.
    active: bool,
    /// How many of the wire bytes in the buffer are unmasked already.
    unmasked: usize,
    /// Compressed bytes of the message so far.
    taken: u64,
    /// Those that came last, and wait for what follows them: `kept` bytes, at most 2.
    last: [u8; 2],
    kept: u8,
    /// Set when nothing follows.
    ending: Option<Ending<u8>>,
}

/// How far the end of a message was inflated, when there was no more room.
#[derive(Clone, Copy, Default)]
struct Ending<N> {
    taken: N,
    /// In which byte of `last`, counted from 1, a block was last seen to end. In front of the only
    /// byte of a message one begins: 0, which says nothing where there are more.
    begun: N,
    /// There was no room left: a block may have ended, or more may come of what was taken.
    full: bool,
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
    pub(in crate::proto::connection) fn set_deflate(
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
            last: [0; 2],
            kept: 0,
            ending: None,
        }));
    }

    /// Whether a frame with this first byte may have RSV1 set. RFC 7692 §6: the first one of a
    /// message.
    pub(super) fn allows_rsv1(&self, b0: u8) -> bool {
        let begins = matches!(OpCode::from_bits(b0), Some(OpCode::Text | OpCode::Binary));
        self.inflate.is_some() && begins
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
            let first = !core::mem::replace(&mut self.chunking, !last);
            return Ok(Some(self.show_inflated(Current::InflatedChunk { kind, first, last })));
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

    pub(super) fn inflated(&self) -> &[u8] {
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
        (self.unmasked, self.taken, self.kept, self.ending) = (0, 0, 0, None);
    }

    /// The message is complete.
    fn end(&mut self) {
        if !self.takeover
            && let Some(raw) = self.raw.take()
        {
            codec::give_decompressor(raw, self.memory);
        }
    }

    /// Inflates the next `n` bytes of the message, at the front of `wire`, behind which there are
    /// [`BEHIND`] more; `end` says that they are its last. Says how many it took.
    fn run(
        &mut self,
        wire: &mut [u8],
        n: usize,
        end: bool,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        // A message without a byte has no block that is not whole: empty.
        if end && self.taken == 0 && n == 0 {
            return Ok((0, Stop::End));
        }
        let mut raw = self.raw.take().unwrap_or_else(codec::take_decompressor);
        let done = if end && self.kept == 0 && n > self.last.len() {
            self.run_end(&mut raw, wire, n, most)
        } else {
            self.run_kept(&mut raw, wire.get(..n).unwrap_or_default(), end, most)
        };
        self.raw = Some(raw);
        done
    }

    /// The message's last bytes, where they lie.
    fn run_end(
        &mut self,
        raw: &mut Decompressor,
        wire: &mut [u8],
        n: usize,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let Some((_, behind)) = wire.split_at_mut_checked(n) else {
            return Err(BAD); // the buffer has the room
        };
        let Some(behind) = behind.first_chunk_mut::<BEHIND>() else {
            return Err(BAD);
        };
        let next = *behind; // the next frame's
        let done = self.finish(raw, wire, n, Ending::default(), most);
        if let Some(to) = wire.get_mut(n..n + BEHIND) {
            to.copy_from_slice(&next);
        }
        let Some(Ending { taken, begun, full }) = done? else {
            return Ok((n, Stop::End));
        };
        let early = n - self.last.len();
        if taken <= early {
            return Ok((taken, Stop::Full));
        }
        // `begun` in front of `last` says no more than 0.
        let (taken, begun) = (taken - early, begun.saturating_sub(early));
        self.keep(wire.get(early..n).unwrap_or_default());
        self.pause(Ending { taken, begun, full });
        Ok((n, Stop::Full))
    }

    /// Bytes that more may follow, or what is left of those that nothing follows.
    fn run_kept(
        &mut self,
        raw: &mut Decompressor,
        wire: &[u8],
        end: bool,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let mut taken = 0;
        if self.ending.is_none() {
            let stop;
            (taken, stop) = self.run_to_last(raw, wire, most)?;
            if stop == Stop::Full || !end {
                return Ok((taken, stop));
            }
        }
        let mut input = [0; 2 + BEHIND];
        for (to, byte) in input.iter_mut().zip(self.last) {
            *to = byte;
        }
        let Ending { taken: done, begun, full } = self.ending.unwrap_or_default();
        let from = Ending { taken: done.into(), begun: begun.into(), full };
        let Some(ending) = self.finish(raw, &mut input, self.kept.into(), from, most)? else {
            return Ok((taken, Stop::End));
        };
        self.pause(ending);
        Ok((taken, Stop::Full))
    }

    /// Inflates all that is here but the last two bytes, which it keeps.
    fn run_to_last(
        &mut self,
        raw: &mut Decompressor,
        wire: &[u8],
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let kept = usize::from(self.kept);
        let early = (kept + wire.len()).saturating_sub(self.last.len()).min(kept);
        if early > 0 {
            let last = self.last;
            let (taken, stop) = self.pump(raw, last.get(..early).unwrap_or_default(), most)?;
            self.last.copy_within(taken..kept, 0);
            self.kept -= taken as u8;
            if stop == Stop::Full {
                return Ok((0, stop));
            }
        }
        let (now, later) = wire.split_at(wire.len().saturating_sub(self.last.len()));
        let (taken, stop) = self.pump(raw, now, most)?;
        if stop == Stop::Full {
            return Ok((taken, stop));
        }
        self.keep(later);
        Ok((wire.len(), stop))
    }

    /// There is no more room, and no byte left but those kept.
    fn pause(&mut self, Ending { taken, begun, full }: Ending<usize>) {
        self.ending = Some(Ending { taken: taken as u8, begun: begun as u8, full });
    }

    fn keep(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(to) = self.last.get_mut(usize::from(self.kept)) {
                *to = byte;
                self.kept += 1;
            }
        }
    }

    /// Inflates until the input is used up, or there is no more room.
    fn pump(
        &mut self,
        raw: &mut Decompressor,
        input: &[u8],
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let mut taken = 0;
        // Once even if there is none: what did not fit may wait inside.
        loop {
            let Some(room) = self.out.room(most) else {
                return Ok((taken, Stop::Full));
            };
            let rest = input.get(taken..).unwrap_or_default();
            let done = inflate(raw, rest, room, InflateFlush::NoFlush)?;
            taken += done.taken;
            self.out.filled(done.made);
            if done.status == Status::StreamEnd {
                raw.reset(false); // BFINAL: another stream may follow
            } else if !done.full {
                return Ok((taken, Stop::Input));
            }
        }
    }

    /// Inflates the last bytes, checks that the message was complete, and leaves the stream at a
    /// byte boundary in front of a block.
    ///
    /// §7.2.2 has [`TAIL`] inflated behind the message, and the result shall be whole blocks. That
    /// nothing comes of the tail is not enough: a message may be cut in a description of codes
    /// which the tail completes. Hence the message's own bits must end with the header of a stored
    /// block, of which only the lengths are lacking. That header is in the last 10 bits, so that
    /// the block before it ends in the last two bytes, or nothing is before it. zlib stops behind
    /// each block if told to, which shows as long as there is input left. What was begun behind
    /// such a stop has at most 15 bits of the message, and of all that can begin so, only a stored
    /// block ends with the last bit of the tail, no more and no less (`tests/inflated` tries all).
    /// A stop in front of the tail may also be the end of the stream (BFINAL).
    ///
    /// A message whose last byte is ff cannot end with that header. It is complete where a block
    /// ended with it, as one does whose sender left the tail in place: then an empty block changes
    /// nothing. Where another byte ends both a block and the message, it is refused: zlib does not
    /// say how many of its bits are left, so that there is no telling what to put behind it.
    fn finish(
        &mut self,
        raw: &mut Decompressor,
        input: &mut [u8],
        n: usize,
        from: Ending<usize>,
        most: usize,
    ) -> Result<Option<Ending<usize>>, RecvError> {
        let Ending { mut taken, mut begun, mut full } = from;
        let flushed = input.get(..n).is_some_and(|last| last.ends_with(&[0xff]));
        let behind = if flushed { &EMPTY[..] } else { &TAIL };
        let whole = n + behind.len();
        // One byte more, never to be taken, shows each stop.
        let Some(input) = input.get_mut(..=whole) else {
            return Err(BAD);
        };
        if let Some(to) = input.get_mut(n..whole) {
            to.copy_from_slice(behind);
        }
        loop {
            let Some(room) = self.out.room(most) else {
                return Ok(Some(Ending { taken, begun, full }));
            };
            let rest = input.get(taken..).unwrap_or_default();
            let done = inflate(raw, rest, room, InflateFlush::Block)?;
            self.out.filled(done.made);
            if full && done.made == 0 {
                begun = taken; // nothing waited: it had stopped
            }
            full = done.full;
            taken += done.taken;
            if taken > n && done.made > 0 {
                return Err(BAD);
            }
            match done.status {
                Status::StreamEnd if taken <= n => {
                    raw.reset(false); // BFINAL: another stream may follow
                    if taken == n {
                        return Ok(None);
                    }
                    begun = taken;
                }
                Status::Ok if full => {}
                Status::Ok if taken <= n => begun = taken,
                Status::Ok if taken == whole && begun == n && flushed => {
                    // The bits left were those of a last block.
                    let done = inflate(raw, &[], &mut [0], InflateFlush::Block)?;
                    let last = done.status == Status::StreamEnd;
                    return if last { Err(BAD) } else { Ok(None) };
                }
                Status::Ok if taken == whole && begun + 1 >= n && !flushed => return Ok(None),
                _ => return Err(BAD),
            }
            // Of earlier blocks it does not matter where they end.
            let early = n.saturating_sub(self.last.len());
            if taken < early {
                let (more, stop) =
                    self.pump(raw, input.get(taken..early).unwrap_or_default(), most)?;
                taken += more;
                full = false;
                if stop == Stop::Full {
                    return Ok(Some(Ending { taken, begun, full }));
                }
            }
        }
    }
}

struct Inflated {
    taken: usize,
    made: usize,
    status: Status,
    /// The room is used up: that may not be all.
    full: bool,
}

fn inflate(
    raw: &mut Decompressor,
    input: &[u8],
    room: &mut [u8],
    flush: InflateFlush,
) -> Result<Inflated, ProtocolError> {
    let before = (raw.total_in(), raw.total_out());
    let status = raw.decompress(input, room, flush).map_err(|_| ProtocolError::BadDeflate)?;
    let taken = (raw.total_in() - before.0) as usize;
    let made = (raw.total_out() - before.1) as usize;
    Ok(Inflated { taken, made, status, full: made == room.len() })
}
