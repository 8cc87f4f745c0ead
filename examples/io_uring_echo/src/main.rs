//! An echo server on io_uring: the core fed from buffers that the kernel picks when bytes arrive
//! (multishot receive, provided buffers), on one thread. Linux 6.1 or later.
//!
//! ```text
//! cargo run --release -p io_uring_echo -- --listen 127.0.0.1:9001
//! cargo run --release -p io_uring_echo -- --listen 127.0.0.1:9001 --tls-cert C.pem --tls-key K.pem
//! ```
//!
//! What it is made of is in `lib.rs`. Many systems forbid io_uring (containers, as a rule): it then says so.
#[cfg(target_os = "linux")]
#[path = "../../event_loop/src/options.rs"]
mod options;

const USAGE: &str = "\
Usage: io_uring_echo [--listen ADDRESS:PORT] [--tls-cert FILE --tls-key FILE]

Nothing bounds how many peers come: for the loopback. See the example `bounded`.";

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("io_uring is Linux's\n\n{USAGE}");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use io_uring_echo::server::Server;
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
    let server = Server::bind(options.listen, config, options.tls);
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
