//! Inflates the bytes of a message, and decides whether it is complete (RFC 7692 §7.2.2).
use super::{Inflate, Stop};
use crate::proto::{
    deflate::{
        codec::{Status, TAIL},
        zlib::{self, Decompressor},
    },
    error::{ProtocolError, RecvError},
};

/// A stored block that begins at a byte boundary. It yields no output.
const EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// The most bytes that `finish` writes after a message: [`TAIL`] or [`EMPTY`], and one more.
const BEHIND: usize = EMPTY.len() + 1;

const BAD: RecvError = RecvError::Protocol(ProtocolError::BadDeflate);

/// How far `finish` was when the output became full.
#[derive(Clone, Copy, Default)]
pub(super) struct Ending<N> {
    /// Input bytes that zlib had taken.
    taken: N,
    /// Those that it had taken when it last stopped at the end of a DEFLATE block; 0 if it has not.
    /// (In a message of one byte, a block does begin at 0, the message's start.)
    begun: N,
    /// The last call, `blockwise`, filled the output: zlib may hold more, or may have stopped at a
    /// block's end. The next call shows which.
    full: bool,
}

impl Inflate {
    /// Inflates the next `n` bytes, at the front of `wire`, which has at least [`BEHIND`] bytes
    /// after them. `end`: they are the message's last. The output grows to at most `most` bytes.
    /// Returns how many were taken, and why no more.
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
        // Taken out, because the calls below borrow both it and `self`.
        let mut raw = self.raw.take().unwrap_or_else(|| self.zlib.decompressor());
        // `run_end` needs the last two bytes in `wire`, and none may wait in `last`.
        let done = if end && self.kept == 0 && n > self.last.len() {
            self.run_end(&mut raw, wire, n, most)
        } else {
            self.run_kept(&mut raw, wire.get(..n).unwrap_or_default(), end, most)
        };
        self.raw = Some(raw);
        done
    }

    fn run_end(
        &mut self,
        raw: &mut Decompressor,
        wire: &mut [u8],
        n: usize,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        // `finish` overwrites bytes that may belong to the next frame, so they are restored below.
        // `wire` always has them.
        let next = *wire.get(n..).and_then(|behind| behind.first_chunk::<BEHIND>()).ok_or(BAD)?;
        let done = self.finish(raw, wire, n, Ending::default(), most);
        if let Some(to) = wire.get_mut(n..n + BEHIND) {
            to.copy_from_slice(&next);
        }
        let Some(Ending { taken, begun, full }) = done? else {
            return Ok((n, Stop::End));
        };
        // If zlib has not reached the last two bytes, the untaken ones stay in `wire`. Otherwise
        // these two move to `last`, and `run_kept` goes on with them.
        let early = n - self.last.len();
        if taken <= early {
            return Ok((taken, Stop::Full));
        }
        // From `early` on; `begun` is 0 if no block ended after that.
        let taken = taken - early;
        let begun = begun.saturating_sub(early);
        self.keep(wire.get(early..n).unwrap_or_default());
        self.pause(Ending { taken, begun, full });
        Ok((n, Stop::Full))
    }

    /// All bytes except the newest two, which wait in `last`; with `end` these too.
    fn run_kept(
        &mut self,
        raw: &mut Decompressor,
        wire: &[u8],
        end: bool,
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let mut taken = 0;
        // An earlier call has taken all bytes, and only `finish` has to go on.
        if self.ending.is_none() {
            let stop;
            (taken, stop) = self.run_to_last(raw, wire, most)?;
            if stop == Stop::Full || !end {
                return Ok((taken, stop));
            }
        }
        let mut input = [0; 2 + BEHIND];
        [input[0], input[1]] = self.last;
        let Ending { taken: done, begun, full } = self.ending.unwrap_or_default();
        let from = Ending { taken: done.into(), begun: begun.into(), full };
        let Some(ending) = self.finish(raw, &mut input, self.kept.into(), from, most)? else {
            return Ok((taken, Stop::End));
        };
        self.pause(ending);
        Ok((taken, Stop::Full))
    }

    fn run_to_last(
        &mut self,
        raw: &mut Decompressor,
        wire: &[u8],
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let kept = usize::from(self.kept);
        // The first `early` of the kept bytes are no longer among the newest two.
        let early = (kept + wire.len()).saturating_sub(self.last.len()).min(kept);
        if early > 0 {
            let last = self.last;
            let (taken, stop) = self.pump(raw, last.get(..early).unwrap_or_default(), most)?;
            // If the output is full, what zlib has left of these stays in `last`.
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

    /// When the output is full, and all bytes before those in `last` are inflated.
    fn pause(&mut self, Ending { taken, begun, full }: Ending<usize>) {
        self.ending = Some(Ending { taken: taken as u8, begun: begun as u8, full });
    }

    /// `last` must have room.
    fn keep(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(to) = self.last.get_mut(usize::from(self.kept)) {
                *to = byte;
                self.kept += 1;
            }
        }
    }

    fn pump(
        &mut self,
        raw: &mut Decompressor,
        input: &[u8],
        most: usize,
    ) -> Result<(usize, Stop), RecvError> {
        let mut taken = 0;
        // Once even without input: zlib may hold output that did not fit before.
        loop {
            let Some(room) = self.out.room(most) else {
                return Ok((taken, Stop::Full));
            };
            let rest = input.get(taken..).unwrap_or_default();
            let done = zlib::inflate(raw, rest, room, false).map_err(|_| BAD)?;
            taken += done.taken;
            self.out.filled(done.made);
            // If the output is full, zlib may hold more. At the end of a DEFLATE stream, the rest
            // of the input is a new stream.
            if !done.full && !matches!(done.status, Status::StreamEnd) {
                return Ok((taken, Stop::Input));
            }
        }
    }

    /// Inflates the message's last bytes, and checks that it is complete: `None` if so, and the
    /// next message then begins at a byte boundary, with a new block. `Some` if the output became
    /// full before.
    ///
    /// By §7.2.2, [`TAIL`] is inflated after the message, and both together must be whole blocks.
    /// It is not enough that the tail yields no output, because it could also complete the code
    /// lengths of an incomplete block: the message's own bits must end with the header of a stored
    /// block, of which the tail is LEN and NLEN (0 and 0xffff). The header and its padding have at
    /// most 10 bits. So if a block precedes it, that block ends in the message's last two bytes; if
    /// none does, the header is the whole message.
    ///
    /// With `blockwise`, zlib stops after each block, but reports that only while input is left.
    /// After a stop in the last two bytes, at most 15 bits of the message are left: of the blocks
    /// that can begin with them, only a stored one ends exactly with the tail's last bit
    /// (`tests/references` tries all). A stop before the tail may also be the end of the DEFLATE
    /// stream (BFINAL).
    ///
    /// The header of a stored block ends with two zero bits (BTYPE 00), at least the last of them
    /// in the message's last byte. So a message that ends with ff cannot end with this header, but
    /// is complete if a block ends with this byte, which happens if the sender did not remove the
    /// tail: [`EMPTY`] is then appended in its place. Any other message that ends with a block
    /// without BFINAL is refused, because zlib does not tell how many bits of the last byte are
    /// left.
    ///
    /// The first call of zlib gets all of the input, so a message that is one block needs no other.
    /// If the block that the tail completes has BFINAL, zlib's first call for the next message
    /// returns `StreamEnd`, and inflating goes on.
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
            let done = zlib::inflate(raw, rest, room, true).map_err(|_| BAD)?;
            self.out.filled(done.made);
            if full && done.made == 0 {
                begun = taken; // No output was waiting, so zlib had stopped at a block's end.
            }
            full = done.full;
            taken += done.taken;
            // A block that reaches the appended bytes must be a stored one without output.
            if taken > n && done.made > 0 {
                return Err(BAD);
            }
            match done.status {
                // The DEFLATE stream ends with the message, which needs no tail.
                Status::StreamEnd if taken == n => return Ok(None),
                Status::StreamEnd if taken < n => begun = taken,
                Status::Progress if full => {} // The next round shows why zlib stopped.
                Status::Progress if taken <= n => begun = taken, // A block ended here.
                Status::Progress if taken == whole && begun == n && flushed => {
                    // If the last block ended inside the byte ff, the rest of ff began a block with
                    // BFINAL. If that ends with the appended bytes, zlib now returns `StreamEnd`,
                    // and the message is invalid.
                    let done = zlib::inflate(raw, &[], &mut [0], true).map_err(|_| BAD)?;
                    let last = matches!(done.status, Status::StreamEnd);
                    return if last { Err(BAD) } else { Ok(None) };
                }
                Status::Progress if taken == whole && begun + 1 >= n && !flushed => {
                    return Ok(None);
                }
                _ => return Err(BAD),
            }
            // Only a block's end within the last two bytes matters.
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

/// `input` with `behind` written after its first `n` bytes and one extra byte, and the length
/// without that. The extra byte is there because zlib reports the end of a block only while input
/// is left; if zlib takes it, the message is incomplete.
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
