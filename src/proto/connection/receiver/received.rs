use super::{Current, Receiver};
use crate::proto::{
    block,
    frame::{Header, OpCode},
    message::{Chunk, DataKind, Event, Info, Message, OwnedMessage},
};

impl Receiver {
    /// The message at which the last `step` stopped, if it stopped at a message. The message stays
    /// until you call a method that may overwrite it, such as `step` or `spare_mut`.
    #[inline]
    pub fn message(&self) -> Option<Message<'_>> {
        match self.current {
            Current::Message(DataKind::Text) => Some(Message::Text(self.text())),
            Current::Message(DataKind::Binary) => self.view().map(Message::Binary),
            _ => None,
        }
    }

    /// The chunk at which the last [`step_chunk`](crate::Connection::step_chunk) stopped, if it
    /// stopped at a chunk.
    #[inline]
    pub fn chunk(&self) -> Option<Chunk<'_>> {
        match self.current {
            Current::Chunk { kind, first, last } => {
                Some(Chunk { kind, first, data: self.payload(), last })
            }
            _ => None,
        }
    }

    /// The event at which the last `step` stopped; `None` for `NeedInput`, `Closed` and chunks.
    pub fn event(&self) -> Option<Event<'_>> {
        match self.current {
            Current::Nothing | Current::Chunk { .. } => None,
            Current::Message(_) => self.message().map(Event::Message),
            Current::Control(OpCode::Ping) => Some(Event::Ping(self.payload())),
            Current::Control(OpCode::Pong) => Some(Event::Pong(self.payload())),
            Current::Control(_) => Some(Event::Close(self.close_frame())),
        }
    }

    /// Returns facts about the current message, without its payload. To find these facts, the call
    /// parses the headers of received frames behind the message, which costs time.
    pub fn info(&self) -> Info {
        let more = self.between_messages() && self.more(self.buf.wire());
        // `handed_out` includes the current message, but one in chunks only from its last chunk on.
        // Without a current message it may be 0, so the subtraction saturates.
        let whole = !matches!(self.current, Current::Chunk { last: false, .. });
        let ahead = self.read.handed_out.saturating_sub(whole.into());
        Info { more, ahead, read_at: self.read.at, arrived: self.read.arrived }
    }

    /// A whole unfragmented message comes first in `wire`, apart from whole Pings and Pongs, and
    /// its header breaks no rule and no limit.
    fn more(&self, mut wire: &[u8]) -> bool {
        while let Ok(Some((header, len))) = Header::parse(wire) {
            // As `walk` checks it, because a message does not count if `step` will refuse its
            // header.
            let legal = matches!(wire, [b0, b1, ..] if self.check(*b0, Some(b1)).is_ok());
            if !legal || self.check_limits(&header, true).is_err() {
                return false;
            }
            let Some(rest) = wire.get(len..).filter(|rest| rest.len() as u64 >= header.payload_len)
            else {
                return false;
            };
            match header.opcode {
                OpCode::Ping | OpCode::Pong => {}
                _ => return header.fin && !header.opcode.is_control(),
            }
            wire = rest.get(header.payload_len as usize..).unwrap_or_default();
        }
        false
    }

    /// Returns the current message as an owned value; [`OwnedMessage`] says which memory the value
    /// keeps alive. A message of up to 4 KiB is copied into a block that it shares with other
    /// messages. A longer message that fills at least half of the buffer in which it lies is not
    /// copied: the value keeps this buffer, and the receiver gets a new one. Any other message is
    /// copied. Returns `None` if the last `step` did not stop at a message. Afterwards
    /// [`message`](Self::message) returns `None`.
    pub fn take_message(&mut self) -> Option<OwnedMessage> {
        if let Some(message) = self.take_short() {
            return Some(message);
        }
        self.take_long()
    }

    /// Up to 4 KiB. Always inlined, and callers return its result at once: otherwise the message's
    /// fields would be stored one by one and loaded two together right afterwards, which stalls the
    /// processor.
    #[inline(always)]
    pub(crate) fn take_short(&mut self) -> Option<OwnedMessage> {
        let message = self.message().filter(|it| it.as_bytes().len() <= block::LARGEST)?;
        let message = OwnedMessage::kept(message);
        self.end_message();
        Some(message)
    }

    #[inline(never)] // keeps `take_message` short
    fn take_long(&mut self) -> Option<OwnedMessage> {
        let Current::Message(kind) = self.current else { return None };
        if self.inflated {
            // Before `end_message`, which clears the inflater's buffer.
            let message = self.inflate.as_mut().map(|inflate| inflate.take_message(kind));
            self.end_message();
            return message;
        }
        self.end_message(); // Moves only cursors of `buf`, so the bytes can still be taken.
        Some(match kind {
            DataKind::Text => self.buf.take_text().into(),
            DataKind::Binary => self.buf.take_binary(self.view.0..self.view.1).into(),
        })
    }

    #[inline]
    pub(in crate::proto::connection) fn payload(&self) -> &[u8] {
        self.view().unwrap_or_default()
    }

    #[inline]
    fn view(&self) -> Option<&[u8]> {
        match &self.inflate {
            Some(inflate) if self.inflated => Some(inflate.out.bytes()),
            _ => self.buf.get(self.view.0..self.view.1),
        }
    }

    #[inline]
    fn text(&self) -> &str {
        match &self.inflate {
            Some(inflate) if self.inflated => inflate.out.text(),
            _ => self.buf.bytes.text(),
        }
    }
}
