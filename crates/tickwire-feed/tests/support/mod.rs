//! How much the tests that draw their cases do.
#![allow(dead_code)] // no binary uses all of it

/// The value of a number in the environment.
pub(crate) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How much, or how often: `some`; with `TESTS=all`, which takes minutes, `all`.
pub(crate) fn sampled<T>(all: T, some: T) -> T {
    if std::env::var_os("TESTS").is_some_and(|tests| tests == "all") { all } else { some }
}

/// The seeds of so many cases: `SEED=n` is one, and `CASES=n` are n of them.
pub(crate) fn seeds(all: u64, some: u64) -> std::ops::Range<u64> {
    match variable("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("CASES").unwrap_or_else(|| sampled(all, some)),
    }
}
