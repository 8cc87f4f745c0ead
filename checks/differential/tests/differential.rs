//! Against another implementation: what we write it reads, and what it writes we read.
//!
//! Known differences, each with a case below: `tungstenite` looks at text when the message is
//! whole (ours fails at the first impossible byte), refuses a masked frame from a server only when
//! told to, and answers the Close code 1005 and the like by closing with 1002 without an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unused_must_use)]

#[allow(dead_code)]
#[path = "../../../tests/support/wire/mod.rs"]
mod support;
use std::io::{self, Read, Write};
use support::*;
use tickwire::{Chunk, Config, Connection, DataKind, Role};
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{
        CloseFrame, Role as Theirs,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

/// A stream of what was put in; what is written is kept.
#[derive(Default)]
struct Pipe {
    input: Vec<u8>,
    read: usize,
    output: Vec<u8>,
    /// The most one read gives.
    most: usize,
}

impl Read for Pipe {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let input = &self.input[self.read..];
        if input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = input.len().min(to.len()).min(self.most.max(1));
        to[..n].copy_from_slice(&input[..n]);
        self.read += n;
        Ok(n)
    }
}

impl Write for Pipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, most: usize) -> WebSocket<Pipe> {
    let pipe = Pipe { most, ..Pipe::default() };
    let role = if role == Role::Client { Theirs::Client } else { Theirs::Server };
    WebSocket::from_raw_socket(pipe, role, None)
}

/// Everything it reads of `wire`.
fn they_read(socket: &mut WebSocket<Pipe>, wire: &[u8]) -> Vec<Seen> {
    socket.get_mut().input.extend_from_slice(wire);
    let mut seen = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(s)) => seen.push(text(&s)),
            Ok(Message::Binary(b)) => seen.push(binary(b)),
            Ok(Message::Ping(b)) => seen.push(Seen::Ping(b.to_vec())),
            Ok(Message::Pong(b)) => seen.push(Seen::Pong(b.to_vec())),
            Ok(Message::Close(frame)) => {
                seen.push(Seen::Close(frame.map(|f| (f.code.into(), f.reason.to_string()))));
            }
            Ok(Message::Frame(_)) => panic!("not asked for"),
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return seen,
            Err(Error::ConnectionClosed) => return seen,
            Err(error) => panic!("{error}: after {seen:?}"),
        }
    }
}

/// What they wrote.
fn written(socket: &mut WebSocket<Pipe>) -> Vec<u8> {
    let _ = socket.flush();
    std::mem::take(&mut socket.get_mut().output)
}

fn random_text(rng: &mut Rng, len: usize) -> String {
    (0..len)
        .map(|_| match rng.below(4) {
            0 => char::from_u32(rng.below(0xd800) as u32).unwrap(),
            1 => '😀',
            _ => 'a',
        })
        .collect()
}

fn random_len(rng: &mut Rng) -> usize {
    match rng.below(8) {
        0 => [0, 1, 125, 126, 127][rng.below(5)],
        1 => 65_530 + rng.below(20),
        2 => rng.below(5000),
        _ => rng.below(200),
    }
}

#[test]
fn what_we_write_they_read() {
    for role in ROLES {
        for seed in 0..60 {
            let mut rng = Rng(seed);
            let mut ours = connection(role, &Config { min_vectored: 300, ..Config::default() });
            let mut theirs = theirs(peer(role), 1 << rng.below(16));
            let (mut want, mut wire) = (Vec::new(), Vec::new());
            for _ in 0..20 {
                let len = random_len(&mut rng);
                match rng.below(6) {
                    0 => {
                        let s = random_text(&mut rng, len);
                        ours.sender_mut().feed(&s).unwrap();
                        want.push(text(&s));
                    }
                    1 => {
                        let payload = rng.bytes(len);
                        ours.sender_mut().feed(payload.clone()).unwrap();
                        want.push(binary(payload));
                    }
                    2 => {
                        let s = random_text(&mut rng, len.min(3000));
                        let pieces: Vec<&[u8]> = s.as_bytes().chunks(100).collect();
                        for (i, data) in pieces.iter().enumerate() {
                            let last = i + 1 == pieces.len();
                            let chunk = Chunk { kind: DataKind::Text, first: i == 0, data, last };
                            ours.sender_mut().feed_chunk(chunk).unwrap();
                            if rng.once_in(10) {
                                wire.extend(drain(&mut ours));
                                ours.sender_mut().ping(b"inside").unwrap();
                                wire.extend(drain(&mut ours));
                                want.push(Seen::Ping(b"inside".to_vec()));
                            }
                        }
                        want.extend((!pieces.is_empty()).then(|| text(&s)));
                    }
                    3 => {
                        let payload = rng.bytes(len.min(125));
                        ours.sender_mut().pong(&payload).unwrap();
                        want.push(Seen::Pong(payload));
                    }
                    _ => {
                        let payload = rng.bytes(len);
                        ours.sender_mut().feed(&payload).unwrap();
                        want.push(binary(payload));
                    }
                }
                wire.extend(drain(&mut ours));
            }
            let frame = tickwire::CloseFrame::with_reason(tickwire::CloseCode::GOING_AWAY, "done");
            ours.sender_mut().close(frame).unwrap();
            wire.extend(drain(&mut ours));
            want.push(Seen::Close(Some((1001, "done".to_owned()))));
            // A ping inside a message is seen before it.
            let seen = they_read(&mut theirs, &wire);
            assert_eq!(seen.len(), want.len());
            let data = |e: &&Seen| !matches!(e, Seen::Ping(_));
            assert!(seen.iter().filter(data).eq(want.iter().filter(data)), "{role:?} {seed}");
            // They answer, and both are done.
            let answers = receive(&mut ours, &written(&mut theirs));
            assert_eq!(answers.last(), Some(&Seen::Closed), "{answers:?}");
            assert_eq!(ours.closed().map(|end| (end.clean, end.code)), Some((true, 1001)));
        }
    }
}

#[test]
fn what_they_write_we_read() {
    for role in ROLES {
        for seed in 0..60 {
            let mut rng = Rng(seed);
            let mut theirs = theirs(peer(role), usize::MAX);
            let mut ours = connection(role, &Config::default());
            let (mut want, mut wire, mut pings) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..20 {
                let len = random_len(&mut rng);
                match rng.below(5) {
                    0 => {
                        let s = random_text(&mut rng, len);
                        theirs.write(Message::text(s.clone())).unwrap();
                        want.push(text(&s));
                    }
                    1 => {
                        let payload = rng.bytes(len.min(125));
                        theirs.write(Message::Ping(payload.clone().into())).unwrap();
                        pings.push(payload.clone());
                        want.push(Seen::Ping(payload));
                    }
                    2 => {
                        let s = random_text(&mut rng, 50);
                        let bytes = s.as_bytes();
                        let (mut from, count) = (0, 1 + rng.below(5));
                        for i in 0..count {
                            let last = i + 1 == count;
                            let to = if last {
                                bytes.len()
                            } else {
                                from + rng.below(bytes.len() - from + 1)
                            };
                            let opcode = if i == 0 { Data::Text } else { Data::Continue };
                            let piece = bytes[from..to].to_vec();
                            let frame = Frame::message(piece, OpCode::Data(opcode), last);
                            theirs.write(Message::Frame(frame)).unwrap();
                            from = to;
                        }
                        want.push(text(&s));
                    }
                    _ => {
                        let payload = rng.bytes(len);
                        theirs.write(Message::binary(payload.clone())).unwrap();
                        want.push(binary(payload));
                    }
                }
                wire.extend(written(&mut theirs));
            }
            let frame = CloseFrame { code: CloseCode::Library(3001), reason: "bye".into() };
            theirs.close(Some(frame)).unwrap();
            wire.extend(written(&mut theirs));
            want.extend([Seen::Close(Some((3001, "bye".to_owned()))), Seen::Closed]);
            let (mut seen, mut answer) = (Vec::new(), Vec::new());
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let most = (1 << rng.below(14)).min(rest.len());
                let n = read_once(&mut ours, &rest[..most]);
                rest = &rest[n..];
                while let Some(event) = next(&mut ours) {
                    answer.extend(drain(&mut ours));
                    seen.push(event.clone());
                    if event == Seen::Closed {
                        break;
                    }
                }
            }
            seen.dedup_by(|a, b| a == b && *a == Seen::Closed);
            assert_eq!(seen, want, "{role:?} {seed}");
            let pongs = pings.into_iter().map(Seen::Pong);
            let close = Seen::Close(Some((3001, String::new())));
            let want: Vec<Seen> = pongs.chain([close]).collect();
            assert_eq!(they_read(&mut theirs, &answer), want);
            assert!(ours.closed().unwrap().clean);
        }
    }
}

/// The first error of each, on bytes to `role`.
fn verdicts(role: Role, wire: &[u8]) -> (Vec<Seen>, Vec<String>) {
    let mut ours: Connection = connection(role, &Config::default());
    let mut theirs = theirs(role, usize::MAX);
    theirs.get_mut().input.extend_from_slice(wire);
    let mut seen = Vec::new();
    loop {
        match theirs.read() {
            Ok(message) => seen.push(format!("{message:?}")),
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                seen.push(format!("error {error}"));
                break;
            }
        }
    }
    (receive(&mut ours, wire), seen)
}

#[test]
fn both_refuse_the_same_frames() {
    let bad_utf8 = [0xce, 0xba, 0xe1, 0xbd, 0xb9, 0xed, 0xa0, 0x80];
    for role in ROLES {
        let key = key_of(peer(role));
        for (wire, refused) in [
            (to(role, 0x83, ""), true),
            (to(role, 0x8b, ""), true),
            (to(role, 0xc1, ""), true),
            (to(role, 0xa2, ""), true),
            (to(role, 0x92, ""), true),
            (to(role, CONT, "x"), true),
            ([to(role, TEXT_OPEN, "x"), to(role, TEXT, "y")].concat(), true),
            ([head(PING, key, Len::Medium(126)), vec![0; 126]].concat(), true),
            (to(role, 0x09, ""), true),
            (to(role, TEXT, bad_utf8), true),
            (to(role, CLOSE, [3]), true),
            (to(role, CLOSE, [3, 0xe8, 0xff]), true),
            (to(role, TEXT, ""), false),
            (to(role, PONG, [0xff; 125]), false),
            ([to(role, TEXT_OPEN, b"\xc3"), to(role, CONT, b"\xa9")].concat(), false),
        ] {
            let (ours, theirs) = verdicts(role, &wire);
            let failed = matches!(ours.last(), Some(Seen::Failed(_)));
            let they = theirs.last().is_some_and(|s| s.starts_with("error"));
            assert_eq!((failed, they), (refused, refused), "{wire:02x?}: {ours:?} {theirs:?}");
        }
    }
}

#[test]
fn where_they_differ_ours_is_the_stricter_or_the_earlier() {
    for role in ROLES {
        // §8.1, at once or at the end: an impossible byte in a message that goes on.
        let (ours, theirs) = verdicts(role, &to(role, TEXT_OPEN, b"\xff"));
        assert!(matches!(ours[..], [Seen::Failed(_)]));
        assert!(theirs.is_empty() || theirs[0].starts_with("error"));
        // §7.4.1: a code that must not be on the wire.
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 65535] {
            let (ours, theirs) = verdicts(role, &to(role, CLOSE, close_body(code, "")));
            assert!(matches!(ours[..], [Seen::Failed(_)]), "{code}");
            assert!(theirs[0].starts_with("Close"), "{code}: {theirs:?}"); // with their own code
        }
        // §5.2: lengths in a longer form than need be.
        let wire = [head(BINARY, key_of(peer(role)), Len::Medium(5)), vec![0; 5]].concat();
        let (ours, theirs) = verdicts(role, &wire);
        assert!(matches!(ours[..], [Seen::Failed(_)]), "{theirs:?}");
    }
    // §5.1: a server must not mask.
    let (ours, _) = verdicts(Role::Client, &masked(TEXT, "x"));
    assert!(matches!(ours[..], [Seen::Failed(_)]));
    // §5.1: a client must.
    let (ours, theirs) = verdicts(Role::Server, &plain(TEXT, "x"));
    assert!(matches!(ours[..], [Seen::Failed(_)]) && theirs[0].starts_with("error"));
}
