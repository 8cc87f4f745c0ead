//! Raw peers: a second codec for RFC 6455, over sockets that the test drives, `ws` and `wss`. And
//! the doors and dials of the loop, which they talk to.
use bytes::Buf;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::net::{AddressFamily, SocketType, socket, sockopt};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tickwire::{
    Config,
    handshake::server::{Accept, Handshake},
    tls::rustls::{
        ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
        pki_types::PrivateKeyDer,
    },
};
use tickwire_loop::{Dial, Door};

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// A client's and a server's configuration, by one authority for all runs.
pub struct Tls {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

impl Tls {
    /// Through rustls, and in place.
    pub fn both() -> &'static [Self; 2] {
        static TLS: OnceLock<[Tls; 2]> = OnceLock::new();
        TLS.get_or_init(|| {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(DnType::CommonName, "the model's authority");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
            let (authority, key) = (authority.unwrap(), KeyPair::generate().unwrap());
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let leaf = params.signed_by(&key, &authority).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let client = ClientConfig::builder().with_root_certificates(roots);
            let server = ServerConfig::builder().with_no_client_auth().with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
            let (client, server) = (client.with_no_client_auth(), server.unwrap());
            [false, true].map(|in_place| {
                let (mut client, mut server) = (client.clone(), server.clone());
                client.enable_secret_extraction = in_place;
                server.enable_secret_extraction = in_place;
                Self { client: client.into(), server: server.into() }
            })
        })
    }

    /// Through rustls, as the raw peers have it.
    pub fn get() -> &'static Self {
        &Self::both()[0]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Eof,
    /// A reset, or TLS that broke or lacks its close_notify.
    Broken,
}

pub struct Peer {
    tcp: TcpStream,
    tls: Option<Connection>,
    /// Whether the other end has sent something to TLS.
    speaks_tls: bool,
    /// 0 for a client, 1 for a server.
    pub side: usize,
    /// What it has to write, and how much it has queued so far.
    out: Vec<u8>,
    queued: u64,
    input: Vec<u8>,
    /// The head of the request or response that came, and what followed that of a rejection.
    pub head: Option<String>,
    pub body: Vec<u8>,
    /// The messages, Pings and Pongs that came; the first byte of a frame tells which.
    pub got: Vec<(u8, Vec<u8>)>,
    partial: Option<(u8, Vec<u8>)>,
    /// The code of the loop's Close; 1005 for none.
    pub closed: Option<u16>,
    pub end: Option<End>,
    pub sent_close: bool,
    /// Whether it ends the stream in order once all that is queued is written.
    pub wants_fin: bool,
    pub has_fin: bool,
    /// Whether it answers requests, Pings and Closes.
    pub polite: bool,
    /// The most that it writes and reads at once.
    pub most: [usize; 2],
    /// For the reference: the number of its connection, and how many of `got` it has seen.
    pub link: usize,
    pub seen: usize,
    /// It has sent something illegal, half a frame, or its FIN.
    pub mute: bool,
}

/// A socket whose receive buffer is small and does not grow, if `tiny`. (One below the MSS of the
/// loopback would make TCP wait for its timers.)
fn connect(to: SocketAddr, tiny: bool) -> io::Result<TcpStream> {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    if tiny {
        sockopt::set_socket_recv_buffer_size(&fd, 1 << 16)?;
    }
    rustix::net::connect(&fd, &to)?;
    Ok(fd.into())
}

/// A listener whose streams have the smallest send buffer, if `tiny`.
pub fn listener(tiny: bool) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if tiny {
        sockopt::set_socket_send_buffer_size(&listener, 1).unwrap();
    }
    listener
}

pub fn door(config: &Arc<Config>, tls: Option<&Tls>) -> Door {
    let door = Door::new(config.clone());
    if let Some(tls) = tls { door.tls(tls.server.clone()) } else { door }
}

/// Looks the host up, if there is no address.
pub fn dial(
    config: &Arc<Config>,
    tls: Option<&Tls>,
    port: u16,
    to: &[SocketAddr],
    path: &str,
) -> Dial {
    let url = format!("{}://localhost:{port}/{path}", if tls.is_some() { "wss" } else { "ws" });
    let dial = Dial::to(&url).expect("a URL").addresses(to.iter().copied()).config(config.clone());
    dial.tls(tls.unwrap_or(Tls::get()).client.clone())
}

impl Peer {
    pub fn new(tcp: TcpStream, side: usize, tls: bool) -> Self {
        tcp.set_nonblocking(true).unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = "localhost".try_into().unwrap();
        let tls = tls.then(|| match side {
            0 => ClientConnection::new(Tls::get().client.clone(), name).unwrap().into(),
            _ => ServerConnection::new(Tls::get().server.clone()).unwrap().into(),
        });
        let (out, input, body, got) = (vec![], vec![], vec![], vec![]);
        let (head, partial, closed, end) = (None, None, None, None);
        let [speaks_tls, sent_close, wants_fin, has_fin, mute] = [false; 5];
        let (polite, most, link, queued, seen) = (true, [1 << 20; 2], 0, 0, 0);
        Self {
            tcp,
            tls,
            speaks_tls,
            side,
            out,
            queued,
            input,
            head,
            body,
            got,
            partial,
            closed,
            end,
            sent_close,
            wants_fin,
            has_fin,
            polite,
            most,
            link,
            seen,
            mute,
        }
    }

    /// A client that has queued its request. Its receive buffer is small if `tiny`.
    pub fn ask(to: SocketAddr, tls: bool, tiny: bool, link: usize) -> io::Result<Self> {
        let mut peer = Self::new(connect(to, tiny)?, 0, tls);
        peer.link = link;
        let head = format!(
            "GET /{link} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        peer.raw(head.as_bytes());
        Ok(peer)
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.wants_fin {
            self.out.extend(bytes);
            self.queued += bytes.len() as u64;
        }
    }

    /// Queues a frame. Returns the number of bytes that are flushed once all of it is.
    pub fn frame(&mut self, b0: u8, payload: &[u8]) -> u64 {
        let (mask, n) = (if self.side == 1 { 0 } else { 0x80 }, payload.len());
        let mut head = vec![b0];
        match n {
            0..126 => head.push(mask | n as u8),
            126..0x1_0000 => head.extend([mask | 126, (n >> 8) as u8, n as u8]),
            _ => {
                head.push(mask | 127);
                head.extend((n as u64).to_be_bytes());
            }
        }
        self.sent_close |= b0 == CLOSE;
        let key = if self.side == 1 { &[0][..] } else { &[7, 0, 200, 33] };
        head.extend(if self.side == 1 { &[] } else { key });
        head.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.raw(&head);
        self.queued
    }

    pub fn close(&mut self, code: u16) {
        self.frame(CLOSE, &code.to_be_bytes()[..if code == 1005 { 0 } else { 2 }]);
    }

    /// The plaintext that the operating system has accepted.
    pub fn flushed(&self) -> u64 {
        let held = self.tls.as_ref().is_some_and(|tls| tls.wants_write() || tls.is_handshaking());
        if held { 0 } else { self.queued - self.out.len() as u64 }
    }

    /// Ends the stream with a reset.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO)).unwrap();
    }

    pub fn status(&self) -> Option<u16> {
        self.head.as_ref()?.split(' ').nth(1)?.parse().ok()
    }

    pub fn is_open(&self) -> bool {
        self.head.is_some() && (self.side == 1 || self.status() == Some(101))
    }

    pub fn messages(&self) -> Vec<&[u8]> {
        self.got.iter().filter(|(b0, _)| *b0 < CLOSE).map(|(_, payload)| &payload[..]).collect()
    }

    /// Writes and reads what it may.
    pub fn pump(&mut self) {
        let [write_most, read_most] = self.most;
        if self.write(write_most).is_err() {
            self.out.clear();
            self.end.get_or_insert(End::Broken);
        }
        if self.end.is_none() && read_most > 0 {
            self.read(read_most);
        }
        self.decode();
    }

    fn write(&mut self, most: usize) -> io::Result<()> {
        let mut n = self.out.len().min(most);
        if let Some(tls) = &mut self.tls {
            n = tls.writer().write(&self.out[..n])?;
            while most > 0 && tls.wants_write() && blocks(tls.write_tls(&mut self.tcp))? > 0 {}
        } else if n > 0 {
            n = blocks(self.tcp.write(&self.out[..n]))?;
        }
        self.out.drain(..n);
        if self.wants_fin && !self.has_fin && self.out.is_empty() {
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
                blocks(tls.write_tls(&mut self.tcp))?;
            }
            self.has_fin = true;
            self.tcp.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    fn read(&mut self, most: usize) {
        let mut bytes = vec![0; most.min(1 << 16)];
        let mut plain = 0;
        let read = match &mut self.tls {
            None => self.tcp.read(&mut bytes).inspect(|&n| plain = n),
            Some(tls) => {
                let mut first = [22];
                let peeked = self.tcp.peek(&mut first).unwrap_or(0);
                let came = tls.read_tls(&mut (&self.tcp).take(most as u64));
                let began = self.speaks_tls;
                self.speaks_tls |= peeked > 0;
                // For a response without TLS, a debug assertion of rustls 0.23 fails.
                if !began && !(20..=23).contains(&first[0]) || tls.process_new_packets().is_err() {
                    let _ = tls.reader().read_to_end(&mut self.input);
                    self.end = Some(End::Broken);
                    return;
                }
                match tls.reader().read(&mut bytes) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => came.map(|n| n.max(1)),
                    other => other.inspect(|&n| plain = n), // 0 after close_notify
                }
            }
        };
        self.input.extend(&bytes[..plain]);
        match read {
            Ok(0) => self.end = Some(End::Eof),
            Err(error) if error.kind() != ErrorKind::WouldBlock => self.end = Some(End::Broken),
            _ => {}
        }
    }

    fn decode(&mut self) {
        if self.head.is_none()
            && let Some(at) = self.input.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head: Vec<u8> = self.input.drain(..at + 4).collect();
            if self.side == 1 && self.polite {
                let response = accept(&head);
                self.raw(&response);
            }
            self.head = Some(String::from_utf8(head).unwrap());
        }
        if !self.is_open() {
            let rest = if self.head.is_some() { std::mem::take(&mut self.input) } else { vec![] };
            return self.body.extend(rest);
        }
        while let Some((b0, mut payload)) = self.next_frame() {
            assert!(self.closed.is_none() || b0 > CLOSE, "{b0:#x} follows the loop's Close");
            if b0 == CLOSE {
                let code = payload.first_chunk().map_or(1005, |&code| u16::from_be_bytes(code));
                self.closed = Some(code);
                if self.polite && !self.sent_close {
                    self.close(code);
                }
                self.wants_fin |= self.polite;
            } else if b0 == PING && self.polite {
                self.frame(PONG, &payload);
            } else if b0 < CLOSE {
                assert_eq!(b0 & 15 == 0, self.partial.is_some(), "{b0:#x} out of its place");
                let partial = self.partial.get_or_insert((b0 | 0x80, Vec::new()));
                partial.1.append(&mut payload);
            }
            self.got.extend(if b0 > CLOSE { Some((b0, payload)) } else { None });
            if b0 >= 0x80 {
                self.got.extend(self.partial.take_if(|_| b0 < CLOSE));
            }
        }
    }

    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&b0, &b1) = (self.input.first()?, self.input.get(1)?);
        let (long, mask) = (b1 & 127, if self.side == 1 { 4 } else { 0 });
        assert_eq!(b1 >= 128, self.side == 1, "clients mask, servers do not");
        assert!(matches!(b0, 0..=2 | 0x80..=0x82 | CLOSE..=PONG), "the loop sent {b0:#x}");
        assert!(b0 < CLOSE || long < 126, "a long control frame");
        let (head, n) = match long {
            126 => (4, u16::from_be_bytes(*self.input.get(2..)?.first_chunk()?) as usize),
            127 => (10, u64::from_be_bytes(*self.input.get(2..)?.first_chunk()?) as usize),
            n => (2, n.into()),
        };
        let start = head + mask;
        self.input.get(start + n..)?; // else it is not whole
        let key = if mask == 0 { vec![0] } else { self.input[head..start].to_vec() };
        let payload = self.input.drain(..start + n).skip(start);
        Some((b0, payload.zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()))
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
