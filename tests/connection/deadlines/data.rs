//! The deadline on data: a peer that only pings is found, and nobody else is.
#[cfg(all(feature = "tokio", not(miri)))]
mod tokio;

use super::{Clocked, HOUR, MS, SECOND};
use crate::support::wire::*;
use std::time::Duration;
use tickwire::{Config, RecvError, Time};

#[test]
fn each_message_is_data_whatever_it_is_and_nothing_else() {
    // Every 8 s, of 10: long enough for any that does not count.
    let config = Config { data_timeout: Some(10 * SECOND), ..Config::default() };
    type Say = Box<dyn Fn(&mut Clocked)>;
    let frames = |frames: &'static [(u8, &'static [u8])]| -> Say {
        Box::new(move |end| {
            for &(b0, payload) in frames {
                end.hear(b0, payload);
            }
        })
    };
    for role in ROLES {
        let data: [Say; 6] = [
            frames(&[(TEXT, b"x")]),
            frames(&[(BINARY, &[7; 300])]),
            frames(&[(TEXT, b"")]),
            frames(&[(TEXT_OPEN, b""), (CONT, b"")]),
            frames(&[(BINARY_OPEN, b"a"), (PING, b""), (CONT, b"")]),
            frames(&[(PING, b"before"), (BINARY, b""), (PONG, b"behind")]),
        ];
        for (i, say) in data.iter().enumerate() {
            let mut end = Clocked::new(role, &config);
            for _ in 0..times(20, 3) {
                assert_eq!(end.pass(8 * SECOND), Ok(()), "{role:?} {i}");
                say(&mut end);
            }
        }
        let none: [Say; 5] = [
            frames(&[(PING, b"alive")]),
            frames(&[(PONG, &[7; 125])]),
            Box::new(|end| {
                let flood = frame_to(end.role, PING, "").repeat(times(2000, 20));
                receive(&mut end.conn, &flood);
            }),
            Box::new(|end| {
                let partial = frame_to(end.role, PING, [7; 125]);
                receive(&mut end.conn, &partial[..100]);
                end.pass(SECOND).unwrap();
                receive(&mut end.conn, &partial[100..]);
            }),
            frames(&[]),
        ];
        for (i, say) in none.iter().enumerate() {
            let mut end = Clocked::new(role, &config);
            let found = (0..3).any(|_| {
                say(&mut end);
                end.pass(7 * SECOND).is_err()
            });
            assert!(found && end.now <= 12 * SECOND, "{role:?} {i}");
        }
        // Fragments without payload: the message that they begin never ends.
        let mut end = Clocked::new(role, &config);
        end.hear(TEXT_OPEN, "");
        let found = (0..12).any(|_| {
            end.hear(CONT_OPEN, "");
            end.pass(SECOND).is_err()
        });
        assert!(found, "{role:?}");
    }
}

#[test]
fn the_deadline_on_data_runs_from_the_beginning() {
    for role in ROLES {
        let mut end =
            Clocked::new(role, &Config { data_timeout: Some(10 * SECOND), ..Config::default() });
        end.now = HOUR; // what the clock says does not matter
        assert_eq!(end.pass(9999 * MS), Ok(()));
        let error = end.pass(MS).unwrap_err();
        assert_eq!(end.now, HOUR + 10 * SECOND);
        end.tells_the_peer(error, 1001);
    }
}

#[test]
fn a_long_message_on_a_slow_line_is_no_silence() {
    // A byte each second of messages of one frame or two: taken by `quick` when they are whole, or
    // piece by piece. A header, which is no data, has up to 14 bytes.
    let config =
        Config { data_timeout: Some(15 * SECOND), frame_timeout: HOUR, ..Config::default() };
    for role in ROLES {
        for wire in [
            frame_to(role, BINARY, [7; 100]),
            frame_to(role, BINARY, vec![7; 1000]),
            frame_to(role, TEXT, "x".repeat(300)),
            [frame_to(role, TEXT_OPEN, "x".repeat(80)), frame_to(role, CONT, "y".repeat(80))]
                .concat(),
            frame_to(role, BINARY, vec![7; times(100_000, 2000)]),
        ] {
            for chunks in [false, true] {
                let mut end = Clocked::new(role, &config);
                for bytes in wire.chunks(1).take(times(200, 20)) {
                    arrive(&mut end.conn, bytes);
                    while match chunks {
                        false => end.conn.step(),
                        true => end.conn.step_chunk(),
                    } != Ok(tickwire::Step::NeedInput)
                    {}
                    assert_eq!(end.pass(SECOND), Ok(()), "{role:?} {} {chunks}", wire.len());
                }
                // Then the line is dead.
                let found = end.pass(18 * SECOND);
                assert_eq!(found, Err(RecvError::DataTimeout), "{role:?} {} {chunks}", wire.len());
            }
        }
    }
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages_are_data_too() {
    use tickwire::deflate::DeflateParams;
    let config =
        Config { data_timeout: Some(3 * SECOND), frame_timeout: HOUR, ..Config::default() };
    // "Hello" of RFC 7692 §7.2.3.1.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for role in ROLES {
        agreeing(DeflateParams::default(), || {
            let mut end = Clocked::new(role, &config);
            for _ in 0..10 {
                assert_eq!(end.pass(2 * SECOND), Ok(()));
                assert_eq!(end.hear(0xc1, hello), [text("Hello")]);
            }
            for byte in frame_to(role, 0xc1, hello) {
                assert_eq!(end.pass(300 * MS), Ok(()));
                receive(&mut end.conn, &[byte]);
            }
            end.hear(PING, "");
            assert_eq!(end.pass(4 * SECOND), Err(RecvError::DataTimeout));
        });
    }
}

#[test]
fn what_was_received_is_not_held_against_the_peer_and_delivered_first() {
    let config =
        Config { data_timeout: Some(3 * SECOND), frame_timeout: HOUR, ..Config::default() };
    for role in ROLES {
        // Not stepped over: the caller is slow, and the peer is not.
        for bytes in [
            frame_to(role, TEXT, "one"),
            [frame_to(role, PING, ""), frame_to(role, TEXT, "one")].concat(),
            frame_to(role, BINARY, vec![7; times(100_000, 2000)]),
        ] {
            let mut end = Clocked::new(role, &config);
            end.pass(SECOND).unwrap();
            arrive(&mut end.conn, &bytes);
            assert_eq!(end.pass(100 * SECOND), Ok(()));
            let seen = events(&mut end.conn);
            assert_eq!(seen.len(), 1 + usize::from(bytes[0] == PING));
            assert_eq!(end.pass(2 * SECOND), Ok(()));
            assert_eq!(end.pass(2 * SECOND), Err(RecvError::DataTimeout));
        }
        // Read after the deadline has passed: it comes before the error.
        let mut end = Clocked::new(role, &config);
        assert_eq!(end.pass(5 * SECOND), Err(RecvError::DataTimeout));
        arrive(&mut end.conn, &frame_to(role, TEXT, "late"));
        assert_eq!(events(&mut end.conn), [text("late"), Seen::Failed(RecvError::DataTimeout)]);
    }
}

#[test]
fn while_reading_is_paused_silence_proves_nothing() {
    let config = Config { data_timeout: Some(10 * SECOND), ..Config::default() };
    for (role, before) in product(ROLES, 0..10) {
        let mut end = Clocked::new(role, &config);
        end.pass(before * SECOND).unwrap();
        end.conn.set_paused(true);
        assert_eq!(end.conn.poll_timeout(), Some(Time::ZERO), "it asks for the time once");
        assert_eq!(end.pass(HOUR), Ok(()));
        assert_eq!(end.conn.poll_timeout(), None);
        end.conn.set_paused(false);
        // What was silence before stays so, but for the time of the pause.
        let began = end.now;
        let error = end.pass(20 * SECOND).unwrap_err();
        let took = end.now - began;
        let least = (10 - before) * SECOND;
        assert_eq!(took, least, "{before}");
        end.tells_the_peer(error, 1001);
    }
}

#[test]
fn pauses_for_a_moment_hide_no_silence() {
    for role in ROLES {
        let mut end =
            Clocked::new(role, &Config { data_timeout: Some(10 * SECOND), ..Config::default() });
        let error = (0..100).find_map(|_| {
            end.hear(PING, "alive");
            end.conn.set_paused(true); // a send that waited
            end.now += SECOND / 1000;
            end.conn.set_paused(false);
            end.pass(SECOND / 2).err()
        });
        assert!(end.now <= 14 * SECOND, "{:?}", end.now);
        end.tells_the_peer(error.unwrap(), 1001);
    }
}

#[test]
fn a_dead_peer_is_the_heartbeats_and_a_closing_one_the_close_timers() {
    let config = Config {
        data_timeout: Some(30 * SECOND),
        close_timeout: 100 * SECOND,
        ..with_heartbeat(5 * SECOND, 5 * SECOND)
    };
    for role in ROLES {
        let mut end = Clocked::new(role, &config);
        assert_eq!(end.pass(60 * SECOND), Err(RecvError::PongTimeout));
        let mut end = Clocked::new(role, &config);
        end.conn.sender_mut().close(None).unwrap();
        assert_eq!(end.pass(99 * SECOND), Ok(()));
        assert_eq!(end.pass(SECOND), Err(RecvError::CloseTimeout));
    }
}

#[test]
fn deadlines_on_data_may_be_too_short_or_too_long() {
    for role in ROLES {
        let mut end =
            Clocked::new(role, &Config { data_timeout: Some(Duration::ZERO), ..Config::default() });
        assert_eq!(end.pass(4 * MS), Ok(()));
        assert_eq!(end.pass(MS), Err(RecvError::DataTimeout));
        let mut end =
            Clocked::new(role, &Config { data_timeout: Some(Duration::MAX), ..Config::default() });
        end.now = Duration::MAX - HOUR;
        assert_eq!(end.pass(HOUR - SECOND), Ok(()));
    }
}
