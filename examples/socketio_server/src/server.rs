//! The server: a session for each WebSocket, on tickwire's tokio adapter.
//!
//! Whom it lets in: upgrades of `/socket.io/` with `EIO=4` and `transport=websocket`, from any origin
//! unless some are [named](Service::origins). CORS has nothing to say about WebSockets: a browser
//! opens them to any server and only tells it the page's Origin. Nor has a foreign page anything to
//! gain here, for no cookie is looked at: who one is, the `auth` of a namespace says. All other
//! requests are answered in Engine.IO's way, with a code in JSON.
use crate::session::{End, Session, Shared};
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tickwire::{
    CloseCode, CloseFrame, Config, Error, Outbox, Time,
    handshake::{
        HandshakeError,
        server::{Accept, Origins, Rejection, RequestHead},
    },
    tokio::{Incoming, MessageOrRoom, WebSocket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

/// How long to leave off accepting when the system would not: out of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long peers have to answer our Close when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Nothing is ever sent through this: it changes when the other end is dropped, which means that
/// the server stops.
pub type Stop = watch::Receiver<()>;

/// What is served, and to whom.
#[derive(Clone)]
pub struct Service {
    shared: Shared,
    config: Config,
    origins: Option<Origins>,
}

/// How a connection ended that was not just closed.
#[derive(Debug)]
pub enum Ended {
    /// It was refused.
    Refused(Refused),
    /// The layer above WebSocket ended it.
    Session(End),
    /// The client was too slow for what was said to it.
    TooSlow,
    /// The connection failed.
    Failed(Error),
    /// The system had no entropy for an id.
    NoEntropy,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Session(end) => end.fmt(f),
            Self::TooSlow => f.write_str("too slow"),
            Self::Failed(error) => error.fmt(f),
            Self::NoEntropy => f.write_str("the system has no entropy"),
        }
    }
}

impl<E: Into<Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Why a request is refused, as Engine.IO numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Code 0: only `transport=websocket` is spoken.
    Transport,
    /// Code 1: a session that began with polling; there are none.
    SessionId,
    /// Code 2: not a GET.
    Method,
    /// Code 3: no upgrade, or a bad one.
    BadRequest,
    /// Code 4: from a page of an origin that is not allowed.
    Origin,
    /// Code 5: `EIO` is not 4.
    Version,
    /// There is nothing at this path.
    Path,
    /// It has a status of its own among those of HTTP.
    Http(HandshakeError),
}

impl Refused {
    fn response(self) -> Result<Rejection, Error> {
        let (status, code, message) = match self {
            Self::Transport => (400, 0, "Transport unknown"),
            Self::SessionId => (400, 1, "Session ID unknown"),
            Self::Method => (400, 2, "Bad handshake method"),
            Self::BadRequest => (400, 3, "Bad request"),
            Self::Origin => (403, 4, "Forbidden"),
            Self::Version => (400, 5, "Unsupported protocol version"),
            Self::Path => return Ok(HandshakeError::NotFound.into()),
            Self::Http(error) => return Ok(error.into()),
        };
        let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
        Ok(Rejection::new(status).header("Content-Type", "application/json")?.body(body))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

impl Service {
    /// Serves an application to everybody.
    pub fn new(shared: Shared) -> Self {
        let config = Config::default().max_message(shared.settings.max_payload);
        Self { shared, config, origins: None }
    }

    /// Lets in browsers with pages of these origins only.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = Some(origins);
        self
    }

    /// What all sessions have in common.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Accepts until it is to stop, then waits for the connections to close. `log` gets a line for
    /// each connection that was not just closed.
    pub async fn serve(self, listener: TcpListener, mut stop: Stop, log: fn(fmt::Arguments<'_>)) {
        let service = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            select! {
                _ = stop.changed() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let (service, stop) = (service.clone(), stop.clone());
                        connections.spawn(async move {
                            if let Err(ended) = service.accept(stream, stop).await {
                                log(format_args!("{peer}: {ended}"));
                            }
                        });
                    }
                    Err(error) => {
                        log(format_args!("accept: {error}"));
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        log(format_args!("connection: {error}"));
                    }
                }
            }
        }
        drop(listener);
        let closed = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(STOP_TIMEOUT, closed).await;
    }

    async fn accept(&self, stream: TcpStream, stop: Stop) -> Result<(), Ended> {
        stream.set_nodelay(true)?;
        self.converse(stream, stop).await
    }

    /// Serves one client over a stream, from its request to its end.
    ///
    /// # Errors
    ///
    /// How it [`Ended`], unless one of the two has just closed it.
    pub async fn converse<S>(&self, stream: S, mut stop: Stop) -> Result<(), Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let read = select! {
            read = Incoming::read_any(stream, &self.config) => read,
            _ = stop.changed() => return Ok(()), // there is nobody to say goodbye to
        };
        let (handshake, checked) = read?;
        if let Err(why) = self.admit(handshake.request(), checked) {
            handshake.reject(why.response()?).await?;
            return Err(Ended::Refused(why));
        }
        let epoch = Instant::now();
        let session = Session::new(&self.shared, Time::ZERO).map_err(|_| Ended::NoEntropy)?;
        // The first packet leaves together with the response.
        let ws = handshake.accept_corked(Accept::default())?;
        Connection { ws, session, epoch, pause_at: self.shared.settings.pause_at }.run(stop).await
    }

    fn admit(
        &self,
        request: RequestHead<'_>,
        checked: Result<(), HandshakeError>,
    ) -> Result<(), Refused> {
        if let Err(error) = checked
            && request.method().is_empty()
        {
            return Err(Refused::Http(error)); // not understood at all
        }
        if !matches!(request.path(), "/socket.io/" | "/socket.io") {
            return Err(Refused::Path);
        }
        let query = request.query().unwrap_or_default();
        let value = |wanted: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
        };
        if value("transport") != Some("websocket") {
            return Err(Refused::Transport);
        }
        if value("sid").is_some() {
            return Err(Refused::SessionId);
        }
        if request.method() != "GET" {
            return Err(Refused::Method);
        }
        if value("EIO") != Some("4") {
            return Err(Refused::Version);
        }
        match checked {
            Ok(()) => {}
            Err(error) if request.is_upgrade() && error.status() != 400 => {
                return Err(Refused::Http(error)); // 426 says which version would do
            }
            Err(_) => return Err(Refused::BadRequest),
        }
        if self.origins.as_ref().is_some_and(|origins| !origins.allows(&request)) {
            return Err(Refused::Origin);
        }
        Ok(())
    }
}

/// A session and its WebSocket.
struct Connection<S> {
    ws: WebSocket<S>,
    session: Session,
    epoch: Instant,
    pause_at: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(mut self, stop: Stop) -> Result<(), Ended> {
        match self.converse(stop).await {
            Ok(()) => Ok(()),
            Err(Ended::Session(end)) => {
                // What was answered before goes before.
                let _ = self.session.mailbox().feed(self.ws.sender());
                let frame = CloseFrame::with_reason(end.close_code(), end.reason());
                let closed = self.ws.close(frame).await;
                if end == End::Closed { Ok(closed?) } else { Err(Ended::Session(end)) }
            }
            Err(Ended::TooSlow) => {
                let _ = self.ws.close(None).await; // a Close with the code is on its way
                Err(Ended::TooSlow)
            }
            Err(ended) => Err(ended),
        }
    }

    async fn converse(&mut self, mut stop: Stop) -> Result<(), Ended> {
        let Self { ws, session, epoch, pause_at } = self;
        let (epoch, mailbox) = (*epoch, session.mailbox().clone());
        let now = || Time::new(epoch.elapsed());
        let alarm = sleep_until(epoch);
        tokio::pin!(alarm);
        let mut excused = false;
        loop {
            let by = at(epoch, session.poll_timeout());
            if alarm.deadline() != by {
                alarm.as_mut().reset(by);
            }
            let behind = mailbox.feed(ws.sender()).ok(); // closed: receiving says why
            if behind.is_some_and(|behind| behind.disconnected.is_some()) {
                return Err(Ended::TooSlow);
            }
            if behind.is_some_and(|behind| behind.bytes > *pause_at) {
                // Who does not take the answers may not ask for more. Meanwhile its pong may lie
                // unread, so it is not missed.
                excused = true;
                select! {
                    biased;
                    flushed = ws.flush() => flushed?,
                    () = &mut alarm => {
                        session.excuse(now());
                        session.handle_timeout(now()).map_err(Ended::Session)?;
                    }
                    _ = stop.changed() => return Ok(ws.close(CloseCode::GOING_AWAY).await?),
                }
                continue;
            }
            if std::mem::take(&mut excused) {
                session.excuse(now());
                continue; // with another deadline
            }
            select! {
                biased;
                received = ws.recv_or_room(Outbox::MAX_UNSENT) => match received? {
                    MessageOrRoom::Message(message) => {
                        session.receive(message, now()).map_err(Ended::Session)?;
                    }
                    MessageOrRoom::Room => {}
                    MessageOrRoom::Closed => return Ok(()),
                },
                () = mailbox.arrived() => {}
                () = &mut alarm => session.handle_timeout(now()).map_err(Ended::Session)?,
                // Not with Socket.IO's own disconnect: after that a client would not come back.
                _ = stop.changed() => return Ok(ws.close(CloseCode::GOING_AWAY).await?),
            }
        }
    }
}

/// A time of the session's on tokio's clock; a day from now where that cannot express it.
fn at(epoch: Instant, time: Time) -> Instant {
    let at = epoch.checked_add(time - Time::ZERO);
    at.unwrap_or_else(|| Instant::now() + Duration::from_secs(24 * 3600))
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
