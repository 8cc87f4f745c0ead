//! A tap records the bytes that pass, and a replay of the recording gives the same events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

use std::{
    io::{self, Write},
    net::{Shutdown, TcpListener, TcpStream},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use testkit::{tasks::bounded, threads};
use tickwire::{
    CloseCode, Config, Connection, Event, Heartbeat, Negotiated, OwnedMessage, RecvError, Role,
    SystemEntropy,
    blocking::{self, Incoming},
    handshake::{HandshakeError, client::Request, server::Rejection},
    tokio::{WebSocket, accept, client},
};
use tickwire_tap::{BadRecording, Recording, Tap};
use tokio::io::{AsyncWrite, AsyncWriteExt, duplex};

/// A recording in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn recording(&self) -> Recording {
        self.text().parse::<Recording>().unwrap()
    }
}

/// The messages of a replay, and the connection it ends with.
fn replayed(log: &Log, config: &Config) -> (Vec<OwnedMessage>, Connection) {
    let mut messages = Vec::new();
    let end = log.recording().replay(config, |_, event| {
        if let Event::Message(message) = event {
            messages.push(message.into_owned());
        }
    });
    (messages, end.unwrap())
}

fn texts(count: usize) -> Vec<OwnedMessage> {
    (0..count).map(|i| OwnedMessage::from("text ".repeat(i * 20))).collect()
}

fn configs() -> Vec<Config> {
    vec![
        Config::default(),
        Config { deflate: Some(tickwire::deflate::Deflate::default()), ..Config::default() },
    ]
}

#[tokio::test]
async fn both_ends_of_a_tokio_session_replay() {
    for config in configs() {
        for split in [false, true] {
            bounded(async {
                let (near, far) = duplex(1 << 10);
                let (at_client, at_server) = (Log::default(), Log::default());
                let (near, far) =
                    (Tap::new(near, at_client.clone()), Tap::new(far, at_server.clone()));
                let request = Request::new("ws://test/feed?x=1").unwrap();
                let request = request.subprotocols(&["a", "b"]).unwrap();
                let (ours, theirs) =
                    tokio::join!(client(near, &request, &config), accept(far, &config));
                let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
                let sent = texts(50);
                let sending = async {
                    if split {
                        let (mut reader, mut writer) = ours.into_split();
                        for message in &sent {
                            writer.send(message).await.unwrap();
                        }
                        writer.close(CloseCode::GOING_AWAY).await.unwrap();
                        assert!(reader.recv().await.unwrap().is_none());
                    } else {
                        for message in &sent {
                            ours.send(message).await.unwrap();
                        }
                        ours.close(CloseCode::GOING_AWAY).await.unwrap();
                    }
                };
                let receiving = async {
                    let mut received = Vec::new();
                    while let Some(message) = theirs.recv_owned().await.unwrap() {
                        received.push(message);
                    }
                    received
                };
                let ((), received) = tokio::join!(sending, receiving);
                assert_eq!(received, sent);
                assert_eq!(at_server.recording().role(), Some(Role::Server));
                assert_eq!(at_client.recording().role(), Some(Role::Client));
                let (messages, end) = replayed(&at_server, &config);
                let closed = end.closed().unwrap();
                assert_eq!((messages, closed.code, closed.error), (sent, 1001, None));
                let (messages, end) = replayed(&at_client, &config);
                let closed = end.closed().unwrap();
                assert_eq!((messages, closed.code, closed.error), (vec![], 1001, None));
                assert_eq!(
                    end.negotiated().deflate.is_some(),
                    format!("{config:?}").contains("deflate: Some")
                );
            })
            .await;
        }
    }
}

#[test]
fn a_blocking_session_replays_and_so_does_its_violation() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        let tcp = TcpStream::connect(address).unwrap();
        let request = Request::new(&format!("ws://{address}/")).unwrap();
        let mut ws = blocking::client(tcp, &request, &Config::default()).unwrap();
        ws.send("one").unwrap();
        ws.send(&[2; 70_000]).unwrap();
        Write::write_all(ws.get_mut(), b"\x82\x00").unwrap(); // not masked
        while let Ok(Some(_)) = ws.recv() {}
        ws.closed().map_or(1006, |end| end.code)
    });
    let log = Log::default();
    let tap = Tap::new(listener.accept().unwrap().0, log.clone());
    let mut ws = blocking::accept(tap, &Config::default()).unwrap();
    let mut received = Vec::new();
    let error = loop {
        match ws.recv() {
            Ok(Some(message)) => received.push(message.into_owned()),
            Ok(None) => panic!("no violation"),
            Err(error) => break error,
        }
    };
    drop(ws);
    assert_eq!(peer.join().unwrap(), 1002);
    let (messages, end) = replayed(&log, &Config::default());
    assert_eq!((messages.len(), &messages), (2, &received));
    let Some(found @ RecvError::Protocol(_)) = end.closed().and_then(|end| end.error) else {
        panic!("{end:?}")
    };
    assert_eq!(found.to_string(), error.to_string());
    // With other limits, the replay ends with another error.
    let (messages, end) = replayed(&log, &Config { max_message: 1_000, ..Config::default() });
    assert_eq!(messages.len(), 1);
    assert!(matches!(
        end.closed().and_then(|end| end.error),
        Some(RecvError::MessageTooBig { limit: 1_000 })
    ));
}

#[test]
fn a_tap_set_behind_the_handshake_replays_into_a_connection() {
    let text = "tickwire tap 1\n0.000001 < 818537fa213d7f9f4d\n0.100000 > 8100\n\
        0.250000 < 5158\n1.000000 < end\n0.3";
    let recording = text.parse::<Recording>().unwrap();
    assert_eq!((recording.role(), recording.passed.len()), (None, 4));
    let refused = recording.replay(&Config::default(), |_, _| {});
    assert_eq!(refused.err(), Some(HandshakeError::Incomplete));
    let mut connection = Connection::server(&Config::default(), Negotiated::default());
    let mut seen = Vec::new();
    recording.replay_into(&mut connection, |time, event| seen.push(format!("{time:?} {event:?}")));
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("250ms") && seen[0].contains("Hello"), "{seen:?}");
    assert_eq!(connection.closed().and_then(|end| end.error), Some(RecvError::UnexpectedEof));
}

/// A recording does not say when the connection read the clock, so a replay has no deadlines.
#[test]
fn what_was_received_after_a_deadline_is_replayed() {
    let text = "tickwire tap 1\n0.000000 < 818100000000618184\n9.000000 > 8900\n\
        99.000000 < 0000000062\n\
        199.000000 < 6364658181000000006a\n";
    let config = Config {
        frame_timeout: Duration::from_secs(1),
        data_timeout: Some(Duration::from_secs(1)),
        heartbeat: Some(Heartbeat::new(Duration::from_secs(1), Duration::from_secs(1))),
        ..Config::default()
    };
    let mut connection = Connection::server(&config, Negotiated::default());
    let mut seen = Vec::new();
    text.parse::<Recording>().unwrap().replay_into(&mut connection, |_, event| {
        if let Event::Message(message) = event {
            seen.push(message.into_owned());
        }
    });
    assert_eq!(seen, ["a", "bcde", "j"].map(OwnedMessage::from));
    assert!(connection.closed().is_none());
}

#[test]
fn a_request_that_was_rejected_is_no_connection() {
    let mut wire = Vec::from(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    wire.extend([0x81, 0x81, 0, 0, 0, 0, b'a']);
    let log = Log::default();
    let (near, mut far) = threads::tcp_pair();
    far.write_all(&wire).unwrap();
    far.shutdown(Shutdown::Write).unwrap(); // a rejection waits for its peer's end
    let request = Incoming::read(Tap::new(near, log.clone()), &Config::default()).unwrap();
    request.reject(Rejection::new(403)).unwrap();
    let refused = log.recording().replay(&Config::default(), |_, event| panic!("{event:?}"));
    assert_eq!(refused.err(), Some(HandshakeError::Incomplete));
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    for (text, line) in [
        ("", 1),
        ("tickwire tap 2\n", 1),
        ("tickwire tap 1\n0.000001 < 0\n", 2),
        ("tickwire tap 1\n0.000001 < \n", 2),
        ("tickwire tap 1\n0.000001 < zz\n", 2),
        ("tickwire tap 1\n0.000001 = 00\n", 2),
        ("tickwire tap 1\n0.1 < 00\n", 2),
        ("tickwire tap 1\n-0.000001 < 00\n", 2),
        ("tickwire tap 1\n99999999999999999999.000001 < 00\n", 2),
        ("tickwire tap 1\n0.000001 < 00\n\n0.000002 < 00\n", 3),
        ("tickwire tap 1\n0.000001 < é\n", 2),
    ] {
        assert_eq!(text.parse::<Recording>(), Err(BadRecording { line }), "{text:?}");
    }
    let shown = r#"BadRecording { line: 2 }: "line 2 is not a line of a recording""#;
    assert_eq!(format!("{:?}", BadRecording { line: 2 }), shown);
    assert_eq!("tickwire tap 1\n0.00".parse::<Recording>().unwrap().passed, &[]);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_stops_and_the_stream_goes_on() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    bounded(async {
        for lines in 0..4 {
            let (near, mut far) = duplex(1 << 10);
            let config = Config::default();
            let entropy = SystemEntropy::new().unwrap();
            let conn = Connection::client(&config, Negotiated::default(), entropy);
            let mut ws = WebSocket::from_parts(Tap::new(near, Full(lines)), conn);
            far.write_all(b"\x82\x01a").await.unwrap();
            assert!(ws.recv().await.unwrap().is_some());
            far.write_all(b"\x82\x01b").await.unwrap();
            assert!(ws.recv().await.unwrap().is_some());
            ws.send("c").await.unwrap();
            assert_eq!(ws.get_ref().failed(), lines < 4);
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_takes_nothing_leaves_its_recording_readable() {
    let log = Log::default();
    let (mut one, mut other) = ([0; 3], [0; 3]);
    let mut tap = Tap::new(io::Cursor::new(&mut one[..]), log.clone());
    assert_eq!(Write::write(&mut tap, b"four").unwrap(), 3);
    assert_eq!(Write::write(&mut tap, b"4").unwrap(), 0);
    let mut tap = Tap::new(io::Cursor::new(&mut other[..]), log.clone());
    assert!(AsyncWriteExt::write_all(&mut tap, b"four").await.is_err());
    let text = log.text();
    let (blocking, tokio) = text.split_at(text.len() / 2);
    for text in [blocking, tokio] {
        let recording = text.parse::<Recording>().unwrap();
        let passed: Vec<&[u8]> = recording.passed.iter().map(|p| &p.bytes[..]).collect();
        assert_eq!(passed, [b"fou"]);
    }
}

#[tokio::test]
async fn a_read_into_no_room_is_not_the_end() {
    use tokio::io::AsyncReadExt;
    let log = Log::default();
    let mut tap = Tap::new(&b"x"[..], log.clone());
    assert_eq!(AsyncReadExt::read(&mut tap, &mut []).await.unwrap(), 0);
    assert_eq!(io::Read::read(&mut tap, &mut []).unwrap(), 0);
    assert_eq!(log.recording().passed, []);
    let log = Log::default();
    let mut tap = Tap::new(blocking::WithoutTimeouts(io::empty()), log.clone());
    assert_eq!(blocking::Stream::try_read(&mut tap, &mut []).unwrap(), 0);
    assert_eq!(log.recording().passed, []);
}

#[test]
fn no_recording_takes_long_to_replay() {
    threads::bounded(|| {
        let digits: Vec<String> = (0..=u8::MAX).map(|byte| format!("{byte:02x}")).collect();
        let hex = |text: &str| text.bytes().map(|b| &*digits[usize::from(b)]).collect::<String>();
        let refused = |lines: &str| {
            let recording = format!("tickwire tap 1\n{lines}").parse::<Recording>().unwrap();
            assert!(recording.replay(&Config::default(), |_, _| {}).is_err());
        };
        // A head that is written byte by byte and is longer than any.
        refused(&format!("0.000000 > 474554\n{}", "0.000000 > 20\n".repeat(66 << 10)));
        // A head with many subprotocols: each is compared with all before it.
        let offered = (0..60_000).map(|i| format!("{i},")).collect::<String>();
        let head =
            format!("GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n");
        refused(&format!("0.000000 > {}\n", hex(&head)));
        // A longer read than any adapter makes.
        refused(&format!("0.000000 < {}{}\n", hex("GET "), hex("/").repeat(1 << 20)));
    });
}

/// Returns the recording with each write cut into writes of at most `most` bytes.
fn cut(log: &Log, most: usize) -> Log {
    let mut text = String::new();
    for line in log.text().lines() {
        match line.split_once(" > ") {
            Some((at, hex)) if hex != "end" => {
                for piece in hex.as_bytes().chunks(2 * most) {
                    text += &format!("{at} > {}\n", str::from_utf8(piece).unwrap());
                }
            }
            _ => text += &format!("{line}\n"),
        }
    }
    Log(Arc::new(Mutex::new(text.into_bytes())))
}

#[tokio::test]
async fn a_request_written_in_pieces_is_found() {
    bounded(async {
        let (near, far) = duplex(1 << 10);
        let log = Log::default();
        let config = Config::default();
        let request = Request::new("ws://test/feed").unwrap();
        let near = Tap::new(near, log.clone());
        assert!(!near.failed());
        let (ours, theirs) = tokio::join!(client(near, &request, &config), accept(far, &config));
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        theirs.send("text").await.unwrap();
        assert!(ours.recv().await.unwrap().is_some());
        for most in [1, 2, 3, 4, 5, 7, 1000] {
            let (messages, _) = replayed(&cut(&log, most), &config);
            assert_eq!(messages, [OwnedMessage::from("text")], "{most}");
        }
    })
    .await;
}

#[test]
fn what_begins_with_the_end_of_the_stream_has_no_role() {
    let log = Log::default();
    let mut tap = Tap::new(&b""[..], log.clone());
    assert_eq!(io::Read::read(&mut tap, &mut [0; 5]).unwrap(), 0);
    assert_eq!((log.recording().role(), log.recording().passed.len()), (None, 1));
}

/// A stream that notes the calls that are made on it.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<String>>>, bool);

impl Noted {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl io::Read for Noted {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.note(format!("read {}", to.len()));
        to[0] = b'r';
        Ok(1)
    }
}

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.note(format!("write {bytes:?}"));
        Ok(1)
    }
    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.note(format!("write {} slices", bufs.len()));
        Ok(3)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.note("flush");
        Ok(())
    }
}

impl blocking::Stream for Noted {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, buf)
    }
    fn try_write(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [bytes] => io::Write::write(self, bytes),
            _ => io::Write::write_vectored(self, bufs),
        }
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.note(format!("read timeout {timeout:?}"));
        Ok(())
    }
    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.note(format!("nodelay {yes}"));
        Ok(())
    }
    fn try_flush(&mut self) -> io::Result<()> {
        self.note("try to flush");
        Ok(())
    }
    fn wait(&self, interest: blocking::Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.note(format!("wait for {interest:?} {timeout:?}"));
        Ok(())
    }
    fn shutdown(&mut self) -> io::Result<()> {
        self.note("shutdown");
        Ok(())
    }
    fn try_clone(&self) -> io::Result<Self> {
        self.note("clone");
        Ok(self.clone())
    }
    fn writes_vectored(&self) -> bool {
        self.1
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Write::write(&mut *self, bytes))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Write::write_vectored(&mut *self, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        self.1
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Write::flush(&mut *self))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(blocking::Stream::shutdown(&mut *self))
    }
}

#[test]
fn a_tap_passes_everything_on() {
    let noted = Noted::default();
    let log = Log::default();
    let mut tap = Tap::new(noted.clone(), log.clone());
    let second = Some(Duration::from_secs(1));
    blocking::Stream::set_read_timeout(&tap, second).unwrap();
    blocking::Stream::set_nodelay(&tap, true).unwrap();
    blocking::Stream::wait(&tap, blocking::Interest::READ, second).unwrap();
    blocking::Stream::try_flush(&mut tap).unwrap();
    let wait = "wait for Interest { read: true, write: false } Some(1s)";
    let asked = ["read timeout Some(1s)", "nodelay true", wait, "try to flush"];
    assert_eq!(noted.noted(), asked);
    assert_eq!(io::Read::read(&mut tap, &mut [0; 5]).unwrap(), 1);
    assert_eq!(Write::write(&mut tap, b"ab").unwrap(), 1);
    let slices = [io::IoSlice::new(b"cd"), io::IoSlice::new(b"ef")];
    assert_eq!(Write::write_vectored(&mut tap, &slices).unwrap(), 3);
    Write::flush(&mut tap).unwrap();
    drop(blocking::Stream::try_clone(&tap).unwrap());
    blocking::Stream::shutdown(&mut tap).unwrap();
    assert_eq!(
        noted.noted(),
        ["read 5", "write [97, 98]", "write 2 slices", "flush", "clone", "shutdown"]
    );

    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut pinned = Pin::new(&mut tap);
    assert!(matches!(pinned.as_mut().poll_write(&mut cx, b"gh"), Poll::Ready(Ok(1))));
    assert!(matches!(pinned.as_mut().poll_write_vectored(&mut cx, &slices), Poll::Ready(Ok(3))));
    assert!(matches!(pinned.as_mut().poll_flush(&mut cx), Poll::Ready(Ok(()))));
    assert!(matches!(pinned.as_mut().poll_shutdown(&mut cx), Poll::Ready(Ok(()))));
    assert_eq!(noted.noted(), ["write [103, 104]", "write 2 slices", "flush", "shutdown"]);

    for yes in [true, false] {
        let tap = Tap::new(Noted(Arc::default(), yes), Log::default());
        assert_eq!(blocking::Stream::writes_vectored(&tap), yes);
        assert_eq!(AsyncWrite::is_write_vectored(&tap), yes);
    }
    let passed: Vec<_> = log.recording().passed.iter().map(|p| p.bytes.clone()).collect();
    assert_eq!(passed, [&b"r"[..], b"a", b"cde", b"", b"g", b"cde", b""]);
}

#[test]
fn what_passed_is_not_shown() {
    let log = Log::default();
    let mut tap = Tap::new(Noted::default(), log.clone());
    assert_eq!(Write::write(&mut tap, b"secret").unwrap(), 1);
    let shown = format!("{:?}", log.recording());
    assert!(shown.contains("> 1 bytes") && !shown.contains("115"), "{shown}");
    let shown = format!("{:?}", Tap::new(io::empty(), log));
    assert!(shown.contains("failed: None") && !shown.contains("secret"), "{shown}");
}
