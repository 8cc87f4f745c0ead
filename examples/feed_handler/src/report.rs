//! What each feed lost.
use crate::{exchange::Exchange, feed::Tally, handler::Handler};
use std::fmt;

/// How many failures are printed.
const SHOWN: usize = 20;

/// The report of a run.
pub struct Report {
    /// Feeds that lost ticks, or whose book is wrong or not the exchange's, and lines at fault.
    pub failed: Vec<String>,
    /// How many connections were opened, including connections that were dialed again.
    pub opened: u64,
    text: String,
}

impl Report {
    /// Makes the report at the end, when the exchange is quiet.
    pub fn new(handler: &Handler, exchange: &Exchange) -> Self {
        let mut failed = Vec::new();
        for feed in handler.feeds() {
            let tally = feed.tally;
            let number = feed.number;
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
        for feed in handler.feeds() {
            for (at, line) in feed.lines.iter().enumerate().filter(|(at, _)| feed.has_fault(*at)) {
                let why = line.ended.as_deref().unwrap_or_default();
                failed.push(format!("feed {}: line {at} has a fault: {why}", feed.number));
            }
        }
        let sum = |of: fn(&Tally) -> u64| handler.feeds().iter().map(|feed| of(&feed.tally)).sum();
        let (delivered, duplicates): (u64, u64) =
            (sum(|tally| tally.delivered), sum(|tally| tally.duplicates));
        let opened = handler.lines().map(|line| line.opened).sum();
        let replaced: u64 = handler.lines().map(|line| line.replaced).sum();
        let mut text = format!(
            "{delivered} ticks delivered once and in order, {duplicates} dropped that another line \
             had brought\n{opened} connections opened, {replaced} replaced before their time, {} \
             cut by the exchange\n",
            exchange.cuts()
        );
        let feeds = handler.feeds().len();
        failed.iter().take(SHOWN).for_each(|failed| text += &format!("{failed}\n"));
        text += &match failed.len() {
            0 => format!("lost by each of {feeds} feeds: nothing; each book is the exchange's\n"),
            n => format!("{n} failures in {feeds} feeds, of which {} are shown\n", n.min(SHOWN)),
        };
        Self { failed, opened, text }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
