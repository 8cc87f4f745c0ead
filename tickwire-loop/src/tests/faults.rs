//! Faults of the system, for tests: each call of the back end asks here first.
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
};

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    planned: Vec<(&'static str, u64, ErrorKind)>,
    made: BTreeMap<&'static str, u64>,
}

impl Faults {
    /// Lets the `nth` call from now on fail, counted from 0.
    pub(crate) fn plan(&mut self, call: &'static str, nth: u64, kind: ErrorKind) {
        let made = self.made.get(call).copied().unwrap_or_default();
        self.planned.push((call, made + nth, kind));
    }

    /// The calls made so far.
    pub(crate) fn made(&self, call: &str) -> u64 {
        self.made.get(call).copied().unwrap_or_default()
    }

    pub(crate) fn at(&mut self, call: &'static str) -> io::Result<()> {
        let made = self.made.entry(call).or_default();
        let nth = *made;
        *made += 1;
        match self.planned.iter().find(|(of, at, _)| *of == call && *at == nth) {
            Some((_, _, kind)) => Err((*kind).into()),
            None => Ok(()),
        }
    }
}
