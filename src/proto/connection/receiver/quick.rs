//! The common case of receiving, in a few comparisons. Rare or invalid input is left, unchanged, to
//! the state machine, which alone returns errors, so that each rule is enforced in one place.
use super::{Current, Receiver, Step};
use crate::proto::{
    frame::{OpCode, ShortHeader},
    kernel,
    message::DataKind,
    tape::Note,
    trace,
};

impl Receiver {
    /// `Message` if the next frame has arrived completely, and is a whole uncompressed message of
    /// less than 64 KiB. `NeedInput` if no input is left, or if a part of such a frame can wait for
    /// the rest. In all other cases, and always while `quick_below` is 0, changes nothing and
    /// returns `None`: the caller has to call `step_slow`.
    #[inline(always)]
    pub(crate) fn quick(&mut self) -> Option<Step> {
        if self.buf.wire_len() == 0 {
            return (self.quick_below > 0).then(|| self.quick_starved());
        }
        // Always `Some`: the buffer has `SLACK` bytes after the input. So is `overwrite` below: the
        // payload is in the buffer.
        let header = ShortHeader::parse(self.buf.first_bytes()?, self.mask_bit)?;
        // Too long for a limit, or `quick_below` is 0.
        if header.payload_len >= self.quick_below {
            return None;
        }
        let payload = self.buf.ahead(header.len, header.payload_len);
        if !self.buf.reaches(payload.end) {
            // As `waits` in walk.rs, which has the reasons. The first condition excludes an
            // incomplete header, because `parse` took its missing bytes from old content of the
            // buffer.
            let waits = self.buf.reaches(payload.start)
                && self.buf.holds(header.len + header.payload_len)
                && (header.opcode == OpCode::Binary || self.begins_text(header.len));
            return waits.then(|| self.quick_starved());
        }
        let key = (self.mask_bit != 0).then_some(header.key);
        if header.opcode == OpCode::Text {
            // If the text is invalid, `step_slow` finds the fault again and reports it.
            if !self.buf.bytes.unmask_text(payload.clone(), key) {
                return None;
            }
            self.current = Current::Message(DataKind::Text);
        } else {
            // Forgets which bytes are valid text, because unmasking changes them.
            if let Some(key) = key {
                kernel::xor_in_place(self.buf.overwrite(payload.start, header.payload_len)?, key);
            }
            self.current = Current::Message(DataKind::Binary);
        }
        // Nothing is consumed before this line, so that every `None` leaves the input unchanged.
        self.buf.go_to(payload.end);
        self.view = (payload.start, payload.end);
        self.read.handed_out = self.read.handed_out.wrapping_add(1);
        self.kept.counters.frame(header.opcode.unfragmented(), header.payload_len);
        trace::received(self.role(), header.payload_len);
        self.tape.note(Note::Delivered);
        Some(Step::Message)
    }

    #[inline(always)]
    fn quick_starved(&mut self) -> Step {
        self.current = Current::Nothing;
        self.tape.note(Note::Starved);
        Step::NeedInput
    }

    /// 0 if only `walk` may handle input: inside a message, while `inflated` is true, and once the
    /// stream has ended or a deadline has passed, whose error only `walk` returns.
    #[inline]
    pub(super) fn set_quick(&mut self) {
        let open =
            self.between_messages() && !self.eof && self.cut_off_by.is_none() && !self.inflated;
        self.quick_below = if open { self.limits.below } else { 0 };
    }
}
