//! An order on the wire: number, price, size and kind, in 21 bytes, big-endian.
use tickwire::{DataKind, Position, SendError, Sender};

const LEN: usize = 21;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Quote = 1,
    Cancel = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    /// In units of 1e-9.
    pub(crate) price: u64,
    pub(crate) size: u32,
}

impl Order {
    /// Builds the order in the send buffer, after everything that is queued. Returns the position
    /// just behind the order, for [`Sender::is_written`].
    pub(crate) fn feed(&self, tx: &mut Sender) -> Result<Position, SendError> {
        let mut message = tx.build(DataKind::Binary)?;
        self.write(message.zeroed(LEN));
        message.feed() // a client masks it in place; if it is dropped instead, nothing is queued
    }

    /// Queues the order before all messages whose writing has not begun.
    pub(crate) fn feed_first(&self, tx: &mut Sender) -> Result<Position, SendError> {
        let mut bytes = [0; LEN];
        self.write(&mut bytes);
        tx.feed_first(&bytes)
    }

    fn write(&self, to: &mut [u8]) {
        let Self { kind, number, price, size } = self;
        to[..8].copy_from_slice(&number.to_be_bytes());
        to[8..16].copy_from_slice(&price.to_be_bytes());
        to[16..20].copy_from_slice(&size.to_be_bytes());
        to[20] = *kind as u8;
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let field = |at: usize| bytes[at..at + 8].try_into().map(u64::from_be_bytes).ok();
        let size = u32::from_be_bytes(bytes[16..20].try_into().ok()?);
        let kind = match bytes[20] {
            1 => Kind::Quote,
            2 => Kind::Cancel,
            _ => return None,
        };
        Some(Self { kind, number: field(0)?, price: field(8)?, size })
    }
}
