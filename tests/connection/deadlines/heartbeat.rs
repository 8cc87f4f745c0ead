//! A peer is pinged when it is silent, and cut if and only if it was silent at its own side, within
//! the bounds of LIMITS: an independent model of the judge of silence. `TESTS=all` runs more cases.
#[cfg(all(feature = "tokio", not(miri)))]
mod tokio;

use super::{SECOND, at, until};
use crate::support::{distant::*, silence::*, wire::*};
use bytes::Buf;
use std::time::Duration;
use tickwire::{Config, Heartbeat, Next, ReadyState, RecvError, Report, Role, Time};

struct Program {
    watched: Watched,
    most_sleeps: usize,
}

impl Program {
    fn may_sleep(&mut self) {
        let Self { watched, most_sleeps } = self;
        if *most_sleeps > 0 && watched.rng.once_in(watched.case.sleeps) {
            *most_sleeps -= 1;
            let time = watched.rng.below(watched.case.sleep);
            watched.is_away(time);
            watched.pass(time);
        }
    }

    fn read(&mut self, to: &mut [u8]) -> Option<usize> {
        self.may_sleep();
        let n = self.watched.read(to);
        self.watched.pass(self.watched.case.read);
        n
    }

    /// Runs until the connection fails, or the bound has passed.
    fn run(mut self) {
        let mut conn = connection(Role::Client, &self.watched.case.config());
        while conn.closed().is_none() {
            self.watched.must_still_wait();
            if self.watched.now > self.watched.case.ends {
                return; // it lives, and was not cut
            }
            let mut blocked = false;
            match conn.next(Time::new(Duration::from_micros(self.watched.now))) {
                Next::Event(..) => {
                    let message = self.watched.case.message;
                    self.watched.is_away(message);
                    self.watched.pass(message);
                    self.may_sleep();
                }
                Next::Write(mut out) => {
                    self.watched.peer.write(out.chunk());
                    let n = out.chunk().len();
                    out.advance(n);
                }
                Next::Read(rx) => match self.read(rx.spare_mut()) {
                    Some(n) => rx.commit(n),
                    None => blocked = true,
                },
                Next::Wait(wait) => {
                    let until = wait.until.map_or(NEVER, |at| (at - Time::ZERO).as_micros() as u64);
                    let Watched { case, peer, now, .. } = &mut self.watched;
                    while *now < until && !peer.is_readable() {
                        *now = peer.next().clamp(*now, until);
                        assert_ne!(*now, NEVER, "it waits for ever: {case:?}");
                        peer.pass(*now);
                    }
                }
                Next::ShutDown | Next::Over(_) => break,
            }
            if blocked {
                conn.report(Report::ReadBlocked);
            }
        }
        let error = conn.closed().and_then(|end| end.error);
        self.watched.was_silent(error);
    }
}

#[test]
fn a_peer_is_cut_if_and_only_if_it_was_silent() {
    let cases = times(sampled(50_000, 1000), 5);
    for seed in 0..cases as u64 {
        Program { watched: Watched::new(seed), most_sleeps: 8 }.run();
    }
}

#[test]
fn two_live_ends_keep_each_other_alive_for_ever() {
    let config = with_heartbeat(8 * SECOND, 3 * SECOND);
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
    let config = Config { high_water: 10, ..with_heartbeat(8 * SECOND, 3 * SECOND) };
    for (_, mut conn) in connections(&config) {
        conn.sender_mut().feed(&vec![1; 100]).unwrap(); // full, which does not refuse the ping
        let mut out = write(&mut conn, 3);
        for second in 0..100 {
            tell_time(&mut conn, at(second)).unwrap();
        }
        out.extend(drain(&mut conn));
        assert_eq!(sent(&out)[1].0, PING);
        assert_eq!(conn.poll_timeout(), Some(Time::ZERO));
        tell_time(&mut conn, at(100)).unwrap();
        let look = at(100) + 8 * SECOND / 5; // whether something came
        assert_eq!(conn.poll_timeout(), Some(look));
        tell_time(&mut conn, look).unwrap();
        assert_eq!(conn.poll_timeout(), Some(at(103)));
        assert_eq!(tell_time(&mut conn, at(103)), Err(RecvError::PongTimeout));
    }
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
            tell_time(&mut conn, Time::ZERO).unwrap();
            let mut now = Duration::ZERO;
            while !conn.sender().has_outgoing() {
                now = conn.poll_timeout().unwrap() - Time::ZERO;
                tell_time(&mut conn, Time::new(now)).unwrap();
            }
            assert!(now >= seconds(ping[0]) && now <= seconds(ping[1]), "{preset:?} {now:?}");
            let (found, error) = until(&mut conn, now, 1000 * SECOND);
            assert_eq!(error, Some(RecvError::PongTimeout));
            assert!(found <= seconds(dead), "{preset:?} {found:?}");
        }
    }
}

#[test]
fn a_server_differs_from_the_default_in_its_heartbeat_alone() {
    let server = Config::server();
    assert_eq!(server.heartbeat, Some(Heartbeat::BEHIND_PROXIES));
    let without = Config { heartbeat: None, ..server };
    assert_eq!(format!("{without:?}"), format!("{:?}", Config::default()));
}

#[test]
fn a_pong_is_not_missed_once_our_close_is_on_its_way() {
    // The close timer runs, and it alone.
    let config = Config { close_timeout: 20 * SECOND, ..with_heartbeat(SECOND, SECOND) };
    for (_, mut conn) in connections(&config) {
        let mut now = Duration::ZERO;
        while drain(&mut conn).is_empty() {
            tell_time(&mut conn, Time::new(now)).unwrap();
            now += SECOND / 10;
        }
        tell_time(&mut conn, Time::new(now)).unwrap(); // the Pong is awaited, within a second
        conn.sender_mut().close(None).unwrap();
        drain(&mut conn);
        for later in 0..20 {
            tell_time(&mut conn, Time::new(now + later * SECOND)).unwrap();
        }
        let end = Time::new(now + 20 * SECOND);
        assert_eq!(tell_time(&mut conn, end), Err(RecvError::CloseTimeout));
    }
}

fn at_millis(millis: u64) -> Time {
    Time::new(Duration::from_millis(millis))
}

/// A Ping after 4 s of silence, 2 s to answer it.
fn beating() -> Config {
    Config {
        heartbeat: Some(Heartbeat::new(Duration::from_secs(4), Duration::from_secs(2))),
        ..Config::default()
    }
}

/// Tells the time every 100 ms up to this second, after `each`; when and how it failed.
fn live(
    conn: &mut tickwire::Connection,
    seconds: u64,
    mut each: impl FnMut(&mut tickwire::Connection, u64),
) -> Option<(u64, RecvError)> {
    (0..seconds * 10).map(|tenth| tenth * 100).find_map(|now| {
        each(conn, now);
        let told = tell_time(conn, at_millis(now));
        told.err().map(|error| (now, error))
    })
}

// P204
#[test]
fn a_silent_peer_is_pinged_and_then_given_up_in_time_and_without_a_close() {
    for (role, last) in product(ROLES, (0..4000).step_by(300)) {
        let mut conn = connection(role, &beating());
        let mut output = Vec::new();
        let end = live(&mut conn, 60, |conn, now| {
            if now <= last {
                receive(conn, &frame_to(role, PONG, ""));
            }
            output.extend(drain(conn));
        });
        let (when, error) = end.expect("it is found");
        assert_eq!(error, RecvError::PongTimeout);
        let after = when - last;
        assert!((6000..=7200).contains(&after), "{after} after the last byte"); // 1.25 · 4 + 2
        assert_eq!(sent(&output).iter().map(|f| f.0).collect::<Vec<_>>(), [PING]);
        assert!(!conn.sender().has_outgoing(), "no Close");
        assert_eq!(code_of(conn.closed()), (1006, false));
    }
}

// P205
#[test]
fn any_byte_is_a_sign_of_life() {
    for role in ROLES {
        // A chatty peer that answers no Ping, a byte at a time.
        let wire = frame_to(role, BINARY, vec![0; 100]);
        let mut bytes = wire.iter();
        let mut conn = connection(role, &beating());
        let end = live(&mut conn, 50, |conn, now| {
            if now % 1000 == 0 {
                receive(conn, &[*bytes.next().unwrap()]);
            }
            assert!(drain(conn).is_empty(), "it is not even pinged");
        });
        assert_eq!(end, None);
        // A quiet one that answers Pings, and nothing else.
        let (mut conn, mut pings) = (connection(role, &beating()), 0);
        let end = live(&mut conn, 60, |conn, _| {
            for (b0, payload) in sent(&drain(conn)) {
                assert_eq!(b0, PING);
                receive(conn, &frame_to(role, PONG, payload));
                pings += 1;
            }
        });
        assert_eq!(end, None);
        assert!(pings > 1, "{pings}");
    }
}
