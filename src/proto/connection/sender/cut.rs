//! Cuts messages into frames that the peer takes ([`Config::max_frame_sent`], §5.4). Where there is
//! a limit, `set_admission` sends each message to the slow calls of `feed`, which come here:
//! without one, `feed` costs nothing more.
use super::Sender;
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::frame::{FIN, OpCode};
use bytes::{Buf, Bytes};
use core::ops::Range;

impl Sender {
    /// `b0` is the first byte of the frame that would have all of it.
    pub(super) fn frames(&mut self, b0: u8, payload: &[u8]) {
        if payload.len() <= self.max_frame {
            return self.frame(b0, payload);
        }
        for (b0, lies) in pieces(b0, payload.len(), self.max_frame) {
            self.frame(b0, payload.get(lies).unwrap_or_default());
        }
    }

    /// The pieces share the memory of a payload that a server may splice.
    pub(super) fn frames_owned<P: AsRef<[u8]>>(
        &mut self,
        b0: u8,
        payload: P,
        own: impl FnOnce(P) -> Bytes,
    ) {
        if payload.as_ref().len() <= self.max_frame {
            return self.frame_owned(b0, payload, own);
        }
        if self.encoder.masks() || self.max_frame < self.min_vectored {
            return self.frames(b0, payload.as_ref());
        }
        let mut rest = own(payload);
        for (b0, lies) in pieces(b0, rest.len(), self.max_frame) {
            let mut piece = rest.clone();
            piece.truncate(lies.len());
            rest.advance(piece.len().min(rest.len())); // so that the compiler sees no panic
            self.frame_owned(b0, piece, |piece| piece);
        }
    }

    pub(super) fn frames_first(&mut self, b0: u8, payload: &[u8]) {
        let Self { encoder, urgent, max_frame, .. } = self;
        for (b0, lies) in pieces(b0, payload.len(), *max_frame) {
            encoder.behind(&mut urgent.first, b0, payload.get(lies).unwrap_or_default());
        }
    }
}

/// Each with the first byte of its frame: opcode and RSV1 (RFC 7692 §6.1) go with the first piece,
/// FIN with the last. An empty payload is one piece.
fn pieces(b0: u8, len: usize, max: usize) -> impl Iterator<Item = (u8, Range<usize>)> {
    let last = len.saturating_sub(1).checked_div(max).unwrap_or(0); // `max` is at least 1
    (0..=last).map(move |i| {
        let first = if i == 0 { b0 & !FIN } else { OpCode::Continuation as u8 };
        let fin = if i == last { b0 & FIN } else { 0 };
        let start = i * max;
        (first | fin, start..len.min(start.saturating_add(max)))
    })
}
