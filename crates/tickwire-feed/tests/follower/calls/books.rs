//! Counts and snapshots: what begins anew and when, which snapshot is taken, and how much is kept.
//! Each rule is one of the page of `Follower`.
use super::*;
use tickwire_feed::{Numbers, Why};

fn book(count: Count) -> Subscription {
    Subscription { count, ..Subscription::default() }
}

fn unasked(count: Count) -> Subscription {
    Subscription { recovery: Recovery::Resume, ..book(count) }
}

fn restarts(actions: &[Action<u64>]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Restart { .. })).count()
}

fn messages(actions: &[Action<u64>]) -> Vec<u64> {
    let message = |action: &Action<u64>| match action {
        Action::Message { message, .. } => Some(*message),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

/// Each with its subscription.
fn gaps(actions: &[Action<u64>]) -> Vec<(usize, u64, u64)> {
    let gap = |action: &Action<u64>| match action {
        Action::Gap { subscription, gap } => Some((*subscription, gap.first, gap.last)),
        _ => None,
    };
    actions.iter().filter_map(gap).collect()
}

/// The ids of the requests.
fn requests(actions: &[Action<u64>]) -> Vec<u64> {
    let request = |action: &Action<u64>| match action {
        Action::Snapshot { id, .. } => Some(*id),
        _ => None,
    };
    actions.iter().filter_map(request).collect()
}

impl Desk {
    fn number(&mut self, from: ConnectionId, subscription: usize, number: u64) -> Vec<Action<u64>> {
        let next = self.data(from, subscription, number) == Some(Verdict::Next);
        let mut all = self.all();
        if next {
            all.insert(0, Action::Message { subscription, message: number });
        }
        all
    }

    fn keepalive(&mut self, from: ConnectionId, last: u64) -> Vec<Action<u64>> {
        self.hear(from, Incoming::Keepalive { subscription: 0, last: Some(last) });
        self.all()
    }

    fn counted(&mut self, from: ConnectionId, number: u64) -> Vec<Action<u64>> {
        self.hear(from, Incoming::Counted(number));
        self.all()
    }

    /// What is done meanwhile.
    fn wait(&mut self, time: Duration) -> Vec<Action<u64>> {
        let until = self.now + time;
        let mut done = self.all();
        while self.now < until {
            let Action::Wait(wait) = self.poll() else { panic!() };
            self.now = wait.min(until);
            done.extend(self.all());
        }
        done
    }

    fn cut(&mut self, id: ConnectionId) {
        self.end(id, Ended::closed(1006, ""));
    }
}

/// It begins at or below the lowest number with which one began, and there is no other one.
#[test]
fn a_lone_connection_that_begins_at_the_lowest_number_begins_the_count_anew_at_once() {
    for (first, is_keepalive, beside, expected) in [
        (10, false, false, 1),
        (1, false, false, 1),
        (11, false, false, 0),
        (10, false, true, 0),
        (9, true, false, 1),
        (14, true, false, 0),
    ] {
        let what = format!("{first} {is_keepalive} {beside}");
        let mut desk = Desk::new(&[book(Count::Feed)]).line(Duration::MAX, Duration::ZERO);
        let old = desk.next_subscribed();
        desk.number(old, 0, 10);
        desk.follower.resync(0, 10, desk.now);
        for number in 11..15 {
            desk.number(old, 0, number);
        }
        if beside {
            desk = desk.line(Duration::MAX, Duration::ZERO);
            let Action::Dial { connection, line: 1, .. } = desk.next() else { panic!() };
            desk.follower.opened(connection, desk.now, &mut desk.attempts);
            desk.number(connection, 0, 14);
        }
        desk.cut(old);
        let Action::Dial { connection: new, line: 0, .. } = desk.next() else { panic!() };
        desk.follower.opened(new, desk.now, &mut desk.attempts);
        desk.all();
        let told = match is_keepalive {
            true => desk.keepalive(new, first),
            false => desk.number(new, 0, first),
        };
        assert_eq!(restarts(&told), expected, "{what}");
        // A replica that is behind brings what was there already.
        let next = if expected > 0 { Verdict::Kept } else { Verdict::Next };
        assert_eq!(desk.data(new, 0, 15), Some(next), "{what}");
    }
}

/// A book may go on without a snapshot.
#[test]
fn a_program_that_resumes_goes_on_behind_the_gap() {
    let (mut desk, from, asked) = waiting();
    desk.follower.resume(0, desk.now);
    assert_eq!(messages(&desk.all()), [1000]);
    assert_eq!(gaps(&desk.number(from, 0, 1003)), [(0, 1001, 1002)]);
    desk.follower.resume(0, desk.now);
    assert_eq!(desk.all(), [Action::Message { subscription: 0, message: 1003 }]);
    assert_eq!(desk.follower.topic(0), Some(Topic::InOrder));
    assert!(!desk.follower.snapshot(0, asked, 1000, desk.now));
    assert!(requests(&desk.wait(60 * SECOND)).is_empty());
}

/// The program learns of both at once.
#[test]
fn what_came_before_the_end_of_a_connection_is_told_before_its_lines_are_closed() {
    let mut desk = Desk::new(&[unasked(Count::Feed)]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.data(id, 0, 12);
    desk.data(id, 0, 15);
    desk.data(id, 0, 16);
    desk.cut(id);
    let told = desk.all();
    assert_eq!((gaps(&told), messages(&told)), (vec![(0, 13, 14)], vec![15, 16]));
}

/// After an outage the exchange may count anew, over the same numbers.
#[test]
fn what_a_connection_that_is_over_has_kept_reaches_no_snapshot() {
    for is_told in [true, false] {
        let mut desk = Desk::new(&[book(Count::Feed)]).line(Duration::MAX, Duration::ZERO);
        let old = desk.next_subscribed();
        desk.number(old, 0, 100);
        desk.cut(old);
        if is_told {
            desk.open();
        }
        desk.follower.resync(0, 100, desk.now);
        assert!(messages(&desk.wait(SECOND)).is_empty());
    }
}

#[test]
fn a_late_snapshot_counts_if_it_touches_what_is_kept_and_none_of_an_old_count_does() {
    let (mut desk, from, first) = waiting();
    let second = requests(&desk.wait(10 * SECOND))[0];
    assert!(!desk.follower.snapshot(0, first, 999, desk.now), "1000 is the first that is kept");
    assert!(!desk.follower.snapshot(0, second + 1, 1000, desk.now), "nobody asked");
    assert!(desk.follower.snapshot(0, first, 1000, desk.now), "late, and still right");
    assert!(!desk.follower.snapshot(0, second, 1000, desk.now), "it waits for none");
    desk.follower.distrust(0);
    desk.all();
    let mut told = desk.number(from, 0, 1001);
    told.extend(desk.wait(20 * SECOND));
    let third = requests(&told)[0];
    for old in [first, second] {
        assert!(!desk.follower.snapshot(0, old, 1001, desk.now), "of before the restart");
    }
    assert!(matches!(desk.follower.topic(0), Some(Topic::Distrusted { .. })));
    assert!(desk.follower.snapshot(0, third, 1001, desk.now));
    assert_eq!(desk.follower.topic(0), Some(Topic::InOrder));
    desk.number(from, 0, 1003);
    assert!(matches!(desk.follower.topic(0), Some(Topic::Waiting { .. })));
}

#[test]
fn a_snapshot_that_failed_is_asked_for_again_after_its_wait() {
    let (mut desk, _, asked) = waiting();
    desk.follower.no_snapshot(0, asked, None, desk.now, &mut desk.attempts);
    assert_eq!(requests(&desk.wait(SECOND)), [asked + 1]);
}

/// A request over a connection that has ended before ends too, but only if it is the last one.
#[test]
fn a_snapshot_that_was_asked_for_over_a_connection_ends_with_it() {
    for (is_meant, is_open) in [(true, true), (true, false), (false, true), (false, false)] {
        let (mut desk, id, asked) = waiting();
        let asked = if is_meant { asked } else { asked + 1 };
        if is_open {
            desk.follower.asked_over(0, asked, id, desk.now);
        }
        desk.cut(id);
        if !is_open {
            desk.follower.asked_over(0, asked, id, desk.now);
        }
        desk.follower.no_snapshot(0, asked + 2, None, desk.now, &mut desk.attempts);
        let Some(Topic::Waiting { next_at, .. }) = desk.follower.topic(0) else { panic!() };
        assert_eq!(next_at.is_some(), is_meant, "{is_open}");
        // Once data have come over an open connection.
        let id = desk.next_subscribed();
        assert_eq!(requests(&desk.number(id, 0, 1001)).len(), usize::from(is_meant));
    }
}

/// The waits are 1, 2, 4 .. 60 s; order for ten times the patience ends them, once.
#[test]
fn the_waits_between_snapshots_grow_until_the_numbers_were_in_order_for_a_while() {
    let mut desk = Desk::set(&[book(Count::Feed)], |set| set.snapshot_within = 3600 * SECOND)
        .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.number(id, 0, 1);
    let mut next = 2;
    let mut waits = Vec::new();
    for round in 0..11 {
        let asked = desk.now;
        desk.follower.resync(0, next, desk.now);
        if round == 9 {
            for _ in 0..=100 {
                desk.number(id, 0, next);
                next += 1;
                desk.now = desk.now + SECOND / 10;
            }
        }
        let calm = desk.now;
        desk.number(id, 0, next);
        let mut told = desk.number(id, 0, next + 2); // one is lost
        next += 3;
        while requests(&told).is_empty() {
            told = vec![desk.next()];
        }
        waits.push((desk.now - if round == 9 { calm } else { asked }).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 0, 1]);
}

/// A snapshot over the connection is a message too. While it comes, it is not asked for again, and
/// that no data come shows no new count.
#[test]
fn a_long_message_delays_its_snapshot_and_a_new_count_for_a_minute() {
    let minute = 60 * SECOND;
    for (is_over, is_taken, least) in [
        (true, false, minute + 10 * SECOND),
        // One from elsewhere is not delayed.
        (false, false, 10 * SECOND),
        // It is ahead of the connection, by which the arbiter's patience is not over.
        (false, true, minute + SECOND),
    ] {
        let (mut desk, id, asked) = waiting();
        desk.data(id, 0, 1001);
        let begins = desk.now;
        if is_over {
            desk.follower.asked_over(0, asked, id, desk.now);
        }
        if is_taken {
            assert!(desk.follower.snapshot(0, asked, 2000, desk.now));
        }
        let is_told = |actions: &[Action<u64>]| match is_taken {
            true => restarts(actions) > 0,
            false => !requests(actions).is_empty(),
        };
        while !is_told(&desk.wait(SECOND / 2)) {
            desk.follower.alive(id, desk.now);
            assert!(desk.now < begins + 120 * SECOND, "it drips for ever");
        }
        let took = desk.now - begins;
        assert!(took >= least - SECOND && took <= least + 2 * SECOND, "{took:?}, not {least:?}");
    }
}

/// Nor do the messages of a busy market, if each of them comes in two pieces.
#[test]
fn pieces_of_short_messages_delay_a_snapshot_and_a_new_count_for_a_minute_in_all() {
    for is_taken in [false, true] {
        let (mut desk, id, asked) = waiting();
        let begins = desk.now;
        desk.follower.asked_over(0, asked, id, desk.now);
        if is_taken {
            assert!(desk.follower.snapshot(0, asked, 2000, desk.now));
        }
        for number in 1001.. {
            desk.follower.alive(id, desk.now);
            desk.now = desk.now + Duration::from_millis(1);
            desk.data(id, 0, number);
            let told = desk.wait(SECOND / 5);
            if if is_taken { restarts(&told) > 0 } else { !requests(&told).is_empty() } {
                break;
            }
            assert!(desk.now < begins + 72 * SECOND, "the wait is for ever");
        }
    }
}

/// The limit of bytes is of all subscriptions together, and the one that keeps the most gives way.
#[test]
fn the_bytes_of_all_subscriptions_together_are_bounded_and_come_back() {
    let mut desk = Desk::set(&[unasked(Count::Feed); 3], |set| {
        set.size = |_| 1_000;
        set.limits.most_bytes = 10_000;
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    // What was kept is delivered each time, so there is room again.
    for begins in [1, 9, 17] {
        for subscription in 0..3 {
            assert_eq!(desk.data(id, subscription, begins), Some(Verdict::Next));
            for number in begins + 2..begins + 8 {
                assert_eq!(desk.data(id, subscription, number), Some(Verdict::Kept));
            }
        }
        let told = desk.all();
        let kept = [0, 1, 2].map(|of| {
            let is_of = |act: &&Action<u64>| {
                matches!(act, Action::Message { subscription, .. } if *subscription == of)
            };
            told.iter().filter(is_of).count()
        });
        assert_eq!(kept, [3; 3], "1,000 bytes and some 60 each");
        let has_no_room =
            |act: &Action<u64>| matches!(act, Action::Gap { gap, .. } if gap.why == Why::NoRoom);
        assert!(told.iter().any(has_no_room), "{told:?}");
    }
}

/// Bitfinex and Coinbase Advanced count so.
#[test]
fn a_missing_number_of_a_shared_count_is_a_gap_of_each_subscription_that_counts_so() {
    for is_data in [true, false] {
        let shared = unasked(Count::Shared);
        let mut desk =
            Desk::new(&[shared, shared, unasked(Count::Feed)]).line(Duration::MAX, Duration::ZERO);
        let id = desk.next_subscribed();
        let mut told = desk.number(id, 2, 1);
        for number in 1..=30 {
            match number % 3 {
                // One message may have data of both.
                0 => {
                    told.extend(desk.number(id, 0, number));
                    told.extend(desk.number(id, 1, number));
                }
                1 => told.extend(desk.number(id, 1, number)),
                _ => told.extend(desk.counted(id, number)),
            }
        }
        assert_eq!((messages(&told).len(), gaps(&told)), (1 + 30, vec![]));
        // What is no range counts nothing.
        let numbers = Some(Numbers { first: 40, last: 39 });
        let refused = desk.hear(id, Incoming::Data { subscription: 0, numbers });
        assert_eq!((refused, desk.all()), (Some(Verdict::Refused), vec![]));
        let told = match is_data {
            true => desk.number(id, 1, 33),
            false => desk.counted(id, 33),
        };
        assert_eq!(gaps(&told), [(0, 31, 32), (1, 31, 32)], "at once, and no number too many");
        let mut told = desk.number(id, 0, 34);
        told.extend(desk.number(id, 1, 35));
        told.extend(desk.number(id, 2, 2));
        assert_eq!((messages(&told), gaps(&told)), (vec![34, 35, 2], vec![]));
        assert_eq!(restarts(&desk.counted(id, 1)), 2, "it goes back");
        assert_eq!(messages(&desk.number(id, 0, 2)), [2]);
    }
}

/// A number before the first that is kept may have been its own, and was used up by the old book.
#[test]
fn an_old_snapshot_leaves_a_gap_in_a_shared_count() {
    let mut desk = Desk::new(&[book(Count::Shared); 2]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    for (at, number) in [(0, 10), (1, 11), (0, 12)] {
        desk.number(id, at, number);
    }
    // What the other one brings does not stand between a snapshot and what is kept.
    desk.follower.resync(0, 11, desk.now);
    assert_eq!(messages(&desk.all()), [12]);
    desk.follower.distrust(0);
    desk.all();
    desk.number(id, 1, 13);
    desk.number(id, 0, 14);
    desk.follower.resync(0, 12, desk.now);
    assert_eq!(gaps(&desk.all()), [(0, 12, 12)]);
    desk.follower.resync(0, 13, desk.now);
    assert_eq!(messages(&desk.all()), [14]);
}

/// A snapshot that is asked for while nothing has come would be older than what follows.
#[test]
fn a_book_without_numbers_waits_for_data_before_its_snapshot() {
    let mut desk = Desk::new(&[book(Count::Feed)]).line(Duration::MAX, Duration::ZERO);
    let data = Incoming::Data { subscription: 0, numbers: None };
    for _ in 0..2 {
        let id = desk.next_subscribed();
        desk.follower.distrust(0);
        assert!(requests(&desk.wait(60 * SECOND)).is_empty());
        assert_eq!(desk.hear(id, data), Some(Verdict::Next));
        let asked = requests(&desk.all())[0];
        assert!(desk.follower.snapshot(0, asked, 0, desk.now));
        desk.follower.distrust(0);
        desk.cut(id);
        desk.all();
    }
}

/// Each line that was asked for it may still bring what another one lacks.
#[test]
fn a_gap_waits_for_a_line_that_has_brought_nothing_yet() {
    let mut desk = Desk::new(&[unasked(Count::Feed)]).line(Duration::MAX, Duration::ZERO);
    let first = desk.next_subscribed();
    desk = desk.line(Duration::MAX, Duration::ZERO);
    let Action::Dial { connection: second, .. } = desk.next() else { panic!() };
    desk.follower.opened(second, desk.now, &mut desk.attempts);
    desk.all();
    desk.number(first, 0, 1);
    assert_eq!(desk.number(first, 0, 3), []);
    assert_eq!(messages(&desk.number(second, 0, 2)), [2, 3]);
    desk.number(first, 0, 5);
    assert_eq!(gaps(&desk.wait(2 * SECOND)), [(0, 4, 4)], "after the patience");
}

/// What is missing there is nobody's.
#[test]
fn the_shared_count_of_a_connection_from_which_nothing_is_taken_is_nobodys() {
    let mut desk = Desk::new(&[unasked(Count::Shared)]).line(Duration::MAX, Duration::ZERO);
    let taken = desk.next_subscribed();
    desk = desk.line(Duration::MAX, Duration::ZERO);
    let Action::Dial { connection: other, .. } = desk.next() else { panic!() };
    desk.follower.opened(other, desk.now, &mut desk.attempts);
    desk.all();
    assert_eq!(messages(&desk.number(taken, 0, 1)), [1]);
    for number in [1, 5] {
        assert_eq!(desk.data(other, 0, number), Some(Verdict::Duplicate));
        assert_eq!(desk.all(), []);
    }
    assert_eq!(desk.counted(other, 9), []);
    assert_eq!(messages(&desk.number(taken, 0, 2)), [2]);
    desk.cut(taken);
    desk.all();
    // The numbers begin with what it brings next.
    let told = desk.number(other, 0, 10);
    assert_eq!((restarts(&told), messages(&told), gaps(&told)), (1, vec![10], vec![]));
}

/// The silent one may have missed it too.
#[test]
fn a_missing_number_of_a_shared_count_is_told_while_another_subscription_is_silent() {
    let watch = Subscription { leave_after: Some(30 * SECOND), ..unasked(Count::Shared) };
    let mut desk = Desk::new(&[watch; 2]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.number(id, 0, 1);
    desk.number(id, 1, 2);
    desk.wait(20 * SECOND);
    desk.number(id, 0, 3);
    let (successor, _) = desk.dialed_for_silence();
    assert_eq!(desk.state(), State::Silent { cause: Cause::NoData(1) });
    assert_eq!(desk.counted(id, 4), []);
    assert_eq!(gaps(&desk.counted(id, 6)), [(0, 5, 5), (1, 5, 5)]);
    assert_eq!(gaps(&desk.number(id, 0, 8)), [(1, 7, 7), (0, 7, 7)]);
    desk.cut(successor);
}

/// OKX: previous and present number are the same. MoldUDP64: a heartbeat counts no message.
#[test]
fn a_keepalive_shows_a_lost_tail_of_what_its_connection_counts() {
    for count in [Count::Feed, Count::Connection] {
        let mut desk = Desk::new(&[unasked(count)]).line(Duration::MAX, Duration::ZERO);
        let id = desk.next_subscribed();
        let mut told = desk.keepalive(id, 6);
        told.extend(desk.number(id, 0, 7));
        told.extend(desk.keepalive(id, 7));
        assert_eq!((messages(&told), gaps(&told)), (vec![7], vec![]));
        desk = desk.line(Duration::MAX, Duration::ZERO);
        let Action::Dial { connection: other, .. } = desk.next() else { panic!() };
        desk.follower.opened(other, desk.now, &mut desk.attempts);
        desk.all();
        // Where each connection counts, the other one's number says nothing.
        let mut told = desk.keepalive(other, 9);
        if count == Count::Connection {
            told.extend(desk.wait(2 * SECOND));
        }
        assert_eq!(gaps(&told), []);
        let told = desk.keepalive(id, 9);
        assert_eq!(gaps(&told), [(0, 8, 9)]);
        assert_eq!(desk.keepalive(id, 9), []);
        assert_eq!(messages(&desk.number(id, 0, 10)), [10]);
    }
}

/// It does not show what the successor has passed, but its number does.
#[test]
fn a_keepalive_makes_no_successor_ready_before_its_time() {
    let watch = Subscription { ask_after: Some(20 * SECOND), ..unasked(Count::Feed) };
    let mut desk = Desk::new(&[watch]).line(120 * SECOND, 60 * SECOND);
    let old = desk.next_subscribed();
    desk.number(old, 0, 1);
    let (new, _) = desk.dialed_beside(old);
    desk.follower.opened(new, desk.now, &mut desk.attempts);
    desk.all();
    desk.number(old, 0, 2);
    desk.hear(new, Incoming::Keepalive { subscription: 0, last: None });
    assert_eq!(desk.wait(2 * SECOND), []);
    let leave = Action::Leave { connection: old, code: CloseCode::NORMAL, why: None };
    assert_eq!(desk.keepalive(new, 2), [leave]);
    let told = desk.number(new, 0, 3);
    assert_eq!((messages(&told), gaps(&told)), (vec![3], vec![]));
}

/// If the silent connection is the one that goes on, so does its count.
#[test]
fn the_count_of_a_connection_that_goes_on_after_its_silence_goes_on_too() {
    let watch = Subscription { leave_after: Some(30 * SECOND), ..unasked(Count::Connection) };
    let mut desk = Desk::new(&[watch]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    assert_eq!(messages(&desk.number(id, 0, 1)), [1]);
    desk.dialed_for_silence();
    assert_eq!(desk.state(), State::Silent { cause: Cause::NoData(0) });
    let told = desk.number(id, 0, 2);
    assert_eq!((messages(&told), restarts(&told)), (vec![2], 0));
}

#[test]
fn a_snapshot_that_was_pushed_for_a_subscription_is_none_of_the_next_one_of_its_index() {
    let mut desk = Desk::new(&[book(Count::Feed)]).line(Duration::MAX, Duration::ZERO);
    let from = desk.next_subscribed();
    let id = desk.follower.pushed(from, 0, 100, false, desk.now).unwrap();
    desk.follower.unsubscribe(0);
    assert_eq!(desk.follower.subscribe(book(Count::Feed)), Some(0));
    desk.all();
    assert!(!desk.snapshot(id, 100));
}
