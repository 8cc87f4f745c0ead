//! The report: the results of two runs side by side, in words for a reader who has never seen them.
use crate::{BoxError, subscriber::Stats};
use std::time::Duration;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The number of ticks due to the subscribers, summed over all of them.
    pub(crate) sent: u64,
    pub(crate) stats: Stats,
    /// The processor time of both ends together, on systems that tell it.
    pub(crate) cpu: Option<Duration>,
}

impl Outcome {
    /// Returns an error if a tick was lost, or a book differed from the server's.
    pub(crate) fn sound(self) -> Result<Self, BoxError> {
        let Stats { received, conflated, gaps, bad_checksums, .. } = self.stats;
        match received + conflated == self.sent && gaps + bad_checksums == 0 {
            true => Ok(self),
            false => Err(format!("ticks were lost or books differ: {self:?}").into()),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<(), BoxError> {
        self.sent += other.sent;
        self.cpu = self.cpu.zip(other.cpu).map(|(cpu, more)| cpu + more);
        Ok(self.stats.add(&other.stats)?)
    }

    /// A percentile of the latency, in microseconds.
    pub(crate) fn latency(&self, percentile: f64) -> u64 {
        self.stats.latency.value_at_percentile(percentile).div_ceil(1000)
    }

    /// The nanoseconds of processor time for each tick. `None` for fewer than 100,000 ticks: the
    /// clock of [`clock::cpu`](crate::clock::cpu) is coarse, and connecting takes time too.
    fn cpu_each(&self) -> Option<u64> {
        let enough = self.stats.received >= 100_000;
        self.cpu.filter(|_| enough).map(|cpu| cpu.as_nanos() as u64 / self.stats.received)
    }
}

pub(crate) fn table(ours: &Outcome, bare: &Outcome) -> String {
    let mut table = format!("{:<18}{:>12}{:>12}\n", "", "WebSocket", "bare TCP");
    let mut row = |name: &str, cell: &dyn Fn(&Outcome) -> String, words: &str| {
        table += &format!("{name:<18}{:>12}{:>12}  {words}\n", cell(ours), cell(bare));
    };
    row("messages sent", &|run| grouped(run.sent), "a tick to one subscriber is a message");
    let words = "once and in order, and each book is the server's";
    row("messages received", &|run| grouped(run.stats.received), words);
    let words = "left out for a slow subscriber: a snapshot came instead";
    row("conflated", &|run| grouped(run.stats.conflated), words);
    let words = "both ends together; needs 100,000 messages";
    let each = |run: &Outcome| run.cpu_each().map_or("-".into(), |ns| grouped(ns) + " ns");
    row("CPU per message", &each, words);
    for (name, percentile, words) in [
        ("latency p50", 50.0, "from a tick's encoding to its being checked, so also"),
        ("        p99", 99.0, "the wait behind the writes to other subscribers"),
        ("        p99.9", 99.9, ""),
        ("        max", 100.0, ""),
    ] {
        row(name, &|run| grouped(run.latency(percentile)) + " µs", words);
    }
    table
}

/// A line with the comparison of the two runs.
pub(crate) fn shown(ours: &Outcome, bare: &Outcome) -> String {
    let ratio = |ours: u64, bare: u64| format!("{:.2}", ours as f64 / bare.max(1) as f64);
    let latency = ratio(ours.latency(50.0), bare.latency(50.0));
    let cpu = ours.cpu_each().zip(bare.cpu_each()).map(|(ours, bare)| ratio(ours, bare));
    let cpu = cpu.map_or(String::new(), |cpu| format!(", and {cpu} times the CPU"));
    format!("Shown: WebSocket took {latency} times the median latency of bare TCP{cpu}.\n")
}

/// Formats 1234567 as 1,234,567.
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
