//! Holds `Arbiter` to its documentation: random calls, and a slow model of the documentation. The
//! model was first written by somebody who had not read the arbiter, and follows the documentation
//! since. A broken promise is named by the sentence that makes it, with the fewest calls that break
//! it. `SEED=n` runs one case, `CASES=n` runs n cases, and `TESTS=all` runs 20 times as many as
//! usual.
mod calls;
mod model;
mod regressions;
mod scenario;

use crate::support::seeds;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use calls::{Call, Run};
use model::{Broken, Setting};
use scenario::Scenario;

/// Runs one case. Returns its calls, and the promise that they break.
fn case(seed: u64) -> (Setting, Vec<Call>, Result<(), Broken>) {
    let mut scenario = Scenario::new(seed);
    let mut run = Run::new(scenario.set);
    let mut calls = Vec::new();
    let length = scenario.rng.of(&[8, 20, 60]);
    let starts = scenario.rng.once_in(2);
    let mut result = Ok(());
    while result.is_ok() && calls.len() < length {
        let call = match calls.len() {
            0 if starts => scenario.rng.of(&[Call::Resume, Call::Resync(scenario.low)]),
            _ => scenario.next(&run.model),
        };
        calls.push(call);
        result = guarded(&mut run, call);
    }
    (scenario.set, calls, result)
}

fn guarded(run: &mut Run, call: Call) -> Result<(), Broken> {
    catch_unwind(AssertUnwindSafe(|| run.call(call)))
        .unwrap_or_else(|_| Err(("no panic", String::new())))
}

fn replay(set: Setting, calls: &[Call]) -> Result<(), Broken> {
    let mut run = Run::new(set);
    calls.iter().try_for_each(|&call| guarded(&mut run, call))
}

/// Leaves calls out as long as the rest breaks the same promise.
fn shrink(set: Setting, mut calls: Vec<Call>, sentence: &str) -> Vec<Call> {
    let mut length = calls.len();
    while length > 0 {
        let mut at = 0;
        while at < calls.len() {
            let mut fewer = calls.clone();
            fewer.drain(at..calls.len().min(at + length));
            if replay(set, &fewer).is_err_and(|broken| broken.0 == sentence) {
                calls = fewer;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    calls
}

#[test]
fn the_arbiter_does_what_its_documentation_says() {
    let mut broken = BTreeMap::new();
    for seed in seeds(100_000, 5_000) {
        let (set, calls, result) = case(seed);
        let Err((sentence, _)) = result else { continue };
        let (times, _) = broken.entry(sentence).or_insert_with(|| {
            let calls = shrink(set, calls, sentence);
            let what = replay(set, &calls).err().map(|broken| broken.1).unwrap_or_default();
            (0, format!("seed {seed}: {what}\n{set:?}\n{calls:?}"))
        });
        *times += 1;
    }
    for (sentence, (times, example)) in &broken {
        println!("{sentence:?} does not hold in {times} cases, as in\n{example}\n");
    }
    assert!(broken.is_empty(), "{} sentences do not hold", broken.len());
}
