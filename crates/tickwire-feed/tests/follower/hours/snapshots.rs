//! Snapshots that are late, refused, lost with their connection, or of an old count.
use super::{HOUR, MINUTE, SECOND, TICK, World, settings, trades};
use tickwire::Time;
use tickwire_feed::{Asked, Ended, Incoming, Recovery, State, Subscription, Topic, Verdict};

fn book() -> Subscription {
    Subscription { recovery: Recovery::Snapshot, ..Subscription::default() }
}

/// A book of which the numbers 1 to 5 have come.
fn world() -> World {
    let mut world = World::new(settings(), 1, &[book()]);
    world.interval = HOUR;
    world.run(SECOND);
    for number in 1..=5 {
        number_came(&mut world, number);
    }
    world
}

fn number_came(world: &mut World, number: u64) -> Option<Verdict> {
    let id = world.links[0].id;
    let data = Incoming::Data { subscription: 0, numbers: Some(number.into()) };
    let verdict = world.follower.heard(id, data, world.now, || (id, number));
    world.poll();
    verdict
}

fn requests(world: &World) -> Vec<u64> {
    world.snapshots.iter().map(|(_, _, id)| *id).collect()
}

fn topic(world: &World) -> Topic {
    world.follower.topic(0).unwrap()
}

#[test]
fn a_snapshot_that_takes_too_long_is_asked_for_again_and_still_counts() {
    let mut world = world();
    assert_eq!(requests(&world), [0]);
    let since = world.now;
    assert_eq!(topic(&world), Topic::Waiting { since, requests: 1, next_at: None });
    world.run(10 * SECOND);
    assert_eq!(requests(&world), [0, 1]);
    assert_eq!(topic(&world), Topic::Waiting { since, requests: 2, next_at: None });
    // The first one, which took 11 s, has all that is missing. The second is not needed any more.
    assert!(world.follower.snapshot(0, 0, 3, world.now));
    world.poll();
    assert_eq!(topic(&world), Topic::InOrder);
    assert!(!world.follower.snapshot(0, 1, 4, world.now));
    let delivered: Vec<_> = world.books[0].delivered.iter().map(|(_, note)| note.1).collect();
    assert_eq!(delivered, [3, 4, 5]);
    world.run(MINUTE);
    assert_eq!(requests(&world), [0, 1]);
}

#[test]
fn a_late_snapshot_that_leaves_a_hole_or_is_of_an_old_count_is_not_taken() {
    let mut world = world();
    number_came(&mut world, 9);
    world.run(10 * SECOND);
    assert_eq!(requests(&world), [0, 1]);
    // What is kept begins with 1.
    assert!(!world.follower.snapshot(0, 0, 0, world.now));
    assert!(!world.follower.snapshot(0, 7, 3, world.now), "nobody asked");
    world.follower.distrust(0);
    world.poll();
    number_came(&mut world, 1);
    world.run(5 * SECOND);
    assert_eq!(requests(&world), [0, 1, 2]);
    assert!(matches!(topic(&world), Topic::Distrusted { .. }));
    for old in [0, 1] {
        assert!(!world.follower.snapshot(0, old, 1, world.now), "before the restart");
    }
    assert!(world.follower.snapshot(0, 2, 1, world.now));
    world.poll();
    assert_eq!(topic(&world), Topic::InOrder);
}

#[test]
fn a_book_without_numbers_is_distrusted_too() {
    let mut world = World::new(settings(), 1, &[book()]);
    world.interval = HOUR;
    world.run(SECOND);
    let unnumbered = |world: &mut World| {
        let id = world.links[0].id;
        let data = Incoming::Data { subscription: 0, numbers: None };
        let verdict = world.follower.heard(id, data, world.now, || unreachable!("as `Next`"));
        world.poll();
        verdict
    };
    assert_eq!(unnumbered(&mut world), Some(Verdict::Next));
    assert!(requests(&world).is_empty());
    world.follower.distrust(0);
    world.poll();
    assert_eq!(requests(&world), [0]);
    assert!(world.follower.snapshot(0, 0, 0, world.now));
    assert_eq!(topic(&world), Topic::InOrder);
    // Not while nothing is open that has brought data.
    let id = world.links[0].id;
    world.end(id, Ended::closed(1006, ""));
    world.follower.distrust(0);
    world.run(MINUTE);
    assert_eq!(requests(&world), [0]);
    assert_eq!(unnumbered(&mut world), Some(Verdict::Next));
    assert_eq!(requests(&world), [0, 1], "at once");
}

/// 429 from the host of the snapshots keeps all followers of the address from asking.
#[test]
fn a_retry_after_holds_back_all_snapshots() {
    let mut world = World::new(settings(), 1, &[book(), book()]);
    world.interval = HOUR;
    world.run(SECOND);
    number_came(&mut world, 1);
    assert_eq!(requests(&world), [0]);
    let after = Some(20 * SECOND);
    world.follower.no_snapshot(0, 0, after, world.now, &mut world.attempts);
    let id = world.links[0].id;
    let data = Incoming::Data { subscription: 1, numbers: Some(1.into()) };
    world.follower.heard(id, data, world.now, || (id, 1));
    world.run(24 * SECOND - TICK);
    assert_eq!(requests(&world), [0]);
    world.run(SECOND + TICK);
    let at: Vec<_> = world.snapshots[1..].iter().map(|(at, ..)| *at - Time::ZERO).collect();
    assert_eq!(at, [25 * SECOND, 26 * SECOND], "one a second");
}

#[test]
fn a_snapshot_that_was_asked_for_over_a_connection_ends_with_it() {
    let mut world = world();
    let id = world.links[0].id;
    world.follower.asked_over(0, 0, id, world.now);
    world.end(id, Ended::closed(1006, ""));
    world.run(2 * SECOND);
    number_came(&mut world, 6);
    assert_eq!(requests(&world), [0, 1]);
    // An unknown connection is one that has ended already.
    world.follower.asked_over(0, 1, id, world.now);
    world.run(2 * SECOND + TICK);
    assert_eq!(requests(&world), [0, 1, 2]);
}

/// The exchange pushes a snapshot while one is being asked for.
#[test]
fn a_pushed_snapshot_counts_as_the_one_that_is_asked_for() {
    let mut world = world();
    world.follower.resync(0, 4, world.now);
    world.run(MINUTE);
    assert_eq!((requests(&world), topic(&world)), (vec![0], Topic::InOrder));
    world.follower.no_snapshot(0, 0, None, world.now, &mut world.attempts);
    world.run(MINUTE);
    assert_eq!(requests(&world), [0]);
}

#[test]
fn a_book_of_which_the_checksum_is_wrong_begins_anew() {
    for recovery in [Recovery::Snapshot, Recovery::Resume] {
        let mut world = World::new(settings(), 1, &[Subscription { recovery, ..book() }]);
        world.interval = HOUR;
        world.run(SECOND);
        number_came(&mut world, 7);
        if recovery == Recovery::Snapshot {
            world.follower.resync(0, 8, world.now);
        }
        assert_eq!(number_came(&mut world, 8), Some(Verdict::Next));
        let restarts = world.books[0].restarts;
        world.follower.distrust(0);
        world.poll();
        assert_eq!(world.books[0].restarts, restarts + 1);
        let is_next = recovery == Recovery::Resume;
        assert_eq!(number_came(&mut world, 9) == Some(Verdict::Next), is_next);
    }
}

#[test]
fn a_subscription_that_is_refused_or_silent_says_so() {
    let mut world = World::new(settings(), 1, &[trades(), trades()]);
    world.topic =
        Box::new(|topic, _, _| if topic == 0 { super::Topic::Dead } else { super::Topic::Serves });
    world.run(SECOND);
    assert_eq!(topic(&world), Topic::InOrder);
    world.run(10 * SECOND);
    assert_eq!(topic(&world), Topic::Silent);
    assert_eq!(world.follower.topic(1), Some(Topic::InOrder));
    let id = world.links[0].id;
    for link in world.links.clone() {
        let refused = Incoming::Refused(Asked::Subscription(0));
        world.follower.heard(link.id, refused, world.now, || (id, 0));
    }
    assert_eq!(topic(&world), Topic::Refused);
    assert_eq!(world.follower.topic(2), None);
}

/// One line of two still has it.
#[test]
fn a_subscription_is_refused_or_silent_if_it_is_so_on_each_line() {
    let mut world = World::new(settings(), 2, &[trades(), trades()]);
    world.topic = Box::new(|topic, link, _| match (topic, link.line) {
        (1, 1) => super::Topic::Dead,
        _ => super::Topic::Serves,
    });
    world.run(10 * SECOND);
    assert!(matches!(world.state(1), State::Silent { .. } | State::Dialing { .. }));
    assert_eq!(world.follower.topic(1), Some(Topic::InOrder));
    let refuse = |world: &mut World, line| {
        let link = world.links.iter().find(|link| link.line == line).unwrap();
        let refused = Incoming::Refused(Asked::Subscription(1));
        world.follower.heard(link.id, refused, world.now, || unreachable!("no data"));
    };
    refuse(&mut world, 1);
    assert_eq!(world.follower.topic(1), Some(Topic::InOrder));
}

/// Without a pace, 40 requests in 10 ms get the address banned. In the order of the indices, the
/// last books would wait for as long as the first ones have gaps.
#[test]
fn many_books_ask_one_a_second_and_each_in_its_turn() {
    let mut world = World::new(settings(), 1, &[book(); 40]);
    world.interval = SECOND / 2;
    for _ in 0..80 {
        world.run(SECOND);
        // The first books get theirs, and lose numbers at once.
        for (_, topic, id) in std::mem::take(&mut world.snapshots) {
            world.books[topic].restarts += 1000;
            assert!(world.follower.snapshot(topic, id, 1_000_000, world.now));
            world.follower.distrust(topic);
            world.poll();
        }
    }
    let asked: Vec<_> = world.books.iter().map(|book| book.restarts / 1000).collect();
    assert!(asked.iter().all(|asked| (1..=3).contains(asked)), "{asked:?}");
    assert!(asked.iter().sum::<usize>() <= 81, "{asked:?}");
}
