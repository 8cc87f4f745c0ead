//! Cuts messages into frames that the peer takes ([`Config::max_frame_sent`], §5.4).
//!
//! A message within the limit takes the usual path. Where there is a limit, `set_admission` sends
//! each message to the slow calls of `feed`, which come here. So without a limit, `feed` costs
//! nothing more.
use super::Sender;
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::frame::{FIN, OpCode};
use bytes::{Buf, Bytes};
use core::ops::Range;

impl Sender {
    /// Queues a payload as one frame or, if it is too long, as several. `b0` is the first byte of
    /// the frame that would have all of it.
    pub(super) fn frames(&mut self, b0: u8, payload: &[u8]) {
        if payload.len() <= self.max_frame {
            return self.frame(b0, payload);
        }
        for (b0, lies) in pieces(b0, payload.len(), self.max_frame) {
            self.frame(b0, payload.get(lies).unwrap_or_default());
        }
    }

    /// Works as [`frames`](Self::frames) for a payload that a server may splice. The pieces share
    /// its memory.
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

    /// Appends the frames of an overtaking message to those that wait.
    pub(super) fn frames_first(&mut self, b0: u8, payload: &[u8]) {
        let Self { encoder, urgent, max_frame, .. } = self;
        for (b0, lies) in pieces(b0, payload.len(), *max_frame) {
            encoder.behind(&mut urgent.first, b0, payload.get(lies).unwrap_or_default());
        }
    }
}

/// Cuts a frame's payload of `len` bytes into pieces of at most `max`, each with the first byte of
/// its frame. The opcode and RSV1 (RFC 7692 §6.1) are those of the first piece, and FIN that of the
/// last. An empty payload is one piece.
fn pieces(b0: u8, len: usize, max: usize) -> impl Iterator<Item = (u8, Range<usize>)> {
    let last = len.saturating_sub(1).checked_div(max).unwrap_or(0); // `max` is at least 1
    (0..=last).map(move |i| {
        let first = if i == 0 { b0 & !FIN } else { OpCode::Continuation as u8 };
        let fin = if i == last { b0 & FIN } else { 0 };
        let start = i * max;
        (first | fin, start..len.min(start.saturating_add(max)))
    })
}
