//! Runs under the [Autobahn TestSuite]: as the server that its fuzzing client tests, or as the
//! client that its fuzzing server tests. All limits are the defaults. It agrees to whatever the
//! suite wants of permessage-deflate, context takeover too.
//!
//! `checks/interop/run autobahn` installs the suite, runs it against both, and judges its reports.
//!
//! [Autobahn TestSuite]: https://github.com/crossbario/autobahn-testsuite
use arguments::{Arguments, cannot_listen};
use std::{
    error,
    fmt::Display,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};
use tickwire::{Config, deflate::Deflate};

const HELP: &str = "\
A server or client for the Autobahn TestSuite: it echoes every message with its type.

Usage: autobahn ROLE [OPTION]...

  ROLE                  server or client
  --adapter NAME        tokio, blocking, loop (tickwire-loop over mio) or loop-uring (tickwire-loop
                        over io_uring) [tokio]
  --listen ADDR         server: where to listen [127.0.0.1:9001]; with port 0 on any free port
  --connect URL         client: where the suite listens [ws://127.0.0.1:9001]
  --tls DIR             tickwire-loop: the server speaks wss with cert.pem and key.pem in DIR; the client, \
whose
                        URL begins with wss, trusts cert.pem
  --help                this text

The first line of the server is `listening on ws://ADDR`; it ends when it is killed. The client goes
through all cases, has the report written, and ends with status 0, whatever is in the report.
";

type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

struct Options {
    role: Role,
    adapter: Adapter,
    listen: SocketAddr,
    url: String,
    tls: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Role {
    Server,
    Client,
}

#[derive(Clone, Copy)]
enum Adapter {
    Tokio,
    Blocking,
    Loop { io_uring: bool },
}

fn main() -> ExitCode {
    let options = Options::read();
    let config = config();
    let ended = match (options.role, options.adapter) {
        (_, Adapter::Blocking | Adapter::Tokio) if options.tls.is_some() => {
            Err("--tls is for tickwire-loop".into())
        }
        (Role::Server, Adapter::Blocking) => on_threads::serve(options.listen, config),
        (Role::Client, Adapter::Blocking) => on_threads::run_cases(&options.url, &config),
        (Role::Server, Adapter::Loop { io_uring }) => {
            on_loop::serve(options.listen, config, options.tls, io_uring)
        }
        (Role::Client, Adapter::Loop { io_uring }) => {
            on_loop::run_cases(&options.url, config, options.tls, io_uring)
        }
        (Role::Server, Adapter::Tokio) => on_tokio::serve(options.listen, config),
        (Role::Client, Adapter::Tokio) => on_tokio::run_cases(&options.url, &config),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn config() -> Config {
    let mut deflate = Deflate::default();
    deflate.server.takeover = true;
    deflate.client.takeover = true;
    Config { deflate: Some(deflate), ..Config::default() }
}

impl Options {
    fn read() -> Self {
        let args = Arguments::read(HELP);
        let adapters = [
            ("tokio", Adapter::Tokio),
            ("blocking", Adapter::Blocking),
            ("loop", Adapter::Loop { io_uring: false }),
            ("loop-uring", Adapter::Loop { io_uring: true }),
        ];
        Self {
            role: args.one_of("ROLE", &[("server", Role::Server), ("client", Role::Client)]),
            adapter: args.one_of("--adapter", &adapters),
            listen: args.address("--listen"),
            url: args.text("--connect"),
            tls: args.optional("--tls").map(Into::into),
        }
    }
}

/// Where the suite counts its cases.
fn count(url: &str) -> String {
    format!("{url}/getCaseCount")
}

fn case(url: &str, case: u32) -> String {
    format!("{url}/runCase?case={case}&agent=tickwire")
}

/// Where the suite writes its report.
fn report(url: &str) -> String {
    format!("{url}/updateReports?agent=tickwire")
}

/// The line that programs wait for, and which may go into a pipe.
fn announce(scheme: &str, address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {scheme}://{address}")?;
    out.flush()
}

/// One line on standard error.
fn log(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

mod on_tokio {
    use super::{Result, SocketAddr, announce, cannot_listen, case, count, log, report};
    use std::sync::Arc;
    use tickwire::{
        Config, Error,
        tokio::{WebSocket, accept, connect},
    };
    use tokio::{
        io::{AsyncRead, AsyncWrite},
        net::{TcpListener, TcpStream},
    };

    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn serve(address: SocketAddr, config: Config) -> Result<()> {
        let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
        announce("ws", listener.local_addr()?)?;
        let config = Arc::new(config);
        loop {
            let (stream, _) = listener.accept().await?;
            let config = config.clone();
            tokio::spawn(async move {
                // Most cases end in an error, as they should.
                if let Err(error) = converse(stream, &config).await {
                    log(error);
                }
            });
        }
    }

    async fn converse(stream: TcpStream, config: &Config) -> Result<()> {
        stream.set_nodelay(true)?;
        Ok(echo(&mut accept(stream, config).await?).await?)
    }

    async fn echo<S>(ws: &mut WebSocket<S>) -> std::result::Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(received) = ws.recv_to_reply().await? {
            let _ = received.sender.feed(received.message)?;
        }
        Ok(())
    }

    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run_cases(url: &str, config: &Config) -> Result<()> {
        let mut ws = connect(&count(url), config).await?;
        let count = ws.recv().await?.and_then(|message| message.as_text());
        let count = count.ok_or("the suite did not say how many cases there are")?.parse()?;
        for number in 1..=count {
            let mut ws = connect(&case(url, number), config).await?;
            if let Err(error) = echo(&mut ws).await {
                log(format_args!("case {number} of {count}: {error}"));
            }
        }
        let mut ws = connect(&report(url), config).await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    }
}

mod on_threads {
    use super::{Result, SocketAddr, announce, cannot_listen, case, count, log, report};
    use std::{
        net::{TcpListener, TcpStream},
        sync::Arc,
        thread,
    };
    use tickwire::{
        Config, Error,
        blocking::{Stream, WebSocket, accept, connect},
    };

    pub(crate) fn serve(address: SocketAddr, config: Config) -> Result<()> {
        let listener = TcpListener::bind(address).map_err(cannot_listen(address))?;
        announce("ws", listener.local_addr()?)?;
        let config = Arc::new(config);
        loop {
            let (stream, _) = listener.accept()?;
            let config = config.clone();
            thread::Builder::new().spawn(move || {
                // Most cases end in an error, as they should.
                if let Err(error) = converse(stream, &config) {
                    log(error);
                }
            })?;
        }
    }

    fn converse(stream: TcpStream, config: &Config) -> std::result::Result<(), Error> {
        echo(&mut accept(stream, config)?)
    }

    fn echo<S: Stream>(ws: &mut WebSocket<S>) -> std::result::Result<(), Error> {
        while let Some(received) = ws.recv_to_reply()? {
            let _ = received.sender.feed(received.message)?;
        }
        Ok(())
    }

    pub(crate) fn run_cases(url: &str, config: &Config) -> Result<()> {
        let mut ws = connect(&count(url), config)?;
        let count = ws.recv()?.and_then(|message| message.as_text());
        let count = count.ok_or("the suite did not say how many cases there are")?.parse()?;
        for number in 1..=count {
            let mut ws = connect(&case(url, number), config)?;
            if let Err(error) = echo(&mut ws) {
                log(format_args!("case {number} of {count}: {error}"));
            }
        }
        let mut ws = connect(&report(url), config)?;
        while ws.recv()?.is_some() {}
        Ok(())
    }
}

mod on_loop {
    use super::{
        PathBuf, Result, SocketAddr, announce, cannot_listen, case, count, log, report, tls,
    };
    use std::sync::Arc;
    use tickwire::{Config, handshake::server::Accept};
    use tickwire_loop::{Dial, Door, Event, Loop, Net, Settings};

    /// Over io_uring, this fails if the kernel refuses io_uring: `checks/interop/run` looks for the
    /// text of this error.
    fn make<T>(io_uring: bool) -> Result<Loop<T>> {
        let mut net = Loop::new(Settings { io_uring, ..Settings::default() })?;
        if net.net().uses_io_uring() != io_uring {
            return Err("the kernel refuses io_uring".into());
        }
        Ok(net)
    }

    pub(crate) fn serve(
        address: SocketAddr,
        config: Config,
        tls: Option<PathBuf>,
        io_uring: bool,
    ) -> Result<()> {
        let mut net = make(io_uring)?;
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let door = tls::of_door(Door::new(config), tls)?;
        let bound = net.net().listen(address, door);
        announce(scheme, bound.map_err(cannot_listen(address))?)?;
        net.run(|net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Message { from, message, .. } => drop(net.send(from, message)),
            // Most cases end in an error, as they should.
            Event::Closed { end, .. } => log(format_args!("{end:?}")),
            _ => {}
        })?;
        Ok(())
    }

    /// What a connection to the suite is for.
    enum For {
        Count,
        Case(u32),
        Report,
    }

    pub(crate) fn run_cases(
        url: &str,
        config: Config,
        tls: Option<PathBuf>,
        io_uring: bool,
    ) -> Result<()> {
        let mut net = make(io_uring)?;
        let config = Arc::new(config);
        let secure = tls::of_dial(tls)?;
        let dial = |net: &mut Net<'_, For>, url: &str, value| {
            let to = Dial::to(url).map(|dial| secure(dial.config(config.clone())));
            if to.map_err(Into::into).and_then(|dial| net.dial(dial, value)).is_err() {
                net.stop();
            }
        };
        let (mut cases, mut done) = (0, false);
        dial(&mut net.net(), &count(url), For::Count);
        net.run(|net, event| match event {
            Event::Message { from, message, .. } => match net.value(from) {
                Some(For::Case(_)) => drop(net.send(from, message)),
                Some(For::Count) => cases = message.as_text().map_or(0, |n| n.parse().unwrap_or(0)),
                _ => {}
            },
            Event::Closed { end, value, .. } => match value {
                For::Count => dial(net, &case(url, 1), For::Case(1)),
                For::Case(number) if number < cases => {
                    log(format_args!("case {number} of {cases}: {end:?}"));
                    dial(net, &case(url, number + 1), For::Case(number + 1));
                }
                For::Case(_) => dial(net, &report(url), For::Report),
                For::Report => {
                    done = true;
                    net.stop();
                }
            },
            _ => {}
        })?;
        if done { Ok(()) } else { Err("the suite cannot be dialed".into()) }
    }
}

/// `wss` of the loop, from the folder that `--tls` names.
mod tls {
    use super::{PathBuf, Result};
    use std::{result, sync::Arc};
    use tickwire::tls::rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };
    use tickwire_loop::{Dial, Door};

    pub(crate) fn of_door(door: Door, dir: Option<PathBuf>) -> Result<Door> {
        let Some(dir) = dir else { return Ok(door) };
        let chain = CertificateDer::pem_file_iter(dir.join("cert.pem"))?;
        let chain = chain.collect::<result::Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(dir.join("key.pem"))?;
        let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        tls.enable_secret_extraction = true; // records in place
        Ok(door.tls(Arc::new(tls)))
    }

    pub(crate) fn of_dial(dir: Option<PathBuf>) -> Result<impl Fn(Dial) -> Dial> {
        let tls = dir.map(client).transpose()?;
        Ok(move |dial: Dial| match &tls {
            Some(tls) => dial.tls(tls.clone()),
            None => dial,
        })
    }

    fn client(dir: PathBuf) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dir.join("cert.pem"))?)?;
        let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.enable_secret_extraction = true;
        Ok(Arc::new(tls))
    }
}
