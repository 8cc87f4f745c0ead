//! Whether a run was sound: no error; memory, descriptors and p99 flat; the load delivered.
//!
//! What is in use of the heap shows a leak. Resident memory has the holes between that as well:
//! with connections that come and go the allocator has more of them from one generation to the
//! next, for some ten generations, after which it is flat too.

/// Something, and the seconds since the load began.
pub(crate) type Sample<T> = (f64, T);

/// What a process has in use at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Of the heap, in KiB.
    pub(crate) heap: u64,
    /// Resident memory, in KiB.
    pub(crate) rss: u64,
    pub(crate) descriptors: u64,
}

/// What one process went through.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) name: &'static str,
    /// Before the first connection.
    pub(crate) before: Usage,
    pub(crate) during: Vec<Sample<Usage>>,
    /// After the last connection.
    pub(crate) after: Usage,
    pub(crate) errors: u64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// How long the load was on.
    pub(crate) seconds: f64,
    /// Connections that were to be open at once, and that were, in the mean, after [`settled`].
    pub(crate) connections: f64,
    pub(crate) held: f64,
    /// Connections that were to end in this time, and those that did.
    pub(crate) asked: f64,
    pub(crate) ended: u64,
    /// Connections that the server still had when all should have ended.
    pub(crate) left: u64,
    pub(crate) processes: [History; 2],
    pub(crate) windows: Vec<Sample<Window>>,
}

/// What a message took between two reports, in µs: the median and the 99th percentile. `None` if
/// there was none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) ours: Option<[u64; 2]>,
    /// Over bare TCP.
    pub(crate) bare: Option<[u64; 2]>,
}

pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) of: fn(&Usage) -> u64,
    /// By so much of itself it may grow, beside `slack`.
    growth: f64,
    slack: f64,
}

impl Measure {
    const fn new(name: &'static str, unit: &'static str, of: fn(&Usage) -> u64) -> Self {
        Self { name, unit, of, growth: 0.05, slack: 16.0 }
    }
}

pub(crate) const MEASURES: [Measure; 3] = [
    // The pools of a loop take up to 8 MiB, as long messages happen to come together.
    Measure { slack: 4096.0, ..Measure::new("heap", " KiB", |usage| usage.heap) },
    Measure {
        growth: 0.2,
        slack: 4096.0,
        ..Measure::new("resident memory", " KiB", |usage| usage.rss)
    },
    Measure::new("descriptors", "", |usage| usage.descriptors),
];

/// So many times the p99 of the first third may be that of the quickest window of the last, as far
/// as that of bare TCP has not risen too. Beside other programs most windows may be slow, and less
/// tells nothing.
const SLOWER: f64 = 5.0;

/// A p99 below this, in µs, counts as this.
const QUICK: u64 = 1000;

/// For how long memory may grow: a minute, or a quarter of a run shorter than four.
pub(crate) fn settled(seconds: f64) -> f64 {
    (seconds / 4.0).min(60.0)
}

/// What something was, in order, in the first third of what is left after [`settled`], and in the
/// last.
fn thirds<T>(samples: &[Sample<T>], seconds: f64, of: impl Fn(&T) -> Option<u64>) -> [Vec<u64>; 2] {
    let from = settled(seconds);
    let third = (seconds - from) / 3.0;
    [(from, from + third), (seconds - third, seconds)].map(|(from, to)| {
        let within = samples.iter().filter(|(at, _)| (from..=to).contains(at));
        let mut values: Vec<u64> = within.filter_map(|(_, sample)| of(sample)).collect();
        values.sort_unstable();
        values
    })
}

/// `None` if there is nothing.
fn median(sorted: &[u64]) -> Option<u64> {
    sorted.get(sorted.len() / 2).copied()
}

impl History {
    pub(crate) fn medians(&self, seconds: f64, measure: &Measure) -> Option<[u64; 2]> {
        let [first, last] = thirds(&self.during, seconds, |usage| Some((measure.of)(usage)));
        Some([median(&first)?, median(&last)?])
    }

    fn complaints(&self, seconds: f64, complain: &mut impl FnMut(String)) {
        let Self { name, before, after, errors, .. } = self;
        if *errors > 0 {
            complain(format!("{name}: {errors} errors"));
        }
        for measure in &MEASURES {
            let Measure { name: what, unit, growth, slack, .. } = measure;
            match self.medians(seconds, measure) {
                Some([first, last]) if last as f64 > first as f64 * (1.0 + growth) + slack => {
                    complain(format!("{name}: {what} grew from {first} to {last}{unit}"));
                }
                Some(_) => {}
                None => complain(format!("{name}: too short to judge {what}")),
            }
        }
        if after.descriptors != before.descriptors {
            let (before, after) = (before.descriptors, after.descriptors);
            complain(format!("{name}: {after} descriptors after, {before} before"));
        }
    }
}

impl Run {
    /// The p99 of ours in the median of the first third, and in the quickest window of the last;
    /// that of bare TCP in the medians of both.
    pub(crate) fn p99s(&self) -> Option<[[u64; 2]; 2]> {
        let p99 = |times: Option<[u64; 2]>| Some(times?[1]);
        let [first, last] = thirds(&self.windows, self.seconds, |window| p99(window.ours));
        let [bare, later] = thirds(&self.windows, self.seconds, |window| p99(window.bare));
        Some([[median(&first)?, *last.first()?], [median(&bare)?, median(&later)?]])
    }

    /// What was wrong; nothing, if the run was sound.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut complain = |text| complaints.push(text);
        for process in &self.processes {
            process.complaints(self.seconds, &mut complain);
        }
        match self.p99s() {
            Some([[first, last], [bare_first, bare_last]]) => {
                let machine = (bare_last as f64 / bare_first.max(1) as f64).max(1.0);
                if last as f64 > SLOWER * first.max(QUICK) as f64 * machine {
                    complain(format!(
                        "p99 rose from {first} to {last} µs, over bare TCP from {bare_first} to \
                         {bare_last} µs"
                    ));
                }
            }
            None => complain("too short to judge p99".into()),
        }
        if self.left > 0 {
            complain(format!("the server still has {} connections", self.left));
        }
        if self.held < 0.9 * self.connections {
            let Self { held, connections, .. } = self;
            complain(format!(
                "{held:.0} connections held of {connections}: too much for this machine"
            ));
        }
        if (self.ended as f64) < 0.9 * self.asked {
            let Self { ended, asked, .. } = self;
            complain(format!("{ended} connections ended of {asked:.0}: too much for this machine"));
        }
        complaints
    }
}
