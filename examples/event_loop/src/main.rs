//! An echo server on `tickwire-loop`: thousands of connections on one thread, or on a few.
//!
//! ```text
//! cargo run --release -p event_loop -- --listen 127.0.0.1:9001
//! cargo run --release -p event_loop -- --io-uring --threads 2
//! cargo run --release -p event_loop -- --tls-cert C.pem --tls-key K.pem
//! ```
#[path = "../../echo_server/tls/load.rs"]
mod tls;

use event_loop::{Service, bind, run};
use lexopt::{Arg::Long, Parser, ValueExt};
use std::{
    error::Error,
    io,
    net::SocketAddr,
    num::NonZero,
    process::{self, ExitCode},
    thread,
};

const USAGE: &str = "\
Usage: event_loop [OPTIONS]

  --listen ADDR     where to listen (127.0.0.1:9001)
  --tls-cert FILE   serve wss with this certificate chain, in PEM
  --tls-key FILE    and this key, in PEM
  --threads N       a loop in each of N threads, all on one port (1); more than 1: not on Windows
  --io-uring        by io_uring in place of epoll (Linux 6.1), where the kernel lets us
  --help            this

One address may have all 65,536 connections of a loop: for the loopback.
";

struct Options {
    listen: SocketAddr,
    threads: usize,
    service: Service,
}

impl Options {
    /// `None` for `--help`.
    fn read() -> Result<Option<Self>, Box<dyn Error>> {
        let (mut listen, mut threads) =
            (SocketAddr::from(([127, 0, 0, 1], 9001)), NonZero::<usize>::MIN);
        let (mut cert, mut key, mut service) = (None, None, Service::default());
        let mut arguments = Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("listen") => listen = arguments.value()?.parse()?,
                Long("tls-cert") => cert = Some(arguments.value()?.string()?),
                Long("tls-key") => key = Some(arguments.value()?.string()?),
                Long("threads") => threads = arguments.value()?.parse()?,
                Long("io-uring") => service.io_uring = true,
                Long("help") => return Ok(None),
                _ => return Err(argument.unexpected().into()),
            }
        }
        service.shares_port = threads.get() > 1;
        service.tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(tls::load(&cert, &key)?),
            (None, None) => None,
            _ => return Err("--tls-cert and --tls-key belong together".into()),
        };
        Ok(Some(Self { listen, threads: threads.get(), service }))
    }
}

/// Serves until a loop fails.
fn serve(options: &Options) -> io::Result<()> {
    let Options { mut listen, threads, ref service } = *options;
    let scheme = if service.tls.is_some() { "wss" } else { "ws" };
    let (mut net, address) = bind(listen, service)?;
    listen = address; // with the port that all loops share
    if service.io_uring && !net.net().uses_io_uring() {
        eprintln!("event_loop: this kernel has no io_uring for us, so this is epoll");
    }
    for _ in 1..threads {
        let (net, _) = bind(listen, service)?;
        thread::spawn(|| {
            if let Err(error) = run(net) {
                eprintln!("event_loop: {error}");
                process::exit(1);
            }
        });
    }
    println!("listening on {scheme}://{listen}");
    run(net)
}

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("event_loop: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("event_loop: {error}");
            ExitCode::FAILURE
        }
    }
}
