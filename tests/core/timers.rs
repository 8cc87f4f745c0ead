//! Every deadline, on a virtual clock (PROTOCOL.md 13).
use crate::support::wire::*;
use bytes::Buf;
use std::time::Duration;
use tickwire::{Config, Connection, Heartbeat, ReadyState, RecvError, Time};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Time {
    Time::new(SECOND * seconds as u32)
}

/// Drives a connection alone from deadline to deadline, writing all it has at once, until it
/// fails, or until `end`; says when and how.
fn until(conn: &mut Connection, mut now: Duration, end: Duration) -> (Duration, Option<RecvError>) {
    for _ in 0..10_000 {
        drain(conn);
        match conn.poll_timeout().map(|at| at - Time::ZERO) {
            Some(due) if due > end => return (end, None),
            None => return (end, None),
            Some(due) => now = now.max(due),
        }
        if let Err(error) = conn.handle_timeout(Time::new(now)) {
            assert_eq!(conn.step(), Err(error));
            return (now, Some(error));
        }
    }
    panic!("the deadlines do not move on");
}

#[test]
fn a_connection_without_deadlines_needs_no_time() {
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        assert_eq!(conn.poll_timeout(), None);
        receive(&mut conn, &to(role, TEXT, "x"));
        conn.sender_mut().feed("x").unwrap();
        assert_eq!(conn.poll_timeout(), None);
        conn.handle_timeout(at(1_000_000)).unwrap();
        assert_eq!(conn.poll_timeout(), None);
    }
}

#[test]
fn a_frame_has_to_be_whole_in_time() {
    // A25: from its first byte, whatever trickles in, header, payload or control frame.
    let config = Config { frame_timeout: 10 * SECOND, ..Config::default() };
    for role in ROLES {
        for wire in [
            to(role, BINARY, vec![1; times(70_000, 1000)]),
            to(role, BINARY, vec![1; 300]),
            to(role, TEXT, "x".repeat(300)),
            to(role, TEXT_OPEN, "x".repeat(300)),
            to(role, PING, [1; 125]),
        ] {
            let mut conn = connection(role, &config);
            feed(&mut conn, &wire[..1]);
            events(&mut conn);
            assert_eq!(conn.poll_timeout(), Some(Time::ZERO));
            conn.handle_timeout(at(100)).unwrap();
            for i in 1..10 {
                assert_eq!(conn.poll_timeout(), Some(at(110)));
                feed(&mut conn, &wire[i..=i]);
                assert_eq!(events(&mut conn), []);
                conn.handle_timeout(at(100 + i as u64)).unwrap();
            }
            assert_eq!(conn.handle_timeout(at(110)), Err(RecvError::FrameTimeout));
            assert_eq!(events(&mut conn), [Seen::Failed(RecvError::FrameTimeout)]);
            assert_eq!((conn.poll_timeout(), conn.ready_state()), (None, ReadyState::Closed));
            assert!(!conn.sender().has_outgoing());
        }
    }
}

#[test]
fn the_frame_timer_starts_again_for_each_frame() {
    let config = Config { frame_timeout: 10 * SECOND, ..Config::default() };
    for role in ROLES {
        let mut conn = connection(role, &config);
        let wire = to(role, BINARY, [7; 50]);
        // Each read ends one frame and begins the next; each takes 9 s.
        let (mut now, half) = (0, wire.len() / 2);
        feed(&mut conn, &wire[..half]);
        for _ in 0..20 {
            events(&mut conn);
            conn.handle_timeout(at(now)).unwrap();
            assert_eq!(conn.poll_timeout(), Some(at(now + 10)));
            now += 9;
            feed(&mut conn, &[&wire[half..], &wire[..half]].concat());
            assert_eq!(next(&mut conn), Some(binary([7; 50])));
        }
        // Between frames it does not run, between fragments neither.
        let mut conn = connection(role, &config);
        receive(&mut conn, &to(role, TEXT_OPEN, "open"));
        assert_eq!(conn.poll_timeout(), None);
        conn.handle_timeout(at(1000)).unwrap();
        assert_eq!(receive(&mut conn, &to(role, CONT, "")), [text("open")]);
    }
}

#[test]
fn a_stream_that_refuses_every_byte_is_given_up() {
    let config = Config { write_timeout: 10 * SECOND, ..Config::default() };
    for role in ROLES {
        let mut conn = connection(role, &config);
        conn.write_blocked(); // nothing to write: nothing refused
        assert_eq!(conn.poll_timeout(), None);
        conn.sender_mut().feed("stuck").unwrap();
        assert_eq!(conn.poll_timeout(), None); // not from `feed`
        conn.write_blocked();
        assert_eq!(conn.poll_timeout(), Some(Time::ZERO));
        conn.handle_timeout(at(5)).unwrap();
        conn.write_blocked();
        assert_eq!(conn.poll_timeout(), Some(at(15)));
        conn.handle_timeout(at(14)).unwrap();
        write(&mut conn, 1); // progress
        assert_eq!(conn.poll_timeout(), None);
        conn.write_blocked();
        conn.handle_timeout(at(16)).unwrap();
        assert_eq!(conn.poll_timeout(), Some(at(26)));
        conn.set_paused(true); // it runs while nobody reads
        assert_eq!(conn.poll_timeout(), Some(at(26)));
        let unsent = conn.sender().buffered_amount() as u64;
        assert_eq!(conn.handle_timeout(at(26)), Err(RecvError::WriteTimeout));
        assert_eq!(conn.step(), Err(RecvError::WriteTimeout));
        assert_eq!((conn.sender().dropped(), conn.poll_timeout()), (unsent, None));
        assert_eq!(conn.ready_state(), ReadyState::Closed);
    }
}

#[test]
fn a_write_of_no_bytes_is_no_progress() {
    let mut conn = server(&Config { write_timeout: 10 * SECOND, ..Config::default() });
    conn.sender_mut().feed("stuck").unwrap();
    conn.write_blocked();
    conn.handle_timeout(at(0)).unwrap();
    conn.sender_mut().outgoing().advance(0);
    conn.write_blocked();
    assert_eq!(conn.handle_timeout(at(10)), Err(RecvError::WriteTimeout));
}

#[test]
fn the_peer_has_to_answer_our_close_in_time() {
    // P073, P075, A31: also when it trickles data, and when our Close cannot be written.
    let config = Config { close_timeout: 5 * SECOND, ..Config::default() };
    for role in ROLES {
        for written in [false, true] {
            let mut conn = connection(role, &config);
            conn.sender_mut().close(None).unwrap();
            if written {
                drain(&mut conn);
            }
            assert_eq!(conn.poll_timeout(), Some(Time::ZERO));
            conn.handle_timeout(at(1)).unwrap();
            for second in 2..6 {
                assert_eq!(receive(&mut conn, &to(role, TEXT, "more")), [text("more")]);
                conn.handle_timeout(at(second)).unwrap();
                assert_eq!(conn.poll_timeout(), Some(at(6)));
            }
            assert_eq!(conn.handle_timeout(at(6)), Err(RecvError::CloseTimeout));
            assert_eq!(conn.step(), Err(RecvError::CloseTimeout));
            assert_eq!(code_of(conn.closed()), (1006, false));
            assert_eq!(conn.poll_timeout(), None);
        }
    }
}

#[test]
fn the_last_phases_are_bounded_too() {
    // P071, P075: peers that do not read our Close, or do not end the stream.
    use tickwire::{Ending, Role};
    let config = Config { close_timeout: 5 * SECOND, ..Config::default() };
    for role in ROLES {
        for fails in [false, true] {
            let bytes = if fails { to(role, 0x83, "") } else { to(role, CLOSE, "") };
            let mut conn = connection(role, &config);
            receive(&mut conn, &bytes);
            conn.handle_timeout(at(10)).unwrap();
            let bound = if fails { 1 } else { 5 };
            assert_eq!(conn.poll_timeout(), Some(at(10 + bound)), "flush {role:?} {fails}");
            let told = conn.handle_timeout(at(10 + bound));
            assert!(told.is_err());
            assert_eq!((conn.ending(), conn.ready_state()), (Ending::Done, ReadyState::Closed));
            assert!(!conn.closed().is_some_and(|end| end.clean) && conn.poll_timeout().is_none());

            let mut conn = connection(role, &config);
            receive(&mut conn, &bytes);
            drain(&mut conn);
            if conn.ending() == Ending::ShutDown {
                conn.shut_down();
            }
            assert_eq!(conn.ending(), Ending::Discard);
            conn.handle_timeout(at(10)).unwrap();
            let bound = if role == Role::Client && !fails { 5 } else { 1 };
            assert_eq!(conn.poll_timeout(), Some(at(10 + bound)), "discard {role:?} {fails}");
            feed(&mut conn, &[0; 1000]);
            conn.handle_timeout(at(10 + bound)).unwrap();
            assert_eq!((conn.ending(), conn.poll_timeout()), (Ending::Done, None));
            assert_eq!(conn.closed().is_some_and(|end| end.clean), !fails);
        }
    }
}

#[test]
fn a_dead_peer_is_found_in_time_whatever_the_phase() {
    // P204: within 1.25 * interval + timeout after its last byte, and not before interval +
    // timeout.
    let (interval, timeout) = (8 * SECOND, 3 * SECOND);
    let config = Config { heartbeat: Some(Heartbeat::new(interval, timeout)), ..Config::default() };
    for role in ROLES {
        for phase in (0..160u32).step_by(every(81)) {
            let last = Duration::from_millis(125) * phase;
            let mut conn = connection(role, &config);
            conn.handle_timeout(Time::ZERO).unwrap();
            let (_, error) = until(&mut conn, Duration::ZERO, last.min(7 * SECOND));
            assert_eq!(error, None);
            // Keep it alive up to `last`.
            let mut now = Duration::from_millis(6500).min(last);
            while now < last {
                receive(&mut conn, &to(role, PONG, ""));
                let (_, error) = until(&mut conn, now, (now + SECOND).min(last));
                assert_eq!(error, None, "phase {phase}");
                now = (now + SECOND).min(last);
            }
            receive(&mut conn, &to(role, BINARY, "last sign"));
            let (found, error) = until(&mut conn, last, last + 1000 * SECOND);
            assert_eq!(error, Some(RecvError::PongTimeout));
            let took = found - last;
            assert!(took <= interval * 5 / 4 + timeout, "{role:?} {phase}: {took:?}");
            assert!(took >= interval + timeout, "{role:?} {phase}: {took:?}");
            assert!(
                !conn.sender().has_outgoing() && conn.closed().map_or(1006, |end| end.code) == 1006
            );
        }
    }
}

#[test]
fn a_look_that_comes_late_makes_no_later_one_late() {
    // As with a thread that was in a read when the deadline passed: up to a twentieth of the
    // interval, here 1 s. The Ping is owed within 1.2 intervals all the same.
    let (interval, timeout) = (20 * SECOND, 3 * SECOND);
    let config = Config { heartbeat: Some(Heartbeat::new(interval, timeout)), ..Config::default() };
    for role in ROLES {
        for phase in (0..80u32).step_by(every(41)) {
            let last = 20 * SECOND + Duration::from_millis(100) * phase;
            let mut conn = connection(role, &config);
            let mut now = Duration::ZERO;
            while now < last {
                receive(&mut conn, &to(role, PONG, ""));
                now = (now + SECOND / 2).min(last);
                let _ = until(&mut conn, now, now);
            }
            receive(&mut conn, &to(role, BINARY, "last sign"));
            let due = (conn.poll_timeout().expect("a deadline") - Time::ZERO).max(last);
            conn.handle_timeout(Time::new(due + SECOND)).unwrap();
            let (found, error) = until(&mut conn, due + SECOND, last + 1000 * SECOND);
            assert_eq!(error, Some(RecvError::PongTimeout));
            let took = found - last;
            assert!(took <= interval * 6 / 5 + timeout, "{role:?} {phase}: {took:?}");
            assert!(took >= interval * 19 / 20 + timeout, "{role:?} {phase}: {took:?}");
        }
    }
}

#[test]
fn any_byte_is_a_sign_of_life_and_a_live_peer_is_not_pinged() {
    // P205
    let config =
        Config { heartbeat: Some(Heartbeat::new(8 * SECOND, 3 * SECOND)), ..Config::default() };
    for role in ROLES {
        let mut conn = connection(role, &config);
        let wire = to(role, BINARY, [1; 200]);
        for (i, byte) in wire.iter().enumerate().take(40) {
            feed(&mut conn, &[*byte]);
            assert_eq!(events(&mut conn), []);
            let now = i as u64;
            while conn.poll_timeout().is_some_and(|t| t <= at(now)) {
                conn.handle_timeout(at(now)).unwrap();
            }
            assert!(!conn.sender().has_outgoing(), "pinged at {now} s");
        }
    }
}

#[test]
fn two_live_ends_keep_each_other_alive_for_ever() {
    let config =
        Config { heartbeat: Some(Heartbeat::new(8 * SECOND, 3 * SECOND)), ..Config::default() };
    let mut pair = Pair::new(&config);
    let intervals = times(125, 6);
    pair.advance(8 * intervals as u32 * SECOND);
    for role in ROLES {
        let end = pair.end(role);
        assert_eq!(end.conn.ready_state(), ReadyState::Open);
        assert!(end.seen.len() > intervals * 2 / 5);
        assert!(end.seen.iter().all(|e| matches!(e, Seen::Ping(_) | Seen::Pong(_))));
        assert_eq!(end.conn.sender().rtt().unwrap().latest, Duration::ZERO); // on this clock
    }
    // A peer that hears and answers nothing is found.
    pair.server.deaf = true;
    pair.server.conn.set_paused(true);
    pair.advance(14 * SECOND);
    assert_eq!(pair.client.seen.last(), Some(&Seen::Failed(RecvError::PongTimeout)));
}

#[test]
fn the_pong_is_awaited_only_from_when_the_ping_was_written() {
    let config = Config {
        heartbeat: Some(Heartbeat::new(8 * SECOND, 3 * SECOND)),
        high_water: 10,
        ..Config::default()
    };
    for role in ROLES {
        let mut conn = connection(role, &config);
        conn.sender_mut().feed(&vec![1; 100]).unwrap(); // full, which does not refuse the ping
        let mut out = write(&mut conn, 3);
        for second in 0..100 {
            conn.handle_timeout(at(second)).unwrap();
        }
        out.extend(drain(&mut conn));
        assert_eq!(sent(&out)[1].0, PING);
        assert_eq!(conn.poll_timeout(), Some(Time::ZERO));
        conn.handle_timeout(at(100)).unwrap();
        let look = at(100) + 8 * SECOND / 5; // whether something came
        assert_eq!(conn.poll_timeout(), Some(look));
        conn.handle_timeout(look).unwrap();
        assert_eq!(conn.poll_timeout(), Some(at(103)));
        assert_eq!(conn.handle_timeout(at(103)), Err(RecvError::PongTimeout));
    }
}

#[test]
fn while_paused_silence_is_not_held_against_the_peer() {
    let config = Config {
        heartbeat: Some(Heartbeat::new(8 * SECOND, 3 * SECOND)),
        frame_timeout: 10 * SECOND,
        ..Config::default()
    };
    for role in ROLES {
        // In every state: listening, pinged, inside a frame.
        for (pause_at, partial) in [(1, false), (5, false), (9, false), (5, true)] {
            let mut conn = connection(role, &config);
            let wire = to(role, TEXT, "partial");
            if partial {
                receive(&mut conn, &wire[..5]);
            }
            let end = SECOND * pause_at as u32;
            assert_eq!(until(&mut conn, Duration::ZERO, end).1, None);
            conn.set_paused(true);
            assert!(conn.poll_timeout().is_none_or(|t| t == Time::ZERO));
            conn.handle_timeout(at(pause_at)).unwrap();
            assert_eq!(conn.poll_timeout(), None);
            conn.handle_timeout(at(500)).unwrap();
            conn.set_paused(false);
            conn.handle_timeout(at(500)).unwrap();
            drain(&mut conn);
            conn.handle_timeout(at(500)).unwrap();
            assert!(conn.poll_timeout().is_some_and(|t| t > at(500)), "{role:?} {pause_at}");
            let (found, error) = until(&mut conn, 500 * SECOND, 600 * SECOND);
            // Pinged at 8 it has 2 s left; before, it is pinged first.
            let least = if pause_at == 9 { 502 } else { 503 };
            assert!(error.is_some() && found >= least * SECOND, "{found:?}");
        }
        // Closing is bounded even then.
        let mut conn = connection(role, &config);
        conn.set_paused(true);
        conn.sender_mut().close(None).unwrap();
        conn.handle_timeout(at(0)).unwrap();
        assert_eq!(conn.handle_timeout(at(5)), Err(RecvError::CloseTimeout));
    }
}

/// As at a server whose every send waits a little, because the peer likes it so.
#[test]
fn pauses_put_a_deadline_off_by_as_long_and_no_longer() {
    let beat = Heartbeat::new(8 * SECOND, 3 * SECOND);
    for (config, partial, most) in [
        (Config { frame_timeout: 10 * SECOND, ..Config::default() }, true, 21),
        (
            Config { heartbeat: Some(beat), frame_timeout: 99 * SECOND, ..Config::default() },
            false,
            17,
        ),
    ] {
        for role in ROLES {
            let mut conn = connection(role, &config);
            if partial {
                receive(&mut conn, &to(role, TEXT, "partial")[..5]);
            }
            // Each second half of a second.
            let ended = (0..100 * 4).find_map(|quarter| {
                conn.set_paused(quarter % 4 >= 2);
                let now = Time::new(quarter * SECOND / 4);
                drain(&mut conn);
                for _ in 0..3 {
                    if let Err(error) = conn.handle_timeout(now) {
                        return Some((quarter / 4, error));
                    }
                }
                None
            });
            let expected = if partial { RecvError::FrameTimeout } else { RecvError::PongTimeout };
            let Some((second, error)) = ended else { panic!("{expected:?} never came") };
            assert_eq!(error, expected);
            assert!((most - 3..=most).contains(&second), "{second}");
        }
    }
}

#[test]
fn a_pause_asks_for_the_time_only_where_it_puts_something_off() {
    let beat = Heartbeat::new(8 * SECOND, 3 * SECOND);
    let config = Config { heartbeat: Some(beat), frame_timeout: 99 * SECOND, ..Config::default() };
    for role in ROLES {
        let wire = to(role, TEXT, "partial");
        let asks = |conn: &mut Connection| {
            conn.set_paused(true);
            conn.poll_timeout() == Some(Time::ZERO)
        };
        // Nothing is expected; a Pong is; none any more.
        let mut conn = connection(role, &config);
        assert_eq!(until(&mut conn, Duration::ZERO, 7 * SECOND).1, None);
        assert!(!asks(&mut conn));
        conn.set_paused(false);
        conn.handle_timeout(at(8)).unwrap();
        drain(&mut conn);
        conn.handle_timeout(at(8)).unwrap();
        assert!(asks(&mut conn), "{role:?}, pinged");
        conn.handle_timeout(at(8)).unwrap();
        assert!(!asks(&mut conn), "{role:?}, told");
        conn.set_paused(false);
        assert_eq!(conn.poll_timeout(), Some(Time::ZERO), "{role:?}, over");
        // The frame's deadline does not run yet; it does; the frame is whole.
        for (armed, rest, expected) in
            [(false, 0, false), (true, 0, true), (true, wire.len() - 5, false)]
        {
            let mut conn = connection(role, &config);
            conn.handle_timeout(at(0)).unwrap();
            feed(&mut conn, &wire[..5]);
            events(&mut conn);
            if armed {
                conn.handle_timeout(at(1)).unwrap();
            }
            feed(&mut conn, &wire[5..5 + rest]);
            events(&mut conn);
            assert_eq!(asks(&mut conn), expected, "{role:?} {armed} {rest}");
        }
    }
}

#[test]
fn huge_durations_never_come() {
    // A86
    let config = Config {
        heartbeat: Some(Heartbeat::new(Duration::MAX, Duration::MAX)),
        frame_timeout: Duration::MAX,
        write_timeout: Duration::MAX,
        close_timeout: Duration::MAX,
        ..Config::default()
    };
    for role in ROLES {
        let mut conn = connection(role, &config);
        let far = Time::new(Duration::MAX - SECOND);
        receive(&mut conn, &to(role, TEXT, "x")[..3]);
        conn.sender_mut().feed("x").unwrap();
        conn.write_blocked();
        for _ in 0..10 {
            conn.handle_timeout(far).unwrap();
            assert!(conn.poll_timeout().is_none_or(|t| t > far));
        }
        conn.sender_mut().close(None).unwrap();
        conn.handle_timeout(far).unwrap();
        conn.handle_timeout(far).unwrap();
        assert_eq!(conn.ready_state(), ReadyState::Closing);
    }
    assert_eq!(Time::new(Duration::MAX) + SECOND, Time::new(Duration::MAX));
    assert_eq!(Time::ZERO - at(5), Duration::ZERO);
}

#[test]
fn telling_the_time_early_and_often_changes_nothing() {
    let config =
        Config { heartbeat: Some(Heartbeat::new(8 * SECOND, 3 * SECOND)), ..Config::default() };
    for role in ROLES {
        let mut conn = connection(role, &config);
        let mut now = Duration::ZERO;
        let found = loop {
            drain(&mut conn);
            if conn.handle_timeout(Time::new(now)).is_err() {
                break now;
            }
            now += Duration::from_millis(10);
        };
        assert!(found >= 11 * SECOND && found <= 13 * SECOND, "{found:?}");
    }
}

#[test]
fn a_commit_of_no_bytes_is_no_sign_of_life() {
    let config =
        Config { heartbeat: Some(Heartbeat::new(8 * SECOND, 3 * SECOND)), ..Config::default() };
    let mut conn = server(&config);
    for second in 0..30 {
        conn.receiver_mut().spare_mut();
        conn.receiver_mut().commit(0);
        drain(&mut conn);
        if conn.handle_timeout(at(second)).is_err() {
            return;
        }
    }
    panic!("a dead peer was not found");
}

#[test]
fn presets_find_a_dead_peer_in_the_time_they_name() {
    let seconds = |n: f64| Duration::from_secs_f64(n);
    for (preset, ping, dead) in [
        (Heartbeat::BEHIND_PROXIES, [20.0, 24.0], 45.0),
        (Heartbeat::TRADING, [1.0, 1.2], 3.25),
        (Heartbeat::PHONE, [240.0, 288.0], 330.0),
    ] {
        for role in ROLES {
            let mut conn =
                connection(role, &Config { heartbeat: Some(preset), ..Config::default() });
            conn.handle_timeout(Time::ZERO).unwrap();
            let mut now = Duration::ZERO;
            while !conn.sender().has_outgoing() {
                now = conn.poll_timeout().unwrap() - Time::ZERO;
                conn.handle_timeout(Time::new(now)).unwrap();
            }
            assert!(now >= seconds(ping[0]) && now <= seconds(ping[1]), "{preset:?} {now:?}");
            let (found, error) = until(&mut conn, now, 1000 * SECOND);
            assert_eq!(error, Some(RecvError::PongTimeout));
            assert!(found <= seconds(dead), "{preset:?} {found:?}");
        }
    }
}

#[test]
fn saying_again_that_reading_goes_on_gives_no_more_time() {
    let config = Config {
        frame_timeout: 10 * SECOND,
        heartbeat: Some(Heartbeat::new(1000 * SECOND, 1000 * SECOND)),
        ..Config::default()
    };
    for role in ROLES {
        let mut conn = connection(role, &config);
        receive(&mut conn, &to(role, BINARY, [7; 50])[..3]);
        for second in 0..10 {
            conn.set_paused(false);
            conn.handle_timeout(at(second)).unwrap();
        }
        conn.set_paused(false);
        assert_eq!(conn.handle_timeout(at(10)), Err(RecvError::FrameTimeout));
    }
}

#[test]
fn a_pong_is_not_missed_once_our_close_is_on_its_way() {
    // The close timer runs, and it alone.
    let config = Config {
        close_timeout: 20 * SECOND,
        heartbeat: Some(Heartbeat::new(SECOND, SECOND)),
        ..Config::default()
    };
    for role in ROLES {
        let mut conn = connection(role, &config);
        let mut now = Duration::ZERO;
        while drain(&mut conn).is_empty() {
            conn.handle_timeout(Time::new(now)).unwrap();
            now += SECOND / 10;
        }
        conn.handle_timeout(Time::new(now)).unwrap(); // the Pong is awaited, within a second
        conn.sender_mut().close(None).unwrap();
        drain(&mut conn);
        for later in 0..20 {
            conn.handle_timeout(Time::new(now + later * SECOND)).unwrap();
        }
        let end = Time::new(now + 20 * SECOND);
        assert_eq!(conn.handle_timeout(end), Err(RecvError::CloseTimeout));
    }
}
