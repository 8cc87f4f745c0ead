//! Servers that are loops, without a runtime: the example `event_loop`, as it is there.
use std::net::SocketAddr;
use std::sync::Arc;

use crate::placed::placed;
use event_loop::{Service, bind, echo};
use tickwire::tls::rustls::ServerConfig;

pub const NAMES: [&str; 2] = [EVENT, URING];
const EVENT: &str = "tickwire-event-loop";
const URING: &str = "tickwire-io-uring";

/// Serves echoes for ever, over TLS if told to, on a port of its own, which the parent reads.
pub fn serve(name: &str, tls: Option<Arc<ServerConfig>>) {
    let io_uring = match name {
        EVENT => false,
        URING => true,
        _ => panic!("no loop is named {name}; there are {NAMES:?}"),
    };
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let tls = tls.map(placed);
    let service = Service { tls, io_uring, ..Service::default() };
    let (mut net, address) = bind(here, &service).expect("a port is free");
    assert!(net.net().uses_io_uring() == io_uring, "this kernel has no io_uring for us");
    println!("{}", address.port());
    net.run(echo).expect("the system can wait");
}
