//! Tells the deadlines whether any bytes arrived, whether data arrived, and whether a frame is
//! incomplete.
use super::{Receiver, State, progress::Handing};
use crate::proto::frame::Header;

impl Receiver {
    /// The number of bytes received, modulo 2⁶⁴.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether bytes arrived since the previous call of `take_heard`.
    pub(in crate::proto::connection) fn take_heard(&mut self) -> bool {
        core::mem::take(&mut self.heard)
    }

    /// Returns a number that changes whenever a payload byte of a data frame arrives, and whenever
    /// a message ends. `None` while a complete frame, or payload bytes of a data frame in progress,
    /// wait for `step`, which counts them.
    ///
    /// The number is the count of consumed bytes minus `not_data`, plus the received payload bytes
    /// of a data frame that waits in the buffer. So `quick` need not count the messages that it
    /// handles.
    pub(in crate::proto::connection) fn data_mark(&self) -> Option<u64> {
        let consumed = self.place().wrapping_sub(self.not_data);
        let ahead = match &self.state {
            State::Header => match Header::parse(self.buf.wire()) {
                Ok(Some((header, len))) => {
                    let here = (self.buf.wire_len() - len) as u64;
                    if here >= header.payload_len {
                        return None;
                    }
                    if header.opcode.is_control() { 0 } else { here }
                }
                _ => 0,
            },
            State::Payload { .. } if self.buf.wire_len() > 0 => return None,
            State::Control { len, .. } if self.buf.wire_len() >= *len => return None,
            _ => 0,
        };
        Some(consumed.wrapping_add(ahead))
    }

    /// The position in the received bytes at which the partial frame began. `None` without a
    /// partial frame, and inside the payload of a message handed out in chunks, which has no
    /// deadline.
    pub(crate) fn partial_frame(&self) -> Option<u64> {
        match self.state {
            State::Payload { .. } if self.handing() == Some(Handing::Chunks) => None,
            State::Payload { .. } | State::Control { .. } => Some(self.frame_start),
            State::Header if self.buf.wire_len() > 0 => Some(self.place()),
            _ => None,
        }
    }
}
