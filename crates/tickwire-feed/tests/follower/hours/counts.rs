//! Counts as exchanges have them: shared by all messages of a connection, told by keepalives, begun
//! anew.
use super::{Door, MINUTE, SECOND, World, settings, trades};
use tickwire::Time;
use tickwire_feed::{
    Asked, Cause, ConnectionId, Count, Gap, Incoming, Recovery, Settings, State, Subscription,
    Verdict, Why,
};

fn book(count: Count) -> Subscription {
    Subscription { count, recovery: Recovery::Snapshot, ..Subscription::default() }
}

/// Two topics of one connection, without data of the world's own.
fn world(watch: Subscription) -> (World, ConnectionId) {
    let mut world = World::new(settings(), 1, &[watch; 2]);
    world.interval = 1_000 * MINUTE;
    world.run(SECOND);
    let id = world.links[0].id;
    (world, id)
}

fn hear(world: &mut World, id: ConnectionId, incoming: Incoming) -> Option<Verdict> {
    let verdict = world.follower.heard(id, incoming, world.now, || (id, 0));
    world.poll();
    verdict
}

fn data(world: &mut World, id: ConnectionId, subscription: usize, number: u64) -> Option<Verdict> {
    let numbers = Some(number.into());
    hear(world, id, Incoming::Data { subscription, numbers })
}

fn keepalive(world: &mut World, id: ConnectionId, last: Option<u64>) {
    hear(world, id, Incoming::Keepalive { subscription: 0, last });
}

fn gaps(world: &World, topic: usize) -> Vec<(u64, u64)> {
    world.books[topic].gaps.iter().map(|gap| (gap.first, gap.last)).collect()
}

/// Bitfinex and Coinbase Advanced: 98 of 100 messages were a gap.
#[test]
fn topics_that_share_a_count_have_no_gap_while_no_number_is_missing() {
    let (mut world, id) = world(Subscription { count: Count::Shared, ..trades() });
    for number in 1..=300 {
        match number % 3 {
            // One message may have data of both.
            0 => {
                assert_eq!(data(&mut world, id, 0, number), Some(Verdict::Next));
                assert_eq!(data(&mut world, id, 1, number), Some(Verdict::Next));
            }
            1 => assert_eq!(data(&mut world, id, 1, number), Some(Verdict::Next)),
            _ => assert_eq!(hear(&mut world, id, Incoming::Counted(number)), None),
        }
    }
    assert_eq!([gaps(&world, 0), gaps(&world, 1)], [[], []]);
    // What is no range counts nothing.
    let numbers = Some(tickwire_feed::Numbers { first: 302, last: 301 });
    let data = hear(&mut world, id, Incoming::Data { subscription: 0, numbers });
    assert_eq!((data, gaps(&world, 0)), (Some(Verdict::Refused), vec![]));
}

#[test]
fn a_missing_number_of_a_shared_count_is_a_gap_of_each_topic_and_of_no_other() {
    for is_data in [true, false] {
        let (mut world, id) = world(Subscription { count: Count::Shared, ..trades() });
        let own = world.subscribe(trades());
        world.links[0].since.push(None);
        world.poll();
        assert_eq!(data(&mut world, id, own, 1), Some(Verdict::Next));
        assert_eq!(data(&mut world, id, 0, 1), Some(Verdict::Next));
        assert_eq!(data(&mut world, id, 1, 2), Some(Verdict::Next));
        assert_eq!(hear(&mut world, id, Incoming::Counted(3)), None);
        match is_data {
            true => _ = data(&mut world, id, 1, 6),
            false => _ = hear(&mut world, id, Incoming::Counted(6)),
        }
        // At once, and no number too many.
        assert_eq!([gaps(&world, 0), gaps(&world, 1)], [[(4, 5)], [(4, 5)]]);
        assert_eq!(data(&mut world, id, 0, 7), Some(Verdict::Next));
        assert_eq!(data(&mut world, id, 1, 8), Some(Verdict::Next));
        assert_eq!(data(&mut world, id, own, 2), Some(Verdict::Next));
        assert_eq!(world.books.iter().map(|book| book.gaps.len()).sum::<usize>(), 2);
    }
}

/// The snapshots come over the connection, and count too.
#[test]
fn a_book_of_a_shared_count_goes_on_behind_its_snapshot() {
    let (mut world, id) = world(book(Count::Shared));
    // What the other topic brings does not stand between a snapshot and what is kept.
    assert_eq!(data(&mut world, id, 0, 10), Some(Verdict::Kept));
    assert_eq!(data(&mut world, id, 1, 11), Some(Verdict::Kept));
    assert_eq!(data(&mut world, id, 0, 13), Some(Verdict::Kept));
    hear(&mut world, id, Incoming::Counted(14));
    assert_eq!(gaps(&world, 0), [], "12 is missing, but this book waits for its snapshot");
    let snapshot = |world: &mut World, topic, last: u64| {
        world.follower.resync(topic, last + 1, world.now);
        world.poll();
    };
    snapshot(&mut world, 0, 10);
    assert_eq!(gaps(&world, 0), [(11, 12)]);
    assert_eq!(data(&mut world, id, 0, 15), Some(Verdict::Kept));
    snapshot(&mut world, 0, 14);
    assert_eq!(world.books[0].delivered.len(), 1);
    assert_eq!(data(&mut world, id, 1, 16), Some(Verdict::Kept));
    assert_eq!(data(&mut world, id, 0, 17), Some(Verdict::Next));
    assert_eq!(gaps(&world, 0).len(), 1);
    // A checksum is wrong: what was delivered before does not come again, and an old snapshot
    // leaves a gap.
    world.follower.distrust(0);
    world.poll();
    assert_eq!(data(&mut world, id, 0, 18), Some(Verdict::Kept));
    snapshot(&mut world, 0, 15);
    assert_eq!(gaps(&world, 0)[1..], [(16, 17)]);
}

/// One topic is silent, and the other is watched as before.
#[test]
fn a_missing_number_of_a_shared_count_is_told_while_another_topic_is_silent() {
    let (mut world, id) = world(Subscription { count: Count::Shared, ..trades() });
    assert_eq!(data(&mut world, id, 0, 1), Some(Verdict::Next));
    assert_eq!(data(&mut world, id, 1, 2), Some(Verdict::Next));
    world.run(20 * SECOND);
    assert_eq!(data(&mut world, id, 0, 3), Some(Verdict::Next));
    world.door = Box::new(|_, _| Door::Fails(Cause::ConnectionRefused.into()));
    world.run(20 * SECOND);
    let cause = Cause::NoData(1);
    assert_eq!(world.follower.states().next(), Some(State::Silent { cause }));
    assert_eq!(hear(&mut world, id, Incoming::Counted(4)), None);
    assert_eq!(hear(&mut world, id, Incoming::Counted(6)), None);
    assert_eq!(gaps(&world, 0), [(5, 5)]);
    assert_eq!(data(&mut world, id, 0, 8), Some(Verdict::Kept));
    assert_eq!(gaps(&world, 0), [(5, 5), (7, 7)]);
}

#[test]
fn a_shared_count_that_goes_back_restarts_each_topic_of_its_connection() {
    let (mut world, id) = world(Subscription { count: Count::Shared, ..trades() });
    for number in 1..=9 {
        data(&mut world, id, (number % 2) as usize, number);
    }
    hear(&mut world, id, Incoming::Counted(1));
    assert_eq!([world.books[0].restarts, world.books[1].restarts], [1, 1]);
    assert_eq!(data(&mut world, id, 0, 2), Some(Verdict::Next));
    assert_eq!(data(&mut world, id, 1, 3), Some(Verdict::Next));
    assert_eq!([gaps(&world, 0), gaps(&world, 1)], [[], []]);
}

/// The count of a connection from which nothing is taken is nobody's.
#[test]
fn a_missing_number_of_the_other_line_is_no_gap() {
    let watch = Subscription { count: Count::Shared, ..trades() };
    let mut world = World::new(settings(), 2, &[watch]);
    world.interval = 1_000 * MINUTE;
    world.run(SECOND);
    let [first, second] = [0, 1].map(|line| world.links[line].id);
    assert_eq!(data(&mut world, first, 0, 1), Some(Verdict::Next));
    assert_eq!(data(&mut world, second, 0, 1), Some(Verdict::Duplicate));
    assert_eq!(data(&mut world, second, 0, 5), Some(Verdict::Duplicate));
    assert_eq!(data(&mut world, first, 0, 2), Some(Verdict::Next));
    // At the switch its numbers begin with what it brings next.
    world.end(first, Cause::Cut.into());
    assert_eq!(data(&mut world, second, 0, 6), Some(Verdict::Kept));
    assert_eq!(world.books[0].delivered.len(), 1);
    assert_eq!(data(&mut world, second, 0, 7), Some(Verdict::Next));
    assert_eq!((gaps(&world, 0), world.books[0].restarts), (vec![], 1));
}

/// OKX: previous and present number are the same. MoldUDP64: a heartbeat counts no message.
#[test]
fn a_keepalive_shows_a_lost_tail() {
    for count in [Count::Feed, Count::Connection] {
        let (mut world, id) = world(Subscription { count, ..trades() });
        keepalive(&mut world, id, Some(6));
        assert_eq!(data(&mut world, id, 0, 7), Some(Verdict::Next));
        keepalive(&mut world, id, Some(7));
        assert_eq!(gaps(&world, 0), []);
        let since = world.now;
        keepalive(&mut world, id, Some(9));
        let gap = Gap { first: 8, last: 9, since, why: Why::NotReceived };
        assert_eq!(world.books[0].gaps, [gap]);
        keepalive(&mut world, id, Some(9));
        assert_eq!(data(&mut world, id, 0, 10), Some(Verdict::Next));
        assert_eq!(world.books[0].gaps.len(), 1);
    }
}

/// What one line has passed by its own word, the other may still bring.
#[test]
fn a_keepalive_of_one_line_waits_for_the_other() {
    let mut world = World::new(settings(), 2, &[trades()]);
    world.interval = 1_000 * MINUTE;
    world.run(SECOND);
    let [first, second] = [0, 1].map(|line| world.links[line].id);
    data(&mut world, first, 0, 1);
    data(&mut world, second, 0, 1);
    keepalive(&mut world, second, Some(3));
    assert_eq!(gaps(&world, 0), []);
    assert_eq!(data(&mut world, first, 0, 2), Some(Verdict::Next));
    assert_eq!(data(&mut world, first, 0, 3), Some(Verdict::Next));
    world.run(5 * SECOND);
    assert_eq!(gaps(&world, 0), []);
    keepalive(&mut world, second, Some(5));
    world.run(5 * SECOND);
    assert_eq!(gaps(&world, 0), [(4, 5)], "after the patience");
}

/// A snapshot that is older than what a keepalive has told leaves a gap.
#[test]
fn a_snapshot_older_than_a_keepalive_is_not_enough() {
    let (mut world, id) = world(book(Count::Feed));
    keepalive(&mut world, id, Some(20));
    assert_eq!(world.snapshots.len(), 1, "what comes after it comes over this connection");
    assert!(world.follower.snapshot(0, 0, 20, world.now));
    world.poll();
    assert_eq!(gaps(&world, 0), [(20, 20)]);
    world.run(5 * SECOND);
    assert!(world.follower.snapshot(0, 1, 21, world.now));
    assert_eq!(data(&mut world, id, 0, 21), Some(Verdict::Next));
    assert_eq!(gaps(&world, 0).len(), 1);
}

/// `last` below the first number of the count, on a connection that is alone.
#[test]
fn a_keepalive_may_show_that_the_count_begins_anew() {
    for (last, restarts) in [(3, 1), (14, 0)] {
        let (mut world, id) = world(book(Count::Feed));
        data(&mut world, id, 0, 10);
        world.follower.resync(0, 10, world.now);
        for number in 11..=14 {
            data(&mut world, id, 0, number);
        }
        let before = world.books[0].restarts;
        world.end(id, Cause::Cut.into());
        world.run(5 * SECOND);
        let id = world.links[0].id;
        keepalive(&mut world, id, Some(last));
        assert_eq!(world.books[0].restarts, before + restarts);
        assert_eq!(gaps(&world, 0), []);
    }
}

/// A book that is quiet for half an hour, with `leave_after`.
#[test]
fn keepalives_without_a_number_keep_leave_after_quiet() {
    for ask_after in [None, Some(5 * SECOND)] {
        let (mut world, id) = world(Subscription { ask_after, ..trades() });
        for seconds in 0..1_800 {
            for subscription in 0..2 {
                hear(&mut world, id, Incoming::Keepalive { subscription, last: None });
            }
            if seconds == 900 {
                data(&mut world, id, 0, 1);
            }
            world.run(SECOND);
        }
        assert_eq!((world.dials.len(), world.state(0)), (1, State::Following));
        // It is no number, and no longer life once it stops.
        assert_eq!(data(&mut world, id, 0, 2), Some(Verdict::Next));
        world.run(MINUTE);
        assert!(world.dials.len() > 1);
    }
}

/// Data decides when an older connection may go: a keepalive does not show what it has passed.
#[test]
fn a_keepalive_makes_no_successor_ready_before_its_time() {
    let watch = Subscription { ask_after: Some(20 * SECOND), leave_after: None, ..trades() };
    let set = Settings { answer_within: 3 * SECOND, ..settings() };
    let mut world = World::new(set, 0, &[watch]);
    world.interval = 1_000 * MINUTE;
    world.add_line(1, 2 * MINUTE, MINUTE);
    world.run(SECOND);
    let old = world.links[0].id;
    data(&mut world, old, 0, 1);
    world.run(MINUTE);
    let new = world.links[1].id;
    data(&mut world, old, 0, 2);
    keepalive(&mut world, new, None);
    world.run(2 * SECOND);
    assert!(world.left.is_empty());
    // 2 was its last number, so nothing is on its way over the older one.
    keepalive(&mut world, new, Some(2));
    assert_eq!(world.left.len(), 1);
    assert_eq!(data(&mut world, new, 0, 3), Some(Verdict::Next));
    assert_eq!(gaps(&world, 0), []);
}

/// On a silent connection a keepalive is as data: it speaks, and on the successor it ends it.
#[test]
fn a_keepalive_ends_a_silence() {
    for of_the_old in [true, false] {
        let (mut world, old) = world(Subscription { leave_after: Some(30 * SECOND), ..trades() });
        for subscription in 0..2 {
            hear(&mut world, old, Incoming::Answer(Asked::Subscription(subscription)));
        }
        let since = world.now;
        world.run(31 * SECOND);
        assert!(matches!(world.state(0), State::Silent { cause: Cause::NoData(_) }));
        assert_eq!(world.links.len(), 2);
        let new = world.links[1].id;
        for subscription in 0..2 {
            let from = if of_the_old { old } else { new };
            hear(&mut world, from, Incoming::Keepalive { subscription, last: None });
        }
        let (stays, goes) = if of_the_old { (old, new) } else { (new, old) };
        assert_eq!(world.left.iter().map(|(_, id, _)| *id).collect::<Vec<_>>(), [goes]);
        assert_eq!(world.links.iter().map(|link| link.id).collect::<Vec<_>>(), [stays]);
        assert!(world.now > since && since > Time::ZERO);
    }
}
