//! A subscriber without its socket: it keeps the books, and checks everything.
use crate::{
    book::Book,
    clock,
    wire::{Payload, Snapshot, Tick},
};
use hdrhistogram::Histogram;

/// What one subscriber saw, or all subscribers together.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    /// Ticks that arrived.
    pub(crate) received: u64,
    /// Ticks that the server announced it would leave out.
    pub(crate) conflated: u64,
    /// Ticks that were missing without an announcement, or out of order.
    pub(crate) gaps: u64,
    /// How often our books differed from the server's.
    pub(crate) bad_checksums: u64,
    /// The time from encoding to decoding, in nanoseconds.
    pub(crate) latency: Histogram<u32>,
}

impl Stats {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        // Up to a minute, to three digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        Ok(Self { received: 0, conflated: 0, gaps: 0, bad_checksums: 0, latency })
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<(), hdrhistogram::AdditionError> {
        self.received += other.received;
        self.conflated += other.conflated;
        self.gaps += other.gaps;
        self.bad_checksums += other.bad_checksums;
        self.latency.add(&other.latency)
    }
}

/// One subscriber.
pub(crate) struct Subscriber {
    book: Book,
    /// The newest tick seen or skipped; `None` before the first snapshot.
    sequence: Option<u64>,
    pub(crate) stats: Stats,
}

impl Subscriber {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self { book: Book::default(), sequence: None, stats: Stats::new()? })
    }

    #[inline]
    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        match (Payload::decode(payload), self.sequence) {
            (Some(Payload::Tick(tick)), Some(newest)) => self.take_tick(&tick, newest),
            (Some(Payload::Tick(_)), None) => return Err("a tick before the first snapshot"),
            (Some(Payload::Snapshot(snapshot)), newest) => self.take_snapshot(&snapshot, newest),
            (None, _) => return Err("something that is no tick and no snapshot"),
        }
        Ok(())
    }

    #[inline]
    fn take_tick(&mut self, tick: &Tick, newest: u64) {
        self.book.apply(tick.update);
        let stats = &mut self.stats;
        stats.latency.saturating_record(clock::now().saturating_sub(tick.encoded_at));
        stats.received += 1;
        stats.bad_checksums += u64::from(tick.checksum != self.book.checksum());
        self.follow(newest + 1, tick.sequence);
    }

    fn take_snapshot(&mut self, snapshot: &Snapshot<'_>, newest: Option<u64>) {
        self.book = snapshot.levels().collect();
        self.stats.bad_checksums += u64::from(snapshot.checksum != self.book.checksum());
        self.stats.conflated += snapshot.skipped;
        match newest {
            Some(newest) => self.follow(newest + snapshot.skipped, snapshot.sequence),
            None => self.sequence = Some(snapshot.sequence),
        }
    }

    #[inline]
    fn follow(&mut self, expected: u64, sequence: u64) {
        if sequence != expected {
            self.stats.gaps += sequence.checked_sub(expected).unwrap_or(1);
        }
        self.sequence = Some(sequence);
    }
}
