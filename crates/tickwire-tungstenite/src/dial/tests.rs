//! Addresses that do not answer, refuse or do not exist, before one that answers.
#![allow(clippy::unwrap_used)]
use super::*;
use ::tokio::{net::TcpSocket, runtime::Builder};
use std::net::TcpListener;

const HERE: &str = "127.0.0.1:0";

/// An address that does not answer: the backlog of its socket is full until the second value is
/// dropped.
fn silent() -> (SocketAddr, impl Sized) {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(HERE.parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let waiting: Vec<_> = std::iter::from_fn(connect).collect();
    (address, (listener, waiting, runtime))
}

/// The address that a thread and a task reach. The task's runtime has no timers.
fn dialed(addresses: &[SocketAddr]) -> [io::Result<SocketAddr>; 2] {
    let addresses = || addresses.iter().copied();
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let on_tokio = runtime.block_on(tokio::connect(addresses()));
    [connect(addresses()).and_then(|tcp| tcp.peer_addr()), on_tokio.and_then(|tcp| tcp.peer_addr())]
}

/// Without the race, the silent address would take two minutes.
#[test]
fn a_silent_address_costs_its_head_start_and_a_closed_one_nothing() {
    let (silent, _held) = silent();
    let listener = TcpListener::bind(HERE).unwrap();
    let open = listener.local_addr().unwrap();
    let closed = TcpListener::bind(HERE).unwrap().local_addr().unwrap();
    for addresses in [&[silent, closed, open][..], &[closed, open, silent], &[open]] {
        let began = Instant::now();
        for reached in dialed(addresses) {
            assert_eq!(reached.unwrap(), open);
        }
        let silence = if addresses.first() == Some(&silent) { 2 * DELAY } else { Duration::ZERO };
        assert!(began.elapsed() >= silence);
    }
    let [thread, task] = dialed(&[closed, closed]).map(|error| error.unwrap_err().kind());
    assert_eq!((thread, task), (io::ErrorKind::ConnectionRefused, thread));
    let [thread, task] = dialed(&[]).map(|error| error.unwrap_err().kind());
    assert_eq!((thread, task), (io::ErrorKind::InvalidInput, thread));
}
