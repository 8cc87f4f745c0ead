//! Encodes this end's frames (header, masking key, payload) and counts them.
use crate::proto::{
    connection::{counters::Counters, out_buffer::OutBuffer},
    entropy::Keys,
    frame::{self, MAX_CONTROL_LEN, MAX_HEADER_LEN, OpCode},
    kernel,
    role::Role,
    trace,
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;
use core::ops::Range;

pub(super) struct Encoder {
    /// A client's.
    keys: Option<Box<Keys>>,
    pub(super) counters: Counters,
}

/// The room for a control frame, in bytes. Its header is shorter, but `store` takes an array of
/// that length.
const CONTROL_ROOM: usize = MAX_HEADER_LEN + MAX_CONTROL_LEN;

impl Encoder {
    pub(super) fn new(keys: Option<Box<Keys>>) -> Self {
        Self { keys, counters: Counters::default() }
    }

    #[inline]
    pub(super) fn masks(&self) -> bool {
        self.keys.is_some()
    }

    #[inline(always)]
    pub(super) fn role(&self) -> Role {
        Role::by_mask(self.masks())
    }

    #[inline]
    pub(super) fn key(&mut self) -> Option<[u8; 4]> {
        self.keys.as_mut().map(|keys| keys.next())
    }

    pub(super) fn splice(&mut self, out: &mut OutBuffer, b0: u8, payload: Bytes) {
        // Always `Some`: `room` returns `MAX_HEADER_LEN` bytes. The header is queued first, because
        // `OutBuffer::splice` puts the payload at the end of the content.
        if let Some(head) = out.room(MAX_HEADER_LEN).first_chunk_mut() {
            let n = frame::store(head, b0, payload.len() as u64, None);
            out.filled(n);
            self.count(b0, payload.len());
        }
        out.splice(payload);
    }

    /// The header may be shorter than the space reserved for it, hence the cut.
    pub(super) fn behind(&mut self, frames: &mut Vec<u8>, b0: u8, payload: &[u8]) {
        let key = self.key();
        let start = frames.len();
        frames.resize(start + MAX_HEADER_LEN + payload.len(), 0);
        let n = encode(frames.get_mut(start..).unwrap_or_default(), b0, payload, key);
        frames.truncate(start + n);
        self.count(b0, payload.len());
    }

    pub(super) fn control_header(&self) -> usize {
        2 + if self.masks() { 4 } else { 0 }
    }

    /// `payload` has at most 125 bytes.
    pub(super) fn control(&mut self, opcode: OpCode, payload: &[u8], put: impl FnOnce(&[u8])) {
        let key = self.key();
        let mut frame = [0; CONTROL_ROOM];
        let n = encode(&mut frame, opcode.unfragmented(), payload, key);
        self.counters.frame(opcode.unfragmented(), payload.len());
        put(frame.get(..n).unwrap_or_default());
    }

    #[inline(always)]
    pub(super) fn count(&mut self, b0: u8, payload: usize) {
        self.counters.frame(b0, payload);
        trace::queued(self.role(), payload);
    }
}

/// `to` must have room for `MAX_HEADER_LEN` bytes and the payload. The caller gets `key` from
/// `Encoder::key` (a new one per frame, §5.3), and counts the frame.
#[inline]
pub(super) fn encode(to: &mut [u8], b0: u8, payload: &[u8], key: Option<[u8; 4]>) -> usize {
    let Some(head) = to.first_chunk_mut() else {
        debug_assert!(false, "`to` must have room for the longest header");
        return 0;
    };
    let at = frame::store(head, b0, payload.len() as u64, key);
    let end = at + payload.len();
    // Always `Some`: `to` has enough room. Indexing would add code for a panic.
    if let Some(to) = to.get_mut(at..end) {
        match key {
            Some(key) => kernel::copy_xor(to, payload, key),
            None => to.copy_from_slice(payload),
        }
    }
    end
}

/// `payload` is in `to` already, near its final place.
#[inline]
pub(super) fn encode_around(
    to: &mut [u8],
    b0: u8,
    payload: Range<usize>,
    key: Option<[u8; 4]>,
) -> usize {
    let len = payload.len();
    let at = frame::header_len(len, key.is_some());
    // First, because a header longer than its room would overwrite the payload.
    if at != payload.start {
        to.copy_within(payload, at);
    }
    if let Some(head) = to.first_chunk_mut() {
        frame::store(head, b0, len as u64, key);
    }
    let end = at + len;
    if let (Some(key), Some(payload)) = (key, to.get_mut(at..end)) {
        kernel::xor_in_place(payload, key);
    }
    end
}
