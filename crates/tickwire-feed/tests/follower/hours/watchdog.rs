//! How often the follower dials because something is silent, and whose fault it is.
use super::*;
use tickwire_feed::Cause;

fn asked() -> Subscription {
    Subscription { leave_after: None, ..trades() }
}

/// Dials between these times.
fn dials(world: &World, from: Duration, to: Duration) -> usize {
    let dials = world.dials.iter().filter(|(at, ..)| {
        let at = *at - Time::ZERO;
        from < at && at <= to
    });
    dials.count()
}

/// The exchange does not know a symbol, and says nothing. Nobody else's data suffers.
#[test]
fn an_ignored_symbol_takes_at_most_sixteen_dials_in_an_hour() {
    for (addresses, lines) in [(1, 1), (2, 1), (2, 2)] {
        let set = Settings { addresses, ..settings() };
        let mut world = World::new(set, lines, &[asked(), asked()]);
        world.topic = Box::new(|topic, _, _| match topic {
            0 => super::Topic::Dead,
            _ => super::Topic::Serves,
        });
        world.run(8 * SECOND);
        if lines == 1 {
            assert_eq!(world.follower.topic(0), Some(tickwire_feed::Topic::Silent));
            assert_eq!(world.mutes, []);
        }
        world.run(3 * HOUR);
        let lines = lines as usize;
        assert!(dials(&world, Duration::ZERO, HOUR) <= 16 * lines, "{:?}", world.dials);
        assert!(dials(&world, HOUR, 2 * HOUR) <= 8 * lines);
        assert!(dials(&world, 2 * HOUR, 3 * HOUR) <= 8 * lines);
        assert!(dials(&world, 2 * HOUR, 3 * HOUR) >= 1, "it may come back");
        assert_eq!(world.dark(1, Time::ZERO + SECOND), world.interval);
        assert_eq!(world.follower.topic(0), Some(tickwire_feed::Topic::Mute));
        assert_eq!(world.follower.topic(1), Some(tickwire_feed::Topic::InOrder));
        let told: Vec<_> = world.mutes.iter().map(|(_, topic)| *topic).collect();
        assert_eq!(told, [0], "once");
    }
}

/// Each address gets its turn, though a silent connection may live long.
#[test]
fn a_symbol_that_only_the_third_address_serves_is_found() {
    let set = || Settings { addresses: 3, ..settings() };
    // A silent successor that was open for a minute has settled nothing.
    for leave_after in [30 * SECOND, 80 * SECOND] {
        let watch = Subscription { leave_after: Some(leave_after), ..trades() };
        let mut world = World::new(set(), 1, &[trades(), watch]);
        world.topic = Box::new(|topic, link, _| match topic == 1 && link.address < 2 {
            true => super::Topic::Mute,
            false => super::Topic::Serves,
        });
        world.run(4 * MINUTE);
        let dialed: Vec<_> = world.dials.iter().map(|(_, _, address)| *address).collect();
        assert_eq!(dialed, [0, 1, 2]);
        assert_eq!(world.follower.topic(1), Some(tickwire_feed::Topic::InOrder));
        assert!(!world.books[1].delivered.is_empty());
    }
    // And if none serves it, it is told.
    let mut world = World::new(set(), 1, &[trades(), trades()]);
    world.topic = Box::new(|topic, _, _| match topic {
        1 => super::Topic::Mute,
        _ => super::Topic::Serves,
    });
    world.run(10 * MINUTE);
    assert_eq!(world.follower.topic(1), Some(tickwire_feed::Topic::Mute));
}

/// Told again only if it was served meanwhile.
#[test]
fn a_mute_subscription_is_told_once_each_time() {
    let mut world = World::new(settings(), 1, &[asked(), asked()]);
    world.topic = Box::new(|topic, _, now| match (now - Time::ZERO).as_secs() / 300 {
        0 | 2 if topic == 0 => super::Topic::Dead,
        _ => super::Topic::Serves,
    });
    world.run(20 * MINUTE);
    let told: Vec<_> = world.mutes.iter().map(|(at, _)| (*at - Time::ZERO).as_secs()).collect();
    assert!(matches!(told[..], [0..300, 600..900]), "{told:?}");
}

/// An address that may be dialed, but refuses, has not been asked since it was served.
#[test]
fn a_subscription_that_was_served_again_is_mute_only_once_each_address_was_asked_again() {
    let set = Settings { addresses: 2, ..settings() };
    let mut world = World::new(set, 1, &[asked(), asked()]);
    world.topic = Box::new(|topic, _, now| match (now - Time::ZERO).as_secs() / 300 {
        0 | 2.. if topic == 0 => super::Topic::Dead,
        _ => super::Topic::Serves,
    });
    world.run(10 * MINUTE - SECOND);
    assert_eq!(world.mutes.len(), 1);
    let [Link { address, .. }] = world.links[..] else { panic!("{:?}", world.dials) };
    world.door = Box::new(move |other, _| match other == address {
        true => Door::Opens,
        false => Door::Fails(Cause::ConnectionRefused.into()),
    });
    world.run(10 * MINUTE);
    assert_eq!(world.follower.topic(0), Some(tickwire_feed::Topic::Silent));
    assert_eq!(world.mutes.len(), 1);
}

/// It need not be silent at an address that may not be dialed.
#[test]
fn a_subscription_is_mute_though_an_address_has_stopped() {
    let set = Settings { addresses: 2, ..settings() };
    let mut world = World::new(set, 1, &[asked(), asked()]);
    world.door = Box::new(|address, _| match address {
        0 => Door::Opens,
        _ => Door::Fails(Cause::CertificateRefused.into()),
    });
    world.topic = Box::new(|topic, _, _| match topic {
        0 => super::Topic::Dead,
        _ => super::Topic::Serves,
    });
    world.run(5 * MINUTE);
    assert!(world.follower.faults().nth(1).flatten().is_some());
    assert_eq!(world.follower.topic(0), Some(tickwire_feed::Topic::Mute));
    assert_eq!(world.mutes.len(), 1);
}

/// Its successors too: the connection is silent as a whole.
#[test]
fn a_server_that_says_nothing_takes_at_most_sixteen_dials_in_an_hour() {
    let unasked = Subscription { recovery: Recovery::Resume, ..Subscription::default() };
    let set = Settings { probe_after: Some(5 * SECOND), ..settings() };
    let mut world = World::new(set, 1, &[unasked]);
    world.topic = Box::new(|_, _, now| match now - Time::ZERO < 10 * SECOND {
        true => super::Topic::Serves,
        false => super::Topic::Dead,
    });
    world.run(3 * HOUR);
    assert!(dials(&world, Duration::ZERO, HOUR) <= 16, "{:?}", world.dials);
    assert!((1..=8).contains(&dials(&world, 2 * HOUR, 3 * HOUR)));
}

/// Beside one that is mute, which is not waited for.
#[test]
fn a_silent_successor_is_left_at_its_time() {
    let within = |leave_after: Duration| Subscription {
        leave_after: Some(leave_after),
        recovery: Recovery::Resume,
        ..Subscription::default()
    };
    let leave_after = Duration::from_millis(31_300);
    let mut world = World::new(settings(), 1, &[within(10 * SECOND), within(leave_after)]);
    world.topic = Box::new(|topic, _, now| match topic == 1 && now < Time::ZERO + 5 * MINUTE {
        true => super::Topic::Serves,
        false => super::Topic::Mute,
    });
    while world.links.len() < 2 || world.now < Time::ZERO + 5 * MINUTE + leave_after {
        world.run(TICK);
        assert!(world.now < Time::ZERO + HOUR);
    }
    assert_eq!(world.follower.topic(0), Some(tickwire_feed::Topic::Mute));
    let Link { id, opened, .. } = world.links[1];
    world.run(opened + leave_after - world.now - SECOND);
    let wait = world.poll();
    assert!(wait <= opened + leave_after, "{wait:?}");
    world.run(SECOND);
    assert_eq!(world.left.last().map(|(_, id, _)| *id), Some(id));
}

/// A market that is quiet all night, though `leave_after` says that it never is.
#[test]
fn a_quiet_night_with_leave_after_takes_no_more() {
    let mut world = World::new(settings(), 1, &[trades()]);
    let closes = Time::ZERO + MINUTE;
    let opens = Time::ZERO + 8 * HOUR;
    world.topic = Box::new(move |_, _, now| match now > closes && now < opens {
        true => super::Topic::Mute,
        false => super::Topic::Serves,
    });
    world.run(9 * HOUR);
    assert!(dials(&world, Duration::ZERO, HOUR) <= 16, "{:?}", world.dials);
    for hour in 1..8 {
        assert!(dials(&world, hour * HOUR, (hour + 1) * HOUR) <= 8);
    }
    assert_eq!(world.dark(0, opens), world.interval);
    assert_eq!(world.state(0), State::Following);
}

/// A line with an ignored symbol is cut, and is back at once.
#[test]
fn an_ignored_symbol_does_not_delay_a_cut_line() {
    let mut world = World::new(settings(), 1, &[asked(), asked()]);
    world.interval = TICK;
    world.topic = Box::new(|topic, _, _| match topic {
        0 => super::Topic::Dead,
        _ => super::Topic::Serves,
    });
    world.run(10 * MINUTE);
    let cut = world.now;
    for link in world.links.clone() {
        world.end(link.id, Ended::closed(1006, ""));
    }
    world.run(MINUTE);
    let dark = world.dark(1, cut);
    assert!(dark <= Duration::from_millis(100) + 3 * TICK, "{dark:?}");
}

/// A symbol is ignored, and another one dies on the connection: that is seen as if it were alone.
#[test]
fn a_subscription_that_dies_beside_a_mute_one_is_noticed() {
    for (batch, dies) in [(1, 10), (10, 10), (1, 45)] {
        let mut world = World::new(Settings { batch, ..settings() }, 1, &[asked(); 3]);
        let dies = Time::ZERO + dies * MINUTE;
        world.topic = Box::new(move |topic, link, now| match topic {
            0 => super::Topic::Dead,
            1 if link.opened < dies && now >= dies => super::Topic::Dead,
            _ => super::Topic::Serves,
        });
        world.run(HOUR);
        let dark = world.dark(1, Time::ZERO + 30 * SECOND);
        // `ask_after`, `answer_within`, and the dial.
        assert!(dark <= 10 * SECOND, "batch {batch}: {dark:?}");
        assert!(world.dark(2, Time::ZERO + 30 * SECOND) <= SECOND);
    }
}

/// The successor serves the silent subscription, and not another one that the old one serves.
#[test]
fn a_silent_connection_is_left_for_one_that_serves_as_much() {
    let mut world = World::new(settings(), 1, &[asked(), asked()]);
    let dies = Time::ZERO + MINUTE;
    world.topic = Box::new(move |topic, link, now| match topic {
        0 if link.opened < dies && now >= dies => super::Topic::Dead,
        1 if link.opened > dies && link.opened < dies + 30 * SECOND => super::Topic::Dead,
        _ => super::Topic::Serves,
    });
    world.run(10 * MINUTE);
    assert_eq!(world.dark(1, Time::ZERO + SECOND), world.interval);
    assert!(world.dark(0, Time::ZERO + SECOND) <= MINUTE);
}

/// A snapshot of 20 MB takes 20 s: nothing else comes meanwhile, and nothing is silent. But a peer
/// that drips for ever is.
#[test]
fn a_long_message_in_transit_is_life_for_a_minute() {
    for (takes, is_silent) in [(20 * SECOND, false), (5 * MINUTE, true)] {
        let set = Settings { probe_after: Some(2 * SECOND), ..settings() };
        let mut world = World::new(set, 1, &[trades()]);
        let begins = Time::ZERO + MINUTE;
        world.topic = Box::new(move |_, link, now| {
            let is_busy = link.opened < begins && now > begins && now < begins + takes;
            if is_busy { super::Topic::Dead } else { super::Topic::Serves }
        });
        world.run(MINUTE);
        let first = world.links[0].id;
        while world.now < begins + takes && world.links.iter().any(|link| link.id == first) {
            world.follower.alive(first, world.now);
            world.run(SECOND);
        }
        world.run(MINUTE);
        assert_eq!(world.dials.len() > 1, is_silent, "{takes:?}: {:?}", world.dials);
        if is_silent {
            let at = world.dials[1].0 - begins;
            assert!(at >= MINUTE && at <= MINUTE + 10 * SECOND, "{at:?}");
        }
    }
}

/// Two lines find a frozen server silent at the same time: that is once.
#[test]
fn a_subscription_is_not_mute_before_a_new_connection_is_silent_too() {
    let mut world = World::new(settings(), 2, &[asked(), asked()]);
    let (freezes, thaws) = (Time::ZERO + MINUTE, Time::ZERO + MINUTE + 9 * SECOND);
    world.topic = Box::new(move |_, _, now| match now > freezes && now < thaws {
        true => super::Topic::Dead,
        false => super::Topic::Serves,
    });
    world.run(2 * MINUTE);
    assert!(world.dials.len() > 2, "both were silent");
    assert_eq!(world.mutes, []);
}

/// A symbol is delisted while it is followed, and listed again: asked for, it is refused, on its
/// connection or on a new one.
#[test]
fn a_topic_that_is_refused_on_a_successor_is_at_fault_itself() {
    for (lines, on_new, leave_after) in [
        (1, true, Some(30 * SECOND)),
        (1, false, Some(30 * SECOND)),
        (1, false, None),
        (2, true, Some(30 * SECOND)),
    ] {
        let watch = Subscription { leave_after, ..trades() };
        let mut world = World::new(settings(), lines, &[watch, watch, watch]);
        let (dies, back) = (Time::ZERO + MINUTE, Time::ZERO + 2 * HOUR);
        world.topic = Box::new(move |topic, link, now| match (topic, now > dies && now < back) {
            (0, true) if link.opened < dies && on_new => super::Topic::Mute,
            (0, true) => super::Topic::Refused,
            _ => super::Topic::Serves,
        });
        world.run(2 * HOUR - MINUTE);
        assert_eq!(world.links.len() as u64, lines, "one connection for a line");
        assert!(world.dials.len() as u64 <= 3 * lines, "{:?}", world.dials);
        let topic = world.follower.topic(0);
        let what = format!("{lines} {on_new} {leave_after:?}: {:?}", world.dials);
        assert_eq!(topic, Some(tickwire_feed::Topic::Refused), "{what}");
        assert_eq!(world.state(0), State::Following);
        for other in [1, 2] {
            assert_eq!(world.dark(other, Time::ZERO + SECOND), world.interval);
        }
        // It is asked for again, at most each 15 minutes.
        world.run(20 * MINUTE);
        assert_eq!(world.follower.topic(0), Some(tickwire_feed::Topic::InOrder));
        assert!(world.dark(0, back) <= SECOND);
    }
}

/// One of two lines is answered and gets no data. The other one brings it.
#[test]
fn a_line_that_gets_no_data_takes_few_dials_though_another_one_does() {
    let set = Settings { addresses: 2, ..settings() };
    let mut world = World::new(set, 2, &[trades(), trades()]);
    world.topic = Box::new(|_, link, _| match link.address {
        0 => super::Topic::Mute,
        _ => super::Topic::Serves,
    });
    world.run(3 * HOUR);
    assert!(dials(&world, Duration::ZERO, HOUR) <= 16, "{:?}", world.dials.len());
    assert!(dials(&world, 2 * HOUR, 3 * HOUR) <= 8);
    assert_eq!(world.dark(0, Time::ZERO + SECOND), world.interval);
}

/// Others on each connection: that is no pace of their own for each of them.
#[test]
fn two_topics_dead_on_each_new_connection_take_few_dials() {
    let mut world = World::new(settings(), 1, &[trades(); 20]);
    world.topic = Box::new(|topic, link, _| {
        let nth = (link.opened - Time::ZERO).as_secs() as usize;
        match topic == nth % 20 || topic == (nth / 20 + 7) % 20 {
            true => super::Topic::Mute,
            false => super::Topic::Serves,
        }
    });
    world.run(3 * HOUR);
    assert!(dials(&world, Duration::ZERO, HOUR) <= 16, "{:?}", world.dials.len());
    assert!(dials(&world, 2 * HOUR, 3 * HOUR) <= 8);
}
