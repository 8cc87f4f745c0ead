//! Liveness by data, on a virtual clock: a peer that only pings is found, and nobody else is; and
//! we say something before the peer takes us for dead.
use crate::support::wire::*;
use std::time::Duration;
use testkit::Rng;
use tickwire::{
    Chunk, Config, Connection, DataKind, Ending, Heartbeat, OwnedMessage, ReadyState, RecvError,
    Report, Role, Time,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A connection and a clock. It is told the time when that is due, after all input was stepped
/// over.
struct Clocked {
    conn: Connection,
    role: Role,
    now: Duration,
    wrote: Vec<u8>,
}

impl Clocked {
    fn new(role: Role, config: &Config) -> Self {
        Self { conn: connection(role, config), role, now: Duration::ZERO, wrote: vec![] }
    }

    /// Says what has failed, if something has by now.
    fn tell(&mut self) -> Result<(), RecvError> {
        for _ in 0..1000 {
            self.wrote.extend(drain(&mut self.conn));
            match self.conn.poll_timeout() {
                Some(at) if at <= Time::new(self.now) => {
                    tell(&mut self.conn, Time::new(self.now))?;
                }
                _ => return Ok(()),
            }
        }
        panic!("the deadlines do not move on");
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, time: Duration) -> Result<(), RecvError> {
        let end = self.now + time;
        loop {
            self.tell()?;
            match self.conn.poll_timeout().map(|at| at - Time::ZERO) {
                Some(due) if due < end => self.now = due,
                _ => break,
            }
        }
        self.now = end;
        self.tell()
    }

    fn hear(&mut self, b0: u8, payload: impl AsRef<[u8]>) -> Vec<Seen> {
        receive(&mut self.conn, &to(self.role, b0, payload))
    }

    /// A deadline passed at `now`: nothing more is delivered, and the peer is told.
    fn tells_the_peer(mut self, error: RecvError, code: u16) {
        assert_eq!(error, RecvError::DataTimeout);
        assert_eq!(self.conn.ready_state(), ReadyState::Open); // what was received comes first
        assert_eq!(events(&mut self.conn), [Seen::Failed(error)]);
        assert_eq!(self.conn.ending(), Ending::Flush);
        let told = drain(&mut self.conn);
        assert_eq!(sent(&told), [(CLOSE, close_body(code, ""))]);
        assert_eq!(self.conn.ending(), Ending::ShutDown);
        self.conn.report(Report::ShutDown);
        assert_eq!(self.conn.ending(), Ending::Discard);
        self.pass(2 * SECOND).unwrap_or_else(|late| assert_eq!(late, error));
        assert_eq!(
            (self.conn.ending(), self.conn.ready_state()),
            (Ending::Done, ReadyState::Closed)
        );
        assert_eq!(self.conn.closed().unwrap().error, Some(error));
    }
}

#[test]
fn it_runs_from_the_beginning() {
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
                let flood = to(end.role, PING, "").repeat(times(2000, 20));
                receive(&mut end.conn, &flood);
            }),
            Box::new(|end| {
                let partial = to(end.role, PING, [7; 125]);
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
fn a_long_message_on_a_slow_line_is_no_silence() {
    // A byte each second of messages of one frame or two: taken by `quick` when they are whole, or
    // piece by piece. A header, which is no data, has up to 14 bytes.
    let config =
        Config { data_timeout: Some(15 * SECOND), frame_timeout: HOUR, ..Config::default() };
    for role in ROLES {
        for wire in [
            to(role, BINARY, [7; 100]),
            to(role, BINARY, vec![7; 1000]),
            to(role, TEXT, "x".repeat(300)),
            [to(role, TEXT_OPEN, "x".repeat(80)), to(role, CONT, "y".repeat(80))].concat(),
            to(role, BINARY, vec![7; times(100_000, 2000)]),
        ] {
            for chunks in [false, true] {
                let mut end = Clocked::new(role, &config);
                for bytes in wire.chunks(1).take(times(200, 20)) {
                    feed(&mut end.conn, bytes);
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
            for byte in to(role, 0xc1, hello) {
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
            to(role, TEXT, "one"),
            [to(role, PING, ""), to(role, TEXT, "one")].concat(),
            to(role, BINARY, vec![7; times(100_000, 2000)]),
        ] {
            let mut end = Clocked::new(role, &config);
            end.pass(SECOND).unwrap();
            feed(&mut end.conn, &bytes);
            assert_eq!(end.pass(100 * SECOND), Ok(()));
            let seen = events(&mut end.conn);
            assert_eq!(seen.len(), 1 + usize::from(bytes[0] == PING));
            assert_eq!(end.pass(2 * SECOND), Ok(()));
            assert_eq!(end.pass(2 * SECOND), Err(RecvError::DataTimeout));
        }
        // Read after the deadline has passed: it comes before the error.
        let mut end = Clocked::new(role, &config);
        assert_eq!(end.pass(5 * SECOND), Err(RecvError::DataTimeout));
        feed(&mut end.conn, &to(role, TEXT, "late"));
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
fn times_too_short_and_too_long_are_times() {
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

// The message that is sent where no other was.

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
fn who_says_nothing_says_so_every_interval_for_days() {
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
fn a_message_of_ours_puts_it_off_and_a_control_frame_does_not() {
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
fn what_the_peer_sends_changes_nothing_of_it() {
    // A busy feed that is only read, for an hour: Pings, Pongs, data.
    for role in ROLES {
        let config = Config {
            data_timeout: Some(10 * SECOND),
            heartbeat: Some(Heartbeat::PHONE),
            ..talking()
        };
        let mut end = Clocked::new(role, &config);
        let burst = [to(role, PING, ""), to(role, BINARY, [7; 20]), to(role, PONG, "")].concat();
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
fn it_never_comes_between_fragments() {
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
fn while_the_stream_takes_nothing_one_waits_and_a_full_buffer_is_no_error() {
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
            tell(&mut conn, Time::new(SECOND * second as u32)).unwrap();
            assert!(conn.poll_timeout().is_some_and(|at| at > Time::new(SECOND * second as u32)));
        }
        let ping = to(peer(role), TEXT, "ping").len();
        let waits = if full { 0 } else { ping };
        assert_eq!(conn.sender().buffered_amount(), before + waits, "{role:?}");
        // Behind the frame under way, before what waits; then on as always.
        let wire = [begun, drain(&mut conn)].concat();
        let texts: Vec<_> = sent(&wire).iter().map(|(b0, _)| *b0).collect();
        assert_eq!(texts, if full { vec![BINARY, BINARY] } else { vec![BINARY, TEXT] });
        tell(&mut conn, Time::new(1005 * SECOND)).unwrap();
        tell(&mut conn, Time::new(1030 * SECOND)).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"ping".into())], "{role:?}");
    }
}

#[test]
fn it_overtakes_messages_that_wait() {
    for (_, mut conn) in connections(&talking()) {
        tell(&mut conn, Time::ZERO).unwrap();
        conn.sender_mut().feed("one").unwrap();
        conn.sender_mut().feed("two").unwrap();
        let begun = write(&mut conn, 1);
        for second in 1..=20u32 {
            tell(&mut conn, Time::new(SECOND * second)).unwrap();
        }
        let wire = [begun, drain(&mut conn)].concat();
        let said: Vec<_> = sent(&wire).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(said, [&b"one"[..], b"ping", b"two"]);
    }
}

#[test]
fn it_is_never_sent_behind_a_close() {
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
fn it_is_sent_while_reading_is_paused() {
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
fn it_is_not_compressed_and_does_not_disturb_what_is() {
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
fn intervals_too_short_and_too_long_are_intervals() {
    for role in ROLES {
        let mut end = Clocked::new(
            role,
            &Config { idle_message: Some((Duration::ZERO, "x".into())), ..Config::default() },
        );
        end.pass(times(200, 5) as u32 * 5 * MS).unwrap();
        assert_eq!(end.said().len(), times(200, 5));
        let mut end = Clocked::new(
            role,
            &Config { idle_message: Some((Duration::MAX, "x".into())), ..Config::default() },
        );
        end.now = Duration::MAX - HOUR;
        end.pass(HOUR - SECOND).unwrap();
        assert_eq!(end.said(), []);
    }
}

/// Whatever both do, at any time: never longer than the interval without a message, none too many,
/// and a wire that the other end takes.
#[test]
fn whatever_is_done_meanwhile_no_interval_passes_without_a_message() {
    let ping = OwnedMessage::from("ping");
    for seed in 0..times(200, 2) as u64 {
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
