//! Faults of the operating system, for tests. Each call of a back end first calls [`Faults::at`].
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    thread,
    time::Duration,
};

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    planned: Vec<(&'static str, u64, ErrorKind)>,
    made: BTreeMap<&'static str, u64>,
    /// A slow call, and the time that it takes.
    slow: Option<(&'static str, Duration)>,
}

impl Faults {
    /// Makes one call fail: `nth` is the number of calls before it, counted from now.
    pub(crate) fn plan(&mut self, call: &'static str, nth: u64, kind: ErrorKind) {
        let made = self.made.get(call).copied().unwrap_or_default();
        self.planned.push((call, made + nth, kind));
    }

    /// Makes each call from now on take this time.
    pub(crate) fn slow(&mut self, call: &'static str, time: Duration) {
        self.slow = Some((call, time));
    }

    /// Returns the number of calls made so far.
    pub(crate) fn made(&self, call: &str) -> u64 {
        self.made.get(call).copied().unwrap_or_default()
    }

    pub(crate) fn at(&mut self, call: &'static str) -> io::Result<()> {
        let made = self.made.entry(call).or_default();
        let nth = *made;
        *made += 1;
        if let Some((_, time)) = self.slow.filter(|(of, _)| *of == call) {
            thread::sleep(time);
        }
        match self.planned.iter().find(|(of, at, _)| *of == call && *at == nth) {
            Some((_, _, kind)) => Err((*kind).into()),
            None => Ok(()),
        }
    }
}
