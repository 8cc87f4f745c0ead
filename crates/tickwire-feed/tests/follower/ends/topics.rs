//! What is told of a subscription while a connection is silent, ends or begins.
use super::desk::{Desk, SECOND, settings};
use tickwire::Time;
use tickwire_feed::{Asked, Cause, Count, Incoming, Recovery, State, Subscription, Topic, Verdict};

/// A connection that has brought number 1, is silent in its subscription, and has no successor.
fn silent(count: Count) -> Desk {
    let leave_after = Some(20 * SECOND);
    let recovery = Recovery::Resume;
    let watch = Subscription { count, leave_after, recovery, ..Subscription::default() };
    let mut desk = Desk::new(settings(), watch);
    let id = desk.connected();
    desk.data(id, (0, 1));
    desk.answer = Box::new(|_| Some(Cause::ConnectionRefused.into()));
    desk.pass(25 * SECOND);
    assert_eq!(desk.state(), State::Silent { cause: Cause::NoData(0) });
    desk
}

/// A snapshot comes over the youngest connection. Whether it is used.
fn push(desk: &mut Desk, next: u64) -> bool {
    let from = desk.connected();
    let now = Time::new(desk.now);
    let id = desk.follower.pushed(from, 0, next, false, now).unwrap();
    desk.poll();
    let is_used = desk.follower.snapshot(0, id, next, now);
    desk.poll();
    is_used
}

fn gaps(desk: &Desk) -> Vec<(u64, u64)> {
    desk.gaps.iter().map(|gap| (gap.first, gap.last)).collect()
}

/// The missing number may be the one that the subscription waits for.
#[test]
fn what_is_missing_from_a_shared_count_is_told_to_a_silent_subscription() {
    let mut desk = silent(Count::Shared);
    let id = desk.open[0];
    desk.hear(id, Incoming::Counted(2));
    desk.hear(id, Incoming::Counted(4));
    assert_eq!(gaps(&desk), [(3, 3)]);
    assert_eq!(desk.data(id, (0, 5)), Some(Verdict::Next));
    assert_eq!((gaps(&desk).len(), desk.restarts), (1, 0));
}

#[test]
fn a_shared_count_that_goes_back_is_told_to_a_silent_subscription() {
    let mut desk = silent(Count::Shared);
    let id = desk.open[0];
    desk.hear(id, Incoming::Counted(2));
    desk.hear(id, Incoming::Counted(1));
    assert_eq!(desk.restarts, 1);
}

#[test]
fn a_keepalive_that_ends_a_silence_shows_a_lost_tail() {
    let mut desk = silent(Count::Connection);
    desk.hear(desk.open[0], Incoming::Keepalive { subscription: 0, last: Some(2) });
    assert_eq!(gaps(&desk), [(2, 2)]);
    assert_eq!(desk.state(), State::Following);
    desk.data(desk.open[0], (0, 3));
    assert_eq!(desk.delivered, [(0, 1), (0, 3)]);
    assert_eq!(desk.restarts, 0);
}

/// The other line may dial each few seconds, and ask anew each time.
#[test]
fn a_refused_topic_is_refused_while_another_line_still_asks() {
    let watch = Subscription { ask_after: Some(20 * SECOND), ..Subscription::default() };
    let mut desk = Desk::with_lines(settings(), watch, 2);
    let [first, second] = desk.open[..] else { panic!("{:?}", desk.open) };
    let asked = Asked::Subscription(0);
    assert_eq!(desk.follower.topic(0), Some(Topic::InOrder));
    desk.hear(first, Incoming::Refused(asked));
    assert_eq!(desk.follower.topic(0), Some(Topic::Refused));
    desk.hear(second, Incoming::Answer(asked));
    assert_eq!(desk.follower.topic(0), Some(Topic::InOrder));
    desk.hear(second, Incoming::Refused(asked));
    assert_eq!(desk.follower.topic(0), Some(Topic::Refused));
}

/// It has the number of no first message, so only later data show that the count is another one.
#[test]
fn a_new_count_that_begins_with_a_low_snapshot_is_found() {
    let mut desk = Desk::new(settings(), Subscription::default());
    let id = desk.connected();
    desk.data(id, (1, 5));
    desk.resync(5);
    (6..100).for_each(|number| assert_eq!(desk.data(id, (1, number)), Some(Verdict::Next)));
    desk.pass(10 * SECOND);
    desk.end(id, Cause::Cut);
    let id = desk.connected();
    assert!(!push(&mut desk, 20));
    assert_eq!(desk.data(id, (2, 20)), Some(Verdict::Duplicate));
    desk.pass(2 * SECOND);
    assert_eq!(desk.restarts, 2);
    assert_eq!(desk.data(id, (2, 21)), Some(Verdict::Kept));
    assert_eq!(desk.snapshots.last(), Some(&desk.now));
    desk.resync(21);
    assert_eq!(desk.delivered.last(), Some(&(2, 21)));
}

/// The successor is silent in the same subscription, and goes again.
#[test]
fn the_silence_of_one_subscription_begins_no_count_of_another_anew() {
    let watch = Subscription {
        count: Count::Connection,
        recovery: Recovery::Resume,
        ..Subscription::default()
    };
    let mut desk = Desk::new(settings(), watch);
    let id = desk.connected();
    desk.follower.subscribe(Subscription { leave_after: Some(20 * SECOND), ..watch }).unwrap();
    desk.data(id, (0, 1));
    desk.pass(25 * SECOND);
    let [_, successor] = desk.open[..] else { panic!("{:?}", desk.open) };
    assert_eq!(desk.data(successor, (1, 1)), Some(Verdict::Duplicate));
    assert_eq!(desk.data(id, (0, 2)), Some(Verdict::Next));
    desk.pass(25 * SECOND);
    assert!(desk.left.iter().any(|(left, _)| *left == successor));
    assert_eq!(desk.data(id, (0, 3)), Some(Verdict::Next));
    assert_eq!(desk.restarts, 0);
}

/// Nothing was published since the last snapshot, or one message was.
#[test]
fn a_snapshot_that_is_not_behind_the_book_begins_no_count_anew() {
    let mut desk = Desk::new(settings(), Subscription::default());
    for next in [1, 1, 2] {
        let id = desk.connected();
        assert!(push(&mut desk, next));
        desk.pass(10 * SECOND);
        desk.end(id, Cause::Cut);
    }
    assert_eq!(desk.restarts, 0);
}

#[test]
fn a_gap_of_a_shared_count_ends_before_the_snapshot_that_shows_it() {
    let watch = Subscription { count: Count::Shared, ..Subscription::default() };
    let mut desk = Desk::new(settings(), watch);
    assert!(push(&mut desk, 2));
    assert!(push(&mut desk, 4));
    assert_eq!(gaps(&desk), [(2, 2)]);
}

/// Its connection is silent in another subscription meanwhile.
#[test]
fn a_snapshot_that_comes_behind_later_data_begins_no_count_anew() {
    let mut desk = Desk::new(settings(), Subscription::default());
    let id = desk.connected();
    let dead = Subscription { leave_after: Some(20 * SECOND), ..Subscription::default() };
    desk.follower.subscribe(dead).unwrap();
    assert!(push(&mut desk, 5));
    desk.answer = Box::new(|_| Some(Cause::ConnectionRefused.into()));
    (5..9).for_each(|number| assert_eq!(desk.data(id, (1, number)), Some(Verdict::Next)));
    desk.pass(25 * SECOND);
    assert_eq!(desk.state(), State::Silent { cause: Cause::NoData(1) });
    assert!(!push(&mut desk, 7));
    desk.pass(10 * SECOND);
    assert_eq!(desk.restarts, 0);
    assert_eq!(desk.data(id, (1, 9)), Some(Verdict::Next));
}
