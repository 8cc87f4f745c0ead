//! A message over TLS 1.3 (AES-128-GCM of ring), in memory, on one thread: a client's session, its
//! server by rustls, and a floor on ring.
#![allow(dead_code, unreachable_pub)] // each bench uses its part
#![allow(clippy::expect_used, clippy::panic)] // it stops the bench
#[path = "bare_tls.rs"]
mod bare_tls;
#[path = "../tests/support/provider.rs"]
mod provider;

use crate::{
    floor::{self, Body},
    sides::{Sides, Work},
};
use bare_tls::{Bare, Keys};
use std::{
    cell::{Cell, RefCell},
    convert::identity,
    hint::black_box,
    io::{self, Read, Write},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tickwire::{
    Connection, Prepared, Step, blocking,
    handshake::client::Request,
    tls::{
        Session,
        rustls::{
            CipherSuite, ClientConfig, ClientConnection, ServerConfig, ServerConnection,
            pki_types::ServerName, version::TLS13,
        },
    },
    tokio as on_tokio,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};

/// Messages of one length, some of them to a record, and who does what with them.
pub struct Case {
    pub size: usize,
    pub body: Body,
    /// Messages in a record.
    pub batch: usize,
    pub does: Does,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Does {
    /// A client receives.
    Receive,
    /// A client receives, and no read goes beyond the end of a record.
    ReceiveEach,
    /// The same, by the reading half.
    ReceiveSplit,
    /// A client sends.
    Send,
    /// A server sends each message at once.
    SendLarge,
    /// A server sends messages encoded before, one of many to do so.
    Share,
}

impl Case {
    fn receives(&self) -> bool {
        matches!(self.does, Does::Receive | Does::ReceiveEach | Does::ReceiveSplit)
    }

    fn connection(&self) -> Connection {
        floor::connection(self.receives() || self.does == Does::Send)
    }
}

/// A case's messages.
pub struct Run {
    pub case: Case,
    messages: Vec<Vec<u8>>,
    prepared: Vec<Prepared>,
    /// The frames of a server's messages, and where each ends.
    wire: Vec<u8>,
    ends: Vec<usize>,
}

impl Run {
    pub fn new(case: Case) -> Self {
        let messages = floor::messages(case.size, case.body);
        let (mut wire, mut ends) = (Vec::new(), Vec::new());
        for message in &messages {
            let mut head = [0; 14];
            let first = if case.body == Body::Ascii { 0x81 } else { 0x82 };
            let len = floor::write_head(&mut head, first, message.len(), 0);
            wire.extend_from_slice(&head[..len]);
            wire.extend_from_slice(message);
            ends.push(wire.len());
        }
        let prepared = messages.iter().map(|message| Prepared::new(&message[..])).collect();
        Self { case, messages, prepared, wire, ends }
    }

    /// Puts what `n` messages need on the wire.
    pub fn fill(&self, link: &mut Link, n: usize) {
        if !self.case.receives() {
            return;
        }
        let Link { server, pipe, .. } = link;
        pipe.refill(|to| {
            for i in (0..n).step_by(self.case.batch) {
                let i = i % self.messages.len();
                let from = if i == 0 { 0 } else { self.ends[i - 1] };
                let plain = &self.wire[from..self.ends[i + self.case.batch - 1]];
                match server {
                    None => to.extend_from_slice(plain),
                    Some(server) => {
                        server.writer().write_all(plain).expect("room");
                        while server.wants_write() {
                            server.write_tls(to).expect("a Vec takes all");
                        }
                    }
                }
            }
        });
    }

    /// The work that is measured.
    pub fn work(&self, link: &mut Link, n: usize) {
        let client = &mut *link.client;
        let messages = self.messages.iter().cycle().take(n);
        match self.case.does {
            Does::Receive | Does::ReceiveEach | Does::ReceiveSplit => {
                (0..n).for_each(|_| client.receive(self.case.size))
            }
            Does::Send => {
                for (i, message) in messages.enumerate() {
                    client.feed(black_box(message));
                    if (i + 1) % self.case.batch == 0 {
                        client.flush();
                    }
                }
                client.flush();
            }
            Does::Share => {
                for message in self.prepared.iter().cycle().take(n) {
                    client.feed_prepared(black_box(message));
                    client.flush();
                }
            }
            Does::SendLarge => messages.for_each(|message| client.send(black_box(message))),
        }
    }
}

/// The sides of a case, each of which connects when it first works, and puts on the wire what `all`
/// messages need, however many it is told to do: that counts the same for any number.
pub fn sides(case: Case, all: usize) -> Sides {
    let sides = [
        ("floor", Side::Floor),
        ("core", Side::Core),
        ("tokio", Side::InPlace),
        ("blocking", Side::Blocking),
    ];
    each_of(sides, case, all)
}

/// As [`sides`], but rustls opens and seals the records.
pub fn sides_by_rustls(case: Case, all: usize) -> Sides {
    each_of([("floor", Side::Floor), ("tokio", Side::Rustls)], case, all)
}

fn each_of<const N: usize>(sides: [(&'static str, Side); N], case: Case, all: usize) -> Sides {
    let run = Rc::new(Run::new(case));
    sides
        .map(|(name, side)| {
            let (run, mut link) = (run.clone(), None);
            let work = move |n| {
                let link = link.get_or_insert_with(|| {
                    let mut link = Link::new(side, &setup(), &run.case);
                    run.fill(&mut link, all);
                    link
                });
                run.work(link, n);
            };
            (name, Box::new(work) as Work)
        })
        .into()
}

/// One side's connection, and its peer's TLS.
pub struct Link {
    client: Box<dyn Client>,
    server: Option<ServerConnection>,
    pipe: Pipe,
}

impl Link {
    pub fn new(side: Side, setup: &Setup, case: &Case) -> Self {
        let (pipe, conn) = (Pipe::default(), case.connection());
        if let Side::Plain = side {
            let client = Box::new(on_tokio::WebSocket::from_parts(pipe.clone(), conn));
            return Self { client, server: None, pipe };
        }
        pipe.keep(true);
        let mut server = ServerConnection::new(setup.server.clone()).expect("a server");
        let config = match side {
            Side::Rustls => setup.keeping.clone().into(),
            _ => setup.in_place.clone(),
        };
        let client: Box<dyn Client> = match side {
            Side::Floor => {
                let client = session(setup, &mut server, &pipe);
                #[allow(deprecated)] // it never updates its keys
                let keys = client.dangerous_extract_secrets().expect("the keys");
                let io = Bare::new(pipe.clone(), Keys::new(keys));
                Box::new(on_tokio::WebSocket::from_parts(io, conn))
            }
            Side::Core => {
                let request = Request::new("wss://localhost/").expect("a URL");
                let tls = Session::client(config, request.target()).expect("a name");
                let mut core = Core { tls, conn, pipe: pipe.clone() };
                while core.tls.is_handshaking() {
                    core.flush();
                    serve(&mut server, &pipe);
                    core.read();
                }
                core.flush();
                serve(&mut server, &pipe);
                assert!(core.tls.in_place());
                Box::new(core)
            }
            Side::Blocking => {
                let io = Std(pipe.clone());
                let request = Request::new("wss://localhost/").expect("a URL");
                let mut io =
                    blocking::TlsStream::client(io, request.target(), config).expect("a name");
                while server.is_handshaking() {
                    let _ = io.handshake();
                    serve(&mut server, &pipe);
                }
                io.handshake().expect("a handshake");
                let ws = blocking::WebSocket::from_parts(io, conn);
                match case.does {
                    Does::ReceiveSplit => Box::new(ws.into_split().expect("it can be cloned")),
                    _ => Box::new(ws),
                }
            }
            _ => {
                let io = connect(config, &mut server, &pipe);
                assert_eq!(io.session().in_place(), matches!(side, Side::InPlace));
                let ws = on_tokio::WebSocket::from_parts(io, conn);
                match case.does {
                    Does::ReceiveSplit => Box::new(ws.into_split()),
                    _ => Box::new(ws),
                }
            }
        };
        pipe.keep(false);
        pipe.0.by_record.set(matches!(case.does, Does::ReceiveEach | Does::ReceiveSplit));
        Self { client, server: Some(server), pipe }
    }
}

/// A stream in memory: the bench writes to the client by hand.
#[derive(Clone, Default)]
pub struct Pipe(Rc<Ends>);

#[derive(Default)]
struct Ends {
    to_client: RefCell<Vec<u8>>,
    read: Cell<usize>,
    to_server: RefCell<Vec<u8>>,
    keeps: Cell<bool>,
    by_record: Cell<bool>,
    /// Where the record ends that is being read.
    record_end: Cell<usize>,
}

impl Pipe {
    /// Whether what the client writes is kept.
    pub fn keep(&self, yes: bool) {
        self.0.keeps.set(yes);
    }

    pub fn empty(&self) {
        drop((self.0.to_client.take(), self.0.to_server.take()));
    }

    fn read(&self, to: &mut [u8]) -> Option<usize> {
        let wire = self.0.to_client.borrow();
        let Ends { read, by_record, record_end, .. } = &*self.0;
        let mut from = &wire[read.get()..];
        if by_record.get() && !from.is_empty() {
            if read.get() == record_end.get() {
                let len = u16::from_be_bytes([from[3], from[4]]);
                record_end.set(read.get() + bare_tls::HEADER + usize::from(len));
            }
            from = &wire[read.get()..record_end.get()];
        }
        let n = from.len().min(to.len());
        to[..n].copy_from_slice(&from[..n]);
        read.set(read.get() + n);
        (n > 0).then_some(n)
    }

    fn write(&self, bytes: &[u8]) -> usize {
        if self.0.keeps.get() {
            self.0.to_server.borrow_mut().extend_from_slice(bytes);
        }
        black_box(bytes).len()
    }

    fn refill(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut wire = self.0.to_client.borrow_mut();
        wire.drain(..self.0.read.take());
        self.0.record_end.set(0);
        fill(&mut wire);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.read(buf.initialize_unfilled()) {
            Some(n) => {
                buf.advance(n);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.write(buf)))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// For the blocking adapter.
struct Std(Pipe);

impl Read for Std {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to).ok_or(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Std {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl blocking::Stream for Std {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read(buf)
    }

    fn try_write(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [bytes] => self.write(bytes),
            _ => self.write_vectored(bufs),
        }
    }

    fn wait(&self, _: blocking::Interest, _: Option<Duration>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.clone()))
    }
}

/// Both ends' configurations; the client's through rustls, in place, and, for the floor, with keys
/// to be had.
pub struct Setup {
    pub keeping: Arc<ClientConfig>,
    pub in_place: tickwire::tls::Client,
    pub giving: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

pub fn setup() -> Setup {
    let made = testkit::tls::Identity::self_signed(&["localhost"]);
    let mut provider = provider::default_provider();
    provider.cipher_suites.retain(|s| s.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("a version");
    let keeping = builder.with_root_certificates(made.roots()).with_no_client_auth();
    let mut giving = keeping.clone();
    giving.enable_secret_extraction = true;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("a version");
    let builder = builder.with_no_client_auth();
    let server = builder.with_single_cert(made.chain.clone(), made.private());
    let mut server = server.expect("a server");
    server.send_tls13_tickets = 0;
    let keeping = Arc::new(keeping);
    let in_place = tickwire::tls::Client::from(keeping.clone()).in_place();
    Setup { keeping, in_place, giving: giving.into(), server: server.into() }
}

/// Takes what the client wrote, and answers.
pub fn serve(server: &mut ServerConnection, pipe: &Pipe) {
    let wire = pipe.0.to_server.take();
    let mut wire = &wire[..];
    while !wire.is_empty() {
        server.read_tls(&mut wire).expect("room");
        server.process_new_packets().expect("a client");
    }
    pipe.refill(|wire| {
        while server.wants_write() {
            server.write_tls(wire).expect("a Vec takes all");
        }
    });
}

/// A session as rustls has it, for the floor.
fn session(setup: &Setup, server: &mut ServerConnection, pipe: &Pipe) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(setup.giving.clone(), name).expect("a client");
    while client.is_handshaking() || server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut *pipe.0.to_server.borrow_mut()).expect("a Vec takes all");
        }
        serve(server, pipe);
        pipe.refill(|wire| {
            let mut from = &wire[..];
            while !from.is_empty() {
                client.read_tls(&mut from).expect("room");
                client.process_new_packets().expect("a server");
            }
            wire.clear();
        });
    }
    client
}

#[derive(Clone, Copy)]
pub enum Side {
    Plain,
    Rustls,
    InPlace,
    Floor,
    Blocking,
    /// A session without I/O.
    Core,
}

/// What one side does, in either adapter.
pub trait Client {
    fn receive(&mut self, len: usize);
    fn feed(&mut self, message: &[u8]);
    fn feed_prepared(&mut self, message: &Prepared);
    fn flush(&mut self);
    fn send(&mut self, message: &[u8]);
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("there is input"),
    }
}

/// For an adapter, whose calls `$wait` waits for. `$reader` and `$writer` are the halves, where
/// there are halves.
macro_rules! client {
    ($wait:expr, [$($stream:tt)+] $Type:ty $(, $reader:tt, $writer:tt)?) => {
        impl<S: $($stream)+> Client for $Type {
            fn receive(&mut self, len: usize) {
                let got = $wait(self$(.$reader)?.recv()).expect("no error").expect("a message");
                assert_eq!(black_box(got.as_bytes()).len(), len);
            }
            fn feed(&mut self, message: &[u8]) {
                self$(.$writer)?.feed(message).expect("room");
            }
            fn feed_prepared(&mut self, message: &Prepared) {
                self$(.$writer)?.feed(message).expect("room");
            }
            fn flush(&mut self) {
                $wait(self$(.$writer)?.flush()).expect("no error");
            }
            fn send(&mut self, message: &[u8]) {
                $wait(self$(.$writer)?.send(message)).expect("no error");
            }
        }
    };
}

client!(now, [AsyncRead + AsyncWrite + Unpin] on_tokio::WebSocket<S>);
client!(now, [AsyncRead + AsyncWrite + Unpin] on_tokio::Halves<ReadHalf<S>, WriteHalf<S>>, 0, 1);
client!(identity, [blocking::Stream] blocking::WebSocket<S>);
client!(identity, [blocking::Stream] (blocking::Reader<S>, blocking::Writer<S>), 0, 1);

/// A loop of one's own.
struct Core {
    tls: Session,
    conn: Connection,
    pipe: Pipe,
}

impl Core {
    fn read(&mut self) {
        let to = self.conn.receiver_mut().spare_mut();
        match self.tls.read(to).expect("no error") {
            Some(n) => self.conn.receiver_mut().commit(n),
            None => {
                let n = self.pipe.read(self.tls.spare_mut()).expect("there is input");
                self.tls.commit(n);
            }
        }
    }
}

impl Client for Core {
    fn receive(&mut self, len: usize) {
        loop {
            match self.conn.step().expect("no error") {
                Step::NeedInput => self.read(),
                step => {
                    assert_eq!(step, Step::Message);
                    let got = self.conn.receiver().message().expect("the step said so");
                    assert_eq!(black_box(got.as_bytes()).len(), len);
                    return;
                }
            }
        }
    }
    fn feed(&mut self, message: &[u8]) {
        self.conn.sender_mut().feed(message).expect("room");
    }
    fn feed_prepared(&mut self, message: &Prepared) {
        self.conn.sender_mut().feed(message).expect("room");
    }
    fn flush(&mut self) {
        loop {
            self.tls.write(&mut self.conn.sender_mut().outgoing()).expect("no error");
            let n = self.pipe.write(self.tls.outgoing());
            self.tls.advance(n);
            if n == 0 || !self.conn.sender().has_outgoing() {
                return;
            }
        }
    }
    fn send(&mut self, message: &[u8]) {
        self.feed(message);
        self.flush();
    }
}

/// A stream whose handshake is over.
pub fn connect(
    config: impl Into<tickwire::tls::Client>,
    server: &mut ServerConnection,
    pipe: &Pipe,
) -> on_tokio::TlsStream<Pipe> {
    let request = Request::new("wss://localhost/").expect("a URL");
    let io = on_tokio::TlsStream::client(pipe.clone(), request.target(), config);
    let mut io = io.expect("a name");
    while server.is_handshaking() {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = pin!(io.handshake()).poll(&mut cx);
        serve(server, pipe);
    }
    now(io.handshake()).expect("a handshake");
    io
}
