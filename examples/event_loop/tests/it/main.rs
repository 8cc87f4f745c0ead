//! The server against tickwire's own clients, against rustls, and against bytes on a socket. Each test runs over epoll, and
//! over io_uring where the kernel lets us.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod held;
mod program;
#[path = "../../../tests/examples/support_program.rs"]
mod support_program;
mod ws;
mod wss;

use event_loop::{Service, bind, run};
use std::{net::SocketAddr, sync::Arc, thread};
use tickwire::{Config, tls::rustls::ServerConfig};

/// A server in a thread for each way to wait, which ends with the test.
fn start(config: &Config, tls: Option<Arc<ServerConfig>>) -> Vec<SocketAddr> {
    let start = |io_uring| {
        let (config, tls) = (config.clone(), tls.clone());
        let service = Service { config, tls, io_uring, ..Service::default() };
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let (mut net, address) = bind(here, &service).expect("a port");
        if net.net().uses_io_uring() != io_uring {
            eprintln!("skipped: no io_uring here");
            return None;
        }
        thread::spawn(move || run(net).expect("the system can wait"));
        Some(address)
    };
    [false, true].into_iter().filter_map(start).collect()
}
