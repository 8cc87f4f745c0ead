//! What both servers here have in common and no WebSocket is involved in: options, the page, and a
//! listener that does TLS if it was given a certificate.
//!
//! Nothing bounds how many peers come: for the loopback. See the example `bounded`.
#[path = "../../echo_server/tls.rs"]
mod tls;

use arguments::{Arguments, Failure, cannot_listen};
use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};
use tickwire::{
    tls::rustls::ServerConfig,
    tokio::{TlsStream, WebSocket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::sleep,
};

pub const PAGE: &str = include_str!("page.html");

const HELP: &str = "\
A server for browsers and other clients, over HTTP/1.1 and HTTP/2: a page, and a WebSocket \
that echoes.

Usage: axum [OPTION]...
       hyper [OPTION]...

  --listen ADDR    where to listen [127.0.0.1:8080]
  --tls-cert FILE  speak TLS, with this certificate and those up to its authority (PEM)
  --tls-key FILE   the certificate's private key (PEM)
  --help           this text
";

/// Tells browsers of what runs over which version, and everybody else nothing.
pub async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>, version: &str) {
    println!("{version}: open");
    let ended = async {
        while let Some(received) = ws.recv_to_reply().await? {
            received.sender.feed(received.message)?;
        }
        Ok::<_, tickwire::Error>(())
    };
    match ended.await {
        Ok(()) => {
            let (code, reason) = ws.closed().map_or((1006, ""), |end| (end.code, end.reason));
            println!("{version}: closed with {code} {reason:?}");
        }
        Err(error) => println!("{version}: {error}"),
    }
}

/// A connection, in clear or over TLS.
pub type Stream = Pin<Box<dyn Io>>;
pub trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Its streams do their TLS handshake, if any, when they are first read.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    /// Listens as the command line says, see [`HELP`].
    pub async fn from_arguments() -> Result<Self, Failure> {
        let args = Arguments::read(HELP);
        let (listen, mut tls) = (args.address("--listen"), tls::given(&args));
        if let Some(config) = &mut tls {
            Arc::make_mut(config).alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tcp = TcpListener::bind(listen).await.map_err(cannot_listen(listen))?;
        println!("listening on {scheme}://{}", tcp.local_addr()?);
        Ok(Self { tcp, tls })
    }

    async fn next(&self) -> io::Result<(Stream, SocketAddr)> {
        let (tcp, peer) = self.tcp.accept().await?;
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            None => (Box::pin(tcp), peer),
            Some(tls) => {
                let tls = TlsStream::server(tcp, tls.clone()).map_err(io::Error::other)?;
                (Box::pin(tls), peer)
            }
        })
    }
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            match self.next().await {
                Ok(accepted) => return accepted,
                Err(_) => sleep(Duration::from_millis(100)).await, // out of descriptors, say
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
