//! An address that does not answer, for the unit tests of the two crates that dial over tokio. Each
//! takes this file by its path.
use ::tokio::{net::TcpSocket, runtime::Builder};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Returns an address that does not answer: the backlog of its socket stays full until the second
/// returned value is dropped.
pub(crate) fn silent() -> (SocketAddr, impl Sized) {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let waiting = std::vec::Vec::from_iter(std::iter::from_fn(connect));
    (address, (listener, waiting, runtime))
}
