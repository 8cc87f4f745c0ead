//! Accepts a request without saying how.
use tickwire::{blocking, tokio::Incoming};
use tokio::net::TcpStream;

fn accept(incoming: Incoming<TcpStream>, thread: blocking::Incoming<std::net::TcpStream>) {
    drop(incoming.accept());
    thread.accept().unwrap();
}

fn main() {
    let _ = accept;
}
