//! Writes to a peer that is gone, where SIGPIPE has its default action.
use futures_util::SinkExt;
use std::{
    io,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
};
use testkit::sigpipe::each_survives;
use tickwire_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, WebSocket, protocol::Role},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection whose peer is gone. The first write to it succeeds, and is answered with a reset.
fn tcp() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop(listener.accept().unwrap());
    near
}

/// So long that it is a slice of its own.
fn message() -> Message {
    Message::binary(vec![7; 100_000])
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => panic!("{other:?}"),
    }
}

fn on_a_thread(mut ws: WebSocket<impl io::Read + io::Write>) -> io::Error {
    loop {
        if let Err(error) = ws.send(message()) {
            return io_error(error);
        }
    }
}

async fn on_a_task<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocketStream<S>) -> io::Error {
    loop {
        if let Err(error) = ws.send(message()).await {
            return io_error(error);
        }
    }
}

fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

fn tokio_tcp() -> tokio::net::TcpStream {
    let tcp = tcp();
    tcp.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(tcp).unwrap()
}

/// The stream of rustls, which writes several records by one call.
#[cfg(feature = "__rustls-tls")]
mod over_tls {
    use super::*;
    use rustls::{ClientConnection, ServerConnection, StreamOwned};
    use testkit::sigpipe::each_is_killed;

    fn stream() -> impl io::Read + io::Write {
        let (server, client) = crate::tls::configs();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = std::thread::spawn(move || {
            let mut far = listener.accept().unwrap().0;
            let mut server = ServerConnection::new(server).unwrap();
            server.complete_io(&mut far).unwrap();
        });
        let mut client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        client.complete_io(&mut near).unwrap();
        far.join().unwrap();
        StreamOwned::new(client, near)
    }

    /// As the README says.
    #[test]
    fn raises_it() {
        each_is_killed(
            "sigpipe::over_tls::raises_it",
            &[("TLS", || on_a_thread(WebSocket::from_raw_socket(stream(), Role::Server, None)))],
        );
    }
}

#[test]
fn no_connection_raises_sigpipe() {
    each_survives(
        "sigpipe::no_connection_raises_sigpipe",
        &[
            ("thread, TCP", || on_a_thread(WebSocket::from_raw_socket(tcp(), Role::Server, None))),
            ("thread, Unix", || {
                let near = UnixStream::pair().unwrap().0;
                on_a_thread(WebSocket::from_raw_socket(near, Role::Server, None))
            }),
            ("task, TCP", || {
                block_on(async {
                    let ws = WebSocketStream::from_raw_socket(tokio_tcp(), Role::Server, None);
                    on_a_task(ws.await).await
                })
            }),
            ("task, Unix", || {
                block_on(async {
                    let near = tokio::net::UnixStream::pair().unwrap().0;
                    let ws = WebSocketStream::from_raw_socket(near, Role::Server, None);
                    on_a_task(ws.await).await
                })
            }),
        ],
    );
}
