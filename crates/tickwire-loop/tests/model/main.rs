//! `tickwire-loop` against a reference that was written from its documentation alone.
//!
//! `TICKWIRE_IO_URING=1` runs everything over io_uring. Plays 60 scripts; with `MODEL_SECONDS`, as
//! many as end in this time; with `TESTS=all`, for an hour. `MODEL_SEED=N` plays the script with
//! this seed alone, or with `MODEL_SECONDS` this one first. Scripts count descriptors, so each
//! thread that plays has a table of its own.
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
use nix::sched::{CloneFlags, unshare};
use script::play;
use std::{
    env::*,
    panic::*,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Instant,
};
use testkit::Rng;

const THREADS: usize = 4;

#[test]
fn random_scripts_break_no_promise() {
    let number = |name| var(name).ok()?.parse::<u64>().ok();
    let (began, first) = (Instant::now(), number("MODEL_SEED"));
    let hour = testkit::sampled(Some(3600), None).filter(|_| first.is_none());
    let seconds = number("MODEL_SECONDS").or(hour);
    let last = first.unwrap_or(60);
    let next = AtomicU64::new(first.unwrap_or(1));
    let failed = AtomicBool::new(false); // then the other threads stop too
    let scripts = || {
        unshare(CloneFlags::CLONE_FILES).expect("a table of descriptors");
        loop {
            let seed = next.fetch_add(1, Relaxed);
            let over = seconds.map_or(seed > last, |most| began.elapsed().as_secs() >= most);
            if over || failed.load(Relaxed) {
                return;
            }
            play_by(seed, &failed);
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(scripts))));
    eprintln!("the last script: {}", next.into_inner() - 1 - THREADS as u64);
}

fn play_by(seed: u64, failed: &AtomicBool) {
    let io_uring = var_os("TICKWIRE_IO_URING").is_some();
    let mut dice = Dice::Seeded(Rng::new(seed));
    let (settings, config) = (settings(&mut dice, io_uring), config(&mut dice));
    let shown = format!("MODEL_SEED={seed}: {settings:?}, {config:?}");
    let script = AssertUnwindSafe(|| play(&mut dice, settings, config));
    catch_unwind(script).unwrap_or_else(|_| {
        failed.store(true, Relaxed);
        panic!("{shown}")
    });
}
