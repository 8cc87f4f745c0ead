//! What the deadlines ask: whether bytes or data arrived, and which frame or message is incomplete.
use super::{Receiver, State, progress::Handing};
use crate::proto::{frame::Header, tape::Note};

/// Positions in the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::connection) struct Unfinished {
    pub(in crate::proto::connection) frame: Option<u64>,
    /// If no message is in progress, the position of the frame, which may begin one.
    pub(in crate::proto::connection) message: Option<u64>,
}

impl Receiver {
    /// Modulo 2⁶⁴.
    pub(crate) fn total(&self) -> u64 {
        self.kept.total
    }

    /// Modulo 2³².
    pub(in crate::proto::connection) fn reads(&self) -> u32 {
        self.reads
    }

    #[inline]
    pub(crate) fn read_in_vain(&mut self) {
        self.reads = self.reads.wrapping_add(1);
        self.tape.note(Note::Read(0));
    }

    /// Reports a read that got bytes of the peer, but brought no input: over TLS, a part of a
    /// record, or records without data. Call this in place of [`commit`](Self::commit), and do not
    /// [report](crate::Connection::report) the read. The bytes are a sign of life for the
    /// [heartbeat](crate::Config::heartbeat), and show that a peer that has not answered our Close
    /// goes on sending ([`close_timeout`](crate::Config::close_timeout)). No other deadline counts
    /// them: they are neither data nor a part of a frame before TLS has opened their record.
    #[inline]
    pub fn heard_below(&mut self) {
        self.kept.heard = true;
        self.read_in_vain();
    }

    /// Since the previous call.
    pub(in crate::proto::connection) fn take_heard(&mut self) -> bool {
        core::mem::take(&mut self.kept.heard)
    }

    /// A number that changes whenever a payload byte of a data frame arrives, and whenever a
    /// message ends. So a program that waits for a message can see that a long one is on its way.
    /// Control frames do not change it. `None` if `step` has to process bytes first: a complete
    /// frame, or payload of a data frame in progress.
    pub fn data_mark(&self) -> Option<u64> {
        // The consumed bytes minus `not_data`, plus the received payload of a data frame that waits
        // in the buffer. `quick` does not add headers to `not_data`, so even an empty message
        // changes the number.
        let consumed = self.stream_position().wrapping_sub(self.kept.not_data);
        let ahead = match &self.state {
            State::Header => match Header::parse(self.buf.wire()) {
                Ok(Some((header, len))) => {
                    let here = (self.buf.wire_len() - len) as u64;
                    // Behind a complete frame, even a control frame, more data may have arrived.
                    if here >= header.payload_len {
                        return None;
                    }
                    if header.opcode.is_control() { 0 } else { here }
                }
                // Either the header is incomplete, so no data has arrived, or it is invalid, so
                // `step` will refuse it.
                _ => 0,
            },
            State::Payload { .. } if self.buf.wire_len() > 0 => return None,
            State::Control { len, .. } if self.buf.wire_len() >= *len => return None,
            _ => 0,
        };
        Some(consumed.wrapping_add(ahead))
    }

    /// A payload handed out in chunks has no deadline, because the caller sees each part arrive and
    /// can limit the time itself: `None` while it arrives.
    pub(in crate::proto::connection) fn unfinished(&self) -> Option<Unfinished> {
        let frame = match self.state {
            State::Payload { .. } | State::Control { .. } => Some(self.frame_start),
            State::Header if self.buf.wire_len() > 0 => Some(self.stream_position()),
            _ => None,
        };
        let message = match &self.message {
            Some(message) if message.handing != Handing::Chunks => Some(message.began),
            Some(_) if matches!(self.state, State::Payload { .. }) => return None,
            // Inside a message in chunks, an incomplete header or control frame has a deadline, but
            // the message has none.
            Some(_) => None,
            None => frame,
        };
        (frame.is_some() || message.is_some()).then_some(Unfinished { frame, message })
    }
}
