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
        let stats = &self.stats;
        let mut table = String::new();
        let mut row = |name, cell: String| table += &format!("{name:<18}{cell:>14}\n");
        row("ticks sent", grouped(self.sent));
        row("ticks received", grouped(stats.received));
        row("conflated", grouped(stats.conflated));
        row("gaps", grouped(stats.gaps));
        row("bad checksums", grouped(stats.bad_checksums));
        row("ticks per second", grouped(stats.ticks_per_second().round() as u64));
        if let Some(cpu) = self.cpu {
            let enough = stats.received >= ENOUGH;
            let each = || format!("{} ns", grouped(cpu.as_nanos() as u64 / stats.received));
            row("CPU per tick", if enough { each() } else { "-".into() });
        }
        let latency = |percentile| {
            let nanos = stats.latency.value_at_percentile(percentile);
            format!("{} µs", grouped(nanos.div_ceil(1000)))
        };
        row("latency p50", latency(50.0));
        row("        p99", latency(99.0));
        row("        p99.9", latency(99.9));
        row("        max", latency(100.0));
        table
    }
}

/// Fewer ticks do not say what one costs: the clock of [`clock::cpu`](crate::clock::cpu) is coarse,
/// and connecting takes its part.
const ENOUGH: u64 = 100_000;

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
