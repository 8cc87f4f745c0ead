//! Buffers that are lent to a connection, and taken away while it waits.
use super::{RecvBuffer, SLACK};
use alloc::{vec, vec::Vec};

impl RecvBuffer {
    /// Drops `bytes` unless the message and the wire bytes fit and leave room for input.
    #[inline]
    pub(in crate::proto::connection) fn lend(&mut self, bytes: Vec<u8>) {
        let (kept, wire) = self.held();
        if kept + wire + SLACK < bytes.len() {
            if self.bytes.is_empty() {
                self.bytes = bytes.into(); // The cursors are 0, so nothing has to move.
            } else {
                self.exchange(bytes);
            }
        }
    }

    /// The first `n` bytes of `bytes` are the next input. Returns the old buffer. Refuses `bytes`
    /// without room for the slack, or if the old buffer still holds data, because input must be
    /// contiguous.
    #[inline]
    pub(in crate::proto::connection) fn lend_filled(
        &mut self,
        bytes: Vec<u8>,
        n: usize,
    ) -> Result<Vec<u8>, Vec<u8>> {
        if !self.is_empty() || bytes.len().saturating_sub(SLACK) < n {
            return Err(bytes);
        }
        let old = self.swap(bytes);
        self.end = n;
        self.left_room = true; // `n` says nothing about what waits in the stream
        Ok(old)
    }

    #[inline]
    pub(in crate::proto::connection) fn has_buffer(&self) -> bool {
        !self.bytes.is_empty() && !self.stashed
    }

    /// A buffer of which more than half is of no use to what it holds becomes as short as that.
    pub(in crate::proto::connection) fn shrink(&mut self) {
        let (kept, wire) = self.held();
        let len = kept + wire + SLACK;
        if !self.stashed && !self.is_empty() && 2 * len <= self.bytes.len() {
            self.exchange(vec![0; len]);
        }
    }

    /// A wait begins. Bytes of at most an eighth of the buffer's length first move to the small
    /// one, to free most of the memory. A buffer with more, and the small one, stays, and the
    /// result is empty.
    #[inline]
    pub(in crate::proto::connection) fn reclaim(&mut self) -> Vec<u8> {
        if !self.is_empty() {
            return self.stash();
        }
        self.rewind();
        if self.stashed {
            // Of no use any more, so it must not count as received.
            self.exchange(Vec::new());
        }
        self.bytes.take()
    }

    #[cold]
    fn stash(&mut self) -> Vec<u8> {
        let (kept, wire) = self.held();
        if self.stashed || kept + wire > self.bytes.len() / 8 {
            return Vec::new();
        }
        let base = self.base as usize;
        let mut small = core::mem::take(&mut self.small);
        if small.len() < kept + wire + SLACK {
            // Rounded up, so that `small` also fits later waits with more bytes.
            let len = (kept + wire + SLACK).next_power_of_two().max(64);
            // `memory` lends what is longer than `base / 8`, because `swap` will not keep it.
            small = if len > base / 8 { self.memory.take(len) } else { vec![0; len] };
            if small.len() > 2 * len || small.len() == base + SLACK {
                // Too long for so few bytes, or of the length of an ordinary buffer, for which
                // `spare_mut` would mistake it.
                let other = vec![0; len + usize::from(len == base + SLACK)];
                (self.memory.give)(core::mem::replace(&mut small, other));
            }
        }
        let bytes = self.replace(small).take();
        self.stashed = true;
        bytes
    }
}
