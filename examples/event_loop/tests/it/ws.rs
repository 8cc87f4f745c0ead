//! `ws`.
use crate::start;
use event_loop::{Service, bind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Heartbeat, Message,
    blocking::{MaybeTls, WebSocket, connect},
};

include!("../../../../tests/support/patience.rs");

/// When a loop that forgets a deadline would look at the connection again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2 * PATIENCE.as_secs());
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn client(addr: SocketAddr) -> WebSocket<MaybeTls> {
    connect(&format!("ws://{addr}/"), &Config::default()).expect("it is accepted")
}

/// A stream on which nothing was said.
fn dial(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a stream");
    stream
}

/// A stream with the opening handshake done.
fn open(addr: SocketAddr) -> TcpStream {
    let mut stream = dial(addr);
    stream.write_all(REQUEST).expect("it reads");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("it answers");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("it ends in order");
    all
}

fn echo(ws: &mut WebSocket<MaybeTls>, message: &[u8]) {
    ws.send(message).expect("it reads");
    let back = ws.recv().expect("it answers");
    assert!(back == Some(Message::Binary(message)), "{} bytes came back otherwise", message.len());
}

#[test]
fn five_hundred_connections_may_come_at_once() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (_net, addr) = bind(any, &Service::default()).expect("a port");
    // It does not run: all of them wait for it.
    let waiting: Result<Vec<_>, _> = (0..500)
        .map(|n| {
            // Whoever is sent away comes back after a second; a busy machine is late now and then.
            let dial = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(900)).ok();
            (0..5).find_map(dial).ok_or(n)
        })
        .collect();
    assert_eq!(waiting.map(|all| all.len()), Ok(500), "the first that was sent away");
}

#[test]
fn messages_come_back_whatever_their_length_and_the_end_is_clean() {
    for addr in start(&Config::default(), None) {
        let mut ws = client(addr);
        for len in [0, 1, 125, 126, 1000, 16 << 10, 65_535, 65_536, 3 << 20, 64] {
            let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
            echo(&mut ws, &message);
        }
        ws.send("Zoë").expect("it reads");
        assert_eq!(ws.recv().expect("it answers"), Some(Message::Text("Zoë")));
        ws.close(CloseCode::NORMAL).expect("it answers");
        assert_eq!(ws.closed().unwrap().code, 1000);
    }
}

#[test]
fn two_thousand_connections_are_served_at_once_in_any_order() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("it may be raised");
    for addr in start(&Config::default(), None) {
        let mut all: Vec<_> = (0..2000).map(|_| client(addr)).collect();
        for round in 0..3u32 {
            // All are under way before the first answer is read; parts of frames among them.
            for (i, ws) in all.iter_mut().enumerate() {
                ws.send(&[i as u8; 200][..]).expect("it reads");
                ws.send(&round.to_be_bytes()[..]).expect("it reads");
            }
            for (i, ws) in all.iter_mut().enumerate().rev() {
                let back = ws.recv().expect("it answers");
                assert_eq!(back, Some(Message::Binary(&[i as u8; 200])));
                let back = ws.recv().expect("it answers");
                assert_eq!(back, Some(Message::Binary(&round.to_be_bytes())));
            }
        }
        // Half of them go without a word, and their places are given to others.
        all.drain(..1000);
        all.extend((0..1000).map(|_| client(addr)));
        all.iter_mut().for_each(|ws| echo(ws, b"still"));
    }
}

#[test]
fn a_frame_may_come_byte_by_byte_between_those_of_others() {
    for addr in start(&Config::default(), None) {
        let (mut slow, mut other) = (open(addr), client(addr));
        slow.set_nodelay(true).expect("a stream");
        for byte in b"\x82\x83\0\0\0\0abc\x82\x81\0\0\0\0d" {
            slow.write_all(&[*byte]).expect("it reads");
            echo(&mut other, b"between");
        }
        let mut back = [0; 8];
        slow.read_exact(&mut back).expect("it answers");
        assert_eq!(&back, b"\x82\x03abc\x82\x01d");
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from_and_loses_nothing() {
    const MOST: usize = 256 << 20;
    for addr in start(&Config::default(), None) {
        let (mut slow, mut other) = (open(addr), client(addr));
        slow.set_nonblocking(true).expect("a stream");
        let frame = [&[0x82, 0xfe, 0x40, 0, 0, 0, 0, 0][..], &[7; 0x4000]].concat();
        // Until the stream has taken nothing over 100 round trips of another connection.
        let (mut sent, mut silent) = (0, 0);
        while silent < 100 && sent < MOST {
            match slow.write(&frame[sent % frame.len()..]) {
                Ok(n) => (sent, silent) = (sent + n, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    echo(&mut other, b"meanwhile");
                    silent += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sent < MOST, "{sent} bytes were taken from a peer that reads none");
        slow.set_nonblocking(false).expect("a stream");
        let whole = sent / frame.len();
        let mut back = vec![0; whole * (frame.len() - 4)];
        slow.read_exact(&mut back).expect("it answers all");
        for echoed in back.chunks(frame.len() - 4) {
            assert!(echoed[..4] == [0x82, 0x7e, 0x40, 0] && echoed[4..].iter().all(|&b| b == 7));
        }
    }
}

#[test]
fn a_violation_is_answered_with_its_code_and_the_stream_ends() {
    for addr in start(&Config::default(), None) {
        let mut stream = open(addr);
        stream.write_all(b"\x82\x81\0\0\0\0a\x82\x01b").expect("it reads"); // the second is unmasked
        assert_eq!(to_the_end(&mut stream), b"\x82\x01a\x88\x02\x03\xea");
    }
}

#[test]
fn a_close_is_answered_and_the_server_ends_the_stream() {
    for addr in start(&Config::default(), None) {
        let mut stream = open(addr);
        stream.write_all(b"\x89\x81\0\0\0\0?\x88\x82\0\0\0\0\x03\xe8").expect("it reads");
        assert_eq!(to_the_end(&mut stream), b"\x8a\x01?\x88\x02\x03\xe8");
    }
}

#[test]
fn a_bad_request_is_told_so() {
    for addr in start(&Config::default(), None) {
        let mut stream = dial(addr);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let answer = to_the_end(&mut stream);
        assert!(answer.starts_with(b"HTTP/1.1 426"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn who_says_nothing_or_half_a_frame_is_ended() {
    let brief = Duration::from_millis(50);
    for addr in start(&Config { handshake_timeout: brief, ..Config::default() }, None) {
        let answer = to_the_end(&mut dial(addr));
        assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    }
    let config = Config { frame_timeout: brief, write_timeout: WRITE_TIMEOUT, ..Config::default() };
    for addr in start(&config, None) {
        // Half a frame, with and without an answer on its way.
        for (whole, answer) in [(&b""[..], &b""[..]), (b"\x82\x81\0\0\0\0a", b"\x82\x01a")] {
            let mut stream = open(addr);
            stream.write_all(&[whole, b"\x82\x85\0\0\0\0ab"].concat()).expect("it reads");
            assert_eq!(to_the_end(&mut stream), answer); // nobody is told who does not listen
        }
    }
}

#[test]
fn who_does_not_answer_a_ping_is_ended() {
    let brief = Duration::from_millis(50);
    let config = Config { heartbeat: Some(Heartbeat::new(brief, brief)), ..Config::default() };
    for addr in start(&Config { write_timeout: WRITE_TIMEOUT, ..config }, None) {
        let mut stream = open(addr);
        let all = to_the_end(&mut stream);
        assert_eq!(all.first(), Some(&0x89));
    }
}
