//! Tests both servers with two clients. The crate's own client speaks HTTP/1.1, in clear and over
//! TLS. hyper's client, with the crate's handshake, speaks HTTP/1.1 and HTTP/2's extended CONNECT.

#[path = "../../tests/examples/support_program.rs"]
mod program;
#[path = "../../../crates/tickwire-axum/tests/support/small_window.rs"]
mod small_window;

use http_body_util::{BodyExt, Empty};
use hyper::{
    Response,
    body::{Bytes, Incoming},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use program::Program;
use std::net::SocketAddr;
use testkit::PATIENCE;
use tickwire::{
    CloseCode, CloseFrame, Config, Dial, SystemEntropy, handshake::client::Request,
    tls::platform_config_and_roots, tokio::WebSocket,
};
use tickwire_http::Opening;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const SERVERS: [&str; 2] = [env!("CARGO_BIN_EXE_hyper"), env!("CARGO_BIN_EXE_axum")];

/// A server, until dropped, and its address.
fn start(program: &str, options: &[&str]) -> (Program, SocketAddr) {
    let args = [&["--listen", "127.0.0.1:0"], options].concat();
    let server = Program::start_at(program.as_ref(), &args);
    let address = server.line().rsplit_once("//").unwrap().1.parse().unwrap();
    (server, address)
}

async fn bounded<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("in time")
}

fn request(address: SocketAddr) -> Request {
    let request = Request::new(&format!("ws://{address}/echo")).unwrap();
    request.subprotocols(&["other", "echo.v1"]).unwrap()
}

/// Text, an empty message, a large one, many at once, a clean close.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(ws: WebSocket<S>) {
    assert_eq!(ws.connection().negotiated().subprotocol.as_deref(), Some("echo.v1"));
    let (mut reader, mut writer) = ws.into_split();
    let mut messages = vec![b"hello".to_vec(), vec![], (0..300_000).map(|i| i as u8).collect()];
    messages.extend((0..1000).map(|i| format!("message {i}").into_bytes()));
    // The messages are sent in bursts, because over HTTP/2 each flush is a DATA frame, and hyper
    // allows only few unread DATA frames.
    let sending = async {
        for burst in messages.chunks(100) {
            for message in burst {
                writer.feed(message).unwrap();
            }
            writer.flush().await.unwrap();
        }
    };
    let receiving = async {
        for message in &messages {
            assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes(), message);
        }
    };
    tokio::join!(sending, receiving);
    writer.close(CloseFrame::with_reason(CloseCode::GOING_AWAY, "lunch")).await.unwrap();
    assert!(reader.recv().await.unwrap().is_none() && reader.closed().is_some_and(|end| end.clean));
}

#[tokio::test]
async fn the_crates_own_client_converses_in_clear_and_over_tls() {
    let identity = testkit::tls::Identity::self_signed(&["localhost"]);
    let folder = std::env::temp_dir().join(format!("tickwire-http-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, identity.pem()).unwrap();
    std::fs::write(&key, identity.key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    for program in SERVERS {
        for (scheme, options) in
            [("ws", &[][..]), ("wss", &["--tls-cert", certificate, "--tls-key", key])]
        {
            bounded(async {
                let (server, address) = start(program, options);
                let url = format!("{scheme}://localhost:{}/echo", address.port());
                let request = Request::new(&url).unwrap().subprotocols(&["echo.v1"]).unwrap();
                let tls = platform_config_and_roots(identity.pem().as_bytes()).unwrap();
                let ws = Dial::new(&request).tls(tls).connect(&Config::default()).await;
                converse(ws.unwrap()).await;
                assert_eq!(server.line(), "HTTP/1.1: open");
                assert_eq!(server.line(), "HTTP/1.1: closed with 1001 \"lunch\"");
            })
            .await;
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Converses over the stream that the HTTP stack has handed over.
async fn join(opening: Opening, response: Response<Incoming>) {
    let connection = opening.accept(&response).unwrap();
    let stream = hyper::upgrade::on(response).await.unwrap();
    converse(WebSocket::from_parts(TokioIo::new(stream), connection)).await;
}

#[tokio::test]
async fn hypers_client_upgrades_over_http_1() {
    for program in SERVERS {
        bounded(async {
            let (server, address) = start(program, &[]);
            let tcp = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
            tokio::spawn(connection.with_upgrades());
            let entropy = SystemEntropy::new().unwrap();
            let (asked, opening) = Opening::new(&request(address), &Config::default(), entropy);
            let asked = asked.map(|()| Empty::<Bytes>::new());
            join(opening, sender.send_request(asked).await.unwrap()).await;
            assert_eq!(server.line(), "HTTP/1.1: open");
            assert_eq!(server.line(), "HTTP/1.1: closed with 1001 \"lunch\"");
        })
        .await;
    }
}

// P213, P217 to P219: several WebSockets and other requests share one connection.
#[tokio::test]
async fn extended_connect_over_http_2() {
    for program in SERVERS {
        bounded(async {
            let (server, address) = start(program, &[]);
            let tcp = TcpStream::connect(address).await.unwrap();
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let page = format!("http://{address}/");
            let page = hyper::Request::get(page).body(Empty::<Bytes>::new()).unwrap();
            let page = sender.clone().send_request(page).await.unwrap();
            assert_eq!((page.status().as_u16(), page.version()), (200, hyper::Version::HTTP_2));
            let plain = format!("http://{address}/echo");
            let plain = hyper::Request::get(plain).body(Empty::<Bytes>::new()).unwrap();
            let refused = sender.clone().send_request(plain).await.unwrap();
            assert_eq!(
                (refused.status().as_u16(), &refused.headers()["allow"]),
                (405, &"CONNECT".parse().unwrap())
            );
            let why = refused.into_body().collect().await.unwrap().to_bytes();
            assert!(why.starts_with(b"no extended CONNECT (RFC 8441)"), "{why:?}");
            let sockets = (0..3).map(|_| {
                let mut sender = sender.clone();
                let request = request(address);
                tokio::spawn(async move {
                    let entropy = SystemEntropy::new().unwrap();
                    let (mut asked, opening) =
                        Opening::connect(&request, &Config::default(), entropy);
                    let protocol = hyper::ext::Protocol::from_static("websocket");
                    asked.extensions_mut().insert(protocol);
                    let asked = asked.map(|()| Empty::<Bytes>::new());
                    let response = sender.send_request(asked).await.unwrap();
                    assert_eq!(response.status(), 200);
                    join(opening, response).await;
                })
            });
            for socket in sockets.collect::<Vec<_>>() {
                socket.await.unwrap();
            }
            for _ in 0..3 {
                let line = server.line();
                assert!(line.starts_with("HTTP/2.0: "), "{line}");
            }
        })
        .await;
    }
}

// What the client does not read would stay in the server's stack until the client ends TCP.
#[tokio::test]
async fn over_http_2_hypers_server_resets_a_stream_that_fails_though_its_window_is_closed() {
    bounded(async {
        let (server, address) = start(SERVERS[0], &[]);
        let (mut sending, mut body, _open) = small_window::open(address, "/echo", 0).await;
        let header = [0x82, 0x80 | 126, 0xea, 0x60, 0, 0, 0, 0]; // 60,000 bytes, masked by zeros
        sending.send_data([&header[..], &[7; 60_000]].concat().into(), true).unwrap();
        let end = body.data().await.unwrap().unwrap_err();
        assert_eq!(end.reason(), Some(h2::Reason::CANCEL), "{end}");
        assert_eq!(server.line(), "HTTP/2.0: open");
        let line = server.line();
        assert!(line.starts_with("HTTP/2.0: stream ended"), "{line}");
    })
    .await;
}

// A deploy: axum's and hyper's own shutdowns wait for the request that never ends.
#[cfg(unix)]
#[tokio::test]
async fn a_signal_closes_each_socket_at_once_though_a_request_never_ends() {
    for program in SERVERS {
        bounded(async {
            let (server, address) = start(program, &[]);
            let mut half = TcpStream::connect(address).await.unwrap();
            half.write_all(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpg").await.unwrap();
            let mut sockets = Vec::new();
            for _ in 0..20 {
                let ws = Dial::new(&request(address)).connect(&Config::default()).await;
                sockets.push(ws.unwrap());
            }
            server.signal("-TERM");
            for ws in &mut sockets {
                assert!(ws.recv().await.unwrap().is_none());
                assert_eq!(ws.closed().map(|end| (end.code, end.clean)), Some((1001, true)));
            }
            drop(half);
            let (code, out, errors) = server.finish();
            assert_eq!((code, errors), (0, vec![]), "{out:?}");
            let closed = |line: &&String| line.starts_with("HTTP/1.1: closed with 1001");
            assert_eq!(out.iter().filter(closed).count(), 20, "{out:?}");
        })
        .await;
    }
}
