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

/// So long that it is a slice of its own, and several records of TLS.
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

#[cfg(feature = "__rustls-tls")]
mod tls {
    use super::*;
    use crate::tls::configs;
    use rustls::{ClientConfig, ServerConnection, StreamOwned};
    use std::{sync::Arc, thread};
    use tickwire_tungstenite::{
        Connector, client_async_tls_with_config,
        tungstenite::{self, client_tls_with_config},
    };

    /// A server that goes away once a client has opened a connection; a stream to it, and what a
    /// client trusts.
    fn leaving() -> (thread::JoinHandle<()>, TcpStream, Option<Connector>) {
        let (server, client): (_, Arc<ClientConfig>) = configs();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let left = thread::spawn(move || {
            let far = listener.accept().unwrap().0;
            let far = StreamOwned::new(ServerConnection::new(server).unwrap(), far);
            drop(tungstenite::accept(far).unwrap());
        });
        (left, near, Some(Connector::Rustls(client)))
    }

    #[test]
    fn no_connection_over_tls_raises_sigpipe() {
        each_survives(
            "sigpipe::tls::no_connection_over_tls_raises_sigpipe",
            &[
                ("thread", || {
                    let (left, near, trust) = leaving();
                    let opened = client_tls_with_config("wss://localhost/", near, None, trust);
                    let (ws, _) = opened.map_err(|_| ()).unwrap();
                    left.join().unwrap();
                    on_a_thread(ws)
                }),
                ("task", || {
                    block_on(async {
                        let (left, near, trust) = leaving();
                        near.set_nonblocking(true).unwrap();
                        let near = tokio::net::TcpStream::from_std(near).unwrap();
                        let url = "wss://localhost/";
                        let opened = client_async_tls_with_config(url, near, None, trust).await;
                        left.join().unwrap();
                        on_a_task(opened.unwrap().0).await
                    })
                }),
            ],
        );
    }
}
