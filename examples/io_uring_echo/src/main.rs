//! An echo server on io_uring: the core fed from buffers that the kernel picks when bytes arrive
//! (multishot receive, provided buffers), on one thread. Linux 6.1 or later.
//!
//! ```text
//! cargo run --release -p io_uring_echo -- --listen 127.0.0.1:9001
//! ```
//!
//! `ring.rs` is io_uring, `server.rs` the loop, `peer.rs` what a connection does with what came. What it
//! costs beside tokio is in `benches/README.md`. Many systems forbid io_uring (containers, as a
//! rule): it then says so.
#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod server;
#[cfg(all(test, target_os = "linux"))]
mod start;
#[cfg(all(test, target_os = "linux"))]
#[path = "../../event_loop/src/tests.rs"]
mod tests;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("io_uring is Linux's");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::{env, fs, net::SocketAddr, process::ExitCode};

    let arguments: Vec<String> = env::args().skip(1).collect();
    let addr = match &arguments[..] {
        [] => Some(SocketAddr::from(([127, 0, 0, 1], 9001))),
        [option, addr] if option == "--listen" => addr.parse().ok(),
        _ => None,
    };
    let Some(addr) = addr else {
        eprintln!(
            "Usage: io_uring_echo [--listen ADDRESS:PORT]\n\nNothing bounds how many peers come: for the loopback. See the example `bounded`."
        );
        return ExitCode::from(2);
    };
    let server = server::Server::bind(addr, tickwire::Config::default());
    let bound = server.and_then(|server| Ok((server.addr()?, server)));
    let error = match bound {
        Ok((addr, server)) => {
            println!("listening on ws://{addr}");
            server.run()
        }
        Err(error) => error,
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    eprintln!("io_uring_echo: {error} (Linux {})", kernel.trim());
    ExitCode::FAILURE
}
