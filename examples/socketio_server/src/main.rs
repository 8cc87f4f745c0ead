//! A server for the official `socket.io-client`. See `README.md` and `--help`; `programs.rs` has what
//! it serves, and `lib.rs` says what is where.
//!
//! The first line on standard output is `listening on ADDR`, with the port that was really taken.
//! SIGTERM and SIGINT close each WebSocket with 1001 and each poll with 503, after which clients
//! connect again by themselves.
use lexopt::{Arg, Parser, ValueExt};
use socketio_server::{
    io::Io,
    programs,
    server::{Service, bind},
    settings::Settings,
};
use std::{
    error::Error,
    fmt,
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};
use tickwire::handshake::server::Origins;
use tokio::{runtime::Builder, sync::watch};

const HELP: &str = "\
A server for Socket.IO clients of the versions 1 to 4.

Usage: socketio_server [OPTION]... [PROGRAM]...

PROGRAM is one of: message, salutations, channel, chat, greeting, binary, echo [all of them]

  --listen ADDR         where to listen [127.0.0.1:9005]; with port 0 on any free port
  --path PATH           where requests go [/socket.io/]
  --origin ORIGIN       allow browsers this origin only, such as https://example.com;
                        again for more [all]
  --ping-interval MS    from a pong to the next ping [25000]
  --ping-timeout MS     from a ping to its pong [20000]
  --max-sessions N      the most clients [10000]
  --max-per-address N   the most clients from one address [100]
  --behind-proxy        clients have the addresses that a proxy puts into X-Forwarded-For
  --help                this text
";

/// Where to listen, and what to serve; `None` if help was asked for.
fn options() -> Result<Option<(SocketAddr, Io)>, Box<dyn Error>> {
    let mut listen = ([127, 0, 0, 1], 9005).into();
    let (mut origins, mut chosen) = (Vec::new(), Vec::new());
    let mut settings = Settings::default();
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("listen") => listen = address(&parser.value()?.string()?)?,
            Arg::Long("path") => settings.path = path(parser.value()?.string()?)?,
            Arg::Long("origin") => origins.push(parser.value()?.string()?.to_ascii_lowercase()),
            Arg::Long("ping-interval") => settings.ping_interval = milliseconds(&mut parser)?,
            Arg::Long("ping-timeout") => settings.ping_timeout = milliseconds(&mut parser)?,
            Arg::Long("max-sessions") => settings.max_sessions = parser.value()?.parse()?,
            Arg::Long("max-per-address") => settings.max_per_address = parser.value()?.parse()?,
            Arg::Long("behind-proxy") => settings.behind_proxy = true,
            Arg::Value(name) => {
                let found = programs::ALL.iter().find(|(known, _)| name == *known);
                chosen.push(found.ok_or_else(|| format!("{name:?} is no program"))?);
            }
            Arg::Short('h') | Arg::Long("help") => {
                write!(io::stdout(), "{HELP}")?;
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if !origins.is_empty() {
        Origins::new(&origins)?; // each is one
        settings.origins = Some(origins.iter().filter_map(|origin| origin.parse().ok()).collect());
    }
    if chosen.is_empty() {
        chosen.extend(&programs::ALL);
    }
    let mut io = Io::new(settings);
    for (_, program) in chosen {
        program(&mut io);
    }
    Ok(Some((listen, io)))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    found.next().ok_or_else(|| format!("{text}: no address"))
}

fn path(text: String) -> Result<String, String> {
    if text.starts_with('/') { Ok(text) } else { Err(format!("{text}: a path begins with /")) }
}

fn milliseconds(parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    parser.value()?.parse::<u32>().map(|ms| Duration::from_millis(u64::from(ms.max(1))))
}

fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}"); // nobody may be reading
}

fn main() -> ExitCode {
    let (listen, io) = match options() {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(options)) => options,
        Err(error) => {
            log(format_args!("error: {error}; see --help"));
            return ExitCode::from(2);
        }
    };
    let runtime = Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(listen, io))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {listen}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal says to stop.
async fn serve(listen: SocketAddr, io: Io) -> io::Result<()> {
    let stopped = signals()?;
    let (listener, address) = bind(listen).await?;
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
