//! A handshake's response that leaves with the frames behind it: it is no frame, and comes first.
use crate::support::{heads::feed_head, wire::*};
use tickwire::{
    CloseCode, CloseFrame, Config, Connection,
    handshake::{
        Progress,
        server::{Accept, Handshake},
    },
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// A connection whose response is not written yet; `behind` came with the request.
fn accepted(config: &Config, behind: &[u8]) -> Connection {
    let mut handshake = Handshake::new(config);
    let wire = [REQUEST.as_bytes(), behind].concat();
    feed_head(&mut handshake, &wire);
    assert_eq!(handshake.step(), Ok(Progress::Complete));
    handshake.accept(Accept::default()).unwrap()
}

fn response() -> Vec<u8> {
    let wire = drain(&mut accepted(&Config::default(), b""));
    assert!(wire.starts_with(b"HTTP/1.1 101 ") && wire.ends_with(b"\r\n\r\n"));
    wire
}

/// The frames behind the response.
fn behind(wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let response = response();
    assert_eq!(wire[..response.len()], response);
    sent(&wire[response.len()..])
}

#[test]
fn everything_goes_behind_the_response_at_every_write_offset() {
    let config = Config { min_vectored: 1000, ..Config::default() };
    let large = times(40_000, 17_000);
    for at in (0..=response().len() + 8).step_by(every(131)) {
        let mut conn = accepted(&config, b"");
        conn.sender_mut().feed("one").unwrap();
        let mut wire = write(&mut conn, at);
        let begun = at > response().len();
        let whole = at >= response().len() + 5;
        conn.sender_mut().feed_first("first").unwrap();
        conn.sender_mut().ping(b"p").unwrap();
        conn.sender_mut().feed(vec![2; 2000]).unwrap();
        // Larger than the buffer, which has to grow while the response is under way.
        conn.sender_mut().feed(&vec![3; large]).unwrap();
        wire.extend(drain(&mut conn));
        let mut want = vec![
            (PING, b"p".to_vec()),
            (TEXT, b"first".to_vec()),
            (BINARY, vec![2; 2000]),
            (BINARY, vec![3; large]),
        ];
        want.insert(if begun { 0 } else { 2 }, (TEXT, b"one".to_vec()));
        assert_eq!(behind(&wire), want, "{at} {whole}");
    }
}

#[test]
fn a_buffer_grows_while_the_response_is_half_written() {
    for at in (0..=response().len()).step_by(every(101)) {
        let mut conn = accepted(&Config::default(), b"");
        let mut wire = write(&mut conn, at);
        let position = conn.sender_mut().feed(&vec![7; 20_000]).unwrap();
        assert!(!conn.sender().is_written(position));
        wire.extend(drain(&mut conn));
        assert_eq!(behind(&wire), [(BINARY, vec![7; 20_000])], "{at}");
        assert!(conn.sender().is_written(position));
    }
}

#[test]
fn an_end_before_the_response_was_written_leaves_it_whole() {
    for at in (0..=response().len()).step_by(every(53)) {
        for abort in [false, true] {
            let mut conn = accepted(&Config::default(), b"");
            let mut wire = write(&mut conn, at);
            conn.sender_mut().feed("data").unwrap();
            let frame = CloseFrame::from(CloseCode::NORMAL);
            if abort {
                conn.sender_mut().abort(frame).unwrap();
            } else {
                conn.sender_mut().close(frame).unwrap();
            }
            wire.extend(drain(&mut conn));
            let mut sent = behind(&wire);
            assert_eq!(sent.pop(), Some((CLOSE, close_body(1000, ""))));
            assert_eq!(sent.len(), usize::from(!abort), "{at}");
        }
        let mut conn = accepted(&Config::default(), &masked(0x83, ""));
        let mut wire = write(&mut conn, at);
        assert!(matches!(events(&mut conn)[..], [Seen::Failed(_)]));
        wire.extend(drain(&mut conn));
        assert_eq!(behind(&wire), [(CLOSE, close_body(1002, ""))]);
    }
}

#[test]
fn frames_right_behind_the_head_are_received_and_answered() {
    // P105's twin for servers, P129
    let frames = [masked(TEXT, "early"), masked(PING, "p"), masked(TEXT, "partial")].concat();
    for cut in (0..=frames.len()).step_by(every(9)) {
        let mut conn = accepted(&Config::default(), &frames[..cut]);
        let mut seen = events(&mut conn);
        seen.extend(receive(&mut conn, &frames[cut..]));
        assert_eq!(seen, [text("early"), Seen::Ping(b"p".to_vec()), text("partial")], "{cut}");
        assert_eq!(behind(&drain(&mut conn)), [(PONG, b"p".to_vec())]);
    }
}
