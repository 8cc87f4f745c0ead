//! How many bytes a read asks for: more while long messages fill the reads, and fewer again when
//! they bring little.
use super::{RecvBuffer, SLACK};

impl RecvBuffer {
    #[inline]
    pub(in crate::proto::connection) fn ask(&self) -> usize {
        ((self.base as usize) << self.doubled).min(self.most as usize)
    }

    /// A read that filled its room completed `messages` messages and ended inside a frame of
    /// `frame` bytes: `ask` doubles if this is long, and halves if it and most of the messages are
    /// short. So small messages, however many, are read `base` bytes at a time.
    pub(in crate::proto::connection) fn adapt(&mut self, frame: u64, messages: u32) {
        // Nothing was read into the buffer, or all that had arrived was read.
        if core::mem::take(&mut self.left_room) || self.spare > 0 || self.end == 0 {
            return;
        }
        if frame >= u64::from(self.base / 8) {
            self.doubled += u8::from(self.ask() < self.most as usize);
            self.unneeded_reads = 0;
        } else if messages > 8 {
            self.doubled = self.doubled.saturating_sub(1);
        }
        self.set_usual();
    }

    /// Halves `ask` if a buffer that is processed now held less than a quarter of it.
    pub(super) fn calm(&mut self) {
        if (1..self.ask() / 4).contains(&self.end) {
            self.doubled = self.doubled.saturating_sub(1);
            self.set_usual();
        }
    }

    fn set_usual(&mut self) {
        self.usual = if self.doubled == 0 { self.base + SLACK as u32 } else { u32::MAX };
    }
}
