//! The message in progress: its state across frames, its limits, and the validation of text.
use crate::proto::{
    config::Config,
    error::{ProtocolError, RecvError, shown},
    kernel::Buffer,
    message::DataKind,
    utf8::Utf8Validator,
};
use core::ops::Range;

pub(super) struct InProgress {
    pub(super) kind: DataKind,
    /// Its first byte's position in the received bytes.
    pub(super) began: u64,
    /// Its first frame had RSV1 set (RFC 7692 §6).
    pub(super) compressed: bool,
    /// How many fragments have come, an incomplete one among them.
    pub(super) fragments: u32,
    pub(super) handing: Handing,
    /// For a text handed out in chunks: a `Buffer` does not keep the earlier ones.
    utf8: Utf8Validator,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Handing {
    /// What has come is in the receive buffer, or in the inflater's if the message is compressed.
    Whole,
    /// We hand the message out in chunks, and at least one is out.
    Chunks,
    /// After chunks the caller asked for a whole message, so the rest is skipped.
    Skipping,
}

impl InProgress {
    pub(super) fn new(kind: DataKind, began: u64, compressed: bool) -> Self {
        let utf8 = Utf8Validator::default();
        Self { kind, began, compressed, fragments: 1, handing: Handing::Whole, utf8 }
    }

    /// §8.1: while a text arrives, so that its first invalid byte is found early. `range` has all
    /// received bytes of the text if `whole`, otherwise only those not handed out yet. `last`: the
    /// text ends with it.
    pub(super) fn check_text(
        &mut self,
        bytes: &mut Buffer,
        range: Range<usize>,
        whole: bool,
        last: bool,
    ) -> Result<(), ProtocolError> {
        let valid = match (whole, last) {
            (true, true) => bytes.is_text(range),
            (true, false) => bytes.begins_text(range),
            (false, _) => self.utf8.push_all(bytes.get(range).unwrap_or_default(), last),
        };
        if valid { Ok(()) } else { Err(ProtocolError::BadUtf8) }
    }
}

/// §10.4.
pub(super) struct Limits {
    /// [`Config::max_message`], in bytes, for messages handed out whole.
    pub(super) max_message: usize,
    max_frame: Option<usize>,
    fragments: u32,
    /// A shorter payload is within the limit on frames and, if it is a whole uncompressed message,
    /// within those on messages.
    pub(super) below: usize,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        let max_message = config.max_message;
        let max_frame = config.max_frame;
        // `+ 1`, because a payload of exactly the limit is allowed.
        let below = max_message.min(max_frame.unwrap_or(max_message)).saturating_add(1);
        // A message has at least one fragment, so 0 would refuse every message.
        Self { max_message, max_frame, fragments: config.max_fragments.max(1), below }
    }

    /// Compressing makes incompressible data longer: a little with zlib, and by an eighth with the
    /// simplest encoders. An eighth of a small `max_message` may be less than the header of one
    /// DEFLATE block, so 1 KiB is added.
    fn on_the_wire(&self, compressed: bool) -> usize {
        let most = self.max_message;
        if compressed { most.saturating_add(most / 8).saturating_add(1 << 10) } else { most }
    }

    /// Whether `more` bytes may follow `kept`, and whether the message may have `fragments`. The
    /// peer chooses `more`, so `kept + more` could overflow.
    pub(super) fn check_message(
        &self,
        compressed: bool,
        kept: u64,
        more: u64,
        fragments: u32,
    ) -> Result<(), RecvError> {
        if more > (self.on_the_wire(compressed) as u64).saturating_sub(kept) {
            return Err(self.message_too_big());
        }
        if fragments > self.fragments {
            return Err(RecvError::TooManyFragments { limit: self.fragments });
        }
        Ok(())
    }

    pub(super) fn message_too_big(&self) -> RecvError {
        RecvError::MessageTooBig { limit: shown(self.max_message) }
    }

    pub(super) fn check_frame(&self, compressed: bool, payload_len: u64) -> Result<(), RecvError> {
        // Most payloads are shorter, and so within the limit.
        if payload_len < self.below as u64 {
            return Ok(());
        }
        let limit = self.max_frame.unwrap_or_else(|| self.on_the_wire(compressed));
        if payload_len > limit as u64 {
            return Err(RecvError::FrameTooBig { limit: shown(limit) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
