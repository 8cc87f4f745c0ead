//! For tests on tokio.
use crate::PATIENCE;
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};
use tokio::{net::TcpSocket, runtime::Builder};

/// Fails instead of hanging. Under paused time an idle runtime gets here at once, so it is longer
/// than any deadline under test.
pub async fn bounded<F: Future>(future: F) -> F::Output {
    let long = Duration::from_secs(100_000);
    let paused = {
        let before = tokio::time::Instant::now();
        let std = std::time::Instant::now();
        std::thread::sleep(Duration::from_micros(50));
        before.elapsed().is_zero() && !std.elapsed().is_zero()
    };
    tokio::time::timeout(if paused { long } else { PATIENCE }, future)
        .await
        .expect("the test hangs")
}

/// Returns an address that does not answer: the backlog of its socket stays full until the second
/// returned value is dropped.
pub fn silent() -> (SocketAddr, impl Sized) {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // At least one has a place. It is waited for, as a busy machine may need longer than the others
    // are given, of which the first without a place gets no answer.
    let first = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let waiting: Vec<_> = std::iter::once(first).chain(std::iter::from_fn(connect)).collect();
    (address, (listener, waiting, runtime))
}
