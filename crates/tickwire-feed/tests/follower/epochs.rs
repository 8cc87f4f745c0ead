//! An oracle for `Follower`, written from its documentation alone: a simulation in virtual time
//! that knows of each message to which count of the exchange it truly belongs, which the follower
//! can't.
//!
//! `TESTS=all` runs 1,000 seeds, `SEED=n` one, of which `TRACE=1` prints everything.

mod cases;
mod desk;
mod ends;
mod exchange;
mod oracle;
mod plan;
mod states;
mod world;

use crate::support::seeds;
use world::{Mutant, Outcome, World};

#[test]
fn no_message_of_an_old_epoch_reaches_a_newer_book() {
    let mut bad = 0;
    let mut all = Vec::new();
    for seed in seeds(1_000, 4) {
        let outcome = World::new(seed, None).live();
        if !outcome.complaints.is_empty() {
            bad += 1;
            println!("seed {seed}: {:#?}", outcome.complaints);
        }
        all.push(outcome);
    }
    let sum = |of: fn(&Outcome) -> usize| all.iter().map(of).sum::<usize>();
    println!(
        "{} runs: {} messages, {} dials, {} gaps, {} snapshots, at most {} in five minutes, \
         {} undetectable, at most {} bytes",
        all.len(),
        sum(|run| run.messages),
        sum(|run| run.dials),
        sum(|run| run.gaps),
        sum(|run| run.snapshots),
        all.iter().map(|run| run.snapshots_in_five_minutes).max().unwrap(),
        sum(|run| run.undetectable),
        all.iter().map(|run| run.most_bytes).max().unwrap(),
    );
    assert_eq!(bad, 0, "runs with complaints");
}

#[test]
fn the_oracle_can_fail() {
    use Mutant::*;
    for (mutant, words) in [
        (Loses, "not the next"),
        (Repeats, "not the next"),
        (HidesGaps, "not the next"),
        (HidesRestarts, "an old epoch"),
        (Hoards, "an old epoch"),
        (Asks, "snapshots of"),
        (Dials, "dials in"),
        (Leaks, "bytes are held"),
        (Dawdles, "has not dialed"),
    ] {
        let sees = |seed: &u64| {
            let outcome = World::new(*seed, Some(mutant)).live();
            outcome.complaints.iter().any(|complaint| complaint.contains(words))
        };
        let seen = (0..20).find(sees);
        println!("{mutant:?} is seen by seed {seen:?}");
        assert!(seen.is_some(), "{mutant:?} is not seen");
    }
}
