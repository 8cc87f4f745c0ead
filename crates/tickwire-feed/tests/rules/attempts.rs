//! The attempts of all connections from one address.
use std::time::Duration;
use tickwire::Time;
use tickwire_feed::Attempts;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

const fn at(seconds: u64) -> Time {
    Time::new(Duration::from_secs(seconds))
}

#[test]
fn each_of_several_limits_holds_in_any_stretch() {
    let mut attempts = Attempts::new(5, MINUTE).and(2, SECOND);
    let mut now = Time::ZERO;
    let mut taken = Vec::new();
    while taken.len() < 40 {
        match attempts.take(now) {
            Ok(()) => taken.push(now),
            Err(again) => {
                assert!(again > now);
                now = again;
            }
        }
    }
    for (most, window) in [(5, MINUTE), (2, SECOND)] {
        for (first, beyond) in taken.iter().zip(&taken[most..]) {
            assert!(*beyond - *first >= window, "{most} in {window:?}: {taken:?}");
        }
    }
    assert_eq!(taken[4], at(2), "as soon as allowed");
}

/// The cable is out for an hour, and the attempts are all there when it is plugged in.
#[test]
fn an_attempt_that_reached_no_server_is_given_back() {
    let mut attempts = Attempts::new(3, 5 * MINUTE);
    for second in 0..3600 {
        assert_eq!(attempts.take(at(second)), Ok(()));
        attempts.give_back(at(second));
    }
    assert_eq!([0; 3].map(|_| attempts.take(at(3600))), [Ok(()); 3]);
    assert_eq!(attempts.take(at(3600)), Err(at(3900)));
}

#[test]
fn a_refusal_of_the_address_keeps_all_its_connections_away_and_a_tenth_more() {
    let mut attempts = Attempts::new(300, 5 * MINUTE);
    let now = at(1);
    assert_eq!(attempts.take(now), Ok(()));
    assert_eq!(attempts.refused(503, Some(MINUTE), now, now), None, "that connection's own affair");
    assert_eq!(attempts.take(now), Ok(()));
    assert_eq!(attempts.refused(429, Some(MINUTE), now, now), Some(at(69)));
    assert_eq!(attempts.refused(429, Some(SECOND), now, now), Some(at(69)), "the longest holds");
    assert_eq!(attempts.take(at(68)), Err(at(69)));
    assert_eq!(attempts.take(at(69)), Ok(()));
    // Zero is no time at all.
    let mut attempts = Attempts::new(300, 5 * MINUTE);
    assert_eq!(attempts.refused(429, Some(Duration::ZERO), at(1), at(1)), Some(at(3)));
    // A year is a mistake.
    let mut attempts = Attempts::new(300, 5 * MINUTE);
    assert_eq!(
        attempts.refused(418, Some(365 * DAY), at(0), at(0)),
        Some(at(0) + 3 * DAY * 11 / 10 + 2 * SECOND)
    );
    let mut attempts = Attempts::new(300, 5 * MINUTE).max_retry_after(MINUTE);
    assert_eq!(attempts.refused(418, Some(Duration::MAX), at(0), at(0)), Some(at(68)));
}

/// Without a Retry-After one attempt of all goes, after 1, 2, 4 s .., or after 2, 4 min.
#[test]
fn a_refusal_without_a_time_shuts_the_gate_for_longer_each_time() {
    for (status, first, longest) in [(429, 1, 300), (418, 120, 300)] {
        let mut attempts = Attempts::new(300, 5 * MINUTE).and(20, SECOND);
        let mut now = at(1);
        let mut wait = first;
        for _ in 0..12 {
            assert_eq!(attempts.take(now), Ok(()));
            let other = attempts.take(now);
            let again = attempts.refused(status, None, now, now).unwrap();
            assert_eq!(again - now, wait.min(longest) * SECOND);
            // One that was on the way together with it counts for nothing.
            assert_eq!(attempts.refused(status, None, now, now + SECOND / 2), Some(again));
            assert_eq!(attempts.take(now + SECOND / 2), Err(again));
            assert!(wait == first || other.is_err(), "one attempt of all");
            now = again;
            wait *= 2;
        }
        // An accepted handshake opens it: of an attempt since, not of one before.
        assert_eq!(attempts.take(now), Ok(()));
        attempts.opened(at(1));
        assert!(attempts.take(now).is_err());
        attempts.opened(now);
        assert_eq!([0; 15].map(|_| attempts.take(now)), [Ok(()); 15]);
        assert_eq!(attempts.refused(status, None, now, now), Some(now + first * SECOND));
    }
}

/// A proxy in front of an exchange may ban by 403. Fewer are the fault of one of the connections.
#[test]
fn many_refusals_in_a_row_shut_the_gate() {
    let mut attempts = Attempts::new(300, 5 * MINUTE);
    let mut now = at(1);
    for _ in 0..20 {
        assert_eq!(attempts.take(now), Ok(()));
        assert_eq!(attempts.refused(403, None, now, now), None);
        assert_eq!(attempts.refused(401, None, now, now), None, "the key's");
        assert_eq!(attempts.refused(503, None, now, now), None, "passes by itself");
    }
    for wait in [1, 2, 4, 8, 10, 10] {
        assert_eq!(attempts.take(now), Ok(()));
        assert!(wait == 1 || attempts.take(now).is_err());
        assert_eq!(attempts.refused(404, None, now, now), None);
        assert_eq!(attempts.take(now), Err(now + wait * SECOND));
        now = now + wait * SECOND;
    }
    now = now + 5 * MINUTE;
    assert_eq!(attempts.take(now), Ok(()));
    assert_eq!(attempts.refused(404, None, now, now), None);
    assert_eq!(attempts.take(now), Err(now + MINUTE));
    now = now + MINUTE;
    assert_eq!(attempts.take(now), Ok(()));
    attempts.opened(now);
    assert_eq!([0; 9].map(|_| attempts.take(now)), [Ok(()); 9]);
}

#[test]
fn after_a_refusal_one_goes_first_and_the_others_wait_for_it() {
    let mut attempts = Attempts::new(300, 5 * MINUTE);
    let again = attempts.refused(429, Some(MINUTE), at(0), at(0)).unwrap();
    assert_eq!(attempts.take(again), Ok(()));
    assert_eq!(attempts.take(again), Err(again + SECOND));
    attempts.opened(again);
    assert_eq!([0; 15].map(|_| attempts.take(again)), [Ok(()); 15]);
    // One that fails leaves the way to the next; one that is refused keeps all away.
    let again = attempts.refused(429, Some(MINUTE), at(1000), at(1000)).unwrap();
    assert_eq!(attempts.take(again), Ok(()));
    attempts.failed(again);
    assert_eq!(attempts.take(again), Ok(()));
    let again = attempts.refused(418, Some(MINUTE), again, again).unwrap();
    assert_eq!(attempts.take(at(1100)), Err(again));
    assert_eq!(attempts.take(again), Ok(()));
    // The program of the first has gone: it blocks the others for half a minute at most.
    assert!(attempts.take(again + 29 * SECOND).is_err());
    assert_eq!(attempts.take(again + 30 * SECOND), Ok(()));
}
