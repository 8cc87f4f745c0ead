//! A server for the official `socket.io-client`, over the WebSocket transport.
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
//! const socket = io("http://127.0.0.1:9005", { transports: ["websocket"] });
//! console.log(await socket.emitWithAck("echo", 1, { bytes: new Uint8Array([1, 2, 3]) }));
//! socket.on("said", (text) => console.log(text));
//! await socket.emitWithAck("join", "tea");
//! ```
//!
//! ```python
//! import socketio
//! client = socketio.Client()
//! client.connect("http://127.0.0.1:9005", transports=["websocket"])
//! print(client.call("echo", (1, {"bytes": b"\x01\x02\x03"})))
//! ```
//!
//! A message may have 1 MB, a packet with its attachments 4 MB, and 10 attachments. Who does not read
//! the answers is not asked for more; who does not read what a room says is disconnected at 12 MB.
//! Pages of all origins are let in unless `--origin` names some: `server.rs` says why, and what of
//! CORS.
//!
//! What the layer costs (`--measure`; two idle virtual cores): a text of 62 bytes echoed in memory,
//! both ends' work, takes 48 ns as a plain frame and 505 ns as an acknowledged event; 1,000 bytes of
//! binary 72 and 918 ns, since that is two messages each way. Over loopback, with the system's part
//! of it, 0.7 and 1.2 µs, 0.8 and 2.3 µs.
//!
//! There is no HTTP long-polling, so clients have to be told to use WebSocket at once, as here.
//! SIGTERM and SIGINT close each connection with 1001, after which clients connect again by
//! themselves. The library part is in `lib.rs`, which says what is where.
use lexopt::{Arg, Parser, ValueExt};
use socketio_server::{
    app::App,
    measure,
    server::{Service, bind},
    session::{Settings, Shared},
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
A server for Socket.IO clients, over the WebSocket transport.

Usage: socketio_server [OPTION]...

  --listen ADDR         where to listen [127.0.0.1:9005]; with port 0 on any free port
  --origin ORIGIN       allow browsers this origin only, such as https://example.com;
                        again for more [all]
  --token TOKEN         what the namespace /admin wants to be shown [secret]
  --ping-interval MS    from a pong to the next ping [25000]
  --ping-timeout MS     from a ping to its pong [20000]
  --connect-timeout MS  from the opening to the first namespace joined [45000]
  --max-payload BYTES   the longest message [1000000]
  --measure             measure what the layer costs against plain frames, and end
  --help                this text

Nothing bounds how many peers come: for the loopback. See the example `bounded`.
";

struct Options {
    listen: SocketAddr,
    origins: Option<Origins>,
    token: String,
    settings: Settings,
    measure: bool,
}

impl Options {
    /// `None` if help was asked for.
    fn from_args() -> Result<Option<Self>, Box<dyn Error>> {
        let mut options = Self {
            listen: ([127, 0, 0, 1], 9005).into(),
            origins: None,
            token: "secret".into(),
            settings: Settings::default(),
            measure: false,
        };
        let mut origins: Vec<String> = Vec::new();
        let mut parser = Parser::from_env();
        while let Some(arg) = parser.next()? {
            let settings = &mut options.settings;
            match arg {
                Arg::Long("listen") => options.listen = address(&parser.value()?.string()?)?,
                Arg::Long("origin") => origins.push(parser.value()?.string()?),
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
                Arg::Long("measure") => options.measure = true,
                Arg::Short('h') | Arg::Long("help") => {
                    write!(io::stdout(), "{HELP}")?;
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        if !origins.is_empty() {
            options.origins = Some(Origins::new(&origins)?);
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
    let service = Service::new(Shared::new(App { token: options.token }, options.settings));
    let service = match options.origins {
        Some(origins) => service.origins(origins),
        None => service,
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
