//! The limits on frames and messages (RFC 6455 §10.4) are exact around every edge, and no sum in
//! them wraps. A `usize` has 64 bits here, and 32 where `.ci/targets i686` runs these tests.
use super::*;
use alloc::vec::Vec;

/// Returns `n` and its neighbours, if they have at most 64 bits.
fn around(n: u128) -> impl Iterator<Item = u64> {
    (n.saturating_sub(1)..=n + 1).filter_map(|n| u64::try_from(n).ok())
}

/// Returns each power of two and its neighbours, if they have at most 64 bits.
fn edges() -> impl Iterator<Item = u64> {
    (0..=u64::BITS).flat_map(|bit| around(1 << bit)).step_by(if cfg!(miri) { 37 } else { 1 })
}

/// Returns every pair of limits whose numbers are edges. `sum` has the edges around which the limit
/// for compressed messages would wrap.
fn all_limits() -> impl Iterator<Item = (Limits, Config)> {
    let sum = around((usize::MAX as u128 - 1024) / 9 * 8);
    let sizes: Vec<usize> = edges().chain(sum).filter_map(|n| n.try_into().ok()).collect();
    let frames: Vec<_> = sizes.iter().copied().map(Some).chain([None]).collect();
    sizes.into_iter().flat_map(move |max_message| {
        let of = move |max_frame| Config { max_message, max_frame, ..Config::default() };
        frames.clone().into_iter().map(of).map(|config| (Limits::new(&config), config))
    })
}

/// Returns the largest length of a message on the wire. Its type has room for the sum.
fn most(config: &Config, compressed: bool) -> u128 {
    let most = config.max_message as u128;
    let most = if compressed { most + most / 8 + 1024 } else { most };
    most.min(usize::MAX as u128)
}

#[test]
fn a_frame_is_refused_exactly_above_its_limit() {
    for (limits, config) in all_limits() {
        for compressed in [false, true] {
            let most = config.max_frame.map_or(most(&config, compressed), |most| most as u128);
            let below = around(limits.below as u128);
            for len in around(most).chain(below).chain([0, 1 << 32, u64::MAX]) {
                let checked = limits.check_frame(compressed, len);
                assert_eq!(checked.is_ok(), u128::from(len) <= most, "{len}: {config:?}");
            }
        }
    }
}

#[test]
fn a_message_is_refused_exactly_above_its_limits() {
    for (limits, config) in all_limits().filter(|(_, config)| config.max_frame.is_none()) {
        for compressed in [false, true] {
            let most = most(&config, compressed);
            // If `kept` is above the limit already, no byte may follow.
            let kept = edges().chain(around(most));
            for (kept, at_most) in kept.map(|kept| (kept, most.saturating_sub(kept.into()))) {
                for more in around(at_most).chain([0, 1 << 32, u64::MAX - kept, u64::MAX]) {
                    let checked = limits.check_message(compressed, kept, more, 1);
                    let within = u128::from(more) <= at_most;
                    assert_eq!(checked.is_ok(), within, "{kept} and {more}: {config:?}");
                }
            }
        }
    }
}

#[test]
fn a_message_in_one_short_frame_is_within_all_limits() {
    for (limits, config) in all_limits() {
        let longest = limits.below - 1;
        assert!(longest <= config.max_message, "{config:?}");
        assert!(config.max_frame.is_none_or(|most| longest <= most), "{config:?}");
    }
}
