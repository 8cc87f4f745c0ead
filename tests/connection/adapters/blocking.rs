//! The blocking adapter on streams of all sorts: what it costs, what it waits for and for how long,
//! and that nothing is lost when it does not wait.
use crate::support::blocking::*;
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Read, Write},
    iter,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use testkit::threads::closed;
use tickwire::{
    CloseCode, CloseFrame, Config, Error, Event, Heartbeat, Message, RecvError, Retry, Role,
    SendError,
    blocking::{Incoming, Interest, Stream, WebSocket, WithoutTimeouts, accept, connect},
    handshake::{HandshakeError, server::Rejection},
};

fn text<S: Stream>(ws: &mut WebSocket<S>) -> String {
    ws.recv().unwrap().unwrap().as_text().unwrap().to_owned()
}

fn would_block<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::WouldBlock))
}

/// A server on a port of its own that does this with its first connection; its URL.
fn serving(f: impl FnOnce(TcpStream) + Send + 'static) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/feed", listener.local_addr().unwrap());
    (url, thread::spawn(move || f(listener.accept().unwrap().0)))
}

#[test]
fn a_client_and_a_server_talk_with_nodelay_on_and_close() {
    bounded(|| {
        let (url, server) = serving(|stream| {
            let mut ws = accept(stream, &patient()).unwrap();
            assert!(ws.get_ref().nodelay().unwrap());
            while let Some(received) = ws.recv_to_reply().unwrap() {
                let _ = received.sender.feed(received.message).unwrap();
            }
            assert!(ws.closed().unwrap().clean);
            assert_eq!(ws.closed().unwrap().code, 1000);
        });
        let mut ws = connect(&url, &patient()).unwrap();
        assert!(ws.get_ref().get_ref().nodelay().unwrap());
        let large = vec![7; 1 << 20];
        for message in [Message::Text("tick"), Message::Binary(b""), Message::Binary(&large)] {
            ws.send(message).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(message));
        }
        ws.sender_mut().ping(b"?").unwrap();
        ws.flush().unwrap();
        assert_eq!(ws.recv_event().unwrap(), Some(Event::Pong(b"?")));
        ws.send("kept").unwrap();
        assert_eq!(ws.recv_owned().unwrap().unwrap().as_bytes(), b"kept");
        ws.close(CloseCode::NORMAL).unwrap();
        assert!(ws.closed().unwrap().clean);
        assert!(matches!(ws.send("late"), Err(Error::Send(SendError::Closed))));
        assert_eq!(ws.recv().unwrap(), None);
        server.join().unwrap();
    });
}

#[test]
fn a_batch_costs_one_read_and_one_write_and_sets_no_timeout() {
    let mut batch = Vec::new();
    for i in 0..50u8 {
        batch.extend(masked(BINARY, [i]));
        batch.extend(masked(PING, [i]));
    }
    let io = Scripted::new([Read1::Bytes(batch.clone()), Read1::Bytes(batch)]);
    let mut ws = server(io.clone(), &patient());
    for _ in 0..2 {
        for i in 0..50 {
            let received = ws.recv_to_reply().unwrap().unwrap();
            assert_eq!(received.message, Message::Binary(&[i]));
            let _ = received.sender.feed(received.message).unwrap();
        }
    }
    assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::UnexpectedEof))));
    assert_eq!(io.script().trace, "rwrwr");
    assert_eq!(io.script().timeouts, 0);
}

#[test]
fn a_message_and_its_answer_cost_one_read_and_one_write_and_no_call_for_a_timeout() {
    let heartbeat = Heartbeat::new(ms(60_000), ms(60_000));
    for config in [patient(), Config { heartbeat: Some(heartbeat), ..patient() }] {
        let one = Read1::Bytes(masked(BINARY, b"12345678"));
        let io = Scripted::new(vec![one; 100]);
        let mut ws = server(io.clone(), &config);
        ws.set_read_timeout(Some(ms(5000))).unwrap();
        for _ in 0..100 {
            let message = ws.recv().unwrap().unwrap().into_owned();
            ws.send(&message).unwrap();
        }
        let script = io.script();
        assert_eq!((script.reads, script.writes), (100, 100));
        // For the whole connection, not for each message.
        assert!(script.timeouts <= 3, "the timeout is set {} times", script.timeouts);
    }
}

/// Every kind of frame, and what `recv_event` makes of them.
fn all_sorts() -> (Vec<u8>, Vec<String>) {
    let large = vec![b'x'; 300];
    let wire = [
        masked(TEXT, "gr\u{fc}n".as_bytes()),
        masked(BINARY, &large),
        masked(0x01, b"frag"),
        masked(PING, b"in between"),
        masked(0x00, b"ment"),
        masked(0x80, b"ed"),
        masked(PONG, b""),
        masked(BINARY, b""),
        masked(CLOSE, close_body(1001, "")),
    ];
    let events = [
        Event::Message(Message::Text("gr\u{fc}n")),
        Event::Message(Message::Binary(&large)),
        Event::Ping(b"in between"),
        Event::Message(Message::Text("fragmented")),
        Event::Pong(b""),
        Event::Message(Message::Binary(b"")),
        Event::Close(Some(CloseFrame::from(CloseCode::GOING_AWAY))),
    ];
    (wire.concat(), events.iter().map(|event| format!("{event:?}")).collect())
}

#[test]
fn a_stream_that_would_block_at_every_cut_loses_nothing() {
    let (wire, events) = all_sorts();
    let kinds = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    for (kind, cut) in product(kinds, [1, 2, 3, 7, 100]) {
        let input =
            wire.chunks(cut).flat_map(|cut| [Read1::Fail(kind), Read1::Bytes(cut.to_vec())]);
        let io = Scripted::new(input);
        let mut ws = WebSocket::from_parts(WithoutTimeouts(io), conn(true, &patient()));
        let (mut seen, mut blocked) = (Vec::new(), 0);
        loop {
            match ws.recv_event() {
                Ok(Some(event)) => seen.push(format!("{event:?}")),
                Ok(None) => break,
                Err(Error::WouldBlock) => blocked += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(seen, events);
        assert_eq!(blocked, wire.len().div_ceil(cut));
        assert!(ws.closed().unwrap().clean);
    }
}

#[cfg(not(windows))] // where the adapter waits all the same: blocking/sys.rs
#[test]
fn a_socket_that_does_not_block_says_so_at_once_and_loses_nothing() {
    bounded(|| {
        let heartbeat = Heartbeat::new(ms(60_000), ms(60_000));
        // With and without a deadline armed.
        for config in [patient(), Config { heartbeat: Some(heartbeat), ..patient() }] {
            let (mut ws, mut peer) = served(&config);
            ws.get_ref().set_nonblocking(true).unwrap();
            // No tick, of which each is a second.
            for_once_within(ms(900), || (0..20).for_each(|_| assert!(would_block(ws.recv()))));
            let (wire, events) = all_sorts();
            let mut seen = Vec::new();
            for byte in wire {
                peer.wire(&[byte]);
                // It may take a moment to arrive.
                while seen.len() < events.len() {
                    match ws.recv_event() {
                        Ok(Some(event)) => seen.push(format!("{event:?}")),
                        Ok(None) => panic!("ended early"),
                        Err(Error::WouldBlock) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            while seen.len() < events.len() {
                if let Ok(Some(event)) = ws.recv_event() {
                    seen.push(format!("{event:?}"));
                }
            }
            assert_eq!(seen, events);
            assert_eq!(peer.next(), (PONG, b"in between".to_vec()));
            peer.end();
            while would_block(ws.recv()) {}
            assert_eq!(peer.next(), (CLOSE, close_body(1001, "")));
        }
    });
}

#[cfg(not(windows))] // where the adapter waits all the same: blocking/sys.rs
#[test]
fn a_socket_that_does_not_block_is_written_when_it_has_room() {
    bounded(|| {
        let (mut ws, mut peer) = served(&Config { high_water: 64 << 20, ..patient() });
        ws.get_ref().set_nonblocking(true).unwrap();
        let large = vec![1; 32 << 20];
        let before = ws.sender().fed();
        assert!(would_block(ws.send(&large)));
        let after = ws.sender().fed();
        assert!(after != before && !ws.sender().is_written(after));
        for_once_within(ms(900), || {
            assert!(would_block(ws.flush()));
            assert!(would_block(ws.recv()));
        });
        let reading = thread::spawn(move || (peer.next().1.len(), peer)); // which keeps the stream
        while !ws.sender().is_written(after) {
            assert!(would_block(ws.recv())); // writes as well
        }
        assert_eq!(reading.join().unwrap().0, 32 << 20);
    });
}

#[test]
fn a_read_that_is_put_off_is_made_even_after_the_callers_read_timeout() {
    bounded(|| {
        let (mut ws, mut peer) = served(&patient());
        ws.set_read_timeout(Some(Duration::from_nanos(1))).unwrap();
        for _ in 0..200 {
            peer.say(TEXT, b"here"); // a read of its own
            assert_eq!(text(&mut ws), "here");
        }
    });
}

#[test]
fn the_callers_read_timeout_passes_and_nothing_is_lost() {
    bounded(|| {
        let heartbeat = Heartbeat::new(2 * PATIENCE, 2 * PATIENCE);
        for config in [patient(), Config { heartbeat: Some(heartbeat), ..patient() }] {
            let (mut ws, mut peer) = served(&config);
            ws.set_read_timeout(Some(ms(60))).unwrap();
            for _ in 0..2 {
                let began = Instant::now();
                assert!(would_block(ws.recv()));
                took(began, ms(40));
            }
            let frame = masked(TEXT, b"late");
            peer.wire(&frame[..5]);
            assert!(would_block(ws.recv()));
            peer.wire(&frame[5..]);
            assert_eq!(text(&mut ws), "late");
            ws.set_read_timeout(None).unwrap();
            let waiting = thread::spawn(move || text(&mut ws));
            thread::sleep(ms(150)); // longer than the timeout that is no more
            peer.say(TEXT, b"later");
            assert_eq!(waiting.join().unwrap(), "later");
        }
        let (mut ws, _peer) = served(&patient());
        let zero = ws.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(zero.kind(), io::ErrorKind::InvalidInput);
        let mut ws = server(WithoutTimeouts(Scripted::default()), &patient());
        let none = ws.set_read_timeout(Some(ms(10))).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::Unsupported);
    });
}

/// A stream on which there is nothing, and whose waits end late; how long each was to last at the
/// most.
#[derive(Clone, Default)]
struct Late(Arc<Mutex<Vec<Option<Duration>>>>);

impl Late {
    fn waits(&self) -> Vec<Option<Duration>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Read for Late {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Late {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Late {
    crate::support::tries::tries!();
    /// Waits in vain, ten times as long as it may.
    fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
        if timeout != Some(Duration::ZERO) {
            self.0.lock().unwrap().push(timeout);
            thread::sleep(timeout.unwrap() * 10);
        }
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

#[test]
fn the_callers_timeouts_are_waited_for_once_and_no_longer_than_they_are() {
    fn holds(io: &Late, mut set: impl FnMut(Duration), mut call: impl FnMut() -> bool) {
        // Each has something left of the one before it, which is longer or shorter.
        for timeout in [200, 50, 1_500, 3_000, 900].map(Duration::from_micros) {
            set(timeout);
            for _ in 0..3 {
                // On a busy machine the time may pass before the call waits: then once more.
                let mut calls = iter::repeat_with(|| {
                    assert!(call());
                    io.waits()
                });
                let waits = calls.find(|waits| !waits.is_empty()).unwrap();
                let first = waits[0].unwrap();
                assert!(
                    first <= timeout && waits.iter().all(|most| *most <= Some(timeout)),
                    "{timeout:?} {waits:?}"
                );
                if first * 10 > timeout {
                    assert_eq!(waits.len(), 1, "the first took as long: {timeout:?} {waits:?}");
                }
            }
        }
    }
    bounded(|| {
        let io = Late::default();
        let ws = RefCell::new(server(io.clone(), &patient()));
        let set = |timeout| ws.borrow_mut().set_read_timeout(Some(timeout)).unwrap();
        holds(&io, set, || would_block(ws.borrow_mut().recv().map(drop)));

        let io = Late::default();
        let mut ws = server(io.clone(), &patient());
        let _ = ws.feed("never written").unwrap();
        let ws = RefCell::new(ws);
        let set = |timeout| ws.borrow_mut().set_write_timeout(Some(timeout)).unwrap();
        holds(&io, set, || would_block(ws.borrow_mut().flush()));

        let io = Late::default();
        let mut ws = server(io.clone(), &patient());
        let _ = ws.feed("never written").unwrap();
        let (_reader, writer) = ws.into_split().unwrap();
        let writer = RefCell::new(writer);
        let set = |timeout| writer.borrow_mut().set_write_timeout(Some(timeout)).unwrap();
        holds(&io, set, || would_block(writer.borrow_mut().flush()));
    });
}

#[test]
fn an_interrupted_call_is_made_again() {
    let io = Scripted::new([
        Read1::Fail(io::ErrorKind::Interrupted),
        Read1::Bytes(masked(TEXT, b"a")[..3].to_vec()),
        Read1::Fail(io::ErrorKind::Interrupted),
        Read1::Bytes(masked(TEXT, b"a")[3..].to_vec()),
    ]);
    assert_eq!(text(&mut server(io, &patient())), "a");
}

#[test]
fn input_is_received_while_output_is_stuck_and_output_goes_on_as_soon_as_it_can() {
    // A try to write for each message takes longer, and so does output that waits.
    bounded(|| {
        for_once_within(ms(2500), || {
            let (mut ws, mut peer) = served(&patient());
            let _ = ws.feed(vec![0; 32 << 20]).unwrap();
            let (heard, hearing) = mpsc::channel();
            let there = thread::spawn(move || {
                for i in 0..100u8 {
                    assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&[i])));
                    heard.send(i).unwrap();
                }
                assert_eq!(text(&mut ws), "end");
            });
            for i in 0..100 {
                peer.say(BINARY, &[i]);
                assert_eq!(hearing.recv_timeout(PATIENCE).unwrap(), i);
            }
            assert_eq!(peer.next().1.len(), 32 << 20);
            peer.say(TEXT, b"end");
            there.join().unwrap();
        });
    });
}

#[test]
fn the_callers_write_timeout_passes_and_nothing_is_cut() {
    bounded(|| {
        let (mut ws, mut peer) = served(&patient());
        ws.set_write_timeout(Some(ms(60))).unwrap();
        let began = Instant::now();
        let large = vec![3; 32 << 20];
        let error = ws.send(&large).unwrap_err();
        assert!(
            matches!(error, Error::WouldBlock) && error.to_string().contains("do not send again")
        );
        took(began, ms(40));
        assert!(would_block(ws.send("no room")));
        peer.say(TEXT, b"still heard");
        assert_eq!(text(&mut ws), "still heard");
        assert!(would_block(ws.recv_to_reply().map(drop)), "no room for a reply");
        let reading = thread::spawn(move || (peer.next().1.len(), peer.next()));
        ws.set_write_timeout(None).unwrap();
        ws.send("room").unwrap();
        assert_eq!(reading.join().unwrap(), (32 << 20, (TEXT, b"room".to_vec())));
    });
}

/// A flush pauses the deadlines on reading. The next read may only block with a timeout again.
#[test]
fn after_a_flush_that_waited_a_read_that_may_block_has_a_timeout() {
    let beat = Heartbeat::new(1000 * PATIENCE, PATIENCE);
    let io = Scripted::default();
    io.script().open = true;
    let mut ws = server(io.clone(), &Config { heartbeat: Some(beat), ..patient() });
    assert!(would_block(ws.recv())); // starts the heartbeat
    io.script().room = Some(1);
    let _ = ws.feed("two writes").unwrap();
    assert!(would_block(ws.flush()));
    io.script().room = None;
    assert_eq!(io.script().timeouts, 0);
    assert!(would_block(ws.recv()));
    assert_eq!(io.script().timeouts, 1);
}

/// Gives some 6,000 bytes a second, one a read, for ever.
#[derive(Clone)]
struct Dripping(VecDeque<u8>);

impl Read for Dripping {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_micros(100));
        buf[0] = self.0.pop_front().unwrap_or_default();
        Ok(1)
    }
}

impl Write for Dripping {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Dripping {
    crate::support::tries::tries!();
    crate::support::tries::cannot_wait!();
    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

#[test]
fn a_frame_that_drips_in_too_fast_for_one_read_to_seem_slow_is_given_up() {
    bounded(|| {
        let config = Config { frame_timeout: ms(50), ..patient() };
        // Of a frame that takes minutes.
        let header = masked(BINARY, vec![0; 1 << 20])[..14].to_vec();
        let began = Instant::now();
        let mut ws = server(Dripping(header.clone().into()), &config);
        assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::FrameTimeout))));
        let ws = server(Dripping(header.into()), &config);
        let (mut reader, _writer) = ws.into_split().unwrap();
        assert!(matches!(reader.recv(), Err(Error::Recv(RecvError::FrameTimeout))));
        took(began, ms(100));
    });
}

#[test]
fn other_streams_serve_as_well() {
    bounded(|| {
        // Boxed, borrowed, and any `Read + Write`.
        let (near, far) = tcp_pair();
        let there = thread::spawn(move || {
            let mut far = far;
            let boxed: Box<dyn Stream + Send> = Box::new(&mut far);
            let mut ws = server(boxed, &patient());
            while let Some(received) = ws.recv_to_reply().unwrap() {
                let _ = received.sender.feed(received.message).unwrap();
            }
        });
        let mut ws = client(WithoutTimeouts(near), &patient());
        ws.send("plain").unwrap();
        assert_eq!(text(&mut ws), "plain");
        ws.close(None).unwrap();
        there.join().unwrap();
    });
}

// The opening handshake.

const GOOD: &str = "GET /feed HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                    Sec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_flood_keeps_no_rejection_longer_than_its_second() {
    bounded(|| {
        let io = Scripted::new([Read1::Bytes(GOOD.into())]);
        io.script().endless = vec![b'x'; 4 << 10];
        io.script().pause = Duration::from_micros(500);
        Incoming::read(io.clone(), &patient()).unwrap().reject(Rejection::new(403)).unwrap();
        let script = io.script();
        assert!(script.written.starts_with(b"HTTP/1.1 403 ") && script.reads > 2);
    });
}

#[cfg(not(windows))] // where the adapter waits all the same: blocking/sys.rs
#[test]
fn a_handshake_on_a_stream_that_does_not_block_says_so() {
    bounded(|| {
        for_once_within(ms(900), || {
            let (near, _far) = tcp_pair();
            near.set_nonblocking(true).unwrap();
            assert!(would_block(Incoming::read(near, &patient())));
        });
    });
}

#[test]
fn connect_says_what_is_wrong() {
    #[cfg(not(feature = "rustls"))]
    assert!(matches!(connect("wss://127.0.0.1:1/", &patient()), Err(Error::NoTls)));
    assert!(matches!(connect("http://127.0.0.1/", &patient()), Err(Error::Url(_))));
    let (closed, _held) = closed();
    let error = connect(&format!("ws://{closed}/"), &patient()).unwrap_err();
    assert!(matches!(error, Error::Io(_)) && error.retry() == Retry::BackOff, "{error:?}");
    let (url, server) = serving(drop);
    let error = connect(&url, &patient()).unwrap_err();
    let eof = matches!(error, Error::Handshake(HandshakeError::UnexpectedEof));
    assert!(eof || matches!(error, Error::Io(_)), "{error:?}"); // a reset, if the request was there
    server.join().unwrap();
}

#[test]
fn a_connected_client_that_fails_tells_the_server_and_ends_its_half() {
    bounded(|| {
        let (url, serving) = serving(|stream| {
            let (stream, ..) = accept(stream, &patient()).unwrap().into_parts();
            stream.set_nonblocking(false).unwrap(); // which it is on Windows
            let mut peer = Peer::new(stream, Role::Server);
            assert_eq!(peer.exact(5), b"ab cd");
            peer.wire(b"\x83\x00"); // no such opcode
            let rest = peer.rest();
            assert_eq!((rest[0], rest.len()), (CLOSE, 8));
            let code = [rest[6] ^ rest[2], rest[7] ^ rest[3]];
            assert_eq!(close_body(1002, ""), code);
        });
        let mut ws = connect(&url, &patient()).unwrap();
        #[cfg(feature = "rustls")]
        assert!(ws.get_ref().with_session(|_| ()).is_none());
        // Beside the protocol, since no client writes slices but where something overtakes.
        assert!(ws.get_ref().writes_vectored());
        let slices = [io::IoSlice::new(b"ab "), io::IoSlice::new(b"cd")];
        assert_eq!(ws.get_mut().write_vectored(&slices).unwrap(), 5);
        assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::Protocol(_)))));
        serving.join().unwrap();
    });
}

/// What stands between a stream and the adapter passes on all that the stream can.
#[cfg(unix)]
#[test]
fn wrapped_streams_do_what_the_stream_does() {
    use std::io::{IoSlice, IoSliceMut};
    fn through(mut near: impl Stream, far: &mut TcpStream) {
        let slices = [IoSlice::new(b"ab "), IoSlice::new(b"cd")];
        assert_eq!(near.write_vectored(&slices).unwrap(), 5);
        let mut got = [0; 5];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ab cd");
        far.write_all(b"1234").unwrap();
        let (mut a, mut b) = ([0; 2], [0; 2]);
        let mut into = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(near.read_vectored(&mut into).unwrap(), 4);
        assert_eq!((&a, &b), (b"12", b"34"));
        near.flush().unwrap();
    }
    let slices = [IoSlice::new(b"ab "), IoSlice::new(b"cd")];
    bounded(move || {
        let (mut near, mut far) = tcp_pair();
        through(WithoutTimeouts(&mut near), &mut far);
        through(&mut near, &mut far);
        let mut boxed: Box<dyn Stream + Send> = Box::new(near);
        through(&mut boxed, &mut far);
        boxed.set_nodelay(true).unwrap();
        boxed.set_read_timeout(Some(ms(1000))).unwrap();
        boxed.wait(Interest::WRITE, None).unwrap();
        let nothing = boxed.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(boxed.try_write(&slices).unwrap(), 5);
        far.read_exact(&mut [0; 5]).unwrap();
        boxed.try_flush().unwrap();
        assert!(boxed.writes_vectored() && boxed.try_clone().is_err());
        boxed.shutdown().unwrap();
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);

        let (unix, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        Stream::set_read_timeout(&unix, Some(ms(1000))).unwrap();
        assert_eq!(unix.read_timeout().unwrap(), Some(ms(1000)));
        let mut clone = Stream::try_clone(&unix).unwrap();
        clone.write_all(b"x").unwrap();
        far.read_exact(&mut [0; 1]).unwrap();
        Stream::set_nodelay(&unix, true).unwrap();
        let nothing = clone.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert!(unix.writes_vectored());
        Stream::shutdown(&mut clone).unwrap();
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    });
}
