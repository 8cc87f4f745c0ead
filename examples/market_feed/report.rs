//! What is shown: the result, as a table.
use crate::subscriber::Stats;
use std::time::Duration;

/// What came of the run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Ticks due to the subscribers, summed over them.
    pub(crate) sent: u64,
    pub(crate) stats: Stats,
    /// What both ends took together, where that is known.
    pub(crate) cpu: Option<Duration>,
}

impl Outcome {
    /// Nothing was lost, and all books were right.
    pub(crate) fn is_sound(&self) -> bool {
        let Stats { received, conflated, .. } = self.stats;
        self.stats.is_sound() && received + conflated == self.sent
    }

    pub(crate) fn table(&self) -> String {
        let cells = ROWS.iter().filter_map(|(name, cell)| Some((name, cell(self)?)));
        cells.map(|(name, cell)| format!("{name:<18}{cell:>14}\n")).collect()
    }

    fn latency_micros(&self, percentile: f64) -> Option<String> {
        let nanos = self.stats.latency.value_at_percentile(percentile);
        Some(format!("{} µs", grouped(nanos.div_ceil(1000))))
    }
}

/// Fewer ticks do not say what one costs: the clock of [`clock::cpu`](crate::clock::cpu) is coarse,
/// and connecting takes its part.
const ENOUGH: u64 = 100_000;

type Cell = fn(&Outcome) -> Option<String>;

/// The table; a row is left out where nothing is known.
const ROWS: [(&str, Cell); 11] = [
    ("ticks sent", |run| Some(grouped(run.sent))),
    ("ticks received", |run| Some(grouped(run.stats.received))),
    ("conflated", |run| Some(grouped(run.stats.conflated))),
    ("gaps", |run| Some(grouped(run.stats.gaps))),
    ("bad checksums", |run| Some(grouped(run.stats.bad_checksums))),
    ("ticks per second", |run| Some(grouped(run.stats.ticks_per_second().round() as u64))),
    ("CPU per tick", |run| {
        let (cpu, ticks) = (run.cpu?.as_nanos() as u64, run.stats.received);
        Some(if ticks < ENOUGH { "-".into() } else { format!("{} ns", grouped(cpu / ticks)) })
    }),
    ("latency p50", |run| run.latency_micros(50.0)),
    ("        p99", |run| run.latency_micros(99.0)),
    ("        p99.9", |run| run.latency_micros(99.9)),
    ("        max", |run| run.latency_micros(100.0)),
];

/// 1234567 as 1,234,567.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
