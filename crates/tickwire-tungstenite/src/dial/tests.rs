//! Tests the race with silent, closed and open addresses, and with no address.
#![allow(clippy::unwrap_used)]
use super::*;
use ::tokio::runtime::Builder;
use std::net::TcpListener;

use testkit::{tasks::silent, threads::closed};

const HERE: &str = "127.0.0.1:0";

/// Dials in a thread and in a task, and returns the address that each reaches. The task's runtime
/// has no timers.
fn dialed(addresses: &[SocketAddr]) -> [io::Result<SocketAddr>; 2] {
    let addresses = || addresses.iter().copied();
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let on_tokio = runtime.block_on(tokio::connect(addresses()));
    [connect(addresses()).and_then(|tcp| tcp.peer_addr()), on_tokio.and_then(|tcp| tcp.peer_addr())]
}

/// Without the race, the silent address would take two minutes.
#[test]
fn a_silent_address_costs_its_head_start_and_a_closed_one_nothing() {
    let (silent, _full) = silent();
    let listener = TcpListener::bind(HERE).unwrap();
    let open = listener.local_addr().unwrap();
    let (closed, _held) = closed();
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
