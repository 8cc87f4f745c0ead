//! What the deadlines ask: whether anything came, whether data did, and whether a frame has begun.
use super::{Receiver, State, progress::Handing};
use crate::proto::frame::Header;

impl Receiver {
    /// Whether something arrived since `take_heard` was last called.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// Whether something arrived since the last call.
    pub(in crate::proto::connection) fn take_heard(&mut self) -> bool {
        core::mem::take(&mut self.heard)
    }

    /// A number that changes with each message that ends, and with each byte of a message's payload
    /// that arrives; `None` while there is input that was not stepped over.
    ///
    /// Nothing is counted for a message that `quick` takes: it is the bytes consumed, but for those
    /// that are no data.
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

    /// The position in the stream where the partial frame began, if there is one and its time is
    /// limited.
    pub(crate) fn partial_frame(&self) -> Option<u64> {
        match self.state {
            State::Payload { .. } if self.handing() == Some(Handing::Chunks) => None,
            State::Payload { .. } | State::Control { .. } => Some(self.begun),
            State::Header if self.buf.wire_len() > 0 => Some(self.place()),
            _ => None,
        }
    }
}
