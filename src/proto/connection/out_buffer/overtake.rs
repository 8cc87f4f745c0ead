//! Finds where frames begin, and places overtaking frames in front of others. It parses our own
//! headers, so that feeding need not record any places.
use super::{Kind, OutBuffer, Splice};
use crate::proto::frame::{Header, OpCode};
use alloc::vec::Vec;

/// The longest splice of messages, in bytes. A longer one would keep control frames waiting until
/// it is written.
const GROUP: usize = 4 << 10;

/// Between two frames, or the end of the content.
#[derive(Clone, Copy)]
struct Boundary {
    at: usize,
    /// How many are written before the boundary.
    splices: usize,
}

impl OutBuffer {
    /// To the beginning of the frame under way or, if there is none, to `sent`.
    pub(super) fn move_mark(&mut self) {
        self.find(|_| true);
    }

    /// The first at offset `sent` or later at which a message begins, or else the end of the
    /// content. `None` if that is inside a message in chunks.
    fn message_boundary(&mut self) -> Option<Boundary> {
        // If only control frames are left, the search walks past them to the end. If a message is
        // then fed there in order, the next search stops in front of it, at the same offset: thus
        // the messages that overtake keep their order.
        let found = self.find(|opcode| matches!(opcode, OpCode::Text | OpCode::Binary));
        (found.at < self.end || !self.open).then_some(found)
    }

    /// Walks our headers from `mark` to the first `wanted` frame that begins at `sent` or later, or
    /// else to the end. Moves `mark` forward, at most to `sent`, to shorten later searches.
    fn find(&mut self, wanted: fn(OpCode) -> bool) -> Boundary {
        let mut at = self.mark;
        let mut splices = 0;
        loop {
            if at <= self.sent {
                self.mark = at;
            }
            // Before the boundary: a splice at an earlier offset; a payload at `at`, which belongs
            // to the previous frame; and a splice at `at` that is under way, which must be
            // completed first.
            while self
                .splices
                .get(splices)
                .is_some_and(|s| s.at < at || (s.at == at && (s.begun || s.kind.is_payload())))
            {
                splices += 1;
            }
            if at == self.end {
                return Boundary { at, splices };
            }
            let Some((header, len)) = self.header(at) else {
                // Never: every frame in `bytes` is ours. Otherwise only the end of the content
                // would be a boundary for sure.
                debug_assert!(false, "our own frame cannot be parsed");
                return Boundary { at: self.end, splices: self.splices.len() };
            };
            if at >= self.sent && wanted(header.opcode) {
                return Boundary { at, splices };
            }
            at += len;
            // A spliced payload is not in `bytes`, so `at` is already at the end of the frame.
            let spliced = self.splices.iter().skip(splices).find(|s| s.kind.is_payload());
            if spliced.is_none_or(|s| s.at != at) {
                at += header.payload_len as usize;
            }
        }
    }

    fn header(&self, at: usize) -> Option<(Header, usize)> {
        Header::parse(self.bytes.get(at..self.end)?).ok().flatten()
    }

    /// Only once all control frames that overtook before are written: `Urgent::place` explains why.
    #[inline]
    pub(in crate::proto::connection) fn takes_controls(&self) -> bool {
        self.controls.is_empty()
    }

    /// Gives the new frames in `controls`, behind the first `placed` bytes, their place: the splice
    /// of these bytes or, if there are none, in front of the first data frame that has not begun to
    /// leave, or else the end. No other byte moves. There must be new frames, because no splice may
    /// be empty.
    pub(in crate::proto::connection) fn place_controls(&mut self, placed: usize) {
        let new = self.controls.len() - placed;
        self.spliced += new;
        self.overtaking += new;
        if placed > 0 {
            return;
        }
        let Boundary { at, splices } = self.find(|opcode| !opcode.is_control());
        self.splices.insert(splices, Splice { at, kind: Kind::Controls, begun: false });
    }

    /// Drops control frames that are the last outgoing bytes and wholly unwritten. `stall` stays:
    /// the stream may still refuse the bytes before these frames, or their flush.
    pub(in crate::proto::connection) fn drop_last_controls(&mut self) {
        let end = self.end;
        let last = |s: &Splice| matches!(s.kind, Kind::Controls) && s.at == end && !s.begun;
        if self.splices.back().is_some_and(last) {
            self.splices.pop_back();
            self.cut_controls(0);
            if self.len() == 0 {
                self.rewind();
            }
        }
    }

    /// `len` must include all written bytes. If no unwritten byte is left, the caller must remove
    /// the splice.
    fn cut_controls(&mut self, len: usize) {
        let dropped = self.controls.len() - len;
        self.spliced -= dropped;
        self.overtaking -= dropped;
        self.controls.truncate(len);
    }

    /// Drops every frame that has not begun to leave; all must be control frames, which is true
    /// once our Close has left. The frame under way stays whole, because a stream that ends inside
    /// a frame looks like a fault to the peer.
    pub(in crate::proto::connection) fn truncate_controls(&mut self) {
        debug_assert!(self.splices.iter().all(|splice| matches!(splice.kind, Kind::Controls)));
        self.end = self.find(|_| true).at;
        let whole = whole_frames(&self.controls, self.controls_sent);
        self.cut_controls(whole);
        if whole == self.controls_sent {
            // No overtaking control frame is under way, so the splice would be empty. (Otherwise it
            // stays at its offset, `sent`, which is also the new `end`.)
            self.splices.clear();
            self.controls.clear();
            self.controls_sent = 0;
        }
        if self.len() == 0 {
            // What the stream refused is dropped. If the refusal stayed, `Sender::close_written`
            // would return `false`.
            self.stall.set(false);
            self.rewind();
        }
    }

    /// The buffer must have no bytes to write: frames at the end of the content overtake nothing.
    pub(in crate::proto::connection) fn append_controls(&mut self) {
        let mut controls = core::mem::take(&mut self.controls);
        self.append(&controls);
        controls.clear();
        self.controls = controls; // keeps the memory
    }

    /// Moves the whole messages in `frames`, of which there must be some, in front of the first
    /// message that has not begun to leave, behind those that overtake it already, or else to the
    /// end. If the content ends inside a message in chunks, the end is no place for a message, and
    /// `frames` stays as it is.
    pub(in crate::proto::connection) fn overtake_messages(&mut self, frames: &mut Vec<u8>) {
        let Some(Boundary { at, mut splices }) = self.message_boundary() else { return };
        while self.splices.get(splices).is_some_and(|s| s.at == at) {
            splices += 1;
        }
        // Before `frames` is emptied.
        self.spliced += frames.len();
        self.overtaking += frames.len();
        let before = splices.checked_sub(1).and_then(|before| self.splices.get_mut(before));
        if let Some(Splice { at: place, kind: Kind::First(group, _), .. }) = before
            && *place == at
            && group.len() + frames.len() <= GROUP
        {
            group.append(frames);
            return;
        }
        let kind = Kind::First(core::mem::take(frames), 0);
        self.splices.insert(splices, Splice { at, kind, begun: false });
    }

    /// Unwritten bytes of messages that overtake and have a place here.
    pub(in crate::proto::connection) fn first_len(&self) -> usize {
        self.overtaking - (self.controls.len() - self.controls_sent)
    }

    /// For a Close that overtakes: drops every data frame that has not begun to leave, whether fed
    /// in order or overtaking. Returns how many bytes; [`first_len`](Self::first_len) decreases by
    /// those that overtook.
    ///
    /// The caller must append the Close at once, so `rewind` need not run. `stall` stays, because
    /// dropping bytes does not unblock the stream. No message is placed afterwards, so `open` need
    /// not change.
    pub(in crate::proto::connection) fn truncate(&mut self) -> usize {
        let before = self.len();
        let overtaking = self.overtaking;
        let fed = self.fed();
        // The control frames in front of the data are no part of a message, and stay.
        let Boundary { at, splices } = self.find(|opcode| !opcode.is_control());
        let mut i = 0;
        self.splices.retain_mut(|splice| {
            i += 1;
            match &mut splice.kind {
                Kind::Controls => true, // These are in front of all dropped frames.
                // Belongs to the frame before it, and stays if that is before the boundary.
                Kind::Payload(bytes) => {
                    let kept = i <= splices;
                    self.spliced -= if kept { 0 } else { bytes.len() };
                    kept
                }
                // A message that has begun to leave stays whole.
                Kind::First(frames, sent) => {
                    let dropped = frames.len() - whole_frames(frames, *sent);
                    frames.truncate(frames.len() - dropped);
                    self.spliced -= dropped;
                    self.overtaking -= dropped;
                    frames.len() > *sent
                }
            }
        });
        self.end = at;
        let dropped = before - self.len();
        // Now `fed` returns its old number minus `in_order`, so control frames that are queued
        // later reuse the positions of the dropped bytes. `Ledger::lost_from` keeps the dropped
        // messages from counting as written.
        let in_order = (dropped - (overtaking - self.overtaking)) as u64;
        self.origin = fed.wrapping_sub(in_order).wrapping_sub(at as u64);
        dropped
    }
}

/// The length of the frames that have a byte among the first `sent`.
fn whole_frames(frames: &[u8], sent: usize) -> usize {
    let mut whole = 0;
    while whole < sent
        && let Ok(Some((header, len))) = Header::parse(frames.get(whole..).unwrap_or_default())
    {
        whole += len + header.payload_len as usize;
    }
    whole
}
