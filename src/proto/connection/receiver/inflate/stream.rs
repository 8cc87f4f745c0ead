//! How a message is inflated from its bytes, and how it is known that it is complete (RFC 7692
//! §7.2.2).
use super::{Inflate, Stop};
use crate::proto::{
    deflate::codec::{self, Decompressor, TAIL},
    error::{ProtocolError, RecvError},
};
use zlib_rs::{InflateFlush, Status};

/// An empty stored block at a byte boundary: it yields nothing.
const EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// How many bytes are put behind a message, at most: [`TAIL`] or [`EMPTY`], and one more.
const BEHIND: usize = EMPTY.len() + 1;

const BAD: RecvError = RecvError::Protocol(ProtocolError::BadDeflate);

/// How far the end of a message was inflated when there was no more room.
#[derive(Clone, Copy, Default)]
pub(super) struct Ending<N> {
    taken: N,
    /// The byte of `last`, counted from 1, in which a block was last seen to end. 0: before the
    /// only byte of a message, where a block begins; with more bytes, 0 says nothing.
    begun: N,
    /// There was no room left: a block may have ended, or the bytes taken may yield more.
    full: bool,
}

impl Inflate {
    /// Inflates the next `n` bytes of the message, at the front of `wire`, behind which there are
    /// [`BEHIND`] more; `end` says that they are its last. Says how many it took.
    pub(super) fn run(
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

    /// Bytes that more may follow, or the rest of those that nothing follows.
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
        // Once even without input: output that did not fit may wait inside.
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
    /// §7.2.2 inflates [`TAIL`] after the message, which must then be whole blocks. That the tail
    /// yields nothing is not enough: a message may be cut inside code lengths that the tail
    /// completes. So the message's own bits must end with the header of a stored block, lacking
    /// only its lengths. That header is in the last 10 bits, so that the block before it ends in
    /// the last two bytes, or nothing is before it. zlib stops after each block if told to, which
    /// shows as long as there is input left. A block begun after such a stop has at most 15 bits of
    /// the message, and of all blocks that can begin so, only a stored one ends exactly with the
    /// last bit of the tail (`tests/inflated` tries all). A stop before the tail may also be the
    /// end of the stream (BFINAL).
    ///
    /// A message whose last byte is ff cannot end with that header. It is complete if a block
    /// ends with that byte, as when the sender left the tail in place: then an empty block changes
    /// nothing. If another byte ends both a block and the message, it is refused: zlib does not
    /// say how many of its bits are left, so there is no telling what to append.
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

/// `input` up to and with `behind`, put behind its `n` bytes; and one byte more, never to be taken,
/// which shows each stop.
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
