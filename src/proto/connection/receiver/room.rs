//! The room for the next read: how much, and for which part of a frame.
use super::{Receiver, State};
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::{connection::recv_buffer::SLACK, frame::Header};

impl Receiver {
    /// Returns the part of the buffer to read the stream into: at least 1 byte, usually about
    /// [`read_buffer`](Config::read_buffer) bytes, and up to about [`max_read`](Config::max_read)
    /// bytes while long messages fill the reads. Afterwards [`message`](Self::message),
    /// [`chunk`](Self::chunk) and [`event`](Self::event) return `None`.
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.end_message();
        // Without a partial frame, `frame_rest` would return 0. Not calling it saves time.
        let partial = self.quick_below == 0 || self.buf.wire_len() > 0;
        let rest = if partial { self.frame_rest() } else { 0 };
        self.buf.spare_mut(self.limits.max_message, rest)
    }

    /// The missing bytes of the frame in progress for which the buffer may need room. Also tells
    /// the buffer how long the frame is, so that it can adapt its reads.
    #[inline(never)] // keeps `spare_mut` short
    pub(super) fn frame_rest(&mut self) -> usize {
        match self.state {
            State::Payload { remaining, .. } => {
                let frame = remaining.saturating_add(self.buf.message().len() as u64);
                self.buf.adapt(frame, self.read.handed_out);
                self.payload_rest(remaining)
            }
            State::Closed | State::Failed(_) => {
                self.buf.clear(); // Later input is ignored.
                0
            }
            State::Header => match Header::parse(self.buf.wire()) {
                Ok(Some((header, len))) if self.waits(&header, len) => {
                    self.buf.adapt(header.payload_len, self.read.handed_out);
                    // `waits` has checked that the frame fits into one read and is incomplete, so
                    // nothing overflows.
                    len + header.payload_len as usize - self.buf.wire_len()
                }
                // Nothing is known of the next message: it counts as long as the last.
                Ok(None) if self.read.handed_out > 0 => {
                    let last = (self.view.1 - self.view.0) as u64;
                    self.buf.adapt(last, self.read.handed_out);
                    0
                }
                _ => 0,
            },
            State::Control { .. } => 0, // At most 125 bytes are missing: an ordinary read has room.
        }
    }

    #[inline(always)]
    fn payload_rest(&self, remaining: u64) -> usize {
        match &self.message {
            // Compressed bytes do not stay in the buffer, so it need not grow for them.
            Some(message) if message.compressed => 0,
            _ => {
                // At most `max_message` bytes for a message taken whole, because `step` refuses
                // more. A length that does not fit `usize` counts as `limit`.
                let limit = if self.in_chunks() { usize::MAX } else { self.limits.max_message };
                let here = self.buf.wire_len() as u64;
                usize::try_from(remaining.saturating_sub(here)).map_or(limit, |n| n.min(limit))
            }
        }
    }

    /// What [`buffer_len`](Self::buffer_len) will be after the next read, in bytes: more only if
    /// the buffer has too little room for that read. If that read is one that [asks for more than
    /// the last](Config::max_read), the buffer may become twice as long, and what the read inflates
    /// may take up to [`max_message`](Config::max_message).
    pub fn grown_len(&self) -> usize {
        let rest = match self.state {
            State::Payload { remaining, .. } => self.payload_rest(remaining),
            _ => 0, // an ordinary read has room for it
        };
        self.buf.grown_len(rest) + self.inflated_len()
    }

    /// The length of the buffer that the next read wants, in bytes: [`lend`](Self::lend) a buffer
    /// of this length, or a longer one. It grows up to about [`max_read`](Config::max_read) while
    /// long messages fill the reads, and shrinks to about [`read_buffer`](Config::read_buffer) when
    /// the reads become small. If a lent buffer has less than half of this length, the receiver
    /// drops it at the next read, and allocates one itself.
    #[inline]
    pub fn wanted_len(&self) -> usize {
        self.buf.ask() + SLACK
    }
}
