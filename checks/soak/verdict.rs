//! Whether a run was sound: no error, memory flat, no descriptor left over, the load delivered.
//!
//! What is in use of the heap shows a leak. Resident memory has the holes between that as well:
//! with connections that come and go the allocator has more of them from one generation to the
//! next, for some ten generations, after which it is flat too.

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
    /// With the seconds since the load began.
    pub(crate) during: Vec<(f64, Usage)>,
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
}

/// What memory may grow by in any case, in KiB: a thread's pool of buffers.
const SLACK: u64 = 4096;

pub(crate) struct Memory {
    pub(crate) name: &'static str,
    pub(crate) of: fn(&Usage) -> u64,
    /// By so much of itself it may grow, beside [`SLACK`].
    growth: f64,
}

pub(crate) const MEMORY: [Memory; 2] = [
    Memory { name: "heap", of: |usage| usage.heap, growth: 0.05 },
    Memory { name: "resident memory", of: |usage| usage.rss, growth: 0.2 },
];

/// For how long memory may grow: a minute, or a quarter of a run shorter than four.
pub(crate) fn settled(seconds: f64) -> f64 {
    (seconds / 4.0).min(60.0)
}

impl History {
    /// The most of some memory in the first third of what is left after [`settled`], and in the
    /// last.
    pub(crate) fn peaks(&self, seconds: f64, memory: &Memory) -> Option<(u64, u64)> {
        let from = settled(seconds);
        let third = (seconds - from) / 3.0;
        let peak = |from: f64, to: f64| {
            let within = |(at, _): &&(f64, Usage)| (from..=to).contains(at);
            self.during.iter().filter(within).map(|(_, usage)| (memory.of)(usage)).max()
        };
        Some((peak(from, from + third)?, peak(seconds - third, seconds)?))
    }

    fn complaints(&self, seconds: f64, complain: &mut impl FnMut(String)) {
        let Self { name, before, after, errors, .. } = self;
        if *errors > 0 {
            complain(format!("{name}: {errors} errors"));
        }
        for memory in &MEMORY {
            let Memory { name: what, growth, .. } = memory;
            match self.peaks(seconds, memory) {
                Some((first, last))
                    if last as f64 > first as f64 * (1.0 + growth) + SLACK as f64 =>
                {
                    let [first, last] = [first, last].map(|kib| kib / 1024);
                    complain(format!("{name}: {what} grew from {first} to {last} MiB"));
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
    /// What was wrong; nothing, if the run was sound.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut complain = |text| complaints.push(text);
        for process in &self.processes {
            process.complaints(self.seconds, &mut complain);
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
