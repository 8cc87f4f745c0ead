//! Proofs by Kani: the limits on frames and messages (RFC 6455 §10.4) are exact, and no sum in them
//! wraps, for every configuration and every announced length. These proofs are for a `usize` of 64
//! bits (see `checks/kani`); `tests.rs` tries the edges for a `usize` of 32 bits.
use super::*;

fn any_limits() -> (Limits, Config) {
    let bounded: bool = kani::any();
    let config = Config {
        max_message: kani::any(),
        max_frame: bounded.then(kani::any),
        max_fragments: kani::any(),
        ..Config::default()
    };
    (Limits::new(&config), config)
}

/// The largest number of payload bytes that a message may have on the wire. It is computed in a
/// type that has room for the sum.
fn most(config: &Config, compressed: bool) -> u128 {
    let most = config.max_message as u128;
    let most = if compressed { most + most / 8 + 1024 } else { most };
    most.min(usize::MAX as u128)
}

#[kani::proof]
fn a_frame_is_refused_exactly_above_its_limit() {
    let (limits, config) = any_limits();
    let compressed: bool = kani::any();
    let len: u64 = kani::any();
    let most = config.max_frame.map_or(most(&config, compressed), |most| most as u128);
    assert!(limits.check_frame(compressed, len).is_ok() == (u128::from(len) <= most));
}

#[kani::proof]
fn a_message_is_refused_exactly_above_its_limits() {
    let (limits, config) = any_limits();
    let compressed: bool = kani::any();
    let fragments: u32 = kani::any();
    // The earlier frames of the message passed this check, so `kept` is within the limit.
    let most = most(&config, compressed);
    let kept = kani::any_where(|&kept: &u64| u128::from(kept) <= most);
    let more: u64 = kani::any();
    let within = u128::from(kept) + u128::from(more) <= most;
    let few = fragments <= config.max_fragments.max(1);
    let checked = limits.check_message(compressed, kept, more, fragments);
    assert!(checked.is_ok() == (within && few));
}

#[kani::proof]
fn a_message_in_one_short_frame_is_within_all_limits() {
    let (limits, config) = any_limits();
    let len = kani::any_where(|&len: &u64| len < limits.below as u64);
    assert!(len <= config.max_message as u64);
    assert!(config.max_frame.is_none_or(|most| len <= most as u64));
}
