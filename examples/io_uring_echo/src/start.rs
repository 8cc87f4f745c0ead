//! The server under test.
use crate::server::Server;
use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
};
use tickwire::{Config, tls::rustls::ServerConfig};

/// A server in a thread, which ends with the test. Where there is no io_uring, the test is skipped.
pub(crate) fn start(config: Config, tls: Option<Arc<ServerConfig>>) -> Option<SocketAddr> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        match Server::bind(here, config, tls) {
            Ok(server) => {
                tell.send(server.addr()).expect("the test waits");
                panic!("the kernel fails: {}", server.run());
            }
            Err(error) => tell.send(Err(error)).expect("the test waits"),
        }
    });
    match told.recv().expect("it says so") {
        Ok(addr) => Some(addr),
        Err(error) => {
            eprintln!("skipped: no io_uring here: {error}");
            None
        }
    }
}
