//! Idle messages: we say something before the peer takes us for dead.
use super::{Clocked, HOUR, MS, SECOND};
use crate::support::wire::*;
use std::time::Duration;
use testkit::Rng;
use tickwire::{
    Chunk, Config, Connection, DataKind, Heartbeat, OwnedMessage, RecvError, Report, Time,
};

const AFTER: Duration = Duration::from_secs(20);

fn talking() -> Config {
    Config { idle_message: Some((AFTER, "ping".into())), ..Config::default() }
}

impl Clocked {
    /// The frames written since the last call.
    fn said(&mut self) -> Vec<(u8, Vec<u8>)> {
        sent(&std::mem::take(&mut self.wrote))
    }

    /// How long until the idle message is written, and that it alone is.
    fn until_ping(&mut self) -> Duration {
        let began = self.now;
        while self.wrote.is_empty() {
            let due = self.conn.poll_timeout().expect("another look") - Time::ZERO;
            self.pass((due - self.now).max(MS)).unwrap();
        }
        assert_eq!(self.said(), [(TEXT, b"ping".into())]);
        self.now - began
    }
}

#[test]
fn an_idle_message_is_sent_at_every_interval_for_days() {
    for role in ROLES {
        let mut end = Clocked::new(role, &talking());
        end.now = HOUR;
        end.tell().unwrap();
        for _ in 0..times(3 * 24 * 180, 10) {
            assert_eq!(end.until_ping(), AFTER);
        }
        let mut end = Clocked::new(
            role,
            &Config { idle_message: Some((AFTER, vec![1, 2].into())), ..Config::default() },
        );
        end.pass(AFTER).unwrap();
        assert_eq!(end.said(), [(BINARY, vec![1, 2])]);
    }
}

#[test]
fn a_message_of_ours_puts_the_idle_message_off_and_a_control_frame_does_not() {
    for role in ROLES {
        for phase in (0..200u32).step_by(every(67)) {
            let mut end = Clocked::new(role, &talking());
            end.pass(phase * 100 * MS).unwrap();
            end.wrote.clear();
            feed_in_every_way(end.conn.sender_mut());
            end.tell().unwrap();
            assert_eq!(end.said(), fed_in_every_way());
            let took = end.until_ping();
            assert!((AFTER * 4 / 5..=AFTER).contains(&took), "{role:?} {phase}: {took:?}");

            let fed = end.conn.sender_mut().feed_first("alone").unwrap();
            end.pass(phase * 79 * MS).unwrap(); // less than the interval
            assert!(end.conn.sender().is_written(fed));
            assert_eq!(end.said(), [(TEXT, b"alone".into())]);
        }
        let mut end = Clocked::new(role, &talking());
        for _ in 0..19 {
            end.pass(SECOND).unwrap();
            end.conn.sender_mut().ping(b"x").unwrap();
            end.conn.sender_mut().pong(b"y").unwrap();
            end.conn.sender_mut().measure_rtt(Time::new(end.now)).unwrap();
            end.hear(PING, "z");
        }
        end.pass(SECOND).unwrap();
        assert!(end.said().contains(&(TEXT, b"ping".into())), "{role:?}");
    }
}

#[test]
fn what_the_peer_sends_does_not_put_the_idle_message_off() {
    // A busy feed that is only read, for an hour: Pings, Pongs, data.
    for role in ROLES {
        let config = Config {
            data_timeout: Some(10 * SECOND),
            heartbeat: Some(Heartbeat::PHONE),
            ..talking()
        };
        let mut end = Clocked::new(role, &config);
        let burst =
            [frame_to(role, PING, ""), frame_to(role, BINARY, [7; 20]), frame_to(role, PONG, "")]
                .concat();
        let mut pings = 0;
        for second in 1..=times(3600, 45) as u32 {
            receive(&mut end.conn, &burst);
            assert_eq!(end.pass(SECOND), Ok(()));
            pings += end.said().iter().filter(|(b0, _)| *b0 == TEXT).count() as u32;
            assert_eq!(pings, second / 20, "after {second} s");
        }
    }
}

#[test]
fn an_idle_message_never_comes_between_fragments() {
    let chunk = |data, first, last| Chunk { kind: DataKind::Text, first, data, last };
    for role in ROLES {
        let mut end = Clocked::new(role, &talking());
        end.pass(SECOND).unwrap();
        end.conn.sender_mut().feed_chunk(chunk(b"be", true, false)).unwrap();
        for _ in 0..100 {
            end.pass(SECOND).unwrap();
        }
        end.conn.sender_mut().feed_chunk(chunk(b"gin", false, false)).unwrap();
        end.pass(100 * SECOND).unwrap();
        assert_eq!(end.said(), [(TEXT_OPEN, b"be".into()), (CONT_OPEN, b"gin".into())]);
        // The last piece is a message of ours.
        end.conn.sender_mut().feed_chunk(chunk(b"ning", false, true)).unwrap();
        end.tell().unwrap();
        assert_eq!(end.said(), [(CONT, b"ning".into())]);
        let took = end.until_ping();
        assert!((AFTER * 4 / 5..=AFTER).contains(&took), "{role:?}: {took:?}");
    }
}

#[test]
fn while_the_stream_takes_nothing_one_idle_message_waits_and_a_full_buffer_is_no_error() {
    for (role, full) in product(ROLES, [false, true]) {
        let config = Config { high_water: 100, write_timeout: HOUR, ..talking() };
        let mut conn = connection(role, &config);
        conn.sender_mut().feed(&[7; 90]).unwrap();
        if full {
            conn.sender_mut().feed(&[7; 99]).unwrap();
        }
        let begun = write(&mut conn, 10);
        conn.report(Report::WriteBlocked);
        let before = conn.sender().buffered_amount();
        for second in (0..1000u64).step_by(every(11)) {
            tell_time(&mut conn, Time::new(SECOND * second as u32)).unwrap();
            assert!(conn.poll_timeout().is_some_and(|at| at > Time::new(SECOND * second as u32)));
        }
        let ping = frame_to(peer(role), TEXT, "ping").len();
        let waits = if full { 0 } else { ping };
        assert_eq!(conn.sender().buffered_amount(), before + waits, "{role:?}");
        // Behind the frame under way, before what waits; then on as always.
        let wire = [begun, drain(&mut conn)].concat();
        let texts: Vec<_> = sent(&wire).iter().map(|(b0, _)| *b0).collect();
        assert_eq!(texts, if full { vec![BINARY, BINARY] } else { vec![BINARY, TEXT] });
        tell_time(&mut conn, Time::new(1005 * SECOND)).unwrap();
        tell_time(&mut conn, Time::new(1030 * SECOND)).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"ping".into())], "{role:?}");
    }
}

#[test]
fn an_idle_message_overtakes_messages_that_wait() {
    for (_, mut conn) in connections(&talking()) {
        tell_time(&mut conn, Time::ZERO).unwrap();
        conn.sender_mut().feed("one").unwrap();
        conn.sender_mut().feed("two").unwrap();
        let begun = write(&mut conn, 1);
        for second in 1..=20u32 {
            tell_time(&mut conn, Time::new(SECOND * second)).unwrap();
        }
        let wire = [begun, drain(&mut conn)].concat();
        let said: Vec<_> = sent(&wire).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(said, [&b"one"[..], b"ping", b"two"]);
    }
}

#[test]
fn an_idle_message_is_never_sent_behind_a_close() {
    for role in ROLES {
        // Ours.
        let mut end = Clocked::new(role, &Config { close_timeout: HOUR, ..talking() });
        end.pass(SECOND).unwrap();
        end.conn.sender_mut().close(None).unwrap();
        end.pass(100 * SECOND).unwrap();
        assert_eq!(end.said(), [(CLOSE, vec![])]);
        // The peer's, which the caller answers later.
        let mut end = Clocked::new(role, &Config { auto_close: false, ..talking() });
        end.pass(SECOND).unwrap();
        end.hear(CLOSE, "");
        end.pass(100 * SECOND).unwrap();
        assert_eq!(end.said(), []);
        // That of an end which fails.
        let mut end = Clocked::new(role, &Config { data_timeout: Some(SECOND), ..talking() });
        assert_eq!(end.pass(HOUR), Err(RecvError::DataTimeout));
        assert_eq!(events(&mut end.conn), [Seen::Failed(RecvError::DataTimeout)]);
        end.pass(100 * SECOND).unwrap();
        assert_eq!(end.said(), [(CLOSE, close_body(1001, ""))]);
    }
}

#[test]
fn an_idle_message_is_sent_while_reading_is_paused() {
    for role in ROLES {
        let mut end = Clocked::new(role, &Config { data_timeout: Some(AFTER), ..talking() });
        end.conn.set_paused(true);
        end.tell().unwrap();
        for _ in 0..10 {
            assert_eq!(end.until_ping(), AFTER);
        }
    }
}

#[cfg(feature = "deflate")]
#[test]
fn an_idle_message_is_not_compressed_and_leaves_the_context_as_it_is() {
    use tickwire::deflate::{Deflate, DeflateParams};
    let config = Config { deflate: Some(Deflate::default()), ..talking() };
    for role in ROLES {
        agreeing(DeflateParams::default(), || {
            let mut end = Clocked::new(role, &config);
            let mut other = connection(peer(role), &config);
            let story = "the same story, ".repeat(20);
            for _ in 0..5 {
                end.conn.sender_mut().feed(&*story).unwrap();
                end.pass(AFTER).unwrap();
                let wire = std::mem::take(&mut end.wrote);
                assert_eq!(sent(&wire)[1], (TEXT, b"ping".into())); // without RSV1
                assert_eq!(receive(&mut other, &wire), [text(&story), text("ping")]);
            }
        });
    }
}

#[test]
fn an_idle_message_after_0_s_is_sent_every_5_ms() {
    let idle_message = Some((Duration::ZERO, "x".into()));
    let config = Config { idle_message, ..Config::default() };
    for role in ROLES {
        let mut end = Clocked::new(role, &config);
        let intervals = times(200, 5);
        end.pass(intervals as u32 * 5 * MS).unwrap();
        assert_eq!(end.said().len(), intervals);
    }
}

#[test]
fn an_idle_message_after_the_longest_duration_is_never_sent() {
    let idle_message = Some((Duration::MAX, "x".into()));
    let config = Config { idle_message, ..Config::default() };
    for role in ROLES {
        let mut end = Clocked::new(role, &config);
        end.now = Duration::MAX - HOUR;
        end.pass(HOUR - SECOND).unwrap();
        assert_eq!(end.said(), []);
    }
}

/// Whatever both do, at any time: never longer than the interval without a message, none too many,
/// and a wire that the other end takes.
#[test]
fn no_idle_interval_passes_without_a_message() {
    let ping = OwnedMessage::from("ping");
    for seed in 0..times(sampled(200, 100), 2) as u64 {
        let mut rng = Rng::new(seed);
        let role = role_of(seed % 2 == 0);
        let mut end = Clocked::new(
            role,
            &Config { idle_message: Some((AFTER, ping.clone())), ..Config::default() },
        );
        let mut other = connection(peer(role), &Config::default());
        end.tell().unwrap();
        // When the last message was fed, of ours and of any kind; pieces of one that is not over.
        let (mut spoke, mut open) = (end.now, false);
        for _ in 0..times(300, 50) {
            match rng.below(8) {
                0 if !open => {
                    end.conn.sender_mut().feed("mine").unwrap();
                    spoke = end.now;
                }
                1 => {
                    end.conn.sender_mut().feed_first("first").unwrap();
                    spoke = end.now;
                }
                2 if open || rng.once_in(4) => {
                    let last = open && rng.once_in(2);
                    let kind = DataKind::Binary;
                    let piece = Chunk { kind, first: !open, data: b"piece", last };
                    end.conn.sender_mut().feed_chunk(piece).unwrap();
                    (open, spoke) = (!last, end.now);
                }
                3 => drop(end.hear(PING, rng.bytes(3))),
                4 => drop(end.hear(BINARY, rng.bytes(30))),
                5 => end.conn.sender_mut().ping(b"p").unwrap(),
                6 => end.conn.set_paused(rng.once_in(2)),
                _ => {}
            }
            end.tell().unwrap();
            let before = end.said_to(&mut other);
            assert!(!before.contains(&text("ping")), "{seed}: nobody waited");
            // Up to the next deadline, or not so far.
            let next = end.conn.poll_timeout().expect("a look") - Time::ZERO;
            let time = MS * rng.below(9000) as u32;
            end.now = next.min(end.now + time).max(end.now);
            end.tell().unwrap();
            if end.said_to(&mut other).contains(&text("ping")) {
                assert!(!open && end.now - spoke >= AFTER * 4 / 5, "{seed}: too early");
                spoke = end.now;
            }
            assert!(open || end.now - spoke <= AFTER, "{seed}: {:?} without", end.now - spoke);
            if open {
                spoke = spoke.max(end.now.saturating_sub(AFTER)); // its end counts
            }
        }
    }
}

impl Clocked {
    /// What `other` makes of all that was written.
    fn said_to(&mut self, other: &mut Connection) -> Vec<Seen> {
        receive(other, &std::mem::take(&mut self.wrote))
    }
}
