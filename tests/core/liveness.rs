//! Liveness by data, on a virtual clock: a peer that only pings is found, and nobody else is.
use crate::support::wire::*;
use std::time::Duration;
use tickwire::{Config, Connection, Ending, Heartbeat, ReadyState, RecvError, Role, Time};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A connection and a clock. It is told the time when that is due, after all input was stepped over.
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
                    self.conn.handle_timeout(Time::new(self.now))?;
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
    fn is_told(mut self, error: RecvError, code: u16) {
        assert_eq!(error, RecvError::DataTimeout);
        assert_eq!(self.conn.ready_state(), ReadyState::Open); // what was received comes first
        assert_eq!(events(&mut self.conn), [Seen::Failed(error)]);
        assert_eq!(self.conn.ending(), Ending::Flush);
        let told = drain(&mut self.conn);
        assert_eq!(sent(&told), [(CLOSE, close_body(code, ""))]);
        assert_eq!(self.conn.ending(), Ending::ShutDown);
        self.conn.shut_down();
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
fn a_feed_that_pings_and_sends_nothing_is_found_in_time() {
    // Its last message at any time; a Ping each second, before and after.
    let timeout = 10 * SECOND;
    let config = Config::default().data_timeout(timeout);
    for role in ROLES {
        for phase in 0..100u32 {
            let mut end = Clocked::new(role, &config);
            for _ in 0..5 {
                end.pass(SECOND * 9 + phase * 9 * MS).unwrap();
                assert_eq!(end.hear(TEXT, "tick"), [text("tick")]);
            }
            let last = end.now;
            let error = loop {
                if let Err(error) = end.pass(SECOND) {
                    break error;
                }
                assert_eq!(end.hear(PING, "alive"), [Seen::Ping(b"alive".into())]);
            };
            let took = end.now - last;
            assert!((timeout..=timeout * 6 / 5).contains(&took), "{role:?} {phase}: {took:?}");
            end.is_told(error, 1001);
        }
    }
}

#[test]
fn it_runs_from_the_beginning() {
    for role in ROLES {
        let mut end = Clocked::new(role, &Config::default().data_timeout(10 * SECOND));
        end.now = HOUR; // what the clock says does not matter
        assert_eq!(end.pass(9999 * MS), Ok(()));
        let error = end.pass(MS).unwrap_err();
        assert_eq!(end.now, HOUR + 10 * SECOND);
        end.is_told(error, 1001);
    }
}

#[test]
fn each_message_is_data_whatever_it_is_and_nothing_else() {
    // Every 8 s, of 10: long enough for any that does not count.
    let config = Config::default().data_timeout(10 * SECOND);
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
            for _ in 0..20 {
                assert_eq!(end.pass(8 * SECOND), Ok(()), "{role:?} {i}");
                say(&mut end);
            }
        }
        let none: [Say; 5] = [
            frames(&[(PING, b"alive")]),
            frames(&[(PONG, &[7; 125])]),
            Box::new(|end| {
                let flood = to(end.role, PING, "").repeat(2000);
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
    // A byte each second of messages of one frame or two: taken by `quick` when they are whole, or piece by piece.
    // A header, which is no data, has up to 14 bytes.
    let config = Config::default().data_timeout(15 * SECOND).frame_timeout(HOUR);
    for role in ROLES {
        for wire in [
            to(role, BINARY, [7; 100]),
            to(role, BINARY, vec![7; 1000]),
            to(role, TEXT, "x".repeat(300)),
            [to(role, TEXT_OPEN, "x".repeat(80)), to(role, CONT, "y".repeat(80))].concat(),
            to(role, BINARY, vec![7; 100_000]),
        ] {
            for chunks in [false, true] {
                let mut end = Clocked::new(role, &config);
                for bytes in wire.chunks(1).take(200) {
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
    use tickwire::deflate::Agreed;
    let config = Config::default().data_timeout(3 * SECOND).frame_timeout(HOUR);
    // "Hello" of RFC 7692 §7.2.3.1.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for role in ROLES {
        agreeing(Agreed::default(), || {
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
    let config = Config::default().data_timeout(3 * SECOND).frame_timeout(HOUR);
    for role in ROLES {
        // Not stepped over: the caller is slow, and the peer is not.
        for bytes in [
            to(role, TEXT, "one"),
            [to(role, PING, ""), to(role, TEXT, "one")].concat(),
            to(role, BINARY, vec![7; 100_000]),
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
    let config = Config::default().data_timeout(10 * SECOND);
    for role in ROLES {
        for before in 0..10 {
            let mut end = Clocked::new(role, &config);
            end.pass(before * SECOND).unwrap();
            end.conn.set_paused(true);
            assert_eq!(end.conn.poll_timeout(), None);
            end.conn.handle_timeout(Time::new(end.now + HOUR)).unwrap();
            end.now += HOUR;
            end.conn.set_paused(false);
            // What was silence before stays so, but for the time of the pause and of a look.
            let began = end.now;
            let error = end.pass(20 * SECOND).unwrap_err();
            let took = end.now - began;
            let least = (10 - before) * SECOND;
            assert!((least..=least + 2 * SECOND).contains(&took), "{before}: {took:?}");
            end.is_told(error, 1001);
        }
    }
}

#[test]
fn days_of_pings_and_a_tick_now_and_then_are_a_live_feed() {
    let config = Config::default().data_timeout(30 * SECOND).heartbeat(Heartbeat::BEHIND_PROXIES);
    for role in ROLES {
        let mut end = Clocked::new(role, &config);
        for i in 0..3 * 24 * 3600u32 {
            end.hear(PING, "");
            if i % 29 == 0 {
                assert_eq!(end.hear(BINARY, [7; 20]), [binary([7; 20])]);
            }
            assert_eq!(end.pass(SECOND), Ok(()), "after {i} s");
            end.wrote.clear(); // Pongs
        }
        let found = (0..60).find(|_| {
            end.hear(PING, "");
            end.pass(SECOND).is_err()
        });
        assert!(found.is_some_and(|s| s <= 36), "{found:?}");
    }
}

#[test]
fn a_dead_peer_is_the_heartbeats_and_a_closing_one_the_close_timers() {
    let config = Config::default()
        .data_timeout(30 * SECOND)
        .heartbeat(Heartbeat::new(5 * SECOND, 5 * SECOND))
        .close_timeout(100 * SECOND);
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
        let mut end = Clocked::new(role, &Config::default().data_timeout(Duration::ZERO));
        assert_eq!(end.pass(4 * MS), Ok(()));
        assert_eq!(end.pass(MS), Err(RecvError::DataTimeout));
        let mut end = Clocked::new(role, &Config::default().data_timeout(Duration::MAX));
        end.now = Duration::MAX - HOUR;
        assert_eq!(end.pass(HOUR - SECOND), Ok(()));
    }
}
