//! The server under test.
use crate::server::Server;
use std::{net::SocketAddr, thread};
use tickwire::Config;

/// A server in a thread, which ends with the test.
pub(crate) fn start(config: Config) -> Option<SocketAddr> {
    let mut server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).expect("a port");
    let addr = server.addr().expect("it is bound");
    thread::spawn(move || server.run().expect("the system can wait"));
    Some(addr)
}
