//! One message encoded once, sent to many connections.
use crate::{
    frame::{Header, OpCode},
    message::{DataKind, Message},
};
use alloc::vec::Vec;
use bytes::Bytes;

/// A message encoded ahead of time, for fan-out: made once, cloned and fed at the price of a
/// reference count or of a copy, whichever is cheaper.
///
/// It is a server's frame; a client, which has to mask each frame with a key of its own, can feed
/// it too, at the price of [`feed`](crate::Sender::feed).
///
/// ```
/// use tickwire::{Config, Connection, Negotiated, Prepared};
///
/// let tick = Prepared::new(b"EURUSD 1.0842");
/// let mut subscribers: Vec<Connection> =
///     (0..3).map(|_| Connection::server(&Config::default(), Negotiated::new())).collect();
/// for subscriber in &mut subscribers {
///     subscriber.sender().feed_prepared(&tick)?;
/// }
/// # Ok::<(), tickwire::SendError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    frame: Bytes,
    header_len: u8,
    kind: DataKind,
}

impl Prepared {
    /// Encodes `message` once: one allocation, one copy.
    pub fn new<'m>(message: impl Into<Message<'m>>) -> Self {
        let message = message.into();
        let kind = message.kind();
        let (head, n) = Header::new(opcode(kind), message.len() as u64).encode();
        let mut frame = Vec::with_capacity(n + message.len());
        frame.extend_from_slice(&head[..n]);
        frame.extend_from_slice(message.as_bytes());
        Self { frame: frame.into(), header_len: n as u8, kind }
    }

    /// The frame as a server sends it.
    #[inline]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.frame.get(usize::from(self.header_len)..).unwrap_or_default()
    }

    /// Text or binary.
    pub fn kind(&self) -> DataKind {
        self.kind
    }
}

/// The opcode of a message's first frame.
#[inline]
pub(crate) const fn opcode(kind: DataKind) -> OpCode {
    match kind {
        DataKind::Text => OpCode::Text,
        DataKind::Binary => OpCode::Binary,
    }
}
