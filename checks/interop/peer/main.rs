//! This crate's end in the tests against other programs: a server with a path for each behaviour,
//! and a client that checks a server with the same paths. `checks/interop/run` starts both.
//!
//! | path | the server |
//! |---|---|
//! | `/echo`, others | sends every message back |
//! | `/subprotocol` | agrees to `v2` or `v1`, and echoes |
//! | `/refuse` | answers 403 |
//! | `/close` | closes with the code and reason that the first message asks for |
//! | `/count` | sends 1,000 numbered messages and closes |
//! | `/idle` | says `alive` after more than a second |
//! | `/stall` | reads nothing for a second, then says `got N` bytes for each message |
//! | `/die` | ends its process in mid-message |
//!
//! And both, over TLS, and under the Autobahn TestSuite: see `tls` and `autobahn`.
mod autobahn;
mod client;
mod facade;
mod server;
mod socket;
mod tls;

use std::{
    env, error, fmt,
    io::{self, Write},
    process::ExitCode,
};
use tickwire::{Config, Error, Proxy, deflate::Deflate, handshake::client::Request};

type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

#[derive(Clone, Copy, PartialEq)]
enum Adapter {
    Tokio,
    Blocking,
}

impl Adapter {
    fn named(name: &str) -> Result<Self> {
        match name {
            "tokio" => Ok(Self::Tokio),
            "blocking" => Ok(Self::Blocking),
            _ => Err(format!("{name} is neither tokio nor blocking").into()),
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokio => "tokio",
            Self::Blocking => "blocking",
        })
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

/// `server ADAPTER [DIR]`, where DIR has the page, or `client ADAPTER URL CHECK..`, or `tls ..`, or
/// `autobahn ..`. The result is whether all checks were passed.
fn run() -> Result<bool> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        ["server", adapter, ref page @ ..] => {
            let page = page.first().map(Into::into);
            server::serve(Adapter::named(adapter)?, page).map(|()| true)
        }
        ["client", adapter, url, ref checks @ ..] => {
            client::check(Adapter::named(adapter)?, url, checks)
        }
        ["tls", ref words @ ..] => tls::run(words),
        ["autobahn", ref words @ ..] => autobahn::run(words).map(|()| true),
        _ => Err("neither server, client, tls nor autobahn".into()),
    }
}

/// With permessage-deflate as the environment says in `DEFLATE`: `default`, `takeover` of both
/// ends, `small` windows of 9 bits, or `strict`, which requires a server without takeover.
fn config() -> Config {
    let mut deflate = Deflate { min_size: 0, ..Deflate::default() };
    match env::var("DEFLATE").as_deref() {
        Ok("default") => {}
        Ok("takeover") => (deflate.server.takeover, deflate.client.takeover) = (true, true),
        Ok("small") => (deflate.server.window_bits, deflate.client.window_bits) = (9, 9),
        Ok("strict") => deflate.require_no_takeover = true,
        _ => return Config::default(),
    }
    Config { deflate: Some(deflate), ..Config::default() }
}

/// The proxy that the environment names in `PROXY`: its URL, or `env` for `Proxy::from_env`.
fn proxy(request: &Request) -> std::result::Result<Option<Proxy>, Error> {
    match env::var("PROXY").as_deref() {
        Ok("env") => Ok(Proxy::from_env(request.target())?),
        named => Ok(named.ok().map(Proxy::new).transpose()?),
    }
}

/// One line on standard output, at once: the script waits for some.
fn say(line: impl fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
