//! `wss`, against tickwire's own clients, a client that is a loop of its own, and rustls on a socket.
use std::{
    error::Error as StdError,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Connection, Dial, Error, Message, Step, SystemEntropy,
    blocking::{MaybeTls, WebSocket},
    handshake::{
        Progress,
        client::{Handshake, Request},
    },
    tls::{
        Session,
        rustls::{
            self, ClientConfig, ClientConnection, RootCertStore, ServerConfig,
            pki_types::{PrivateKeyDer, ServerName},
        },
    },
};

include!("../../../../tests/support/patience.rs");

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Servers that open records in place, and that let rustls do it; each with what its clients need.
pub(crate) fn servers(config: &Config) -> Vec<(SocketAddr, Arc<ClientConfig>)> {
    let start = |in_place| {
        let pair = rcgen::generate_simple_self_signed(["localhost".into()]).expect("a certificate");
        let chain = vec![pair.cert.der().clone()];
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).expect("its key");
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect("a certificate");
        let mut client =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let mut server = server.expect("they belong together");
        (client.enable_secret_extraction, server.enable_secret_extraction) = (in_place, in_place);
        let client = Arc::new(client);
        crate::start(config, Some(server.into()))
            .into_iter()
            .map(move |addr| (addr, client.clone()))
    };
    [true, false].into_iter().flat_map(start).collect()
}

fn request(addr: SocketAddr) -> Request {
    Request::new(&format!("wss://localhost:{}/", addr.port())).expect("a URL")
}

fn client(addr: SocketAddr, tls: &Arc<ClientConfig>) -> WebSocket<MaybeTls> {
    let request = request(addr);
    let dial = Dial::new(&request).tls(tls.clone());
    dial.blocking_connect(&Config::default()).expect("it is accepted")
}

fn echo(ws: &mut WebSocket<MaybeTls>, message: &[u8]) {
    ws.send(message).expect("it reads");
    let back = ws.recv().expect("it answers");
    assert!(back == Some(Message::Binary(message)), "{} bytes came back otherwise", message.len());
}

/// rustls on a socket.
pub(crate) struct Far {
    tls: ClientConnection,
    pub(crate) tcp: TcpStream,
}

impl Far {
    fn dial(addr: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(config.clone(), name).expect("a configuration");
        let tcp = TcpStream::connect(addr).expect("it listens");
        tcp.set_nodelay(true).expect("a stream");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a stream");
        Self { tls, tcp }
    }

    /// With the opening handshake done.
    pub(crate) fn open(addr: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut far = Self::dial(addr, config);
        far.stream().write_all(REQUEST).expect("it reads");
        far.head();
        far
    }

    fn head(&mut self) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.stream().read_exact(&mut byte).expect("it answers");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    }

    fn stream(&mut self) -> rustls::Stream<'_, ClientConnection, TcpStream> {
        rustls::Stream::new(&mut self.tls, &mut self.tcp)
    }

    fn say(&mut self, plain: &[u8]) {
        self.stream().write_all(plain).expect("it reads");
    }

    /// Records that are not sent yet.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(plain).expect("there is room");
        self.wire()
    }

    fn wire(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).expect("there is room");
        }
        wire
    }

    /// All that comes, up to a close_notify.
    fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        self.stream().read_to_end(&mut all).expect("it ends in order");
        all
    }
}

// Messages.

#[test]
fn messages_come_back_over_tls_whatever_their_length_and_the_end_is_clean() {
    for (addr, tls) in servers(&Config::default()) {
        let mut ws = client(addr, &tls);
        for len in [0, 1, 125, 126, 1000, 16_383, 16_384, 65_535, 65_536, 3 << 20, 64] {
            let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
            echo(&mut ws, &message);
        }
        ws.send("Zoë").expect("it reads");
        assert_eq!(ws.recv().expect("it answers"), Some(Message::Text("Zoë")));
        ws.close(CloseCode::NORMAL).expect("it answers");
        assert!(ws.closed().is_some_and(|closed| closed.code == 1000 && closed.clean));
    }
}

#[test]
fn a_client_of_tokio_gets_ten_thousand_messages_back_that_it_sent_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        for (addr, tls) in servers(&Config::default()) {
            let request = request(addr);
            let dial = Dial::new(&request).tls(tls);
            let config = Config { high_water: 1 << 20, ..Config::default() };
            let ws = dial.connect(&config).await.expect("it is accepted");
            let (mut reader, mut writer) = ws.into_split();
            let sending = async {
                for i in 0..10_000u32 {
                    let _ = writer.feed(&i.to_be_bytes()[..]).expect("it reads");
                }
                writer.flush().await.expect("it reads");
            };
            let receiving = async {
                for i in 0..10_000u32 {
                    let back = reader.recv().await.expect("it answers");
                    assert_eq!(back, Some(Message::Binary(&i.to_be_bytes())));
                }
            };
            tokio::join!(sending, receiving);
            writer.close(CloseCode::NORMAL).await.expect("it reads");
            assert_eq!(reader.recv().await.expect("it answers"), None);
        }
    });
}

#[test]
fn two_hundred_connections_are_served_over_tls_in_any_order() {
    for (addr, tls) in servers(&Config::default()) {
        let mut all: Vec<_> = (0..200).map(|_| client(addr, &tls)).collect();
        for _ in 0..3 {
            for (i, ws) in all.iter_mut().enumerate() {
                ws.send(&[i as u8; 200][..]).expect("it reads");
                ws.send(&[i as u8; 2000][..]).expect("it reads");
            }
            for (i, ws) in all.iter_mut().enumerate().rev() {
                for len in [200, 2000] {
                    let back = ws.recv().expect("it answers");
                    assert_eq!(back, Some(Message::Binary(&vec![i as u8; len])));
                }
            }
        }
        // Half of them go without a word, and their places are given to others.
        all.drain(..100);
        all.extend((0..100).map(|_| client(addr, &tls)));
        all.iter_mut().for_each(|ws| echo(ws, b"still"));
    }
}

/// Between a session and a stream that blocks, all that is to be sent.
fn send(tls: &mut Session, tcp: &mut TcpStream) -> std::io::Result<()> {
    while tls.has_outgoing() {
        let n = tcp.write(tls.outgoing())?;
        tls.advance(n);
    }
    Ok(())
}

/// One read.
fn receive(tls: &mut Session, tcp: &mut TcpStream) -> std::io::Result<()> {
    match tcp.read(tls.spare_mut())? {
        0 => tls.end_of_stream(),
        n => tls.commit(n),
    }
    Ok(())
}

/// The next message, that of `docs/recipes/latency.md`.
fn next(
    tls: &mut Session,
    conn: &mut Connection,
    tcp: &mut TcpStream,
) -> Result<Option<Vec<u8>>, Box<dyn StdError>> {
    loop {
        match conn.step()? {
            Step::Message => return Ok(conn.receiver().message().map(|m| m.as_bytes().to_vec())),
            Step::Closed => return Ok(None),
            Step::NeedInput => {}
            _ => continue,
        }
        while tls.write(&mut conn.sender_mut().outgoing())? > 0 || tls.has_outgoing() {
            send(tls, tcp)?;
        }
        match tls.read(conn.receiver_mut().spare_mut())? {
            Some(0) => conn.receiver_mut().end_of_stream(),
            Some(n) => conn.receiver_mut().commit(n),
            None => receive(tls, tcp)?,
        }
    }
}

#[test]
fn a_client_that_is_a_loop_of_its_own_dials_out() -> Result<(), Box<dyn StdError>> {
    for (addr, config) in servers(&Config::default()) {
        let request = request(addr);
        let mut tls = Session::client(config, request.target())?;
        let mut tcp = TcpStream::connect(addr)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut handshake = Handshake::new(&request, &Config::default(), SystemEntropy::new()?);
        while handshake.step()? == Progress::Partial {
            let n = tls.write(&mut handshake.outgoing())?;
            handshake.advance(n);
            send(&mut tls, &mut tcp)?;
            match tls.read(handshake.reading.spare_mut())? {
                Some(0) => handshake.reading.end_of_stream(),
                Some(n) => handshake.reading.commit(n),
                None => receive(&mut tls, &mut tcp)?,
            }
        }
        let mut conn = handshake.into_connection()?;
        for len in [0, 1, 70_000, 1 << 20] {
            let message = vec![len as u8; len];
            let _ = conn.sender_mut().feed(&message)?;
            assert_eq!(next(&mut tls, &mut conn, &mut tcp)?, Some(message));
        }
        conn.sender_mut().close(CloseCode::NORMAL)?;
        assert_eq!(next(&mut tls, &mut conn, &mut tcp)?, None);
        assert!(conn.closed().is_some_and(|closed| closed.clean));
        // The server's close_notify, and its FIN.
        loop {
            match tls.read(&mut [0; 100])? {
                Some(n) => break assert_eq!(n, 0),
                None => receive(&mut tls, &mut tcp)?,
            }
        }
        tls.close();
        send(&mut tls, &mut tcp)?;
    }
    Ok(())
}

// Streams.

#[test]
fn records_may_come_byte_by_byte_between_those_of_others() {
    for (addr, tls) in servers(&Config::default()) {
        let (mut slow, mut other) = (Far::dial(addr, &tls), client(addr, &tls));
        let drip = |slow: &mut Far, other: &mut WebSocket<MaybeTls>, wire: &[u8]| {
            for byte in wire {
                slow.tcp.write_all(&[*byte]).expect("it reads");
                echo(other, b"between");
            }
        };
        let hello = slow.wire();
        drip(&mut slow, &mut other, &hello);
        while slow.tls.is_handshaking() {
            slow.tls.read_tls(&mut slow.tcp).expect("it answers");
            slow.tls.process_new_packets().expect("it speaks TLS");
        }
        let finished = slow.wire();
        drip(&mut slow, &mut other, &finished);
        let request = slow.seal(REQUEST);
        drip(&mut slow, &mut other, &request);
        slow.head();
        let frames = slow.seal(b"\x82\x83\0\0\0\0abc\x82\x81\0\0\0\0d");
        drip(&mut slow, &mut other, &frames);
        let mut back = [0; 8];
        slow.stream().read_exact(&mut back).expect("it answers");
        assert_eq!(&back, b"\x82\x03abc\x82\x01d");
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from_over_tls_and_loses_nothing() {
    const MOST: usize = 256 << 20;
    for (addr, tls) in servers(&Config::default()) {
        let (mut slow, mut other) = (Far::open(addr, &tls), client(addr, &tls));
        slow.tcp.set_nonblocking(true).expect("a stream");
        let frame = [&[0x82, 0xfe, 0x40, 0, 0, 0, 0, 0][..], &[7; 0x4000]].concat();
        // Until the stream has taken nothing over 100 round trips of another connection.
        let (mut sent, mut silent, mut wire) = (0, 0, Vec::new());
        while silent < 100 {
            if wire.is_empty() {
                wire = slow.seal(&frame);
                sent += 1;
            }
            match slow.tcp.write(&wire) {
                Ok(n) => {
                    wire.drain(..n);
                    silent = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    echo(&mut other, b"meanwhile");
                    silent += 1;
                }
                Err(error) => panic!("{error}"),
            }
            assert!(
                sent * frame.len() < MOST,
                "{sent} frames were taken from a peer that reads none"
            );
        }
        slow.tcp.set_nonblocking(false).expect("a stream");
        let mut tcp = slow.tcp.try_clone().expect("a descriptor");
        let rest = thread::spawn(move || tcp.write_all(&wire).expect("it reads again"));
        let mut back = vec![0; sent * (frame.len() - 4)];
        slow.stream().read_exact(&mut back).expect("it answers all");
        for echoed in back.chunks(frame.len() - 4) {
            assert!(echoed[..4] == [0x82, 0x7e, 0x40, 0] && echoed[4..].iter().all(|&b| b == 7));
        }
        rest.join().expect("it is written");
    }
}

// Ends.

#[test]
fn a_close_is_answered_and_tls_is_ended_before_the_stream() {
    for (addr, tls) in servers(&Config::default()) {
        let mut far = Far::open(addr, &tls);
        far.say(b"\x89\x81\0\0\0\0?\x88\x82\0\0\0\0\x03\xe8");
        assert_eq!(far.rest(), b"\x8a\x01?\x88\x02\x03\xe8");
    }
}

#[test]
fn a_violation_and_a_bad_request_are_answered_over_tls() {
    for (addr, tls) in servers(&Config::default()) {
        let mut far = Far::open(addr, &tls);
        far.say(b"\x82\x81\0\0\0\0a\x82\x01b"); // the second is unmasked
        assert_eq!(far.rest(), b"\x82\x01a\x88\x02\x03\xea");
        let mut far = Far::dial(addr, &tls);
        far.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = far.rest();
        assert!(answer.starts_with(b"HTTP/1.1 426"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn who_fails_the_handshake_of_tls_is_told_and_ended_and_the_others_go_on() {
    for (addr, tls) in servers(&Config::default()) {
        let mut other = client(addr, &tls);
        // It trusts nobody.
        let nobody = ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let url = request(addr);
        let refused =
            Dial::new(&url).tls(nobody.into()).blocking_connect(&Config::default()).map(drop);
        assert!(matches!(refused, Err(Error::Tls(_))), "{refused:?}");
        echo(&mut other, b"one is gone");
        // It does not speak TLS.
        let mut plain = TcpStream::connect(addr).expect("it listens");
        plain.set_read_timeout(Some(PATIENCE)).expect("a stream");
        plain.write_all(REQUEST).expect("it reads");
        let mut alert = [0; 7];
        plain.read_exact(&mut alert).expect("an alert");
        assert_eq!(alert[..6], [21, 3, 3, 0, 2, 2]);
        assert!(matches!(plain.read(&mut [0]), Ok(0) | Err(_)), "and the end");
        // A record is garbled.
        let mut far = Far::open(addr, &tls);
        let mut wire = far.seal(b"\x82\x81\0\0\0\0a");
        wire[10] ^= 1;
        far.tcp.write_all(&wire).expect("it reads");
        let told = far.stream().read(&mut [0; 10]).expect_err("the alert, or the end");
        let alert = told.downcast::<rustls::Error>().expect("an alert");
        let bad = rustls::AlertDescription::BadRecordMac;
        assert_eq!(alert, rustls::Error::AlertReceived(bad));
        echo(&mut other, b"all are gone");
    }
}

fn ends(tcp: &mut TcpStream) {
    let ended = tcp.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert!(matches!(ended, Ok(_) | Err(ErrorKind::ConnectionReset)), "{ended:?}");
}

#[test]
fn who_is_cut_off_is_ended() {
    for (addr, tls) in servers(&Config::default()) {
        // In the middle of a frame, and of a record.
        let mut far = Far::open(addr, &tls);
        far.say(b"\x82\x85\0\0\0\0ab");
        let record = far.seal(b"c");
        far.tcp.write_all(&record[..10]).expect("it reads");
        far.tcp.shutdown(std::net::Shutdown::Write).expect("a stream");
        ends(&mut far.tcp);
        echo(&mut client(addr, &tls), b"still");
    }
}

#[test]
fn who_says_nothing_is_ended() {
    let brief = Duration::from_millis(100);
    for (addr, tls) in servers(&Config { handshake_timeout: brief, ..Config::default() }) {
        // In the middle of the handshake of TLS.
        let mut silent = Far::dial(addr, &tls);
        let hello = silent.wire();
        silent.tcp.write_all(&hello[..hello.len() / 2]).expect("it reads");
        ends(&mut silent.tcp);
        let (request, began) = (request(addr), Instant::now());
        let dial = Dial::new(&request).tls(tls.clone());
        let mut other = loop {
            match dial.blocking_connect(&Config::default()) {
                Ok(other) => break other,
                // A busy machine's handshake may be too late.
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
        };
        echo(&mut other, b"still");
    }
}
