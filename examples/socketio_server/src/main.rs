//! A server for the official `socket.io-client`.
//!
//! ```text
//! cargo run --release -p socketio_server -- --listen 127.0.0.1:9005
//! cargo run --release -p socketio_server -- --measure
//! ```
//!
//! The first line on standard output is `listening on ADDR`, with the port that was really taken.
//!
//! | event | does | acknowledged with |
//! |---|---|---|
//! | `echo ..` | without an acknowledgement asked for, it comes back as `echo ..` | its arguments, binary included |
//! | `join ROOM`, `leave ROOM` | rooms are those of the namespace | `{status: "ok"}`, or `"error"` and a `message` |
//! | `say ROOM TEXT` | the others in the room get `said TEXT` | the same |
//! | `ask EVENT ..` | sends the client `EVENT ..` | what the client acknowledged that with |
//!
//! The namespace `/admin` wants `{token: "secret"}` as `auth`. Other events are not acknowledged.
//!
//! ```js
//! import { io } from "socket.io-client";
//! const socket = io("http://127.0.0.1:9005");
//! console.log(await socket.emitWithAck("echo", 1, { bytes: new Uint8Array([1, 2, 3]) }));
//! socket.on("said", (text) => console.log(text));
//! await socket.emitWithAck("join", "tea");
//! ```
//!
//! ```python
//! import socketio
//! client = socketio.Client()
//! client.connect("http://127.0.0.1:9005")
//! print(client.call("echo", (1, {"bytes": b"\x01\x02\x03"})))
//! ```
//!
//! SIGTERM and SIGINT close each WebSocket with 1001 and each poll with 503, after which clients
//! connect again by themselves. What there is, how it is bounded and what it costs, says `README.md`;
//! what is where, `lib.rs`.
use lexopt::{Arg, Parser, ValueExt};
use socketio_server::{
    app::App,
    measure,
    server::{Service, bind},
    session::Shared,
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
use tokio::{runtime::Builder, sync::watch};

const HELP: &str = "\
A server for Socket.IO clients, those of version 2 too.

Usage: socketio_server [OPTION]...

  --listen ADDR         where to listen [127.0.0.1:9005]; with port 0 on any free port
  --origin ORIGIN       allow browsers this origin only, such as https://example.com;
                        again for more [all]
  --token TOKEN         what the namespace /admin wants to be shown [secret]
  --ping-interval MS    from a pong to the next ping [25000]
  --ping-timeout MS     from a ping to its pong [20000]
  --connect-timeout MS  from the opening to the first namespace joined [45000]
  --max-payload BYTES   the longest message, and the longest body of a request [1000000]
  --max-sessions N      the most clients [10000]
  --measure             measure what the layer costs against plain frames, and end
  --help                this text

Nothing bounds how many come from one address: for the loopback. See the example `bounded`.
";

struct Options {
    listen: SocketAddr,
    origins: Vec<String>,
    token: String,
    settings: Settings,
    measure: bool,
}

impl Options {
    /// `None` if help was asked for.
    fn from_args() -> Result<Option<Self>, Box<dyn Error>> {
        let mut options = Self {
            listen: ([127, 0, 0, 1], 9005).into(),
            origins: Vec::new(),
            token: "secret".into(),
            settings: Settings::default(),
            measure: false,
        };
        let mut parser = Parser::from_env();
        while let Some(arg) = parser.next()? {
            let settings = &mut options.settings;
            match arg {
                Arg::Long("listen") => options.listen = address(&parser.value()?.string()?)?,
                Arg::Long("origin") => options.origins.push(parser.value()?.string()?),
                Arg::Long("token") => options.token = parser.value()?.string()?,
                Arg::Long("ping-interval") => settings.ping_interval = milliseconds(&mut parser)?,
                Arg::Long("ping-timeout") => settings.ping_timeout = milliseconds(&mut parser)?,
                Arg::Long("connect-timeout") => {
                    settings.connect_timeout = milliseconds(&mut parser)?;
                }
                Arg::Long("max-payload") => {
                    settings.max_payload = parser.value()?.parse()?;
                    settings.max_packet = settings.max_packet.max(settings.max_payload);
                }
                Arg::Long("max-sessions") => {
                    settings.max_sessions = parser.value()?.parse()?;
                }
                Arg::Long("measure") => options.measure = true,
                Arg::Short('h') | Arg::Long("help") => {
                    write!(io::stdout(), "{HELP}")?;
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    found.next().ok_or_else(|| format!("{text}: no address"))
}

fn milliseconds(parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    parser.value()?.parse::<u32>().map(|ms| Duration::from_millis(u64::from(ms.max(1))))
}

fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}"); // nobody may be reading
}

fn main() -> ExitCode {
    let ended = match Options::from_args() {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(options)) => run(options),
        Err(error) => {
            log(format_args!("error: {error}; see --help"));
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    if options.measure {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(measure::run());
    }
    Builder::new_multi_thread().enable_all().build()?.block_on(serve(options))
}

/// Serves until a signal says to stop.
async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let stopped = signals()?;
    let bound = bind(options.listen).await;
    let (listener, address) = bound.map_err(|error| format!("{}: {error}", options.listen))?;
    writeln!(io::stdout(), "listening on {address}")?;
    let shared = Shared::new(App { token: options.token }, options.settings);
    let service = match &options.origins[..] {
        [] => Service::new(shared),
        origins => Service::with_origins(shared, origins)?,
    };
    let (running, stop) = watch::channel(());
    let serving = tokio::spawn(service.serve(listener, stop, log));
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
