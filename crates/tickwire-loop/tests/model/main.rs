//! `tickwire-loop` against a reference that was written from its documentation alone.
//!
//! `TICKWIRE_IO_URING=1` runs everything over io_uring. `MODEL_SEED=N` plays the script with this
//! seed alone. Without it, scripts are played for `MODEL_SECONDS`, by default for 15 s; with
//! `TESTS=all`, for an hour.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(target_os = "linux", feature = "rustls", feature = "stamps"))]
mod dice;
mod flow;
mod reference;
mod scenes;
mod script;
mod wire;

use dice::{Dice, config, settings};
use script::play;
use std::{env::*, panic::*, process::Command, time::Instant};

fn io_uring() -> bool {
    var_os("TICKWIRE_IO_URING").is_some()
}

#[test]
fn random_scripts_break_no_promise() {
    if var_os("MODEL_ALONE").is_none() {
        // In a process without other tests, because scripts count descriptors.
        let mut alone = Command::new(current_exe().unwrap());
        alone.args(["--exact", "random_scripts_break_no_promise", "--nocapture"]);
        let output = alone.env("MODEL_ALONE", "1").output().unwrap();
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let number = |name| var(name).ok()?.parse::<u64>().ok();
    let all = var("TESTS").is_ok_and(|tests| tests == "all");
    let seconds = number("MODEL_SECONDS").unwrap_or(if all { 3600 } else { 15 });
    let (began, one) = (Instant::now(), number("MODEL_SEED"));
    for seed in one.unwrap_or(1).. {
        let mut dice = Dice::Seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (settings, config) = (settings(&mut dice, io_uring()), config(&mut dice));
        let shown = format!("MODEL_SEED={seed}: {settings:?}, {config:?}");
        let script = AssertUnwindSafe(|| play(&mut dice, settings, config));
        catch_unwind(script).unwrap_or_else(|_| panic!("{shown}"));
        if one.is_some() || began.elapsed().as_secs() >= seconds {
            return eprintln!("{seed} scripts");
        }
    }
}
