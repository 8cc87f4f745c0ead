//! `leave` towards a peer that accepts and never reads again, over TCP and TLS on loopback: a call
//! that waits for the peer hangs.
use crate::support::placed::placed;
use crate::support::{
    blocking::{bounded, patient, took},
    tls::{Authority, async_tcp, product, runtime, tcp_pair, wait},
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
#[cfg(feature = "futures")]
use std::net::TcpStream;
use std::{
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
#[cfg(feature = "futures")]
use tickwire::futures_io as smol;
use tickwire::{
    CloseCode, Closed, Connection, Error, Negotiated, RecvError,
    blocking::{self, Stream},
    tokio as on_tokio,
};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

const BOUNDS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(30)];

/// No deadline but the bound of `leave` ends it in this test's time.
fn conn() -> Connection {
    Connection::server(&patient(), Negotiated::default())
}

/// More than the buffers of a socket and of TLS take.
const LARGE: usize = 8 << 20;

fn was_left(end: Option<Closed<'_>>, tx: &tickwire::Sender, blocked: bool) {
    let end = end.unwrap();
    assert_eq!(end.error, Some(RecvError::CloseTimeout));
    // A socket that is not full takes our Close.
    assert_eq!(end.sent_code, if blocked { 1006 } else { 1001 });
    assert_eq!(tx.dropped() > 0, blocked);
}

async fn on_a_task<S: AsyncRead + AsyncWrite + Unpin>(io: S, within: Duration, blocked: bool) {
    let mut ws = on_tokio::WebSocket::from_parts(io, conn());
    if blocked {
        ws.send("the runtime knows of the stream").await.unwrap();
        let _ = ws.feed(vec![7; LARGE]).unwrap();
        while ws.connection().poll_timeout().is_none() {
            let _ = timeout(Duration::from_millis(10), ws.flush()).await;
        }
    }
    let began = Instant::now();
    ws.leave(CloseCode::GOING_AWAY, within).await.unwrap();
    took(began, within);
    was_left(ws.closed(), ws.sender(), blocked);
}

fn on_a_thread<S: Stream>(io: S, within: Duration, blocked: bool) {
    let mut ws = blocking::WebSocket::from_parts(io, conn());
    if blocked {
        let _ = ws.feed(vec![7; LARGE]).unwrap();
        ws.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
        assert!(matches!(ws.flush(), Err(Error::WouldBlock)));
    }
    let began = Instant::now();
    ws.leave(CloseCode::GOING_AWAY, within).unwrap();
    took(began, within);
    was_left(ws.closed(), ws.sender(), blocked);
}

#[cfg(feature = "futures")]
fn on_smol(io: TcpStream, within: Duration) {
    let io = async_net::TcpStream::try_from(io).unwrap();
    let mut ws = smol::WebSocket::from_parts(io, async_io::Timer::at, conn());
    let began = Instant::now();
    async_io::block_on(ws.leave(CloseCode::GOING_AWAY, within)).unwrap();
    took(began, within);
    was_left(ws.closed(), ws.sender(), false);
}

/// A thread that holds the peer's end until the `Sender` is dropped.
fn frozen<S: Send + 'static>(
    end: impl FnOnce() -> S + Send + 'static,
) -> (Sender<()>, JoinHandle<()>) {
    let (hold, held) = channel();
    let frozen = thread::spawn(move || {
        let end = end();
        assert!(held.recv().is_err());
        drop(end);
    });
    (hold, frozen)
}

#[test]
fn a_frozen_server_is_left_in_time_over_tcp() {
    bounded(|| {
        let runtime = runtime();
        for within in BOUNDS {
            for (blocked, on_tokio) in product([false, true], [false, true]) {
                let (near, far) = tcp_pair();
                let (hold, held) = frozen(move || far);
                match on_tokio {
                    true => {
                        let tcp = async_tcp(&runtime, near);
                        wait(&runtime, on_a_task(tcp, within, blocked));
                    }
                    false => on_a_thread(near, within, blocked),
                }
                drop(hold);
                held.join().unwrap();
            }
            #[cfg(feature = "futures")]
            {
                let (near, far) = tcp_pair();
                let (hold, held) = frozen(move || far);
                on_smol(near, within);
                drop(hold);
                held.join().unwrap();
            }
        }
    });
}

#[test]
fn a_frozen_server_is_left_in_time_over_tls() {
    bounded(|| {
        let (authority, runtime) = (Authority::new(), runtime());
        let (server, client) = (authority.server(), authority.client());
        for within in BOUNDS {
            for (on_tokio, blocked) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let (near, far) = tcp_pair();
                let client = client.clone();
                let (hold, held) = frozen(move || {
                    let name = "localhost".try_into().unwrap();
                    let tls = ClientConnection::new(client, name).unwrap();
                    let mut tls = StreamOwned::new(tls, far);
                    tls.conn.complete_io(&mut tls.sock).unwrap();
                    tls
                });
                if on_tokio {
                    let tcp = async_tcp(&runtime, near);
                    let mut io = on_tokio::TlsStream::server(tcp, placed(server.clone())).unwrap();
                    wait(&runtime, io.handshake()).unwrap();
                    wait(&runtime, on_a_task(io, within, blocked));
                } else {
                    let mut io = blocking::TlsStream::server(near, placed(server.clone())).unwrap();
                    io.handshake().unwrap();
                    on_a_thread(io, within, blocked);
                }
                drop(hold);
                held.join().unwrap();
            }
        }
    });
}
