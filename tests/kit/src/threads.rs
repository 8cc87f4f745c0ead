//! For tests that block.
use crate::PATIENCE;
use socket2::{Domain, Socket, Type};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
};

/// A thread as std's, with the name of the thread that starts it, so that a panic names the test.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_as(thread::current().name().unwrap_or_default(), work)
}

/// Compiled once for each `T`, and not for each of a thousand closures.
pub fn spawn_as<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let work: Box<dyn FnOnce() -> T + Send> = Box::new(work);
    thread::Builder::new().name(name.into()).spawn(work).unwrap()
}

/// Runs a test in a thread of its own, and fails when that hangs.
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    bounded_once(Box::new(test));
}

/// It is compiled once, and not for each test.
fn bounded_once(test: Box<dyn FnOnce() + Send>) {
    let (done, finished) = mpsc::channel();
    let thread = spawn(move || {
        test();
        let _ = done.send(());
    });
    match finished.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Returns an address that refuses, and that nobody else gets until the second returned value is
/// dropped.
pub fn closed() -> (SocketAddr, impl Sized) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

thread_local! {
    /// One for all pairs of a thread: pairs on a port of their own each would use up the ports, of
    /// which a closed pair keeps its own for a minute.
    static LISTENER: TcpListener = TcpListener::bind("127.0.0.1:0").unwrap();
}

/// Both ends of a TCP connection over loopback.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let (near, far) = LISTENER.with(|listener| {
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    });
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}
