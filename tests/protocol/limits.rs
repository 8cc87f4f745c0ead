//! 13 Timers, limits, backpressure.
use crate::support::wire::*;
use std::time::Duration;
use tickwire::{Config, Heartbeat, RecvError, Report, Time};

fn at(millis: u64) -> Time {
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
        let told = tell(conn, at(now));
        told.err().map(|error| (now, error))
    })
}

#[test]
fn p204_a_silent_peer_is_pinged_and_then_given_up_in_time_and_without_a_close() {
    for (role, last) in product(ROLES, (0..4000).step_by(300)) {
        let mut conn = connection(role, &beating());
        let mut output = Vec::new();
        let end = live(&mut conn, 60, |conn, now| {
            if now <= last {
                receive(conn, &to(role, PONG, ""));
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

#[test]
fn p205_any_byte_is_a_sign_of_life() {
    for role in ROLES {
        // A chatty peer that answers no Ping, a byte at a time.
        let wire = to(role, BINARY, vec![0; 100]);
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
                receive(conn, &to(role, PONG, payload));
                pings += 1;
            }
        });
        assert_eq!(end, None);
        assert!(pings > 1, "{pings}");
    }
}

#[cfg(feature = "std")]
#[test]
fn p209_nothing_is_read_that_nobody_asks_for() {
    use crate::support::carriers::Line;
    for role in ROLES {
        let wire = to(role, TEXT, "x").repeat(100_000);
        let most = (16 << 10) + 14; // the read buffer, with room for a header
        let line = Line::new(&wire, usize::MAX);
        let conn = connection(role, &Config::default());
        let mut ws = tickwire::blocking::WebSocket::from_parts(line.clone(), conn);
        assert_eq!(line.left(), wire.len());
        for _ in 0..10 {
            assert!(ws.recv().unwrap().is_some());
        }
        assert!(line.left() >= wire.len() - most, "one read is enough for ten");
        #[cfg(feature = "tokio")]
        crate::support::carriers::block_on(async {
            let line = Line::new(&wire, usize::MAX);
            let conn = connection(role, &Config::default());
            let mut ws = tickwire::tokio::WebSocket::from_parts(line.clone(), conn);
            for _ in 0..10 {
                assert!(ws.recv().await.unwrap().is_some());
            }
            assert!(line.left() >= wire.len() - most, "one read is enough for ten");
            let (mut reader, _writer) = ws.into_split();
            assert!(reader.recv().await.unwrap().is_some());
            assert!(line.left() >= wire.len() - most, "split or not");
        });
    }
}

#[test]
fn p211_writes_of_any_length_make_the_same_wire() {
    // Through the adapters every test of this binary writes byte by byte as well, and is
    // interrupted: see `Line`.
    for role in ROLES {
        let filled = || {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed("one").unwrap();
            conn.sender_mut().feed(&vec![1; 70_000]).unwrap();
            conn.sender_mut().feed(bytes::Bytes::from(vec![2; 9000])).unwrap();
            conn.sender_mut().feed("three").unwrap();
            conn
        };
        let whole = drain(&mut filled());
        for step in [1, 2, 3, 7, 4096] {
            let (mut conn, mut wire) = (filled(), Vec::new());
            loop {
                let piece = write(&mut conn, step);
                if piece.is_empty() {
                    break;
                }
                wire.extend(piece);
                conn.report(Report::WriteBlocked);
            }
            assert_eq!(wire, whole, "by {step}");
        }
    }
}
