//! The messages on the wire: ticks and snapshots, one in each WebSocket message. All numbers are
//! little-endian, all offsets fixed.
//!
//! A **tick**, 48 bytes: one level of one order book has changed.
//!
//! ```text
//! offset  size
//!      0     1  kind: 1
//!      1     1  side: 0 bid, 1 ask
//!      2     2  zero
//!      4     4  size; 0: the level is gone
//!      8     8  sequence: one more than that of the tick before
//!     16     8  encoded at: nanoseconds since the Unix epoch
//!     24     8  instrument: ASCII, padded with zeros
//!     32     8  price: signed, in units of 1e-9
//!     40     8  checksum of all books after this tick
//! ```
//!
//! A **snapshot**, 40 bytes and 24 for each level: the current state of all books, which replaces
//! the subscriber's books. The first message on a connection is a snapshot. A later snapshot tells
//! a subscriber that was too slow what it missed: `skipped` ticks, up to the tick `sequence`, were
//! conflated into the snapshot. So a jump in the sequence is either announced, or a gap.
//!
//! ```text
//! offset  size                                              each level, from offset 40 on
//!      0     1  kind: 2                                          0     8  instrument
//!      1     3  zero                                             8     8  price
//!      4     4  number of levels                                16     4  size
//!      8     8  sequence of the newest tick contained           20     1  side
//!     16     8  encoded at                                      21     3  zero
//!     24     8  skipped: how many ticks it stands for
//!     32     8  checksum
//! ```
//!
//! By an **echo**, as in NTP, a subscriber learns how its clock differs from the server's, and so
//! how old a tick is. It sends eight bytes of its choice. The answer has two times of the server's
//! clock: when the echo was received, and when it was answered. The server ignores all other
//! messages of a subscriber.
//!
//! ```text
//! offset  size                                              in the answer also
//!      0     1  kind: 3                                         16     8  received at
//!      1     7  zero                                            24     8  answered at
//!      8     8  the subscriber's own
//! ```
use crate::{
    book::{Level, Side, Symbol, Update},
    clock,
};

pub const TICK_LEN: usize = 48;
const SNAPSHOT_LEN: usize = 40;
const LEVEL_LEN: usize = 24;

const TICK: u8 = 1;
const SNAPSHOT: u8 = 2;
const ECHO: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    pub sequence: u64,
    pub encoded_at: u64,
    pub update: Update,
    pub checksum: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub sequence: u64,
    pub skipped: u64,
    pub checksum: u64,
    levels: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    Tick(Tick),
    Snapshot(Snapshot<'a>),
}

impl Tick {
    #[inline]
    pub fn encode(&self) -> [u8; TICK_LEN] {
        let Update { level: Level { instrument, side, price }, size } = self.update;
        let mut out = [0; TICK_LEN];
        out[0] = TICK;
        out[1] = side as u8;
        out[4..8].copy_from_slice(&size.to_le_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..24].copy_from_slice(&self.encoded_at.to_le_bytes());
        out[24..32].copy_from_slice(&instrument.0);
        out[32..40].copy_from_slice(&price.to_le_bytes());
        out[40..48].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }
}

/// Encodes a snapshot.
pub fn snapshot(
    sequence: u64,
    skipped: u64,
    encoded_at: u64,
    checksum: u64,
    levels: impl ExactSizeIterator<Item = Update>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(SNAPSHOT_LEN + levels.len() * LEVEL_LEN);
    out.extend_from_slice(&[SNAPSHOT, 0, 0, 0]);
    out.extend_from_slice(&(levels.len() as u32).to_le_bytes());
    for field in [sequence, encoded_at, skipped, checksum] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for Update { level: Level { instrument, side, price }, size } in levels {
        out.extend_from_slice(&instrument.0);
        out.extend_from_slice(&price.to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&[side as u8, 0, 0, 0]);
    }
    out
}

/// The answer to an echo. `None` for any other message of a subscriber.
pub fn echo(said: &[u8]) -> Option<[u8; 32]> {
    let received_at = clock::now();
    let asked: &[u8; 16] = said.try_into().ok().filter(|asked: &&[u8; 16]| asked[0] == ECHO)?;
    let mut out = [0; 32];
    out[..16].copy_from_slice(asked);
    out[16..24].copy_from_slice(&received_at.to_le_bytes());
    out[24..].copy_from_slice(&clock::now().to_le_bytes());
    Some(out)
}

impl<'a> Payload<'a> {
    /// Parses a message. `None` if it is neither a tick nor a snapshot.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        if len(bytes)? != bytes.len() {
            return None;
        }
        let mut fields = Fields(bytes);
        let [kind, side, ..] = fields.take::<4>()?;
        let size = fields.u32()?;
        let (sequence, encoded_at) = (fields.u64()?, fields.u64()?);
        if kind == SNAPSHOT {
            let (skipped, checksum) = (fields.u64()?, fields.u64()?);
            let levels = fields.0;
            return Some(Self::Snapshot(Snapshot { sequence, skipped, checksum, levels }));
        }
        let level = Level {
            instrument: Symbol(fields.take()?),
            side: Side::from_wire(side)?,
            price: fields.u64()? as i64,
        };
        let checksum = fields.u64()?;
        let update = Update { level, size };
        Some(Self::Tick(Tick { sequence, encoded_at, update, checksum }))
    }
}

impl Snapshot<'_> {
    /// The levels of the snapshot. A malformed level is left out: the checksum then differs.
    pub fn levels(&self) -> impl Iterator<Item = Update> {
        self.levels.chunks_exact(LEVEL_LEN).filter_map(|bytes| {
            let mut fields = Fields(bytes);
            let (instrument, price) = (Symbol(fields.take()?), fields.u64()? as i64);
            let size = fields.u32()?;
            let [side, ..] = fields.take::<4>()?;
            Some(Update { level: Level { instrument, side: Side::from_wire(side)?, price }, size })
        })
    }
}

/// The length of the message that begins here. `None` for an unknown kind or under 8 bytes.
#[inline]
pub fn len(bytes: &[u8]) -> Option<usize> {
    let mut fields = Fields(bytes);
    let [kind, ..] = fields.take::<4>()?;
    match (kind, fields.u32()?) {
        (TICK, _) => Some(TICK_LEN),
        (SNAPSHOT, levels) => Some(SNAPSHOT_LEN + levels as usize * LEVEL_LEN),
        _ => None,
    }
}

/// Bytes, from which one field after the other is read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    #[inline]
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
