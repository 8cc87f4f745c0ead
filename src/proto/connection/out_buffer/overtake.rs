//! Where frames begin, and what may go in between: found by reading our own headers when a frame
//! overtakes, so that nothing is recorded per frame.
use super::{Kind, OutBuffer, Splice, Stall};
use crate::proto::frame::{Header, OpCode};
use alloc::vec::Vec;
use bytes::Bytes;

/// A whole message that overtakes.
pub(in crate::proto::connection) struct First {
    pub(in crate::proto::connection) frame: Bytes,
}

/// A place between two frames.
#[derive(Clone, Copy)]
struct Boundary {
    at: usize,
    /// How many splices lie before it.
    splices: usize,
}

impl OutBuffer {
    /// Moves `mark` up to `sent`, or to the frame under way.
    pub(super) fn move_mark(&mut self) {
        self.find(|_| true);
    }

    /// The first place at or behind `sent` where a message begins that has not begun to be written;
    /// `None` where that is not known yet.
    fn message_boundary(&mut self) -> Option<Boundary> {
        // Behind control frames, so that the answer is the same before and after data is fed, and
        // those that overtake keep their order.
        let found = self.find(|opcode| matches!(opcode, OpCode::Text | OpCode::Binary));
        (found.at < self.end || !self.open).then_some(found)
    }

    /// Walks our own headers from `mark` to the first boundary at or behind `sent` that is
    /// `wanted`, told what the next frame is, or to the end. Moves `mark` on, at most to `sent`.
    fn find(&mut self, wanted: impl Fn(OpCode) -> bool) -> Boundary {
        let (mut at, mut splices) = (self.mark, 0);
        loop {
            if at <= self.sent {
                self.mark = at;
            }
            // A payload spliced in here belongs to the frame before; a frame under way goes on.
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
                debug_assert!(false, "a frame of ours is none");
                return Boundary { at: self.end, splices: self.splices.len() };
            };
            if at >= self.sent && wanted(header.opcode) {
                return Boundary { at, splices };
            }
            at += len;
            let spliced = self.splices.iter().skip(splices).find(|s| s.kind.is_payload());
            if spliced.is_none_or(|s| s.at != at) {
                at += header.payload_len as usize;
            }
        }
    }

    fn header(&self, at: usize) -> Option<(Header, usize)> {
        Header::parse(self.bytes.get(at..self.end)?).ok().flatten()
    }

    /// Whether control frames may overtake now: those that did before are written.
    #[inline]
    pub(in crate::proto::connection) fn takes_controls(&self) -> bool {
        self.controls.is_empty()
    }

    /// Where control frames that are to overtake are encoded, behind those that do, before they are
    /// placed.
    pub(in crate::proto::connection) fn controls(&mut self) -> &mut Vec<u8> {
        &mut self.controls
    }

    /// Puts them, but for the first `placed` bytes, behind the control frames that overtake
    /// already; where there are none, before all data frames that have not begun to be written.
    /// What lies behind stays where it is.
    pub(in crate::proto::connection) fn place_controls(&mut self, placed: usize) {
        let new = self.controls.len() - placed;
        self.spliced += new;
        self.aside += new;
        if placed > 0 {
            return;
        }
        let Boundary { at, splices } = self.find(|opcode| !opcode.is_control());
        let bytes = Bytes::new();
        let splice = Splice { at, kind: Kind::Controls, begun: false, bytes };
        self.splices.insert(splices, splice);
    }

    /// Drops those that are behind all that was fed in order, if nothing of them was written.
    pub(in crate::proto::connection) fn drop_last_controls(&mut self) {
        let end = self.end;
        let last = |s: &Splice| s.kind == Kind::Controls && s.at == end && !s.begun;
        if self.splices.back().is_some_and(last) {
            self.splices.pop_back();
            self.cut_controls(0);
        }
    }

    /// Drops what is behind the first `len` bytes of the control frames that overtake.
    fn cut_controls(&mut self, len: usize) {
        let dropped = self.controls.len() - len;
        self.spliced -= dropped;
        self.aside -= dropped;
        self.controls.truncate(len);
    }

    /// Drops every frame of which nothing was written, where control frames alone are left. The
    /// frame under way stays whole: a peer that reads on takes half a frame for a violation.
    pub(in crate::proto::connection) fn truncate_controls(&mut self) {
        debug_assert!(self.splices.iter().all(|splice| splice.kind == Kind::Controls));
        self.end = self.find(|_| true).at;
        let mut whole = 0;
        while whole < self.controls_sent
            && let Ok(Some((header, len))) =
                Header::parse(self.controls.get(whole..).unwrap_or_default())
        {
            whole += len + header.payload_len as usize;
        }
        self.cut_controls(whole);
        if whole == self.controls_sent {
            self.splices.clear();
            self.controls.clear();
            self.controls_sent = 0;
        }
        if self.len() == 0 {
            self.stall = Stall::No;
            self.rewind();
        }
    }

    /// Puts them at the end.
    pub(in crate::proto::connection) fn append_controls(&mut self) {
        let controls = core::mem::take(&mut self.controls);
        self.append(&controls);
        self.controls = controls;
        self.controls.clear();
    }

    /// Puts a whole message before the first message that has not begun to be written, behind
    /// those that overtook before it. Gives it back where that place is not known yet.
    pub(in crate::proto::connection) fn overtake_message(
        &mut self,
        first: First,
    ) -> Result<(), First> {
        let Some(Boundary { at, mut splices }) = self.message_boundary() else {
            return Err(first);
        };
        let First { frame } = first;
        while self.splices.get(splices).is_some_and(|s| s.at == at) {
            splices += 1;
        }
        self.spliced += frame.len();
        self.aside += frame.len();
        let splice = Splice { at, kind: Kind::First, begun: false, bytes: frame };
        self.splices.insert(splices, splice);
        Ok(())
    }

    /// How many bytes of messages that overtake are to be written.
    pub(in crate::proto::connection) fn first_len(&self) -> usize {
        self.aside - (self.controls.len() - self.controls_sent)
    }

    /// Drops every data frame that has not begun to be written. Says how many bytes that were.
    pub(in crate::proto::connection) fn truncate(&mut self) -> usize {
        let before = self.len();
        let aside = self.aside;
        let fed = self.fed();
        // A control frame that waits in order stays: it was not fed.
        let Boundary { at, splices } = self.find(|opcode| !opcode.is_control());
        let mut i = 0;
        self.splices.retain(|splice| {
            i += 1;
            let kept = i <= splices || splice.kind == Kind::Controls;
            if !kept {
                self.spliced -= splice.bytes.len();
                match splice.kind {
                    Kind::First => self.aside -= splice.bytes.len(),
                    Kind::Payload | Kind::Controls => {}
                }
            }
            kept
        });
        self.end = at;
        let dropped = before - self.len();
        // The bytes fed in order now end here.
        let in_order = (dropped - (aside - self.aside)) as u64;
        self.origin = fed.wrapping_sub(in_order).wrapping_sub(at as u64);
        self.open = false;
        dropped
    }
}
