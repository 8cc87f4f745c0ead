//! Servers that are loops of their own, without a runtime: the examples, as they are there.
use std::net::SocketAddr;
use std::sync::Arc;

use tickwire::Config;
use tickwire::tls::rustls::ServerConfig;

pub const NAMES: [&str; 2] = [EVENT, URING];
const EVENT: &str = "tickwire-event-loop";
const URING: &str = "tickwire-io-uring";

/// Serves echoes for ever, over TLS if told to, on a port of its own, which the parent reads.
pub fn serve(name: &str, tls: Option<Arc<ServerConfig>>) {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    match name {
        EVENT => {
            let server = event_loop::server::Server::bind(here, Config::default(), tls);
            let mut server = server.expect("a port is free");
            println!("{}", server.addr().expect("it is bound").port());
            server.run().expect("the system can wait");
        }
        URING => {
            let server = io_uring_echo::server::Server::bind(here, Config::default(), tls);
            let server = server.expect("this kernel has io_uring for us");
            println!("{}", server.addr().expect("it is bound").port());
            panic!("{}", server.run());
        }
        _ => panic!("no loop is named {name}; there are {NAMES:?}"),
    }
}
