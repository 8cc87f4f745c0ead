//! TLS under both adapters, in both roles: what leaves in which records, how a stream ends, what is
//! said of a bad certificate, and that the handshake has a time limit.
use crate::support::placed::placed;
use crate::support::{
    blocking::{bounded, bounded_each, ms, patient, trickle, with_time_enough},
    tls::{
        ADAPTERS, Adapter, Authority, Client, Identity, Log, ROLES, Raw, Recorder, Server, Takes,
        Ws, async_tcp, product, runtime, self_signed, tcp_pair, wait,
    },
    wire::{BINARY, CLOSE, TEXT, bytes, connection, frame_to, peer},
};
use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    mem,
    net::{TcpListener, TcpStream},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
};
use testkit::{frames::read_head, threads::spawn};
use tickwire::{
    CloseCode, Config, Dial, Error, Message, OwnedMessage, RecvError, Retry, Role,
    blocking::{self, Stream, WithoutTimeouts},
    handshake::{HandshakeError, client::Request},
    tls::{
        BadCertificate,
        rustls::{
            self, AlertDescription as Alert, CertificateError, ClientConfig, ProtocolVersion,
            ServerConfig, ServerConnection, StreamOwned, pki_types::ServerName, version::TLS12,
        },
    },
    tokio as on_tokio,
    url::Target,
};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

// What the tests share.

type Near = Ws<
    on_tokio::TlsStream<Recorder<tokio::net::TcpStream>>,
    blocking::TlsStream<Recorder<TcpStream>>,
>;

fn localhost() -> Target {
    "wss://localhost/".parse().unwrap()
}

/// The other end of this role's, that the test plays.
fn peer_of(role: Role, tcp: TcpStream, authority: &Authority) -> Raw {
    match role {
        Role::Client => Raw::server(tcp, authority.server()),
        Role::Server => Raw::client(tcp, authority.client()),
    }
}

fn over_tls<S: Stream>(role: Role, io: S, authority: &Authority) -> blocking::TlsStream<S> {
    match role {
        Role::Client => blocking::TlsStream::client(io, &localhost(), placed(authority.client())),
        Role::Server => blocking::TlsStream::server(io, placed(authority.server())),
    }
    .unwrap()
}

/// Our stream over what this makes of a socket, with TLS still to be agreed on; and the other end.
fn over<S: Stream>(role: Role, io: impl FnOnce(TcpStream) -> S) -> (blocking::TlsStream<S>, Raw) {
    let authority = Authority::new();
    let (tcp, far) = tcp_pair();
    (over_tls(role, io(tcp), &authority), peer_of(role, far, &authority))
}

/// Our end of a connection whose opening handshake is done, with TLS still to be agreed on; what is
/// written below TLS; and the other end.
fn near(adapter: Adapter, role: Role, takes: Takes) -> (Near, Log, Raw) {
    let authority = Authority::new();
    let (tcp, far) = tcp_pair();
    let config = Config::default();
    let raw = peer_of(role, far, &authority);
    let (ws, log) = match adapter {
        Adapter::Tokio => {
            let runtime = runtime();
            let (io, log) = Recorder::new(async_tcp(&runtime, tcp), takes);
            let io = match role {
                Role::Client => {
                    on_tokio::TlsStream::client(io, &localhost(), placed(authority.client()))
                }
                Role::Server => on_tokio::TlsStream::server(io, placed(authority.server())),
            }
            .unwrap();
            let ws = on_tokio::WebSocket::from_parts(io, connection(role, &config));
            (Ws::Tokio(ws, runtime), log)
        }
        Adapter::Blocking => {
            let (io, log) = Recorder::new(tcp, takes);
            let io = over_tls(role, io, &authority);
            (Ws::Blocking(blocking::WebSocket::from_parts(io, connection(role, &config))), log)
        }
    };
    (ws, log, raw)
}

/// How long a frame is that this role sends.
fn sent_len(role: Role, payload: usize) -> usize {
    frame_to(peer(role), TEXT, vec![0; payload]).len()
}

/// Streams that do not buffer and those that do.
const TAKES: [Takes; 2] = [Takes::All, Takes::ToBuffer];

/// For each adapter, role and kind of stream: a peer that does this after the TLS handshake, in a
/// thread of its own, and what our end makes of it.
fn with_peer(
    peer: impl FnOnce(Role, &mut Raw) + Clone + Send + 'static,
    test: impl FnOnce(Adapter, Role, &mut Near, &Log) + Clone + Send + 'static,
) {
    for (adapter, role, takes) in cases() {
        let (peer, test) = (peer.clone(), test.clone());
        bounded(move || {
            let (mut ws, log, mut raw) = near(adapter, role, takes);
            let peer = spawn(move || {
                raw.handshake().unwrap();
                peer(role, &mut raw);
            });
            test(adapter, role, &mut ws, &log);
            drop(ws);
            peer.join().unwrap();
        });
    }
}

fn cases() -> impl Iterator<Item = (Adapter, Role, Takes)> {
    let all = product(product(ADAPTERS, ROLES), TAKES);
    all.map(|((adapter, role), takes)| (adapter, role, takes))
}

/// The peer closes, and ends the stream.
fn bye(role: Role, raw: &mut Raw) {
    raw.say(&frame_to(role, CLOSE, &[]));
    raw.hear(sent_len(role, 0));
    raw.close_notify();
    raw.end_tcp();
    assert_eq!(raw.hear_all(), (vec![], true));
}

fn text(text: &str) -> Option<OwnedMessage> {
    Some(OwnedMessage::from(text))
}

/// A server of one connection after another, each in a thread: an echo over TLS. Its address.
fn echo_server(adapter: Adapter, tls: Arc<ServerConfig>) -> String {
    echo_server_with(adapter, tls, Config::default())
}

fn echo_server_with(adapter: Adapter, tls: Arc<ServerConfig>, config: Config) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    spawn(move || {
        for stream in listener.incoming() {
            let tls = tls.clone();
            let config = config.clone();
            spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let Ok(mut ws) = Server::accept(adapter, stream, &config, tls) else { return };
                while let Ok(Some(message)) = ws.recv() {
                    ws.send(message.as_message()).unwrap();
                }
            });
        }
    });
    address
}

fn localhost_url(address: &str) -> String {
    address.replace("127.0.0.1", "wss://localhost")
}

/// A port of its own, and its URL.
fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = localhost_url(&listener.local_addr().unwrap().to_string());
    (listener, url)
}

// Messages.

#[test]
fn messages_of_any_length_pass_both_adapters_in_both_roles() {
    bounded_each(product(ADAPTERS, ADAPTERS), |(server, client)| {
        let authority = Authority::new();
        let url = localhost_url(&echo_server(server, authority.server()));
        let config = Config::default();
        let mut ws = Client::connect(client, &url, &config, authority.client()).unwrap();
        for n in [0, 1, 125, 126, 16_000, 16_384, 16_385, 65_536, 200_000, 1 << 20] {
            let payload = bytes(n);
            ws.send(&payload).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(OwnedMessage::from(payload)));
        }
        for i in 0..500 {
            ws.feed(&*format!("{i}"));
        }
        ws.flush().unwrap();
        for i in 0..500 {
            assert_eq!(ws.recv().unwrap(), text(&format!("{i}")));
        }
        ws.close(CloseCode::NORMAL).unwrap();
        assert_eq!(ws.end(), (1000, true));
    });
}

/// The server echoes whole messages, and takes no longer frame.
#[test]
fn messages_cut_into_frames_pass_over_tls() {
    bounded_each(product(ADAPTERS, ADAPTERS), |(server, client)| {
        let authority = Authority::new();
        let only = Config { max_frame: Some(1000), ..Config::default() };
        let address = echo_server_with(server, authority.server(), only);
        let config = Config { max_frame_sent: Some(1000), ..Config::default() };
        let url = localhost_url(&address);
        let mut ws = Client::connect(client, &url, &config, authority.client()).unwrap();
        for n in [1000, 1001, 20_000, 100_000] {
            let payload = bytes(n);
            ws.send(&payload).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(OwnedMessage::from(payload)));
        }
        ws.close(CloseCode::NORMAL).unwrap();
        assert_eq!(ws.end(), (1000, true));
    });
}

/// By its receiving half, with what the sending one began and gave up.
#[test]
fn a_peer_that_reads_nothing_is_given_up() {
    bounded_each([(8 << 20, 1), (1000, 8000)], |(len, count)| {
        with_time_enough(|timeout| {
            let authority = Authority::new();
            let (listener, url) = listening();
            let (tls, (done, deaf)) = (authority.server(), mpsc::channel::<()>());
            let serving = spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                let ws = Server::accept(Adapter::Blocking, stream, &patient(), tls);
                assert!(ws.is_ok() && deaf.recv().is_err());
            });
            let request = Request::new(&url).unwrap();
            let config = Config { write_timeout: timeout, high_water: 16 << 20, ..patient() };
            let in_time = wait(&runtime(), async {
                let ws = Dial::new(&request).tls(placed(authority.client())).connect(&config).await;
                let (mut reader, mut writer) = ws.unwrap().into_split();
                for _ in 0..count {
                    let _ = writer.feed(vec![7; len]).unwrap();
                }
                let begun = tokio::time::timeout(timeout / 3, writer.flush()).await;
                if let Ok(flushed) = &begun {
                    let late = matches!(flushed, Err(Error::Recv(RecvError::WriteTimeout)));
                    assert!(late, "{flushed:?}");
                }
                let error = reader.recv().await.unwrap_err();
                assert!(matches!(error, Error::Recv(RecvError::WriteTimeout)), "{error:?}");
                begun.is_err()
            });
            drop(done);
            serving.join().unwrap();
            in_time
        });
    });
}

/// On a stream that never sleeps, whole and split, as the client and as the server.
#[test]
fn a_spinning_stream_carries_tls() {
    bounded(|| {
        let authority = Authority::new();
        let config = Config::default();
        let (listener, url) = listening();
        let tls = authority.server();
        let echo = spawn(move || {
            let stream = listener.accept().unwrap().0;
            let stream = blocking::TlsStream::server(stream, placed(tls)).unwrap();
            let ws = blocking::accept(stream, &Config::default()).unwrap();
            let mut ws = ws.into_spin().unwrap();
            while let Some(received) = ws.recv_to_reply().unwrap() {
                received.sender.feed(received.message).map(drop).unwrap();
            }
            assert!(ws.closed().unwrap().clean);
        });
        let request = Request::new(&url).unwrap();
        let ws =
            Dial::new(&request).tls(placed(authority.client())).blocking_connect(&config).unwrap();
        let mut ws = ws.into_spin().unwrap();
        for n in [0, 50, 100_000] {
            ws.send(&vec![4; n]).unwrap();
            assert!(ws.recv().unwrap() == Some(Message::Binary(&vec![4; n])));
        }
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let writing = spawn(move || {
            for _ in 0..20 {
                writer.send(&vec![6; 50_000]).unwrap();
            }
            writer.close(None).unwrap();
        });
        for _ in 0..20 {
            assert!(reader.recv().unwrap() == Some(Message::Binary(&[6; 50_000])));
        }
        assert!(reader.recv().unwrap().is_none());
        writing.join().unwrap();
        drop(reader);
        echo.join().unwrap();
    });
}

#[test]
fn a_thread_stuck_in_a_write_does_not_keep_the_other_from_reading() {
    bounded_each(ROLES, |role| {
        let (io, mut raw) = over(role, |tcp| tcp);
        let (go, may_read) = mpsc::channel();
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.say(&frame_to(role, TEXT, b"first"));
            // More than all buffers hold has to be read before a byte is read here.
            for i in 0..1000 {
                raw.say(&frame_to(role, BINARY, &vec![i as u8; 4000]));
            }
            may_read.recv().unwrap();
            raw.hear(sent_len(role, 16 << 20));
            bye(role, &mut raw);
        });
        let mut ws = blocking::WebSocket::from_parts(io, connection(role, &Config::default()));
        assert_eq!(ws.recv().unwrap(), Some(Message::Text("first")));
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let writing = spawn(move || writer.send(&vec![0; 16 << 20]));
        for i in 0..1000 {
            let message = reader.recv().unwrap().unwrap();
            assert!(message == Message::Binary(&[i as u8; 4000]));
        }
        assert!(!writing.is_finished(), "it cannot be: nobody has read");
        go.send(()).unwrap();
        writing.join().unwrap().unwrap();
        assert!(reader.recv().unwrap().is_none());
        drop(reader);
        peer.join().unwrap();
    });
}

#[test]
fn two_handles_that_write_at_the_same_time_lose_nothing() {
    const PART: usize = 20_000;
    const TIMES: usize = 100;
    bounded_each(ROLES, |role| {
        let (mut stream, mut raw) = over(role, |tcp| tcp);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.hear(2 * PART * TIMES)
        });
        stream.handshake().unwrap();
        let clone = stream.try_clone().unwrap();
        let writing = [(stream, 1), (clone, 2)].map(|(mut handle, byte)| {
            spawn(move || {
                for _ in 0..TIMES {
                    handle.write_all(&[byte; PART]).unwrap();
                }
                while let Err(error) = handle.flush() {
                    assert_eq!(error.kind(), ErrorKind::Interrupted, "the other one writes");
                }
                handle
            })
        });
        let _handles = writing.map(|writing| writing.join().unwrap());
        let heard = peer.join().unwrap();
        let count = |byte| heard.iter().filter(|heard| **heard == byte).count();
        assert_eq!([count(1), count(2)], [PART * TIMES; 2]);
    });
}

#[test]
fn a_stream_is_cloned_only_after_the_handshake() {
    let authority = Authority::new();
    let (tcp, _far) = tcp_pair();
    let stream =
        blocking::TlsStream::client(tcp, &localhost(), placed(authority.client())).unwrap();
    assert_eq!(stream.try_clone().unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn what_is_set_on_a_stream_is_set_on_the_one_below() {
    let (tcp, _far) = tcp_pair();
    let mut stream = over_tls(Role::Server, tcp, &Authority::new());
    for yes in [true, false, true] {
        stream.set_nodelay(yes).unwrap();
        assert_eq!(stream.get_ref().nodelay().unwrap(), yes);
    }
    stream.get_ref().set_nonblocking(true).unwrap();
    assert_eq!(stream.handshake().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_stream_shows_the_one_below_and_nothing_of_its_session() {
    let (tcp, _far) = tcp_pair();
    let authority = Authority::new();
    let tls = over_tls(Role::Server, tcp, &authority);
    assert_eq!(format!("{tls:?}"), format!("TlsStream {{ io: {:?}, .. }}", tls.get_ref()));
    let tls = on_tokio::TlsStream::server(tokio::io::empty(), placed(authority.server())).unwrap();
    assert_eq!(format!("{tls:?}"), "TlsStream { io: Empty { .. }, .. }");
}

// Records.

#[test]
fn a_burst_leaves_in_one_record_and_one_write() {
    with_peer(
        |role, raw| {
            raw.say(&frame_to(role, TEXT, b"go"));
            raw.hear(sent_len(role, 2)); // what TLS had to say is said
            let wire = 20 * sent_len(role, 50) + sent_len(role, 9000) + sent_len(role, 40_000);
            raw.hear(wire);
            bye(role, raw);
        },
        |_, role, ws, log| {
            assert_eq!(ws.recv().unwrap(), text("go"));
            ws.send("ok").unwrap();
            log.forget();
            for _ in 0..20 {
                ws.feed(&[7; 50]);
            }
            ws.flush().unwrap();
            // A byte of the record's type and a tag of 16.
            assert_eq!(log.take(), (1, vec![20 * sent_len(role, 50) + 17]));

            // A payload that is not copied: still one record, header and all.
            ws.feed(vec![1; 9000]);
            ws.flush().unwrap();
            assert_eq!(log.take(), (1, vec![sent_len(role, 9000) + 17]));

            ws.feed(&[2; 40_000]);
            ws.flush().unwrap();
            let full = 16_384 + 17;
            let last = sent_len(role, 40_000) - 2 * 16_384 + 17;
            assert_eq!(log.take(), (1, vec![full, full, last]));
            assert_eq!(ws.recv().unwrap(), None);
        },
    );
}

#[test]
fn of_a_write_that_breaks_off_no_message_is_unwritten_that_has_left() {
    bounded_each(product(product(ADAPTERS, ROLES), [0, 3]), |((adapter, role), whole)| {
        let (mut ws, log, mut raw) = near(adapter, role, Takes::All);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.say(&frame_to(role, TEXT, "agreed"));
            raw.hear_all().0.len() / sent_len(role, 10_000)
        });
        assert_eq!(ws.recv().unwrap(), text("agreed"));
        let mut fed = Vec::new();
        for _ in 0..5 {
            ws.feed(&[7; 10_000]);
            fed.push(ws.sender().fed());
        }
        log.fail_after(whole * 12_000);
        match ws.flush() {
            Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
        let written = fed.iter().filter(|at| ws.sender().is_written(**at)).count();
        assert_eq!(written == 0, whole == 0, "nothing is written of which nothing has left");
        assert_eq!(ws.sender().dropped() == 0, whole > 0);
        drop(ws);
        assert!(peer.join().unwrap() <= written);
    });
}

#[test]
fn the_client_s_request_leaves_with_the_end_of_its_handshake() {
    bounded_each(ADAPTERS, |adapter| {
        let authority = Authority::new();
        let (tcp, far) = tcp_pair();
        let mut raw = Raw::server(far, authority.server());
        let peer = spawn(move || {
            raw.handshake().unwrap();
            read_head(&mut raw);
            raw.say(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
        });
        let request = Request::new("wss://localhost/").unwrap();
        let config = Config::default();
        let (error, log) = match adapter {
            Adapter::Tokio => {
                let runtime = runtime();
                let (io, log) = Recorder::new(async_tcp(&runtime, tcp), Takes::All);
                let tls = authority.client();
                let io = on_tokio::TlsStream::client(io, request.target(), placed(tls)).unwrap();
                let client = on_tokio::client(io, &request, &config);
                (wait(&runtime, client).map(drop).unwrap_err(), log)
            }
            Adapter::Blocking => {
                let (io, log) = Recorder::new(tcp, Takes::All);
                let tls = authority.client();
                let io = blocking::TlsStream::client(io, request.target(), placed(tls)).unwrap();
                (blocking::client(io, &request, &config).map(drop).unwrap_err(), log)
            }
        };
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert_eq!(log.writes(), 2, "a hello; then all else");
        peer.join().unwrap();
    });
}

#[test]
fn other_tls_streams_carry_a_burst_in_one_record_too() {
    // A server over tokio-rustls, and one over rustls's own blocking stream.
    let authority = Authority::new();
    for adapter in ADAPTERS {
        let (tls, client) = (authority.server(), authority.client());
        bounded(move || {
            let (tcp, far) = tcp_pair();
            let mut raw = Raw::client(far, client);
            let peer = spawn(move || {
                raw.handshake().unwrap();
                raw.say(&frame_to(Role::Server, TEXT, b"go"));
                raw.hear(10 * sent_len(Role::Server, 50) + sent_len(Role::Server, 9000));
                raw.say(&frame_to(Role::Server, CLOSE, &[]));
                assert_eq!(raw.hear(2), frame_to(Role::Client, CLOSE, &[]));
                raw.end_tcp(); // `WithoutTimeouts` waits for it, having no timeouts
                // rustls's own stream does not announce its end.
                assert_eq!(raw.hear_all(), (vec![], adapter == Adapter::Tokio));
            });
            let conn = connection(Role::Server, &Config::default());
            match adapter {
                Adapter::Tokio => {
                    let runtime = runtime();
                    let (io, log) = Recorder::new(async_tcp(&runtime, tcp), Takes::All);
                    let io = wait(&runtime, TlsAcceptor::from(tls).accept(io)).unwrap();
                    burst(
                        Ws::<_, TcpStream>::Tokio(
                            on_tokio::WebSocket::from_parts(io, conn),
                            runtime,
                        ),
                        &log,
                    );
                }
                Adapter::Blocking => {
                    let (io, log) = Recorder::new(tcp, Takes::All);
                    let io = StreamOwned::new(ServerConnection::new(tls).unwrap(), io);
                    burst(
                        Ws::<tokio::net::TcpStream, _>::Blocking(blocking::WebSocket::from_parts(
                            WithoutTimeouts(io),
                            conn,
                        )),
                        &log,
                    );
                }
            }
            peer.join().unwrap();
        });
    }

    fn burst<A, B>(mut ws: Ws<A, B>, log: &Log)
    where
        A: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
        B: blocking::Stream,
    {
        assert_eq!(ws.recv().unwrap(), text("go"));
        log.forget();
        for _ in 0..10 {
            ws.feed(&[7; 50]);
        }
        ws.flush().unwrap();
        assert_eq!(log.take().1, [10 * sent_len(Role::Server, 50) + 17]);
        ws.feed(vec![1; 9000]);
        ws.flush().unwrap();
        assert_eq!(log.take().1, [sent_len(Role::Server, 9000) + 17]);
        assert_eq!(ws.recv().unwrap(), None);
        assert_eq!(ws.end(), (1005, true));
    }
}

/// The payloads of messages that are sent one by one, the last one in two records.
const SIZES: [usize; 3] = [10, 300, 16_400];

/// A peer that says when it has read each of them, as a whole frame.
fn hearing_each(role: Role, mut raw: Raw) -> (mpsc::Receiver<usize>, thread::JoinHandle<()>) {
    let (heard, all) = mpsc::channel();
    let peer = spawn(move || {
        raw.handshake().unwrap();
        raw.say(&frame_to(role, TEXT, b"go"));
        for payload in SIZES {
            heard.send(raw.hear(sent_len(role, payload)).len()).unwrap();
        }
    });
    (all, peer)
}

/// A stream that takes seven bytes at a time and refuses every other write: when `send` has
/// returned, all of it is on the wire, and nobody has to call again.
#[test]
fn a_send_reaches_the_socket_before_it_returns() {
    bounded_each(product(ADAPTERS, ROLES), |(adapter, role)| {
        let (mut ws, log, raw) = near(adapter, role, Takes::Little);
        let (all, peer) = hearing_each(role, raw);
        // What refuses a write without having waited does not block, for the blocking
        // adapter, which then wants to be called again.
        let go = again(|| ws.recv());
        assert_eq!(go.unwrap(), text("go"));
        for payload in SIZES {
            ws.feed(&vec![5; payload]);
            again(|| ws.flush()).unwrap();
            log.take(); // whole records
            assert_eq!(all.recv().unwrap(), sent_len(role, payload));
        }
        peer.join().unwrap();
    });
}

fn again<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match call() {
            Err(Error::WouldBlock) => {}
            done => return done,
        }
    }
}

/// The same over tokio-rustls, in both roles.
#[test]
fn a_send_over_another_tls_stream_reaches_the_socket_before_it_returns() {
    bounded_each(ROLES, |role| {
        let authority = Authority::new();
        let runtime = runtime();
        let (tcp, far) = tcp_pair();
        let (io, log) = Recorder::new(async_tcp(&runtime, tcp), Takes::Little);
        let (all, peer) = hearing_each(role, peer_of(role, far, &authority));
        let io = wait(&runtime, async {
            match role {
                Role::Client => {
                    let name = ServerName::try_from("localhost").unwrap();
                    let connector = TlsConnector::from(authority.client());
                    tokio_rustls::TlsStream::from(connector.connect(name, io).await.unwrap())
                }
                Role::Server => {
                    let acceptor = TlsAcceptor::from(authority.server());
                    tokio_rustls::TlsStream::from(acceptor.accept(io).await.unwrap())
                }
            }
        });
        let ws = on_tokio::WebSocket::from_parts(io, connection(role, &Config::default()));
        let mut ws = Ws::<_, TcpStream>::Tokio(ws, runtime);
        assert_eq!(ws.recv().unwrap(), text("go"));
        for payload in SIZES {
            ws.send(&vec![5; payload]).unwrap();
            log.take();
            assert_eq!(all.recv().unwrap(), sent_len(role, payload));
        }
        peer.join().unwrap();
    });
}

#[test]
fn keys_may_change_at_any_time() {
    with_peer(
        |role, raw| {
            for i in 0..10 {
                raw.tls.refresh_traffic_keys().unwrap();
                raw.say(&frame_to(role, TEXT, format!("{i}").as_bytes()));
                raw.hear(sent_len(role, 1));
            }
            bye(role, raw);
        },
        |_, _, ws, _| {
            for i in 0..10 {
                assert_eq!(ws.recv().unwrap(), text(&format!("{i}")));
                ws.send("x").unwrap();
            }
            assert_eq!(ws.recv().unwrap(), None);
        },
    );
}

#[test]
fn every_future_may_be_dropped_at_every_poll() {
    bounded(|| {
        wait(&runtime(), async {
            let authority = Authority::new();
            let (near, far) = tokio::io::duplex(7);
            let config = Config::default();
            let near = on_tokio::TlsStream::client(near, &localhost(), placed(authority.client()))
                .unwrap();
            let far = on_tokio::TlsStream::server(far, placed(authority.server())).unwrap();
            let mut near = on_tokio::WebSocket::from_parts(near, connection(Role::Client, &config));
            let mut far = on_tokio::WebSocket::from_parts(far, connection(Role::Server, &config));
            for (i, n) in product(0..3, [5, 700, 20_000]) {
                near.feed(&vec![i; n]).map(drop).unwrap();
                // Both lose their futures at every turn.
                let mut flushed = false;
                loop {
                    if !flushed {
                        flushed = once(near.flush()).await.is_some_and(|done| done.is_ok());
                    }
                    if let Some(message) = once(far.recv_owned()).await {
                        assert!(message.unwrap().unwrap() == OwnedMessage::from(vec![i; n]));
                        break;
                    }
                }
            }
        });
    });

    /// One poll, and the future is dropped.
    async fn once<F: Future>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = tokio::task::yield_now() => None,
        }
    }
}

// How a stream ends: A98.

/// The error after the last message, with which the connection ends.
fn breaks_after(last: &str, ws: &mut Near) -> Error {
    assert_eq!(ws.recv().unwrap(), text(last));
    let error = ws.recv().unwrap_err();
    assert_eq!(ws.end(), (1006, false));
    error
}

#[test]
fn a_record_that_was_tampered_with_ends_the_connection() {
    with_peer(
        |role, raw| {
            let mut wire = raw.record(&frame_to(role, TEXT, b"good"));
            let mut bad = raw.record(&frame_to(role, TEXT, b"bad"));
            *bad.last_mut().unwrap() ^= 1;
            wire.extend(bad); // in the same read
            raw.tcp.write_all(&wire).unwrap();
            // It is told: an alert, and not a close_notify.
            let error = raw.read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("BadRecordMac"), "{error}");
        },
        |_, _, ws, _| {
            let error = breaks_after("good", ws);
            assert!(matches!(error, Error::Tls(_)), "{error:?}");
            assert_eq!(error.retry(), Retry::BackOff, "the network may have done it");
        },
    );
}

#[test]
fn an_orderly_end_has_a_close_notify_in_both_directions() {
    bounded_each(product(ADAPTERS, TAKES), |(adapter, takes)| {
        // As the server, which ends the stream.
        let (mut ws, _, mut raw) = near(adapter, Role::Server, takes);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.say(&frame_to(Role::Server, CLOSE, &[]));
            assert_eq!(raw.hear_all(), (frame_to(Role::Client, CLOSE, &[]), true));
        });
        assert_eq!(ws.recv().unwrap(), None);
        peer.join().unwrap();

        // As the client, which waits for that, and then answers it.
        let (mut ws, _, mut raw) = near(adapter, Role::Client, takes);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.hear(sent_len(Role::Client, 0));
            raw.say(&frame_to(Role::Client, CLOSE, &[]));
            raw.close_notify();
            raw.end_tcp();
            assert_eq!(raw.hear_all(), (vec![], true));
        });
        ws.close(None).unwrap();
        drop(ws);
        peer.join().unwrap();
    });
}

/// A stream that takes seven bytes at a time, and refuses every other write.
#[test]
fn a_close_notify_that_has_to_wait_goes_before_the_end_of_the_stream() {
    let cases = [(Adapter::Tokio, false), (Adapter::Blocking, false), (Adapter::Blocking, true)];
    bounded_each(cases, |(adapter, split)| {
        let (mut ws, _, mut raw) = near(adapter, Role::Server, Takes::Little);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.say(
                &[frame_to(Role::Server, TEXT, b"x"), frame_to(Role::Server, CLOSE, &[])].concat(),
            );
            assert_eq!(raw.hear_all(), (frame_to(Role::Client, CLOSE, &[]), true));
        });
        assert_eq!(again(|| ws.recv()).unwrap(), text("x"));
        match ws {
            Ws::Blocking(ws) if split => {
                let (mut reader, _writer) = ws.into_split().unwrap();
                assert!(again(|| reader.recv().map(|got| got.is_none())).unwrap());
                peer.join().unwrap();
            }
            mut ws => {
                assert_eq!(again(|| ws.recv()).unwrap(), None);
                peer.join().unwrap();
            }
        }
    });
}

#[test]
fn a_connection_that_is_dropped_was_not_closed() {
    bounded_each(cases(), |(adapter, role, takes)| {
        let (mut ws, _, mut raw) = near(adapter, role, takes);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.say(&frame_to(role, TEXT, b"x"));
            assert_eq!(raw.hear_all(), (vec![], false));
        });
        assert_eq!(ws.recv().unwrap(), text("x"));
        drop(ws);
        peer.join().unwrap();
    });
}

/// Each has the stream; who is the last to go answers the peer's close_notify.
#[test]
fn a_clone_that_is_dropped_leaves_tls_to_the_other() {
    bounded_each(ROLES, |role| {
        let (mut stream, mut raw) = over(role, |tcp| tcp);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.close_notify();
            assert_eq!(raw.hear_all(), (b"y".to_vec(), true));
        });
        stream.handshake().unwrap();
        let mut clone = stream.try_clone().unwrap();
        // A ticket interrupts a read, which is made again.
        assert_eq!(clone.read_to_end(&mut Vec::new()).unwrap(), 0);
        drop(clone);
        stream.write_all(b"y").unwrap();
        stream.flush().unwrap();
        drop(stream);
        peer.join().unwrap();
    });
}

/// It has sent its close_notify, and is owed ours.
#[test]
fn a_stream_is_dropped_though_the_peer_takes_nothing_more() {
    bounded_each(ROLES, |role| {
        let (mut stream, mut raw) = over(role, |tcp| tcp);
        let peer = spawn(move || {
            raw.handshake().unwrap();
            raw.close_notify();
            raw
        });
        stream.handshake().unwrap();
        let _deaf = peer.join().unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
        let much = [0; 1 << 16];
        while stream.try_write(&[IoSlice::new(&much)]).is_ok() {}
        drop(stream);
    });
}

// The handshake.

/// What a client of each adapter says of this server.
fn refused(identity: &Identity, client: &Arc<ClientConfig>, host: &str) -> Vec<Error> {
    let server = identity.server();
    ADAPTERS
        .map(|adapter| {
            let url = echo_server(adapter, server.clone()).replace("127.0.0.1", host);
            let url = format!("wss://{url}");
            let connected = Client::connect(adapter, &url, &Config::default(), client.clone());
            connected.map(drop).unwrap_err()
        })
        .into()
}

#[track_caller]
fn assert_bad(errors: Vec<Error>, what: BadCertificate, says: &str) {
    for error in errors {
        let Error::Tls(tls) = &error else { panic!("{error:?}") };
        assert_eq!(tls.certificate(), Some(what), "{tls:?}");
        assert_ne!(error.retry(), Retry::BackOff);
        assert!(error.to_string().contains(says), "{error}");
        assert!(std::error::Error::source(tls).is_some());
    }
}

// A73
#[test]
fn a_bad_certificate_is_refused_and_the_error_says_why() {
    let authority = Authority::new();
    let named = |name: &str| authority.issue(&[name]);
    let of_the_year = |year| {
        authority.issue_with(&["localhost"], |params| {
            params.not_before = date_time_ymd(year, 1, 1);
            params.not_after = date_time_ymd(year + 1, 1, 1);
        })
    };
    let of_a_client = authority.issue_with(&["localhost"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    // What `openssl req -x509` makes says that it is an authority.
    let as_authority = self_signed(&["localhost"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let untrusted = "certificate is self-signed, or of an authority that is not trusted here: \
                     trust its authority, for example with `platform_config_and_roots`";
    let another = "certificate is for another host: asked for localhost; dial a name of the \
                   certificate, or change it; it is for example.com";
    use BadCertificate::*;
    for (identity, host, what, says) in [
        (named("example.com"), "localhost", WrongName, another),
        // A name is not an address, nor the other way.
        (named("localhost"), "127.0.0.1", WrongName, "asked for 127.0.0.1"),
        (named("127.0.0.1"), "localhost", WrongName, "asked for localhost"),
        (of_the_year(2001), "localhost", Expired, "days ago: renew it, or set the clock here"),
        (of_the_year(3001), "localhost", NotYetValid, "days: wait, or set the clock here"),
        (of_a_client, "localhost", WrongPurpose, "certificate is not for this use"),
        (self_signed(&["localhost"], |_| {}), "localhost", NotTrusted, untrusted),
        (
            as_authority,
            "localhost",
            NotTrusted,
            "certificate is self-signed as an authority's (CA:TRUE)",
        ),
        (Authority::new().issue(&["localhost"]), "localhost", NotTrusted, untrusted),
    ] {
        assert_bad(refused(&identity, &authority.client(), host), what, says);
    }
}

#[test]
fn a_certificate_that_is_bad_in_another_way_is_told_from_one_that_is_not_trusted() {
    for (error, what) in [
        (CertificateError::Revoked, BadCertificate::Revoked),
        (CertificateError::BadSignature, BadCertificate::Other),
    ] {
        assert_bad(vec![Error::Tls(rustls::Error::from(error).into())], what, "certificate ");
    }
}

#[test]
fn a_peer_s_alert_says_whether_another_attempt_may_succeed() {
    let again = |error: rustls::Error| Error::Tls(error.into()).retry() == Retry::BackOff;
    for alert in [
        Alert::BadRecordMac,
        Alert::DecryptError,
        Alert::DecryptionFailed,
        Alert::InternalError,
        Alert::UserCanceled,
    ] {
        assert!(again(rustls::Error::AlertReceived(alert)), "{alert:?}");
    }
    for alert in [Alert::HandshakeFailure, Alert::UnknownCA, Alert::ProtocolVersion] {
        assert!(!again(rustls::Error::AlertReceived(alert)), "{alert:?}");
    }
    assert!(again(rustls::Error::DecryptError));
    assert!(!again(rustls::Error::EncryptError));
    // A client that must not give up goes on, unless a certificate is the reason.
    let retry = |error: rustls::Error| Error::Tls(error.into()).retry();
    for (alert, wants) in [
        (Alert::InternalError, Retry::BackOff),
        (Alert::HandshakeFailure, Retry::Alarm),
        (Alert::ProtocolVersion, Retry::Alarm),
        (Alert::UnknownCA, Retry::Stop),
        (Alert::BadCertificate, Retry::Stop),
        (Alert::CertificateExpired, Retry::Stop),
        (Alert::CertificateRequired, Retry::Stop),
        (Alert::AccessDenied, Retry::Stop),
    ] {
        assert_eq!(retry(rustls::Error::AlertReceived(alert)), wants, "{alert:?}");
    }
    assert_eq!(retry(CertificateError::Expired.into()), Retry::Alarm);
    assert_eq!(retry(CertificateError::NotValidYet.into()), Retry::Alarm);
    assert_eq!(retry(CertificateError::UnknownIssuer.into()), Retry::Stop);
    assert_eq!(retry(rustls::Error::EncryptError), Retry::Alarm);
}

#[test]
fn who_gives_no_configuration_trusts_the_system_s_authorities() {
    let server = self_signed(&["localhost"], |_| {}).server();
    let config = Config::default();
    let on_blocking = |url: &str| blocking::connect(url, &config).map(drop).unwrap_err();
    let on_tokio =
        |url: &str| runtime().block_on(on_tokio::connect(url, &config)).map(drop).unwrap_err();
    for adapter in ADAPTERS {
        let url = localhost_url(&echo_server(adapter, server.clone()));
        for error in [on_blocking(&url), on_tokio(&url)] {
            assert!(matches!(error, Error::Tls(_)), "{error:?}"); // or there are none
        }
    }
}

#[test]
fn what_a_certificate_says_is_escaped_and_cut_in_an_error() {
    let authority = Authority::new();
    let many: Vec<String> = (0..50).map(|i| format!("host-{i}.example.com")).collect();
    let many: Vec<&str> = many.iter().map(|name| &**name).collect();
    for error in refused(&authority.issue(&many), &authority.client(), "localhost") {
        let Error::Tls(tls) = &error else { panic!("{error:?}") };
        let text = error.to_string();
        // `Debug` is cut too, and ends with the text.
        for shown in [text.clone(), format!("{tls:?}"), format!("{tls:#?}")] {
            let debug = shown.strip_suffix(&format!(": {text:?}")).unwrap_or(&shown);
            assert!(debug.len() < 300 && debug.ends_with(".."), "{shown}");
            assert!(shown.chars().all(|c| (' '..='~').contains(&c)), "{shown}");
        }
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_the_client_s_or_refuses() {
    bounded_each(ADAPTERS, |adapter| {
        let authority = Authority::new();
        let url = localhost_url(&echo_server(adapter, authority.strict_server()));
        let config = Config::default();
        let known = authority.known_client();
        let mut ws = Client::connect(adapter, &url, &config, known).unwrap();
        ws.send("hello").unwrap();
        assert_eq!(ws.recv().unwrap(), text("hello"));

        let stranger = Client::connect(adapter, &url, &config, authority.client());
        let error = stranger.map(drop).unwrap_err();
        let Error::Tls(tls) = &error else { panic!("{error:?}") };
        assert_eq!(tls.certificate(), None, "it is ours that is missing");
        assert!(error.to_string().contains("refused by the peer: CertificateRequired"), "{error}");
        assert_ne!(error.retry(), Retry::BackOff);
    });
}

#[test]
fn a_server_reads_the_client_s_certificate_before_it_accepts() {
    bounded_each(ADAPTERS, |adapter| {
        let authority = Authority::new();
        let (tcp, far) = tcp_pair();
        let client = authority.known_client();
        let peer = spawn(move || {
            let mut raw = Raw::client(far, client);
            raw.handshake().unwrap();
            raw.hear_all();
        });
        let tls = authority.strict_server();
        let shown = match adapter {
            Adapter::Tokio => {
                let runtime = runtime();
                let tcp = async_tcp(&runtime, tcp);
                let mut stream = on_tokio::TlsStream::server(tcp, placed(tls)).unwrap();
                wait(&runtime, stream.handshake()).unwrap();
                stream.session().peer_certificates().map(<[_]>::len)
            }
            Adapter::Blocking => {
                let mut stream = blocking::TlsStream::server(tcp, placed(tls)).unwrap();
                stream.handshake().unwrap();
                stream.with_session(|session| session.peer_certificates().map(<[_]>::len))
            }
        };
        assert_eq!(shown, Some(1));
        peer.join().unwrap();
    });
}

/// The name asked for, and the protocol agreed on, as this server sees them.
fn asked(
    adapter: Adapter,
    url: impl FnOnce(u16) -> String,
    f: fn(&mut ServerConfig),
) -> Option<(Option<String>, Option<Vec<u8>>, ProtocolVersion)> {
    let authority = Authority::new();
    let url = url(0);
    let host = if url.contains('[') { "[::1]:0" } else { "127.0.0.1:0" };
    let listener = TcpListener::bind(host).ok()?; // without IPv6, no test of it
    let port = listener.local_addr().unwrap().port();
    let server = authority.issue(&["localhost", "127.0.0.1", "::1"]).server_with(f);
    let mut client = (*authority.client()).clone();
    client.alpn_protocols = vec![b"h2".to_vec(), b"nonsense".to_vec()];
    let seen = spawn(move || {
        let mut raw = Raw::server(listener.accept().unwrap().0, server);
        let _ = raw.handshake();
        let alpn = raw.tls.alpn_protocol().map(<[u8]>::to_vec);
        let version = raw.tls.protocol_version().unwrap();
        let tickwire::tls::rustls::Connection::Server(server) = &raw.tls else { unreachable!() };
        (server.server_name().map(str::to_owned), alpn, version)
    });
    let url = url.replace(":0/", &format!(":{port}/"));
    let connected = Client::connect(adapter, &url, &Config::default(), client.into());
    assert!(connected.is_err(), "nobody answers");
    Some(seen.join().unwrap())
}

// P109
#[test]
fn http_1_1_and_the_name_of_the_host_are_asked_for_whatever_the_configuration_says() {
    let http = |config: &mut ServerConfig| {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    };
    for adapter in ADAPTERS {
        for (url, name) in [
            ("wss://localhost:0/", Some("localhost")),
            ("wss://LocalHost:0/", Some("localhost")),
            ("wss://127.0.0.1:0/", None), // RFC 6066 §3: no address is a name
            ("wss://[::1]:0/", None),
        ] {
            let Some((asked, alpn, version)) = asked(adapter, |_| url.to_string(), http) else {
                continue;
            };
            assert_eq!(asked.as_deref(), name);
            assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]));
            assert_eq!(version, ProtocolVersion::TLSv1_3);
        }
        let (_, alpn, _) = asked(adapter, |_| "wss://localhost:0/".into(), |_| {}).unwrap();
        assert_eq!(alpn, None, "a server that knows no ALPN is fine");
    }
}

#[test]
fn a_server_of_http_2_only_is_refused() {
    for adapter in ADAPTERS {
        let authority = Authority::new();
        let server = authority.issue(&["localhost"]).server_with(|config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
        });
        let url = localhost_url(&echo_server(adapter, server));
        let connected = Client::connect(adapter, &url, &Config::default(), authority.client());
        let error = connected.map(drop).unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        assert_ne!(error.retry(), Retry::BackOff);
    }
}

#[test]
fn tls_1_2_will_do() {
    bounded_each(ADAPTERS, |adapter| {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"]);
        let old = ServerConfig::builder_with_protocol_versions(&[&TLS12]).with_no_client_auth();
        let key = identity.private();
        let old = old.with_single_cert(identity.chain.clone(), key).unwrap();
        let url = localhost_url(&echo_server(adapter, old.into()));
        let config = Config::default();
        let mut ws = Client::connect(adapter, &url, &config, authority.client()).unwrap();
        ws.send(&vec![3; 50_000]).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(OwnedMessage::from(vec![3; 50_000])));
        ws.close(None).unwrap();
    });
}

#[test]
fn a_session_is_resumed() {
    bounded_each(ADAPTERS, |adapter| {
        let authority = Authority::new();
        let url = localhost_url(&echo_server(adapter, authority.server()));
        let client = authority.client();
        let resumed: Vec<_> = (0..2)
            .map(|_| {
                let config = Config::default();
                let mut ws = Client::connect(adapter, &url, &config, client.clone()).unwrap();
                ws.send("x").unwrap();
                ws.recv().unwrap(); // the tickets have come by now
                match &ws {
                    Ws::Tokio(ws, _) => ws.get_ref().session().unwrap().is_resumed(),
                    Ws::Blocking(ws) => ws.get_ref().with_session(|tls| tls.is_resumed()).unwrap(),
                }
            })
            .collect();
        assert_eq!(resumed, [false, true]);
    });
}

#[test]
fn a_peer_that_does_not_speak_tls_is_named_as_such() {
    bounded_each(ADAPTERS, |adapter| {
        let (listener, url) = listening();
        let plain = spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let client = Authority::new().client();
        let connected = Client::connect(adapter, &url, &Config::default(), client);
        let error = connected.map(drop).unwrap_err();
        assert!(error.to_string().contains("is not TLS"), "{error}");
        assert_ne!(error.retry(), Retry::BackOff);
        plain.join().unwrap();

        // And a client that does not.
        let (near, mut far) = tcp_pair();
        far.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let server = Authority::new().server();
        let accepted = Server::accept(adapter, near, &Config::default(), server);
        let error = accepted.map(drop).unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
        assert!(error.to_string().contains("is not TLS"), "{error}");
    });
}

#[test]
fn a_stream_that_ends_in_the_handshake_says_so() {
    bounded_each(ADAPTERS, |adapter| {
        let (listener, url) = listening();
        let gone = spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 4096]).unwrap();
        });
        let client = Authority::new().client();
        let connected = Client::connect(adapter, &url, &Config::default(), client);
        let error = connected.map(drop).unwrap_err();
        assert!(error.to_string().contains("in the TLS handshake"), "{error}");
        assert_eq!(error.retry(), Retry::BackOff);
        gone.join().unwrap();

        let (near, far) = tcp_pair();
        drop(far);
        let server = Authority::new().server();
        let accepted = Server::accept(adapter, near, &Config::default(), server);
        let error = accepted.map(drop).unwrap_err();
        assert!(error.to_string().contains("in the TLS handshake"), "{error}");
    });
}

// P107: the limit of time holds from dialing to the 101, TLS included.

#[test]
fn the_tls_handshake_is_within_the_time_of_the_opening_handshake() {
    // How far the peer goes before it falls silent: not a word, a part of one, all of TLS.
    let both = |(adapter, steps)| {
        [spawn(move || silent_server(adapter, steps)), spawn(move || silent_client(adapter, steps))]
    };
    bounded(move || {
        let all: Vec<_> = product(ADAPTERS, 0..3).flat_map(both).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}

fn silent_server(adapter: Adapter, steps: u32) {
    let authority = &Authority::new();
    with_time_enough(|timeout| {
        let server = authority.server();
        let (listener, url) = listening();
        let address = listener.local_addr().unwrap();
        let silent = spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let clone = stream.try_clone().unwrap();
            let gone = match steps {
                0 => Ok(()),
                1 => stream.write_all(&[22, 3, 3]),
                _ => Raw::server(clone, server).handshake(),
            };
            let _ = stream.read_to_end(&mut Vec::new());
            gone.is_ok()
        });
        let config = Config { handshake_timeout: timeout, ..Config::default() };
        let connected = Client::connect(adapter, &url, &config, authority.client()).map(drop);
        if let Err(Error::Io(error)) = &connected
            && error.kind() == io::ErrorKind::TimedOut
        {
            // There was no time for TCP, so the server may still wait for a client.
            drop(TcpStream::connect(address));
            silent.join().unwrap();
            return false;
        }
        timed_out(connected);
        silent.join().unwrap()
    });
}

fn silent_client(adapter: Adapter, steps: u32) {
    let authority = &Authority::new();
    with_time_enough(|timeout| {
        let (near, mut far) = tcp_pair();
        let client = authority.client();
        let silent = spawn(move || {
            let clone = far.try_clone().unwrap();
            let gone = match steps {
                0 => Ok(()),
                1 => far.write_all(&[22, 3, 1]),
                _ => Raw::client(clone, client).handshake(),
            };
            let _ = far.read_to_end(&mut Vec::new());
            gone.is_ok()
        });
        let config = Config { handshake_timeout: timeout, ..Config::default() };
        let accepted = Server::accept(adapter, near, &config, authority.server());
        timed_out(accepted.map(drop));
        silent.join().unwrap()
    });
}

#[track_caller]
fn timed_out(done: Result<(), Error>) {
    match done {
        Err(Error::Handshake(HandshakeError::Timeout)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_that_drips_its_handshake_is_not_waited_for() {
    // The start of a record of 16 KiB.
    fn drip(stream: TcpStream) {
        let mut record = vec![22, 3, 3, 0x40, 0];
        record.resize(16 << 10, 1);
        trickle(stream, &record, ms(10));
    }
    bounded_each(ADAPTERS, |adapter| {
        let config = Config { handshake_timeout: ms(200), ..Config::default() };
        let (near, far) = tcp_pair();
        let dripping = spawn(move || drip(far));
        let accepted = Server::accept(adapter, near, &config, Authority::new().server());
        timed_out(accepted.map(drop));
        dripping.join().unwrap();

        let (listener, url) = listening();
        let dripping = spawn(move || drip(listener.accept().unwrap().0));
        let connected = Client::connect(adapter, &url, &config, Authority::new().client());
        timed_out(connected.map(drop));
        dripping.join().unwrap();
    });
}

/// Once told, it gives a byte at a time.
struct Slow(TcpStream, AtomicBool);

impl Read for &Slow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.1.load(Ordering::Relaxed) {
            true => (&self.0).read(&mut buf[..1]),
            false => (&self.0).read(buf),
        }
    }
}

impl Write for &Slow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.0).write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl blocking::Stream for &Slow {
    crate::support::tries::tries!();
    crate::support::tries::cannot_wait!();
}

/// A signal interrupts the flush behind each write, once.
struct Interrupted(TcpStream, bool);

impl Read for Interrupted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Interrupted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.1 = true;
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        if mem::take(&mut self.1) { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

#[test]
fn a_flush_that_is_interrupted_does_not_end_the_handshake() {
    bounded_each(ROLES, |role| {
        let (mut stream, mut raw) = over(role, |tcp| WithoutTimeouts(Interrupted(tcp, false)));
        let peer = spawn(move || raw.handshake().unwrap());
        stream.handshake().unwrap();
        peer.join().unwrap();
    });
}

#[test]
fn a_record_that_drips_in_interrupts_each_read_and_goes_on_later() {
    bounded(|| {
        let authority = Authority::new();
        let (near, far) = tcp_pair();
        let server = authority.server();
        let sending = spawn(move || {
            let mut tls = blocking::TlsStream::server(far, placed(server)).unwrap();
            tls.handshake().unwrap();
            tls.write_all(&[7; 1000]).unwrap();
            tls.flush().unwrap();
            let _ = tls.read(&mut [0]);
        });
        let slow = Slow(near, AtomicBool::new(false));
        let mut tls =
            blocking::TlsStream::client(&slow, &localhost(), placed(authority.client())).unwrap();
        tls.handshake().unwrap();
        slow.1.store(true, Ordering::Relaxed);
        for _ in 0..5 {
            let error = tls.read(&mut [0; 100]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
        slow.1.store(false, Ordering::Relaxed);
        let mut got = [0; 1000];
        tls.read_exact(&mut got).unwrap();
        assert_eq!(got, [7; 1000]);
        drop(tls);
        drop(slow);
        sending.join().unwrap();
    });
}

#[test]
fn an_error_of_the_stream_below_stays_what_it_is() {
    let (tcp, _far) = tcp_pair();
    tcp.set_read_timeout(Some(ms(20))).unwrap();
    let authority = Authority::new();
    let mut stream =
        blocking::TlsStream::client(tcp, &localhost(), placed(authority.client())).unwrap();
    let error = stream.handshake().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    let broken: Error = io::Error::from(ErrorKind::BrokenPipe).into();
    assert!(matches!(broken, Error::Io(_)));
}

/// The stream of a connection that was dialed, and the server's end of it.
fn dialed() -> (blocking::MaybeTls, blocking::TlsStream<TcpStream>) {
    let authority = Authority::new();
    let (listener, url) = listening();
    let tls = authority.server();
    let server = spawn(move || {
        let stream =
            blocking::TlsStream::server(listener.accept().unwrap().0, placed(tls)).unwrap();
        blocking::accept(stream, &Config::default()).unwrap().into_parts().0
    });
    let request = Request::new(&url).unwrap();
    let ws =
        Dial::new(&request).tls(placed(authority.client())).blocking_connect(&Config::default());
    (ws.unwrap().into_parts().0, server.join().unwrap())
}

#[test]
fn a_dialed_stream_writes_slices_together() {
    bounded(|| {
        let (mut near, mut far) = dialed();
        assert!(near.writes_vectored() && near.get_ref().writes_vectored());
        assert!(far.writes_vectored());
        let slices =
            [io::IoSlice::new(b"one "), io::IoSlice::new(b"after "), io::IoSlice::new(b"another")];
        assert_eq!(near.write_vectored(&slices).unwrap(), 17);
        drop(near);
        let mut all = vec![];
        let _ = far.read_to_end(&mut all); // it ends without a close_notify
        assert_eq!(all, b"one after another");
    });
}

#[test]
fn a_dialed_stream_that_does_not_block_is_flushed_to_its_end() {
    bounded(|| {
        let (mut near, mut far) = dialed();
        near.get_ref().set_nonblocking(true).unwrap();
        let mut taken = 0;
        let error = loop {
            match near.write(&[7; 16 << 10]) {
                Ok(n) => taken += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let reader = spawn(move || {
            let mut all = vec![];
            let _ = far.read_to_end(&mut all);
            all.len()
        });
        while let Err(error) = near.flush() {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            thread::sleep(ms(1));
        }
        drop(near);
        assert_eq!(reader.join().unwrap(), taken);
    });
}

#[test]
fn a_dialed_stream_of_tokio_writes_slices_together_and_is_flushed_to_its_end() {
    let runtime = runtime();
    wait(&runtime, async {
        let authority = Authority::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = localhost_url(&listener.local_addr().unwrap().to_string());
        let (request, config) = (Request::new(&url).unwrap(), Config::default());
        let accepting = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = on_tokio::TlsStream::server(tcp, placed(authority.server())).unwrap();
            on_tokio::accept(tls, &config).await.unwrap().into_parts().0
        };
        let dial = Dial::new(&request).tls(placed(authority.client()));
        let (near, mut far) = tokio::join!(dial.connect(&config), accepting);
        let mut near = near.unwrap().into_parts().0;
        assert!(near.is_write_vectored() && near.get_ref().is_write_vectored());
        assert!(far.is_write_vectored());
        let mut taken = 0;
        std::future::poll_fn(|cx| {
            while let Poll::Ready(n) = Pin::new(&mut near).poll_write(cx, &[7; 16 << 10]) {
                taken += n.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        let flushing = async move {
            near.flush().await.unwrap();
            drop(near); // with what it has not written
        };
        let mut all = vec![0; taken];
        let (read, ()) = tokio::join!(far.read_exact(&mut all), flushing);
        assert_eq!(read.unwrap(), taken);
    });
}

crate::by_rustls::once_more! {
    messages_of_any_length_pass_both_adapters_in_both_roles
    messages_cut_into_frames_pass_over_tls
    a_peer_that_reads_nothing_is_given_up
    a_spinning_stream_carries_tls
    a_thread_stuck_in_a_write_does_not_keep_the_other_from_reading
    two_handles_that_write_at_the_same_time_lose_nothing
    a_stream_is_cloned_only_after_the_handshake
    what_is_set_on_a_stream_is_set_on_the_one_below
    a_stream_shows_the_one_below_and_nothing_of_its_session
    a_burst_leaves_in_one_record_and_one_write
    of_a_write_that_breaks_off_no_message_is_unwritten_that_has_left
    the_client_s_request_leaves_with_the_end_of_its_handshake
    other_tls_streams_carry_a_burst_in_one_record_too
    a_send_reaches_the_socket_before_it_returns
    a_send_over_another_tls_stream_reaches_the_socket_before_it_returns
    keys_may_change_at_any_time
    every_future_may_be_dropped_at_every_poll
    a_record_that_was_tampered_with_ends_the_connection
    an_orderly_end_has_a_close_notify_in_both_directions
    a_close_notify_that_has_to_wait_goes_before_the_end_of_the_stream
    a_connection_that_is_dropped_was_not_closed
    a_clone_that_is_dropped_leaves_tls_to_the_other
    a_stream_is_dropped_though_the_peer_takes_nothing_more
    a_bad_certificate_is_refused_and_the_error_says_why
    a_certificate_that_is_bad_in_another_way_is_told_from_one_that_is_not_trusted
    a_peer_s_alert_says_whether_another_attempt_may_succeed
    who_gives_no_configuration_trusts_the_system_s_authorities
    what_a_certificate_says_is_escaped_and_cut_in_an_error
    a_server_that_asks_for_a_certificate_gets_the_client_s_or_refuses
    a_server_reads_the_client_s_certificate_before_it_accepts
    http_1_1_and_the_name_of_the_host_are_asked_for_whatever_the_configuration_says
    a_server_of_http_2_only_is_refused
    tls_1_2_will_do
    a_session_is_resumed
    a_peer_that_does_not_speak_tls_is_named_as_such
    a_stream_that_ends_in_the_handshake_says_so
    the_tls_handshake_is_within_the_time_of_the_opening_handshake
    a_peer_that_drips_its_handshake_is_not_waited_for
    a_flush_that_is_interrupted_does_not_end_the_handshake
    a_record_that_drips_in_interrupts_each_read_and_goes_on_later
    an_error_of_the_stream_below_stays_what_it_is
    a_dialed_stream_writes_slices_together
    a_dialed_stream_that_does_not_block_is_flushed_to_its_end
    a_dialed_stream_of_tokio_writes_slices_together_and_is_flushed_to_its_end
}
