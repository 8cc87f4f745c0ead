//! Connections and topics that fall silent, and successors that are silent too.
use super::*;
use tickwire_feed::Cause;

/// The stream of a topic dies for a minute in the exchange: whoever subscribed before its end is
/// answered and gets nothing, and its successor too.
#[test]
fn the_mute_successor_of_a_silent_connection_is_left_for_the_next() {
    for (lines, addresses) in [(1, 1), (1, 2), (2, 2)] {
        let set = Settings { addresses, ..settings() };
        let mut world = World::new(set, lines, &[trades(), trades()]);
        let (dies, back) = (Time::ZERO + MINUTE, Time::ZERO + 2 * MINUTE);
        world.topic = Box::new(move |topic, link, now| {
            let is_mute = topic == 0 && now > dies && link.opened < back;
            if is_mute { Topic::Mute } else { Topic::Serves }
        });
        world.run(HOUR);
        let dark = world.dark(0, Time::ZERO + SECOND);
        // Two times `leave_after` before the fault is over, and once after it.
        assert!(dark <= 2 * MINUTE, "{lines} lines, {addresses} addresses: {dark:?}");
        assert_eq!(world.dark(1, Time::ZERO + SECOND), world.interval);
        assert_eq!(world.state(0), State::Following);
    }
}

/// One line's server answers and sends nothing more, and the other line brings the whole feed.
#[test]
fn a_count_of_a_silent_connection_is_over_for_the_other_line() {
    let watch = Subscription { count: Count::Connection, ..trades() };
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 2, &[watch]);
    world.topic = Box::new(|_, link, now| {
        let is_mute = link.address == 0 && now > Time::ZERO + MINUTE;
        if is_mute { Topic::Mute } else { Topic::Serves }
    });
    world.run(HOUR);
    let dark = world.dark(0, Time::ZERO + SECOND);
    assert!(dark <= 31 * SECOND, "{dark:?}");
    assert!(world.books[0].gaps.is_empty());
    let last = world.books[0].delivered.last().unwrap().1.0;
    assert_eq!(world.links.iter().find(|link| link.id == last).unwrap().line, 1);
}

/// If the silent connection is the one that goes on, so does its count.
#[test]
fn the_same_connection_going_on_is_no_restart() {
    let watch = Subscription { count: Count::Connection, ..trades() };
    let mut world = World::new(settings(), 1, &[watch]);
    world.door = Box::new(|_, now| match now > Time::ZERO {
        true => Door::Fails(Cause::ConnectionRefused.into()),
        false => Door::Opens,
    });
    world.topic = Box::new(|_, _, now| match now - Time::ZERO {
        at if at > MINUTE && at < 2 * MINUTE => Topic::Mute,
        _ => Topic::Serves,
    });
    world.run(3 * MINUTE);
    assert_eq!(world.books[0].restarts, 0);
    let numbers: Vec<_> = world.books[0].delivered.iter().map(|(_, note)| note.1).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(world.dark(0, Time::ZERO + SECOND) <= 61 * SECOND);
}

/// The successor's first message is the switch, and then nothing more comes over it. The older
/// connection is well, and stays because another topic has no data yet on the successor.
#[test]
fn a_successor_that_is_mute_behind_its_first_message_gives_the_count_back() {
    let watch = Subscription { count: Count::Connection, ..trades() };
    let mut world = World::new(settings(), 0, &[watch, watch]);
    world.add_line(1, 20 * MINUTE, 10 * MINUTE);
    world.topic = Box::new(|topic, link, _| {
        let is_second = link.opened == Time::ZERO + 10 * MINUTE;
        let is_mute = is_second && (topic == 1 || link.numbers[0] > 0);
        if is_mute { Topic::Mute } else { Topic::Serves }
    });
    world.run(11 * MINUTE);
    assert_eq!(world.dials.len(), 3);
    let dark = world.dark(0, Time::ZERO + SECOND);
    assert!(dark <= 31 * SECOND, "{dark:?}");
}

/// What is kept for a snapshot goes when another connection's count takes over.
#[test]
fn the_room_of_kept_messages_is_free_again_after_each_switch() {
    let limits = Limits { most_bytes: 100_000, ..Limits::default() };
    let set = Settings { limits, size: |_| 1000, ..settings() };
    let book = Subscription {
        count: Count::Connection,
        recovery: Recovery::Snapshot,
        ..Default::default()
    };
    let mut world = World::new(set, 0, &[book]);
    world.add_line(1, 2 * MINUTE, MINUTE);
    world.interval = SECOND;
    // Snapshots never come, so each connection's messages are kept until the next one's.
    world.run(30 * MINUTE);
    assert!(world.dials.len() > 10);
    let id = world.links[0].id;
    let next = world.links[0].numbers[0] + 1;
    for number in next..next + 50 {
        let data = Incoming::Data { subscription: 0, numbers: Some(number.into()) };
        let verdict = world.follower.heard(id, data, world.now, || (id, number));
        assert_eq!(verdict, Some(Verdict::Kept));
    }
    world.follower.resync(0, next, world.now);
    world.poll();
    assert_eq!(world.books[0].delivered.len(), 50);
}

/// Each subscription is below the limit of bytes, and together they are above it.
#[test]
fn the_bytes_of_all_subscriptions_together_are_bounded() {
    let limits = Limits { most_bytes: 10_000, ..Limits::default() };
    let set = Settings { limits, size: |_| 1000, ..settings() };
    let unasked = Subscription { recovery: Recovery::Resume, ..Default::default() };
    let mut world = World::new(set, 2, &[unasked; 4]);
    world.run(SECOND / 10);
    let [a, b] = [0, 1].map(|line| world.links[line].id);
    let hear = |world: &mut World, from, subscription, number: u64| {
        let data = Incoming::Data { subscription, numbers: Some(number.into()) };
        world.follower.heard(from, data, world.now, || (from, number))
    };
    for subscription in 0..4 {
        assert_eq!(hear(&mut world, a, subscription, 1), Some(Verdict::Next));
        for number in 3..9 {
            assert_eq!(hear(&mut world, a, subscription, number), Some(Verdict::Kept));
        }
    }
    for subscription in 0..4 {
        assert_eq!(hear(&mut world, b, subscription, 2), Some(Verdict::Next));
    }
    world.poll();
    let kept: Vec<_> = world.books.iter().map(|book| book.delivered.len()).collect();
    let all: usize = kept.iter().sum();
    assert!((8..10).contains(&all), "{kept:?} of 1,000 bytes and more in 10,000");
    assert!(kept.iter().all(|kept| (1..=3).contains(kept)), "{kept:?}");
}

/// Four topics share a message. One of them is quiet, so it is asked again alone, and answered;
/// another one dies behind its first answer.
#[test]
fn an_answer_is_for_what_its_message_names() {
    for (batch, quiet) in [(4, true), (1, true), (4, false)] {
        let watch = Subscription { leave_after: None, ..trades() };
        let set = Settings { batch, ..settings() };
        let mut world = World::new(set, 1, &[watch; 4]);
        let dies = Time::ZERO + 30 * SECOND;
        world.topic = Box::new(move |topic, link, now| match topic {
            0 if quiet => Topic::Mute,
            2 if link.opened < dies && now >= dies => Topic::Dead,
            _ => Topic::Serves,
        });
        world.run(10 * MINUTE);
        let dark = world.dark(2, Time::ZERO + SECOND);
        assert!(dark <= 14 * SECOND, "batch {batch}, quiet {quiet}: {dark:?}");
    }
}

/// Away from its own address, with a planned change at exactly the time of `Action::Wait`: the own
/// address has its turn.
#[test]
fn a_planned_change_is_due_at_its_time_and_not_after_it() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 0, &[trades()]);
    world.add_line(1, 5 * MINUTE, MINUTE);
    world.door = Box::new(|address, now| match address == 0 && now < Time::ZERO + SECOND {
        true => Door::Fails(Cause::ConnectionRefused.into()),
        false => Door::Opens,
    });
    world.run(5 * MINUTE);
    let dials: Vec<_> = world.dials.iter().map(|(at, _, to)| (*at - Time::ZERO, *to)).collect();
    assert_eq!(dials[..2], [(Duration::ZERO, 0), (Duration::ZERO, 1)]);
    assert_eq!(dials[2], (4 * MINUTE, 0));
}
