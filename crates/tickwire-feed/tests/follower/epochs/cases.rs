//! Single cases that went wrong once: those of the adversary's `followc`, and what this oracle
//! found.
use super::desk::{Desk, MS, SECOND, book, settings};
use std::time::Duration;
use tickwire_feed::{
    Asked, Cause, Count, Ended, Incoming, Limits, Recovery, Settings, State, Subscription, Verdict,
};

/// Restarts the exchange: the next connection brings the second count from 1.
fn restart(desk: &mut Desk) -> tickwire_feed::ConnectionId {
    let id = desk.connected();
    desk.end(id, Ended::closed(1012, ""));
    desk.connected()
}

#[test]
fn oldkept_a_kept_message_goes_with_its_connection() {
    let mut desk = Desk::new(settings(), book());
    let first = desk.connected();
    let _ = desk.data(first, (1, 100));
    assert_eq!((desk.restarts, desk.snapshots.len()), (1, 1));
    let second = restart(&mut desk);
    for number in 1..=3 {
        let _ = desk.data(second, (2, number));
    }
    desk.resync(4);
    for number in 4..=101 {
        desk.pass(50 * MS);
        let _ = desk.data(second, (2, number));
    }
    let all: Vec<_> = (4..=101).map(|number| (2, number)).collect();
    assert_eq!(desk.delivered, all);
}

#[test]
fn oldkept2_nor_does_it_stay_behind_a_told_gap() {
    let mut desk = Desk::new(settings(), book());
    let first = desk.connected();
    let _ = desk.data(first, (1, 100));
    desk.resync(101);
    let _ = desk.data(first, (1, 200));
    desk.pass(2 * SECOND);
    assert_eq!((desk.gaps[0].first, desk.gaps[0].last), (101, 199));
    let second = restart(&mut desk);
    for number in 1..=3 {
        let _ = desk.data(second, (2, number));
    }
    desk.resync(4);
    for number in 4..=201 {
        desk.pass(50 * MS);
        let _ = desk.data(second, (2, number));
    }
    assert!(desk.delivered.iter().all(|note| *note != (1, 200)), "{:?}", desk.delivered);
    assert_eq!(desk.delivered.last(), Some(&(2, 201)));
}

#[test]
fn oldkept_a_slow_market_gets_no_flood_of_snapshots() {
    let mut desk = Desk::new(settings(), book());
    let first = desk.connected();
    let _ = desk.data(first, (1, 100));
    let second = restart(&mut desk);
    let mut taken = 0;
    for number in 1..=30 {
        let _ = desk.data(second, (2, number));
        for _ in 0..20 {
            desk.pass(SECOND);
            desk.hear(second, Incoming::Answer(Asked::Subscription(0)));
            // Each snapshot is there by then.
            if desk.snapshots.len() > taken {
                taken = desk.snapshots.len();
                desk.resync(number + 1);
            }
        }
    }
    assert!(desk.gaps.len() <= 1 && desk.snapshots.len() <= 3, "{:?}", desk.snapshots);
}

/// `followc` calls it "ghost". Nothing but the wrong number is wrong, on either connection.
#[test]
fn after_a_wrong_number_the_next_connection_is_followed_with_few_gaps_and_snapshots() {
    let mut desk = Desk::new(settings(), book());
    let first = desk.connected();
    let _ = desk.data(first, (1, 9));
    desk.resync(10);
    let _ = desk.data(first, (1, 10));
    let wrong = 900_010;
    let _ = desk.data(first, (1, wrong));
    desk.end(first, Ended::closed(1006, ""));
    let second = desk.connected();
    let mut taken = desk.snapshots.len();
    // An hour of the numbers behind 10. Each snapshot that is wanted is there at once.
    for number in 11..3_011 {
        desk.pass(1_200 * MS);
        let _ = desk.data(second, (1, number));
        if desk.snapshots.len() > taken {
            taken = desk.snapshots.len();
            desk.resync(number + 1);
        }
    }
    assert!(desk.gaps.len() <= 2, "{:?}", desk.gaps.len());
    assert!(desk.snapshots.len() <= 4, "{:?}", desk.snapshots);
    assert!(desk.delivered.len() > 3_000 - 10, "{}", desk.delivered.len());
}

#[test]
fn leave_a_subscription_that_is_dead_from_the_start_is_left() {
    for probe_after in [None, Some(5 * SECOND)] {
        let leave_after = Some(10 * SECOND);
        let dead = Subscription { leave_after, ..Subscription::default() };
        let mut desk = Desk::new(Settings { probe_after, ..settings() }, dead);
        let first = desk.connected();
        for _ in 0..12 {
            desk.pass(SECOND);
            if probe_after.is_some() {
                desk.hear(first, Incoming::Other);
            }
        }
        let other = *desk.open.last().unwrap();
        assert_ne!(other, first, "a successor is open");
        let silent = State::Silent { cause: Cause::NoData(0) };
        assert_eq!(desk.state(), silent, "a probe's answer is no data");
        let _ = desk.data(other, (1, 1));
        assert_eq!(desk.open, [other]);
    }
}

#[test]
fn ending_on_each_connection_takes_no_flood_of_dials() {
    let mut desk = Desk::new(settings(), Subscription { recovery: Recovery::Resume, ..book() });
    let mut number = 0;
    let mut told = None;
    while desk.now < 3_600 * SECOND {
        desk.pass(100 * MS);
        number += 1;
        for id in desk.open.clone() {
            let _ = desk.data(id, (1, number));
        }
        let youngest = desk.open.last().copied();
        if youngest != told {
            told = youngest;
            if let Some(id) = youngest {
                desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
                desk.hear(id, Incoming::Ending);
            }
        }
    }
    let dials = desk.dials.len();
    assert!((60..1_500).contains(&dials), "{dials} dials in an hour");
    assert_eq!(desk.gaps, []);
    assert_eq!(desk.delivered.len(), number as usize);
}

#[test]
fn stale_what_a_line_has_passed_of_the_rest_is_a_gap_at_once() {
    let limits = Limits { reach: 1_000, ..Limits::default() };
    let mut desk = Desk::new(Settings { limits, ..settings() }, book());
    let id = desk.connected();
    let _ = desk.data(id, (1, 1));
    desk.resync(2);
    let _ = desk.data(id, (1, 2));
    assert_eq!(desk.data(id, (1, 5_000)), Some(Verdict::Refused));
    desk.pass(2 * SECOND);
    assert_eq!(desk.gaps.len(), 1, "{:?}", desk.gaps);
    desk.resync(2);
    desk.pass(2 * SECOND);
    let again = &desk.gaps[1];
    assert_eq!(again.first, 2);
    assert!(again.last >= 4_999, "{again:?}");
}

#[test]
fn late_standing_still_hides_no_dead_server() {
    for every in [2_000, 2_900, 3_500] {
        let settings = Settings { probe_after: Some(2 * SECOND), ..settings() };
        let mut desk = Desk::new(settings, book());
        let id = desk.connected();
        desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
        let mut stood = Duration::ZERO;
        while desk.now < 120 * SECOND && !matches!(desk.state(), State::Silent { .. }) {
            let due = desk.poll();
            let late = desk.now + 100 * MS >= due && desk.now - stood >= every * MS;
            desk.now += if late { 1_500 * MS } else { 100 * MS };
            if late {
                stood = desk.now;
            }
        }
        assert!(desk.now < 30 * SECOND, "every {every} ms: {:?}, {:?}", desk.now, desk.state());
    }
}

#[test]
fn catchup_needs_a_count_for_each_connection() {
    for count in [Count::Feed, Count::Connection] {
        let mut desk = Desk::new(settings(), Subscription { count, ..book() });
        let first = desk.connected();
        let _ = desk.data(first, (1, 3));
        desk.resync(4);
        for number in 4..=6 {
            let _ = desk.data(first, (1, number));
        }
        desk.end(first, Cause::Cut);
        let second = desk.connected();
        let restarts = desk.restarts;
        let verdicts: Vec<_> = (4..=8)
            .map(|number| {
                desk.pass(100 * MS);
                desk.data(second, (2, number)).unwrap()
            })
            .collect();
        match count == Count::Connection {
            // As documented: numbers that begin above the first one, and catch up within the
            // patience.
            false => assert_eq!(verdicts[2..4], [Verdict::Duplicate, Verdict::Next]),
            true => {
                assert_eq!(desk.restarts, restarts + 1);
                desk.resync(4);
                let all: Vec<_> = (4..=8).map(|number| (2, number)).collect();
                assert!(desk.delivered.ends_with(&all), "none is lost: {:?}", desk.delivered);
            }
        }
    }
}

#[test]
fn staleepoch_a_snapshot_of_the_old_count_is_found_by_the_next_numbers() {
    let mut desk = Desk::new(settings(), book());
    let first = desk.connected();
    let _ = desk.data(first, (1, 1_000));
    let second = restart(&mut desk);
    let _ = desk.data(second, (2, 1));
    desk.resync(1_001);
    let restarts = desk.restarts;
    for number in 2..=6 {
        desk.pass(500 * MS);
        let _ = desk.data(second, (2, number));
    }
    assert_eq!(desk.restarts, restarts + 1, "the book of the old count is no more");
    desk.pass(60 * SECOND);
    assert!(desk.snapshots.len() >= 2, "{:?}", desk.snapshots);
    assert_eq!(desk.delivered, []);
}

/// Seed 2351: a connection that has fallen silent has no say in what is kept.
#[test]
fn a_silent_connection_vouches_for_nothing() {
    let settings = Settings { addresses: 2, ..settings() };
    let watch = Subscription { ask_after: Some(2 * SECOND), ..book() };
    let mut desk = Desk::with_lines(settings, watch, 2);
    let silent = desk.open[0];
    let other = desk.open[1];
    for number in 7..=9 {
        let _ = desk.data(silent, (1, number));
        let _ = desk.data(other, (1, number));
    }
    // Nobody else is there, and one says nothing any more.
    desk.answer = Box::new(|_| Some(Cause::ConnectionRefused.into()));
    for number in 10..=18 {
        desk.pass(SECOND);
        let _ = desk.data(other, (1, number));
    }
    assert!(desk.follower.states().any(|state| matches!(state, State::Silent { .. })));
    desk.end(other, Ended::closed(1012, ""));
    desk.pass(40 * SECOND);
    desk.answer = Box::new(|address| (address == 0).then_some(Cause::ConnectionRefused.into()));
    desk.pass(10 * SECOND);
    let new = *desk.open.last().unwrap();
    assert_ne!(new, silent);
    for number in 1..=7 {
        desk.pass(500 * MS);
        let _ = desk.data(new, (2, number));
    }
    desk.resync(8);
    desk.pass(2 * SECOND);
    assert!(desk.delivered.iter().all(|note| note.0 == 2), "{:?}", desk.delivered);
}

/// Seed 396: what a connection has shown of a new count outlives it.
#[test]
fn a_new_count_is_seen_although_its_connections_live_short() {
    let mut desk = Desk::new(settings(), book());
    let first = desk.connected();
    let _ = desk.data(first, (1, 40));
    desk.resync(41);
    let _ = desk.data(first, (1, 41));
    let mut new = restart(&mut desk);
    for number in [25, 30, 35] {
        let _ = desk.data(new, (2, number));
        desk.pass(900 * MS);
        desk.end(new, Cause::Cut);
        new = desk.connected();
    }
    for number in 40..=42 {
        let _ = desk.data(new, (2, number));
    }
    let told = desk.restarts > 1 || !desk.gaps.is_empty();
    assert!(told || desk.delivered == [(1, 41)], "{:?}", desk.delivered);
}

/// Seed 43239: a connection that brings nothing any more does not hide that its successor counts
/// anew.
#[test]
fn a_new_count_is_seen_beside_a_silent_connection() {
    let mut desk = Desk::new(settings(), book());
    let dead = desk.follower.subscribe(book()).unwrap();
    desk.poll();
    let first = desk.connected();
    let _ = desk.data(first, (1, 64));
    desk.resync(65);
    let _ = desk.data(first, (1, 65));
    desk.pass(8 * SECOND);
    let cause = Cause::SubscriptionUnanswered(dead);
    assert_eq!(desk.state(), State::Silent { cause });
    let second = *desk.open.last().unwrap();
    assert_ne!(first, second);
    let restarts = desk.restarts;
    for number in 57..=67 {
        let _ = desk.data(second, (2, number));
        desk.pass(400 * MS);
    }
    assert_eq!(desk.restarts, restarts + 1, "{:?}", desk.delivered);
}

/// An exchange that repeats its announcement gets one successor for each connection.
#[test]
fn an_announcement_that_is_repeated_counts_once() {
    let mut desk = Desk::new(settings(), Subscription { recovery: Recovery::Resume, ..book() });
    let first = desk.connected();
    desk.hear(first, Incoming::Answer(Asked::Subscription(0)));
    for number in 1..=120 {
        desk.pass(500 * MS);
        for id in desk.open.clone() {
            desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
            if number % 2 == 0 {
                desk.hear(id, Incoming::Ending);
            }
            // The successor is quiet, so the first one stays.
            if id == first {
                let _ = desk.data(id, (1, number));
            }
        }
    }
    assert!(desk.dials.len() <= 3, "{:?}", desk.dials);
    assert_eq!(desk.open.len(), 2);
}

/// The first attempt after a ban is that of a successor which nobody needs any more.
#[test]
fn an_unwanted_scout_holds_nobody_up() {
    let settings = Settings { probe_after: Some(2 * SECOND), addresses: 2, ..settings() };
    let mut desk =
        Desk::with_lines(settings, Subscription { recovery: Recovery::Resume, ..book() }, 2);
    let line0 = desk.open[0];
    let line1 = desk.open[1];
    let time = tickwire::Time::new(desk.now);
    desk.attempts.refused(429, Some(20 * SECOND), time, time);
    desk.end(line1, Cause::Cut);
    // Line 0 falls silent, so it wants a successor.
    desk.pass(24 * SECOND - 100 * MS);
    assert_eq!(desk.dials.len(), 2);
    desk.pass(200 * MS);
    assert_eq!(desk.open.len(), 3, "both have dialed: {:?}", desk.dials);
    desk.hear(line0, Incoming::Other);
    assert_eq!(desk.open.len(), 2);
}

/// 30 followers of an address share a pace of one snapshot a second.
#[test]
fn a_shared_pace_of_snapshots_leaves_nobody_out() {
    use tickwire::Time;
    use tickwire_feed::{Action, Attempts, Follower, Pace};
    use tickwire_parts::Backoff;
    let mut attempts = Attempts::new(250, 300 * SECOND).snapshots(Pace::new(1, SECOND));
    let mut followers: Vec<_> = (0..30)
        .map(|seed| {
            let mut follower = Follower::new(settings());
            follower.add_line(Backoff::seeded(seed).trading(), Duration::MAX, Duration::ZERO);
            follower.subscribe(Subscription::default());
            (follower, None, 0, Duration::ZERO)
        })
        .collect();
    let mut now = Duration::ZERO;
    let mut all = Vec::new();
    while now < 300 * SECOND {
        for (follower, open, taken, wait) in &mut followers {
            loop {
                let time = Time::new(now);
                match follower.poll(time, &mut attempts) {
                    Action::Dial { connection, .. } => {
                        follower.opened(connection, time, &mut attempts);
                        *open = Some(connection);
                        let numbers = Some(1.into());
                        let data = Incoming::Data { subscription: 0, numbers };
                        let _ = follower.heard(connection, data, time, || (1, 1));
                    }
                    Action::Snapshot { id, .. } => {
                        *taken += 1;
                        all.push(now);
                        // It fails, so the follower wants another one.
                        follower.no_snapshot(0, id, None, time, &mut attempts);
                    }
                    Action::Wait(until) => {
                        *wait = until.since_epoch();
                        break;
                    }
                    _ => {}
                }
            }
        }
        let next = followers.iter().map(|(.., wait)| *wait).min().unwrap();
        assert!(next > now);
        now = next;
    }
    let least = followers.iter().map(|(_, _, taken, _)| *taken).min().unwrap();
    assert!(
        least >= 2,
        "{:?}",
        followers.iter().map(|(_, _, taken, _)| *taken).collect::<Vec<_>>()
    );
    assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= SECOND));
}

/// All that a program could call, in any order and with any connection: nothing panics, and each
/// wait ends.
#[test]
fn calls_in_any_order_do_no_harm() {
    use testkit::Rng;
    use tickwire::{Retry, Time};
    use tickwire_feed::{Action, Attempts, Follower};
    use tickwire_parts::Backoff;
    for seed in crate::support::seeds(2_000, 60) {
        let mut rng = Rng::new(seed);
        let mut follower = Follower::<(u32, u64)>::new(Settings {
            addresses: rng.below(4),
            login: rng.once_in(2),
            batch: rng.below(3),
            probe_after: rng.once_in(2).then_some(SECOND),
            limits: Limits {
                most_kept: rng.below(5),
                most_bytes: rng.below(500),
                reach: rng.of(&[0, 1, 100, u64::MAX]),
                patience: rng.below(3) * SECOND,
            },
            ..Settings::new(|_| 100)
        });
        let mut attempts = Attempts::new(rng.below(4), 2 * SECOND);
        let mut ids = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..400 {
            let time = Time::new(now);
            let of = rng.below(5);
            let id = ids.get(rng.below(1 + ids.len())).copied();
            let number = rng.of(&[0, 1, 2, 3, 10, 1_000, u64::MAX - 1, u64::MAX]);
            match rng.below(16) {
                0 => follower.add_line(Backoff::seeded(seed), 5 * SECOND, SECOND),
                1 => drop(follower.subscribe(Subscription {
                    ask_after: rng.once_in(2).then_some(SECOND),
                    leave_after: rng.once_in(2).then_some(SECOND),
                    recovery: if rng.once_in(2) { Recovery::Resume } else { Recovery::Snapshot },
                    count: match rng.below(3) {
                        0 => Count::Feed,
                        1 => Count::Connection,
                        _ => Count::Shared,
                    },
                })),
                2 => follower.unsubscribe(of),
                3 => follower.resync(of, number, time),
                4 => follower.resume(of, time),
                5 => {
                    let request = rng.below(20) as u64;
                    let retry_after = rng.once_in(4).then_some(SECOND);
                    follower.no_snapshot(of, request, retry_after, time, &mut attempts);
                }
                10 => drop(follower.snapshot(of, rng.below(20) as u64, number, time)),
                11 => follower.distrust(of),
                12 => drop(follower.topic(of)),
                6 => follower.renew(rng.below(2), time),
                7 => follower.go_on(),
                8 => follower.new_key(rng.below(2)),
                9 => now += rng.below(3_000) * MS,
                _ => {}
            }
            if let Some(id) = id {
                if rng.once_in(10) {
                    follower.asked_over(of, rng.below(20) as u64, id, time);
                }
                let end: Ended = match rng.below(4) {
                    0 => Ended::closed(rng.below(5_000), ""),
                    1 => Cause::CertificateExpired.into(),
                    2 => Retry::Stop.into(),
                    _ => Cause::Cut.into(),
                };
                let last = number.saturating_add(rng.below(3));
                let incoming = match rng.below(14) {
                    0 => Incoming::LoggedIn,
                    1 if rng.once_in(2) => Incoming::Refused(Asked::Question(number)),
                    1 => Incoming::Answer(Asked::Subscription(of)),
                    2 if rng.once_in(2) => Incoming::Refused(Asked::Subscription(of)),
                    2 => Incoming::Ending,
                    3 => Incoming::Wrong(Retry::Alarm),
                    4 if rng.once_in(2) => Incoming::Counted(number),
                    4 => Incoming::Other,
                    6 => Incoming::Keepalive { subscription: of, last: None },
                    7 => Incoming::Keepalive { subscription: of, last: Some(number) },
                    5 => Incoming::Data { subscription: of, numbers: None },
                    _ => Incoming::Data { subscription: of, numbers: Some((number..=last).into()) },
                };
                match rng.below(5) {
                    0 => follower.opened(id, time, &mut attempts),
                    1 if rng.once_in(2) => follower.ended(id, end, time, &mut attempts),
                    _ => drop(follower.heard(id, incoming, time, || (0, number))),
                }
            }
            let time = Time::new(now);
            let mut actions = 0;
            loop {
                match follower.poll(time, &mut attempts) {
                    Action::Wait(until) => {
                        assert!(until > time, "seed {seed}");
                        break;
                    }
                    Action::Dial { connection, .. } => ids.push(connection),
                    Action::Gap { gap, .. } => assert!(gap.first <= gap.last, "seed {seed}"),
                    _ => {}
                }
                actions += 1;
                assert!(actions < 10_000, "seed {seed}: no end of actions");
            }
            let _ = follower.states().map(|state| state.to_string().len()).sum::<usize>();
            let _ = format!("{follower:?}");
        }
    }
}
