//! How a session's messages travel: by [`polling`] or through a [`websocket`]. A session that
//! begins with the one may go on with the other, and is the same session; nothing outside of this
//! folder knows by which it is.
pub(crate) mod polling;
pub(crate) mod websocket;

use crate::{
    engine::{End, session::Session},
    http::Refused,
    sessions::Registered,
    settings::Settings,
};
use places::Place;
use polling::Polling;
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};
use tickwire::{Error, RecvError, Time};
use tickwire_axum::WebSocket;
use tokio::{sync::watch, time::Instant};

/// Changes, or loses its other end, when the server stops.
pub type Stop = watch::Receiver<()>;

/// Is told how each session of a connection ended, and which requests were refused.
pub type Log = Arc<dyn Fn(Result<(), Ended>) + Send + Sync>;

/// How a session ended that was not just closed, or what was none.
#[derive(Debug)]
pub enum Ended {
    /// A request was refused.
    Refused(Refused),
    /// The protocol ended it.
    Session(End),
    /// The server stops.
    Stopping,
    /// The client was too slow for what was said to it.
    TooSlow,
    /// The client went without a word, in the middle of a poll.
    Gone,
    /// The connection failed.
    Failed(Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why:?}"),
            Self::Session(end) => f.write_str(end.reason()),
            Self::Stopping => f.write_str("stopped"),
            Self::TooSlow => f.write_str("too slow"),
            Self::Gone => f.write_str("gone"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: Into<Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What the requests of a connection bring along.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) peer: IpAddr,
    pub(crate) stop: Stop,
    pub(crate) log: Log,
}

/// A session and the time it is told.
pub(crate) struct Served {
    pub(crate) session: Session,
    pub(crate) settings: Arc<Settings>,
    pub(crate) visit: Visit,
    /// When it began.
    pub(crate) epoch: Instant,
    /// Among all sessions.
    pub(crate) _place: Place,
}

impl Served {
    /// To its end, for a client that came with a WebSocket.
    pub(crate) async fn over_websocket(mut self, ws: WebSocket) {
        let ended = websocket::run(&mut self, ws).await;
        self.log(ended);
    }

    /// To its end, for a client that came by polling.
    pub(crate) async fn over_polling(mut self, mut polling: Polling, _registered: Registered) {
        let ended = match polling.run(&mut self).await {
            Ok(ws) => {
                drop(polling); // from here on nothing is heard that names the session
                websocket::run(&mut self, ws).await
            }
            Err(ended) => Err(ended),
        };
        self.log(ended);
    }

    /// Tells the application why it ended, in Socket.IO's words.
    fn tell(&mut self, ended: &Ended) {
        let reason = match ended {
            Ended::Gone | Ended::Session(End::Closed) => "transport close",
            Ended::Failed(Error::Recv(RecvError::UnexpectedEof) | Error::Io(_)) => {
                "transport close"
            }
            Ended::Stopping => "server shutting down",
            Ended::Session(End::PingTimeout) => "ping timeout",
            Ended::Session(End::Malformed(_) | End::AttachmentTimeout) => "parse error",
            _ => "transport error",
        };
        let now = self.now();
        self.session.end(reason, now);
    }

    fn log(&self, ended: Result<(), Ended>) {
        (self.visit.log)(match ended {
            Err(Ended::Stopping | Ended::Session(End::Closed | End::Disconnected)) => Ok(()),
            ended => ended,
        });
    }

    fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    /// Tells the session the time: what is due has passed.
    fn handle_timeout(&mut self) -> Result<(), Ended> {
        let now = self.now();
        self.session.handle_timeout(now).map_err(Ended::Session)
    }

    /// Its pong may lie unread: it is not missed.
    fn excuse(&mut self) {
        let now = self.now();
        self.session.excuse(now);
    }

    /// When the session wants to be told the time, on tokio's clock; a day from now where that
    /// cannot express it.
    fn alarm(&self) -> Instant {
        let at = self.epoch.checked_add(self.session.poll_timeout() - Time::ZERO);
        at.unwrap_or_else(|| Instant::now() + Duration::from_secs(24 * 3600))
    }
}
