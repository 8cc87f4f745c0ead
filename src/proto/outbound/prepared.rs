//! A message that is made once and sent to many connections.
use crate::proto::{
    deflate::{
        codec::Setting,
        zlib::{Packed, Zlib},
    },
    frame::OpCode,
    message::DataKind,
    outbound::IntoOutbound,
};
use bytes::Bytes;
use core::fmt;

/// A message for fan-out: many connections send it, but it is made only once. For each connection,
/// a server's [`Sender::feed`](crate::Sender::feed) writes a header, and copies the payload. Only a
/// payload of at least [`min_vectored`](crate::Config::min_vectored) bytes is not copied but
/// shared, if the stream has vectored writes.
///
/// A client must mask each frame with a fresh masking key, so a client shares no payload. Over TLS,
/// each connection encrypts the frame with its own key. For a short message, this encryption costs
/// more than all other work.
///
/// With permessage-deflate the message is compressed once for each window size, independently of
/// other messages. For each size, the connection that sends first decides the compression level.
/// Even with context takeover, a `Prepared` refers to no earlier message. If a `Prepared` was sent
/// compressed, the next message that the connection compresses refers to no earlier message either.
/// So connections that send only `Prepared` messages gain nothing from takeover.
///
/// ```
/// use tickwire::{Config, Connection, Negotiated, Prepared};
///
/// let tick = Prepared::new(b"EURUSD 1.0842");
/// let mut subscribers: Vec<Connection> =
///     (0..3).map(|_| Connection::server(&Config::server(), Negotiated::default())).collect();
/// for subscriber in &mut subscribers {
///     subscriber.sender_mut().feed(&tick)?;
/// }
/// # Ok::<(), tickwire::SendError>(())
/// ```
#[derive(Clone)]
pub struct Prepared {
    pub(crate) payload: Bytes,
    pub(crate) kind: DataKind,
    /// `None` if the message must not be compressed.
    packed: Option<Packed>,
}

/// Shows kind and length, not the payload.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({:?}, {} bytes)", self.kind, self.payload().len())
    }
}

impl Prepared {
    /// Copies `message` once, with one allocation. The feature `deflate` adds an allocation of
    /// about 300 bytes. The message is compressed when a connection first has to send it
    /// compressed. All connections with the same window size, on any thread, share the result.
    ///
    /// A message made by [`Outbound::plain`](crate::Outbound::plain) is never compressed.
    pub fn new<'m>(message: impl IntoOutbound<'m>) -> Self {
        let message = message.into();
        let (kind, payload) = message.parts();
        Self {
            payload: Bytes::copy_from_slice(payload),
            kind,
            packed: (!message.plain).then(Packed::default),
        }
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(crate) fn compressed(&self, setting: Setting, zlib: Zlib) -> Option<&Bytes> {
        self.packed.as_ref()?.get(zlib, setting, &self.payload)
    }
}

#[inline]
pub(crate) const fn opcode(kind: DataKind) -> OpCode {
    match kind {
        DataKind::Text => OpCode::Text,
        DataKind::Binary => OpCode::Binary,
    }
}
