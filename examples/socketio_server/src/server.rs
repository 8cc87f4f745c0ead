//! The server: connections, on hyper.
use crate::{
    engine::session::Layers,
    http::{Endpoint, router},
    session::Shared,
    sessions::Sessions,
    settings::Settings,
    transport::{Log, Stop, Visit},
};
use axum::{Extension, Router, http::HeaderValue};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{fmt, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tickwire::{
    Config,
    handshake::{HeaderError, server::Origins},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    select,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutWriter;

/// How long to leave off accepting when the system would not: out of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long peers have to answer our Close when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// For a peer to take something of what is sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a request is read ahead, in bytes: a head that is longer than twice that is refused.
const MAX_HEAD: usize = 32 << 10;

/// What is served, and to whom.
#[derive(Clone)]
pub struct Service {
    router: Router,
    sessions: Sessions,
}

impl Service {
    /// Serves an application to everybody.
    pub fn new(shared: Shared) -> Self {
        let settings = shared.settings.clone();
        Self::over(Arc::new(shared), settings, "/socket.io/", None)
    }

    /// Serves an application, to browsers with pages of these origins only.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] if one is not of the form `scheme://host[:port]`.
    pub fn with_origins(shared: Shared, origins: &[impl AsRef<str>]) -> Result<Self, HeaderError> {
        Origins::new(origins)?; // each is one
        let named = |origin: &str| HeaderValue::try_from(origin.to_ascii_lowercase());
        let origins = origins.iter().filter_map(|origin| named(origin.as_ref()).ok()).collect();
        let settings = shared.settings.clone();
        Ok(Self::over(Arc::new(shared), settings, "/socket.io/", Some(origins)))
    }

    /// Serves whatever is to be carried by Engine.IO, at a path that ends in a slash.
    pub fn over(
        layers: Arc<dyn Layers>,
        settings: Arc<Settings>,
        path: &str,
        origins: Option<Vec<HeaderValue>>,
    ) -> Self {
        let sessions = Sessions::new(settings.max_sessions);
        // No compression of WebSocket messages: those of a feed are too short for it.
        let config = Config { max_message: settings.max_payload, ..Config::default() };
        let endpoint = Endpoint { layers, settings, config, origins, sessions: sessions.clone() };
        Self { router: router(endpoint, path), sessions }
    }

    /// How many sessions there may be beside those there are.
    pub fn places_left(&self) -> usize {
        self.sessions.places_left()
    }

    /// Accepts until it is to stop, then waits for the sessions to close. `log` gets a line for each
    /// that was not just closed, and for each request that was refused.
    pub async fn serve(self, listener: TcpListener, mut stop: Stop, log: fn(fmt::Arguments<'_>)) {
        let (closing, stopping) = watch::channel(());
        loop {
            select! {
                _ = stop.changed() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let _ = stream.set_nodelay(true); // gone, if not: reading says so
                        let (service, stop) = (self.clone(), stopping.clone());
                        let log: Log = Arc::new(move |ended| {
                            if let Err(ended) = ended {
                                log(format_args!("{peer}: {ended}"));
                            }
                        });
                        tokio::spawn(async move { service.converse(stream, stop, log).await });
                    }
                    Err(error) => {
                        log(format_args!("accept: {error}"));
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop((listener, stopping));
        closing.send_replace(());
        // Each connection and each session has a receiver.
        let _ = timeout(STOP_TIMEOUT, closing.closed()).await;
    }

    /// Serves the requests that come over a stream. Sessions that they open live on without it, and
    /// tell `log` how they ended.
    pub async fn converse<S>(&self, stream: S, mut stop: Stop, log: Log)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let visit = Visit { stop: stop.clone(), log };
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(visit)));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(WRITE_TIMEOUT));
        let stream = TokioIo::new(Box::pin(stream));
        let served = server.serve_connection(stream, service).with_upgrades();
        let mut served = pin!(served);
        // It fails if the peer goes in the middle of something: the session knows.
        select! {
            _ = served.as_mut() => return,
            _ = stop.changed() => served.as_mut().graceful_shutdown(),
        }
        let _ = served.await;
    }
}

/// Listens, and says where.
///
/// # Errors
///
/// When the address is not to be had.
pub async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
