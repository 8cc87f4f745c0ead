//! What was sent and received, and how long echoes took.
use crate::Result;
use hdrhistogram::Histogram;
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    time::Instant,
};
use tickwire::Message;

/// The most messages that may wait for their echo. A peer that owes more is not taken for one that
/// echoes.
const OWED: usize = 1 << 20;

/// The longest echo that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 600_000_000_000;

pub(crate) struct Tally {
    sent: u64,
    received: u64,
    /// When the first message was due, and the last.
    span: Option<(Instant, Instant)>,
    /// What was sent and has not come back: its hash, and when it was due. `None` once something
    /// else came back than what was sent, in that order: then this is no echo.
    owed: Option<VecDeque<(u64, Instant)>>,
    /// In nanoseconds.
    echoes: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        let echoes = Histogram::new_with_bounds(1, LONGEST, 3)?;
        Ok(Self { sent: 0, received: 0, span: None, owed: Some(VecDeque::new()), echoes })
    }

    pub(crate) fn sent(&mut self, message: Message<'_>, due: Instant) {
        self.sent += 1;
        let first = self.span.map_or(due, |(first, _)| first);
        self.span = Some((first, due));
        if let Some(owed) = &mut self.owed {
            owed.push_back((hash(message), due));
        }
        self.owed = self.owed.take().filter(|owed| owed.len() <= OWED);
    }

    pub(crate) fn received(&mut self, message: Message<'_>) {
        self.received += 1;
        let Some(owed) = &mut self.owed else { return };
        match owed.pop_front() {
            Some((sent, due)) if sent == hash(message) => {
                let took = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.echoes.saturating_record(took.max(1));
            }
            _ => self.owed = None,
        }
    }

    /// To print.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let mut counts = format!("sent {}", self.sent);
        if let Some((first, last)) = self.span.filter(|_| self.sent > 1) {
            let seconds = last.duration_since(first).as_secs_f64();
            // One interval less than messages.
            let rate = (self.sent - 1) as f64 / seconds.max(1e-9);
            counts += &format!(" in {seconds:.3} s ({rate:.0}/s)");
        }
        counts += &format!(", received {}", self.received);
        [Some(counts), self.echo_line()].into_iter().flatten()
    }

    fn echo_line(&self) -> Option<String> {
        if self.owed.is_none() || self.echoes.is_empty() {
            return None;
        }
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let at = |quantile| ms(self.echoes.value_at_quantile(quantile));
        Some(format!(
            "echo ms: min {:.3}, p50 {:.3}, p90 {:.3}, p99 {:.3}, max {:.3}",
            ms(self.echoes.min()),
            at(0.5),
            at(0.9),
            at(0.99),
            ms(self.echoes.max())
        ))
    }
}

fn hash(message: Message<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match message {
        Message::Text(text) => text.hash(&mut hasher),
        Message::Binary(bytes) => bytes.hash(&mut hasher),
    }
    hasher.finish()
}
