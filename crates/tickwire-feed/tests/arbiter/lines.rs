//! Numbers of any size in calls of any order, and lines that are cut, delayed and reordered against
//! each other.

use crate::support::sampled;
use proptest::prelude::*;
use std::{collections::HashSet, rc::Rc, time::Duration};
use testkit::Rng;
use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Limits, Numbers, Verdict};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sampled(5_000, 500)))]

    /// Whatever lines bring and callers call: no panic, the bound is kept, nothing is delivered
    /// twice or out of order between two synchronisations.
    #[test]
    fn wrong_numbers_and_calls_in_any_order_do_no_harm(
        most_kept in 0_usize..8,
        reach in prop_oneof![0_u64..20, Just(u64::MAX)],
        steps in prop::collection::vec((0_u8..14, any::<u64>(), any::<u64>(), 0_u64..2_000), 0..300),
    ) {
        let limits = Limits { most_kept, reach, ..Limits::default() };
        let mut arbiter = Arbiter::new(limits, |_| 0);
        let alive = Rc::new(());
        let mut lines = vec![arbiter.open()];
        let (mut now, mut last) = (Time::ZERO, None);
        for (what, first, second, ms) in steps {
            let first = number(first);
            let second = number(second);
            now = now + Duration::from_millis(ms);
            match what {
                0 => { arbiter.resync(first, now); last = None; }
                1 => { arbiter.resume(now); last = None; }
                2 if lines.len() < 5 => lines.push(arbiter.open()),
                3 => drop(lines.pop().map(|line| arbiter.close(line))),
                12 | 13 => {
                    if let Some(line) = lines.get(usize::from(what) % 2) {
                        arbiter.passed(line, first, now);
                    }
                }
                _ => {
                    let Some(line) = lines.get(usize::from(what) % 3) else { continue };
                    let numbers = Numbers { first, last: if what < 6 { second } else { first } };
                    let message = || (numbers, Rc::clone(&alive));
                    if arbiter.offer(line, numbers, now, message) == Verdict::Next {
                        prop_assert!(last.is_none_or(|last| numbers.last > last));
                        last = Some(numbers.last);
                    }
                }
            }
            prop_assert!(Rc::strong_count(&alive) <= 1 + most_kept.max(1));
            if let Some(gap) = arbiter.gap() {
                prop_assert!(gap.first <= gap.last && gap.since <= now);
            }
            if what != 11 {
                while let Some(event) = arbiter.poll(now) {
                    match event {
                        Event::Message((numbers, _)) => {
                            prop_assert!(last.is_none_or(|last| numbers.last > last));
                            last = Some(numbers.last);
                        }
                        Event::Gap(gap) => {
                            prop_assert!(gap.first <= gap.last);
                            prop_assert!(last.is_none_or(|last| gap.first > last));
                        }
                        Event::Restart => last = None,
                    }
                }
                let later = arbiter.poll_timeout().is_none_or(|due| due > now);
                prop_assert!(later, "or it would be asked in a loop");
            }
        }
    }
}

/// Mostly a small one, now and then one of the highest, or any.
fn number(drawn: u64) -> u64 {
    match drawn % 6 {
        0..4 => drawn / 6 % 40,
        4 => u64::MAX - drawn / 6 % 21,
        _ => drawn,
    }
}

/// All times are in microseconds. The exchange sends number `n` at `n * EVERY`.
const EVERY: u64 = 8_000;
/// Each line is cut after this time, and the other one half of it later.
const LIFE: u64 = 2_000_000;
/// A message takes up to this long, but none overtakes another on its line.
const DELAY: u64 = 300_000;
/// A line that was cut is back within this time, with the number that is then the newest.
const AWAY: u64 = 400_000;

/// What a line brings over `cuts` connections: number, when, and on which connection.
fn line(phase: u64, cuts: u64, rng: &mut Rng) -> Vec<(u64, u64, u64)> {
    let mut brought = Vec::new();
    let mut opened = 0_u64;
    for connection in 0..cuts {
        let cut = phase + (connection + 1) * LIFE;
        let mut arrived = opened;
        for number in opened.div_ceil(EVERY)..cut / EVERY {
            // Bursts, and pauses in which the path holds all back.
            let delay = if rng.once_in(50) { rng.below(DELAY) } else { rng.below(2_000) };
            arrived = (number * EVERY + delay).max(arrived);
            if arrived >= cut {
                break; // under way when the connection was cut
            }
            brought.push((arrived, number, connection));
        }
        opened = cut + rng.below(AWAY);
    }
    brought
}

/// 1,000 cuts on two lines, 10,000 with `TESTS=all`; out of phase, delayed and reordered against
/// each other.
#[test]
fn over_1_000_cuts_nothing_is_lost_or_doubled_or_later_than_need_be() {
    let cuts = sampled(5_000, 500);
    let rng = &mut Rng::new(7);
    let lines = [line(0, cuts, rng), line(LIFE / 2, cuts, rng)];
    // Up to here both lines cover each other.
    let last = cuts * LIFE / EVERY - AWAY / EVERY - DELAY / EVERY;

    let mut first_arrival = vec![u64::MAX; usize::try_from(last).unwrap()];
    let mut later_arrival = vec![0; first_arrival.len()];
    for &(at, number, _) in lines.iter().flatten() {
        if let Some(first) = first_arrival.get_mut(number as usize) {
            *first = at.min(*first);
            later_arrival[number as usize] = at.max(later_arrival[number as usize]);
        }
    }
    let missing = lines.each_ref().map(|line| {
        let brought: HashSet<u64> = line.iter().map(|&(_, number, _)| number).collect();
        (0..last).filter(|number| !brought.contains(number)).count() as u64
    });
    let much = 10 * cuts;
    assert!(missing.iter().all(|&missing| missing > much), "the lines lose much: {missing:?}");

    let mut all: Vec<(u64, u64, usize, u64)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        all.extend(line.iter().map(|&(at, number, connection)| (at, number, index, connection)));
    }
    all.sort_unstable();

    let mut arbiter: Arbiter<u64> = Arbiter::new(Limits::default(), |_| 0);
    arbiter.resync(0, Time::ZERO);
    let mut open = [Some((0, arbiter.open())), Some((0, arbiter.open()))];
    let mut delivered = Vec::with_capacity(all.len());
    let (mut kept, mut due) = (0_u64, 0);
    for (at, number, index, connection) in all {
        let now = Time::new(Duration::from_micros(at));
        if open[index].as_ref().is_none_or(|(opened, _)| *opened != connection) {
            let old = open[index].take();
            arbiter.close(old.map(|(_, line)| line).expect("one is always open"));
            open[index] = Some((connection, arbiter.open()));
        }
        let (_, line) = open[index].as_ref().expect("opened");
        match arbiter.offer(line, number, now, || number) {
            Verdict::Next => delivered.push((number, at)),
            Verdict::Kept => kept += 1,
            Verdict::Duplicate => {}
            Verdict::Refused => panic!("there is room"),
        }
        while let Some(event) = arbiter.poll(now) {
            match event {
                Event::Message(number) => delivered.push((number, at)),
                // Behind the end, where one line alone is left.
                Event::Gap(gap) => assert!(gap.first >= last, "{gap:?}"),
                Event::Restart => panic!("numbers only rise"),
            }
        }
    }
    assert!(kept > 2 * cuts, "{kept} only: the lines have to be apart");
    delivered.truncate(last as usize);
    assert_eq!(delivered.len(), last as usize);
    for (number, (delivered, at)) in delivered.into_iter().enumerate() {
        assert_eq!(delivered, number as u64, "a gap, or one doubled");
        // In order it could not have been earlier: when it and all before it had come over either
        // line.
        due = first_arrival[number].max(due);
        assert_eq!(at, due, "{number} is late");
        assert!(at <= later_arrival[number], "{number} is later than the later line");
    }
}
