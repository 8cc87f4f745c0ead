//! What each feed lost.
use crate::{exchange::Exchange, feed::Tally, handler::Handler};
use hdrhistogram::Histogram;
use std::fmt::{self, Write};

/// How many failures are printed.
const SHOWN: usize = 20;

/// Of a run.
pub struct Report {
    pub feeds: usize,
    pub delivered: u64,
    pub duplicates: u64,
    /// Those that lost ticks, or whose book was wrong, or is not that of the exchange, and how.
    pub failed: Vec<String>,
    /// How many connections were opened, those that were dialed again included.
    pub opened: u64,
    /// How many of them were replaced before their time.
    pub replaced: u64,
    /// How many the exchange has cut.
    pub cuts: u64,
    stages: String,
}

impl Report {
    /// At the end, when the exchange is quiet.
    pub fn new(handler: &mut Handler, exchange: &Exchange) -> Self {
        let mut failed = Vec::new();
        for feed in handler.feeds() {
            let tally = feed.tally;
            let number = feed.number();
            if tally.lost > 0 || tally.wrong > 0 {
                let Tally { lost, delivered, wrong, .. } = tally;
                failed.push(format!(
                    "feed {number}: {lost} ticks lost, {delivered} delivered, \
                     {wrong} with a wrong checksum"
                ));
            } else if tally.delivered == 0 {
                failed.push(format!("feed {number}: nothing came"));
            }
            if !exchange.is_same(feed) {
                failed.push(format!("feed {number}: its book is not the exchange's"));
            }
        }
        for line in handler.lines().iter().filter(|line| line.has_given_up()) {
            let why = line.ended.as_deref().unwrap_or_default();
            let feed = handler.feeds()[line.feed()].number();
            failed.push(format!("feed {feed}: a line was given up: {why}"));
        }
        let sum = |of: fn(&Tally) -> u64| handler.feeds().iter().map(|feed| of(&feed.tally)).sum();
        let (delivered, duplicates) = (sum(|tally| tally.delivered), sum(|tally| tally.duplicates));
        let opened = handler.lines().iter().map(|line| line.opened).sum();
        let replaced = handler.lines().iter().map(|line| line.replaced).sum();
        let cuts = exchange.cuts();
        let mut stages = String::new();
        for (name, stage) in handler.stages().each() {
            let _ = writeln!(stages, "{name:18}{}", Percentiles(stage));
        }
        Self {
            feeds: handler.feeds().len(),
            delivered,
            duplicates,
            failed,
            opened,
            replaced,
            cuts,
            stages,
        }
    }

    /// Whether nothing was lost.
    pub fn is_sound(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feeds, delivered, duplicates, failed, opened, replaced, cuts, stages } = self;
        writeln!(
            f,
            "{delivered} ticks delivered once and in order, \
             {duplicates} dropped that another line had brought"
        )?;
        writeln!(
            f,
            "{opened} connections opened, {replaced} replaced before their time, \
             {cuts} cut by the exchange"
        )?;
        f.write_str(stages)?;
        failed.iter().take(SHOWN).try_for_each(|failed| writeln!(f, "{failed}"))?;
        match failed.len() {
            0 => writeln!(f, "lost by each of {feeds} feeds: nothing; each book is the exchange's"),
            n => writeln!(f, "{n} failures in {feeds} feeds, of which {} are shown", n.min(SHOWN)),
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
