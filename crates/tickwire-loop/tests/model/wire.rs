//! Raw peers over sockets that the test drives, `ws` and `wss`, which hold what the loop sends to
//! RFC 6455: their frames are those of `testkit`.
use bytes::Buf;
use rustix::net::{AddressFamily, SocketType, socket, sockopt};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, OnceLock},
    time::Duration,
};
use testkit::frames::{CLOSE, PING, PONG, TEXT, WireFrame, frame, frame_len, read_frame};
use tickwire::{
    Config, OwnedMessage,
    handshake::server::{Accept, Handshake},
    tls::rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection},
};

/// A client's and a server's configuration, by one certificate for all runs.
pub struct Tls {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

impl Tls {
    /// Through rustls, in place, and with a server's configuration that rustls refuses.
    pub fn all() -> &'static [Self; 3] {
        static TLS: OnceLock<[Tls; 3]> = OnceLock::new();
        TLS.get_or_init(|| {
            let identity = testkit::tls::Identity::self_signed(&["localhost"]);
            [(false, None), (true, None), (true, Some(1))].map(|(in_place, fragment)| {
                let mut client = identity.client();
                let mut server = identity.server();
                client.enable_secret_extraction = in_place;
                server.enable_secret_extraction = in_place;
                server.max_fragment_size = fragment; // rustls wants at least 32
                Self { client: client.into(), server: server.into() }
            })
        })
    }

    /// Through rustls, as the raw peers have it.
    pub fn get() -> &'static Self {
        &Self::all()[0]
    }
}

/// What has come from the loop.
#[derive(Default)]
pub struct Input {
    bytes: Vec<u8>,
    /// The head of the request or response, and what followed that of a rejection.
    pub head: Option<String>,
    body: Vec<u8>,
    /// The messages that the reference has not taken.
    pub messages: Vec<OwnedMessage>,
    partial: Option<(u8, Vec<u8>)>,
    pub has_close: bool,
    /// Once the stream has ended: whether in order, not with a reset, or TLS that broke or lacks
    /// its close_notify.
    pub ended: Option<bool>,
}

/// What goes to the loop.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// How much has been queued so far.
    queued: u64,
    pub has_close: bool,
    /// Whether the stream ends in order once all that is queued is written, and whether it has.
    pub wants_fin: bool,
    pub has_fin: bool,
    /// Something illegal, half a frame, or its FIN is queued.
    pub mute: bool,
}

pub struct Peer {
    tcp: TcpStream,
    tls: Option<Connection>,
    /// The flow of its messages: even for a client, and the next one for its server.
    pub flow: usize,
    /// Whether it answers requests, Pings and Closes.
    pub polite: bool,
    /// The most that it writes and reads at once.
    pub most: [usize; 2],
    pub input: Input,
    pub output: Output,
}

/// A listener whose streams have the smallest send buffer, if `tiny`.
pub fn listener(tiny: bool) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if tiny {
        sockopt::set_socket_send_buffer_size(&listener, 1).unwrap();
    }
    listener
}

/// A stream without vectored writes, which would raise SIGPIPE in the fuzz target.
struct Quiet<'a>(&'a TcpStream);

impl Write for Quiet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {
    pub fn new(tcp: TcpStream, flow: usize, tls: bool) -> Self {
        tcp.set_nonblocking(true).unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = "localhost".try_into().unwrap();
        let tls = tls.then(|| match flow % 2 {
            0 => ClientConnection::new(Tls::get().client.clone(), name).unwrap().into(),
            _ => ServerConnection::new(Tls::get().server.clone()).unwrap().into(),
        });
        let (input, output) = Default::default();
        Self { tcp, tls, flow, polite: true, most: [1 << 20; 2], input, output }
    }

    /// A client that has queued a request. If `tiny`, its receive buffer stays small. (One below
    /// the MSS of the loopback would make TCP wait for its timers.)
    pub fn ask(to: SocketAddr, tls: bool, method: &str, tiny: bool, flow: usize) -> Self {
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        if tiny {
            sockopt::set_socket_recv_buffer_size(&fd, 1 << 16).unwrap();
        }
        rustix::net::connect(&fd, &to).unwrap();
        let mut peer = Self::new(fd.into(), flow, tls);
        let head = format!(
            "{method} /{flow} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        peer.raw(head.as_bytes());
        peer
    }

    fn is_server(&self) -> bool {
        self.flow % 2 == 1
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.output.wants_fin {
            self.output.bytes.extend(bytes);
            self.output.queued += bytes.len() as u64;
        }
    }

    /// Queues a frame. Returns the number of bytes that are flushed once all of it is.
    pub fn frame(&mut self, b0: u8, payload: &[u8]) -> u64 {
        let key = (!self.is_server()).then_some([7, 0, 200, 33]);
        self.output.has_close |= b0 == CLOSE;
        self.raw(&frame(b0, key, payload));
        self.output.queued
    }

    /// The plaintext that the operating system has accepted.
    pub fn flushed(&self) -> u64 {
        let held = self.tls.as_ref().is_some_and(|tls| tls.wants_write() || tls.is_handshaking());
        if held { 0 } else { self.output.queued - self.output.bytes.len() as u64 }
    }

    /// Ends the stream with a reset.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO)).unwrap();
    }

    pub fn is_open(&self) -> bool {
        let open = |head: &String| self.is_server() || head.starts_with("HTTP/1.1 101 ");
        self.input.head.as_ref().is_some_and(open)
    }

    /// Whether a part of a rejection's body has not come, though the peer has not said more.
    pub fn waits_for_body(&self) -> bool {
        let mut lines = self.input.head.iter().flat_map(|head| head.lines());
        let length = lines.find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        length > Some(self.input.body.len()) && !self.output.mute
    }

    /// Writes and reads what it may.
    pub fn pump(&mut self) {
        let [write_most, read_most] = self.most;
        if self.write(write_most).is_err() {
            self.output.bytes.clear();
            self.input.ended.get_or_insert(false);
        }
        if self.input.ended.is_none() && read_most > 0 {
            match self.read(read_most as u64) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => self.input.ended = Some(read.is_ok()),
            }
        }
        self.decode();
    }

    fn write(&mut self, most: usize) -> io::Result<()> {
        let mut bytes = &self.output.bytes[..self.output.bytes.len().min(most)];
        if let Some(tls) = &mut self.tls {
            let n = tls.writer().write(bytes)?;
            bytes = &bytes[..n];
            while most > 0 && tls.wants_write() && blocks(tls.write_tls(&mut Quiet(&self.tcp)))? > 0
            {
            }
        } else if !bytes.is_empty() {
            bytes = &bytes[..blocks(self.tcp.write(bytes))?];
        }
        let n = bytes.len();
        self.output.bytes.drain(..n);
        if self.output.wants_fin && !self.output.has_fin && self.output.bytes.is_empty() {
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
                blocks(tls.write_tls(&mut Quiet(&self.tcp)))?;
            }
            self.output.has_fin = true;
            self.tcp.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    /// Reads until the end of the stream. Fails with `WouldBlock` if it has not come yet.
    fn read(&mut self, most: u64) -> io::Result<usize> {
        let (mut tcp, into) = ((&self.tcp).take(most), &mut self.input.bytes);
        let later = Err(ErrorKind::WouldBlock.into());
        let Some(tls) = &mut self.tls else {
            let came = tcp.read_to_end(into)?;
            return if came as u64 == most { later } else { Ok(came) };
        };
        let came = tls.read_tls(&mut tcp);
        let valid = tls.process_new_packets().map_err(io::Error::other);
        match tls.reader().read_to_end(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => valid.and(came).and(later),
            ended => ended,
        }
    }

    fn decode(&mut self) {
        if self.input.head.is_none()
            && let Some(at) = self.input.bytes.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head: Vec<u8> = self.input.bytes.drain(..at + 4).collect();
            if self.is_server() && self.polite {
                let response = accept(&head);
                self.raw(&response);
            }
            self.input.head = Some(String::from_utf8(head).unwrap());
        }
        if !self.is_open() {
            if self.input.head.is_some() {
                self.input.body.append(&mut self.input.bytes);
            }
            return;
        }
        while let Some((b0, mut payload)) = self.next_frame() {
            assert!(!self.input.has_close || b0 > CLOSE, "{b0:#x} follows the loop's Close");
            match b0 {
                CLOSE => {
                    self.input.has_close = true;
                    if self.polite && !self.output.has_close {
                        self.frame(CLOSE, &payload);
                    }
                    self.output.wants_fin |= self.polite;
                }
                PING if self.polite => drop(self.frame(PONG, &payload)),
                PING | PONG => {}
                _ => {
                    let partial = self.input.partial.take();
                    assert_eq!(b0 & 15 == 0, partial.is_some(), "{b0:#x} out of its place");
                    let (kind, mut all) = partial.unwrap_or((b0 | 0x80, Vec::new()));
                    all.append(&mut payload);
                    match kind {
                        _ if b0 < 0x80 => self.input.partial = Some((kind, all)),
                        TEXT => self.input.messages.push(String::from_utf8(all).unwrap().into()),
                        _ => self.input.messages.push(all.into()),
                    }
                }
            }
        }
    }

    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (WireFrame { b0, masked, payload }, n) = read_frame(&self.input.bytes)?;
        self.input.bytes.drain(..n);
        assert_eq!(masked, self.is_server(), "clients mask, servers do not");
        assert!(matches!(b0, 0..=2 | 0x80..=0x82 | CLOSE..=PONG), "the loop sent {b0:#x}");
        assert!(b0 < CLOSE || payload.len() < 126, "a long control frame");
        assert_eq!(n, frame_len(payload.len(), masked), "a length that is not the shortest");
        Some((b0, payload))
    }
}

fn blocks(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// The core's response to a request.
fn accept(head: &[u8]) -> Vec<u8> {
    let mut handshake = Handshake::new(&Config::default());
    handshake.reading.spare_mut()[..head.len()].copy_from_slice(head);
    handshake.reading.commit(head.len());
    handshake.step().unwrap();
    let mut connection = handshake.accept(Accept::default()).unwrap();
    connection.sender_mut().outgoing().chunk().to_vec()
}
