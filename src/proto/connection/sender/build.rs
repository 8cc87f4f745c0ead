//! Messages that the caller builds directly in the outgoing buffer, behind room for the header.
//!
//! ```text
//! content | header | payload under way | room
//!         ^ end, until the message is whole
//! ```
//!
//! The end moves only when the message is whole. Before that, an error or a panic of the caller
//! leaves the content unchanged.
use super::{Position, Sender, encoder::encode_around};
use crate::proto::{
    connection::out_buffer::OutBuffer,
    error::{SendError, shown},
    frame::{self, MAX_HEADER_LEN},
    message::DataKind,
    outbound::prepared::opcode,
    utf8,
};
use core::{fmt, ops::Range};

impl Sender {
    /// Queues a message that `build` writes directly into the outgoing buffer. Compared with
    /// [feeding](Self::feed) a message that was built elsewhere, this saves an allocation and a
    /// copy. With an adapter, call `feed_with` on its `sender_mut()`, then `flush` to send the
    /// message.
    ///
    /// `build` gets `max` zero bytes and returns the message's length; the message begins at the
    /// first byte. The bytes are zeroed for each call, so that no part of an older message can be
    /// sent. The buffer gets room for `max` bytes, so keep `max` close to the length. Messages of
    /// 126 bytes or more have a longer header, and messages of 64 KiB or more a still longer one.
    /// If the message has a shorter header than a message of `max` bytes would have, it is moved by
    /// a few bytes, once.
    ///
    /// The inner result is the message's position, or the error of `build`. If `build` fails or
    /// panics, nothing was queued. If no message is admitted, `build` is not called. In all other
    /// ways `feed_with` works as `feed`: for example, the message is compressed if the connection
    /// compresses. On a split connection the lock is held while `build` runs, so the other half may
    /// have to wait.
    ///
    /// ```
    /// use core::convert::Infallible;
    /// use tickwire::{Config, Connection, DataKind, Negotiated};
    ///
    /// let mut conn = Connection::server(&Config::default(), Negotiated::default());
    /// let (price, size) = (10842_u32, 5_u16);
    /// let fed = conn.sender_mut().feed_with(DataKind::Binary, 6, |to| {
    ///     let (price_at, size_at) = to.split_at_mut(4);
    ///     price_at.copy_from_slice(&price.to_be_bytes());
    ///     size_at.copy_from_slice(&size.to_be_bytes());
    ///     Ok::<_, Infallible>(6)
    /// })??;
    /// assert!(!conn.sender().is_written(fed));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Overrun`](SendError::Overrun) if `build` returns more than `max`;
    /// [`BadUtf8`](SendError::BadUtf8) if a text is not valid UTF-8; otherwise as
    /// [`feed`](Self::feed).
    ///
    /// # Panics
    ///
    /// If memory for `max` bytes cannot be allocated, as with a `Vec`.
    #[inline]
    pub fn feed_with<E>(
        &mut self,
        kind: DataKind,
        max: usize,
        build: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Result<Position, E>, SendError> {
        self.admit()?;
        let at = frame::header_len(max, self.encoder.masks());
        // `frame_built` asks for room for the longest header. Because this call asks for the same
        // room, the buffer need not grow after `build`.
        let room = self.out.room(max.saturating_add(MAX_HEADER_LEN));
        let room = room.get_mut(at..).and_then(|room| room.get_mut(..max)).unwrap_or_default();
        room.fill(0);
        match build(room) {
            Err(error) => Ok(Err(error)),
            Ok(len) if len > max => Err(SendError::Overrun { len: shown(len), max: shown(max) }),
            Ok(len) => self.frame_built(kind, at..at + len).map(Ok),
        }
    }

    /// Works as [`feed_with`](Self::feed_with), but for serializers: `write` gets a writer that
    /// writes directly into the outgoing buffer. The buffer grows as needed. A message of less than
    /// 126 bytes, or of 64 KiB and more, is moved by a few bytes, once.
    ///
    /// ```
    /// use core::fmt::Write;
    /// use tickwire::{Config, Connection, DataKind, Negotiated};
    ///
    /// let mut conn = Connection::server(&Config::default(), Negotiated::default());
    /// let price = 1.0842;
    /// let tx = conn.sender_mut();
    /// let fed = tx.feed_with_writer(DataKind::Text, |w| write!(w, r#"{{"EURUSD":{price}}}"#))??;
    /// // with std: tx.feed_with_writer(DataKind::Text, |w| serde_json::to_writer(w, &tick))??
    /// # assert!(!tx.is_written(fed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`feed_with`](Self::feed_with), but never [`Overrun`](SendError::Overrun).
    #[inline]
    pub fn feed_with_writer<E>(
        &mut self,
        kind: DataKind,
        write: impl FnOnce(&mut MessageWriter<'_>) -> Result<(), E>,
    ) -> Result<Result<Position, E>, SendError> {
        self.admit()?;
        // The header's length depends on the payload's length, which is not known yet. The room is
        // for the header of a payload of 126 to 65,535 bytes. A payload of any other length is
        // moved afterwards.
        let at = frame::header_len(126, self.encoder.masks());
        let end = self.out.content_end() + at;
        let mut writer = MessageWriter { out: &mut self.out, at, end };
        if let Err(error) = write(&mut writer) {
            return Ok(Err(error));
        }
        let lies = at..at + writer.len();
        self.frame_built(kind, lies).map(Ok)
    }

    /// Queues the message that was built in the range `lies` of the room. The bytes of the room in
    /// front of the message are for the header. `filled` adds the frame to the content, so it is
    /// called only after everything that can fail.
    fn frame_built(&mut self, kind: DataKind, lies: Range<usize>) -> Result<Position, SendError> {
        let (b0, len) = (opcode(kind).unfragmented(), lies.len());
        // The text is checked before it is compressed, so that a refused text leaves no trace in
        // the compressor.
        if kind == DataKind::Text && !utf8::is_valid(self.out.built(lies.clone())) {
            return Err(SendError::BadUtf8);
        }
        // If this returns `false`, it has not touched the built message.
        if !self.frame_compressed_built(b0, lies.clone()) {
            let key = self.encoder.key();
            let n =
                encode_around(self.out.room_keeping(MAX_HEADER_LEN + len, lies.end), b0, lies, key);
            self.out.filled(n);
            self.encoder.count(b0, len);
        }
        Ok(self.position())
    }
}

/// The writer of [`Sender::feed_with_writer`], which writes directly into the outgoing buffer.
///
/// It implements [`fmt::Write`], and with `std` also `io::Write`. These writes never return an
/// error.
pub struct MessageWriter<'a> {
    out: &'a mut OutBuffer,
    /// Where the message begins, counted from the end of the content.
    at: usize,
    /// Where the message ends so far, counted from the start of the buffer.
    end: usize,
}

impl MessageWriter<'_> {
    fn len(&self) -> usize {
        self.end - self.out.content_end() - self.at
    }

    /// Appends to the message. The room behind the content holds the message, and grows as needed.
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if !self.out.put(self.end, bytes) {
            self.push_slow(bytes);
        }
        self.end += bytes.len();
    }

    /// Appends bytes that do not fit into the room.
    #[cold]
    #[inline(never)]
    fn push_slow(&mut self, bytes: &[u8]) {
        // `room_keeping` may move the content within the buffer, so `end` is computed again.
        let keep = self.at + self.len();
        self.out.room_keeping(keep + bytes.len(), keep);
        self.end = self.out.content_end() + keep;
        self.out.put(self.end, bytes);
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
