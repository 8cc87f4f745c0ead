//! A server for the official `socket.io-client`. See `README.md` and `--help`; `programs.rs` has
//! what it serves, and `lib.rs` says what is where.
//!
//! The first line on standard output is `listening on ADDR`, with the port that was really taken.
//! SIGTERM and SIGINT close each WebSocket with 1001 and each poll with 503, after which clients
//! connect again by themselves.
use arguments::{Arguments, cannot_listen, log, refuse};
use socketio_server::{
    io::Io,
    programs,
    server::{Service, bind},
    settings::Settings,
};
use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};
use tickwire::handshake::server::Origins;
use tokio::{runtime::Builder, sync::watch};

const HELP: &str = "\
A server for Socket.IO clients of the versions 1 to 4.

Usage: socketio_server [OPTION]... [PROGRAM]...

  PROGRAM...            message, salutations, channel, chat, greeting, binary or echo; again for
                        more (else all of them)
  --listen ADDR         where to listen [127.0.0.1:9005]; with port 0 on any free port
  --path PATH           where requests go [/socket.io/]
  --origin ORIGIN       allow browsers this origin only, such as https://example.com;
                        again for more (else all)
  --ping-interval MS    from a pong to the next ping [25000]
  --ping-timeout MS     from a ping to its pong [20000]
  --max-sessions N      the most clients [10000]
  --max-per-address N   the most clients from one address [100]
  --behind-proxy        clients have the addresses that a proxy puts into X-Forwarded-For
  --help                this text
";

/// Where to listen, and what to serve.
fn options() -> (SocketAddr, Io) {
    let args = Arguments::read(HELP);
    let milliseconds = |name| Duration::from_millis(args.number(name, 1..=u64::from(u32::MAX)));
    let origins = args.has("--origin").then(|| {
        let origins: Vec<_> =
            args.all("--origin").iter().map(|origin| origin.to_ascii_lowercase()).collect();
        if let Err(error) = Origins::new(&origins) {
            refuse(format_args!("--origin: {error}"));
        }
        origins.iter().filter_map(|origin| origin.parse().ok()).collect()
    });
    let mut io = Io::new(Settings {
        path: args.read_by("--path", |path| {
            path.starts_with('/').then(|| path.to_owned()).ok_or("a path begins with /")
        }),
        origins,
        ping_interval: milliseconds("--ping-interval"),
        ping_timeout: milliseconds("--ping-timeout"),
        max_sessions: args.number("--max-sessions", 0..=usize::MAX),
        max_per_address: args.number("--max-per-address", 0..=usize::MAX),
        behind_proxy: args.has("--behind-proxy"),
        ..Settings::default()
    });
    let chosen = args.all("PROGRAM");
    for name in &chosen {
        if !programs::ALL.iter().any(|(known, _)| name == known) {
            refuse(format_args!("{name:?} is no program"));
        }
    }
    for (name, program) in programs::ALL {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            program(&mut io);
        }
    }
    (args.address("--listen"), io)
}

fn main() -> ExitCode {
    let (listen, io) = options();
    let runtime = Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(listen, io))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal says to stop.
async fn serve(listen: SocketAddr, io: Io) -> io::Result<()> {
    let stopped = signals()?;
    let (listener, address) = bind(listen).await.map_err(cannot_listen(listen))?;
    writeln!(io::stdout(), "listening on {address}")?;
    let (running, stop) = watch::channel(());
    let serving = tokio::spawn(Service::new(io).serve(listener, stop, log));
    stopped.await;
    drop(running);
    Ok(serving.await?)
}

/// The signals that ask a program to end.
#[cfg(unix)]
fn signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signals() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await // there is no such signal to wait for
        }
    })
}
