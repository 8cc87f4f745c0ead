//! Samples by row and column, one for each round; medians, and ratios with their intervals, as
//! Markdown.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// tickwire's own rows: the core driven by hand, and the adapters.
pub const CORE: &str = "tickwire-core";
pub const TOKIO: &str = "tickwire";
pub const BLOCKING: &str = "tickwire-blocking";
const OURS: [&str; 3] = [CORE, TOKIO, BLOCKING];
/// What is no crate.
const BASES: [&str; 8] =
    ["raw", "floor", "memcpy", "zlib alone", "copy", "byte loop", "prototype", "base"];

fn is_peer(row: &str) -> bool {
    !BASES.contains(&row) && !row.starts_with(TOKIO) // its loops too
}

#[derive(Default)]
pub struct Table {
    title: String,
    rows: Vec<String>,
    columns: Vec<String>,
    cells: HashMap<(String, String), Vec<f64>>,
}

/// A median, and between which values it lies with 95 % confidence.
#[derive(Clone, Copy)]
pub struct Median {
    pub low: f64,
    pub value: f64,
    pub high: f64,
}

/// When a goal is met.
#[derive(Clone, Copy)]
pub enum Goal {
    /// When the median reaches it.
    ByMedian(f64),
    /// When the interval reaches it: for what spreads by 10 to 40 % from round to round. The fewer
    /// the rounds, the less that says.
    ByInterval(f64),
}

impl Median {
    /// By order statistics, whatever the distribution: how many samples lie below the true median
    /// is binomial, of mean n / 2 and deviation √n / 2.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let n = samples.len();
        let rank = (n as f64 + 1.0) / 2.0 - 0.98 * (n as f64).sqrt();
        let at = (rank as usize).saturating_sub(1);
        Some(Self { low: *samples.get(at)?, value: samples[n / 2], high: samples[n - 1 - at] })
    }

    fn ratio(self) -> String {
        format!("×{:.2} [{:.2}, {:.2}]", self.value, self.low, self.high)
    }
}

impl Table {
    pub fn new(title: &str) -> Self {
        Table { title: title.into(), ..Table::default() }
    }

    pub fn add(&mut self, row: &str, column: &str, sample: f64) {
        for (list, name) in [(&mut self.rows, row), (&mut self.columns, column)] {
            if !list.iter().any(|n| n == name) {
                list.push(name.into());
            }
        }
        self.cells.entry((row.into(), column.into())).or_default().push(sample);
    }

    fn samples(&self, row: &str, column: &str) -> Option<&Vec<f64>> {
        self.cells.get(&(row.into(), column.into()))
    }

    pub fn median(&self, row: &str, column: &str) -> Option<Median> {
        Median::of(self.samples(row, column)?.clone())
    }

    /// Of what `of` makes of a sample and that of the row `base` in the same round: noise that
    /// lasts hits both.
    fn paired(
        &self,
        row: &str,
        base: &str,
        column: &str,
        of: impl Fn(f64, f64) -> f64,
    ) -> Option<Median> {
        let both = self.samples(row, column)?.iter().zip(self.samples(base, column)?);
        Median::of(both.map(|(&a, &b)| of(a, b)).collect())
    }

    pub fn ratio(&self, row: &str, base: &str, column: &str) -> Option<Median> {
        self.paired(row, base, column, |a, b| a / b)
    }

    fn difference(&self, row: &str, base: &str, column: &str) -> Option<f64> {
        Some(self.paired(row, base, column, |a, b| a - b)?.value)
    }

    /// Medians, each with its ratio to the row `base`; `--base=NAME` names another.
    pub fn print(&self, base: &str) {
        let base = &crate::option("base", base.to_owned());
        self.write(&self.title, |row, column| {
            let median = short(self.median(row, column)?.value);
            Some(match self.ratio(row, base, column) {
                Some(ratio) => format!("{median} (×{:.2})", ratio.value),
                None => median,
            })
        });
    }

    /// Ratios to the row `base`, each with its interval.
    pub fn print_ratios(&self, base: &str) {
        let title = format!("{}: × {base} [95 % interval]", self.title);
        self.write(&title, |row, column| Some(self.ratio(row, base, column)?.ratio()));
    }

    fn write(&self, title: &str, cell: impl Fn(&str, &str) -> Option<String>) {
        println!("\n### {title}\n\n| | {} |", self.columns.join(" | "));
        println!("|---|{}", "---:|".repeat(self.columns.len()));
        for row in &self.rows {
            let cells: Vec<_> = self.columns.iter().map(|column| cell(row, column)).collect();
            if cells.iter().any(Option::is_some) {
                let cells = cells.into_iter().map(|c| c.unwrap_or("–".into()));
                println!("| {row} | {} |", cells.collect::<Vec<_>>().join(" | "));
            }
        }
    }

    /// The best crate but ours.
    pub fn best_peer(&self, base: &str, column: &str) -> Option<&str> {
        Some(self.best(base, column)?.0)
    }

    /// That, and its ratio.
    fn best(&self, base: &str, column: &str) -> Option<(&str, Median)> {
        self.rows
            .iter()
            .map(String::as_str)
            .filter(|row| is_peer(row))
            .filter_map(|row| Some((row, self.ratio(row, base, column)?)))
            .min_by(|(_, a), (_, b)| a.value.total_cmp(&b.value))
    }

    /// The file that collects the table of all rows (`--summary=FILE`), if anybody asked.
    fn summary() -> Option<File> {
        let name: PathBuf = crate::option("summary", PathBuf::new());
        OpenOptions::new().create(true).append(true).open(name).ok()
    }

    /// Adds a line to the table of all rows: the most in any column, the best peer's and ours.
    /// `judged` is whose is to reach the goal.
    pub fn summarize_values(&self, name: &str, judged: &str, goal: f64) {
        let Some(mut file) = Self::summary() else {
            return;
        };
        let most = |row: &str| {
            let columns = self.columns.iter().filter_map(|c| self.median(row, c));
            columns.map(|m| m.value).max_by(f64::total_cmp)
        };
        let peers = self.rows.iter().filter(|row| is_peer(row));
        let best = peers.filter_map(|row| Some((row, most(row)?)));
        let best = best.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let best = best.map_or("–".into(), |(row, most)| format!("{} {row}", short(most)));
        let ours = OURS.map(|row| most(row).map_or("–".into(), short)).join(" | ");
        let met = most(judged).map_or("–", |most| if most <= goal { "yes" } else { "**no**" });
        let _ = writeln!(file, "| {name} | – | {best} | {ours} | ≤ {goal} | {met} |");
    }

    /// Adds a line to the table of all rows: ratios to `base`, the best peer's
    /// and ours. `judged` is whose ratio is to reach the goal.
    pub fn summarize(&self, name: &str, column: &str, base: &str, judged: &str, goal: Goal) {
        let Some(mut file) = Self::summary() else {
            return;
        };
        let peer = match self.best(base, column) {
            Some((name, ratio)) => format!("{:.2} {name}", ratio.value),
            None => "–".into(),
        };
        let ours = OURS.map(|row| {
            let Some(Median { low, value, high }) = self.ratio(row, base, column) else {
                return "–".into();
            };
            let more = match self.difference(row, CORE, column) {
                Some(more) if row != CORE => format!(" {more:+.1} ns"),
                _ => String::new(),
            };
            format!("{value:.2} [{low:.2}, {high:.2}]{more}")
        });
        let (goal, reached): (f64, fn(Median) -> f64) = match goal {
            Goal::ByMedian(goal) => (goal, |ratio| ratio.value),
            Goal::ByInterval(goal) => (goal, |ratio| ratio.low),
        };
        let met = match self.ratio(judged, base, column) {
            Some(ratio) if reached(ratio) <= goal => "yes",
            Some(_) => "**no**",
            None => "–",
        };
        let ours = ours.join(" | ");
        let _ = writeln!(file, "| {name} | {base} | {peer} | {ours} | ≤ {goal:.2} | {met} |");
    }
}

/// Three significant digits; what is not zero does not look like it.
pub fn short(x: f64) -> String {
    match x.abs() {
        a if a > 0.0 && a < 0.005 => format!("{x:.1e}"),
        a if a >= 99.95 => format!("{x:.0}"),
        a if a >= 9.995 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_median_has_the_ranks_of_the_binomial_table() {
        // Tables of the sign test have 1 and 6, 2 and 9, 41 and 61.
        for (n, low, high) in [(6, 1, 6), (10, 2, 9), (101, 41, 61)] {
            let m = Median::of((1..=n).map(f64::from).collect()).unwrap();
            assert_eq!((m.low, m.high), (f64::from(low), f64::from(high)), "{n}");
        }
    }
}
