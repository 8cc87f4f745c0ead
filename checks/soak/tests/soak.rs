//! A short run, and what the verdict finds.
#![allow(clippy::unwrap_used)]

#[path = "../mix.rs"]
#[allow(dead_code)]
mod mix;
#[path = "../verdict.rs"]
mod verdict;

use self::mix::{Dice, Ending, Exchange, Kind};
use self::verdict::{History, Run, Usage};
use std::process::Command;
/// Memory and the number of connections that a machine keeps up with are not for such a short run
/// to judge; errors and descriptors are.
#[cfg(target_os = "linux")]
#[test]
fn a_short_run_has_no_error_and_leaks_no_descriptor() {
    let args = "--connections 30 --churn 15 --seconds 4 --rate 5 --heartbeat 1 --report 1";
    let run = Command::new(env!("CARGO_BIN_EXE_soak")).args(args.split(' ')).output().unwrap();
    let [text, errors] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(
        text.contains("server: 0 errors") && text.contains("clients: 0 errors"),
        "{text}{errors}"
    );
    assert!(!text.contains(" descriptors after") && !text.contains("still has"), "{text}");
    for exchange in ["small", "text", "connects"] {
        assert!(text.contains(exchange), "{text}");
    }
}

/// A sample each second: memory as said, in MiB; 20 descriptors before and after.
fn history(seconds: u64, memory: impl Fn(u64) -> u64) -> History {
    let sample = |at| {
        let heap = memory(at) * 1024;
        Usage { heap, rss: 2 * heap, descriptors: 20 }
    };
    History {
        name: "it",
        before: sample(0),
        during: (1..=seconds).map(|at| (at as f64, sample(at))).collect(),
        after: sample(seconds),
        errors: 0,
    }
}

fn run(memory: impl Fn(u64) -> u64) -> Run {
    let processes = [history(600, |_| 10), history(600, memory)];
    let (connections, held) = (100.0, 95.0);
    Run { seconds: 600.0, connections, held, asked: 1000.0, ended: 1000, left: 0, processes }
}

#[test]
fn memory_may_grow_for_a_minute_and_then_by_a_twentieth() {
    assert_eq!(run(|at| 100 + at.min(60)).complaints(), [""; 0]);
    assert_eq!(run(|at| 100 + 9 * at / 600).complaints(), [""; 0]);
    assert_eq!(run(|at| 200 - at / 10).complaints(), [""; 0]);
    // 2 MiB a minute: 108 at the end of the first third, 120 in the end.
    let leak = run(|at| 100 + at / 60 * 2).complaints();
    assert_eq!(leak, ["it: heap grew from 108 to 120 MiB"]);
    let late = run(|at| if at < 590 { 100 } else { 150 }).complaints();
    assert_eq!(
        late,
        ["it: heap grew from 100 to 150 MiB", "it: resident memory grew from 200 to 300 MiB"]
    );
}

#[test]
fn errors_and_what_is_left_are_told() {
    let mut bad = run(|_| 10);
    bad.left = 3;
    bad.ended = 899;
    bad.held = 89.0;
    bad.processes[0].after.descriptors = 21;
    bad.processes[1].errors = 2;
    bad.processes[1].during.clear();
    assert_eq!(
        bad.complaints(),
        [
            "it: 21 descriptors after, 20 before",
            "it: 2 errors",
            "it: too short to judge heap",
            "it: too short to judge resident memory",
            "the server still has 3 connections",
            "89 connections held of 100: too much for this machine",
            "899 connections ended of 1000: too much for this machine",
        ]
    );
}

#[test]
fn a_mix_is_drawn_by_its_weights() {
    let mut dice = Dice::new(1);
    let drawn: Vec<_> = (0..4000).map(|_| Exchange::draw(&mut dice).unwrap()).collect();
    let small = drawn.iter().filter(|&&drawn| drawn == Exchange::Small).count();
    assert!((2400..2800).contains(&small), "{small}");
    assert!((0..4000).all(|_| Ending::draw(&mut dice).is_some()), "the weights are 100 together");
    assert_eq!(Ending::announced(&Ending::ClientSilent.announcement()), Some(Ending::ClientSilent));
    assert_eq!(Ending::announced("/end of story"), None);
}
