//! The server: connections, on hyper.
use crate::{
    engine::{mailbox::Mailbox, session::Layers},
    http::{Endpoint, router},
    io::Io,
    sessions::Sessions,
    settings::Settings,
    transport::{Log, Stop, Visit},
};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use places::{Limits, Places};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tickwire::Config;
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
    /// Of connections over which requests come.
    connections: Places,
}

impl Service {
    /// Serves an application.
    pub fn new(io: Io) -> Self {
        let settings = io.settings.clone();
        let begin = move |opening, mailbox: &Arc<Mailbox>, now| io.begin(opening, mailbox, now);
        Self::over(Arc::new(begin), settings)
    }

    /// Serves whatever is to be carried by Engine.IO.
    pub fn over(layers: Arc<Layers>, settings: Arc<Settings>) -> Self {
        let sessions = Sessions::new(&settings);
        // A client that polls has two, and a proxy has those of all its clients.
        let peers = settings.max_sessions.saturating_mul(2);
        let each = settings.max_per_address.saturating_mul(2);
        let each = if settings.behind_proxy { peers } else { each };
        // No compression of WebSocket messages: those of a feed are too short for it.
        let config = Config { max_message: settings.max_payload, ..Config::default() };
        let endpoint = Endpoint { layers, settings, config, sessions: sessions.clone() };
        Self {
            router: router(endpoint),
            sessions,
            connections: Places::new(Limits::of_connections(peers, each)),
        }
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.count()
    }

    /// Accepts until it is to stop, then waits for the sessions to close. `log` gets a line for
    /// each that was not just closed, and for each request that was refused.
    pub async fn serve(self, listener: TcpListener, mut stop: Stop, log: fn(fmt::Arguments<'_>)) {
        let (closing, stopping) = watch::channel(());
        loop {
            select! {
                _ = stop.changed() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        // Nothing is owed to a flood.
                        let Some(place) = self.connections.enter(peer.ip()) else { continue };
                        let _ = stream.set_nodelay(true); // gone, if not: reading says so
                        let (service, stop) = (self.clone(), stopping.clone());
                        let log: Log = Arc::new(move |ended| {
                            if let Err(ended) = ended {
                                log(format_args!("{peer}: {ended}"));
                            }
                        });
                        tokio::spawn(async move {
                            service.converse(stream, peer.ip(), stop, log).await;
                            drop(place);
                        });
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
    pub async fn converse<S>(&self, stream: S, peer: IpAddr, mut stop: Stop, log: Log)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let visit = Visit { peer, stop: stop.clone(), log };
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
