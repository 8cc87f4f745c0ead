//! `Sender::leave`: a connection that ends at a set time, whatever the peer does.
use crate::support::wire::*;
use std::time::Duration;
use tickwire::{
    CloseCode, CloseFrame, Config, Connection, ReadyState, RecvError, Report, Role, SendError, Time,
};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Time {
    Time::new(SECOND * seconds as u32)
}

fn leave(conn: &mut Connection, by: Time) {
    conn.sender_mut().leave(CloseCode::GOING_AWAY, by).unwrap();
}

/// No deadline of ours is shorter.
fn patient() -> Config {
    let day = SECOND * 86_400;
    Config { close_timeout: day, write_timeout: day, ..Config::default() }
}

fn is_over(conn: &mut Connection) {
    assert_eq!(conn.ready_state(), ReadyState::Closed);
    assert_eq!(conn.poll_timeout(), None);
    assert!(!conn.sender().has_outgoing());
}

/// The peer is silent, and reads nothing from `written` bytes on.
#[test]
fn at_the_time_of_leave_the_connection_is_over_whatever_was_written() {
    for (role, written) in product(ROLES, [0, 1, 50, 120, 1000]) {
        let mut conn = connection(role, &patient());
        for _ in 0..5 {
            conn.sender_mut().feed(&[7; 100]).unwrap();
        }
        write(&mut conn, written.min(120));
        conn.report(Report::WriteBlocked);
        leave(&mut conn, at(10));
        if written == 1000 {
            drain(&mut conn);
        }
        assert_eq!(conn.poll_timeout(), Some(Time::ZERO), "to arm the others");
        tell_time(&mut conn, at(3)).unwrap();
        assert_eq!(conn.poll_timeout(), Some(at(10)));
        tell_time(&mut conn, at(9)).unwrap();
        assert_eq!(conn.ready_state(), ReadyState::Closing);
        assert_eq!(tell_time(&mut conn, at(10)), Err(RecvError::CloseTimeout));
        assert_eq!(events(&mut conn), [Seen::Failed(RecvError::CloseTimeout)]);
        is_over(&mut conn);
        let sent = if written == 1000 { 1001 } else { 1006 };
        assert_eq!(conn.closed().unwrap().sent_code, sent);
        assert!(conn.sender().dropped() > 0);
    }
}

fn write(conn: &mut Connection, n: usize) {
    let mut out = conn.sender_mut().outgoing();
    let n = n.min(bytes::Buf::remaining(&out));
    bytes::Buf::advance(&mut out, n);
}

#[test]
fn our_close_goes_ahead_of_what_has_not_begun() {
    for (role, begun) in product(ROLES, [false, true]) {
        let mut conn = connection(role, &patient());
        let first = conn.sender_mut().feed("first").unwrap();
        let second = conn.sender_mut().feed("second").unwrap();
        write(&mut conn, usize::from(begun));
        leave(&mut conn, at(1));
        let wire = drain(&mut conn);
        if !begun {
            assert_eq!(sent(&wire), [(CLOSE, close_body(1001, ""))]);
        }
        assert_eq!(conn.sender().is_written(first), begun);
        assert!(!conn.sender().is_written(second));
        assert_eq!(conn.sender_mut().feed("third"), Err(SendError::Closed));
        receive(&mut conn, &frame_to(role, CLOSE, close_body(1001, "")));
        assert!(conn.closed().unwrap().clean);
    }
}

/// As at the bound of a deploy: `close` has been waiting for a peer that reads slowly.
#[test]
fn a_close_that_waits_moves_ahead_of_what_has_not_begun() {
    let body = close_body(1012, "restart");
    let ways: Vec<_> = product([false, true], [false, true]).collect();
    for ((role, begun), (answers, urgent)) in
        product(product(ROLES, [0, 1, 30]).collect::<Vec<_>>(), ways)
    {
        let case = format!("{role:?} {answers} {begun} {urgent}");
        let mut conn = connection(role, &patient());
        let messages = [vec![1; 20], vec![2; 20_000], vec![3; 20]];
        let fed = messages.map(|message| conn.sender_mut().feed(message).unwrap());
        let total = conn.sender().buffered_amount();
        let mut wire = take(&mut conn, begun);
        let first = urgent.then(|| conn.sender_mut().feed_first("first").unwrap());
        match answers {
            true => _ = receive(&mut conn, &frame_to(role, CLOSE, &body)),
            false => {
                conn.sender_mut()
                    .close(CloseFrame::with_reason(CloseCode::SERVICE_RESTART, "restart"))
                    .unwrap();
                conn.sender_mut().ping(b"?").unwrap();
            }
        }
        conn.report(Report::WriteBlocked);
        for _ in 0..2 {
            conn.sender_mut().leave(CloseCode::GOING_AWAY, at(1)).unwrap();
        }
        wire.extend(drain(&mut conn));

        let frames = sent(&wire);
        // A message of which a byte has left is written to its end.
        let lens = [20, 20_000, 20].map(|n: usize| n + header(n, role));
        let starts = [0, lens[0], lens[0] + lens[1]];
        let left = starts.iter().filter(|&&start| start < begun).count();
        let data = frames.iter().filter(|(b0, _)| *b0 == BINARY).count();
        assert_eq!(data, left, "{case}");
        for (at, position) in fed.into_iter().enumerate() {
            assert_eq!(conn.sender().is_written(position), at < left, "{case}");
        }
        assert!(first.is_none_or(|first| !conn.sender().is_written(first)), "{case}");
        let expected = match answers {
            true => 1012_u16.to_be_bytes().to_vec(),
            false => body.clone(),
        };
        let closes: Vec<_> = frames.iter().filter(|(b0, _)| *b0 == CLOSE).collect();
        assert_eq!(closes, [&(CLOSE, expected)], "{case}");
        let kept: usize = lens[..left].iter().sum();
        let first = if urgent { 5 + header(5, role) } else { 0 };
        assert_eq!(conn.sender().dropped(), (total - kept + first) as u64, "{case}");
        assert_eq!(conn.sender().buffered_amount(), 0, "{case}");
        if !answers {
            receive(&mut conn, &frame_to(role, CLOSE, &body));
        }
        assert!(conn.closed().unwrap().clean, "{case}");
    }
}

fn header(payload: usize, role: Role) -> usize {
    let long = if payload < 126 { 2 } else { 4 };
    long + if role == Role::Client { 4 } else { 0 }
}

/// Writes so many bytes, and returns them.
fn take(conn: &mut Connection, n: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    while wire.len() < n {
        let mut out = conn.sender_mut().outgoing();
        let chunk = bytes::Buf::chunk(&out);
        let len = chunk.len().min(n - wire.len());
        wire.extend(&chunk[..len]);
        bytes::Buf::advance(&mut out, len);
    }
    wire
}

/// Queues our Close, unless `leave` has.
fn close(conn: &mut Connection) {
    let _ = conn.sender_mut().close(None);
}

/// Brings a connection that leaves at 10 s into a phase of closing.
type Phase = (&'static str, fn(&mut Connection, Role), Option<RecvError>);

const PHASES: [Phase; 7] = [
    ("our Close was queued before", |conn, _| close(conn), { Some(RecvError::CloseTimeout) }),
    (
        "a write fails behind our Close",
        |conn, _| {
            close(conn);
            drain(conn);
            conn.report(Report::WriteFailed);
        },
        Some(RecvError::CloseTimeout),
    ),
    (
        "the peer's Close is to be answered",
        |conn, role| drop(receive(conn, &frame_to(role, CLOSE, ""))),
        Some(RecvError::CloseTimeout),
    ),
    (
        "both Closes have passed",
        |conn, role| {
            receive(conn, &frame_to(role, CLOSE, ""));
            drain(conn);
        },
        None,
    ),
    (
        "the stream is shut",
        |conn, role| {
            receive(conn, &frame_to(role, CLOSE, ""));
            drain(conn);
            conn.report(Report::ShutDown);
        },
        None,
    ),
    (
        "a violation is to be reported",
        |conn, role| drop(receive(conn, &frame_to(role, 0xF3, "x"))),
        Some(RecvError::CloseTimeout),
    ),
    (
        "the peer's Close is overdue, but other bytes came",
        |conn, role| {
            close(conn);
            drain(conn);
            tell_time(conn, at(0)).unwrap();
            receive(conn, &frame_to(role, TEXT, "still here"));
            tell_time(conn, at(1)).unwrap_err();
            events(conn);
            conn.report(Report::ShutDown);
        },
        None, // `CloseTimeout` was told before
    ),
];

#[test]
fn in_every_phase_of_closing_the_time_ends_the_connection() {
    for (role, (name, begin, error)) in product(ROLES, PHASES) {
        for late in [false, true] {
            // What the phases may take themselves, up to `LINGER`, is longer than till `by`.
            let close_timeout = if name.contains("overdue") { SECOND } else { SECOND * 100 };
            let mut conn = connection(role, &Config { close_timeout, ..patient() });
            let by = Time::new(SECOND * 3 / 2);
            if !late {
                leave(&mut conn, by);
            }
            begin(&mut conn, role);
            if late {
                leave(&mut conn, by);
            }
            if conn.ready_state() == ReadyState::Closed {
                continue;
            }
            let before = Time::new(SECOND * 14 / 10);
            let _ = tell_time(&mut conn, before);
            assert_eq!(conn.ready_state(), ReadyState::Closing, "{name}");
            let told = tell_time(&mut conn, by);
            assert_eq!(told.err(), error, "{name}");
            events(&mut conn);
            is_over(&mut conn);
        }
    }
}

#[test]
fn the_earliest_time_counts_and_one_that_has_passed_ends_it_at_once() {
    let mut conn = connection(Role::Client, &patient());
    for (by, counts) in [(at(10), at(10)), (at(20), at(10)), (at(5), at(5))] {
        leave(&mut conn, by);
        drain(&mut conn);
        tell_time(&mut conn, at(3)).unwrap();
        assert_eq!(conn.poll_timeout(), Some(counts));
    }
    leave(&mut conn, at(1));
    assert_eq!(tell_time(&mut conn, at(3)), Err(RecvError::CloseTimeout));
}

#[test]
fn a_frame_that_cannot_be_sent_changes_nothing() {
    let long = "x".repeat(124);
    for (_, mut conn) in connections(&patient()) {
        let reason = CloseFrame::with_reason(CloseCode::NORMAL, &long);
        assert_eq!(conn.sender_mut().leave(reason, at(0)), Err(SendError::ReasonTooLong));
        assert_eq!((conn.ready_state(), conn.poll_timeout()), (ReadyState::Open, None));
        tell_time(&mut conn, at(1)).unwrap();
        conn.sender_mut().feed("x").unwrap();
    }
    let mut conn = connection(Role::Server, &patient());
    let told = conn.sender_mut().leave(CloseCode::MANDATORY_EXTENSION, at(0));
    assert_eq!(told, Err(SendError::BadCloseCode));
    assert_eq!(conn.ready_state(), ReadyState::Open);
}

#[test]
fn a_trading_client_waits_a_second_for_the_answer_to_its_close_and_five_for_its_writes() {
    for (writes, after, error) in
        [(true, 1, RecvError::CloseTimeout), (false, 5, RecvError::WriteTimeout)]
    {
        let mut conn = connection(Role::Client, &Config::trading());
        if writes {
            conn.sender_mut().close(None).unwrap();
            drain(&mut conn);
        } else {
            conn.sender_mut().feed("order").unwrap();
            conn.report(Report::WriteBlocked);
        }
        tell_time(&mut conn, at(0)).unwrap();
        for eighth in 1..8 * after {
            receive(&mut conn, &frame_to(Role::Client, PONG, "")); // the peer lives, but reads nothing
            tell_time(&mut conn, Time::new(SECOND / 8 * eighth)).unwrap();
        }
        assert_eq!(tell_time(&mut conn, at(after.into())), Err(error));
    }
    let config = Config::trading();
    assert_eq!(config.heartbeat, Some(tickwire::Heartbeat::TRADING));
    assert_eq!(config.handshake_timeout, 3 * SECOND);
}
