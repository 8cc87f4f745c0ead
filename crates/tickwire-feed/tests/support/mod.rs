//! How much the tests that draw their cases do.
#![allow(dead_code, unused_imports)] // no binary uses all of it
pub(crate) use testkit::sampled;

/// The value of a number in the environment.
pub(crate) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds of so many cases: `SEED=n` is one, and `CASES=n` are n of them.
pub(crate) fn seeds(all: u64, some: u64) -> std::ops::Range<u64> {
    match variable("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("CASES").unwrap_or_else(|| sampled(all, some)),
    }
}
