//! The server under test.
use crate::server::Server;
use std::{net::SocketAddr, sync::Arc, thread};
use tickwire::{Config, tls::rustls::ServerConfig};

/// A server in a thread, which ends with the test.
pub(crate) fn start(config: Config, tls: Option<Arc<ServerConfig>>) -> Option<SocketAddr> {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut server = Server::bind(here, config, tls).expect("a port");
    let addr = server.addr().expect("it is bound");
    thread::spawn(move || server.run().expect("the system can wait"));
    Some(addr)
}
