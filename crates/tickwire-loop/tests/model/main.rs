//! `tickwire-loop` against a reference that was written from its documentation alone.
//!
//! `TICKWIRE_IO_URING=1` runs everything over io_uring. Plays 60 scripts; with `MODEL_SECONDS`, as
//! many as end in this time; with `TESTS=all`, for an hour. `MODEL_SEED=N` plays the script with
//! this seed alone, or with `MODEL_SECONDS` this one first. Scripts count descriptors, so one plays
//! at a time. (Threads with tables of their own would not do: dials of all threads share the lookup
//! of a name, and its thread wakes them by a descriptor.)
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(target_os = "linux", feature = "rustls", feature = "stamps"))]
mod dice;
mod flow;
#[path = "../../../../tests/support/placed.rs"]
mod placed;
mod reference;
mod script;
mod wire;

use dice::{Dice, config, settings};
use script::play;
use std::{env::*, panic::*, time::Instant};
use testkit::Rng;

#[test]
fn random_scripts_break_no_promise() {
    let number = |name| var(name).ok()?.parse::<u64>().ok();
    let (began, first) = (Instant::now(), number("MODEL_SEED"));
    let hour = testkit::sampled(Some(3600), None).filter(|_| first.is_none());
    let seconds = number("MODEL_SECONDS").or(hour);
    let last = first.unwrap_or(60);
    let goes_on = |seed: &u64| match seconds {
        Some(most) => began.elapsed().as_secs() < most,
        None => *seed <= last,
    };
    let played = (first.unwrap_or(1)..).take_while(goes_on).inspect(|seed| play_by(*seed)).last();
    eprintln!("the last script: {played:?}");
}

fn play_by(seed: u64) {
    let io_uring = var_os("TICKWIRE_IO_URING").is_some();
    let mut dice = Dice::Seeded(Rng::new(seed));
    let (settings, config) = (settings(&mut dice, io_uring), config(&mut dice));
    let shown = format!("MODEL_SEED={seed}: {settings:?}, {config:?}");
    let script = AssertUnwindSafe(|| play(&mut dice, settings, config));
    catch_unwind(script).unwrap_or_else(|_| panic!("{shown}"));
}
