//! TLS to a proxy, to the server behind it, and to both, one within the other.
use crate::support::placed::placed;
use crate::support::{
    blocking::{bounded, bounded_each},
    proxy::{BASIC, SECRET, Told, WAYS, Way, Ws, connect, first, relay},
    tls::{Authority, product},
};
use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
};
use testkit::frames::read_head;
use tickwire::{
    Config, Dial, Error, Proxy,
    blocking::{self, TlsStream},
    handshake::client::Request,
    tls::{BadCertificate, rustls::ServerConfig},
};

fn echo(tls: Option<Arc<ServerConfig>>) -> (SocketAddr, JoinHandle<()>) {
    fn serve<S: blocking::Stream>(stream: S) {
        let Ok(mut ws) = blocking::accept(stream, &Config::default()) else { return };
        while let Ok(Some(received)) = ws.recv_to_reply() {
            received.sender.feed(received.message).unwrap();
        }
    }
    first(move |stream| match tls {
        None => serve(stream),
        Some(tls) => serve(TlsStream::server(stream, placed(tls)).unwrap()),
    })
}

/// Dials `localhost` through an `https` proxy there.
fn through(
    way: Way,
    proxy: &Authority,
    trusted: &Authority,
    server: Option<(&Authority, &Authority)>,
) -> (Result<Ws, Error>, JoinHandle<()>, JoinHandle<Option<Told>>) {
    let (server_at, serving) = echo(server.map(|(authority, _)| authority.server()));
    let tls = proxy.server();
    let (proxy_at, relaying) = first(move |stream| {
        let mut stream = TlsStream::server(stream, placed(tls)).unwrap();
        stream.handshake().ok().map(|()| relay(stream, server_at))
    });
    let url = format!("https://ann:{SECRET}@localhost:{}", proxy_at.port());
    let proxy = Proxy::new(&url).unwrap().tls(placed(trusted.client()));
    let scheme = if server.is_some() { "wss" } else { "ws" };
    let request = Request::new(&format!("{scheme}://localhost:{}/", server_at.port())).unwrap();
    let mut dial = Dial::new(&request).proxy(proxy);
    if let Some((_, trusted)) = server {
        dial = dial.tls(placed(trusted.client()));
    }
    (connect(way, &dial, &Config::default()), serving, relaying)
}

/// Whether there is TLS with the server.
fn is_secure(ws: &Ws) -> bool {
    match ws {
        Ws::Tokio(ws, _) => ws.get_ref().session().is_some(),
        Ws::Blocking(ws) => ws.get_ref().with_session(|_| ()).is_some(),
    }
}

#[test]
fn a_websocket_passes_a_proxy_over_tls_in_plain_text_and_within_tls_of_its_own() {
    bounded_each(product(WAYS, [false, true]), |(way, secure)| {
        let (proxy, server) = (Authority::new(), Authority::new());
        let inner = secure.then_some((&server, &server));
        let (ws, serving, relaying) = through(way, &proxy, &proxy, inner);
        let mut ws = ws.unwrap();
        assert_eq!(is_secure(&ws), secure, "TLS to the proxy says nothing of the server");
        for size in [1, 1000, 100_000] {
            let text = "x".repeat(size);
            assert!(ws.ask(&text) == text);
        }
        drop(ws);
        serving.join().unwrap();
        let told = relaying.join().unwrap().unwrap();
        assert!(String::from_utf8_lossy(&told.proxy).contains(BASIC));
        let to_server = String::from_utf8_lossy(&told.server);
        assert_eq!(to_server.contains("GET / "), !secure);
        assert!(!to_server.contains(SECRET) && !to_server.contains(BASIC));
    });
}

#[test]
fn halves_of_threads_speak_tls_within_tls() {
    bounded(|| {
        let (proxy, server) = (Authority::new(), Authority::new());
        let inner = Some((&server, &server));
        let (ws, serving, relaying) = through(Way::Blocking, &proxy, &proxy, inner);
        let Ok(Ws::Blocking(ws)) = ws else { panic!() };
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let writing = std::thread::spawn(move || {
            (0..500).for_each(|i| writer.send(&*format!("message {i}")).unwrap());
            writer
        });
        for i in 0..500 {
            let message = reader.recv_owned().unwrap().unwrap();
            assert_eq!(message.as_message().as_text(), Some(&*format!("message {i}")));
        }
        drop((writing.join().unwrap(), reader));
        serving.join().unwrap();
        relaying.join().unwrap().unwrap();
    });
}

#[test]
fn who_is_not_the_proxy_gets_no_credentials_and_who_is_not_the_server_no_request() {
    bounded_each(WAYS, |way| {
        let (one, other) = (Authority::new(), Authority::new());
        let (ws, ..) = through(way, &one, &other, None);
        let Err(Error::Proxy(error)) = ws.map(drop) else { panic!("{way:?}") };
        let Error::Tls(error) = *error else { panic!("{error:?}") };
        assert_eq!(error.certificate(), Some(BadCertificate::NotTrusted));

        // The proxy's authority vouches for no server.
        let (ws, _, relaying) = through(way, &one, &one, Some((&other, &one)));
        let Err(Error::Tls(error)) = ws.map(drop) else { panic!("{way:?}") };
        assert_eq!(error.certificate(), Some(BadCertificate::NotTrusted));
        let told = relaying.join().unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&told.server).contains("GET /"));
    });
}

// A75
#[test]
fn what_comes_with_a_proxys_answer_goes_to_tls() {
    for way in WAYS {
        for ahead in [
            &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
               Connection: Upgrade\r\n\
               Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"[..],
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            b"\x81\x05hello",
            b"\x17\x03\x03\0\x05hello",
        ] {
            bounded(move || {
                let (proxy, playing) = first(move |mut stream| {
                    read_head(&mut stream);
                    stream.write_all(&[b"HTTP/1.1 200 OK\r\n\r\n", ahead].concat()).unwrap();
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest);
                    rest
                });
                let proxy = Proxy::new(&format!("http://ann:{SECRET}@{proxy}")).unwrap();
                let request = Request::new(&format!("wss://bob:{SECRET}@localhost/")).unwrap();
                let dial = Dial::new(&request).proxy(proxy).tls(placed(Authority::new().client()));
                let error = connect(way, &dial, &Config::default()).map(drop).unwrap_err();
                assert!(matches!(error, Error::Tls(_)), "{way:?} {ahead:?}: {error:?}");
                let rest = playing.join().unwrap();
                assert_eq!(rest.first(), Some(&0x16), "a client says hello, in TLS");
                let rest = String::from_utf8_lossy(&rest);
                assert!(!rest.contains("GET /") && !rest.contains(SECRET), "{rest}");
            });
        }
    }
}

crate::by_rustls::once_more! {
    a_websocket_passes_a_proxy_over_tls_in_plain_text_and_within_tls_of_its_own
    halves_of_threads_speak_tls_within_tls
    who_is_not_the_proxy_gets_no_credentials_and_who_is_not_the_server_no_request
    what_comes_with_a_proxys_answer_goes_to_tls
}
