//! No more than the exchange allows, whatever is asked for and when.
use proptest::prelude::*;
use std::time::Duration;
use tickwire::Time;
use tickwire_feed::{Pace, Paced};

const SECOND: Duration = Duration::from_secs(1);

const fn ms(ms: u64) -> Time {
    Time::new(Duration::from_millis(ms))
}

proptest! {
    #[test]
    fn no_stretch_of_a_window_has_more_than_the_most(
        most in 1_u32..40,
        at_once in 1_u32..50,
        reserve in 0_u32..50,
        window in prop_oneof![
            Just(SECOND),
            Just(Duration::from_secs(300)),
            Just(Duration::from_nanos(1_234_567)),
        ],
        steps in prop::collection::vec(any::<u32>(), 0..600),
    ) {
        let mut pace = Pace::new(most, window).at_once(at_once).reserve(reserve);
        let (mut now, mut taken) = (Time::ZERO, Vec::new());
        for step in steps {
            let urgent = step % 2 == 0;
            let drawn = step / 14;
            let pause = match step / 2 % 7 {
                0..3 => 0,
                3..6 => drawn % 50,
                _ => drawn % 3_000,
            };
            now = now + window * pause / 1_000;
            match if urgent { pace.take_urgent(now) } else { pace.take(now) } {
                Ok(()) => taken.push(now),
                Err(again) => {
                    prop_assert!(again > now && again - now <= window + SECOND / 1_000);
                    if pause % 2 == 0 {
                        now = again;
                        prop_assert_eq!(pace.take_urgent(now), Ok(()), "at the time it named");
                        taken.push(now);
                    }
                }
            }
        }
        for (first, beyond) in taken.iter().zip(taken.iter().skip(most as usize)) {
            prop_assert!(*beyond - *first >= window);
        }
    }
}

/// The bucket looks at the clock once a microsecond: what it has not looked at at the beginning
/// flows in later.
#[test]
fn a_window_that_begins_between_two_looks_at_the_clock_has_no_more_than_the_most() {
    for window in [Duration::from_micros(1), Duration::from_micros(10), SECOND] {
        for begin in [0, 1, 500, 999, 1_000].map(Duration::from_nanos).map(Time::new) {
            let mut pace = Pace::new(6, window).at_once(5);
            let mut taken = 0;
            for now in [begin, begin + (window - Duration::from_nanos(1))] {
                while pace.take(now).is_ok() {
                    taken += 1;
                }
            }
            assert!((5..=6).contains(&taken), "{taken} in {window:?} from {begin:?}");
        }
    }
}

/// How many pass in `windows` full windows by a caller that takes all it can get.
fn greedy(mut pace: Pace, windows: u32) -> u32 {
    let (mut now, mut taken) = (Time::ZERO, 0);
    while now < Time::ZERO + SECOND * windows {
        match pace.take(now) {
            Ok(()) => taken += 1,
            Err(again) => now = again,
        }
    }
    taken
}

#[test]
fn a_refusal_does_not_move_the_promised_time() {
    let mut pace = Pace::new(1, 20 * SECOND);
    assert_eq!(pace.take(ms(0)), Ok(()));
    let again = pace.take(ms(0)).unwrap_err();
    for now in 1..20_000 {
        assert_eq!(pace.take(ms(now)), Err(again));
    }
    assert_eq!(pace.take(again), Ok(()));
}

#[test]
fn what_is_allowed_is_had() {
    assert!(greedy(Pace::new(5, SECOND), 100) >= 499);
    assert!(greedy(Pace::new(5, SECOND).at_once(3), 100) >= 299);
    assert!(greedy(Pace::new(5, SECOND).reserve(2), 100) >= 299);
}

#[test]
fn orders_have_the_whole_of_each_window_and_the_rest_never_what_is_reserved() {
    for (most, at_once, reserve) in [(10, 1, 9), (10, 3, 5), (10, 1, 1), (5, 1, 4), (300, 50, 200)]
    {
        let pace = || Pace::new(most, SECOND).at_once(at_once).reserve(reserve);
        for every in [1, 1_000 / u64::from(most)] {
            let (mut alone, mut beside) = (pace(), pace());
            for second in 0..20 {
                let (mut sent, mut all) = (0, 0);
                for now in (0..1_000).step_by(every as usize).map(|part| ms(1_000 * second + part))
                {
                    sent += u32::from(alone.take_urgent(now).is_ok());
                    all += u32::from(beside.take(now).is_ok());
                    all += u32::from(beside.take_urgent(now).is_ok());
                }
                assert_eq!((sent, all), (most, most), "{most} {reserve}, every {every} ms");
            }
        }
        let rest = greedy(pace(), 20);
        assert!(rest <= (most - reserve) * 20, "{rest} of {most}, {reserve} reserved");
    }
}

#[test]
fn out_of_range_is_the_nearest_and_no_panic() {
    for (most, at_once, reserve, window) in [
        (0, 0, 0, Duration::ZERO),
        (u32::MAX, u32::MAX, u32::MAX, Duration::MAX),
        (1, 1, 1, Duration::MAX),
        (u32::MAX, u32::MAX, 0, Duration::MAX),
    ] {
        let mut pace = Pace::new(most, window).at_once(at_once).reserve(reserve);
        for now in [Time::ZERO, ms(1), ms(u64::MAX / 1_000_000), Time::new(Duration::MAX)] {
            let mut taken = 0_u32;
            while pace.take(now).is_ok() && taken < 300_000 {
                taken += 1;
            }
            let _ = pace.take_urgent(now);
        }
    }
}

#[test]
fn an_order_overtakes_the_subscriptions_that_are_queued() {
    let mut sending = Paced::new(Pace::new(4, SECOND).reserve(1));
    for batch in 0..40 {
        sending.push(batch);
    }
    let (mut now, mut sent) = (Time::ZERO, Vec::new());
    while now < ms(5_000) {
        while let Some(message) = sending.poll(now) {
            sent.push((message, now));
        }
        now = sending.poll_timeout().unwrap();
    }
    let before = sent.len();
    assert!((15..=16).contains(&before), "3 a second: {before}");
    let now = ms(5_000); // a third of a second after a subscription at the earliest
    sending.push_urgent(1_000);
    assert_eq!(sending.poll(now), Some(1_000), "at once: one is kept for it");
    sending.push_urgent(1_001);
    let due = match sending.poll(now) {
        Some(message) => panic!("{message} too early"),
        None => sending.poll_timeout().unwrap(),
    };
    assert!(due - now <= Duration::from_millis(334), "the next of all: {:?}", due - now);
    assert_eq!(sending.poll(due), Some(1_001), "in front of 24 subscriptions");
    assert_eq!(sending.queued(), 40 - before);
}

#[test]
fn an_order_takes_whichever_is_free_first() {
    let mut pace = Pace::new(2, 10 * SECOND).reserve(1);
    assert_eq!(pace.take_urgent(ms(0)), Ok(()));
    assert_eq!(pace.take(ms(5_000)), Ok(()));
    let again = pace.take_urgent(ms(6_000)).unwrap_err();
    assert!(
        again - ms(10_000) < SECOND / 1_000,
        "the one kept for it, not the other at 15 s: {again:?}"
    );
    let again = pace.take(ms(6_000)).unwrap_err();
    assert!(again - ms(15_000) < SECOND / 1_000 && again >= ms(15_000));
}

#[test]
fn it_shows_its_limits() {
    let pace = Pace::new(5, SECOND).at_once(3).reserve(9);
    let shown = format!("{pace:?}");
    assert_eq!(shown, "Pace { most: 5, window: 1s, at_once: 3, reserve: 4, .. }");
}
