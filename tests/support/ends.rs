//! One end of a connection, from its opening handshake to its last word, over whatever stream.
use crate::support::placed::placed;
use crate::{
    support::blocking::{PATIENCE, patient},
    support::provider,
    support::talk::{Halves, Part, Report, at_once, take_turns, talk_over, talk_over_in_threads},
    support::tls::{Authority, altered},
};
use std::sync::{Arc, OnceLock};
use tickwire::{
    Config, Role,
    blocking::{self, Stream},
    deflate::Deflate,
    handshake::client::Request,
    tls::rustls::{ClientConfig, ServerConfig, crypto::CryptoProvider},
    tokio as on_tokio,
};
use tokio::io::{AsyncRead, AsyncWrite};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adapter {
    Tokio,
    Blocking,
}

/// What is in the frames, and around them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Plain,
    Deflate,
    /// In place.
    Tls,
    Rustls,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Whole,
    /// In halves, which take turns.
    Turns,
    /// In halves that do not wait for each other.
    Over,
    /// The same, in `blocking`, in two threads.
    Threads,
}

pub struct Tls {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

/// Of this process, or what it was told.
pub static TLS: OnceLock<Tls> = OnceLock::new();

pub fn tls() -> &'static Tls {
    TLS.get_or_init(|| {
        let authority = Authority::new();
        let client = authority.client_by(restless()).into();
        let server = authority.issue(&["localhost"]).server_by(restless()).into();
        Tls { client, server }
    })
}

/// With a new key for every few records.
fn restless() -> CryptoProvider {
    let suite = altered(provider::cipher_suite::TLS13_AES_128_GCM_SHA256, |suite| {
        suite.common.confidentiality_limit = 4;
    });
    CryptoProvider { cipher_suites: vec![suite], ..provider::default_provider() }
}

/// The same, but it keeps its keys.
fn by_rustls() -> &'static Tls {
    static TLS: OnceLock<Tls> = OnceLock::new();
    TLS.get_or_init(|| {
        let Tls { client, server } = tls();
        let (mut client, mut server) = (ClientConfig::clone(client), ServerConfig::clone(server));
        client.enable_secret_extraction = false;
        server.enable_secret_extraction = false;
        Tls { client: client.into(), server: server.into() }
    })
}

impl Kind {
    pub fn config(self) -> Config {
        // A write that is stuck is found first.
        let config = Config { frame_timeout: 2 * PATIENCE, ..patient() };
        if self == Self::Deflate {
            Config { deflate: Some(Deflate::default()), ..config }
        } else {
            config
        }
    }

    pub fn is_tls(self) -> bool {
        self.tls().is_some()
    }

    pub fn tls(self) -> Option<&'static Tls> {
        match self {
            Self::Plain | Self::Deflate => None,
            Self::Tls => Some(tls()),
            Self::Rustls => Some(by_rustls()),
        }
    }

    fn request(self) -> Request {
        let scheme = if self.is_tls() { "wss" } else { "ws" };
        Request::new(&format!("{scheme}://localhost/")).unwrap()
    }
}

/// One end.
#[derive(Clone)]
pub struct Seat {
    pub role: Role,
    pub kind: Kind,
    pub way: Way,
    pub config: Config,
    pub part: Part,
}

impl Seat {
    pub async fn on_tokio<S: AsyncRead + AsyncWrite + Unpin>(&self, io: S) -> Report {
        match (self.kind.tls(), self.role) {
            (None, _) => self.open_on_tokio(io).await,
            (Some(tls), Role::Client) => {
                let request = self.kind.request();
                let io =
                    on_tokio::TlsStream::client(io, request.target(), placed(tls.client.clone()));
                self.open_on_tokio(io.unwrap()).await
            }
            (Some(tls), Role::Server) => {
                let io = on_tokio::TlsStream::server(io, placed(tls.server.clone()));
                self.open_on_tokio(io.unwrap()).await
            }
        }
    }

    async fn open_on_tokio<S: AsyncRead + AsyncWrite + Unpin>(&self, io: S) -> Report {
        let opened = match self.role {
            Role::Client => on_tokio::client(io, &self.kind.request(), &self.config).await,
            Role::Server => on_tokio::accept(io, &self.config).await,
        };
        let mut ws = match opened {
            Err(error) => return Report::stillborn(error),
            Ok(mut ws) if self.way == Way::Whole => {
                return take_turns(&mut ws, &self.part).await;
            }
            Ok(ws) => {
                let (reader, writer) = ws.into_split();
                Halves(reader, writer)
            }
        };
        match self.way {
            Way::Turns => take_turns(&mut ws, &self.part).await,
            _ => talk_over(&mut ws, &self.part).await,
        }
    }

    pub fn on_blocking<S: Stream + Send>(&self, io: S) -> Report {
        match (self.kind.tls(), self.role) {
            (None, _) => self.open_in_blocking(io),
            (Some(tls), Role::Client) => {
                let request = self.kind.request();
                let io =
                    blocking::TlsStream::client(io, request.target(), placed(tls.client.clone()));
                self.open_in_blocking(io.unwrap())
            }
            (Some(tls), Role::Server) => {
                let io = blocking::TlsStream::server(io, placed(tls.server.clone()));
                self.open_in_blocking(io.unwrap())
            }
        }
    }

    fn open_in_blocking<S: Stream + Send>(&self, io: S) -> Report {
        let opened = match self.role {
            Role::Client => blocking::client(io, &self.kind.request(), &self.config),
            Role::Server => blocking::accept(io, &self.config),
        };
        let mut ws = match opened {
            Err(error) => return Report::stillborn(error),
            Ok(mut ws) if self.way == Way::Whole => {
                return at_once(take_turns(&mut ws, &self.part));
            }
            Ok(ws) => {
                let (reader, writer) = ws.into_split().unwrap();
                Halves(reader, writer)
            }
        };
        match self.way {
            Way::Turns => at_once(take_turns(&mut ws, &self.part)),
            Way::Threads => talk_over_in_threads(ws, &self.part),
            _ => at_once(talk_over(&mut ws, &self.part)),
        }
    }
}

/// How it ended, for short.
pub fn ending(report: &Report) -> String {
    match &report.end {
        Ok(()) if report.clean => "Closed".into(),
        Ok(()) => "Unanswered".into(),
        Err(error) => crate::support::talk::class(error),
    }
}
