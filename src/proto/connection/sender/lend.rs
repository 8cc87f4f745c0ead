//! Large messages that are written at once, from where their owner has them.
use super::Sender;
use crate::proto::{
    error::SendError,
    frame::{self, MAX_HEADER_LEN},
    outbound::{LARGE, Outbound, prepared::opcode},
};

impl Sender {
    /// [`feed`](Self::feed), but gives a large message back, for a caller that can write it at once.
    #[inline]
    pub(crate) fn feed_small<'m>(
        &mut self,
        message: Outbound<'m>,
    ) -> Result<Option<Outbound<'m>>, SendError> {
        if message.payload().len() >= LARGE {
            return Ok(Some(message));
        }
        self.feed(message).map(|_| None)
    }

    /// The header of a message that may be written behind it before it is fed: it is large, and nothing
    /// waits.
    #[inline]
    pub(crate) fn head(&self, message: &Outbound<'_>, len: usize) -> Option<Head> {
        if !self.lends(len, message.plain) || !self.admits() || self.has_outgoing() {
            return None;
        }
        let mut bytes = [0; MAX_HEADER_LEN];
        let b0 = opcode(message.kind()).unfragmented();
        let n = frame::store(&mut bytes, b0, len as u64, None);
        Some(Head { bytes, n, len })
    }

    /// The stream took all of such a header and of the message.
    #[inline]
    pub(crate) fn passed(&mut self, head: &Head) {
        let [b0, ..] = head.bytes;
        self.encoder.count(b0, head.len);
        self.out.passed(head.frame_len());
    }

    /// [`feed`](Self::feed), for a caller that writes at once: a large payload that would only be copied
    /// is returned instead, to be [lent](crate::proto::connection::out_buffer::outgoing::Lending) to
    /// the buffer. Empty where there is nothing to lend.
    pub(crate) fn feed_lending<'m>(
        &mut self,
        message: Outbound<'m>,
    ) -> Result<&'m [u8], SendError> {
        if let Some(payload) = message.borrowed()
            && self.lends(payload.len(), message.plain)
        {
            self.admit()?;
            let b0 = opcode(message.kind()).unfragmented();
            self.encoder.borrow(&mut self.out, b0, payload.len());
            return Ok(payload);
        }
        self.feed(message).map(|_| &[][..])
    }

    /// Whether a payload is written from where it is, and as it is.
    #[inline]
    fn lends(&self, len: usize, plain: bool) -> bool {
        len >= self.vectored_from.max(LARGE)
            && !self.encoder.masks()
            && (plain || !self.deflate.is_on())
    }
}

/// A header of a frame that is not in the buffer.
pub(crate) struct Head {
    bytes: [u8; MAX_HEADER_LEN],
    n: usize,
    /// The length of the payload.
    len: usize,
}

impl Head {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.n).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn frame_len(&self) -> usize {
        self.n + self.len
    }
}
