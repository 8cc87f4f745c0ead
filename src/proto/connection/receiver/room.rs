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
        let rest = if self.is_partial() { self.frame_rest() } else { 0 };
        self.buf.spare_mut(self.limits.max_message, rest)
    }

    #[inline]
    fn is_partial(&self) -> bool {
        self.quick_below == 0 || self.buf.wire_len() > 0
    }

    /// The missing bytes of the frame in progress for which the buffer may need room. Also tells
    /// the buffer how long the frame is, so that it can adapt its reads.
    #[inline(never)] // keeps `spare_mut` short
    pub(super) fn frame_rest(&mut self) -> usize {
        if self.ended() {
            self.buf.clear(); // Later input is ignored.
        }
        let Some((frame, rest)) = self.in_progress() else { return 0 };
        self.buf.adapt(frame, self.read.handed_out);
        rest
    }

    /// The length of the frame in progress, and the missing bytes for which the buffer may need
    /// room.
    fn in_progress(&self) -> Option<(u64, usize)> {
        match self.state {
            State::Payload { remaining, .. } => {
                let frame = remaining.saturating_add(self.buf.message().len() as u64);
                Some((frame, self.payload_rest(remaining)))
            }
            State::Header => match Header::parse(self.buf.wire()) {
                // It fits into one read and is incomplete, so nothing overflows.
                Ok(Some((header, len))) if self.may_wait(&header, len) => {
                    let rest = len + header.payload_len as usize - self.buf.wire_len();
                    Some((header.payload_len, rest))
                }
                // Nothing is known of the next message: it counts as long as the last.
                Ok(None) if self.read.handed_out > 0 => {
                    Some(((self.view.1 - self.view.0) as u64, 0))
                }
                _ => None,
            },
            // Of a control frame at most 125 bytes are missing: an ordinary read has room.
            State::Control { .. } | State::Closed | State::Failed(_) => None,
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

    /// An upper bound, in bytes, on [`buffer_len`](Self::buffer_len) after the next read. A read
    /// that inflates may need up to [`max_message`](Config::max_message) more. Call it after
    /// [`step`](crate::Connection::step) has returned [`NeedInput`](crate::Step::NeedInput). A
    /// buffer that you lend before the read may have up to [`wanted_len`](Self::wanted_len) bytes.
    pub fn grown_len(&self) -> usize {
        let partial = if self.is_partial() { self.in_progress() } else { None };
        let messages = self.read.handed_out;
        self.buf.grown_len(self.limits.max_message, partial, messages) + self.inflated_len()
    }

    /// Makes the reads as short again as those of a new connection: the next asks for about
    /// [`read_buffer`](Config::read_buffer) bytes, and from there they may grow again. Also, a
    /// buffer of which less than half is in use becomes as short as what it holds. For a limit over
    /// many connections that is almost reached: after the reads of a turn, and before you ask for
    /// [`grown_len`](Self::grown_len) or [`wanted_len`](Self::wanted_len).
    pub fn reset_reads(&mut self) {
        self.end_message();
        self.buf.reset_ask();
        self.buf.shrink();
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
