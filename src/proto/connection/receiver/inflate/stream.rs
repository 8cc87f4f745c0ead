//! Inflates a message from its bytes, and decides whether it is complete (RFC 7692 §7.2.2).
use super::{Inflate, Stop};
use crate::proto::{
    deflate::codec::{self, Decompressor, TAIL},
    error::{ProtocolError, RecvError},
};
use zlib_rs::{InflateFlush, Status};

/// An empty stored block at a byte boundary: it yields nothing.
const EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// The most bytes that are put behind a message: [`TAIL`] or [`EMPTY`], and one byte more.
const BEHIND: usize = EMPTY.len() + 1;

const BAD: RecvError = RecvError::Protocol(ProtocolError::BadDeflate);

/// How far the end of a message was inflated when the room was used up.
#[derive(Clone, Copy, Default)]
pub(super) struct Ending<N> {
    taken: N,
    /// The byte of `last`, counted from 1, in which the latest block ended. 0 stands for the start
    /// of a message of one byte, where a block begins. In a longer message, 0 stands for no block.
    begun: N,
    /// The room was used up: a block may have ended, or the bytes taken may yield more.
    full: bool,
}

impl Inflate {
    /// Inflates the next `n` bytes of the message. They are at the front of `wire`, which has
    /// [`BEHIND`] more bytes; `end` says that they are the message's last. Returns the number of
    /// bytes taken.
    pub(super) fn run(
        &mut self,
        wire: &mut [u8],
        n: usize,
        end: bool,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        // A zero-length message has no incomplete block, so it inflates to nothing.
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

    /// Inflates the message's last bytes in place.
    fn run_end(
        &mut self,
        raw: &mut Decompressor,
        wire: &mut [u8],
        n: usize,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let Some((_, behind)) = wire.split_at_mut_checked(n) else {
            return Err(BAD); // Never: the buffer has the room.
        };
        let Some(behind) = behind.first_chunk_mut::<BEHIND>() else {
            return Err(BAD);
        };
        let next = *behind; // Bytes of the next frame, restored below.
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
        // If the latest block ended in front of `last`, `begun` becomes 0.
        let (taken, begun) = (taken - early, begun.saturating_sub(early));
        self.keep(wire.get(early..n).unwrap_or_default());
        self.pause(Ending { taken, begun, full });
        Ok((n, Stop::Full))
    }

    /// Inflates bytes in the middle of the message, or the rest of its last bytes.
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

    /// Inflates all bytes except the last two, which it keeps.
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

    /// Saves the state: the room is used up, and only the kept bytes are left.
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

    /// Inflates until the input or the room is used up.
    fn pump(
        &mut self,
        raw: &mut Decompressor,
        input: &[u8],
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let mut taken = 0;
        // Runs once even without input, because zlib may hold output that did not fit before.
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
    /// §7.2.2 inflates [`TAIL`] after the message. Together they must be whole blocks. It is not
    /// enough to check that the tail yields no output: a message may be cut inside code lengths
    /// that the tail completes. So the message's own bits must end with the header of a stored
    /// block, without its lengths. That header is in the last 10 bits, so the block before it ends
    /// in the last two bytes, or the message has no other block.
    ///
    /// With `Block`, zlib stops after each block. The stop is visible only while input is left. A
    /// block begun after such a stop has at most 15 bits of the message. Of all blocks that can
    /// begin in this way, only a stored block ends exactly with the last bit of the tail
    /// (`tests/inflated` tries all). A stop before the tail may also be the end of the stream
    /// (BFINAL).
    ///
    /// A message whose last byte is ff cannot end with that header. It is complete if a block ends
    /// with that byte, as happens if the sender left the tail in place; an empty block behind it
    /// changes nothing. A message whose last block ends in any other last byte is refused: zlib
    /// does not say how many bits of that byte are left, so the bytes to append are unknown.
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
        let (input, whole) = followed(input, n, if flushed { &EMPTY } else { &TAIL })?;
        loop {
            let Some(room) = self.out.room(most) else {
                return Ok(Some(Ending { taken, begun, full }));
            };
            let rest = input.get(taken..).unwrap_or_default();
            let done = inflate(raw, rest, room, InflateFlush::Block)?;
            self.out.filled(done.made);
            if full && done.made == 0 {
                begun = taken; // No output was waiting, so zlib had stopped at a block's end.
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
                    // If the remaining bits began a last block, zlib ends the stream here.
                    let done = inflate(raw, &[], &mut [0], InflateFlush::Block)?;
                    let last = done.status == Status::StreamEnd;
                    return if last { Err(BAD) } else { Ok(None) };
                }
                Status::Ok if taken == whole && begun + 1 >= n && !flushed => return Ok(None),
                _ => return Err(BAD),
            }
            // Only blocks that end in the last two bytes matter. Earlier bytes need no stops.
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

/// Puts `behind` after the `n` bytes of `input`. Returns both with one extra byte, and their length
/// without that byte. zlib reports the end of a block only while input is left. The extra byte
/// makes sure that some is; zlib never takes it.
fn followed<'w>(
    input: &'w mut [u8],
    n: usize,
    behind: &[u8],
) -> Result<(&'w [u8], usize), RecvError> {
    let whole = n + behind.len();
    let input = input.get_mut(..=whole).ok_or(BAD)?;
    if let Some(to) = input.get_mut(n..whole) {
        to.copy_from_slice(behind);
    }
    Ok((input, whole))
}

struct Inflated {
    taken: usize,
    made: usize,
    status: Status,
    /// The room is used up, so more output may follow.
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
