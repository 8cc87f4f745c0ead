//! How a connection ends, over TCP in each adapter, and over TLS where an adapter has it.
use crate::support::placed::placed;
use crate::support::{
    blocking::with_time_enough,
    tls::{ADAPTERS, Adapter, Authority, PATIENCE, async_tcp, runtime, wait},
};
use ::tokio::io::{AsyncRead, AsyncWrite};
use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};
use testkit::slow_reader::{LEN, WIRE, narrow, read_slowly};
#[cfg(feature = "futures")]
use tickwire::futures_io as smol;
use tickwire::{
    CloseCode, Config, Connection, Error, Negotiated, RecvError,
    blocking::{self, Stream},
    tokio as on_tokio,
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, ServerConfig, StreamOwned};

/// The two ends of a TCP connection, of which the second has a small receive buffer.
fn narrow_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = narrow(listener.local_addr().unwrap());
    (listener.accept().unwrap().0, far)
}

fn conn(close_timeout: Duration) -> Connection {
    let config = Config { close_timeout, ..Config::default() };
    Connection::server(&config, Negotiated::default())
}

/// How `close` ended, and why the connection did.
type End = (Result<(), Error>, Option<RecvError>, bool);

/// Feeds the message, closes, and says how that ended.
async fn on_a_task<S: AsyncRead + AsyncWrite + Unpin>(io: S, timeout: Duration) -> End {
    let mut ws = on_tokio::WebSocket::from_parts(io, conn(timeout));
    ws.feed(vec![7; LEN]).unwrap();
    let done = ws.close(CloseCode::NORMAL).await;
    let end = ws.closed().unwrap();
    (done, end.error, end.unconfirmed)
}

fn on_a_thread<S: Stream>(io: S, timeout: Duration) -> End {
    let mut ws = blocking::WebSocket::from_parts(io, conn(timeout));
    let _ = ws.feed(vec![7; LEN]).unwrap();
    let done = ws.close(CloseCode::NORMAL);
    let end = ws.closed().unwrap();
    (done, end.error, end.unconfirmed)
}

fn close(adapter: Adapter, tcp: TcpStream, tls: Option<Arc<ServerConfig>>, t: Duration) -> End {
    match (adapter, tls) {
        (Adapter::Blocking, None) => on_a_thread(tcp, t),
        (Adapter::Blocking, Some(tls)) => {
            let mut io = blocking::TlsStream::server(tcp, placed(tls)).unwrap();
            io.handshake().unwrap();
            on_a_thread(io, t)
        }
        (Adapter::Tokio, tls) => {
            let runtime = runtime();
            let tcp = async_tcp(&runtime, tcp);
            match tls {
                None => wait(&runtime, on_a_task(tcp, t)),
                Some(tls) => {
                    let mut io = on_tokio::TlsStream::server(tcp, placed(tls)).unwrap();
                    wait(&runtime, io.handshake()).unwrap();
                    wait(&runtime, on_a_task(io, t))
                }
            }
        }
    }
}

fn tls_over(tcp: TcpStream, tls: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = "localhost".try_into().unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(tls, name).unwrap(), tcp);
    tls.conn.complete_io(&mut tls.sock).unwrap();
    tls
}

#[cfg(feature = "futures")]
fn on_smol(io: TcpStream, timeout: Duration) -> End {
    let io = async_net::TcpStream::try_from(io).unwrap(); // its `poll_close` shuts it down
    let mut ws = smol::WebSocket::from_parts(io, async_io::Timer::at, conn(timeout));
    let _ = ws.feed(vec![7; LEN]).unwrap();
    let done = async_io::block_on(ws.close(CloseCode::NORMAL));
    let end = ws.closed().unwrap();
    (done, end.error, end.unconfirmed)
}

/// F9 of the reports: the peer's Pings lay unread when the socket was closed, so the kernel reset
/// the connection, and the peer lost what it had not read. `client`: the peer speaks TLS.
#[track_caller]
fn all_is_read(client: Option<Arc<ClientConfig>>, close: impl Fn(TcpStream, Duration) -> End) {
    with_time_enough(|timeout| {
        let (near, far) = narrow_pair();
        let client = client.clone();
        // It reads for longer than the timeout, and for less than twice that.
        let reading = thread::spawn(move || match client {
            None => read_slowly(far, timeout / 20),
            Some(client) => read_slowly(tls_over(far, client), timeout / 20),
        });
        let end = close(near, timeout);
        match (reading.join().unwrap(), end) {
            // Pongs came too.
            (Ok(WIRE..), (Ok(()), Some(RecvError::CloseTimeout), false)) => true,
            // It was slower than that, or could not even be sent everything.
            (_, (Err(Error::Recv(RecvError::CloseTimeout)), _, _)) => false,
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_slow_reader_that_pings_gets_all_that_was_sent_before_our_close() {
    let ca = Authority::new();
    for adapter in ADAPTERS {
        all_is_read(None, |near, timeout| close(adapter, near, None, timeout));
        let server = ca.server();
        all_is_read(Some(ca.client()), |near, timeout| {
            close(adapter, near, Some(server.clone()), timeout)
        });
    }
    #[cfg(feature = "futures")]
    all_is_read(None, on_smol);
}

/// Some servers never answer a Close (httpuv, the websocket-server of PyPI).
#[test]
fn a_peer_that_ends_the_stream_on_our_close_is_no_error() {
    #[track_caller]
    fn ends(client: Option<Arc<ClientConfig>>, close: impl Fn(TcpStream, Duration) -> End) {
        let (near, mut far) = narrow_pair();
        let ending = thread::spawn(move || {
            let mut wire = vec![0; WIRE];
            match client {
                None => far.read_exact(&mut wire).unwrap(),
                Some(client) => tls_over(far, client).read_exact(&mut wire).unwrap(),
            }
        });
        let (done, _, unconfirmed) = close(near, PATIENCE);
        ending.join().unwrap();
        assert!(done.is_ok() && !unconfirmed, "{done:?}");
    }
    let ca = Authority::new();
    for adapter in ADAPTERS {
        ends(None, |near, timeout| close(adapter, near, None, timeout));
        let server = ca.server();
        ends(Some(ca.client()), |near, t| close(adapter, near, Some(server.clone()), t));
    }
    #[cfg(feature = "futures")]
    ends(None, on_smol);
}

crate::by_rustls::once_more! {
    a_slow_reader_that_pings_gets_all_that_was_sent_before_our_close
    a_peer_that_ends_the_stream_on_our_close_is_no_error
}
