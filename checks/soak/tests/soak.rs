//! A short run, and what the verdict finds.
#![allow(clippy::unwrap_used)]

#[path = "../mix.rs"]
#[allow(dead_code)]
mod mix;
#[path = "../verdict.rs"]
mod verdict;
#[path = "../watch.rs"]
#[allow(dead_code)]
mod watch;

use self::mix::{Ending, Exchange, Kind};
use self::verdict::{History, Run, Usage, Window};
use self::watch::Watch;
use std::{process::Command, thread, time::Duration};
use testkit::Rng;

/// Memory, times and the number of connections that a machine keeps up with are not for such a
/// short run to judge; errors and descriptors are.
fn short(product: &str) {
    let args =
        "--seconds 4 --report 1 --connections 30 --churn 15 --rate 5 --heartbeat 1 --product";
    let args = args.split(' ').chain([product]);
    let run = Command::new(env!("CARGO_BIN_EXE_soak")).args(args).output().unwrap();
    let [text, errors] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(
        text.contains("server: 0 errors") && text.contains("clients: 0 errors"),
        "{text}{errors}"
    );
    assert!(!text.contains(" descriptors after") && !text.contains("still has"), "{text}");
    for exchange in ["small", "text", "connects", "p99"] {
        assert!(text.contains(exchange), "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_short_run_of_tokio_has_no_error_and_leaks_no_descriptor() {
    short("tokio");
}

#[cfg(target_os = "linux")]
#[test]
fn a_short_run_of_the_loop_has_no_error_and_leaks_no_descriptor() {
    short("loop");
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
    Run {
        seconds: 600.0,
        connections: 100.0,
        held: 95.0,
        asked: 1000.0,
        ended: 1000,
        left: 0,
        processes,
        windows: windows(|_| 400, |_| 100),
    }
}

/// A report each ten seconds, with this p99 of ours and of bare TCP.
fn windows(ours: impl Fn(u64) -> u64, bare: impl Fn(u64) -> u64) -> Vec<(f64, Window)> {
    let window = |at| Window { ours: Some([50, ours(at)]), bare: Some([50, bare(at)]) };
    (1..=60).map(|at| (10.0 * at as f64, window(10 * at))).collect()
}

#[test]
fn memory_may_grow_for_a_minute_and_then_by_a_twentieth() {
    assert_eq!(run(|at| 100 + at.min(60)).complaints(), [""; 0]);
    assert_eq!(run(|at| 100 + 9 * at / 600).complaints(), [""; 0]);
    assert_eq!(run(|at| 200 - at / 10).complaints(), [""; 0]);
    // A long message now and then is no leak.
    assert_eq!(run(|at| if at % 3 == 0 { 150 } else { 100 }).complaints(), [""; 0]);
    // 2 MiB a minute: 104 in the middle of the first third, 116 in that of the last.
    let leak = run(|at| 100 + at / 60 * 2).complaints();
    assert_eq!(leak, ["it: heap grew from 106496 to 118784 KiB"]);
    let late = run(|at| if at < 500 { 100 } else { 150 }).complaints();
    assert_eq!(
        late,
        [
            "it: heap grew from 102400 to 153600 KiB",
            "it: resident memory grew from 204800 to 307200 KiB"
        ]
    );
}

/// As of a map that is emptied at the end only.
#[test]
fn descriptors_that_come_back_only_in_the_end_are_told() {
    let mut leak = run(|_| 10);
    for (at, usage) in &mut leak.processes[0].during {
        usage.descriptors += *at as u64 / 10;
    }
    assert_eq!(leak.complaints(), ["it: descriptors grew from 35 to 71"]);
}

#[test]
fn times_may_rise_with_those_of_the_machine() {
    let rose = |ours: [u64; 2], bare: [u64; 2]| {
        let pick = |of: [u64; 2]| move |at| if at < 300 { of[0] } else { of[1] };
        let windows = windows(pick(ours), pick(bare));
        Run { windows, ..run(|_| 10) }.complaints()
    };
    assert_eq!(rose([400, 5000], [100, 100]), [""; 0]); // 5 ms, and not more
    assert_eq!(rose([2000, 10_000], [100, 100]), [""; 0]);
    assert_eq!(rose([2000, 30_000], [100, 300]), [""; 0]);
    assert_eq!(rose([30_000, 2000], [300, 100]), [""; 0]);
    assert_eq!(
        rose([2000, 11_000], [200, 100]),
        ["p99 rose from 2000 to 11000 µs, over bare TCP from 200 to 100 µs"]
    );
    let mut still = run(|_| 10);
    still.windows.retain(|(at, _)| *at < 400.0);
    assert_eq!(still.complaints(), ["too short to judge p99"]);
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
            "it: too short to judge descriptors",
            "the server still has 3 connections",
            "89 connections held of 100: too much for this machine",
            "899 connections ended of 1000: too much for this machine",
        ]
    );
}

#[test]
fn errors_are_excused_while_nobody_ticks_and_for_a_while_after_that() {
    let beat = Duration::from_millis(100);
    let watch = Watch::new(beat);
    watch.tick();
    thread::sleep(beat + beat / 2);
    assert!(watch.excuses()); // even before the tick
    watch.tick();
    assert!(watch.excuses());
    let hour = Watch::new(Duration::from_secs(3600));
    hour.tick();
    assert!(!hour.excuses());
}

#[test]
fn a_mix_is_drawn_by_its_weights() {
    let mut rng = Rng::new(1);
    let drawn: Vec<_> = (0..4000).map(|_| Exchange::draw(&mut rng).unwrap()).collect();
    let small = drawn.iter().filter(|&&drawn| drawn == Exchange::Small).count();
    assert!((2400..2800).contains(&small), "{small}");
    assert!((0..4000).all(|_| Ending::draw(&mut rng).is_some()), "the weights are 100 together");
    assert_eq!(Ending::announced(&Ending::ClientSilent.announcement()), Some(Ending::ClientSilent));
    assert_eq!(Ending::announced("/end of story"), None);
}
