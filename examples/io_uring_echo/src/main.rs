//! An echo server on io_uring: the core fed from buffers that the kernel picks when bytes arrive
//! (multishot receive, provided buffers), on one thread. Linux 6.1 or later.
//!
//! ```text
//! cargo run --release -p io_uring_echo -- --listen 127.0.0.1:9001
//! cargo run --release -p io_uring_echo -- --listen 127.0.0.1:9001 --tls-cert C.pem --tls-key K.pem
//! ```
//!
//! `ring.rs` is io_uring, `server.rs` the loop, `peer.rs` what a connection does with what came, `layer.rs` TLS below
//! it. What it costs beside tokio is in `benches/README.md`. Many systems forbid io_uring (containers, as a
//! rule): it then says so.
#[cfg(target_os = "linux")]
mod layer;
#[cfg(target_os = "linux")]
#[path = "../../event_loop/src/options.rs"]
mod options;
#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod server;
#[cfg(all(test, target_os = "linux"))]
mod start;
#[cfg(all(test, target_os = "linux"))]
#[path = "../../event_loop/src/tests.rs"]
mod tests;
#[cfg(all(test, target_os = "linux"))]
#[path = "../../event_loop/src/wss_tests.rs"]
mod wss_tests;

#[cfg(target_os = "linux")]
use io_uring_echo::ring;

const USAGE: &str = "\
Usage: io_uring_echo [--listen ADDRESS:PORT] [--tls-cert FILE --tls-key FILE]

Nothing bounds how many peers come: for the loopback. See the example `bounded`.";

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("io_uring is Linux's\n\n{USAGE}");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use options::Options;
    use std::{fs, process::ExitCode};

    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("io_uring_echo: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let scheme = options.scheme();
    let config = tickwire::Config::default();
    let server = server::Server::bind(options.listen, config, options.tls);
    let bound = server.and_then(|server| Ok((server.addr()?, server)));
    let error = match bound {
        Ok((addr, server)) => {
            println!("listening on {scheme}://{addr}");
            server.run()
        }
        Err(error) => error,
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    eprintln!("io_uring_echo: {error} (Linux {})", kernel.trim());
    ExitCode::FAILURE
}
