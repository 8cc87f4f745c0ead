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

/// All addresses do the same: the delays are the line's, and what people mend is dialed less often.
#[test]
fn addresses_at_fault_are_dialed_at_the_pace_of_the_line() {
    for (n, door) in doors().into_iter().enumerate() {
        let dials = [1, 2, 8].map(|addresses| {
            let mut world = World::new(Settings { addresses, ..settings() }, 1, &[trades()]);
            world.door = Box::new(move |_, _| door);
            world.run(20 * MINUTE);
            worst(&world.dials)
        });
        assert!(dials.iter().all(|dials| *dials <= 100), "{n}: {dials:?}");
        let is_slow = matches!(door, Door::Fails(ended) if ended.retry() != Retry::BackOff);
        assert!(dials[0] <= 36 || !is_slow, "{n}: {dials:?}");
    }
}

/// The other line has a key of its own, or the same.
#[test]
fn a_refused_key_is_tried_four_times_in_five_minutes() {
    for (lines, is_shared) in [(1, false), (2, false), (2, true)] {
        let mut world = World::new(Settings { addresses: 4, ..settings() }, 0, &[trades()]);
        let key = world.attempts.key();
        for line in 0..lines {
            let backoff = Backoff::seeded(line).trading();
            world.follower.add_line(backoff, Duration::MAX, Duration::ZERO);
            if is_shared {
                world.follower.share_key(line as usize, key);
            }
        }
        world.door = Box::new(move |_, _| Door::Fails(refused(401)));
        world.run(DAY);
        // One was on the way when the shared key was refused first.
        let keys = if is_shared { 1 } else { lines as usize };
        assert!(worst(&world.dials) <= 4 * keys, "{:?}", world.dials);
        assert!(world.dials.len() <= 100 * keys, "{}", world.dials.len());
        assert!(world.follower.states().all(|state| matches!(state, State::Alarm { .. })));
        world.door = Box::new(|_, _| Door::Opens);
        (0..lines as usize).for_each(|line| world.follower.new_key(line));
        world.run(2 * MINUTE);
        assert_eq!(world.links.len() as u64, lines);
    }
}

/// It goes where no other line is, and otherwise waits.
#[test]
fn a_line_in_company_leaves_its_address_for_one_that_nobody_uses() {
    for addresses in [2, 3] {
        let ended = Cause::CertificateRefused.into();
        let mut world = World::new(Settings { addresses, ..settings() }, 2, &[trades()]);
        world.door = Box::new(|_, _| Door::Opens);
        world.run(2 * MINUTE);
        world.door = Box::new(move |address, _| match address {
            0 => Door::Fails(ended),
            _ => Door::Opens,
        });
        let id = world.links.iter().find(|link| link.line == 0).unwrap().id;
        world.end(id, Ended::closed(1011, ""));
        world.run(10 * MINUTE);
        let places: Vec<_> = world.links.iter().map(|link| (link.line, link.address)).collect();
        let state = world.state(0);
        match addresses {
            2 => {
                assert_eq!(places, [(1, 1)]);
                assert!(matches!(state, State::Alarm { after, .. } if after == ended), "{state}");
                assert_eq!(world.follower.faults().collect::<Vec<_>>(), [Some(ended), None]);
            }
            _ => {
                assert_eq!(places, [(1, 1), (0, 2)]);
                assert_eq!(state, State::Following);
                assert_eq!(world.follower.faults().flatten().next(), None, "refused once");
            }
        }
        assert_eq!(world.state(1), State::Following);
    }
}

/// The connection that ends has served before, so it says nothing of the address.
#[test]
fn a_row_is_not_over_because_an_older_connection_ends() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 2, &[trades()]);
    world.run(2 * MINUTE);
    world.door = Box::new(|address, _| match address {
        0 => Door::Fails(refused(403)),
        _ => Door::Opens,
    });
    let cut = Ended::closed(1006, "");
    world.end(world.links[0].id, cut);
    world.run(10 * SECOND);
    let refused = world.dials.iter().filter(|(.., address)| *address == 0).count();
    assert_eq!(refused, 1 + 4, "after 1, 2 and 4 s");
    let from = world.now;
    world.end(world.links[0].id, cut); // the other line's
    world.run(20 * SECOND);
    let dials = world.dials.iter().filter(|(at, ..)| *at >= from);
    assert!(dials.clone().any(|(.., address)| *address == 1));
    let again: Vec<_> = dials.filter(|(.., address)| *address == 0).map(|(at, ..)| *at).collect();
    assert!(again.len() <= 2, "as before: {again:?}");
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

#[test]
fn what_held_a_dial_back_before_is_not_told() {
    let mut world = World::new(settings(), 1, &[trades()]);
    world.attempts = Attempts::new(1, 10 * SECOND);
    world.run(2 * MINUTE);
    world.door = Box::new(|_, _| Door::Fails(Ended::closed(1006, "")));
    world.topic = Box::new(|_, _, _| Topic::Dead);
    world.follower.renew(0, world.now);
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
    let ended = Ended::closed(1011, "");
    world.end(world.links[0].id, ended);
    assert!(matches!(world.state(0), State::Held { after: Some(after), .. } if after == ended));
}

/// Whatever the ends were, until a life there has settled.
#[test]
fn an_address_has_its_fault_from_its_second_end_until_a_life_there_has_settled() {
    let mut world = World::new(Settings { addresses: 2, ..settings() }, 2, &[trades()]);
    world.door = Box::new(|address, now| match address {
        0 if now < Time::ZERO + SECOND / 2 => Door::Fails(refused(404)),
        0 if now < Time::ZERO + 30 * SECOND => Door::Fails(refused(500)),
        _ => Door::Opens,
    });
    let faults = |world: &World| world.follower.faults().collect::<Vec<_>>();
    assert_eq!(faults(&world), [None; 2]);
    world.run(SECOND / 2);
    assert_eq!(faults(&world), [None; 2]);
    world.run(20 * SECOND);
    assert_eq!(faults(&world), [Some(refused(500)), None]);
    world.run(65 * SECOND);
    assert_eq!(world.links.len(), 2);
    assert_eq!(faults(&world), [Some(refused(500)), None]);
    world.run(35 * SECOND);
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
    // Soon after opening it is a short life.
    let mut world = World::new(settings(), 1, &[trades()]);
    world.door =
        Box::new(|_, _| Door::OpensFor(SECOND, RecvError::Protocol(ProtocolError::BadUtf8).into()));
    world.run(5 * MINUTE);
    assert!(world.dark(0, Time::ZERO + SECOND) <= 6 * SECOND);
    assert!(worst(&world.dials) <= 90);
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
    let from = world.now;
    world.run(5 * MINUTE);
    assert!(world.dark(0, from) <= 6 * SECOND, "at the line's own delays");
    let proxied = world.dials.iter().filter(|(at, _, address)| *at > from && *address == 0);
    assert!(proxied.count() <= 1);
}

/// It marks no address, though the line stops or has the alarm.
#[test]
fn a_fault_of_this_machine_is_no_address_fault() {
    for cause in [Cause::System, Cause::Settings, Cause::Other(Retry::Alarm)] {
        let mut world = World::new(Settings { addresses: 2, ..settings() }, 1, &[trades()]);
        world.door = Box::new(move |_, _| Door::Fails(cause.into()));
        world.run(MINUTE / 2);
        match cause {
            Cause::Settings => assert!(matches!(world.state(0), State::Stopped { .. })),
            _ => assert!(matches!(world.state(0), State::Alarm { .. })),
        }
        // At the pace of what people mend, not once for each address.
        let most = if cause == Cause::Settings { 1 } else { 6 };
        assert!(world.dials.len() <= most, "{cause}: {:?}", world.dials);
        assert_eq!(world.follower.faults().flatten().next(), None, "{cause}");
    }
}

/// A clean address comes before one at which something was wrong, though that is the line's own.
#[test]
fn a_line_whose_other_address_fails_goes_to_a_clean_one_first() {
    let mut world = World::new(Settings { addresses: 3, ..settings() }, 1, &[trades()]);
    world.door = Box::new(move |address, now| match (address, now) {
        (0, Time::ZERO) => Door::Fails(refused(403)),
        (1, Time::ZERO) => Door::OpensFor(2 * MINUTE, Ended::closed(1012, "")),
        _ => Door::Opens,
    });
    world.run(10 * MINUTE);
    let dialed: Vec<_> = world.dials.iter().map(|(.., address)| *address).collect();
    assert_eq!(dialed, [0, 1, 2]);
}
