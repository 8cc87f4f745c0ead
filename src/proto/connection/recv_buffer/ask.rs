//! How many bytes a read asks for: more while long messages fill the reads, and fewer again when
//! they bring little.
use super::{RecvBuffer, SLACK};

impl RecvBuffer {
    #[inline]
    pub(in crate::proto::connection) fn ask(&self) -> usize {
        self.ask_of(self.doubled)
    }

    #[inline]
    pub(super) fn ask_of(&self, doubled: u8) -> usize {
        ((self.base as usize) << doubled).min(self.most as usize)
    }

    /// A read that filled its room completed `messages` messages and ended inside a frame of
    /// `frame` bytes: `ask` doubles if this is long, and halves if it and most of the messages are
    /// short. So small messages, however many, are read `base` bytes at a time.
    pub(in crate::proto::connection) fn adapt(&mut self, frame: u64, messages: u32) {
        let doubled = self.adapted(frame, messages);
        if self.filled_its_room() && self.is_long(frame) {
            self.unneeded_reads = 0;
        }
        self.left_room = false;
        self.double(doubled);
    }

    /// What `adapt` sets `doubled` to.
    pub(super) fn adapted(&self, frame: u64, messages: u32) -> u8 {
        if !self.filled_its_room() {
            self.doubled
        } else if self.is_long(frame) {
            self.doubled + u8::from(self.ask() < self.most as usize)
        } else {
            self.doubled.saturating_sub(u8::from(messages > 8))
        }
    }

    /// Otherwise nothing was read into the buffer, or all that had arrived was read.
    fn filled_its_room(&self) -> bool {
        !self.left_room && self.spare == 0 && self.end > 0
    }

    fn is_long(&self, frame: u64) -> bool {
        frame >= u64::from(self.base / 8)
    }

    /// Makes the reads as long again as on a new connection.
    pub(in crate::proto::connection) fn reset_ask(&mut self) {
        self.double(0);
    }

    /// Halves `ask` if a buffer that is processed now held less than a quarter of it.
    pub(super) fn calm(&mut self) {
        if (1..self.ask() / 4).contains(&self.end) {
            self.double(self.doubled.saturating_sub(1));
        }
    }

    fn double(&mut self, times: u8) {
        self.doubled = times;
        self.usual = if times == 0 { self.base + SLACK as u32 } else { u32::MAX };
    }
}
