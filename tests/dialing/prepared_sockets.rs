//! Sockets that `connect` of both adapters dials: `Dial::prepare` has them first.
use crate::support::blocking::*;
use socket2::SockRef;
use std::{
    error::Error as _,
    io,
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::Duration,
};
use tickwire::{Config, Dial, Error, blocking, handshake::client::Request};

/// A server for so many connections, and its URL. It answers each first message, and goes on until
/// the client closes.
fn serve(connections: usize) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let mut ws = blocking::accept(stream, &Config::default()).unwrap();
            while let Some(received) = ws.recv_to_reply().unwrap() {
                let _ = received.sender.feed(received.message).unwrap();
            }
        }
    });
    (url, serving)
}

/// Sets a buffer, once nothing is connected yet and TCP_NODELAY is on.
fn buffered<'s, S>(socket: &'s S) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    assert_eq!(socket.peer_addr().map(drop).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert!(socket.tcp_nodelay()?);
    socket.set_recv_buffer_size(50_000)
}

/// What the system says of a socket that is [`buffered`].
#[track_caller]
fn check<'s, S>(socket: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    assert!(socket.tcp_nodelay().unwrap());
    if cfg!(target_os = "linux") {
        assert_eq!(socket.recv_buffer_size().unwrap(), 100_000); // which Linux doubles
    }
}

#[test]
fn a_socket_is_prepared_before_it_connects() {
    bounded(|| {
        let (url, serving) = serve(2);
        let request = Request::new(&url).unwrap();
        for limit in [PATIENCE, Duration::MAX] {
            let config = Config { handshake_timeout: limit, ..Config::default() };
            let dial = Dial::new(&request).prepare(|socket| buffered(&socket));
            let mut ws = dial.blocking_connect(&config).unwrap();
            check(ws.get_ref().get_ref());
            ws.send("there").unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("there"));
            ws.close(None).unwrap();
        }
        serving.join().unwrap();
    });
}

/// All of 127.0.0.0/8 is this machine's; the system would dial from 127.0.0.1.
#[cfg(target_os = "linux")]
#[test]
fn a_prepared_socket_can_be_bound_to_a_local_address() {
    bounded(|| {
        let (url, serving) = serve(1);
        let request = Request::new(&url).unwrap();
        let local: SocketAddr = "127.0.0.5:0".parse().unwrap();
        let dial = Dial::new(&request).prepare(|it| SockRef::from(&it).bind(&local.into()));
        let mut ws = dial.blocking_connect(&Config::default()).unwrap();
        assert_eq!(ws.get_ref().get_ref().local_addr().unwrap().ip(), local.ip());
        ws.close(None).unwrap();
        serving.join().unwrap();
    });
}

/// An address that nobody listens at any more.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn an_error_of_preparing_is_that_of_dialing() {
    bounded(|| {
        let (near, _far) = tcp_pair();
        let address = near.peer_addr().unwrap();
        let request = Request::new(&format!("ws://{address}")).unwrap();
        let asked = AtomicUsize::new(0);
        let dial = Dial::new(&request).prepare(|_| {
            asked.fetch_add(1, SeqCst);
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "SO_BUSY_POLL"))
        });
        assert!(format!("{dial:?}").contains("Prepare(..)"));
        let error = dial.clone().blocking_connect(&Config::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("SO_BUSY_POLL, dialing {address}"));
        assert!(matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::PermissionDenied));
        assert_eq!(asked.load(SeqCst), 1);
    });
}

#[test]
fn a_prepared_socket_that_is_refused_fails_as_any_other() {
    bounded(|| {
        let address = nobody();
        let request = Request::new(&format!("ws://{address}")).unwrap();
        let dial = Dial::new(&request).prepare(|socket| buffered(&socket));
        let error = dial.blocking_connect(&Config::default()).unwrap_err();
        assert!(error.to_string().ends_with(&format!(", dialing {address}")), "{error}");
        assert!(
            matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused),
            "{error:?}"
        );
        let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if cfg!(target_os = "linux") {
            assert_eq!(system.and_then(io::Error::raw_os_error), Some(111), "ECONNREFUSED");
        }
    });
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn tokio_prepares_a_socket_before_it_connects() {
    let (url, serving) = serve(1);
    let request = Request::new(&url).unwrap();
    let dial = Dial::new(&request).prepare(|socket| buffered(&socket));
    let mut ws = dial.connect(&Config::default()).await.unwrap();
    check(ws.get_ref().get_ref());
    ws.send("there").await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("there"));
    ws.close(None).await.unwrap();
    serving.join().unwrap();

    let address = nobody();
    let request = Request::new(&format!("ws://{address}")).unwrap();
    let error = Dial::new(&request).prepare(|socket| buffered(&socket));
    let error = error.connect(&Config::default()).await.unwrap_err();
    assert!(error.to_string().ends_with(&format!(", dialing {address}")), "{error}");
    let refused = Dial::new(&request).prepare(|_| Err(io::ErrorKind::PermissionDenied.into()));
    let error = refused.connect(&Config::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::PermissionDenied));
}
