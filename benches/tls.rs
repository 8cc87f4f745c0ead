//! A client's message over TLS 1.3 (AES-128-GCM of ring), in memory, on one thread; the other end's cryptography is not
//! timed. In each round every side does the same, one after the other; the figures are medians.
//!
//! ```text
//! cargo bench -p benches --bench tls --features rustls           # 11 rounds
//! cargo bench -p benches --bench tls --features rustls -- 101 'send 64'    # so many, of rows with this in their name
//! ```
//!
//! | side | |
//! |---|---|
//! | `ws` | no TLS |
//! | `rustls` | a configuration that keeps its keys |
//! | `in place` | one with `enable_secret_extraction` |
//! | `floor` | records opened and sealed by ring, with no check, nothing but data, one copy |
//! | `blocking` | `in place` in the blocking adapter |
#![allow(clippy::expect_used, clippy::panic)] // it stops the bench
mod floor;
#[allow(dead_code, unreachable_pub)]
#[path = "../tests/support/alloc.rs"]
mod support_alloc;

use floor::Body::{Ascii, Binary};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::{
    cell::{Cell, RefCell},
    hint::black_box,
    io::{self, Read, Write},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};
use support_alloc::{Counting, allocations, live};
use tickwire::{
    blocking,
    handshake::client::Request,
    tls::rustls::{
        CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore,
        ServerConfig, ServerConnection,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
        version::TLS13,
    },
    tokio as on_tokio,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A stream in memory: the bench writes to the client by hand.
#[derive(Clone, Default)]
struct Pipe(Rc<Ends>);

#[derive(Default)]
struct Ends {
    to_client: RefCell<Vec<u8>>,
    read: Cell<usize>,
    to_server: RefCell<Vec<u8>>,
    keeps: Cell<bool>,
}

impl Pipe {
    fn read(&self, to: &mut [u8]) -> Option<usize> {
        let wire = self.0.to_client.borrow();
        let from = &wire[self.0.read.get()..];
        let n = from.len().min(to.len());
        to[..n].copy_from_slice(&from[..n]);
        self.0.read.set(self.0.read.get() + n);
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
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// A direction of the floor: key, initialisation vector, sequence number.
struct Key(LessSafeKey, [u8; 12], u64);

impl Key {
    fn new((seq, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("another suite");
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("a key");
        Self(LessSafeKey::new(key), iv.as_ref().try_into().expect("twelve bytes"), seq)
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.1;
        for (n, s) in nonce[4..].iter_mut().zip(self.2.to_be_bytes()) {
            *n ^= s;
        }
        self.2 += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Ciphertext lies in `wire[at..end]`, plaintext not yet taken in `wire[from..to]`.
struct Floor {
    io: Pipe,
    rx: Key,
    tx: Key,
    wire: Vec<u8>,
    at: usize,
    end: usize,
    from: usize,
    to: usize,
    out: Vec<u8>,
}

impl AsyncRead for Floor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.from < this.to {
                let n = (this.to - this.from).min(to.remaining());
                to.put_slice(&this.wire[this.from..this.from + n]);
                this.from += n;
                return Poll::Ready(Ok(()));
            }
            let wire = &this.wire[this.at..this.end];
            if let Some(&[kind, _, _, hi, lo]) = wire.first_chunk::<5>() {
                let len = usize::from(u16::from_be_bytes([hi, lo]));
                assert!(kind == 23 && len <= 16384 + 256);
                if wire.len() >= 5 + len {
                    let nonce = this.rx.nonce();
                    let record = &mut this.wire[this.at..this.at + 5 + len];
                    let (head, body) = record.split_at_mut(5);
                    let plain = this.rx.0.open_in_place(nonce, Aad::from(&*head), body);
                    let plain = plain.expect("a good tag");
                    let n = plain.iter().rposition(|&b| b != 0).expect("a type");
                    assert_eq!(plain[n], 23);
                    (this.from, this.to) = (this.at + 5, this.at + 5 + n);
                    this.at += 5 + len;
                    continue;
                }
            }
            this.wire.copy_within(this.at..this.end, 0);
            (this.at, this.end, this.from, this.to) = (0, this.end - this.at, 0, 0);
            let mut room = ReadBuf::new(&mut this.wire[this.end..]);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut room))?;
            this.end += room.filled().len();
        }
    }
}

impl AsyncWrite for Floor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.out.clear();
        for piece in buf.chunks(16384) {
            let at = this.out.len();
            let [hi, lo] = ((piece.len() + 17) as u16).to_be_bytes();
            this.out.extend_from_slice(&[23, 3, 3, hi, lo]);
            this.out.extend_from_slice(piece);
            this.out.push(23);
            let nonce = this.tx.nonce();
            let (head, body) = this.out[at..].split_at_mut(5);
            let tag = this.tx.0.seal_in_place_separate_tag(nonce, Aad::from(&*head), body);
            this.out.extend_from_slice(tag.expect("a tag").as_ref());
        }
        let Self { io, out, .. } = this;
        Pin::new(io).poll_write(cx, out).map_ok(|_| buf.len())
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Both ends' configurations; the client's without and with keys to be had.
struct Setup {
    keeping: Arc<ClientConfig>,
    giving: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

fn setup() -> Setup {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).expect("a certificate");
    let cert: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut provider = default_provider();
    provider.cipher_suites.retain(|s| s.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("a version");
    let keeping = builder.with_root_certificates(roots).with_no_client_auth();
    let mut giving = keeping.clone();
    giving.enable_secret_extraction = true;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("a version");
    let mut server =
        builder.with_no_client_auth().with_single_cert(vec![cert], key).expect("a server");
    server.send_tls13_tickets = 0;
    Setup { keeping: keeping.into(), giving: giving.into(), server: server.into() }
}

/// Takes what the client wrote, and answers.
fn serve(server: &mut ServerConnection, pipe: &Pipe) {
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
enum Side {
    Plain,
    Rustls,
    InPlace,
    Floor,
    Blocking,
}

const SIDES: [(&str, Side); 5] = [
    ("ws", Side::Plain),
    ("rustls", Side::Rustls),
    ("in place", Side::InPlace),
    ("floor", Side::Floor),
    ("blocking", Side::Blocking),
];

struct Case {
    size: usize,
    /// Messages in a record.
    batch: usize,
    send: bool,
}

/// The frames of a server's messages, and where each ends.
struct Wire {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

struct Run<'a> {
    messages: &'a [Vec<u8>],
    wire: &'a Wire,
    case: &'a Case,
}

/// What one side does, in either adapter.
trait Client {
    fn receive(&mut self, len: usize);
    fn feed(&mut self, message: &[u8]);
    fn flush(&mut self);
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("there is input"),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client for on_tokio::WebSocket<S> {
    fn receive(&mut self, len: usize) {
        let got = now(self.recv()).expect("no error").expect("a message");
        assert_eq!(black_box(got.as_bytes()).len(), len);
    }
    fn feed(&mut self, message: &[u8]) {
        Self::feed(self, message).expect("room");
    }
    fn flush(&mut self) {
        now(Self::flush(self)).expect("no error");
    }
}

impl<S: blocking::Stream> Client for blocking::WebSocket<S> {
    fn receive(&mut self, len: usize) {
        let got = self.recv().expect("no error").expect("a message");
        assert_eq!(black_box(got.as_bytes()).len(), len);
    }
    fn feed(&mut self, message: &[u8]) {
        Self::feed(self, message).expect("room");
    }
    fn flush(&mut self) {
        Self::flush(self).expect("no error");
    }
}

impl Run<'_> {
    /// Nanoseconds and allocations a message.
    fn timed(&self, client: &mut dyn Client, mut fill: impl FnMut(usize), n: usize) -> [f64; 2] {
        for (i, n) in [2048, n].into_iter().enumerate() {
            fill(n);
            let before = allocations();
            let begin = Instant::now();
            if self.case.send {
                for (i, message) in self.messages.iter().cycle().take(n).enumerate() {
                    client.feed(black_box(message));
                    if (i + 1) % self.case.batch == 0 {
                        client.flush();
                    }
                }
                client.flush();
            } else {
                (0..n).for_each(|_| client.receive(self.case.size));
            }
            let took = begin.elapsed().as_nanos() as f64 / n as f64;
            if i == 1 {
                return [took, (allocations() - before) as f64 / n as f64];
            }
        }
        unreachable!()
    }

    /// The wire of the next messages, batch by batch.
    fn batches(&self, n: usize, mut put: impl FnMut(&[u8])) {
        if self.case.send {
            return;
        }
        for i in (0..n).step_by(self.case.batch) {
            let i = i % self.messages.len();
            let from = if i == 0 { 0 } else { self.wire.ends[i - 1] };
            put(&self.wire.bytes[from..self.wire.ends[i + self.case.batch - 1]]);
        }
    }

    fn of(&self, side: Side, setup: &Setup, n: usize) -> [f64; 2] {
        let pipe = Pipe::default();
        let conn = floor::connection(true);
        if let Side::Plain = side {
            let mut ws = on_tokio::WebSocket::from_parts(pipe.clone(), conn);
            let fill = |n| pipe.refill(|wire| self.batches(n, |bytes| wire.extend(bytes)));
            return self.timed(&mut ws, fill, n);
        }
        pipe.0.keeps.set(true);
        let mut server = ServerConnection::new(setup.server.clone()).expect("a server");
        let config = match side {
            Side::Rustls => setup.keeping.clone(),
            _ => setup.giving.clone(),
        };
        let mut client: Box<dyn Client> = match side {
            Side::Floor => {
                let client = session(setup, &mut server, &pipe);
                #[allow(deprecated)] // it never updates its keys
                let keys = client.dangerous_extract_secrets().expect("the keys");
                let (rx, tx) = (Key::new(keys.rx), Key::new(keys.tx));
                let (wire, out) = (vec![0; 64 << 10], Vec::with_capacity(32 << 10));
                let io = pipe.clone();
                let io = Floor { io, rx, tx, wire, at: 0, end: 0, from: 0, to: 0, out };
                Box::new(on_tokio::WebSocket::from_parts(io, conn))
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
                Box::new(blocking::WebSocket::from_parts(io, conn))
            }
            _ => {
                let io = connect(config, &mut server, &pipe);
                assert_eq!(io.session().in_place(), matches!(side, Side::InPlace));
                Box::new(on_tokio::WebSocket::from_parts(io, conn))
            }
        };
        pipe.0.keeps.set(false);
        let fill = |n| {
            pipe.refill(|wire| {
                self.batches(n, |bytes| {
                    server.writer().write_all(bytes).expect("room");
                    while server.wants_write() {
                        server.write_tls(wire).expect("a Vec takes all");
                    }
                });
            });
        };
        self.timed(&mut *client, fill, n)
    }
}

/// A stream whose handshake is over.
fn connect(
    config: Arc<ClientConfig>,
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

/// What a client's stream holds while it waits for data, in bytes.
fn idle(config: &Arc<ClientConfig>, setup: &Setup) -> i64 {
    let one = || {
        let pipe = Pipe::default();
        pipe.0.keeps.set(true);
        let mut server = ServerConnection::new(setup.server.clone()).expect("a server");
        let mut io = connect(config.clone(), &mut server, &pipe);
        let mut cx = Context::from_waker(Waker::noop());
        let mut room = [0; 100];
        assert!(Pin::new(&mut io).poll_read(&mut cx, &mut ReadBuf::new(&mut room)).is_pending());
        drop((pipe.0.to_client.take(), pipe.0.to_server.take()));
        io
    };
    drop(one()); // which leaves the thread its buffers
    let before = live();
    let io = one();
    let held = live() - before;
    drop(io);
    held
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let rounds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(11);
    let wanted = args.iter().find(|arg| arg.parse::<usize>().is_err()).map_or("", String::as_str);
    let setup = setup();
    let [keeping, giving] = [&setup.keeping, &setup.giving].map(|config| idle(config, &setup));
    println!("an idle stream holds: rustls {keeping} B, in place {giving} B\n");
    print!("{:<32}", "ns a message (allocations)");
    SIDES.iter().for_each(|(name, _)| print!("{name:>16}"));
    println!("{:>10}", "to floor");
    for send in [false, true] {
        for (size, body, batch) in [
            (64, Binary, 1),
            (64, Binary, 16),
            (200, Ascii, 1),
            (1024, Binary, 1),
            (1024, Binary, 8),
        ] {
            let what = if send { "send" } else { "receive" };
            let text = if matches!(body, Ascii) { "text" } else { "binary" };
            let name = format!("{what} {size} B {text}, {batch} a record");
            if !name.contains(wanted) {
                continue;
            }
            let messages = floor::messages(size, body);
            let mut wire = Wire { bytes: Vec::new(), ends: Vec::new() };
            for message in &messages {
                let mut head = [0; 14];
                let first = if matches!(body, Ascii) { 0x81 } else { 0x82 };
                let len = floor::write_head(&mut head, first, message.len(), 0);
                wire.bytes.extend_from_slice(&head[..len]);
                wire.bytes.extend_from_slice(message);
                wire.ends.push(wire.bytes.len());
            }
            let case = Case { size, batch, send };
            let run = Run { messages: &messages, wire: &wire, case: &case };
            let n = ((24 << 20) / (size + 40).max(160)).next_multiple_of(4096);
            let mut got = vec![(Vec::new(), Vec::new()); SIDES.len()];
            for round in 0..rounds {
                for i in 0..SIDES.len() {
                    let i = (i + round) % SIDES.len();
                    let [ns, allocations] = run.of(SIDES[i].1, &setup, n);
                    got[i].0.push(ns);
                    got[i].1.push(allocations);
                }
            }
            print!("{name:<32}");
            for (ns, allocations) in &got {
                let figure =
                    format!("{:.1} ({:.2})", median(ns.clone()), median(allocations.clone()));
                print!("{figure:>16}");
            }
            let ratios = got[2].0.iter().zip(&got[3].0).map(|(ours, floor)| ours / floor);
            println!("{:>10.3}", median(ratios.collect()));
        }
    }
}
