//! The blocking adapter's reads and writes, counted: a batch costs one of each, nothing is written
//! early, and nothing travels in more pieces than it has to.
use crate::support::blocking::*;
use bytes::Bytes;
use std::io::ErrorKind;
use tickwire::{Chunk, Config, DataKind, Error, Prepared, SendError};

fn config() -> Config {
    Config::default()
}

/// An open stream that has each of these ready for one read.
fn scripted<const N: usize>(reads: [Vec<u8>; N]) -> Scripted {
    let io = Scripted::new(reads.map(Read1::Bytes));
    io.script().open = true;
    io
}

/// The calls since the last look, `r` and `w`.
fn trace(io: &Scripted) -> String {
    std::mem::take(&mut io.script().trace)
}

/// The same, and how many bytes were written.
fn traffic(io: &Scripted) -> (String, usize) {
    let mut script = io.script();
    let written = std::mem::take(&mut script.written).len();
    (std::mem::take(&mut script.trace), written)
}

fn flushes(io: &Scripted) -> usize {
    std::mem::take(&mut io.script().flushes)
}

#[test]
fn no_receiving_call_writes_before_the_input_is_used_up() {
    bounded(|| {
        let input = masked(BINARY, b"tick").repeat(3);
        for call in ["recv", "recv_to_reply", "recv_event", "recv_chunk", "recv_owned"] {
            let io = scripted([input.clone()]);
            let mut ws = server(io.clone(), &config());
            let mut fed = 0;
            let (calls, written) = loop {
                let got = match call {
                    "recv" => ws.recv().map(|got| got.is_some()),
                    "recv_to_reply" => ws.recv_to_reply().map(|got| got.is_some()),
                    "recv_event" => ws.recv_event().map(|got| got.is_some()),
                    "recv_chunk" => ws.recv_chunk().map(|got| got.is_some()),
                    _ => ws.recv_owned().map(|got| got.is_some()),
                };
                match got {
                    Err(Error::WouldBlock) => break traffic(&io),
                    got => assert!(got.unwrap()),
                }
                let _ = ws.feed("quote").unwrap();
                let _ = ws.feed(Bytes::from(vec![1; 5000])).unwrap();
                fed += 1;
                assert_eq!(io.script().trace, "r", "{call}: input was at hand");
            };
            assert_eq!(fed, 3);
            // One write before it would wait.
            assert_eq!((calls.trim_end_matches('r'), written), ("rw", 3 * (7 + 5004)), "{call}");
        }
    });
}

#[test]
fn send_has_reached_the_stream_when_it_returns_with_what_was_fed_before() {
    bounded(|| {
        for split in [false, true] {
            let io = scripted([masked(BINARY, b"tick").repeat(3)]);
            let mut ws = server(io.clone(), &config());
            assert!(ws.recv().unwrap().is_some()); // and two more are at hand
            assert_eq!(trace(&io), "r");
            if split {
                let (mut reader, mut writer) = ws.into_split().unwrap();
                let _ = writer.feed("fed").unwrap();
                writer.send("sent").unwrap();
                assert_eq!(traffic(&io), ("w".into(), 5 + 6));
                for _ in 0..2 {
                    assert!(reader.recv().unwrap().is_some());
                }
            } else {
                let _ = ws.feed("fed").unwrap();
                ws.send("sent").unwrap();
                assert_eq!(traffic(&io), ("w".into(), 5 + 6));
                for _ in 0..2 {
                    assert!(ws.recv().unwrap().is_some());
                }
            }
            assert_eq!(trace(&io), "");
        }
    });
}

#[test]
fn a_large_batch_is_written_when_the_cork_limit_is_passed() {
    bounded(|| {
        let io = scripted([masked(BINARY, [7; 996]).repeat(100)]);
        let config = Config { cork_limit: 10_000, read_buffer: 200_000, ..config() };
        let mut ws = server(io.clone(), &config);
        for i in 1..=100 {
            let received = ws.recv_to_reply().unwrap().unwrap();
            let _ = received.sender.feed(received.message).unwrap(); // 1000 on the wire of a server
            let written = io.script().written.len();
            assert_eq!(written, (i - 1) / 10 * 10_000, "message {i}");
        }
        assert!(matches!(ws.recv_to_reply(), Err(Error::WouldBlock)));
        let (calls, written) = traffic(&io);
        assert_eq!((calls.matches('w').count(), written), (10, 100_000));
    });
}

#[test]
fn ping_pong_over_split_halves_costs_one_read_and_one_write_a_message() {
    bounded(|| {
        let io = Scripted::new(vec![Read1::Bytes(masked(BINARY, [7; 64])); 100]);
        let (mut reader, mut writer) = server(io.clone(), &config()).into_split().unwrap();
        for _ in 0..100 {
            writer.send(reader.recv().unwrap().unwrap()).unwrap();
            assert_eq!(traffic(&io), ("rw".into(), 66));
        }
        assert_eq!(flushes(&io), 100);
    });
}

#[test]
fn an_echo_over_split_halves_costs_one_read_and_one_write_a_batch() {
    bounded(|| {
        // Pings among them: the reader answers those, and leaves what was fed to the writer.
        let batch = [masked(BINARY, [7; 100]), masked(PING, b"?")].concat().repeat(50);
        let io = scripted([batch.clone(), batch]);
        let (mut reader, mut writer) = server(io.clone(), &config()).into_split().unwrap();
        let echoed = |wire: &[u8]| wire.windows(2).filter(|two| *two == [BINARY, 100]).count();
        for _ in 0..2 {
            for i in 0..50 {
                let (message, info) = reader.recv_with_info().unwrap().unwrap();
                let _ = writer.feed(message).unwrap();
                assert_eq!(info.more, i < 49);
                assert_eq!(echoed(&io.script().written), 0);
            }
            writer.flush().unwrap();
            let written = std::mem::take(&mut io.script().written);
            assert_eq!(echoed(&written), 50);
        }
        // The pong of what came behind the last message waits for the reader's next look.
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        let calls = trace(&io);
        assert_eq!(calls.matches('w').count(), 4, "{calls}");
    });
}

/// What was fed leaves with the Pong, but not by itself.
#[test]
fn a_reader_that_waits_writes_what_was_fed_with_what_it_owes() {
    bounded(|| {
        let io = scripted([masked(BINARY, b"tick")]);
        let (mut reader, mut writer) = server(io.clone(), &config()).into_split().unwrap();
        assert!(reader.recv().unwrap().is_some());
        let _ = writer.feed("quote").unwrap();
        io.script().input.push_back(Read1::Bytes(masked(BINARY, b"tock")));
        assert!(reader.recv().unwrap().is_some());
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        assert_eq!(io.script().written, *b"", "it owes nothing");
        io.script().input.push_back(Read1::Bytes(masked(PING, b"?")));
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        assert_eq!(io.script().written, *b"\x8a\x01?\x81\x05quote");
        assert_eq!(io.script().writes, 1);
        writer.flush().unwrap();
        assert_eq!(io.script().writes, 1);
    });
}

#[test]
fn a_reader_goes_on_with_what_a_writer_gave_up() {
    bounded(|| {
        let io = scripted([masked(PING, b"?")]);
        io.script().room = Some(10);
        let (mut reader, mut writer) = server(io.clone(), &config()).into_split().unwrap();
        let _ = writer.feed(&[7; 100_000]).unwrap();
        let _ = writer.feed("quote").unwrap();
        assert!(matches!(writer.flush(), Err(Error::WouldBlock)));
        io.script().room = None;
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
        assert_eq!(io.script().written.len(), 10 + 100_000 + 3 + 7);
        assert!(io.script().written.ends_with(b"\x81\x05quote\x8a\x01?"));
        writer.flush().unwrap();
        assert_eq!(io.script().written.len(), 10 + 100_000 + 3 + 7);
    });
}

#[test]
fn send_is_one_write_and_one_flush_of_the_stream() {
    let io = scripted([]);
    let mut ws = client(io.clone(), &config());
    for _ in 0..10 {
        ws.send("hello").unwrap();
        assert_eq!((traffic(&io), flushes(&io)), (("w".into(), 11), 1));
    }
    // Nothing to write: nothing is asked of the stream.
    ws.flush().unwrap();
    assert_eq!((traffic(&io), flushes(&io)), ((String::new(), 0), 0));
}

#[test]
fn a_large_message_does_not_come_between_the_chunks_of_another() {
    let io = scripted([]);
    let mut ws = server(io.clone(), &config());
    let begun = Chunk { kind: DataKind::Binary, first: true, data: b"x", last: false };
    let _ = ws.sender_mut().feed_chunk(begun).unwrap();
    ws.flush().unwrap();
    let error = ws.send(vec![7; 20_000]).unwrap_err();
    assert!(matches!(error, Error::Send(SendError::MessageInProgress)), "{error:?}");
    assert_eq!(traffic(&io), ("w".into(), 3));
}

#[test]
fn a_large_message_is_one_write_and_one_flush_of_the_stream_by_a_half_too() {
    let large = vec![7; 20_000];
    let io = scripted([]);
    let mut ws = server(io.clone(), &config());
    ws.send(&large).unwrap();
    assert_eq!((traffic(&io), flushes(&io)), (("w".into(), 20_004), 1));
    let (_reader, mut writer) = ws.into_split().unwrap();
    writer.send(&large).unwrap();
    assert_eq!((traffic(&io), flushes(&io)), (("w".into(), 20_004), 1));
    io.script().write_error = Some(ErrorKind::BrokenPipe);
    let error = writer.send(&large).unwrap_err();
    assert!(matches!(error, Error::Io(error) if error.kind() == ErrorKind::BrokenPipe));
    assert_eq!(traffic(&io), ("w".into(), 0), "it is not tried again");
}

#[test]
fn a_large_shared_payload_leaves_in_one_write_with_what_is_around_it() {
    for (len, split) in product([20_000, 100_000], [false, true]) {
        let io = scripted([]);
        let mut ws = server(io.clone(), &config());
        let payload = Bytes::from(vec![7; len]);
        let prepared = Prepared::new(&payload);
        let _ = ws.feed("before").unwrap();
        let _ = ws.feed(payload.clone()).unwrap();
        let _ = ws.feed(&prepared).unwrap();
        let _ = ws.feed("after").unwrap();
        let _ = ws.sender_mut().feed_first("first").unwrap();
        if split {
            let (_reader, mut writer) = ws.into_split().unwrap();
            writer.flush().unwrap();
        } else {
            ws.flush().unwrap();
        }
        let texts = ["first", "before", "after"].map(|text| unmasked(TEXT, text));
        let [first, before, after] = texts;
        let shared = unmasked(BINARY, &payload);
        let expected = [&first[..], &before, &shared, &shared, &after].concat();
        assert!(io.script().written == expected, "{len}, split {split}");
        let once = (("w".into(), expected.len()), 1);
        assert_eq!((traffic(&io), flushes(&io)), once, "{len}, split {split}");
    }
}
