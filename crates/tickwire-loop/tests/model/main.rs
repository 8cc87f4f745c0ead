//! `tickwire-loop` against a reference that was written from its documentation alone.
//!
//! `TICKWIRE_IO_URING=1` runs everything over io_uring. Plays 60 scripts; with `MODEL_SECONDS`, as
//! many as end in this time; with `TESTS=all`, for an hour. `MODEL_SEED=N` plays the script with
//! this seed alone, or with `MODEL_SECONDS` this one first. Scripts count descriptors, so a process
//! plays one at a time, and there are four. (Threads with tables of their own would not do: dials of
//! all threads share the lookup of a name, and its thread wakes them by a descriptor.)
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
use std::{
    env::*,
    panic::*,
    process::{Output, Stdio},
    time::Instant,
};
use testkit::{Rng, again};

const PROCESSES: u64 = 4;
/// In the environment of each process that plays: which of them it is.
const PROCESS: &str = "MODEL_PROCESS";

#[test]
fn random_scripts_break_no_promise() {
    let number = |name| var(name).ok()?.parse::<u64>().ok();
    let (began, first) = (Instant::now(), number("MODEL_SEED"));
    let hour = testkit::sampled(Some(3600), None).filter(|_| first.is_none());
    let seconds = number("MODEL_SECONDS").or(hour);
    if let (Some(seed), None) = (first, seconds) {
        return play_by(seed);
    }
    let Some(process) = number(PROCESS) else { return in_processes() };
    let goes_on = |seed: &u64| match seconds {
        Some(most) => began.elapsed().as_secs() < most,
        None => *seed <= 60,
    };
    let seeds = (first.unwrap_or(1) + process..).step_by(PROCESSES as usize);
    let played = seeds.take_while(goes_on).inspect(|seed| play_by(*seed)).last();
    eprintln!("the last script: {played:?}");
}

fn in_processes() {
    let start = |process: u64| {
        let mut player = again("random_scripts_break_no_promise");
        player.env(PROCESS, process.to_string());
        player.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..PROCESSES).map(start).collect();
    let ended = all.into_iter().map(|process| process.wait_with_output().unwrap());
    for Output { status, stdout, stderr } in ended.collect::<Vec<_>>() {
        let shown = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(status.success() && shown.contains("the last script: Some"), "{shown}");
    }
}

fn play_by(seed: u64) {
    let io_uring = var_os("TICKWIRE_IO_URING").is_some();
    let mut dice = Dice::Seeded(Rng::new(seed));
    let (settings, config) = (settings(&mut dice, io_uring), config(&mut dice));
    let shown = format!("MODEL_SEED={seed}: {settings:?}, {config:?}");
    let script = AssertUnwindSafe(|| play(&mut dice, settings, config));
    catch_unwind(script).unwrap_or_else(|_| panic!("{shown}"));
}
