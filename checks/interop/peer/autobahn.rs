//! Runs under the [Autobahn TestSuite], and under the suite of `conformance/`: `autobahn server
//! ADAPTER ADDRESS [DIR]` is the server that a fuzzing client tests, and `autobahn client ADAPTER
//! URL [DIR]` the client that a fuzzing server tests. Both echo every message with its type.
//! ADAPTER is `tokio`, `blocking`, `loop` (tickwire-loop over mio), `loop-uring` (over io_uring),
//! `facade-tokio` or `facade-blocking` (tickwire-tungstenite). With DIR, tickwire-loop speaks
//! `wss`: the server has cert.pem and key.pem of DIR, and the client trusts cert.pem. All limits
//! are the defaults, and whatever the suite wants of permessage-deflate is agreed to, context
//! takeover too.
//!
//! The first line of the server is `listening on ws://ADDRESS`; it ends when it is killed. The
//! client goes through all cases, has the report written, and ends well, whatever is in the report.
//!
//! [Autobahn TestSuite]: https://github.com/crossbario/autobahn-testsuite
use crate::{
    Adapter, Result, facade, say,
    socket::{self, Decision, Echoes, Opened, Socket},
};
use std::{
    fmt::Display,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread,
};
use tickwire::{Config, deflate::Deflate, handshake::client::Request};

/// How a connection is made, as a server and as a client.
type Opens = (fn(TcpStream) -> Opened, fn(&str) -> Opened);

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let [role, adapter, at, ref tls @ ..] = *words else {
        return Err("autobahn ROLE ADAPTER ADDRESS [DIR]".into());
    };
    let tls = tls.first().map(PathBuf::from);
    let (accept, connect): Opens = match adapter {
        "loop" | "loop-uring" => return on_loop::run(role, at, tls, adapter == "loop-uring"),
        _ if tls.is_some() => return Err("TLS is for tickwire-loop".into()),
        "tokio" => (|tcp| accepted(Adapter::Tokio, tcp), |url| connected(Adapter::Tokio, url)),
        "blocking" => {
            (|tcp| accepted(Adapter::Blocking, tcp), |url| connected(Adapter::Blocking, url))
        }
        "facade-tokio" => (facade::accept_async, facade::connect_async),
        "facade-blocking" => (facade::accept, facade::connect),
        _ => return Err(format!("no adapter is named {adapter}").into()),
    };
    if role == "server" { serve(at, accept) } else { run_cases(at, connect) }
}

fn config() -> Config {
    let mut deflate = Deflate::default();
    deflate.server.takeover = true;
    deflate.client.takeover = true;
    Config { deflate: Some(deflate), ..Config::default() }
}

fn serve(at: &str, accept: fn(TcpStream) -> Opened) -> Result<()> {
    let listener = TcpListener::bind(at)?;
    say(format_args!("listening on ws://{}", listener.local_addr()?));
    loop {
        let (stream, _) = listener.accept()?;
        thread::Builder::new().spawn(move || {
            if let Err(error) = accept(stream).and_then(|mut ws| ws.echo()) {
                log(error);
            }
        })?;
    }
}

fn run_cases(url: &str, connect: fn(&str) -> Opened) -> Result<()> {
    let count = connect(&count(url))?.text()?.parse()?;
    for number in 1..=count {
        // A case may be a handshake that has to fail.
        if let Err(error) = connect(&case(url, number)).and_then(|mut ws| ws.echo()) {
            log(format_args!("case {number} of {count}: {error}"));
        }
    }
    connect(&report(url))?.echo()
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

/// One line on standard error.
fn log(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Echoes for Box<dyn Socket> {
    fn text(&mut self) -> Result<String> {
        let message = self.recv()?.ok_or("no message comes")?;
        Ok(message.as_message().as_text().ok_or("no text")?.to_string())
    }

    fn echo(&mut self) -> Result<()> {
        Ok((**self).echo()?)
    }
}

fn accepted(adapter: Adapter, tcp: TcpStream) -> Opened {
    let ws = socket::accept(adapter, tcp, &config(), |_, error| match error {
        None => Decision::Accept(&[]),
        Some(error) => Decision::Reject(error.into()),
    })?;
    Ok(Box::new(ws.ok_or("no opening handshake")?))
}

fn connected(adapter: Adapter, url: &str) -> Opened {
    Ok(Box::new(socket::connect(adapter, &Request::new(url)?, &config())?))
}

mod on_loop {
    use super::{PathBuf, Result, case, config, count, log, report, say, tls};
    use std::sync::Arc;
    use tickwire::handshake::server::Accept;
    use tickwire_loop::{Dial, Door, Event, Loop, Net, Settings};

    pub(crate) fn run(role: &str, at: &str, tls: Option<PathBuf>, io_uring: bool) -> Result<()> {
        match role {
            "server" => serve(make(io_uring)?, at, tls),
            _ => run_cases(make(io_uring)?, at, tls),
        }
    }

    /// Over io_uring, this fails if the kernel refuses io_uring: `checks/interop/run` looks for the
    /// text of this error.
    fn make<T>(io_uring: bool) -> Result<Loop<T>> {
        let mut net = Loop::new(Settings { io_uring, ..Settings::default() })?;
        if net.net().uses_io_uring() != io_uring {
            return Err("the kernel refuses io_uring".into());
        }
        Ok(net)
    }

    fn serve(mut net: Loop<()>, address: &str, tls: Option<PathBuf>) -> Result<()> {
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let door = tls::of_door(Door::new(config()), tls)?;
        let bound = net.net().listen(address.parse()?, door)?;
        say(format_args!("listening on {scheme}://{bound}"));
        net.run(|net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Message { from, message, .. } => drop(net.send(from, message)),
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

    fn run_cases(mut net: Loop<For>, url: &str, tls: Option<PathBuf>) -> Result<()> {
        let config = Arc::new(config());
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

/// `wss` of the loop, of the files in a folder.
mod tls {
    use super::{PathBuf, Result};
    use std::{fs, result};
    use tickwire::tls::{
        Client, Server, platform_config_and_roots,
        rustls::{
            ServerConfig,
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        },
    };
    use tickwire_loop::{Dial, Door};

    pub(crate) fn of_door(door: Door, dir: Option<PathBuf>) -> Result<Door> {
        let Some(dir) = dir else { return Ok(door) };
        let chain = CertificateDer::pem_file_iter(dir.join("cert.pem"))?;
        let chain = chain.collect::<result::Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(dir.join("key.pem"))?;
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        Ok(door.tls(Server::from(tls).in_place()))
    }

    pub(crate) fn of_dial(dir: Option<PathBuf>) -> Result<impl Fn(Dial) -> Dial> {
        let pem = dir.map(|dir| fs::read(dir.join("cert.pem"))).transpose()?;
        let tls = pem.map(|pem| platform_config_and_roots(&pem)).transpose()?.map(Client::in_place);
        Ok(move |dial| tls.iter().fold(dial, |dial: Dial, tls| dial.tls(tls.clone())))
    }
}
