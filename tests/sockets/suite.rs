//! One behavioural suite over every way to drive a connection: the bare core in memory, the tokio
//! and the blocking adapter on loopback sockets, and these two with each other.
//!
//! A way to drive it is a [`Peer`]; one more is an `impl`, and a line in `Way::pair`.
use crate::support::{blocking::PATIENCE, tokio::*, wire::read_once};
use bytes::Buf;
use std::{io::Write, net, sync::mpsc, thread};
use tickwire::{
    CloseCode, CloseFrame, Config, Connection, DataKind, Ending, Error, Event, OwnedMessage,
    ProtocolError, RecvError, SendError, Step, blocking, handshake::client::Request,
    tokio as adapter,
};
use tokio::io::AsyncWriteExt;

/// What arrived, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Message(OwnedMessage),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close,
}

impl Got {
    fn new(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => Self::Message(message.to_owned()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(_) => Self::Close,
        }
    }
}

/// One end of a connection, whoever drives it. Each call waits as long as it takes.
trait Peer {
    fn feed(&mut self, message: &OwnedMessage) -> Result<(), SendError>;
    fn flush(&mut self) -> Result<(), Error>;
    fn send(&mut self, message: &OwnedMessage) -> Result<(), Error>;
    fn ping(&mut self, payload: &[u8]) -> Result<(), Error>;
    fn recv(&mut self) -> Result<Option<OwnedMessage>, Error>;
    fn event(&mut self) -> Result<Option<Got>, Error>;
    fn close(&mut self, frame: CloseFrame<'_>) -> Result<(), Error>;
    /// Writes these bytes to the stream, past the connection.
    fn raw(&mut self, wire: &[u8]);
    fn conn(&self) -> &Connection;
}

// The bare core, over channels of bytes.

struct Core {
    conn: Connection,
    input: mpsc::Receiver<Vec<u8>>,
    /// `None` once it was shut for writing.
    output: Option<mpsc::Sender<Vec<u8>>>,
    /// What was received and found no room yet.
    rest: Vec<u8>,
}

impl Core {
    fn pair(config: &Config) -> (Self, Self) {
        let ((to_server, from_client), (to_client, from_server)) =
            (mpsc::channel(), mpsc::channel());
        let new = |conn, input, output| Self { conn, input, output: Some(output), rest: vec![] };
        (
            new(conn(false, config), from_server, to_server),
            new(conn(true, config), from_client, to_client),
        )
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut out = self.conn.sender_mut().outgoing();
        while out.has_remaining() {
            let piece = out.chunk().to_vec();
            if self.output.as_ref().is_none_or(|output| output.send(piece.clone()).is_err()) {
                self.conn.write_failed();
                return Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into());
            }
            out.advance(piece.len());
        }
        Ok(())
    }

    fn read(&mut self) {
        if self.rest.is_empty() {
            match self.input.recv() {
                Ok(bytes) => self.rest = bytes,
                Err(_) => return self.conn.receiver_mut().end_of_stream(),
            }
        }
        let n = read_once(&mut self.conn, &self.rest);
        self.rest.drain(..n);
    }

    fn step(&mut self) -> Result<Step, Error> {
        loop {
            let step = self.conn.step();
            match step {
                Ok(Step::NeedInput) => {
                    let _ = self.write(); // what can still be read comes first
                    self.read();
                }
                Ok(Step::Closed) | Err(_) => {
                    loop {
                        match self.conn.ending() {
                            Ending::Flush => self.write().unwrap_or(()),
                            Ending::ShutDown => {
                                self.output = None;
                                self.conn.shut_down();
                            }
                            Ending::Discard => self.read(),
                            Ending::Done => break,
                        }
                    }
                    return step.map_err(Error::from);
                }
                step => return step.map_err(Error::from),
            }
        }
    }
}

impl Peer for Core {
    fn feed(&mut self, message: &OwnedMessage) -> Result<(), SendError> {
        self.conn.sender_mut().feed(message).map(|_| ())
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.write()
    }
    fn send(&mut self, message: &OwnedMessage) -> Result<(), Error> {
        self.feed(message)?;
        self.write()
    }
    fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.conn.sender_mut().ping(payload)?;
        self.write()
    }
    fn recv(&mut self) -> Result<Option<OwnedMessage>, Error> {
        loop {
            match self.step()? {
                Step::Message => return Ok(self.conn.receiver().message().map(|m| m.to_owned())),
                Step::Closed => return Ok(None),
                _ => {}
            }
        }
    }
    fn event(&mut self) -> Result<Option<Got>, Error> {
        let _ = self.step()?;
        Ok(self.conn.receiver().event().map(Got::new))
    }
    fn close(&mut self, frame: CloseFrame<'_>) -> Result<(), Error> {
        match self.conn.sender_mut().close(frame) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        while self.recv()?.is_some() {}
        Ok(())
    }
    fn raw(&mut self, wire: &[u8]) {
        self.output.as_ref().unwrap().send(wire.to_vec()).unwrap();
    }
    fn conn(&self) -> &Connection {
        &self.conn
    }
}

// The tokio adapter, each end on a runtime of its own.

struct Tokio {
    runtime: tokio::runtime::Runtime,
    ws: adapter::WebSocket<tokio::net::TcpStream>,
}

impl Tokio {
    fn new<F>(
        stream: net::TcpStream,
        join: impl FnOnce(tokio::net::TcpStream) -> F,
    ) -> Result<Self, Error>
    where
        F: Future<Output = Result<adapter::WebSocket<tokio::net::TcpStream>, Error>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        stream.set_nonblocking(true)?;
        let ws =
            runtime.block_on(async { join(tokio::net::TcpStream::from_std(stream)?).await })?;
        Ok(Self { runtime, ws })
    }
}

impl Peer for Tokio {
    fn feed(&mut self, message: &OwnedMessage) -> Result<(), SendError> {
        self.ws.feed(message).map(|_| ())
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.runtime.block_on(self.ws.flush())
    }
    fn send(&mut self, message: &OwnedMessage) -> Result<(), Error> {
        self.runtime.block_on(self.ws.send(message))
    }
    fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.ws.sender_mut().ping(payload)?;
        self.flush()
    }
    fn recv(&mut self) -> Result<Option<OwnedMessage>, Error> {
        Ok(self.runtime.block_on(self.ws.recv())?.map(|message| message.to_owned()))
    }
    fn event(&mut self) -> Result<Option<Got>, Error> {
        Ok(self.runtime.block_on(self.ws.recv_event())?.map(Got::new))
    }
    fn close(&mut self, frame: CloseFrame<'_>) -> Result<(), Error> {
        self.runtime.block_on(self.ws.close(frame))
    }
    fn raw(&mut self, wire: &[u8]) {
        self.runtime.block_on(self.ws.get_mut().write_all(wire)).unwrap();
    }
    fn conn(&self) -> &Connection {
        self.ws.connection()
    }
}

// The blocking adapter.

impl Peer for blocking::WebSocket<net::TcpStream> {
    fn feed(&mut self, message: &OwnedMessage) -> Result<(), SendError> {
        self.feed(message).map(|_| ())
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.flush()
    }
    fn send(&mut self, message: &OwnedMessage) -> Result<(), Error> {
        self.send(message)
    }
    fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.sender_mut().ping(payload)?;
        self.flush()
    }
    fn recv(&mut self) -> Result<Option<OwnedMessage>, Error> {
        self.recv_owned()
    }
    fn event(&mut self) -> Result<Option<Got>, Error> {
        Ok(self.recv_event()?.map(Got::new))
    }
    fn close(&mut self, frame: CloseFrame<'_>) -> Result<(), Error> {
        self.close(frame)
    }
    fn raw(&mut self, wire: &[u8]) {
        self.get_mut().write_all(wire).unwrap();
    }
    fn conn(&self) -> &Connection {
        self.connection()
    }
}

/// Who drives which end.
#[derive(Clone, Copy, Debug)]
enum Way {
    InMemory,
    /// Of the client, then of the server.
    Tcp(Adapter, Adapter),
}

#[derive(Clone, Copy, Debug)]
enum Adapter {
    Tokio,
    Blocking,
}

const WAYS: [Way; 5] = [
    Way::InMemory,
    Way::Tcp(Adapter::Tokio, Adapter::Tokio),
    Way::Tcp(Adapter::Blocking, Adapter::Blocking),
    Way::Tcp(Adapter::Tokio, Adapter::Blocking),
    Way::Tcp(Adapter::Blocking, Adapter::Tokio),
];

type Side = fn(&mut dyn Peer);

impl Adapter {
    fn client(self, stream: net::TcpStream, config: &Config) -> Box<dyn Peer> {
        let request = Request::new("ws://localhost/suite").unwrap();
        match self {
            Self::Tokio => {
                Box::new(Tokio::new(stream, |s| adapter::client(s, &request, config)).unwrap())
            }
            Self::Blocking => Box::new(blocking::client(stream, &request, config).unwrap()),
        }
    }

    fn server(self, stream: net::TcpStream, config: &Config) -> Box<dyn Peer> {
        match self {
            Self::Tokio => Box::new(Tokio::new(stream, |s| adapter::accept(s, config)).unwrap()),
            Self::Blocking => Box::new(blocking::accept(stream, config).unwrap()),
        }
    }
}

impl Way {
    /// Runs both sides to their end, each on a thread of its own.
    fn run(self, config: &Config, client: Side, server: Side) {
        let (near, far) = (config.clone(), config.clone());
        match self {
            Self::InMemory => {
                let (mut client_end, mut server_end) = Core::pair(config);
                both(move || client(&mut client_end), move || server(&mut server_end));
            }
            Self::Tcp(of_client, of_server) => {
                let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                both(
                    move || {
                        let stream = net::TcpStream::connect(address).unwrap();
                        stream.set_nodelay(true).unwrap();
                        client(&mut *of_client.client(stream, &near));
                    },
                    move || {
                        let (stream, _) = listener.accept().unwrap();
                        stream.set_nodelay(true).unwrap();
                        server(&mut *of_server.server(stream, &far));
                    },
                );
            }
        }
    }
}

/// Two threads, to their end; a hang fails.
fn both(near: impl FnOnce() + Send + 'static, far: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let threads: [Box<dyn FnOnce() + Send>; 2] = [Box::new(near), Box::new(far)];
    let threads = threads.map(|run| {
        let done = done.clone();
        thread::spawn(move || {
            run();
            let _ = done.send(());
        })
    });
    drop(done);
    for _ in 0..2 {
        match ended.recv_timeout(PATIENCE) {
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("an end hangs"),
        }
    }
    for thread in threads {
        thread.join().expect("an end failed");
    }
}

fn everywhere(config: &Config, client: Side, server: Side) {
    for way in WAYS {
        eprintln!("{way:?}"); // shown where a test fails
        way.run(config, client, server);
    }
}

fn config() -> Config {
    Config::default()
}

/// Answers each message with itself, to the end.
fn echo(peer: &mut dyn Peer) {
    while let Some(message) = peer.recv().unwrap() {
        peer.send(&message).unwrap();
    }
    assert!(peer.conn().closed().unwrap().clean);
}

fn normal() -> CloseFrame<'static> {
    CloseFrame::from(CloseCode::NORMAL)
}

fn bye(peer: &mut dyn Peer) {
    peer.close(normal()).unwrap();
    assert!(peer.conn().closed().unwrap().clean);
}

fn binary(len: usize) -> OwnedMessage {
    OwnedMessage::from((0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>())
}

fn protocol(result: Result<Option<OwnedMessage>, Error>) -> ProtocolError {
    match result {
        Err(Error::Recv(RecvError::Protocol(error))) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_of_every_length_and_kind_come_back_as_they_were_sent() {
    // P012, P013
    everywhere(
        &config(),
        |client| {
            for len in [0, 1, 125, 126, 127, 4095, 16 << 10, 65_535, 65_536, 300_000] {
                for message in [binary(len), OwnedMessage::from("ä".repeat(len / 2))] {
                    client.send(&message).unwrap();
                    assert!(client.recv().unwrap().unwrap() == message, "{len}");
                }
            }
            bye(client);
        },
        echo,
    );
}

#[test]
fn a_batch_comes_back_in_order() {
    everywhere(
        &config(),
        |client| {
            for round in 0..5 {
                for i in 0..200 {
                    client.feed(&binary(i + round)).unwrap();
                }
                client.flush().unwrap();
                for i in 0..200 {
                    assert!(client.recv().unwrap().unwrap() == binary(i + round));
                }
            }
            bye(client);
        },
        echo,
    );
}

#[test]
fn pings_are_answered_with_their_payload_and_seen_as_events() {
    // P040, P043, P047
    everywhere(
        &config(),
        |client| {
            for payload in [&b""[..], b"\xff\x00", &[7; 125]] {
                client.ping(payload).unwrap();
                assert_eq!(client.event().unwrap(), Some(Got::Pong(payload.to_vec())));
            }
            assert!(matches!(client.ping(&[0; 126]), Err(Error::Send(SendError::ControlTooLong))));
            client.raw(&masked(PONG, b"unasked"));
            bye(client);
        },
        |server| {
            for payload in [&b""[..], b"\xff\x00", &[7; 125]] {
                assert_eq!(server.event().unwrap(), Some(Got::Ping(payload.to_vec())));
            }
            assert_eq!(server.event().unwrap(), Some(Got::Pong(b"unasked".to_vec())));
            assert_eq!(server.event().unwrap(), Some(Got::Close));
            assert_eq!(server.event().unwrap(), None);
            assert!(server.conn().closed().unwrap().clean);
        },
    );
}

#[test]
fn fragments_become_a_message_and_a_ping_between_them_is_answered_before_it_ends() {
    // P028, P031, P032, P077
    everywhere(
        &config(),
        |client| {
            let text = "häuser".as_bytes();
            client.raw(&masked(TEXT_OPEN, &text[..2])); // inside the umlaut
            client.raw(&masked(PING, b"between"));
            assert_eq!(client.event().unwrap(), Some(Got::Pong(b"between".to_vec())));
            client.raw(&masked(CONT_OPEN, b""));
            client.raw(&masked(CONT, &text[2..]));
            let back = client.recv().unwrap().unwrap();
            assert_eq!(back, owned(DataKind::Text, text));
            bye(client);
        },
        echo,
    );
}

#[test]
fn the_client_closes_and_both_know_why() {
    // P062, P068, P074
    everywhere(
        &config(),
        |client| {
            client.close(CloseFrame::with_reason(CloseCode::GOING_AWAY, "lunch")).unwrap();
            assert_eq!(client.conn().closed().unwrap().code, 1001);
            assert!(client.conn().closed().unwrap().clean);
            assert_eq!(client.feed(&binary(1)), Err(SendError::Closed));
            assert!(matches!(client.send(&binary(1)), Err(Error::Send(SendError::Closed))));
            assert!(client.recv().unwrap().is_none());
        },
        |server| {
            assert!(server.recv().unwrap().is_none());
            let end = server.conn().closed().unwrap();
            assert_eq!((end.code, end.reason, end.clean), (1001, "lunch", true));
            assert_eq!(server.feed(&binary(1)), Err(SendError::Closed));
        },
    );
}

#[test]
fn the_server_closes_behind_what_it_fed_and_what_is_in_flight_is_no_error() {
    // P064, P065
    everywhere(
        &config(),
        |client| {
            for i in 0..50 {
                client.feed(&binary(i)).unwrap();
            }
            client.flush().unwrap();
            for i in 0..20 {
                assert!(client.recv().unwrap().unwrap() == binary(i));
            }
            assert!(client.recv().unwrap().is_none());
            assert_eq!(client.conn().closed().unwrap().code, 4000);
            assert!(client.conn().closed().unwrap().clean);
        },
        |server| {
            for i in 0..20 {
                server.feed(&binary(i)).unwrap();
            }
            server.close(CloseFrame::from(CloseCode::new(4000).unwrap())).unwrap();
            assert!(server.conn().closed().unwrap().clean);
        },
    );
}

#[test]
fn both_close_at_once_and_both_are_clean() {
    // P067
    everywhere(
        &config(),
        |client| {
            client.close(normal()).unwrap();
            assert!(client.conn().closed().unwrap().clean);
        },
        |server| {
            server.close(CloseCode::GOING_AWAY.into()).unwrap();
            assert!(server.conn().closed().unwrap().clean);
        },
    );
}

/// A client that breaks the protocol with these bytes, and the code it is told.
macro_rules! violation {
    ($wire:expr, $code:expr, $error:pat) => {
        everywhere(
            &config(),
            |client| {
                let good = binary(10);
                client.send(&good).unwrap();
                client.raw(&$wire);
                client.raw(&masked(BINARY, b"never seen"));
                assert!(client.recv().unwrap().is_none());
                assert_eq!(client.conn().closed().unwrap().code, $code);
            },
            |server| {
                assert!(server.recv().unwrap().unwrap() == binary(10));
                for _ in 0..2 {
                    let error = server.recv().unwrap_err();
                    assert!(matches!(error, Error::Recv($error)), "{error:?}");
                }
            },
        )
    };
}

#[test]
fn a_violation_is_told_to_the_peer_and_ends_the_connection() {
    use ProtocolError as P;
    use RecvError::Protocol;
    violation!([0xc2, 0x80, 0, 0, 0, 0], 1002, Protocol(P::ReservedBits)); // P003
    violation!([0x83, 0x80, 0, 0, 0, 0], 1002, Protocol(P::ReservedOpCode)); // P005
    violation!(plain(BINARY, b"x"), 1002, Protocol(P::MaskRequired)); // P019
    violation!(masked(CONT, b""), 1002, Protocol(P::UnexpectedContinuation));
    violation!(
        [masked(TEXT_OPEN, b"a"), masked(TEXT, b"b")].concat(),
        1002,
        Protocol(P::ExpectedContinuation)
    ); // P030
    violation!([0x89, 0xfe, 0, 200, 0, 0, 0, 0], 1002, Protocol(P::BadControlFrame)); // P038
    violation!([0x82, 0xfe, 0, 5, 0, 0, 0, 0], 1002, Protocol(P::BadLength)); // P007
    violation!(masked(CLOSE, b"x"), 1002, Protocol(P::BadClose)); // P049
    violation!(masked(TEXT, b"\xed\xa0\x80"), 1007, Protocol(P::BadUtf8)); // P080
    violation!(
        [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        1009,
        RecvError::MessageTooBig { .. }
    ); // P010
}

#[test]
fn a_masked_frame_from_a_server_is_told_to_it() {
    // P020
    everywhere(
        &config(),
        |client| {
            assert_eq!(protocol(client.recv()), ProtocolError::MaskForbidden);
            assert_eq!(protocol(client.recv()), ProtocolError::MaskForbidden);
        },
        |server| {
            server.raw(&masked(BINARY, b"x"));
            assert!(server.recv().unwrap().is_none());
            assert_eq!(server.conn().closed().unwrap().code, 1002);
        },
    );
}

#[test]
fn a_peer_that_vanishes_is_an_error_and_1006() {
    // P018, P037
    everywhere(
        &config(),
        |client| {
            client.send(&binary(10)).unwrap();
            client.raw(&masked(BINARY_OPEN, [1; 100])[..50]);
        },
        |server| {
            assert!(server.recv().unwrap().unwrap() == binary(10));
            for _ in 0..2 {
                let error = server.recv().unwrap_err();
                assert!(matches!(error, Error::Recv(RecvError::UnexpectedEof) | Error::Io(_)));
            }
            assert_eq!(server.conn().closed().map_or(1006, |end| end.code), 1006);
            assert!(!server.conn().closed().is_some_and(|end| end.clean));
        },
    );
}

#[test]
fn limits_hold_for_the_sum_of_fragments() {
    // P014, P015
    everywhere(
        &Config { max_message: 1000, ..config() },
        |client| {
            client.send(&binary(1000)).unwrap();
            assert!(client.recv().unwrap().unwrap() == binary(1000));
            client.raw(&masked(BINARY_OPEN, [0; 600]));
            client.raw(&masked(CONT, [0; 401]));
            assert!(client.recv().unwrap().is_none());
            assert_eq!(client.conn().closed().unwrap().code, 1009);
        },
        |server| {
            let message = server.recv().unwrap().unwrap();
            server.send(&message).unwrap();
            let error = server.recv().unwrap_err();
            assert!(matches!(error, Error::Recv(RecvError::MessageTooBig { limit: 1000 })));
        },
    );
}

#[test]
fn ten_mebibytes_pass_each_way_while_both_only_receive_once_they_have_sent() {
    everywhere(
        &Config { high_water: 100 << 20, ..config() },
        |client| {
            client.send(&binary(10 << 20)).unwrap();
            assert!(client.recv().unwrap().unwrap() == binary(10 << 20));
            bye(client);
        },
        echo,
    );
}

#[test]
fn many_small_messages_one_way_do_not_wait_for_the_other() {
    everywhere(
        &config(),
        |client| {
            for i in 0..20_000 {
                client.feed(&binary(i % 50)).unwrap();
                if i % 100 == 0 {
                    client.flush().unwrap();
                }
            }
            bye(client);
        },
        |server| {
            for i in 0..20_000 {
                assert!(server.recv().unwrap().unwrap() == binary(i % 50));
            }
            assert!(server.recv().unwrap().is_none());
        },
    );
}
