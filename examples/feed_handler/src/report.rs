//! What each feed lost.
use crate::{exchange::Exchange, handler::Handler};
use hdrhistogram::Histogram;
use std::fmt::{self, Write};

/// Of a run.
pub struct Report {
    pub feeds: usize,
    pub delivered: u64,
    pub duplicates: u64,
    /// Those that lost ticks, or whose book was wrong, or is not that of the exchange; and how.
    pub failed: Vec<String>,
    /// How many connections were opened, those that were dialed again included.
    pub opened: u64,
    /// How many the exchange has cut, if it is ours.
    pub cuts: u64,
    stages: String,
}

impl Report {
    /// `exchange`, if it is ours: then its books are compared too.
    pub fn new(handler: &mut Handler, exchange: Option<&Exchange>) -> Self {
        let mut failed = Vec::new();
        for feed in handler.feeds() {
            let tally = feed.tally;
            let differs = exchange.is_some_and(|exchange| !exchange.is_same(feed));
            if tally.lost > 0 || tally.wrong > 0 || tally.delivered == 0 || differs {
                let differs = if differs { "differs" } else { "does not differ" };
                failed.push(format!(
                    "feed {}: {} ticks lost, {} delivered, wrong {} times; its book {differs}",
                    feed.number(),
                    tally.lost,
                    tally.delivered,
                    tally.wrong,
                ));
            }
        }
        for line in handler.lines().iter().filter(|line| line.has_given_up()) {
            let why = line.ended.as_deref().unwrap_or_default();
            failed.push(format!("a line of feed {} was given up: {why}", line.feed()));
        }
        let sum = |of: fn(&crate::feed::Tally) -> u64| {
            handler.feeds().iter().map(|feed| of(&feed.tally)).sum()
        };
        let (delivered, duplicates) = (sum(|tally| tally.delivered), sum(|tally| tally.duplicates));
        let opened = handler.lines().iter().map(|line| line.opened).sum();
        let cuts = exchange.map_or(0, Exchange::cuts);
        let mut stages = String::new();
        for (name, stage) in handler.stages().each() {
            let _ = writeln!(stages, "{name:18}{}", Percentiles(stage));
        }
        Self { feeds: handler.feeds().len(), delivered, duplicates, failed, opened, cuts, stages }
    }

    /// Whether nothing was lost.
    pub fn is_sound(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feeds, delivered, duplicates, failed, opened, cuts, stages } = self;
        writeln!(
            f,
            "{delivered} ticks delivered once and in order, {duplicates} dropped that another line had brought"
        )?;
        writeln!(f, "{opened} connections opened, {cuts} cut by the exchange")?;
        f.write_str(stages)?;
        failed.iter().try_for_each(|failed| writeln!(f, "{failed}"))?;
        match failed.len() {
            0 => writeln!(f, "lost by each of {feeds} feeds: nothing; each book is the exchange's"),
            n => writeln!(f, "{n} failures in {feeds} feeds"),
        }
    }
}

/// Of a stage, in microseconds.
struct Percentiles<'h>(&'h Histogram<u64>);

impl fmt::Display for Percentiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |part: f64| self.0.value_at_quantile(part) as f64 / 1000.0;
        write!(
            f,
            "p50 {:8.1}  p99 {:8.1}  p99.9 {:8.1}  max {:8.1} µs",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        )
    }
}
