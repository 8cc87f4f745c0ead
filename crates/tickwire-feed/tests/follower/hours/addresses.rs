//! One of two addresses is at fault, in each way, and the other one is well.
use super::*;
use tickwire::{ProtocolError, RecvError, Retry, handshake::HandshakeError};
use tickwire_feed::{Cause, Text};

fn refused(status: u16) -> Ended {
    Ended::Refused { status, retry_after: None, text: Text::default() }
}

/// What is wrong with an attempt at the address, or with each connection to it after a second.
fn doors() -> Vec<Door> {
    let fails = [
        refused(401),
        refused(403),
        refused(404),
        refused(500),
        (&HandshakeError::UnexpectedSubprotocol).into(),
        Cause::CertificateRefused.into(),
        Cause::CertificateExpired.into(),
        Cause::Tls(Retry::Alarm).into(),
        Cause::ConnectionRefused.into(),
        Cause::Unreachable.into(),
    ];
    let ends = [
        Ended::closed(1000, ""),
        Ended::closed(1006, ""),
        Ended::closed(1008, ""),
        Ended::closed(1011, ""),
        RecvError::UnexpectedEof.into(),
        RecvError::Protocol(ProtocolError::BadUtf8).into(),
        Cause::Wrong(Retry::Alarm).into(),
    ];
    let fails = fails.map(Door::Fails);
    let ends = ends.map(|ended| Door::OpensFor(SECOND, ended));
    [&fails[..], &ends[..]].concat()
}

/// `Backoff::trading`.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The most dials in any five minutes.
fn worst(dials: &[(Time, usize, usize)]) -> usize {
    let within = |(from, ..): &(Time, usize, usize)| {
        dials.iter().filter(|(at, ..)| *at >= *from && *at - *from < 5 * MINUTE).count()
    };
    dials.iter().map(within).max().unwrap()
}

/// The connection has lived for two minutes when its server goes wrong.
#[test]
fn one_of_two_addresses_at_fault_costs_two_first_delays() {
    for (n, door) in doors().into_iter().enumerate() {
        for own in [true, false] {
            let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
            world.interval = TICK;
            let bad = usize::from(!own);
            world.door = Box::new(move |address, now| match now {
                Time::ZERO => Door::OpensFor(2 * MINUTE, Ended::closed(1001, "")),
                _ if address == bad => door,
                _ => Door::Opens,
            });
            world.run(13 * MINUTE); // with an attempt at home
            let dark = world.dark(0, Time::ZERO + SECOND);
            // The exchange is asked once in a `TICK`, and then has the next number.
            assert!(dark <= 2 * FIRST_DELAY + 3 * TICK, "{n}, own {own}: {dark:?}");
            assert!(worst(&world.dials) <= 6, "{n}: {:?}", world.dials);
            assert_eq!(world.state(0), State::Following);
            let faults: Vec<_> = world.follower.faults().collect();
            assert_eq!(faults[1 - bad], None);
        }
    }
}

/// The fault moves to the other address once the connection there has settled: what was known of
/// the first one is of before.
#[test]
fn a_fault_that_moves_to_the_other_address_costs_two_first_delays() {
    for (n, door) in doors().into_iter().enumerate() {
        if matches!(door, Door::Fails(ended) if ended.retry() == Retry::Stop) {
            continue; // not before `go_on`
        }
        for moves in [62, 66, 70, 74, 80] {
            let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
            world.interval = TICK;
            let moves = Time::ZERO + moves * SECOND;
            world.door = Box::new(move |address, now| match address == usize::from(now >= moves) {
                true => door,
                false => Door::Opens,
            });
            world.run(moves - world.now);
            for link in world.links.clone() {
                world.end(link.id, Ended::closed(1006, ""));
            }
            world.run(5 * MINUTE);
            let dark = world.dark(0, moves);
            assert!(dark <= 2 * FIRST_DELAY + 3 * TICK, "{n}, {moves:?}: {dark:?}");
            assert!(worst(&world.dials) <= 8, "{n}: {:?}", world.dials);
        }
    }
}

#[test]
fn an_address_that_is_at_fault_from_the_start_delays_nothing() {
    for (n, door) in doors().into_iter().enumerate() {
        let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
        world.interval = TICK;
        world.door = Box::new(move |address, _| if address == 0 { door } else { Door::Opens });
        world.run(13 * MINUTE);
        let dark = world.dark(0, Time::ZERO + SECOND);
        assert!(dark <= 2 * FIRST_DELAY + 3 * TICK, "{n}: {dark:?}");
        assert!(worst(&world.dials) <= 6, "{n}: {:?}", world.dials);
    }
}

/// Both addresses do the same: the pace is the line's.
#[test]
fn two_addresses_at_fault_are_dialed_at_the_pace_of_one() {
    for (n, door) in doors().into_iter().enumerate() {
        let dials = [1, 2, 8].map(|addresses| {
            let mut world = World::new(Settings { addresses, ..settings() }, 1, &[trades()]);
            world.door = Box::new(move |_, _| door);
            world.run(20 * MINUTE);
            worst(&world.dials)
        });
        assert!(dials.iter().all(|dials| *dials <= 110), "{n}: {dials:?}");
        assert!(dials[2] <= dials[0] + 14, "{n}: {dials:?}");
    }
}

/// A wrong key is one wrong login more, and then all stop; so does a ban by 403.
#[test]
fn a_refused_key_is_tried_at_one_other_address() {
    for (status, is_stopped) in [(401, true), (403, false)] {
        let mut world = World::new(Settings { addresses: 4, ..settings() }, 2, &[trades()]);
        world.door = Box::new(move |_, _| Door::Fails(refused(status)));
        world.run(30 * SECOND);
        assert!(world.dials.len() <= 4, "{:?}", world.dials);
        assert_eq!(matches!(world.state(0), State::Stopped { .. }), is_stopped);
        assert_eq!(matches!(world.state(0), State::Alarm { .. }), !is_stopped);
        world.door = Box::new(|_, _| Door::Opens);
        world.follower.go_on(world.now);
        world.run(2 * MINUTE);
        assert_eq!(world.links.len(), 2);
    }
}

/// While another line is well, a line waits for its own address, but not for one that has stopped.
#[test]
fn a_line_in_company_leaves_an_address_that_has_stopped() {
    for addresses in [2, 3] {
        for ended in [refused(401), Cause::CertificateRefused.into()] {
            let mut world = World::new(Settings { addresses, ..settings() }, 2, &[trades()]);
            world.door = Box::new(|_, _| Door::Opens);
            world.run(2 * MINUTE);
            world.door = Box::new(move |address, _| match address {
                0 => Door::Fails(ended),
                _ => Door::Opens,
            });
            // Twice: at home, and where it serves then.
            for _ in 0..2 {
                let id = world.links.iter().find(|link| link.line == 0).unwrap().id;
                world.end(id, Ended::closed(1011, ""));
                world.run(2 * MINUTE);
                let states: Vec<_> = world.follower.states().collect();
                assert_eq!(states, [State::Following; 2], "{addresses}: {ended}");
                let link = world.links.iter().find(|link| link.line == 0).unwrap();
                assert_eq!(link.address, addresses - 1);
            }
            let faults: Vec<_> = world.follower.faults().collect();
            assert_eq!(faults[..2], [Some(ended), None]);
            assert_eq!(world.dials.len(), 5, "{:?}", world.dials);
        }
    }
}

/// The successor of a silent connection is refused, and the silent one speaks again.
#[test]
fn an_alarm_that_is_over_is_not_told_though_nothing_is_dialed() {
    let resume = Subscription { recovery: Recovery::Resume, ..Subscription::default() };
    let mut world = World::new(settings(), 1, &[resume]);
    world.run(2 * MINUTE);
    world.door = Box::new(|_, _| Door::Fails(refused(403)));
    world.follower.doubt(world.now);
    world.run(SECOND);
    assert_eq!(world.dials.len(), 2);
    let State::Alarm { until, .. } = world.state(0) else { panic!("{}", world.state(0)) };
    assert_eq!(world.poll(), until, "although nothing else is to be done then");
    world.run(75 * SECOND);
    assert_eq!(world.state(0), State::Following);
    assert_eq!(world.dials.len(), 2);
}

/// The connection that ends has served before, so it says nothing of the address.
#[test]
fn an_alarm_is_not_over_because_an_older_connection_ends() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 2, &[trades()]);
    world.run(2 * MINUTE);
    world.door = Box::new(|address, _| match address {
        0 => Door::Fails(refused(403)),
        _ => Door::Opens,
    });
    let cut = Ended::closed(1006, "");
    world.end(world.links[0].id, cut);
    world.run(SECOND);
    let refused = world.now;
    assert_eq!(world.dials.last().unwrap().2, 0);
    world.end(world.links[0].id, cut); // the other line's
    world.run(55 * SECOND);
    let after = world.dials.iter().filter(|(at, ..)| *at >= refused);
    assert!(after.clone().all(|(.., address)| *address == 1), "{:?}", world.dials);
    assert_ne!(after.count(), 0);
}

/// It was asked for when the connection was there already.
#[test]
fn the_retry_after_of_a_proxy_is_not_over_because_an_older_connection_ends() {
    let mut world = World::new(settings(), 0, &[trades()]);
    world.add_line(1, 3 * MINUTE, MINUTE);
    let proxy = Cause::Proxy { retry: Retry::BackOff, retry_after: 20 * MINUTE };
    world.door = Box::new(move |_, now| match now {
        Time::ZERO => Door::OpensFor(3 * MINUTE, Ended::closed(1006, "")),
        _ => Door::Fails(proxy.into()),
    });
    world.run(20 * MINUTE);
    assert_eq!(world.dials.len(), 2, "{:?}", world.dials);
}

/// Not by the delay of the successor that the exchange wants, though that is longer.
#[test]
fn an_alarm_is_not_over_because_the_exchange_ends_its_connections() {
    let mut world = World::new(settings(), 0, &[trades()]);
    let mut backoff = Backoff::seeded(1);
    backoff.first_delay = MINUTE;
    backoff.settled_after = HOUR; // no delay is a first one
    world.follower.add_line(backoff, Duration::MAX, Duration::ZERO);
    world.run(2 * MINUTE);
    world.door = Box::new(|_, _| Door::Fails(refused(403)));
    world.follower.doubt(world.now);
    world.run(45 * SECOND);
    let State::Alarm { until, .. } = world.state(0) else { panic!("{}", world.state(0)) };
    let id = world.links[0].id;
    world.follower.heard(id, Incoming::Ending, world.now, || unreachable!("no data"));
    world.follower.doubt(world.now);
    world.run(until - world.now);
    assert_eq!(world.dials.len(), 2);
    assert!(matches!(world.state(0), State::Alarm { .. }), "{}", world.state(0));
}

#[test]
fn what_held_a_dial_back_before_is_not_told() {
    let mut world = World::new(settings(), 1, &[trades()]);
    world.attempts = Attempts::new(1, 10 * SECOND);
    world.run(2 * MINUTE);
    world.door = Box::new(|_, _| Door::Fails(Ended::closed(1006, "")));
    world.topic = Box::new(|_, _, _| Topic::Dead);
    world.follower.doubt(world.now);
    world.run(5 * SECOND);
    assert_eq!(world.dials.len(), 2); // there is no third attempt yet
    world.end(world.links[0].id, Ended::closed(1012, ""));
    let wanted = world.now + 5 * SECOND;
    let state = world.state(0);
    assert!(matches!(state, State::Waiting { until, .. } if until >= wanted), "{state:?}");
}

#[test]
fn a_line_that_is_held_tells_its_own_last_end() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
    world.attempts = Attempts::new(1, 10 * SECOND);
    world.run(SECOND);
    let ended = Ended::closed(3000, "");
    world.end(world.links[0].id, ended);
    assert!(matches!(world.state(0), State::Held { after: Some(after), .. } if after == ended));
}

/// Nobody need be told of a refusal once the server says something else.
#[test]
fn an_address_has_its_fault_until_an_attempt_fails_otherwise() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 2, &[trades()]);
    world.door = Box::new(|address, now| match address {
        0 if now < Time::ZERO + 30 * SECOND => Door::Fails(refused(404)),
        0 => Door::Fails(refused(500)),
        _ => Door::Opens,
    });
    let faults = |world: &World| world.follower.faults().collect::<Vec<_>>();
    world.run(30 * SECOND);
    world.follower.go_on(world.now); // that is for what has stopped
    assert_eq!(faults(&world), [Some(refused(404)), None]);
    world.run(MINUTE);
    assert_eq!(faults(&world), [None; 2]);
}

/// One bad frame, or a message above a limit.
#[test]
fn a_bad_frame_after_a_settled_life_is_as_a_close() {
    for addresses in [1, 2] {
        let mut world = World::new(Settings { addresses, ..settings() }, 1, &[trades()]);
        world.interval = TICK;
        world.door = Box::new(|_, now| match now {
            Time::ZERO => {
                Door::OpensFor(2 * MINUTE, RecvError::Protocol(ProtocolError::BadUtf8).into())
            }
            _ => Door::Opens,
        });
        world.run(5 * MINUTE);
        let dark = world.dark(0, Time::ZERO + SECOND);
        assert!(dark <= FIRST_DELAY + 3 * TICK, "{dark:?}");
    }
    // Soon after opening it is an alarm, as before.
    let mut world = World::new(settings(), 1, &[trades()]);
    world.door =
        Box::new(|_, _| Door::OpensFor(SECOND, RecvError::Protocol(ProtocolError::BadUtf8).into()));
    world.run(30 * SECOND);
    assert!(matches!(world.state(0), State::Alarm { .. }));
}

/// Two lines, and both servers go wrong in turn: nobody waits beside an address that may be dialed.
#[test]
fn a_line_in_company_keeps_to_its_own_address() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 2, &[trades()]);
    let frozen = Door::Fails(Cause::HandshakeTimeout.into());
    world.door = Box::new(move |address, now| match (address, now - Time::ZERO) {
        (0, Duration::ZERO) => Door::OpensFor(2 * MINUTE, RecvError::PongTimeout.into()),
        (0, at) if at < 30 * MINUTE => frozen,
        _ => Door::Opens,
    });
    world.run(20 * MINUTE);
    let second = world.dials.iter().filter(|(_, line, _)| *line == 0);
    assert!(second.clone().all(|(.., address)| *address == 0) && second.count() > 10);
    // Its own server ends the other line's connection too.
    let id = world.links[0].id;
    world.end(id, Ended::closed(1012, ""));
    world.door = Box::new(move |address, _| if address == 1 { frozen } else { Door::Opens });
    world.run(SECOND);
    assert_eq!(world.links.len(), 1);
}

/// Each of two lines is away, and one is where the other belongs.
#[test]
fn a_line_goes_home_once_no_other_line_is_there() {
    let mut world = World::new(Settings { addresses: 3, ..settings() }, 2, &[trades()]);
    world.door = Box::new(|address, now| match (address, now - Time::ZERO) {
        (0, at) if at < SECOND / 2 => Door::Fails(Cause::ConnectionRefused.into()),
        (1, at) if at < 5 * SECOND => Door::Fails(Cause::ConnectionRefused.into()),
        _ => Door::Opens,
    });
    // The first line is not well before the second one is away too.
    world.topic =
        Box::new(|_, link, now| match link.address == 2 && now < Time::ZERO + 5 * SECOND {
            true => Topic::Dead,
            false => Topic::Serves,
        });
    world.run(MINUTE);
    let places = |world: &World| {
        let mut places: Vec<_> = world.links.iter().map(|link| (link.line, link.address)).collect();
        places.sort();
        places
    };
    assert_eq!(places(&world), [(0, 2), (1, 0)]);
    let dials = world.dials.len();
    world.run(25 * MINUTE);
    let dialed: Vec<_> = world.dials[dials..].iter().map(|(_, line, to)| (*line, *to)).collect();
    assert_eq!(dialed, [(1, 1), (0, 0)]);
    assert_eq!(places(&world), [(0, 0), (1, 1)]);
}

/// Its own server takes a line that is away, and does not keep it.
#[test]
fn a_line_does_not_go_home_again_and_again() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
    world.door = Box::new(|address, _| match address {
        0 => Door::OpensFor(SECOND, Ended::closed(1000, "")),
        _ => Door::Opens,
    });
    world.interval = 20 * SECOND; // so a successor is not level before it ends
    world.run(2 * HOUR);
    // It looks every ten minutes.
    assert!((8..=30).contains(&world.dials.len()), "{:?}", world.dials);
    assert!(world.dark(0, Time::ZERO + 5 * SECOND) <= 2 * world.interval);
}

/// The proxy is this machine's, but it may know the way to the other address. And once it has made
/// a tunnel that has settled, what it asked for before is of another time.
#[test]
fn the_retry_after_of_a_proxy_delays_no_free_dial() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
    world.interval = TICK;
    let proxy = Cause::Proxy { retry: Retry::BackOff, retry_after: 20 * MINUTE };
    let cut = Ended::closed(1006, "");
    world.door = Box::new(move |address, _| match address {
        0 => Door::Fails(proxy.into()),
        _ => Door::OpensFor(2 * MINUTE, cut),
    });
    world.run(10 * MINUTE);
    let dark = world.dark(0, Time::ZERO);
    assert!(dark <= FIRST_DELAY + 3 * TICK, "{dark:?}");
    // One that has not settled is no such proof.
    world.door = Box::new(move |address, _| match address {
        0 => Door::Fails(proxy.into()),
        _ => Door::OpensFor(SECOND, cut),
    });
    world.run(5 * MINUTE);
    let dark = world.dark(0, Time::ZERO);
    assert!(dark > MINUTE, "{dark:?}");
}

/// It marks no address, though the line stops or has the alarm.
#[test]
fn a_fault_of_this_machine_is_no_address_fault() {
    for cause in [Cause::System, Cause::Settings, Cause::Other(Retry::Alarm)] {
        let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
        world.door = Box::new(move |_, _| Door::Fails(cause.into()));
        world.run(MINUTE / 2);
        assert_eq!(world.dials.len(), 1, "{cause}");
        assert_eq!(world.follower.faults().flatten().next(), None, "{cause}");
    }
}

/// After a fault of another address, a line is at its own again, though another one is free too.
#[test]
fn a_line_whose_other_address_fails_goes_to_its_own_first() {
    let mut world = World::new(Settings { addresses: 3, ..settings() }, 1, &[trades()]);
    world.door = Box::new(|address, now| match (address, now) {
        (0, Time::ZERO) => Door::Fails(refused(403)),
        (1, Time::ZERO) => Door::OpensFor(2 * MINUTE, Ended::closed(1012, "")),
        _ => Door::Opens,
    });
    world.run(3 * MINUTE);
    let dialed: Vec<_> = world.dials.iter().map(|(.., address)| *address).collect();
    assert_eq!(dialed, [0, 1, 0]);
}
