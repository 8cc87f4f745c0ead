//! What is shown: progress while a run lasts, the result as a table or as JSON.
use crate::subscriber::{Stats, Tally};
use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Ticks due to the subscribers, summed over them.
    pub(crate) sent: u64,
    pub(crate) stats: Stats,
    /// A tick with all that frames it.
    pub(crate) bytes_per_tick: usize,
    /// What both ends took together, where that is known.
    pub(crate) cpu: Option<Duration>,
}

/// The result: the feed over WebSocket, and, when both ends were ours, over bare TCP.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) clients: usize,
    pub(crate) ws: Outcome,
    pub(crate) bare: Option<Outcome>,
}

impl Report {
    /// Nothing was lost, and all books were right.
    pub(crate) fn is_sound(&self) -> bool {
        self.ws.is_sound() && self.bare.as_ref().is_none_or(Outcome::is_sound)
    }

    pub(crate) fn table(&self) -> String {
        let columns = || std::iter::once(&self.ws).chain(&self.bare);
        let mut table = format!("{:<18}{:>14}", "", "WebSocket");
        if self.bare.is_some() {
            table += &format!("{:>14}", "bare TCP");
        }
        for (name, cell) in ROWS {
            if columns().any(|outcome| cell(outcome).is_some()) {
                table += &format!("\n{name:<18}");
                let cells = columns().map(|outcome| cell(outcome).unwrap_or_default());
                cells.for_each(|cell| table += &format!("{cell:>14}"));
            }
        }
        table + "\n"
    }

    /// On one line.
    pub(crate) fn json(&self) -> String {
        let Outcome { sent, stats, .. } = &self.ws;
        let bare = self.bare.as_ref().map_or("null".into(), |bare| latency_json(&bare.stats));
        format!(
            "{{\"clients\":{},\"sent\":{sent},\"received\":{},\"gaps\":{},\
             \"conflated\":{},\"bad_checksums\":{},\"ticks_per_second\":{:.1},\
             \"latency_us\":{},\"bare_tcp_latency_us\":{bare}}}",
            self.clients,
            stats.received,
            stats.gaps,
            stats.conflated,
            stats.bad_checksums,
            stats.ticks_per_second(),
            latency_json(stats),
        )
    }
}

impl Outcome {
    fn is_sound(&self) -> bool {
        let Stats { received, conflated, .. } = self.stats;
        self.stats.is_sound() && received + conflated == self.sent
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
const ROWS: [(&str, Cell); 12] = [
    ("ticks sent", |run| Some(grouped(run.sent))),
    ("ticks received", |run| Some(grouped(run.stats.received))),
    ("conflated", |run| Some(grouped(run.stats.conflated))),
    ("gaps", |run| Some(grouped(run.stats.gaps))),
    ("bad checksums", |run| Some(grouped(run.stats.bad_checksums))),
    ("ticks per second", |run| Some(grouped(run.stats.ticks_per_second().round() as u64))),
    ("bytes per tick", |run| Some(run.bytes_per_tick.to_string())),
    ("CPU per tick", |run| {
        let (cpu, ticks) = (run.cpu?.as_nanos() as u64, run.stats.received);
        Some(if ticks < ENOUGH { "-".into() } else { format!("{} ns", grouped(cpu / ticks)) })
    }),
    ("latency p50", |run| run.latency_micros(50.0)),
    ("        p99", |run| run.latency_micros(99.0)),
    ("        p99.9", |run| run.latency_micros(99.9)),
    ("        max", |run| run.latency_micros(100.0)),
];

/// In nanoseconds, each with its name in the JSON.
fn latency(stats: &Stats) -> [(&'static str, u64); 4] {
    let at = |percentile| stats.latency.value_at_percentile(percentile);
    [("p50", at(50.0)), ("p99", at(99.0)), ("p999", at(99.9)), ("max", stats.latency.max())]
}

fn latency_json(stats: &Stats) -> String {
    let fields = latency(stats).map(|(name, ns)| format!("\"{name}\":{:.1}", ns as f64 / 1e3));
    format!("{{{}}}", fields.join(","))
}

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

/// How far a run has come, on stderr: a line that changes on a terminal, else a line a second.
pub(crate) struct Progress<'t> {
    name: &'static str,
    tally: &'t Tally,
    began: Instant,
    shown: Instant,
    shown_ticks: u64,
    terminal: bool,
}

impl<'t> Progress<'t> {
    pub(crate) fn new(name: &'static str, tally: &'t Tally) -> Self {
        let (now, terminal) = (Instant::now(), io::stderr().is_terminal());
        Self { name, tally, began: now, shown: now, shown_ticks: 0, terminal }
    }

    /// Shows it, if it is time.
    pub(crate) fn show(&mut self) {
        let every = Duration::from_millis(if self.terminal { 100 } else { 1000 });
        let since = self.shown.elapsed();
        if since < every {
            return;
        }
        let Self { name, tally, began, .. } = self;
        let ticks = tally.received();
        let rate = (ticks - self.shown_ticks) as f64 / since.as_secs_f64();
        let line = format!(
            "{name:<9} {:>5.1} s {:>6} subscribers {:>11} ticks/s {:>13} ticks",
            began.elapsed().as_secs_f64(),
            grouped(tally.joined()),
            grouped(rate as u64),
            grouped(ticks),
        );
        let (before, after) = if self.terminal { ("\r", "") } else { ("", "\n") };
        // That nobody wants to see it is no reason to stop.
        let _ = write!(io::stderr(), "{before}{line}{after}").and_then(|()| io::stderr().flush());
        (self.shown, self.shown_ticks) = (Instant::now(), ticks);
    }
}

impl Drop for Progress<'_> {
    /// Leaves the terminal as it was.
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r{:78}\r", "");
        }
    }
}
