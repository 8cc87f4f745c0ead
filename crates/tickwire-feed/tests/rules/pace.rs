//! No more than the exchange allows, whatever is asked for and when.
use proptest::prelude::*;
use std::time::Duration;
use tickwire::Time;
use tickwire_feed::Pace;

const SECOND: Duration = Duration::from_secs(1);

const fn ms(ms: u64) -> Time {
    Time::new(Duration::from_millis(ms))
}

proptest! {
    #[test]
    fn no_stretch_of_a_window_has_more_than_the_most(
        most in 1_u32..40,
        at_once in 1_u32..50,
        window in prop_oneof![
            Just(SECOND),
            Just(Duration::from_secs(300)),
            Just(Duration::from_nanos(1_234_567)),
        ],
        steps in prop::collection::vec(any::<u32>(), 0..600),
    ) {
        let mut pace = Pace::new(most, window).at_once(at_once);
        let (mut now, mut taken) = (Time::ZERO, Vec::new());
        for step in steps {
            let drawn = step / 7;
            let pause = match step % 7 {
                0..3 => 0,
                3..6 => drawn % 50,
                _ => drawn % 3_000,
            };
            now = now + window * pause / 1_000;
            match pace.take(now) {
                Ok(()) => taken.push(now),
                Err(again) => {
                    prop_assert!(again > now && again - now <= window + SECOND / 1_000);
                    if pause % 2 == 0 {
                        now = again;
                        prop_assert_eq!(pace.take(now), Ok(()), "at the time it named");
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

/// Of which a stretch of one nanosecond less has no more than the most.
#[test]
fn a_window_may_begin_at_any_nanosecond() {
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
}

#[test]
fn out_of_range_is_the_nearest_and_no_panic() {
    for (most, at_once, window) in [
        (0, 0, Duration::ZERO),
        (1, 1, Duration::MAX),
        (u32::MAX, u32::MAX, Duration::MAX),
        (u32::MAX, 1, Duration::MAX),
    ] {
        let mut pace = Pace::new(most, window).at_once(at_once);
        for now in [Time::ZERO, ms(1), ms(u64::MAX / 1_000_000), Time::new(Duration::MAX)] {
            let mut taken = 0_u32;
            while pace.take(now).is_ok() && taken < 300_000 {
                taken += 1;
            }
        }
    }
}

#[test]
fn it_shows_its_limits() {
    let pace = Pace::new(5, SECOND).at_once(3);
    let shown = format!("{pace:?}");
    assert_eq!(shown, "Pace { most: 5, window: 1s, at_once: 3, .. }");
}
