//! Single cases that went wrong once. The seeds are of an oracle that found them.
use super::desk::{Desk, MS, SECOND, book, settings};
use std::time::Duration;
use tickwire_feed::{Asked, Cause, Ended, Incoming, Recovery, Settings, State, Subscription};

/// Restarts the exchange: the next connection brings the second count from 1.
fn restart(desk: &mut Desk) -> tickwire_feed::ConnectionId {
    let id = desk.connected();
    desk.end(id, Ended::closed(1012, ""));
    desk.connected()
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
