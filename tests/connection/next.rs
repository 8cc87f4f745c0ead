//! What a connection says to do next, on a virtual clock. That it agrees with the fine calls over
//! every wire of the protocol's tests is held by `support::carriers::core`.
#[cfg(all(feature = "blocking", not(miri)))]
mod own_loop;

use crate::support::wire::*;
use std::time::Duration;
use tickwire::{
    CloseCode, CloseFrame, Config, Event, Heartbeat, Message, Next, ReadyState, RecvError, Report,
    Role, SendError, Time, Wait,
};

const SECOND: Duration = Duration::from_secs(1);

fn asked(role: Role, config: &Config) -> Asked {
    Asked::new(connection(role, config))
}

fn at(seconds: u32) -> Option<Time> {
    Some(Time::new(SECOND * seconds))
}

/// Waits for bytes alone.
const IDLE: Wait = Wait { readable: true, writable: false, until: None };

/// Waits for room too.
const BLOCKED: Wait = Wait { writable: true, ..IDLE };

impl Asked {
    /// What its peer sends, in one read.
    fn hear(&mut self, b0: u8, payload: impl AsRef<[u8]>) {
        let role = self.conn.role();
        self.inbox.push_back(frame_to(role, b0, payload));
    }

    fn wrote(&mut self) -> Vec<(u8, Vec<u8>)> {
        sent(&std::mem::take(&mut self.outbox))
    }

    fn waits_until(&mut self) -> Option<Time> {
        self.run().expect("it waits").until
    }

    /// Time passes, and it fails then, and not before.
    fn fails_at(&mut self, seconds: u32, error: RecvError) {
        // On the way it may want to be told the time.
        while self.waits_until() < at(seconds) {
            self.now = self.waits_until().expect("a deadline") - Time::ZERO;
        }
        assert_eq!(self.waits_until(), at(seconds));
        self.now = SECOND * seconds - Duration::from_nanos(1);
        assert_eq!(self.waits_until(), at(seconds), "{error:?} is not early");
        self.now = SECOND * seconds;
        assert_eq!(self.run(), None);
        assert_eq!(self.over, Some(Some(error)));
    }
}

/// All that can be known of an end afterwards.
type Known = (Vec<Seen>, (u16, bool), Option<RecvError>, bool, bool, ReadyState, u64);

/// Runs this on a pair that is driven by the fine calls and on one that is asked what to do: they
/// agree.
fn agree(server: &Config, client: &Config, script: impl Fn(&mut Pair)) {
    for read in (times(1, 7)..times(16, 8)).chain([usize::MAX]) {
        let [fine, asked] = [false, true].map(|asked| {
            let mut pair = Pair::with(server, client);
            (pair.read, pair.asked) = (read, asked);
            script(&mut pair);
            [pair.server, pair.client].map(|End { conn, seen, shut, gone, .. }| -> Known {
                let error = conn.closed().and_then(|end| end.error);
                let (end, dropped) = (code_of(conn.closed()), conn.sender().dropped());
                (seen, end, error, shut, gone, conn.ready_state(), dropped)
            })
        });
        assert_eq!(asked, fine, "{read} bytes a read");
    }
}

/// Both ends have said something, and nothing was carried.
fn talk(pair: &mut Pair) {
    for end in [&mut pair.client, &mut pair.server] {
        let tx = end.conn.sender_mut();
        tx.feed("hello").unwrap();
        tx.ping(b"alive?").unwrap();
        tx.feed(&[7; 300]).unwrap();
    }
}

#[test]
fn a_pair_that_is_asked_agrees_with_one_driven_by_the_fine_calls() {
    let bye = || CloseFrame::with_reason(CloseCode::NORMAL, "done");
    let config = &Config::default();
    for role in ROLES {
        agree(config, config, |pair| {
            talk(pair);
            pair.drive();
        });
        agree(config, config, |pair| {
            talk(pair);
            pair.end(role).conn.sender_mut().close(bye()).unwrap();
            pair.advance(10 * SECOND);
        });
        agree(config, config, |pair| {
            talk(pair);
            pair.client.conn.sender_mut().close(bye()).unwrap();
            pair.server.conn.sender_mut().close(bye()).unwrap();
            pair.advance(10 * SECOND);
        });
        for carried in [false, true] {
            agree(config, config, |pair| {
                talk(pair);
                if carried {
                    pair.drive();
                }
                pair.end(role).conn.fail(CloseCode::POLICY_VIOLATION).unwrap();
                pair.advance(10 * SECOND);
            });
            agree(config, config, |pair| {
                talk(pair);
                if carried {
                    pair.drive();
                }
                pair.end(role).inbox.extend([0xff, 0xff]); // the peer breaks the protocol
                pair.advance(10 * SECOND);
            });
            agree(config, config, |pair| {
                talk(pair);
                if carried {
                    pair.drive();
                }
                let end = pair.end(role);
                (end.shut, end.gone) = (true, true); // the stream breaks
                pair.advance(10 * SECOND);
            });
        }
    }
}

#[test]
fn a_pair_that_is_asked_agrees_where_a_stream_is_blocked_or_not_read() {
    let config = Config {
        frame_timeout: 15 * SECOND,
        close_timeout: 5 * SECOND,
        write_timeout: 12 * SECOND,
        ..Config::default()
    };
    // One end alone: which of two Pings of the same moment leaves first is up to the streams.
    let beating =
        Config { heartbeat: Some(Heartbeat::new(20 * SECOND, 10 * SECOND)), ..config.clone() };
    for (role, closes) in product(ROLES, [false, true]) {
        for seconds in [3, 6, 13, 100].into_iter().step_by(every(3)) {
            agree(&beating, &config, |pair| {
                talk(pair);
                pair.drive();
                pair.end(role).blocked = true;
                pair.end(role).conn.sender_mut().feed("stuck").unwrap();
                if closes {
                    pair.end(role).conn.sender_mut().close(None).unwrap();
                }
                pair.advance(seconds * SECOND);
                pair.end(role).blocked = false;
                pair.advance(100 * SECOND);
            });
            agree(&beating, &config, |pair| {
                talk(pair);
                pair.drive();
                pair.end(role).deaf = true;
                if closes {
                    pair.end(role).conn.sender_mut().close(None).unwrap();
                }
                pair.advance(seconds * SECOND);
                pair.end(role).deaf = false;
                pair.advance(100 * SECOND);
            });
        }
    }
}

#[test]
fn each_deadline_is_waited_for_and_judged_when_the_stream_has_nothing_more() {
    for role in ROLES {
        // A frame that does not become whole.
        let mut end = asked(role, &Config { frame_timeout: 7 * SECOND, ..Config::default() });
        end.inbox.push_back(frame_to(role, BINARY, [1; 50])[..20].to_vec());
        end.fails_at(7, RecvError::FrameTimeout);

        // A Close that is not answered.
        let mut end = asked(role, &Config { close_timeout: 5 * SECOND, ..Config::default() });
        end.conn.sender_mut().close(None).unwrap();
        end.fails_at(5, RecvError::CloseTimeout);

        // A stream that takes nothing.
        let mut end = asked(role, &Config { write_timeout: 6 * SECOND, ..Config::default() });
        end.room = 0;
        end.conn.sender_mut().feed("stuck").unwrap();
        end.fails_at(6, RecvError::WriteTimeout);

        // A peer that is silent, though one message lies there unread when its time is up.
        let mut end = asked(role, &with_heartbeat(10 * SECOND, 5 * SECOND));
        end.run_to(12);
        assert_eq!(end.wrote().len(), 1, "a Ping");
        end.now = 17 * SECOND;
        end.hear(TEXT, "late");
        assert!(end.run().is_some());
        assert_eq!(end.seen, [text("late")]);
        end.run_to(40);
        assert_eq!(end.over, Some(Some(RecvError::PongTimeout)));
    }
}

impl Asked {
    /// Time passes, from deadline to deadline, until it is so late.
    fn run_to(&mut self, seconds: u32) {
        while let Some(wait) = self.run() {
            match wait.until.map(|at| at - Time::ZERO) {
                Some(next) if next <= SECOND * seconds => self.now = next,
                _ => break,
            }
        }
        self.now = SECOND * seconds;
        self.run();
    }
}

#[test]
fn the_deadline_that_cut_the_closing_handshake_short_is_told() {
    // The peer has closed, and does not read our answer.
    for role in ROLES {
        let mut end = asked(role, &Config { close_timeout: 5 * SECOND, ..Config::default() });
        end.room = 0;
        end.hear(CLOSE, close_body(1000, ""));
        end.fails_at(5, RecvError::CloseTimeout);
        assert_eq!((code_of(end.conn.closed()), end.shut), ((1000, false), false));
        assert_eq!(end.run(), None, "and told again");
    }
}

#[test]
#[cfg_attr(miri, ignore = "1,024 reads after the deadline")]
fn a_peer_that_never_stops_sending_puts_off_neither_a_write_nor_the_deadline_on_data() {
    for role in ROLES {
        let mut end = asked(role, &Config { data_timeout: Some(10 * SECOND), ..Config::default() });
        end.room = 0;
        for tenth in 0..300 {
            end.now = SECOND / 10 * tenth;
            for _ in 0..100 {
                end.hear(PING, "flood");
            }
            while !end.inbox.is_empty() && end.over.is_none() {
                let wait = end.turn().flatten();
                let now = Time::new(end.now);
                assert!(wait.is_none_or(|wait| wait.until == Some(now)), "it need not wait");
            }
            match tenth {
                // A write is tried again beside each read.
                0 => assert!(end.writes >= end.reads - 2 && end.outbox.is_empty()),
                1 => assert_eq!(end.wrote().last().unwrap(), &(PONG, b"flood".to_vec())),
                _ => {}
            }
            end.room = usize::MAX;
        }
        assert_eq!(end.over, Some(Some(RecvError::DataTimeout)));
    }
}

#[test]
fn a_caller_who_was_slow_has_read_what_lay_there_before_the_deadline_on_data_is_judged() {
    for role in ROLES {
        let mut end = asked(role, &Config { data_timeout: Some(10 * SECOND), ..Config::default() });
        end.run();
        end.now = 30 * SECOND;
        for _ in 0..200 {
            end.hear(PONG, "still here");
        }
        end.hear(TEXT, "data");
        assert!(end.run().is_some());
        assert_eq!((end.seen.last(), end.over), (Some(&text("data")), None));
    }
}

/// A read that nothing came of need not be reported.
#[test]
#[cfg_attr(miri, ignore = "1,024 reads after the deadline")]
fn a_caller_that_reports_no_read_finds_a_dead_feed_too() {
    for role in ROLES {
        let mut end = asked(role, &Config { data_timeout: Some(10 * SECOND), ..Config::default() });
        end.run();
        end.now = 10 * SECOND;
        let mut reads = 0;
        while end.over.is_none() {
            match end.conn.next(Time::new(end.now)) {
                Next::Read(_) => {
                    reads += 1;
                    end.now += Duration::from_millis(1);
                }
                Next::Wait(wait) => end.now = end.now.max(wait.until.unwrap() - Time::ZERO),
                Next::Over(why) => end.over = Some(why),
                _ => assert!(end.turn().is_none(), "a write or the shutdown is asked for again"),
            }
            // 1,024 until it is believed, then the second for the peer to end the stream.
            assert!(reads < 2_100, "{end:?}", end = end.conn);
        }
        assert_eq!(end.over, Some(Some(RecvError::DataTimeout)));
    }
}

// A104
#[test]
fn behind_an_overdue_close_it_reads_until_the_peer_ends_the_stream() {
    for (role, ends) in product(ROLES, [true, false]) {
        let mut end = asked(role, &Config { close_timeout: 5 * SECOND, ..Config::default() });
        end.conn.sender_mut().close(None).unwrap();
        end.run();
        for tenth in 0..200 {
            end.now = SECOND / 10 * tenth;
            match ends && tenth >= 66 {
                true => end.inbox.push_back(vec![]),
                false => end.hear(PING, "still reading"),
            }
            if end.run().is_none() {
                break;
            }
            assert_eq!(end.shut, tenth >= 50);
            assert!(end.inbox.is_empty(), "everything is read");
        }
        let over = (end.now.as_millis(), end.over);
        let until = if ends { 6600 } else { 10_000 };
        assert_eq!(over, (until, Some(Some(RecvError::CloseTimeout))));
        assert_eq!(end.conn.closed().unwrap().unconfirmed, !ends);
    }
}

#[test]
fn bytes_that_the_stream_refuses_are_waited_for_and_reading_goes_on() {
    for role in ROLES {
        let mut end = asked(role, &Config { write_timeout: Duration::MAX, ..Config::default() });
        assert_eq!(end.run(), Some(IDLE));
        end.room = 4;
        end.conn.sender_mut().feed("longer than that").unwrap();
        let wait = |end: &mut Asked| end.run().map(|wait| Wait { until: None, ..wait });
        assert_eq!(wait(&mut end), Some(BLOCKED));
        end.hear(TEXT, "read");
        assert_eq!(wait(&mut end), Some(BLOCKED));
        assert_eq!(end.seen, [text("read")]);
        end.room = usize::MAX;
        assert_eq!(end.run(), Some(IDLE));
        assert_eq!(end.wrote(), [(TEXT, b"longer than that".to_vec())]);
    }
}

#[test]
fn what_is_fed_between_two_answers_is_written() {
    for role in ROLES {
        let mut end = asked(role, &Config::default());
        assert!(matches!(end.conn.next(Time::ZERO), Next::Read(_)));
        end.conn.report(Report::ReadBlocked);
        end.conn.sender_mut().feed("now").unwrap();
        assert!(matches!(end.conn.next(Time::ZERO), Next::Write(_)));
        assert_eq!(end.run(), Some(IDLE));
        assert_eq!(end.wrote(), [(TEXT, b"now".to_vec())]);
    }
}

#[test]
fn what_is_not_done_is_asked_for_again() {
    for role in ROLES {
        let mut end = asked(role, &Config::default());
        end.conn.sender_mut().feed("once more").unwrap();
        for _ in 0..3 {
            assert!(matches!(end.conn.next(Time::ZERO), Next::Write(_)));
        }
        assert_eq!(end.run(), Some(IDLE));
        for _ in 0..3 {
            assert!(matches!(end.conn.next(Time::ZERO), Next::Read(_)));
        }
        end.inbox.push_back(frame_to(role, 0x83, ""));
        while !matches!(end.conn.next(Time::ZERO), Next::ShutDown) {
            end.turn();
        }
        assert!(matches!(end.conn.next(Time::ZERO), Next::ShutDown));
        // TLS has to write something first.
        end.conn.report(Report::WriteBlocked);
        let Next::Wait(Wait { readable: false, writable: true, until: Some(_) }) =
            end.conn.next(Time::ZERO)
        else {
            panic!("{end:?} waits for room", end = end.conn);
        };
        assert!(matches!(end.conn.next(Time::ZERO), Next::ShutDown));
    }
}

#[test]
fn a_message_is_answered_while_it_is_looked_at() {
    let mut end = asked(Role::Server, &Config::default());
    end.hear(TEXT, "echo");
    assert!(matches!(end.conn.next(Time::ZERO), Next::Read(_)));
    read_once(&mut end.conn, &end.inbox.pop_front().unwrap());
    let Next::Event(Event::Message(message), tx) = end.conn.next(Time::ZERO) else {
        panic!("a message");
    };
    assert_eq!(message, Message::Text("echo"));
    tx.feed(message).unwrap();
    assert_eq!(end.run(), Some(IDLE));
    assert_eq!(end.wrote(), [(TEXT, b"echo".to_vec())]);
}

#[test]
fn while_reading_is_paused_nothing_is_delivered_or_read_and_the_end_is_still_told() {
    for role in ROLES {
        let config =
            Config { close_timeout: 5 * SECOND, write_timeout: 8 * SECOND, ..Config::default() };
        let mut end = asked(role, &config);
        let all = [frame_to(role, TEXT, "1"), frame_to(role, TEXT, "2"), frame_to(role, PING, "3")]
            .concat();
        end.inbox.push_back(all);
        while end.seen.is_empty() {
            end.turn();
        }
        end.conn.set_paused(true);
        end.hear(TEXT, "4");
        let wait = Wait { readable: false, ..IDLE };
        assert_eq!((end.run(), end.seen.len(), end.inbox.len()), (Some(wait), 1, 1));
        // What is fed meanwhile is written.
        end.conn.sender_mut().feed("busy").unwrap();
        assert_eq!(end.run(), Some(wait));
        assert_eq!(end.wrote(), [(TEXT, b"busy".to_vec())]);
        end.conn.set_paused(false);
        assert_eq!(end.run(), Some(IDLE));
        let want = [text("1"), text("2"), Seen::Ping(b"3".to_vec()), text("4")];
        assert_eq!(end.seen, want);

        // A deadline passes: what was received comes first.
        end.wrote();
        end.room = 0;
        end.inbox.push_back([frame_to(role, TEXT, "5"), frame_to(role, TEXT, "6")].concat());
        while end.seen.len() < 5 {
            end.turn();
        }
        end.conn.set_paused(true);
        end.conn.sender_mut().feed("stuck").unwrap();
        end.run_to(20);
        assert_eq!(end.seen[4..], [text("5"), text("6"), Seen::Failed(RecvError::WriteTimeout)]);
        assert_eq!(end.conn.sender_mut().feed("late"), Err(SendError::Closed));
    }
}

#[test]
fn a_close_that_the_caller_answers_is_waited_for() {
    for role in ROLES {
        let mut end = asked(role, &Config { auto_close: false, ..Config::default() });
        end.hear(CLOSE, close_body(1000, "bye"));
        let wait = Wait { readable: false, ..IDLE };
        assert_eq!((end.run(), end.over), (Some(wait), None));
        end.conn.sender_mut().close(CloseCode::NORMAL).unwrap();
        end.inbox.push_back(vec![]);
        assert_eq!((end.run(), end.over), (None, Some(None)));
        assert!(end.shut && end.conn.closed().unwrap().clean);
    }
}
