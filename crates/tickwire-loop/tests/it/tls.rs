//! `wss`, as server and as client.
use crate::placed::placed;
use crate::{
    common::{Running, echo, echo_at, frame, next, open, say, telling},
    fairness::{ByHand, long_pings},
    limits::{each_of_a_storm_gets_in, least, three_places},
    slow::{block, opened, server_at, stalls},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, RwLock, mpsc::channel},
    thread,
    time::Duration,
};
use testkit::{
    PATIENCE,
    tls::{Identity, date_time_ymd},
};
use tickwire::{
    Config, Dial as Blocking, Error, Heartbeat, Message,
    blocking::{Stream, WebSocket},
    handshake::{client::Request, server::Accept},
    tls::rustls::{
        AlertDescription, ClientConfig, ClientConnection, Error as TlsError, RootCertStore,
        ServerConfig, StreamOwned,
        client::Resumption,
        pki_types::ServerName,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use tickwire_loop::{Dial, Door, End, Event, Settings};

pub(crate) struct Keys {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    /// It trusts nobody.
    stranger: Arc<ClientConfig>,
}

pub(crate) fn keys(in_place: bool) -> Keys {
    keys_for("localhost", 4000, in_place)
}

/// The certificate is for this name, and expires as that year begins.
fn keys_for(name: &str, year: i32, in_place: bool) -> Keys {
    let identity = Identity::self_signed_with(&[name], |params| {
        params.not_after = date_time_ymd(year, 1, 1);
    });
    let client = |roots| {
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.enable_secret_extraction = in_place;
        Arc::new(config)
    };
    let mut server = identity.server();
    server.enable_secret_extraction = in_place;
    Keys {
        server: Arc::new(server),
        client: client(identity.roots()),
        stranger: client(RootCertStore::empty()),
    }
}

pub(crate) fn secure_echo(config: Config, keys: &Keys) -> Running<()> {
    secure_echo_with(Settings::default(), config, keys)
}

fn secure_echo_with(settings: Settings, config: Config, keys: &Keys) -> Running<()> {
    echo_at(settings, Door::new(config).tls(placed(keys.server.clone())))
}

/// A blocking client, with a bound on its reads.
fn connect(tls: &Arc<ClientConfig>, to: SocketAddr) -> Result<WebSocket<impl Stream>, Error> {
    let request = Request::new("wss://localhost/")?;
    Blocking::new(&request).tls(placed(tls.clone())).blocking_connect_with(
        &Config::default(),
        |_| {
            let stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        },
    )
}

fn echoes(server: &Running<()>, keys: &Keys) {
    let mut ws = connect(&keys.client, server.address).unwrap();
    for len in [0, 1, 1000, 70_000, 1 << 20] {
        let sent = vec![b'x'; len];
        ws.send(&sent[..]).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&sent)));
    }
    ws.close(tickwire::CloseCode::NORMAL).unwrap();
}

#[test]
fn a_server_echoes_over_tls_in_place_and_through_rustls() {
    for keys in [true, false].map(keys) {
        let server = secure_echo(Config::default(), &keys);
        echoes(&server, &keys);
        server.wait_for(|counts| counts.open == 0);
    }
}

#[test]
fn a_connection_echoes_with_each_setting_at_its_smallest_over_wss() {
    for keys in [true, false].map(keys) {
        let server = secure_echo_with(least(), Config::default(), &keys);
        let mut ws = connect(&keys.client, server.address).unwrap();
        for len in [0, 1, 1000, 20_000] {
            let sent = vec![b'x'; len];
            ws.send(&sent[..]).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&sent)));
        }
    }
}

#[test]
fn a_client_dials_wss_and_a_wrong_certificate_is_its_error() {
    let keys = keys(true);
    let server = secure_echo(Config::default(), &keys);
    let (client, told) = telling::<u8, _>(Door::new(Config::default()), |net, event| match event {
        Event::Open(handle) => {
            net.send(handle, &vec![b'y'; 100_000][..]).unwrap();
            Some("open".to_owned())
        }
        Event::Message { from, message, .. } => {
            net.close(from, tickwire::CloseCode::NORMAL);
            Some(message.as_bytes().len().to_string())
        }
        Event::Closed { end: End::Failed(error), .. } => Some(error.to_string()),
        Event::Closed { end: End::Closed(closed), .. } => Some(format!("closed {}", closed.code)),
        _ => None,
    });
    let url = format!("wss://localhost:{}/", server.address.port());
    let dial = move |tls| Dial::to(&url).unwrap().tls(placed(tls));
    let (right, wrong) = (dial(keys.client.clone()), dial(keys.stranger.clone()));
    client.call(move |net| net.dial(right, 1).map(drop).unwrap());
    assert_eq!([next(&told), next(&told), next(&told)], ["open", "100000", "closed 1000"]);
    client.call(move |net| net.dial(wrong, 2).map(drop).unwrap());
    assert!(next(&told).contains("not trusted"));
    // The alert reaches the server, which serves the next one.
    server.wait_for(|counts| counts.handshakes_failed == 1 && counts.accepted_now == 0);
    echoes(&server, &keys);
}

/// A73. An issuer that is not trusted is in the test above.
#[test]
fn a_client_refuses_a_certificate_for_another_name_and_an_expired_one() {
    let (client, told) = telling(Door::new(Config::default()), |_, event| match event {
        Event::Open(_) => Some("open".to_owned()),
        Event::Closed { end: End::Failed(error), .. } => Some(error.to_string()),
        _ => None,
    });
    for (name, year, why) in [("other", 4000, "for another host"), ("localhost", 2000, "expired")] {
        let keys = keys_for(name, year, true);
        let server = secure_echo(Config::default(), &keys);
        let dial = Dial::to(&format!("wss://localhost:{}/", server.address.port())).unwrap();
        let dial = dial.tls(placed(keys.client.clone()));
        client.call(move |net| net.dial(dial, ()).map(drop).unwrap());
        let error = next(&told);
        assert!(error.contains(why), "{error}");
        server.wait_for(|counts| counts.handshakes_failed == 1 && counts.accepted_now == 0);
    }
}

#[test]
fn a_peer_that_stops_in_its_handshake_of_tls_is_given_up_and_keeps_nobody_waiting() {
    let mut server = ByHand::new(Config::default());
    let handshake_timeout = Duration::from_millis(300);
    // By a door of their own: a busy machine's handshake takes as long.
    let brief = Door::new(Config { handshake_timeout, ..Config::default() });
    let brief = brief.tls(placed(keys(true).server));
    let address = server.net().listen(([127, 0, 0, 1], 0).into(), brief).unwrap();
    let mut stopped = TcpStream::connect(address).unwrap();
    stopped.write_all(b"\x16\x03\x01\x02\x00").unwrap(); // the head of a record, and no more
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n").unwrap(); // not TLS at all
    while server.net().counts().accepted < 3 || server.net().counts().accepted_now > 1 {
        server.echo(|| {});
    }
    assert_eq!(server.net().counts().handshakes_failed, 2);
    for mut stream in [stopped, plain] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read_to_end(&mut Vec::new()); // an end, perhaps with an alert
    }
}

#[test]
fn a_peer_that_reads_no_ciphertext_ends_when_the_time_for_writing_is_over() {
    for keys in [true, false].map(keys) {
        let door = |config| Door::new(config).tls(placed(keys.server.clone()));
        let connect = |server: &Running<()>| connect(&keys.client, server.address).unwrap();
        assert!(stalls(door, connect));
    }
}

type ByRustls = StreamOwned<ClientConnection, TcpStream>;

/// A client by rustls alone.
pub(crate) fn raw_by_rustls(server: &Running<()>, keys: &Keys) -> ByRustls {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(keys.client.clone(), name).unwrap(), server.raw())
}

/// A client by rustls alone, whose opening handshake is done.
pub(crate) fn by_rustls(server: &Running<()>, keys: &Keys) -> ByRustls {
    open(raw_by_rustls(server, keys))
}

#[test]
fn each_of_more_clients_than_there_are_places_gets_in_over_wss() {
    let ((settings, config), keys) = (three_places(), keys(true));
    let server = secure_echo_with(settings, config, &keys);
    each_of_a_storm_gets_in(&server, || raw_by_rustls(&server, &keys));
}

/// Each turn reads once, so there is always something to read, in the session or in the stream.
#[test]
fn a_flood_of_pings_over_tls_does_not_put_off_the_deadline_on_data() {
    let pings = long_pings();
    for keys in [true, false].map(keys) {
        let time = Duration::from_millis(50);
        let config = Config { data_timeout: Some(time), close_timeout: time, ..Config::default() };
        let settings = Settings { turn_bytes: 1, ..Settings::default() };
        let door = Door::new(config).tls(placed(keys.server.clone()));
        let server = echo(settings, Config::default()).narrow(door);
        let mut far = by_rustls(&server, &keys);
        while far.write_all(&pings).is_ok() {}
        server.wait_for(|counts| counts.accepted == 1 && counts.open == 0);
    }
}

/// A message of one record, whose bytes come slower than the heartbeat finds a dead peer.
#[test]
fn a_byte_of_a_record_is_a_sign_of_life() {
    for keys in [true, false].map(keys) {
        let (interval, timeout) = (Duration::from_millis(200), Duration::from_millis(500));
        let heartbeat = Some(Heartbeat::new(interval, timeout));
        let server = secure_echo(Config { heartbeat, ..Config::default() }, &keys);
        let StreamOwned { conn: mut tls, sock: mut tcp } = by_rustls(&server, &keys);
        let message = [7; 60];
        tls.writer().write_all(&frame(&message)).unwrap();
        let mut wire = Vec::new();
        tls.write_tls(&mut wire).unwrap();
        for byte in wire {
            tcp.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_millis(10));
        }
        let mut echo = [0; 62];
        // Behind the Pings of the server.
        let mut far = StreamOwned::new(tls, tcp);
        loop {
            far.read_exact(&mut echo[..2]).unwrap();
            match echo[0] {
                0x89 => {
                    let len = usize::from(echo[1]);
                    far.read_exact(&mut echo[..len]).unwrap();
                }
                _ => break,
            }
        }
        far.read_exact(&mut echo[2..]).unwrap();
        assert_eq!(echo[2..], message);
    }
}

/// As `Settings::max_received` and docs/LIMITS.md say.
#[test]
fn what_rustls_holds_of_a_record_does_not_count_as_received() {
    for in_place in [true, false] {
        let keys = keys(in_place);
        let server = secure_echo(Config::default(), &keys);
        let StreamOwned { conn: mut tls, sock: mut tcp } = by_rustls(&server, &keys);
        tls.writer().write_all(&[0; 16 << 10]).unwrap();
        let mut wire = Vec::new();
        tls.write_tls(&mut wire).unwrap();
        wire.pop();
        tcp.write_all(&wire).unwrap();
        if in_place {
            server.wait_for(|counts| counts.received >= 16 << 10);
        } else {
            for _ in 0..2 {
                echoes(&server, &keys); // behind it, in the loop's turns
            }
            server.wait_for(|counts| counts.open == 1);
            assert_eq!(server.counts().received, 0);
        }
    }
}

#[test]
fn records_may_be_small_the_end_is_in_order_and_a_damaged_record_gets_an_alert() {
    for keys in [true, false].map(keys) {
        let server = secure_echo(Config::default(), &keys);
        let open = || by_rustls(&server, &keys);
        let mut slow = open();
        for byte in frame(b"abc") {
            slow.write_all(&[byte]).unwrap(); // a record
            echoes(&server, &keys);
        }
        let mut back = [0; 5];
        slow.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"\x82\x03abc");
        // `read_to_end` fails without close_notify. The second frame of the other is unmasked.
        for (sent, answer) in [
            (&b"\x89\x81\0\0\0\0?\x88\x82\0\0\0\0\x03\xe8"[..], &b"\x8a\x01?\x88\x02\x03\xe8"[..]),
            (b"\x82\x81\0\0\0\0a\x82\x01b", b"\x82\x01a\x88\x02\x03\xea"),
        ] {
            let (mut far, mut back) = (open(), Vec::new());
            far.write_all(sent).unwrap();
            far.read_to_end(&mut back).unwrap();
            assert_eq!(back, answer);
        }
        let StreamOwned { conn: mut tls, sock: mut tcp } = open();
        let mut wire = Vec::new();
        tls.writer().write_all(&frame(b"a")).unwrap();
        tls.write_tls(&mut wire).unwrap();
        wire[10] ^= 1;
        tcp.write_all(&wire).unwrap();
        let told = StreamOwned::new(tls, tcp).read(&mut [0; 10]).unwrap_err();
        let alert = TlsError::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(told.downcast::<TlsError>().unwrap(), alert);
        server.wait_for(|counts| counts.accepted_now == 1); // the slow one
    }
}

/// The session has bytes that wait, and the connection has none.
#[test]
fn ciphertext_that_waits_is_written_once_the_peer_reads() {
    for keys in [true, false].map(keys) {
        let config = Config { write_timeout: PATIENCE, ..Config::default() };
        let door = Door::new(config).tls(placed(keys.server.clone()));
        let (server, told) = server_at(Settings::default(), door);
        let mut ws = connect(&keys.client, server.address).unwrap();
        let (sent, in_session) = block(&server, opened(&told)).unwrap();
        assert!(in_session);
        for _ in 0..sent {
            assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&[0; 10_000])));
        }
    }
}

/// A98: the stream ends behind a message, in a frame, and with bytes behind close_notify.
#[test]
fn an_end_without_close_notify_is_abnormal_and_nothing_more_is_delivered() {
    for keys in [true, false].map(keys) {
        let door = Door::new(Config::default()).tls(placed(keys.server.clone()));
        let (server, told) = telling(door, |_, event| match event {
            Event::Message { message, .. } => Some(format!("{message:?}")),
            Event::Closed { end: End::Closed(closed), .. } => {
                Some(format!("{} {:?}", closed.code, closed.error))
            }
            Event::Closed { end, .. } => Some(format!("{end:?}")),
            _ => None,
        });
        for (rest, notifies) in [(&b""[..], false), (b"\x82\x82\0\0\0\0b", false), (b"", true)] {
            let mut far = by_rustls(&server, &keys);
            far.write_all(&[&frame(b"a"), rest].concat()).unwrap();
            if notifies {
                far.conn.send_close_notify();
                // In one write, because the server may close at once.
                let mut wire = Vec::new();
                far.conn.write_tls(&mut wire).unwrap();
                far.sock.write_all(&[&wire, &*frame(b"b")].concat()).unwrap();
            }
            let _ = far.sock.shutdown(Shutdown::Write); // it may be closed already
            assert_eq!(next(&told), "Binary(b\"a\")");
            assert!(next(&told).starts_with("1006 Some(UnexpectedEof:"));
        }
    }
}

#[test]
fn wrong_certificates_keep_nobody_waiting() {
    let (mut server, keys) = (ByHand::new(Config::default()), keys(true));
    let door = Door::new(Config::default()).tls(placed(keys.server));
    let address = server.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    for n in 1..=10 {
        let stranger = keys.stranger.clone();
        let refused = thread::spawn(move || connect(&stranger, address).is_err());
        while server.net().counts().handshakes_failed < n {
            server.echo(|| {});
        }
        assert!(refused.join().unwrap());
    }
}

/// Two doors, and a connection that is dialed to each.
#[test]
fn one_loop_has_both_roles_over_ws_and_wss() {
    let keys = keys(true);
    let (tell, told) = channel();
    let server = Running::<bool>::at(Door::new(Config::default()), move |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), false),
        Event::Open(handle) if net.value(handle) == Some(&true) => {
            net.send(handle, "hello").unwrap();
        }
        Event::Message { from, message, .. } => match net.value(from) {
            Some(true) => say(&tell, message.as_text().map(str::to_owned)),
            _ => net.send(from, message).unwrap(),
        },
        _ => {}
    });
    let plain = server.address;
    server.call(move |net| {
        let door = Door::new(Config::default()).tls(placed(keys.server.clone()));
        let secure = net.listen(([127, 0, 0, 1], 0).into(), door).unwrap();
        let wss = Dial::to(&format!("wss://localhost:{}/", secure.port())).unwrap();
        net.dial(Dial::to(&format!("ws://{plain}/")).unwrap(), true).unwrap();
        net.dial(wss.tls(placed(keys.client.clone())), true).unwrap();
    });
    for _ in 0..2 {
        assert_eq!(next(&told).as_deref(), Some("hello"));
    }
    assert_eq!(server.counts().open, 4);
}

/// What the recipe "Renew a certificate" hands to `Door::tls`.
#[derive(Debug)]
struct Renewed(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().ok()?.clone())
    }
}

#[test]
fn a_certificate_is_renewed_while_connections_live() {
    let identity = || {
        let made = Identity::self_signed(&["localhost"]);
        let builder = ServerConfig::builder();
        let provider = builder.crypto_provider();
        let certified = CertifiedKey::from_der(made.chain.clone(), made.private(), provider);
        (Arc::new(certified.unwrap()), Arc::new(made.client()))
    };
    let (old, trusts_old) = identity();
    let (new, trusts_new) = identity();
    let current = Arc::new(Renewed(RwLock::new(old)));
    let mut tls = ServerConfig::builder().with_no_client_auth().with_cert_resolver(current.clone());
    tls.enable_secret_extraction = true;
    let door = Door::new(Config::default()).tls(placed(Arc::new(tls)));
    let server = echo_at(Settings::default(), door);
    let mut first = connect(&trusts_old, server.address).unwrap();
    first.send("before").unwrap();
    assert_eq!(first.recv().unwrap().unwrap(), Message::Text("before"));
    assert!(connect(&trusts_new, server.address).is_err());

    *current.0.write().unwrap() = new;
    let mut second = connect(&trusts_new, server.address).unwrap();
    second.send("new").unwrap();
    assert_eq!(second.recv().unwrap().unwrap(), Message::Text("new"));
    first.send("after").unwrap();
    assert_eq!(first.recv().unwrap().unwrap(), Message::Text("after"));
    // A client that has a ticket resumes its session, and sees no certificate. A fresh one does.
    let mut fresh = (*trusts_old).clone();
    fresh.resumption = Resumption::disabled();
    let refused = connect(&Arc::new(fresh), server.address).map(drop);
    assert!(matches!(&refused, Err(Error::Tls(error)) if error.is_about_certificate()));
}
