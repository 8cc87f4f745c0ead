//! The parts of both servers that involve no WebSocket: options, the page, and a listener that does
//! TLS if it was given a certificate.
//!
//! Nothing limits the number of peers: both are only for the loopback. See the example `bounded`.
#[path = "../../echo_server/tls.rs"]
mod tls;

use arguments::{Arguments, Failure, cannot_listen};
use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};
use tickwire::{CloseCode, tokio::WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

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

At SIGTERM and SIGINT each WebSocket is closed with 1001. Ten seconds later the program ends, or
earlier if all connections have ended.
";

/// How long the peers have to answer our Close, and to end their requests.
const GOODBYE: Duration = Duration::from_secs(10);

/// Each task that the program's end has to wait for has one, which becomes `true` at a signal.
pub type Stop = watch::Receiver<bool>;

/// Ends once `serving` has ended and no task has a [`Stop`] any more, or [`GOODBYE`] after the
/// signal. (A client that never ends its request keeps `serving` waiting.)
pub async fn until_closed(serving: impl Future, stopping: watch::Sender<bool>) {
    let ended = async {
        serving.await;
        stopping.closed().await;
    };
    let late = async {
        let _ = stopping.subscribe().wait_for(|stopping| *stopping).await;
        sleep(GOODBYE).await;
    };
    select! {
        () = ended => {}
        () = late => println!("stopped, though not all connections have ended"),
    }
}

/// Echoes all messages. Prints when a connection opens and ends, with its HTTP version. Returns
/// whether the end was orderly.
pub async fn echo<S>(mut ws: WebSocket<S>, version: &str, mut stop: Stop) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    println!("{version}: open");
    let echoing = async {
        while let Some(received) = ws.recv_to_reply().await? {
            received.sender.feed(received.message)?;
        }
        Ok::<_, tickwire::Error>(())
    };
    let ended = select! {
        ended = echoing => ended,
        _ = stop.changed() => ws.close(CloseCode::GOING_AWAY).await,
    };
    match &ended {
        Ok(()) => {
            let (code, reason) = ws.closed().map_or((1006, ""), |end| (end.code, end.reason));
            println!("{version}: closed with {code} {reason:?}");
        }
        Err(error) => println!("{version}: {error}"),
    }
    ended.is_ok()
}

/// A connection, in clear or over TLS.
pub type Stream = Pin<Box<dyn Io>>;
pub trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Connections whose TLS handshakes, if any, are done.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    opening: JoinSet<Option<(Stream, SocketAddr)>>,
}

impl Listener {
    /// Listens as the command line says: see [`HELP`].
    pub async fn from_arguments() -> Result<Self, Failure> {
        let args = Arguments::read(HELP);
        let listen = args.address("--listen");
        let tls = tls::given(&args).map(|mut config| {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
            TlsAcceptor::from(config)
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tcp = TcpListener::bind(listen).await.map_err(cannot_listen(listen))?;
        println!("listening on {scheme}://{}", tcp.local_addr()?);
        Ok(Self { tcp, tls, opening: JoinSet::new() })
    }
}

/// Does the TLS handshake, if there is a `tls`. Returns `None` if the handshake fails.
async fn open(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
) -> Option<(Stream, SocketAddr)> {
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else { return Some((Box::pin(tcp), peer)) };
    let stream = timeout(Duration::from_secs(10), tls.accept(tcp)).await.ok()?.ok()?;
    Some((Box::pin(stream), peer))
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            select! {
                accepted = self.tcp.accept() => match accepted {
                    Ok((tcp, peer)) => drop(self.opening.spawn(open(tcp, peer, self.tls.clone()))),
                    Err(_) => sleep(Duration::from_millis(100)).await, // no descriptor is left, say
                },
                opened = self.opening.join_next(), if !self.opening.is_empty() => {
                    if let Some(Ok(Some(opened))) = opened {
                        return opened;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
