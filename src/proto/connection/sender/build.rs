//! Messages that the caller builds directly in the outgoing buffer, behind room for the header.
//!
//! ```text
//! content | header | payload under way | room
//!         ^ end, until the message is whole
//! ```
//!
//! The content's end moves only when the message is whole. So if the caller fails or panics before,
//! the content is unchanged.
use super::{Position, Sender, encoder::encode_around};
use crate::proto::{
    error::SendError,
    frame::{self, MAX_HEADER_LEN},
    message::DataKind,
    outbound::prepared::opcode,
    utf8,
};
use core::{fmt, ops::Range};

impl Sender {
    /// Begins a message that you build directly in the outgoing buffer. Compared with
    /// [feeding](Self::feed) a message that was built elsewhere, this saves an allocation and a
    /// copy. [`MessageWriter::feed`] queues the message. If the [`MessageWriter`] is dropped
    /// instead, nothing is queued.
    ///
    /// With an adapter, call this on its `sender_mut()`, then `flush` to send the message. On a
    /// split connection, call this in `with_sender`: calls of the other half wait until your
    /// closure returns. Until [`MessageWriter::feed`], the message is not queued, and does not
    /// count as in progress.
    ///
    /// ```
    /// use core::fmt::Write;
    /// use tickwire::{Config, Connection, DataKind, Negotiated};
    ///
    /// let mut conn = Connection::server(&Config::server(), Negotiated::default());
    /// let price = 10842_u32;
    /// let size = 5_u16;
    /// let tx = conn.sender_mut();
    ///
    /// let mut tick = tx.build(DataKind::Binary)?;
    /// let (price_at, size_at) = tick.zeroed(6).split_at_mut(4);
    /// price_at.copy_from_slice(&price.to_be_bytes());
    /// size_at.copy_from_slice(&size.to_be_bytes());
    /// tick.feed()?;
    ///
    /// let mut json = tx.build(DataKind::Text)?;
    /// write!(json, r#"{{"price":{price},"size":{size}}}"#)?;
    /// // with std: serde_json::to_writer(&mut json, &tick)?;
    /// let fed = json.feed()?;
    /// assert!(!tx.is_written(fed));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`feed`](Self::feed), if no message may be fed now.
    #[inline]
    pub fn build(&mut self, kind: DataKind) -> Result<MessageWriter<'_>, SendError> {
        self.admit()?;
        // The header's length depends on the payload's, which is not known yet. This is right for a
        // payload of 126 to 65,535 bytes; a shorter one is quickly moved afterwards, and a longer
        // one is rare.
        let at = frame::header_len(126, self.encoder.masks());
        let end = self.out.content_end() + at;
        Ok(MessageWriter { tx: self, kind, at, end })
    }

    /// `lies` is in the room, with space for the header in front. `filled` adds the frame to the
    /// content, so it comes after everything that can fail.
    fn frame_built(&mut self, kind: DataKind, lies: Range<usize>) -> Result<Position, SendError> {
        let b0 = opcode(kind).unfragmented();
        let len = lies.len();
        // Before it is compressed, so that a refused text leaves no trace in the compressor.
        if kind == DataKind::Text && !utf8::is_valid(self.out.built(lies.clone())) {
            return Err(SendError::BadUtf8);
        }
        // If it returns `false`, it has not touched the built message.
        if self.frame_compressed_built(b0, lies.clone()) {
        } else if len > self.max_frame {
            // The frames need headers where the message lies.
            let payload = self.out.built(lies).to_vec();
            self.frames(b0, &payload);
        } else {
            // `encode_around` writes a header as one array, so there has to be room for the
            // longest.
            let key = self.encoder.key();
            let n =
                encode_around(self.out.room_keeping(MAX_HEADER_LEN + len, lies.end), b0, lies, key);
            self.out.filled(n);
            self.encoder.count(b0, len);
        }
        Ok(self.position())
    }
}

/// A message that is being built directly in the outgoing buffer: see [`Sender::build`].
///
/// It implements [`fmt::Write`], and with `std` also `io::Write`. These writes never return an
/// error. The buffer grows as needed. A message of less than 126 bytes, or of 64 KiB and more, is
/// moved once, by a few bytes, unless one call of [`zeroed`](Self::zeroed) made all of it.
#[must_use = "nothing is queued until `feed` is called"]
pub struct MessageWriter<'a> {
    tx: &'a mut Sender,
    kind: DataKind,
    /// Where the payload begins, counted from the end of the content.
    at: usize,
    /// Where the payload ends, counted from the start of the buffer.
    end: usize,
}

impl MessageWriter<'_> {
    /// Appends `n` zero bytes to the message, and returns them, so that you can fill them yourself.
    /// Each call writes these zeros anew, so no part of an older message can be sent.
    ///
    /// # Panics
    ///
    /// If memory for `n` bytes cannot be allocated, as with a `Vec`.
    #[inline]
    pub fn zeroed(&mut self, n: usize) -> &mut [u8] {
        let len = self.len();
        if len == 0 {
            // Most messages made with `zeroed` are made by one call: then the header fits exactly,
            // and the message is not moved later.
            self.at = frame::header_len(n, self.tx.encoder.masks());
        }
        let keep = self.at + len;
        // With room for the longest header, as `frame_built` asks for later, so that the buffer
        // need not grow again. If the sum saturates, the allocation fails, so the sums below cannot
        // overflow.
        self.tx.out.room_keeping(n.saturating_add(keep + MAX_HEADER_LEN), keep);
        self.end = self.tx.out.content_end() + keep + n;
        // The second range tells the compiler the length, if `n` is a constant. `room` does not
        // grow the buffer here, so the message's earlier bytes stay.
        let room = self.tx.out.room(keep + n).get_mut(keep..);
        let room = room.and_then(|room| room.get_mut(..n)).unwrap_or_default();
        room.fill(0);
        room
    }

    /// Queues the message behind everything fed before. As with [`Sender::feed`], the message is
    /// compressed if the connection compresses.
    ///
    /// # Errors
    ///
    /// [`BadUtf8`](SendError::BadUtf8) if a text is not valid UTF-8.
    #[inline]
    pub fn feed(self) -> Result<Position, SendError> {
        let lies = self.at..self.at + self.len();
        self.tx.frame_built(self.kind, lies)
    }

    fn len(&self) -> usize {
        self.end - self.tx.out.content_end() - self.at
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if !self.tx.out.put(self.end, bytes) {
            self.push_slow(bytes);
        }
        self.end += bytes.len();
    }

    #[cold]
    #[inline(never)]
    fn push_slow(&mut self, bytes: &[u8]) {
        // `room_keeping` may move the content within the buffer.
        let keep = self.at + self.len();
        self.tx.out.room_keeping(keep + bytes.len(), keep);
        self.end = self.tx.out.content_end() + keep;
        self.tx.out.put(self.end, bytes); // Now there is room, so the result is `true`.
    }
}

/// Shows the length only: payloads may be secret.
impl fmt::Debug for MessageWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl fmt::Write for MessageWriter<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(feature = "std")]
impl std::io::Write for MessageWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.push(bytes);
        Ok(())
    }

    /// Does nothing: the message leaves when the connection is flushed.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
