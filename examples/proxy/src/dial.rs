//! The recipe: a TCP stream to a WebSocket server through a proxy, to be handed to
//! `tickwire::tokio::client`, or to TLS first and then to `client`.
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        proxy::{SocksV5, Tunnel},
    },
    rt::TokioIo,
};
use std::{error::Error, time::Duration};
use tickwire::url::Target;
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

/// How long dialing and the proxy's own handshake may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy that listens at a URL, and who we are to it.
pub struct Proxy {
    /// `http` speaks CONNECT, `socks5` SOCKS5. The proxy resolves the server's name, not we.
    pub url: Uri,
    /// For the proxy alone: this never reaches the server.
    pub user: Option<(String, String)>,
}

impl Proxy {
    /// Of a URL such as `socks5://user:password@127.0.0.1:1080`.
    pub fn parse(url: &str) -> Result<Self, Box<dyn Error>> {
        let (scheme, rest) = url.split_once("://").ok_or("a proxy is a URL")?;
        let Some((user, host)) = rest.rsplit_once('@') else {
            return Ok(Self { url: url.parse()?, user: None });
        };
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let user = Some((user.to_owned(), password.to_owned()));
        Ok(Self { url: format!("{scheme}://{host}").parse()?, user })
    }

    /// Connects through the proxy to the host and port of a WebSocket URL.
    ///
    /// Whatever the proxy sends behind its own answer before the server could have been asked
    /// anything is dropped or fails the opening handshake: it is not the server's.
    pub async fn dial(&self, target: &Target) -> Result<TcpStream, Box<dyn Error>> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false); // the scheme may be socks5
        // An IPv6 address stands in brackets here, as it does in a URL.
        let host = match target.host() {
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let server: Uri = format!("http://{host}:{}", target.port()).parse()?;
        let stream = match self.url.scheme_str() {
            Some("http") => {
                let mut proxy = Tunnel::new(self.url.clone(), tcp);
                if let Some((user, password)) = &self.user {
                    proxy = proxy.with_auth(basic(user, password)?);
                }
                timeout(PATIENCE, proxy.call(server)).await??
            }
            Some("socks5") => {
                let mut proxy = SocksV5::new(self.url.clone(), tcp);
                if let Some((user, password)) = &self.user {
                    proxy = proxy.with_auth(user.clone(), password.clone());
                }
                timeout(PATIENCE, proxy.call(server)).await??
            }
            _ => return Err("a proxy's URL begins with http:// or socks5://".into()),
        };
        Ok(TokioIo::into_inner(stream))
    }
}

/// Basic authentication (RFC 7617).
fn basic(user: &str, password: &str) -> Result<HeaderValue, Box<dyn Error>> {
    let credentials = STANDARD.encode(format!("{user}:{password}"));
    Ok(HeaderValue::try_from(format!("Basic {credentials}"))?)
}
